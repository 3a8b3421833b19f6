//! PromQL: text to syntax tree, with the place of every node.
//!
//! ```text
//!   text ──lexer──► tokens ──parser──► Expr ──check──► Expr      Expr ──print──► canonical text
//! ```
//!
//! The grammar is that of Prometheus 3.14 with all experimental parts, and so are the texts of the errors
//! (`1:5: parse error: …`). It knows nothing of storage, plans or evaluation. Names and values are not looked
//! up; regular expressions are compiled where the selector is read.

pub(in crate::query) mod ast;
mod check;
pub(in crate::query) mod duration;
pub(in crate::query) mod functions;
mod json;
mod lexer;
mod parser;
mod pretty;
mod print;
mod quote;
mod span;
mod token;

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod error_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod print_tests;

use crate::error::{Error, Kind, Result};
use crate::model::Matcher;

pub(in crate::query) use ast::Expr;
pub(in crate::query) use duration::resolve as resolve_durations;
pub(in crate::query) use json::to_json;
pub(in crate::query) use pretty::pretty;
pub(in crate::query) use quote::quote;
pub(in crate::query) use span::Span;

/// The longest query, in bytes. Everything that grows with the text is bounded by it.
pub(in crate::query) const MAX_QUERY_BYTES: usize = 64 * 1024;
/// The highest syntax tree, in nodes from the root to a leaf: nesting, and also the operands of a chain such as
/// `a + b + c`. All passes over a tree recurse, so this is what keeps them within a thread's stack.
pub(in crate::query) const MAX_DEPTH: u32 = 256;

/// Reads and checks a query.
///
/// # Errors
/// `Syntax`, with a message such as `1:5: parse error: unexpected end of input`.
pub(in crate::query) fn parse(text: &str) -> Result<Expr> {
    let mut expr = parser::Parser::new(text)?.query()?;
    check::check(&mut expr, text)?;
    Ok(expr)
}

/// Reads a selector alone, as in `match[]=up{job="x"}`: its matchers, the name's among them. Unlike in a query,
/// matchers that all accept the empty value are allowed here.
///
/// # Errors
/// `Syntax`, as [`parse`].
pub(in crate::query) fn parse_selector(text: &str) -> Result<Vec<Matcher>> {
    parser::Parser::new(text)?.selector()
}

/// An error at a place of the text, in Prometheus' form.
fn parse_error(text: &str, span: Span, message: &str) -> Error {
    if text.is_empty() {
        return Error::new(Kind::Syntax, format!("unknown position: parse error: {message}"));
    }
    Error::new(Kind::Syntax, format!("{}: parse error: {message}", span.position(text)))
}
