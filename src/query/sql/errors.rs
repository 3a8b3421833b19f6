//! `DataFusion`'s and sqlparser's errors in `PostgreSQL`'s words, as the crate's one error.
//!
//! A place in the query text travels as context `position`: characters from 1, as `PostgreSQL` counts.

use arrow::error::ArrowError;
use datafusion::common::{Column, Diagnostic, Location, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::sqlparser::parser::ParserError;

use super::statement::SqlStatement;
use crate::error::{Error, Kind};

/// The context key of a place in the query text.
pub(crate) const POSITION: &str = "position";

/// Carries an error of ours through `DataFusion`.
pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What a client is told when the rows of a statement end in an error.
pub(crate) fn stream_error(error: DataFusionError, statement: &SqlStatement) -> Error {
    from_datafusion(error, statement.text())
}

/// What a client is told about a failed plan or stream of the query `sql`.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(super) fn from_datafusion(error: DataFusionError, sql: &str) -> Error {
    let diagnostic = error.diagnostic().cloned();
    let root = error.find_root();
    let told = match root {
        DataFusionError::External(inner) => return from_external(inner.as_ref(), &error),
        DataFusionError::SQL(parser, _) => return from_parser(parser, sql),
        DataFusionError::SchemaError(schema, _) => from_schema(schema),
        DataFusionError::Plan(message) => from_plan(message, diagnostic.as_ref(), sql),
        DataFusionError::NotImplemented(what) => Error::unsupported(first_line(what)),
        DataFusionError::ResourcesExhausted(what) => Error::new(
            Kind::Limit,
            format!("the query needs more memory than it may have: {}", first_line(what)),
        ),
        DataFusionError::ArrowError(inner, _) => from_arrow(inner),
        DataFusionError::Execution(message) => Error::new(Kind::Execution, first_line(message)),
        DataFusionError::Configuration(message) => Error::invalid(first_line(message)),
        other => from_other(other),
    };
    match diagnostic.and_then(|d| d.span) {
        Some(span) => at(told, sql, span.start),
        None => told,
    }
}

fn from_external(inner: &(dyn std::error::Error + Send + Sync + 'static), whole: &DataFusionError) -> Error {
    match inner.downcast_ref::<Error>() {
        Some(ours) => {
            let mut copy = Error::new(ours.kind(), ours.message());
            for (key, value) in ours.context() {
                copy = copy.with(key, value);
            }
            copy
        }
        None => Error::new(Kind::Execution, first_line(&whole.to_string())),
    }
}

fn from_other(other: &DataFusionError) -> Error {
    let text = other.strip_backtrace();
    if text.contains("No function matches") || text.contains("No functions registered") {
        return Error::new(Kind::UnknownFunction, first_line(&text));
    }
    Error::internal(first_line(&text))
}

fn from_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, .. } => unknown_column(field),
        SchemaError::AmbiguousReference { field } => {
            Error::invalid(format!("column reference \"{}\" is ambiguous", field.name))
        }
        other => Error::invalid(other.to_string()),
    }
}

fn unknown_column(column: &Column) -> Error {
    let message = match &column.relation {
        Some(relation) => format!("column {}.{} does not exist", relation.table(), column.name),
        None => format!("column \"{}\" does not exist", column.name),
    };
    Error::new(Kind::UnknownColumn, message)
}

fn from_plan(message: &str, diagnostic: Option<&Diagnostic>, sql: &str) -> Error {
    let message = first_line(message);
    if let Some(name) = quoted(message, "table '", "' not found") {
        // The diagnostic has the name as the user wrote it, the message the resolved one.
        let written = diagnostic.and_then(|d| quoted(&d.message, "table '", "' not found"));
        let name = written.or_else(|| name.rsplit('.').next()).unwrap_or(name);
        return relation_missing(name, sql);
    }
    if let Some(name) = quoted(message, "table function '", "' not found")
        .or_else(|| quoted(message, "Invalid function '", "'"))
    {
        return Error::new(Kind::UnknownFunction, format!("function {name} does not exist"));
    }
    if message.contains("No function matches") {
        return Error::new(Kind::UnknownFunction, message);
    }
    if message.contains("DDL not supported") || message.contains("DML not supported") {
        return Error::new(Kind::ReadOnly, "cannot change data in a read-only transaction");
    }
    Error::invalid(message.to_owned())
}

/// `PostgreSQL`'s words for a table that is not there.
fn relation_missing(name: &str, sql: &str) -> Error {
    let error = Error::new(Kind::UnknownTable, format!("relation \"{name}\" does not exist"));
    match sql.find(name) {
        Some(offset) => error.with(POSITION, sql[..offset].chars().count() + 1),
        None => error,
    }
}

fn from_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => Error::new(Kind::Execution, "division by zero"),
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<Error>() {
            Some(ours) => Error::new(ours.kind(), ours.to_string()),
            None => Error::new(Kind::Execution, error.to_string()),
        },
        other => Error::new(Kind::Execution, first_line(&other.to_string())),
    }
}

/// A syntax error, with the token at fault where the parser names its place.
pub(super) fn from_parser(error: &ParserError, sql: &str) -> Error {
    let (ParserError::ParserError(message) | ParserError::TokenizerError(message)) = error else {
        return Error::new(Kind::Limit, "the statement is nested too deeply (limit: 50 levels)");
    };
    let place = location(message);
    if message.contains("found: EOF") {
        let error = Error::new(Kind::Syntax, "syntax error at end of input");
        return error.with(POSITION, sql.chars().count() + 1);
    }
    let Some(place) = place else {
        return Error::new(Kind::Syntax, format!("syntax error: {}", first_line(message)));
    };
    let offset = position(sql, place);
    let rest = sql.char_indices().nth(offset - 1).map_or("", |(at, _)| &sql[at..]);
    if message.starts_with("Unterminated") {
        let error = Error::new(Kind::Syntax, format!("unterminated quoted string at or near \"{rest}\""));
        return error.with(POSITION, offset);
    }
    let near = first_token(rest);
    Error::new(Kind::Syntax, format!("syntax error at or near \"{near}\"")).with(POSITION, offset)
}

/// `… at Line: 3, Column: 7`
fn location(message: &str) -> Option<Location> {
    let (_, rest) = message.rsplit_once(" at Line: ")?;
    let (line, column) = rest.split_once(", Column: ")?;
    let digits = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
    Some(Location { line: line.trim().parse().ok()?, column: column[..digits].parse().ok()? })
}

fn at(error: Error, sql: &str, place: Location) -> Error {
    if error.get(POSITION).is_some() || place.line == 0 {
        return error;
    }
    error.with(POSITION, position(sql, place))
}

/// Characters from 1 of a line and a column, which count from 1 too.
pub(super) fn position(sql: &str, place: Location) -> usize {
    let line = usize::try_from(place.line).unwrap_or(usize::MAX);
    let column = usize::try_from(place.column).unwrap_or(usize::MAX);
    let before: usize =
        sql.split_inclusive('\n').take(line.saturating_sub(1)).map(|l| l.chars().count()).sum();
    (before + column).min(sql.chars().count() + 1)
}

fn first_token(rest: &str) -> &str {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let len = match rest.chars().next() {
        Some(c) if word(c) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
        Some(quote @ ('\'' | '"')) => rest[1..].find(quote).map_or(rest.len(), |end| end + 2),
        Some(c) => c.len_utf8(),
        None => 0,
    };
    &rest[..len]
}

fn quoted<'a>(message: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_names_token_and_position() {
        let sql = "SELECT 1,\n  FROM é";
        let message = "Expected: an expression, found: FROM at Line: 2, Column: 3".to_owned();
        let error = from_parser(&ParserError::ParserError(message), sql);
        assert_eq!(error.message(), "syntax error at or near \"FROM\"");
        assert_eq!((error.kind(), error.get(POSITION)), (Kind::Syntax, Some("13")));
        let end = from_parser(&ParserError::ParserError("Expected: x, found: EOF".to_owned()), "SELECT");
        assert_eq!(end.message(), "syntax error at end of input");
    }

    #[test]
    fn unknown_names_are_said_as_postgres_says_them() {
        let table = DataFusionError::Plan("table 'quipu.path.nope' not found".to_owned());
        let error = from_datafusion(table, "SELECT * FROM nope");
        assert_eq!((error.kind(), error.message()), (Kind::UnknownTable, "relation \"nope\" does not exist"));
        assert_eq!(error.get(POSITION), Some("15"));
        let function = DataFusionError::Plan("Invalid function 'f'.\nDid you mean 'g'?".to_owned());
        assert_eq!(from_datafusion(function, "").kind(), Kind::UnknownFunction);
    }

    #[test]
    fn our_own_errors_come_through_unchanged() {
        let error = Error::new(Kind::Unavailable, "slow").with("file", "x");
        let back = from_datafusion(external(error), "");
        assert_eq!((back.kind(), back.message(), back.get("file")), (Kind::Unavailable, "slow", Some("x")));
    }
}
