//! A query text cut into statements, each with its tokens and what kind of statement it is.

use datafusion::common::Location;
use datafusion::logical_expr::sqlparser::dialect::PostgreSqlDialect;
use datafusion::logical_expr::sqlparser::keywords::Keyword;
use datafusion::logical_expr::sqlparser::parser::ParserError;
use datafusion::logical_expr::sqlparser::tokenizer::{
    Location as SourceLocation, Token, TokenWithSpan, Tokenizer,
};

use super::errors::{POSITION, from_parser, position};
use crate::error::{Error, Kind, Result};

/// The longest query text, in bytes.
const MAX_TEXT: usize = 1 << 20;
/// The most operators in a statement: chains of them are deep trees.
const MAX_OPERATORS: usize = 4_000;

/// One statement of a query text.
#[derive(Debug, Clone)]
pub struct SqlStatement {
    text: std::sync::Arc<str>,
    tokens: Vec<TokenWithSpan>,
}

impl SqlStatement {
    /// Cuts a query text at its semicolons; empty statements are left out.
    ///
    /// # Errors
    /// `Syntax` for text that is no tokens, `Limit` for one that is too long.
    pub fn split(text: &str) -> Result<Vec<Self>> {
        if text.len() > MAX_TEXT {
            let message = format!("the query text has {} bytes, more than {MAX_TEXT}", text.len());
            return Err(Error::new(Kind::Limit, message));
        }
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location();
        let tokens = tokens.map_err(|e| from_parser(&ParserError::from(e), text))?;
        let text: std::sync::Arc<str> = text.into();
        let mut all = Vec::new();
        for tokens in tokens.split(|t| t.token == Token::SemiColon) {
            let tokens: Vec<_> =
                tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).cloned().collect();
            if tokens.is_empty() {
                continue;
            }
            if tokens.iter().filter(|t| is_operator(&t.token)).count() > MAX_OPERATORS {
                let message = format!("the statement has more than {MAX_OPERATORS} operators");
                return Err(Error::new(Kind::Limit, message));
            }
            all.push(Self { text: std::sync::Arc::clone(&text), tokens });
        }
        Ok(all)
    }

    /// The whole text that the statement is a part of.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The statement's own part of the text.
    pub(super) fn source(&self) -> &str {
        let (Some(first), Some(last)) = (self.tokens.first(), self.tokens.last()) else { return "" };
        let byte = |place: SourceLocation| {
            let characters = position(&self.text, Location { line: place.line, column: place.column }) - 1;
            self.text.char_indices().nth(characters).map_or(self.text.len(), |(at, _)| at)
        };
        &self.text[byte(first.span.start)..byte(last.span.end)]
    }

    /// Its tokens, without whitespace and comments.
    pub(super) fn tokens(&self) -> &[TokenWithSpan] {
        &self.tokens
    }

    /// The rest of the statement after `count` tokens.
    pub(super) fn after(&self, count: usize) -> Self {
        Self {
            text: std::sync::Arc::clone(&self.text),
            tokens: self.tokens[count.min(self.tokens.len())..].to_vec(),
        }
    }

    /// The words of the statement: lower-case names and keywords, quoted names and strings without their
    /// quotes, every other token as it is written.
    pub fn words(&self) -> impl Iterator<Item = String> + '_ {
        self.tokens.iter().map(|t| match &t.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
            Token::Word(word) => word.value.clone(),
            Token::SingleQuotedString(text)
            | Token::EscapedStringLiteral(text)
            | Token::UnicodeStringLiteral(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// The first word in lower case; empty when the statement begins with a sign.
    pub fn verb(&self) -> String {
        match &self.tokens[0].token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
            _ => String::new(),
        }
    }

    /// Whether it can only be a query: SELECT, WITH, VALUES, TABLE, EXPLAIN or a parenthesis.
    pub fn is_query(&self) -> bool {
        match &self.tokens[0].token {
            Token::LParen => true,
            Token::Word(word) => matches!(
                word.keyword,
                Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::TABLE | Keyword::EXPLAIN
            ),
            _ => false,
        }
    }

    /// Whether a name of `PostgreSQL`'s catalogs occurs.
    pub(super) fn names_catalog(&self) -> bool {
        self.tokens.iter().any(|t| match &t.token {
            Token::Word(word) => {
                let name = word.value.to_lowercase();
                name.starts_with("pg_") || name == "information_schema"
            }
            _ => false,
        })
    }

    /// `syntax error at or near` a token.
    pub fn syntax_error(&self, token: usize) -> Error {
        match self.tokens.get(token) {
            Some(found) => {
                let place = found.span.start;
                let place = Location { line: place.line, column: place.column };
                Error::new(Kind::Syntax, format!("syntax error at or near \"{}\"", found.token))
                    .with(POSITION, position(&self.text, place))
            }
            None => Error::new(Kind::Syntax, "syntax error at end of input")
                .with(POSITION, self.text.chars().count() + 1),
        }
    }
}

fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(word.keyword, Keyword::AND | Keyword::OR | Keyword::NOT),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::Period
        | Token::Placeholder(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_semicolons_outside_of_strings() -> Result<()> {
        let all = SqlStatement::split("SELECT ';' ; ; -- a ; comment\n SET x = \"A\"")?;
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].words().collect::<Vec<_>>(), ["set", "x", "=", "A"]);
        assert!(all[0].is_query() && !all[1].is_query());
        assert_eq!(all[1].verb(), "set");
        assert_eq!(SqlStatement::split(" ;; ")?.len(), 0);
        Ok(())
    }

    #[test]
    fn hostile_texts_are_refused() {
        let open = SqlStatement::split("SELECT 'abc").expect_err("unterminated");
        assert_eq!(open.message(), "unterminated quoted string at or near \"'abc\"");
        let deep = format!("SELECT 1{}", "+1".repeat(MAX_OPERATORS + 1));
        assert_eq!(SqlStatement::split(&deep).expect_err("deep").kind(), Kind::Limit);
        let long = " ".repeat(MAX_TEXT + 1);
        assert_eq!(SqlStatement::split(&long).expect_err("long").kind(), Kind::Limit);
    }
}
