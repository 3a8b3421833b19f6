//! The simulator: the real store on a disk that forgets, an object store that fails, a clock that is moved by
//! hand, and crashes at any await.
//!
//! One seed is one world of several lives ([`world`]). In a life writers of samples ([`rows`]) and of log lines
//! ([`lines`]), followers of files ([`tailed`]), a keeper and a reader work at the same time ([`life`]) until it is
//! cut off: at any await, at a named fault point, or in a disk operation. What holds ([`model`]): every acknowledged
//! row is there once, with the value that was written last; a request is there whole or not at all; the lines of a
//! file are those before its position; nothing is there that was never sent; an open snapshot never changes; nothing
//! fails while nothing is broken; and at the end another reader finds the same in the files ([`tables`]). Bugs that
//! are planted on purpose are found ([`planted`]).
//!
//! The seed is printed with every failure. `QUIPU_SIM_SEEDS=N` runs more of them, `QUIPU_SIM_SEED=S` just one and
//! tells what happens. Not simulated: several threads, several processes, bad sectors.

mod life;
mod lines;
mod model;
mod planted;
mod reading;
mod rows;
mod tables;
mod tailed;
mod tally;
mod world;
mod writing;

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tally::Tally;
use world::run;

const SEEDS: u64 = 500;
const THREADS: usize = 2;
/// Fewer seeds than this may miss something.
const ENOUGH: u64 = 400;
/// What must have happened, and how often at least.
const FLOOR: u64 = 20;
const NEEDED: [&str; 25] = [
    "appends",
    "appends of log lines",
    "lines sent by two requests",
    "batches of followed files",
    "refused batches of followed files",
    "files deleted and begun anew",
    "histograms and floats of one time",
    "lines found by text",
    "refused appends",
    "requests sent again",
    "flushes",
    "failed flushes",
    "merges",
    "failed merges",
    "checked snapshots",
    "open snapshots read again",
    "jumps of the clock",
    "power cuts in a disk operation",
    "power losses",
    "kills",
    "lives cut at an await",
    "full disks",
    "remote requests that failed",
    "remote answers that were lost",
    "remote requests that were late",
];

fn setting(name: &str) -> Option<u64> {
    std::env::vars().find(|(key, _)| key == name).and_then(|(_, value)| value.parse().ok())
}

/// Runs seeds on all threads. A failure names its seed.
fn run_all(seeds: u64) -> Tally {
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Tally::default()));
    let failed = AtomicU64::new(u64::MAX);
    let work = || {
        while failed.load(Ordering::Relaxed) == u64::MAX {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            match catch_unwind(|| run(seed, None, false)) {
                Ok(tally) => sum.lock().expect("no holder of this lock panics").merge(&tally),
                Err(_) => failed.store(seed, Ordering::Relaxed),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner();
    assert_eq!(failed, u64::MAX, "QUIPU_SIM_SEED={failed} fails");
    sum.into_inner().expect("no holder of this lock panics")
}

#[test]
fn acknowledged_rows_survive_everything() {
    if let Some(seed) = setting("QUIPU_SIM_SEED") {
        eprintln!("{}", run(seed, None, true));
        return;
    }
    let seeds = setting("QUIPU_SIM_SEEDS").unwrap_or(SEEDS);
    let sum = run_all(seeds);
    eprintln!("{seeds} seeds:\n{sum}");
    if seeds >= ENOUGH {
        let missed = sum.missed_points();
        assert!(missed.is_empty(), "not visited, or no life ended there: {missed:?}");
        let rare: Vec<&str> = NEEDED.into_iter().filter(|what| sum.of(what) < FLOOR).collect();
        assert!(rare.is_empty(), "the simulator no longer reaches what it should: {rare:?}");
    }
}

#[test]
fn a_seed_is_one_story() {
    for seed in [3, 14] {
        assert_eq!(run(seed, None, false), run(seed, None, false), "seed {seed}");
    }
}
