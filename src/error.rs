//! The one error of the crate: what kind, during which operation, about what, caused by what.
//!
//! A door (HTTP, Postgres) derives its status, `errorType` or SQLSTATE from [`Kind`] alone, in one table in
//! `server`. Nothing below the doors knows a status code. An error names the file, line, limit or label at
//! fault and, where there is something to do, what to do.

use std::error::Error as StdError;
use std::fmt;

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The caller sent something that is wrong whatever the state of the server.
    Invalid,
    /// A query's text does not follow its grammar.
    Syntax,
    /// A table that does not exist.
    UnknownTable,
    /// A column that does not exist.
    UnknownColumn,
    /// A function that does not exist.
    UnknownFunction,
    /// A write through a door that only reads.
    ReadOnly,
    /// Something real that quipu does not do yet; the message names it.
    Unsupported,
    /// A limit was passed; the message names the limit and the setting that raises it.
    Limit,
    /// The query is well-formed but cannot be evaluated on this data.
    Execution,
    /// The time allowed is over.
    Timeout,
    /// The caller went away or asked to stop.
    Cancelled,
    /// Try again later: starting, shutting down, disk full, object store slow.
    Unavailable,
    /// Who asks is not known.
    Unauthenticated,
    /// Who asks is known and may not.
    Denied,
    /// The thing asked for is not there.
    NotFound,
    /// Somebody else was first.
    Conflict,
    /// Stored bytes are damaged; the context names the file.
    Corrupt,
    /// The configuration or a flag is wrong.
    Config,
    /// The operating system or the network failed.
    Io,
    /// A defect of ours.
    Internal,
}

/// The error: a kind, the operation, a message, named context and the cause.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: Kind,
    message: String,
    operation: Option<&'static str>,
    context: Vec<(&'static str, String)>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind` with a message for the person who sees it.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let inner =
            Inner { kind, message: message.into(), operation: None, context: Vec::new(), source: None };
        Self { inner: Box::new(inner) }
    }

    /// The caller's input is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// A defect of ours: a state that should not occur.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// A real feature that is not built yet. `name` is what the user wrote.
    pub fn unsupported(name: impl fmt::Display) -> Self {
        Self::new(Kind::Unsupported, format!("not supported yet: {name}"))
    }

    /// Stored bytes that cannot be trusted.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, message)
    }

    /// Names the operation during which it happened; the innermost name wins.
    #[must_use]
    pub fn during(mut self, operation: &'static str) -> Self {
        self.inner.operation.get_or_insert(operation);
        self
    }

    /// Adds what it was about: a file, a label, a limit.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.inner.context.push((key, value.to_string()));
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// The same error for somebody else who waits for the same thing; the cause becomes text.
    #[must_use]
    pub fn repeated(&self) -> Self {
        let message = match &self.inner.source {
            Some(source) => format!("{}: {source}", self.inner.message),
            None => self.inner.message.clone(),
        };
        let mut copy = Self::new(self.inner.kind, message);
        copy.inner.operation = self.inner.operation;
        copy.inner.context.clone_from(&self.inner.context);
        copy
    }

    /// What a caller can act on.
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// The message without operation, context and cause.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The named context, outermost last.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.inner.context
    }

    /// The value of one piece of context.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.inner.context.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.inner.operation {
            write!(f, "{operation}: ")?;
        }
        f.write_str(&self.inner.message)?;
        for (i, (key, value)) in self.inner.context.iter().enumerate() {
            let lead = if i == 0 { " (" } else { ", " };
            write!(f, "{lead}{key}: {value}")?;
        }
        if !self.inner.context.is_empty() {
            f.write_str(")")?;
        }
        match &self.inner.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.inner.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_ref().map(|s| &**s as &(dyn StdError + 'static))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::Unavailable,
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Io,
        };
        Self::new(kind, "input/output failed").caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_operation_message_context_cause() {
        let cause = std::io::Error::other("disk on fire");
        let error = Error::new(Kind::Corrupt, "bad checksum").during("read segment").with("file", "7.wal");
        let error = error.with("offset", 12).caused_by(cause).during("start");
        assert_eq!(error.to_string(), "read segment: bad checksum (file: 7.wal, offset: 12): disk on fire");
        assert_eq!(error.kind(), Kind::Corrupt);
        assert_eq!(error.get("file"), Some("7.wal"));
        assert!(error.source().is_some());
    }

    #[test]
    fn a_full_disk_is_unavailable_and_not_a_defect() {
        let error: Error = std::io::Error::from(std::io::ErrorKind::StorageFull).into();
        assert_eq!(error.kind(), Kind::Unavailable);
    }
}
