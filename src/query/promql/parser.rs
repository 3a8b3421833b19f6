//! Tokens to tree: a Pratt parser (precedence climbing) over the tokens of the whole text.
//!
//! Prometheus' parser is generated from an LR grammar, whose error texts depend on the innermost rule that
//! knows how to complain. Here each function names the place that it reads; what is left is
//! [`Parser::unexpected_here`], which says "in aggregation" anywhere inside of an aggregation's parentheses.

mod duration;
mod modifier;
mod selector;

use super::ast::{Aggregate, Binary, BinaryOp, Call, Expr, ExprKind, NumberLiteral, StringLiteral, Unary};
use super::functions::Function;
use super::lexer::{self, Lexed, parse_number, unquote};
use super::span::Span;
use super::token::{Keyword, Token, TokenKind};
use super::{MAX_DEPTH, MAX_QUERY_BYTES, parse_error};
use crate::error::{Error, Result};
use crate::model::{Matcher, time};

/// The parser: a cursor over the tokens.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    text: &'a str,
    lexed: Lexed,
    /// The next token.
    at: usize,
    /// How many expressions are being read inside of each other.
    depth: u32,
    in_aggregation: bool,
}

/// An expression and its height, so that chains are bounded as they grow.
struct Tree {
    expr: Expr,
    height: u32,
}

impl Tree {
    fn leaf(kind: ExprKind, span: Span) -> Self {
        Self { expr: Expr { kind, span }, height: 1 }
    }
}

impl<'a> Parser<'a> {
    /// Reads the tokens; what the lexer cannot read is reported when the parser gets there.
    pub(super) fn new(text: &'a str) -> Result<Self> {
        if text.len() > MAX_QUERY_BYTES {
            let message =
                format!("the query has {} bytes, more than the limit of {MAX_QUERY_BYTES}", text.len());
            return Err(parse_error(text, Span::default(), &message));
        }
        Ok(Self { text, lexed: lexer::lex(text), at: 0, depth: 0, in_aggregation: false })
    }

    /// A whole query.
    pub(super) fn query(mut self) -> Result<Expr> {
        if self.peek() == TokenKind::Eof {
            return Err(self.fail(Span::default(), "no expression found in input"));
        }
        let tree = self.expression(0)?;
        self.expect_end()?;
        Ok(tree.expr)
    }

    /// A selector alone.
    pub(super) fn selector(mut self) -> Result<Vec<Matcher>> {
        let name = self.peek().is_metric_name().then(|| self.advance());
        if name.is_none() && self.peek() != TokenKind::LeftBrace {
            return Err(self.unexpected_here());
        }
        let (selector, _) = self.vector_selector(name)?;
        self.expect_end()?;
        Ok(selector.matchers)
    }

    fn expect_end(&self) -> Result<()> {
        if self.peek() == TokenKind::Eof { Ok(()) } else { Err(self.unexpected("", "")) }
    }

    // The cursor.

    fn token(&self) -> Token {
        self.lexed.tokens[self.at.min(self.lexed.tokens.len() - 1)]
    }

    fn peek(&self) -> TokenKind {
        self.token().kind
    }

    fn peek_second(&self) -> TokenKind {
        let last = self.lexed.tokens.len() - 1;
        self.lexed.tokens[(self.at + 1).min(last)].kind
    }

    /// Takes the next token; the last one stays.
    fn advance(&mut self) -> Token {
        let token = self.token();
        if !matches!(token.kind, TokenKind::Eof | TokenKind::Error) {
            self.at += 1;
        }
        token
    }

    fn take(&mut self, kind: TokenKind) -> Option<Token> {
        (self.peek() == kind).then(|| self.advance())
    }

    fn take_keyword(&mut self, keyword: Keyword) -> bool {
        self.take(TokenKind::Keyword(keyword)).is_some()
    }

    /// The token as its author wrote it.
    fn written(&self, token: Token) -> &'a str {
        &self.text[token.span.range()]
    }

    // Errors.

    fn fail(&self, span: Span, message: &str) -> Error {
        parse_error(self.text, span, message)
    }

    /// The next token is not one that `context` expects. What the lexer could not read is told first.
    fn unexpected(&self, context: &str, expected: &str) -> Error {
        let token = self.token();
        if let (TokenKind::Error, Some(message)) = (token.kind, &self.lexed.error) {
            return self.fail(token.span, message);
        }
        let mut message = format!("unexpected {}", token.describe(self.text));
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        self.fail(token.span, &message)
    }

    fn unexpected_here(&self) -> Error {
        self.unexpected(if self.in_aggregation { "aggregation" } else { "" }, "")
    }

    fn expect(&mut self, kind: TokenKind) -> Result<Token> {
        self.take(kind).ok_or_else(|| self.unexpected_here())
    }

    fn too_deep(&self, span: Span) -> Error {
        self.fail(span, &format!("the query nests deeper than the limit of {MAX_DEPTH} levels"))
    }

    /// A node over `children` levels.
    fn node(&self, kind: ExprKind, span: Span, children: u32) -> Result<Tree> {
        if children >= MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        Ok(Tree { expr: Expr { kind, span }, height: children + 1 })
    }

    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.too_deep(self.token().span)) } else { Ok(()) }
    }

    // Expressions.

    /// An expression whose operators bind at least as tightly as `weakest`.
    fn expression(&mut self, weakest: u8) -> Result<Tree> {
        self.enter()?;
        let mut left = self.operand()?;
        while let TokenKind::Operator(op) = self.peek()
            && op.precedence() >= weakest
        {
            left = self.binary(left, op)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn binary(&mut self, left: Tree, op: BinaryOp) -> Result<Tree> {
        let op_span = self.advance().span;
        let (returns_bool, matching) = self.matching()?;
        let tighter = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
        let right = self.expression(tighter)?;
        let span = left.expr.span.to(right.expr.span);
        let children = left.height.max(right.height);
        let (left, right) = (left.expr, right.expr);
        let binary = Binary { op, op_span, left, right, returns_bool, matching: Some(matching) };
        self.node(ExprKind::Binary(Box::new(binary)), span, children)
    }

    /// A signed operand, or one with its ranges and modifiers.
    fn operand(&mut self) -> Result<Tree> {
        if let TokenKind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.peek() {
            return self.signed(op == BinaryOp::Sub);
        }
        let mut tree = self.primary()?;
        loop {
            tree = match self.peek() {
                TokenKind::LeftBracket => self.range_or_subquery(tree)?,
                TokenKind::Keyword(Keyword::Offset) => self.offset(tree)?,
                TokenKind::Keyword(Keyword::Anchored | Keyword::Smoothed) => self.edges(tree)?,
                TokenKind::At => self.at_modifier(tree)?,
                _ => return Ok(tree),
            };
        }
    }

    /// A sign binds like `*`, so that `-2^2` is -4; it becomes part of a number behind it.
    fn signed(&mut self, negative: bool) -> Result<Tree> {
        let sign = self.advance().span;
        let mut operand = self.expression(BinaryOp::Mul.precedence() + 1)?;
        let span = sign.to(operand.expr.span);
        if let ExprKind::Number(number) = &mut operand.expr.kind {
            if negative {
                number.value = -number.value;
            }
            operand.expr.span = span;
            return Ok(operand);
        }
        let unary = Unary { negative, expr: operand.expr };
        self.node(ExprKind::Unary(Box::new(unary)), span, operand.height)
    }

    fn primary(&mut self) -> Result<Tree> {
        let (first, second) = (self.peek(), self.peek_second());
        match (first, second) {
            (TokenKind::Number | TokenKind::Duration, _) => {
                let (number, span) = self.number()?;
                Ok(Tree::leaf(ExprKind::Number(number), span))
            }
            (TokenKind::String, _) => {
                let token = self.advance();
                let literal = StringLiteral { bytes: unquote(self.written(token)) };
                Ok(Tree::leaf(ExprKind::String(literal), token.span))
            }
            (TokenKind::LeftParen, _) => self.parenthesis(),
            (TokenKind::LeftBrace, _) => self.instant_vector(None),
            (TokenKind::Identifier | TokenKind::Preprocessor(_), TokenKind::LeftParen) => self.call(),
            (
                TokenKind::Aggregator(_),
                TokenKind::LeftParen | TokenKind::Keyword(Keyword::By | Keyword::Without),
            ) => self.aggregate(),
            (name, _) if name.is_metric_name() => {
                let name = self.advance();
                self.instant_vector(Some(name))
            }
            _ => Err(self.unexpected_here()),
        }
    }

    fn instant_vector(&mut self, name: Option<Token>) -> Result<Tree> {
        let (selector, span) = self.vector_selector(name)?;
        Ok(Tree::leaf(ExprKind::Vector(Box::new(selector)), span))
    }

    fn parenthesis(&mut self) -> Result<Tree> {
        let open = self.advance().span;
        let inner = self.expression(0)?;
        let close = self.expect(TokenKind::RightParen)?.span;
        self.node(ExprKind::Paren(Box::new(inner.expr)), open.to(close), inner.height)
    }

    /// A number or a duration.
    fn number(&mut self) -> Result<(NumberLiteral, Span)> {
        let token = self.advance();
        let text = self.written(token);
        let is_duration = token.kind == TokenKind::Duration;
        let value = if is_duration {
            let ms = time::parse_duration(text).map_err(|e| self.fail(token.span, e.message()))?;
            time::ms_to_seconds(ms)
        } else {
            parse_number(text)
                .map_err(|why| self.fail(token.span, &format!("error parsing number: {why}")))?
        };
        Ok((NumberLiteral { value, is_duration }, token.span))
    }

    fn call(&mut self) -> Result<Tree> {
        let name = self.advance();
        let (args, close, height) = self.arguments()?;
        let written = self.written(name);
        let unknown = || self.fail(name.span, &format!("unknown function with name \"{written}\""));
        let function = Function::find(written).ok_or_else(unknown)?;
        let call = Call { function, args };
        self.node(ExprKind::Call(Box::new(call)), name.span.to(close), height)
    }

    fn aggregate(&mut self) -> Result<Tree> {
        let outer = std::mem::replace(&mut self.in_aggregation, true);
        let op_token = self.advance();
        let TokenKind::Aggregator(op) = op_token.kind else {
            return Err(Error::internal("an aggregation does not start with its operator"));
        };
        let mut grouping = self.grouping()?;
        if self.peek() != TokenKind::LeftParen {
            return Err(self.unexpected_here());
        }
        let (mut args, close, height) = self.arguments()?;
        let mut span = op_token.span.to(close);
        self.in_aggregation = outer;
        if grouping.is_none() {
            if self.peek() == TokenKind::Error {
                return Err(self.unexpected_here());
            }
            grouping = self.grouping()?;
            span = op_token.span.to(self.lexed.tokens[self.at - 1].span);
        }
        let (without, grouping) = grouping.unwrap_or_default();
        if args.is_empty() {
            return Err(self.fail(span, "no arguments for aggregate expression provided"));
        }
        let wanted = 1 + usize::from(op.param_type().is_some());
        if args.len() != wanted {
            let got = args.len();
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}"
            );
            return Err(self.fail(span, &message));
        }
        let expr = args.pop().expect("the count was checked");
        let aggregate = Aggregate { op, expr, param: args.pop(), grouping, without };
        self.node(ExprKind::Aggregate(Box::new(aggregate)), span, height)
    }

    /// `by (…)` or `without (…)`: whether it is `without`, and the labels.
    fn grouping(&mut self) -> Result<Option<(bool, Vec<String>)>> {
        let without = self.peek() == TokenKind::Keyword(Keyword::Without);
        if !without && self.peek() != TokenKind::Keyword(Keyword::By) {
            return Ok(None);
        }
        self.advance();
        Ok(Some((without, self.label_list()?)))
    }

    /// `(a, b)`: the expressions, the closing parenthesis, the height of the highest.
    fn arguments(&mut self) -> Result<(Vec<Expr>, Span, u32)> {
        self.advance();
        let (mut args, mut height) = (Vec::new(), 0);
        if let Some(close) = self.take(TokenKind::RightParen) {
            return Ok((args, close.span, height));
        }
        loop {
            let arg = self.expression(0)?;
            height = height.max(arg.height);
            args.push(arg.expr);
            let Some(comma) = self.take(TokenKind::Comma) else { break };
            if !self.starts_expression() {
                if self.peek() == TokenKind::Error {
                    return Err(self.unexpected_here());
                }
                return Err(self.fail(comma.span, "trailing commas not allowed in function call args"));
            }
        }
        let close = self.expect(TokenKind::RightParen)?;
        Ok((args, close.span, height))
    }

    fn starts_expression(&self) -> bool {
        use TokenKind as T;
        let kind = self.peek();
        kind.is_metric_name()
            || matches!(kind, T::Number | T::Duration | T::String | T::LeftParen | T::LeftBrace)
            || matches!(kind, T::Operator(BinaryOp::Add | BinaryOp::Sub))
    }
}
