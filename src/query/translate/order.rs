//! In which order Prometheus evaluates the parts of a query: what it says twice has the place of the last time.

use super::super::plan::Position;
use super::super::promql::Expr;
use super::super::promql::ast::ExprKind;

/// The places that warnings may have, in the order in which they come up: operands before what is above them.
pub(in crate::query) fn evaluation_order(expr: &Expr) -> Vec<Position> {
    let mut order = Vec::new();
    walk(expr, &mut order);
    order
}

fn walk(expr: &Expr, order: &mut Vec<Position>) {
    let start = |expr: &Expr| Position(expr.unwrap_parens().span.range().start);
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) => {}
        ExprKind::Subquery(subquery) => walk(&subquery.expr, order),
        ExprKind::Unary(unary) => walk(&unary.expr, order),
        ExprKind::Paren(inner) => walk(inner, order),
        ExprKind::Binary(binary) => {
            walk(&binary.left, order);
            // Where its left side begins: a call there has a rank of its own.
            let place = start(expr);
            let is_new = !order.contains(&place);
            walk(&binary.right, order);
            order.extend(is_new.then_some(place));
        }
        ExprKind::Aggregate(aggregate) => {
            let operands = || aggregate.param.iter().chain([&aggregate.expr]);
            operands().for_each(|operand| walk(operand, order));
            order.extend(operands().map(start));
        }
        ExprKind::Call(call) => {
            let is_subquery = |arg: &Expr| matches!(arg.unwrap_parens().kind, ExprKind::Subquery(_));
            // A range comes first, wherever it stands.
            let (first, rest): (Vec<_>, Vec<_>) = call.args.iter().partition(|arg| is_subquery(arg));
            first.iter().chain(&rest).for_each(|arg| walk(arg, order));
            order.extend(call.args.iter().map(start));
            order.push(if first.is_empty() { start(expr) } else { Position(0) });
        }
    }
}
