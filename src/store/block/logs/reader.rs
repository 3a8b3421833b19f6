//! One file of log lines: open it, ask its index, read row groups.
//!
//! The index, the page indexes and the footer lie together at the file's end and are read with one request.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::basic::Compression;
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataPushDecoder};

use super::index::{Identifier, LogIndex, Segment};
use super::tokens::TokenPart;
use super::writer::LogPlace;
use crate::error::{Error, Result};
use crate::model::Labels;
use crate::runtime::Objects;
use crate::store::block::cache::ScanCache;
use crate::store::block::format::{Extent, damaged, verify};

/// What a hostile tag may ask for: index, page indexes and footer of a file.
const TAIL_LIMIT: u64 = 1 << 30;

/// Columns that a reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogColumns(u8);

impl LogColumns {
    /// Nothing but the number of rows.
    pub const NONE: Self = Self(0);
    /// The time.
    pub const TIMESTAMP: Self = Self(1);
    /// The severity.
    pub const SEVERITY: Self = Self(2);
    /// The line.
    pub const BODY: Self = Self(4);
    /// The trace.
    pub const TRACE_ID: Self = Self(8);
    /// The span.
    pub const SPAN_ID: Self = Self(16);
    /// The rest of the line's metadata.
    pub const ATTRIBUTES: Self = Self(32);
    /// All of them.
    pub const ALL: Self = Self(63);

    /// Those of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` are wanted.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The columns' names in the files.
    fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(LogColumns, &str); 7] = [
            (LogColumns::TIMESTAMP, "timestamp"),
            (LogColumns::TIMESTAMP, "timestamp_ns_rest"),
            (LogColumns::SEVERITY, "severity"),
            (LogColumns::BODY, "body"),
            (LogColumns::TRACE_ID, "trace_id"),
            (LogColumns::SPAN_ID, "span_id"),
            (LogColumns::ATTRIBUTES, "attributes"),
        ];
        NAMES.into_iter().filter(move |(column, _)| self.has(*column)).map(|(_, name)| name)
    }
}

/// An opened file.
#[derive(Debug)]
pub(crate) struct LogFile {
    objects: Objects,
    path: Arc<str>,
    cache: ScanCache,
    /// Names the file in the cache.
    number: u64,
    index: LogIndex,
    footer: ArrowReaderMetadata,
}

/// A page of lines: their numbers in the row group, and its bytes in the file.
type PlacedPage = (Range<u32>, Range<u64>);

impl LogFile {
    /// Opens a file by the tags of its `add` action, or finds it in the cache.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` when the file is not what the tag promises; `Unsupported` for a newer version.
    pub(crate) async fn open(
        objects: &Objects,
        path: &str,
        LogPlace { index: tag, footer_crc, size }: LogPlace,
        cache: &ScanCache,
    ) -> Result<Arc<Self>> {
        if let Some(file) = cache.logs().get(path) {
            return Ok(file);
        }
        let at_file = |e: Error| e.with("file", path);
        let tail = size.checked_sub(tag.offset).filter(|tail| tag.length <= *tail && *tail <= TAIL_LIMIT);
        if tail.is_none() {
            return Err(at_file(damaged("the index tag is out of range")));
        }
        let bytes = objects.get_range(path, tag.offset..size).await.map_err(at_file)?;
        let directory = usize::try_from(tag.length).expect("below the limit of the tail");
        verify(&bytes[..directory], tag.crc, "the index of log lines").map_err(at_file)?;
        verify(&bytes[directory..], footer_crc, "the footer").map_err(at_file)?;
        let index = LogIndex::decode(&bytes[..directory]).map_err(at_file)?;
        let mut decoder = ParquetMetaDataPushDecoder::try_new(size)
            .map_err(unreadable)
            .map_err(at_file)?
            .with_page_index_policy(PageIndexPolicy::Optional);
        decoder.push_range(tag.offset..size, bytes.clone()).map_err(unreadable).map_err(at_file)?;
        let DecodeResult::Data(metadata) = decoder.try_decode().map_err(unreadable).map_err(at_file)? else {
            return Err(at_file(damaged("the footer lies in front of the index")));
        };
        let groups = metadata.num_row_groups();
        let footer = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new());
        let footer = footer.map_err(unreadable).map_err(at_file)?;
        let rows = |group: usize| footer.metadata().row_group(group).num_rows();
        let fits = groups == index.groups.len()
            && index.groups.iter().enumerate().all(|(at, group)| i64::from(group.rows()) == rows(at));
        if !fits {
            return Err(at_file(damaged("index and footer tell of other row groups")));
        }
        let (number, path) = (cache.file_number(), Arc::<str>::from(path));
        let weight = bytes.len() * 4 + 1_024;
        let (objects, cache) = (objects.clone(), cache.clone());
        let file = Arc::new(Self { objects, path, cache, number, index, footer });
        file.cache.logs().insert(Arc::clone(&file.path), Arc::clone(&file), weight);
        Ok(file)
    }

    /// The object's path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The streams in file order.
    pub(crate) fn streams(&self) -> &[Labels] {
        &self.index.streams
    }

    /// Number of row groups.
    pub(crate) fn groups(&self) -> usize {
        self.index.groups.len()
    }

    /// The streams of a row group and where their lines are.
    pub(crate) fn segments(&self, group: usize) -> &[Segment] {
        &self.index.groups[group].segments
    }

    /// Which of some row groups may have a line that contains all needles.
    ///
    /// # Errors
    /// `Corrupt` naming the file; what the object store says.
    pub(crate) async fn may_contain(&self, groups: &[usize], needles: &[String]) -> Result<Vec<usize>> {
        if needles.is_empty() {
            return Ok(groups.to_vec());
        }
        let mut parts: Vec<Option<Arc<TokenPart>>> =
            groups.iter().map(|group| self.cache.tokens().get(&(self.number, *group))).collect();
        let missing: Vec<usize> = (0..groups.len()).filter(|at| parts[*at].is_none()).collect();
        if !missing.is_empty() {
            let ranges: Vec<_> = missing.iter().map(|at| self.tokens_at(groups[*at])).collect();
            let read = self.objects.get_ranges(&self.path, &ranges).await?;
            for (at, bytes) in missing.into_iter().zip(read) {
                parts[at] =
                    Some(self.keep_tokens(groups[at], &bytes).map_err(|e| e.with("file", &self.path))?);
            }
        }
        let survives = |part: &Option<Arc<TokenPart>>| {
            part.as_ref().is_none_or(|part| needles.iter().all(|needle| part.may_contain(needle)))
        };
        Ok(groups.iter().zip(&parts).filter(|(_, part)| survives(part)).map(|(group, _)| *group).collect())
    }

    /// Which of some row groups may have a line with an identifier.
    ///
    /// # Errors
    /// As [`Self::may_contain`].
    pub(crate) async fn may_have(&self, groups: &[usize], of: Identifier, id: &[u8]) -> Result<Vec<usize>> {
        let place = |group: usize| {
            let [trace, span] = self.index.groups[group].filters;
            Some((group, if of == Identifier::Trace { trace } else { span }))
                .filter(|(_, place)| place.length > 0)
        };
        let places: Vec<(usize, Extent)> = groups.iter().filter_map(|group| place(*group)).collect();
        let ranges: Vec<_> = places.iter().map(|(_, place)| place.range()).collect();
        let mut found = Vec::new();
        for ((group, place), bytes) in places.into_iter().zip(self.fetch(&ranges).await?) {
            verify(&bytes, place.crc, "a filter of identifiers").map_err(|e| e.with("file", &self.path))?;
            let filter = Sbbf::from_bytes(&bytes).map_err(|e| self.named(e))?;
            if filter.check(id) {
                found.push(group);
            }
        }
        Ok(found)
    }

    fn tokens_at(&self, group: usize) -> Range<u64> {
        self.index.groups[group].tokens.range()
    }

    fn keep_tokens(&self, group: usize, bytes: &[u8]) -> Result<Arc<TokenPart>> {
        verify(bytes, self.index.groups[group].tokens.crc, "the tokens of a row group")?;
        let part = Arc::new(TokenPart::decode(bytes)?);
        self.cache.tokens().insert((self.number, group), Arc::clone(&part), part.weight());
        Ok(part)
    }

    /// Begins to read some rows of a row group: `ranges` ascend and do not overlap.
    ///
    /// # Errors
    /// `Corrupt` when the footer does not fit the columns.
    pub(crate) fn read(
        self: &Arc<Self>,
        group: usize,
        ranges: impl Iterator<Item = Range<usize>>,
        columns: LogColumns,
        batch_rows: usize,
    ) -> Result<LogGroup> {
        let total = self.index.groups[group].rows() as usize;
        let mask = ProjectionMask::columns(self.footer.parquet_schema(), columns.names());
        let decoder = ParquetPushDecoderBuilder::new_with_metadata(self.footer.clone())
            .with_row_groups(vec![group])
            .with_row_selection(RowSelection::from_consecutive_ranges(ranges, total))
            .with_projection(mask)
            .with_batch_size(batch_rows)
            .build();
        Ok(LogGroup { decoder: decoder.map_err(|e| self.named(e))?, file: Arc::clone(self) })
    }

    /// How the lines of a row group are packed, and its pages.
    ///
    /// # Errors
    /// `Corrupt` when the footer has no page index or one that does not fit.
    pub(super) fn line_pages(&self, group: usize) -> Result<(Compression, Vec<PlacedPage>)> {
        let bad = || damaged("the footer does not say where the pages of log lines are");
        let schema = self.footer.parquet_schema();
        let column = schema.columns().iter().position(|column| column.name() == "body").ok_or_else(bad)?;
        let metadata = self.footer.metadata();
        let index = metadata.offset_index().and_then(|all| all.get(group)?.get(column)).ok_or_else(bad)?;
        let pages = index.page_locations();
        let rows = i64::from(self.index.groups[group].rows());
        let ends = pages.iter().skip(1).map(|page| page.first_row_index).chain([rows]);
        let placed = pages.iter().zip(ends).map(|(page, end)| {
            let row = |row: i64| u32::try_from(row).ok();
            let (start, length) =
                (u64::try_from(page.offset).ok()?, u64::try_from(page.compressed_page_size).ok()?);
            let rows = row(page.first_row_index)?..row(end)?;
            (rows.start <= rows.end).then_some((rows, start..start.checked_add(length)?))
        });
        let placed = placed.collect::<Option<Vec<_>>>().ok_or_else(bad)?;
        Ok((metadata.row_group(group).column(column).compression(), placed))
    }

    /// Some ranges of the file.
    pub(super) async fn fetch(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.objects.get_ranges(&self.path, ranges).await.map_err(|e| e.with("file", &self.path))
    }

    fn named(&self, error: ParquetError) -> Error {
        unreadable(error).with("file", &self.path)
    }
}

fn unreadable(error: ParquetError) -> Error {
    Error::corrupt("not a readable Parquet file").during("read log lines").caused_by(error)
}

/// Rows of a row group on their way.
#[derive(Debug)]
pub(crate) struct LogGroup {
    decoder: ParquetPushDecoder,
    file: Arc<LogFile>,
}

impl LogGroup {
    /// The next rows, under the columns' names in the files.
    ///
    /// # Errors
    /// `Corrupt` naming the file; what the object store says.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            match self.decoder.try_decode().map_err(|e| self.file.named(e))? {
                DecodeResult::Data(batch) => return Ok(Some(batch)),
                DecodeResult::Finished => return Ok(None),
                DecodeResult::NeedsData(ranges) => {
                    let data = self.file.fetch(&ranges).await?;
                    self.decoder.push_ranges(ranges, data).map_err(|e| self.file.named(e))?;
                }
            }
        }
    }
}
