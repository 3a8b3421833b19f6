//! What a query wants to read: which series, and where the parts of each lie.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt};

use super::reader::SeriesReader;
use crate::error::Result;
use crate::model::{LabelsRef, METRIC_NAME, Matcher, SeriesKey};
use crate::store::block::{BlockFile, FileRun};
use crate::store::buffer::BufferRun;

/// Files whose indexes are read at the same time.
const LOOKUPS_AT_ONCE: usize = 16;

/// A file and the commit versions that its rows came from.
#[derive(Debug, Clone)]
pub(in crate::store) struct RankedFile {
    /// The opened file.
    pub(in crate::store) file: Arc<BlockFile>,
    /// `lo..=hi`; files of one rank hold disjoint rows.
    pub(in crate::store) rank: (u64, u64),
}

/// A buffer as a snapshot sees it.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Layer {
    /// In the order of (metric, id, labels), each series once.
    pub(in crate::store) runs: Vec<BufferRun>,
}

/// What a tombstone is about. Who deletes series does not mean the log lines with the same labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buried {
    /// Samples, histograms and exemplars.
    Series,
    /// Log lines.
    Lines,
}

/// Rows that were deleted: of the series or streams that match, the times in `from..=to`.
#[derive(Debug, Clone)]
pub struct Tombstone {
    /// Of what.
    pub of: Buried,
    /// All must match.
    pub matchers: Vec<Matcher>,
    /// First ms.
    pub from: i64,
    /// Last ms.
    pub to: i64,
}

/// What a selection is made of.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct SelectionInput {
    /// Samples and native histograms, in any order; the higher rank wins among those of one sort.
    pub(in crate::store) files: Vec<RankedFile>,
    /// Above all files; a later one wins.
    pub(in crate::store) layers: Vec<Layer>,
    /// All must match; `__name__` is the metric.
    pub(in crate::store) matchers: Vec<Matcher>,
    /// First ms.
    pub(in crate::store) from: i64,
    /// Last ms.
    pub(in crate::store) to: i64,
    /// What was deleted.
    pub(in crate::store) tombstones: Vec<Tombstone>,
}

/// One series of a selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectedSeries {
    /// Metric and labels.
    pub key: SeriesKey,
    /// Its id.
    pub id: i64,
    /// No more samples than this.
    pub max_rows: u64,
}

/// Where a part of a series lies.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A run of a file, by the file's position.
    File(usize, FileRun),
    /// A run of a layer, by both positions.
    Layer(usize, usize),
}

/// The series that match, in the order of (metric, id, labels), and the parts of each. Whether a series has a
/// sample in the range is only known for sure when it is read: it may turn out to be empty.
#[derive(Debug)]
pub struct Selection {
    /// In rank order.
    pub(super) files: Vec<Arc<BlockFile>>,
    pub(super) layers: Vec<Layer>,
    pub(super) from: i64,
    pub(super) to: i64,
    tombstones: Vec<Tombstone>,
    series: Vec<SelectedSeries>,
    /// The parts of all series, each in rank order, one series after the other.
    sources: Vec<Source>,
    /// Where the parts of each series end.
    ends: Vec<usize>,
}

impl Selection {
    /// Looks up the matching runs of all files and layers.
    ///
    /// # Errors
    /// `Corrupt` naming a file; what the object store says.
    pub(in crate::store) async fn new(mut input: SelectionInput) -> Result<Self> {
        input.files.sort_by_key(|file| (file.rank.1, file.rank.0));
        let files: Vec<_> = input.files.into_iter().map(|ranked| ranked.file).collect();
        let (matchers, from, to) = (&input.matchers, input.from, input.to);
        // Boxed: the compiler cannot prove that a future which holds this closure is `Send`.
        let lookups: Vec<_> = files.iter().map(|file| file.lookup(matchers, from, to).boxed()).collect();
        let found: Vec<Vec<FileRun>> =
            futures::stream::iter(lookups).buffered(LOOKUPS_AT_ONCE).try_collect().await?;
        let mut sources = Vec::with_capacity(found.iter().map(Vec::len).sum());
        for (at, runs) in found.into_iter().enumerate() {
            sources.extend(runs.into_iter().map(|run| Source::File(at, run)));
        }
        for (at, layer) in input.layers.iter().enumerate() {
            let matching = layer.runs.iter().enumerate().filter(|(_, run)| run.is_wanted(matchers, from, to));
            sources.extend(matching.map(|(position, _)| Source::Layer(at, position)));
        }
        let mut selection = Self {
            files,
            layers: input.layers,
            from,
            to,
            tombstones: input.tombstones,
            series: Vec::new(),
            sources: Vec::new(),
            ends: Vec::new(),
        };
        // Stable: the parts of one series stay in rank order. The parts of a file are sorted already, so this
        // is a merge of as many sequences as there are files.
        sources.sort_by(|a, b| selection.compare(a, b));
        selection.group(sources);
        Ok(selection)
    }

    fn group(&mut self, sources: Vec<Source>) {
        for (at, source) in sources.iter().enumerate() {
            let same = at > 0 && self.compare(&sources[at - 1], source) == Ordering::Equal;
            let rows = self.max_rows(source);
            match self.series.last_mut() {
                Some(last) if same => {
                    last.max_rows += rows;
                    *self.ends.last_mut().expect("a series has its end") = at + 1;
                }
                _ => {
                    let (key, id) = self.key(source);
                    self.series.push(SelectedSeries { key, id, max_rows: rows });
                    self.ends.push(at + 1);
                }
            }
        }
        self.sources = sources;
    }

    fn order<'a>(&'a self, source: &'a Source) -> (&'a str, i64, &'a [u8]) {
        match source {
            Source::File(_, run) => run.order(),
            Source::Layer(layer, run) => {
                let run = &self.layers[*layer].runs[*run];
                (&run.key.metric, run.id, run.key.labels.as_bytes())
            }
        }
    }

    fn compare(&self, a: &Source, b: &Source) -> Ordering {
        self.order(a).cmp(&self.order(b))
    }

    fn key(&self, source: &Source) -> (SeriesKey, i64) {
        match source {
            Source::File(_, run) => (file_key(run), run.id()),
            Source::Layer(layer, run) => {
                let run = &self.layers[*layer].runs[*run];
                (run.key.clone(), run.id)
            }
        }
    }

    fn max_rows(&self, source: &Source) -> u64 {
        match source {
            Source::File(_, run) => {
                let rows = super::pages::rows_between(run, self.from, self.to);
                rows.end - rows.start
            }
            Source::Layer(layer, run) => {
                let run = &self.layers[*layer].runs[*run];
                let rows = run.timestamps.len() + run.histograms.len();
                u64::try_from(rows).expect("usize fits u64")
            }
        }
    }

    /// All series, in order.
    pub fn series(&self) -> &[SelectedSeries] {
        &self.series
    }

    /// At most `n` contiguous ranges of series with about the same number of rows each, none empty.
    pub fn partitions(&self, n: usize) -> Vec<Range<usize>> {
        let weight = |series: &SelectedSeries| series.max_rows + ROWS_A_SERIES_COSTS;
        let total: u64 = self.series.iter().map(weight).sum();
        let share = total.div_ceil(u64::try_from(n.max(1)).unwrap_or(u64::MAX));
        let (mut ranges, mut start, mut rows) = (Vec::new(), 0, 0);
        for (at, series) in self.series.iter().enumerate() {
            rows += weight(series);
            if rows >= share {
                ranges.push(start..at + 1);
                (start, rows) = (at + 1, 0);
            }
        }
        if start < self.series.len() {
            ranges.push(start..self.series.len());
        }
        debug_assert!(ranges.len() <= n.max(1), "{} ranges of {n}", ranges.len());
        ranges
    }

    /// Reads a range of [`Self::series`].
    ///
    /// # Errors
    /// `Internal` when there is no decompressor to be had.
    pub fn scan(self: &Arc<Self>, range: Range<usize>) -> Result<SeriesReader> {
        SeriesReader::new(Arc::clone(self), range)
    }

    /// The parts of a series, in rank order.
    pub(super) fn sources(&self, series: usize) -> &[Source] {
        let start = if series == 0 { 0 } else { self.ends[series - 1] };
        &self.sources[start..self.ends[series]]
    }

    /// The pages of a part, by file and page.
    pub(super) fn page_ids(&self, source: &Source) -> impl Iterator<Item = (usize, (u32, u32))> {
        let file = match source {
            Source::File(at, run) => Some((*at, run)),
            Source::Layer(..) => None,
        };
        file.into_iter().flat_map(|(at, run)| {
            let file = &self.files[at];
            let rows = super::pages::rows_to_load(file, run, self.from, self.to);
            file.page_parts(rows).map(move |part| (at, part.page))
        })
    }

    /// The times that are deleted of a series.
    pub(super) fn masks(&self, series: usize) -> Vec<(i64, i64)> {
        let key = &self.series[series].key;
        masks(&self.tombstones, &key.metric, key.labels.as_ref())
    }
}

/// A series without rows costs its look-up and its place in the answer: about as much as decoding this many.
const ROWS_A_SERIES_COSTS: u64 = 16;

/// The times of a series that tombstones cover.
pub(super) fn masks(tombstones: &[Tombstone], metric: &str, labels: LabelsRef<'_>) -> Vec<(i64, i64)> {
    let of_series = tombstones.iter().filter(|tombstone| tombstone.of == Buried::Series);
    let covered = of_series.filter(|tombstone| matches(&tombstone.matchers, metric, labels));
    covered.map(|tombstone| (tombstone.from, tombstone.to)).collect()
}

/// The series of a run.
pub(super) fn file_key(run: &FileRun) -> SeriesKey {
    SeriesKey { metric: Arc::clone(run.metric()), labels: run.labels().to_owned() }
}

fn matches(matchers: &[Matcher], metric: &str, labels: LabelsRef<'_>) -> bool {
    matchers.iter().all(|matcher| match matcher.name() {
        METRIC_NAME => matcher.matches(metric),
        _ => matcher.matches_labels(labels),
    })
}

impl BufferRun {
    /// The first and the last time of rows and stale markers, ms.
    pub(super) fn times(&self) -> Option<(i64, i64)> {
        let ends = |times: &[i64]| times.first().copied().zip(times.last().copied());
        match (ends(&self.timestamps), ends(&self.stale_at)) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (rows, stale) => rows.or(stale),
        }
    }

    /// Whether it matches and may have something in `from..=to`.
    pub(super) fn is_wanted(&self, matchers: &[Matcher], from: i64, to: i64) -> bool {
        let overlaps = |(first, last): (i64, i64)| first <= to && from <= last;
        let histograms = self.histogram_times.first().copied().zip(self.histogram_times.last().copied());
        (self.times().is_some_and(overlaps) || histograms.is_some_and(overlaps))
            && matches(matchers, &self.key.metric, self.key.labels.as_ref())
    }
}
