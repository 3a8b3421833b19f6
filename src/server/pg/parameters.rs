//! The values of `$1`, `$2`, … as they come in a Bind message.

use arrow::datatypes::{DataType, TimeUnit};
use bytes::Bytes;
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime};
use datafusion::scalar::ScalarValue;
use pgwire::api::Type;
use pgwire::api::portal::Portal;

use crate::error::{Error, Result};

/// Decodes all parameters of a portal: in the type that the client said, or that the plan asks for, or text.
///
/// # Errors
/// `Invalid` for bytes that are not of the type, `Unsupported` for a binary type that is not known.
pub(super) fn decode<S: Clone>(portal: &Portal<S>, planned: &[Option<DataType>]) -> Result<Vec<ScalarValue>> {
    let said = &portal.statement.parameter_types;
    let one = |index: usize| {
        let wanted = planned.get(index).cloned().flatten();
        let said = said.get(index).cloned().flatten().filter(|kind| *kind != Type::UNKNOWN);
        let kind = said.unwrap_or_else(|| wire_type(wanted.as_ref()));
        let bytes: Option<&Bytes> = portal.parameters[index].as_ref();
        let Some(bytes) = bytes else {
            let null = ScalarValue::try_from(&wanted.unwrap_or(DataType::Null));
            return null.map_err(|e| Error::internal("a null parameter").caused_by(e));
        };
        let value = if portal.parameter_format.is_binary(index) {
            binary(portal, index, &kind)?
        } else {
            text(bytes, index, &kind)?
        };
        match wanted {
            Some(wanted) if value.data_type() != wanted => {
                value.cast_to(&wanted).map_err(|e| bad(index, &kind).caused_by(e.strip_backtrace()))
            }
            _ => Ok(value),
        }
    };
    (0..portal.parameters.len()).map(one).collect()
}

/// The type that a client is asked to send.
pub(super) fn wire_type(planned: Option<&DataType>) -> Type {
    let Some(planned) = planned else { return Type::TEXT };
    let field = arrow::datatypes::Field::new("", planned.clone(), true);
    let oid = crate::query::sql::pg_type(&field).map(|kind| kind.oid);
    oid.and_then(Type::from_oid).unwrap_or(Type::TEXT)
}

fn bad(index: usize, kind: &Type) -> Error {
    Error::invalid(format!("invalid input for parameter ${} of type {}", index + 1, kind.name()))
}

fn text(bytes: &Bytes, index: usize, kind: &Type) -> Result<ScalarValue> {
    let text = std::str::from_utf8(bytes).map_err(|e| bad(index, kind).caused_by(e))?;
    let value = ScalarValue::Utf8(Some(text.to_owned()));
    let target = match *kind {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 | Type::OID => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 | Type::NUMERIC => DataType::Float64,
        Type::DATE => DataType::Date32,
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => return list(text, &DataType::Utf8, index, kind),
        Type::INT4_ARRAY | Type::OID_ARRAY | Type::INT2_ARRAY => {
            return list(text, &DataType::Int32, index, kind);
        }
        Type::INT8_ARRAY => return list(text, &DataType::Int64, index, kind),
        Type::FLOAT8_ARRAY => return list(text, &DataType::Float64, index, kind),
        _ => return Ok(value),
    };
    value.cast_to(&target).map_err(|e| bad(index, kind).caused_by(e.strip_backtrace()))
}

/// `{1,2,NULL,"a b"}`
fn list(text: &str, item: &DataType, index: usize, kind: &Type) -> Result<ScalarValue> {
    let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(|| bad(index, kind))?;
    let mut values = Vec::new();
    let mut rest = inner.chars().peekable();
    while rest.peek().is_some() {
        let mut value = String::new();
        let mut quoted = false;
        let mut open = false;
        for c in rest.by_ref() {
            match c {
                '"' => (open, quoted) = (!open, true),
                ',' if !open => break,
                c => value.push(c),
            }
        }
        let null = !quoted && value.eq_ignore_ascii_case("null");
        let scalar = ScalarValue::Utf8((!null).then_some(value));
        values.push(scalar.cast_to(item).map_err(|e| bad(index, kind).caused_by(e.strip_backtrace()))?);
    }
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(&values, item)))
}

fn binary<S: Clone>(portal: &Portal<S>, index: usize, kind: &Type) -> Result<ScalarValue> {
    let told = |e: pgwire::error::PgWireError| bad(index, kind).caused_by(e);
    macro_rules! value {
        ($rust:ty) => {
            portal.parameter::<$rust>(index, kind).map_err(told)?
        };
    }
    macro_rules! values {
        ($rust:ty, $variant:ident, $arrow:expr) => {{
            let all = value!(Vec<Option<$rust>>).unwrap_or_default();
            let all: Vec<ScalarValue> = all.into_iter().map(ScalarValue::$variant).collect();
            ScalarValue::List(ScalarValue::new_list_nullable(&all, &$arrow))
        }};
    }
    let micros = |time: Option<i64>, zone| ScalarValue::TimestampMicrosecond(time, zone);
    Ok(match *kind {
        Type::BOOL => ScalarValue::Boolean(value!(bool)),
        Type::INT2 => ScalarValue::Int16(value!(i16)),
        Type::INT4 => ScalarValue::Int32(value!(i32)),
        Type::OID => ScalarValue::Int64(value!(u32).map(i64::from)),
        Type::INT8 => ScalarValue::Int64(value!(i64)),
        Type::FLOAT4 => ScalarValue::Float32(value!(f32)),
        Type::FLOAT8 => ScalarValue::Float64(value!(f64)),
        Type::BYTEA => ScalarValue::Binary(value!(Vec<u8>)),
        Type::TEXT | Type::VARCHAR | Type::NAME | Type::BPCHAR => ScalarValue::Utf8(value!(String)),
        Type::JSON => ScalarValue::Utf8(json(portal.parameters[index].as_deref(), 0, index, kind)?),
        Type::JSONB => ScalarValue::Utf8(json(portal.parameters[index].as_deref(), 1, index, kind)?),
        Type::DATE => {
            let date = value!(NaiveDate);
            ScalarValue::Date32(date.map(arrow::datatypes::Date32Type::from_naive_date))
        }
        Type::TIMESTAMP => micros(value!(NaiveDateTime).map(|t| t.and_utc().timestamp_micros()), None),
        Type::TIMESTAMPTZ => {
            micros(value!(DateTime<FixedOffset>).map(|t| t.timestamp_micros()), Some("UTC".into()))
        }
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => values!(String, Utf8, DataType::Utf8),
        Type::INT2_ARRAY => values!(i16, Int16, DataType::Int16),
        Type::INT4_ARRAY => values!(i32, Int32, DataType::Int32),
        Type::INT8_ARRAY => values!(i64, Int64, DataType::Int64),
        Type::FLOAT8_ARRAY => values!(f64, Float64, DataType::Float64),
        _ => return Err(Error::unsupported(format!("binary parameters of type {}", kind.name()))),
    })
}

/// Text after the version byte that jsonb has.
fn json(bytes: Option<&[u8]>, skip: usize, index: usize, kind: &Type) -> Result<Option<String>> {
    let Some(bytes) = bytes else { return Ok(None) };
    let body = bytes.get(skip..).ok_or_else(|| bad(index, kind))?;
    Ok(Some(String::from_utf8(body.to_vec()).map_err(|e| bad(index, kind).caused_by(e))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_lists_are_read() {
        let kind = Type::TEXT_ARRAY;
        let value = list("{a,\"b c\",NULL,\"NULL\"}", &DataType::Utf8, 0, &kind).expect("a list");
        let text = |t: &str| ScalarValue::Utf8(Some(t.to_owned()));
        let wanted = [text("a"), text("b c"), ScalarValue::Utf8(None), text("NULL")];
        assert_eq!(value, ScalarValue::List(ScalarValue::new_list_nullable(&wanted, &DataType::Utf8)));
        assert!(list("1,2", &DataType::Int32, 0, &kind).is_err());
        assert!(list("{x}", &DataType::Int32, 0, &kind).is_err());
    }
}
