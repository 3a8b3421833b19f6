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
//!     wal_limit: 8GB           # WAL that may wait for a slow object store; then writes are refused with 503
//!     max_active_series: 10000000
//!     backfill_interval: 30m   # how often data older than yesterday becomes files
//!     backfill_flush_size: 256MB
//!     retention: 15d           # whole files older than this are dropped; default: kept for ever
//!     merge_interval: 1m       # how often the merge job looks for work
//!     gc_delay: 24h            # how long a replaced file stays
//!     s3: {endpoint: "http://127.0.0.1:9000", region: us-east-1, access_key_id: …, secret_access_key: …, allow_http: true,
//!          request_timeout: 30s, retry_timeout: 1m30s}   # of one try; of all tries of a request
//!   logs: {max_line_size: 256KB, …}   # see `source::settings::LogSettings`
//!   log_files:                        # followed at once after a reload
//!     - {paths: ["/var/log/*.log"], labels: {job: system}, multiline: {start: '^\S'}}
//! ```

use serde::{Deserialize, Deserializer, de};

use crate::model::setting::{ByteSize, Millis};
use crate::query::QuerySettings;
use crate::runtime::ObjectsOptions;
use crate::source::settings::{LogFileSettings, LogSettings};
use crate::store::{StoreSettings, WalSync};

/// The least size of a buffer or segment.
const MIN_SIZE: ByteSize = ByteSize::mebibytes(1);

/// The section.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuipuSection {
    /// What the store does.
    pub store: StoreSection,
    /// What the query house does.
    pub query: QuerySettings,
    /// What log lines may be.
    pub logs: LogSettings,
    /// Log files to follow.
    pub log_files: Vec<LogFileSettings>,
}

/// Settings of the store; what is not written has the default of the module's example.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSection {
    /// How often the live buffer is flushed. Default 10 min.
    #[serde(deserialize_with = "some_time")]
    pub flush_interval: Millis,
    /// When it is flushed for the first time after the start. Default 60 s.
    #[serde(deserialize_with = "some_time")]
    pub first_flush: Millis,
    /// Buffered bytes that force a flush; see [`Self::flush_bytes`].
    pub flush_size: Option<ByteSize>,
    /// What buffers and caches may hold together. Default 2 GiB.
    #[serde(deserialize_with = "some_bytes")]
    pub memory_limit: ByteSize,
    /// When an append is acknowledged. Default after the sync.
    #[serde(deserialize_with = "wal_sync")]
    pub wal_sync: WalSync,
    /// When a WAL segment is full. Default 64 MiB.
    #[serde(deserialize_with = "some_bytes")]
    pub wal_segment_size: ByteSize,
    /// Bytes of WAL that may wait for a slow object store. Default 8 GiB.
    #[serde(deserialize_with = "some_bytes")]
    pub wal_limit: ByteSize,
    /// Series that are written at a time, per tenant. Default 10 million.
    pub max_active_series: usize,
    /// How often the backfill buffer is flushed. Default 30 min.
    #[serde(deserialize_with = "some_time")]
    pub backfill_interval: Millis,
    /// Bytes of backfill that force a flush. Default 256 MiB.
    #[serde(deserialize_with = "some_bytes")]
    pub backfill_flush_size: ByteSize,
    /// Files whose newest row is older are dropped whole. Default: never.
    pub retention: Option<Millis>,
    /// How often the merge job looks for work. Default 1 min.
    #[serde(deserialize_with = "some_time")]
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
            wal_limit: ByteSize::mebibytes(8 << 10),
            max_active_series: 10_000_000,
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

    /// What the store is opened with. A large `flush_size` raises the limit of buffered bytes with it, so that a
    /// flush comes before a refusal.
    pub fn settings(&self) -> StoreSettings {
        let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        let defaults = StoreSettings::for_memory(bytes(self.memory_limit.as_bytes()));
        let flush_bytes = bytes(self.flush_bytes());
        StoreSettings {
            first_flush: self.first_flush.as_std(),
            flush_interval: self.flush_interval.as_std(),
            flush_bytes,
            buffer_limit: defaults.buffer_limit.max(flush_bytes.saturating_mul(2)),
            backfill_interval: self.backfill_interval.as_std(),
            backfill_bytes: bytes(self.backfill_flush_size.as_bytes()),
            max_active_series: self.max_active_series,
            wal_segment_bytes: bytes(self.wal_segment_size.as_bytes()),
            wal_limit: bytes(self.wal_limit.as_bytes()),
            wal_sync: self.wal_sync,
            retention: self.retention.filter(|time| !time.is_zero()).map(Millis::as_std),
            merge_interval: self.merge_interval.as_std(),
            gc_delay: self.gc_delay.as_std(),
            ..defaults
        }
    }
}

/// A length of time that is not zero: a job that never waits would do nothing else.
fn some_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
    let time = Millis::deserialize(deserializer)?;
    if time.is_zero() { Err(de::Error::custom("must be longer than 0")) } else { Ok(time) }
}

fn some_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = ByteSize::deserialize(deserializer)?;
    if size < MIN_SIZE { Err(de::Error::custom("must be at least 1MB")) } else { Ok(size) }
}

fn wal_sync<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WalSync, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "sync" => Ok(WalSync::Sync),
        "async" => Ok(WalSync::Async),
        other => Err(de::Error::custom(format!("wal_sync is sync or async, not {other:?}"))),
    }
}
