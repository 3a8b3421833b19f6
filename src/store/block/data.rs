//! Rows of one file: which pages hold them, one set of ranged reads for what is not cached, decoded pages.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use bytes::Bytes;

use super::cache::Page;
use super::decode::PageDecoder;
use super::format::{Column, ColumnPages, PageEntry, damaged};
use super::reader::{BlockFile, to_usize};
use super::wide_decode;
use crate::error::{Error, Result};

/// Pages nearer to each other than this are read with one range: a request costs more than the bytes between.
const COALESCE_GAP: u64 = 16 << 10;
/// Decoding this many pages takes about half a millisecond; then other tasks get their turn.
const PAGES_PER_TURN: usize = 4;

/// A page of a file: row group and position in it.
pub(crate) type PageId = (u32, u32);

/// A page of a column.
pub(crate) type ColumnPage = (Column, PageId);

/// Rows of one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PagePart {
    /// The page.
    pub(crate) page: PageId,
    /// Rows inside the page.
    pub(crate) rows: Range<usize>,
}

/// A page that must be fetched.
struct Wanted {
    key: ColumnPage,
    /// The Parquet columns that it is made of, in file order, each with its page.
    leaves: Vec<(ColumnPages, PageEntry)>,
    rows: usize,
}

impl BlockFile {
    /// The pages that hold file rows, in order.
    pub(crate) fn page_parts(&self, rows: Range<u64>) -> impl Iterator<Item = PagePart> {
        let directory = self.directory();
        let page_rows = u64::from(directory.page_rows);
        let mut next = rows.start;
        std::iter::from_fn(move || {
            if next >= rows.end {
                return None;
            }
            let group_at = directory.group_of(next);
            let group = &directory.groups[group_at];
            let inside = next - group.first_row;
            let page = inside / page_rows;
            let first = group.first_row + page * page_rows;
            let page_end = (first + page_rows).min(group.first_row + u64::from(group.rows));
            let end = page_end.min(rows.end);
            let part = to_usize(next - first)..to_usize(end - first);
            next = end;
            let number = |n: u64| u32::try_from(n).expect("row groups and pages are few");
            let group_at = u64::try_from(group_at).expect("usize fits u64");
            Some(PagePart { page: (number(group_at), number(page)), rows: part })
        })
    }

    /// Decoded pages: from the cache, else with one set of ranged reads.
    ///
    /// # Errors
    /// `Corrupt` naming the file when a checksum is wrong or a page does not hold its rows.
    pub(crate) async fn pages(
        &self,
        wanted: &BTreeSet<ColumnPage>,
        decoder: &mut PageDecoder,
    ) -> Result<HashMap<ColumnPage, Page>> {
        let mut found = HashMap::with_capacity(wanted.len());
        let mut missing = Vec::new();
        for key in wanted {
            match self.cache().pages().get(&self.cache_key(*key)) {
                Some(page) => {
                    found.insert(*key, page);
                }
                None => missing.push(self.wanted(*key).await?),
            }
        }
        missing.sort_unstable_by_key(Wanted::offset);
        let (ranges, places) = coalesce(&missing);
        if ranges.is_empty() {
            return Ok(found);
        }
        let parts = self.objects().get_ranges(self.path(), &ranges).await.map_err(|e| self.named(e))?;
        for (at, (page, (range, offset))) in missing.iter().zip(places).enumerate() {
            if at % PAGES_PER_TURN == PAGES_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            let length = to_usize(page.end() - page.offset());
            let bytes: &Bytes = &parts[range];
            let bytes = bytes.get(offset..offset + length).ok_or_else(|| damaged("a page is cut off"));
            let decoded =
                bytes.and_then(|bytes| page.decode(bytes, decoder)).map_err(|e| self.page_error(e, page))?;
            self.cache().pages().insert(self.cache_key(page.key), decoded.clone(), decoded.weight());
            found.insert(page.key, decoded);
        }
        Ok(found)
    }

    fn cache_key(&self, (column, (group, page)): ColumnPage) -> (u64, Column, u64) {
        (self.number(), column, u64::from(group) << 32 | u64::from(page))
    }

    async fn wanted(&self, key: ColumnPage) -> Result<Wanted> {
        let (column, (group, page)) = key;
        let section = self.section(to_usize(u64::from(group))).await?;
        let leaves = section
            .columns
            .get(column.leaves())
            .ok_or_else(|| self.named(damaged("a column is asked for that rows of this sort do not have")))?;
        let leaf = |pages: &ColumnPages| {
            let column = ColumnPages { encoding: pages.encoding, codec: pages.codec, pages: Vec::new() };
            (column, pages.pages[to_usize(u64::from(page))])
        };
        let directory = self.directory();
        let group_rows = directory.groups[to_usize(u64::from(group))].rows;
        let rows = directory.page_rows.min(group_rows - page * directory.page_rows);
        Ok(Wanted { key, leaves: leaves.iter().map(leaf).collect(), rows: to_usize(u64::from(rows)) })
    }

    fn page_error(&self, error: Error, page: &Wanted) -> Error {
        self.named(error.with("column", page.name()).with("offset", page.offset()))
    }
}

impl Wanted {
    /// File offset of the first byte.
    fn offset(&self) -> u64 {
        self.leaves.iter().map(|(_, entry)| entry.offset).min().unwrap_or(0)
    }

    /// File offset behind the last byte.
    fn end(&self) -> u64 {
        let end = |entry: &PageEntry| entry.offset.saturating_add(u64::from(entry.length));
        self.leaves.iter().map(|(_, entry)| end(entry)).max().unwrap_or(0)
    }

    /// Decodes the bytes from [`Self::offset`] to [`Self::end`].
    fn decode(&self, bytes: &[u8], decoder: &mut PageDecoder) -> Result<Page> {
        let mut pages = Vec::with_capacity(self.leaves.len());
        for leaf in &self.leaves {
            let start = to_usize(leaf.1.offset - self.offset());
            let page = bytes.get(start..start + to_usize(u64::from(leaf.1.length)));
            pages.push((leaf.clone(), page.ok_or_else(|| damaged("a page is cut off"))?));
        }
        let ((column, entry), first) = pages.first().ok_or_else(|| damaged("a page without columns"))?;
        let at = (column, entry);
        Ok(match self.key.0 {
            Column::Timestamp => Page::Times(decoder.timestamps(at, first, self.rows)?.into()),
            Column::Value => Page::Values(decoder.values(at, first, self.rows)?.into()),
            Column::Start => Page::Times(decoder.starts(at, first, self.rows)?.into()),
            Column::Histogram => {
                Page::Histograms(wide_decode::histograms(&pages, decoder, self.rows)?.into())
            }
            Column::Exemplar => Page::Exemplars(wide_decode::exemplars(&pages, decoder, self.rows)?.into()),
        })
    }

    fn name(&self) -> &'static str {
        match self.key.0 {
            Column::Timestamp => "timestamp",
            Column::Value => "value",
            Column::Start => "start_timestamp",
            Column::Histogram => "those of a histogram",
            Column::Exemplar => "those of an exemplar",
        }
    }
}

/// Ranges that cover the pages (sorted by offset), and for each page its range and the offset inside it.
fn coalesce(pages: &[Wanted]) -> (Vec<Range<u64>>, Vec<(usize, usize)>) {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut places = Vec::with_capacity(pages.len());
    for page in pages {
        let (offset, end) = (page.offset(), page.end());
        match ranges.last_mut() {
            Some(last) if offset <= last.end.saturating_add(COALESCE_GAP) => {
                last.end = last.end.max(end);
            }
            _ => ranges.push(offset..end),
        }
        let at = ranges.len() - 1;
        places.push((at, to_usize(offset - ranges[at].start)));
    }
    (ranges, places)
}
