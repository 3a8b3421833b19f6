//! How much was asked of the object store. Tests assert on these numbers: requests are money.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one [`super::Objects`] and its clones. Requests as we made them; a store's own retries are not seen.
#[derive(Debug, Default)]
pub struct ObjectsStats {
    puts: AtomicU64,
    gets: AtomicU64,
    heads: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
    written: AtomicU64,
    read: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObjectsSnapshot {
    /// Whole objects and parts written.
    pub puts: u64,
    /// Objects and sets of ranges read.
    pub gets: u64,
    /// Sizes asked for.
    pub heads: u64,
    /// Listings.
    pub lists: u64,
    /// Removals.
    pub deletes: u64,
    /// Bytes sent.
    pub bytes_written: u64,
    /// Bytes received.
    pub bytes_read: u64,
}

impl ObjectsStats {
    /// The counters now.
    pub fn snapshot(&self) -> ObjectsSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ObjectsSnapshot {
            puts: load(&self.puts),
            gets: load(&self.gets),
            heads: load(&self.heads),
            lists: load(&self.lists),
            deletes: load(&self.deletes),
            bytes_written: load(&self.written),
            bytes_read: load(&self.read),
        }
    }

    pub(super) fn put(&self, bytes: usize) {
        add(&self.puts, 1);
        add(&self.written, bytes);
    }

    pub(super) fn get(&self) {
        add(&self.gets, 1);
    }

    pub(super) fn read(&self, bytes: usize) {
        add(&self.read, bytes);
    }

    pub(super) fn head(&self) {
        add(&self.heads, 1);
    }

    pub(super) fn list(&self) {
        add(&self.lists, 1);
    }

    pub(super) fn delete(&self) {
        add(&self.deletes, 1);
    }
}

fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
}
