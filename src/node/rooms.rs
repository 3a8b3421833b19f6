//! Builds the rooms between the disk and the doors, bottom-up.

use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use xxhash_rust::xxh3::xxh3_64;

use crate::args::ServeArgs;
use crate::config::{Config, StoreSection, WalSync as ConfiguredSync};
use crate::error::Result;
use crate::model::Tenant;
use crate::model::setting::Millis;
use crate::query::sql::{SnapshotSource, SqlEngine};
use crate::query::{Engine, EngineGround};
use crate::runtime::{Clock, Disk, MemoryBudget, Objects, ObjectsOptions, Pools, Registry, Shutdown};
use crate::server::http::{Rooms, host_name};
use crate::server::pg::{Checkpoint, PgState};
use crate::source::{Accepted, Scraper, Sink};
use crate::store::{Appended, Store, StoreGround, StoreSettings, WalSync};

const MEMORY: &str = "memory://";
/// Postgres clients at once; `PostgreSQL`'s own default.
const PG_CONNECTIONS: usize = 100;

/// What everything stands on.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub(super) clock: Clock,
    pub(super) pools: Pools,
    pub(super) registry: Arc<Registry>,
}

/// Opens the store, which is where recovery happens, and builds what stands on it. Nothing is scraped yet.
pub(super) async fn build(args: &ServeArgs, config: &Config, ground: &Ground) -> Result<Rooms> {
    let Ground { clock, pools, registry } = ground.clone();
    let section = &config.quipu.store;
    let (disk, wal_path) = wal_place(args, clock);
    let objects = Objects::open(&args.storage_path, &objects_options(section), &Disk::real(), &pools).await?;
    let store_ground = StoreGround {
        objects,
        disk,
        clock,
        pools: pools.clone(),
        registry: Arc::clone(&registry),
        shutdown: Shutdown::new(),
    };
    let store = Store::open(store_settings(section), store_ground, &wal_path).await?;
    let engine_ground = EngineGround { pools: pools.clone(), clock, registry: Arc::clone(&registry) };
    let engine = Arc::new(Engine::new(config.quipu.query.clone(), engine_ground)?);
    let tenant = Tenant::default();
    // So that two servers with one configuration do not scrape a target at the same moment.
    let seed = xxh3_64(host_name().as_bytes());
    let scraper = Scraper::new(sink(&store, &tenant), clock, pools.clone(), &registry, seed);
    let write_memory = MemoryBudget::new("quipu.store.memory_limit / 4", section.memory_limit.as_bytes() / 4);
    Ok(Rooms { tenant, store, engine, scraper: Arc::new(scraper), pools, write_memory })
}

/// The Postgres door over the same store.
pub(super) fn pg_door(rooms: &Rooms, config: &Config) -> Result<PgState> {
    let (store, tenant) = (rooms.store.clone(), rooms.tenant.clone());
    let source: SnapshotSource = Arc::new(move |principal| Ok(store.snapshot(&tenant, principal)));
    let memory = usize::try_from(config.quipu.store.memory_limit.as_bytes() / 4).unwrap_or(usize::MAX);
    let engine = Arc::new(SqlEngine::for_machine(source, memory)?);
    let store = rooms.store.clone();
    let checkpoint: Checkpoint = Arc::new(move || {
        let store = store.clone();
        async move { store.flush().await }.boxed()
    });
    Ok(PgState::new(engine, checkpoint, rooms.pools.clone(), PG_CONNECTIONS))
}

/// Where the WAL lies: on a disk, unless the data is in memory too and nothing else was asked for.
fn wal_place(args: &ServeArgs, clock: Clock) -> (Disk, PathBuf) {
    let folder = args.storage_path.strip_prefix("file://").unwrap_or(&args.storage_path);
    match &args.wal_path {
        Some(path) => (Disk::real(), path.clone()),
        None if folder.starts_with(MEMORY) => {
            tracing::warn!("with memory:// nothing survives the end of this process");
            (Disk::simulated(0, clock), PathBuf::from("/_wal"))
        }
        None if folder.contains("://") => (Disk::real(), PathBuf::from("./quipu-data/_wal")),
        None => (Disk::real(), PathBuf::from(folder).join("_wal")),
    }
}

fn objects_options(section: &StoreSection) -> ObjectsOptions {
    let s3 = section.s3.clone();
    ObjectsOptions {
        endpoint: s3.endpoint,
        region: s3.region,
        access_key_id: s3.access_key_id,
        secret_access_key: s3.secret_access_key,
        allow_http: s3.allow_http,
    }
}

fn store_settings(section: &StoreSection) -> StoreSettings {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    StoreSettings {
        first_flush: section.first_flush.as_std(),
        flush_interval: section.flush_interval.as_std(),
        flush_bytes: bytes(section.flush_bytes()),
        backfill_interval: section.backfill_interval.as_std(),
        backfill_bytes: bytes(section.backfill_flush_size.as_bytes()),
        wal_segment_bytes: bytes(section.wal_segment_size.as_bytes()),
        wal_sync: match section.wal_sync {
            ConfiguredSync::Sync => WalSync::Sync,
            ConfiguredSync::Async => WalSync::Async,
        },
        retention: section.retention.map(Millis::as_std),
        merge_interval: section.merge_interval.as_std(),
        gc_delay: section.gc_delay.as_std(),
        ..StoreSettings::for_memory(bytes(section.memory_limit.as_bytes()))
    }
}

/// The scrape loop knows no store: these are the two things it may do with one.
fn sink(store: &Store, tenant: &Tenant) -> Sink {
    let (resolving, appending) = ((store.clone(), tenant.clone()), (store.clone(), tenant.clone()));
    Sink::new(
        move |metric, labels| resolving.0.resolve(&resolving.1, metric, labels),
        move |batch| {
            let (store, tenant) = appending.clone();
            async move {
                Ok(match store.append(&tenant, batch).await? {
                    Appended::Stored => Accepted::Stored,
                    Appended::Resolve(rows) => Accepted::Resolve(rows),
                })
            }
            .boxed()
        },
    )
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;
    use crate::args::{Run, parse};

    fn place(flags: &[&str]) -> PathBuf {
        let words = std::iter::once("quipu").chain(flags.iter().copied()).map(OsString::from);
        let Ok(Run::Serve(args)) = parse(words) else { panic!("{flags:?} means serve") };
        wal_place(&args, Clock::manual(0)).1
    }

    #[tokio::test]
    async fn the_wal_lies_beside_local_data_and_on_a_disk_in_any_case() {
        assert_eq!(place(&[]), Path::new("./quipu-data/_wal"));
        assert_eq!(place(&["--storage.path=/d"]), Path::new("/d/_wal"));
        assert_eq!(place(&["--storage.path=file:///d"]), Path::new("/d/_wal"));
        assert_eq!(place(&["--storage.path=s3://b/p"]), Path::new("./quipu-data/_wal"));
        assert_eq!(place(&["--storage.path=s3://b/p", "--wal.path=/w"]), Path::new("/w"));
    }
}
