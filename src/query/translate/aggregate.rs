//! Aggregations and their parameters.

use super::super::plan::{Aggregate, AggregateOp, CountValues, Grouping, LimitRatio, ScalarArgument};
use super::super::promql::ast;
use super::super::promql::quote;
use super::super::promql::{Expr, Span};
use super::call::text;
use super::constant::is_step_invariant;
use super::{Scalar, Translator, Vector, grouping, position};
use crate::error::{Error, Kind, Result};
use crate::model::METRIC_NAME;
use datafusion::logical_expr::LogicalPlan;

/// The aggregations that are not one of [`AggregateOp`].
#[cfg(test)]
pub(in crate::query) const OTHER_AGGREGATIONS: [&str; 2] = ["count_values", "limit_ratio"];

impl Translator<'_> {
    pub(super) fn aggregate(&self, aggregate: &ast::Aggregate, span: Span) -> Result<Vector> {
        if aggregate.op == ast::AggregateOp::CountValues {
            return self.count_values(aggregate);
        }
        let param = aggregate.param.as_ref().map(Expr::unwrap_parens);
        let position = position(param.map_or(aggregate.expr.span, |param| param.span));
        let (argument, scalar) = match param {
            Some(param) => self.parameter(param, is_step_invariant(&aggregate.expr))?,
            None => (ScalarArgument::None, None),
        };
        let input = self.vector(aggregate.expr.unwrap_parens())?;
        if aggregate.op == ast::AggregateOp::LimitRatio {
            let plan = LimitRatio { ratio: argument, position }.plan(input.plan, scalar, self.schema);
            return Ok(Vector { plan, ..input });
        }
        let op = AggregateOp::from_name(aggregate.op.as_str())
            .ok_or_else(|| Error::unsupported(aggregate.op.as_str()))?;
        let grouping = groups(aggregate, None);
        let has_one_name = if op.keeps_series() { input.has_one_name } else { !keeps_names(&grouping) };
        // Of topk and bottomk Prometheus shows the whole expression.
        let operand = super::position(if op.keeps_series() { span } else { aggregate.expr.span });
        let aggregate = Aggregate { op, grouping, argument, position, operand };
        let plan = aggregate.plan(input.plan, scalar, self.schema);
        Ok(Vector { plan, has_one_name })
    }

    /// A scalar parameter; of an aggregation that is the same at every step only its first value counts.
    fn parameter(&self, param: &Expr, at_start: bool) -> Result<(ScalarArgument, Option<LogicalPlan>)> {
        let inside = Translator { in_parameter: true, ..*self };
        Ok(match inside.scalar(param)? {
            Scalar::Known(value) if at_start => (ScalarArgument::Known(value.at_start()), None),
            Scalar::Plan(plan) if at_start => (ScalarArgument::InputAtStart, Some(plan)),
            scalar => scalar.into_argument(),
        })
    }

    fn count_values(&self, aggregate: &ast::Aggregate) -> Result<Vector> {
        let param =
            aggregate.param.as_ref().ok_or_else(|| Error::internal("count_values without its label"))?;
        let label = text(param)?;
        let label = match std::str::from_utf8(label) {
            Ok(label) if !label.is_empty() => label.to_owned(),
            _ => {
                let message = format!("invalid label name {}", quote(label));
                return Err(Error::new(Kind::Execution, message));
            }
        };
        let input = self.vector(aggregate.expr.unwrap_parens())?;
        let grouping = groups(aggregate, Some(&label));
        let has_one_name = !keeps_names(&grouping);
        let plan = CountValues { label, grouping }.plan(input.plan, self.schema);
        Ok(Vector { plan, has_one_name })
    }
}

/// The labels that make groups; `by` also has the one that the aggregation itself sets.
fn groups(aggregate: &ast::Aggregate, set: Option<&str>) -> Grouping {
    let mut names = aggregate.grouping.clone();
    if !aggregate.without {
        names.extend(set.map(str::to_owned));
    }
    grouping(aggregate.without, &names)
}

fn keeps_names(grouping: &Grouping) -> bool {
    matches!(grouping, Grouping::By(names) if names.iter().any(|name| name == METRIC_NAME))
}
