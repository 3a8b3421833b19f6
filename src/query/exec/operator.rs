//! What all operators have in common.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};
use futures::StreamExt;
use tokio::sync::OnceCell;

use super::batch::View;
use super::error::{inward, outward};
use crate::error::{Error, Result};
use crate::query::plan::{GRID, GridSchema, HISTOGRAMS, ScalarArgument, StepScalar};
use crate::runtime::Clock;

/// After this much work a task lets others run: tokio's own budget would let 128 batches pass.
const YIELD_AFTER: std::time::Duration = std::time::Duration::from_micros(500);

/// Properties of an operator with so many output partitions. They yield by themselves.
pub(crate) fn properties(schema: &GridSchema, partitions: usize) -> Arc<PlanProperties> {
    let equivalences = EquivalenceProperties::new(Arc::clone(schema.arrow()));
    let partitioning = Partitioning::UnknownPartitioning(partitions);
    let emission = EmissionType::Incremental;
    let properties = PlanProperties::new(equivalences, partitioning, emission, Boundedness::Bounded);
    Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative))
}

/// The parts of `ExecutionPlan` that are the same everywhere. The struct has the fields `properties` and `metrics`.
macro_rules! operator {
    ($name:literal) => {
        fn name(&self) -> &str {
            $name
        }

        fn properties(&self) -> &Arc<PlanProperties> {
            &self.properties
        }

        fn apply_expressions(
            &self,
            _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
        ) -> DfResult<TreeNodeRecursion> {
            Ok(TreeNodeRecursion::Continue)
        }

        fn with_new_children(
            self: Arc<Self>,
            children: Vec<Arc<dyn ExecutionPlan>>,
        ) -> DfResult<Arc<dyn ExecutionPlan>> {
            self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
        }

        fn benefits_from_input_partitioning(&self) -> Vec<bool> {
            // Else a round-robin repartition would appear below.
            vec![false; self.children().len()]
        }

        fn metrics(&self) -> Option<MetricsSet> {
            Some(self.metrics.clone_inner())
        }
    };
}
pub(crate) use operator;

/// How many partitions an operator has.
pub(crate) fn partition_count(plan: &Arc<dyn ExecutionPlan>) -> usize {
    plan.output_partitioning().partition_count()
}

/// A stream of batches of ours.
pub(crate) fn stream(
    schema: &GridSchema,
    batches: impl futures::Stream<Item = Result<RecordBatch>> + Send + 'static,
) -> SendableRecordBatchStream {
    let batches = batches.map(|batch| batch.map_err(outward));
    Box::pin(RecordBatchStreamAdapter::new(Arc::clone(schema.arrow()), batches))
}

/// A stream of what a future gives all at once.
pub(crate) fn all_batches(
    work: impl Future<Output = Result<Vec<RecordBatch>>> + Send + 'static,
) -> impl futures::Stream<Item = Result<RecordBatch>> + Send + 'static {
    futures::stream::once(work).flat_map(|all| match all {
        Ok(batches) => futures::stream::iter(batches.into_iter().map(Ok).collect::<Vec<_>>()),
        Err(error) => futures::stream::iter(vec![Err(error)]),
    })
}

/// Lets other tasks run when it has been long enough.
#[derive(Debug)]
pub(crate) struct Yielder {
    clock: Clock,
    since: std::time::Duration,
}

impl Yielder {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, since: clock.monotonic() }
    }

    /// Yields if more than half a millisecond has passed since the last time.
    pub(crate) async fn check(&mut self) {
        if self.clock.monotonic().saturating_sub(self.since) > YIELD_AFTER {
            tokio::task::yield_now().await;
            self.since = self.clock.monotonic();
        }
    }
}

/// A scalar argument at run time: known, or computed once by a plan and shared by all partitions.
#[derive(Debug, Clone)]
pub(crate) struct ScalarInput {
    known: Option<StepScalar>,
    plan: Option<Arc<dyn ExecutionPlan>>,
    /// The value of the first step is that of all.
    at_start: bool,
    computed: Arc<OnceCell<StepScalar>>,
}

impl ScalarInput {
    pub(crate) fn new(argument: &ScalarArgument, plan: Option<&Arc<dyn ExecutionPlan>>) -> Self {
        let known = match argument {
            ScalarArgument::Known(value) => Some(value.clone()),
            ScalarArgument::None | ScalarArgument::Input | ScalarArgument::InputAtStart => None,
        };
        let at_start = *argument == ScalarArgument::InputAtStart;
        Self { known, plan: plan.map(Arc::clone), at_start, computed: Arc::default() }
    }

    /// The arguments of a node; `plans` compute those that are not known, in their order.
    pub(crate) fn all(arguments: &[ScalarArgument], plans: &[Arc<dyn ExecutionPlan>]) -> Vec<Self> {
        let mut plans = plans.iter();
        let one = |argument: &ScalarArgument| match argument {
            ScalarArgument::Input | ScalarArgument::InputAtStart => Self::new(argument, plans.next()),
            ScalarArgument::None | ScalarArgument::Known(_) => Self::new(argument, None),
        };
        arguments.iter().map(one).collect()
    }

    /// The operator that computes it, if one does.
    pub(crate) fn plan(&self) -> Option<&Arc<dyn ExecutionPlan>> {
        self.plan.as_ref()
    }

    /// The same argument over another operator.
    pub(crate) fn replace(&self, plan: Option<Arc<dyn ExecutionPlan>>) -> Self {
        Self { known: self.known.clone(), plan, at_start: self.at_start, computed: Arc::default() }
    }

    /// The same arguments over other operators.
    pub(crate) fn replace_all(all: &[Self], plans: &[Arc<dyn ExecutionPlan>]) -> Vec<Self> {
        let mut plans = plans.iter().cloned();
        all.iter().map(|one| one.replace(one.plan.as_ref().and_then(|_| plans.next()))).collect()
    }

    /// The values of a node's arguments.
    pub(crate) async fn get_all(all: &[Self], context: &Arc<TaskContext>) -> Result<Vec<StepScalar>> {
        let mut values = Vec::with_capacity(all.len());
        for one in all {
            values.extend(one.get(context).await?);
        }
        Ok(values)
    }

    /// The value; `None` where the construct has no argument.
    pub(crate) async fn get(&self, context: &Arc<TaskContext>) -> Result<Option<StepScalar>> {
        if let Some(plan) = &self.plan {
            let value = self.computed.get_or_try_init(|| one_row(plan, context)).await?;
            return Ok(Some(if self.at_start { value.at_start() } else { value.clone() }));
        }
        Ok(self.known.clone())
    }
}

/// Runs a plan that gives exactly one row with a value at every step.
async fn one_row(plan: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Result<StepScalar> {
    let mut batches = plan.execute(0, Arc::clone(context)).map_err(inward)?;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(inward)?;
        let view = View::of(&batch);
        if view.len() > 0 {
            let mut words = Vec::new();
            return Ok(StepScalar::PerStep(view.row(0, &mut words).values.into()));
        }
    }
    Err(Error::internal("a scalar expression gave no value"))
}

/// Reads all partitions at the same time and gives their results in partition order. Every partition is
/// spawned: a lone spawn would sit in this worker's own slot, which nobody can steal from.
pub(crate) async fn gather<T, F>(work: Vec<F>) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    if work.len() == 1 {
        let mut results = Vec::with_capacity(1);
        for one in work {
            results.push(one.await?);
        }
        return Ok(results);
    }
    let mut tasks = datafusion::common::runtime::JoinSet::new();
    for (partition, one) in work.into_iter().enumerate() {
        tasks.spawn(async move { (partition, one.await) });
    }
    let mut results: Vec<(usize, T)> = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        let (partition, result) =
            joined.map_err(|e| Error::internal("a part of the query did not end").caused_by(e))?;
        results.push((partition, result?));
    }
    results.sort_unstable_by_key(|(partition, _)| *partition);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// Starts all partitions of an input.
pub(crate) fn start_all(
    input: &Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
) -> Result<Vec<SendableRecordBatchStream>, DataFusionError> {
    (0..partition_count(input)).map(|partition| input.execute(partition, Arc::clone(context))).collect()
}

/// Runs a plan to its end; the batches of each partition, which are read at the same time. Their values are
/// counted in `memory` as they come.
pub(crate) async fn read_all(
    plan: &Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
    memory: &Arc<MemoryReservation>,
) -> Result<Vec<Vec<RecordBatch>>> {
    let drain = |mut input: SendableRecordBatchStream| {
        let memory = Arc::clone(memory);
        async move {
            let mut batches = Vec::new();
            while let Some(batch) = input.next().await {
                let batch = batch.map_err(inward)?;
                memory.try_grow(batch_bytes(&batch)).map_err(inward)?;
                batches.push(batch);
            }
            Ok(batches)
        }
    };
    let inputs = start_all(plan, context).map_err(inward)?;
    gather(inputs.into_iter().map(drain).collect()).await
}

/// Bytes of a batch's values and histograms: labels are shared.
fn batch_bytes(batch: &RecordBatch) -> usize {
    let steps = usize::try_from(batch.column(GRID).as_fixed_size_list().value_length()).unwrap_or(0);
    let histograms = batch.columns().get(HISTOGRAMS).map_or(0, Array::get_array_memory_size);
    batch.num_rows().saturating_mul(steps).saturating_mul(8).saturating_add(histograms)
}
