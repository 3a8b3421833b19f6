//! The decoded pages that a chunk of series needs, of all its files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::selection::Source;
use crate::error::{Error, Result};
use crate::model::Histogram;
use crate::store::block::{BlockFile, Column, ColumnPage, FileRun, Page, PageDecoder, PagePart, RowSort};

/// The rows of a run that may lie in `from..=to`: exact for regular timelines, all of them otherwise.
pub(super) fn rows_between(run: &FileRun, from: i64, to: i64) -> Range<u64> {
    let rows = run.rows();
    let (Some(step), Some((first, last))) = (run.step(), run.row_times()) else { return rows };
    let before = |time: i64| {
        // Rows whose time is below `time`; i128 because the ends of i64 are legal bounds.
        let distance = i128::from(time) - i128::from(first);
        let count = if distance <= 0 { 0 } else { (distance - 1) / i128::from(step) + 1 };
        u64::try_from(count).unwrap_or(u64::MAX).min(rows.end - rows.start)
    };
    debug_assert!(first <= last, "a regular run ascends");
    let start = before(from);
    let end = to.checked_add(1).map_or(rows.end - rows.start, before);
    rows.start + start..rows.start + end.max(start)
}

/// The same of native histograms, and the one in front: what is known of resets depends on it.
pub(super) fn histograms_between(run: &FileRun, from: i64, to: i64) -> Range<u64> {
    let rows = rows_between(run, from, to);
    if rows.is_empty() { rows } else { rows.start.saturating_sub(1).max(run.rows().start)..rows.end }
}

/// The rows of a run that are loaded for a range.
pub(super) fn rows_to_load(file: &BlockFile, run: &FileRun, from: i64, to: i64) -> Range<u64> {
    if file.sort() == RowSort::Samples {
        rows_between(run, from, to)
    } else {
        histograms_between(run, from, to)
    }
}

/// Pages in use.
#[derive(Debug)]
pub(super) struct PageSet {
    decoder: PageDecoder,
    with_starts: bool,
    pages: HashMap<(usize, ColumnPage), Page>,
}

impl PageSet {
    pub(super) fn new(with_starts: bool) -> Result<Self> {
        Ok(Self { decoder: PageDecoder::new()?, with_starts, pages: HashMap::new() })
    }

    /// Loads what the sources need and drops the rest, file after file in time order, so that the files of a
    /// long range are not all read at once. Pages that stay needed are not asked for again.
    pub(super) async fn load<'a>(
        &mut self,
        files: &[Arc<BlockFile>],
        sources: impl Iterator<Item = &'a Source>,
        (from, to): (i64, i64),
    ) -> Result<()> {
        let mut wanted: BTreeMap<usize, (i64, BTreeSet<ColumnPage>)> = BTreeMap::new();
        for source in sources {
            let Source::File(file, run) = source else { continue };
            let (first, pages) = wanted.entry(*file).or_insert_with(|| (i64::MAX, BTreeSet::new()));
            *first = run.times().0.min(*first);
            self.collect(&files[*file], run, (from, to), pages);
        }
        let needed =
            |(file, page): &(usize, ColumnPage)| wanted.get(file).is_some_and(|w| w.1.contains(page));
        self.pages.retain(|key, _| needed(key));
        let mut by_time: Vec<_> =
            wanted.into_iter().map(|(file, (first, pages))| (first, file, pages)).collect();
        by_time.sort_unstable_by_key(|(first, file, _)| (*first, *file));
        for (_, file, mut pages) in by_time {
            pages.retain(|page| !self.pages.contains_key(&(file, *page)));
            if pages.is_empty() {
                continue;
            }
            let loaded = files[file].pages(&pages, &mut self.decoder).await?;
            self.pages.extend(loaded.into_iter().map(|(key, page)| ((file, key), page)));
        }
        Ok(())
    }

    fn collect(&self, file: &BlockFile, run: &FileRun, range: (i64, i64), pages: &mut BTreeSet<ColumnPage>) {
        let floats = file.sort() == RowSort::Samples;
        let columns = [
            (Column::Timestamp, run.step().is_none()),
            (Column::Value, floats && run.constant().is_none()),
            (Column::Start, floats && self.with_starts && run.has_starts()),
            (Column::Histogram, !floats),
        ];
        for part in file.page_parts(rows_to_load(file, run, range.0, range.1)) {
            for (column, needed) in columns {
                if needed {
                    pages.insert((column, part.page));
                }
            }
        }
    }

    /// The times of a part.
    pub(super) fn times(&self, file: usize, column: Column, part: &PagePart) -> Result<&Arc<Vec<i64>>> {
        match self.pages.get(&(file, (column, part.page))) {
            Some(Page::Times(times)) if part.rows.end <= times.len() => Ok(times),
            _ => Err(not_loaded()),
        }
    }

    /// The native histograms of a part.
    pub(super) fn histograms(&self, file: usize, part: &PagePart) -> Result<&Arc<Vec<Arc<Histogram>>>> {
        match self.pages.get(&(file, (Column::Histogram, part.page))) {
            Some(Page::Histograms(rows)) if part.rows.end <= rows.len() => Ok(rows),
            _ => Err(not_loaded()),
        }
    }

    /// The values of a part.
    pub(super) fn values(&self, file: usize, part: &PagePart) -> Result<&Arc<Vec<f64>>> {
        match self.pages.get(&(file, (Column::Value, part.page))) {
            Some(Page::Values(values)) if part.rows.end <= values.len() => Ok(values),
            _ => Err(not_loaded()),
        }
    }
}

fn not_loaded() -> Error {
    Error::internal("a page is used that was not loaded").during("scan")
}
