//! Builds the rooms between the disk and the doors, bottom-up.

use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use tokio::task::JoinHandle;
use xxhash_rust::xxh3::xxh3_64;

use crate::args::ServeArgs;
use crate::config::Config;
use crate::error::Result;
use crate::model::Tenant;
use crate::query::sql::{SnapshotSource, SqlEngine};
use crate::query::{Engine, EngineGround};
use crate::runtime::{Clock, Disk, Faults, MemoryBudget, Objects, OwnLines, Pools, Registry, Shutdown};
use crate::server::http::{Rooms, host_name};
use crate::server::pg::{Checkpoint, PgState};
use crate::source::{LogSink, Scraper, Sink, Tailer, store_own_log};
use crate::store::{Store, StoreGround};

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

/// What is built.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) rooms: Rooms,
    pub(super) pulls: Pulls,
}

/// What brings data in by itself.
#[derive(Debug)]
pub(super) struct Pulls {
    scraper: Arc<Scraper>,
    tailer: Tailer,
    log_sink: LogSink,
}

impl Pulls {
    /// Begins with what a configuration says and ends what it does not say.
    pub(super) fn apply(&self, config: &Config) {
        self.scraper.apply(&config.scrapes);
        self.tailer.apply(&config.quipu.log_files);
    }

    /// Begins to store our own log.
    pub(super) fn store_own_log(
        &self,
        lines: OwnLines,
        ground: &Ground,
        config: &Config,
        shutdown: &Shutdown,
    ) -> JoinHandle<()> {
        let Ground { clock, pools, registry } = ground.clone();
        let (rules, sink) = (config.quipu.logs.rules(), self.log_sink.clone());
        pools.spawn_io(store_own_log(lines, rules, sink, clock, registry, shutdown.clone()))
    }

    /// Ends everything; what is being stored is waited for.
    pub(super) async fn stop(&self) {
        tokio::join!(self.scraper.stop(), self.tailer.stop());
    }
}

/// Opens the store, which is where recovery happens, and builds what stands on it. Nothing is scraped yet.
pub(super) async fn build(args: &ServeArgs, config: &Config, ground: &Ground) -> Result<Built> {
    let Ground { clock, pools, registry } = ground.clone();
    let section = &config.quipu.store;
    let (disk, wal_path) = wal_place(args, clock);
    let objects = Objects::open(&args.storage_path, &section.s3, &Disk::real(), &pools).await?;
    let armed = args.fault_point.as_deref().map(str::parse).transpose()?;
    let store_ground = StoreGround {
        objects,
        disk,
        clock,
        pools: pools.clone(),
        registry: Arc::clone(&registry),
        shutdown: Shutdown::new(),
        faults: armed.map(Faults::aborting).unwrap_or_default(),
    };
    let store = Store::open(section.settings(), store_ground, &wal_path).await?;
    let engine_ground = EngineGround { pools: pools.clone(), clock, registry: Arc::clone(&registry) };
    let engine = Arc::new(Engine::new(config.quipu.query.clone(), engine_ground)?);
    let tenant = Tenant::default();
    // So that two servers with one configuration do not scrape a target at the same moment.
    let seed = xxh3_64(host_name().as_bytes());
    let scraper = Scraper::new(Sink::store(&store, &tenant), clock, pools.clone(), &registry, seed);
    let write_memory = MemoryBudget::new("quipu.store.memory_limit / 4", section.memory_limit.as_bytes() / 4);
    let (scraper, log_rules) = (Arc::new(scraper), Arc::new(config.quipu.logs.rules()));
    let log_sink = LogSink::store(&store, &tenant);
    let tailer = Tailer::start(log_sink.clone(), &log_rules, clock, &pools, &registry);
    let pulls = Pulls { scraper: Arc::clone(&scraper), tailer, log_sink };
    Ok(Built { rooms: Rooms { tenant, store, engine, scraper, pools, write_memory, log_rules }, pulls })
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
