//! The selector: which series, and which of their samples each step sees.

use std::fmt;

use datafusion::logical_expr::LogicalPlan;

use super::grid::Windows;
use super::node::Node;
use super::schema::GridSchema;
use crate::error::Result;
use crate::model::time::format_duration;
use crate::model::{METRIC_NAME, MatchOp, Matcher};

/// The node's parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Selector {
    /// All must match; `__name__` is one of them.
    pub(crate) matchers: Vec<Matcher>,
    /// How far back from its end a step looks, ms: the lookback, or the range.
    pub(crate) range_ms: i64,
    /// What each step takes from its window.
    pub(crate) take: Take,
    /// Subtracted from the evaluation time, ms.
    pub(crate) offset_ms: i64,
    /// Replaces the evaluation time, ms.
    pub(crate) at_ms: Option<i64>,
    /// Native histograms come with their counter resets named: where only counts and sums are wanted of them.
    pub(crate) names_resets: bool,
    /// Samples outside of this span (first and last timestamp, ms) are not seen, even where a window holds them.
    pub(crate) only_ms: Option<(i64, i64)>,
}

/// What a selector gives to the node above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Take {
    /// An instant vector: the newest sample.
    Newest,
    /// `timestamp(selector)`: the newest sample's time in seconds.
    NewestTime,
    /// A range vector, for a window function.
    Range,
}

/// What the store is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Selected {
    /// All must match.
    pub(crate) matchers: Vec<Matcher>,
    /// First and last timestamp of interest, both included, ms.
    pub(crate) span_ms: (i64, i64),
}

impl Selector {
    /// The plan.
    pub(crate) fn plan(self, schema: &GridSchema) -> LogicalPlan {
        Node::plan("PromSelector", self, Vec::new(), schema)
    }

    /// Whether all its series have one metric name.
    pub(crate) fn has_one_name(&self) -> bool {
        let names =
            |m: &&Matcher| m.name() == METRIC_NAME && m.op() == MatchOp::Equal && !m.value().is_empty();
        self.matchers.iter().any(|matcher| names(&matcher))
    }

    /// The samples that any step can see.
    ///
    /// # Errors
    /// `Invalid` when a window leaves 64-bit milliseconds.
    pub(crate) fn selected(&self, schema: &GridSchema) -> Result<Selected> {
        let windows = Windows::new(schema.grid(), self.range_ms, self.offset_ms, self.at_ms)?;
        let span_ms = self.only_ms.unwrap_or_else(|| windows.span_ms());
        Ok(Selected { matchers: self.matchers.clone(), span_ms })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, matcher) in self.matchers.iter().enumerate() {
            write!(f, "{}{matcher}", if at == 0 { "" } else { ", " })?;
        }
        let what = match self.take {
            Take::Newest => "lookback",
            Take::NewestTime => "time lookback",
            Take::Range => "range",
        };
        write!(f, "}} {what}={}", format_duration(self.range_ms))?;
        if self.offset_ms != 0 {
            write!(f, " offset={}", format_duration(self.offset_ms))?;
        }
        if let Some(at) = self.at_ms {
            write!(f, " at={at}ms")?;
        }
        match self.only_ms {
            Some((first, last)) => write!(f, " only={first}ms..{last}ms"),
            None => Ok(()),
        }
    }
}
