//! The scan of log lines: files and buffers of a snapshot become rows, equal lines once.
//!
//! ```text
//!   files ─ tags ─ streams and times ─ tokens ─► row groups ─┐
//!   buffers ─ streams and times ─────────────► lines ────────┴► LogSelection ─► partitions ─► LogReader ─► LogRows
//! ```
//!
//! The same line may lie in two files, or in a file and a buffer: a sender that got no answer sends again. Where
//! the times of one stream overlap between two sources (*contested* times) every line is looked at; everywhere else
//! nothing is read but the columns that were asked for.

mod contested;
mod merge;
mod reader;
mod rows;
mod search;
mod selection;
#[cfg(test)]
mod tests;

pub(in crate::store) use merge::LogMerge;
pub use reader::LogReader;
pub use rows::LogRows;
pub(in crate::store) use selection::LogInput;
pub use selection::{LogCounts, LogQuery, LogSelection};
