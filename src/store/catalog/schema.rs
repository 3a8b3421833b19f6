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
