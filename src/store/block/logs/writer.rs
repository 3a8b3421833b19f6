//! Writes one file of log lines: row groups, token parts, the index, the footer.
//!
//! Synchronous and streaming: it holds one row group. It refuses lines that are out of order.

use std::io::Write;
use std::sync::Arc;

use parquet::arrow::ArrowSchemaConverter;
use parquet::schema::types::SchemaDescPtr;

use super::columns::{self, FileColumns, Group};
use super::index::{GroupIndex, LogIndex, Segment};
use super::line::{SPAN_ID, TRACE_ID};
use super::tokens::TokenBuilder;
use crate::error::{Error, Result};
use crate::model::{Labels, LogLine, logs_schema_with, series_id, time};
use crate::store::block::container::{Container, failed};
use crate::store::block::format::{Extent, IndexTag};
use crate::store::block::index::{extent, length};

/// Lines of a row group. A smaller one is pruned more often, a larger one packs better.
const GROUP_ROWS: usize = 65_536;
/// Bytes of text after which a row group ends before that.
const GROUP_BYTES: usize = 64 << 20;

/// What a finished file is, for its `add` action.
#[derive(Debug, Clone)]
pub(crate) struct FinishedLogs {
    /// Bytes.
    pub(crate) size: u64,
    /// Lines.
    pub(crate) rows: u64,
    /// First and last time in ms, rounded outwards.
    pub(crate) times: (i64, i64),
    /// Smallest and largest stream id.
    pub(crate) ids: (i64, i64),
    /// Where the index lies.
    pub(crate) index: IndexTag,
    /// CRC32C of what lies behind the index.
    pub(crate) footer_crc: u32,
    /// Lines of each row group.
    pub(crate) group_rows: Vec<u64>,
    /// The labels that are columns.
    pub(crate) labels: Arc<[Arc<str>]>,
}

impl FinishedLogs {
    /// What a reader must know.
    #[cfg(test)]
    pub(crate) fn place(&self) -> LogPlace {
        LogPlace { index: self.index, footer_crc: self.footer_crc, size: self.size }
    }
}

/// What must be known to open a file of log lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogPlace {
    /// Where the index lies.
    pub(crate) index: IndexTag,
    /// CRC32C of what lies behind the index.
    pub(crate) footer_crc: u32,
    /// Bytes of the file.
    pub(crate) size: u64,
}

/// The streaming writer of a file of log lines.
#[derive(Debug)]
pub(crate) struct LogWriter<W: Write> {
    container: Container<W>,
    schema: SchemaDescPtr,
    labels: Arc<[Arc<str>]>,
    group: Group,
    index: LogIndex,
    ids: Vec<i64>,
    tokens: Vec<Vec<u8>>,
    token_builder: TokenBuilder,
    times: Option<(i64, i64)>,
    collides: bool,
}

impl<W: Write> LogWriter<W> {
    /// Starts a file on `out` in which `labels` are columns; all must have a name that may be one.
    ///
    /// # Errors
    /// What `out` says.
    pub(crate) fn new(out: W, labels: Arc<[Arc<str>]>) -> Result<Self> {
        let schema = ArrowSchemaConverter::new().convert(&logs_schema_with(&labels)).map_err(failed)?;
        let schema = Arc::new(schema);
        Ok(Self {
            container: Container::new(out, Arc::clone(&schema))?,
            schema,
            labels,
            group: Group::default(),
            index: LogIndex::default(),
            ids: Vec::new(),
            tokens: Vec::new(),
            token_builder: TokenBuilder::new(),
            times: None,
            collides: false,
        })
    }

    /// Appends a line. Lines come in the order of (id of the stream, labels, time).
    ///
    /// # Errors
    /// `Internal` for a line that is out of order, and what the output says.
    pub(crate) fn push(&mut self, stream: &Labels, line: LogLine<'_>) -> Result<()> {
        if self.index.streams.last() != Some(stream) {
            self.begin_stream(stream)?;
        }
        if self.group.rows() >= GROUP_ROWS || self.group.bytes() >= GROUP_BYTES {
            self.flush_group()?;
        }
        let number = u32::try_from(self.index.streams.len() - 1).expect("fewer than 2^32 streams");
        let group = &mut self.group;
        let start = u32::try_from(group.rows()).expect("a row group has few rows");
        let time = line.timestamp;
        match group.segments.last_mut().filter(|open| open.stream == number) {
            Some(open) if open.last > time => {
                let error = Error::internal("a log line is out of order").during("write block");
                return Err(error.with("stream", stream.as_ref()));
            }
            Some(open) => (open.last, open.rows) = (time, open.rows + 1),
            None => group.segments.push(Segment { stream: number, start, rows: 1, first: time, last: time }),
        }
        group.timestamps.push(time);
        group.bodies.extend_from_slice(line.body.as_bytes());
        group.body_ends.push(group.bodies.len());
        group.metadata.extend_from_slice(line.metadata.as_bytes());
        group.metadata_ends.push(group.metadata.len());
        let times = self.times.get_or_insert((time, time));
        *times = (times.0.min(time), times.1.max(time));
        Ok(())
    }

    /// Bytes of the row groups so far.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.container.position()
    }

    fn begin_stream(&mut self, stream: &Labels) -> Result<()> {
        let id = series_id(stream.as_ref());
        if let (Some(last), Some(last_id)) = (self.index.streams.last(), self.ids.last()) {
            if (last_id, last) >= (&id, stream) {
                let error = Error::internal("a stream is out of order").during("write block");
                return Err(error.with("stream", stream.as_ref()));
            }
            self.collides |= *last_id == id;
        }
        self.index.streams.push(stream.clone());
        self.ids.push(id);
        Ok(())
    }

    fn flush_group(&mut self) -> Result<()> {
        if self.group.rows() == 0 {
            return Ok(());
        }
        let Self { schema, index, ids, labels, .. } = self;
        let file = FileColumns { schema, streams: &index.streams, ids, labels };
        let columns = columns::encode(&mut self.group, file)?;
        let bytes = columns.iter().map(|(chunk, _)| chunk.bytes.len()).sum();
        let filters = self.container.row_group(columns)?.filters;
        let filter_of = |name: &str| {
            let of = |(column, _): &&(usize, Extent)| self.schema.column(*column).name() == name;
            filters.iter().find(of).map(|(_, place)| *place).unwrap_or_default()
        };
        let filters = [filter_of(TRACE_ID), filter_of(SPAN_ID)];
        self.tokens.push(self.token_builder.build(self.group.lines(), bytes)?);
        let segments = std::mem::take(&mut self.group.segments);
        self.index.groups.push(GroupIndex { segments, tokens: Extent::default(), filters });
        let Group { timestamps, bodies, body_ends, metadata, metadata_ends, .. } = &mut self.group;
        timestamps.clear();
        bodies.clear();
        body_ends.clear();
        metadata.clear();
        metadata_ends.clear();
        Ok(())
    }
}

impl LogWriter<Vec<u8>> {
    /// Writes what is pending, the index and the footer. Returns the output too.
    ///
    /// # Errors
    /// What the output says; `Internal` when there was no line at all.
    pub(crate) fn finish(mut self) -> Result<(FinishedLogs, Vec<u8>)> {
        self.flush_group()?;
        let (Some((first, last)), Some(min_id), Some(max_id)) =
            (self.times, self.ids.first().copied(), self.ids.last().copied())
        else {
            return Err(Error::internal("a file without log lines").during("write block"));
        };
        for (group, part) in self.index.groups.iter_mut().zip(&self.tokens) {
            let Extent { length, crc, .. } = extent(0, part)?;
            group.tokens = Extent { offset: self.container.position(), length, crc };
            self.container.append(part)?;
        }
        let bytes = self.index.encode()?;
        let index = IndexTag {
            offset: self.container.position(),
            length: length(bytes.len()),
            crc: crc32c::crc32c(&bytes),
        };
        self.container.append(&bytes)?;
        let group_rows: Vec<u64> = self.index.groups.iter().map(|group| u64::from(group.rows())).collect();
        let sorted_by: &[i32] = if self.collides { &[0] } else { &[0, 1, 2] };
        let footer = vec![(IndexTag::KEY.to_owned(), index.to_text())];
        let (out, size) = self.container.finish(sorted_by, footer)?;
        let behind = usize::try_from(size - index.offset - index.length).expect("a footer fits memory");
        let footer_crc = crc32c::crc32c(&out[out.len() - behind..]);
        let times = (time::ns_to_ms(first), time::ns_to_ms(last.saturating_add(999_999)));
        let rows = group_rows.iter().sum();
        let logs = FinishedLogs {
            size,
            rows,
            times,
            ids: (min_id, max_id),
            index,
            footer_crc,
            group_rows,
            labels: self.labels,
        };
        Ok((logs, out))
    }

    /// Takes the bytes that are finished; what [`Self::finish`] returns comes after them.
    pub(crate) fn drain(&mut self) -> Vec<u8> {
        self.container.drain()
    }
}
