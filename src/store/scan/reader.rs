//! Streams the rows of a range of series.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::assemble::{Assembler, Stores};
use super::pages::PageSet;
use super::selection::Selection;
use crate::error::Result;
use crate::model::Histogram;

/// Rows that are loaded together: 4 MiB decoded, and as much as one series has where that is more.
pub(super) const CHUNK_ROWS: u64 = 256 << 10;

/// Scattered series need whole pages for a few rows each: 20 MiB decoded at most.
const CHUNK_PAGES: usize = 64;

/// Reads series one after the other. Memory: the pages of one chunk of series and one series' rows.
#[derive(Debug)]
pub struct SeriesReader {
    selection: Arc<Selection>,
    pages: PageSet,
    assembler: Assembler,
    /// The next series.
    next: usize,
    /// Series before this one have their pages loaded.
    loaded: usize,
    end: usize,
}

/// The rows of one series inside the selection's time range.
#[derive(Debug, Clone, Copy)]
pub struct SeriesRows<'a> {
    /// Position in [`Selection::series`].
    pub index: usize,
    /// ms, ascending and unique; may be empty.
    pub timestamps: &'a [i64],
    /// One per timestamp.
    pub values: &'a [f64],
    /// Stale markers, ms, ascending and unique, at no sample's timestamp.
    pub stale_at: &'a [i64],
    /// Native histograms' timestamps: ms, ascending, unique and at no float's or marker's timestamp.
    pub histogram_times: &'a [i64],
    /// One per histogram timestamp.
    pub histograms: &'a [Arc<Histogram>],
    /// The one in front of the time range, if the files and buffers of the range have it.
    pub histogram_before: Option<&'a Arc<Histogram>>,
}

impl SeriesReader {
    pub(super) fn new(selection: Arc<Selection>, range: Range<usize>) -> Result<Self> {
        debug_assert!(range.end <= selection.series().len(), "a range of the selection");
        let (pages, assembler) = (PageSet::new(false)?, Assembler::default());
        Ok(Self { selection, pages, assembler, next: range.start, loaded: range.start, end: range.end })
    }

    /// The next series of the range, `None` after the last.
    ///
    /// # Errors
    /// `Corrupt` naming a file; what the object store says. The reader is of no use afterwards.
    pub async fn next(&mut self) -> Result<Option<SeriesRows<'_>>> {
        if self.next >= self.end {
            return Ok(None);
        }
        if self.next >= self.loaded {
            self.load().await?;
        }
        let index = self.next;
        self.next += 1;
        let selection = &self.selection;
        let stores = Stores {
            files: &selection.files,
            layers: &selection.layers,
            pages: &self.pages,
            range: (selection.from, selection.to),
            with_starts: false,
        };
        self.assembler.assemble(stores, selection.sources(index), &selection.masks(index))?;
        let (histogram_times, histograms) = self.assembler.histograms();
        Ok(Some(SeriesRows {
            index,
            timestamps: self.assembler.times(),
            values: self.assembler.values(),
            stale_at: self.assembler.stale_at(),
            histogram_times,
            histograms,
            histogram_before: self.assembler.histogram_before(),
        }))
    }

    async fn load(&mut self) -> Result<()> {
        let selection = Arc::clone(&self.selection);
        let series = selection.series();
        let (mut end, mut rows) = (self.next, 0);
        let mut pages = HashSet::new();
        while end < self.end {
            rows += series[end].max_rows;
            let parts = selection.sources(end).iter().flat_map(|source| selection.page_ids(source));
            pages.extend(parts);
            if end > self.next && (rows > CHUNK_ROWS || pages.len() > CHUNK_PAGES) {
                break;
            }
            end += 1;
        }
        let sources = (self.next..end).flat_map(|at| selection.sources(at));
        self.pages.load(&selection.files, sources, (selection.from, selection.to)).await?;
        self.loaded = end;
        Ok(())
    }
}
