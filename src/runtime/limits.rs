//! Accounting of memory against a fixed budget. It refuses; it never waits and never kills.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Kind, Result};

/// A number of bytes that many may reserve from. Cheap to clone; clones share the account.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    account: Arc<Account>,
}

#[derive(Debug)]
struct Account {
    name: &'static str,
    total: u64,
    used: AtomicU64,
}

impl MemoryBudget {
    /// A budget of `total` bytes. `name` is the setting that raises it; it appears in refusals.
    pub fn new(name: &'static str, total: u64) -> Self {
        Self { account: Arc::new(Account { name, total, used: AtomicU64::new(0) }) }
    }

    /// Reserves `bytes` until the guard is dropped.
    ///
    /// # Errors
    /// `Limit` when they do not fit; nothing is reserved then.
    pub fn try_reserve(&self, bytes: u64) -> Result<MemoryGuard> {
        let mut guard = MemoryGuard { account: Arc::clone(&self.account), bytes: 0 };
        guard.try_grow(bytes)?;
        Ok(guard)
    }

    /// Bytes of the budget.
    pub fn total(&self) -> u64 {
        self.account.total
    }

    /// Bytes reserved now.
    pub fn used(&self) -> u64 {
        self.account.used.load(Ordering::Relaxed)
    }
}

/// Reserved bytes; gives them back when dropped.
#[derive(Debug)]
pub struct MemoryGuard {
    account: Arc<Account>,
    bytes: u64,
}

impl MemoryGuard {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves `more` bytes on top.
    ///
    /// # Errors
    /// `Limit` when they do not fit; what was held stays held.
    pub fn try_grow(&mut self, more: u64) -> Result<()> {
        let fits = |used: u64| used.checked_add(more).filter(|sum| *sum <= self.account.total);
        let grown = self.account.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        if let Err(used) = grown {
            return Err(Error::new(Kind::Limit, "not enough memory left in the budget")
                .with("limit", self.account.name)
                .with("total_bytes", self.account.total)
                .with("used_bytes", used)
                .with("wanted_bytes", more));
        }
        self.bytes += more;
        Ok(())
    }

    /// Gives back all but `bytes`; does nothing when fewer are held.
    pub fn shrink_to(&mut self, bytes: u64) {
        let freed = self.bytes.saturating_sub(bytes);
        self.account.used.fetch_sub(freed, Ordering::Relaxed);
        self.bytes -= freed;
    }
}

impl Drop for MemoryGuard {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_refuses_what_does_not_fit_and_forgets_what_was_dropped() -> Result<()> {
        let budget = MemoryBudget::new("query.memory", 100);
        let mut first = budget.try_reserve(60)?;
        let refused = budget.try_reserve(41).expect_err("60 + 41 > 100");
        assert_eq!((refused.kind(), refused.get("limit")), (Kind::Limit, Some("query.memory")));
        assert_eq!(budget.used(), 60, "a refusal reserves nothing");
        let second = budget.try_reserve(40)?;
        assert!(first.try_grow(1).is_err());
        first.shrink_to(10);
        assert_eq!((first.bytes(), budget.used()), (10, 50));
        drop((first, second));
        assert_eq!(budget.used(), 0);
        assert!(budget.try_reserve(u64::MAX).is_err(), "no overflow");
        Ok(())
    }
}
