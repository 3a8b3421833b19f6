//! Page bytes to values: checksum, decompression, `BYTE_STREAM_SPLIT`, `DELTA_BINARY_PACKED`,
//! PLAIN.
//!
//! Our own decoders for the three encodings that we write: twice as fast as the generic column reader on flat
//! required columns, and no Thrift on the way, because the index block says where a page's body begins. Bytes
//! that do not decode to exactly the rows of the page are errors, never panics.

use super::columns::NO_START;
use super::format::{ColumnPages, Input, PageCodec, PageEncoding, PageEntry, damaged, verify};
use crate::error::Result;

/// A page decodes to at most this: 20,000 rows of eight bytes and their levels stay far below.
const PAGE_RAW_LIMIT: u32 = 16 << 20;

/// Decodes pages; keeps its decompression context and scratch buffer.
pub(crate) struct PageDecoder {
    zstd: zstd::bulk::Decompressor<'static>,
    raw: Vec<u8>,
}

impl std::fmt::Debug for PageDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageDecoder").field("scratch", &self.raw.capacity()).finish_non_exhaustive()
    }
}

impl PageDecoder {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { zstd: zstd::bulk::Decompressor::new()?, raw: Vec::new() })
    }

    /// A `timestamp` page: exactly `rows` values.
    pub(super) fn timestamps(
        &mut self,
        at: (&ColumnPages, &PageEntry),
        bytes: &[u8],
        rows: usize,
    ) -> Result<Vec<i64>> {
        let body = self.body(at, bytes)?;
        int64(at.0.encoding, body, rows)
    }

    /// A `value` page: exactly `rows` values.
    pub(super) fn values(
        &mut self,
        at: (&ColumnPages, &PageEntry),
        bytes: &[u8],
        rows: usize,
    ) -> Result<Vec<f64>> {
        let body = self.body(at, bytes)?;
        floats(at.0.encoding, body, rows)
    }

    /// A `start_timestamp` page: exactly `rows` values, [`NO_START`] where a row has none.
    pub(super) fn starts(
        &mut self,
        at: (&ColumnPages, &PageEntry),
        bytes: &[u8],
        rows: usize,
    ) -> Result<Vec<i64>> {
        let body = self.body(at, bytes)?;
        let mut input = Input { rest: body };
        let length = input.take(4)?.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let levels = input.take(usize::try_from(length).expect("u32 fits"))?;
        let present = levels_of(levels, rows)?;
        let count = present.iter().filter(|present| **present).count();
        let mut values = int64(at.0.encoding, input.rest, count)?.into_iter();
        Ok(present
            .into_iter()
            .map(|is| if is { values.next().unwrap_or(NO_START) } else { NO_START })
            .collect())
    }

    /// Checks a page and decompresses its body.
    pub(super) fn body<'a>(
        &'a mut self,
        (column, page): (&ColumnPages, &PageEntry),
        bytes: &'a [u8],
    ) -> Result<&'a [u8]> {
        verify(bytes, page.crc, "a page")?;
        let body = bytes.get(usize::from(page.header)..).ok_or_else(|| damaged("a page is cut off"))?;
        if page.raw > PAGE_RAW_LIMIT {
            return Err(damaged("a page is larger than any that is written"));
        }
        let raw = usize::try_from(page.raw).expect("u32 fits");
        match column.codec {
            PageCodec::None => return Ok(body),
            PageCodec::Zstd => {
                self.raw.clear();
                self.raw.reserve(raw);
                let unpacked = self.zstd.decompress_to_buffer(body, &mut self.raw);
                unpacked.map_err(|e| damaged("a page does not decompress").caused_by(e))?;
            }
        }
        if self.raw.len() != raw {
            return Err(damaged("a page decompresses to another length"));
        }
        Ok(&self.raw)
    }
}

/// So many floats.
pub(super) fn floats(encoding: PageEncoding, body: &[u8], rows: usize) -> Result<Vec<f64>> {
    if body.len() != rows * 8 {
        return Err(damaged("a page has another number of values than its rows"));
    }
    match encoding {
        PageEncoding::ByteStreamSplit => Ok(split_streams(body, rows, f64::from_le_bytes)),
        PageEncoding::Plain => Ok(plain(body, f64::from_le_bytes)),
        PageEncoding::DeltaBinaryPacked => Err(damaged("floats are never stored as deltas")),
    }
}

fn int64(encoding: PageEncoding, body: &[u8], rows: usize) -> Result<Vec<i64>> {
    if encoding == PageEncoding::DeltaBinaryPacked {
        return delta_binary_packed(&mut Input { rest: body }, rows);
    }
    if body.len() != rows * 8 {
        return Err(damaged("a page has another number of values than its rows"));
    }
    Ok(match encoding {
        PageEncoding::ByteStreamSplit => split_streams(body, rows, i64::from_le_bytes),
        _ => plain(body, i64::from_le_bytes),
    })
}

fn plain<T>(body: &[u8], read: impl Fn([u8; 8]) -> T) -> Vec<T> {
    body.as_chunks::<8>().0.iter().map(|bytes| read(*bytes)).collect()
}

/// `BYTE_STREAM_SPLIT`: the first bytes of all values, then the second ones, and so on. Sixteen values at a time
/// are put together by three rounds of interleaving, which the compiler turns into vector unpacks.
fn split_streams<T: Copy + Default>(body: &[u8], rows: usize, read: impl Fn([u8; 8]) -> T) -> Vec<T> {
    const WIDE: usize = 16;
    let streams: [&[u8]; 8] = std::array::from_fn(|stream| &body[stream * rows..(stream + 1) * rows]);
    let mut out = vec![T::default(); rows];
    let full = rows / WIDE;
    let wide: [&[[u8; WIDE]]; 8] =
        std::array::from_fn(|stream| &streams[stream].as_chunks::<WIDE>().0[..full]);
    let (head, tail) = out.split_at_mut(full * WIDE);
    for (at, values) in head.as_chunks_mut::<WIDE>().0.iter_mut().enumerate() {
        let pair = |low: usize| -> [u8; 32] { interleave(&wide[low][at], &wide[low + 4][at]) };
        let (even, odd): ([u8; 64], [u8; 64]) =
            (interleave(&pair(0), &pair(2)), interleave(&pair(1), &pair(3)));
        let bytes: [u8; 128] = interleave(&even, &odd);
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *value = read(*bytes);
        }
    }
    for (at, value) in tail.iter_mut().enumerate() {
        *value = read(std::array::from_fn(|stream| streams[stream][full * WIDE + at]));
    }
    out
}

#[expect(clippy::inline_always, reason = "a call here would undo the vectorisation of split_streams")]
#[inline(always)]
fn interleave<const N: usize, const M: usize>(even: &[u8; N], odd: &[u8; N]) -> [u8; M] {
    let mut out = [0; M];
    for at in 0..N {
        out[2 * at] = even[at];
        out[2 * at + 1] = odd[at];
    }
    out
}

/// `DELTA_BINARY_PACKED` of Parquet's encodings: blocks of a smallest delta and bit-packed differences to it. What
/// follows the values is left.
pub(super) fn delta_binary_packed(input: &mut Input<'_>, rows: usize) -> Result<Vec<i64>> {
    let small = |number: u64| usize::try_from(number).ok().filter(|n| *n <= 1 << 20);
    let odd = || damaged("a page of deltas has an odd header");
    let block = small(input.varint()?).ok_or_else(odd)?;
    let minis = small(input.varint()?).filter(|minis| *minis > 0).ok_or_else(odd)?;
    let total = small(input.varint()?).ok_or_else(odd)?;
    let per_mini = block / minis;
    if total != rows || !per_mini.is_multiple_of(32) || per_mini == 0 {
        return Err(damaged("a page of deltas has another number of values than its rows"));
    }
    let mut last = zigzag(input.varint()?);
    let mut out = Vec::with_capacity(rows);
    if rows > 0 {
        out.push(last);
    }
    while out.len() < rows {
        let smallest = zigzag(input.varint()?);
        let widths = input.take(minis)?;
        for width in widths {
            let count = per_mini.min(rows - out.len());
            if count == 0 {
                break;
            }
            let width = usize::from(*width);
            let packed = input.take(per_mini * width / 8)?;
            if width > 64 {
                return Err(damaged("a page of deltas has a width over 64 bits"));
            }
            for at in 0..count {
                let delta = smallest.wrapping_add(unpack(packed, at * width, width).cast_signed());
                last = last.wrapping_add(delta);
                out.push(last);
            }
        }
    }
    Ok(out)
}

/// `width` bits at bit `at`, least significant first.
#[inline]
fn unpack(packed: &[u8], at: usize, width: usize) -> u64 {
    if width == 0 {
        return 0;
    }
    let bytes = &packed[at / 8..];
    let mask = u64::MAX >> (64 - width);
    if width <= 56
        && let Some(word) = bytes.first_chunk::<8>()
    {
        return (u64::from_le_bytes(*word) >> (at % 8)) & mask;
    }
    let mut word = [0u8; 16];
    let length = bytes.len().min(16);
    word[..length].copy_from_slice(&bytes[..length]);
    let shifted = u128::from_le_bytes(word) >> (at % 8);
    u64::try_from(shifted & u128::from(u64::MAX)).expect("masked to 64 bits") & mask
}

fn zigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// Levels of width 1, exactly so many.
pub(super) fn levels_of(bytes: &[u8], rows: usize) -> Result<Vec<bool>> {
    let levels = hybrid(bytes, rows)?;
    if levels.len() == rows { Ok(levels) } else { Err(damaged("a page has too few levels")) }
}

/// Levels of width 1, at most so many: the RLE and bit-packing hybrid.
pub(super) fn hybrid(bytes: &[u8], most: usize) -> Result<Vec<bool>> {
    let mut input = Input { rest: bytes };
    let mut levels = Vec::new();
    while levels.len() < most && !input.rest.is_empty() {
        let header = input.varint()?;
        let left = most - levels.len();
        let count = usize::try_from(header >> 1).unwrap_or(usize::MAX);
        if header & 1 == 0 {
            let level = input.take(1)?[0];
            if level > 1 || count == 0 {
                return Err(damaged("a page has an odd level"));
            }
            levels.resize(levels.len() + count.min(left), level == 1);
        } else {
            let packed = input.take(count)?;
            let bits = packed.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
            levels.extend(bits.take(left));
        }
    }
    Ok(levels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fuzz::fuzz;

    #[test]
    fn split_streams_come_together_at_every_length() {
        for rows in [0, 1, 7, 15, 16, 17, 31, 32, 33, 100] {
            let values: Vec<u64> = (0..rows).map(|i| i * 0x0123_4567_89AB_CDEF).collect();
            let body: Vec<u8> = (0..8).flat_map(|s| values.iter().map(move |v| v.to_le_bytes()[s])).collect();
            assert_eq!(split_streams(&body, values.len(), u64::from_le_bytes), values);
        }
    }

    #[test]
    fn hostile_pages_are_errors_and_no_panics() {
        // Rows, then a page: of one value; of a run of levels.
        let seeds: [&[u8]; 2] = [&[1, 0x80, 1, 4, 1, 2], &[5, 10, 1]];
        fuzz("page", &seeds, &[], |input| {
            let Some((rows, bytes)) = input.split_first() else { return false };
            let rows = usize::from(*rows);
            let values = delta_binary_packed(&mut Input { rest: bytes }, rows).map(|values| values.len());
            let levels = levels_of(bytes, rows).map(|levels| levels.len());
            assert!(values.as_ref().is_ok_and(|len| *len == rows) || values.is_err(), "{values:?}");
            assert!(levels.as_ref().is_ok_and(|len| *len == rows) || levels.is_err(), "{levels:?}");
            values.is_ok() || levels.is_ok()
        });
    }

    #[test]
    fn deltas_of_every_width_unpack() {
        for width in 1..=64usize {
            let value = 0xA5A5_5A5A_C3C3_3C3Cu64 >> (64 - width);
            let mut packed = vec![0u8; width * 32 / 8];
            for at in 0..32 * width {
                if value >> (at % width) & 1 == 1 {
                    packed[at / 8] |= 1 << (at % 8);
                }
            }
            for at in 0..32 {
                assert_eq!(unpack(&packed, at * width, width), value, "width {width}");
            }
        }
    }
}
