//! Selectors: `name{label="value"}`, ranges and subqueries behind them, and lists of label names.

use super::{Parser, Tree};
use crate::error::Result;
use crate::model::{METRIC_NAME, MatchOp, Matcher};
use crate::query::promql::ast::{BinaryOp, ExprKind, MatrixSelector, Subquery, VectorSelector};
use crate::query::promql::duration::{Allowed, Duration};
use crate::query::promql::lexer::unquote;
use crate::query::promql::quote::quote;
use crate::query::promql::span::Span;
use crate::query::promql::token::{Token, TokenKind};

const IN_LABELS: &str = "label matching";
const IN_GROUPING: &str = "grouping opts";

impl Parser<'_> {
    /// A selector from its braces on; `name` has been read.
    pub(super) fn vector_selector(&mut self, name: Option<Token>) -> Result<(VectorSelector, Span)> {
        let start = name.map_or_else(|| self.token().span, |name| name.span);
        let mut span = start;
        let mut matchers = Vec::new();
        if self.peek() == TokenKind::LeftBrace {
            self.advance();
            span = start.to(self.matchers(&mut matchers)?);
        }
        let name = name.map(|name| self.written(name).to_owned());
        if let Some(name) = &name {
            matchers.push(Matcher::equal(METRIC_NAME, name.as_str()));
        }
        Ok((VectorSelector { name, matchers, ..VectorSelector::default() }, span))
    }

    /// `a="b", c!~"d"}` up to the closing brace, whose place it returns.
    fn matchers(&mut self, out: &mut Vec<Matcher>) -> Result<Span> {
        loop {
            if let Some(close) = self.take(TokenKind::RightBrace) {
                return Ok(close.span);
            }
            out.push(self.matcher()?);
            if self.take(TokenKind::Comma).is_none() && self.peek() != TokenKind::RightBrace {
                return Err(self.unexpected(IN_LABELS, "\",\" or \"}\""));
            }
        }
    }

    fn matcher(&mut self) -> Result<Matcher> {
        let label = match self.peek() {
            TokenKind::Identifier | TokenKind::String => self.advance(),
            _ => return Err(self.unexpected(IN_LABELS, "identifier or \"}\"")),
        };
        let quoted = label.kind == TokenKind::String;
        let name = if quoted { self.utf8(label)? } else { self.written(label).to_owned() };
        let op = match self.peek() {
            TokenKind::Assign => MatchOp::Equal,
            TokenKind::Operator(BinaryOp::NotEqual) => MatchOp::NotEqual,
            TokenKind::EqualRegex => MatchOp::Regex,
            TokenKind::NotRegex => MatchOp::NotRegex,
            TokenKind::Error => return Err(self.unexpected(IN_LABELS, "")),
            _ if quoted => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ => return Err(self.unexpected(IN_LABELS, "label matching operator")),
        };
        self.advance();
        let Some(value) = self.take(TokenKind::String) else {
            return Err(self.unexpected(IN_LABELS, "string"));
        };
        let text = self.utf8(value)?;
        let place = label.span.to(value.span);
        Matcher::new(name, op, text).map_err(|e| self.fail(place, e.message()))
    }

    /// A string that is a name or is compared with label values, which are always UTF-8.
    fn utf8(&self, token: Token) -> Result<String> {
        String::from_utf8(unquote(self.written(token))).map_err(|e| {
            let text = quote(e.as_bytes());
            self.fail(token.span, &format!("invalid UTF-8 in label matching: {text}"))
        })
    }

    /// `(a, "b.c")` behind `by`, `on` and the like.
    pub(super) fn label_list(&mut self) -> Result<Vec<String>> {
        if self.take(TokenKind::LeftParen).is_none() {
            return Err(self.unexpected(IN_GROUPING, "\"(\""));
        }
        let mut labels = Vec::new();
        loop {
            if self.take(TokenKind::RightParen).is_some() {
                return Ok(labels);
            }
            labels.push(self.label()?);
            if self.take(TokenKind::Comma).is_none() && self.peek() != TokenKind::RightParen {
                return Err(self.unexpected(IN_GROUPING, "\",\" or \")\""));
            }
        }
    }

    fn label(&mut self) -> Result<String> {
        let kind = self.peek();
        if kind.is_label_name() {
            let token = self.advance();
            return Ok(self.written(token).to_owned());
        }
        if kind != TokenKind::String {
            return Err(self.unexpected(IN_GROUPING, "label"));
        }
        let token = self.advance();
        let invalid = |bytes: &[u8]| {
            self.fail(token.span, &format!("invalid label name for grouping: {}", quote(bytes)))
        };
        let label = String::from_utf8(unquote(self.written(token))).map_err(|e| invalid(e.as_bytes()))?;
        if label.is_empty() { Err(invalid(b"")) } else { Ok(label) }
    }

    /// `[5m]` or `[1h:5m]` behind an expression.
    pub(super) fn range_or_subquery(&mut self, of: Tree) -> Result<Tree> {
        let open = self.advance().span;
        let range = self.range_duration("subquery or range selector", STARTS_DURATION)?;
        if self.take(TokenKind::Colon).is_some() {
            return self.subquery(of, range);
        }
        let Some(close) = self.take(TokenKind::RightBracket) else {
            return Err(self.unexpected("subquery or range", "\":\" or \"]\""));
        };
        let fail = |why| Err(self.fail(open, why));
        let ExprKind::Vector(selector) = of.expr.kind else {
            return fail("ranges only allowed for vector selectors");
        };
        if selector.offset.is_some() {
            return fail("no offset modifiers allowed before range");
        }
        if selector.at.is_some() {
            return fail("no @ modifiers allowed before range");
        }
        let selector_span = of.expr.span;
        let matrix = MatrixSelector { selector: *selector, selector_span, range };
        Ok(Tree::leaf(ExprKind::Matrix(Box::new(matrix)), selector_span.to(close.span)))
    }

    fn subquery(&mut self, of: Tree, range: Duration) -> Result<Tree> {
        let mut step = None;
        if self.peek() != TokenKind::RightBracket {
            step = Some(self.range_duration("subquery selector", STARTS_STEP)?);
        }
        let Some(close) = self.take(TokenKind::RightBracket) else {
            return Err(self.unexpected("subquery selector", "\"]\""));
        };
        let span = of.expr.span.to(close.span);
        let subquery = Subquery { expr: of.expr, range, step, offset: None, at: None };
        self.node(ExprKind::Subquery(Box::new(subquery)), span, of.height)
    }

    /// A duration greater than 0; `context` and `expected` are for the error.
    fn range_duration(&mut self, context: &'static str, expected: &'static str) -> Result<Duration> {
        let expr = self.duration_expression(0, (context, expected))?.expr;
        Duration::fold(expr, Allowed::Positive, self.text)
    }
}

const STARTS_DURATION: &str = "number, duration, step(), or range()";
const STARTS_STEP: &str = "number, duration, step(), range(), or \"]\"";
