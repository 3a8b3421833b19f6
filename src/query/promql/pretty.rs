//! Tree to text over several lines, as Prometheus' `format_query` answers (`promql/parser/prettier.go`): a node
//! whose canonical form is longer than [`WIDTH`] bytes puts its parts on lines of their own, two blanks deeper.

use std::fmt::Display;

use super::ast::{Expr, ExprKind};

/// Bytes of the longest line that is not broken up.
const WIDTH: usize = 100;

/// The text of a tree.
pub(in crate::query) fn pretty(expr: &Expr) -> String {
    at(expr, 0)
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

/// The node with its indent, as deep as `level`.
fn at(expr: &Expr, level: usize) -> String {
    let whole = expr.to_string();
    let (here, is_long) = (indent(level), whole.len() > WIDTH);
    let block = |head: &dyn Display, parts: &[&Expr]| {
        let parts: Vec<String> = parts.iter().map(|part| at(part, level + 1)).collect();
        format!("{here}{head}(\n{}\n{here})", parts.join(",\n"))
    };
    match &expr.kind {
        ExprKind::Aggregate(aggregate) if is_long => {
            let parts: Vec<&Expr> = aggregate.param.iter().chain([&aggregate.expr]).collect();
            block(&aggregate.head(), &parts)
        }
        ExprKind::Call(call) if is_long => block(&call.function.name, &call.args.iter().collect::<Vec<_>>()),
        ExprKind::Paren(inner) if is_long => block(&"", &[inner]),
        ExprKind::Binary(binary) if is_long => {
            let (left, right) = (at(&binary.left, level + 1), at(&binary.right, level + 1));
            format!("{left}\n{here}{}\n{right}", binary.middle())
        }
        // Prometheus forgets the indent of a short one.
        ExprKind::Subquery(_) if !is_long => whole,
        ExprKind::Subquery(subquery) => format!("{}{}", at(&subquery.expr, level), subquery.tail()),
        ExprKind::Unary(unary) => {
            let sign = if unary.negative { '-' } else { '+' };
            format!("{here}{sign}{}", at(&unary.expr, level).trim())
        }
        _ => format!("{here}{whole}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    /// What Prometheus 3.5 answers.
    #[test]
    fn long_expressions_are_broken_up_and_short_ones_are_not() {
        let long = "a_metric_with_a_name_that_is_long_enough_to_fill_most_of_a_line_alone";
        let cases = [
            ("sum(rate(a[5m]))by(b)".to_owned(), "sum by (b) (rate(a[5m]))".to_owned()),
            (
                format!(
                    "sum by (x) (rate({long}{{job=\"api\"}}[5m])) / on (x) group_left () -topk(3, {long})"
                ),
                format!(
                    "  sum by (x) (\n    rate({long}{{job=\"api\"}}[5m])\n  )\n/ on (x) group_left ()\n  -topk(3, {long})"
                ),
            ),
            (
                format!("topk without (a) (3, ({long} + {long}))"),
                format!("topk without (a) (\n  3,\n  (\n      {long}\n    +\n      {long}\n  )\n)"),
            ),
            (
                format!("label_replace({long}, \"destination\", \"$1\", \"source\", \"(.*)\")"),
                format!(
                    "label_replace(\n  {long},\n  \"destination\",\n  \"$1\",\n  \"source\",\n  \"(.*)\"\n)"
                ),
            ),
            (
                format!("max_over_time(({long} + {long})[1h:5m] offset 1m) + rate(b[5m:])"),
                format!(
                    "  max_over_time(\n    (\n        {long}\n      +\n        {long}\n    )[1h:5m] offset 1m\n  )\n\
                     +\n  rate(b[5m:])"
                ),
            ),
        ];
        for (query, expected) in cases {
            let tree = parse(&query).expect("a query");
            let printed = pretty(&tree);
            assert_eq!(printed, expected);
            let again = parse(&printed).expect("it reads back");
            assert_eq!(again.to_string(), tree.to_string());
        }
    }
}
