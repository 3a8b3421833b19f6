//! The store as a whole: what is appended comes back from buffers, from files, after a restart and a crash.

mod histograms;
mod logs;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::{Labels, Matcher, STALE_NAN};
use crate::runtime::{FaultyStore, RequestFault};

const NOW: i64 = 1_800_000_000_000;

struct Bench {
    objects: Objects,
    disk: Disk,
    clock: Clock,
}

impl Bench {
    fn new() -> Self {
        let clock = Clock::manual(NOW);
        Self { objects: Objects::memory(), disk: Disk::simulated(1, clock), clock }
    }

    /// Files that other programs read, in a new folder of `target`.
    async fn in_target(folder: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(folder);
        if root.exists() {
            std::fs::remove_dir_all(&root).unwrap();
        }
        let (options, disk) = (crate::runtime::ObjectsOptions::default(), Disk::real());
        let objects = Objects::open(&root.display().to_string(), &options, &disk, &Pools::inline()).await;
        Self { objects: objects.unwrap(), ..Self::new() }
    }

    async fn open(&self) -> Store {
        let ground = StoreGround {
            objects: self.objects.clone(),
            disk: self.disk.clone(),
            ..StoreGround::in_memory(self.clock, Pools::inline())
        };
        Store::open(StoreSettings::default(), ground, Path::new("/wal")).await.unwrap()
    }
}

async fn write(store: &Store, series: &[(&str, &str)], rows: &[(i64, f64)]) {
    let tenant = Tenant::default();
    for (metric, n) in series {
        let labels = Labels::from_pairs([("job", "j"), ("n", *n)]).unwrap();
        let handle = store.resolve(&tenant, metric, labels.as_ref()).unwrap();
        let batch = Batch {
            series: vec![handle; rows.len()],
            timestamps: Timestamps::Each(rows.iter().map(|row| row.0).collect()),
            values: rows.iter().map(|row| row.1).collect(),
            ..Batch::default()
        };
        assert_eq!(store.append(&tenant, batch).await.unwrap(), Appended::Stored);
    }
}

type Read = Vec<(String, Vec<(i64, f64)>, Vec<i64>)>;

async fn read(store: &Store, matchers: Vec<Matcher>) -> Read {
    read_snapshot(&store.snapshot(&Tenant::default(), &Principal::default()), matchers).await
}

async fn read_snapshot(snapshot: &Snapshot, matchers: Vec<Matcher>) -> Read {
    let selection = snapshot.select(matchers, i64::MIN, i64::MAX).await.unwrap();
    let mut out = Vec::new();
    let mut reader = selection.scan(0..selection.series().len()).unwrap();
    while let Some(rows) = reader.next().await.unwrap() {
        let key = &selection.series()[rows.index].key;
        let name = format!("{}{}", key.metric, key.labels.as_ref());
        let samples = rows.timestamps.iter().copied().zip(rows.values.iter().copied()).collect();
        out.push((name, samples, rows.stale_at.to_vec()));
    }
    out
}

#[tokio::test(start_paused = true)]
async fn rows_come_back_from_buffer_file_and_restart() {
    let bench = Bench::new();
    let store = bench.open().await;
    let rows = [(NOW - 30_000, 1.0), (NOW - 15_000, 2.0), (NOW, f64::from_bits(STALE_NAN))];
    write(&store, &[("up", "1"), ("up", "2"), ("down", "1")], &rows).await;
    let expected = read(&store, vec![Matcher::equal("__name__", "up")]).await;
    assert_eq!(expected.len(), 2);
    assert_eq!(expected[0].1, rows[..2]);
    assert_eq!(expected[0].2, [NOW]);
    let snapshot = store.snapshot(&Tenant::default(), &Principal::default());
    store.flush().await.unwrap();
    assert_eq!(store.inner.tenants.buffered().rows, 0, "the buffer has let go");
    assert_eq!(read(&store, vec![Matcher::equal("__name__", "up")]).await, expected);
    write(&store, &[("up", "1")], &[(NOW - 15_000, 7.0)]).await;
    let one = read(&store, vec![Matcher::equal("n", "1"), Matcher::equal("__name__", "up")]).await;
    assert_eq!(one[0].1[1].1.to_bits(), 7.0_f64.to_bits());
    assert_eq!(read_snapshot(&snapshot, vec![Matcher::equal("__name__", "up")]).await, expected);
    store.close().await.unwrap();
    drop((store, snapshot));
    let store = bench.open().await;
    let after = read(&store, vec![Matcher::equal("__name__", "up"), Matcher::equal("n", "1")]).await;
    assert_eq!(
        after[0].1,
        [(NOW - 30_000, 1.0), (NOW - 15_000, 7.0)],
        "the later value won, through a restart"
    );
    assert_eq!(store.inner.tenants.buffered().rows, 1, "only what is in no file is replayed");
    let snapshot = store.snapshot(&Tenant::default(), &Principal::default());
    assert_eq!(snapshot.catalogue().get("up").unwrap().label_names, ["job".into(), "n".into()]);
}

#[tokio::test(start_paused = true)]
async fn backfill_replaces_what_was_live_once() {
    let bench = Bench::new();
    let store = bench.open().await;
    let old = NOW - 10 * time::DAY_MS;
    write(&store, &[("m", "1")], &[(old, 1.0), (NOW, 1.0), (-5, 3.0)]).await;
    let buffered = store.inner.tenants.buffered();
    assert!(buffered.live_bytes > 0 && buffered.backfill_bytes > 0);
    store.flush().await.unwrap();
    write(&store, &[("m", "1")], &[(old, 2.0)]).await;
    let expected = [(-5, 3.0), (old, 2.0), (NOW, 1.0)];
    assert_eq!(read(&store, Vec::new()).await[0].1, expected);
    store.flush().await.unwrap();
    assert_eq!(read(&store, Vec::new()).await[0].1, expected);
    assert!(
        store.accepts(NOW + time::DAY_MS + 60_000).is_err() && store.accepts(time::OLDEST_MS - 1).is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn a_midnight_during_a_flush_changes_no_order() {
    let midnight = time::day_start(time::day_of(NOW) + 1);
    let clock = Clock::manual(midnight - 10_000);
    let remote = FaultyStore::new(1, clock);
    let bench = Bench { objects: remote.objects(), disk: Disk::simulated(1, clock), clock };
    let store = bench.open().await;
    // Live today, backfill tomorrow.
    let border = NOW - time::DAY_MS;
    write(&store, &[("m", "1")], &[(NOW, 1.0)]).await;
    remote.plan([RequestFault::Late(Duration::from_secs(40))]);
    let writes = async {
        clock.sleep(Duration::from_secs(1)).await;
        write(&store, &[("m", "1")], &[(border, 1.0)]).await;
        clock.sleep(Duration::from_secs(20)).await;
        write(&store, &[("m", "1")], &[(border, 2.0)]).await;
    };
    let (flushed, ()) = tokio::join!(store.flush(), writes);
    flushed.unwrap();
    for _ in 0..2 {
        assert_eq!(read(&store, Vec::new()).await[0].1, [(border, 2.0), (NOW, 1.0)], "the later value wins");
        store.flush().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_sleeps_in_a_flush_writes_its_files_again() {
    let clock = Clock::manual(NOW);
    let remote = FaultyStore::new(1, clock);
    let bench = Bench { objects: remote.objects(), disk: Disk::simulated(1, clock), clock };
    let store = bench.open().await;
    write(&store, &[("m", "1")], &[(NOW, 1.0)]).await;
    store.flush().await.unwrap();
    write(&store, &[("m", "1")], &[(NOW + 1, 2.0)]).await;
    // The first file is uploaded, the second takes a while, and the lid is closed.
    remote.plan([RequestFault::Works, RequestFault::Late(Duration::from_secs(30))]);
    let sleep = async {
        clock.sleep(Duration::from_secs(1)).await;
        tokio::time::advance(Duration::from_hours(30)).await;
    };
    let (flushed, ()) = tokio::join!(store.flush(), sleep);
    assert_eq!(flushed.unwrap_err().kind(), Kind::Timeout);
    clock.sleep(Duration::from_mins(2)).await;
    store.flush().await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let store = bench.open().await;
    assert_eq!(read(&store, Vec::new()).await[0].1, [(NOW, 1.0), (NOW + 1, 2.0)]);
}

#[tokio::test(start_paused = true)]
async fn tombstones_hide_rows_and_principals_see_their_part() {
    let bench = Bench::new();
    let store = bench.open().await;
    write(&store, &[("m", "1"), ("m", "2")], &[(NOW - 10, 1.0), (NOW, 2.0)]).await;
    let visible: Arc<[Matcher]> = Arc::from([Matcher::equal("n", "2")]);
    let principal = Principal { name: None, visible };
    let snapshot = store.snapshot(&Tenant::default(), &principal);
    assert_eq!(read_snapshot(&snapshot, Vec::new()).await.len(), 1);
    assert_eq!(snapshot.label_values("n", Vec::new(), 0, NOW).await.unwrap().len(), 1);
    let matchers = vec![Matcher::equal("n", "1")];
    store.bury(Tombstone { of: Buried::Series, matchers, from: NOW, to: NOW });
    store.bury(Tombstone { of: Buried::Lines, matchers: Vec::new(), from: 0, to: NOW });
    for _ in 0..2 {
        for (n, left) in [("1", 1), ("2", 2)] {
            assert_eq!(read(&store, vec![Matcher::equal("n", n)]).await[0].1.len(), left);
        }
        store.flush().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_unavailable_and_recovers() {
    let bench = Bench::new();
    let store = bench.open().await;
    write(&store, &[("m", "1")], &[(NOW, 1.0)]).await;
    let sim = bench.disk.sim().unwrap();
    sim.set_free_bytes(0);
    let tenant = Tenant::default();
    let handle = store
        .resolve(&tenant, "m", Labels::from_pairs([("job", "j"), ("n", "1")]).unwrap().as_ref())
        .unwrap();
    let batch = || Batch {
        series: vec![handle],
        timestamps: Timestamps::Shared(NOW + 1),
        values: vec![2.0],
        ..Batch::default()
    };
    let error = store.append(&tenant, batch()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert_eq!(read(&store, Vec::new()).await[0].1.len(), 1);
    sim.set_free_bytes(1 << 30);
    assert_eq!(store.append(&tenant, batch()).await.unwrap(), Appended::Stored);
    assert_eq!(read(&store, Vec::new()).await[0].1.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_day_of_flushes_stays_a_dozen_files_and_changes_nothing() {
    let bench = Bench::new();
    let store = bench.open().await;
    let tables = || store.inner.tenants.get(&Tenant::default()).unwrap().tables().unwrap();
    let mut most = 0;
    for flush in 0..60i32 {
        let time = NOW + i64::from(flush) * 10;
        // Every flush also rewrites one old row, so that files overlap and ranks decide.
        write(&store, &[("m", "1"), ("m", "2")], &[(time, f64::from(flush)), (NOW - 5, f64::from(flush))])
            .await;
        store.flush().await.unwrap();
        store.inner.merger.merge_tiers(&tables()).await.unwrap();
        most = most.max(tables().version(Table::Samples).files().len());
    }
    assert!(most <= 14, "{most} files at a time");
    let expected = read(&store, Vec::new()).await;
    assert_eq!(expected[0].1.len(), 61);
    assert_eq!(expected[0].1[0], (NOW - 5, 59.0));
    store.merge_day(&Tenant::default(), time::day_of(NOW)).await.unwrap();
    for table in Table::COMMIT_ORDER {
        assert!(tables().version(table).files().len() <= 1, "{table:?}");
    }
    assert_eq!(read(&store, Vec::new()).await, expected);
    assert_eq!(tables().version(Table::Series).rows(), 2, "one row per series and day");
    let mut collector = jobs::Collector::default();
    let ground = &store.inner.merger.ground;
    let early = collector.collect(ground, &tables(), store.inner.settings.gc_delay).await.unwrap();
    assert_eq!(early, 0, "readers may still use what was merged");
    let late = collector.collect(ground, &tables(), Duration::ZERO).await.unwrap();
    assert!(late > 100, "{late}");
    store.close().await.unwrap();
    drop(store);
    let store = bench.open().await;
    assert_eq!(read(&store, Vec::new()).await, expected);
}
