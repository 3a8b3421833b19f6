//! Modifiers: of selectors (`offset`, `@`, `anchored`, `smoothed`) and of binary operators (`bool`, `on`,
//! `group_left`, `fill`).

use super::{Parser, Tree};
use crate::error::Result;
use crate::model::time;
use crate::query::promql::ast::{At, BinaryOp, Cardinality, Edges, ExprKind, Matching};
use crate::query::promql::duration::{Allowed, Duration};
use crate::query::promql::span::Span;
use crate::query::promql::token::{Keyword, Preprocessor, TokenKind};

/// The largest time behind `@`, in seconds, exclusive: 2^63, Go's `MaxInt64` as a float.
const LARGEST_AT: f64 = 9_223_372_036_854_776_000.0;

/// What `offset` and `@` may stand behind.
const SELECTORS: &str =
    "must be preceded by an instant vector selector or range vector selector or a subquery";

impl Parser<'_> {
    /// `offset 5m`.
    pub(super) fn offset(&mut self, mut of: Tree) -> Result<Tree> {
        self.advance();
        let expr = self.offset_duration(("offset", "number, duration, step(), or range()"))?;
        let end = expr.span;
        let offset = Duration::fold(expr, Allowed::Any, self.text)?;
        let place = match &mut of.expr.kind {
            ExprKind::Vector(selector) => &mut selector.offset,
            ExprKind::Matrix(matrix) => &mut matrix.selector.offset,
            ExprKind::Subquery(subquery) => &mut subquery.offset,
            _ => return Err(self.fail(of.expr.span, &format!("offset modifier {SELECTORS}"))),
        };
        if place.is_some() {
            return Err(self.fail(of.expr.span, "offset may not be set multiple times"));
        }
        // An offset of 0 is none, also for the question whether there are two.
        *place = Some(offset).filter(|offset| *offset != Duration::Fixed(0));
        of.expr.span = of.expr.span.to(end);
        Ok(of)
    }

    /// `anchored` or `smoothed`.
    pub(super) fn edges(&mut self, mut of: Tree) -> Result<Tree> {
        let token = self.advance();
        let anchored = token.kind == TokenKind::Keyword(Keyword::Anchored);
        let (edges, word) =
            if anchored { (Edges::Anchored, "anchored") } else { (Edges::Smoothed, "smoothed") };
        let place = match &mut of.expr.kind {
            ExprKind::Vector(selector) => &mut selector.edges,
            ExprKind::Matrix(matrix) => &mut matrix.selector.edges,
            ExprKind::Subquery(_) => {
                let message = format!("{word} modifier is not supported for subqueries");
                return Err(self.fail(of.expr.span, &message));
            }
            _ => return Err(self.fail(of.expr.span, &format!("{word} modifier not implemented"))),
        };
        if place.is_some_and(|before| before != edges) {
            let message = "anchored and smoothed modifiers cannot be used together";
            return Err(self.fail(of.expr.span, message));
        }
        *place = Some(edges);
        of.expr.span = of.expr.span.to(token.span);
        Ok(of)
    }

    /// `@ 123`, `@ start()`, `@ end()`.
    pub(super) fn at_modifier(&mut self, mut of: Tree) -> Result<Tree> {
        self.advance();
        let (at, end) = self.at_time(of.expr.span)?;
        let place = match &mut of.expr.kind {
            ExprKind::Vector(selector) => &mut selector.at,
            ExprKind::Matrix(matrix) => &mut matrix.selector.at,
            ExprKind::Subquery(subquery) => &mut subquery.at,
            _ => return Err(self.fail(of.expr.span, &format!("@ modifier {SELECTORS}"))),
        };
        if place.is_some() {
            return Err(self.fail(of.expr.span, "@ <timestamp> may not be set multiple times"));
        }
        *place = Some(at);
        of.expr.span = of.expr.span.to(end);
        Ok(of)
    }

    fn at_time(&mut self, of: Span) -> Result<(At, Span)> {
        if let TokenKind::Preprocessor(word @ (Preprocessor::Start | Preprocessor::End)) = self.peek() {
            self.advance();
            self.take(TokenKind::LeftParen).ok_or_else(|| self.unexpected("@", "timestamp"))?;
            let close = self.take(TokenKind::RightParen).ok_or_else(|| self.unexpected("@", "timestamp"))?;
            let at = if word == Preprocessor::Start { At::Start } else { At::End };
            return Ok((at, close.span));
        }
        let mut sign = 1.0;
        if let TokenKind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.peek() {
            self.advance();
            sign = if op == BinaryOp::Sub { -1.0 } else { 1.0 };
        }
        if !matches!(self.peek(), TokenKind::Number | TokenKind::Duration) {
            return Err(self.unexpected("@", "timestamp"));
        }
        let (number, span) = self.number()?;
        let seconds = sign * number.value;
        if seconds.is_nan() || seconds.abs() >= LARGEST_AT {
            let shown = match seconds {
                s if s.is_nan() => "NaN".to_owned(),
                s if s.is_infinite() => (if s > 0.0 { "+Inf" } else { "-Inf" }).to_owned(),
                s => format!("{s:.6}"),
            };
            let message = format!("timestamp out of bounds for @ modifier: {shown}");
            return Err(self.fail(of, &message));
        }
        Ok((At::Time(time::seconds_to_ms(seconds)), span))
    }

    /// `bool on (…) group_left (…) fill (…)` behind an operator, all optional: whether there is a `bool`, and
    /// the rest.
    pub(super) fn matching(&mut self) -> Result<(bool, Matching)> {
        let returns_bool = self.take_keyword(Keyword::Bool);
        let mut matching = Matching { on: self.take_keyword(Keyword::On), ..Matching::default() };
        if matching.on || self.take_keyword(Keyword::Ignoring) {
            matching.labels = self.label_list()?;
            if self.take_keyword(Keyword::GroupLeft) {
                matching.cardinality = Cardinality::ManyToOne;
            } else if self.take_keyword(Keyword::GroupRight) {
                matching.cardinality = Cardinality::OneToMany;
            }
            let grouped = matching.cardinality != Cardinality::OneToOne;
            if grouped && self.peek() == TokenKind::LeftParen {
                matching.include = self.label_list()?;
            }
        }
        if self.take_keyword(Keyword::Fill) {
            matching.fill_left = Some(self.fill_value()?);
            matching.fill_right = matching.fill_left;
        } else if self.take_keyword(Keyword::FillLeft) {
            matching.fill_left = Some(self.fill_value()?);
            if self.take_keyword(Keyword::FillRight) {
                matching.fill_right = Some(self.fill_value()?);
            }
        } else if self.take_keyword(Keyword::FillRight) {
            matching.fill_right = Some(self.fill_value()?);
            if self.take_keyword(Keyword::FillLeft) {
                matching.fill_left = Some(self.fill_value()?);
            }
        }
        Ok((returns_bool, matching))
    }

    /// `(-1.5)`.
    fn fill_value(&mut self) -> Result<f64> {
        self.expect(TokenKind::LeftParen)?;
        let mut sign = 1.0;
        if let TokenKind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.peek() {
            self.advance();
            sign = if op == BinaryOp::Sub { -1.0 } else { 1.0 };
        }
        if !matches!(self.peek(), TokenKind::Number | TokenKind::Duration) {
            return Err(self.unexpected_here());
        }
        let (number, _) = self.number()?;
        self.expect(TokenKind::RightParen)?;
        Ok(sign * number.value)
    }
}
