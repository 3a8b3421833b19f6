//! What was written and is not in a file yet: rows per series, in memory, with the sequences that brought them.
//!
//! A buffer takes rows in sequence order from one writer. A reader names a watermark and sees exactly the rows
//! up to it, so an open snapshot never changes. A flush freezes a buffer by putting an empty one in its place.

mod column;
mod logs;
mod registry;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hashbrown::HashMap;

pub(in crate::store) use column::BufferRun;
use column::{Column, Timeline};
pub(in crate::store) use logs::{LogBuffer, LogView};
pub(in crate::store) use registry::Registry;

use crate::model::{Batch, Handle, LogBatch, METRIC_NAME, Matcher, Timestamps};

/// How many rows of a scrape are looked at to find the timeline that it continues.
const TIMELINE_PROBES: usize = 8;
/// What a series costs beside its rows: column, index entries, share of the maps. An estimate for the limits.
const SERIES_BYTES: usize = 160;

/// The rows of one tenant and class in sequences `first..=last`.
#[derive(Debug, Default)]
pub(in crate::store) struct Buffer {
    /// `None` as long as there is no row.
    first: Option<u64>,
    last: u64,
    /// Position + 1 of a slot's column; 0 for none.
    position: Vec<u32>,
    columns: Vec<Column>,
    by_metric: HashMap<Arc<str>, Vec<u32>>,
    timelines: Vec<Timeline>,
    rows: usize,
    bytes: usize,
    logs: LogBuffer,
}

/// Some rows of a batch: all of them, or those of one class.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Rows<'a> {
    /// The batch.
    pub(in crate::store) batch: &'a Batch,
    /// The rows' indices; `None` for all.
    pub(in crate::store) only: Option<&'a [u32]>,
}

impl Rows<'_> {
    /// Number of rows.
    pub(in crate::store) fn len(&self) -> usize {
        self.only.map_or(self.batch.len(), <[u32]>::len)
    }

    /// The rows as (series, timestamp, value).
    pub(in crate::store) fn iter(&self) -> impl Iterator<Item = (Handle, i64, f64)> + '_ {
        (0..self.len()).map(|i| {
            let row = self.only.map_or(i, |only| only[i] as usize);
            (self.batch.series[row], self.batch.timestamps.at(row), self.batch.values[row])
        })
    }

    fn shared_time(&self) -> Option<i64> {
        match self.batch.timestamps {
            Timestamps::Shared(time) => Some(time),
            Timestamps::Each(_) => None,
        }
    }
}

impl Buffer {
    /// The last sequence in here; 0 in an empty buffer.
    pub(in crate::store) fn last(&self) -> u64 {
        self.last
    }

    /// The sequence before the first one in here; `None` in an empty buffer.
    pub(in crate::store) fn before_first_row(&self) -> Option<u64> {
        self.first.map(|first| first - 1)
    }

    /// Whether nothing was applied.
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The log lines.
    pub(in crate::store) fn logs(&self) -> &LogBuffer {
        &self.logs
    }

    /// The log lines up to sequence `watermark`; they never change.
    #[cfg_attr(not(test), expect(dead_code, reason = "files of log lines come with the next step"))]
    pub(in crate::store) fn log_view(&self, watermark: u64) -> LogView {
        self.logs.view(watermark.checked_sub(self.first.unwrap_or(0)))
    }

    /// Takes log lines. Sequences only grow.
    pub(in crate::store) fn apply_logs(&mut self, sequence: u64, batch: &LogBatch) {
        let relative = self.begin(sequence);
        self.logs.push(relative, batch);
    }

    fn begin(&mut self, sequence: u64) -> u32 {
        assert!(sequence > self.last, "sequence {sequence} after {}", self.last);
        self.last = sequence;
        let first = *self.first.get_or_insert(sequence);
        u32::try_from(sequence - first).expect("a buffer is flushed before 2^32 requests")
    }

    /// Number of rows, stale markers included.
    pub(in crate::store) fn rows(&self) -> usize {
        self.rows
    }

    /// Estimated memory, in bytes.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.bytes + self.columns.len() * SERIES_BYTES + self.logs.bytes()
    }

    /// Takes rows whose handles are all valid in `registry`. Sequences only grow. A series' first row in this
    /// buffer marks it as used in `registry`.
    pub(in crate::store) fn apply(&mut self, sequence: u64, rows: Rows<'_>, registry: &mut Registry) {
        let relative = self.begin(sequence);
        self.rows += rows.len();
        match rows.shared_time() {
            Some(time) => self.apply_scrape(time, relative, rows, registry),
            None => self.apply_each(relative, rows, registry),
        }
    }

    fn apply_scrape(&mut self, time: i64, sequence: u32, rows: Rows<'_>, registry: &mut Registry) {
        let continued = rows.iter().take(TIMELINE_PROBES).find_map(|(handle, _, _)| {
            let position = self.find(handle)?;
            self.columns[position].follows(&self.timelines)
        });
        let timeline = continued.unwrap_or_else(|| {
            self.timelines.push(Timeline::default());
            u32::try_from(self.timelines.len() - 1).expect("a buffer is flushed before 2^32 targets")
        });
        let shared = &mut self.timelines[timeline as usize];
        shared.times.push(time);
        shared.sequences.push(sequence);
        for (handle, _, value) in rows.iter() {
            let position = self.column(handle, registry);
            self.columns[position].push_shared(timeline, &self.timelines, value);
        }
        self.bytes += 12 + rows.len() * 8;
    }

    fn apply_each(&mut self, sequence: u32, rows: Rows<'_>, registry: &mut Registry) {
        for (handle, time, value) in rows.iter() {
            let position = self.column(handle, registry);
            self.columns[position].push_own(time, sequence, &self.timelines, value);
        }
        self.bytes += rows.len() * 20;
    }

    fn find(&self, handle: Handle) -> Option<usize> {
        let position = (*self.position.get(handle.slot as usize)?).checked_sub(1)? as usize;
        (self.columns[position].generation == handle.generation).then_some(position)
    }

    /// The position of a series' column, made on first use. A slot that changed hands while this buffer was
    /// filling gets a second column; both are found by metric.
    fn column(&mut self, handle: Handle, registry: &mut Registry) -> usize {
        if let Some(position) = self.find(handle) {
            return position;
        }
        registry.touch(handle);
        let (key, id) = registry.get(handle).expect("handles are checked before rows are applied");
        let position = u32::try_from(self.columns.len()).expect("slots are 32 bits");
        self.by_metric.entry(Arc::clone(&key.metric)).or_default().push(position);
        self.columns.push(Column::new(key.clone(), id, handle.generation));
        let slot = handle.slot as usize;
        if self.position.len() <= slot {
            self.position.resize(slot + 1, 0);
        }
        self.position[slot] = position + 1;
        position as usize
    }

    /// The rows up to sequence `watermark` inside `[from, to]` (ms) of the series that match, in the order of
    /// files: metric, id, labels.
    pub(in crate::store) fn select(
        &self,
        matchers: &[Matcher],
        watermark: u64,
        from: i64,
        to: i64,
    ) -> Vec<BufferRun> {
        let Some(watermark) = self.first.and_then(|first| watermark.checked_sub(first)) else {
            return Vec::new();
        };
        let watermark = u32::try_from(watermark).unwrap_or(u32::MAX);
        let mut runs: Vec<BufferRun> = self
            .matching(matchers)
            .filter_map(|column| column.run(&self.timelines, watermark, from, to))
            .collect();
        sort_runs(&mut runs);
        runs
    }

    /// Every series' rows in the order of files: metric, id, labels.
    pub(in crate::store) fn runs_in_order(&self) -> impl Iterator<Item = BufferRun> + '_ {
        let mut order: Vec<&Column> = self.columns.iter().collect();
        order.sort_by(|a, b| {
            (&a.key.metric, a.id, a.key.labels.as_bytes()).cmp(&(
                &b.key.metric,
                b.id,
                b.key.labels.as_bytes(),
            ))
        });
        let mut columns = order.into_iter().peekable();
        std::iter::from_fn(move || {
            let column = columns.next()?;
            let all = |column: &Column| column.run(&self.timelines, u32::MAX, i64::MIN, i64::MAX);
            let mut run = all(column).expect("a column is made with its first row");
            while let Some(again) = columns.next_if(|next| next.key == column.key) {
                run.overlay(&all(again).expect("a column is made with its first row"));
            }
            Some(run)
        })
    }

    fn matching<'a>(&'a self, matchers: &'a [Matcher]) -> impl Iterator<Item = &'a Column> {
        let of_name = |matcher: &&Matcher| matcher.name() == METRIC_NAME;
        let names: Vec<&Matcher> = matchers.iter().filter(of_name).collect();
        let exact = names.iter().find_map(|matcher| matcher.literals());
        let metrics: Vec<&Vec<u32>> = match exact {
            Some(literals) => literals
                .into_iter()
                .filter(|name| names.iter().all(|matcher| matcher.matches(name)))
                .filter_map(|name| self.by_metric.get(name))
                .collect(),
            None => self
                .by_metric
                .iter()
                .filter(|(name, _)| names.iter().all(|matcher| matcher.matches(name)))
                .map(|(_, positions)| positions)
                .collect(),
        };
        metrics.into_iter().flatten().map(|position| &self.columns[*position as usize]).filter(|column| {
            let labels = column.key.labels.as_ref();
            matchers.iter().all(|matcher| matcher.name() == METRIC_NAME || matcher.matches_labels(labels))
        })
    }
}

/// Sorts runs as files are sorted and joins two runs of one series (a slot that changed hands and came back).
fn sort_runs(runs: &mut Vec<BufferRun>) {
    let order = |a: &BufferRun, b: &BufferRun| {
        (&a.key.metric, a.id, a.key.labels.as_bytes()).cmp(&(&b.key.metric, b.id, b.key.labels.as_bytes()))
    };
    // Stable: of two runs of one series the one that was begun first comes first.
    runs.sort_by(order);
    let mut joined: Vec<BufferRun> = Vec::with_capacity(runs.len());
    for run in runs.drain(..) {
        match joined.last_mut() {
            Some(last) if last.key == run.key => last.overlay(&run),
            _ => joined.push(run),
        }
    }
    *runs = joined;
}

impl BufferRun {
    /// Adds the rows of a later run of the same series.
    fn overlay(&mut self, later: &Self) {
        let stale = f64::from_bits(crate::model::STALE_NAN);
        let mut rows = std::collections::BTreeMap::new();
        for run in [&*self, later] {
            rows.extend(run.timestamps.iter().copied().zip(run.values.iter().copied()));
            rows.extend(run.stale_at.iter().map(|time| (*time, stale)));
        }
        let (stale_rows, rows): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(_, value)| crate::model::is_stale(*value));
        self.stale_at = stale_rows.into_iter().map(|row| row.0).collect();
        (self.timestamps, self.values) = rows.into_iter().unzip();
    }
}
