//! Aggregation over series.

use std::fmt;

use datafusion::logical_expr::LogicalPlan;

use super::annotation::Position;
use super::function::AggregateOp;
use super::node::Node;
use super::scalar::ScalarArgument;
use super::schema::GridSchema;

/// Which labels make a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Grouping {
    /// `by (…)`: these labels; without a grouping there are none.
    By(Vec<String>),
    /// `without (…)`: all labels but these and the name.
    Without(Vec<String>),
}

/// The node's parameters; inputs are the vector and, if it is not known, the scalar.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Aggregate {
    /// What is computed.
    pub(crate) op: AggregateOp,
    /// Over which groups.
    pub(crate) grouping: Grouping,
    /// k of topk, bottomk and limitk, the quantile of quantile.
    pub(crate) argument: ScalarArgument,
    /// Where the argument stands, for warnings.
    pub(crate) position: Position,
    /// What warnings about native histograms point at.
    pub(crate) operand: Position,
}

impl Aggregate {
    /// The plan.
    pub(crate) fn plan(
        self,
        vector: LogicalPlan,
        scalar: Option<LogicalPlan>,
        schema: &GridSchema,
    ) -> LogicalPlan {
        Node::over("PromAggregate", self, (vector, scalar), schema)
    }
}

impl fmt::Display for Grouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, names) = match self {
            Self::By(names) => ("by", names),
            Self::Without(names) => ("without", names),
        };
        write!(f, "{word} ({})", names.join(", "))
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {}", self.op.name(), self.argument, self.grouping)
    }
}

/// `count_values`: how often each value occurs; the value becomes a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CountValues {
    /// That label.
    pub(crate) label: String,
    /// Over which groups, of the series that have the label already.
    pub(crate) grouping: Grouping,
}

impl CountValues {
    /// The plan.
    pub(crate) fn plan(self, vector: LogicalPlan, schema: &GridSchema) -> LogicalPlan {
        Node::plan("PromCountValues", self, vec![vector], schema)
    }
}

impl fmt::Display for CountValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.label, self.grouping)
    }
}

/// `limit_ratio`: a share of all series, chosen by the hash of their labels. Groups make no difference.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LimitRatio {
    /// The share; below 0 those that the share 1 + ratio leaves out.
    pub(crate) ratio: ScalarArgument,
    /// Where it stands, for warnings.
    pub(crate) position: Position,
}

impl LimitRatio {
    /// The plan.
    pub(crate) fn plan(
        self,
        vector: LogicalPlan,
        scalar: Option<LogicalPlan>,
        schema: &GridSchema,
    ) -> LogicalPlan {
        Node::over("PromLimitRatio", self, (vector, scalar), schema)
    }
}

impl fmt::Display for LimitRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ratio{}", self.ratio)
    }
}
