//! SQL predicates become matchers and a time range. Only what keeps SQL's meaning exactly is translated; all
//! else stays with `DataFusion`'s filter above the scan.
//!
//! In SQL an absent label is NULL, in a matcher it is the empty value. So `zone <> 'eu'`, which is not true
//! for NULL, becomes `zone!="eu"` and `zone!=""`.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{InList, Like};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::columns::{Columns, Content};
use super::jsonb;
use crate::model::{METRIC_NAME, MatchOp, Matcher};

/// What a list of predicates, all of which must hold, asks of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pushed {
    /// All must match.
    pub(super) matchers: Vec<Matcher>,
    /// The first millisecond wanted.
    pub(super) from: i64,
    /// The last millisecond wanted.
    pub(super) to: i64,
}

impl Pushed {
    /// Everything.
    pub(super) fn all() -> Self {
        Self { matchers: Vec::new(), from: i64::MIN, to: i64::MAX }
    }

    /// Adds a predicate; false (and nothing changed) when it cannot be translated exactly.
    pub(super) fn add(&mut self, expr: &Expr, columns: &Columns) -> bool {
        let mut next = self.clone();
        let done = next.try_add(expr, columns).is_some();
        if done {
            *self = next;
        }
        done
    }

    fn try_add(&mut self, expr: &Expr, columns: &Columns) -> Option<()> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.try_add(left, columns)?;
                self.try_add(right, columns)
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let (subject, op, value) = match (literal(left), literal(right)) {
                    (None, Some(value)) => (left, *op, value),
                    (Some(value), None) => (right, op.swap()?, value),
                    _ => return None,
                };
                match target(subject, columns)? {
                    Target::Time => self.time(op, value),
                    Target::Label(name) => self.compare(name, op, value.try_as_str()??),
                }
            }
            Expr::InList(InList { expr, list, negated }) => {
                let Target::Label(name) = target(expr, columns)? else { return None };
                let values: Option<Vec<&str>> = list.iter().map(|e| literal(e)?.try_as_str()?).collect();
                self.in_list(name, &values?, *negated)
            }
            Expr::IsNull(inner) => self.null_test(inner, columns, MatchOp::Equal),
            Expr::IsNotNull(inner) => self.null_test(inner, columns, MatchOp::NotEqual),
            Expr::Like(Like { negated, expr, pattern, escape_char: None, case_insensitive: false }) => {
                let Target::Label(name) = target(expr, columns)? else { return None };
                let pattern = like_to_regex(literal(pattern)?.try_as_str()??)?;
                let op = if *negated { MatchOp::NotRegex } else { MatchOp::Regex };
                self.present(name);
                self.regex(name, op, &pattern)
            }
            _ => None,
        }
    }

    fn compare(&mut self, name: &str, op: Operator, value: &str) -> Option<()> {
        // No label has the empty value, so `= ''` is never true: rare enough to leave to the filter above.
        if value.is_empty() && name != METRIC_NAME {
            return None;
        }
        match op {
            Operator::Eq => self.matchers.push(Matcher::equal(name, value)),
            Operator::NotEq => {
                self.present(name);
                self.matchers.push(Matcher::new(name, MatchOp::NotEqual, value).ok()?);
            }
            _ => return None,
        }
        Some(())
    }

    fn in_list(&mut self, name: &str, values: &[&str], negated: bool) -> Option<()> {
        if values.is_empty() || values.iter().any(|v| v.is_empty()) {
            return None;
        }
        let all: Vec<String> = values.iter().map(|v| regex::escape(v)).collect();
        let op = if negated { MatchOp::NotRegex } else { MatchOp::Regex };
        if negated {
            self.present(name);
        }
        self.regex(name, op, &all.join("|"))
    }

    fn null_test(&mut self, expr: &Expr, columns: &Columns, op: MatchOp) -> Option<()> {
        let Target::Label(name) = target(expr, columns)? else { return None };
        if name == METRIC_NAME {
            return None;
        }
        self.matchers.push(Matcher::new(name, op, "").ok()?);
        Some(())
    }

    fn regex(&mut self, name: &str, op: MatchOp, pattern: &str) -> Option<()> {
        self.matchers.push(Matcher::new(name, op, pattern).ok()?);
        Some(())
    }

    /// A label that is compared is there; the metric is never NULL.
    fn present(&mut self, name: &str) {
        if name != METRIC_NAME {
            let matcher = Matcher::new(name, MatchOp::NotEqual, "");
            self.matchers.push(matcher.expect("only a regular expression can be refused"));
        }
    }

    fn time(&mut self, op: Operator, value: &ScalarValue) -> Option<()> {
        let (floor, exact) = millis(value)?;
        // Stored times are whole milliseconds: a bound between two of them moves to the right neighbour.
        let ceil = if exact { floor } else { floor.checked_add(1)? };
        match op {
            Operator::Eq if exact => {
                self.from = self.from.max(floor);
                self.to = self.to.min(floor);
            }
            Operator::GtEq => self.from = self.from.max(ceil),
            Operator::Gt => self.from = self.from.max(floor.checked_add(1)?),
            Operator::LtEq => self.to = self.to.min(floor),
            Operator::Lt => self.to = self.to.min(ceil.checked_sub(1)?),
            _ => return None,
        }
        Some(())
    }
}

/// A time in whole ms, rounded down, and whether nothing was lost.
fn millis(value: &ScalarValue) -> Option<(i64, bool)> {
    let (value, per_milli) = match value {
        ScalarValue::TimestampSecond(Some(s), _) => return Some((s.checked_mul(1_000)?, true)),
        ScalarValue::TimestampMillisecond(Some(v), _) => (*v, 1),
        ScalarValue::TimestampMicrosecond(Some(v), _) => (*v, 1_000),
        ScalarValue::TimestampNanosecond(Some(v), _) => (*v, 1_000_000),
        _ => return None,
    };
    Some((value.div_euclid(per_milli), value.rem_euclid(per_milli) == 0))
}

enum Target<'a> {
    Time,
    /// A label, or `__name__` for the metric.
    Label(&'a str),
}

fn target<'a>(expr: &'a Expr, columns: &'a Columns) -> Option<Target<'a>> {
    match expr {
        Expr::Column(column) => match columns.content(&column.name)? {
            Content::Timestamp => Some(Target::Time),
            Content::Metric => Some(Target::Label(METRIC_NAME)),
            Content::Label(name) => Some(Target::Label(name)),
            Content::Value | Content::SeriesId | Content::Labels | Content::First | Content::Last => None,
        },
        // Type coercion widens the column, not the constant: to another text type, or to finer time.
        Expr::Cast(cast) => match target(&cast.expr, columns)? {
            Target::Time if cast.field.data_type().is_temporal() && !is_date(cast.field.data_type()) => {
                Some(Target::Time)
            }
            Target::Label(name) if cast.field.data_type().is_string() => Some(Target::Label(name)),
            _ => None,
        },
        _ => {
            let (document, name) = jsonb::as_text_access(expr)?;
            let Expr::Column(column) = document else { return None };
            let labels = matches!(columns.content(&column.name)?, Content::Labels);
            // `__name__` is not a member of `labels`, but a matcher on it would look at the metric.
            (labels && name != METRIC_NAME && !name.is_empty()).then_some(Target::Label(name))
        }
    }
}

fn is_date(kind: &arrow::datatypes::DataType) -> bool {
    use arrow::datatypes::{DataType, TimeUnit};
    // Seconds and dates are coarser than milliseconds: a comparison after such a cast is another one.
    !matches!(
        kind,
        DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
    )
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) if !value.is_null() => Some(value),
        _ => None,
    }
}

/// `%` and `_` as a regular expression; a pattern with a backslash is left alone.
fn like_to_regex(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    for c in pattern.chars() {
        match c {
            '\\' => return None,
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
