//! `jsonb` values: Arrow text whose field says so, and the operators `->`, `->>` and `?` over them.
//!
//! Label sets are written as `PostgreSQL` prints jsonb (`{"a": "b", "c": "d"}`). Only what label sets need is
//! here: objects of text. `->` on a number (array element) is refused.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringViewArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, ExprSchema as _, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::sqlparser::ast::BinaryOperator;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::model::LabelsRef;

/// The metadata key of a field whose `PostgreSQL` type is not the one of its Arrow type.
pub(crate) const PG_TYPE: &str = "pg.type";
const JSONB: &str = "jsonb";

/// A jsonb column.
pub(super) fn field(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Utf8View, nullable).with_metadata(metadata())
}

fn metadata() -> HashMap<String, String> {
    HashMap::from([(PG_TYPE.to_owned(), JSONB.to_owned())])
}

/// Whether a field holds jsonb.
pub(crate) fn is_jsonb(field: &Field) -> bool {
    field.metadata().get(PG_TYPE).is_some_and(|kind| kind == JSONB)
}

/// Appends a label set as jsonb text.
pub(super) fn push_labels(out: &mut String, labels: LabelsRef<'_>) {
    out.push('{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        push_text(out, name);
        out.push_str(": ");
        push_text(out, value);
    }
    out.push('}');
}

fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("writing to a String cannot fail");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Which operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Access {
    /// `->`: the member as jsonb.
    Member,
    /// `->>`: the member as text.
    Text,
    /// `?`: whether there is such a member.
    Exists,
}

impl Access {
    const ALL: [Self; 3] = [Self::Member, Self::Text, Self::Exists];

    fn function_name(self) -> &'static str {
        match self {
            Self::Member => "jsonb_object_field",
            Self::Text => "jsonb_object_field_text",
            Self::Exists => "jsonb_exists",
        }
    }
}

/// The function behind one operator, under `PostgreSQL`'s own name for it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct JsonAccess {
    access: Access,
    signature: Signature,
}

/// All functions of this file.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    Access::ALL.into_iter().map(function).collect()
}

fn function(access: Access) -> Arc<ScalarUDF> {
    let signature = Signature::string(2, Volatility::Immutable);
    Arc::new(ScalarUDF::from(JsonAccess { access, signature }))
}

/// `expression ->> 'name'` with the expression and the name, if that is what it is.
pub(super) fn as_text_access(expr: &Expr) -> Option<(&Expr, &str)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    if call.func.name() != Access::Text.function_name() || call.args.len() != 2 {
        return None;
    }
    let Expr::Literal(name, _) = &call.args[1] else { return None };
    Some((&call.args[0], name.try_as_str()??))
}

impl ScalarUDFImpl for JsonAccess {
    fn name(&self) -> &str {
        self.access.function_name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.access {
            Access::Member | Access::Text => DataType::Utf8View,
            Access::Exists => DataType::Boolean,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = Field::new(self.name(), self.return_type(&[])?, true);
        let jsonb = self.access == Access::Member && !args.arg_fields.is_empty();
        Ok(Arc::new(if jsonb { field.with_metadata(metadata()) } else { field }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let [document, name] = args.args.as_slice() else {
            return exec_err!("{} takes two arguments", self.name());
        };
        let ColumnarValue::Scalar(name) = name else {
            return exec_err!("not supported yet: a jsonb key that is not a constant");
        };
        let Some(Some(name)) = name.try_as_str() else {
            let null = ScalarValue::try_from(&self.return_type(&[])?)?;
            return Ok(ColumnarValue::Scalar(null));
        };
        let documents = as_views(document, rows)?;
        let out: ArrayRef = match self.access {
            Access::Exists => Arc::new(each(&documents, |text| member(text, name).map(|m| m.is_some()))?),
            Access::Text | Access::Member => {
                let mut out = StringViewBuilder::with_capacity(documents.len());
                let mut last: Option<(u128, Option<String>)> = None;
                for (row, view) in documents.views().iter().enumerate() {
                    if documents.is_null(row) {
                        out.append_null();
                        continue;
                    }
                    // A run of rows of one series shares its view: the document is read once a run.
                    if last.as_ref().is_none_or(|(seen, _)| seen != view) {
                        last = Some((*view, self.read(documents.value(row), name)?));
                    }
                    out.append_option(last.as_ref().and_then(|(_, value)| value.as_deref()));
                }
                Arc::new(out.finish())
            }
        };
        Ok(ColumnarValue::Array(out))
    }
}

impl JsonAccess {
    fn read(&self, document: &str, name: &str) -> Result<Option<String>> {
        let Some(value) = member(document, name)? else { return Ok(None) };
        Ok(match (self.access, value) {
            (Access::Text, serde_json::Value::Null) => None,
            (Access::Text, serde_json::Value::String(text)) => Some(text),
            (_, value) => Some(value.to_string()),
        })
    }
}

fn each(documents: &StringViewArray, test: impl Fn(&str) -> Result<bool>) -> Result<BooleanArray> {
    documents.iter().map(|document| document.map(&test).transpose()).collect()
}

fn as_views(value: &ColumnarValue, rows: usize) -> Result<StringViewArray> {
    let array = value.to_array(rows)?;
    Ok(cast(&array, &DataType::Utf8View)?.as_string_view().clone())
}

fn member(document: &str, name: &str) -> Result<Option<serde_json::Value>> {
    let parsed: serde_json::Value = serde_json::from_str(document)
        .map_err(|e| DataFusionError::Execution(format!("invalid input syntax for type json: {e}")))?;
    match parsed {
        serde_json::Value::Object(mut members) => Ok(members.remove(name)),
        _ => Ok(None),
    }
}

/// Plans the operators.
#[derive(Debug)]
pub(super) struct JsonOperators;

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &datafusion::common::DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let access = match &expr.op {
            BinaryOperator::Arrow => Access::Member,
            BinaryOperator::LongArrow => Access::Text,
            BinaryOperator::Question => Access::Exists,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        if let Expr::Column(column) = &expr.left
            && let Ok(field) = schema.field_from_column(column)
            && !is_jsonb(field)
        {
            return plan_err!("operator does not exist: {} {} text", field.data_type(), expr.op);
        }
        Ok(PlannerResult::Planned(function(access).call(vec![expr.left, expr.right])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    #[test]
    fn labels_read_back() -> crate::error::Result<()> {
        let labels = Labels::from_pairs([("job", "a\"b\\c"), ("zone", "line\nbreak\u{1}"), ("le", "+Inf")])?;
        let mut text = String::new();
        push_labels(&mut text, labels.as_ref());
        assert_eq!(text, r#"{"job": "a\"b\\c", "le": "+Inf", "zone": "line\nbreak\u0001"}"#);
        for (name, value) in &labels {
            let found = member(&text, name).expect("valid json");
            assert_eq!(found, Some(serde_json::Value::String(value.to_owned())));
        }
        assert_eq!(member(&text, "absent").expect("valid json"), None);
        assert!(member("{", "a").is_err());
        Ok(())
    }
}
