//! The leaf below SQL over log lines: what the store's reader gives becomes record batches.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryArray, RecordBatch, RecordBatchOptions, StringBuilder, StringViewBuilder,
    TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream;

use super::{Shown, schema_of};
use crate::model::LabelsRef;
use crate::query::sql::errors::external;
use crate::query::sql::jsonb;
use crate::store::{LogColumns, LogRows, LogSelection};

/// Log lines of a selection as rows.
#[derive(Debug)]
pub(super) struct LogScan {
    shown: Arc<[Shown]>,
    schema: SchemaRef,
    selection: Arc<LogSelection>,
    partitions: Vec<Vec<usize>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LogScan {
    /// A scan of all lines of `selection` in at most `partitions` parts.
    pub(super) fn new(shown: Vec<Shown>, selection: Arc<LogSelection>, partitions: usize) -> Self {
        let schema = schema_of(&shown);
        let partitions = selection.partitions(partitions.max(1));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        let metrics = ExecutionPlanMetricsSet::new();
        Self { shown: shown.into(), schema, selection, partitions, properties: Arc::new(properties), metrics }
    }
}

impl DisplayAs for LogScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (query, counts) = (self.selection.query(), self.selection.counts());
        let matchers: Vec<String> = query.matchers.iter().map(ToString::to_string).collect();
        write!(f, "LogScan: {{{}}}", matchers.join(", "))?;
        for (word, ns, open) in [("from", query.from, i64::MIN), ("to", query.to, i64::MAX)] {
            if ns != open {
                write!(f, " {word} {}", chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339())?;
            }
        }
        if !query.needles.is_empty() {
            write!(f, " contains {:?}", query.needles)?;
        }
        let ids = [query.trace_id.map(|_| "trace_id"), query.span_id.map(|_| "span_id")];
        for name in ids.into_iter().flatten() {
            write!(f, " by {name}")?;
        }
        let names: Vec<&str> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
        write!(f, ", columns=[{}]", names.join(", "))?;
        write!(f, ", streams={}, partitions={}", self.selection.streams().len(), self.partitions.len())?;
        write!(f, ", files={} of {}", counts.files, counts.all_files)?;
        write!(f, ", row_groups={} of {}", counts.groups, counts.all_groups)?;
        write!(f, ", contested={}, buffered={}", counts.contested_groups, counts.buffered)
    }
}

impl ExecutionPlan for LogScan {
    fn name(&self) -> &'static str {
        "LogScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let needed = self.shown.iter().map(Shown::needs).fold(LogColumns::NONE, LogColumns::with);
        let reader = self.selection.scan(self.partitions[partition].clone(), needed);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (shown, schema) = (Arc::clone(&self.shown), Arc::clone(&self.schema));
        let selection = Arc::clone(&self.selection);
        let state = (reader, metrics, shown, schema, selection);
        let batches = stream::try_unfold(state, |mut state| async move {
            let (reader, metrics, shown, schema, selection) = &mut state;
            let Some(rows) = reader.next().await.map_err(external)? else {
                metrics.done();
                return Ok(None);
            };
            let timer = metrics.elapsed_compute().timer();
            let batch = to_batch(&rows, shown, schema, selection)?;
            drop(timer);
            metrics.record_output(batch.num_rows());
            Ok(Some((batch, state)))
        });
        Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))))
    }
}

fn to_batch(
    rows: &LogRows,
    shown: &[Shown],
    schema: &SchemaRef,
    selection: &LogSelection,
) -> Result<RecordBatch> {
    let streams = Runs::new(&rows.streams);
    let text =
        |column: Option<ArrayRef>| column.unwrap_or_else(|| new_null_array(&DataType::Utf8, rows.len()));
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(shown.len());
    for one in shown {
        columns.push(match one {
            Shown::Timestamp => {
                let micros = rows.timestamps.iter().map(|ns| ns.div_euclid(1_000));
                Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
            }
            Shown::Severity => text(rows.severity.clone().map(|a| Arc::new(a) as ArrayRef)),
            Shown::Body => text(rows.body.clone().map(|a| Arc::new(a) as ArrayRef)),
            Shown::TraceId => text(rows.trace_id.as_ref().map(hex)),
            Shown::SpanId => text(rows.span_id.as_ref().map(hex)),
            Shown::Attributes => {
                let mut out = StringViewBuilder::with_capacity(rows.len());
                let mut json = String::new();
                for bytes in rows.attributes.iter().flatten() {
                    json.clear();
                    jsonb::push_labels(&mut json, LabelsRef::trusted(bytes.unwrap_or_default()));
                    out.append_value(&json);
                }
                Arc::new(out.finish())
            }
            Shown::Labels => streams.column(selection, |out, labels| {
                let mut json = String::new();
                jsonb::push_labels(&mut json, labels);
                out.append_value(&json);
            })?,
            Shown::Label(name) => {
                streams.column(selection, |out, labels| out.append_option(labels.get(name)))?
            }
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// The streams of a batch: neighbours are mostly of one stream, so its text is written once a run.
struct Runs {
    streams: Vec<u32>,
    /// For each row the position in `streams`.
    of_row: UInt32Array,
}

impl Runs {
    fn new(rows: &[u32]) -> Self {
        let mut streams: Vec<u32> = Vec::new();
        let of_row = rows.iter().map(|stream| {
            if streams.last() != Some(stream) {
                streams.push(*stream);
            }
            u32::try_from(streams.len() - 1).expect("a batch has few rows, and no more runs")
        });
        let of_row = of_row.collect::<Vec<u32>>().into();
        Self { streams, of_row }
    }

    fn column(
        &self,
        selection: &LogSelection,
        mut write: impl FnMut(&mut StringViewBuilder, LabelsRef<'_>),
    ) -> Result<ArrayRef> {
        let mut out = StringViewBuilder::with_capacity(self.streams.len());
        for stream in &self.streams {
            write(&mut out, selection.streams()[*stream as usize].as_ref());
        }
        Ok(take(&out.finish(), &self.of_row, None)?)
    }
}

/// Lower-case hexadecimal digits.
fn hex(ids: &FixedSizeBinaryArray) -> ArrayRef {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = StringBuilder::new();
    let mut text = String::new();
    for id in ids {
        text.clear();
        for byte in id.unwrap_or_default() {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        out.append_option(id.map(|_| text.as_str()));
    }
    Arc::new(out.finish())
}
