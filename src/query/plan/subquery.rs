//! The subquery: the rows of an expression on its own grid, as a range vector for a window function.

use std::fmt;

use datafusion::logical_expr::LogicalPlan;

use super::grid::{Grid, Windows};
use super::node::Node;
use super::schema::GridSchema;
use crate::error::Result;
use crate::model::time::format_duration;

/// The node's parameters; the input is the expression on the grid of [`Subquery::grid`], or nothing where that grid
/// has no step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::struct_field_names, reason = "the unit of each")]
pub(crate) struct Subquery {
    /// How far back from its end a step looks, ms.
    pub(crate) range_ms: i64,
    /// The distance of the evaluation times, ms, > 0.
    pub(crate) step_ms: i64,
    /// Subtracted from the evaluation time, ms.
    pub(crate) offset_ms: i64,
    /// Replaces the evaluation time, ms.
    pub(crate) at_ms: Option<i64>,
}

impl Subquery {
    /// The plan, of the outer grid.
    pub(crate) fn plan(self, inner: Option<LogicalPlan>, schema: &GridSchema) -> LogicalPlan {
        Node::plan("PromSubquery", self, inner.into_iter().collect(), schema)
    }

    /// The times at which the expression is evaluated, and their end before it is rounded down to a step: multiples
    /// of the step since 1970, whatever the query's start. `None`: there is none in any window.
    ///
    /// # Errors
    /// `Invalid` when a window leaves 64-bit milliseconds; `Limit` when there are more steps than a column can hold.
    pub(crate) fn grid(&self, outer: &Grid) -> Result<Option<(Grid, i64)>> {
        let windows = Windows::new(outer, self.range_ms, self.offset_ms, self.at_ms)?;
        let end_ms = windows.end_ms(windows.steps() - 1);
        // Towards zero, as Go divides; then to after the (excluded) start.
        let rounded_ms = windows.first_start_ms() / self.step_ms * self.step_ms;
        let start_ms = if rounded_ms <= windows.first_start_ms() {
            rounded_ms.checked_add(self.step_ms)
        } else {
            Some(rounded_ms)
        };
        match start_ms.filter(|start| *start <= end_ms) {
            Some(start_ms) => Ok(Some((Grid::range(start_ms, end_ms, self.step_ms)?, end_ms))),
            None => Ok(None),
        }
    }
}

impl fmt::Display for Subquery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "range={} step={}", format_duration(self.range_ms), format_duration(self.step_ms))?;
        if self.offset_ms != 0 {
            write!(f, " offset={}", format_duration(self.offset_ms))?;
        }
        match self.at_ms {
            Some(at) => write!(f, " at={at}ms"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_multiples_since_1970() -> Result<()> {
        let times = |subquery: &Subquery, outer: &Grid| -> Result<Vec<i64>> {
            Ok(subquery.grid(outer)?.map(|(grid, _)| grid.times().collect()).unwrap_or_default())
        };
        let subquery = Subquery { range_ms: 50, step_ms: 20, offset_ms: 0, at_ms: None };
        assert_eq!(times(&subquery, &Grid::instant(105))?, [60, 80, 100]);
        // The start is excluded, the end is included.
        assert_eq!(times(&subquery, &Grid::instant(90))?, [60, 80]);
        assert_eq!(times(&subquery, &Grid::instant(100))?, [60, 80, 100]);
        assert_eq!(times(&subquery, &Grid::range(100, 145, 20)?)?, [60, 80, 100, 120, 140]);
        // Division goes towards zero: the start may lie one step late before 1970.
        assert_eq!(times(&subquery, &Grid::instant(-5))?, [-40, -20]);
        let at = Subquery { offset_ms: 10, at_ms: Some(100), ..subquery.clone() };
        assert_eq!(times(&at, &Grid::range(0, 1_000, 100)?)?, [60, 80]);
        let short = Subquery { range_ms: 5, ..subquery };
        assert_eq!(short.grid(&Grid::instant(19))?, None);
        assert!(short.grid(&Grid::instant(i64::MIN)).is_err());
        assert_eq!(Subquery { step_ms: i64::MAX, ..short }.grid(&Grid::instant(i64::MAX - 1))?, None);
        Ok(())
    }
}
