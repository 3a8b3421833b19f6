//! The write house: a batch in, a durable sorted block out, and the runs of a snapshot back.
//!
//! [`Store::append`] → WAL → buffer → answer; flush → Parquet → Delta log; [`Store::snapshot`] → [`Selection`] →
//! runs. It knows no query language and no socket. Its inner rooms are private.

mod block;
mod buffer;
mod catalog;
mod catalogue;
mod jobs;
mod logs;
mod metrics;
mod open;
mod replay;
mod scan;
mod sequencer;
mod settings;
mod snapshot;
mod tables;
mod tenants;
#[cfg(test)]
mod tests;
mod wal;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

pub(crate) use block::line_columns::hex as bytes_of_hex;
pub use block::{CacheCounts, LogColumns};
pub use catalogue::{Catalogue, CatalogueEntry};
pub use scan::{
    Buried, SelectedSeries, Selection, SelectionCounts, SeriesExemplars, SeriesReader, SeriesRows, Tombstone,
};
pub use scan::{LogCounts, LogQuery, LogReader, LogRows, LogSelection};
pub use sequencer::Appended;
pub use settings::{StoreSettings, WalSync};
pub use snapshot::Snapshot;

use buffer::{Classes, Split};
use jobs::{Flusher, Merger};
use metrics::StoreMetrics;
use sequencer::{Append, Message, SequencerHandle};
use snapshot::SnapshotGround;
use tables::Tables;
use tenants::Tenants;
use wal::Class;

use crate::error::{Error, Kind, Result};
use crate::model::{Batch, Handle, LabelsRef, Principal, Table, Tenant, Timestamps, time};
use crate::runtime::{Bug, Clock, Disk, FaultPoint, Faults, Objects, Pools, Registry, Shutdown};

/// What a store stands on.
#[derive(Debug, Clone)]
pub struct StoreGround {
    /// Where the tables are.
    pub objects: Objects,
    /// Where the WAL is.
    pub disk: Disk,
    /// What time it is.
    pub clock: Clock,
    /// Where work runs.
    pub pools: Pools,
    /// Where the store's metrics are counted.
    pub registry: Arc<Registry>,
    /// Ends the background work.
    pub shutdown: Shutdown,
    /// Where a test ends it all.
    pub faults: Faults,
}

impl StoreGround {
    /// Nothing outlives the process: tables and WAL in memory.
    pub fn in_memory(clock: Clock, pools: Pools) -> Self {
        Self {
            objects: Objects::memory(),
            disk: Disk::simulated(1, clock),
            clock,
            pools,
            registry: Registry::new(),
            shutdown: Shutdown::new(),
            faults: Faults::default(),
        }
    }
}

/// The store. Cheap to clone; clones are one store.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: StoreSettings,
    ground: StoreGround,
    tenants: Arc<Tenants>,
    sequencer: SequencerHandle,
    flusher: Flusher,
    merger: Merger,
    snapshots: SnapshotGround,
    metrics: StoreMetrics,
    /// One flush at a time.
    flushing: tokio::sync::Mutex<()>,
    /// One merge or retention at a time: each replaces files that the other would read.
    merging: tokio::sync::Mutex<()>,
    tombstones: Mutex<Arc<[Tombstone]>>,
}

impl Store {
    /// The handle of a series, made on first use.
    ///
    /// # Errors
    /// `Limit` when the tenant writes too many series at a time.
    pub fn resolve(&self, tenant: &Tenant, metric: &str, labels: LabelsRef<'_>) -> Result<Handle> {
        replay::resolve(&self.inner.tenants.get_or_create(tenant), metric, labels)
    }

    /// Whether a sample of this time is taken: 1900 to tomorrow.
    ///
    /// # Errors
    /// `Invalid` naming the bound.
    pub fn accepts(&self, timestamp_ms: i64) -> Result<()> {
        let newest = self.inner.ground.clock.now_ms().saturating_add(time::FUTURE_MS);
        if timestamp_ms < time::OLDEST_MS {
            let text = "timestamp out of bounds: older than 1900-01-01";
            return Err(Error::invalid(text).with("timestamp", timestamp_ms).with("oldest", time::OLDEST_MS));
        }
        if timestamp_ms > newest {
            let text = "timestamp out of bounds: more than a day ahead of the server's clock";
            return Err(Error::invalid(text).with("timestamp", timestamp_ms).with("newest", newest));
        }
        Ok(())
    }

    /// Stores a batch whole or not at all and answers when it is durable and visible.
    ///
    /// # Errors
    /// `Invalid` for a time out of bounds, `Limit` for too many rows, `Unavailable` when the disk is full or too
    /// much waits for the object store: then nothing was stored and the same batch may be sent again.
    pub async fn append(&self, tenant: &Tenant, batch: Batch) -> Result<Appended> {
        let limit = self.inner.settings.max_batch_rows;
        if batch.rows() > limit {
            let error = Error::new(Kind::Limit, "too many samples in one request");
            return Err(error.with("samples", batch.rows()).with("limit", limit));
        }
        if batch.is_empty() && batch.metadata.is_empty() {
            return Ok(Appended::Stored);
        }
        self.check_room()?;
        let split = self.split(&batch)?;
        let tenant = self.inner.tenants.get_or_create(tenant);
        let ask = |reply| Message::Append(Box::new(Append { tenant, batch, split, logs: None, reply }));
        self.inner.sequencer.ask(ask).await?
    }

    /// What one question sees.
    pub fn snapshot(&self, tenant: &Tenant, principal: &Principal) -> Snapshot {
        let state = self.inner.tenants.get(tenant);
        let tombstones = Arc::clone(&self.inner.tombstones.lock().expect("no holder of this lock panics"));
        Snapshot::take(&self.inner.snapshots, tenant, state.as_deref(), principal, tombstones)
    }

    /// Writes everything that is buffered to files and waits for the commits.
    ///
    /// # Errors
    /// What the object store says; nothing is lost then, and the next flush tries again.
    pub async fn flush(&self) -> Result<()> {
        self.flush_classes(&Class::ALL).await
    }

    /// Merges all files of a UTC day (days since 1970) of a tenant into one per table. What is still buffered
    /// stays in the buffer.
    ///
    /// # Errors
    /// What the object store says; the files stay as they are then.
    pub async fn merge_day(&self, tenant: &Tenant, day: i32) -> Result<()> {
        let Some(tables) = self.tables(tenant) else { return Ok(()) };
        let _one = self.inner.merging.lock().await;
        self.inner.merger.merge_day(&tables, day).await
    }

    /// The UTC days (days since 1970, ascending) of which a tenant has files.
    pub fn days(&self, tenant: &Tenant) -> BTreeSet<i32> {
        let Some(tables) = self.tables(tenant) else { return BTreeSet::new() };
        let days = |table| tables.version(table).files().map(|file| file.tags.day).collect::<Vec<_>>();
        Table::COMMIT_ORDER.into_iter().flat_map(days).collect()
    }

    /// The settings in force.
    pub fn settings(&self) -> &StoreSettings {
        &self.inner.settings
    }

    /// Hits, misses and sizes of the read caches.
    pub fn cache_counts(&self) -> [(&'static str, CacheCounts); 7] {
        self.inner.snapshots.cache.counts()
    }

    /// Ends the store: syncs the WAL. What is buffered stays there for the next start.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn close(&self) -> Result<()> {
        self.inner.ground.shutdown.stop();
        self.inner.sequencer.ask(|reply| Message::Stop { reply }).await?
    }

    /// Deletes rows from what later snapshots see. Only tests write tombstones so far, and nothing keeps them.
    #[cfg(test)]
    fn bury(&self, tombstone: Tombstone) {
        let mut all = self.inner.tombstones.lock().expect("no holder of this lock panics");
        *all = all.iter().cloned().chain([tombstone]).collect();
    }

    /// The stored tables of a tenant; `None` before its first flush.
    fn tables(&self, tenant: &Tenant) -> Option<Tables> {
        self.inner.tenants.get(tenant).and_then(|state| state.tables())
    }

    fn check_room(&self) -> Result<()> {
        let settings = &self.inner.settings;
        let buffered = self.inner.tenants.buffered();
        self.inner.metrics.buffered(buffered);
        let full = |what: &'static str, limit: usize| {
            let text = "too much waits for the object store; send again later";
            Err(Error::new(Kind::Unavailable, text).with("what", what).with("limit", limit))
        };
        if buffered.bytes >= settings.buffer_limit {
            return full("buffered bytes", settings.buffer_limit);
        }
        if self.inner.metrics.wal_bytes.get() >= time::count_to_f64(settings.wal_limit) {
            return full("WAL bytes", settings.wal_limit);
        }
        Ok(())
    }

    /// Which rows are backfill, and whether all times are accepted.
    fn split(&self, batch: &Batch) -> Result<Split> {
        let today = time::day_of(self.inner.ground.clock.now_ms());
        let is_old = |timestamp: i64| time::day_of(timestamp) < today - 1;
        let samples = match &batch.timestamps {
            Timestamps::Shared(_) if batch.values.is_empty() => None,
            Timestamps::Shared(timestamp) => {
                self.accepts(*timestamp)?;
                let rows = u32::try_from(batch.len()).expect("the row limit is below 2^32");
                is_old(*timestamp).then(|| ((0..rows).collect(), Vec::new()))
            }
            Timestamps::Each(timestamps) => self.classes(timestamps, |time| *time, is_old)?,
        };
        Ok(Split {
            samples,
            histograms: self.classes(&batch.histograms, |row| row.timestamp, is_old)?,
            exemplars: self.classes(&batch.exemplars, |row| row.exemplar.timestamp, is_old)?,
        })
    }

    fn classes<T>(
        &self,
        rows: &[T],
        time: impl Fn(&T) -> i64,
        is_old: impl Fn(i64) -> bool,
    ) -> Result<Classes> {
        rows.iter().try_for_each(|row| self.accepts(time(row)))?;
        if !rows.iter().any(|row| is_old(time(row))) {
            return Ok(None);
        }
        let count = u32::try_from(rows.len()).expect("the row limit is below 2^32");
        Ok(Some((0..count).partition(|row| is_old(time(&rows[*row as usize])))))
    }

    /// Flushes classes, in their order: live first, as a backfill row came after the live row that it replaces.
    /// All are frozen at one sequence: a midnight between two freezes would let a live row into the later flush
    /// and the backfill row that replaces it into this one.
    async fn flush_classes(&self, classes: &'static [Class]) -> Result<()> {
        let inner = &self.inner;
        let _one = inner.flushing.lock().await;
        let last_sequence = inner.sequencer.ask(|reply| Message::Freeze { classes, reply }).await?;
        tracing::debug!(?classes, last_sequence, "frozen");
        inner.ground.faults.at(FaultPoint::FlushFrozen).await;
        let mut order = classes.to_vec();
        if inner.ground.faults.has(Bug::BackfillFirst) {
            order.reverse();
        }
        for class in order {
            self.flush_frozen(class).await?;
        }
        self.release_wal(classes, last_sequence).await
    }

    async fn flush_frozen(&self, class: Class) -> Result<()> {
        let inner = &self.inner;
        let mut failed = None;
        for tenant in inner.tenants.all() {
            if let Err(error) = jobs::flush_class(&inner.flusher, &tenant, class).await {
                inner.metrics.flush_failures.inc();
                tracing::error!(tenant = tenant.name.as_str(), %error, "a flush failed and will be tried again");
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Lets WAL segments go. What a flushed class has committed is up to the last freeze; another class counts up
    /// to its oldest buffered row.
    async fn release_wal(&self, flushed: &[Class], last_sequence: u64) -> Result<()> {
        let committed = |of: Class| {
            let oldest = if flushed.contains(&of) { None } else { self.oldest_buffered(of) };
            oldest.unwrap_or(last_sequence)
        };
        let (live, backfill) = (committed(Class::Live), committed(Class::Backfill));
        self.inner.ground.faults.at(FaultPoint::WalRelease).await;
        let released = self.inner.sequencer.ask(|reply| Message::Release { live, backfill, reply }).await??;
        tracing::debug!(released, "WAL segments released");
        Ok(())
    }

    /// The sequence before the oldest row of a class that is in no file; `None` when there is no such row.
    fn oldest_buffered(&self, class: Class) -> Option<u64> {
        let tenants = self.inner.tenants.all();
        let buffers = tenants.iter().flat_map(|tenant| {
            let mut all = tenant.frozen(class);
            all.push(tenant.active(class));
            all
        });
        buffers.filter_map(|buffer| tenants::read(&buffer).before_first_row()).min()
    }
}
