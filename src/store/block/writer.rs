//! Writes one `samples`, `histograms` or `exemplars` file from sorted runs: rows in pages, then the index block, then the footer.
//!
//! Synchronous and streaming: it holds one row group of encoded columns (about 1 M rows) and the compressed
//! index. The caller runs it on a blocking thread. It refuses runs that are out of order and rows that are not
//! ascending, because everything that reads relies on both.

use std::io::Write;
use std::sync::Arc;

use parquet::arrow::ArrowSchemaConverter;
use parquet::schema::types::{ColumnDescPtr, SchemaDescPtr};

use super::chunk::RunEntry;
use super::columns::{ClosedColumns, Codec, NO_START, SampleColumns};
use super::container::{Container, failed};
use super::format::{
    ColumnPages, FLAG_COLLISIONS, GroupEntry, IndexTag, PageCodec, PageEncoding, PageSection,
};
use super::index::{IndexBuilder, extent, length};
use super::repeats::{RepeatKind, Repeats};
use super::sort::RowSort;
use super::stats::{Bounds, RowBounds};
use super::wide::{ClosedColumn, WIDE_ROWS, WidePage};
use crate::error::{Error, Result};
use crate::model::{Exemplar, Histogram, SeriesKey};

/// Rows of a page: small enough that one series costs one page, large enough to compress.
pub(super) const PAGE_ROWS: usize = PAGE_ROWS_STORED as usize;
/// The same, as the directory stores it.
const PAGE_ROWS_STORED: u32 = 20_000;
/// Rows of a row group: 50 pages.
pub(super) const GROUP_ROWS: usize = 50 * PAGE_ROWS;

/// How a file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriterSetting {
    /// Written by a flush and merged soon: zstd 1.
    Fresh,
    /// Written by a merge: zstd 3.
    Merged,
}

impl WriterSetting {
    fn codec(self) -> Codec {
        let level = match self {
            Self::Fresh => 1,
            Self::Merged => 3,
        };
        Codec { encoding: PageEncoding::ByteStreamSplit, compression: PageCodec::Zstd, level }
    }
}

/// One series' rows for one file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunRows<'a> {
    /// The series.
    pub key: &'a SeriesKey,
    /// Its id.
    pub id: i64,
    /// ms, ascending, and unique but for exemplars; may be empty.
    pub timestamps: &'a [i64],
    /// One per timestamp, of the block's sort.
    pub rows: RowValues<'a>,
    /// Stale markers, ms, ascending and unique, at no row's timestamp.
    pub stale_at: &'a [i64],
}

/// What the rows of a run hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RowValues<'a> {
    /// Float samples.
    Floats {
        /// None is the stale marker.
        values: &'a [f64],
        /// One per timestamp, [`NO_START`] where a row has none.
        starts: Option<&'a [i64]>,
    },
    /// Native histograms.
    Histograms(&'a [Arc<Histogram>]),
    /// Exemplars.
    Exemplars(&'a [Exemplar]),
}

impl<'a> RowValues<'a> {
    fn len(&self) -> usize {
        match self {
            Self::Floats { values, .. } => values.len(),
            Self::Histograms(rows) => rows.len(),
            Self::Exemplars(rows) => rows.len(),
        }
    }

    fn sort(&self) -> RowSort {
        match self {
            Self::Floats { .. } => RowSort::Samples,
            Self::Histograms(_) => RowSort::Histograms,
            Self::Exemplars(_) => RowSort::Exemplars,
        }
    }

    /// Floats and their start timestamps; none in rows of another sort.
    fn floats(&self) -> (&'a [f64], Option<&'a [i64]>) {
        match self {
            Self::Floats { values, starts } => (values, *starts),
            _ => (&[], None),
        }
    }
}

impl RunRows<'_> {
    fn check(&self) -> Result<()> {
        let ascending = |times: &[i64]| times.is_sorted_by(|a, b| a < b);
        let in_order = ascending(self.timestamps)
            || (self.rows.sort() == RowSort::Exemplars && self.timestamps.is_sorted());
        let rows = self.timestamps.len();
        let (values, starts) = self.rows.floats();
        let lengths = self.rows.len() == rows && starts.is_none_or(|starts| starts.len() == rows);
        let apart = self.stale_at.iter().all(|at| self.timestamps.binary_search(at).is_err());
        let stale_value = values.iter().any(|value| crate::model::is_stale(*value));
        let what = match () {
            () if !lengths => "columns of different lengths",
            () if !in_order || !ascending(self.stale_at) => "timestamps that do not ascend",
            () if !apart => "a sample and a stale marker at one timestamp",
            () if stale_value => "a stale marker among its values",
            () if rows == 0 && self.stale_at.is_empty() => "neither rows nor stale markers",
            () => return Ok(()),
        };
        let error = Error::internal(format!("a run has {what}")).during("write block");
        Err(error.with("metric", &self.key.metric).with("labels", self.key.labels.as_ref()))
    }

    fn entry(&self) -> RunEntry<'_> {
        let times = if self.timestamps.is_empty() { self.stale_at } else { self.timestamps };
        let (first, last) = (times[0], times[times.len() - 1]);
        let (values, starts) = self.rows.floats();
        let constant = values.first().map(|value| value.to_bits());
        RunEntry {
            metric: &self.key.metric,
            labels: self.key.labels.as_ref(),
            id: self.id,
            rows: u32::try_from(self.timestamps.len()).expect("a run has fewer than 2^32 rows"),
            first_time: first,
            last_time: last,
            step: regular_step(self.timestamps),
            constant: constant.filter(|bits| values.iter().all(|value| value.to_bits() == *bits)),
            has_starts: starts.is_some_and(|starts| starts.iter().any(|start| *start != NO_START)),
            stale_at: self.stale_at,
        }
    }
}

/// ms between all neighbours, 0 where they differ, are fewer than two or too far apart to count.
fn regular_step(timestamps: &[i64]) -> i64 {
    let [first, second, ..] = timestamps else { return 0 };
    let Some(step) = second.checked_sub(*first) else { return 0 };
    let regular = timestamps.windows(2).all(|pair| pair[1].checked_sub(pair[0]) == Some(step));
    if regular { step } else { 0 }
}

/// What a finished file is, for its `add` action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FinishedBlock {
    /// Bytes.
    pub size: u64,
    /// Rows of samples.
    pub rows: u64,
    /// Runs, those without rows included.
    pub runs: u64,
    /// ms, over samples and stale markers.
    pub min_time: i64,
    /// See `min_time`.
    pub max_time: i64,
    /// Over the rows; `None` when there are only stale markers.
    pub bounds: Option<RowBounds>,
    /// Where the index lies.
    pub index: IndexTag,
    /// Rows of each row group.
    pub group_rows: Vec<u64>,
    /// Whether two label sets share an id under one metric.
    pub colliding_ids: bool,
}

/// The streaming writer of a block.
#[derive(Debug)]
pub(crate) struct BlockWriter<W: Write> {
    sort: RowSort,
    codec: Codec,
    container: Container<W>,
    schema: SchemaDescPtr,
    page: PageBuffer,
    wide: WidePage,
    metrics: Repeats,
    ids: Repeats,
    columns: Option<SampleColumns>,
    group_rows: usize,
    index: IndexBuilder,
    sections: Vec<u8>,
    stats: Bounds,
    last: Option<(SeriesKey, i64)>,
}

/// Rows that wait until they fill a page.
#[derive(Debug, Default)]
struct PageBuffer {
    timestamps: Vec<i64>,
    values: Vec<f64>,
    starts: Vec<i64>,
}

impl<W: Write> BlockWriter<W> {
    /// Starts a file of rows of one sort on `out`.
    ///
    /// # Errors
    /// What `out` says.
    pub(crate) fn of(sort: RowSort, out: W, setting: WriterSetting) -> Result<Self> {
        let schema = ArrowSchemaConverter::new().convert(&sort.schema()).map_err(failed)?;
        let schema = Arc::new(schema);
        let page_rows = if sort == RowSort::Samples { PAGE_ROWS_STORED } else { WIDE_ROWS };
        let mut index = IndexBuilder::new(page_rows);
        index.directory.flags |= sort.flag();
        Ok(Self {
            sort,
            codec: setting.codec(),
            container: Container::new(out, Arc::clone(&schema))?,
            schema,
            page: PageBuffer::default(),
            wide: WidePage::default(),
            metrics: Repeats::default(),
            ids: Repeats::default(),
            columns: None,
            group_rows: 0,
            index,
            sections: Vec::new(),
            stats: Bounds::default(),
            last: None,
        })
    }

    /// Appends a run. Runs come in the order of (metric, id, labels).
    ///
    /// # Errors
    /// `Internal` for a run that is out of order or not well formed, and what the output says.
    pub(crate) fn push_run(&mut self, run: RunRows<'_>) -> Result<()> {
        run.check()?;
        if run.rows.sort() != self.sort {
            return Err(Error::internal("a run holds rows of another sort").during("write block"));
        }
        self.check_order(&run)?;
        let entry = run.entry();
        self.stats.push(&run);
        self.index.push(&entry)?;
        if self.sort != RowSort::Samples {
            return self.push_wide(&run);
        }
        let (mut done, rows) = (0, run.timestamps.len());
        while done < rows {
            let taken = (PAGE_ROWS - self.page.timestamps.len()).min(rows - done);
            self.metrics.push(run.key.metric.as_bytes(), taken);
            self.ids.push(&run.id.to_le_bytes(), taken);
            self.page.push(&run, done..done + taken);
            done += taken;
            if self.page.timestamps.len() == PAGE_ROWS {
                self.flush_page()?;
            }
            if self.group_rows == GROUP_ROWS {
                self.flush_group()?;
            }
        }
        Ok(())
    }

    fn push_wide(&mut self, run: &RunRows<'_>) -> Result<()> {
        for at in 0..run.timestamps.len() {
            if self.wide.is_full() {
                self.flush_wide()?;
            }
            self.metrics.push(run.key.metric.as_bytes(), 1);
            self.ids.push(&run.id.to_le_bytes(), 1);
            match run.rows {
                RowValues::Histograms(rows) => self.wide.push_histogram(run.timestamps[at], &rows[at]),
                RowValues::Exemplars(rows) => self.wide.push_exemplar(&rows[at]),
                RowValues::Floats { .. } => {}
            }
        }
        Ok(())
    }

    fn flush_wide(&mut self) -> Result<()> {
        let rows = self.wide.timestamps.len();
        if rows == 0 {
            return Ok(());
        }
        let columns = self.wide.close(self.sort, &self.schema, self.codec)?;
        self.write_group(columns, rows)
    }

    /// Bytes of the row groups so far.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.container.position()
    }

    fn check_order(&mut self, run: &RunRows<'_>) -> Result<()> {
        if let Some((last, last_id)) = &self.last {
            let before = (&last.metric, *last_id, &last.labels);
            let now = (&run.key.metric, run.id, &run.key.labels);
            if before >= now {
                let error = Error::internal("a run is out of order").during("write block");
                return Err(error.with("metric", &run.key.metric).with("labels", run.key.labels.as_ref()));
            }
            if before.0 == now.0 && before.1 == now.1 {
                self.index.directory.flags |= FLAG_COLLISIONS;
            }
        }
        self.last = Some((run.key.clone(), run.id));
        Ok(())
    }

    fn flush_page(&mut self) -> Result<()> {
        let page = &mut self.page;
        if page.timestamps.is_empty() {
            return Ok(());
        }
        if self.columns.is_none() {
            let column = |at| self.schema.column(at);
            let columns: [ColumnDescPtr; 3] = [column(2), column(3), column(4)];
            let columns = SampleColumns::new(&columns, self.codec, &page.timestamps).map_err(failed)?;
            self.columns = Some(columns);
        }
        let columns = self.columns.as_mut().expect("made above");
        columns.page(&page.timestamps, &page.values, &mut page.starts).map_err(failed)?;
        self.group_rows += page.timestamps.len();
        page.timestamps.clear();
        page.values.clear();
        page.starts.clear();
        Ok(())
    }

    fn flush_group(&mut self) -> Result<()> {
        let Some(columns) = self.columns.take() else { return Ok(()) };
        let ClosedColumns { timestamp_encoding, columns } = columns.close().map_err(failed)?;
        let encodings = [timestamp_encoding, PageEncoding::ByteStreamSplit, PageEncoding::DeltaBinaryPacked];
        let columns = columns.into_iter().zip(encodings);
        let columns = columns.map(|((chunk, close), encoding)| (chunk, close, encoding)).collect();
        let rows = std::mem::take(&mut self.group_rows);
        self.write_group(columns, rows)
    }

    /// Writes a row group: the repeating keys and the closed columns behind them.
    fn write_group(&mut self, closed: Vec<ClosedColumn>, rows: usize) -> Result<()> {
        let level = self.codec.level;
        let metric = self.metrics.finish(&self.schema.column(0), RepeatKind::Text, PAGE_ROWS, level);
        let id = self.ids.finish(&self.schema.column(1), RepeatKind::Int64, PAGE_ROWS, level);
        let mut columns = vec![metric.map_err(failed)?, id.map_err(failed)?];
        let mut section = PageSection { columns: Vec::with_capacity(closed.len()) };
        for (chunk, close, encoding) in closed {
            let pages = chunk.pages.clone();
            section.columns.push(ColumnPages { encoding, codec: self.codec.compression, pages });
            columns.push((chunk, close));
        }
        let starts = self.container.row_group(columns)?.starts;
        for (column, at) in section.columns.iter_mut().zip(&starts[2..]) {
            column.pages.iter_mut().for_each(|page| page.offset += at);
        }
        let section = section.encode();
        let directory = &mut self.index.directory;
        let rows = u32::try_from(rows).expect("a row group has 1 M rows");
        let pages = extent(self.sections.len(), &section)?;
        directory.groups.push(GroupEntry { first_row: directory.rows, rows, pages });
        directory.rows += u64::from(rows);
        self.sections.extend_from_slice(&section);
        Ok(())
    }

    /// Writes what is pending, the index and the footer. Returns the output too.
    ///
    /// # Errors
    /// What the output says; `Internal` when there was no run at all.
    pub(crate) fn finish(mut self) -> Result<(FinishedBlock, W)> {
        self.flush_page()?;
        self.flush_group()?;
        self.flush_wide()?;
        let Some((last, _)) = self.last else {
            return Err(Error::internal("a block without runs").during("write block"));
        };
        let mut block = self.index.finish(&last.metric, self.container.position(), &self.sections)?;
        let index = IndexTag {
            offset: self.container.position() + length(block.bytes.len()),
            length: length(block.directory_bytes.len()),
            crc: crc32c::crc32c(&block.directory_bytes),
        };
        block.bytes.append(&mut block.directory_bytes);
        self.container.append(&block.bytes)?;
        let directory = block.directory;
        let colliding_ids = directory.has(FLAG_COLLISIONS);
        let sorted_by: &[i32] = if colliding_ids { &[0, 1] } else { &[0, 1, 2] };
        let footer = vec![(IndexTag::KEY.to_owned(), index.to_text())];
        let (out, size) = self.container.finish(sorted_by, footer)?;
        let (min_time, max_time) = self.stats.times();
        let block = FinishedBlock {
            size,
            rows: directory.rows,
            runs: directory.runs,
            min_time,
            max_time,
            bounds: self.stats.into_rows(),
            index,
            group_rows: directory.groups.iter().map(|group| u64::from(group.rows)).collect(),
            colliding_ids,
        };
        Ok((block, out))
    }
}

impl BlockWriter<Vec<u8>> {
    /// Takes the bytes that are finished: what an upload sends while the file is still being written. What
    /// [`Self::finish`] returns comes after them.
    pub(crate) fn drain(&mut self) -> Vec<u8> {
        self.container.drain()
    }
}

impl PageBuffer {
    fn push(&mut self, run: &RunRows<'_>, rows: std::ops::Range<usize>) {
        self.timestamps.extend_from_slice(&run.timestamps[rows.clone()]);
        let (values, starts) = run.rows.floats();
        self.values.extend_from_slice(&values[rows.clone()]);
        match starts {
            Some(starts) => self.starts.extend_from_slice(&starts[rows]),
            None => self.starts.resize(self.timestamps.len(), NO_START),
        }
    }
}
