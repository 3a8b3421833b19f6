//! The index of a file of log lines: its streams, and for each row group which of them it has, from when to when.
//!
//! It is the *directory* at which `add.tags` points. The token parts lie in front of it, one for each row group,
//! and their checksums stand here. `docs/format.md` draws the bytes.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::model::Labels;
use crate::store::block::format::{Extent, damaged};

const MAGIC: [u8; 8] = *b"QUIPULOG";
const VERSION: u16 = 2;
/// Magic, version, 0, length unpacked.
const HEAD: usize = 16;
/// What a hostile file may ask for.
const RAW_LIMIT: usize = 1 << 30;

/// The lines of one stream in one row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Position among the file's streams.
    pub(crate) stream: u32,
    /// Position of its first row in the row group.
    pub(crate) start: u32,
    /// Number of rows.
    pub(crate) rows: u32,
    /// The first time, ns.
    pub(crate) first: i64,
    /// The last time, ns.
    pub(crate) last: i64,
}

impl Segment {
    /// Its rows in the row group.
    pub(crate) fn range(&self) -> Range<u32> {
        self.start..self.start + self.rows
    }
}

/// One row group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct GroupIndex {
    /// Of neighbouring streams, in order, without gaps.
    pub(super) segments: Vec<Segment>,
    /// Where its tokens lie; offsets count from the start of the file.
    pub(super) tokens: Extent,
    /// Where the bloom filters of the [`Identifier`]s lie, without any where no line has one.
    pub(super) filters: [Extent; 2],
}

/// A column of bytes that names few lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identifier {
    /// The column `trace_id`.
    Trace,
    /// The column `span_id`.
    Span,
}

impl GroupIndex {
    pub(super) fn rows(&self) -> u32 {
        self.segments.last().map_or(0, |last| last.start + last.rows)
    }
}

/// The index of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct LogIndex {
    /// In the order of rows: by id, then labels.
    pub(super) streams: Vec<Labels>,
    pub(super) groups: Vec<GroupIndex>,
}

impl LogIndex {
    /// The stored bytes.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut raw = Vec::new();
        push_u32(&mut raw, self.streams.len())?;
        for labels in &self.streams {
            push_u32(&mut raw, labels.as_bytes().len())?;
            raw.extend_from_slice(labels.as_bytes());
        }
        push_u32(&mut raw, self.groups.len())?;
        for group in &self.groups {
            for part in std::iter::once(&group.tokens).chain(&group.filters) {
                raw.extend_from_slice(&part.offset.to_le_bytes());
                raw.extend_from_slice(&part.length.to_le_bytes());
                raw.extend_from_slice(&part.crc.to_le_bytes());
            }
            push_u32(&mut raw, group.segments.first().map_or(0, |first| first.stream as usize))?;
            push_u32(&mut raw, group.segments.len())?;
            for segment in &group.segments {
                raw.extend_from_slice(&segment.rows.to_le_bytes());
                raw.extend_from_slice(&segment.first.to_le_bytes());
                raw.extend_from_slice(&segment.last.to_le_bytes());
            }
        }
        let packed = zstd::bulk::compress(&raw, 3)
            .map_err(|e| Error::internal("an index of log lines cannot be packed").caused_by(e))?;
        let mut out = Vec::with_capacity(HEAD + packed.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        push_u32(&mut out, raw.len())?;
        out.extend_from_slice(&packed);
        Ok(out)
    }

    /// Reads the stored bytes, whose checksum was checked.
    ///
    /// # Errors
    /// `Corrupt` when a rule is broken, `Unsupported` for a later version.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let head = bytes.get(..HEAD).ok_or_else(|| damaged("the index of log lines ends early"))?;
        if head[..8] != MAGIC {
            return Err(damaged("not an index of log lines"));
        }
        let version = u16::from_le_bytes([head[8], head[9]]);
        if version != VERSION {
            return Err(
                Error::unsupported("an index of log lines of another version").with("version", version)
            );
        }
        let raw_len = u32::from_le_bytes([head[12], head[13], head[14], head[15]]) as usize;
        if raw_len > RAW_LIMIT {
            return Err(damaged("the index of log lines asks for too much").with("bytes", raw_len));
        }
        let raw = zstd::bulk::decompress(&bytes[HEAD..], raw_len)
            .map_err(|e| damaged("the index of log lines cannot be unpacked").caused_by(e))?;
        let mut read = Fields(&raw);
        let mut streams = Vec::new();
        for _ in 0..read.u32()? {
            let len = read.u32()? as usize;
            streams.push(Labels::from_canonical(read.take(len)?)?);
        }
        let mut groups = Vec::new();
        for _ in 0..read.u32()? {
            groups.push(read.group(streams.len())?);
        }
        if read.0.is_empty() {
            Ok(Self { streams, groups })
        } else {
            Err(damaged("the index has bytes left over"))
        }
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, tail) =
            self.0.split_at_checked(len).ok_or_else(|| damaged("the index of log lines ends early"))?;
        self.0 = tail;
        Ok(head)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes")))
    }

    fn extent(&mut self) -> Result<Extent> {
        Ok(Extent { offset: self.u64()?, length: self.u32()?, crc: self.u32()? })
    }

    fn group(&mut self, streams: usize) -> Result<GroupIndex> {
        let tokens = self.extent()?;
        let filters = [self.extent()?, self.extent()?];
        let (first_stream, count) = (self.u32()?, self.u32()?);
        let end = first_stream.checked_add(count).filter(|end| *end as usize <= streams);
        let end = end.ok_or_else(|| damaged("a row group of unknown streams"))?;
        let (mut segments, mut start) = (Vec::new(), 0u32);
        for stream in first_stream..end {
            let rows = self.u32()?;
            let (first, last) = (self.u64()?.cast_signed(), self.u64()?.cast_signed());
            segments.push(Segment { stream, start, rows, first, last });
            start = start.checked_add(rows).ok_or_else(|| damaged("a row group of 2^32 rows"))?;
        }
        Ok(GroupIndex { segments, tokens, filters })
    }
}

fn push_u32(out: &mut Vec<u8>, number: usize) -> Result<()> {
    let number = u32::try_from(number).map_err(|_| Error::internal("an index of log lines passes 4 GiB"))?;
    out.extend_from_slice(&number.to_le_bytes());
    Ok(())
}
