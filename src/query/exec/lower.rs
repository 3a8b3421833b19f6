//! From logical nodes to operators: one function, used by `DataFusion`'s planner (EXPLAIN, SQL) and directly.

use std::sync::Arc;

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result as DfResult;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use hashbrown::HashMap;

use super::error::outward;
use super::grid_aggregate::{GridAggregateExec, Settings};
use super::grid_map::{GridMapExec, Map};
use super::limit_ratio::Ratio;
use super::operator::ScalarInput;
use super::series_scan::SeriesScanExec;
use super::small::{Small, SmallExec};
use super::source::Source;
use super::subquery::{SubqueryExec, Surroundings};
use super::vector_match::VectorMatchExec;
use super::whole::{Whole, WholeExec};
use super::window::Fused;
use crate::error::{Error, Result};
use crate::query::plan::{
    Absent, Aggregate, Annotations, CountValues, GRID, GridSchema, Histogram, Instant, LimitRatio, Literal,
    Node, Relabel, ScalarArgument, ScalarBinary, ScalarOf, Selected, Selector, Sort, Subquery, Unique,
    VectorMatch, Window,
};
use crate::runtime::Clock;

type Plan = Arc<dyn ExecutionPlan>;

/// What operators of one query need: the selections that were made for it, and its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Lower {
    /// One for every selector of the plan.
    pub(crate) selections: Arc<HashMap<Selected, Source>>,
    /// Where warnings go.
    pub(crate) annotations: Annotations,
    /// Names are removed at once and not at the end.
    pub(crate) immediate_names: bool,
    /// How many parts a scan is read in.
    pub(crate) partitions: usize,
    /// For yielding by time.
    pub(crate) clock: Clock,
    /// How many samples the query may hold.
    pub(crate) max_samples: u64,
}

impl Lower {
    /// The operator of one node over its inputs; `None` for a node that is not ours.
    ///
    /// # Errors
    /// `Internal` for a plan that the translator does not make.
    pub(crate) fn lower(&self, node: &dyn UserDefinedLogicalNode, inputs: &[Plan]) -> Result<Option<Plan>> {
        if let Some(node) = Node::<Selector>::of(node) {
            return self.scan(node.parameters(), node.grid_schema()).map(Some);
        }
        if let Some(node) = Node::<Window>::of(node) {
            return window(node.parameters(), inputs).map(Some);
        }
        if let Some(node) = Node::<Subquery>::of(node) {
            return self.subquery(node, inputs).map(Some);
        }
        let Some(schema) = schema_of(node) else { return Ok(None) };
        let small = |what| -> Plan { Arc::new(SmallExec::new(what, inputs.first(), schema)) };
        if let Some(node) = Node::<Aggregate>::of(node) {
            let aggregate = node.parameters().clone();
            let argument = scalar_input(&aggregate.argument, inputs);
            let exec = GridAggregateExec::new(aggregate, first(inputs)?, argument, schema, self.settings());
            return Ok(Some(Arc::new(exec)));
        }
        if let Some(node) = Node::<Instant>::of(node) {
            let instant = node.parameters().clone();
            let scalars = scalar_inputs(&instant.arguments, inputs);
            let map = Map::Function(instant, scalars);
            return Ok(Some(Arc::new(GridMapExec::new(map, first(inputs)?, schema, &self.annotations))));
        }
        if let Some(node) = Node::<LimitRatio>::of(node) {
            let (annotations, position) = (self.annotations.clone(), node.parameters().position);
            let ratio = Ratio { position, annotations, immediate_names: self.immediate_names };
            let map = Map::Ratio(ratio, scalar_input(&node.parameters().ratio, inputs));
            return Ok(Some(Arc::new(GridMapExec::new(map, first(inputs)?, schema, &self.annotations))));
        }
        if let Some((what, arguments)) = whole_of(node) {
            let scalars = scalar_inputs(arguments, inputs);
            let exec = WholeExec::new(what, first(inputs)?, scalars, schema, self.settings());
            return Ok(Some(Arc::new(exec)));
        }
        if let Some(node) = Node::<ScalarBinary>::of(node) {
            let binary = node.parameters().clone();
            let scalar = scalar_input(&binary.scalar, inputs);
            let exec =
                GridMapExec::new(Map::Binary(binary, scalar), first(inputs)?, schema, &self.annotations);
            return Ok(Some(Arc::new(exec)));
        }
        if let Some(node) = Node::<VectorMatch>::of(node) {
            let [left, right] = inputs else { return Err(Error::internal("a match without two inputs")) };
            let inputs = [Arc::clone(left), Arc::clone(right)];
            let exec = VectorMatchExec::new(node.parameters().clone(), inputs, schema, self.settings());
            return Ok(Some(Arc::new(exec)));
        }
        if let Some(node) = Node::<Literal>::of(node) {
            return Ok(Some(small(Small::Literal(node.parameters().clone()))));
        }
        if let Some(node) = Node::<ScalarOf>::of(node) {
            return Ok(Some(small(Small::ScalarOf(node.parameters().clone()))));
        }
        if let Some(node) = Node::<Sort>::of(node) {
            return Ok(Some(small(Small::Sort(node.parameters().clone()))));
        }
        if let Some(node) = Node::<Unique>::of(node) {
            return Ok(Some(small(Small::Unique(node.parameters().clone()))));
        }
        Ok(None)
    }

    /// A whole plan of ours, without `DataFusion`'s planner.
    ///
    /// # Errors
    /// `Internal` for a plan with a node that is not ours.
    pub(crate) fn whole(&self, plan: &LogicalPlan) -> Result<Plan> {
        let LogicalPlan::Extension(extension) = plan else {
            return Err(Error::internal("a PromQL plan has a node that is not ours"));
        };
        let inputs = extension.node.inputs().into_iter().map(|input| self.whole(input));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        self.lower(extension.node.as_ref(), &inputs)?
            .ok_or_else(|| Error::internal(format!("no operator for {}", extension.node.name())))
    }

    fn settings(&self) -> Settings {
        Settings {
            immediate_names: self.immediate_names,
            annotations: self.annotations.clone(),
            clock: self.clock,
        }
    }

    fn subquery(&self, node: &Node<Subquery>, inputs: &[Plan]) -> Result<Plan> {
        let (parameters, schema) = (node.parameters(), node.grid_schema());
        let inner = parameters.grid(schema.grid())?.map(|(grid, _)| GridSchema::new(grid)).transpose()?;
        let surroundings = Surroundings {
            immediate_names: self.immediate_names,
            annotations: self.annotations.clone(),
            clock: self.clock,
            max_samples: self.max_samples,
        };
        let input = inputs.first().map(Arc::clone).zip(inner);
        Ok(Arc::new(SubqueryExec::new(parameters.clone(), input, schema, surroundings)))
    }

    fn scan(&self, selector: &Selector, schema: &GridSchema) -> Result<Plan> {
        let selected = selector.selected(schema)?;
        let source = self
            .selections
            .get(&selected)
            .ok_or_else(|| Error::internal("a selector was not selected before planning"))?;
        let surroundings = (self.clock, self.partitions);
        let annotations = self.annotations.clone();
        Ok(Arc::new(SeriesScanExec::new(selector.clone(), source.clone(), schema, annotations, surroundings)))
    }
}

/// A window function becomes part of the scan or the subquery below it.
fn window(window: &Window, inputs: &[Plan]) -> Result<Plan> {
    let fused = Fused {
        function: window.function,
        arguments: scalar_inputs(&window.arguments, inputs),
        position: window.position,
    };
    let over = first(inputs)?;
    if let Some(scan) = over.downcast_ref::<SeriesScanExec>() {
        return Ok(Arc::new(scan.fuse(fused)));
    }
    let subquery = over.downcast_ref::<SubqueryExec>();
    let subquery = subquery.ok_or_else(|| Error::internal("a window function without a range vector"))?;
    Ok(Arc::new(subquery.fuse(fused)))
}

fn first(inputs: &[Plan]) -> Result<&Plan> {
    inputs.first().ok_or_else(|| Error::internal("an operator without an input"))
}

/// A node's only argument.
fn scalar_input(argument: &ScalarArgument, inputs: &[Plan]) -> ScalarInput {
    let is_input = matches!(argument, ScalarArgument::Input | ScalarArgument::InputAtStart);
    ScalarInput::new(argument, inputs.get(1).filter(|_| is_input))
}

/// A node's arguments: the inputs behind the first are those that are not known.
fn scalar_inputs(arguments: &[ScalarArgument], inputs: &[Plan]) -> Vec<ScalarInput> {
    ScalarInput::all(arguments, inputs.get(1..).unwrap_or_default())
}

/// What needs all rows at once, with its arguments.
fn whole_of(node: &dyn UserDefinedLogicalNode) -> Option<(Whole, &[ScalarArgument])> {
    let absent = Node::<Absent>::of(node).map(|node| Whole::Absent(node.parameters().clone()));
    let counts = || Node::<CountValues>::of(node).map(|node| Whole::CountValues(node.parameters().clone()));
    let relabel = || Node::<Relabel>::of(node).map(|node| Whole::Relabel(node.parameters().clone()));
    if let Some(what) = absent.or_else(counts).or_else(relabel) {
        return Some((what, &[]));
    }
    let histogram = Node::<Histogram>::of(node)?.parameters();
    Some((Whole::Histogram(histogram.clone()), &histogram.arguments))
}

/// The schema of a node of ours.
fn schema_of(node: &dyn UserDefinedLogicalNode) -> Option<&GridSchema> {
    Node::<Aggregate>::of(node)
        .map(Node::grid_schema)
        .or_else(|| Node::<Instant>::of(node).map(Node::grid_schema))
        .or_else(|| Node::<ScalarBinary>::of(node).map(Node::grid_schema))
        .or_else(|| Node::<VectorMatch>::of(node).map(Node::grid_schema))
        .or_else(|| Node::<Literal>::of(node).map(Node::grid_schema))
        .or_else(|| Node::<ScalarOf>::of(node).map(Node::grid_schema))
        .or_else(|| Node::<Sort>::of(node).map(Node::grid_schema))
        .or_else(|| Node::<Unique>::of(node).map(Node::grid_schema))
        .or_else(|| Node::<Absent>::of(node).map(Node::grid_schema))
        .or_else(|| Node::<CountValues>::of(node).map(Node::grid_schema))
        .or_else(|| Node::<Histogram>::of(node).map(Node::grid_schema))
        .or_else(|| Node::<LimitRatio>::of(node).map(Node::grid_schema))
        .or_else(|| Node::<Relabel>::of(node).map(Node::grid_schema))
}

/// The selections that a plan needs, each once.
///
/// # Errors
/// `Invalid` when a window leaves 64-bit milliseconds.
pub(crate) fn selections(plan: &LogicalPlan) -> Result<Vec<Selected>> {
    let mut found = Vec::new();
    let mut stack = vec![plan];
    while let Some(plan) = stack.pop() {
        stack.extend(plan.inputs());
        let LogicalPlan::Extension(extension) = plan else { continue };
        if let Some(node) = Node::<Selector>::of(extension.node.as_ref()) {
            let selected = node.parameters().selected(node.grid_schema())?;
            if !found.contains(&selected) {
                found.push(selected);
            }
        }
    }
    Ok(found)
}

/// The most steps that any part of a plan evaluates: a subquery may have many more than the query around it.
pub(crate) fn longest_grid(plan: &LogicalPlan) -> usize {
    let (mut longest, mut stack) = (1, vec![plan]);
    while let Some(plan) = stack.pop() {
        stack.extend(plan.inputs());
        let steps = steps_of(plan).unwrap_or(1);
        longest = longest.max(steps);
    }
    longest
}

fn steps_of(plan: &LogicalPlan) -> Option<usize> {
    let DataType::FixedSizeList(_, steps) = plan.schema().field(GRID).data_type() else { return None };
    usize::try_from(*steps).ok()
}

#[async_trait]
impl ExtensionPlanner for Lower {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical: &[&LogicalPlan],
        inputs: &[Plan],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> DfResult<Option<Plan>> {
        self.lower(node, inputs).map_err(outward)
    }
}

/// `DataFusion`'s planner with our nodes: for SQL above PromQL plans and for EXPLAIN.
pub(crate) struct PromPlanner(DefaultPhysicalPlanner);

impl PromPlanner {
    pub(crate) fn new(lower: Lower) -> Self {
        Self(DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(lower)]))
    }
}

impl std::fmt::Debug for PromPlanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PromPlanner")
    }
}

#[async_trait]
impl QueryPlanner for PromPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> DfResult<Plan> {
        self.0.create_physical_plan(plan, session).await
    }
}
