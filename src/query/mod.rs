//! The read house: a question in, record batches out. Its inner rooms are private.

mod exec;
mod plan;
mod promql;
mod settings;
mod sql;

pub use settings::QuerySettings;
