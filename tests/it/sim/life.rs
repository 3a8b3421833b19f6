//! What goes on in one life, all at once: writers and followers of files ([`super::writing`]), a keeper who flushes and
//! merges, a reader ([`super::reading`]), and the sky that moves the clock and breaks things.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use quipu::error::{Error, Kind};
use quipu::model::{Tenant, time};
use quipu::runtime::{Clock, Dice, Fault, Objects};
use quipu::store::Store;

use super::model::Row;
use super::reading::Held;
use super::tables;
use super::world::World;

pub(super) struct Life<'a> {
    pub(super) world: &'a World,
    pub(super) number: u64,
    pub(super) store: Store,
    objects: Objects,
    pub(super) clock: Clock,
    pub(super) tenant: Tenant,
    pub(super) held: RefCell<Option<Held>>,
    /// Nothing is broken just now.
    calm: Cell<bool>,
    /// The power goes in this life: nothing may be repaired.
    doomed: bool,
    /// Counts what may make any request fail for a good reason: jumps of the clock, changes of the weather.
    upheavals: Cell<u64>,
}

impl<'a> Life<'a> {
    pub(super) fn new(
        world: &'a World,
        number: u64,
        store: Store,
        objects: Objects,
        clock: Clock,
        doomed: bool,
    ) -> Self {
        let calm = Cell::new(!doomed && world.remote.is_none());
        let (held, tenant, upheavals) = (RefCell::default(), Tenant::default(), Cell::new(0));
        Self { world, number, store, objects, clock, tenant, held, calm, doomed, upheavals }
    }

    /// The life, until it is cut off or runs out.
    pub(super) async fn live(&self, dice: &mut Dice) {
        self.read_now("after the start").await;
        let mut dices = [(); 8].map(|()| Dice::new(dice.roll()));
        let [one, two, keeper, reader, sky, lines, file, other_file] = &mut dices;
        tokio::join!(
            self.write(0, one),
            self.write(1, two),
            self.write_lines([lines, file, other_file]),
            self.keep(keeper),
            self.look(reader),
            self.change(sky)
        );
        if dice.one_in(2) {
            drop(self.store.close().await);
        }
    }

    /// The end of a seed: everything goes into files, then into one file a day, then the rest is cleared away.
    pub(super) async fn end(&self) {
        self.calm.set(true);
        self.read_now("after the last start").await.expect("a sound store can be read");
        self.flush().await;
        self.read_now("after the last flush").await.expect("a sound store can be read");
        for day in self.days() {
            self.merge(day).await;
        }
        // What was merged and what nobody names is a day old, then what passed its retention meanwhile is an
        // hour old; no row's time is near five o'clock, so nothing passes it in the last two hours.
        let now = self.clock.now_ms();
        let five = time::day_start(time::day_of(now) + 3) + 5 * 3_600_000;
        for until in [now + 26 * 3_600_000, five, five + 2 * 3_600_000] {
            let step = until - self.clock.now_ms();
            tokio::time::advance(Duration::from_millis(step.unsigned_abs())).await;
            self.clock.sleep(Duration::from_secs(70)).await;
        }
        let (seen, _) = self.read_now("at the end").await.expect("a sound store can be read");
        let sent: BTreeSet<Row> = self.world.model.borrow().rows().copied().collect();
        tables::check(&self.objects, &seen, &sent).await;
    }

    pub(super) async fn pause(&self, dice: &mut Dice) {
        if dice.one_in(3) {
            self.clock.sleep(Duration::from_millis(dice.below(12))).await;
        } else {
            tokio::task::yield_now().await;
        }
    }

    /// Holds a failure of the store against what is broken: in peace there is none.
    pub(super) fn judge(&self, what: &str, before: (bool, u64), failed: Option<&Error>) {
        let Some(error) = failed else { return };
        let undisturbed = before.0 && before == self.peace();
        assert!(!undisturbed, "{what} failed although nothing is broken: {error:?}");
        let passes = matches!(error.kind(), Kind::Unavailable | Kind::Timeout | Kind::Io | Kind::Conflict);
        assert!(passes, "{what} failed with what no retry mends: {error:?}");
    }

    pub(super) fn peace(&self) -> (bool, u64) {
        (self.calm.get(), self.upheavals.get())
    }

    // --- keeping ---

    async fn keep(&self, dice: &mut Dice) {
        for _ in 0..2 + dice.below(4) {
            if dice.below(7) < 5 {
                self.flush().await;
            } else {
                let days: Vec<i32> = self.days().into_iter().collect();
                let many = u64::try_from(days.len()).expect("few days");
                let at = usize::try_from(dice.below(many)).expect("few days");
                if let Some(day) = days.get(at) {
                    self.merge(*day).await;
                }
            }
            self.pause(dice).await;
        }
    }

    fn days(&self) -> BTreeSet<i32> {
        let (model, files) = (self.world.model.borrow(), self.world.files.borrow());
        model.rows().map(|(_, at)| time::day_of(*at)).chain(files.days()).collect()
    }

    async fn flush(&self) {
        let peace = self.peace();
        let flushed = self.store.flush().await;
        self.judge("a flush", peace, flushed.as_ref().err());
        self.world.note(|| format!("flush: {:?}", flushed.as_ref().map_err(Error::to_string)));
        self.world.count(if flushed.is_ok() { "flushes" } else { "failed flushes" });
    }

    async fn merge(&self, day: i32) {
        let peace = self.peace();
        let merged = self.store.merge_day(&self.tenant, day).await;
        // A merge that the background job or the retention overtakes is refused, and that is right.
        let overtaken = merged.as_ref().is_err_and(|error| error.kind() == Kind::Conflict);
        if !overtaken {
            self.judge("a merge", peace, merged.as_ref().err());
        }
        self.world.note(|| format!("merge of {day}: {:?}", merged.as_ref().map_err(Error::to_string)));
        self.world.count(if merged.is_ok() { "merges" } else { "failed merges" });
    }

    // --- the sky ---

    async fn change(&self, dice: &mut Dice) {
        for _ in 0..2 + dice.below(4) {
            for _ in 0..dice.below(8) {
                self.pause(dice).await;
            }
            match dice.below(7) {
                0..=2 => self.let_time_pass(dice).await,
                3 => self.clock.sleep(Duration::from_secs(31)).await,
                4 => self.break_something(dice),
                _ => self.repair(),
            }
        }
    }

    async fn let_time_pass(&self, dice: &mut Dice) {
        let now = self.clock.now_ms();
        let midnight = time::day_start(time::day_of(now) + 1) - now;
        let to_midnight = Duration::from_millis(midnight.unsigned_abs());
        let step = match dice.below(7) {
            0 => Duration::from_secs(5),
            1 => Duration::from_mins(2),
            // Just before the next midnight, or across it.
            2 | 3 if midnight > 300_000 => to_midnight.saturating_sub(Duration::from_secs(200)),
            2 | 3 => to_midnight + Duration::from_millis(1),
            4 | 5 => Duration::from_mins(61),
            _ => Duration::from_hours(if dice.one_in(2) { 26 } else { 80 }),
        };
        self.upheavals.set(self.upheavals.get() + 1);
        tokio::time::advance(step).await;
        self.world.count("jumps of the clock");
        self.world.note(|| format!("clock at {}", self.clock.now_ms()));
    }

    fn break_something(&self, dice: &mut Dice) {
        let sim = self.world.disk.sim().expect("a simulated disk");
        self.upheavals.set(self.upheavals.get() + 1);
        self.calm.set(false);
        if self.world.remote.is_some() && dice.below(3) > 0 {
            let longest = if dice.one_in(8) { Duration::from_mins(15) } else { Duration::from_secs(20) };
            self.world.set_weather(if dice.one_in(2) { 40 } else { 200 }, longest);
            self.world.count("storms of the remote store");
        } else if dice.one_in(2) && !self.doomed {
            sim.set_fault(Some(Fault::FailOnce { nth: dice.below(12) }));
            self.world.count("disk operations that fail once");
        } else {
            sim.set_free_bytes(dice.below(6_000));
            self.world.count("full disks");
        }
        self.world.note(|| "something breaks".to_owned());
    }

    fn repair(&self) {
        let sim = self.world.disk.sim().expect("a simulated disk");
        self.upheavals.set(self.upheavals.get() + 1);
        sim.set_free_bytes(u64::MAX / 2);
        self.world.set_weather(0, Duration::ZERO);
        if !self.doomed {
            sim.set_fault(None);
            self.calm.set(true);
        }
        self.world.note(|| "all is well".to_owned());
    }
}
