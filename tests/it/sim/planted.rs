//! Bugs that are planted on purpose: a simulator that does not find them proves nothing.

use std::cell::{Cell, RefCell};
use std::panic::catch_unwind;
use std::sync::Once;

use quipu::model::Table;
use quipu::runtime::{Bug, Lie};

use super::world::{DATA, Plant, WAL, run};

/// Seeds within which each of them is found.
const WITHIN: u64 = 120;

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// The panics of this thread so far, those that a runtime caught included.
pub(super) fn panics() -> u64 {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            LAST.set(info.to_string());
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    PANICS.get()
}

/// Runs something that is meant to panic, without its noise.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    panics();
    QUIET.set(true);
    let done = work();
    QUIET.set(false);
    done
}

fn is_found(plant: Plant) {
    let found = quietly(|| (0..WITHIN).find(|seed| catch_unwind(|| run(*seed, Some(plant), false)).is_err()));
    let seed = found.unwrap_or_else(|| panic!("{plant:?} is not found within {WITHIN} seeds"));
    let text = LAST.take();
    let what: String = text.lines().skip(1).collect::<Vec<_>>().join(" ").chars().take(150).collect();
    eprintln!("{plant:?}: found by seed {seed}, seeds tried: {}: {what}", seed + 1);
}

#[test]
fn a_commit_before_the_fsync_of_its_file_is_found() {
    is_found(Plant::Disk(Lie::Files, DATA));
}

#[test]
fn a_commit_before_the_fsync_of_its_folder_is_found() {
    is_found(Plant::Disk(Lie::Folders, DATA));
}

#[test]
fn an_acknowledgement_before_the_fsync_of_the_wal_is_found() {
    is_found(Plant::Disk(Lie::Files, WAL));
    is_found(Plant::Disk(Lie::Folders, WAL));
}

#[test]
fn a_replay_from_the_wrong_sequence_is_found() {
    is_found(Plant::Store(Bug::ReplaySkipsOne));
}

#[test]
fn backfill_committed_before_the_live_buffer_is_found() {
    is_found(Plant::Store(Bug::BackfillFirst));
}

#[test]
fn a_replay_without_lines_or_histograms_or_exemplars_is_found() {
    for table in [Table::Logs, Table::Histograms, Table::Exemplars] {
        is_found(Plant::Store(Bug::ReplaySkips(table)));
    }
}

#[test]
fn a_position_before_its_lines_is_found() {
    is_found(Plant::Store(Bug::PositionFirst));
}

#[test]
fn a_merge_that_loses_a_file_of_histograms_is_found() {
    is_found(Plant::Store(Bug::MergeLosesHistograms));
}
