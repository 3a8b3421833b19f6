//! What is refused first: Prometheus goes step by step, we go series by series.

use crate::error::{Error, Result};

/// The order of refusals within a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Two series of the "one" side.
    Duplicate,
    /// A pair that must not be.
    Pair,
    /// Two results that are equal.
    Result,
}

/// The first refusal so far.
#[derive(Debug, Default)]
pub(super) struct Refusals(Option<((usize, Rank), Error)>);

impl Refusals {
    pub(super) fn add(&mut self, step: usize, rank: Rank, error: impl FnOnce() -> Error) {
        if self.0.as_ref().is_none_or(|(first, _)| (step, rank) < *first) {
            self.0 = Some(((step, rank), error()));
        }
    }

    pub(super) fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), |(_, error)| Err(error))
    }
}
