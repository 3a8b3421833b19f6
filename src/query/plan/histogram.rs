//! Functions over histograms: which there are, and where their arguments stand.

use std::fmt;

use datafusion::logical_expr::LogicalPlan;

use super::annotation::Position;
use super::node::Node;
use super::scalar::ScalarArgument;
use super::schema::GridSchema;

/// What is computed from the buckets of a histogram.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum HistogramFunction {
    /// The value below which a share of the observations lies.
    Quantile,
    /// One series for each of some quantiles, which the label names.
    Quantiles {
        /// The label.
        label: String,
    },
    /// The share of the observations between two values.
    Fraction,
}

/// The node's parameters; inputs are the vector and those scalars that are not known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Histogram {
    /// What is computed.
    pub(crate) function: HistogramFunction,
    /// The quantiles; the two bounds of the fraction.
    pub(crate) arguments: Vec<ScalarArgument>,
    /// Where each argument stands, for warnings.
    pub(crate) positions: Vec<Position>,
    /// Where the vector stands.
    pub(crate) position: Position,
}

impl Histogram {
    /// The plan; `scalars` are the inputs of the arguments, in their order.
    pub(crate) fn plan(
        self,
        vector: LogicalPlan,
        scalars: Vec<LogicalPlan>,
        schema: &GridSchema,
    ) -> LogicalPlan {
        Node::over("PromHistogram", self, (vector, scalars), schema)
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            HistogramFunction::Quantile => f.write_str("quantile")?,
            HistogramFunction::Quantiles { label } => write!(f, "quantiles as {label}")?,
            HistogramFunction::Fraction => f.write_str("fraction")?,
        }
        self.arguments.iter().try_for_each(|argument| argument.fmt(f))
    }
}
