//! Duration expressions: in `[…]` and behind `offset`.

use super::Parser;
use crate::error::{Error, Result};
use crate::query::promql::MAX_DEPTH;
use crate::query::promql::ast::BinaryOp;
use crate::query::promql::duration::{DurationExpr, DurationKind, DurationOp, out_of_range};
use crate::query::promql::span::Span;
use crate::query::promql::token::{Preprocessor, TokenKind};

/// What an error says about the place: "in …, expected …".
pub(super) type Place = (&'static str, &'static str);

/// A duration expression and its height.
pub(super) struct DurationTree {
    pub(super) expr: DurationExpr,
    height: u32,
}

impl DurationTree {
    fn leaf(kind: DurationKind, span: Span) -> Self {
        Self { expr: DurationExpr { kind, span }, height: 1 }
    }
}

impl Parser<'_> {
    /// A duration expression whose operators bind at least as tightly as `weakest`.
    pub(super) fn duration_expression(&mut self, weakest: u8, place: Place) -> Result<DurationTree> {
        self.enter()?;
        let left = self.duration_operand(place)?;
        let tree = self.duration_operators(left, weakest, place)?;
        self.depth -= 1;
        Ok(tree)
    }

    fn duration_operators(
        &mut self,
        mut left: DurationTree,
        weakest: u8,
        place: Place,
    ) -> Result<DurationTree> {
        while let TokenKind::Operator(written) = self.peek()
            && let Some(op) = duration_op(written)
            && written.precedence() >= weakest
        {
            let at = self.advance().span;
            let tighter = written.precedence() + u8::from(written != BinaryOp::Pow);
            let right = self.duration_expression(tighter, place)?;
            self.refuse_zero(op, &right.expr, at)?;
            let span = left.expr.span.to(right.expr.span);
            left = self.duration_pair(op, left, right, span)?;
        }
        Ok(left)
    }

    fn refuse_zero(&self, op: DurationOp, right: &DurationExpr, at: Span) -> Result<()> {
        let DurationKind::Number(number) = &right.kind else { return Ok(()) };
        match op {
            DurationOp::Div if number.value == 0.0 => Err(self.fail(at, "division by zero")),
            DurationOp::Mod if number.value == 0.0 => Err(self.fail(at, "modulo by zero")),
            _ => Ok(()),
        }
    }

    fn duration_pair(
        &self,
        op: DurationOp,
        left: DurationTree,
        right: DurationTree,
        span: Span,
    ) -> Result<DurationTree> {
        let height = left.height.max(right.height) + 1;
        if height > MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        let kind = DurationKind::Binary(op, Box::new(left.expr), Box::new(right.expr));
        Ok(DurationTree { expr: DurationExpr { kind, span }, height })
    }

    fn duration_operand(&mut self, place: Place) -> Result<DurationTree> {
        match self.peek() {
            TokenKind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                let sign = self.advance().span;
                let tighter = BinaryOp::Mul.precedence() + 1;
                let operand = self.duration_expression(tighter, place)?;
                self.signed_duration(op == BinaryOp::Sub, sign, operand)
            }
            TokenKind::LeftParen => self.duration_parenthesis(place),
            _ => self.duration_atom(place),
        }
    }

    fn duration_parenthesis(&mut self, place: Place) -> Result<DurationTree> {
        let open = self.advance().span;
        let inner = self.duration_expression(0, place)?;
        let close = self.expect_in(TokenKind::RightParen, place)?;
        let kind = DurationKind::Paren(Box::new(inner.expr));
        Ok(DurationTree { expr: DurationExpr { kind, span: open.to(close) }, height: inner.height + 1 })
    }

    /// A literal, `step()`, `range()`, `min_of(…)` or `max_of(…)`.
    fn duration_atom(&mut self, place: Place) -> Result<DurationTree> {
        match self.peek() {
            TokenKind::Number | TokenKind::Duration => {
                let (number, span) = self.number()?;
                if out_of_range(number.value) {
                    return Err(self.fail(span, "duration out of range"));
                }
                Ok(DurationTree::leaf(DurationKind::Number(number), span))
            }
            TokenKind::Preprocessor(word @ (Preprocessor::Step | Preprocessor::Range)) => {
                let start = self.advance().span;
                self.expect_in(TokenKind::LeftParen, place)?;
                let end = self.expect_in(TokenKind::RightParen, place)?;
                let is_step = word == Preprocessor::Step;
                let kind = if is_step { DurationKind::Step } else { DurationKind::Range };
                Ok(DurationTree::leaf(kind, start.to(end)))
            }
            TokenKind::Preprocessor(word @ (Preprocessor::MinOf | Preprocessor::MaxOf)) => {
                let start = self.advance().span;
                self.expect_in(TokenKind::LeftParen, place)?;
                let left = self.duration_expression(0, place)?;
                self.expect_in(TokenKind::Comma, place)?;
                let right = self.duration_expression(0, place)?;
                let end = self.expect_in(TokenKind::RightParen, place)?;
                let op = if word == Preprocessor::MinOf { DurationOp::Min } else { DurationOp::Max };
                self.duration_pair(op, left, right, start.to(end))
            }
            _ => Err(self.unexpected_in(place)),
        }
    }

    /// What stands behind `offset`. Operators behind a literal or a call belong to the expression around it
    /// (`foo offset -2 ^ 2` is a power); only a duration in parentheses goes on: `offset (1m) * 2`.
    pub(super) fn offset_duration(&mut self, place: Place) -> Result<DurationExpr> {
        self.enter()?;
        let tree = match (self.peek(), self.peek_second()) {
            (TokenKind::LeftParen, _) => {
                let left = self.duration_parenthesis(place)?;
                self.duration_operators(left, 0, place)?
            }
            (TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub), TokenKind::Operator(_)) => {
                self.duration_expression(0, place)?
            }
            (TokenKind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)), next) => {
                let sign = self.advance().span;
                let operand = if next == TokenKind::LeftParen {
                    self.duration_parenthesis(place)?
                } else {
                    self.duration_atom(place)?
                };
                self.signed_duration(op == BinaryOp::Sub, sign, operand)?
            }
            _ => self.duration_atom(place)?,
        };
        self.depth -= 1;
        Ok(tree.expr)
    }

    /// A sign becomes part of a literal; a plus is dropped.
    fn signed_duration(&self, negative: bool, sign: Span, mut operand: DurationTree) -> Result<DurationTree> {
        let span = sign.to(operand.expr.span);
        if let DurationKind::Number(number) = &mut operand.expr.kind {
            if negative {
                number.value = -number.value;
            }
            operand.expr.span = span;
            return Ok(operand);
        }
        if !negative {
            return Ok(operand);
        }
        let height = operand.height + 1;
        if height > MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        let kind = DurationKind::Negative(Box::new(operand.expr));
        Ok(DurationTree { expr: DurationExpr { kind, span }, height })
    }

    fn expect_in(&mut self, kind: TokenKind, place: Place) -> Result<Span> {
        self.take(kind).map(|token| token.span).ok_or_else(|| self.unexpected_in(place))
    }

    fn unexpected_in(&self, (context, expected): Place) -> Error {
        self.unexpected(context, expected)
    }
}

fn duration_op(op: BinaryOp) -> Option<DurationOp> {
    match op {
        BinaryOp::Add => Some(DurationOp::Add),
        BinaryOp::Sub => Some(DurationOp::Sub),
        BinaryOp::Mul => Some(DurationOp::Mul),
        BinaryOp::Div => Some(DurationOp::Div),
        BinaryOp::Mod => Some(DurationOp::Mod),
        BinaryOp::Pow => Some(DurationOp::Pow),
        _ => None,
    }
}
