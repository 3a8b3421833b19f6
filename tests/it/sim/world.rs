//! One seed's world: a disk and perhaps a remote store that outlive the lives, a clock that goes on, the model.
//!
//! A life has a runtime of its own. When it ends, by a cut at any await, at a fault point, by a power cut in a
//! disk operation or in peace, the runtime is dropped: every task is gone, wherever it was. Then the disk has
//! lost what was not synced, or, after a mere kill, nothing yet.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Duration;

use quipu::model::time;
use quipu::runtime::{
    Armed, Bug, Clock, Dice, Disk, Fault, FaultOdds, FaultPoint, Faults, FaultyStore, Lie, Objects,
    ObjectsOptions, Pools,
};
use quipu::store::{Store, StoreGround, StoreSettings};

use super::life::Life;
use super::model::Model;
use super::tailed::Files;
use super::tally::Tally;

/// Three minutes before a midnight: the class of a row depends on the day.
pub(super) const START: i64 = 20_834 * time::DAY_MS - 180_000;
const LIVES: u64 = 3;
pub(super) const DATA: &str = "/data";
pub(super) const WAL: &str = "/wal";

/// A bug that the simulator must find.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plant {
    /// In the disk, for everything under a folder.
    Disk(Lie, &'static str),
    /// In the store.
    Store(Bug),
}

pub(super) struct World {
    pub(super) disk: Disk,
    /// The object store, unless it is a folder of the disk.
    pub(super) remote: Option<FaultyStore>,
    pub(super) settings: StoreSettings,
    /// Histograms and exemplars are written, too.
    pub(super) has_extras: bool,
    /// Log lines are written, too, and files are followed.
    pub(super) has_lines: bool,
    pub(super) model: RefCell<Model>,
    /// The files of the host that are followed.
    pub(super) files: RefCell<Files>,
    pub(super) tally: RefCell<Tally>,
    /// What the next life's clock shows first.
    now: Cell<i64>,
    seed: u64,
    bug: Option<Bug>,
    verbose: bool,
}

/// How a life is meant to end. Whatever does not come to pass ends in peace.
#[derive(Debug, Clone, Copy)]
enum Plan {
    Cut { turns: u64 },
    Point(Armed),
    PowerCut { operation: u64 },
    Peace,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Cut,
    Point,
    /// The store did not open.
    NotOpened,
    Peace,
}

impl Plan {
    fn choose(dice: &mut Dice) -> Self {
        match dice.below(12) {
            0..=2 => Self::Cut { turns: 10 + dice.below(500) },
            3..=7 => {
                let points = u64::try_from(FaultPoint::ALL.len()).expect("a short list");
                let at = usize::try_from(dice.below(points)).expect("a short list");
                Self::Point(Armed { point: FaultPoint::ALL[at].0, visit: 1 + dice.below(3) })
            }
            8 | 9 => Self::PowerCut { operation: dice.below(250) },
            _ => Self::Peace,
        }
    }
}

impl World {
    fn new(seed: u64, plant: Option<Plant>, verbose: bool) -> Self {
        let clock = Clock::manual(START);
        let mut dice = Dice::new(seed);
        let disk = Disk::simulated(dice.roll(), clock);
        let mut bug = None;
        let mut lies_about_data = false;
        match plant {
            Some(Plant::Disk(lie, under)) => {
                disk.sim().expect("a simulated disk").set_lie(lie, Path::new(under));
                lies_about_data = under == DATA;
            }
            Some(Plant::Store(planted)) => bug = Some(planted),
            None => {}
        }
        let remote = (dice.below(5) < 2 && !lies_about_data).then(|| FaultyStore::new(dice.roll(), clock));
        // A world with everything takes twice as long as one with floats alone.
        let (mut has_extras, mut has_lines) = (dice.one_in(2), dice.one_in(2));
        if bug == Some(Bug::BackfillFirst) {
            // It takes many seeds, and floats show it as well as anything.
            (has_extras, has_lines) = (false, false);
        }
        let retention = dice.one_in(4).then(|| Duration::from_hours(12 * 24));
        let settings = StoreSettings {
            first_flush: Duration::from_mins(if dice.one_in(2) { 1 } else { 60 }),
            flush_interval: Duration::from_mins(if dice.one_in(2) { 10 } else { 120 }),
            backfill_interval: Duration::from_mins(150),
            wal_segment_bytes: 1_000,
            merge_interval: Duration::from_secs(30),
            gc_delay: Duration::from_hours(1),
            cache_bytes: if dice.one_in(2) { 0 } else { 1 << 20 },
            checkpoint_every: 4,
            retention,
            ..StoreSettings::default()
        };
        let (model, files, tally) = Default::default();
        let now = Cell::new(START);
        Self { disk, remote, settings, has_extras, has_lines, model, files, tally, now, seed, bug, verbose }
    }

    pub(super) fn count(&self, what: &'static str) {
        self.tally.borrow_mut().count(what);
    }

    /// Tells what happens, when one seed is looked at.
    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("  {}", what());
        }
    }

    /// What a life stands on.
    pub(super) async fn ground(&self, clock: Clock, faults: Faults) -> quipu::error::Result<StoreGround> {
        let pools = Pools::inline();
        let objects = match &self.remote {
            Some(remote) => remote.with_clock(clock).objects(),
            None => Objects::open(DATA, &ObjectsOptions::default(), &self.disk, &pools).await?,
        };
        Ok(StoreGround { objects, disk: self.disk.clone(), faults, ..StoreGround::in_memory(clock, pools) })
    }

    pub(super) async fn open(&self, ground: StoreGround) -> quipu::error::Result<Store> {
        Store::open(self.settings.clone(), ground, Path::new(WAL)).await
    }

    /// Makes the remote store as bad as this many errors in 1,000 requests.
    pub(super) fn set_weather(&self, errors: u64, longest: Duration) {
        if let Some(remote) = &self.remote {
            remote.set_odds(FaultOdds { fails: errors, loses_answer: errors, late: 2 * errors, longest });
        }
    }

    fn live(&self, number: u64) {
        let mut dice = Dice::new(self.seed.wrapping_mul(1_000_003).wrapping_add(number));
        let plan = Plan::choose(&mut dice);
        self.note(|| format!("life {number}: {plan:?}"));
        let faults = self.bug.map_or_else(Faults::halting, Faults::planting);
        let end = block_on(async {
            let clock = Clock::manual(self.now.get());
            self.disk.sim().expect("a simulated disk").set_clock(clock);
            let end = self.until_its_end(number, plan, clock, &faults, dice.clone()).await;
            self.now.set(clock.now_ms());
            end
        });
        self.note(|| format!("life {number} ended: {end:?}"));
        let mut tally = self.tally.borrow_mut();
        for (point, _) in FaultPoint::ALL {
            tally.visited(point, faults.visits(point));
        }
        if let (End::Point, Plan::Point(armed)) = (end, plan) {
            tally.crashed(armed.point);
        }
        tally.count(match end {
            End::Cut => "lives cut at an await",
            End::Point => "lives ended at a fault point",
            End::NotOpened => "lives whose store did not open",
            End::Peace => "lives that ran out",
        });
        let sim = self.disk.sim().expect("a simulated disk");
        sim.set_free_bytes(u64::MAX / 2);
        if dice.below(5) < 2 {
            tally.count("kills");
            sim.kill();
        } else {
            tally.count("power losses");
            sim.crash();
        }
    }

    async fn until_its_end(
        &self,
        number: u64,
        plan: Plan,
        clock: Clock,
        faults: &Faults,
        mut dice: Dice,
    ) -> End {
        if let Plan::Point(armed) = plan {
            faults.arm(Some(armed));
        }
        let errors = if dice.one_in(4) { 15 } else { 0 };
        self.set_weather(errors, Duration::from_secs(5));
        let turns = if let Plan::Cut { turns } = plan { turns } else { u64::MAX };
        let power_cut = if let Plan::PowerCut { operation } = plan { Some(operation) } else { None };
        let life = async {
            if let Some(nth) = power_cut.filter(|nth| *nth < 60) {
                self.cut_power(nth);
            }
            let Ok(ground) = self.ground(clock, faults.clone()).await else { return End::NotOpened };
            let objects = ground.objects.clone();
            let Ok(store) = self.open(ground).await else { return End::NotOpened };
            if let Some(nth) = power_cut.filter(|nth| *nth >= 60) {
                self.cut_power(nth);
            }
            let life = Life::new(self, number, store, objects, clock, power_cut.is_some());
            Box::pin(life.live(&mut dice)).await;
            End::Peace
        };
        tokio::select! {
            biased;
            () = faults.reached() => End::Point,
            () = pass(clock, turns) => End::Cut,
            end = Box::pin(life) => end,
        }
    }

    fn cut_power(&self, nth: u64) {
        self.count("power cuts in a disk operation");
        self.disk.sim().expect("a simulated disk").set_fault(Some(Fault::PowerCut { nth }));
    }

    /// The last life: everything works again, and all must be there, in files too.
    fn finish(&self) {
        self.set_weather(0, Duration::ZERO);
        block_on(async {
            let clock = Clock::manual(self.now.get());
            self.disk.sim().expect("a simulated disk").set_clock(clock);
            let faults = self.bug.map_or_else(Faults::halting, Faults::planting);
            let ground = self.ground(clock, faults).await.expect("the folder opens after any crash");
            let objects = ground.objects.clone();
            let store = self.open(ground).await;
            let store = store.unwrap_or_else(|e| panic!("the store does not open after a crash: {e:?}"));
            Box::pin(Life::new(self, LIVES, store, objects, clock, false).end()).await;
        });
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be built").block_on(future)
}

/// Lets turns of the scheduler go by; every fourth one lets the clock move, too.
async fn pass(clock: Clock, turns: u64) {
    if turns == u64::MAX {
        return std::future::pending().await;
    }
    for turn in 0..turns {
        if turn % 4 == 0 {
            clock.sleep(Duration::from_millis(1 << (turn % 11))).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// Runs one seed and panics when something does not hold.
pub(super) fn run(seed: u64, plant: Option<Plant>, verbose: bool) -> Tally {
    let world = World::new(seed, plant, verbose);
    world.count(if world.remote.is_some() { "seeds on a faulty remote store" } else { "seeds on the disk" });
    let before = super::planted::panics();
    for number in 0..LIVES {
        world.live(number);
    }
    world.finish();
    assert_eq!(super::planted::panics(), before, "a task of the store panicked");
    if let Some(remote) = &world.remote {
        let counts = remote.counts();
        let mut tally = world.tally.borrow_mut();
        tally.add("remote requests that failed", counts.failed);
        tally.add("remote answers that were lost", counts.lost_answers);
        tally.add("remote requests that were late", counts.late);
    }
    world.tally.into_inner()
}
