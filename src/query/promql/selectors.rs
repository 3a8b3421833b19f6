//! The selectors of a query, wherever they stand in it.

use super::ast::{Expr, ExprKind};
use crate::model::Matcher;

/// The matchers of each selector, in the order of the text.
pub(in crate::query) fn selectors(expr: &Expr) -> Vec<Vec<Matcher>> {
    let mut found = Vec::new();
    collect(expr, &mut found);
    found
}

fn collect(expr: &Expr, found: &mut Vec<Vec<Matcher>>) {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::Vector(selector) => found.push(selector.matchers.clone()),
        ExprKind::Matrix(matrix) => found.push(matrix.selector.matchers.clone()),
        ExprKind::Subquery(subquery) => collect(&subquery.expr, found),
        ExprKind::Unary(unary) => collect(&unary.expr, found),
        ExprKind::Binary(binary) => {
            collect(&binary.left, found);
            collect(&binary.right, found);
        }
        ExprKind::Aggregate(aggregate) => {
            aggregate.param.iter().for_each(|param| collect(param, found));
            collect(&aggregate.expr, found);
        }
        ExprKind::Call(call) => call.args.iter().for_each(|arg| collect(arg, found)),
        ExprKind::Paren(inner) => collect(inner, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;

    #[test]
    fn every_selector_is_found() -> Result<()> {
        let text = "sum by (a) (rate(b{c=\"d\"}[5m])) / on () topk(2, e) \
                    + (-max_over_time(f[1h:1m]) > bool scalar(g)) or vector(1)";
        let found = selectors(&crate::query::promql::parse(text)?);
        let counts: Vec<usize> = found.iter().map(Vec::len).collect();
        assert_eq!(counts, [2, 1, 1, 1], "{found:?}");
        Ok(())
    }
}
