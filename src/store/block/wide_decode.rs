//! Pages of native histograms and exemplars to rows; the columns are those of `wide`. Bytes that do not decode to
//! exactly the rows of the page are errors, never panics.

use std::sync::Arc;

use super::decode::{PageDecoder, hybrid, levels_of};
use super::format::{ColumnPages, Input, PageEncoding, PageEntry, damaged};
use crate::error::Result;
use crate::model::{Exemplar, Histogram, Labels, ResetHint, Span};

/// More list entries than this are in no page that is written.
const MAX_LEVELS: usize = 4 << 20;

/// One column's page: how it is stored, and its bytes.
pub(super) type PageBytes<'a> = ((ColumnPages, PageEntry), &'a [u8]);

/// A column of lists: where each row's entries end, and the entries.
struct Lists<T> {
    ends: Vec<usize>,
    entries: Vec<T>,
}

impl<T: Clone> Lists<T> {
    fn row(&self, row: usize) -> Vec<T> {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        self.entries[start..self.ends[row]].to_vec()
    }
}

/// The columns of a page in order.
struct Pages<'a, 'd> {
    left: std::slice::Iter<'a, PageBytes<'a>>,
    decoder: &'d mut PageDecoder,
    rows: usize,
}

/// The histograms of a page; `pages` are the columns behind `timestamp`.
pub(super) fn histograms(
    pages: &[PageBytes<'_>],
    decoder: &mut PageDecoder,
    rows: usize,
) -> Result<Vec<Arc<Histogram>>> {
    let mut pages = Pages { left: pages.iter(), decoder, rows };
    let (count, sum) = (pages.floats()?, pages.floats()?);
    let (zero_count, zero_threshold) = (pages.floats()?, pages.floats()?);
    let (schema, hint, is_float) = (pages.ints()?, pages.ints()?, pages.bools()?);
    let (positive_spans, positive) = (pages.spans()?, pages.lists(float)?);
    let (negative_spans, negative) = (pages.spans()?, pages.lists(float)?);
    let custom_bounds = pages.lists(float)?;
    let row = |at: usize| {
        let schema = i8::try_from(schema[at]).map_err(|_| damaged("a histogram's schema passes 8 bits"))?;
        let hint = u8::try_from(hint[at]).ok().and_then(ResetHint::from_number);
        Ok(Arc::new(Histogram {
            schema,
            is_float: is_float[at],
            reset_hint: hint.ok_or_else(|| damaged("a histogram has an unknown reset hint"))?,
            zero_threshold: zero_threshold[at],
            zero_count: zero_count[at],
            count: count[at],
            sum: sum[at],
            positive_spans: positive_spans.row(at),
            negative_spans: negative_spans.row(at),
            positive: positive.row(at),
            negative: negative.row(at),
            custom_bounds: custom_bounds.row(at),
        }))
    };
    (0..rows).map(row).collect()
}

/// The exemplars of a page; `pages` are all columns behind `series_id`.
pub(super) fn exemplars(
    pages: &[PageBytes<'_>],
    decoder: &mut PageDecoder,
    rows: usize,
) -> Result<Vec<Exemplar>> {
    let mut pages = Pages { left: pages.iter(), decoder, rows };
    let (times, values) = (pages.times()?, pages.floats()?);
    let (names, texts) = (pages.lists(string)?, pages.lists(string)?);
    if names.ends != texts.ends {
        return Err(damaged("a page has labels without values"));
    }
    let row = |at: usize| {
        let (names, texts) = (names.row(at), texts.row(at));
        let pairs = names.iter().map(|name| &**name).zip(texts.iter().map(|text| &**text));
        let labels = Labels::from_pairs(pairs).map_err(|e| damaged("a page has bad labels").caused_by(e))?;
        Ok(Exemplar { timestamp: times[at], value: values[at], labels })
    };
    (0..rows).map(row).collect()
}

impl Pages<'_, '_> {
    fn times(&mut self) -> Result<Vec<i64>> {
        let ((column, entry), bytes) = self.left.next().ok_or_else(missing)?;
        self.decoder.timestamps((column, entry), bytes, self.rows)
    }

    fn floats(&mut self) -> Result<Vec<f64>> {
        let ((column, entry), bytes) = self.left.next().ok_or_else(missing)?;
        self.decoder.values((column, entry), bytes, self.rows)
    }

    fn ints(&mut self) -> Result<Vec<i32>> {
        let (_, body) = self.body()?;
        let (numbers, rest) = body.as_chunks::<4>();
        let fits = rest.is_empty();
        let ints = numbers.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect();
        self.exactly(ints, fits)
    }

    fn bools(&mut self) -> Result<Vec<bool>> {
        let rows = self.rows;
        let (_, body) = self.body()?;
        let fits = body.len() == rows.div_ceil(8);
        let bits = body.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        let bits = bits.take(rows).collect();
        self.exactly(bits, fits)
    }

    fn exactly<T>(&self, values: Vec<T>, fits: bool) -> Result<Vec<T>> {
        if fits && values.len() == self.rows {
            return Ok(values);
        }
        Err(damaged("a page has another number of values than its rows"))
    }

    fn spans(&mut self) -> Result<Lists<Span>> {
        let (offsets, lengths) = (self.lists(int)?, self.lists(int)?);
        if offsets.ends != lengths.ends {
            return Err(damaged("a page has spans without lengths"));
        }
        let pairs = offsets.entries.into_iter().zip(lengths.entries);
        let spans = pairs.map(|(offset, length)| Span { offset, length: length.cast_unsigned() }).collect();
        Ok(Lists { ends: offsets.ends, entries: spans })
    }

    /// A column of lists; `read` turns its values into so many entries.
    fn lists<T>(&mut self, read: impl Fn(PageEncoding, &[u8], usize) -> Result<Vec<T>>) -> Result<Lists<T>> {
        let rows = self.rows;
        let (encoding, body) = self.body()?;
        let mut input = Input { rest: body };
        let repetition = rows_of(block_of(&mut input)?, rows)?;
        let present = levels_of(block_of(&mut input)?, repetition.len())?;
        let (mut ends, mut entries) = (Vec::with_capacity(rows), 0);
        for (at, (again, present)) in repetition.iter().zip(present).enumerate() {
            if !again && at > 0 {
                ends.push(entries);
            }
            if *again && !present {
                return Err(damaged("a page has an odd definition level"));
            }
            entries += usize::from(present);
        }
        if rows > 0 {
            ends.push(entries);
        }
        let values = read(encoding, input.rest, entries)?;
        if ends.len() != rows || values.len() != entries {
            return Err(damaged("a page has another number of values than its rows"));
        }
        Ok(Lists { ends, entries: values })
    }

    fn body(&mut self) -> Result<(PageEncoding, &[u8])> {
        let ((column, entry), bytes) = self.left.next().ok_or_else(missing)?;
        Ok((column.encoding, self.decoder.body((column, entry), bytes)?))
    }
}

fn missing() -> crate::error::Error {
    damaged("a page section has too few columns")
}

/// A length and so many bytes.
fn block_of<'a>(input: &mut Input<'a>) -> Result<&'a [u8]> {
    let length = input.take(4)?.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    input.take(usize::try_from(length).expect("u32 fits"))
}

/// Repetition levels of so many rows: whether each entry belongs to the row before. How many there are is written
/// nowhere but in the page header; every row begins with a zero, so the zeros behind the last row are padding.
fn rows_of(bytes: &[u8], rows: usize) -> Result<Vec<bool>> {
    let mut levels = hybrid(bytes, MAX_LEVELS)?;
    let zeros = levels.iter().enumerate().filter(|(_, again)| !**again);
    if let Some((padding, _)) = zeros.clone().nth(rows) {
        levels.truncate(padding);
    } else if zeros.count() != rows {
        return Err(damaged("a page has another number of rows"));
    }
    if levels.first() == Some(&true) {
        return Err(damaged("a page begins inside a row"));
    }
    Ok(levels)
}

fn float(encoding: PageEncoding, body: &[u8], entries: usize) -> Result<Vec<f64>> {
    super::decode::floats(encoding, body, entries)
}

fn int(_: PageEncoding, body: &[u8], entries: usize) -> Result<Vec<i32>> {
    if body.len() != entries * 4 {
        return Err(damaged("a page has another number of values than its rows"));
    }
    Ok(body.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect())
}

fn string(_: PageEncoding, body: &[u8], entries: usize) -> Result<Vec<Box<str>>> {
    let mut input = Input { rest: body };
    let text = |input: &mut Input<'_>| {
        let text = std::str::from_utf8(block_of(input)?)
            .map_err(|_| damaged("a page has text that is not UTF-8"))?;
        Ok(Box::from(text))
    };
    (0..entries).map(|_| text(&mut input)).collect()
}
