//! Function calls.

use super::super::plan::{
    Annotation, Instant, InstantFunction, Literal, Position, ScalarArgument, ScalarOf, Sort, Statistic,
    StepScalar, Take, Window, WindowFunction,
};
use super::super::promql::ast::{self, ExprKind};
use super::super::promql::{Expr, Span};
use super::{Scalar, Translator, Value, Vector, position};
use crate::error::{Error, Result};

/// The functions that are evaluated, besides those over ranges.
pub(in crate::query) const INSTANT_FUNCTIONS: [&str; 14] = [
    "abs",
    "ceil",
    "floor",
    "histogram_avg",
    "histogram_count",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
    "scalar",
    "sort",
    "sort_desc",
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
        if let (Some(function), [argument]) = (Statistic::from_name(name), call.args.as_slice()) {
            let argument = argument.unwrap_parens();
            let mut inner = *self;
            if matches!(function, Statistic::Count | Statistic::Sum | Statistic::Avg) {
                inner.names_resets = inner.names_resets.or(Some(true));
            }
            return inner.instant(InstantFunction::Statistic(function), argument).map(Value::Vector);
        }
        if !INSTANT_FUNCTIONS.contains(&name) {
            return Err(Error::unsupported(name));
        }
        let Some(argument) = call.args.first().map(Expr::unwrap_parens) else {
            // Only `time()` has none.
            return Ok(Value::Scalar(Scalar::Known(StepScalar::time(self.grid()))));
        };
        match name {
            "abs" => self.instant(InstantFunction::Abs, argument).map(Value::Vector),
            "ceil" => self.instant(InstantFunction::Ceil, argument).map(Value::Vector),
            "floor" => self.instant(InstantFunction::Floor, argument).map(Value::Vector),
            "timestamp" => self.timestamp(argument).map(Value::Vector),
            "scalar" => {
                let plan = ScalarOf.plan(self.vector(argument)?.plan, self.schema);
                Ok(Value::Scalar(Scalar::Plan(plan)))
            }
            "vector" => {
                let scalar = self.scalar(argument)?;
                let is_constant = matches!(scalar, Scalar::Known(StepScalar::Constant(_)));
                let plan = match scalar {
                    Scalar::Known(value) => Literal(value).plan(self.schema),
                    Scalar::Plan(plan) => plan,
                };
                Ok(Value::Vector(Vector { plan, has_one_name: true, is_constant }))
            }
            "sort" | "sort_desc" => self.sort(name == "sort_desc", span, argument).map(Value::Vector),
            _ => Err(Error::unsupported(name)),
        }
    }

    fn instant(&self, function: InstantFunction, argument: &Expr) -> Result<Vector> {
        let vector = self.vector(argument)?;
        let plan = Instant(function).plan(vector.plan, self.schema);
        Ok(self.without_names(Vector { plan, ..vector }, false))
    }

    /// Of a bare selector the time of the sample, of anything else the evaluation time.
    fn timestamp(&self, argument: &Expr) -> Result<Vector> {
        let ExprKind::Vector(selector) = &argument.kind else {
            let vector = self.instant(InstantFunction::EvaluationTime, argument)?;
            return Ok(Vector { is_constant: false, ..vector });
        };
        let vector = self.instant_selector(selector, Take::NewestTime)?;
        Ok(self.without_names(vector, false))
    }

    /// Orders an instant query; a range query is ordered by labels, whatever was asked for.
    fn sort(&self, descending: bool, span: Span, argument: &Expr) -> Result<Vector> {
        let vector = self.vector(argument)?;
        if !self.is_instant() {
            if !vector.is_constant {
                self.annotations.add(Annotation::SortInRangeQuery, position(span));
            }
            return Ok(vector);
        }
        let plan = Sort { descending }.plan(vector.plan, self.schema);
        Ok(Vector { plan, ..vector })
    }

    fn window(&self, function: WindowFunction, args: &[Expr]) -> Result<Vector> {
        let args: Vec<&Expr> = args.iter().map(Expr::unwrap_parens).collect();
        let (argument, over) = match args.as_slice() {
            [over] => (None, *over),
            [argument, over] => (Some(*argument), *over),
            _ => return Err(Error::internal("a function over a range with an odd number of arguments")),
        };
        let range = self.range_vector(over)?;
        let scalar = argument.map(|argument| self.scalar(argument)).transpose()?;
        let is_fixed = matches!(scalar, None | Some(Scalar::Known(StepScalar::Constant(_))));
        let (argument, input) = scalar.map_or((ScalarArgument::None, None), Scalar::into_argument);
        // Prometheus forgets where a subquery stands.
        let is_subquery = matches!(args[0].kind, ExprKind::Subquery(_));
        let position = if is_subquery { Position(0) } else { position(args[0].span) };
        let window = Window { function, argument, position };
        let plan = window.plan(range.plan, input, self.schema);
        let vector = Vector { plan, is_constant: range.is_constant && is_fixed, ..range };
        Ok(if function.drops_name() { self.without_names(vector, true) } else { vector })
    }
}
