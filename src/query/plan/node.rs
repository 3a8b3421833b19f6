//! What all logical nodes have in common: parameters, inputs and the constant schema.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt::{self, Debug, Display};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::{DFSchemaRef, Result};
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};

use super::schema::{DROP_NAME, GRID, GridSchema, LABELS};

/// A logical node of one construct, whose parameters are `P`; `P`'s text is what EXPLAIN shows.
#[derive(Clone)]
pub(crate) struct Node<P> {
    name: &'static str,
    parameters: P,
    inputs: Vec<LogicalPlan>,
    schema: GridSchema,
}

impl<P> Node<P>
where
    P: Clone + Eq + Hash + Display + Debug + Send + Sync + 'static,
{
    /// A plan with this node on top.
    pub(crate) fn plan(
        name: &'static str,
        parameters: P,
        inputs: Vec<LogicalPlan>,
        schema: &GridSchema,
    ) -> LogicalPlan {
        let node = Self { name, parameters, inputs, schema: schema.clone() };
        LogicalPlan::Extension(Extension { node: Arc::new(node) })
    }

    /// A plan with this node over a vector and, where they are not known while planning, scalars.
    pub(crate) fn over(
        name: &'static str,
        parameters: P,
        (vector, scalars): (LogicalPlan, impl IntoIterator<Item = LogicalPlan>),
        schema: &GridSchema,
    ) -> LogicalPlan {
        Self::plan(name, parameters, std::iter::once(vector).chain(scalars).collect(), schema)
    }

    /// The node, if it is one with these parameters.
    pub(crate) fn of(node: &dyn UserDefinedLogicalNode) -> Option<&Self> {
        node.as_any().downcast_ref::<Self>()
    }
}

impl<P> Node<P> {
    /// What the construct does.
    pub(crate) fn parameters(&self) -> &P {
        &self.parameters
    }

    /// The schema of its rows.
    pub(crate) fn grid_schema(&self) -> &GridSchema {
        &self.schema
    }
}

impl<P: PartialEq> PartialEq for Node<P> {
    fn eq(&self, other: &Self) -> bool {
        self.parameters == other.parameters
            && self.schema.grid() == other.schema.grid()
            && self.inputs == other.inputs
    }
}

impl<P: Eq> Eq for Node<P> {}

impl<P: Hash> Hash for Node<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parameters.hash(state);
        self.schema.grid().hash(state);
        self.inputs.hash(state);
    }
}

/// `DataFusion` asks for an order and gives it no meaning: the text of the parameters decides.
impl<P: PartialEq + Display> PartialOrd for Node<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.parameters.to_string().partial_cmp(&other.parameters.to_string())
    }
}

impl<P: Display> Debug for Node<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.parameters)
    }
}

impl<P> UserDefinedLogicalNodeCore for Node<P>
where
    P: Clone + Eq + Hash + Display + Debug + Send + Sync + 'static,
{
    fn name(&self) -> &str {
        self.name
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        self.schema.datafusion()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.schema.arrow().fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(self, f)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { inputs, ..self.clone() })
    }

    fn necessary_children_exprs(&self, _output: &[usize]) -> Option<Vec<Vec<usize>>> {
        // A parent needs all of a row or nothing: no column can be left out below.
        Some(self.inputs.iter().map(|_| vec![LABELS, DROP_NAME, GRID]).collect())
    }
}
