//! Whose data, and who asks.

use std::sync::Arc;

use super::matcher::Matcher;
use crate::error::{Error, Result};

/// A tenant's name: the first folder under the storage root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The tenant of a single-tenant installation.
    pub const DEFAULT: &'static str = "default";

    /// A tenant name of 1 to 64 letters, digits, `-`, `_` or `.` that does not begin with `_` or `.`.
    ///
    /// # Errors
    /// `Invalid` when the name does not follow the rule.
    pub fn new(name: &str) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let ok = (1..=64).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with(['_', '.']);
        if !ok {
            let rule =
                "a tenant name has 1 to 64 letters, digits, '-', '_' or '.' and starts with no '_' or '.'";
            return Err(Error::invalid(rule).with("tenant", name));
        }
        Ok(Self(Arc::from(name)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self(Arc::from(Self::DEFAULT))
    }
}

/// Who asks, and what they may see: every series must match all of `visible`.
#[derive(Debug, Clone, Default)]
pub struct Principal {
    /// The name for logs.
    pub name: Option<Arc<str>>,
    /// Matchers that are added to every selection.
    pub visible: Arc<[Matcher]>,
}
