//! Which expressions are the same at every step. Prometheus decides that before it evaluates anything, evaluates
//! them at the first step only and repeats the result; one sees it where a parameter or a warning depends on it.

use super::super::promql::ast::{Call, Expr, ExprKind};

/// Whether Prometheus evaluates an expression once for all steps.
pub(super) fn is_step_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Vector(selector) => selector.at.is_some(),
        ExprKind::Matrix(matrix) => matrix.selector.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.at.is_some(),
        ExprKind::Unary(unary) => is_step_invariant(&unary.expr),
        ExprKind::Binary(binary) => is_step_invariant(&binary.left) && is_step_invariant(&binary.right),
        // The parameter is not looked at.
        ExprKind::Aggregate(aggregate) => is_step_invariant(&aggregate.expr),
        ExprKind::Call(call) => is_call_invariant(call),
        ExprKind::Paren(inner) => is_step_invariant(inner),
    }
}

fn is_call_invariant(call: &Call) -> bool {
    match call.function.name {
        "day_of_month" | "day_of_week" | "day_of_year" | "days_in_month" | "hour" | "minute" | "month"
        | "predict_linear" | "time" | "year" => false,
        "timestamp" => call.args.first().map(Expr::unwrap_parens).is_some_and(
            |argument| matches!(&argument.kind, ExprKind::Vector(selector) if selector.at.is_some()),
        ),
        _ => call.args.iter().all(is_step_invariant),
    }
}
