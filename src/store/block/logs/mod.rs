//! Blocks of log lines: lines in the order of (stream, time) in, one Parquet file with its own index out, and row
//! groups back.
//!
//! ```text
//!   lines ─► writer ─► columns ─► container ─► file
//!               └────► index (streams, times) , tokens (bloom and long tokens of each row group)
//!   file ─► reader: index, footer ─► groups that may match ─► record batches
//! ```
//!
//! It knows one file at a time and decides nothing about duplicates in others.

mod columns;
mod index;
pub(crate) mod line;
mod lines;
mod reader;
#[cfg(test)]
mod tests;
mod tokens;
mod writer;

pub(crate) use index::{Identifier, Segment};
pub(crate) use lines::{LineDecoder, LinePage, LinePages};
pub use reader::LogColumns;
pub(crate) use reader::{LogFile, LogGroup};
pub(super) use tokens::TokenPart;
pub(crate) use writer::{FinishedLogs, LogPlace, LogWriter};
