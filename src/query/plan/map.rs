//! Operators between a vector and a scalar.

use std::fmt;

use datafusion::logical_expr::LogicalPlan;

use super::annotation::Position;
use super::function::ScalarOp;
use super::node::Node;
use super::scalar::ScalarArgument;
use super::schema::GridSchema;

/// A vector and a scalar (or two scalars, of which one is the "vector").
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ScalarBinary {
    /// The operator.
    pub(crate) op: ScalarOp,
    /// `bool`: a comparison gives 0 or 1 and does not filter.
    pub(crate) return_bool: bool,
    /// The scalar stands on the left.
    pub(crate) scalar_left: bool,
    /// The scalar.
    pub(crate) scalar: ScalarArgument,
    /// Where the whole expression stands, for what has to be said about native histograms.
    pub(crate) position: Position,
}

impl ScalarBinary {
    /// The plan; `scalar` is given where it is not known while planning.
    pub(crate) fn plan(
        self,
        vector: LogicalPlan,
        scalar: Option<LogicalPlan>,
        schema: &GridSchema,
    ) -> LogicalPlan {
        Node::over("PromScalarBinary", self, (vector, scalar), schema)
    }

    /// Whether the result is no longer the metric.
    pub(crate) fn drops_name(&self) -> bool {
        self.return_bool || !self.op.is_comparison()
    }
}

impl fmt::Display for ScalarBinary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = self.op.as_str();
        let bool = if self.return_bool { " bool" } else { "" };
        if self.scalar_left {
            write!(f, "{}{op}{bool} vector", self.scalar)
        } else {
            write!(f, "vector {op}{bool}{}", self.scalar)
        }
    }
}
