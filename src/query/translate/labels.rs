//! `label_replace`, `label_join`, and the labels of `absent`.

use datafusion::logical_expr::LogicalPlan;

use super::super::plan::{Absent, Relabel, Take, Window, WindowFunction};
use super::super::promql::Expr;
use super::super::promql::ast::{self, ExprKind};
use super::call::text;
use super::{Translator, Vector, position};
use crate::error::{Error, Kind, Result};
use crate::model::{Labels, METRIC_NAME, MatchOp, Matcher, Regex};

impl Translator<'_> {
    pub(super) fn label_replace(&self, args: &[Expr]) -> Result<Vector> {
        let [vector, target, template, source, pattern] = args else {
            return Err(Error::internal("label_replace without its arguments"));
        };
        let pattern = String::from_utf8_lossy(text(pattern)?).into_owned();
        Regex::new(&pattern).map_err(|e| {
            let message = format!("invalid regular expression in label_replace(): {pattern}");
            if e.kind() == Kind::Invalid { Error::new(Kind::Execution, message).caused_by(e) } else { e }
        })?;
        let target = label_name(text(target)?, "destination", "label_replace")?;
        let template = String::from_utf8_lossy(text(template)?).into_owned();
        let source = String::from_utf8_lossy(text(source)?).into_owned();
        self.relabel(vector, Relabel::Replace { target, template, source, pattern })
    }

    pub(super) fn label_join(&self, args: &[Expr]) -> Result<Vector> {
        let [vector, target, separator, sources @ ..] = args else {
            return Err(Error::internal("label_join without its arguments"));
        };
        let sources = sources.iter().map(|source| label_name(text(source)?, "source", "label_join"));
        let sources = sources.collect::<Result<Vec<_>>>()?;
        let target = label_name(text(target)?, "destination", "label_join")?;
        let separator = String::from_utf8_lossy(text(separator)?).into_owned();
        self.relabel(vector, Relabel::Join { target, separator, sources })
    }

    fn relabel(&self, vector: &Expr, relabel: Relabel) -> Result<Vector> {
        let input = self.vector(vector.unwrap_parens())?;
        let has_one_name = input.has_one_name && relabel.target() != METRIC_NAME;
        let plan = relabel.plan(input.plan, self.schema);
        Ok(Vector { plan, has_one_name })
    }

    /// `absent`, and `absent_over_time`, which looks for any sample in the range.
    pub(super) fn absent(&self, argument: &Expr) -> Result<Vector> {
        let (input, labels) = match &argument.kind {
            ExprKind::Vector(selector) => {
                (self.instant_selector(selector, Take::Newest)?.plan, matched(selector)?)
            }
            ExprKind::Matrix(matrix) => (self.present(argument)?, matched(&matrix.selector)?),
            ExprKind::Subquery(_) => (self.present(argument)?, Labels::empty()),
            _ => (self.vector(argument)?.plan, Labels::empty()),
        };
        let plan = Absent { labels: labels.as_bytes().into() }.plan(input, self.schema);
        Ok(Vector { plan, has_one_name: true })
    }

    /// Where a range has any sample. Names that go may leave equal label sets, which nobody sees.
    fn present(&self, range: &Expr) -> Result<LogicalPlan> {
        let (function, position) = (WindowFunction::Present, position(range.span));
        let window = Window { function, arguments: Vec::new(), position };
        Ok(window.plan(self.range_vector(range)?.plan, Vec::new(), self.schema))
    }
}

/// The labels that a selector fixes: those whose last matcher is `=`, and the only one with `=`.
fn matched(selector: &ast::VectorSelector) -> Result<Labels> {
    let fixes = |(at, one): &(usize, &Matcher)| {
        let same = |other: &Matcher| other.name() == one.name();
        let equal = |other: &Matcher| same(other) && other.op() == MatchOp::Equal;
        let (before, after) = (&selector.matchers[..*at], &selector.matchers[at + 1..]);
        one.name() != METRIC_NAME
            && one.op() == MatchOp::Equal
            && !before.iter().any(equal)
            && !after.iter().any(same)
    };
    let fixed = selector.matchers.iter().enumerate().filter(fixes);
    Labels::from_pairs(fixed.map(|(_, matcher)| (matcher.name(), matcher.value())))
}

fn label_name(name: &[u8], what: &str, function: &str) -> Result<String> {
    match std::str::from_utf8(name) {
        Ok(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => {
            let name = String::from_utf8_lossy(name);
            let message = format!("invalid {what} label name in {function}(): {name}");
            Err(Error::new(Kind::Execution, message))
        }
    }
}
