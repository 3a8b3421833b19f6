//! Arrow schemas as Delta's `schemaString`. Types that Delta does not have are refused.

use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// The table property that names the layout of the files.
pub(super) const FORMAT_KEY: &str = "quipu.format";
pub(super) const FORMAT_VERSION: &str = "1";

/// The JSON text of a schema, keys in a fixed order.
///
/// # Errors
/// `Unsupported` naming the column for a type that Delta does not have.
pub(super) fn schema_string(schema: &Schema) -> Result<String> {
    let fields: Vec<Value> = schema.fields().iter().map(|f| field(f)).collect::<Result<_>>()?;
    Ok(json!({ "type": "struct", "fields": fields }).to_string())
}

/// A schema's text with the columns that it lacks, behind those that it has; `None` when it has them all.
///
/// # Errors
/// `Corrupt` when the text is no schema, `Unsupported` for a type that Delta does not have.
pub(super) fn with_columns(schema: &str, columns: &[Field]) -> Result<Option<String>> {
    let mut fields = fields(schema)?;
    let before = fields.len();
    for column in columns {
        if !fields.iter().any(|known| known["name"] == **column.name()) {
            fields.push(field(column)?);
        }
    }
    Ok((fields.len() > before).then(|| json!({ "type": "struct", "fields": fields }).to_string()))
}

/// The names of the columns of a schema's text.
pub(super) fn column_names(schema: &str) -> Vec<String> {
    let fields = fields(schema).unwrap_or_default();
    fields.iter().filter_map(|field| field["name"].as_str().map(str::to_owned)).collect()
}

/// Whether a table's schema is the expected one, with optional columns behind it when it may have grown.
pub(super) fn is_expected(found: &str, expected: &str, may_grow: bool) -> bool {
    let (Ok(found), Ok(expected)) = (fields(found), fields(expected)) else { return false };
    let Some((head, tail)) = found.split_at_checked(expected.len()) else { return false };
    head == expected && tail.iter().all(|field| may_grow && field["nullable"] == true)
}

fn fields(schema: &str) -> Result<Vec<Value>> {
    let parsed: Option<Value> = serde_json::from_str(schema).ok();
    let fields = parsed.as_ref().and_then(|schema| schema.get("fields")).and_then(Value::as_array);
    fields.cloned().ok_or_else(|| Error::corrupt("a table's schema cannot be read"))
}

fn field(field: &Field) -> Result<Value> {
    let data_type = delta_type(field.data_type()).map_err(|e| e.with("column", field.name()))?;
    Ok(json!({ "name": field.name(), "type": data_type, "nullable": field.is_nullable(), "metadata": {} }))
}

fn delta_type(data_type: &DataType) -> Result<Value> {
    let name = match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string",
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => "binary",
        DataType::Boolean => "boolean",
        DataType::Int8 => "byte",
        DataType::Int16 => "short",
        DataType::Int32 => "integer",
        DataType::Int64 => "long",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Date32 => "date",
        DataType::Timestamp(_, Some(_)) => "timestamp",
        DataType::Dictionary(_, values) => return delta_type(values),
        DataType::List(item) => {
            let element = delta_type(item.data_type())?;
            let nulls = item.is_nullable();
            return Ok(json!({ "type": "array", "elementType": element, "containsNull": nulls }));
        }
        DataType::Map(entries, _) => return map_type(entries),
        DataType::Struct(fields) => {
            let fields: Vec<Value> = fields.iter().map(|f| field(f)).collect::<Result<_>>()?;
            return Ok(json!({ "type": "struct", "fields": fields }));
        }
        other => return Err(Error::unsupported(format!("column type {other} in a Delta table"))),
    };
    Ok(name.into())
}

fn map_type(entries: &Field) -> Result<Value> {
    let DataType::Struct(pair) = entries.data_type() else {
        return Err(Error::internal("the entries of a map are a struct"));
    };
    let [key, value] = pair.iter().as_slice() else {
        return Err(Error::internal("the entries of a map are key and value"));
    };
    Ok(json!({
        "type": "map",
        "keyType": delta_type(key.data_type())?,
        "valueType": delta_type(value.data_type())?,
        "valueContainsNull": value.is_nullable(),
    }))
}
