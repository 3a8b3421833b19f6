//! Text to tokens, with byte positions.
//!
//! PromQL's lexer depends on where it is: inside of `{…}` every word is a label's name, inside of `[…]` only
//! durations, their operators and four words exist. The states and the texts of the errors are those of
//! Prometheus 3.14 (`promql/parser/lex.go`). It makes one pass and stops at the first thing that it cannot read.

mod number;
mod strings;

pub(super) use number::parse_number;
pub(super) use strings::unquote;

use super::ast::BinaryOp;
use super::quote::{quote, quote_char};
use super::span::Span;
use super::token::{Keyword, Token, TokenKind, duration_word, keyword, starts_duration_word};

/// The tokens of a text; the last one is `Eof`, or `Error` and then `error` says why.
#[derive(Debug)]
pub(super) struct Lexed {
    pub(super) tokens: Vec<Token>,
    pub(super) error: Option<String>,
}

/// Why the text could not be read from the current token's start on.
type Failure = String;

/// What Go shows where there is no character.
const NO_CHARACTER: char = '\u{fffd}';

/// Reads a whole text.
pub(super) fn lex(text: &str) -> Lexed {
    let mut lexer = Lexer { text, ..Lexer::default() };
    loop {
        let before = lexer.tokens.len();
        match lexer.step() {
            Ok(()) => {
                if lexer.tokens.len() > before && lexer.tokens[before].kind == TokenKind::Eof {
                    return Lexed { tokens: lexer.tokens, error: None };
                }
            }
            Err(message) => {
                let span = Span::new(lexer.start, text.len());
                lexer.tokens.push(Token { kind: TokenKind::Error, span });
                return Lexed { tokens: lexer.tokens, error: Some(message) };
            }
        }
    }
}

#[derive(Default)]
struct Lexer<'a> {
    text: &'a str,
    /// Where the current token starts.
    start: usize,
    /// The next byte to read.
    pos: usize,
    tokens: Vec<Token>,
    open_parens: usize,
    place: Place,
    /// A colon has been read in these brackets.
    colon_seen: bool,
    /// A duration has been read in brackets.
    duration_seen: bool,
}

/// Which language is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Statement,
    /// Inside of `{…}`.
    Braces,
    /// Inside of `[…]`, behind a number.
    Brackets,
    /// Inside of `[…]` before the first number: a narrower language with other errors.
    Duration,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.pos..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    /// Takes the next character if it is one of `set`.
    fn accept(&mut self, set: &str) -> bool {
        let accepted = self.peek().is_some_and(|c| set.contains(c));
        if accepted {
            self.next();
        }
        accepted
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&keep) {
            self.next();
        }
    }

    fn word(&self) -> &str {
        &self.text[self.start..self.pos]
    }

    fn emit(&mut self, kind: TokenKind) {
        self.tokens.push(Token { kind, span: Span::new(self.start, self.pos) });
        self.start = self.pos;
    }

    /// Reads one token, or a run of blanks, or a comment.
    fn step(&mut self) -> Result<(), Failure> {
        self.start = self.pos;
        if self.peek().is_some_and(is_space) {
            self.skip_while(is_space);
            return Ok(());
        }
        if self.place == Place::Duration {
            return self.duration();
        }
        if self.peek() == Some('#') {
            self.skip_while(|c| c != '\n' && c != '\r');
            return Ok(());
        }
        if self.place == Place::Braces { self.braces() } else { self.statement() }
    }

    fn statement(&mut self) -> Result<(), Failure> {
        let Some(c) = self.next() else { return self.end() };
        match c {
            '+' | '-' | '*' | '/' | '%' | '^' | ',' | '@' => self.emit(single(c)),
            '=' => return self.equals(),
            '!' => {
                if !self.accept("=") {
                    return Err(self.unexpected_after('!', ""));
                }
                self.emit(TokenKind::Operator(BinaryOp::NotEqual));
            }
            '<' | '>' => self.less_or_greater(c),
            '"' | '\'' | '`' => return self.string(c),
            '(' => {
                self.open_parens += 1;
                self.emit(TokenKind::LeftParen);
            }
            ')' => return self.right_paren(),
            '{' => {
                self.place = Place::Braces;
                self.emit(TokenKind::LeftBrace);
            }
            '[' => return self.left_bracket(),
            ']' => {
                if self.place != Place::Brackets {
                    return Err("unexpected right bracket ']'".to_owned());
                }
                self.place = Place::Statement;
                self.emit(TokenKind::RightBracket);
            }
            c if self.starts_number(c) => return self.number_or_duration(),
            c if is_alpha(c) || c == ':' => return self.name(c),
            c => return Err(format!("unexpected character: {}", quote_char(c))),
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.open_parens > 0 {
            return Err("unclosed left parenthesis".to_owned());
        }
        if self.place == Place::Brackets {
            return Err("unclosed left bracket".to_owned());
        }
        self.emit(TokenKind::Eof);
        Ok(())
    }

    fn equals(&mut self) -> Result<(), Failure> {
        match self.peek() {
            Some('=') => {
                self.next();
                self.emit(TokenKind::Operator(BinaryOp::Equal));
            }
            Some('~') => return Err(self.unexpected_after('=', "")),
            _ => self.emit(TokenKind::Assign),
        }
        Ok(())
    }

    fn less_or_greater(&mut self, c: char) {
        use BinaryOp as B;
        let (plain, equal, trim) = if c == '<' {
            (B::Less, B::LessEqual, B::TrimUpper)
        } else {
            (B::Greater, B::GreaterEqual, B::TrimLower)
        };
        let op = match self.peek() {
            Some('=') => equal,
            Some('/') => trim,
            _ => plain,
        };
        if op != plain {
            self.next();
        }
        self.emit(TokenKind::Operator(op));
    }

    fn unexpected_after(&self, c: char, place: &str) -> Failure {
        let next = quote_char(self.peek().unwrap_or(NO_CHARACTER));
        format!("unexpected character after '{c}'{place}: {next}")
    }

    fn right_paren(&mut self) -> Result<(), Failure> {
        if self.open_parens == 0 {
            // Prometheus gives the place behind it.
            self.start = self.pos;
            return Err("unexpected right parenthesis ')'".to_owned());
        }
        self.open_parens -= 1;
        self.emit(TokenKind::RightParen);
        Ok(())
    }

    fn left_bracket(&mut self) -> Result<(), Failure> {
        if self.place == Place::Brackets {
            return Err("unexpected left bracket '['".to_owned());
        }
        self.colon_seen = false;
        self.place = Place::Duration;
        self.emit(TokenKind::LeftBracket);
        Ok(())
    }

    /// A word, or inside of brackets a colon or one of their words.
    fn name(&mut self, c: char) -> Result<(), Failure> {
        if self.place == Place::Brackets {
            if c == ':' {
                if self.colon_seen {
                    return Err("unexpected colon ':'".to_owned());
                }
                self.colon_seen = true;
                self.emit(TokenKind::Colon);
                return Ok(());
            }
            let kind = self.duration_word(c);
            let unknown = || format!("unexpected character: {}, expected ':'", quote_char(c));
            self.emit(kind.ok_or_else(unknown)?);
            return Ok(());
        }
        self.skip_while(|c| is_alphanumeric(c) || c == ':');
        let kind = match keyword(self.word()) {
            // These three stay usable as metric names: they are words only before a parenthesis.
            Some(TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight))
                if !self.text[self.pos..].trim_start_matches(is_space).starts_with('(') =>
            {
                TokenKind::Identifier
            }
            Some(kind) => kind,
            None if self.word().contains(':') => TokenKind::MetricIdentifier,
            None => TokenKind::Identifier,
        };
        self.emit(kind);
        Ok(())
    }

    fn duration_word(&mut self, first: char) -> Option<TokenKind> {
        if !starts_duration_word(first) {
            return None;
        }
        self.skip_while(is_alpha);
        duration_word(self.word())
    }

    fn duration(&mut self) -> Result<(), Failure> {
        let unexpected = |c| format!("unexpected character in duration expression: {}", quote_char(c));
        let Some(c) = self.next() else {
            return Err("unexpected end of input in duration expression".to_owned());
        };
        match c {
            ']' => {
                (self.place, self.colon_seen) = (Place::Statement, false);
                self.emit(TokenKind::RightBracket);
            }
            ':' => return self.duration_colon(),
            '(' => {
                self.open_parens += 1;
                self.emit(TokenKind::LeftParen);
            }
            ')' => return self.right_paren(),
            '+' | '-' | '*' | '/' | '%' | '^' | ',' => self.emit(single(c)),
            c if self.starts_number(c) => {
                self.duration_seen = true;
                self.place = Place::Brackets;
                return self.number_or_duration();
            }
            c => {
                let kind = self.duration_word(c).ok_or_else(|| unexpected(c))?;
                self.emit(kind);
                // Prometheus forgets this and refuses `[step():1m]`.
                self.duration_seen = true;
            }
        }
        Ok(())
    }

    fn duration_colon(&mut self) -> Result<(), Failure> {
        if !self.duration_seen {
            self.start = self.pos;
            return Err("unexpected colon before duration in duration expression".to_owned());
        }
        if self.colon_seen {
            self.start = self.pos;
            return Err("unexpected repeated colon in duration expression".to_owned());
        }
        self.colon_seen = true;
        self.emit(TokenKind::Colon);
        Ok(())
    }

    fn braces(&mut self) -> Result<(), Failure> {
        let Some(c) = self.next() else {
            return Err("unexpected end of input inside braces".to_owned());
        };
        match c {
            ',' => self.emit(TokenKind::Comma),
            '"' | '\'' | '`' => return self.string(c),
            '=' => {
                let kind = if self.accept("~") { TokenKind::EqualRegex } else { TokenKind::Assign };
                self.emit(kind);
            }
            '!' if self.accept("~") => self.emit(TokenKind::NotRegex),
            '!' if self.accept("=") => self.emit(TokenKind::Operator(BinaryOp::NotEqual)),
            '!' => return Err(self.unexpected_after('!', " inside braces")),
            '{' => return Err("unexpected left brace '{'".to_owned()),
            '}' => {
                self.place = Place::Statement;
                self.emit(TokenKind::RightBrace);
            }
            c if is_alpha(c) => {
                self.skip_while(is_alphanumeric);
                self.emit(TokenKind::Identifier);
            }
            c => return Err(format!("unexpected character inside braces: {}", quote_char(c))),
        }
        Ok(())
    }

    /// Whether a number starts with `c`, which has just been read.
    fn starts_number(&self, c: char) -> bool {
        c.is_ascii_digit() || (c == '.' && self.peek().is_some_and(|c| c.is_ascii_digit()))
    }

    fn number_or_duration(&mut self) -> Result<(), Failure> {
        self.pos = self.start;
        let kind = if self.scan_number() {
            TokenKind::Number
        } else if self.scan_rest_of_duration() {
            TokenKind::Duration
        } else {
            let text = quote(self.word().as_bytes());
            return Err(format!("bad number or duration syntax: {text}"));
        };
        self.emit(kind);
        Ok(())
    }
}

/// The token of a character that is a token by itself.
fn single(c: char) -> TokenKind {
    match c {
        '+' => TokenKind::Operator(BinaryOp::Add),
        '-' => TokenKind::Operator(BinaryOp::Sub),
        '*' => TokenKind::Operator(BinaryOp::Mul),
        '/' => TokenKind::Operator(BinaryOp::Div),
        '%' => TokenKind::Operator(BinaryOp::Mod),
        '^' => TokenKind::Operator(BinaryOp::Pow),
        ',' => TokenKind::Comma,
        '@' => TokenKind::At,
        _ => unreachable!("only called with the characters above"),
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}

#[cfg(test)]
mod tests;
