//! Native histograms and exemplars of remote write 1.0.
//!
//! ```text
//!   Histogram { 1 count_int | 2 count_float, 3 sum, 4 schema, 5 zero_threshold, 6 zero_int | 7 zero_float,
//!               8 negative_spans, 9 negative_deltas | 10 negative_counts,
//!               11 positive_spans, 12 positive_deltas | 13 positive_counts, 14 reset_hint, 15 timestamp,
//!               16 custom_values }
//!   Exemplar  { 1 labels {name, value}, 2 value, 3 timestamp }
//! ```

use super::super::buckets::{Side, push_doubles, unsigned_float, zigzag};
use super::super::limits::Limits;
use super::super::protobuf::{Fields, Malformed, Value, WRONG_TYPE, name_and_value};
use super::utf8;
use crate::error::{Error, Result};
use crate::model::{Exemplar, Histogram, Labels, ResetHint};

/// One histogram with its timestamp (ms since 1970), counts absolute. What does not add up is not looked for here.
pub(super) fn histogram(message: &[u8]) -> Result<(i64, Histogram), Malformed> {
    let mut out = Histogram::default();
    let (mut timestamp, mut positive, mut negative) = (0, Side::default(), Side::default());
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        match (number, value) {
            (1, Value::Varint(count)) => out.count = unsigned_float(count),
            (2, Value::Fixed64(bits)) => (out.count, out.is_float) = (f64::from_bits(bits), true),
            (3, Value::Fixed64(bits)) => out.sum = f64::from_bits(bits),
            (4, Value::Varint(schema)) => {
                let outside = |_| Malformed("the schema of a histogram passes 8 bits");
                out.schema = i8::try_from(zigzag(schema)).map_err(outside)?;
            }
            (5, Value::Fixed64(bits)) => out.zero_threshold = f64::from_bits(bits),
            (6, Value::Varint(count)) => out.zero_count = unsigned_float(count),
            (7, Value::Fixed64(bits)) => out.zero_count = f64::from_bits(bits),
            (8, value) => negative.span(value)?,
            (9, value) => negative.deltas(value)?,
            (10, value) => negative.counts(value)?,
            (11, value) => positive.span(value)?,
            (12, value) => positive.deltas(value)?,
            (13, value) => positive.counts(value)?,
            (14, Value::Varint(hint)) => {
                let hint = u8::try_from(hint).ok().and_then(ResetHint::from_number);
                out.reset_hint = hint.unwrap_or_default();
            }
            (15, Value::Varint(ms)) => timestamp = ms.cast_signed(),
            (16, value) => push_doubles(value, &mut out.custom_bounds)?,
            (1..=7 | 14 | 15, _) => return Err(WRONG_TYPE),
            _ => {}
        }
    }
    (out.positive_spans, out.positive) = positive.absolute(out.is_float);
    (out.negative_spans, out.negative) = negative.absolute(out.is_float);
    Ok((timestamp, out))
}

/// One exemplar.
///
/// # Errors
/// Two layers: the outer one when the bytes are not an exemplar, the inner one when its labels are refused.
pub(super) fn exemplar(message: &[u8], limits: &Limits) -> Result<Result<Exemplar>, Malformed> {
    let (mut value, mut timestamp) = (0.0, 0);
    let mut raw: Vec<(&[u8], &[u8])> = Vec::new();
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field {
            (1, label) => raw.push(name_and_value(label.bytes()?)?),
            (2, Value::Fixed64(bits)) => value = f64::from_bits(bits),
            (3, Value::Varint(ms)) => timestamp = ms.cast_signed(),
            (2 | 3, _) => return Err(WRONG_TYPE),
            _ => {}
        }
    }
    Ok(exemplar_labels(&raw, limits).map(|labels| Exemplar { timestamp, value, labels }))
}

fn exemplar_labels(raw: &[(&[u8], &[u8])], limits: &Limits) -> Result<Labels> {
    limits.check_count(raw.len())?;
    let mut pairs = Vec::with_capacity(raw.len());
    let mut chars = 0;
    for (name, value) in raw {
        let (name, value) = (utf8("label name", name)?, utf8("label value", value)?);
        chars += name.chars().count() + value.chars().count();
        pairs.push((name, value));
    }
    if chars > Exemplar::MAX_LABEL_CHARS {
        let text = format!(
            "label length for exemplar exceeds maximum of {} UTF-8 characters",
            Exemplar::MAX_LABEL_CHARS
        );
        return Err(Error::invalid(text));
    }
    Labels::from_pairs(pairs)
}
