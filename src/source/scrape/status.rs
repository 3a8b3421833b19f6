//! What a target's page shows: health, last scrape, last error. Written by its loop, read by anyone.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// The last scrape was stored.
    Up,
    /// It was not.
    Down,
}

impl Health {
    /// The spelling in Prometheus' API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The last scrape of a target.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LastScrape {
    /// How it ended.
    pub health: Health,
    /// Why it failed; empty when it did not.
    pub error: String,
    /// Its timestamp in ms since 1970 UTC; `None` before the first.
    pub at_ms: Option<i64>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

#[derive(Debug, Default)]
pub(super) struct Status {
    last: Mutex<LastScrape>,
    forced: Mutex<Option<String>>,
}

impl Status {
    pub(super) fn report(&self, at_ms: i64, seconds: f64, error: Option<String>) {
        let health = if error.is_none() { Health::Up } else { Health::Down };
        *lock(&self.last) =
            LastScrape { health, error: error.unwrap_or_default(), at_ms: Some(at_ms), seconds };
    }

    pub(super) fn last(&self) -> LastScrape {
        lock(&self.last).clone()
    }

    pub(super) fn last_scrape_ms(&self) -> Option<i64> {
        lock(&self.last).at_ms
    }

    /// Makes every scrape fail with a message, or not any more.
    pub(super) fn force(&self, error: Option<String>) {
        *lock(&self.forced) = error;
    }

    pub(super) fn forced_error(&self) -> Option<String> {
        lock(&self.forced).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
