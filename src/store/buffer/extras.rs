//! Native histograms and exemplars of the series in a buffer. Few series have them, so they stand apart from the
//! float columns and cost the others one pointer.

use std::sync::Arc;

use super::column::Column;
use super::part::{Part, Picked};
use super::{Buffer, Registry};
use crate::model::{Exemplar, ExemplarRow, Histogram, HistogramRow, Matcher, SeriesKey};

/// Rows of one sort in arrival order, each with the sequence that brought it.
#[derive(Debug)]
struct Arrivals<T> {
    sequences: Vec<u32>,
    rows: Vec<T>,
}

impl<T> Default for Arrivals<T> {
    fn default() -> Self {
        Self { sequences: Vec::new(), rows: Vec::new() }
    }
}

impl<T> Arrivals<T> {
    fn push(&mut self, sequence: u32, row: T) {
        self.sequences.push(sequence);
        self.rows.push(row);
    }

    /// Those that a watermark shows. Sequences only grow, so it is a prefix.
    fn up_to(&self, watermark: u32) -> &[T] {
        &self.rows[..self.sequences.partition_point(|sequence| *sequence <= watermark)]
    }
}

/// What a series has beside floats.
#[derive(Debug, Default)]
pub(super) struct Extras {
    histograms: Arrivals<(i64, Arc<Histogram>)>,
    exemplars: Arrivals<Exemplar>,
}

impl Extras {
    /// Times and histograms up to a sequence and inside `[from, to]`, ascending, and where there are any also the
    /// last one in front; of two with one timestamp the one that arrived later.
    pub(super) fn histograms(&self, watermark: u32, from: i64, to: i64) -> (Vec<i64>, Vec<Arc<Histogram>>) {
        let visible = self.histograms.up_to(watermark);
        let inside = visible.iter().filter(|row| from <= row.0 && row.0 <= to);
        let mut rows: Vec<_> = inside.cloned().collect();
        if !rows.is_empty() {
            // Of equal ones `max_by_key` takes the last.
            rows.extend(visible.iter().filter(|row| row.0 < from).max_by_key(|row| row.0).cloned());
        }
        last_of_each(rows)
    }
}

/// Sorts rows by time and keeps the last of those with one time.
pub(in crate::store) fn last_of_each(
    mut rows: Vec<(i64, Arc<Histogram>)>,
) -> (Vec<i64>, Vec<Arc<Histogram>>) {
    // Stable, so that arrival order stays among equals.
    rows.sort_by_key(|row| row.0);
    let (mut times, mut histograms) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for (time, histogram) in rows {
        if times.last() == Some(&time) {
            histograms.pop();
        } else {
            times.push(time);
        }
        histograms.push(histogram);
    }
    (times, histograms)
}

/// One series' exemplars: sorted by [`Exemplar::order`], each once.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) struct ExemplarRun {
    pub(in crate::store) key: SeriesKey,
    pub(in crate::store) id: i64,
    pub(in crate::store) exemplars: Vec<Exemplar>,
}

impl Buffer {
    /// Takes the rows of one record, as [`Buffer::apply`] does for floats. Returns the metrics that have their
    /// first native histogram in this buffer.
    pub(in crate::store) fn apply_part(
        &mut self,
        sequence: u64,
        part: Part<'_>,
        registry: &mut Registry,
    ) -> Vec<Arc<str>> {
        match part {
            Part::Samples(rows) => {
                self.apply(sequence, rows, registry);
                Vec::new()
            }
            Part::Histograms(rows) => self.apply_histograms(sequence, rows, registry),
            Part::Exemplars(rows) => {
                self.apply_exemplars(sequence, rows, registry);
                Vec::new()
            }
        }
    }

    fn apply_histograms(
        &mut self,
        sequence: u64,
        rows: Picked<'_, HistogramRow>,
        registry: &mut Registry,
    ) -> Vec<Arc<str>> {
        let relative = self.begin(sequence);
        self.rows += rows.len();
        let mut first = Vec::new();
        for row in rows.iter() {
            let position = self.column(row.series, registry);
            self.bytes += row.histogram.weight() + 24;
            let column = &mut self.columns[position];
            let extras = column.extras.get_or_insert_default();
            if extras.histograms.rows.is_empty() && first.last() != Some(&column.key.metric) {
                first.push(Arc::clone(&column.key.metric));
            }
            extras.histograms.push(relative, (row.timestamp, Arc::clone(&row.histogram)));
        }
        first
    }

    fn apply_exemplars(&mut self, sequence: u64, rows: Picked<'_, ExemplarRow>, registry: &mut Registry) {
        let relative = self.begin(sequence);
        self.rows += rows.len();
        for row in rows.iter() {
            let position = self.column(row.series, registry);
            self.bytes += size_of::<Exemplar>() + row.exemplar.labels.as_bytes().len() + 20;
            let extras = self.columns[position].extras.get_or_insert_default();
            extras.exemplars.push(relative, row.exemplar.clone());
        }
    }

    /// The exemplars up to sequence `watermark` inside `[from, to]` (ms) of the series that match, in the order of
    /// files: metric, id, labels.
    pub(in crate::store) fn exemplars(
        &self,
        matchers: &[Matcher],
        watermark: u64,
        from: i64,
        to: i64,
    ) -> Vec<ExemplarRun> {
        let Some(watermark) = self.relative(watermark) else { return Vec::new() };
        let mut runs: Vec<ExemplarRun> =
            self.matching(matchers).filter_map(|column| column.exemplars(watermark, from, to)).collect();
        // Two columns of one series: its slot changed hands and came back.
        runs.sort_by(|a, b| (&a.key.metric, a.id, &a.key.labels).cmp(&(&b.key.metric, b.id, &b.key.labels)));
        runs.dedup_by(|later, kept| {
            let same = later.key == kept.key;
            if same {
                kept.exemplars.append(&mut later.exemplars);
            }
            same
        });
        for run in &mut runs {
            tidy(&mut run.exemplars);
        }
        runs
    }
}

/// Puts exemplars in order, equal ones once.
pub(in crate::store) fn tidy(exemplars: &mut Vec<Exemplar>) {
    exemplars.sort_by(Exemplar::order);
    exemplars.dedup_by(|a, b| a.order(b).is_eq());
}

impl Column {
    fn exemplars(&self, watermark: u32, from: i64, to: i64) -> Option<ExemplarRun> {
        let all = self.extras.as_ref()?.exemplars.up_to(watermark);
        let inside = |one: &&Exemplar| from <= one.timestamp && one.timestamp <= to;
        let exemplars: Vec<Exemplar> = all.iter().filter(inside).cloned().collect();
        (!exemplars.is_empty()).then(|| ExemplarRun { key: self.key.clone(), id: self.id, exemplars })
    }
}
