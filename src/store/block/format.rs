//! The index block's directory and page sections, byte by byte as `docs/format.md` draws them.
//!
//! ```text
//!  row groups │ chunk 0 … n │ postings, one part per name │ page sections, one per row group │ directory │ footer
//!             └ base                                                                        ▲
//!                                     add.tags and the footer's key-value copy point here ──┘
//! ```
//!
//! Everything in the block has a CRC32C that stands one level higher: parts in the directory, the directory in
//! the tags. It holds no rows and knows no Parquet; it refuses what it cannot prove to be whole.

use super::sort::RowSort;
use crate::error::{Error, Result};

/// First bytes of a directory.
pub(super) const MAGIC: [u8; 8] = *b"QUIPUIDX";
/// The version this code writes and the only one it reads.
pub(super) const VERSION: u16 = 1;
/// Flag: two label sets share a `series_id` under one metric, so rows are sorted by (metric, id) only.
pub(super) const FLAG_COLLISIONS: u16 = 1;
/// Flag: some run has start timestamps.
pub(super) const FLAG_STARTS: u16 = 2;

/// No page is larger; bounds what a reader allocates.
const PAGE_ROWS_LIMIT: u32 = 1 << 20;

/// Where the directory of a block lies in its file: what `add.tags` carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct IndexTag {
    /// File offset of the directory, bytes.
    pub offset: u64,
    /// Length of the directory, bytes.
    pub length: u64,
    /// CRC32C of the directory.
    pub crc: u32,
}

impl IndexTag {
    /// The key of the tag in `add.tags` and in the Parquet footer.
    pub(crate) const KEY: &'static str = "quipu.index";

    /// `offset,length,crc` in decimal.
    pub(crate) fn to_text(self) -> String {
        format!("{},{},{}", self.offset, self.length, self.crc)
    }
}

/// A checked part of the index block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Extent {
    /// Bytes from the block's base.
    pub(super) offset: u64,
    pub(super) length: u32,
    /// CRC32C of the part.
    pub(super) crc: u32,
}

impl Extent {
    /// The bytes of the file, where the offset counts from its start.
    pub(super) fn range(self) -> std::ops::Range<u64> {
        self.offset..self.offset.saturating_add(u64::from(self.length))
    }
}

/// One chunk of at most 4,000 runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChunkEntry {
    pub(super) extent: Extent,
    pub(super) runs: u32,
    pub(super) first_row: u64,
    /// Of rows and stale markers, ms.
    pub(super) min_time: i64,
    pub(super) max_time: i64,
    pub(super) first_id: i64,
    pub(super) first_metric: String,
}

/// The postings of one label name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PostingsEntry {
    pub(super) name: String,
    pub(super) values: u32,
    pub(super) extent: Extent,
}

/// One row group and its page section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupEntry {
    pub(super) first_row: u64,
    pub(super) rows: u32,
    pub(super) pages: Extent,
}

/// What one needs to find anything in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Directory {
    pub(super) flags: u16,
    /// Rows of every page but the last of a row group.
    pub(super) page_rows: u32,
    /// File offset of the index block.
    pub(super) base: u64,
    pub(super) rows: u64,
    pub(super) runs: u64,
    pub(super) last_metric: String,
    pub(super) chunks: Vec<ChunkEntry>,
    /// In name order.
    pub(super) postings: Vec<PostingsEntry>,
    pub(super) groups: Vec<GroupEntry>,
}

impl Directory {
    /// The stored bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.chunks.len() * 80 + self.postings.len() * 40);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.page_rows.to_le_bytes());
        for number in [self.base, self.rows, self.runs] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        push_text(&mut out, &self.last_metric);
        push_count(&mut out, self.chunks.len());
        for chunk in &self.chunks {
            push_extent(&mut out, chunk.extent);
            out.extend_from_slice(&chunk.runs.to_le_bytes());
            out.extend_from_slice(&chunk.first_row.to_le_bytes());
            for number in [chunk.min_time, chunk.max_time, chunk.first_id] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            push_text(&mut out, &chunk.first_metric);
        }
        push_count(&mut out, self.postings.len());
        for entry in &self.postings {
            push_extent(&mut out, entry.extent);
            out.extend_from_slice(&entry.values.to_le_bytes());
            push_text(&mut out, &entry.name);
        }
        push_count(&mut out, self.groups.len());
        for group in &self.groups {
            push_extent(&mut out, group.pages);
            out.extend_from_slice(&group.first_row.to_le_bytes());
            out.extend_from_slice(&group.rows.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads and checks stored bytes: the magic, the version, the CRC, the order of chunks and row groups.
    ///
    /// # Errors
    /// `Corrupt` for damage, `Unsupported` for another version.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut input = Input::checked(bytes)?;
        if input.take(MAGIC.len())? != MAGIC {
            return Err(damaged("the directory's magic bytes are wrong"));
        }
        let version = input.u16()?;
        if version != VERSION {
            return Err(Error::unsupported(format!("index block version {version}")));
        }
        let mut directory = Self { flags: input.u16()?, page_rows: input.u32()?, ..Self::default() };
        (directory.base, directory.rows, directory.runs) = (input.u64()?, input.u64()?, input.u64()?);
        directory.last_metric = input.text()?;
        for _ in 0..input.u32()? {
            directory.chunks.push(ChunkEntry {
                extent: input.extent()?,
                runs: input.u32()?,
                first_row: input.u64()?,
                min_time: input.i64()?,
                max_time: input.i64()?,
                first_id: input.i64()?,
                first_metric: input.text()?,
            });
        }
        for _ in 0..input.u32()? {
            let (extent, values) = (input.extent()?, input.u32()?);
            directory.postings.push(PostingsEntry { name: input.text()?, values, extent });
        }
        for _ in 0..input.u32()? {
            let (pages, first_row) = (input.extent()?, input.u64()?);
            directory.groups.push(GroupEntry { first_row, rows: input.u32()?, pages });
        }
        directory.check()?;
        Ok(directory)
    }

    /// What readers rely on: searches need the order, page arithmetic needs the page size.
    fn check(&self) -> Result<()> {
        let in_order = self.chunks.is_sorted_by(|a, b| {
            (&a.first_metric, a.first_id) <= (&b.first_metric, b.first_id) && a.first_row <= b.first_row
        });
        let mut next_row = 0;
        let groups_fit = self.groups.iter().all(|group| {
            let fits = group.first_row == next_row && group.rows > 0;
            next_row += u64::from(group.rows);
            fits
        });
        if !in_order
            || !groups_fit
            || next_row != self.rows
            || !(1..=PAGE_ROWS_LIMIT).contains(&self.page_rows)
        {
            return Err(damaged("the directory contradicts itself"));
        }
        Ok(())
    }

    /// Whether a flag is set.
    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The position of the row group that holds a row.
    pub(super) fn group_of(&self, row: u64) -> usize {
        debug_assert!(row < self.rows, "row {row} of {}", self.rows);
        self.groups.partition_point(|group| group.first_row <= row) - 1
    }
}

/// The columns that the scan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Column {
    /// `timestamp`
    Timestamp = 0,
    /// `value`
    Value = 1,
    /// `start_timestamp`
    Start = 2,
    /// All columns of a native histogram but its timestamp.
    Histogram = 3,
    /// All columns of an exemplar.
    Exemplar = 4,
}

impl Column {
    /// The columns of a page section that hold it.
    pub(super) fn leaves(self) -> std::ops::Range<usize> {
        match self {
            Self::Timestamp => 0..1,
            Self::Value => 1..2,
            Self::Start => 2..3,
            Self::Histogram => 1..RowSort::Histograms.section_columns(),
            Self::Exemplar => 0..RowSort::Exemplars.section_columns(),
        }
    }
}

/// How the values of a page are laid out; the numbers are Parquet's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum PageEncoding {
    Plain = 0,
    DeltaBinaryPacked = 5,
    ByteStreamSplit = 9,
}

/// How a page is compressed; the numbers are Parquet's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum PageCodec {
    None = 0,
    Zstd = 6,
}

/// One page of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageEntry {
    /// File offset of the page header.
    pub(super) offset: u64,
    /// Header and compressed body, bytes.
    pub(super) length: u32,
    /// Body after decompression, bytes.
    pub(super) raw: u32,
    /// Page header, bytes.
    pub(super) header: u16,
    /// CRC32C of header and compressed body.
    pub(super) crc: u32,
}

/// The pages of one column in one row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnPages {
    pub(super) encoding: PageEncoding,
    pub(super) codec: PageCodec,
    pub(super) pages: Vec<PageEntry>,
}

/// The pages of one row group, one entry for each Parquet column behind `series_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageSection {
    pub(super) columns: Vec<ColumnPages>,
}

impl PageSection {
    /// The stored bytes; the CRC stands in the directory. Pages of a column lie one after the other.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for column in &self.columns {
            out.push(column.encoding as u8);
            out.push(column.codec as u8);
            let first = column.pages.first().map_or(0, |page| page.offset);
            out.extend_from_slice(&first.to_le_bytes());
            push_count(&mut out, column.pages.len());
            for page in &column.pages {
                for number in [page.length, page.raw, page.crc] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
                out.extend_from_slice(&page.header.to_le_bytes());
            }
        }
        out
    }

    /// Reads the `columns` of stored bytes whose CRC was checked.
    ///
    /// # Errors
    /// `Corrupt` when they are cut off or name an unknown encoding.
    pub(super) fn decode(bytes: &[u8], columns: usize) -> Result<Self> {
        let mut input = Input { rest: bytes };
        let section = Self { columns: (0..columns).map(|_| input.column()).collect::<Result<_>>()? };
        if !input.rest.is_empty() {
            return Err(damaged("a page section has a tail"));
        }
        Ok(section)
    }
}

/// Checks a part against the CRC that stands one level higher.
///
/// # Errors
/// `Corrupt` naming the part.
pub(super) fn verify(bytes: &[u8], crc: u32, what: &str) -> Result<()> {
    if crc32c::crc32c(bytes) != crc {
        return Err(damaged(&format!("the checksum of {what} is wrong")));
    }
    Ok(())
}

pub(super) fn damaged(what: &str) -> Error {
    Error::corrupt(what).during("read index block")
}

/// Appends an unsigned LEB128 number.
pub(super) fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low_byte(number) | 0x80);
        number >>= 7;
    }
    out.push(low_byte(number));
}

fn low_byte(number: u64) -> u8 {
    number.to_le_bytes()[0]
}

fn push_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("a block has fewer than 2^32 parts");
    out.extend_from_slice(&count.to_le_bytes());
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn push_extent(out: &mut Vec<u8>, extent: Extent) {
    out.extend_from_slice(&extent.offset.to_le_bytes());
    out.extend_from_slice(&extent.length.to_le_bytes());
    out.extend_from_slice(&extent.crc.to_le_bytes());
}

/// Bytes that are read from the front; every read is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Cuts off the CRC32C at the end and checks it.
    fn checked(bytes: &'a [u8]) -> Result<Self> {
        let (rest, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("the directory is cut off"))?;
        verify(rest, u32::from_le_bytes(*crc), "the directory")?;
        Ok(Self { rest })
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(length).ok_or_else(|| damaged("a part is cut off"))?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or_else(|| damaged("a part is cut off"))?;
        self.rest = tail;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<String> {
        let length = usize::try_from(self.u32()?).expect("u32 fits");
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| damaged("a name is not UTF-8"))?;
        Ok(text.to_owned())
    }

    fn extent(&mut self) -> Result<Extent> {
        Ok(Extent { offset: self.u64()?, length: self.u32()?, crc: self.u32()? })
    }

    /// An unsigned LEB128 number.
    pub(super) fn varint(&mut self) -> Result<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged("a number is too long"))
    }

    fn column(&mut self) -> Result<ColumnPages> {
        let encoding = match self.u8()? {
            0 => PageEncoding::Plain,
            5 => PageEncoding::DeltaBinaryPacked,
            9 => PageEncoding::ByteStreamSplit,
            other => return Err(Error::unsupported(format!("page encoding {other}"))),
        };
        let codec = match self.u8()? {
            0 => PageCodec::None,
            6 => PageCodec::Zstd,
            other => return Err(Error::unsupported(format!("page compression {other}"))),
        };
        let mut offset = self.u64()?;
        let mut pages = Vec::new();
        for _ in 0..self.u32()? {
            let (length, raw, crc) = (self.u32()?, self.u32()?, self.u32()?);
            let header = self.u16()?;
            if u32::from(header) > length {
                return Err(damaged("a page is shorter than its header"));
            }
            pages.push(PageEntry { offset, length, raw, header, crc });
            let end = offset.checked_add(u64::from(length));
            offset = end.ok_or_else(|| damaged("a page lies behind the end of any file"))?;
        }
        Ok(ColumnPages { encoding, codec, pages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fuzz::fuzz;

    fn sample() -> Directory {
        let extent = Extent { offset: 5, length: 6, crc: 7 };
        let chunk = |metric: &str, first_row| ChunkEntry {
            extent,
            runs: 3,
            first_row,
            min_time: -5,
            max_time: 9,
            first_id: -1,
            first_metric: metric.to_owned(),
        };
        Directory {
            flags: FLAG_STARTS,
            page_rows: 20_000,
            base: 100,
            rows: 30,
            runs: 6,
            last_metric: "z".to_owned(),
            chunks: vec![chunk("a", 0), chunk("b", 10)],
            postings: vec![PostingsEntry { name: "job".to_owned(), values: 2, extent }],
            groups: vec![GroupEntry { first_row: 0, rows: 30, pages: extent }],
        }
    }

    #[test]
    fn a_directory_reads_back() -> Result<()> {
        assert_eq!(Directory::decode(&sample().encode())?, sample());
        let tag = IndexTag { offset: 1, length: 2, crc: u32::MAX };
        assert_eq!(tag.to_text(), "1,2,4294967295");
        Ok(())
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let good = sample().encode();
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(Directory::decode(&bad).is_err(), "bit {at}");
        }
        for length in 0..good.len() {
            assert!(Directory::decode(&good[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn hostile_directories_are_errors_and_no_panics() {
        let whole = sample().encode();
        fuzz("index_directory", &[&whole[..whole.len() - 4]], &[], |bytes| {
            let crc = crc32c::crc32c(bytes).to_le_bytes();
            Directory::decode(&[bytes, &crc].concat()).is_ok()
        });
        fuzz("index_pages", &[&section().encode()], &[], |bytes| PageSection::decode(bytes, 3).is_ok());
    }

    #[test]
    fn a_directory_that_contradicts_itself_is_refused() {
        let mut unsorted = sample();
        unsorted.chunks.swap(0, 1);
        let mut gap = sample();
        gap.groups[0].first_row = 1;
        for bad in [unsorted, gap] {
            assert_eq!(
                Directory::decode(&bad.encode()).map_err(|e| e.kind()),
                Err(crate::error::Kind::Corrupt)
            );
        }
    }

    fn section() -> PageSection {
        let page = |offset, length| PageEntry { offset, length, raw: 80, header: 20, crc: 3 };
        let column =
            |encoding, codec| ColumnPages { encoding, codec, pages: vec![page(4, 50), page(54, 60)] };
        PageSection {
            columns: vec![
                column(PageEncoding::DeltaBinaryPacked, PageCodec::Zstd),
                column(PageEncoding::ByteStreamSplit, PageCodec::Zstd),
                column(PageEncoding::Plain, PageCodec::None),
            ],
        }
    }

    #[test]
    fn a_page_section_reads_back() -> Result<()> {
        let section = section();
        assert_eq!(PageSection::decode(&section.encode(), 3)?, section);
        assert!(PageSection::decode(&section.encode()[1..], 3).is_err());
        Ok(())
    }
}
