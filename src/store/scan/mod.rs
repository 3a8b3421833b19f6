//! The one scan: runs of files and buffer layers, merged by series, time and rank.
//!
//! ```text
//!   lookup(files) ─┐
//!   layers ────────┴► Selection: series in key order ─► partitions ─► SeriesReader: chunk of series
//!                                                                     × files in time order ─► SeriesRows
//! ```
//!
//! Queries read through [`Selection`], compaction through [`Merge`]; both put series together in `assemble`. It
//! knows no query language and no `DataFusion`. A row outside the asked time range, under a tombstone, or beaten
//! by a higher rank never leaves this room.

mod assemble;
mod counts;
mod exemplars;
mod histograms;
mod labels;
mod logs;
mod merge;
mod pages;
mod reader;
mod selection;
#[cfg(test)]
mod tests;

pub use counts::SelectionCounts;
pub use exemplars::SeriesExemplars;
pub(in crate::store) use exemplars::{ExemplarInput, exemplars};
pub(in crate::store) use labels::{label_names, label_values};
pub use logs::{LogCounts, LogQuery, LogReader, LogRows, LogSelection};
pub(in crate::store) use logs::{LogInput, LogMerge};
pub(in crate::store) use merge::Merge;
pub use reader::{SeriesReader, SeriesRows};
pub use selection::{Buried, SelectedSeries, Selection, Tombstone};
pub(in crate::store) use selection::{Layer, RankedFile, SelectionInput};
