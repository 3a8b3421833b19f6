//! `SeriesScan`: the leaf that reads a selection and computes each series' window function on the way.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray, BinaryBuilder, RecordBatch};
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, MetricBuilder};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use super::batch::{Rows, batch_rows, too_many_labels};
use super::error::outward;
use super::kernel::{self, Kernel, Samples, bits};
use super::labels::push_series;
use super::native::{MixedRows, Points, Reach};
use super::operator::{ScalarInput, Yielder, operator, properties, stream};
use super::source::{Reader, Source};
use super::window::Fused;
use crate::error::{Error, Result};
use crate::query::plan::{Annotations, GridSchema, Selector, StepScalar, Take};
use crate::runtime::Clock;

/// The operator. Without a fused function a range selector cannot be executed.
#[derive(Debug, Clone)]
pub(crate) struct SeriesScanExec {
    pub(crate) selector: Selector,
    pub(crate) source: Source,
    pub(crate) fused: Option<Fused>,
    pub(crate) schema: GridSchema,
    pub(crate) annotations: Annotations,
    pub(crate) clock: Clock,
    partitions: Vec<Range<usize>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SeriesScanExec {
    /// Reads `source` in at most `partitions` parts.
    pub(crate) fn new(
        selector: Selector,
        source: Source,
        schema: &GridSchema,
        annotations: Annotations,
        (clock, partitions): (Clock, usize),
    ) -> Self {
        let partitions = source.partitions(partitions);
        Self {
            selector,
            source,
            fused: None,
            schema: schema.clone(),
            annotations,
            clock,
            properties: properties(schema, partitions.len().max(1)),
            partitions,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The same scan with a window function in it.
    pub(crate) fn fuse(&self, fused: Fused) -> Self {
        Self { fused: Some(fused), metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }
    }

    fn kind(&self, arguments: &[StepScalar]) -> Result<kernel::Kind> {
        Ok(match (self.selector.take, &self.fused) {
            (Take::Newest, None) => kernel::Kind::Newest,
            (Take::NewestTime, None) => kernel::Kind::NewestTime,
            (Take::Range, Some(fused)) => kernel::Kind::Function(fused.function, arguments.to_vec()),
            _ => return Err(Error::internal("a range vector was executed without its function")),
        })
    }

    /// The label sets of a range of series, in PromQL's form.
    fn dictionary(&self, range: Range<usize>) -> Result<Arc<BinaryArray>> {
        let mut builder = BinaryBuilder::new();
        let (mut bytes, mut total) = (Vec::new(), 0_usize);
        for at in range {
            bytes.clear();
            push_series(&mut bytes, self.source.key(at));
            total += bytes.len();
            if i32::try_from(total).is_err() {
                return Err(too_many_labels());
            }
            builder.append_value(&bytes);
        }
        Ok(Arc::new(builder.finish()))
    }
}

impl DisplayAs for SeriesScanExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeriesScanExec: {}", self.selector)?;
        if let Some(fused) = &self.fused {
            write!(f, " function={}", fused.function.name())?;
        }
        write!(f, " series={} partitions={}", self.source.len(), self.partitions.len())
    }
}

impl ExecutionPlan for SeriesScanExec {
    operator!("SeriesScanExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.fused.iter().flat_map(|fused| fused.arguments.iter().filter_map(ScalarInput::plan)).collect()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let Some(fused) = &self.fused else { return Ok(self) };
        let arguments = ScalarInput::replace_all(&fused.arguments, &children);
        Ok(Arc::new(self.fuse(Fused { arguments, ..fused.clone() })))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let range = self.partitions.get(partition).cloned().unwrap_or(0..0);
        let dictionary = self.dictionary(range.clone()).map_err(outward)?;
        let partial = Partial {
            reader: self.source.scan(range.clone()).map_err(outward)?,
            first: range.start,
            dictionary,
            kernel: None,
            mixed: MixedRows::default(),
            arguments: Vec::new(),
            yielder: Yielder::new(self.clock),
            base: BaselineMetrics::new(&self.metrics, partition),
            samples: MetricBuilder::new(&self.metrics).counter("samples", partition),
            scan: self.clone(),
            context,
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
    scan: SeriesScanExec,
    context: Arc<TaskContext>,
    reader: Reader,
    first: usize,
    dictionary: Arc<BinaryArray>,
    kernel: Option<Kernel>,
    /// For series with native histograms.
    mixed: MixedRows,
    arguments: Vec<StepScalar>,
    yielder: Yielder,
    base: BaselineMetrics,
    samples: Count,
}

impl Partial {
    async fn start(&mut self) -> Result<Kernel> {
        if let Some(fused) = &self.scan.fused {
            self.arguments = ScalarInput::get_all(&fused.arguments, &self.context).await?;
        }
        let selector = &self.scan.selector;
        let kind = self.scan.kind(&self.arguments)?;
        let grid = self.scan.schema.grid();
        Kernel::new(kind, grid, selector.range_ms, selector.offset_ms, selector.at_ms)
    }

    /// The next batch of rows that have any value.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let mut kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => self.start().await?,
        };
        let steps = self.scan.schema.grid().steps();
        let left = self.dictionary.len();
        let mut rows = Rows::shared(&self.scan.schema, batch_rows(steps).min(left.max(1)), &self.dictionary);
        let mut words = vec![0; bits::word_count(steps)];
        let Selector { range_ms, offset_ms, at_ms, names_resets, .. } = self.scan.selector;
        let reach = Reach { grid: self.scan.schema.grid(), range_ms, offset_ms, at_ms, names_resets };
        let drop_name = self
            .scan
            .fused
            .as_ref()
            .map_or(self.scan.selector.take == Take::NewestTime, |fused| fused.function.drops_name());
        while rows.len() < batch_rows(steps) && !rows.is_heavy() {
            let Some(series) = self.reader.next().await? else { break };
            let timer = self.base.elapsed_compute().timer();
            self.samples.add(series.timestamps.len() + series.histograms.len());
            let index = series.index;
            let key = i32::try_from(index - self.first).map_err(|_| too_many_labels())?;
            let samples =
                Samples { timestamps: series.timestamps, values: series.values, stale_at: series.stale_at };
            let points = Points {
                floats: samples,
                times: series.histogram_times,
                histograms: series.histograms,
                before: series.histogram_before,
            };
            let points = match self.scan.selector.only_ms {
                Some(span) => points.within(span),
                None => points,
            };
            let has_floats = if points.times.is_empty() {
                let fill = |out: &mut [f64], valid: &mut [u64]| kernel.run(&points.floats, out, valid);
                rows.push_with(key, drop_name, &mut words, fill)?
            } else {
                let row = (&mut rows, words.as_mut_slice());
                self.mixed.push(&mut kernel, &points, row, (key, drop_name), &reach)?
            };
            if let Some(fused) = &self.scan.fused {
                let metric = &self.scan.source.key(index).metric;
                if has_floats {
                    fused.warn(metric, &self.arguments, &words, &self.scan.annotations);
                }
                fused.note(metric, self.mixed.notes(), &self.scan.annotations);
            }
            drop(timer);
            self.yielder.check().await;
        }
        self.kernel = Some(kernel);
        if rows.len() == 0 {
            self.base.done();
            return Ok(None);
        }
        let batch = rows.finish()?;
        self.base.record_output(batch.num_rows());
        Ok(Some(batch))
    }
}
