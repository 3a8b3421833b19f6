//! The buckets of a native histogram as both protobuf protocols write them: spans, and counts as differences to the
//! bucket before (integers) or as they are (floats). Numbers come packed or one by one. It checks no sums:
//! [`crate::model::Histogram::check`] does.

use super::protobuf::{Fields, Malformed, Value, WRONG_TYPE};
use crate::model::{MAX_BUCKETS, Span};

const TOO_MANY: Malformed = Malformed("a histogram has too many buckets");

/// One side of a histogram while its fields go by.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Side {
    /// A `BucketSpan { sint32 offset = 1; uint32 length = 2; }`.
    pub(super) fn span(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        let Value::Bytes(message) = value else { return Err(WRONG_TYPE) };
        if self.spans.len() >= MAX_BUCKETS {
            return Err(TOO_MANY);
        }
        let mut span = Span { offset: 0, length: 0 };
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next_field()? {
            let too_large = |_| Malformed("a span passes 32 bits");
            match field {
                (1, Value::Varint(number)) => {
                    span.offset = i32::try_from(zigzag(number)).map_err(too_large)?;
                }
                (2, Value::Varint(number)) => span.length = u32::try_from(number).map_err(too_large)?,
                (1 | 2, _) => return Err(WRONG_TYPE),
                _ => {}
            }
        }
        self.spans.push(span);
        Ok(())
    }

    /// `repeated sint64`: differences.
    pub(super) fn deltas(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        match value {
            Value::Varint(number) => self.deltas.push(zigzag(number)),
            Value::Bytes(packed) => {
                let mut packed = Fields::new(packed);
                while packed.remaining() > 0 && self.deltas.len() <= MAX_BUCKETS {
                    self.deltas.push(zigzag(packed.varint()?));
                }
            }
            _ => return Err(WRONG_TYPE),
        }
        if self.deltas.len() > MAX_BUCKETS { Err(TOO_MANY) } else { Ok(()) }
    }

    /// `repeated double`: counts.
    pub(super) fn counts(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        push_doubles(value, &mut self.counts)
    }

    /// The absolute counts of an integer or a float histogram.
    pub(super) fn absolute(self, is_float: bool) -> (Vec<Span>, Vec<f64>) {
        if is_float {
            return (self.spans, self.counts);
        }
        let mut count = 0i64;
        let counts = self.deltas.iter().map(|delta| {
            // What overflows turns negative and is refused for it.
            count = count.wrapping_add(*delta);
            float(count)
        });
        (self.spans, counts.collect())
    }
}

/// Appends a `repeated double`, packed or not.
pub(super) fn push_doubles(value: Value<'_>, out: &mut Vec<f64>) -> Result<(), Malformed> {
    match value {
        Value::Fixed64(bits) => out.push(f64::from_bits(bits)),
        Value::Bytes(packed) => {
            let (numbers, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(Malformed("packed floats are cut off"));
            }
            if out.len() + numbers.len() > MAX_BUCKETS {
                return Err(TOO_MANY);
            }
            out.extend(numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        }
        _ => return Err(WRONG_TYPE),
    }
    if out.len() > MAX_BUCKETS { Err(TOO_MANY) } else { Ok(()) }
}

/// A `sint32` or `sint64`.
pub(super) fn zigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// A count as a float: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "Prometheus' float histograms lose the same digits")]
pub(super) fn float(count: i64) -> f64 {
    count as f64
}

/// An unsigned count as a float: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "Prometheus' float histograms lose the same digits")]
pub(super) fn unsigned_float(count: u64) -> f64 {
    count as f64
}
