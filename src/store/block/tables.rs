//! The side tables `series`, `staleness` and `metadata`: small, plain Parquet files without an index block.
//!
//! They are made in memory, sorted, and carry page CRCs like every file of ours.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArrayType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::SchemaDescPtr;

use super::container::{Container, failed};
use super::leaves::{Leaves, text};
use super::writer::{GROUP_ROWS, PAGE_ROWS};
use crate::error::{Error, Result};
use crate::model::{MetricType, SeriesKey, metadata_schema, series_schema, staleness_schema};

/// One row of `series`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeriesRow {
    /// Days since 1970-01-01.
    pub day: i32,
    /// The series' metric and labels.
    pub key: SeriesKey,
    /// Its id.
    pub id: i64,
}

/// One row of `staleness`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StaleRow {
    /// The metric.
    pub metric: Arc<str>,
    /// The series' id.
    pub id: i64,
    /// ms.
    pub timestamp: i64,
}

/// One row of `metadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetadataRow {
    /// The metric.
    pub metric: Arc<str>,
    /// Label names in first-seen order.
    pub label_names: Vec<Arc<str>>,
    /// Its type.
    pub kind: MetricType,
    /// Help text; may be empty.
    pub help: Arc<str>,
    /// Unit; may be empty.
    pub unit: Arc<str>,
    /// Whether it has native histograms.
    pub has_histograms: bool,
    /// Days since 1970-01-01.
    pub day: i32,
}

/// A finished side-table file.
#[derive(Debug, Clone)]
pub(crate) struct FinishedTable {
    /// The file.
    pub bytes: Bytes,
    /// Rows.
    pub rows: u64,
}

/// A `series` file; rows are sorted and exact duplicates written once.
///
/// # Errors
/// `Internal` when the encoder fails.
pub(crate) fn write_series(mut rows: Vec<SeriesRow>) -> Result<FinishedTable> {
    rows.sort_unstable_by(|a, b| {
        (a.day, &a.key.metric, a.id, &a.key.labels).cmp(&(b.day, &b.key.metric, b.id, &b.key.labels))
    });
    rows.dedup();
    write_table(&series_schema(), &[0, 1, 2], &rows, |columns, rows| {
        columns.plain::<Int32Type>(rows.iter().map(|row| row.day))?;
        columns.plain::<ByteArrayType>(rows.iter().map(|row| text(&row.key.metric)))?;
        columns.plain::<Int64Type>(rows.iter().map(|row| row.id))?;
        // `key` is required inside the repeated entry, `value` optional: one level more.
        let pairs = || rows.iter().map(|row| row.key.labels.iter());
        columns.nested::<ByteArrayType, _>(pairs().map(|labels| labels.map(|(name, _)| text(name))), 1)?;
        columns.nested::<ByteArrayType, _>(pairs().map(|labels| labels.map(|(_, value)| text(value))), 2)
    })
}

/// A `staleness` file; rows are sorted and duplicates written once.
///
/// # Errors
/// `Internal` when the encoder fails.
pub(crate) fn write_staleness(mut rows: Vec<StaleRow>) -> Result<FinishedTable> {
    rows.sort_unstable();
    rows.dedup();
    write_table(&staleness_schema(), &[0, 1, 2], &rows, |columns, rows| {
        columns.plain::<ByteArrayType>(rows.iter().map(|row| text(&row.metric)))?;
        columns.plain::<Int64Type>(rows.iter().map(|row| row.id))?;
        columns.plain::<Int64Type>(rows.iter().map(|row| row.timestamp))
    })
}

/// A `metadata` file, sorted by metric and day.
///
/// # Errors
/// `Internal` when the encoder fails.
pub(crate) fn write_metadata(mut rows: Vec<MetadataRow>) -> Result<FinishedTable> {
    rows.sort_by(|a, b| (&a.metric, a.day).cmp(&(&b.metric, b.day)));
    write_table(&metadata_schema(), &[0], &rows, |columns, rows| {
        columns.plain::<ByteArrayType>(rows.iter().map(|row| text(&row.metric)))?;
        let names = rows.iter().map(|row| row.label_names.iter().map(|name| text(name)));
        columns.nested::<ByteArrayType, _>(names, 1)?;
        columns.plain::<ByteArrayType>(rows.iter().map(|row| text(row.kind.as_str())))?;
        columns.plain::<ByteArrayType>(rows.iter().map(|row| text(&row.help)))?;
        columns.plain::<ByteArrayType>(rows.iter().map(|row| text(&row.unit)))?;
        columns.plain::<BoolType>(rows.iter().map(|row| row.has_histograms))?;
        columns.plain::<Int32Type>(rows.iter().map(|row| row.day))
    })
}

/// The rows of a `metadata` file, in file order.
///
/// # Errors
/// `Corrupt` when the bytes are not such a file; the caller adds its name.
pub(crate) fn read_metadata(file: &Bytes) -> Result<Vec<MetadataRow>> {
    let mut rows = Vec::new();
    for batch in read_table(file)? {
        let names =
            column(&batch, "label_names")?.as_list_opt::<i32>().ok_or_else(|| wrong("label_names"))?;
        let texts = ["metric", "type", "help", "unit"].map(|name| {
            let array = column(&batch, name)?;
            array.as_string_opt::<i32>().ok_or_else(|| wrong(name))
        });
        let [metric, kind, help, unit] = texts;
        let (metric, kind, help, unit) = (metric?, kind?, help?, unit?);
        let histograms =
            column(&batch, "has_histograms")?.as_boolean_opt().ok_or_else(|| wrong("has_histograms"))?;
        let day = column(&batch, "day")?.as_primitive_opt::<Date32Type>().ok_or_else(|| wrong("day"))?;
        for at in 0..batch.num_rows() {
            let label_names = names.value(at);
            let label_names = label_names.as_string_opt::<i32>().ok_or_else(|| wrong("label_names"))?;
            rows.push(MetadataRow {
                metric: Arc::from(metric.value(at)),
                label_names: label_names.iter().flatten().map(Arc::from).collect(),
                kind: MetricType::from_name(kind.value(at)).unwrap_or_default(),
                help: Arc::from(help.value(at)),
                unit: Arc::from(unit.value(at)),
                has_histograms: histograms.value(at),
                day: day.value(at),
            });
        }
    }
    Ok(rows)
}

/// All rows of a small Parquet file.
///
/// # Errors
/// `Corrupt` when it does not decode or a page's CRC is wrong.
pub(crate) fn read_table(file: &Bytes) -> Result<Vec<RecordBatch>> {
    let damaged = |e: Box<dyn std::error::Error + Send + Sync>| {
        Error::corrupt("not a readable Parquet file").caused_by(e)
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).map_err(|e| damaged(e.into()))?;
    let reader = reader.build().map_err(|e| damaged(e.into()))?;
    reader.map(|batch| batch.map_err(|e| damaged(e.into()))).collect()
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array> {
    batch.column_by_name(name).map(|array| &**array).ok_or_else(|| wrong(name))
}

fn wrong(name: &str) -> Error {
    Error::corrupt("a column is missing or has another type").with("column", name)
}

fn write_table<R>(
    schema: &SchemaRef,
    sorted_by: &[i32],
    rows: &[R],
    encode: impl Fn(&mut Leaves, &[R]) -> Result<()>,
) -> Result<FinishedTable> {
    let schema: SchemaDescPtr = Arc::new(ArrowSchemaConverter::new().convert(schema).map_err(failed)?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).map_err(failed)?))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .build();
    let properties = Arc::new(properties);
    let mut container = Container::new(Vec::new(), Arc::clone(&schema))?;
    for group in rows.chunks(GROUP_ROWS) {
        let (schema, properties) = (Arc::clone(&schema), Arc::clone(&properties));
        let mut columns = Leaves::new(schema, properties, 0);
        encode(&mut columns, group)?;
        container.row_group(columns.done)?;
    }
    let (bytes, _) = container.finish(sorted_by, Vec::new())?;
    let rows = u64::try_from(rows.len()).expect("usize fits u64");
    Ok(FinishedTable { bytes: bytes.into(), rows })
}
