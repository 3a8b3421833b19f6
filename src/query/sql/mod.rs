//! SQL: `PostgreSQL`'s text becomes a `DataFusion` plan over a snapshot. It knows no socket; the door that speaks
//! `PostgreSQL`'s protocol is `server::pg`.

mod catalog;
mod columns;
mod errors;
mod explain;
mod filters;
mod functions;
mod information_schema;
mod jsonb;
mod logs;
mod metadata;
mod names;
mod parse;
mod pg_catalog;
mod relations;
mod samples;
mod scan;
mod session;
mod settings;
mod sheet;
mod statement;
mod table;
mod types;
mod wide;
mod yielding;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

pub(crate) use errors::{POSITION, stream_error};
pub(crate) use session::DATABASE;
pub use session::{Answer, Prepared, SnapshotSource, SqlEngine, SqlSession};
pub use settings::Settings;
pub use statement::SqlStatement;
pub use types::{PgType, pg_type};

/// A relation of the catalogs: schema, name, columns.
type System = (&'static str, Arc<str>, SchemaRef);
