//! Label matchers: `=`, `!=`, `=~`, `!~`. A missing label has the empty value.

use std::fmt;

use super::labels::LabelsRef;
use super::re2::Regex;
use crate::error::Result;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator in PromQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// One condition on one label.
#[derive(Clone)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// A matcher; a regular expression is compiled as `^(?s:value)$` with RE2's meaning.
    ///
    /// # Errors
    /// `Invalid` when the regular expression is not RE2's.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self> {
        let (name, value) = (name.into(), value.into());
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Regex::new(&value)?),
        };
        Ok(Self { name, op, value, regex })
    }

    /// `name = value`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// The label it looks at.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// What it compares with, as written.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The values that can match, where the matcher names them all: `=` and `=~"a|b|c"`.
    pub fn literals(&self) -> Option<Vec<&str>> {
        match self.op {
            MatchOp::Equal => Some(vec![&self.value]),
            MatchOp::Regex => self.regex.as_ref()?.literals(),
            MatchOp::NotEqual | MatchOp::NotRegex => None,
        }
    }

    /// Whether a value matches.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => value == self.value,
            (MatchOp::NotEqual, _) => value != self.value,
            (MatchOp::Regex, Some(regex)) => regex.is_match(value),
            (MatchOp::NotRegex, Some(regex)) => !regex.is_match(value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => {
                unreachable!("a regex matcher is made with its regex")
            }
        }
    }

    /// Whether a series without the label matches.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// Whether a label set matches; `__name__` is looked up like any label.
    pub fn matches_labels(&self, labels: LabelsRef<'_>) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl std::hash::Hash for Matcher {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.name, self.op, &self.value).hash(state);
    }
}

impl PartialOrd for Matcher {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Matcher {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (&self.name, self.op, &self.value).cmp(&(&other.name, other.op, &other.value))
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `name="value"`, as PromQL writes it.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::Labels;
    use super::*;

    /// The label's value (`None`: no such label) for which a matcher is asked.
    fn asked(op: MatchOp, pattern: &str, value: Option<&str>) -> Result<bool> {
        let labels = Labels::from_pairs(value.map(|value| ("x", value)))?;
        Ok(Matcher::new("x", op, pattern)?.matches_labels(labels.as_ref()))
    }

    #[test]
    fn a_missing_label_is_an_empty_one() -> Result<()> {
        use MatchOp::{Equal, NotEqual, NotRegex, Regex};
        for (op, pattern, absent, a, b) in [
            (Equal, "", true, false, false),
            (NotEqual, "", false, true, true),
            (Equal, "a", false, true, false),
            (NotEqual, "a", true, false, true),
            (Regex, "a|", true, true, false),
            (Regex, ".*", true, true, true),
            (Regex, ".+", false, true, true),
            (NotRegex, "a", true, false, true),
            (NotRegex, ".*", false, false, false),
            (NotRegex, "", false, true, true),
        ] {
            let answers =
                (asked(op, pattern, None)?, asked(op, pattern, Some("a"))?, asked(op, pattern, Some("b"))?);
            assert_eq!(answers, (absent, a, b), "x{}{pattern:?}", op.as_str());
            assert_eq!(Matcher::new("x", op, pattern)?.matches_empty(), absent);
        }
        Ok(())
    }

    #[test]
    fn literals_are_known_for_positive_matchers_only() -> Result<()> {
        let of = |op, value: &str| -> Result<Option<Vec<String>>> {
            let matcher = Matcher::new("x", op, value)?;
            Ok(matcher.literals().map(|all| all.into_iter().map(str::to_owned).collect()))
        };
        let some = |all: &[&str]| Some(all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(of(MatchOp::Equal, "a|b")?, some(&["a|b"]));
        assert_eq!(of(MatchOp::Regex, "b|a")?, some(&["a", "b"]));
        assert_eq!(of(MatchOp::Regex, "a.*")?, None);
        assert_eq!(of(MatchOp::NotEqual, "a")?, None);
        assert_eq!(of(MatchOp::NotRegex, "a|b")?, None);
        Ok(())
    }
}
