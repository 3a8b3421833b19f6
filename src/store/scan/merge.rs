//! Merges whole files for compaction: every run of every file, series by series, in key order.
//!
//! Memory is bounded by one index chunk a file and one chunk of rows, however long the files are.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use super::assemble::{Assembler, Stores};
use super::exemplars::read_run;
use super::pages::PageSet;
use super::reader::CHUNK_ROWS;
use super::selection::{Source, Tombstone, file_key, masks};
use crate::error::Result;
use crate::model::{Exemplar, SeriesKey};
use crate::runtime::ObjectWriter;
use crate::store::block::{
    BlockFile, BlockWriter, FileRun, FinishedBlock, PageDecoder, RowSort, RowValues, RunRows, WriterSetting,
};
use crate::store::buffer::tidy;

/// The runs of several files of one sort as one sequence. Rows under a tombstone are gone, and so are series that have
/// neither rows nor stale markers left.
#[derive(Debug)]
pub(in crate::store) struct Merge {
    sort: RowSort,
    /// In rank order.
    files: Vec<Arc<BlockFile>>,
    cursors: Vec<Cursor>,
    tombstones: Vec<Tombstone>,
    /// Series whose pages are loaded.
    ready: VecDeque<Vec<Source>>,
    pages: PageSet,
    assembler: Assembler,
    current: Option<(SeriesKey, i64)>,
    with_starts: bool,
    exemplars: ExemplarRows,
}

/// The exemplars of the current series.
#[derive(Debug, Default)]
struct ExemplarRows {
    times: Vec<i64>,
    rows: Vec<Exemplar>,
}

/// The place in one file.
#[derive(Debug, Default)]
struct Cursor {
    next_chunk: usize,
    runs: VecDeque<FileRun>,
}

/// A histogram takes as much memory as so many floats.
const WIDE_ROW_COSTS: u64 = 64;

const EVER: (i64, i64) = (i64::MIN, i64::MAX);

impl Merge {
    /// Merges `files`, lowest rank first; all hold rows of one sort.
    ///
    /// # Errors
    /// `Internal` when there is no decompressor to be had.
    pub(in crate::store) fn new(files: Vec<Arc<BlockFile>>, tombstones: Vec<Tombstone>) -> Result<Self> {
        let with_starts = files.iter().any(|file| file.has_starts());
        Ok(Self {
            sort: files.first().map_or(RowSort::Samples, |file| file.sort()),
            cursors: files.iter().map(|_| Cursor::default()).collect(),
            files,
            tombstones,
            ready: VecDeque::new(),
            pages: PageSet::new(with_starts)?,
            assembler: Assembler::default(),
            current: None,
            with_starts,
            exemplars: ExemplarRows::default(),
        })
    }

    /// The next series' rows, ready for a block writer; `None` at the end.
    ///
    /// # Errors
    /// `Corrupt` naming a file; what the object store says. The merge is of no use afterwards.
    pub(in crate::store) async fn next(&mut self) -> Result<Option<RunRows<'_>>> {
        loop {
            if self.ready.is_empty() {
                self.load().await?;
            }
            let Some(sources) = self.ready.pop_front() else { return Ok(None) };
            let Some(Source::File(_, run)) = sources.first() else { continue };
            let (key, id) = (file_key(run), run.id());
            let stores = Stores {
                files: &self.files,
                layers: &[],
                pages: &self.pages,
                range: EVER,
                with_starts: self.with_starts,
            };
            let masks = masks(&self.tombstones, &key.metric, key.labels.as_ref());
            if self.sort == RowSort::Exemplars {
                self.exemplars.read(&self.files, &sources, &masks).await?;
            } else {
                self.assembler.assemble(stores, &sources, &masks)?;
            }
            self.current = Some((key, id));
            if self.run().is_some_and(|run| !run.timestamps.is_empty() || !run.stale_at.is_empty()) {
                break;
            }
        }
        Ok(self.run())
    }

    /// The current series.
    fn run(&self) -> Option<RunRows<'_>> {
        let (key, id) = self.current.as_ref()?;
        let assembler = &self.assembler;
        let (timestamps, rows) = match self.sort {
            RowSort::Samples => {
                let starts = Some(assembler.starts()).filter(|starts| !starts.is_empty());
                (assembler.times(), RowValues::Floats { values: assembler.values(), starts })
            }
            RowSort::Histograms => {
                let (times, rows) = assembler.histograms();
                (times, RowValues::Histograms(rows))
            }
            RowSort::Exemplars => (&self.exemplars.times[..], RowValues::Exemplars(&self.exemplars.rows)),
        };
        let stale_at = if self.sort == RowSort::Samples { assembler.stale_at() } else { &[] };
        Some(RunRows { key, id: *id, timestamps, rows, stale_at })
    }

    /// Writes the next file: as many series as fit into about `max_bytes`, or all that are left. `None` when
    /// nothing was left; then nothing was written and the writer is to be aborted. Call it again for the next file.
    ///
    /// # Errors
    /// As [`Self::next`], and what the object store says. Both the merge and the writer are then of no use.
    pub(in crate::store) async fn write_file(
        &mut self,
        out: &mut ObjectWriter,
        setting: WriterSetting,
        max_bytes: u64,
    ) -> Result<Option<FinishedBlock>> {
        let sort = self.sort;
        let mut writer: Option<BlockWriter<Vec<u8>>> = None;
        while let Some(run) = self.next().await? {
            let writer = match &mut writer {
                Some(writer) => writer,
                none => none.insert(BlockWriter::of(sort, Vec::new(), setting)?),
            };
            writer.push_run(run)?;
            let bytes = writer.drain();
            if !bytes.is_empty() {
                out.write(bytes.into()).await?;
            }
            if writer.bytes_written() >= max_bytes {
                break;
            }
        }
        let Some(writer) = writer else { return Ok(None) };
        let (block, rest) = writer.finish()?;
        out.write(rest.into()).await?;
        Ok(Some(block))
    }

    /// Takes series from the cursors until a chunk of rows is full, and loads their pages.
    async fn load(&mut self) -> Result<()> {
        let mut rows = 0;
        while rows < CHUNK_ROWS {
            self.fill_cursors().await?;
            let Some(sources) = self.take_series() else { break };
            let weight = if self.sort == RowSort::Samples { 1 } else { WIDE_ROW_COSTS };
            rows += sources.iter().map(source_rows).sum::<u64>().max(1) * weight;
            self.ready.push_back(sources);
        }
        if self.sort == RowSort::Exemplars {
            // They are read run by run, through the cache.
            return Ok(());
        }
        self.pages.load(&self.files, self.ready.iter().flatten(), EVER).await
    }

    async fn fill_cursors(&mut self) -> Result<()> {
        for (cursor, file) in self.cursors.iter_mut().zip(&self.files) {
            while cursor.runs.is_empty() && cursor.next_chunk < file.chunk_count() {
                cursor.runs = file.chunk_runs(cursor.next_chunk).await?.into();
                cursor.next_chunk += 1;
            }
        }
        Ok(())
    }

    /// The parts of the smallest series, in rank order.
    fn take_series(&mut self) -> Option<Vec<Source>> {
        let smallest =
            self.cursors.iter().filter_map(|cursor| cursor.runs.front()).min_by(|a, b| compare(a, b))?;
        let smallest = smallest.clone();
        let mut sources = Vec::new();
        for (file, cursor) in self.cursors.iter_mut().enumerate() {
            if let Some(run) = cursor.runs.pop_front_if(|run| compare(run, &smallest) == Ordering::Equal) {
                sources.push(Source::File(file, run));
            }
        }
        debug_assert!(!sources.is_empty(), "the smallest run belongs to a file");
        Some(sources)
    }
}

impl ExemplarRows {
    async fn read(
        &mut self,
        files: &[Arc<BlockFile>],
        sources: &[Source],
        masks: &[(i64, i64)],
    ) -> Result<()> {
        self.rows.clear();
        let mut decoder = PageDecoder::new()?;
        for source in sources {
            if let Source::File(file, run) = source {
                self.rows.extend(read_run(&files[*file], run, &mut decoder).await?);
            }
        }
        let kept = |time: i64| !masks.iter().any(|(from, to)| (*from..=*to).contains(&time));
        self.rows.retain(|one| kept(one.timestamp));
        tidy(&mut self.rows);
        self.times.clear();
        self.times.extend(self.rows.iter().map(|one| one.timestamp));
        Ok(())
    }
}

fn compare(a: &FileRun, b: &FileRun) -> Ordering {
    a.order().cmp(&b.order())
}

fn source_rows(source: &Source) -> u64 {
    match source {
        Source::File(_, run) => run.rows().end - run.rows().start,
        Source::Layer(..) => 0,
    }
}
