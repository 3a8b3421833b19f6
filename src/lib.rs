//! quipu: metrics as plain Parquet on object storage, read with PromQL and SQL.
//!
//! `ARCHITECTURE.md` holds the picture of the rooms and who may import whom.

pub mod args;
pub mod check;
pub mod config;
pub mod error;
pub mod model;
pub mod node;
pub mod query;
pub mod runtime;
pub mod server;
pub mod source;
pub mod store;
pub mod wire;
