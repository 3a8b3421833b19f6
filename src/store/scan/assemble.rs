//! Puts one series together from its parts: disjoint ones in time order one after the other, overlapping ones
//! merged by (timestamp, rank), outside times and tombstones cut away.
//!
//! The common case, one part inside one page, copies nothing: the rows are a slice of the decoded page, and
//! regular timelines and constant values are spelled out into buffers that the next series reuses.

use std::ops::Range;
use std::sync::Arc;

use super::histograms::Histograms;
use super::pages::{PageSet, rows_between};
use super::selection::{Layer, Source};
use crate::error::Result;
use crate::model::{Histogram, STALE_NAN, is_stale};
use crate::store::block::{BlockFile, Column, FileRun, NO_START, PagePart, RowSort};

/// Rows of one series, and its stale markers.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) times: Vec<i64>,
    pub(super) values: Vec<f64>,
    /// One per row, or none at all where starts are not wanted.
    pub(super) starts: Vec<i64>,
    pub(super) stale_at: Vec<i64>,
}

/// What the parts of a series refer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stores<'a> {
    pub(super) files: &'a [Arc<BlockFile>],
    pub(super) layers: &'a [Layer],
    pub(super) pages: &'a PageSet,
    /// First and last ms.
    pub(super) range: (i64, i64),
    pub(super) with_starts: bool,
}

/// Where a column of the assembled series is held.
#[derive(Debug)]
enum Held<T> {
    /// Rows of a decoded page.
    Page(Arc<Vec<T>>, Range<usize>),
    /// Rows of the buffer.
    Buffer(Range<usize>),
}

/// Assembles series one at a time; keeps its buffers.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    rows: Rows,
    times: Option<Held<i64>>,
    values: Option<Held<f64>>,
    /// (first time, step, rows) of the timeline in the buffer.
    timeline: Option<(i64, i64, usize)>,
    spare: [Rows; 3],
    histograms: Histograms,
}

impl Assembler {
    /// Puts a series together from its parts in rank order.
    pub(super) fn assemble(
        &mut self,
        stores: Stores<'_>,
        sources: &[Source],
        masks: &[(i64, i64)],
    ) -> Result<()> {
        self.rows.stale_at.clear();
        (self.times, self.values) = (None, None);
        self.histograms.clear();
        match sources {
            [Source::File(file, run)]
                if masks.is_empty() && !stores.with_starts && stores.has_floats(&sources[0]) =>
            {
                self.one_run(stores, *file, run)
            }
            _ => {
                self.timeline = None;
                self.rows.clear();
                self.many(stores, sources)?;
                self.rows.cut(masks);
                self.histograms.assemble(stores, sources, masks)?;
                self.rows.drop_times(&self.histograms.times);
                Ok(())
            }
        }
    }

    /// Native histograms: times in ms, ascending, unique and at no float's or marker's time.
    pub(super) fn histograms(&self) -> (&[i64], &[Arc<Histogram>]) {
        (&self.histograms.times, &self.histograms.rows)
    }

    /// The native histogram in front of the range, as far as the parts know.
    pub(super) fn histogram_before(&self) -> Option<&Arc<Histogram>> {
        self.histograms.before()
    }

    /// ms, ascending and unique.
    pub(super) fn times(&self) -> &[i64] {
        match &self.times {
            Some(Held::Page(page, rows)) => &page[rows.clone()],
            Some(Held::Buffer(rows)) => &self.rows.times[rows.clone()],
            None => &self.rows.times,
        }
    }

    /// One per time.
    pub(super) fn values(&self) -> &[f64] {
        match &self.values {
            Some(Held::Page(page, rows)) => &page[rows.clone()],
            Some(Held::Buffer(rows)) => &self.rows.values[rows.clone()],
            None => &self.rows.values,
        }
    }

    /// One per time, or none at all.
    pub(super) fn starts(&self) -> &[i64] {
        &self.rows.starts
    }

    /// ms, ascending and unique.
    pub(super) fn stale_at(&self) -> &[i64] {
        &self.rows.stale_at
    }

    /// A series that is one run of one file.
    fn one_run(&mut self, stores: Stores<'_>, file: usize, run: &FileRun) -> Result<()> {
        self.rows.stale_at.extend_from_slice(between(run.stale_at(), stores.range));
        let mut rows = rows_between(run, stores.range.0, stores.range.1);
        let block = &stores.files[file];
        let times = match (run.step(), run.row_times()) {
            (Some(step), Some((first, _))) => {
                let count = length(&rows);
                let first = first + step * i64::try_from(rows.start - run.rows().start).expect("rows fit");
                if self.timeline != Some((first, step, count)) {
                    self.rows.times.clear();
                    push_timeline(&mut self.rows.times, first, step, count);
                    self.timeline = Some((first, step, count));
                }
                Held::Buffer(0..count)
            }
            _ => {
                let column = if let Some(part) = only(block.page_parts(rows.clone())) {
                    Held::Page(Arc::clone(stores.pages.times(file, Column::Timestamp, &part)?), part.rows)
                } else {
                    self.timeline = None;
                    self.rows.times.clear();
                    for part in block.page_parts(rows.clone()) {
                        let page = stores.pages.times(file, Column::Timestamp, &part)?;
                        self.rows.times.extend_from_slice(&page[part.rows]);
                    }
                    Held::Buffer(0..self.rows.times.len())
                };
                let (column, cut) = self.clip(column, stores.range);
                rows = rows.start + cut.start..rows.start + cut.end;
                column
            }
        };
        self.times = Some(times);
        self.values = Some(match (run.constant(), only(block.page_parts(rows.clone()))) {
            (None, Some(part)) => Held::Page(Arc::clone(stores.pages.values(file, &part)?), part.rows),
            (constant, _) => {
                self.rows.values.clear();
                push_values(&mut self.rows.values, stores, file, constant, rows.clone())?;
                Held::Buffer(0..length(&rows))
            }
        });
        debug_assert_eq!(self.times().len(), self.values().len(), "columns of one series");
        Ok(())
    }

    /// Narrows irregular times to the range; says how many rows went in front and where the rest ends.
    fn clip(&self, column: Held<i64>, range: (i64, i64)) -> (Held<i64>, Range<u64>) {
        let (times, rows) = match &column {
            Held::Page(page, rows) => (&page[rows.clone()], rows.clone()),
            Held::Buffer(rows) => (&self.rows.times[rows.clone()], rows.clone()),
        };
        let inside = inside(times, range);
        let number = |n: usize| u64::try_from(n).expect("usize fits u64");
        let cut = number(inside.start)..number(inside.end);
        let rows = rows.start + inside.start..rows.start + inside.end;
        match column {
            Held::Page(page, _) => (Held::Page(page, rows), cut),
            Held::Buffer(_) => (Held::Buffer(rows), cut),
        }
    }

    /// A series with several parts: clusters of parts that overlap in time, the clusters in time order.
    fn many(&mut self, stores: Stores<'_>, sources: &[Source]) -> Result<()> {
        let mut parts: Vec<(i64, i64, usize)> = Vec::with_capacity(sources.len());
        for (rank, source) in sources.iter().enumerate() {
            if let Some((first, last)) = stores.times(source) {
                parts.push((first, last, rank));
            }
        }
        parts.sort_unstable();
        let mut start = 0;
        while start < parts.len() {
            let (mut end, mut last) = (start + 1, parts[start].1);
            while end < parts.len() && parts[end].0 <= last {
                last = last.max(parts[end].1);
                end += 1;
            }
            if end == start + 1 {
                stores.append(&sources[parts[start].2], &mut self.rows)?;
            } else {
                let mut ranks: Vec<_> = parts[start..end].iter().map(|part| part.2).collect();
                ranks.sort_unstable();
                self.overlapping(stores, sources, &ranks)?;
            }
            start = end;
        }
        Ok(())
    }

    /// Merges parts pairwise from the lowest rank up, stale markers travelling as values.
    fn overlapping(&mut self, stores: Stores<'_>, sources: &[Source], ranks: &[usize]) -> Result<()> {
        let [low, high, merged] = &mut self.spare;
        low.clear();
        for rank in ranks {
            high.clear();
            stores.append(&sources[*rank], high)?;
            high.mix_stale(stores.with_starts);
            merged.clear();
            merged.merge(low, high);
            std::mem::swap(low, merged);
        }
        self.rows.push_unmixed(low);
        Ok(())
    }
}

impl Stores<'_> {
    /// Whether a part may have floats or stale markers.
    fn has_floats(&self, source: &Source) -> bool {
        match source {
            Source::File(file, _) => self.files[*file].sort() == RowSort::Samples,
            Source::Layer(..) => true,
        }
    }

    /// First and last time of floats and stale markers; `None` without any.
    fn times(&self, source: &Source) -> Option<(i64, i64)> {
        match source {
            Source::File(..) if !self.has_floats(source) => None,
            Source::File(_, run) => Some(run.times()),
            Source::Layer(layer, run) => self.layers[*layer].runs[*run].times(),
        }
    }

    /// Appends the rows and stale markers of one part that lie in the range.
    fn append(&self, source: &Source, out: &mut Rows) -> Result<()> {
        match source {
            Source::File(file, run) => self.append_file(*file, run, out),
            Source::Layer(layer, run) => {
                let run = &self.layers[*layer].runs[*run];
                let rows = inside(&run.timestamps, self.range);
                out.times.extend_from_slice(&run.timestamps[rows.clone()]);
                out.values.extend_from_slice(&run.values[rows]);
                out.stale_at.extend_from_slice(between(&run.stale_at, self.range));
                if self.with_starts {
                    out.starts.resize(out.times.len(), NO_START);
                }
                Ok(())
            }
        }
    }

    fn append_file(&self, file: usize, run: &FileRun, out: &mut Rows) -> Result<()> {
        out.stale_at.extend_from_slice(between(run.stale_at(), self.range));
        let mut rows = rows_between(run, self.range.0, self.range.1);
        let block = &self.files[file];
        if let (Some(step), Some((first, _))) = (run.step(), run.row_times()) {
            let first = first + step * i64::try_from(rows.start - run.rows().start).expect("rows fit");
            push_timeline(&mut out.times, first, step, length(&rows));
        } else {
            let before = out.times.len();
            for part in block.page_parts(rows.clone()) {
                let page = self.pages.times(file, Column::Timestamp, &part)?;
                out.times.extend_from_slice(&page[part.rows]);
            }
            let cut = inside(&out.times[before..], self.range);
            out.times.truncate(before + cut.end);
            out.times.drain(before..before + cut.start);
            let number = |n: usize| u64::try_from(n).expect("usize fits u64");
            rows = rows.start + number(cut.start)..rows.start + number(cut.end);
        }
        push_values(&mut out.values, *self, file, run.constant(), rows.clone())?;
        if self.with_starts && run.has_starts() {
            for part in block.page_parts(rows) {
                let page = self.pages.times(file, Column::Start, &part)?;
                out.starts.extend_from_slice(&page[part.rows]);
            }
        } else if self.with_starts {
            out.starts.resize(out.times.len(), NO_START);
        }
        debug_assert_eq!(out.times.len(), out.values.len(), "columns of one series");
        Ok(())
    }
}

pub(super) fn push_timeline(out: &mut Vec<i64>, first: i64, step: i64, count: usize) {
    let count = i64::try_from(count).expect("rows fit");
    out.extend((0..count).map(|at| first + at * step));
}

fn push_values(
    out: &mut Vec<f64>,
    stores: Stores<'_>,
    file: usize,
    constant: Option<f64>,
    rows: Range<u64>,
) -> Result<()> {
    if let Some(constant) = constant {
        out.resize(out.len() + length(&rows), constant);
        return Ok(());
    }
    for part in stores.files[file].page_parts(rows) {
        let page = stores.pages.values(file, &part)?;
        out.extend_from_slice(&page[part.rows]);
    }
    Ok(())
}

fn length(rows: &Range<u64>) -> usize {
    usize::try_from(rows.end - rows.start).expect("quipu runs on 64-bit machines")
}

/// The one element of an iterator that has just one.
fn only(mut parts: impl Iterator<Item = PagePart>) -> Option<PagePart> {
    let first = parts.next()?;
    parts.next().is_none().then_some(first)
}

/// Positions of the times in `from..=to`.
pub(super) fn inside(times: &[i64], (from, to): (i64, i64)) -> Range<usize> {
    let start = times.partition_point(|time| *time < from);
    let end = times.partition_point(|time| *time <= to);
    start..end.max(start)
}

fn between(times: &[i64], range: (i64, i64)) -> &[i64] {
    &times[inside(times, range)]
}

impl Rows {
    fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.starts.clear();
        self.stale_at.clear();
    }

    fn push(&mut self, from: &Self, at: usize) {
        self.times.push(from.times[at]);
        self.values.push(from.values[at]);
        if let Some(start) = from.starts.get(at) {
            self.starts.push(*start);
        }
    }

    fn extend(&mut self, from: &Self, rows: Range<usize>) {
        self.times.extend_from_slice(&from.times[rows.clone()]);
        self.values.extend_from_slice(&from.values[rows.clone()]);
        if !from.starts.is_empty() {
            self.starts.extend_from_slice(&from.starts[rows]);
        }
    }

    /// Puts the stale markers among the rows, as values with the marker's bits.
    fn mix_stale(&mut self, with_starts: bool) {
        if self.stale_at.is_empty() {
            return;
        }
        let starts = if with_starts { vec![NO_START; self.stale_at.len()] } else { Vec::new() };
        let values = vec![f64::from_bits(STALE_NAN); self.stale_at.len()];
        let markers =
            Self { times: std::mem::take(&mut self.stale_at), values, starts, stale_at: Vec::new() };
        let rows = std::mem::take(self);
        // A part has no sample and marker at one time; if a buffer had, the sample would win.
        self.merge(&markers, &rows);
    }

    /// Appends both; where they have one time, `high` wins.
    fn merge(&mut self, low: &Self, high: &Self) {
        let (mut l, mut h) = (0, 0);
        while l < low.times.len() && h < high.times.len() {
            let (low_time, high_time) = (low.times[l], high.times[h]);
            if low_time < high_time {
                self.push(low, l);
                l += 1;
            } else {
                l += usize::from(low_time == high_time);
                self.push(high, h);
                h += 1;
            }
        }
        self.extend(low, l..low.times.len());
        self.extend(high, h..high.times.len());
    }

    /// Appends mixed rows: samples to the rows, markers to the markers.
    fn push_unmixed(&mut self, mixed: &Self) {
        for (at, value) in mixed.values.iter().enumerate() {
            if is_stale(*value) {
                self.stale_at.push(mixed.times[at]);
            } else {
                self.push(mixed, at);
            }
        }
    }

    /// Drops rows and markers under a mask.
    fn cut(&mut self, masks: &[(i64, i64)]) {
        if !masks.is_empty() {
            self.keep(|time| !masks.iter().any(|(from, to)| (*from..=*to).contains(&time)));
        }
    }

    /// Drops rows and markers at some times, which ascend.
    fn drop_times(&mut self, times: &[i64]) {
        if !times.is_empty() {
            self.keep(|time| times.binary_search(&time).is_err());
        }
    }

    fn keep(&mut self, kept: impl Fn(i64) -> bool) {
        self.stale_at.retain(|time| kept(*time));
        let mut keep = 0;
        for at in 0..self.times.len() {
            if !kept(self.times[at]) {
                continue;
            }
            self.times[keep] = self.times[at];
            self.values[keep] = self.values[at];
            if let Some(start) = self.starts.get(at).copied() {
                self.starts[keep] = start;
            }
            keep += 1;
        }
        self.times.truncate(keep);
        self.values.truncate(keep);
        self.starts.truncate(keep);
    }
}
