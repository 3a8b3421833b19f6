//! `Subquery`: the rows of a finer grid become samples, and a window function runs over them as over stored ones.
//!
//! Partitions and dictionaries are those of its input. Rows are taken one after the other; what is held is a batch
//! of the input and a few buffers as long as its grid, which are counted before anything is read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use super::aggregate::Row;
use super::batch::{Rows, View, batch_rows};
use super::error::inward;
use super::kernel::{self, Kernel, Samples, bits};
use super::native::{Cell, MixedRows, Points, Reach};
use super::operator::{ScalarInput, Yielder, operator, partition_count, properties, stream};
use super::window::Fused;
use crate::error::{Error, Result};
use crate::model::{Histogram, METRIC_NAME, ResetHint};
use crate::query::plan::{Annotations, GridSchema, StepScalar, Subquery, too_many_samples};
use crate::runtime::Clock;

/// Bytes that a step of the inner grid costs each partition: the row, its samples, and what the kernel plans.
const STEP_BYTES: usize = 40;

/// What the operator needs to know besides its input.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) immediate_names: bool,
    pub(crate) annotations: Annotations,
    pub(crate) clock: Clock,
    /// How many samples the inner expression may give in all.
    pub(crate) max_samples: u64,
}

/// The operator. Without a fused function it cannot be executed.
#[derive(Debug, Clone)]
pub(crate) struct SubqueryExec {
    node: Subquery,
    /// With the schema of its rows; none where the inner grid has no step.
    input: Option<(Arc<dyn ExecutionPlan>, GridSchema)>,
    fused: Option<Fused>,
    schema: GridSchema,
    surroundings: Surroundings,
    /// Samples of the inner expression so far, in all partitions.
    counted: Arc<AtomicU64>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SubqueryExec {
    pub(crate) fn new(
        node: Subquery,
        input: Option<(Arc<dyn ExecutionPlan>, GridSchema)>,
        schema: &GridSchema,
        surroundings: Surroundings,
    ) -> Self {
        let partitions = input.as_ref().map_or(1, |(input, _)| partition_count(input));
        Self {
            node,
            input,
            fused: None,
            schema: schema.clone(),
            surroundings,
            counted: Arc::default(),
            properties: properties(schema, partitions),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The same subquery with a window function over it.
    pub(crate) fn fuse(&self, fused: Fused) -> Self {
        Self { fused: Some(fused), metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }
    }

    fn fused(&self) -> Result<&Fused> {
        let fused = self.fused.as_ref();
        fused.ok_or_else(|| Error::internal("a subquery was executed without its function"))
    }

    /// Counts samples of the inner expression.
    fn count(&self, samples: usize) -> Result<()> {
        let more = u64::try_from(samples).unwrap_or(u64::MAX);
        let before = self.counted.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.surroundings.max_samples {
            return Err(too_many_samples().with("limit", self.surroundings.max_samples));
        }
        Ok(())
    }
}

impl DisplayAs for SubqueryExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubqueryExec: {}", self.node)?;
        match &self.fused {
            Some(fused) => write!(f, " function={}", fused.function.name()),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for SubqueryExec {
    operator!("SubqueryExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        let input = self.input.iter().map(|(input, _)| input);
        input
            .chain(self.fused.iter().flat_map(|fused| fused.arguments.iter().filter_map(ScalarInput::plan)))
            .collect()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let scalars = usize::from(self.input.is_some()).min(children.len());
        let input = self.input.as_ref().zip(children.first());
        let input = input.map(|((_, schema), input)| (Arc::clone(input), schema.clone()));
        let new = Self::new(self.node.clone(), input, &self.schema, self.surroundings.clone());
        let Some(fused) = &self.fused else { return Ok(Arc::new(new)) };
        let arguments = ScalarInput::replace_all(&fused.arguments, &children[scalars..]);
        Ok(Arc::new(new.fuse(Fused { arguments, ..fused.clone() })))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let Some((input, inner)) = &self.input else {
            return Ok(stream(&self.schema, futures::stream::empty()));
        };
        let memory = MemoryConsumer::new("SubqueryExec").register(context.memory_pool());
        memory.try_grow(inner.grid().steps().saturating_mul(STEP_BYTES))?;
        let partial = Partial {
            input: input.execute(partition, Arc::clone(&context))?,
            times: inner.grid().times().collect(),
            batch: None,
            kernel: None,
            arguments: Vec::new(),
            scratch: Scratch::default(),
            mixed: MixedRows::default(),
            yielder: Yielder::new(self.surroundings.clock),
            base: BaselineMetrics::new(&self.metrics, partition),
            exec: self.clone(),
            context,
            _memory: memory,
        };
        let batches = futures::stream::try_unfold(partial, async |mut partial| {
            let batch = partial.next().await?;
            Ok(batch.map(|batch| (batch, partial)))
        });
        Ok(stream(&self.schema, batches))
    }
}

/// One partition being read.
struct Partial {
    exec: SubqueryExec,
    context: Arc<TaskContext>,
    input: SendableRecordBatchStream,
    /// The inner evaluation times.
    times: Vec<i64>,
    /// A batch of the input, and its next row.
    batch: Option<(RecordBatch, usize)>,
    kernel: Option<Kernel>,
    arguments: Vec<StepScalar>,
    scratch: Scratch,
    /// For rows with native histograms.
    mixed: MixedRows,
    yielder: Yielder,
    base: BaselineMetrics,
    _memory: MemoryReservation,
}

/// Where the samples of one row are put together.
#[derive(Debug, Default)]
struct Scratch {
    timestamps: Vec<i64>,
    values: Vec<f64>,
    histogram_times: Vec<i64>,
    histograms: Vec<Arc<Histogram>>,
}

impl Scratch {
    /// The steps of a row that have a value; rows without a gap share their timeline. What a histogram knew of the
    /// one before it does not hold for the steps.
    fn points<'a>(&'a mut self, times: &'a [i64], row: &Row<'a>, cells: Vec<Cell>) -> Points<'a> {
        self.histogram_times.clear();
        self.histograms.clear();
        for (step, mut histogram) in cells {
            if matches!(histogram.reset_hint, ResetHint::Reset | ResetHint::NotReset) {
                Arc::make_mut(&mut histogram).reset_hint = ResetHint::Unknown;
            }
            self.histogram_times.push(times[step as usize]);
            self.histograms.push(histogram);
        }
        let floats = match row.valid {
            None => Samples { timestamps: times, values: row.values, stale_at: &[] },
            Some(valid) => {
                self.timestamps.clear();
                self.values.clear();
                for step in bits::ones(valid) {
                    self.timestamps.push(times[step]);
                    self.values.push(row.values[step]);
                }
                Samples { timestamps: &self.timestamps, values: &self.values, stale_at: &[] }
            }
        };
        Points { floats, times: &self.histogram_times, histograms: &self.histograms, before: None }
    }
}

impl Partial {
    async fn start(&mut self) -> Result<Kernel> {
        let fused = self.exec.fused()?;
        self.arguments = ScalarInput::get_all(&fused.arguments, &self.context).await?;
        let kind = kernel::Kind::Function(fused.function, self.arguments.clone());
        let Subquery { range_ms, offset_ms, at_ms, .. } = self.exec.node;
        Kernel::new(kind, self.exec.schema.grid(), range_ms, offset_ms, at_ms)
    }

    /// The next batch of rows that have any value.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let mut kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => self.start().await?,
        };
        loop {
            let (batch, from) = match self.batch.take() {
                Some(rest) => rest,
                None => match self.input.next().await {
                    Some(batch) => (batch.map_err(inward)?, 0),
                    None => break,
                },
            };
            let steps = self.exec.schema.grid().steps();
            let to = batch.num_rows().min(from + batch_rows(steps));
            let output = self.rows(&batch, from..to, &mut kernel).await?;
            if to < batch.num_rows() {
                self.batch = Some((batch, to));
            }
            if output.num_rows() > 0 {
                self.kernel = Some(kernel);
                self.base.record_output(output.num_rows());
                return Ok(Some(output));
            }
        }
        self.base.done();
        Ok(None)
    }

    async fn rows(
        &mut self,
        batch: &RecordBatch,
        rows: std::ops::Range<usize>,
        kernel: &mut Kernel,
    ) -> Result<RecordBatch> {
        let view = View::of(batch);
        let (exec, mut words) = (&self.exec, Vec::new());
        let mut output = Rows::shared(&exec.schema, rows.len(), &Arc::new(view.dictionary().clone()));
        let mut valid = vec![0; bits::word_count(exec.schema.grid().steps())];
        for at in rows {
            let fused = exec.fused()?;
            let timer = self.base.elapsed_compute().timer();
            let cells = view.histograms(at)?;
            let points = self.scratch.points(&self.times, &view.row(at, &mut words), cells);
            exec.count(points.floats.timestamps.len() + points.times.len())?;
            let drop_name = fused.function.drops_name() || view.drop_name(at);
            let key = i32::try_from(view.key(at)).expect("a key came from 32 bits");
            let has_floats = if points.times.is_empty() {
                let fill = |out: &mut [f64], valid: &mut [u64]| kernel.run(&points.floats, out, valid);
                output.push_with(key, drop_name, &mut valid, fill)?
            } else {
                let Subquery { range_ms, offset_ms, at_ms, .. } = exec.node;
                let reach =
                    Reach { grid: exec.schema.grid(), range_ms, offset_ms, at_ms, names_resets: false };
                self.mixed.push(kernel, &points, (&mut output, &mut valid), (key, drop_name), &reach)?
            };
            let name_is_gone = exec.surroundings.immediate_names && view.drop_name(at);
            let metric = view.labels(at).get(METRIC_NAME).filter(|_| !name_is_gone).unwrap_or("");
            let annotations = &exec.surroundings.annotations;
            if has_floats {
                fused.warn(metric, &self.arguments, &valid, annotations);
            }
            fused.note(metric, self.mixed.notes(), annotations);
            drop(timer);
            self.yielder.check().await;
        }
        output.finish()
    }
}
