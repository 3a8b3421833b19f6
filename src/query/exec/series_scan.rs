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
use super::native::{Cell, Mixed, Points};
use super::operator::{ScalarInput, Yielder, operator, properties, stream};
use super::source::{Reader, Source};
use crate::error::{Error, Result};
use crate::query::plan::{
    Annotation, Annotations, GridSchema, HistogramNote, Position, Selector, StepScalar, Take, WindowFunction,
};
use crate::runtime::Clock;

/// The function that is fused into the scan.
#[derive(Debug, Clone)]
pub(crate) struct Fused {
    pub(crate) function: WindowFunction,
    pub(crate) argument: ScalarInput,
    pub(crate) position: Position,
}

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

    fn kind(&self, argument: Option<StepScalar>) -> Result<kernel::Kind> {
        Ok(match (self.selector.take, &self.fused) {
            (Take::Newest, None) => kernel::Kind::Newest,
            (Take::NewestTime, None) => kernel::Kind::NewestTime,
            (Take::Range, Some(fused)) => kernel::Kind::Function(fused.function, argument),
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

    fn warn(&self, index: usize) {
        let Some(fused) = self.fused.as_ref().filter(|fused| fused.function.wants_counter()) else { return };
        let metric = &self.source.key(index).metric;
        let counts = ["_total", "_sum", "_count", "_bucket"].iter().any(|end| metric.ends_with(end));
        if !metric.is_empty() && !counts {
            self.annotations.add(Annotation::NotACounter(metric), fused.position);
        }
    }

    /// What was found about a series' native histograms.
    fn note(&self, index: usize, notes: impl Iterator<Item = HistogramNote>) {
        let position = self.fused.as_ref().map(|fused| fused.position);
        for (note, position) in notes.zip(std::iter::repeat(position).flatten()) {
            self.annotations.add(Annotation::Histogram(note, &self.source.key(index).metric), position);
        }
    }

    /// `quantile_over_time` says so when its quantile is none, once there is a value.
    fn warn_quantile(&self, argument: &StepScalar, valid: &[u64]) {
        let Some(fused) = self.fused.as_ref().filter(|f| f.function == WindowFunction::Quantile) else {
            return;
        };
        let is_bad = |q: f64| !(0.0..=1.0).contains(&q);
        if let StepScalar::Constant(quantile) = argument {
            if is_bad(*quantile) {
                self.annotations.add(Annotation::QuantileOutOfRange(*quantile), fused.position);
            }
            return;
        }
        for step in bits::ones(valid).filter(|step| is_bad(argument.at(*step))) {
            self.annotations.add(Annotation::QuantileOutOfRange(argument.at(step)), fused.position);
        }
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
        self.fused.as_ref().and_then(|fused| fused.argument.plan()).into_iter().collect()
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let Some(fused) = &self.fused else { return Ok(self) };
        let argument = fused.argument.replace(children.pop());
        Ok(Arc::new(self.fuse(Fused { argument, ..fused.clone() })))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let range = self.partitions.get(partition).cloned().unwrap_or(0..0);
        let dictionary = self.dictionary(range.clone()).map_err(outward)?;
        let partial = Partial {
            reader: self.source.scan(range.clone()).map_err(outward)?,
            first: range.start,
            dictionary,
            kernel: None,
            histograms: Histograms::default(),
            argument: None,
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

/// What series with native histograms need besides the kernel for their floats; made when the first one comes.
#[derive(Default)]
struct Histograms {
    windows: Option<Mixed>,
    values: Vec<f64>,
    cells: Vec<Cell>,
}

impl Histograms {
    /// Adds the row of a series; whether it has any float.
    fn push(
        &mut self,
        scan: &SeriesScanExec,
        kernel: &mut Kernel,
        points: &Points<'_>,
        (rows, words): (&mut Rows, &mut [u64]),
        (index, key, drop_name): (usize, i32, bool),
    ) -> Result<bool> {
        let windows = match &mut self.windows {
            Some(windows) => windows,
            none => {
                let Selector { range_ms, offset_ms, at_ms, .. } = scan.selector;
                self.values.resize(scan.schema.grid().steps(), 0.0);
                none.insert(Mixed::new(scan.schema.grid(), range_ms, offset_ms, at_ms)?)
            }
        };
        windows.run(kernel, points, (&mut self.values, words), &mut self.cells);
        scan.note(index, windows.notes());
        let has_floats = bits::count(words) > 0;
        if has_floats || !self.cells.is_empty() {
            rows.push_mixed(key, drop_name, (&self.values, words), &self.cells);
        }
        Ok(has_floats)
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
    histograms: Histograms,
    argument: Option<StepScalar>,
    yielder: Yielder,
    base: BaselineMetrics,
    samples: Count,
}

impl Partial {
    async fn start(&mut self) -> Result<Kernel> {
        if let Some(fused) = &self.scan.fused {
            self.argument = fused.argument.get(&self.context).await?;
        }
        let selector = &self.scan.selector;
        let kind = self.scan.kind(self.argument.clone())?;
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
            let has_floats = if series.histogram_times.is_empty() {
                let fill = |out: &mut [f64], valid: &mut [u64]| kernel.run(&samples, out, valid);
                rows.push_with(key, drop_name, &mut words, fill)
            } else {
                let (times, histograms) = (series.histogram_times, series.histograms);
                let points = Points { floats: samples, times, histograms };
                let row = (&mut rows, words.as_mut_slice());
                self.histograms.push(&self.scan, &mut kernel, &points, row, (index, key, drop_name))?
            };
            if has_floats {
                self.scan.warn(index);
                if let Some(argument) = &self.argument {
                    self.scan.warn_quantile(argument, &words);
                }
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
