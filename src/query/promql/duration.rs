//! Durations in selectors: `[5m]`, `[5m + 4m]`, `offset step()`, `[max_of(range(), 1h)]`.
//!
//! What is constant is folded by the parser. What depends on the query's step or range stays a small tree
//! until [`resolve`] puts the numbers in.

use super::ast::{Expr, ExprKind, NumberLiteral};
use super::parse_error;
use super::span::Span;
use crate::error::Result;
use crate::model::time;

/// A duration in a selector.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Duration {
    /// Milliseconds; negative only in offsets.
    Fixed(i64),
    /// It depends on the query's step or range.
    Open(Box<DurationExpr>),
}

/// A duration expression and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DurationExpr {
    /// What it is.
    pub(crate) kind: DurationKind,
    /// From its first to its last byte.
    pub(crate) span: Span,
}

/// What a duration expression is; all values are seconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum DurationKind {
    /// A number or a duration with its sign.
    Number(NumberLiteral),
    /// `step()`: the query's step.
    Step,
    /// `range()`: the query's end minus its start.
    Range,
    /// `-expr`.
    Negative(Box<DurationExpr>),
    /// `left + right`, `min_of(left, right)`.
    Binary(DurationOp, Box<DurationExpr>, Box<DurationExpr>),
    /// `(expr)`.
    Paren(Box<DurationExpr>),
}

/// Operators between durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DurationOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `min_of(…)`
    Min,
    /// `max_of(…)`
    Max,
}

/// Which durations are allowed where the duration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Ranges and steps: more than 0.
    Positive,
    /// Offsets.
    Any,
}

/// Seconds from which a duration does not fit Go's 64 bits of nanoseconds.
const LARGEST_SECONDS: f64 = 9_223_372_036.854_776;

/// The step and the range of the query, in seconds; absent while the text is parsed.
type QueryTimes = Option<(f64, f64)>;

/// Whether a literal is too long or too short for a duration.
pub(super) fn out_of_range(seconds: f64) -> bool {
    seconds.abs() > LARGEST_SECONDS
}

impl Duration {
    /// Folds an expression if it is constant.
    ///
    /// # Errors
    /// `Syntax` when a constant is no duration: zero or less where that is not allowed, infinite, too long.
    pub(super) fn fold(expr: DurationExpr, allowed: Allowed, text: &str) -> Result<Self> {
        let folded = expr.milliseconds(None, allowed, text)?;
        Ok(folded.map_or_else(|| Self::Open(Box::new(expr)), Self::Fixed))
    }

    fn resolve(&mut self, allowed: Allowed, times: QueryTimes, text: &str) -> Result<()> {
        if let Self::Open(expr) = self
            && let Some(ms) = expr.milliseconds(times, allowed, text)?
        {
            *self = Self::Fixed(ms);
        }
        Ok(())
    }
}

impl DurationExpr {
    /// The value in ms, cut toward zero; `None` where it depends on times that are not known yet.
    fn milliseconds(&self, times: QueryTimes, allowed: Allowed, text: &str) -> Result<Option<i64>> {
        let Some(seconds) = self.seconds(times, text)? else { return Ok(None) };
        let fail = |why| Err(parse_error(text, self.span, why));
        if !seconds.is_finite() {
            return fail("duration is NaN or infinite");
        }
        if seconds <= 0.0 && allowed == Allowed::Positive {
            return fail("duration must be greater than 0");
        }
        if out_of_range(seconds) {
            return fail("duration is out of range");
        }
        // A literal is rounded to nanoseconds first, so that 0.29 is 290 ms.
        let literal = matches!(self.kind, DurationKind::Number(_));
        let ms = if literal { (seconds * 1e9).round() / 1e6 } else { seconds * 1e3 };
        Ok(Some(time::seconds_to_ms(ms.trunc() / 1e3)))
    }

    fn seconds(&self, times: QueryTimes, text: &str) -> Result<Option<f64>> {
        Ok(match &self.kind {
            DurationKind::Number(number) => Some(number.value),
            DurationKind::Step => times.map(|(step, _)| step),
            DurationKind::Range => times.map(|(_, range)| range),
            DurationKind::Negative(inner) => inner.seconds(times, text)?.map(|value| -value),
            DurationKind::Paren(inner) => inner.seconds(times, text)?,
            DurationKind::Binary(op, left, right) => {
                let (left, right) = (left.seconds(times, text)?, right.seconds(times, text)?);
                let Some((left, right)) = left.zip(right) else { return Ok(None) };
                if right == 0.0 && matches!(op, DurationOp::Div | DurationOp::Mod) {
                    let what = if *op == DurationOp::Div { "division" } else { "modulo" };
                    return Err(parse_error(text, self.span, &format!("{what} by zero")));
                }
                Some(op.apply(left, right))
            }
        })
    }
}

impl DurationOp {
    /// The operator, or for `min_of` and `max_of` the function.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Min => "min_of",
            Self::Max => "max_of",
        }
    }

    fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div => left / right,
            Self::Mod => left % right,
            Self::Pow => left.powf(right),
            Self::Min => left.min(right),
            Self::Max => left.max(right),
        }
    }
}

/// Puts the query's step and range (both ms; 0 in an instant query) into all durations that depend on them.
///
/// # Errors
/// `Syntax` when a range or a step comes out as 0 or less, or as no duration at all.
pub(in crate::query) fn resolve(expr: &mut Expr, text: &str, step_ms: i64, range_ms: i64) -> Result<()> {
    let times = Some((time::ms_to_seconds(step_ms), time::ms_to_seconds(range_ms)));
    resolve_tree(expr, text, times)
}

fn resolve_tree(expr: &mut Expr, text: &str, times: QueryTimes) -> Result<()> {
    let open = |duration: &mut Option<Duration>, allowed| {
        duration.as_mut().map_or(Ok(()), |duration| duration.resolve(allowed, times, text))
    };
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::Vector(selector) => open(&mut selector.offset, Allowed::Any)?,
        ExprKind::Matrix(matrix) => {
            open(&mut matrix.selector.offset, Allowed::Any)?;
            matrix.range.resolve(Allowed::Positive, times, text)?;
        }
        ExprKind::Subquery(subquery) => {
            open(&mut subquery.offset, Allowed::Any)?;
            open(&mut subquery.step, Allowed::Positive)?;
            subquery.range.resolve(Allowed::Positive, times, text)?;
            resolve_tree(&mut subquery.expr, text, times)?;
        }
        ExprKind::Unary(unary) => resolve_tree(&mut unary.expr, text, times)?,
        ExprKind::Binary(binary) => {
            resolve_tree(&mut binary.left, text, times)?;
            resolve_tree(&mut binary.right, text, times)?;
        }
        ExprKind::Aggregate(aggregate) => {
            resolve_tree(&mut aggregate.expr, text, times)?;
            if let Some(param) = &mut aggregate.param {
                resolve_tree(param, text, times)?;
            }
        }
        ExprKind::Call(call) => {
            for arg in &mut call.args {
                resolve_tree(arg, text, times)?;
            }
        }
        ExprKind::Paren(inner) => resolve_tree(inner, text, times)?,
    }
    Ok(())
}
