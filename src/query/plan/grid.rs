//! The evaluation times of a query: `start, start + step, …`, and the windows that end at them.

use crate::error::{Error, Result};

/// `steps` evaluation times, `step_ms` apart, in milliseconds since 1970 (may be negative).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Grid {
    start_ms: i64,
    step_ms: i64,
    steps: usize,
}

impl Grid {
    /// The single time of an instant query.
    pub(crate) fn instant(time_ms: i64) -> Self {
        Self { start_ms: time_ms, step_ms: 1, steps: 1 }
    }

    /// The times of a range query: the last one is at or before `end_ms`.
    ///
    /// # Errors
    /// `Invalid` when the step is not positive or the end lies before the start; `Limit` when there are more
    /// steps than a column can hold (the doors refuse far fewer).
    pub(crate) fn range(start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Self> {
        if step_ms <= 0 {
            return Err(Error::invalid("zero or negative query resolution step widths are not accepted"));
        }
        if end_ms < start_ms {
            return Err(Error::invalid("end timestamp must not be before start time"));
        }
        let steps = (i128::from(end_ms) - i128::from(start_ms)) / i128::from(step_ms) + 1;
        let steps = i32::try_from(steps).ok().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| {
            Error::new(crate::error::Kind::Limit, "too many steps in a range query").with("steps", steps)
        })?;
        Ok(Self { start_ms, step_ms, steps })
    }

    /// The first evaluation time, ms.
    pub(crate) fn start_ms(&self) -> i64 {
        self.start_ms
    }

    /// How many evaluation times there are: at least 1.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// The last evaluation time, ms.
    pub(crate) fn end_ms(&self) -> i64 {
        self.time(self.steps - 1)
    }

    /// The evaluation time of one step, ms.
    pub(crate) fn time(&self, step: usize) -> i64 {
        debug_assert!(step < self.steps);
        self.start_ms + self.step_ms * i64::try_from(step).expect("steps fit 31 bits")
    }

    /// All evaluation times in order, ms.
    pub(crate) fn times(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.steps).map(|step| self.time(step))
    }
}

/// One left-open window `(end - range, end]` per step; the ends already contain `offset` and `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Windows {
    first_end_ms: i64,
    step_ms: i64,
    steps: usize,
    range_ms: i64,
}

impl Windows {
    /// The windows of a selector. With `at_ms` (the `@` modifier) all steps have the same window and the
    /// result is one window only, to be repeated for every step: see [`Windows::steps`].
    ///
    /// # Errors
    /// `Invalid` when a border leaves 64-bit milliseconds or the range is not positive.
    pub(crate) fn new(grid: &Grid, range_ms: i64, offset_ms: i64, at_ms: Option<i64>) -> Result<Self> {
        let grid = at_ms.map_or(*grid, Grid::instant);
        let out_of_range = || {
            Error::invalid("evaluation time with offset and range leaves 64-bit milliseconds")
                .with("time", grid.start_ms)
                .with("range", range_ms)
                .with("offset", offset_ms)
        };
        let first_end_ms = grid.start_ms.checked_sub(offset_ms).ok_or_else(out_of_range)?;
        grid.end_ms().checked_sub(offset_ms).ok_or_else(out_of_range)?;
        first_end_ms.checked_sub(range_ms).ok_or_else(out_of_range)?;
        if range_ms <= 0 {
            return Err(Error::invalid("duration must be greater than 0"));
        }
        Ok(Self { first_end_ms, step_ms: grid.step_ms, steps: grid.steps, range_ms })
    }

    /// How many windows there are: the grid's steps, or 1 under `@`.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// The length of a window, ms.
    pub(crate) fn range_ms(&self) -> i64 {
        self.range_ms
    }

    /// The distance between two windows, ms.
    pub(crate) fn step_ms(&self) -> i64 {
        self.step_ms
    }

    /// The (included) end of the first window, ms.
    pub(crate) fn first_end_ms(&self) -> i64 {
        self.first_end_ms
    }

    /// The (excluded) start of the first window, ms.
    pub(crate) fn first_start_ms(&self) -> i64 {
        self.first_end_ms - self.range_ms
    }

    /// The (included) end of one window, ms.
    pub(crate) fn end_ms(&self, step: usize) -> i64 {
        self.first_end_ms + self.step_ms * i64::try_from(step).expect("steps fit 31 bits")
    }

    /// The first and last timestamp that a window can contain, both included, ms.
    pub(crate) fn span_ms(&self) -> (i64, i64) {
        (self.first_start_ms() + 1, self.end_ms(self.steps - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_ends_at_or_before_its_end() -> Result<()> {
        let grid = Grid::range(-10, 25, 10)?;
        assert_eq!(grid.times().collect::<Vec<_>>(), [-10, 0, 10, 20]);
        assert_eq!(grid.end_ms(), 20);
        assert_eq!(Grid::range(5, 5, 1)?.steps(), 1);
        assert!(Grid::range(0, 10, 0).is_err() && Grid::range(1, 0, 1).is_err());
        assert!(Grid::range(i64::MIN, i64::MAX, 1).is_err(), "more steps than a column holds");
        assert_eq!(Grid::range(i64::MIN, i64::MAX, i64::MAX)?.steps(), 3);
        Ok(())
    }

    #[test]
    fn windows_leave_64_bits_with_an_error() -> Result<()> {
        let grid = Grid::instant(i64::MAX);
        assert!(Windows::new(&grid, 1, -1, None).is_err());
        assert!(Windows::new(&Grid::instant(i64::MIN), 1, 0, None).is_err());
        let at = Windows::new(&Grid::range(0, 100, 10)?, 30, 5, Some(50))?;
        assert_eq!((at.steps(), at.span_ms()), (1, (16, 45)));
        Ok(())
    }
}
