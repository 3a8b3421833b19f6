//! What goes on in one life, all at once: two writers, a keeper who flushes and merges, a reader, and the sky
//! that moves the clock and breaks things.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quipu::error::{Error, Kind};
use quipu::model::{
    Batch, Labels, METRIC_NAME, Matcher, MetricMetadata, MetricType, Principal, STALE_NAN, Tenant,
    Timestamps, time,
};
use quipu::runtime::{Clock, Dice, Fault, Objects};
use quipu::store::{Appended, Snapshot, Store};

use super::model::{Fate, Moment, Row, Rows};
use super::tables;
use super::world::{START, World};

const WRITERS: u64 = 2;
const SERIES_PER_WRITER: u64 = 3;
/// Rows of one series and day: few, so that they are overwritten often.
const SLOTS: u64 = 5;

/// A snapshot that somebody keeps open.
struct Held {
    snapshot: Snapshot,
    rows: Rows,
    taken_ms: i64,
}

pub(super) struct Life<'a> {
    world: &'a World,
    number: u64,
    store: Store,
    objects: Objects,
    clock: Clock,
    tenant: Tenant,
    held: RefCell<Option<Held>>,
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
        let mut dices = [(); 5].map(|()| Dice::new(dice.roll()));
        let [one, two, keeper, reader, sky] = &mut dices;
        tokio::join!(
            self.write(0, one),
            self.write(1, two),
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
        let (rows, _) = self.read_now("at the end").await.expect("a sound store can be read");
        let sent: BTreeSet<Row> = self.world.model.borrow().rows().copied().collect();
        tables::check(&self.objects, &rows, &sent).await;
    }

    async fn pause(&self, dice: &mut Dice) {
        if dice.one_in(3) {
            self.clock.sleep(Duration::from_millis(dice.below(12))).await;
        } else {
            tokio::task::yield_now().await;
        }
    }

    /// Holds a failure of the store against what is broken: in peace there is none.
    fn judge(&self, what: &str, before: (bool, u64), failed: Option<&Error>) {
        let Some(error) = failed else { return };
        let undisturbed = before.0 && before == self.peace();
        assert!(!undisturbed, "{what} failed although nothing is broken: {error:?}");
        let passes = matches!(error.kind(), Kind::Unavailable | Kind::Timeout | Kind::Io | Kind::Conflict);
        assert!(passes, "{what} failed with what no retry mends: {error:?}");
    }

    fn peace(&self) -> (bool, u64) {
        (self.calm.get(), self.upheavals.get())
    }

    // --- writing ---

    async fn write(&self, writer: u64, dice: &mut Dice) {
        for _ in 0..3 + dice.below(6) {
            self.request(writer, dice).await;
            self.pause(dice).await;
        }
    }

    /// A new request, or the last one again, as a client does that got no answer.
    async fn request(&self, writer: u64, dice: &mut Dice) {
        let last = self.world.model.borrow().last_of(writer);
        let again = match last {
            Some((id, Fate::Stored)) => dice.one_in(8).then_some(id),
            Some((id, _)) => dice.one_in(2).then_some(id),
            None => None,
        };
        let (id, rows) = match again {
            Some(id) => {
                self.world.count("requests sent again");
                let rows = self.world.model.borrow_mut().send_again(id, self.number);
                (id, rows.into_iter().collect())
            }
            None => self.new_request(writer, dice),
        };
        let metadata = if dice.one_in(6) { vec![self.metadata()] } else { Vec::new() };
        let peace = self.peace();
        let answer = self.append(&rows, metadata, dice).await;
        self.judge("an append", peace, answer.as_ref().err());
        self.world.note(|| format!("append #{id} {rows:?}: {:?}", answer.as_ref().map_err(Error::to_string)));
        match answer {
            Ok(()) => {
                self.world.count("appends");
                self.world.model.borrow_mut().acknowledge(id);
            }
            Err(_) => {
                self.world.count("refused appends");
                self.world.model.borrow_mut().refuse(id);
            }
        }
    }

    fn new_request(&self, writer: u64, dice: &mut Dice) -> (usize, Vec<(Row, u64)>) {
        let mut model = self.world.model.borrow_mut();
        let shared = dice.one_in(3).then(|| self.time(dice));
        let mut rows = Vec::new();
        for _ in 0..=dice.below(6) {
            let series = writer + WRITERS * dice.below(SERIES_PER_WRITER);
            let at = shared.unwrap_or_else(|| self.time(dice));
            let value = if dice.one_in(12) { f64::from_bits(STALE_NAN) } else { model.value() };
            rows.push(((series, at), value.to_bits()));
        }
        // Of a row sent twice in one request the later one wins.
        let id = model.send(writer, rows.iter().copied().collect(), self.number);
        (id, rows)
    }

    /// A time: today, one of the days at the border between live and backfill, or long ago.
    fn time(&self, dice: &mut Dice) -> i64 {
        let today = time::day_of(self.clock.now_ms());
        let day = match dice.below(8) {
            0 | 1 => today,
            2..=4 => today - 1,
            5 | 6 => today - 2,
            _ => time::day_of(START) - 9,
        };
        time::day_start(day) + dice.below(SLOTS).cast_signed() * 15_000
    }

    fn metadata(&self) -> MetricMetadata {
        let help = format!("help of life {}", self.number);
        MetricMetadata { metric: "m".into(), kind: MetricType::Gauge, help: help.into(), unit: "".into() }
    }

    async fn append(
        &self,
        rows: &[(Row, u64)],
        metadata: Vec<MetricMetadata>,
        dice: &mut Dice,
    ) -> quipu::error::Result<()> {
        for _ in 0..10 {
            let mut series = Vec::new();
            for ((number, _), _) in rows {
                let n = number.to_string();
                let labels = Labels::from_pairs([("job", "sim"), ("n", n.as_str())])?;
                series.push(self.store.resolve(&self.tenant, metric(*number), labels.as_ref())?);
            }
            let first = rows[0].0.1;
            let shared = rows.iter().all(|((_, at), _)| *at == first) && dice.one_in(2);
            let each = || Timestamps::Each(rows.iter().map(|((_, at), _)| *at).collect());
            let timestamps = if shared { Timestamps::Shared(first) } else { each() };
            let values = rows.iter().map(|(_, bits)| f64::from_bits(*bits)).collect();
            let batch = Batch { series, timestamps, values, metadata: metadata.clone(), ..Batch::default() };
            match self.store.append(&self.tenant, batch).await? {
                Appended::Stored => return Ok(()),
                Appended::Resolve(_) => self.world.count("stale handles"),
            }
        }
        panic!("ten times in a row handles were stale that had just been resolved");
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
        self.world.model.borrow().rows().map(|(_, at)| time::day_of(*at)).collect()
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

    // --- reading ---

    async fn look(&self, dice: &mut Dice) {
        for _ in 0..2 + dice.below(4) {
            if dice.one_in(2) {
                let found = self.read_now("a snapshot").await;
                if let Some((rows, snapshot)) = found.filter(|_| dice.one_in(2)) {
                    let held = Held { snapshot, rows, taken_ms: self.clock.now_ms() };
                    *self.held.borrow_mut() = Some(held);
                }
            } else {
                self.read_held().await;
            }
            self.pause(dice).await;
            self.pause(dice).await;
        }
    }

    fn moment(&self) -> Moment {
        let kept_from = self.kept_from();
        self.world.model.borrow().moment(kept_from, self.number)
    }

    /// The first ms that retention has not reached.
    fn kept_from(&self) -> i64 {
        let kept = self.world.settings.retention.and_then(|kept| i64::try_from(kept.as_millis()).ok());
        kept.map_or(i64::MIN, |kept| self.clock.now_ms() - kept)
    }

    /// Takes a snapshot, reads it and holds it against what was sent.
    async fn read_now(&self, what: &str) -> Option<(Rows, Snapshot)> {
        let mut moment = self.moment();
        let (taken, peace) = (self.clock.now_ms(), self.peace());
        let snapshot = self.store.snapshot(&self.tenant, &Principal::default());
        match read(&snapshot, Vec::new()).await {
            Ok(rows) => {
                moment.kept_from = self.kept_from();
                self.world.model.borrow_mut().check(&rows, &moment, what);
                self.world.count("checked snapshots");
                Self::check_catalogue(&snapshot, &rows);
                self.check_one_series(&snapshot, &rows).await;
                Some((rows, snapshot))
            }
            Err(error) => {
                self.unread(what, taken, peace, &error);
                None
            }
        }
    }

    async fn read_held(&self) {
        let Some(Held { snapshot, rows, taken_ms }) = self.held.borrow_mut().take() else { return };
        let peace = self.peace();
        match read(&snapshot, Vec::new()).await {
            Ok(again) => {
                assert_eq!(again, rows, "an open snapshot changed");
                self.world.count("open snapshots read again");
            }
            Err(error) => self.unread("an open snapshot", taken_ms, peace, &error),
        }
        let mut held = self.held.borrow_mut();
        if held.is_none() {
            *held = Some(Held { snapshot, rows, taken_ms });
        }
    }

    /// A read may fail because a remote store does, or because its files were deleted long after it began.
    fn unread(&self, what: &str, taken_ms: i64, peace: (bool, u64), error: &Error) {
        let delay = i64::try_from(self.world.settings.gc_delay.as_millis()).expect("an hour");
        let late = self.clock.now_ms() - taken_ms >= delay;
        if late && error.kind() == Kind::NotFound {
            self.world.count("snapshots that outlived their files");
            return;
        }
        let remote = self.world.remote.is_some() && error.kind() == Kind::Unavailable;
        let excused = remote && !(peace.0 && peace == self.peace());
        assert!(excused, "{what} cannot be read: {error:?}");
        self.world.count("reads without an answer");
    }

    /// Whoever has rows is in the catalogue with its labels.
    fn check_catalogue(snapshot: &Snapshot, rows: &Rows) {
        for (series, _) in rows.keys() {
            let entry = snapshot.catalogue().get(metric(*series));
            let names = entry.map(|entry| entry.label_names.iter().map(Arc::as_ref).collect::<Vec<_>>());
            assert_eq!(names, Some(vec!["job", "n"]), "the catalogue does not know series {series}");
        }
    }

    /// Matchers find what a full scan finds.
    async fn check_one_series(&self, snapshot: &Snapshot, rows: &Rows) {
        let Some((series, _)) = rows.keys().next_back().copied() else { return };
        let n = series.to_string();
        let matchers = vec![Matcher::equal(METRIC_NAME, metric(series)), Matcher::equal("n", n.as_str())];
        // A store that does not answer has been judged by the full scan.
        if let Ok(found) = read(snapshot, matchers).await {
            let of_series = rows.iter().filter(|(row, _)| row.0 == series);
            let expected: Rows = of_series.map(|(row, bits)| (*row, *bits)).collect();
            assert_eq!(found, expected, "series {series} by its labels");
        }
    }
}

fn metric(series: u64) -> &'static str {
    if series.is_multiple_of(3) { "k" } else { "m" }
}

/// Every row of a snapshot, stale markers with their bits. Panics when a row is there twice.
async fn read(snapshot: &Snapshot, matchers: Vec<Matcher>) -> quipu::error::Result<Rows> {
    let selection = snapshot.select(matchers, i64::MIN, i64::MAX).await?;
    let mut rows = Rows::new();
    let mut keys = BTreeSet::new();
    let mut reader = selection.scan(0..selection.series().len())?;
    while let Some(found) = reader.next().await? {
        let key = &selection.series()[found.index].key;
        let series = key.labels.get("n").and_then(|n| n.parse().ok()).expect("every series has its number");
        assert_eq!(&*key.metric, metric(series), "a series with the name of another");
        assert!(keys.insert(series), "series {series} is selected twice");
        let samples = found.timestamps.iter().zip(found.values).map(|(at, value)| (*at, value.to_bits()));
        let stale = found.stale_at.iter().map(|at| (*at, STALE_NAN));
        for (at, bits) in samples.chain(stale) {
            let twice = rows.insert((series, at), bits);
            assert!(twice.is_none(), "series {series} has two rows at {at}");
        }
    }
    Ok(rows)
}
