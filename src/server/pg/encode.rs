//! Record batches as `PostgreSQL`'s rows. The field-to-type table is `query::sql::pg_type`; the common types are
//! written here in `PostgreSQL`'s own form, the rest by arrow-pg.

use std::io::Write as _;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringViewArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, FieldRef, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeZone, Timelike};
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo};
use pgwire::messages::data::DataRow;
use pgwire::types::format::FormatOptions;

use crate::error::{Error, Result};
use crate::query::sql::{Settings, pg_type};

/// Microseconds from 1970 to 2000, where `PostgreSQL`'s binary time begins.
const EPOCH_2000_US: i64 = 946_684_800_000_000;

/// How values are written: the settings that change their text.
#[derive(Debug, Clone)]
pub(super) struct Style {
    zone: Tz,
    float_digits: i8,
    options: Arc<FormatOptions>,
}

impl Style {
    /// The style of a session.
    ///
    /// # Errors
    /// `Internal` for a setting that was not checked when it was set.
    pub(super) fn of(settings: &Settings) -> Result<Self> {
        let zone =
            settings.get("TimeZone")?.parse().map_err(|e| Error::internal("the time zone").caused_by(e))?;
        let float_digits = settings.get("extra_float_digits")?.parse().unwrap_or(1);
        let mut options = FormatOptions::default();
        options.bytea_output = settings.get("bytea_output")?;
        options.extra_float_digits = float_digits;
        Ok(Self { zone, float_digits, options: Arc::new(options) })
    }
}

/// The columns of an answer in the formats that a client asked for.
///
/// # Errors
/// `Unsupported` for a type that the protocol cannot carry.
pub(super) fn describe(columns: &[FieldRef], format: &Format) -> Result<Vec<FieldInfo>> {
    let describe = |(index, field): (usize, &FieldRef)| {
        let kind = pg_type(field).ok_or_else(|| {
            Error::unsupported(format!("column \"{}\" of type {}", field.name(), field.data_type()))
        })?;
        let format = match format {
            // A list of another length was refused when it was bound.
            Format::Individual(codes) => FieldFormat::from(codes.get(index).copied().unwrap_or_default()),
            other => other.format_for(index),
        };
        let wire = Type::from_oid(kind.oid).ok_or_else(|| Error::internal("an oid without a type"))?;
        Ok(FieldInfo::new(field.name().clone(), None, None, wire, format).with_type_size(kind.len))
    };
    columns.iter().enumerate().map(describe).collect()
}

/// Writes the rows of batches.
#[derive(Debug)]
pub(super) struct RowWriter {
    fields: Arc<Vec<FieldInfo>>,
    style: Style,
    buffer: BytesMut,
}

impl RowWriter {
    /// A writer for columns as described.
    pub(super) fn new(fields: Vec<FieldInfo>, style: Style) -> Self {
        Self { fields: Arc::new(fields), style, buffer: BytesMut::new() }
    }

    /// One message per row.
    ///
    /// # Errors
    /// `Execution` for a value outside of its `PostgreSQL` type.
    pub(super) fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<DataRow>> {
        if batch.num_columns() != self.fields.len() {
            return Err(Error::internal("a batch has other columns than its description"));
        }
        let schema = batch.schema();
        let columns: Vec<Column> = (batch.columns().iter().zip(schema.fields()).zip(self.fields.iter()))
            .map(|((array, field), info)| Column::new(array, field, info, &self.style))
            .collect::<Result<_>>()?;
        let count = i16::try_from(columns.len())
            .map_err(|_| Error::unsupported(format!("an answer of {} columns", columns.len())))?;
        let mut out = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            for column in &columns {
                column.write(row, &mut self.buffer, &self.style)?;
            }
            out.push(DataRow::new(self.buffer.split(), count));
        }
        Ok(out)
    }
}

/// A column, cast to one of a few types, and whether it goes out in binary.
struct Column {
    values: Values,
    nulls: Option<arrow::buffer::NullBuffer>,
    binary: bool,
}

enum Values {
    Bool(BooleanArray),
    Int2(arrow::array::Int16Array),
    Int4(arrow::array::Int32Array),
    Int8(Int64Array),
    Float4(arrow::array::Float32Array),
    Float8(Float64Array),
    /// Arrays of float8, as text.
    Floats(ListArray),
    Text(StringViewArray),
    /// Text that has a version byte in binary.
    Jsonb(StringViewArray),
    /// µs since 1970; whether it is a point in time (`timestamptz`).
    Time(Vec<i64>, bool),
    /// Everything else: arrow-pg writes it.
    Other(ArrayRef, FieldRef, Arc<Vec<FieldInfo>>),
}

impl Column {
    fn new(array: &ArrayRef, field: &FieldRef, info: &FieldInfo, style: &Style) -> Result<Self> {
        let told = |e: arrow::error::ArrowError| Error::internal("a column cannot be written").caused_by(e);
        let to = |kind: &DataType| cast(array, kind).map_err(told);
        let values = match (info.datatype(), array.data_type()) {
            (_, DataType::Null) | (&Type::TEXT, _) => {
                Values::Text(to(&DataType::Utf8View)?.as_string_view().clone())
            }
            (&Type::BOOL, _) => Values::Bool(to(&DataType::Boolean)?.as_boolean().clone()),
            (&Type::INT2, _) => Values::Int2(to(&DataType::Int16)?.as_primitive::<Int16Type>().clone()),
            (&Type::INT4, _)
            | (&Type::OID | &Type::REGCLASS | &Type::REGTYPE | &Type::REGNAMESPACE, DataType::Int32) => {
                Values::Int4(to(&DataType::Int32)?.as_primitive::<Int32Type>().clone())
            }
            (&Type::INT8, _) => Values::Int8(to(&DataType::Int64)?.as_primitive::<Int64Type>().clone()),
            (&Type::FLOAT4, _) => {
                Values::Float4(to(&DataType::Float32)?.as_primitive::<Float32Type>().clone())
            }
            (&Type::FLOAT8, _) => {
                Values::Float8(to(&DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            (&Type::FLOAT8_ARRAY, DataType::List(_)) if info.format() != FieldFormat::Binary => {
                Values::Floats(array.as_list::<i32>().clone())
            }
            (&Type::JSONB, _) => Values::Jsonb(to(&DataType::Utf8View)?.as_string_view().clone()),
            (&Type::TIMESTAMP | &Type::TIMESTAMPTZ, DataType::Timestamp(unit, zone)) => {
                Values::Time(micros(array, *unit), zone.is_some())
            }
            (_, kind) => {
                let plain = match kind {
                    DataType::Dictionary(_, value) => to(value)?,
                    _ => Arc::clone(array),
                };
                let kind = plain.data_type().clone();
                let field = Arc::new(Field::clone(field).with_data_type(kind));
                let info = info.clone().with_format_options(Arc::clone(&style.options));
                Values::Other(plain, field, Arc::new(vec![info]))
            }
        };
        Ok(Self { values, nulls: array.logical_nulls(), binary: info.format() == FieldFormat::Binary })
    }

    fn write(&self, row: usize, out: &mut BytesMut, style: &Style) -> Result<()> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.put_i32(-1);
            return Ok(());
        }
        if let Values::Other(array, field, infos) = &self.values {
            // Its row is the length and the bytes, as here.
            let mut encoder = DataRowEncoder::new(Arc::clone(infos));
            arrow_pg::encoder::encode_value(&mut encoder, array, row, field, &infos[0])
                .map_err(|e| Error::new(crate::error::Kind::Execution, e.to_string()))?;
            out.put_slice(&encoder.take_row().data);
            return Ok(());
        }
        let start = out.len();
        out.put_i32(0);
        if self.binary {
            self.binary(row, out);
        } else {
            self.text(row, out, style);
        }
        let length = i32::try_from(out.len() - start - 4)
            .map_err(|_| Error::new(crate::error::Kind::Limit, "a value of more than 2 GiB"))?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn binary(&self, row: usize, out: &mut BytesMut) {
        match &self.values {
            Values::Bool(a) => out.put_u8(u8::from(a.value(row))),
            Values::Int2(a) => out.put_i16(a.value(row)),
            Values::Int4(a) => out.put_i32(a.value(row)),
            Values::Int8(a) => out.put_i64(a.value(row)),
            Values::Float4(a) => out.put_f32(a.value(row)),
            Values::Float8(a) => out.put_f64(a.value(row)),
            Values::Text(a) => out.put_slice(a.value(row).as_bytes()),
            Values::Jsonb(a) => {
                out.put_u8(1);
                out.put_slice(a.value(row).as_bytes());
            }
            Values::Time(us, _) => out.put_i64(us[row].saturating_sub(EPOCH_2000_US)),
            Values::Floats(_) | Values::Other(..) => unreachable!("written by arrow-pg"),
        }
    }

    fn text(&self, row: usize, out: &mut BytesMut, style: &Style) {
        match &self.values {
            Values::Bool(a) => out.put_u8(if a.value(row) { b't' } else { b'f' }),
            Values::Int2(a) => out.put_slice(itoa::Buffer::new().format(a.value(row)).as_bytes()),
            Values::Int4(a) => out.put_slice(itoa::Buffer::new().format(a.value(row)).as_bytes()),
            Values::Int8(a) => out.put_slice(itoa::Buffer::new().format(a.value(row)).as_bytes()),
            Values::Float4(a) => {
                let value = a.value(row);
                push_float(out, f64::from(value), &format!("{value:e}"), (6, style.float_digits));
            }
            Values::Float8(a) => push_float8(out, a.value(row), style),
            Values::Floats(a) => {
                let items = a.value(row);
                out.put_u8(b'{');
                for (at, value) in items.as_primitive::<Float64Type>().iter().enumerate() {
                    out.put_slice(if at == 0 { b"" } else { b"," });
                    match value {
                        Some(value) => push_float8(out, value, style),
                        None => out.put_slice(b"NULL"),
                    }
                }
                out.put_u8(b'}');
            }
            Values::Text(a) | Values::Jsonb(a) => out.put_slice(a.value(row).as_bytes()),
            Values::Time(us, zoned) => push_time(out, us[row], zoned.then_some(style.zone)),
            Values::Other(..) => unreachable!("written by arrow-pg"),
        }
    }
}

/// Any timestamps in µs; what does not fit becomes the nearest that does.
fn micros(array: &ArrayRef, unit: TimeUnit) -> Vec<i64> {
    let scale = |values: &[i64], factor: i64| values.iter().map(|v| v.saturating_mul(factor)).collect();
    match unit {
        TimeUnit::Second => scale(array.as_primitive::<TimestampSecondType>().values(), 1_000_000),
        TimeUnit::Millisecond => scale(array.as_primitive::<TimestampMillisecondType>().values(), 1_000),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values().to_vec(),
        TimeUnit::Nanosecond => {
            let values = array.as_primitive::<TimestampNanosecondType>().values();
            values.iter().map(|v| v.div_euclid(1_000)).collect()
        }
    }
}

fn push_float8(out: &mut BytesMut, value: f64, style: &Style) {
    push_float(out, value, &format!("{value:e}"), (15, style.float_digits));
}

/// A float as `PostgreSQL` 12 and later print it: `shortest` digits in fixed notation from 1e-4 up to `decimal`
/// digits, otherwise `1.5e+20`. With `extra_float_digits` below 1: that many digits fewer than `decimal`.
fn push_float(out: &mut BytesMut, value: f64, shortest: &str, (decimal, extra): (i8, i8)) {
    if value.is_nan() {
        return out.put_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.put_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    let rounded;
    let (scientific, limit) = if extra >= 1 {
        (shortest, i32::from(decimal))
    } else {
        let precision = (decimal + extra).max(1);
        rounded = format!("{value:.*e}", usize::from(precision.unsigned_abs()) - 1);
        (rounded.as_str(), i32::from(precision))
    };
    let (mantissa, exponent) = scientific.split_once('e').expect("LowerExp writes an exponent");
    let exponent: i32 = exponent.parse().expect("LowerExp writes a whole exponent");
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let digits = if digits.len() > 1 { digits.trim_end_matches('0') } else { &digits };
    let digits = if digits.is_empty() { "0" } else { digits };
    out.put_slice(sign.as_bytes());
    if !(-4..limit).contains(&exponent) {
        let (head, tail) = digits.split_at(1);
        let point = if tail.is_empty() { "" } else { "." };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        write!(out.writer(), "{head}{point}{tail}e{exponent_sign}{:02}", exponent.abs())
            .expect("writing to memory cannot fail");
    } else if exponent < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', usize::try_from(-exponent - 1).unwrap_or_default());
        out.put_slice(digits.as_bytes());
    } else {
        let whole = usize::try_from(exponent).unwrap_or_default() + 1;
        let split = whole.min(digits.len());
        out.put_slice(&digits.as_bytes()[..split]);
        out.put_bytes(b'0', whole - split);
        if split < digits.len() {
            out.put_u8(b'.');
            out.put_slice(&digits.as_bytes()[split..]);
        }
    }
}

/// `2026-11-21 14:00:00.5+01`; years before 1 are counted from 1 BC.
fn push_time(out: &mut BytesMut, us: i64, zone: Option<Tz>) {
    let Some(utc) = DateTime::from_timestamp_micros(us) else {
        return out.put_slice(if us > 0 { b"infinity" } else { b"-infinity" });
    };
    let (local, offset): (NaiveDateTime, Option<i32>) = match zone {
        Some(zone) => {
            let there = zone.from_utc_datetime(&utc.naive_utc());
            (there.naive_local(), Some(there.offset().fix().local_minus_utc()))
        }
        None => (utc.naive_utc(), None),
    };
    let (year, era) = if local.year() > 0 { (local.year(), "") } else { (1 - local.year(), " BC") };
    let mut text = out.writer();
    let told = "writing to memory cannot fail";
    write!(text, "{year:04}-{:02}-{:02} ", local.month(), local.day()).expect(told);
    write!(text, "{:02}:{:02}:{:02}", local.hour(), local.minute(), local.second()).expect(told);
    let micro = local.nanosecond() / 1_000;
    if micro > 0 {
        write!(text, ".{}", format!("{micro:06}").trim_end_matches('0')).expect(told);
    }
    if let Some(seconds) = offset {
        let sign = if seconds < 0 { '-' } else { '+' };
        let seconds = seconds.abs();
        write!(text, "{sign}{:02}", seconds / 3_600).expect(told);
        if seconds % 3_600 > 0 {
            write!(text, ":{:02}", seconds / 60 % 60).expect(told);
        }
        if seconds % 60 > 0 {
            write!(text, ":{:02}", seconds % 60).expect(told);
        }
    }
    text.write_all(era.as_bytes()).expect(told);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(value: f64, extra: i8) -> String {
        let mut out = BytesMut::new();
        push_float(&mut out, value, &format!("{value:e}"), (15, extra));
        String::from_utf8(out.to_vec()).expect("digits")
    }

    #[test]
    fn floats_are_printed_as_by_postgres_16() {
        let cases = [
            (1.0, "1"),
            (0.0, "0"),
            (-0.0, "-0"),
            (-20.5, "-20.5"),
            (0.1, "0.1"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (123_456_789_012_345.6, "123456789012345.6"),
            (1e-4, "0.0001"),
            (1.5e-5, "1.5e-05"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in cases {
            assert_eq!(float(value, 1), text);
        }
        assert_eq!(float(0.1 + 0.2, 1), "0.30000000000000004");
        assert_eq!(float(0.1 + 0.2, 0), "0.3");
        assert_eq!(float(1234.5, -12), "1.23e+03");
    }

    fn time(us: i64, zone: Option<&str>) -> String {
        let mut out = BytesMut::new();
        push_time(&mut out, us, zone.map(|z| z.parse().expect("a zone")));
        String::from_utf8(out.to_vec()).expect("text")
    }

    #[test]
    fn times_are_printed_in_the_session_s_zone() {
        assert_eq!(time(0, Some("UTC")), "1970-01-01 00:00:00+00");
        assert_eq!(time(1_500, Some("UTC")), "1970-01-01 00:00:00.0015+00");
        assert_eq!(time(0, Some("Asia/Kolkata")), "1970-01-01 05:30:00+05:30");
        assert_eq!(time(0, Some("-03:30")), "1969-12-31 20:30:00-03:30");
        assert_eq!(time(-1, None), "1969-12-31 23:59:59.999999");
        assert_eq!(time(-62_198_755_200_000_000, None), "0002-01-01 00:00:00 BC");
        assert_eq!(time(i64::MAX, None), "infinity");
    }
}
