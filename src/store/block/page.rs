//! Parquet pages with checksums.
//!
//! parquet 59 reads page CRCs but writes none, so the pages of its column encoders pass through [`PageSink`],
//! which writes the header (Thrift compact protocol) itself and keeps one column chunk in memory. What it knows
//! about each page goes to the index block, so that a scan needs neither footer nor offset index.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parquet::basic::{Encoding, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter};
use parquet::errors::{ParquetError, Result as ParquetResult};

use super::format::{Input, PageEntry, damaged};
use crate::error::Result;

/// One column chunk as it will stand in the file, and its data pages with offsets from its first byte.
#[derive(Debug, Default)]
pub(super) struct ChunkBytes {
    pub(super) bytes: Vec<u8>,
    pub(super) pages: Vec<PageEntry>,
}

/// What a page header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageHead {
    pub(super) kind: PageType,
    pub(super) values: u32,
    pub(super) encoding: Encoding,
    /// Body before compression, bytes.
    pub(super) raw: usize,
}

impl ChunkBytes {
    /// Appends a page; returns its offset and length with the header.
    pub(super) fn push(&mut self, head: PageHead, body: &[u8]) -> ParquetResult<(usize, usize)> {
        let offset = self.bytes.len();
        push_header(&mut self.bytes, head, body)?;
        let header = self.bytes.len() - offset;
        self.bytes.extend_from_slice(body);
        let length = self.bytes.len() - offset;
        if head.kind == PageType::DATA_PAGE {
            self.pages.push(PageEntry {
                offset: u64::try_from(offset).expect("usize fits u64"),
                length: narrow(length)?,
                raw: narrow(head.raw)?,
                header: u16::try_from(header).expect("a header of a dozen numbers is short"),
                crc: crc32c::crc32c(&self.bytes[offset..]),
            });
        }
        Ok((offset, length))
    }
}

fn narrow<T: TryFrom<usize>>(number: usize) -> ParquetResult<T> {
    T::try_from(number).map_err(|_| ParquetError::General(format!("a page of {number} bytes is too large")))
}

/// Takes a column encoder's pages. Clones share the bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct PageSink(Arc<Mutex<ChunkBytes>>);

impl PageSink {
    /// The chunk, once the encoder is closed.
    pub(super) fn take(&self) -> ChunkBytes {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, ChunkBytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PageWriter for PageSink {
    fn write_page(&mut self, page: CompressedPage) -> ParquetResult<PageWriteSpec> {
        if matches!(page.compressed_page(), Page::DataPageV2 { .. }) {
            return Err(ParquetError::NYI("data page v2 is not written".to_owned()));
        }
        let head = PageHead {
            kind: page.page_type(),
            values: page.num_values(),
            encoding: page.encoding(),
            raw: page.uncompressed_size(),
        };
        let (offset, length) = self.lock().push(head, page.data())?;
        let header = length - page.data().len();
        let mut spec = PageWriteSpec::new();
        spec.page_type = head.kind;
        // Sizes count the header, as the crate's own page writer counts them.
        spec.uncompressed_size = head.raw + header;
        spec.compressed_size = length;
        spec.num_values = head.values;
        spec.offset = narrow(offset)?;
        spec.bytes_written = narrow(length)?;
        Ok(spec)
    }

    fn close(&mut self) -> ParquetResult<()> {
        Ok(())
    }
}

/// `PageHeader` of parquet.thrift: type, sizes, CRC-32 of the body, and the header of its kind.
fn push_header(out: &mut Vec<u8>, head: PageHead, body: &[u8]) -> ParquetResult<()> {
    let dictionary = head.kind == PageType::DICTIONARY_PAGE;
    let values: i32 =
        i32::try_from(head.values).map_err(|_| ParquetError::General("2^31 values".to_owned()))?;
    let encoding = encoding_number(head.encoding)?;
    push_i32(out, 1, if dictionary { 2 } else { 0 });
    push_i32(out, 1, narrow(head.raw)?);
    push_i32(out, 1, narrow(body.len())?);
    push_i32(out, 1, crc32fast::hash(body).cast_signed());
    // Field 5 is the data page's header, field 7 the dictionary page's.
    out.push(if dictionary { 3 } else { 1 } << 4 | STRUCT);
    push_i32(out, 1, values);
    push_i32(out, 1, encoding);
    if !dictionary {
        push_i32(out, 1, RLE);
        push_i32(out, 1, RLE);
    }
    out.extend_from_slice(&[STOP, STOP]);
    Ok(())
}

/// Reads what [`push_header`] wrote: the head of a data page and its body, whose CRC-32 is checked.
pub(super) fn read_header(page: &[u8]) -> Result<(PageHead, &[u8])> {
    let odd = || damaged("a page header is not one that is written");
    let mut input = Input { rest: page };
    let field = |input: &mut Input<'_>| -> Result<i32> {
        if input.take(1)? != [1 << 4 | I32] {
            return Err(odd());
        }
        let zigzag = u32::try_from(input.varint()?).map_err(|_| odd())?;
        Ok((zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed()))
    };
    let size = |number: i32| usize::try_from(number).map_err(|_| odd());
    let (kind, raw, length) = (field(&mut input)?, size(field(&mut input)?)?, size(field(&mut input)?)?);
    let crc = field(&mut input)?.cast_unsigned();
    if kind != 0 || input.take(1)? != [1 << 4 | STRUCT] {
        return Err(odd());
    }
    let (values, encoding) = (field(&mut input)?, field(&mut input)?);
    let levels = [field(&mut input)?, field(&mut input)?];
    if levels != [RLE, RLE] || input.take(2)? != [STOP, STOP] || input.rest.len() != length {
        return Err(odd());
    }
    let encoding = ENCODINGS.iter().find(|(_, number)| *number == encoding).ok_or_else(odd)?.0;
    if crc32fast::hash(input.rest) != crc {
        return Err(damaged("the checksum of a page is wrong"));
    }
    let values = u32::try_from(values).map_err(|_| odd())?;
    Ok((PageHead { kind: PageType::DATA_PAGE, values, encoding, raw }, input.rest))
}

const I32: u8 = 5;
const STRUCT: u8 = 12;
const STOP: u8 = 0;
const RLE: i32 = 3;

/// A field whose number is `delta` after the one before: zigzag LEB128.
fn push_i32(out: &mut Vec<u8>, delta: u8, value: i32) {
    out.push(delta << 4 | I32);
    let zigzag = (value << 1) ^ (value >> 31);
    super::format::push_varint(out, u64::from(zigzag.cast_unsigned()));
}

/// The encodings of pages and their numbers in parquet.thrift.
const ENCODINGS: [(Encoding, i32); 7] = [
    (Encoding::PLAIN, 0),
    (Encoding::RLE, RLE),
    (Encoding::DELTA_BINARY_PACKED, 5),
    (Encoding::DELTA_LENGTH_BYTE_ARRAY, 6),
    (Encoding::DELTA_BYTE_ARRAY, 7),
    (Encoding::RLE_DICTIONARY, 8),
    (Encoding::BYTE_STREAM_SPLIT, 9),
];

fn encoding_number(encoding: Encoding) -> ParquetResult<i32> {
    let found = ENCODINGS.iter().find(|(known, _)| *known == encoding);
    found.map(|(_, number)| *number).ok_or_else(|| ParquetError::NYI(format!("page encoding {encoding}")))
}
