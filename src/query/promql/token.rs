//! The tokens of PromQL and how error messages call them.

use super::ast::{AggregateOp, BinaryOp};
use super::quote::quote;
use super::span::Span;

/// One token: what it is and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Span,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// The end of the text; always the last token unless there is an `Error`.
    Eof,
    /// What the lexer could not read; always the last token. The message is kept beside the tokens.
    Error,
    /// A name without a colon.
    Identifier,
    /// A name with a colon.
    MetricIdentifier,
    /// A string with its quotes.
    String,
    Number,
    Duration,
    Comma,
    Colon,
    /// `=`
    Assign,
    /// `=~`
    EqualRegex,
    /// `!~`
    NotRegex,
    /// `@`
    At,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    /// A binary operator, also in its other uses: a sign, `!=` between a label and its value.
    Operator(BinaryOp),
    Aggregator(AggregateOp),
    Keyword(Keyword),
    Preprocessor(Preprocessor),
}

/// Words that modify a selector, an operator or an aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Offset,
    Smoothed,
    Anchored,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
}

/// Words that are functions and also have a meaning inside durations or after `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preprocessor {
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// The words inside of `[…]`.
const DURATION_WORDS: [(&str, Preprocessor); 4] = [
    ("step", Preprocessor::Step),
    ("range", Preprocessor::Range),
    ("max_of", Preprocessor::MaxOf),
    ("min_of", Preprocessor::MinOf),
];

/// Words that are operators, keywords or numbers, in any case.
const WORDS: [(&str, TokenKind); 25] = {
    use {Keyword as K, TokenKind as T};
    [
        ("and", T::Operator(BinaryOp::And)),
        ("or", T::Operator(BinaryOp::Or)),
        ("unless", T::Operator(BinaryOp::Unless)),
        ("atan2", T::Operator(BinaryOp::Atan2)),
        ("offset", T::Keyword(K::Offset)),
        ("smoothed", T::Keyword(K::Smoothed)),
        ("anchored", T::Keyword(K::Anchored)),
        ("by", T::Keyword(K::By)),
        ("without", T::Keyword(K::Without)),
        ("on", T::Keyword(K::On)),
        ("ignoring", T::Keyword(K::Ignoring)),
        ("group_left", T::Keyword(K::GroupLeft)),
        ("group_right", T::Keyword(K::GroupRight)),
        ("fill", T::Keyword(K::Fill)),
        ("fill_left", T::Keyword(K::FillLeft)),
        ("fill_right", T::Keyword(K::FillRight)),
        ("bool", T::Keyword(K::Bool)),
        ("start", T::Preprocessor(Preprocessor::Start)),
        ("end", T::Preprocessor(Preprocessor::End)),
        ("step", T::Preprocessor(Preprocessor::Step)),
        ("range", T::Preprocessor(Preprocessor::Range)),
        ("max_of", T::Preprocessor(Preprocessor::MaxOf)),
        ("min_of", T::Preprocessor(Preprocessor::MinOf)),
        ("inf", T::Number),
        ("nan", T::Number),
    ]
};

/// What a word means outside of braces and brackets, in any case; `None` is an ordinary name.
pub(super) fn keyword(word: &str) -> Option<TokenKind> {
    let found = WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, kind)| *kind);
    found.or_else(|| {
        let operator = AggregateOp::ALL.into_iter().find(|op| op.as_str().eq_ignore_ascii_case(word))?;
        Some(TokenKind::Aggregator(operator))
    })
}

/// What a word means inside of `[…]`, in any case.
pub(super) fn duration_word(word: &str) -> Option<TokenKind> {
    let (_, kind) = DURATION_WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word))?;
    Some(TokenKind::Preprocessor(*kind))
}

/// Whether a duration word begins with this character.
pub(super) fn starts_duration_word(c: char) -> bool {
    DURATION_WORDS.iter().any(|(name, _)| name.starts_with(c.to_ascii_lowercase()))
}

impl TokenKind {
    /// Whether the token can be a metric's name outside of braces.
    pub(super) fn is_metric_name(self) -> bool {
        use {BinaryOp as B, Keyword as K};
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregator(_) | Self::Preprocessor(_) => true,
            Self::Operator(op) => matches!(op, B::And | B::Or | B::Unless),
            Self::Keyword(word) => {
                !matches!(word, K::On | K::Ignoring | K::GroupLeft | K::GroupRight | K::Bool)
            }
            _ => false,
        }
    }

    /// Whether the token can be a label's name in `by (…)`, `on (…)` and the like.
    pub(super) fn is_label_name(self) -> bool {
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregator(_) | Self::Preprocessor(_) => true,
            Self::Operator(op) => op.is_word(),
            // `without` is missing in Prometheus' list too.
            Self::Keyword(word) => word != Keyword::Without,
            _ => false,
        }
    }
}

impl Token {
    /// The token's text.
    pub(super) fn text(self, query: &str) -> &str {
        &query[self.span.range()]
    }

    /// How an error message calls the token: `identifier "foo"`, `<op:+>`, `end of input`.
    pub(super) fn describe(self, query: &str) -> String {
        let text = self.text(query);
        match self.kind {
            TokenKind::Eof => "end of input".to_owned(),
            TokenKind::Identifier => format!("identifier {}", quote(text.as_bytes())),
            TokenKind::MetricIdentifier => format!("metric identifier {}", quote(text.as_bytes())),
            TokenKind::String => format!("string {}", shortened(text)),
            TokenKind::Number => format!("number {}", shortened(text)),
            TokenKind::Duration => format!("duration {}", shortened(text)),
            TokenKind::Keyword(_) => format!("<{text}>"),
            TokenKind::Aggregator(_) => format!("<aggr:{text}>"),
            TokenKind::Operator(_) | TokenKind::EqualRegex | TokenKind::NotRegex | TokenKind::At => {
                format!("<op:{text}>")
            }
            _ => shortened(text),
        }
    }
}

/// At most ten characters of a text, quoted.
fn shortened(text: &str) -> String {
    if text.len() <= 10 {
        return quote(text.as_bytes());
    }
    let end = text.char_indices().nth(10).map_or(text.len(), |(at, _)| at);
    format!("{}...", quote(&text.as_bytes()[..end]))
}
