//! Files that flush and merge make: encoded, not yet named by a commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMillisecondType};
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::model::{Labels, SeriesKey, Table};
use crate::store::block::{
    FinishedBlock, FinishedTable, IndexTag, MetadataRow, SeriesRow, StaleRow, read_metadata, read_table,
    write_metadata, write_series, write_staleness,
};
use crate::store::catalog::{DataFile, IndexPlace, Rank, Stats, Tags};

/// An encoded file.
#[derive(Debug, Clone)]
pub(super) struct Output {
    path: String,
    bytes: Bytes,
    stats: Stats,
    size: u64,
    day: i32,
    times: (i64, i64),
    row_groups: Vec<u64>,
    index: Option<IndexPlace>,
}

impl Output {
    /// A file of samples that is in the object store already, under `path` in the table's folder.
    pub(super) fn of_uploaded(day: i32, block: &FinishedBlock, path: String) -> Self {
        Self { path, size: block.size, ..Self::of_block(day, block, Vec::new()) }
    }

    /// A file of samples.
    pub(super) fn of_block(day: i32, block: &FinishedBlock, bytes: Vec<u8>) -> Self {
        let mut stats = Stats::rows(block.rows);
        if let Some(bounds) = &block.bounds {
            stats = stats
                .with_text("metric", &bounds.metric.0, &bounds.metric.1)
                .with_int("series_id", bounds.id.0, bounds.id.1)
                .with_time("timestamp", bounds.time.0, bounds.time.1);
        }
        let IndexTag { offset, length, crc } = block.index;
        Self {
            row_groups: block.group_rows.clone(),
            index: Some(IndexPlace { offset, len: length, crc }),
            ..Self::new(day, stats, bytes.into(), (block.min_time, block.max_time))
        }
    }

    /// A file of a side table; `times` are those of the samples that it is about, ms.
    pub(super) fn of_table(day: i32, table: &FinishedTable, times: (i64, i64)) -> Self {
        let row_groups = vec![table.rows];
        Self { row_groups, ..Self::new(day, Stats::rows(table.rows), table.bytes.clone(), times) }
    }

    fn new(day: i32, stats: Stats, bytes: Bytes, times: (i64, i64)) -> Self {
        let (path, size) = (DataFile::new_path(day), bytes.len() as u64);
        Self { path, bytes, stats, size, day, times, row_groups: Vec::new(), index: None }
    }

    /// Its path under the table's folder.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The file.
    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The same once it is uploaded: what its commit needs.
    pub(super) fn without_bytes(self) -> Self {
        Self { bytes: Bytes::new(), ..self }
    }

    /// Bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Rows.
    pub(super) fn rows(&self) -> u64 {
        self.row_groups.iter().sum()
    }

    /// The file as a commit names it.
    pub(super) fn to_data_file(&self, rank: Rank, level: u32, modified_ms: i64) -> DataFile {
        DataFile {
            path: self.path.clone(),
            size: self.size(),
            modified_ms,
            stats: self.stats.clone(),
            tags: Tags {
                rank,
                level,
                day: self.day,
                min_time: self.times.0,
                max_time: self.times.1,
                row_groups: self.row_groups.clone(),
                index: self.index,
                other: BTreeMap::new(),
            },
        }
    }
}

/// Rows of one side table on their way from several files into one.
#[derive(Debug)]
pub(super) enum SideRows {
    Series(Vec<SeriesRow>),
    Staleness(Vec<StaleRow>),
    Metadata(BTreeMap<(Arc<str>, i32), MetadataRow>),
}

impl SideRows {
    /// No rows yet. `samples` and `logs` are no side tables.
    pub(super) fn new(table: Table) -> Self {
        match table {
            Table::Series => Self::Series(Vec::new()),
            Table::Metadata => Self::Metadata(BTreeMap::new()),
            Table::Staleness | Table::Samples | Table::Logs => Self::Staleness(Vec::new()),
        }
    }

    /// Adds a file's rows; files come in rank order.
    ///
    /// # Errors
    /// `Corrupt` when the file or a row cannot be read.
    pub(super) fn read(&mut self, file: &Bytes) -> Result<()> {
        match self {
            Self::Series(rows) => {
                for batch in read_table(file)? {
                    read_series(&batch, rows)?;
                }
            }
            Self::Staleness(rows) => {
                for batch in read_table(file)? {
                    read_staleness(&batch, rows)?;
                }
            }
            Self::Metadata(rows) => {
                for row in read_metadata(file)? {
                    let key = (Arc::clone(&row.metric), row.day);
                    // A later row's label names begin with the earlier one's: names are only ever added.
                    rows.insert(key, row);
                }
            }
        }
        Ok(())
    }

    /// The merged file: duplicates are written once.
    ///
    /// # Errors
    /// What the writer says.
    pub(super) fn write(self) -> Result<FinishedTable> {
        match self {
            Self::Series(rows) => write_series(rows),
            Self::Staleness(rows) => write_staleness(rows),
            Self::Metadata(rows) => write_metadata(rows.into_values().collect()),
        }
    }
}

fn column<'a, T>(
    batch: &'a RecordBatch,
    name: &str,
    cast: impl FnOnce(&'a dyn Array) -> Option<&'a T>,
) -> Result<&'a T> {
    let found = batch.column_by_name(name).and_then(|array| cast(array.as_ref()));
    found.ok_or_else(|| {
        Error::corrupt("a side table without the column or with another type").with("column", name)
    })
}

fn read_series(batch: &RecordBatch, rows: &mut Vec<SeriesRow>) -> Result<()> {
    let days = column(batch, "day", |a| a.as_primitive_opt::<Date32Type>())?;
    let metrics = column(batch, "metric", |a| a.as_string_opt::<i32>())?;
    let ids = column(batch, "series_id", |a| a.as_primitive_opt::<Int64Type>())?;
    let labels = column(batch, "labels", |a| a.as_map_opt())?;
    for row in 0..batch.num_rows() {
        let entries = labels.value(row);
        let text = |index: usize| {
            let array = entries.column(index).as_string_opt::<i32>();
            array.ok_or_else(|| Error::corrupt("labels that are not text"))
        };
        let (names, values) = (text(0)?, text(1)?);
        let pairs = (0..entries.len()).map(|at| (names.value(at), values.value(at)));
        let key = SeriesKey { metric: metrics.value(row).into(), labels: Labels::from_pairs(pairs)? };
        rows.push(SeriesRow { day: days.value(row), key, id: ids.value(row) });
    }
    Ok(())
}

fn read_staleness(batch: &RecordBatch, rows: &mut Vec<StaleRow>) -> Result<()> {
    let metrics = column(batch, "metric", |a| a.as_string_opt::<i32>())?;
    let ids = column(batch, "series_id", |a| a.as_primitive_opt::<Int64Type>())?;
    let times = column(batch, "timestamp", |a| a.as_primitive_opt::<TimestampMillisecondType>())?;
    rows.extend((0..batch.num_rows()).map(|row| StaleRow {
        metric: metrics.value(row).into(),
        id: ids.value(row),
        timestamp: times.value(row),
    }));
    Ok(())
}
