//! Log lines that are in no file yet: chunks of columns in arrival order, with the sequences that brought them.
//!
//! ```text
//!   streams  {job="api"} {job="web"}          interned, once a buffer
//!   chunks   [stream│time│text…] [stream│time│text…] [open]      about 4 MiB each; a full one never changes
//! ```
//! A line costs 20 bytes beside its texts and no allocation. Equal lines are kept here and made one when the lines
//! are put into the order of files.

#![cfg_attr(not(test), expect(dead_code, reason = "files of log lines come with the next step"))]

use std::collections::HashSet;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::model::{Labels, LabelsRef, LogBatch, LogLine, series_id};

/// Bytes after which a chunk is full.
const CHUNK_BYTES: usize = 4 << 20;
/// What a line costs beside its texts: stream, timestamp and two ends.
const LINE_BYTES: usize = 20;
/// What a stream costs beside its labels. An estimate for the limits.
const STREAM_BYTES: usize = 120;

/// The lines of one buffer.
#[derive(Debug, Default)]
pub(in crate::store) struct LogBuffer {
    streams: Arc<Vec<Labels>>,
    by_labels: HashMap<Labels, u32>,
    full: Vec<Arc<Chunk>>,
    /// Copied when it grows while a view looks at it.
    open: Arc<Chunk>,
    lines: usize,
    bytes: usize,
}

/// Lines in arrival order; `lines.stream` counts in the buffer's streams.
#[derive(Debug, Clone, Default)]
struct Chunk {
    lines: LogBatch,
    /// (sequence, number of lines up to its end), both ascending; sequences count from the buffer's first.
    sequences: Vec<(u32, u32)>,
}

impl Chunk {
    fn bytes(&self) -> usize {
        self.lines.len() * LINE_BYTES + self.lines.bodies.len() + self.lines.metadata.len()
    }

    /// How many lines came up to a sequence.
    fn visible(&self, watermark: u32) -> u32 {
        let upto = self.sequences.partition_point(|(sequence, _)| *sequence <= watermark);
        if upto == 0 { 0 } else { self.sequences[upto - 1].1 }
    }
}

impl LogBuffer {
    /// Number of lines, equal ones counted each.
    pub(in crate::store) fn lines(&self) -> usize {
        self.lines
    }

    /// Estimated memory, in bytes.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the lines of a batch that was checked.
    pub(super) fn push(&mut self, sequence: u32, batch: &LogBatch) {
        if self.open.bytes() >= CHUNK_BYTES {
            self.full.push(std::mem::take(&mut self.open));
        }
        let streams: Vec<u32> = batch.streams.iter().map(|labels| self.stream(labels)).collect();
        let chunk = Arc::make_mut(&mut self.open);
        let before = chunk.bytes();
        let lines = &mut chunk.lines;
        let offset = |len: usize| u32::try_from(len).expect("a chunk and a batch are far below 4 GiB");
        let (body, metadata) = (offset(lines.bodies.len()), offset(lines.metadata.len()));
        lines.stream.extend(batch.stream.iter().map(|stream| streams[*stream as usize]));
        lines.timestamps.extend_from_slice(&batch.timestamps);
        lines.bodies.push_str(&batch.bodies);
        lines.body_ends.extend(batch.body_ends.iter().map(|end| body + end));
        lines.metadata.extend_from_slice(&batch.metadata);
        lines.metadata_ends.extend(batch.metadata_ends.iter().map(|end| metadata + end));
        chunk.sequences.push((sequence, offset(chunk.lines.len())));
        self.bytes += chunk.bytes() - before;
        self.lines += batch.len();
    }

    fn stream(&mut self, labels: &Labels) -> u32 {
        if let Some(known) = self.by_labels.get(labels) {
            return *known;
        }
        let number = u32::try_from(self.streams.len()).expect("a buffer is flushed before 2^32 streams");
        self.by_labels.insert(labels.clone(), number);
        Arc::make_mut(&mut self.streams).push(labels.clone());
        self.bytes += labels.as_bytes().len() + STREAM_BYTES;
        number
    }

    /// The lines up to a sequence (counted from the buffer's first; `None`: before it).
    pub(super) fn view(&self, watermark: Option<u64>) -> LogView {
        let Some(watermark) = watermark else { return LogView::default() };
        let watermark = u32::try_from(watermark).unwrap_or(u32::MAX);
        let chunks = self.full.iter().chain([&self.open]);
        let chunks = chunks.map(|chunk| (Arc::clone(chunk), chunk.visible(watermark)));
        LogView {
            streams: Arc::clone(&self.streams),
            chunks: chunks.filter(|(_, lines)| *lines > 0).collect(),
        }
    }
}

/// The lines of a buffer at one moment. Never changes.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct LogView {
    streams: Arc<Vec<Labels>>,
    chunks: Vec<(Arc<Chunk>, u32)>,
}

/// A line of a [`LogView`]. Ordered as files are: by id and labels of the stream, time, arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct LineAt {
    /// Position of the stream among the view's streams in file order.
    order: u32,
    /// ns.
    pub(in crate::store) timestamp: i64,
    chunk: u32,
    row: u32,
}

impl LogView {
    /// A line.
    pub(in crate::store) fn line(&self, at: LineAt) -> LogLine<'_> {
        self.chunks[at.chunk as usize].0.lines.line(at.row as usize)
    }

    /// The lines of the wanted streams inside `from..=to` (ns) in the order of files, of equal ones the first.
    pub(in crate::store) fn sorted(&self, wanted: impl Fn(u32) -> bool, from: i64, to: i64) -> Vec<LineAt> {
        let order = self.order();
        let wanted: Vec<bool> = (0u32..).map(wanted).take(self.streams.len()).collect();
        let mut all = Vec::new();
        for (number, (chunk, lines)) in (0u32..).zip(&self.chunks) {
            let times = chunk.lines.timestamps.iter().copied();
            for (row, (stream, timestamp)) in (0..*lines).zip(chunk.lines.stream.iter().zip(times)) {
                if wanted[*stream as usize] && from <= timestamp && timestamp <= to {
                    all.push(LineAt { order: order[*stream as usize], timestamp, chunk: number, row });
                }
            }
        }
        // Arrival is part of the key, so lines of one time stay in their order.
        all.sort_unstable();
        self.without_repeats(&all)
    }

    /// The position of each stream in the order of files.
    fn order(&self) -> Vec<u32> {
        let mut by_key: Vec<(i64, &Labels, u32)> = (0u32..)
            .zip(self.streams.iter())
            .map(|(at, labels)| (series_id(labels.as_ref()), labels, at))
            .collect();
        by_key.sort_unstable();
        let mut order = vec![0; by_key.len()];
        for (position, (_, _, stream)) in (0u32..).zip(by_key) {
            order[stream as usize] = position;
        }
        order
    }

    fn without_repeats(&self, lines: &[LineAt]) -> Vec<LineAt> {
        let mut kept = Vec::with_capacity(lines.len());
        let mut seen: HashSet<(&str, LabelsRef<'_>)> = HashSet::new();
        for group in lines.chunk_by(|a, b| (a.order, a.timestamp) == (b.order, b.timestamp)) {
            if let [one] = group {
                kept.push(*one);
                continue;
            }
            seen.clear();
            kept.extend(group.iter().filter(|at| {
                let line = self.line(**at);
                seen.insert((line.body, line.metadata))
            }));
        }
        kept
    }
}
