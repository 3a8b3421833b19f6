//! `GridAggregate`: reads all partitions of its input itself, one task each with its own accumulators, and merges
//! them in partition order. Its one output partition has a row a group (or the chosen series).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, Gauge, MetricBuilder, Time};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use super::aggregate::{Accumulator, Row};
use super::batch::View;
use super::error::inward;
use super::groups::{Cache, Groups, Output};
use super::kernel::bits;
use super::native::{Cell, Histograms};
use super::operator::{ScalarInput, Yielder, all_batches, gather, operator, properties, start_all, stream};
use crate::error::{Error, Kind, Result};
use crate::model::METRIC_NAME;
use crate::query::plan::{
    Aggregate, AggregateOp, Annotation, Annotations, GridSchema, HistogramNote, StepScalar, go_general,
};
use crate::runtime::Clock;

/// What the operator needs to know besides its input.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Names are removed at once: a row that drops its name is grouped without it.
    pub(crate) immediate_names: bool,
    pub(crate) annotations: Annotations,
    pub(crate) clock: Clock,
}

/// The operator.
#[derive(Debug)]
pub(crate) struct GridAggregateExec {
    aggregate: Aggregate,
    input: Arc<dyn ExecutionPlan>,
    argument: ScalarInput,
    schema: GridSchema,
    settings: Settings,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl GridAggregateExec {
    pub(crate) fn new(
        aggregate: Aggregate,
        input: &Arc<dyn ExecutionPlan>,
        argument: ScalarInput,
        schema: &GridSchema,
        settings: Settings,
    ) -> Self {
        Self {
            aggregate,
            input: Arc::clone(input),
            argument,
            schema: schema.clone(),
            settings,
            properties: properties(schema, 1),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// Says what is wrong with the argument, before any row is read.
    fn check(&self, argument: Option<&StepScalar>) -> Result<()> {
        let Some(argument) = argument else { return Ok(()) };
        let values = argument.distinct();
        match self.aggregate.op {
            AggregateOp::Quantile => self.warn_quantile(values),
            AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::LimitK => return check_k(values),
            _ => {}
        }
        Ok(())
    }

    fn warn_quantile(&self, values: &[f64]) {
        let (mut low, mut high, mut nan) = (f64::INFINITY, f64::NEG_INFINITY, false);
        for value in values {
            (low, high, nan) = (low.min(*value), high.max(*value), nan | value.is_nan());
        }
        let warn = |got| {
            self.settings.annotations.add(Annotation::QuantileOutOfRange(got), self.aggregate.position);
        };
        if nan {
            warn(f64::NAN);
        }
        // Where one is NaN Prometheus cannot tell the extremes any more.
        if high > 1.0 && !nan {
            warn(high);
        }
        if low < 0.0 && !nan {
            warn(low);
        }
    }
}

/// k must be a number that fits 64 bits, unless it is below 1 at every step.
fn check_k(values: &[f64]) -> Result<()> {
    let limit = 2_f64.powi(63);
    let fail = |message: String| Err(Error::new(Kind::Execution, message));
    if values.iter().any(|k| k.is_nan()) {
        return fail("Parameter value is NaN".to_owned());
    }
    if values.iter().all(|k| *k < 1.0) {
        return Ok(());
    }
    if let Some(k) = values.iter().find(|k| **k <= -limit) {
        return fail(format!("Scalar value {} underflows int64", go_general(*k)));
    }
    if let Some(k) = values.iter().find(|k| **k >= limit) {
        return fail(format!("Scalar value {} overflows int64", go_general(*k)));
    }
    Ok(())
}

impl DisplayAs for GridAggregateExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GridAggregateExec: {}", self.aggregate)
    }
}

impl ExecutionPlan for GridAggregateExec {
    operator!("GridAggregateExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        std::iter::once(&self.input).chain(self.argument.plan()).collect()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let argument = self.argument.replace(children.get(1).cloned());
        let (aggregate, settings) = (self.aggregate.clone(), self.settings.clone());
        Ok(Arc::new(Self::new(aggregate, &children[0], argument, &self.schema, settings)))
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let inputs = start_all(&self.input, &context)?;
        let run = Run {
            exec: Self {
                properties: Arc::clone(&self.properties),
                metrics: self.metrics.clone(),
                ..Self::new(
                    self.aggregate.clone(),
                    &self.input,
                    self.argument.clone(),
                    &self.schema,
                    self.settings.clone(),
                )
            },
            base: BaselineMetrics::new(&self.metrics, 0),
            merge_time: MetricBuilder::new(&self.metrics).subset_time("merge_time", 0),
            groups: MetricBuilder::new(&self.metrics).counter("groups", 0),
            peak: MetricBuilder::new(&self.metrics).gauge("accumulator_bytes", 0),
        };
        Ok(stream(&self.schema, all_batches(run.all(inputs, context))))
    }
}

/// One execution.
struct Run {
    exec: GridAggregateExec,
    base: BaselineMetrics,
    merge_time: Time,
    groups: Count,
    peak: Gauge,
}

impl Run {
    async fn all(
        self,
        inputs: Vec<SendableRecordBatchStream>,
        context: Arc<TaskContext>,
    ) -> Result<Vec<RecordBatch>> {
        let argument = self.exec.argument.get(&context).await?;
        self.exec.check(argument.as_ref())?;
        let argument = argument.unwrap_or(StepScalar::Constant(0.0));
        let steps = self.exec.schema.grid().steps();
        let folds = inputs.into_iter().enumerate().map(|(partition, input)| {
            let name = format!("GridAggregateExec[{partition}]");
            let fold = Fold {
                accumulator: Accumulator::new(self.exec.aggregate.op, steps, &argument),
                groups: Groups::default(),
                series: Vec::new(),
                settings: self.exec.settings.clone(),
                aggregate: self.exec.aggregate.clone(),
                parameter: argument.clone(),
                histograms: None,
                notes: BTreeSet::new(),
                limited: BTreeMap::new(),
                reservation: MemoryConsumer::new(name).register(context.memory_pool()),
            };
            fold.run(input, Yielder::new(self.exec.settings.clock), self.base.elapsed_compute().clone())
        });
        let mut folds = gather(folds.collect()).await?.into_iter();
        let Some(mut whole) = folds.next() else { return Ok(Vec::new()) };
        for part in folds {
            let _timer = self.merge_time.timer();
            whole.merge(part)?;
        }
        self.peak.set(whole.accumulator.bytes());
        self.groups.add(whole.groups.len());
        let batches = whole.finish(self.exec.aggregate.op, &self.exec.schema)?;
        self.base.record_output(batches.iter().map(RecordBatch::num_rows).sum());
        self.base.done();
        Ok(batches)
    }
}

/// One partition being aggregated.
struct Fold {
    accumulator: Accumulator,
    groups: Groups,
    /// The series that topk and bottomk may choose: labels, and whether the name goes.
    series: Vec<(Box<[u8]>, bool)>,
    aggregate: Aggregate,
    settings: Settings,
    parameter: StepScalar,
    /// Those of `sum` and `avg`, once there are any.
    histograms: Option<Histograms>,
    /// What is to be said about native histograms.
    notes: BTreeSet<HistogramNote>,
    /// Those of the series that `limitk` may choose.
    limited: BTreeMap<u32, Vec<Cell>>,
    reservation: MemoryReservation,
}

impl Fold {
    async fn run(
        mut self,
        mut input: SendableRecordBatchStream,
        mut yielder: Yielder,
        time: Time,
    ) -> Result<Self> {
        let mut cache = Cache::default();
        let mut words = Vec::new();
        while let Some(batch) = input.next().await {
            yielder.check().await;
            let batch = batch.map_err(inward)?;
            let _timer = time.timer();
            let view = View::of(&batch);
            cache.follow(&view);
            for row in 0..view.len() {
                self.add(&view, row, &mut cache, &mut words)?;
            }
            self.reservation.try_resize(self.bytes()).map_err(inward)?;
        }
        Ok(self)
    }

    fn add(&mut self, view: &View<'_>, row: usize, cache: &mut Cache, words: &mut Vec<u64>) -> Result<()> {
        let drop_name = view.drop_name(row);
        let nameless = drop_name && self.settings.immediate_names;
        let group = cache.group(view, row, (&self.aggregate.grouping, nameless), &mut self.groups);
        let series = u32::try_from(self.series.len()).map_err(|_| too_many_series())?;
        let cells = view.histograms(row)?;
        if !cells.is_empty() {
            self.add_mixed(group, series, (view, row), &cells);
            return Ok(());
        }
        if self.accumulator.add(group, series, &view.row(row, words)) {
            self.series.push((view.labels(row).as_bytes().into(), drop_name));
        }
        Ok(())
    }

    /// Takes a row that has histograms.
    fn add_mixed(&mut self, group: usize, series: u32, (view, row): (&View<'_>, usize), cells: &[Cell]) {
        let mut words = Vec::new();
        let floats = view.row(row, &mut words);
        let Row { values, valid } = floats;
        match self.aggregate.op {
            AggregateOp::Sum | AggregateOp::Avg => {
                let is_mean = self.aggregate.op == AggregateOp::Avg;
                let histograms = self.histograms.get_or_insert_with(|| Histograms::new(is_mean));
                let (notes, annotations) = (&mut self.notes, &self.settings.annotations);
                let name = || {
                    let is_gone = view.drop_name(row) && self.settings.immediate_names;
                    view.labels(row).get(METRIC_NAME).filter(|_| !is_gone).unwrap_or("")
                };
                histograms.add(group, cells, &mut |note| {
                    if note == HistogramNote::MixedSchemas {
                        annotations.add(Annotation::Histogram(note, name()), self.aggregate.operand);
                    } else {
                        notes.insert(note);
                    }
                });
                self.accumulator.add(group, series, &floats);
            }
            AggregateOp::Count | AggregateOp::Group => {
                let mut words = valid.map_or_else(|| bits::all(values.len()), <[u64]>::to_vec);
                for (step, _) in cells {
                    bits::set(&mut words, *step as usize);
                }
                self.accumulator.add(group, series, &Row { values, valid: Some(&words) });
            }
            op @ (AggregateOp::Min
            | AggregateOp::Max
            | AggregateOp::Quantile
            | AggregateOp::Stddev
            | AggregateOp::Stdvar) => {
                self.notes.insert(HistogramNote::IgnoredInAggregation(op.name()));
                self.accumulator.add(group, series, &floats);
            }
            AggregateOp::LimitK => {
                let mut words = valid.map_or_else(|| bits::all(values.len()), <[u64]>::to_vec);
                for (step, _) in cells {
                    bits::set(&mut words, *step as usize);
                }
                if self.accumulator.add(group, series, &Row { values, valid: Some(&words) }) {
                    self.limited.insert(series, cells.to_vec());
                    self.series.push((view.labels(row).as_bytes().into(), view.drop_name(row)));
                }
            }
            op @ (AggregateOp::TopK | AggregateOp::BottomK) => {
                if cells.iter().any(|(step, _)| self.parameter.at(*step as usize) >= 1.0) {
                    self.notes.insert(HistogramNote::IgnoredInAggregation(op.name()));
                }
                if self.accumulator.add(group, series, &floats) {
                    self.series.push((view.labels(row).as_bytes().into(), view.drop_name(row)));
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        let histograms = self.histograms.as_ref().map_or(0, Histograms::bytes);
        self.accumulator.bytes() + self.groups.bytes() + histograms
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        let keys = other.groups.iter();
        let mapping: Vec<usize> = keys.map(|(key, drop_name)| self.groups.id(key, drop_name)).collect();
        let first = u32::try_from(self.series.len()).map_err(|_| too_many_series())?;
        self.series.extend(other.series);
        self.accumulator.merge(other.accumulator, &mapping, first);
        self.limited.extend(other.limited.into_iter().map(|(series, cells)| (series + first, cells)));
        self.notes.extend(other.notes);
        if let Some(histograms) = other.histograms {
            let is_mean = self.aggregate.op == AggregateOp::Avg;
            let own = self.histograms.get_or_insert_with(|| Histograms::new(is_mean));
            own.merge(histograms, &mapping, &mut |note| {
                self.notes.insert(note);
            });
        }
        drop(other.reservation);
        self.reservation.try_resize(self.bytes()).map_err(inward)
    }

    /// Says what was found about native histograms.
    fn say(&self) {
        for note in &self.notes {
            self.settings.annotations.add(Annotation::Histogram(*note, ""), self.aggregate.operand);
        }
    }

    fn finish(mut self, op: AggregateOp, schema: &GridSchema) -> Result<Vec<RecordBatch>> {
        let steps = schema.grid().steps();
        let mut out = Output::new(schema);
        if op.keeps_series() {
            for chosen in self.accumulator.chosen() {
                let (labels, drop_name) = &self.series[chosen.series as usize];
                let mut valid = chosen.valid;
                let cells = self.limited.remove(&chosen.series).unwrap_or_default();
                let cells: Vec<Cell> =
                    cells.into_iter().filter(|(step, _)| bits::get(&valid, *step as usize)).collect();
                for (step, _) in &cells {
                    bits::clear(&mut valid, *step as usize);
                }
                out.push_mixed((labels, *drop_name), (&chosen.values, &valid), &cells)?;
            }
            self.say();
            return out.finish();
        }
        let (mut values, mut valid) = (vec![0.0; steps], vec![0; bits::word_count(steps)]);
        for group in 0..self.groups.len() {
            self.accumulator.finish(group, &mut values, &mut valid);
            let mut cells = Vec::new();
            if let Some(histograms) = &mut self.histograms {
                cells = histograms.finish(group, &mut valid, &mut |note| {
                    self.notes.insert(note);
                });
                zero_invalid(&mut values, &valid);
            }
            let (key, drop_name) = self.groups.get(group);
            out.push_mixed((key, drop_name), (&values, &valid), &cells)?;
        }
        self.say();
        out.finish()
    }
}

/// A step without a value holds 0.0.
fn zero_invalid(values: &mut [f64], valid: &[u64]) {
    for (step, value) in values.iter_mut().enumerate() {
        *value = if bits::get(valid, step) { *value } else { 0.0 };
    }
}

fn too_many_series() -> Error {
    Error::new(Kind::Limit, "more than 2^32 series in one aggregation")
}
