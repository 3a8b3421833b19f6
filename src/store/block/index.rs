//! Collects the index block while runs go by: chunks, postings, directory.

use super::chunk::{ChunkBuilder, RunEntry};
use super::format::{ChunkEntry, Directory, Extent, FLAG_STARTS};
use super::postings::PostingsBuilder;
use crate::error::{Error, Result};

/// Chunks and postings under construction. Holds the compressed chunks (about 25 B a run) until the rows are
/// written.
#[derive(Debug)]
pub(super) struct IndexBuilder {
    pub(super) directory: Directory,
    chunk: ChunkBuilder,
    /// The entry of the chunk that is being filled.
    open: Option<ChunkEntry>,
    chunks: Vec<u8>,
    next_row: u64,
    postings: PostingsBuilder,
}

/// A finished index block.
#[derive(Debug)]
pub(super) struct IndexBlock {
    pub(super) directory: Directory,
    /// Chunks, postings and page sections.
    pub(super) bytes: Vec<u8>,
    /// What follows them.
    pub(super) directory_bytes: Vec<u8>,
}

impl IndexBuilder {
    pub(super) fn new(page_rows: u32) -> Self {
        Self {
            directory: Directory { page_rows, ..Directory::default() },
            chunk: ChunkBuilder::new(),
            open: None,
            chunks: Vec::new(),
            next_row: 0,
            postings: PostingsBuilder::default(),
        }
    }

    /// Notes a run whose rows follow those of the run before.
    pub(super) fn push(&mut self, run: &RunEntry<'_>) -> Result<()> {
        if self.chunk.is_full() {
            self.flush_chunk()?;
        }
        let (mut first, mut last) = (run.first_time, run.last_time);
        if let (Some(min), Some(max)) = (run.stale_at.first(), run.stale_at.last()) {
            (first, last) = (first.min(*min), last.max(*max));
        }
        let next_row = self.next_row;
        let open = self.open.get_or_insert_with(|| ChunkEntry {
            extent: Extent::default(),
            runs: 0,
            first_row: next_row,
            min_time: first,
            max_time: last,
            first_id: run.id,
            first_metric: run.metric.to_owned(),
        });
        open.min_time = open.min_time.min(first);
        open.max_time = open.max_time.max(last);
        open.runs += 1;
        self.next_row += u64::from(run.rows);
        self.directory.runs += 1;
        if run.has_starts {
            self.directory.flags |= FLAG_STARTS;
        }
        self.chunk.push(run);
        let chunk = u32::try_from(self.directory.chunks.len()).expect("a file has few chunks");
        self.postings.push(run.metric, run.labels, chunk);
        Ok(())
    }

    fn flush_chunk(&mut self) -> Result<()> {
        let Some(mut entry) = self.open.take() else { return Ok(()) };
        let bytes = std::mem::replace(&mut self.chunk, ChunkBuilder::new()).finish()?;
        entry.extent = extent(self.chunks.len(), &bytes)?;
        self.directory.chunks.push(entry);
        self.chunks.extend_from_slice(&bytes);
        Ok(())
    }

    /// The block as it stands at file offset `base`, with the page sections behind the postings.
    pub(super) fn finish(mut self, last_metric: &str, base: u64, sections: &[u8]) -> Result<IndexBlock> {
        self.flush_chunk()?;
        let mut directory = self.directory;
        debug_assert_eq!(directory.rows, self.next_row, "the runs' rows are the file's rows");
        last_metric.clone_into(&mut directory.last_metric);
        directory.base = base;
        let chunks = u32::try_from(directory.chunks.len()).expect("a file has few chunks");
        let mut bytes = self.chunks;
        directory.postings = self.postings.finish(chunks, &mut bytes)?;
        let sections_at = length(bytes.len());
        directory.groups.iter_mut().for_each(|group| group.pages.offset += sections_at);
        bytes.extend_from_slice(sections);
        let directory_bytes = directory.encode();
        Ok(IndexBlock { directory, bytes, directory_bytes })
    }
}

/// The place of a part that is appended at `offset`.
pub(super) fn extent(offset: usize, bytes: &[u8]) -> Result<Extent> {
    let too_long = || Error::internal("an index part passes 4 GiB").during("write block");
    let part = u32::try_from(bytes.len()).map_err(|_| too_long())?;
    Ok(Extent { offset: length(offset), length: part, crc: crc32c::crc32c(bytes) })
}

/// A length in memory as a length in a file.
pub(super) fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("usize fits u64")
}
