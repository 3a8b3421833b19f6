//! Regular expressions with RE2's meaning, `^(?s:re)$` as Prometheus compiles them, on Rust's `regex`.
//!
//! The text is never passed through: [`parse`] reads RE2's grammar (ASCII classes, literal `{`, `[` and `&&` where
//! RE2 takes them so) into a tree, [`fast`] looks whether the tree is only a set of literals or a prefix, infix or
//! suffix, and `regex` compiles what is left. No look-around and no back references: matching is linear.

mod class;
mod expand;
mod fast;
mod parse;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use regex_syntax::hir::{Hir, Look};

use crate::error::{Error, Kind, Result};
use fast::Shape;
use parse::Parsed;

/// Bytes that a compiled expression may take. `\pL{1000}` alone would take more.
const MAX_COMPILED_BYTES: usize = 10 << 20;

/// A fully anchored regular expression whose dot matches a newline. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Regex {
    program: Arc<Program>,
}

#[derive(Debug)]
struct Program {
    shape: Shape,
    /// `^(?:tree)$` in `regex`'s own spelling.
    text: String,
    /// Names of the capturing groups from group 1 on, as far as they have one.
    names: Vec<Option<String>>,
    /// Compiled at once where `shape` needs it to match, otherwise when a capture is first asked for.
    engine: OnceLock<regex::Regex>,
}

impl Regex {
    /// Compiles an RE2 expression. Costs microseconds for plain alternatives, prefixes, infixes and suffixes.
    ///
    /// # Errors
    /// `Invalid`, in the words of Go's `regexp`, when RE2 would refuse it; `Limit` when it nests deeper than
    /// 250 groups or compiles to more than 10 MiB.
    pub fn new(pattern: &str) -> Result<Self> {
        let Parsed { tree, names } = parse::parse(pattern).map_err(|e| e.with("regex", abridge(pattern)))?;
        let tree = fast::without_outer_anchors(tree);
        let shape = Shape::of(&tree);
        let whole = Hir::concat(vec![Hir::look(Look::Start), tree, Hir::look(Look::End)]);
        let engine = OnceLock::new();
        if matches!(shape, Shape::Engine) {
            let compiled =
                compile(&whole.to_string(), MAX_COMPILED_BYTES).map_err(|e| refused(pattern, e))?;
            engine.get_or_init(|| compiled);
        }
        Ok(Self { program: Arc::new(Program { shape, text: whole.to_string(), names, engine }) })
    }

    /// Whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        match &self.program.shape {
            Shape::Literals(set) => set.contains(text),
            Shape::Glob(glob) => glob.is_match(text),
            Shape::Engine => self.program.engine().is_match(text),
        }
    }

    /// The alternatives, sorted and unique, where the expression is nothing but literals: `a|b|c`, `x(1|2)`,
    /// `a?`. The empty literal among them means that an absent label matches.
    pub fn literals(&self) -> Option<Vec<&str>> {
        match &self.program.shape {
            Shape::Literals(set) => Some(set.iter().collect()),
            Shape::Glob(_) | Shape::Engine => None,
        }
    }

    /// `template` with `$1`, `${1}x`, `$name` and `$$` replaced from the match, by the rules of Go's
    /// `Regexp.Expand`: a group that does not exist or took no part is empty, `$1x` is the group named `1x`.
    /// `None` where nothing matches.
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        let captures = self.program.engine().captures(text)?;
        let by_number = |number: usize| captures.get(number).map(|group| group.as_str());
        // RE2 lets a name occur twice: the first of them that took part counts.
        let named = |name: &str, group: &Option<String>| group.as_deref() == Some(name);
        let by_name = |name: &str| {
            let groups = (1..).zip(&self.program.names);
            groups.filter(|(_, group)| named(name, group)).find_map(|(number, _)| by_number(number))
        };
        Some(expand::expand(template, by_number, by_name))
    }
}

impl Program {
    fn engine(&self) -> &regex::Regex {
        // A set or a glob has no counted repeats, so it compiles to a small multiple of its text.
        self.engine.get_or_init(|| compile(&self.text, usize::MAX).expect("it has no size limit to pass"))
    }
}

fn compile(text: &str, max_bytes: usize) -> Result<regex::Regex, regex::Error> {
    // The printed tree has a few levels a group.
    let nesting = u32::try_from(8 * parse::MAX_NESTING + 64).expect("a small constant");
    regex::RegexBuilder::new(text).size_limit(max_bytes).nest_limit(nesting).build()
}

fn refused(pattern: &str, error: regex::Error) -> Error {
    let error = match error {
        regex::Error::CompiledTooBig(limit) => Error::new(
            Kind::Limit,
            format!("the regular expression compiles to more than the size limit of {limit} bytes"),
        ),
        other => Error::internal("a translated regular expression does not compile").caused_by(other),
    };
    error.with("regex", abridge(pattern))
}

/// The start of a pattern, for messages.
fn abridge(pattern: &str) -> String {
    const SHOWN: usize = 200;
    let mut shown: String = pattern.chars().take(SHOWN).collect();
    if shown.len() < pattern.len() {
        shown.push('…');
    }
    shown
}
