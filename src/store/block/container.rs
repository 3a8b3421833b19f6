//! The frame of a Parquet file: magic, row groups of finished column chunks, any bytes of ours, page indexes,
//! footer.
//!
//! The crate's `SerializedFileWriter` fixes `sorting_columns` before the first row; ours are known after the
//! last (colliding ids), so the row groups are kept here and the footer is written from them.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaDataBuilder, ParquetMetaDataWriter,
    RowGroupMetaData, SortingColumn,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::SchemaDescPtr;

use super::format::Extent;
use super::index::extent;
use super::page::ChunkBytes;
use crate::error::{Error, Result};

const CREATED_BY: &str = concat!("quipu version ", env!("CARGO_PKG_VERSION"));
const MAGIC: &[u8] = b"PAR1";

/// Where the parts of a row group lie in the file.
#[derive(Debug)]
pub(super) struct Placed {
    /// The file offset of each column chunk.
    pub(super) starts: Vec<u64>,
    /// The bloom filters by column, offsets from the start of the file.
    pub(super) filters: Vec<(usize, Extent)>,
}

/// Writes one Parquet file front to back.
pub(super) struct Container<W: Write> {
    out: TrackedWrite<Shared<W>>,
    shared: Shared<W>,
    schema: SchemaDescPtr,
    rows: i64,
    groups: Vec<RowGroupMetaData>,
    column_indexes: Vec<Vec<ColumnIndexMetaData>>,
    offset_indexes: Vec<Vec<OffsetIndexMetaData>>,
}

impl<W: Write> std::fmt::Debug for Container<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container").field("groups", &self.groups.len()).finish_non_exhaustive()
    }
}

impl<W: Write> Container<W> {
    pub(super) fn new(out: W, schema: SchemaDescPtr) -> Result<Self> {
        let shared = Shared(Arc::new(Mutex::new(Slot { inner: out, written: 0, failed: None })));
        let mut out = TrackedWrite::new(shared.clone());
        out.write_all(MAGIC)?;
        let (groups, column_indexes, offset_indexes) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { out, shared, schema, rows: 0, groups, column_indexes, offset_indexes })
    }

    /// The file offset of the next byte.
    pub(super) fn position(&self) -> u64 {
        u64::try_from(self.out.bytes_written()).expect("usize fits u64")
    }

    /// Appends bytes that belong to no row group.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Appends a row group; returns where its parts lie.
    pub(super) fn row_group(&mut self, columns: Vec<(ChunkBytes, ColumnCloseResult)>) -> Result<Placed> {
        let file_offset = signed(self.position());
        let (mut starts, mut metadata) = (Vec::new(), Vec::new());
        let (mut column_index, mut offset_index) = (Vec::new(), Vec::new());
        let (mut rows, mut raw_bytes) = (0, 0);
        let (mut filters, mut placed) = (Vec::new(), Vec::new());
        for (chunk, close) in columns {
            let start = self.position();
            starts.push(start);
            self.out.write_all(&chunk.bytes)?;
            rows = i64::try_from(close.rows_written).expect("a row group has few rows");
            raw_bytes += close.metadata.uncompressed_size();
            filters.extend(close.bloom_filter.map(|filter| (metadata.len(), filter)));
            metadata.push(moved(close.metadata, signed(start)).map_err(failed)?);
            column_index.push(close.column_index.unwrap_or(ColumnIndexMetaData::NONE));
            let mut offsets =
                close.offset_index.ok_or_else(|| Error::internal("a column without its offset index"))?;
            offsets.page_locations.iter_mut().for_each(|page| page.offset += signed(start));
            offset_index.push(offsets);
        }
        for (column, filter) in filters {
            let offset = signed(self.position());
            let mut bytes = Vec::new();
            filter.write(&mut bytes).map_err(failed)?;
            placed.push((column, Extent { offset: self.position(), ..extent(0, &bytes)? }));
            self.out.write_all(&bytes)?;
            let found: ColumnChunkMetaData = metadata.remove(column);
            let found = found.into_builder().set_bloom_filter_offset(Some(offset));
            let found = found.set_bloom_filter_length(i32::try_from(bytes.len()).ok());
            metadata.insert(column, found.build().map_err(failed)?);
        }
        let ordinal = i16::try_from(self.groups.len())
            .map_err(|_| Error::internal("a file has more row groups than Parquet can number"))?;
        let group = RowGroupMetaData::builder(Arc::clone(&self.schema))
            .set_column_metadata(metadata)
            .set_total_byte_size(raw_bytes)
            .set_num_rows(rows)
            .set_ordinal(ordinal)
            .set_file_offset(file_offset);
        self.groups.push(group.build().map_err(failed)?);
        self.column_indexes.push(column_index);
        self.offset_indexes.push(offset_index);
        self.rows += rows;
        Ok(Placed { starts, filters: placed })
    }

    /// Writes page indexes and footer. Returns the output and the file's size in bytes.
    pub(super) fn finish(mut self, sorted_by: &[i32], pairs: Vec<(String, String)>) -> Result<(W, u64)> {
        let sorting = |column_idx| SortingColumn { column_idx, descending: false, nulls_first: false };
        let sorting: Vec<_> = sorted_by.iter().map(|column| sorting(*column)).collect();
        let groups = std::mem::take(&mut self.groups).into_iter();
        let groups =
            groups.map(|group| group.into_builder().set_sorting_columns(Some(sorting.clone())).build());
        let groups = groups.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let pairs = pairs.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
        let created_by = Some(CREATED_BY.to_owned());
        let file = FileMetaData::new(1, self.rows, created_by, Some(pairs), Arc::clone(&self.schema), None);
        let indexed = !groups.is_empty();
        let metadata = ParquetMetaDataBuilder::new(file)
            .set_row_groups(groups)
            .set_column_index(indexed.then_some(self.column_indexes))
            .set_offset_index(indexed.then_some(self.offset_indexes))
            .build();
        ParquetMetaDataWriter::new_with_tracked(self.out, &metadata).finish().map_err(failed)?;
        self.shared.into_output()
    }
}

impl Container<Vec<u8>> {
    /// Takes what has reached the output, so that a long file need not be held in memory.
    pub(super) fn drain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).inner)
    }
}

/// The same column chunk, `by` bytes further into the file.
fn moved(metadata: ColumnChunkMetaData, by: i64) -> Result<ColumnChunkMetaData, ParquetError> {
    let (data, dictionary) = (metadata.data_page_offset(), metadata.dictionary_page_offset());
    metadata
        .into_builder()
        .set_data_page_offset(data + by)
        .set_dictionary_page_offset(dictionary.map(|offset| offset + by))
        .build()
}

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).expect("a file is smaller than 2^63 bytes")
}

/// A failure of the Parquet crate while writing: a defect or a full disk.
pub(super) fn failed(error: ParquetError) -> Error {
    Error::internal("the Parquet encoder failed").during("write block").caused_by(error)
}

/// An output that can be had back after the metadata writer swallowed it. Its buffer flushes on drop, where an
/// error would be lost: it is kept here.
struct Shared<W>(Arc<Mutex<Slot<W>>>);

struct Slot<W> {
    inner: W,
    written: u64,
    failed: Option<std::io::Error>,
}

impl<W> Clone for Shared<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W> Shared<W> {
    /// The output and how many bytes reached it.
    fn into_output(self) -> Result<(W, u64)> {
        let slot = Arc::into_inner(self.0).ok_or_else(|| Error::internal("the output is still shared"))?;
        let slot = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        match slot.failed {
            Some(error) => Err(error.into()),
            None => Ok((slot.inner, slot.written)),
        }
    }
}

impl<W: Write> Write for Shared<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.inner.write(bytes) {
            Ok(written) => {
                slot.written += u64::try_from(written).expect("usize fits u64");
                Ok(written)
            }
            Err(error) => {
                if error.kind() != std::io::ErrorKind::Interrupted {
                    slot.failed = Some(std::io::Error::new(error.kind(), error.to_string()));
                }
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).inner.flush()
    }
}
