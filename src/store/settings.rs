//! What can be set about the store; the `quipu.store` section of the configuration fills it.

use std::time::Duration;

/// When an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WalSync {
    /// After the rows are on the disk.
    #[default]
    Sync,
    /// After they are written; the disk is synced once a second. A power cut may lose that second.
    Async,
}

/// Settings of the store, with their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// How long the first rows after the start wait for their file.
    pub first_flush: Duration,
    /// How long rows wait for their file after that.
    pub flush_interval: Duration,
    /// Bytes of buffered rows that start a flush before its time.
    pub flush_bytes: usize,
    /// Bytes of buffered rows, those being flushed included, above which appends are refused with 503.
    pub buffer_limit: usize,
    /// How long rows older than yesterday wait for their file.
    pub backfill_interval: Duration,
    /// Bytes of such rows that start their flush before its time.
    pub backfill_bytes: usize,
    /// Series being written at a time, per tenant.
    pub max_active_series: usize,
    /// Rows of one append.
    pub max_batch_rows: usize,
    /// Bytes of a WAL segment after which the next one is begun.
    pub wal_segment_bytes: usize,
    /// Bytes of WAL that may wait for a slow object store before appends are refused with 503.
    pub wal_limit: usize,
    /// When an append is acknowledged.
    pub wal_sync: WalSync,
    /// Whole files older than this are dropped; `None` keeps everything.
    pub retention: Option<Duration>,
    /// How often the merge job looks for work.
    pub merge_interval: Duration,
    /// How long a file that was merged or dropped stays for readers that still use it.
    pub gc_delay: Duration,
    /// Bytes of cached file parts.
    pub cache_bytes: usize,
    /// Commits of a table between two checkpoints of its log.
    pub checkpoint_every: u64,
}

impl StoreSettings {
    /// The defaults for a process that may use `memory_limit` bytes.
    pub fn for_memory(memory_limit: usize) -> Self {
        Self {
            first_flush: Duration::from_mins(1),
            flush_interval: Duration::from_mins(10),
            flush_bytes: memory_limit / 4,
            buffer_limit: memory_limit / 2,
            backfill_interval: Duration::from_mins(30),
            backfill_bytes: 256 << 20,
            max_active_series: 10_000_000,
            max_batch_rows: 4_000_000,
            wal_segment_bytes: 64 << 20,
            wal_limit: 8 << 30,
            wal_sync: WalSync::Sync,
            retention: None,
            merge_interval: Duration::from_mins(1),
            gc_delay: Duration::from_hours(24),
            cache_bytes: memory_limit / 8,
            checkpoint_every: 100,
        }
    }
}

impl Default for StoreSettings {
    /// For 2 GiB.
    fn default() -> Self {
        Self::for_memory(2 << 30)
    }
}
