//! Errors as `PostgreSQL`'s `ErrorResponse`. The SQLSTATE comes from the one table in `server::errors`; those
//! below belong to the protocol and have no kind.

use pgwire::error::{ErrorInfo, PgWireError};

use crate::error::{Error, Kind};
use crate::query::sql::POSITION;
use crate::server::errors::names;

/// `in_failed_sql_transaction`.
pub(super) const FAILED_TRANSACTION: &str = "25P02";
/// `protocol_violation`.
pub(super) const PROTOCOL: &str = "08P01";
/// `admin_shutdown`.
pub(super) const SHUTDOWN: &str = "57P01";
/// `too_many_connections`.
pub(super) const TOO_MANY: &str = "53300";
/// `invalid_catalog_name`.
pub(super) const NO_DATABASE: &str = "3D000";
/// `invalid_sql_statement_name`.
pub(super) const NO_STATEMENT: &str = "26000";

/// An error that ends the statement.
pub(super) fn refuse(error: &Error) -> PgWireError {
    PgWireError::UserError(Box::new(info(error)))
}

/// The fields of an error. What a message cannot say stands in the detail.
pub(super) fn info(error: &Error) -> ErrorInfo {
    let mut info = plain("ERROR", names(error.kind()).sqlstate, error.message().to_owned());
    info.position = error.get(POSITION).map(str::to_owned);
    let context: Vec<String> = error
        .context()
        .iter()
        .filter(|(key, _)| *key != POSITION)
        .map(|(k, v)| format!("{k}: {v}"))
        .collect();
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let detail = context.into_iter().chain(cause).collect::<Vec<_>>().join(", ");
    info.detail = (!detail.is_empty()).then_some(detail);
    info.hint = match error.kind() {
        Kind::ReadOnly => Some("SQL only reads; samples come in by scraping and remote write.".to_owned()),
        _ => None,
    };
    info
}

/// An error with a state of the protocol's own.
pub(super) fn protocol(state: &'static str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(plain("ERROR", state, message.into())))
}

/// An error that ends the connection.
pub(super) fn fatal(state: &'static str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(plain("FATAL", state, message.into())))
}

fn plain(severity: &str, state: &str, message: String) -> ErrorInfo {
    let mut info = ErrorInfo::new(severity.to_owned(), state.to_owned(), message);
    info.severity_nonlocalized = Some(severity.to_owned());
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_postgres_s_and_the_rest_is_detail() {
        let error = Error::new(Kind::UnknownTable, "relation \"x\" does not exist").with(POSITION, 15);
        let told = info(&error.with("file", "f.parquet"));
        assert_eq!((told.code.as_str(), told.message.as_str()), ("42P01", "relation \"x\" does not exist"));
        assert_eq!((told.position.as_deref(), told.detail.as_deref()), (Some("15"), Some("file: f.parquet")));
    }
}
