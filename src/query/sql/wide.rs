//! `public.histograms` and `public.exemplars`: what a series has beside floats, one row each.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Float64Builder, Int16Array, Int64Array, ListBuilder, RecordBatch,
    StringViewArray, TimestampMillisecondArray,
};
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::future::BoxFuture;
use futures::{Stream, TryStreamExt, stream};

use super::columns::Columns;
use super::errors::external;
use super::filters::Pushed;
use super::jsonb;
use crate::model::{Exemplar, Histogram, LabelsRef, SeriesKey, Span, series_id};
use crate::store::{Selection, SeriesReader, Snapshot};

/// Rows of a batch: they are larger than those of floats.
const BATCH_ROWS: usize = 1_024;

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowIs {
    Histogram,
    Exemplar,
}

/// One of both tables.
#[derive(Debug)]
pub(super) struct Wide {
    snapshot: Snapshot,
    columns: Columns,
    rows: RowIs,
}

impl Wide {
    /// `public.histograms`.
    pub(super) fn histograms(snapshot: Snapshot) -> Self {
        Self { snapshot, columns: Columns::histograms(), rows: RowIs::Histogram }
    }

    /// `public.exemplars`.
    pub(super) fn exemplars(snapshot: Snapshot) -> Self {
        Self { snapshot, columns: Columns::exemplars(), rows: RowIs::Exemplar }
    }

    /// The columns.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(self.columns.schema())
    }

    /// Whether the store answers a predicate.
    pub(super) fn support(&self, filter: &Expr) -> TableProviderFilterPushDown {
        if Pushed::all().add(filter, &self.columns) {
            TableProviderFilterPushDown::Exact
        } else {
            TableProviderFilterPushDown::Unsupported
        }
    }

    /// The plan that reads the rows of `filters`.
    pub(super) fn scan(
        &self,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> BoxFuture<'_, Result<Arc<dyn ExecutionPlan>>> {
        let mut pushed = Pushed::all();
        for filter in filters {
            let done = pushed.add(filter, &self.columns);
            debug_assert!(done, "only what was accepted as exact arrives: {filter}");
        }
        let part = Part { snapshot: self.snapshot.clone(), schema: self.schema(), rows: self.rows, pushed };
        let parts: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(part)];
        let plan = StreamingTableExec::try_new(self.schema(), parts, projection, [], false, None);
        Box::pin(std::future::ready(plan.map(|plan| Arc::new(plan) as _)))
    }
}

/// All rows, read when the plan runs.
#[derive(Debug)]
struct Part {
    snapshot: Snapshot,
    schema: SchemaRef,
    rows: RowIs,
    pushed: Pushed,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (snapshot, schema, pushed) =
            (self.snapshot.clone(), Arc::clone(&self.schema), self.pushed.clone());
        let batches = match self.rows {
            RowIs::Histogram => histograms(snapshot, Arc::clone(&schema), pushed),
            RowIs::Exemplar => exemplars(snapshot, Arc::clone(&schema), pushed),
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

type Batches = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

fn histograms(snapshot: Snapshot, schema: SchemaRef, pushed: Pushed) -> Batches {
    let opened = async move {
        let selection = snapshot.select(pushed.matchers, pushed.from, pushed.to).await.map_err(external)?;
        let ranges = with_histograms(&selection, &snapshot);
        let rows = HistogramRows { selection, schema, ranges, reader: None, ready: VecDeque::new() };
        let next = |mut rows: HistogramRows| async move { Ok(rows.next().await?.map(|batch| (batch, rows))) };
        Ok::<_, DataFusionError>(stream::try_unfold(rows, next))
    };
    Box::pin(stream::once(opened).try_flatten())
}

/// The series of metrics that have native histograms: the others' floats need not be read.
fn with_histograms(selection: &Selection, snapshot: &Snapshot) -> VecDeque<Range<usize>> {
    let mut ranges: VecDeque<Range<usize>> = VecDeque::new();
    for (index, series) in selection.series().iter().enumerate() {
        if snapshot.catalogue().get(&series.key.metric).is_none_or(|entry| !entry.has_histograms) {
            continue;
        }
        match ranges.back_mut() {
            Some(last) if last.end == index => last.end += 1,
            _ => ranges.push_back(index..index + 1),
        }
    }
    ranges
}

/// Reads series after series.
struct HistogramRows {
    selection: Arc<Selection>,
    schema: SchemaRef,
    ranges: VecDeque<Range<usize>>,
    reader: Option<SeriesReader>,
    /// Of the last series.
    ready: VecDeque<RecordBatch>,
}

impl HistogramRows {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            let Some(reader) = &mut self.reader else {
                let Some(range) = self.ranges.pop_front() else { return Ok(None) };
                self.reader = Some(self.selection.scan(range).map_err(external)?);
                continue;
            };
            let Some(rows) = reader.next().await.map_err(external)? else {
                self.reader = None;
                continue;
            };
            let key = &self.selection.series()[rows.index].key;
            let times = rows.histogram_times.chunks(BATCH_ROWS);
            for (times, histograms) in times.zip(rows.histograms.chunks(BATCH_ROWS)) {
                let mut arrays = head(key, times);
                arrays.extend(histogram_columns(histograms));
                self.ready.push_back(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?);
            }
        }
    }
}

fn exemplars(snapshot: Snapshot, schema: SchemaRef, pushed: Pushed) -> Batches {
    let found = async move {
        let all = snapshot.exemplars(pushed.matchers, pushed.from, pushed.to).await.map_err(external)?;
        let batches = all.into_iter().flat_map(move |series| {
            let batch = |rows: &[Exemplar]| {
                let times: Vec<i64> = rows.iter().map(|one| one.timestamp).collect();
                let mut arrays = head(&series.key, &times);
                arrays.extend(exemplar_columns(rows));
                Ok(RecordBatch::try_new(Arc::clone(&schema), arrays)?)
            };
            series.exemplars.chunks(BATCH_ROWS).map(batch).collect::<Vec<_>>()
        });
        Ok::<_, DataFusionError>(stream::iter(batches))
    };
    Box::pin(stream::once(found).try_flatten())
}

/// `metric, series_id, labels, timestamp`.
fn head(key: &SeriesKey, times: &[i64]) -> Vec<ArrayRef> {
    let text =
        |text: &str| -> ArrayRef { Arc::new(StringViewArray::from_iter_values(times.iter().map(|_| text))) };
    let id = series_id(key.labels.as_ref());
    vec![
        text(&key.metric),
        Arc::new(Int64Array::from_iter_values(times.iter().map(|_| id))),
        text(&json_of(key.labels.as_ref())),
        Arc::new(TimestampMillisecondArray::from(times.to_vec()).with_timezone("UTC")),
    ]
}

fn json_of(labels: LabelsRef<'_>) -> String {
    let mut json = String::new();
    jsonb::push_labels(&mut json, labels);
    json
}

/// What [`Columns::histograms`] names behind the head.
fn histogram_columns(rows: &[Arc<Histogram>]) -> [ArrayRef; 12] {
    let number = |get: fn(&Histogram) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| get(row))))
    };
    let small = |get: fn(&Histogram) -> i16| -> ArrayRef {
        Arc::new(Int16Array::from_iter_values(rows.iter().map(|row| get(row))))
    };
    let spans = |get: fn(&Histogram) -> &[Span]| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| spans_json(get(row)))))
    };
    let numbers = |get: fn(&Histogram) -> &[f64]| -> ArrayRef {
        let mut lists = ListBuilder::new(Float64Builder::new());
        for row in rows {
            lists.values().append_slice(get(row));
            lists.append(true);
        }
        Arc::new(lists.finish())
    };
    [
        number(|row| row.count),
        number(|row| row.sum),
        number(|row| row.zero_count),
        number(|row| row.zero_threshold),
        small(|row| row.schema.into()),
        small(|row| (row.reset_hint as u8).into()),
        Arc::new(rows.iter().map(|row| Some(row.is_float)).collect::<BooleanArray>()),
        spans(|row| &row.positive_spans),
        numbers(|row| &row.positive),
        spans(|row| &row.negative_spans),
        numbers(|row| &row.negative),
        numbers(|row| &row.custom_bounds),
    ]
}

/// As `PostgreSQL` prints jsonb.
fn spans_json(spans: &[Span]) -> String {
    let one = |span: &Span| format!("{{\"length\": {}, \"offset\": {}}}", span.length, span.offset);
    format!("[{}]", spans.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// What [`Columns::exemplars`] names behind the head.
fn exemplar_columns(rows: &[Exemplar]) -> [ArrayRef; 2] {
    let labels = rows.iter().map(|row| json_of(row.labels.as_ref()));
    [
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.value))),
        Arc::new(StringViewArray::from_iter_values(labels)),
    ]
}
