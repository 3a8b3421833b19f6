//! Start: probe, open every tenant's tables, replay the WAL, begin the background work.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::block::{CacheLimits, ScanCache};
use super::catalog::{Ground, LogOptions};
use super::jobs::{Collector, Flusher, Merger};
use super::metrics::StoreMetrics;
use super::sequencer::Sequencer;
use super::snapshot::SnapshotGround;
use super::tables::Tables;
use super::tenants::Tenants;
use super::wal::{Class, Wal};
use super::{Inner, Store, StoreGround, StoreSettings, WalSync};
use crate::error::Result;
use crate::model::{Table, Tenant, time};
use crate::runtime::Bug;

/// How often the store looks whether something is due.
const TICK: Duration = Duration::from_secs(1);

impl Store {
    /// Opens the store: recovery is done when this returns.
    ///
    /// # Errors
    /// `Conflict` when another process holds the WAL directory, `Corrupt` naming a damaged file, what the disk
    /// and the object store say.
    pub async fn open(settings: StoreSettings, ground: StoreGround, wal_dir: &Path) -> Result<Self> {
        ground.objects.probe().await?;
        let metrics = StoreMetrics::new(&ground.registry);
        let log_ground = Ground {
            objects: ground.objects.clone(),
            clock: ground.clock,
            pools: ground.pools.clone(),
            faults: ground.faults.clone(),
        };
        let tenants = Arc::new(Tenants::new(settings.max_active_series));
        let log_options = LogOptions { checkpoint_every: settings.checkpoint_every, ..LogOptions::default() };
        open_tenants(&log_ground, log_options, &tenants).await?;
        let wal = open_wal(&settings, &ground, wal_dir.to_owned(), &tenants, &metrics).await?;
        let flusher = Flusher {
            ground: log_ground.clone(),
            log_options,
            directory: wal.directory(),
            metrics: metrics.clone(),
        };
        let half = settings.cache_bytes / 2;
        let cache = ScanCache::new(CacheLimits { index: half, pages: half });
        let sequencer = Sequencer::start(
            wal,
            Arc::clone(&tenants),
            log_ground.clone(),
            settings.wal_sync == WalSync::Sync,
            metrics.clone(),
        );
        let inner = Inner {
            settings,
            ground,
            tenants,
            sequencer,
            flusher,
            merger: Merger { ground: log_ground.clone(), cache: cache.clone(), metrics: metrics.clone() },
            snapshots: SnapshotGround { ground: log_ground, cache },
            metrics,
            flushing: tokio::sync::Mutex::default(),
            merging: tokio::sync::Mutex::default(),
            tombstones: Mutex::new(Arc::from([])),
        };
        let store = Self { inner: Arc::new(inner) };
        store.inner.ground.pools.spawn_io(keep_time(store.clone()));
        store.inner.ground.pools.spawn_io(keep_files(store.clone()));
        Ok(store)
    }
}

/// Opens the tables of every tenant that has a folder and reads its metric catalogue.
async fn open_tenants(ground: &Ground, options: LogOptions, tenants: &Tenants) -> Result<()> {
    for folder in ground.objects.list_folders("").await? {
        // Folders of other things lie beside ours; a tenant's name never begins with '_'.
        let Ok(name) = Tenant::new(&folder) else { continue };
        let state = tenants.get_or_create(&name);
        let tables = Tables::open(ground, options, &name).await?;
        let mut catalogue = super::Catalogue::default();
        tables.read_catalogue(ground, &mut catalogue).await?;
        state.update_catalogue(|empty| *empty = catalogue);
        state.set_tables(tables);
    }
    Ok(())
}

async fn open_wal(
    settings: &StoreSettings,
    ground: &StoreGround,
    dir: PathBuf,
    tenants: &Arc<Tenants>,
    metrics: &StoreMetrics,
) -> Result<Wal> {
    let (disk, segment_bytes) = (ground.disk.clone(), settings.wal_segment_bytes);
    let (tenants, metrics) = (Arc::clone(tenants), metrics.clone());
    let (faults, planted) = (ground.faults.clone(), u64::from(ground.faults.has(Bug::ReplaySkipsOne)));
    let work = move || {
        let (mut wal, segments) = Wal::open(disk, &dir, segment_bytes)?;
        let directory = wal.directory();
        let committed = |tenant: &Tenant, class: Class, table: Table| {
            if faults.has(Bug::ReplaySkips(table)) {
                return u64::MAX;
            }
            let tables = tenants.get(tenant).and_then(|state| state.tables());
            tables.map_or(0, |tables| tables.committed(directory, class, table) + planted)
        };
        let recovery = super::replay::replay(&mut wal, &segments, &tenants, &committed, &metrics)?;
        let tables = tenants.all().into_iter().filter_map(|state| state.tables());
        wal.resume(tables.map(|tables| tables.largest_sequence(directory)).max().unwrap_or(0));
        tracing::info!(
            segments = segments.len(),
            rows = recovery.rows,
            lines = recovery.lines,
            already_stored = recovery.already_stored,
            quarantined = recovery.quarantined,
            "recovered"
        );
        Ok(wal)
    };
    ground.pools.run_blocking(work).await
}

/// Starts flushes when they are due, until the store is closed.
async fn keep_time(store: Store) {
    let (clock, shutdown) = (store.inner.ground.clock, store.inner.ground.shutdown.clone());
    let settings = store.inner.settings.clone();
    let begun = clock.monotonic();
    let mut live_due = begun + settings.first_flush;
    let mut backfill_due = begun + settings.backfill_interval;
    loop {
        tokio::select! {
            () = shutdown.stopped() => return,
            () = clock.sleep(TICK) => {}
        }
        let buffered = store.inner.tenants.buffered();
        store.inner.metrics.buffered(buffered);
        store.inner.publish_files();
        let now = clock.monotonic();
        if now >= backfill_due || buffered.backfill_bytes >= settings.backfill_bytes {
            backfill_due = now + settings.backfill_interval;
            live_due = now + settings.flush_interval;
            log_failure(store.flush().await);
        } else if now >= live_due || buffered.live_bytes >= settings.flush_bytes {
            live_due = now + settings.flush_interval;
            log_failure(store.flush_classes(&[Class::Live]).await);
        }
    }
}

/// Merges, drops and deletes files, until the store is closed.
async fn keep_files(store: Store) {
    let (clock, shutdown) = (store.inner.ground.clock, store.inner.ground.shutdown.clone());
    let mut collector = Collector::default();
    loop {
        tokio::select! {
            () = shutdown.stopped() => return,
            () = clock.sleep(store.inner.settings.merge_interval) => {}
        }
        for state in store.inner.tenants.all() {
            let Some(tables) = state.tables() else { continue };
            if let Err(error) = store.inner.tend(&tables, &mut collector).await {
                tracing::error!(tenant = state.name.as_str(), %error, "work on files failed and will be tried again");
            }
        }
    }
}

/// A failed flush has been logged and counted where it failed; the next tick that is due tries again.
fn log_failure(flushed: Result<()>) {
    if let Err(error) = flushed {
        tracing::warn!(%error, "rows stay in memory and in the WAL");
    }
}

impl Inner {
    async fn tend(&self, tables: &Tables, collector: &mut Collector) -> Result<()> {
        let ground = &self.merger.ground;
        let one = self.merging.lock().await;
        self.merger.merge_tiers(tables).await?;
        if let Some(retention) = self.settings.retention {
            Collector::retain(ground, tables, retention).await?;
        }
        drop(one);
        collector.collect(ground, tables, self.settings.gc_delay).await?;
        for table in Table::COMMIT_ORDER {
            tables.log(table).clean().await?;
        }
        Ok(())
    }

    fn publish_files(&self) {
        let tables = self.tenants.all().into_iter().filter_map(|state| state.tables());
        let (mut files, mut bytes) = (0, 0);
        for tables in tables {
            let version = tables.version(Table::Samples);
            files += version.files().len();
            bytes += version.bytes();
        }
        self.metrics.files.set(time::count_to_f64(files));
        self.metrics.file_bytes.set(time::count_to_f64(usize::try_from(bytes).unwrap_or(usize::MAX)));
    }
}
