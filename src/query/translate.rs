//! Syntax tree → logical plan: what each construct means, and which ones are not supported yet.
//!
//! Nothing is evaluated here but scalars that need no data. A construct that is not known is an error with its
//! name, never something similar.

mod aggregate;
mod call;
mod constant;
mod histogram;
mod labels;
mod operator;
mod order;
mod subquery;

#[cfg(test)]
pub(in crate::query) use aggregate::OTHER_AGGREGATIONS;
#[cfg(test)]
pub(in crate::query) use call::OTHER_FUNCTIONS;
pub(in crate::query) use order::evaluation_order;

use datafusion::logical_expr::LogicalPlan;

use super::plan::{
    Annotations, Grid, GridSchema, Grouping, Literal, Position, ScalarArgument, Selector, StepBudget,
    StepScalar, Take, Unique, Windows,
};
use super::promql::ast::{self, ExprKind};
use super::promql::duration::Duration;
use super::promql::{Expr, Span};
use crate::error::{Error, Result};
use crate::model::METRIC_NAME;

/// What a query becomes.
#[derive(Debug)]
pub(super) enum Translated {
    /// A plan whose rows are the answer.
    Plan {
        plan: LogicalPlan,
        /// One row without labels, whose values are the scalar.
        is_scalar: bool,
        /// The rows of an instant query are in an order that means something.
        is_ordered: bool,
    },
    /// A range vector, as stored: only in instant queries.
    Samples(Selector),
    /// A range vector, evaluated on its own grid: only in instant queries.
    Subquery { inner: Option<(LogicalPlan, GridSchema)> },
    /// A text: only in instant queries.
    Text(String),
}

/// Everything that a construct's meaning depends on besides its text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Translator<'a> {
    pub(super) schema: &'a GridSchema,
    /// The end that was asked for, ms. The grid may end before it.
    pub(super) end_ms: i64,
    /// Start and end of the whole query, ms.
    pub(super) query_ms: (i64, i64),
    /// The step of the whole query, ms; 0 at one time.
    pub(super) query_step_ms: i64,
    /// The step of a subquery that has none, ms.
    pub(super) subquery_step_ms: i64,
    /// Steps that subqueries may have.
    pub(super) steps_left: &'a StepBudget,
    pub(super) lookback_ms: i64,
    /// Names are removed by each construct and not at the end.
    pub(super) immediate_names: bool,
    pub(super) annotations: &'a Annotations,
    /// Whether selectors name the resets of native histograms; a subquery or a function of all buckets above
    /// forbids it.
    pub(super) names_resets: Option<bool>,
    /// Inside of an aggregation's parameter, which Prometheus does not look through beforehand.
    pub(super) in_parameter: bool,
}

/// A translated expression.
#[derive(Debug, Clone)]
enum Value {
    Scalar(Scalar),
    Vector(Vector),
}

/// A scalar: known now, or one row of a plan.
#[derive(Debug, Clone)]
enum Scalar {
    Known(StepScalar),
    Plan(LogicalPlan),
}

/// An instant vector.
#[derive(Debug, Clone)]
struct Vector {
    plan: LogicalPlan,
    /// No two of its series differ in the name only.
    has_one_name: bool,
}

impl Scalar {
    /// As a node's argument, with the input that computes it.
    fn into_argument(self) -> (ScalarArgument, Option<LogicalPlan>) {
        match self {
            Self::Known(value) => (ScalarArgument::Known(value), None),
            Self::Plan(plan) => (ScalarArgument::Input, Some(plan)),
        }
    }
}

impl Translator<'_> {
    /// A whole query, whose durations are resolved.
    ///
    /// # Errors
    /// `Unsupported` naming the construct; `Invalid` for a type that a range query cannot answer.
    pub(super) fn translate(&self, expr: &Expr) -> Result<Translated> {
        let expr = expr.unwrap_parens();
        match &expr.kind {
            ExprKind::String(text) => Ok(Translated::Text(String::from_utf8_lossy(&text.bytes).into_owned())),
            ExprKind::Matrix(matrix) => Ok(Translated::Samples(self.range_selector(matrix)?)),
            ExprKind::Subquery(subquery) => {
                let (_, inner) = self.inner(subquery)?;
                Ok(Translated::Subquery { inner: inner.map(|(vector, schema)| (vector.plan, schema)) })
            }
            _ => {
                let is_ordered = is_ordered(expr);
                Ok(match self.value(expr)? {
                    Value::Scalar(scalar) => {
                        Translated::Plan { plan: self.scalar_plan(scalar), is_scalar: true, is_ordered }
                    }
                    Value::Vector(vector) => {
                        Translated::Plan { plan: vector.plan, is_scalar: false, is_ordered }
                    }
                })
            }
        }
    }

    fn grid(&self) -> &Grid {
        self.schema.grid()
    }

    /// Whether this is evaluated at one time only.
    fn is_instant(&self) -> bool {
        self.grid().start_ms() == self.end_ms
    }

    fn value(&self, expr: &Expr) -> Result<Value> {
        match &expr.kind {
            ExprKind::Number(number) => Ok(Value::Scalar(Scalar::Known(StepScalar::Constant(number.value)))),
            ExprKind::Vector(selector) => self.instant_selector(selector, Take::Newest).map(Value::Vector),
            ExprKind::Unary(unary) => self.unary(unary),
            ExprKind::Binary(binary) => self.binary(binary, expr.span),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, expr.span).map(Value::Vector),
            ExprKind::Call(call) => self.call(call, expr.span),
            ExprKind::Paren(inner) => self.value(inner),
            ExprKind::String(_) | ExprKind::Matrix(_) | ExprKind::Subquery(_) => {
                Err(Error::internal("the parser let a text or a range vector stand for an instant vector"))
            }
        }
    }

    fn vector(&self, expr: &Expr) -> Result<Vector> {
        match self.value(expr)? {
            Value::Vector(vector) => Ok(vector),
            Value::Scalar(_) => Err(Error::internal("the parser let a scalar stand for an instant vector")),
        }
    }

    fn scalar(&self, expr: &Expr) -> Result<Scalar> {
        match self.value(expr)? {
            Value::Scalar(scalar) => Ok(scalar),
            Value::Vector(_) => Err(Error::internal("the parser let an instant vector stand for a scalar")),
        }
    }

    /// A scalar as one row.
    fn scalar_plan(&self, scalar: Scalar) -> LogicalPlan {
        match scalar {
            Scalar::Known(value) => Literal(value).plan(self.schema),
            Scalar::Plan(plan) => plan,
        }
    }

    fn instant_selector(&self, selector: &ast::VectorSelector, take: Take) -> Result<Vector> {
        let selector = self.selector(selector, self.lookback_ms, take)?;
        let has_one_name = selector.has_one_name();
        Ok(Vector { plan: selector.plan(self.schema), has_one_name })
    }

    /// What a function over a range reads.
    fn range_vector(&self, expr: &Expr) -> Result<Vector> {
        match &expr.kind {
            ExprKind::Matrix(matrix) => {
                let selector = self.range_selector(matrix)?;
                let has_one_name = selector.has_one_name();
                Ok(Vector { plan: selector.plan(self.schema), has_one_name })
            }
            ExprKind::Subquery(subquery) => self.subquery(subquery),
            _ => Err(Error::internal("the parser let something else stand for a range vector")),
        }
    }

    fn range_selector(&self, matrix: &ast::MatrixSelector) -> Result<Selector> {
        self.selector(&matrix.selector, fixed(&matrix.range)?, Take::Range)
    }

    fn selector(&self, selector: &ast::VectorSelector, range_ms: i64, take: Take) -> Result<Selector> {
        match selector.edges {
            Some(ast::Edges::Anchored) => return Err(Error::unsupported("anchored")),
            Some(ast::Edges::Smoothed) => return Err(Error::unsupported("smoothed")),
            None => {}
        }
        let at_ms = match selector.at {
            Some(ast::At::Start | ast::At::End) if self.in_parameter => None,
            at => at.map(|at| self.at_ms(at)),
        };
        let mut matchers = selector.matchers.clone();
        // The name stands first in plans, wherever it stood in the text.
        matchers.sort_by_key(|matcher| matcher.name() != METRIC_NAME);
        let offset_ms = selector.offset.as_ref().map_or(Ok(0), fixed)?;
        let names_resets = self.names_resets == Some(true);
        self.as_read(Selector { matchers, range_ms, take, offset_ms, at_ms, only_ms: None, names_resets })
    }

    /// Two places where Prometheus evaluates a selector with `@` at other times than it reads samples for, which
    /// are those that the selector asks for: `timestamp` forgets the offset, and in an aggregation's parameter the
    /// evaluation time goes on from `@` with every step.
    fn as_read(&self, selector: Selector) -> Result<Selector> {
        let Some(at_ms) = selector.at_ms else { return Ok(selector) };
        let windows = Windows::new(self.grid(), selector.range_ms, selector.offset_ms, selector.at_ms);
        let only_ms = Some(windows?.span_ms());
        Ok(match selector.take {
            Take::NewestTime if selector.offset_ms != 0 => Selector { offset_ms: 0, only_ms, ..selector },
            Take::Newest if self.in_parameter && self.grid().steps() > 1 => {
                let offset_ms =
                    self.grid().start_ms().saturating_sub(at_ms).saturating_add(selector.offset_ms);
                Selector { offset_ms, at_ms: None, only_ms, ..selector }
            }
            _ => selector,
        })
    }

    /// A fixed evaluation time: also inside of a subquery the start and the end are those of the whole query.
    fn at_ms(&self, at: ast::At) -> i64 {
        match at {
            ast::At::Time(time_ms) => time_ms,
            ast::At::Start => self.query_ms.0,
            ast::At::End => self.query_ms.1,
        }
    }

    /// After a construct that drops names: where they go at once and were not all the same, equal label sets may
    /// have come about.
    fn without_names(&self, vector: Vector, strict: bool) -> Vector {
        if !self.immediate_names || vector.has_one_name {
            return vector;
        }
        let plan = Unique { strict }.plan(vector.plan, self.schema);
        Vector { plan, has_one_name: true }
    }
}

/// Whether the rows of an instant query come in an order that its author asked for.
fn is_ordered(expr: &Expr) -> bool {
    match &expr.unwrap_parens().kind {
        ExprKind::Call(call) => {
            matches!(call.function.name, "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc")
        }
        ExprKind::Aggregate(aggregate) => {
            matches!(aggregate.op, ast::AggregateOp::Topk | ast::AggregateOp::Bottomk)
        }
        _ => false,
    }
}

fn grouping(without: bool, names: &[String]) -> Grouping {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    if without { Grouping::Without(names) } else { Grouping::By(names) }
}

fn position(span: Span) -> Position {
    Position(span.range().start)
}

fn fixed(duration: &Duration) -> Result<i64> {
    match duration {
        Duration::Fixed(ms) => Ok(*ms),
        Duration::Open(_) => Err(Error::internal("a duration was not resolved before planning")),
    }
}
