//! The rows of one series in a buffer, in arrival order, each with the sequence that brought it.
//!
//! A scrape brings one row to each of a target's series at one timestamp. Such series share a [`Timeline`], so
//! that a sample costs the 8 bytes of its value. A series that skips a scrape or is pushed with times of its own
//! keeps its own times.

use std::sync::Arc;

use super::extras::Extras;
use crate::model::{Histogram, SeriesKey, is_stale};

/// Timestamps and sequences that several series share.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    pub(super) times: Vec<i64>,
    pub(super) sequences: Vec<u32>,
}

/// One series' rows.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) key: SeriesKey,
    pub(super) id: i64,
    pub(super) generation: u32,
    times: Times,
    values: Vec<f64>,
    /// Native histograms and exemplars, where it has some.
    pub(super) extras: Option<Box<Extras>>,
}

#[derive(Debug)]
enum Times {
    /// Row `i` is at entry `start + i` of the timeline.
    Shared { timeline: u32, start: u32 },
    /// Times and sequences of its own.
    Own(Timeline),
}

/// The rows of one series as readers want them: ascending unique timestamps (ms), stale markers and native
/// histograms apart.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) struct BufferRun {
    pub(in crate::store) key: SeriesKey,
    pub(in crate::store) id: i64,
    pub(in crate::store) timestamps: Vec<i64>,
    pub(in crate::store) values: Vec<f64>,
    pub(in crate::store) stale_at: Vec<i64>,
    /// May share timestamps with floats and markers; then the histogram counts.
    pub(in crate::store) histogram_times: Vec<i64>,
    pub(in crate::store) histograms: Vec<Arc<Histogram>>,
}

impl Column {
    pub(super) fn new(key: SeriesKey, id: i64, generation: u32) -> Self {
        Self { key, id, generation, times: Times::Own(Timeline::default()), values: Vec::new(), extras: None }
    }

    /// The timeline that the series follows up to its last entry, if it does.
    pub(super) fn follows(&self, timelines: &[Timeline]) -> Option<u32> {
        match self.times {
            Times::Shared { timeline, start } => {
                let complete = start as usize + self.values.len() == timelines[timeline as usize].times.len();
                complete.then_some(timeline)
            }
            Times::Own(_) => None,
        }
    }

    /// Adds a row whose time is the last entry of `timeline`.
    pub(super) fn push_shared(&mut self, timeline: u32, timelines: &[Timeline], value: f64) {
        let shared = &timelines[timeline as usize];
        let last = shared.times.len() - 1;
        let joins = match self.times {
            Times::Own(_) => self.values.is_empty(),
            Times::Shared { timeline: mine, start } => {
                mine == timeline && start as usize + self.values.len() == last
            }
        };
        if !joins {
            return self.push_own(shared.times[last], shared.sequences[last], timelines, value);
        }
        if self.values.is_empty() {
            let start = u32::try_from(last).expect("a buffer is flushed before 2^32 scrapes");
            self.times = Times::Shared { timeline, start };
        }
        self.values.push(value);
    }

    /// Adds a row with a time of its own; `sequence` counts from the buffer's first.
    pub(super) fn push_own(&mut self, time: i64, sequence: u32, timelines: &[Timeline], value: f64) {
        if let Times::Shared { timeline, start } = self.times {
            let (shared, start) = (&timelines[timeline as usize], start as usize);
            let rows = start..start + self.values.len();
            self.times = Times::Own(Timeline {
                times: shared.times[rows.clone()].to_vec(),
                sequences: shared.sequences[rows].to_vec(),
            });
        }
        if let Times::Own(own) = &mut self.times {
            own.times.push(time);
            own.sequences.push(sequence);
        }
        self.values.push(value);
    }

    /// The rows up to a sequence and inside `[from, to]`; `None` when there are none. Of two rows with one
    /// timestamp the one that arrived later is kept.
    pub(super) fn run(
        &self,
        timelines: &[Timeline],
        watermark: u32,
        from: i64,
        to: i64,
    ) -> Option<BufferRun> {
        let (times, sequences) = self.times(timelines);
        // Sequences only grow along a column, so a watermark is a prefix.
        let visible = sequences.partition_point(|sequence| *sequence <= watermark);
        let in_range = |time: i64| from <= time && time <= to;
        let mut rows: Vec<(i64, f64)> = times[..visible]
            .iter()
            .zip(&self.values)
            .filter(|(time, _)| in_range(**time))
            .map(|(time, value)| (*time, *value))
            .collect();
        let histograms = self.extras.as_ref().map(|extras| extras.histograms(watermark, from, to));
        let (histogram_times, histograms) = histograms.unwrap_or_default();
        if rows.is_empty() && histograms.is_empty() {
            return None;
        }
        if !rows.is_sorted_by(|a, b| a.0 < b.0) {
            rows = last_arrival_wins(rows);
        }
        let mut run = BufferRun {
            key: self.key.clone(),
            id: self.id,
            timestamps: Vec::with_capacity(rows.len()),
            values: Vec::with_capacity(rows.len()),
            stale_at: Vec::new(),
            histogram_times,
            histograms,
        };
        for (time, value) in rows {
            if is_stale(value) {
                run.stale_at.push(time);
            } else {
                run.timestamps.push(time);
                run.values.push(value);
            }
        }
        Some(run)
    }

    fn times<'a>(&'a self, timelines: &'a [Timeline]) -> (&'a [i64], &'a [u32]) {
        match &self.times {
            Times::Own(own) => (&own.times, &own.sequences),
            Times::Shared { timeline, start } => {
                let rows = *start as usize..*start as usize + self.values.len();
                let shared = &timelines[*timeline as usize];
                (&shared.times[rows.clone()], &shared.sequences[rows])
            }
        }
    }
}

fn last_arrival_wins(mut rows: Vec<(i64, f64)>) -> Vec<(i64, f64)> {
    rows.sort_by_key(|row| row.0);
    let mut kept: Vec<(i64, f64)> = Vec::with_capacity(rows.len());
    for row in rows {
        match kept.last_mut() {
            Some(last) if last.0 == row.0 => *last = row,
            _ => kept.push(row),
        }
    }
    kept
}
