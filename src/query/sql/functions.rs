//! Functions that `PostgreSQL`'s clients call and `DataFusion` does not have. Most describe what quipu has none
//! of (indexes, rules, triggers, sequences) and say so with NULL, zero or false.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StringArray, StringBuilder};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::errors::external;
use super::session::Facts;
use super::settings::SERVER_VERSION;
use crate::error::{Error, Result as OurResult};

type Body = Arc<dyn Fn(&[ColumnarValue], usize) -> Result<ColumnarValue> + Send + Sync>;

/// A function of any arguments.
struct Function {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    body: Body,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.body, &other.body)
    }
}

impl Eq for Function {}

impl std::hash::Hash for Function {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        (self.body)(&args.args, args.number_rows)
    }
}

fn function(name: &'static str, returns: DataType, volatility: Volatility, body: Body) -> Arc<ScalarUDF> {
    let any = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
    let signature = Signature::new(any, volatility);
    Arc::new(ScalarUDF::from(Function { name, signature, returns, body }))
}

fn fixed(name: &'static str, value: ScalarValue) -> Arc<ScalarUDF> {
    let returns = value.data_type();
    function(
        name,
        returns,
        Volatility::Stable,
        Arc::new(move |_, _| Ok(ColumnarValue::Scalar(value.clone()))),
    )
}

fn text(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(value.to_owned()))
}

#[rustfmt::skip]
const NULL_TEXT: &[&str] = &[
    "obj_description", "col_description", "shobj_description", "pg_get_indexdef", "pg_get_viewdef",
    "pg_get_serial_sequence", "pg_get_ruledef", "pg_get_triggerdef", "pg_get_functiondef",
    "pg_get_function_arguments", "pg_get_function_identity_arguments", "pg_get_function_result",
    "pg_get_function_sqlbody", "pg_get_statisticsobjdef", "pg_tablespace_location", "pg_relation_filepath",
    "pg_get_partition_constraintdef", "pg_describe_object", "inet_server_addr", "inet_client_addr",
];

#[rustfmt::skip]
const TRUE: &[&str] = &[
    "pg_type_is_visible", "pg_function_is_visible", "pg_operator_is_visible", "pg_opclass_is_visible",
    "pg_opfamily_is_visible", "pg_collation_is_visible", "pg_conversion_is_visible",
    "pg_statistics_obj_is_visible", "pg_ts_config_is_visible", "pg_ts_dict_is_visible",
    "pg_ts_parser_is_visible", "pg_ts_template_is_visible", "pg_has_role", "has_column_privilege",
    "has_function_privilege", "has_type_privilege", "has_language_privilege",
];

const FALSE: &[&str] = &[
    "pg_is_in_recovery",
    "pg_is_other_temp_schema",
    "has_sequence_privilege",
    "has_tablespace_privilege",
    "has_foreign_data_wrapper_privilege",
    "has_server_privilege",
];

const ZERO: &[&str] =
    &["pg_table_size", "pg_indexes_size", "pg_database_size", "pg_tablespace_size", "txid_current"];

/// Functions that are the same in every session.
pub(super) fn constant() -> Vec<Arc<ScalarUDF>> {
    let mut all: Vec<_> = NULL_TEXT.iter().map(|name| fixed(name, ScalarValue::Utf8(None))).collect();
    all.extend(TRUE.iter().map(|name| fixed(name, ScalarValue::Boolean(Some(true)))));
    all.extend(FALSE.iter().map(|name| fixed(name, ScalarValue::Boolean(Some(false)))));
    all.extend(ZERO.iter().map(|name| fixed(name, ScalarValue::Int64(Some(0)))));
    let version = format!("PostgreSQL {SERVER_VERSION} (quipu {})", env!("CARGO_PKG_VERSION"));
    all.push(fixed("version", text(&version)));
    all.push(fixed("getdatabaseencoding", text("UTF8")));
    all.push(fixed("pg_client_encoding", text("UTF8")));
    all.push(fixed("pg_char_to_encoding", ScalarValue::Int32(Some(6))));
    all.push(fixed("pg_my_temp_schema", ScalarValue::Int32(Some(0))));
    all.push(fixed("inet_server_port", ScalarValue::Int32(None)));
    // A connection holds no advisory locks, because it cannot take any.
    all.push(fixed("pg_advisory_unlock_all", text("")));
    all.push(each_text("quote_literal", |value| format!("'{}'", value.replace('\'', "''"))));
    all.push(function("pg_size_pretty", DataType::Utf8, Volatility::Immutable, Arc::new(size_pretty)));
    all
}

/// Functions that speak of the connection.
pub(super) fn of_session(facts: &Facts) -> Vec<Arc<ScalarUDF>> {
    let mut all = vec![fixed("pg_backend_pid", ScalarValue::Int32(Some(facts.pid)))];
    for name in ["session_user", "current_user", "user", "pg_get_userbyid"] {
        all.push(fixed(name, text(&facts.user)));
    }
    for name in ["current_database", "current_catalog"] {
        all.push(fixed(name, text(&facts.database)));
    }
    let settings = facts.settings.clone();
    all.push(function(
        "current_schema",
        DataType::Utf8,
        Volatility::Stable,
        Arc::new(move |_, _| {
            Ok(ColumnarValue::Scalar(ScalarValue::Utf8(settings.search_path().into_iter().next())))
        }),
    ));
    let settings = facts.settings.clone();
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    all.push(function(
        "current_schemas",
        list,
        Volatility::Stable,
        Arc::new(move |args, _| {
            let implied =
                matches!(args.first(), Some(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))));
            let mut path = settings.search_path();
            if implied && !path.iter().any(|s| s == "pg_catalog") {
                path.insert(0, "pg_catalog".to_owned());
            }
            let offsets = OffsetBuffer::from_lengths([path.len()]);
            let field = Arc::new(Field::new_list_field(DataType::Utf8, true));
            let values = Arc::new(StringArray::from(path));
            Ok(ColumnarValue::Scalar(ScalarValue::List(Arc::new(ListArray::new(
                field, offsets, values, None,
            )))))
        }),
    ));
    let facts = facts.clone();
    let current = facts.clone();
    all.push(function(
        "current_setting",
        DataType::Utf8,
        Volatility::Stable,
        Arc::new(move |args, _| {
            let name = constant_text("current_setting", args, 0)?;
            let missing_ok =
                matches!(args.get(1), Some(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))));
            let value = match current.settings.get(&name) {
                Ok(value) => Some(value),
                Err(_) if missing_ok => None,
                Err(error) => return Err(external(error)),
            };
            Ok(ColumnarValue::Scalar(ScalarValue::Utf8(value)))
        }),
    ));
    all.push(function(
        "set_config",
        DataType::Utf8,
        Volatility::Volatile,
        Arc::new(move |args, _| {
            let (name, value) =
                (constant_text("set_config", args, 0)?, constant_text("set_config", args, 1)?);
            let local = matches!(args.get(2), Some(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))));
            let done: OurResult<String> =
                facts.settings.set(&name, Some(&value), local).and_then(|()| facts.settings.get(&name));
            Ok(ColumnarValue::Scalar(text(&done.map_err(external)?)))
        }),
    ));
    all
}

fn constant_text(name: &str, args: &[ColumnarValue], index: usize) -> Result<String> {
    match args.get(index) {
        Some(ColumnarValue::Scalar(value)) if value.try_as_str().is_some() => {
            Ok(value.try_as_str().flatten().unwrap_or_default().to_owned())
        }
        _ => {
            Err(external(Error::invalid(format!("argument {} of {name} must be a constant text", index + 1))))
        }
    }
}

fn each_text(name: &'static str, convert: fn(&str) -> String) -> Arc<ScalarUDF> {
    function(
        name,
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(move |args, rows| {
            let array = argument(name, args, rows, &DataType::Utf8)?;
            let values: &StringArray = downcast(&array);
            Ok(ColumnarValue::Array(Arc::new(values.iter().map(|v| v.map(convert)).collect::<StringArray>())))
        }),
    )
}

fn argument(name: &str, args: &[ColumnarValue], rows: usize, kind: &DataType) -> Result<ArrayRef> {
    let missing = || external(Error::invalid(format!("{name} takes an argument")));
    Ok(cast(&args.first().ok_or_else(missing)?.to_array(rows)?, kind)?)
}

fn downcast<T: 'static>(array: &ArrayRef) -> &T {
    array.as_any().downcast_ref().expect("the array was cast to this type")
}

/// `1024 kB`: `PostgreSQL` changes the unit at ten times its size.
fn size_pretty(args: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    let array = argument("pg_size_pretty", args, rows, &DataType::Int64)?;
    let values: &arrow::array::Int64Array = downcast(&array);
    let mut out = StringBuilder::new();
    for value in values {
        out.append_option(value.map(|bytes| {
            let (mut size, mut units) = (bytes, ["bytes", "kB", "MB", "GB", "TB", "PB"].iter());
            let mut unit = units.next().unwrap_or(&"bytes");
            while size.unsigned_abs() >= 10_240 {
                let Some(next) = units.next() else { break };
                (size, unit) = ((size + 512).div_euclid(1_024), next);
            }
            format!("{size} {unit}")
        }));
    }
    Ok(ColumnarValue::Array(Arc::new(out.finish())))
}
