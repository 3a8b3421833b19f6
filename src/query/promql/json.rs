//! Tree to JSON, as Prometheus' `parse_query` answers for tree views (`web/api/v1/translate_ast.go`). Durations
//! are milliseconds; one that depends on the query's step or range is 0, as there.

use serde_json::{Value, json};

use super::ast::{At, Cardinality, Edges, Expr, ExprKind, Matching, NumberLiteral, VectorSelector};
use super::duration::Duration;
use super::functions::Function;
use crate::model::Matcher;

/// The tree of an expression.
pub(in crate::query) fn to_json(expr: &Expr) -> Value {
    match &expr.kind {
        ExprKind::Number(number) => {
            let plain = NumberLiteral { is_duration: false, ..*number };
            json!({"type": "numberLiteral", "val": plain.to_string()})
        }
        ExprKind::String(string) => {
            json!({"type": "stringLiteral", "val": String::from_utf8_lossy(&string.bytes)})
        }
        ExprKind::Vector(vector) => selector("vectorSelector", vector),
        ExprKind::Matrix(matrix) => {
            let mut node = selector("matrixSelector", &matrix.selector);
            node["range"] = milliseconds(Some(&matrix.range));
            node
        }
        ExprKind::Subquery(subquery) => json!({
            "type": "subquery",
            "expr": to_json(&subquery.expr),
            "range": milliseconds(Some(&subquery.range)),
            "step": milliseconds(subquery.step.as_ref()),
            "offset": milliseconds(subquery.offset.as_ref()),
            "timestamp": timestamp(subquery.at),
            "startOrEnd": start_or_end(subquery.at),
        }),
        ExprKind::Unary(unary) => json!({
            "type": "unaryExpr",
            "op": if unary.negative { "-" } else { "+" },
            "expr": to_json(&unary.expr),
        }),
        ExprKind::Binary(binary) => json!({
            "type": "binaryExpr",
            "op": binary.op.as_str(),
            "lhs": to_json(&binary.left),
            "rhs": to_json(&binary.right),
            "matching": binary.matching.as_ref().map(matching),
            "bool": binary.returns_bool,
        }),
        ExprKind::Aggregate(aggregate) => json!({
            "type": "aggregation",
            "op": aggregate.op.as_str(),
            "expr": to_json(&aggregate.expr),
            "param": aggregate.param.as_ref().map(to_json),
            "grouping": aggregate.grouping,
            "without": aggregate.without,
        }),
        ExprKind::Call(call) => json!({
            "type": "call",
            "func": function(call.function),
            "args": call.args.iter().map(to_json).collect::<Vec<_>>(),
        }),
        ExprKind::Paren(inner) => json!({"type": "parenExpr", "expr": to_json(inner)}),
    }
}

fn selector(kind: &str, selector: &VectorSelector) -> Value {
    json!({
        "type": kind,
        "name": selector.name.as_deref().unwrap_or_default(),
        "offset": milliseconds(selector.offset.as_ref()),
        "matchers": selector.matchers.iter().map(matcher).collect::<Vec<_>>(),
        "timestamp": timestamp(selector.at),
        "startOrEnd": start_or_end(selector.at),
        "anchored": selector.edges == Some(Edges::Anchored),
        "smoothed": selector.edges == Some(Edges::Smoothed),
    })
}

fn matcher(matcher: &Matcher) -> Value {
    json!({"name": matcher.name(), "value": matcher.value(), "type": matcher.op().as_str()})
}

fn matching(matching: &Matching) -> Value {
    let cardinality = match matching.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    json!({
        "card": cardinality,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    })
}

fn function(function: &Function) -> Value {
    json!({
        "name": function.name,
        "argTypes": function.args.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
        "variadic": function.variadic,
        "returnType": function.returns.as_str(),
    })
}

fn milliseconds(duration: Option<&Duration>) -> Value {
    match duration {
        Some(Duration::Fixed(ms)) => json!(ms),
        Some(Duration::Open(_)) | None => json!(0),
    }
}

fn timestamp(at: Option<At>) -> Value {
    match at {
        Some(At::Time(ms)) => json!(ms),
        _ => Value::Null,
    }
}

fn start_or_end(at: Option<At>) -> Value {
    match at {
        Some(At::Start) => json!("start"),
        Some(At::End) => json!("end"),
        _ => Value::Null,
    }
}
