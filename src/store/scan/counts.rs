//! What of the files a selection needs: the figures of EXPLAIN. Read from directories that are open anyway.

use std::collections::BTreeSet;

use super::pages::rows_between;
use super::selection::{Selection, Source};

/// Read and present, of the files that a selection looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SelectionCounts {
    /// Files with a matching run.
    pub files: usize,
    /// Matching runs of files.
    pub runs: u64,
    /// All runs of the files that were looked into.
    pub file_runs: u64,
    /// Pages (of about 20,000 rows) with rows of matching runs in the time range.
    pub pages: u64,
    /// All pages of the files that were looked into.
    pub file_pages: u64,
    /// Matching runs of buffers.
    pub buffer_runs: usize,
}

impl Selection {
    /// The first and the last time of a sample or stale marker of these series, ms: of whole runs of files, which
    /// may reach beyond the selection's range, so cut to it. `None` without any.
    pub fn times(&self) -> Option<(i64, i64)> {
        let sources = (0..self.series().len()).flat_map(|series| self.sources(series));
        let times = sources.filter_map(|source| match source {
            Source::File(_, run) => Some(run.times()),
            Source::Layer(layer, run) => self.layers[*layer].runs[*run].times(),
        });
        let ends = times.reduce(|(a, b), (c, d)| (a.min(c), b.max(d)));
        ends.map(|(first, last)| (first.max(self.from), last.min(self.to)))
    }

    /// How much of the files and buffers is needed.
    pub fn counts(&self) -> SelectionCounts {
        let mut counts = SelectionCounts::default();
        let mut needed: BTreeSet<(usize, (u32, u32))> = BTreeSet::new();
        let mut files = BTreeSet::new();
        for source in (0..self.series().len()).flat_map(|series| self.sources(series)) {
            match source {
                Source::File(at, run) => {
                    counts.runs += 1;
                    files.insert(*at);
                    let rows = rows_between(run, self.from, self.to);
                    needed.extend(self.files[*at].page_parts(rows).map(|part| (*at, part.page)));
                }
                Source::Layer(..) => counts.buffer_runs += 1,
            }
        }
        let count = |n: usize| u64::try_from(n).expect("usize fits u64");
        counts.files = files.len();
        counts.pages = count(needed.len());
        for file in &self.files {
            counts.file_runs += file.runs();
            counts.file_pages += count(file.page_parts(0..file.rows()).count());
        }
        counts
    }
}
