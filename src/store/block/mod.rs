//! Blocks: sorted runs in, one Parquet file with its own index out, and runs back.
//!
//! ```text
//!   RunRows ─► writer ─► columns, repeats ─► page ─► container ─► file
//!                 └────► index: chunk, postings ──► format ──┘
//!   file ─► reader (directory, postings, chunks) ─► FileRun ─► data (pages) ─► decode ─► scan
//! ```
//!
//! It knows one file at a time: no ranks, no buffers, no Delta log. It refuses a file without our index and a
//! part whose checksum is wrong.

mod cache;
mod chunk;
mod columns;
mod container;
mod data;
mod decode;
mod format;
mod index;
mod leaves;
mod logs;
mod page;
mod postings;
mod reader;
mod repeats;
mod sort;
mod stats;
mod tables;
#[cfg(test)]
mod tests;
mod wide;
mod wide_decode;
mod writer;

pub use cache::CacheCounts;
pub(crate) use cache::{CacheLimits, ScanCache};
pub(crate) use columns::NO_START;
pub(crate) use format::IndexTag;
pub use logs::LogColumns;
pub(crate) use logs::line as line_columns;
pub(crate) use logs::{
    FinishedLogs, Identifier, LineDecoder, LinePage, LinePages, LogFile, LogGroup, LogPlace, LogWriter,
    Segment,
};
pub(crate) use reader::{BlockFile, FileRun};
pub(crate) use sort::RowSort;
pub(crate) use tables::{
    FinishedTable, MetadataRow, SeriesRow, StaleRow, read_metadata, read_table, write_metadata, write_series,
    write_staleness,
};
pub(crate) use writer::{BlockWriter, FinishedBlock, RowValues, RunRows, WriterSetting};

pub(crate) use cache::Page;
pub(crate) use data::{ColumnPage, PagePart};
pub(crate) use decode::PageDecoder;
pub(crate) use format::Column;
