//! The Delta log of one table: numbered JSON commits, Parquet checkpoints, snapshots in memory.
//!
//! ```text
//!   commit(make) ─ make(base, N) ─ PUT _delta_log/N.json if absent ─┬─ created ───────▶ publish Version N
//!        ▲                                                          ├─ taken: read N ─┬ ours (lost answer) ─▶ publish
//!        └──────────────── base = N, try N+1 ◀──────────────────────┼─────────────────┘ theirs
//!                                                                   └─ error: the same bytes again
//! ```
//! It knows files, sizes and tags, and neither rows nor SQL. It never lists except at a start and in clean-up,
//! and never updates an object in place. Byte-exact description: `docs/format.md`, "Delta log".

mod action;
mod checkpoint;
mod clean;
mod commit;
mod file;
mod log;
mod replay;
mod schema;
mod version;

#[cfg(test)]
mod tests;

pub(crate) use commit::Commit;
pub(crate) use file::{DataFile, IndexPlace, Rank, Stats, Tags};
pub(crate) use log::{Ground, LogOptions, TableLog};
pub(crate) use version::Version;
