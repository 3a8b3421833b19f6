//! A row's histograms as bytes in the `hist` column.
//!
//! ```text
//!   cell       step u32, then 0xFF (the same histogram as in the cell before) or a histogram
//!   histogram  flags u8 (bits 0–1 reset hint, bit 2 float), schema i8, zero threshold, zero count, count, sum f64,
//!              positive spans, negative spans, positive, negative, custom bounds: each a length u32 and items
//!   span       offset i32, length u32
//! ```
//!
//! Little-endian. The bytes live only between two operators of one process: they are trusted, and never stored.

use std::sync::Arc;

use super::Cell;
use crate::error::{Error, Result};
use crate::model::{Histogram, ResetHint, Span};

const SAME: u8 = 0xFF;

/// Appends cells.
pub(crate) fn push_cells(out: &mut Vec<u8>, cells: &[Cell]) {
    let mut before: Option<&Arc<Histogram>> = None;
    for (step, histogram) in cells {
        out.extend_from_slice(&step.to_le_bytes());
        if before.is_some_and(|before| Arc::ptr_eq(before, histogram)) {
            out.push(SAME);
        } else {
            push(out, histogram);
        }
        before = Some(histogram);
    }
}

fn push(out: &mut Vec<u8>, histogram: &Histogram) {
    let hint = match histogram.reset_hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    };
    out.push(hint | (u8::from(histogram.is_float) << 2));
    out.extend_from_slice(&histogram.schema.to_le_bytes());
    for number in [histogram.zero_threshold, histogram.zero_count, histogram.count, histogram.sum] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let length = |out: &mut Vec<u8>, length: usize| {
        let length = u32::try_from(length).expect("a histogram has fewer than 2^32 buckets");
        out.extend_from_slice(&length.to_le_bytes());
    };
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        length(out, spans.len());
        for span in spans {
            out.extend_from_slice(&span.offset.to_le_bytes());
            out.extend_from_slice(&span.length.to_le_bytes());
        }
    }
    for numbers in [&histogram.positive, &histogram.negative, &histogram.custom_bounds] {
        length(out, numbers.len());
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// Reads what [`push_cells`] wrote.
///
/// # Errors
/// `Internal` for bytes that it did not write.
pub(crate) fn read_cells(bytes: &[u8]) -> Result<Vec<Cell>> {
    let mut from = From(bytes);
    let mut cells: Vec<Cell> = Vec::new();
    while !from.0.is_empty() {
        let step = from.u32()?;
        let flags = from.array::<1>()?[0];
        let histogram = match cells.last() {
            Some((_, before)) if flags == SAME => Arc::clone(before),
            _ => Arc::new(from.histogram(flags)?),
        };
        cells.push((step, histogram));
    }
    Ok(cells)
}

/// The bytes that are left.
struct From<'a>(&'a [u8]);

impl<'a> From<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, rest) =
            self.0.split_at_checked(length).ok_or_else(|| Error::internal("a histogram cell is cut off"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("it was taken with this length"))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn items<const N: usize, T>(&mut self, read: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
        let count = usize::try_from(self.u32()?).expect("a u32 fits");
        let (items, _) = self.take(count.saturating_mul(N))?.as_chunks::<N>();
        Ok(items.iter().map(|item| read(*item)).collect())
    }

    fn histogram(&mut self, flags: u8) -> Result<Histogram> {
        let reset_hint = match flags & 3 {
            0 => ResetHint::Unknown,
            1 => ResetHint::Reset,
            2 => ResetHint::NotReset,
            _ => ResetHint::Gauge,
        };
        let schema = i8::from_le_bytes(self.array()?);
        let mut number = || Ok::<_, Error>(f64::from_le_bytes(self.array()?));
        let (zero_threshold, zero_count, count, sum) = (number()?, number()?, number()?, number()?);
        let span = |[a, b, c, d, e, f, g, h]: [u8; 8]| Span {
            offset: i32::from_le_bytes([a, b, c, d]),
            length: u32::from_le_bytes([e, f, g, h]),
        };
        Ok(Histogram {
            schema,
            is_float: flags & 4 != 0,
            reset_hint,
            zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans: self.items(span)?,
            negative_spans: self.items(span)?,
            positive: self.items(f64::from_le_bytes)?,
            negative: self.items(f64::from_le_bytes)?,
            custom_bounds: self.items(f64::from_le_bytes)?,
        })
    }
}
