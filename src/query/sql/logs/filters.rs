//! SQL predicates over time, body and identifiers become a time range, needles and ids. They may select too much,
//! never too little: the predicate is evaluated again.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Like;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use regex_syntax::hir::{Hir, HirKind};

use crate::store::{LogQuery, bytes_of_hex};

/// The column `timestamp` holds microseconds: a row's own time lies up to so many ns behind.
const COARSE_NS: i64 = 999;

/// Adds what a predicate says about time and body; nothing where it says nothing that is understood.
pub(super) fn narrow(query: &mut LogQuery, filter: &Expr) {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            narrow(query, left);
            narrow(query, right);
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (literal(left), literal(right)) {
            (None, Some(value)) => compare(query, left, *op, value),
            (Some(value), None) => {
                if let Some(op) = op.swap() {
                    compare(query, right, op, value);
                }
            }
            _ => {}
        },
        Expr::Between(Between { expr, negated: false, low, high }) if is_column(expr, "timestamp") => {
            if let (Some(low), Some(high)) = (literal(low), literal(high)) {
                time(query, Operator::GtEq, low);
                time(query, Operator::LtEq, high);
            }
        }
        Expr::Like(Like { negated: false, expr, pattern, escape_char, case_insensitive: false })
            if is_column(expr, "body") && escape_char.is_none_or(|c| c == '\\') =>
        {
            if let Some(pattern) = literal_text(pattern) {
                needles(query, pieces(pattern));
            }
        }
        Expr::ScalarFunction(call)
            if matches!(call.func.name(), "contains" | "starts_with" | "ends_with") =>
        {
            if let [subject, text] = call.args.as_slice()
                && is_column(subject, "body")
            {
                needles(query, literal_text(text).map(str::to_owned));
            }
        }
        _ => {}
    }
}

fn compare(query: &mut LogQuery, subject: &Expr, op: Operator, value: &ScalarValue) {
    if is_column(subject, "timestamp") {
        return time(query, op, value);
    }
    if is_column(subject, "body") {
        let Some(Some(text)) = value.try_as_str() else { return };
        match op {
            Operator::Eq => needles(query, [text.to_owned()]),
            Operator::RegexMatch => needles(query, required(text)),
            Operator::LikeMatch => needles(query, pieces(text)),
            _ => {}
        }
        return;
    }
    // An identifier of other length or case is text in `attributes`: no row has it, which the evaluation finds out.
    if op == Operator::Eq
        && let Some(Some(text)) = value.try_as_str()
    {
        if is_column(subject, "trace_id") {
            query.trace_id = query.trace_id.or_else(|| bytes_of_hex(text));
        } else if is_column(subject, "span_id") {
            query.span_id = query.span_id.or_else(|| bytes_of_hex(text));
        }
    }
    // strpos(body, 'x') > 0
    if let Expr::ScalarFunction(call) = subject
        && matches!(call.func.name(), "strpos" | "instr" | "position")
        && let [column, text] = call.args.as_slice()
        && is_column(column, "body")
        && is_found(op, value)
    {
        needles(query, literal_text(text).map(str::to_owned));
    }
}

/// Whether a position that compares so is one of a text that was found: positions begin with 1.
fn is_found(op: Operator, value: &ScalarValue) -> bool {
    let number = match value {
        ScalarValue::Int64(Some(number)) => *number,
        ScalarValue::Int32(Some(number)) => i64::from(*number),
        _ => return false,
    };
    match op {
        Operator::Gt => number >= 0,
        Operator::GtEq | Operator::Eq => number >= 1,
        Operator::NotEq => number == 0,
        _ => false,
    }
}

fn time(query: &mut LogQuery, op: Operator, value: &ScalarValue) {
    let ns = match value {
        ScalarValue::TimestampSecond(Some(v), _) => v.checked_mul(1_000_000_000),
        ScalarValue::TimestampMillisecond(Some(v), _) => v.checked_mul(1_000_000),
        ScalarValue::TimestampMicrosecond(Some(v), _) => v.checked_mul(1_000),
        ScalarValue::TimestampNanosecond(Some(v), _) => Some(*v),
        _ => None,
    };
    let Some(ns) = ns else { return };
    let (from, to) = (ns.saturating_sub(COARSE_NS), ns.saturating_add(COARSE_NS));
    match op {
        Operator::Gt | Operator::GtEq => query.from = query.from.max(from),
        Operator::Lt | Operator::LtEq => query.to = query.to.min(to),
        Operator::Eq => (query.from, query.to) = (query.from.max(from), query.to.min(to)),
        _ => {}
    }
}

fn needles(query: &mut LogQuery, texts: impl IntoIterator<Item = String>) {
    query.needles.extend(texts.into_iter().filter(|text| !text.is_empty()));
}

/// The texts between the wildcards of a LIKE pattern.
fn pieces(pattern: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match (c, all.last_mut()) {
            ('%' | '_', _) => all.push(String::new()),
            ('\\', Some(piece)) => piece.extend(chars.next()),
            (c, Some(piece)) => piece.push(c),
            (_, None) => {}
        }
    }
    all
}

/// Texts that every match of a regular expression contains.
fn required(pattern: &str) -> Vec<String> {
    let mut all = Vec::new();
    if let Ok(hir) = regex_syntax::parse(pattern) {
        literals(&hir, &mut all);
    }
    all
}

fn literals(hir: &Hir, out: &mut Vec<String>) {
    match hir.kind() {
        HirKind::Literal(literal) => out.extend(String::from_utf8(literal.0.to_vec())),
        HirKind::Concat(parts) => parts.iter().for_each(|part| literals(part, out)),
        HirKind::Capture(capture) => literals(&capture.sub, out),
        HirKind::Repetition(repetition) if repetition.min > 0 => literals(&repetition.sub, out),
        _ => {}
    }
}

fn is_column(expr: &Expr, name: &str) -> bool {
    use arrow::datatypes::{DataType, TimeUnit};
    match expr {
        Expr::Column(column) => column.name == name,
        // Type coercion widens the column: to another text type, or to finer time.
        Expr::Cast(cast) => {
            let kind = cast.field.data_type();
            let is_finer =
                matches!(kind, DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _));
            (is_finer || kind.is_string()) && is_column(&cast.expr, name)
        }
        _ => false,
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) if !value.is_null() => Some(value),
        _ => None,
    }
}

fn literal_text(expr: &Expr) -> Option<&str> {
    literal(expr)?.try_as_str()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_give_what_every_match_contains() {
        assert_eq!(pieces("%a b%c_d"), ["", "a b", "c", "d"]);
        assert_eq!(pieces(r"100\%%x\_y"), ["100%", "x_y"]);
        assert_eq!(required(r"^GET /(api)+/v\d+ 5..$"), ["GET /", "api", "/v", " 5"]);
        assert_eq!(required("a|b"), [""; 0]);
        assert_eq!(required("(?i)error"), [""; 0], "case does not matter there");
        assert_eq!(required("x(y)?z*"), ["x"]);
        assert_eq!(required("("), [""; 0], "the evaluation reports it");
    }
}
