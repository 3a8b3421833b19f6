//! The columns `metric` and `series_id`: a dictionary and runs of equal values.
//!
//! Rows are sorted by both, so a page is a handful of RLE runs. Pushing every row through a hashing dictionary
//! encoder would cost more than all other columns together; here a run of rows is one step.

use std::collections::HashMap;
use std::sync::Arc;

use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, Type, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

use super::format::push_varint;
use super::page::{ChunkBytes, PageHead};

/// Collects one row group of a column whose values repeat.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    codes: HashMap<Vec<u8>, u32>,
    /// Plain-encoded values in the order of their codes.
    dictionary: Vec<Vec<u8>>,
    runs: Vec<(u32, usize)>,
}

/// How values are compared and laid out in the dictionary page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RepeatKind {
    Text,
    Int64,
}

impl Repeats {
    /// Appends `rows` rows of one value: UTF-8, or eight little-endian bytes.
    pub(super) fn push(&mut self, value: &[u8], rows: usize) {
        debug_assert!(rows > 0, "a run without rows has no place in the column");
        if let Some((last, count)) = self.runs.last_mut()
            && self.dictionary[*last as usize] == value
        {
            *count += rows;
            return;
        }
        let next = u32::try_from(self.dictionary.len()).expect("a row group has fewer than 2^32 values");
        let code = match self.codes.get(value) {
            Some(code) => *code,
            None => {
                self.codes.insert(value.to_vec(), next);
                self.dictionary.push(value.to_vec());
                next
            }
        };
        self.runs.push((code, rows));
    }

    /// Encodes the row group and forgets it.
    pub(super) fn finish(
        &mut self,
        column: &ColumnDescPtr,
        kind: RepeatKind,
        page_rows: usize,
        level: i32,
    ) -> Result<(ChunkBytes, ColumnCloseResult), ParquetError> {
        let group = std::mem::take(self);
        let mut out = Encoded::new(kind, level);
        let plain = group.dictionary.iter().flat_map(|value| kind.plain(value)).collect::<Vec<u8>>();
        out.page(PageType::DICTIONARY_PAGE, Encoding::PLAIN, group.dictionary.len(), &plain)?;
        let last_code = u32::try_from(group.dictionary.len()).unwrap_or(0).saturating_sub(1);
        let width = (u32::BITS - last_code.leading_zeros()).max(1);
        let mut runs = group.runs.iter().copied().peekable();
        let mut left = runs.next();
        while left.is_some() {
            let mut page = vec![u8::try_from(width).expect("at most 32")];
            let (mut rows, mut bounds) = (0, None);
            while rows < page_rows
                && let Some((code, count)) = left
            {
                let taken = count.min(page_rows - rows);
                push_rle(&mut page, code, taken, width);
                kind.widen(&mut bounds, &group.dictionary[code as usize]);
                rows += taken;
                left = if taken < count { Some((code, count - taken)) } else { runs.next() };
            }
            out.data_page(rows, &page, bounds.expect("a page has rows"))?;
        }
        out.close(column)
    }
}

/// An RLE run of the hybrid encoding: its length shifted by one, the code in as few bytes as the width asks.
fn push_rle(out: &mut Vec<u8>, code: u32, rows: usize, width: u32) {
    push_varint(out, u64::try_from(rows).expect("usize fits u64") << 1);
    out.extend_from_slice(&code.to_le_bytes()[..width.div_ceil(8) as usize]);
}

type Bounds = (Vec<u8>, Vec<u8>);

impl RepeatKind {
    fn plain(self, value: &[u8]) -> Vec<u8> {
        match self {
            Self::Int64 => value.to_vec(),
            Self::Text => {
                let length = u32::try_from(value.len()).expect("a metric's name is short");
                [&length.to_le_bytes(), value].concat()
            }
        }
    }

    fn less(self, a: &[u8], b: &[u8]) -> bool {
        match self {
            Self::Text => a < b,
            Self::Int64 => int(a) < int(b),
        }
    }

    fn widen(self, bounds: &mut Option<Bounds>, value: &[u8]) {
        match bounds {
            None => *bounds = Some((value.to_vec(), value.to_vec())),
            Some((min, max)) => {
                if self.less(value, min) {
                    *min = value.to_vec();
                }
                if self.less(max, value) {
                    *max = value.to_vec();
                }
            }
        }
    }

    fn statistics(self, (min, max): &Bounds) -> Statistics {
        match self {
            Self::Text => {
                let text = |bytes: &[u8]| Some(ByteArray::from(bytes.to_vec()));
                Statistics::byte_array(text(min), text(max), None, Some(0), false)
            }
            Self::Int64 => Statistics::int64(Some(int(min)), Some(int(max)), None, Some(0), false),
        }
    }
}

fn int(bytes: &[u8]) -> i64 {
    i64::from_le_bytes(bytes.try_into().expect("eight bytes were pushed"))
}

/// The column chunk under construction and its metadata.
struct Encoded {
    kind: RepeatKind,
    level: i32,
    chunk: ChunkBytes,
    rows: usize,
    raw_bytes: usize,
    data_offset: Option<usize>,
    data_pages: i32,
    bounds: Option<Bounds>,
    sorted: bool,
    column_index: ColumnIndexBuilder,
    offset_index: OffsetIndexBuilder,
}

impl Encoded {
    fn new(kind: RepeatKind, level: i32) -> Self {
        let physical = if kind == RepeatKind::Text { Type::BYTE_ARRAY } else { Type::INT64 };
        Self {
            kind,
            level,
            chunk: ChunkBytes::default(),
            rows: 0,
            raw_bytes: 0,
            data_offset: None,
            data_pages: 0,
            bounds: None,
            sorted: true,
            column_index: ColumnIndexBuilder::new(physical),
            offset_index: OffsetIndexBuilder::new(),
        }
    }

    fn page(
        &mut self,
        kind: PageType,
        encoding: Encoding,
        values: usize,
        raw: &[u8],
    ) -> Result<(usize, usize), ParquetError> {
        let body = zstd::bulk::compress(raw, self.level)?;
        let values = u32::try_from(values).expect("a page has few values");
        let (offset, length) = self.chunk.push(PageHead { kind, values, encoding, raw: raw.len() }, &body)?;
        self.raw_bytes += length - body.len() + raw.len();
        Ok((offset, length))
    }

    fn data_page(&mut self, rows: usize, raw: &[u8], bounds: Bounds) -> Result<(), ParquetError> {
        let (offset, length) = self.page(PageType::DATA_PAGE, Encoding::RLE_DICTIONARY, rows, raw)?;
        self.data_offset.get_or_insert(offset);
        self.data_pages += 1;
        self.rows += rows;
        self.offset_index.append_offset_and_size(signed(offset), i32::try_from(length).expect("short"));
        self.offset_index.append_row_count(signed(rows));
        self.sorted &= self.bounds.as_ref().is_none_or(|all| !self.kind.less(&bounds.0, &all.1));
        self.kind.widen(&mut self.bounds, &bounds.0);
        self.kind.widen(&mut self.bounds, &bounds.1);
        self.column_index.append(false, bounds.0, bounds.1, 0);
        Ok(())
    }

    fn close(mut self, column: &ColumnDescPtr) -> Result<(ChunkBytes, ColumnCloseResult), ParquetError> {
        let order = if self.sorted { BoundaryOrder::ASCENDING } else { BoundaryOrder::UNORDERED };
        self.column_index.set_boundary_order(order);
        let bounds = self.bounds.as_ref().expect("a row group has rows");
        let stats = |page_type, encoding, count| PageEncodingStats { page_type, encoding, count };
        let metadata = ColumnChunkMetaData::builder(Arc::clone(column))
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(self.level)?))
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
            .set_page_encoding_stats(vec![
                stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1),
                stats(PageType::DATA_PAGE, Encoding::RLE_DICTIONARY, self.data_pages),
            ])
            .set_total_compressed_size(signed(self.chunk.bytes.len()))
            .set_total_uncompressed_size(signed(self.raw_bytes))
            .set_num_values(signed(self.rows))
            .set_dictionary_page_offset(Some(0))
            .set_data_page_offset(signed(self.data_offset.unwrap_or(0)))
            .set_statistics(self.kind.statistics(bounds))
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: u64::try_from(self.chunk.bytes.len()).expect("usize fits u64"),
            rows_written: u64::try_from(self.rows).expect("usize fits u64"),
            metadata,
            bloom_filter: None,
            column_index: Some(self.column_index.build()?),
            offset_index: Some(self.offset_index.build()),
        };
        Ok((self.chunk, close))
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).expect("sizes in memory fit 63 bits")
}
