//! The leaf below SQL over samples: series of a selection become record batches.
//!
//! ```text
//!   SeriesRows        text of a series, once a batch      row -> series          column of a batch
//!   [t t t] [v v v] ─►  jobs: ["api", "web"]          +   [0 0 0 1 1 1 …]  ─►   take: views, no copies
//! ```

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringViewBuilder,
    TimestampMillisecondArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
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

use super::columns::{Columns, Content};
use super::errors::external;
use super::filters::Pushed;
use super::jsonb;
use crate::store::{Selection, SeriesReader};

/// Rows of a batch, as `DataFusion`'s own default.
const BATCH_ROWS: usize = 8_192;

/// What a row of a scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowIs {
    /// One sample.
    Sample,
    /// One series.
    Series,
}

/// Samples, or the series, of a selection as rows.
#[derive(Debug)]
pub(super) struct SampleScan {
    columns: Columns,
    rows: RowIs,
    selection: Arc<Selection>,
    partitions: Vec<Range<usize>>,
    pushed: String,
    /// Live files of the snapshot, those outside of the time range too.
    files: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SampleScan {
    /// A scan of all rows of `selection`, in at most `partitions` contiguous key ranges.
    pub(super) fn new(
        columns: Columns,
        rows: RowIs,
        pushed: &Pushed,
        (selection, files, partitions): (Arc<Selection>, usize, usize),
    ) -> Self {
        let mut partitions = selection.partitions(partitions.max(1));
        if partitions.is_empty() {
            // An operator above asks for partition 0 even of nothing.
            partitions.push(0..0);
        }
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(columns.schema())),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        let metrics = ExecutionPlanMetricsSet::new();
        let pushed = pushed.to_string();
        Self {
            columns,
            rows,
            selection,
            partitions,
            pushed,
            files,
            properties: Arc::new(properties),
            metrics,
        }
    }
}

impl DisplayAs for SampleScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.columns.schema().fields().iter().map(|f| f.name().as_str()).collect();
        write!(f, "SampleScan: {}, columns=[{}]", self.pushed, names.join(", "))?;
        write!(f, ", series={}, partitions={}", self.selection.series().len(), self.partitions.len())?;
        let counts = self.selection.counts();
        write!(f, ", files={} of {}", counts.files, self.files)?;
        write!(f, ", runs={} of {}", counts.runs, counts.file_runs)?;
        write!(f, ", pages={} of {}", counts.pages, counts.file_pages)?;
        write!(f, ", buffer_runs={}", counts.buffer_runs)
    }
}

/// `{job="api"} from 1970-01-01T00:00:00Z to …`, for EXPLAIN.
impl fmt::Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.matchers.iter().map(ToString::to_string).collect();
        write!(f, "{{{}}}", all.join(", "))?;
        let time = |ms| {
            chrono::DateTime::from_timestamp_millis(ms).map_or_else(|| format!("{ms} ms"), |t| t.to_rfc3339())
        };
        if self.from != i64::MIN {
            write!(f, " from {}", time(self.from))?;
        }
        if self.to != i64::MAX {
            write!(f, " to {}", time(self.to))?;
        }
        Ok(())
    }
}

impl ExecutionPlan for SampleScan {
    fn name(&self) -> &'static str {
        "SampleScan"
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
        let range = self.partitions[partition].clone();
        let rows = Rows {
            reader: self.selection.scan(range.clone()).map_err(external)?,
            unread: range,
            kind: self.rows,
            pending: None,
            columns: self.columns.clone(),
            selection: Arc::clone(&self.selection),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let batches = stream::try_unfold(rows, |mut rows| async move {
            Ok(rows.next_batch().await?.map(|batch| (batch, rows)))
        });
        let schema = Arc::clone(self.columns.schema());
        Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(schema, batches))))
    }
}

/// Cuts the series of one partition into batches.
struct Rows {
    reader: SeriesReader,
    /// The series that were not read yet, for rows that need no reading.
    unread: Range<usize>,
    kind: RowIs,
    /// A series that did not fit into the batch before.
    pending: Option<Pending>,
    columns: Columns,
    selection: Arc<Selection>,
    metrics: BaselineMetrics,
}

impl Rows {
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut batch = Batch::default();
        match self.kind {
            RowIs::Sample => self.samples(&mut batch).await?,
            RowIs::Series => self.series(&mut batch).await?,
        }
        if batch.series_of_row.is_empty() {
            self.metrics.done();
            return Ok(None);
        }
        let timer = self.metrics.elapsed_compute().timer();
        let batch = batch.finish(&self.columns, &self.selection)?;
        drop(timer);
        self.metrics.record_output(batch.num_rows());
        Ok(Some(batch))
    }

    /// One row per series. Its first and last time are those of merged rows, so they are read where asked for.
    async fn series(&mut self, batch: &mut Batch) -> Result<()> {
        let times = self.columns.contents().iter().any(|c| matches!(c, Content::First | Content::Last));
        while batch.series.len() < BATCH_ROWS {
            if !times {
                let Some(index) = self.unread.next() else { break };
                // Stale markers alone make no series.
                if self.selection.series()[index].max_rows > 0 {
                    batch.series(index, 0, 0);
                }
                continue;
            }
            let Some(rows) = self.reader.next().await.map_err(external)? else { break };
            let firsts = rows.timestamps.first().into_iter().chain(rows.histogram_times.first());
            let lasts = rows.timestamps.last().into_iter().chain(rows.histogram_times.last());
            if let (Some(first), Some(last)) = (firsts.min(), lasts.max()) {
                batch.series(rows.index, *first, *last);
            }
        }
        Ok(())
    }

    async fn samples(&mut self, batch: &mut Batch) -> Result<()> {
        while batch.timestamps.len() < BATCH_ROWS {
            let room = BATCH_ROWS - batch.timestamps.len();
            if let Some(pending) = &mut self.pending {
                let range = pending.from..pending.timestamps.len().min(pending.from + room);
                pending.from = range.end;
                batch.push(pending.index, &pending.timestamps[range.clone()], &pending.values[range]);
                if pending.from == pending.timestamps.len() {
                    self.pending = None;
                }
                continue;
            }
            let Some(rows) = self.reader.next().await.map_err(external)? else { break };
            let fit = rows.timestamps.len().min(room);
            batch.push(rows.index, &rows.timestamps[..fit], &rows.values[..fit]);
            if fit < rows.timestamps.len() {
                let (timestamps, values) = (rows.timestamps[fit..].to_vec(), rows.values[fit..].to_vec());
                self.pending = Some(Pending { index: rows.index, from: 0, timestamps, values });
            }
        }
        Ok(())
    }
}

/// The rows of a series from `from` on are still to be given.
struct Pending {
    index: usize,
    from: usize,
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

/// The rows of a batch, before they are columns.
#[derive(Default)]
struct Batch {
    timestamps: Vec<i64>,
    values: Vec<f64>,
    /// First and last time, where a row is a series.
    ends: (Vec<i64>, Vec<i64>),
    /// The series of the batch, as indices of the selection.
    series: Vec<usize>,
    /// For each row the position in `series`.
    series_of_row: Vec<u32>,
}

impl Batch {
    fn push(&mut self, index: usize, timestamps: &[i64], values: &[f64]) {
        if timestamps.is_empty() {
            return;
        }
        let position = u32::try_from(self.series.len()).expect("a batch has few rows, and no more series");
        self.series.push(index);
        self.timestamps.extend_from_slice(timestamps);
        self.values.extend_from_slice(values);
        self.series_of_row.resize(self.timestamps.len(), position);
    }

    fn series(&mut self, index: usize, first: i64, last: i64) {
        let position = u32::try_from(self.series.len()).expect("a batch has few rows");
        self.series.push(index);
        self.series_of_row.push(position);
        self.ends.0.push(first);
        self.ends.1.push(last);
    }

    fn finish(self, columns: &Columns, selection: &Selection) -> Result<RecordBatch> {
        let rows = self.series_of_row.len();
        let series_of_row = UInt32Array::from(self.series_of_row);
        let times =
            |ms: Vec<i64>| -> ArrayRef { Arc::new(TimestampMillisecondArray::from(ms).with_timezone("UTC")) };
        let (timestamps, first, last) = (times(self.timestamps), times(self.ends.0), times(self.ends.1));
        let values: ArrayRef = Arc::new(Float64Array::from(self.values));
        let mut arrays = Vec::with_capacity(columns.contents().len());
        for content in columns.contents() {
            arrays.push(match content {
                Content::Timestamp => Arc::clone(&timestamps),
                Content::Value => Arc::clone(&values),
                Content::First => Arc::clone(&first),
                Content::Last => Arc::clone(&last),
                _ => take(&per_series(content, &self.series, selection), &series_of_row, None)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(columns.schema()), arrays, &options)?)
    }
}

/// What a column has for each series: text is written once and rows point at it.
fn per_series(content: &Content, series: &[usize], selection: &Selection) -> ArrayRef {
    let found = series.iter().map(|index| &selection.series()[*index]);
    if let Content::SeriesId = content {
        return Arc::new(Int64Array::from_iter_values(found.map(|s| s.id)));
    }
    let mut out = StringViewBuilder::with_capacity(series.len());
    let mut text = String::new();
    for series in found {
        match content {
            Content::Metric => out.append_value(&series.key.metric),
            Content::Label(name) => out.append_option(series.key.labels.get(name)),
            Content::Labels => {
                text.clear();
                jsonb::push_labels(&mut text, series.key.labels.as_ref());
                out.append_value(&text);
            }
            _ => unreachable!("numbers and times are handled before"),
        }
    }
    Arc::new(out.finish())
}
