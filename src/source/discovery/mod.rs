//! Where targets come from. A mechanism is one file and implements [`Discover`]; it reports groups and knows
//! nothing of jobs, relabelling or scraping.

mod file;
mod fixed;
mod pattern;

use futures::future::BoxFuture;

pub use file::FileDiscovery;
pub use fixed::FixedDiscovery;
pub use pattern::FilePattern;

/// Targets that share labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// Where the group comes from, for messages.
    pub source: String,
    /// Addresses: `host:port`.
    pub targets: Vec<String>,
    /// Labels of all of them, `__meta_…` included.
    pub labels: Vec<(String, String)>,
}

/// A discovery mechanism.
pub trait Discover: Send + std::fmt::Debug {
    /// Waits until the groups are known or have changed, and gives all of them. Never ends where nothing can
    /// change any more. Dropping the future loses nothing.
    fn next(&mut self) -> BoxFuture<'_, Vec<Group>>;
}

#[cfg(test)]
mod tests;
