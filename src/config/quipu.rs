//! The `quipu:` section: what Prometheus does not have. One part a room.
//!
//! ```yaml
//! quipu:
//!   query: {timeout: 2m, …}    # see `query::QuerySettings`
//!   store:
//!     flush_interval: 10m      # how often the buffer becomes Parquet files
//!     first_flush: 60s         # the first time after the start
//!     flush_size: 512MB        # or as soon as the buffer holds this much; default: a quarter of memory_limit
//!     memory_limit: 2GB        # what buffers and caches may hold together
//!     wal_sync: sync           # sync: acknowledge after fdatasync; async: before it
//!     wal_segment_size: 64MB
//!     backfill_interval: 30m   # how often data older than yesterday becomes files
//!     backfill_flush_size: 256MB
//!     retention: 15d           # whole files older than this are dropped; default: kept for ever
//!     merge_interval: 1m       # how often the merge job looks for work; 0 switches it off
//!     gc_delay: 24h            # how long a replaced file stays
//!     s3: {endpoint: "http://127.0.0.1:9000", region: us-east-1, access_key_id: …, secret_access_key: …, allow_http: true}
//! ```

use serde::Deserialize;

use crate::model::setting::{ByteSize, Millis};
use crate::query::QuerySettings;
use crate::runtime::ObjectsOptions;

/// The section.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuipuSection {
    /// What the store does.
    pub store: StoreSection,
    /// What the query house does.
    pub query: QuerySettings,
}

/// Settings of the store; what is not written has the default of the module's example.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSection {
    /// How often the live buffer is flushed. Default 10 min.
    pub flush_interval: Millis,
    /// When it is flushed for the first time after the start. Default 60 s.
    pub first_flush: Millis,
    /// Buffered bytes that force a flush; see [`Self::flush_bytes`].
    pub flush_size: Option<ByteSize>,
    /// What buffers and caches may hold together. Default 2 GiB.
    pub memory_limit: ByteSize,
    /// When an append is acknowledged. Default after the sync.
    pub wal_sync: WalSync,
    /// When a WAL segment is full. Default 64 MiB.
    pub wal_segment_size: ByteSize,
    /// How often the backfill buffer is flushed. Default 30 min.
    pub backfill_interval: Millis,
    /// Bytes of backfill that force a flush. Default 256 MiB.
    pub backfill_flush_size: ByteSize,
    /// Files whose newest row is older are dropped whole. Default: never.
    pub retention: Option<Millis>,
    /// How often the merge job looks for work; zero switches it off. Default 1 min.
    pub merge_interval: Millis,
    /// How long a file that a merge replaced stays. Default 24 h.
    pub gc_delay: Millis,
    /// The object store, where the storage path is `s3://…`.
    pub s3: ObjectsOptions,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            flush_interval: Millis::minutes(10),
            first_flush: Millis::seconds(60),
            flush_size: None,
            memory_limit: ByteSize::mebibytes(2048),
            wal_sync: WalSync::Sync,
            wal_segment_size: ByteSize::mebibytes(64),
            backfill_interval: Millis::minutes(30),
            backfill_flush_size: ByteSize::mebibytes(256),
            retention: None,
            merge_interval: Millis::minutes(1),
            gc_delay: Millis::minutes(24 * 60),
            s3: ObjectsOptions::default(),
        }
    }
}

impl StoreSection {
    /// Buffered bytes that force a flush: `flush_size`, or else a quarter of the memory limit.
    pub fn flush_bytes(&self) -> u64 {
        self.flush_size.map_or(self.memory_limit.as_bytes() / 4, ByteSize::as_bytes)
    }
}

/// When an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WalSync {
    /// After its record is synced to the disk.
    #[default]
    Sync,
    /// After its record is written; the operating system's crash may lose the last of them.
    Async,
}
