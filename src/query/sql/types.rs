//! `PostgreSQL`'s types of Arrow fields: one table for the wire, `pg_attribute` and `information_schema`.

use arrow::datatypes::{DataType, Field};

use super::jsonb;

/// A `PostgreSQL` type as clients know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgType {
    /// `pg_type.oid`.
    pub oid: u32,
    /// `pg_type.typname`.
    pub name: &'static str,
    /// The spelling of `information_schema` and `format_type()`.
    pub sql_name: &'static str,
    /// `pg_type.typlen`: bytes, or -1 where it varies.
    pub len: i16,
}

const fn pg(oid: u32, name: &'static str, sql_name: &'static str, len: i16) -> PgType {
    PgType { oid, name, sql_name, len }
}

const BOOL: PgType = pg(16, "bool", "boolean", 1);
const BYTEA: PgType = pg(17, "bytea", "bytea", -1);
const CHAR: PgType = pg(18, "char", "\"char\"", 1);
const INT8: PgType = pg(20, "int8", "bigint", 8);
const INT2: PgType = pg(21, "int2", "smallint", 2);
const INT4: PgType = pg(23, "int4", "integer", 4);
const TEXT: PgType = pg(25, "text", "text", -1);
const OID: PgType = pg(26, "oid", "oid", 4);
const FLOAT4: PgType = pg(700, "float4", "real", 4);
const FLOAT8: PgType = pg(701, "float8", "double precision", 8);
const DATE: PgType = pg(1082, "date", "date", 4);
const TIME: PgType = pg(1083, "time", "time without time zone", 8);
const TIMESTAMP: PgType = pg(1114, "timestamp", "timestamp without time zone", 8);
const TIMESTAMPTZ: PgType = pg(1184, "timestamptz", "timestamp with time zone", 8);
const INTERVAL: PgType = pg(1186, "interval", "interval", 16);
const NUMERIC: PgType = pg(1700, "numeric", "numeric", -1);
const REGCLASS: PgType = pg(2205, "regclass", "regclass", 4);
const REGTYPE: PgType = pg(2206, "regtype", "regtype", 4);
const JSONB: PgType = pg(3802, "jsonb", "jsonb", -1);
const REGNAMESPACE: PgType = pg(4089, "regnamespace", "regnamespace", 4);
const REGPROC: PgType = pg(24, "regproc", "regproc", 4);

/// The type of a field; `None` for what `PostgreSQL`'s protocol cannot carry here (maps, unions).
pub fn pg_type(field: &Field) -> Option<PgType> {
    if jsonb::is_jsonb(field) {
        return Some(JSONB);
    }
    // The marks that datafusion-pg-catalog puts on its tables' columns.
    if let Some(kind) = field.metadata().get("pg.oid_alias") {
        return Some(match kind.as_str() {
            "regclass" => REGCLASS,
            "regtype" => REGTYPE,
            "regnamespace" => REGNAMESPACE,
            "regproc" => REGPROC,
            _ => OID,
        });
    }
    if field.metadata().contains_key("pg.char") {
        return Some(CHAR);
    }
    of_arrow(field.data_type())
}

fn of_arrow(kind: &DataType) -> Option<PgType> {
    Some(match kind {
        DataType::Boolean => BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => INT2,
        DataType::Int32 | DataType::UInt16 => INT4,
        DataType::Int64 | DataType::UInt32 => INT8,
        DataType::UInt64 | DataType::Decimal128(..) => NUMERIC,
        DataType::Float16 | DataType::Float32 => FLOAT4,
        DataType::Float64 => FLOAT8,
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => TEXT,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            BYTEA
        }
        DataType::Date32 | DataType::Date64 => DATE,
        DataType::Time32(_) | DataType::Time64(_) => TIME,
        DataType::Timestamp(_, None) => TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => TIMESTAMPTZ,
        DataType::Interval(_) | DataType::Duration(_) => INTERVAL,
        DataType::Dictionary(_, value) => of_arrow(value)?,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            array_of(of_arrow(item.data_type())?)?
        }
        _ => return None,
    })
}

fn array_of(item: PgType) -> Option<PgType> {
    let (oid, name) = match item {
        BOOL => (1000, "_bool"),
        BYTEA => (1001, "_bytea"),
        INT2 => (1005, "_int2"),
        INT4 => (1007, "_int4"),
        TEXT => (1009, "_text"),
        INT8 => (1016, "_int8"),
        FLOAT4 => (1021, "_float4"),
        FLOAT8 => (1022, "_float8"),
        TIMESTAMP => (1115, "_timestamp"),
        DATE => (1182, "_date"),
        TIME => (1183, "_time"),
        TIMESTAMPTZ => (1185, "_timestamptz"),
        INTERVAL => (1187, "_interval"),
        NUMERIC => (1231, "_numeric"),
        _ => return None,
    };
    Some(pg(oid, name, "ARRAY", -1))
}
