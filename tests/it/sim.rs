//! The simulator: the real store on a disk that forgets, a clock that is moved by hand, and crashes at any await.
//!
//! A *life* opens the store, writes, flushes, merges and reads until it is cut off: after a random number of
//! turns of the scheduler, or in the middle of a disk operation. The disk then loses a random part of what was
//! not synced. What holds in the next life: every acknowledged row is there once, with the value that was
//! written last; nothing is there that was never sent; and inside a life an open snapshot never changes.
//!
//! One seed is printed with every failure. `QUIPU_SIM_SEEDS=N` runs more of them, `QUIPU_SIM_SEED=S` just one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use quipu::model::{Batch, Labels, Principal, Tenant, Timestamps, time};
use quipu::runtime::{Clock, Disk, Fault, Objects, ObjectsOptions, Pools};
use quipu::store::{Appended, Snapshot, Store, StoreGround, StoreSettings};

const START: i64 = 1_800_000_000_000;
const SEEDS: u64 = 200;
const LIVES: u64 = 4;
const STEPS: u64 = 25;

/// `SplitMix64`: small, seeded, good enough to choose what happens next.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

type RowKey = (u64, i64);

/// What was sent: per row the values in the order of sending, and which of them is the last acknowledged one.
#[derive(Default)]
struct Model {
    sent: BTreeMap<RowKey, Vec<f64>>,
    acknowledged: BTreeMap<RowKey, usize>,
    next: u32,
}

impl Model {
    fn value(&mut self) -> f64 {
        self.next += 1;
        f64::from(self.next)
    }

    /// Holds what was read against what was sent.
    fn check(&self, read: &BTreeMap<RowKey, f64>, what: &str) {
        for (row, value) in read {
            let sent = self.sent.get(row).unwrap_or_else(|| panic!("{what}: {row:?} was never sent"));
            let position = sent.iter().rposition(|v| v.to_bits() == value.to_bits());
            let position = position.unwrap_or_else(|| panic!("{what}: {row:?} = {value} was never sent"));
            if let Some(least) = self.acknowledged.get(row) {
                assert!(position >= *least, "{what}: {row:?} went back to {value} from {sent:?}[{least}]");
            }
        }
        for row in self.acknowledged.keys() {
            assert!(read.contains_key(row), "{what}: acknowledged {row:?} is gone");
        }
    }
}

/// What happened over all seeds, to show that the simulator does something.
#[derive(Default, Debug)]
struct Tally {
    lives: u64,
    appends: u64,
    refused: u64,
    flushes: u64,
    failed_flushes: u64,
    merges: u64,
    checks: u64,
    power_cuts: u64,
    crashes_at_await: u64,
}

struct World {
    disk: Disk,
    clock: Clock,
    model: Model,
    dice: Dice,
    tally: Tally,
}

async fn open(world: &World) -> quipu::error::Result<Store> {
    let pools = Pools::inline();
    let objects = Objects::open("/data", &ObjectsOptions::default(), &world.disk, &pools).await?;
    let ground =
        StoreGround { objects, disk: world.disk.clone(), ..StoreGround::in_memory(world.clock, pools) };
    let settings = StoreSettings { wal_segment_bytes: 2_000, ..StoreSettings::default() };
    Store::open(settings, ground, Path::new("/wal")).await
}

async fn read(snapshot: &Snapshot) -> BTreeMap<RowKey, f64> {
    let selection = snapshot.select(Vec::new(), i64::MIN, i64::MAX).await.expect("a sound store can be read");
    let mut rows = BTreeMap::new();
    let mut reader = selection.scan(0..selection.series().len()).expect("a scan can be begun");
    while let Some(found) = reader.next().await.expect("a sound store can be read") {
        let labels = &selection.series()[found.index].key.labels;
        let series = labels.get("n").and_then(|n| n.parse().ok()).expect("every series has its number");
        for (time, value) in found.timestamps.iter().zip(found.values) {
            let twice = rows.insert((series, *time), *value);
            assert!(twice.is_none(), "series {series} has two rows at {time}");
        }
    }
    rows
}

async fn append(world: &mut World, store: &Store) {
    let tenant = Tenant::default();
    let mut batch = Batch {
        series: Vec::new(),
        timestamps: Timestamps::Each(Vec::new()),
        values: Vec::new(),
        metadata: Vec::new(),
    };
    let mut times = Vec::new();
    let mut rows = Vec::new();
    for _ in 0..=world.dice.below(6) {
        let series = world.dice.below(5);
        let base = if world.dice.below(4) == 0 { START - 9 * time::DAY_MS } else { START };
        let row = (series, base + world.dice.below(12).cast_signed() * 1_000);
        let number = series.to_string();
        let labels = Labels::from_pairs([("job", "sim"), ("n", number.as_str())]).expect("two good labels");
        batch.series.push(store.resolve(&tenant, "m", labels.as_ref()).expect("few series"));
        let value = world.model.value();
        batch.values.push(value);
        times.push(row.1);
        let sent = world.model.sent.entry(row).or_default();
        sent.push(value);
        rows.push((row, sent.len() - 1));
    }
    batch.timestamps = Timestamps::Each(times);
    match store.append(&tenant, batch).await {
        Ok(Appended::Stored) => {
            world.tally.appends += 1;
            world.model.acknowledged.extend(rows);
        }
        Ok(Appended::Resolve(rows)) => panic!("handles of {rows:?} were resolved a moment ago"),
        Err(_) => world.tally.refused += 1,
    }
}

async fn act(world: &mut World, store: &Store, held: &mut Option<(Snapshot, BTreeMap<RowKey, f64>)>) {
    match world.dice.below(10) {
        0..=4 => append(world, store).await,
        5 | 6 => match store.flush().await {
            Ok(()) => world.tally.flushes += 1,
            Err(_) => world.tally.failed_flushes += 1,
        },
        7 => {
            let day = time::day_of(START) - if world.dice.below(2) == 0 { 9 } else { 0 };
            world.tally.merges += u64::from(store.merge_day(&Tenant::default(), day).await.is_ok());
        }
        8 => {
            let snapshot = store.snapshot(&Tenant::default(), &Principal::default());
            let rows = read(&snapshot).await;
            world.model.check(&rows, "a snapshot");
            world.tally.checks += 1;
            *held = Some((snapshot, rows));
        }
        _ => {
            if let Some((snapshot, rows)) = held {
                assert_eq!(&read(snapshot).await, rows, "an open snapshot changed");
            }
        }
    }
}

/// One life; it may be dropped at any await.
async fn live(world: &mut World) {
    let Ok(store) = open(world).await else { return };
    let rows = read(&store.snapshot(&Tenant::default(), &Principal::default())).await;
    world.model.check(&rows, "after the start");
    world.tally.checks += 1;
    let mut held = None;
    if world.dice.below(3) == 0 {
        let nth = world.dice.below(120);
        world.disk.sim().expect("a simulated disk").set_fault(Some(Fault::PowerCut { nth }));
        world.tally.power_cuts += 1;
    }
    for _ in 0..STEPS {
        act(world, &store, &mut held).await;
    }
}

/// Lets turns of the scheduler go by; every fourth one lets the clock move, too.
async fn pass(clock: Clock, turns: u64) {
    for turn in 0..turns {
        if turn % 4 == 0 {
            clock.sleep(Duration::from_millis(1)).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

fn run(seed: u64) -> Tally {
    let clock = Clock::manual(START);
    let mut world = World {
        disk: Disk::simulated(seed, clock),
        clock,
        model: Model::default(),
        dice: Dice(seed),
        tally: Tally::default(),
    };
    for _ in 0..LIVES {
        world.tally.lives += 1;
        let turns = 20 + world.dice.below(900);
        // A runtime of its own: when it is dropped, every task of this life is gone, wherever it was.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let cut_off = runtime.expect("a runtime can be built").block_on(async {
            tokio::select! {
                biased;
                () = pass(clock, turns) => true,
                () = live(&mut world) => false,
            }
        });
        world.tally.crashes_at_await += u64::from(cut_off);
        world.disk.sim().expect("a simulated disk").crash();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be built").block_on(async {
        let store = open(&world).await.expect("the store opens after any crash");
        let rows = read(&store.snapshot(&Tenant::default(), &Principal::default())).await;
        world.model.check(&rows, "at the end");
    });
    world.tally
}

fn setting(name: &str) -> Option<u64> {
    std::env::vars().find(|(key, _)| key == name).and_then(|(_, value)| value.parse().ok())
}

#[test]
fn acknowledged_rows_survive_everything() {
    let seeds: BTreeSet<u64> = match setting("QUIPU_SIM_SEED") {
        Some(seed) => BTreeSet::from([seed]),
        None => (0..setting("QUIPU_SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let mut sum = Tally::default();
    for seed in &seeds {
        let outcome = std::panic::catch_unwind(|| run(*seed));
        let tally = outcome.unwrap_or_else(|_| panic!("QUIPU_SIM_SEED={seed} fails"));
        sum.lives += tally.lives;
        sum.appends += tally.appends;
        sum.refused += tally.refused;
        sum.flushes += tally.flushes;
        sum.failed_flushes += tally.failed_flushes;
        sum.merges += tally.merges;
        sum.checks += tally.checks;
        sum.power_cuts += tally.power_cuts;
        sum.crashes_at_await += tally.crashes_at_await;
    }
    eprintln!("{} seeds: {sum:?}", seeds.len());
    let enough = seeds.len() < 100
        || [sum.flushes, sum.failed_flushes, sum.merges, sum.refused, sum.crashes_at_await]
            .iter()
            .all(|n| *n > 50);
    assert!(enough, "the simulator no longer reaches what it should: {sum:?}");
}
