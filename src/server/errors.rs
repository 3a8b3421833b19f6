//! The one table from an error's kind to what a client sees: HTTP status, Prometheus' `errorType`, SQLSTATE.
//!
//! Nothing else in the crate decides about a status or an SQLSTATE.

use crate::error::Kind;

/// How the doors name one kind of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Names {
    /// The HTTP status; 499 is nginx's "client closed the connection", as Prometheus uses it.
    pub(crate) status: u16,
    /// Prometheus' `errorType`.
    pub(crate) error_type: &'static str,
    /// The five characters of SQLSTATE (appendix A of the Postgres manual).
    pub(crate) sqlstate: &'static str,
}

/// The table.
#[rustfmt::skip]
pub(crate) const fn names(kind: Kind) -> Names {
    let (status, error_type, sqlstate) = match kind {
        Kind::Invalid         => (400, "bad_data",    "22023"),
        Kind::Syntax          => (400, "bad_data",    "42601"),
        Kind::UnknownTable    => (422, "execution",   "42P01"),
        Kind::UnknownColumn   => (422, "execution",   "42703"),
        Kind::UnknownFunction => (422, "execution",   "42883"),
        Kind::ReadOnly        => (422, "execution",   "25006"),
        Kind::Unsupported     => (422, "execution",   "0A000"),
        Kind::Limit           => (422, "execution",   "54000"),
        Kind::Execution       => (422, "execution",   "22000"),
        Kind::Timeout         => (503, "timeout",     "57014"),
        Kind::Cancelled       => (499, "canceled",    "57014"),
        Kind::Unavailable     => (503, "unavailable", "57P03"),
        Kind::Unauthenticated => (401, "unauthorized", "28000"),
        Kind::Denied          => (403, "forbidden",   "42501"),
        Kind::NotFound        => (404, "not_found",   "42704"),
        Kind::Conflict        => (409, "conflict",    "40001"),
        Kind::Corrupt         => (500, "internal",    "XX001"),
        Kind::Config          => (500, "internal",    "F0000"),
        Kind::Io              => (500, "internal",    "58030"),
        Kind::Internal        => (500, "internal",    "XX000"),
    };
    Names { status, error_type, sqlstate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_match_on() {
        // Prometheus: web/api/v1/api.go, getDefaultErrorCode. PostgreSQL: appendix A.
        assert_eq!(names(Kind::Syntax), Names { status: 400, error_type: "bad_data", sqlstate: "42601" });
        assert_eq!(names(Kind::Execution).status, 422);
        assert_eq!(
            names(Kind::Unsupported),
            Names { status: 422, error_type: "execution", sqlstate: "0A000" }
        );
        assert_eq!(names(Kind::Timeout), Names { status: 503, error_type: "timeout", sqlstate: "57014" });
        assert_eq!(names(Kind::Cancelled).status, 499);
        assert_eq!(names(Kind::UnknownTable).sqlstate, "42P01");
        assert_eq!(names(Kind::UnknownColumn).sqlstate, "42703");
        assert_eq!(names(Kind::ReadOnly).sqlstate, "25006");
    }
}
