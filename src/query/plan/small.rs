//! The small nodes: known scalars as a relation, `scalar()`, sorting, and the check for equal label sets.

use std::fmt;

use datafusion::logical_expr::LogicalPlan;

use super::node::Node;
use super::scalar::StepScalar;
use super::schema::GridSchema;

/// A known scalar as one series without labels: a literal, `time()`, `vector(1)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Literal(pub(crate) StepScalar);

impl Literal {
    /// The plan.
    pub(crate) fn plan(self, schema: &GridSchema) -> LogicalPlan {
        Node::plan("PromLiteral", self, Vec::new(), schema)
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `scalar(vector)`: the only value of a step, or NaN.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ScalarOf;

impl ScalarOf {
    /// The plan.
    pub(crate) fn plan(self, input: LogicalPlan, schema: &GridSchema) -> LogicalPlan {
        Node::plan("PromScalar", self, vec![input], schema)
    }
}

impl fmt::Display for ScalarOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the only value")
    }
}

/// The order of an instant query; by value NaN comes last in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sort {
    /// By these labels in natural order (`sort_by_label`), and by all of them where they are equal; by value
    /// without.
    pub(crate) labels: Option<Vec<String>>,
    /// Largest first.
    pub(crate) descending: bool,
}

impl Sort {
    /// The plan.
    pub(crate) fn plan(self, input: LogicalPlan, schema: &GridSchema) -> LogicalPlan {
        Node::plan("PromSort", self, vec![input], schema)
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.descending { "descending" } else { "ascending" })?;
        match &self.labels {
            Some(labels) => write!(f, " by {}", labels.join(", ")),
            None => Ok(()),
        }
    }
}

/// Refuses equal label sets after the names are gone. Only needed where names are removed at once and the
/// selector does not fix the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Unique {
    /// Refuse them even where they never have a value at the same step (functions over ranges); else they are
    /// merged then.
    pub(crate) strict: bool,
}

impl Unique {
    /// The plan.
    pub(crate) fn plan(self, input: LogicalPlan, schema: &GridSchema) -> LogicalPlan {
        Node::plan("PromUnique", self, vec![input], schema)
    }
}

impl fmt::Display for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.strict { "label sets" } else { "label sets per step" })
    }
}
