//! The messages inside a metric family: fields to numbers.

use super::super::super::buckets::{Side, unsigned_float, zigzag};
use super::super::super::protobuf::{Fields, Malformed, Value, WRONG_TYPE};
use super::{OwnedExemplar, push_label, utf8};
use crate::model::{Histogram, MetricType, ResetHint};

/// One metric: its labels, and where its parts lie.
#[derive(Debug, Default)]
pub(super) struct Metric<'a> {
    pub(super) labels: Vec<(&'a [u8], &'a [u8])>,
    pub(super) timestamp_ms: Option<i64>,
    /// Field number and message of each part.
    parts: Vec<(u64, &'a [u8])>,
}

impl<'a> Metric<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut metric = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next_field()? {
            match field {
                (1, Value::Bytes(label)) => metric.labels.push(label_of(label)?),
                // The format cannot tell 1970 from nothing.
                (6, Value::Varint(0)) => {}
                (6, Value::Varint(ms)) => metric.timestamp_ms = Some(ms.cast_signed()),
                (number @ (2..=5 | 7), Value::Bytes(part)) => metric.parts.push((number, part)),
                (1..=7, _) => return Err(WRONG_TYPE),
                _ => {}
            }
        }
        Ok(metric)
    }

    /// The part of the family's type.
    pub(super) fn body(&self, number: u64) -> Result<&'a [u8], Malformed> {
        let part = self.parts.iter().find(|part| part.0 == number);
        part.map(|part| part.1).ok_or(Malformed("a metric is of another type than its family"))
    }
}

fn label_of(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut name, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field {
            (1, Value::Bytes(text)) => name = text,
            (2, Value::Bytes(text)) => value = text,
            (1 | 2, _) => return Err(WRONG_TYPE),
            _ => {}
        }
    }
    if name.is_empty() { Err(Malformed("a label has no name")) } else { Ok((name, value)) }
}

/// A gauge, counter or untyped metric: its value, and a counter's exemplar.
pub(super) fn value_of(message: &[u8]) -> Result<(f64, Option<&[u8]>), Malformed> {
    let (mut value, mut exemplar) = (0.0, None);
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field {
            (1, Value::Fixed64(bits)) => value = f64::from_bits(bits),
            (2, Value::Bytes(message)) => exemplar = Some(message),
            (1 | 2, _) => return Err(WRONG_TYPE),
            _ => {}
        }
    }
    Ok((value, exemplar))
}

/// A summary.
#[derive(Debug, Default)]
pub(super) struct SummaryParts {
    pub(super) count: f64,
    pub(super) sum: f64,
    /// Quantile and value.
    pub(super) quantiles: Vec<(f64, f64)>,
}

impl SummaryParts {
    pub(super) fn read(message: &[u8]) -> Result<Self, Malformed> {
        let mut parts = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next_field()? {
            match field {
                (1, Value::Varint(count)) => parts.count = unsigned_float(count),
                (2, Value::Fixed64(bits)) => parts.sum = f64::from_bits(bits),
                (3, Value::Bytes(quantile)) => parts.quantiles.push(quantile_of(quantile)?),
                (1..=3, _) => return Err(WRONG_TYPE),
                _ => {}
            }
        }
        Ok(parts)
    }
}

fn quantile_of(message: &[u8]) -> Result<(f64, f64), Malformed> {
    let mut numbers = (0.0, 0.0);
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field {
            (1, Value::Fixed64(bits)) => numbers.0 = f64::from_bits(bits),
            (2, Value::Fixed64(bits)) => numbers.1 = f64::from_bits(bits),
            (1 | 2, _) => return Err(WRONG_TYPE),
            _ => {}
        }
    }
    Ok(numbers)
}

/// The classic side of a histogram, and the exemplars of the native one.
#[derive(Debug, Default)]
pub(super) struct Classic<'a> {
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) buckets: Vec<Bucket<'a>>,
    /// Messages.
    pub(super) exemplars: Vec<&'a [u8]>,
}

/// A classic bucket.
#[derive(Debug, Default)]
pub(super) struct Bucket<'a> {
    /// Cumulative.
    pub(super) count: f64,
    pub(super) bound: f64,
    /// The message.
    pub(super) exemplar: Option<&'a [u8]>,
}

/// A histogram: the native one where it has a native side, and the classic one.
pub(super) fn histogram(
    message: &[u8],
    kind: MetricType,
) -> Result<(Option<Histogram>, Classic<'_>), Malformed> {
    let (mut out, mut classic) = (Histogram::default(), Classic::default());
    let (mut positive, mut negative) = (Side::default(), Side::default());
    let (mut count_float, mut zero_float) = (0.0, 0.0);
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field {
            (1, Value::Varint(count)) => out.count = unsigned_float(count),
            (2, Value::Fixed64(bits)) => out.sum = f64::from_bits(bits),
            (3, Value::Bytes(bucket)) => classic.buckets.push(bucket_of(bucket)?),
            (4, Value::Fixed64(bits)) => count_float = f64::from_bits(bits),
            (5, Value::Varint(schema)) => {
                let outside = |_| Malformed("the schema of a histogram passes 8 bits");
                out.schema = i8::try_from(zigzag(schema)).map_err(outside)?;
            }
            (6, Value::Fixed64(bits)) => out.zero_threshold = f64::from_bits(bits),
            (7, Value::Varint(count)) => out.zero_count = unsigned_float(count),
            (8, Value::Fixed64(bits)) => zero_float = f64::from_bits(bits),
            (9, value) => negative.span(value)?,
            (10, value) => negative.deltas(value)?,
            (11, value) => negative.counts(value)?,
            (12, value) => positive.span(value)?,
            (13, value) => positive.deltas(value)?,
            (14, value) => positive.counts(value)?,
            (16, Value::Bytes(exemplar)) => classic.exemplars.push(exemplar),
            (1..=8 | 16, _) => return Err(WRONG_TYPE),
            _ => {}
        }
    }
    let spans = !positive.spans.is_empty() || !negative.spans.is_empty();
    // A library that wants an empty native histogram adds a span without buckets.
    let is_native = spans || out.zero_threshold > 0.0 || out.zero_count > 0.0;
    out.is_float = count_float > 0.0 || zero_float > 0.0;
    if out.is_float {
        (out.count, out.zero_count) = (count_float, zero_float);
    }
    if kind == MetricType::GaugeHistogram {
        out.reset_hint = ResetHint::Gauge;
    }
    (classic.count, classic.sum) = (out.count, out.sum);
    (out.positive_spans, out.positive) = positive.absolute(out.is_float);
    (out.negative_spans, out.negative) = negative.absolute(out.is_float);
    Ok((is_native.then_some(out), classic))
}

fn bucket_of(message: &[u8]) -> Result<Bucket<'_>, Malformed> {
    let mut bucket = Bucket::default();
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field {
            (1, Value::Varint(count)) if bucket.count == 0.0 => bucket.count = unsigned_float(count),
            (2, Value::Fixed64(bits)) => bucket.bound = f64::from_bits(bits),
            (3, Value::Bytes(exemplar)) => bucket.exemplar = Some(exemplar),
            (4, Value::Fixed64(bits)) if f64::from_bits(bits) > 0.0 => bucket.count = f64::from_bits(bits),
            (1, Value::Varint(_)) | (4, Value::Fixed64(_)) => {}
            (1..=4, _) => return Err(WRONG_TYPE),
            _ => {}
        }
    }
    Ok(bucket)
}

/// An exemplar: `{1 label, 2 value, 3 timestamp {1 seconds, 2 nanos}}`.
pub(super) fn exemplar(message: &[u8]) -> Result<OwnedExemplar, Malformed> {
    let mut out = OwnedExemplar { labels: b"{".to_vec(), ..OwnedExemplar::default() };
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field {
            (1, Value::Bytes(label)) => {
                let (name, value) = label_of(label)?;
                push_label(&mut out.labels, utf8(name)?, utf8(value)?);
            }
            (2, Value::Fixed64(bits)) => out.value = f64::from_bits(bits),
            (3, Value::Bytes(timestamp)) => out.timestamp_ms = Some(millis(timestamp)?),
            (1..=3, _) => return Err(WRONG_TYPE),
            _ => {}
        }
    }
    out.labels.push(b'}');
    Ok(out)
}

/// `google.protobuf.Timestamp` in ms since 1970.
fn millis(message: &[u8]) -> Result<i64, Malformed> {
    const NANOS_A_MILLI: i64 = 1_000_000;
    let (mut seconds, mut nanos) = (0i64, 0i64);
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field {
            (1, Value::Varint(number)) => seconds = number.cast_signed(),
            (2, Value::Varint(number)) => nanos = number.cast_signed(),
            (1 | 2, _) => return Err(WRONG_TYPE),
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1_000).saturating_add(nanos.div_euclid(NANOS_A_MILLI)))
}
