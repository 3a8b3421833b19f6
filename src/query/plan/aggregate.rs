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
    /// k of topk and bottomk, the quantile of quantile.
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
        let inputs = std::iter::once(vector).chain(scalar).collect();
        Node::plan("PromAggregate", self, inputs, schema)
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, names) = match &self.grouping {
            Grouping::By(names) => ("by", names),
            Grouping::Without(names) => ("without", names),
        };
        write!(f, "{}{} {word} ({})", self.op.name(), self.argument, names.join(", "))
    }
}
