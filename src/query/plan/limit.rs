//! The limit of samples, in Prometheus' words, and what a plan alone may take of it.

use std::cell::Cell;

use crate::error::{Error, Kind, Result};

/// A query passed the limit of samples that it may hold.
pub(crate) fn too_many_samples() -> Error {
    let text = "query processing would load too many samples into memory in query execution";
    Error::new(Kind::Limit, text).with("setting", "quipu.query.max_samples")
}

/// How many steps the subqueries of one query may still have, all together: their own grids are what a plan holds
/// before any sample is read.
#[derive(Debug)]
pub(crate) struct StepBudget(Cell<u64>);

/// A step costs about as much as so many samples: its time, and a place in the buffers of the operators.
const SAMPLES_A_STEP: u64 = 4;

impl StepBudget {
    /// For a query that may hold so many samples.
    pub(crate) fn new(max_samples: u64) -> Self {
        Self(Cell::new(max_samples / SAMPLES_A_STEP))
    }

    /// Takes the steps of one subquery.
    ///
    /// # Errors
    /// `Limit` when there are not so many left.
    pub(crate) fn take(&self, steps: usize) -> Result<()> {
        let left = u64::try_from(steps).ok().and_then(|steps| self.0.get().checked_sub(steps));
        let left = left.ok_or_else(|| too_many_samples().with("subquery steps", steps))?;
        self.0.set(left);
        Ok(())
    }
}
