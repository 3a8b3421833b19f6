//! Regular expressions with RE2's meaning (`docs` of Prometheus: `^(?s:re)$`), on Rust's `regex`.

use crate::error::{Error, Result};

/// A fully anchored regular expression whose dot matches a newline.
#[derive(Debug, Clone)]
pub struct Regex {
    compiled: regex::Regex,
    literals: Option<Vec<String>>,
}

impl Regex {
    /// Compiles an RE2 expression.
    ///
    /// # Errors
    /// `Invalid` when RE2 would refuse it.
    pub fn new(pattern: &str) -> Result<Self> {
        let compiled = regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
            .dot_matches_new_line(true)
            .build()
            .map_err(|e| {
                Error::invalid("the regular expression is not valid").with("regex", pattern).caused_by(e)
            })?;
        Ok(Self { compiled, literals: None })
    }

    /// Whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }

    /// The alternatives, where the expression is nothing but literals: `a|b|c`.
    pub fn literals(&self) -> Option<Vec<&str>> {
        self.literals.as_ref().map(|all| all.iter().map(String::as_str).collect())
    }

    /// `template` with `$1`, `${1}x`, `$name` and `$$` replaced from the match; `None` where nothing matches.
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        let captures = self.compiled.captures(text)?;
        let mut out = String::new();
        captures.expand(template, &mut out);
        Some(out)
    }
}
