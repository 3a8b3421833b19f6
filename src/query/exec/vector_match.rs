//! `VectorMatch`: operators between two vectors. It reads both sides whole, numbers the match groups of all their
//! label sets once, and then works on integers and grids. It has one partition.
//!
//! Prometheus goes step by step, and so do its refusals: the first step at which something does not match decides.

mod names;
mod operand;
mod pairs;
mod refusal;
mod sets;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use self::operand::Operand;
use self::pairs::{Operation, Pairs};
use super::batch::View;
use super::error::inward;
use super::grid_aggregate::Settings;
use super::groups::{Groups, Output};
use super::operator::{Yielder, all_batches, operator, properties, read_all, stream};
use super::small::same_labels;
use crate::error::Result;
use crate::query::plan::{GridSchema, PairOp, VectorMatch};

/// The operator.
#[derive(Debug)]
pub(crate) struct VectorMatchExec {
    node: VectorMatch,
    inputs: [Arc<dyn ExecutionPlan>; 2],
    schema: GridSchema,
    settings: Settings,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl VectorMatchExec {
    pub(crate) fn new(
        node: VectorMatch,
        inputs: [Arc<dyn ExecutionPlan>; 2],
        schema: &GridSchema,
        settings: Settings,
    ) -> Self {
        Self {
            node,
            inputs,
            schema: schema.clone(),
            settings,
            properties: properties(schema, 1),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for VectorMatchExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VectorMatchExec: {}", self.node)
    }
}

impl ExecutionPlan for VectorMatchExec {
    operator!("VectorMatchExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let inputs = [0, 1].map(|side| Arc::clone(&children[side]));
        Ok(Arc::new(Self::new(self.node.clone(), inputs, &self.schema, self.settings.clone())))
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let (node, inputs, schema) = (self.node.clone(), self.inputs.clone(), self.schema.clone());
        let settings = self.settings.clone();
        let base = BaselineMetrics::new(&self.metrics, 0);
        let work = async move {
            let memory = Arc::new(MemoryConsumer::new("VectorMatchExec").register(context.memory_pool()));
            let [left, right] = &inputs;
            let left = read_all(left, &context, &memory);
            let right = read_all(right, &context, &memory);
            // Where both fail, the left one is what Prometheus says.
            let (left, right) = futures::future::join(left, right).await;
            let batches = [left?, right?].map(|side| side.into_iter().flatten().collect::<Vec<_>>());
            let how = How { node: &node, schema: &schema, settings: &settings, memory: &memory };
            let batches = match_all(&batches, &how, Yielder::new(settings.clock)).await?;
            base.record_output(batches.iter().map(RecordBatch::num_rows).sum());
            base.done();
            Ok(batches)
        };
        Ok(stream(&self.schema, all_batches(work)))
    }
}

/// What the work depends on besides the rows.
struct How<'a> {
    node: &'a VectorMatch,
    schema: &'a GridSchema,
    settings: &'a Settings,
    memory: &'a MemoryReservation,
}

impl How<'_> {
    /// Whether equal label sets stay two rows: at one time Prometheus only looks for them at the end.
    fn keeps_equal_apart(&self) -> bool {
        self.node.at_one_time && !self.settings.immediate_names
    }

    /// Counts a row of the answer.
    fn grow(&self, steps: usize) -> Result<()> {
        self.memory.try_grow(steps * 8).map_err(inward)
    }
}

/// Both sides with their common groups.
struct Sides<'a> {
    operands: [Operand<'a>; 2],
    groups: Groups,
}

async fn match_all(
    batches: &[Vec<RecordBatch>; 2],
    how: &How<'_>,
    mut yielder: Yielder,
) -> Result<Vec<RecordBatch>> {
    let views = batches.each_ref().map(|side| side.iter().map(View::of).collect::<Vec<_>>());
    let (mut groups, matching) = (Groups::default(), (&how.node.matching, how.settings.immediate_names));
    let mut left = Operand::new(&views[0], matching, &mut groups, &mut yielder).await?;
    let mut right = Operand::new(&views[1], matching, &mut groups, &mut yielder).await?;
    left.index(groups.len());
    right.index(groups.len());
    let sides = Sides { operands: [left, right], groups };
    let mut out = Output::new(how.schema);
    match how.node.op {
        PairOp::Scalar { op, return_bool } => {
            let pairs = Pairs::new(&sides, Operation { op, return_bool }, how);
            pairs.run(&mut out, &mut yielder).await?;
        }
        PairOp::And => sets::filter(&sides, true, how, &mut out, &mut yielder).await?,
        PairOp::Unless => sets::filter(&sides, false, how, &mut out, &mut yielder).await?,
        PairOp::Or => sets::union(&sides, how, &mut out, &mut yielder).await?,
    }
    out.finish()
}
