//! Types: what may stand where. Prometheus checks a tree after it has been read, depth first, and reports the
//! first thing that is wrong; the order of the checks here is its order.

use super::ast::{Aggregate, Binary, Call, Cardinality, Expr, ExprKind, Matching, VectorSelector};
use super::functions::ValueType;
use super::parse_error;
use super::quote::quote;
use super::span::Span;
use crate::error::Result;
use crate::model::METRIC_NAME;

/// Checks a tree and settles how operands match: `many-to-many` for set operators, nothing where a side is a
/// scalar.
///
/// # Errors
/// `Syntax` at the first node that does not fit.
pub(super) fn check(expr: &mut Expr, text: &str) -> Result<ValueType> {
    let span = expr.span;
    match &mut expr.kind {
        ExprKind::Number(_) => Ok(ValueType::Scalar),
        ExprKind::String(_) => Ok(ValueType::String),
        ExprKind::Vector(selector) => {
            check_selector(selector, span, text, false)?;
            Ok(ValueType::Vector)
        }
        ExprKind::Matrix(matrix) => {
            check_selector(&matrix.selector, matrix.selector_span, text, false)?;
            Ok(ValueType::Matrix)
        }
        ExprKind::Subquery(subquery) => {
            let of = check(&mut subquery.expr, text)?;
            if of != ValueType::Vector {
                let of = of.as_str();
                let message = format!("subquery is only allowed on instant vector, got {of} instead");
                return Err(parse_error(text, span, &message));
            }
            Ok(ValueType::Matrix)
        }
        ExprKind::Unary(unary) => {
            let of = check(&mut unary.expr, text)?;
            if !matches!(of, ValueType::Scalar | ValueType::Vector) {
                let of = of.documented();
                let message = format!(
                    "unary expression only allowed on expressions of type scalar or instant vector, got \"{of}\""
                );
                return Err(parse_error(text, span, &message));
            }
            Ok(of)
        }
        ExprKind::Binary(binary) => check_binary(binary, span, text),
        ExprKind::Aggregate(aggregate) => check_aggregate(aggregate, text),
        ExprKind::Call(call) => check_call(call, span, text),
        ExprKind::Paren(inner) => check(inner, text),
    }
}

/// A selector must not take every series by accident, unless it only names labels (`info`'s second argument).
fn check_selector(selector: &VectorSelector, span: Span, text: &str, may_be_empty: bool) -> Result<()> {
    if let Some(name) = &selector.name {
        let others = &selector.matchers[..selector.matchers.len().saturating_sub(1)];
        if let Some(second) = others.iter().find(|matcher| matcher.name() == METRIC_NAME) {
            let (name, second) = (quote(name.as_bytes()), quote(second.value().as_bytes()));
            let message = format!("metric name must not be set twice: {name} or {second}");
            return Err(parse_error(text, span, &message));
        }
        return Ok(());
    }
    if !may_be_empty && selector.matchers.iter().all(crate::model::Matcher::matches_empty) {
        let message = "vector selector must contain at least one non-empty matcher";
        return Err(parse_error(text, span, message));
    }
    Ok(())
}

fn expect_type(expr: &mut Expr, wanted: ValueType, place: &str, text: &str) -> Result<()> {
    let got = check(expr, text)?;
    if got == wanted { Ok(()) } else { Err(wrong_type(expr.span, wanted, got, place, text)) }
}

fn wrong_type(span: Span, wanted: ValueType, got: ValueType, place: &str, text: &str) -> crate::error::Error {
    let (wanted, got) = (wanted.documented(), got.documented());
    parse_error(text, span, &format!("expected type {wanted} in {place}, got {got}"))
}

fn check_aggregate(aggregate: &mut Aggregate, text: &str) -> Result<ValueType> {
    expect_type(&mut aggregate.expr, ValueType::Vector, "aggregation expression", text)?;
    if let (Some(param), Some(wanted)) = (&mut aggregate.param, aggregate.op.param_type()) {
        expect_type(param, wanted, "aggregation parameter", text)?;
    }
    Ok(ValueType::Vector)
}

fn check_binary(binary: &mut Binary, span: Span, text: &str) -> Result<ValueType> {
    let left = check(&mut binary.left, text)?;
    let right = check(&mut binary.right, text)?;
    let (op, op_span) = (binary.op, binary.op_span);
    let fail = |span, message: &str| Err(parse_error(text, span, message));
    if binary.returns_bool && !op.is_comparison() {
        return fail(op_span, "bool modifier can only be used on comparison operators");
    }
    let both_scalar = left == ValueType::Scalar && right == ValueType::Scalar;
    if op.is_comparison() && !binary.returns_bool && both_scalar {
        return fail(op_span, "comparisons between scalars must use BOOL modifier");
    }
    let matching = binary.matching.take().unwrap_or_default();
    if matching.on
        && let Some(both) = matching.labels.iter().find(|label| matching.include.contains(label))
    {
        let both = quote(both.as_bytes());
        return fail(op_span, &format!("label {both} must not occur in ON and GROUP clause at once"));
    }
    for (side, kind) in [(&binary.left, left), (&binary.right, right)] {
        if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
            return fail(side.span, "binary expression must contain only scalar and instant vector types");
        }
    }
    if left == ValueType::Vector && right == ValueType::Vector {
        binary.matching = Some(check_matching(matching, binary, span, text)?);
        return Ok(ValueType::Vector);
    }
    if !matching.labels.is_empty() {
        return fail(span, "vector matching only allowed between instant vectors");
    }
    if matching.fill_left.is_some() || matching.fill_right.is_some() {
        return fail(span, "filling in missing series only allowed between instant vectors");
    }
    if op.is_set() {
        let op = op.as_str();
        return fail(span, &format!("set operator \"{op}\" not allowed in binary scalar expression"));
    }
    Ok(if both_scalar { ValueType::Scalar } else { ValueType::Vector })
}

/// Matching between two instant vectors.
fn check_matching(mut matching: Matching, binary: &Binary, span: Span, text: &str) -> Result<Matching> {
    if binary.op.is_set() {
        if matching.cardinality != Cardinality::OneToOne {
            let message = format!("no grouping allowed for \"{}\" operation", binary.op.as_str());
            return Err(parse_error(text, span, &message));
        }
        if matching.fill_left.is_some() || matching.fill_right.is_some() {
            let message = "filling in missing series not allowed for set operators";
            return Err(parse_error(text, span, message));
        }
        matching.cardinality = Cardinality::ManyToMany;
    }
    Ok(matching)
}

fn check_call(call: &mut Call, span: Span, text: &str) -> Result<ValueType> {
    let function = call.function;
    check_arity(call, span, text)?;
    if function.name == "info" && call.args.len() > 1 {
        check_info_selector(&call.args[1], span, text)?;
    }
    let place = format!("call to function \"{}\"", function.name);
    for (i, arg) in call.args.iter_mut().enumerate() {
        let wanted = function.args[i.min(function.args.len() - 1)];
        let labels_only = function.name == "info" && i == 1;
        match &arg.kind {
            ExprKind::Vector(selector) if labels_only => check_selector(selector, arg.span, text, true)?,
            _ => expect_type(arg, wanted, &place, text)?,
        }
    }
    Ok(function.returns)
}

fn check_arity(call: &Call, span: Span, text: &str) -> Result<()> {
    let (function, got) = (call.function, call.args.len());
    let name = function.name;
    let all = function.args.len();
    let least = all - usize::from(function.variadic != 0);
    // A negative number of further arguments has no upper end.
    let most = usize::try_from(function.variadic).map_or(usize::MAX, |more| least + more);
    let message = if function.variadic == 0 && got != all {
        format!("expected {all} argument(s) in call to \"{name}\", got {got}")
    } else if got < least {
        format!("expected at least {least} argument(s) in call to \"{name}\", got {got}")
    } else if got > most {
        format!("expected at most {most} argument(s) in call to \"{name}\", got {got}")
    } else {
        return Ok(());
    };
    Err(parse_error(text, span, &message))
}

/// The second argument of `info` is written as a selector without a name, and means labels.
fn check_info_selector(arg: &Expr, call: Span, text: &str) -> Result<()> {
    let got = arg.value_type();
    if got != ValueType::Vector {
        return Err(wrong_type(call, ValueType::Vector, got, "call to function \"info\"", text));
    }
    let message = match &arg.kind {
        ExprKind::Vector(selector) if selector.name.is_none() => return Ok(()),
        ExprKind::Vector(_) => "expected label selectors only, got vector selector instead",
        _ => "expected label selectors only",
    };
    Err(parse_error(text, arg.span, message))
}
