//! Index chunks: up to 4,000 runs as one zstd-compressed Arrow IPC record batch.
//!
//! A run is one series' rows in one file. Runs follow each other without gaps, so a run's first row is the sum
//! of those before it. A decoded chunk is shared (`Arc`) between the cache and the runs that point into it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryBuilder, DictionaryArray, Int64Array, Int64Builder, ListArray,
    ListBuilder, RecordBatch, StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt16Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::format::damaged;
use crate::error::{Error, Result};
use crate::model::{LabelsRef, Matcher};

/// Runs of a full chunk.
pub(super) const CHUNK_RUNS: usize = 4_000;
/// A chunk closes early when its labels pass this, so that hostile labels do not make giants.
pub(super) const CHUNK_LABEL_BYTES: usize = 4 << 20;
/// What a chunk may grow to when it is decompressed; twice the labels plus the fixed columns stay far below.
const CHUNK_RAW_LIMIT: usize = 256 << 20;
/// Index parts are small and read often; higher levels gain under 2 %.
pub(super) const INDEX_ZSTD_LEVEL: i32 = 3;

const FLAG_STARTS: u8 = 1;

/// What the index says about one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunEntry<'a> {
    pub(super) metric: &'a str,
    pub(super) labels: LabelsRef<'a>,
    pub(super) id: i64,
    pub(super) rows: u32,
    /// First and last row, ms; of the stale markers where there are no rows.
    pub(super) first_time: i64,
    pub(super) last_time: i64,
    /// ms between all neighbouring rows; 0 where they differ or there are less than two.
    pub(super) step: i64,
    /// The bits of the value that all rows have.
    pub(super) constant: Option<u64>,
    pub(super) has_starts: bool,
    pub(super) stale_at: &'a [i64],
}

/// Collects the runs of one chunk.
#[derive(Debug)]
pub(super) struct ChunkBuilder {
    metrics: Vec<Arc<str>>,
    codes: Vec<u16>,
    labels: BinaryBuilder,
    label_bytes: usize,
    ids: Vec<i64>,
    rows: Vec<u32>,
    first_times: Vec<i64>,
    last_times: Vec<i64>,
    steps: Vec<i64>,
    constants: Vec<Option<u64>>,
    flags: Vec<u8>,
    stale_at: ListBuilder<Int64Builder>,
}

impl ChunkBuilder {
    pub(super) fn new() -> Self {
        let field = Field::new("item", DataType::Int64, false);
        Self {
            metrics: Vec::new(),
            codes: Vec::new(),
            labels: BinaryBuilder::new(),
            label_bytes: 0,
            ids: Vec::new(),
            rows: Vec::new(),
            first_times: Vec::new(),
            last_times: Vec::new(),
            steps: Vec::new(),
            constants: Vec::new(),
            flags: Vec::new(),
            stale_at: ListBuilder::new(Int64Builder::new()).with_field(field),
        }
    }

    /// Runs so far.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= CHUNK_RUNS || self.label_bytes >= CHUNK_LABEL_BYTES
    }

    pub(super) fn push(&mut self, run: &RunEntry<'_>) {
        debug_assert!(!self.is_full(), "a full chunk is closed first");
        if self.metrics.last().is_none_or(|last| **last != *run.metric) {
            self.metrics.push(Arc::from(run.metric));
        }
        let code = u16::try_from(self.metrics.len() - 1).expect("a chunk has at most 4,000 metrics");
        self.codes.push(code);
        self.labels.append_value(run.labels.as_bytes());
        self.label_bytes += run.labels.as_bytes().len();
        self.ids.push(run.id);
        self.rows.push(run.rows);
        self.first_times.push(run.first_time);
        self.last_times.push(run.last_time);
        self.steps.push(run.step);
        self.constants.push(run.constant);
        self.flags.push(if run.has_starts { FLAG_STARTS } else { 0 });
        self.stale_at.values().append_slice(run.stale_at);
        self.stale_at.append(true);
    }

    /// The compressed bytes.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        let names: StringArray = self.metrics.iter().map(|m| Some(&**m)).collect();
        let metrics = DictionaryArray::<UInt16Type>::try_new(UInt16Array::from(self.codes), Arc::new(names))
            .map_err(failed)?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(metrics),
            Arc::new(self.labels.finish()),
            Arc::new(Int64Array::from(self.ids)),
            Arc::new(UInt32Array::from(self.rows)),
            Arc::new(Int64Array::from(self.first_times)),
            Arc::new(Int64Array::from(self.last_times)),
            Arc::new(Int64Array::from(self.steps)),
            Arc::new(UInt64Array::from(self.constants)),
            Arc::new(UInt8Array::from(self.flags)),
            Arc::new(self.stale_at.finish()),
        ];
        let batch = RecordBatch::try_new(chunk_schema(), columns).map_err(failed)?;
        let mut raw = Vec::new();
        let mut writer = StreamWriter::try_new(&mut raw, &batch.schema()).map_err(failed)?;
        writer.write(&batch).and_then(|()| writer.finish()).map_err(failed)?;
        drop(writer);
        Ok(zstd::bulk::compress(&raw, INDEX_ZSTD_LEVEL)?)
    }
}

fn failed(error: arrow::error::ArrowError) -> Error {
    Error::internal("Arrow refused an index chunk").caused_by(error)
}

fn chunk_schema() -> SchemaRef {
    let metric = DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8));
    let stale = DataType::List(Arc::new(Field::new("item", DataType::Int64, false)));
    Arc::new(Schema::new(vec![
        Field::new("metric", metric, false),
        Field::new("labels", DataType::Binary, false),
        Field::new("series_id", DataType::Int64, false),
        Field::new("rows", DataType::UInt32, false),
        Field::new("first_time", DataType::Int64, false),
        Field::new("last_time", DataType::Int64, false),
        Field::new("step", DataType::Int64, false),
        Field::new("constant", DataType::UInt64, true),
        Field::new("flags", DataType::UInt8, false),
        Field::new("stale_at", stale, false),
    ]))
}

/// A decoded chunk.
#[derive(Debug)]
pub(super) struct Chunk {
    metrics: Vec<Arc<str>>,
    codes: UInt16Array,
    labels: BinaryArray,
    ids: Int64Array,
    /// One more than runs: the first row of each and the row after the last.
    first_rows: Vec<u64>,
    first_times: Int64Array,
    last_times: Int64Array,
    steps: Int64Array,
    constants: UInt64Array,
    flags: UInt8Array,
    stale_at: ListArray,
    stale_times: Int64Array,
}

impl Chunk {
    /// Decodes bytes whose CRC was checked.
    ///
    /// # Errors
    /// `Corrupt` when they are not what [`ChunkBuilder`] writes.
    pub(super) fn decode(bytes: &[u8], first_row: u64) -> Result<Self> {
        let raw = decompress(bytes, CHUNK_RAW_LIMIT)?;
        let mut reader = StreamReader::try_new(raw.as_slice(), None)
            .map_err(|e| damaged("a chunk is not an Arrow stream").caused_by(e))?;
        let batch = match reader.next() {
            Some(batch) => batch.map_err(|e| damaged("a chunk is not a record batch").caused_by(e))?,
            None => return Err(damaged("a chunk is empty")),
        };
        let metric: DictionaryArray<UInt16Type> = column(&batch, "metric")?;
        let names = metric.values().as_any().downcast_ref::<StringArray>();
        let names = names.ok_or_else(|| damaged("a chunk's metrics are not text"))?;
        let rows: UInt32Array = column(&batch, "rows")?;
        let stale_at: ListArray = column(&batch, "stale_at")?;
        let stale_times = stale_at.values().as_any().downcast_ref::<Int64Array>().cloned();
        let mut next = first_row;
        let ends = rows.values().iter().map(|rows| {
            next += u64::from(*rows);
            next
        });
        let chunk = Self {
            metrics: names.iter().map(|name| Arc::from(name.unwrap_or(""))).collect(),
            codes: metric.keys().clone(),
            labels: column(&batch, "labels")?,
            ids: column(&batch, "series_id")?,
            first_rows: std::iter::once(first_row).chain(ends).collect(),
            first_times: column(&batch, "first_time")?,
            last_times: column(&batch, "last_time")?,
            steps: column(&batch, "step")?,
            constants: column(&batch, "constant")?,
            flags: column(&batch, "flags")?,
            stale_at,
            stale_times: stale_times.ok_or_else(|| damaged("a chunk's stale markers are not times"))?,
        };
        let known = chunk.codes.values().iter().all(|code| usize::from(*code) < chunk.metrics.len());
        if !known || chunk.len() == 0 {
            return Err(damaged("a chunk contradicts itself"));
        }
        Ok(chunk)
    }

    /// Runs.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// About how much memory it holds, bytes.
    pub(super) fn weight(&self) -> usize {
        self.labels.get_array_memory_size() + self.stale_times.len() * 8 + self.len() * 64 + 1_024
    }

    /// Positions of the runs that match; each distinct metric is matched once.
    pub(super) fn select(&self, matchers: &Selector<'_>) -> Vec<u32> {
        let metric_matches: Vec<bool> = self.metrics.iter().map(|m| matchers.metric(m)).collect();
        let mut found = Vec::new();
        for (at, code) in self.codes.values().iter().enumerate() {
            if metric_matches[usize::from(*code)] && matchers.labels(self.labels(at)) {
                found.push(u32::try_from(at).expect("a chunk has few runs"));
            }
        }
        found
    }

    pub(super) fn metric(&self, at: usize) -> &Arc<str> {
        &self.metrics[usize::from(self.codes.value(at))]
    }

    pub(super) fn labels(&self, at: usize) -> LabelsRef<'_> {
        LabelsRef::trusted(self.labels.value(at))
    }

    pub(super) fn id(&self, at: usize) -> i64 {
        self.ids.value(at)
    }

    pub(super) fn rows(&self, at: usize) -> std::ops::Range<u64> {
        self.first_rows[at]..self.first_rows[at + 1]
    }

    /// First and last row, ms; of the stale markers where there are no rows.
    pub(super) fn row_times(&self, at: usize) -> (i64, i64) {
        (self.first_times.value(at), self.last_times.value(at))
    }

    pub(super) fn step(&self, at: usize) -> i64 {
        self.steps.value(at)
    }

    pub(super) fn constant(&self, at: usize) -> Option<f64> {
        self.constants.is_valid(at).then(|| f64::from_bits(self.constants.value(at)))
    }

    pub(super) fn has_starts(&self, at: usize) -> bool {
        self.flags.value(at) & FLAG_STARTS != 0
    }

    pub(super) fn stale_at(&self, at: usize) -> &[i64] {
        let offsets = self.stale_at.value_offsets();
        let bound = |i: usize| usize::try_from(offsets[i]).expect("Arrow checked the offsets");
        &self.stale_times.values()[bound(at)..bound(at + 1)]
    }
}

fn column<T: Array + Clone + 'static>(batch: &RecordBatch, name: &str) -> Result<T> {
    let found = batch.column_by_name(name).and_then(|array| array.as_any().downcast_ref::<T>());
    found.cloned().ok_or_else(|| damaged(&format!("a chunk has no column {name} of the right type")))
}

/// Decompresses an index part of at most `limit` bytes.
pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    let size = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten().unwrap_or(0);
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > limit {
        return Err(damaged("an index part is larger than any that is written").with("bytes", size));
    }
    zstd::bulk::decompress(bytes, size).map_err(|e| damaged("an index part does not decompress").caused_by(e))
}

/// Matchers split into those on the metric and those on other labels.
#[derive(Debug)]
pub(crate) struct Selector<'a> {
    metric: Vec<&'a Matcher>,
    labels: Vec<&'a Matcher>,
}

impl<'a> Selector<'a> {
    pub(crate) fn new(matchers: &'a [Matcher]) -> Self {
        let (metric, labels) = matchers.iter().partition(|m| m.name() == crate::model::METRIC_NAME);
        Self { metric, labels }
    }

    /// Whether the metric's matchers hold.
    pub(crate) fn metric(&self, metric: &str) -> bool {
        self.metric.iter().all(|m| m.matches(metric))
    }

    /// Whether the other matchers hold.
    pub(crate) fn labels(&self, labels: LabelsRef<'_>) -> bool {
        self.labels.iter().all(|m| m.matches_labels(labels))
    }

    /// The metrics that can match, sorted, where a matcher names them all.
    pub(crate) fn metrics(&self) -> Option<Vec<&'a str>> {
        let mut names = self.metric.iter().find_map(|m| m.literals())?;
        names.retain(|name| self.metric(name));
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    /// The matchers on other labels than the metric.
    pub(crate) fn label_matchers(&self) -> &[&'a Matcher] {
        &self.labels
    }

    /// The matchers on the metric.
    pub(crate) fn metric_matchers(&self) -> &[&'a Matcher] {
        &self.metric
    }
}
