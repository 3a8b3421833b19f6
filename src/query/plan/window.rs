//! A function over a range vector selector.

use std::fmt;

use datafusion::logical_expr::LogicalPlan;

use super::annotation::Position;
use super::function::WindowFunction;
use super::node::Node;
use super::scalar::ScalarArgument;
use super::schema::GridSchema;

/// The node's parameters; inputs are the range selector and those scalars that are not known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    /// What is computed.
    pub(crate) function: WindowFunction,
    /// The quantile of `quantile_over_time`, the seconds of `predict_linear`, the two factors of
    /// `double_exponential_smoothing`.
    pub(crate) arguments: Vec<ScalarArgument>,
    /// Where the first argument stands, for warnings.
    pub(crate) position: Position,
}

impl Window {
    /// The plan over a selector; `scalars` are the inputs of the arguments, in their order.
    pub(crate) fn plan(
        self,
        selector: LogicalPlan,
        scalars: Vec<LogicalPlan>,
        schema: &GridSchema,
    ) -> LogicalPlan {
        let inputs = std::iter::once(selector).chain(scalars).collect();
        Node::plan("PromWindow", self, inputs, schema)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name())?;
        self.arguments.iter().try_for_each(|argument| argument.fmt(f))
    }
}
