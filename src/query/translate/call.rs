//! Function calls.

use datafusion::logical_expr::LogicalPlan;

use super::super::plan::{
    Annotation, Instant, InstantFunction, Literal, Position, ScalarArgument, ScalarOf, ScalarOp, Sort,
    StepScalar, Take, Window, WindowFunction,
};
use super::super::promql::ast::{self, ExprKind};
use super::super::promql::functions::ValueType;
use super::super::promql::{Expr, Span};
use super::constant::is_step_invariant;
use super::{Scalar, Translator, Value, Vector, position};
use crate::error::{Error, Result};
use crate::model::time::ms_to_seconds;

/// The functions that are evaluated, besides those over ranges and those of one value.
#[cfg(test)]
pub(in crate::query) const OTHER_FUNCTIONS: [&str; 22] = [
    "absent",
    "absent_over_time",
    "end",
    "histogram_fraction",
    "histogram_quantile",
    "histogram_quantiles",
    "label_join",
    "label_replace",
    "max_of",
    "min_of",
    "pi",
    "range",
    "scalar",
    "sort",
    "sort_by_label",
    "sort_by_label_desc",
    "sort_desc",
    "start",
    "step",
    "time",
    "timestamp",
    "vector",
];

impl Translator<'_> {
    pub(super) fn call(&self, call: &ast::Call, span: Span) -> Result<Value> {
        let name = call.function.name;
        if let Some(function) = WindowFunction::from_name(name) {
            return self.window(function, &call.args).map(Value::Vector);
        }
        if let Some(function) = InstantFunction::from_name(name) {
            let mut inner = *self;
            if matches!(name, "histogram_count" | "histogram_sum" | "histogram_avg") {
                inner.names_resets = inner.names_resets.or(Some(true));
            }
            return inner.instant(function, &call.args).map(Value::Vector);
        }
        match call.args.as_slice() {
            [] => self.own_time(name).map(|scalar| Value::Scalar(Scalar::Known(scalar))),
            [argument] => self.call_of_one(name, argument.unwrap_parens(), span),
            args => self.call_of_many(name, args, span),
        }
    }

    /// The functions without arguments: scalars that are known now.
    fn own_time(&self, name: &str) -> Result<StepScalar> {
        let (start, end) = self.query_ms;
        Ok(StepScalar::Constant(match name {
            "time" => return Ok(StepScalar::time(self.grid())),
            "pi" => std::f64::consts::PI,
            "start" => ms_to_seconds(start),
            "end" => ms_to_seconds(end),
            "range" => ms_to_seconds(end.saturating_sub(start)),
            "step" => ms_to_seconds(self.query_step_ms),
            _ => return Err(Error::unsupported(name)),
        }))
    }

    fn call_of_one(&self, name: &str, argument: &Expr, span: Span) -> Result<Value> {
        match name {
            "timestamp" => self.timestamp(argument).map(Value::Vector),
            "absent" | "absent_over_time" => self.absent(argument).map(Value::Vector),
            "scalar" => {
                let plan = ScalarOf.plan(self.vector(argument)?.plan, self.schema);
                Ok(Value::Scalar(Scalar::Plan(plan)))
            }
            "vector" => {
                let plan = self.scalar_plan(self.scalar(argument)?);
                Ok(Value::Vector(Vector { plan, has_one_name: true }))
            }
            "sort" | "sort_desc" => {
                let sort = Sort { labels: None, descending: name == "sort_desc" };
                self.sort(sort, span, argument).map(Value::Vector)
            }
            _ => self.call_of_many(name, std::slice::from_ref(argument), span),
        }
    }

    fn call_of_many(&self, name: &str, args: &[Expr], span: Span) -> Result<Value> {
        match (name, args) {
            ("max_of" | "min_of", [left, right]) => {
                let op = if name == "max_of" { ScalarOp::MaxOf } else { ScalarOp::MinOf };
                Ok(Value::Scalar(self.scalars(op, self.scalar(left)?, self.scalar(right)?)))
            }
            ("label_replace", _) => self.label_replace(args).map(Value::Vector),
            ("label_join", _) => self.label_join(args).map(Value::Vector),
            ("histogram_quantile" | "histogram_quantiles" | "histogram_fraction", _) => {
                self.histogram(name, args).map(Value::Vector)
            }
            ("sort_by_label" | "sort_by_label_desc", [argument, labels @ ..]) => {
                let labels =
                    labels.iter().map(|label| Ok(String::from_utf8_lossy(text(label)?).into_owned()));
                let labels = Some(labels.collect::<Result<Vec<_>>>()?);
                let sort = Sort { labels, descending: name == "sort_by_label_desc" };
                self.sort(sort, span, argument.unwrap_parens()).map(Value::Vector)
            }
            _ => Err(Error::unsupported(name)),
        }
    }

    /// Scalars as a node's arguments, and the inputs that compute those that are not known.
    pub(super) fn arguments(&self, scalars: &[Expr]) -> Result<(Vec<ScalarArgument>, Vec<LogicalPlan>)> {
        let mut inputs = Vec::new();
        let arguments = scalars.iter().map(|scalar| {
            let (argument, input) = self.scalar(scalar.unwrap_parens())?.into_argument();
            inputs.extend(input);
            Ok(argument)
        });
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        Ok((arguments, inputs))
    }

    /// A function of each value; a date function without an argument is of the evaluation time.
    fn instant(&self, function: InstantFunction, args: &[Expr]) -> Result<Vector> {
        let Some((argument, scalars)) = args.split_first() else {
            let time = Literal(StepScalar::time(self.grid())).plan(self.schema);
            let plan = Instant::of(function).plan(time, Vec::new(), self.schema);
            return Ok(Vector { plan, has_one_name: true });
        };
        let vector = self.vector(argument.unwrap_parens())?;
        let (mut arguments, inputs) = self.arguments(scalars)?;
        if function == InstantFunction::Round && arguments.is_empty() {
            arguments.push(ScalarArgument::Known(StepScalar::Constant(1.0)));
        }
        let plan = Instant { function, arguments }.plan(vector.plan, inputs, self.schema);
        Ok(self.without_names(Vector { plan, ..vector }, false))
    }

    /// Of a bare selector the time of the sample, of anything else the evaluation time.
    fn timestamp(&self, argument: &Expr) -> Result<Vector> {
        let vector = if let ExprKind::Vector(selector) = &argument.kind {
            self.instant_selector(selector, Take::NewestTime)?
        } else {
            let vector = self.vector(argument)?;
            let time = Instant::of(InstantFunction::EvaluationTime);
            Vector { plan: time.plan(vector.plan, Vec::new(), self.schema), ..vector }
        };
        Ok(self.without_names(vector, false))
    }

    /// Orders an instant query; a range query is ordered by labels, whatever was asked for.
    fn sort(&self, sort: Sort, span: Span, argument: &Expr) -> Result<Vector> {
        let vector = self.vector(argument)?;
        if !self.is_instant() {
            if !is_step_invariant(argument) {
                self.annotations.add(Annotation::SortInRangeQuery, position(span));
            }
            return Ok(vector);
        }
        let plan = sort.plan(vector.plan, self.schema);
        Ok(Vector { plan, ..vector })
    }

    fn window(&self, function: WindowFunction, args: &[Expr]) -> Result<Vector> {
        let is_range = |arg: &Expr| arg.value_type() == ValueType::Matrix;
        let at = args.iter().position(is_range);
        let at = at.ok_or_else(|| Error::internal("a function over a range without a range"))?;
        let range = self.range_vector(args[at].unwrap_parens())?;
        let scalars: Vec<Expr> =
            args.iter().enumerate().filter(|(k, _)| *k != at).map(|(_, scalar)| scalar.clone()).collect();
        let (arguments, inputs) = self.arguments(&scalars)?;
        // Prometheus forgets where a subquery stands.
        let first = args[0].unwrap_parens();
        let is_subquery = matches!(first.kind, ExprKind::Subquery(_));
        let position = if is_subquery { Position(0) } else { position(first.span) };
        let window = Window { function, arguments, position };
        let plan = window.plan(range.plan, inputs, self.schema);
        let vector = Vector { plan, ..range };
        Ok(if function.drops_name() { self.without_names(vector, true) } else { vector })
    }
}

/// The bytes of a text argument.
pub(super) fn text(argument: &Expr) -> Result<&[u8]> {
    match &argument.unwrap_parens().kind {
        ExprKind::String(text) => Ok(&text.bytes),
        _ => Err(Error::internal("the parser let something else stand for a text")),
    }
}
