//! A function over a range vector selector.

use std::fmt;

use datafusion::logical_expr::LogicalPlan;

use super::annotation::Position;
use super::function::WindowFunction;
use super::node::Node;
use super::scalar::ScalarArgument;
use super::schema::GridSchema;

/// The node's parameters; inputs are the range selector and, if it is not known, the scalar.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    /// What is computed.
    pub(crate) function: WindowFunction,
    /// The quantile of `quantile_over_time`.
    pub(crate) argument: ScalarArgument,
    /// Where the first argument stands, for warnings.
    pub(crate) position: Position,
}

impl Window {
    /// The plan over a selector.
    pub(crate) fn plan(
        self,
        selector: LogicalPlan,
        scalar: Option<LogicalPlan>,
        schema: &GridSchema,
    ) -> LogicalPlan {
        let inputs = std::iter::once(selector).chain(scalar).collect();
        Node::plan("PromWindow", self, inputs, schema)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.function.name(), self.argument)
    }
}
