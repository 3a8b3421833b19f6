//! What a door hands to the store: log lines, with the streams that they belong to.

use super::labels::{Labels, LabelsRef};

/// Log lines of one request, or of one read of a tailed file. Appended whole or not at all.
///
/// A line's row is `(stream, timestamp, body, metadata)`; two rows that agree in all four are one row, so sending
/// a batch again changes nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogBatch {
    /// The label sets that lines refer to.
    pub streams: Vec<Labels>,
    /// Position in `streams`, one per line.
    pub stream: Vec<u32>,
    /// ns since 1970 UTC, one per line.
    pub timestamps: Vec<i64>,
    /// The lines one after the other, without separators: valid UTF-8.
    pub bodies: String,
    /// Where each line ends in `bodies`.
    pub body_ends: Vec<u32>,
    /// Structured metadata one after the other, each the canonical bytes of [`Labels`]; none where empty.
    pub metadata: Vec<u8>,
    /// Where each line's metadata ends in `metadata`.
    pub metadata_ends: Vec<u32>,
    /// How far a tailed file has been read with these lines: durable if and only if they are.
    pub position: Option<FilePosition>,
}

/// How far one tailed file has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePosition {
    /// The path under which it was found.
    pub path: String,
    /// Device and inode, so that a renamed file keeps its position.
    pub device: u64,
    /// See `device`.
    pub inode: u64,
    /// XXH3-64 of the first `fingerprint_len` bytes: a reused inode is another file.
    pub fingerprint: u64,
    /// How many bytes were hashed, at most 1,024.
    pub fingerprint_len: u32,
    /// Bytes whose lines are stored.
    pub offset: u64,
    /// The newest timestamp given to a line, ns.
    pub last_ns: i64,
    /// The file is gone: the position need not be kept.
    pub is_done: bool,
}

/// One line of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// Position in [`LogBatch::streams`].
    pub stream: u32,
    /// ns since 1970 UTC.
    pub timestamp: i64,
    /// The text.
    pub body: &'a str,
    /// Structured metadata.
    pub metadata: LabelsRef<'a>,
}

impl LogBatch {
    /// Number of lines.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Adds a line. `false` when the texts of the batch would pass 4 GiB: send it and begin another.
    #[must_use]
    pub fn push(&mut self, stream: u32, timestamp: i64, body: &str, metadata: LabelsRef<'_>) -> bool {
        let body_end = u32::try_from(self.bodies.len() + body.len());
        let metadata_end = u32::try_from(self.metadata.len() + metadata.as_bytes().len());
        let (Ok(body_end), Ok(metadata_end)) = (body_end, metadata_end) else { return false };
        self.bodies.push_str(body);
        self.metadata.extend_from_slice(metadata.as_bytes());
        self.stream.push(stream);
        self.timestamps.push(timestamp);
        self.body_ends.push(body_end);
        self.metadata_ends.push(metadata_end);
        true
    }

    /// Whether the columns fit together, so that [`LogBatch::line`] cannot panic.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self) -> Result<(), &'static str> {
        let rows = self.len();
        let is_partition =
            |ends: &[u32], len: usize| ends.is_sorted() && ends.last().map_or(0, |end| *end as usize) == len;
        if [self.stream.len(), self.body_ends.len(), self.metadata_ends.len()] != [rows; 3] {
            return Err("columns of different lengths");
        }
        if self.stream.iter().any(|stream| *stream as usize >= self.streams.len()) {
            return Err("a line of an unknown stream");
        }
        if !is_partition(&self.body_ends, self.bodies.len())
            || !is_partition(&self.metadata_ends, self.metadata.len())
        {
            return Err("ends that do not divide the texts");
        }
        if !self.body_ends.iter().all(|end| self.bodies.is_char_boundary(*end as usize)) {
            return Err("a line that ends inside a character");
        }
        Ok(())
    }

    /// One line.
    ///
    /// # Panics
    /// When `row` is outside the batch.
    pub fn line(&self, row: usize) -> LogLine<'_> {
        let start = |ends: &[u32]| if row == 0 { 0 } else { ends[row - 1] as usize };
        let metadata = &self.metadata[start(&self.metadata_ends)..self.metadata_ends[row] as usize];
        LogLine {
            stream: self.stream[row],
            timestamp: self.timestamps[row],
            body: &self.bodies[start(&self.body_ends)..self.body_ends[row] as usize],
            metadata: LabelsRef::trusted(metadata),
        }
    }
}
