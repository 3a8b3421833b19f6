//! One file's index: open it, find runs by matchers, list label names and values.
//!
//! What is read, in this order and only as far as needed: the directory (one range, found by the tag), postings
//! of the labels that the matchers name, chunks, and for rows the page section of a row group (`data`). The
//! Parquet footer is not read: everything here is checksummed, a footer is not.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::cache::ScanCache;
use super::chunk::{Chunk, Selector};
use super::format::{Directory, Extent, FLAG_STARTS, IndexTag, PageSection, damaged, verify};
use super::postings::{ChunkSet, Postings};
use super::sort::RowSort;
use crate::error::{Error, Result};
use crate::model::{LabelsRef, Matcher};
use crate::runtime::Objects;

/// Read in front of the directory with it: the page sections of a small file are then there at once.
const AHEAD: u64 = 16 << 10;
/// A directory of a million runs has 250 chunks and is below 100 KB; this is what a hostile tag may ask for.
const DIRECTORY_LIMIT: u64 = 256 << 20;
/// With more candidate chunks than this, postings of the other labels are worth their own read.
const CHUNKS_WITHOUT_POSTINGS: usize = 4;
/// Chunks that are fetched with one request.
const CHUNKS_PER_READ: usize = 64;

/// An opened file: its directory and how to read the rest.
#[derive(Debug)]
pub(crate) struct BlockFile {
    objects: Objects,
    path: Arc<str>,
    cache: ScanCache,
    /// Names the file in the cache.
    number: u64,
    directory: Directory,
}

impl BlockFile {
    /// Opens a file by the tag of its `add` action, or finds it in the cache.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` when the directory is not what the tag promises; `Unsupported` for a newer version.
    pub(crate) async fn open(
        objects: &Objects,
        path: &str,
        tag: IndexTag,
        cache: &ScanCache,
    ) -> Result<Arc<Self>> {
        if let Some(file) = cache.files().get(path) {
            return Ok(file);
        }
        let at_file = |e: Error| e.with("file", path);
        if tag.length > DIRECTORY_LIMIT {
            return Err(at_file(damaged("the index tag asks for too much").with("bytes", tag.length)));
        }
        let start = tag.offset.saturating_sub(AHEAD);
        let end = tag.offset.checked_add(tag.length);
        let end = end.ok_or_else(|| at_file(damaged("the index tag is out of range")))?;
        let read = objects.get_range(path, start..end).await.map_err(at_file)?;
        let (ahead, bytes) = read.split_at(to_usize(tag.offset - start));
        verify(bytes, tag.crc, "the directory").map_err(at_file)?;
        let directory = Directory::decode(bytes).map_err(at_file)?;
        let weight = bytes.len() * 2 + 256;
        let number = cache.file_number();
        let (objects, path) = (objects.clone(), Arc::<str>::from(path));
        let file = Arc::new(Self { objects, path, cache: cache.clone(), number, directory });
        file.keep_sections(ahead, start)?;
        cache.files().insert(Arc::clone(&file.path), Arc::clone(&file), weight);
        Ok(file)
    }

    /// Keeps the page sections that happened to be read with the directory.
    fn keep_sections(&self, ahead: &[u8], start: u64) -> Result<()> {
        for (at, group) in self.directory.groups.iter().enumerate() {
            let range = self.range(group.pages);
            let Some(offset) = range.start.checked_sub(start) else { continue };
            let Some(bytes) = ahead.get(to_usize(offset)..to_usize(range.end - start)) else { continue };
            let section = self.section_of(at, bytes)?;
            self.cache.sections().insert((self.number, at), Arc::new(section), bytes.len() * 2 + 64);
        }
        Ok(())
    }

    /// Rows of samples.
    pub(crate) fn rows(&self) -> u64 {
        self.directory.rows
    }

    /// Runs, those without rows included.
    pub(crate) fn runs(&self) -> u64 {
        self.directory.runs
    }

    /// The object's path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether some row has a start timestamp.
    pub(crate) fn has_starts(&self) -> bool {
        self.directory.has(FLAG_STARTS)
    }

    /// What its rows are.
    pub(crate) fn sort(&self) -> RowSort {
        RowSort::of_flags(self.directory.flags)
    }

    /// The runs whose labels match and whose samples or stale markers may lie in `from..=to` (ms), in order.
    ///
    /// # Errors
    /// `Corrupt` naming the file.
    pub(crate) async fn lookup(&self, matchers: &[Matcher], from: i64, to: i64) -> Result<Vec<FileRun>> {
        let selector = Selector::new(matchers);
        let positions = self.candidates(&selector, from, to).await?;
        let mut runs = Vec::new();
        for positions in positions.chunks(CHUNKS_PER_READ) {
            for chunk in self.chunks(positions).await? {
                let selected = chunk.select(&selector).into_iter();
                let selected = selected.map(|index| FileRun { chunk: Arc::clone(&chunk), index });
                runs.extend(selected.filter(|run| run.overlaps(from, to)));
            }
        }
        Ok(runs)
    }

    /// Label names of all series, `__name__` among them, sorted.
    pub(crate) fn label_names(&self) -> impl Iterator<Item = &str> {
        self.directory.postings.iter().map(|entry| &*entry.name)
    }

    /// All values of a label, sorted; without the empty one.
    ///
    /// # Errors
    /// `Corrupt` naming the file.
    pub(crate) async fn label_values(&self, name: &str) -> Result<Vec<String>> {
        match self.postings(name).await? {
            Some(postings) => postings.values().map_err(|e| self.named(e)),
            None => Ok(Vec::new()),
        }
    }

    /// Number of index chunks.
    pub(crate) fn chunk_count(&self) -> usize {
        self.directory.chunks.len()
    }

    /// All runs of one index chunk.
    pub(crate) async fn chunk_runs(&self, position: usize) -> Result<Vec<FileRun>> {
        let chunk = self.chunks(&[position]).await?.pop().expect("one was asked for");
        let count = u32::try_from(chunk.len()).expect("a chunk has few runs");
        Ok((0..count).map(|index| FileRun { chunk: Arc::clone(&chunk), index }).collect())
    }

    /// The chunks that may hold a match: by metric range, then by time, then by postings.
    async fn candidates(&self, selector: &Selector<'_>, from: i64, to: i64) -> Result<Vec<usize>> {
        let directory = &self.directory;
        let metrics = selector.metrics();
        let mut set = match &metrics {
            Some(metrics) => self.chunks_of_metrics(metrics),
            None => ChunkSet::all(directory.chunks.len()),
        };
        set.retain(|at| {
            let chunk = &directory.chunks[at];
            chunk.min_time <= to && from <= chunk.max_time
        });
        let by_postings = if metrics.is_some() { &[][..] } else { selector.metric_matchers() };
        for matcher in by_postings.iter().chain(selector.label_matchers()) {
            if set.len() == 0 {
                break;
            }
            let needed = metrics.is_none() || set.len() > CHUNKS_WITHOUT_POSTINGS;
            // A matcher that accepts an absent label says nothing about where it is present.
            if !needed || matcher.matches_empty() {
                continue;
            }
            match self.postings(matcher.name()).await? {
                Some(postings) => set.intersect(&postings.select(matcher).map_err(|e| self.named(e))?),
                None => set = ChunkSet::empty(directory.chunks.len()),
            }
        }
        Ok(set.iter().collect())
    }

    /// A metric's runs begin in the last chunk that starts before it and end before the first that starts after.
    fn chunks_of_metrics(&self, metrics: &[&str]) -> ChunkSet {
        let chunks = &self.directory.chunks;
        let mut set = ChunkSet::empty(chunks.len());
        for metric in metrics {
            if *metric > &*self.directory.last_metric {
                continue;
            }
            let first = chunks.partition_point(|chunk| *chunk.first_metric < **metric).saturating_sub(1);
            let end = chunks.partition_point(|chunk| *chunk.first_metric <= **metric);
            (first..end).for_each(|at| set.insert(at));
        }
        set
    }

    /// Chunks at ascending positions, from the cache or with one request.
    async fn chunks(&self, positions: &[usize]) -> Result<Vec<Arc<Chunk>>> {
        let cached: Vec<_> =
            positions.iter().map(|at| self.cache.chunks().get(&(self.number, *at))).collect();
        let missing = positions.iter().zip(&cached).filter(|(_, chunk)| chunk.is_none());
        let missing: Vec<usize> = missing.map(|(at, _)| *at).collect();
        let extents: Vec<_> = missing.iter().map(|at| self.directory.chunks[*at].extent).collect();
        let mut fetched = missing.iter().zip(self.read(&extents).await?).map(|(at, bytes)| {
            let entry = &self.directory.chunks[*at];
            let chunk = verify(&bytes, entry.extent.crc, "a chunk")
                .and_then(|()| Chunk::decode(&bytes, entry.first_row))
                .map_err(|e| self.named(e))?;
            let chunk = Arc::new(chunk);
            self.cache.chunks().insert((self.number, *at), Arc::clone(&chunk), chunk.weight());
            Ok(chunk)
        });
        let all = cached.into_iter().map(|chunk| match chunk {
            Some(chunk) => Ok(chunk),
            None => fetched.next().expect("one was fetched for each that was missing"),
        });
        all.collect()
    }

    async fn postings(&self, name: &str) -> Result<Option<Arc<Postings>>> {
        let Ok(at) = self.directory.postings.binary_search_by(|entry| (*entry.name).cmp(name)) else {
            return Ok(None);
        };
        if let Some(postings) = self.cache.postings().get(&(self.number, at)) {
            return Ok(Some(postings));
        }
        let extent = self.directory.postings[at].extent;
        let bytes = self.read_one(extent).await?;
        let postings = verify(&bytes, extent.crc, "postings")
            .and_then(|()| Postings::decode(&bytes, self.directory.chunks.len()))
            .map_err(|e| self.named(e))?;
        let postings = Arc::new(postings);
        self.cache.postings().insert((self.number, at), Arc::clone(&postings), postings.weight());
        Ok(Some(postings))
    }

    /// The pages of a row group.
    pub(super) async fn section(&self, group: usize) -> Result<Arc<PageSection>> {
        if let Some(section) = self.cache.sections().get(&(self.number, group)) {
            return Ok(section);
        }
        let bytes = self.read_one(self.directory.groups[group].pages).await?;
        let section = Arc::new(self.section_of(group, &bytes)?);
        self.cache.sections().insert((self.number, group), Arc::clone(&section), bytes.len() * 2 + 64);
        Ok(section)
    }

    /// Decodes a section and checks that it has the pages of its row group.
    fn section_of(&self, group: usize, bytes: &[u8]) -> Result<PageSection> {
        let entry = &self.directory.groups[group];
        let pages = to_usize(u64::from(entry.rows.div_ceil(self.directory.page_rows)));
        let columns = self.sort().section_columns();
        let section = verify(bytes, entry.pages.crc, "a page section")
            .and_then(|()| PageSection::decode(bytes, columns));
        let section = section.map_err(|e| self.named(e))?;
        if section.columns.iter().any(|column| column.pages.len() != pages) {
            return Err(self.named(damaged("a page section has another number of pages than its row group")));
        }
        Ok(section)
    }

    async fn read_one(&self, extent: Extent) -> Result<Bytes> {
        Ok(self.read(&[extent]).await?.pop().expect("one was asked for"))
    }

    async fn read(&self, extents: &[Extent]) -> Result<Vec<Bytes>> {
        if extents.is_empty() {
            return Ok(Vec::new());
        }
        let ranges: Vec<_> = extents.iter().map(|extent| self.range(*extent)).collect();
        self.objects.get_ranges(&self.path, &ranges).await.map_err(|e| self.named(e))
    }

    fn range(&self, extent: Extent) -> Range<u64> {
        // A directory that passed its checksum has extents inside the file; saturate rather than wrap all the same.
        let start = self.directory.base.saturating_add(extent.offset);
        start..start.saturating_add(u64::from(extent.length))
    }

    pub(super) fn objects(&self) -> &Objects {
        &self.objects
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(super) fn cache(&self) -> &ScanCache {
        &self.cache
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// An error with the file's name.
    pub(super) fn named(&self, error: Error) -> Error {
        error.with("file", &self.path)
    }
}

pub(super) fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("quipu runs on 64-bit machines")
}

/// One run of a file: a place in a shared index chunk.
#[derive(Debug, Clone)]
pub(crate) struct FileRun {
    chunk: Arc<Chunk>,
    index: u32,
}

impl FileRun {
    fn at(&self) -> usize {
        to_usize(u64::from(self.index))
    }

    /// The metric.
    pub(crate) fn metric(&self) -> &Arc<str> {
        self.chunk.metric(self.at())
    }

    /// The other labels.
    pub(crate) fn labels(&self) -> LabelsRef<'_> {
        self.chunk.labels(self.at())
    }

    /// The series' id.
    pub(crate) fn id(&self) -> i64 {
        self.chunk.id(self.at())
    }

    /// Its rows in the file; may be empty.
    pub(crate) fn rows(&self) -> Range<u64> {
        self.chunk.rows(self.at())
    }

    /// Times of the first and the last row, ms; `None` without rows.
    pub(crate) fn row_times(&self) -> Option<(i64, i64)> {
        let rows = self.rows();
        (!rows.is_empty()).then(|| self.chunk.row_times(self.at()))
    }

    /// Stale markers, ms, ascending.
    pub(crate) fn stale_at(&self) -> &[i64] {
        self.chunk.stale_at(self.at())
    }

    /// ms between all neighbouring rows, where that is one number. A single row is as regular as can be.
    pub(crate) fn step(&self) -> Option<i64> {
        let rows = self.rows();
        let step = if rows.end - rows.start == 1 { 1 } else { self.chunk.step(self.at()) };
        (step > 0).then_some(step)
    }

    /// The value of all rows, where that is one value.
    pub(crate) fn constant(&self) -> Option<f64> {
        self.chunk.constant(self.at())
    }

    /// Whether some row has a start timestamp.
    pub(crate) fn has_starts(&self) -> bool {
        self.chunk.has_starts(self.at())
    }

    /// The first and the last time of rows and stale markers, ms.
    pub(crate) fn times(&self) -> (i64, i64) {
        let stale = self.stale_at();
        let stale = stale.first().copied().zip(stale.last().copied());
        match (self.row_times(), stale) {
            (Some((a, b)), Some((c, d))) => (a.min(c), b.max(d)),
            (Some(times), None) | (None, Some(times)) => times,
            (None, None) => self.chunk.row_times(self.at()),
        }
    }

    fn overlaps(&self, from: i64, to: i64) -> bool {
        let (first, last) = self.times();
        first <= to && from <= last
    }

    /// What runs are ordered by.
    pub(crate) fn order(&self) -> (&str, i64, &[u8]) {
        (self.metric(), self.id(), self.labels().as_bytes())
    }
}
