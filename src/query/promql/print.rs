//! Tree to text, in the one form that Prometheus prints (`promql/parser/printer.go`). What it prints reads back as
//! the same tree, except for places and for the order of matchers, which are printed sorted.

use std::fmt::{self, Display, Formatter, Write};

use super::ast::{
    Aggregate, At, Binary, Cardinality, Edges, Expr, ExprKind, Matching, NumberLiteral, Subquery,
    VectorSelector,
};
use super::duration::{Duration, DurationExpr, DurationKind, DurationOp};
use super::quote::quote;
use super::token::{TokenKind, keyword};
use crate::model::{METRIC_NAME, MatchOp, Matcher, time};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(number) => number.fmt(f),
            ExprKind::String(string) => f.write_str(&quote(&string.bytes)),
            ExprKind::Vector(selector) => {
                write_series(f, selector)?;
                write_at(f, selector.at)?;
                write_edges(f, selector.edges)?;
                write_offset(f, selector.offset.as_ref())
            }
            ExprKind::Matrix(matrix) => {
                write_series(f, &matrix.selector)?;
                write!(f, "[{}]", matrix.range)?;
                write_edges(f, matrix.selector.edges)?;
                write_at(f, matrix.selector.at)?;
                write_offset(f, matrix.selector.offset.as_ref())
            }
            ExprKind::Subquery(subquery) => subquery.fmt(f),
            ExprKind::Unary(unary) => {
                f.write_char(if unary.negative { '-' } else { '+' })?;
                unary.expr.fmt(f)
            }
            ExprKind::Binary(binary) => binary.fmt(f),
            ExprKind::Aggregate(aggregate) => aggregate.fmt(f),
            ExprKind::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                write_list(f, &call.args, ", ", |f, arg| arg.fmt(f))?;
                f.write_char(')')
            }
            ExprKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

fn write_list<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    separator: &str,
    write_item: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        write_item(f, item)?;
    }
    Ok(())
}

/// Without an exponent, as Go's format `f` with shortest digits.
fn write_float(f: &mut Formatter<'_>, value: f64) -> fmt::Result {
    if value == f64::INFINITY {
        f.write_str("+Inf")
    } else if value == f64::NEG_INFINITY {
        f.write_str("-Inf")
    } else {
        write!(f, "{value}")
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_duration {
            return f.write_str(&time::format_duration(time::seconds_to_ms(self.value)));
        }
        write_float(f, self.value)
    }
}

fn write_series(f: &mut Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    let name = selector.name.as_deref().unwrap_or_default();
    f.write_str(name)?;
    let is_name = |m: &Matcher| m.name() == METRIC_NAME && m.op() == MatchOp::Equal && m.value() == name;
    let others = selector.matchers.iter().filter(|matcher| name.is_empty() || !is_name(matcher));
    let mut printed: Vec<String> = others.map(print_matcher).collect();
    if printed.is_empty() && !name.is_empty() {
        return Ok(());
    }
    printed.sort_unstable();
    write!(f, "{{{}}}", printed.join(","))
}

fn print_matcher(matcher: &Matcher) -> String {
    let name = matcher.name();
    let plain = is_plain_name(name);
    let name = if plain { name.to_owned() } else { quote(name.as_bytes()) };
    format!("{name}{}{}", matcher.op().as_str(), quote(matcher.value().as_bytes()))
}

fn is_plain_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    starts_well && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

/// Labels in `by (…)`; those that would not read back as a label are quoted.
fn write_labels(f: &mut Formatter<'_>, labels: &[String]) -> fmt::Result {
    write_list(f, labels, ", ", |f, label| {
        let reads_back = is_plain_name(label) && keyword(label).is_none_or(TokenKind::is_label_name);
        if reads_back { f.write_str(label) } else { f.write_str(&quote(label.as_bytes())) }
    })
}

fn write_at(f: &mut Formatter<'_>, at: Option<At>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(At::Time(ms)) => write!(f, " @ {:.3}", time::ms_to_seconds(ms)),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
    }
}

fn write_edges(f: &mut Formatter<'_>, edges: Option<Edges>) -> fmt::Result {
    match edges {
        None => Ok(()),
        Some(Edges::Anchored) => f.write_str(" anchored"),
        Some(Edges::Smoothed) => f.write_str(" smoothed"),
    }
}

fn write_offset(f: &mut Formatter<'_>, offset: Option<&Duration>) -> fmt::Result {
    offset.map_or(Ok(()), |offset| write!(f, " offset {offset}"))
}

impl Display for Subquery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.expr, self.tail())
    }
}

impl Subquery {
    /// What stands behind the inner expression.
    pub(super) fn tail(&self) -> impl Display {
        fmt::from_fn(|f| {
            write!(f, "[{}:", self.range)?;
            if let Some(step) = &self.step {
                step.fmt(f)?;
            }
            f.write_char(']')?;
            write_at(f, self.at)?;
            write_offset(f, self.offset.as_ref())
        })
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.middle(), self.right)
    }
}

impl Binary {
    /// What stands between the operands.
    pub(super) fn middle(&self) -> impl Display {
        fmt::from_fn(|f| {
            f.write_str(self.op.as_str())?;
            if self.returns_bool {
                f.write_str(" bool")?;
            }
            self.matching.as_ref().map_or(Ok(()), |matching| matching.fmt(f))
        })
    }
}

/// With a blank in front of each part.
impl Display for Matching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let group = match self.cardinality {
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
            Cardinality::ManyToOne => Some("left"),
            Cardinality::OneToMany => Some("right"),
        };
        if self.on || !self.labels.is_empty() || group.is_some() {
            f.write_str(if self.on { " on (" } else { " ignoring (" })?;
            write_labels(f, &self.labels)?;
            f.write_char(')')?;
        }
        if let Some(side) = group {
            write!(f, " group_{side} (")?;
            write_labels(f, &self.include)?;
            f.write_char(')')?;
        }
        let write_fill = |f: &mut Formatter<'_>, name: &str, value: f64| {
            write!(f, " {name} (")?;
            write_float(f, value)?;
            f.write_char(')')
        };
        match (self.fill_left, self.fill_right) {
            (Some(left), Some(right)) if left.to_bits() == right.to_bits() => write_fill(f, "fill", left),
            (left, right) => {
                left.map_or(Ok(()), |value| write_fill(f, "fill_left", value))?;
                right.map_or(Ok(()), |value| write_fill(f, "fill_right", value))
            }
        }
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.head())?;
        if let Some(param) = &self.param {
            write!(f, "{param}, ")?;
        }
        write!(f, "{})", self.expr)
    }
}

impl Aggregate {
    /// What stands in front of the arguments.
    pub(super) fn head(&self) -> impl Display {
        fmt::from_fn(|f| {
            f.write_str(self.op.as_str())?;
            if self.without || !self.grouping.is_empty() {
                f.write_str(if self.without { " without (" } else { " by (" })?;
                write_labels(f, &self.grouping)?;
                f.write_str(") ")?;
            }
            Ok(())
        })
    }
}

impl Display for Duration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(ms) => f.write_str(&time::format_duration(*ms)),
            Self::Open(expr) => expr.fmt(f),
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DurationKind::Number(number) => number.fmt(f),
            DurationKind::Step => f.write_str("step()"),
            DurationKind::Range => f.write_str("range()"),
            DurationKind::Negative(inner) => write!(f, "-{inner}"),
            DurationKind::Binary(op @ (DurationOp::Min | DurationOp::Max), left, right) => {
                write!(f, "{}({left}, {right})", op.as_str())
            }
            DurationKind::Binary(op, left, right) => write!(f, "{left} {} {right}", op.as_str()),
            DurationKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}
