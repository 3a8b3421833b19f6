//! Merges files of log lines into one: lines in order, equal ones once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

use super::rows::LogRows;
use crate::error::{Error, Result};
use crate::model::{Labels, LogLine, series_id};
use crate::runtime::ObjectWriter;
use crate::store::block::{FinishedLogs, LogColumns, LogFile, LogGroup, LogWriter};

/// Lines that are decoded at a time of each file.
const BATCH_ROWS: usize = 2_048;
/// Bytes of a file that is being written that are handed on at a time.
const DRAIN_BYTES: u64 = 8 << 20;

/// A merge on its way.
#[derive(Debug)]
pub(in crate::store) struct LogMerge {
    files: Vec<Cursor>,
    labels: Arc<[Arc<str>]>,
}

/// Where a file is being read.
#[derive(Debug)]
struct Cursor {
    file: Arc<LogFile>,
    ids: Vec<i64>,
    group: usize,
    reading: Option<LogGroup>,
    /// Rows of the row group that were decoded.
    decoded: u32,
    rows: LogRows,
    at: usize,
}

/// What lines are ordered by: id and labels of the stream, time, file.
type Key = (i64, Labels, i64, usize);

impl Cursor {
    fn new(file: Arc<LogFile>) -> Self {
        let ids = file.streams().iter().map(|labels| series_id(labels.as_ref())).collect();
        Self { file, ids, group: 0, reading: None, decoded: 0, rows: LogRows::default(), at: 0 }
    }

    /// Moves to the next line; false at the end.
    async fn advance(&mut self) -> Result<bool> {
        self.at += 1;
        while self.at >= self.rows.len() {
            let Some(reading) = &mut self.reading else {
                if self.group == self.file.groups() {
                    return Ok(false);
                }
                let rows = self.file.segments(self.group).last().map_or(0, |last| last.range().end as usize);
                let all = std::iter::once(0..rows);
                self.reading = Some(self.file.read(self.group, all, LogColumns::ALL, BATCH_ROWS)?);
                self.decoded = 0;
                continue;
            };
            match reading.next().await? {
                Some(batch) => {
                    let count = u32::try_from(batch.num_rows()).expect("a batch is small");
                    let streams = self.streams(self.decoded, count);
                    self.decoded += count;
                    self.rows =
                        LogRows::from_file(&batch, streams).map_err(|e| e.with("file", self.file.path()))?;
                    self.at = 0;
                }
                None => {
                    self.reading = None;
                    self.group += 1;
                }
            }
        }
        Ok(true)
    }

    /// The streams of some rows of the row group, counted in the file.
    fn streams(&self, start: u32, count: u32) -> Vec<u32> {
        let segments = self.file.segments(self.group);
        let mut at = segments.partition_point(|segment| segment.range().end <= start);
        let mut out = Vec::new();
        for row in start..start + count {
            while segments[at].range().end <= row {
                at += 1;
            }
            out.push(segments[at].stream);
        }
        out
    }

    fn labels(&self) -> &Labels {
        &self.file.streams()[self.rows.streams[self.at] as usize]
    }

    fn key(&self, number: usize) -> Key {
        let stream = self.rows.streams[self.at] as usize;
        (self.ids[stream], self.file.streams()[stream].clone(), self.rows.timestamps[self.at], number)
    }
}

impl LogMerge {
    /// A merge of files in rank order into one in which `labels` are columns.
    pub(in crate::store) fn new(files: Vec<Arc<LogFile>>, labels: Arc<[Arc<str>]>) -> Self {
        Self { files: files.into_iter().map(Cursor::new).collect(), labels }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// `Corrupt` naming a file that cannot be read; what the object store says.
    pub(in crate::store) async fn write(mut self, out: &mut ObjectWriter) -> Result<FinishedLogs> {
        let mut writer = LogWriter::new(Vec::new(), Arc::clone(&self.labels))?;
        let mut heap: BinaryHeap<Reverse<Key>> = BinaryHeap::new();
        for number in 0..self.files.len() {
            // The first step leads to the first line.
            self.files[number].at = usize::MAX - 1;
            if self.files[number].advance().await? {
                heap.push(Reverse(self.files[number].key(number)));
            }
        }
        let mut drained = 0;
        let mut moment: Option<(i64, Labels, i64)> = None;
        let mut seen: HashSet<(String, Vec<u8>)> = HashSet::new();
        let mut scratch = Vec::new();
        while let Some(Reverse((id, labels, time, number))) = heap.pop() {
            let now = (id, labels, time);
            if moment.as_ref() != Some(&now) {
                seen.clear();
                moment = Some(now);
            }
            let cursor = &mut self.files[number];
            let body = cursor.rows.body.as_ref().ok_or_else(|| Error::internal("lines were not decoded"))?;
            let body = body.value(cursor.at);
            let metadata = cursor.rows.metadata(cursor.at, &mut scratch);
            let line = LogLine { stream: 0, timestamp: time, body, metadata };
            // Lines of one time are few; alone at its time, a line is remembered for nothing, but cheaply.
            if seen.insert((body.to_owned(), metadata.as_bytes().to_vec())) {
                writer.push(cursor.labels(), line)?;
            }
            if cursor.advance().await? {
                heap.push(Reverse(cursor.key(number)));
            }
            if writer.bytes_written() - drained > DRAIN_BYTES {
                let bytes = writer.drain();
                drained += bytes.len() as u64;
                out.write(bytes.into()).await?;
            }
        }
        let (logs, rest) = writer.finish()?;
        out.write(rest.into()).await?;
        Ok(logs)
    }
}
