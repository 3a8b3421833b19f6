//! What is acknowledged stays: the real binary against SIGKILL, aborts at fault points, torn WAL tails, a full
//! disk and an object store that errs.
//!
//! ```text
//!   targets (an HTTP server in the test) ◀─ scrapes ─┐
//!   senders (know every request's fate) ─ writes ──▶ quipu ─▶ files, or S3 behind a faulty proxy
//!   check: PromQL sample by sample, SQL, rows in the log ◀─┘
//! ```
//! In the kill loop a *life* is one process: it is started, scrapes at once, is held against everything sent before,
//! is written to, flushed and merged without pause, and ends at a fault point or at a random moment. Every choice
//! comes from one printed seed (`QUIPU_KILL_SEED`); what the threads of two processes make of it does not.
//! `QUIPU_KILL_ROUNDS` sets the number of kills.

mod check;
mod full_disk;
mod load;
mod logs;
mod proxy;
mod s3;
mod tail;
mod targets;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quipu::runtime::{Clock, Dice, Disk, Objects, ObjectsOptions, Pools, Shutdown};
use tokio::task::JoinHandle;

use self::load::{Habit, REQUEST_EXTRAS, REQUEST_ROWS, Sender, Server};
use self::logs::{Program, Shipper};
use self::targets::Targets;
use crate::peers::Quipu;

/// Kills of the loop.
const ROUNDS: u64 = 52;
/// From here on the loop must reach every point, often enough.
const FULL_ROUNDS: u64 = 50;
/// Lives on top of the planned ones, for points that were not reached.
const MORE_ROUNDS: u64 = 15;
/// Kills inside each of flush, commit and merge.
const LEAST: u64 = 5;
/// Samples per second of scrapes and remote write together, over all lives.
const LEAST_RATE: u64 = 5_000;
/// Each sender writes 400 samples in so much time.
const PERIOD: Duration = Duration::from_millis(160);
const FLUSH_PAUSE: Duration = Duration::from_millis(200);
/// Requests of earlier lives that each check reads again one by one; their sum is checked in any case.
const LOOK_BACK: usize = 10;
/// A life that has not reached its point by then is killed.
const PATIENCE: Duration = Duration::from_secs(12);

/// The points of the plan, and how often each is armed. `collect.delete` and `checkpoint.begun` need files and
/// commits of earlier lives; they are armed when there are enough.
const PLAN: [(&str, u64); 11] = [
    ("append.logged", 2),
    ("flush.frozen", 2),
    ("flush.file", 2),
    ("flush.table", 2),
    ("flush.committed", 2),
    ("commit.begun", 3),
    ("commit.written", 3),
    ("wal.release", 2),
    ("merge.read", 2),
    ("merge.file", 2),
    ("merge.committed", 2),
];

/// Jobs of their own accord: late where a point is armed, so that the life is checked before it ends.
const EAGER: &str = "first_flush: 2s, merge_interval: 1s";
const LATE: &str = "first_flush: 5s, merge_interval: 2500ms";

fn shuffle<T>(dice: &mut Dice, all: &mut [T]) {
    for at in (1..all.len()).rev() {
        let other = dice.below(at as u64 + 1);
        all.swap(at, usize::try_from(other).expect("an index"));
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::vars().find(|(key, _)| key == name).and_then(|(_, value)| value.parse().ok())
}

/// The seed of this run, printed.
fn seed(test: &str, clock: Clock) -> Dice {
    let seed = setting("QUIPU_KILL_SEED").unwrap_or_else(|| clock.now_ms().unsigned_abs() % 1_000_000);
    eprintln!("{test}: QUIPU_KILL_SEED={seed}");
    Dice::new(seed)
}

/// A temporary folder; when the test fails, the end of quipu's log is shown.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the end of the log:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// How a life shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By itself, at a visit of a point.
    Point(&'static str, u64),
    /// By SIGKILL, so long after it was checked.
    Random(Duration),
}

/// Numbers of the whole loop.
#[derive(Default)]
struct Tally {
    lives: u64,
    /// Aborts by point.
    at: BTreeMap<&'static str, u64>,
    random: u64,
    while_starting: u64,
    checks: u64,
    load: Vec<Load>,
}

/// What a life was given to do. It scrapes from its start on; what is pushed comes after its check.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    pushed: u64,
    push_ms: i64,
    scraped: u64,
    life_ms: i64,
}

impl Load {
    /// Samples per second.
    fn rate(self) -> u64 {
        let per_second = |rows: u64, ms: i64| rows * 1_000 / ms.unsigned_abs().max(1);
        per_second(self.pushed, self.push_ms) + per_second(self.scraped, self.life_ms)
    }
}

impl Tally {
    fn inside(&self, room: &str) -> u64 {
        let points = self.at.iter().filter(|(name, _)| name.starts_with(room));
        points.map(|(_, count)| count).sum()
    }

    /// Samples per second: least, middle, over everything.
    fn rates(&self) -> (u64, u64, u64) {
        let mut rates: Vec<u64> = self.load.iter().map(|load| load.rate()).collect();
        rates.sort_unstable();
        let all = self.load.iter().fold(Load::default(), |sum, one| Load {
            pushed: sum.pushed + one.pushed,
            push_ms: sum.push_ms + one.push_ms,
            scraped: sum.scraped + one.scraped,
            life_ms: sum.life_ms + one.life_ms,
        });
        (rates.first().copied().unwrap_or(0), rates[rates.len() / 2], all.rate())
    }
}

/// What outlives the processes.
struct World {
    folder: Folder,
    clock: Clock,
    dice: Dice,
    begun_ms: i64,
    targets: Arc<Targets>,
    senders: Vec<Arc<Sender>>,
    shipper: Arc<Shipper>,
    program: Arc<Program>,
    /// Pushes of the shipper that were sent up to the end of the life before the last.
    shipped: usize,
    /// Requests of each sender that were sent up to the end of the life before the last.
    settled: Vec<usize>,
    /// The last life ended before it was checked.
    unchecked: bool,
    tally: Tally,
}

impl World {
    async fn new() -> Self {
        let clock = Clock::real();
        let begun_ms = clock.now_ms();
        let habits =
            [Habit::default(), Habit { old: true, resends: false }, Habit { old: false, resends: true }];
        let senders: Vec<_> =
            habits.iter().zip(0..).map(|(habit, n)| Sender::new(n, begun_ms, *habit)).collect();
        let folder = Folder::new();
        Self {
            program: Program::new(folder.path()),
            shipper: Shipper::new(begun_ms),
            shipped: 0,
            folder,
            clock,
            dice: seed("kill loop", clock),
            begun_ms,
            targets: Targets::start().await,
            settled: vec![0; senders.len()],
            senders,
            unchecked: false,
            tally: Tally::default(),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn spawn(&self, scrapes: bool, pace: &str, flags: &[String]) -> Quipu {
        let job = |n| {
            let address = &self.targets.address;
            format!("{{job_name: t{n}, metrics_path: /{n}, static_configs: [{{targets: ['{address}']}}]}}")
        };
        let jobs: Vec<String> = (0..targets::TARGETS).filter(|_| scrapes).map(job).collect();
        let config = format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\n\
             scrape_configs: [{}]\n\
             quipu: {{store: {{{pace}, flush_interval: 1s, backfill_interval: 5s, wal_segment_size: 1MB, \
             gc_delay: 15s}}, logs: {{own_log: false}}, {}}}\n",
            jobs.join(", "),
            self.program.setting()
        );
        Quipu::spawn(self.folder.path(), &config, &self.data().display().to_string(), flags)
    }

    fn end(&mut self, point: &'static str) -> End {
        // The first visit that may be chosen, so that most lives are checked before they end, and how many.
        let (first, visits) = match point {
            "append.logged" => (40, 60),
            "flush.file" | "flush.table" => (1, 14),
            "commit.begun" | "commit.written" => (1, 20),
            "flush.frozen" | "flush.committed" | "wal.release" => (1, 4),
            "merge.read" | "merge.file" | "merge.committed" => (1, 2),
            _ => (1, 1),
        };
        End::Point(point, first + self.dice.below(visits))
    }

    /// The points of the next lives in random order; `None` is a SIGKILL at a random time.
    fn plan(&mut self, rounds: u64) -> Vec<Option<&'static str>> {
        let mut plan: Vec<Option<&str>> = Vec::new();
        for (point, times) in PLAN {
            plan.extend((0..times).map(|_| Some(point)));
        }
        shuffle(&mut self.dice, &mut plan);
        let rounds = usize::try_from(rounds).expect("a number of lives");
        plan.truncate(rounds);
        plan.resize(rounds, None);
        shuffle(&mut self.dice, &mut plan);
        plan
    }

    /// A point that was not reached often enough yet.
    fn missing(&self) -> Option<&'static str> {
        let reached = |point: &str| self.tally.at.get(point).copied().unwrap_or(0);
        let never = PLAN.iter().map(|(point, _)| *point).chain(["collect.delete", "checkpoint.begun"]);
        let short = [("flush.", "flush.file"), ("commit.", "commit.written"), ("merge.", "merge.committed")];
        let short = short.into_iter().find(|(room, _)| self.tally.inside(room) < LEAST);
        never.into_iter().find(|point| reached(point) == 0).or_else(|| short.map(|(_, point)| point))
    }

    /// A point that only now can be reached, instead of a random kill.
    fn occasion(&self) -> Option<&'static str> {
        let reached = |point: &str| self.tally.at.get(point).copied().unwrap_or(0);
        if reached("checkpoint.begun") < 2 && commits_since_checkpoint(&self.data()) >= 85 {
            return Some("checkpoint.begun");
        }
        (reached("collect.delete") < 2 && self.tally.lives > 20).then_some("collect.delete")
    }

    /// One process, from start to end.
    async fn live(&mut self, end: End) {
        let (pace, flags) = match end {
            End::Point(name, visit) => (LATE, vec![format!("--fault-point={name}:{visit}")]),
            End::Random(_) => (EAGER, Vec::new()),
        };
        self.program.write_some(3);
        let from_ms = self.clock.now_ms();
        let mut quipu = self.spawn(true, pace, &flags);
        assert!(quipu.is_ready().await, "it ended by itself while it started: {:?}", quipu.kill());
        let start_ms = self.clock.now_ms() - from_ms;
        let server = Server::of(&quipu);
        for sender in &self.senders {
            sender.resend(&server).await;
        }
        let sent: Vec<usize> = self.senders.iter().map(|sender| sender.sent()).collect();
        let shipped = self.shipper.sent();
        self.unchecked = self.check(&quipu, &sent, shipped).await.is_none();
        let check_ms = self.clock.now_ms() - from_ms - start_ms;
        let before = self.acknowledged();
        let stop = Shutdown::new();
        let mut load: Vec<JoinHandle<()>> = Vec::new();
        for sender in &self.senders {
            let run = Arc::clone(sender).run(server.clone(), stop.clone(), PERIOD);
            load.push(Pools::current().spawn_io(run));
        }
        load.push(Pools::current().spawn_io(Arc::clone(&self.shipper).run(server.clone(), stop.clone())));
        load.push(Pools::current().spawn_io(Arc::clone(&self.program).run(server.clone(), stop.clone())));
        load.push(Pools::current().spawn_io(keep_flushing(server, stop.clone())));
        let wait = if let End::Random(wait) = end { wait } else { PATIENCE };
        self.wait_for_end(&mut quipu, wait).await;
        let status = quipu.kill();
        let life_ms = self.clock.now_ms() - from_ms - start_ms;
        self.targets.end_life(from_ms, self.clock.now_ms());
        stop.stop();
        for task in load {
            task.await.expect("the load does not panic");
        }
        let pushed = (self.acknowledged() - before) * REQUEST_ROWS;
        let push_ms = life_ms - check_ms;
        self.tally.load.push(Load { pushed, push_ms, scraped: 0, life_ms });
        if !self.unchecked {
            (self.settled, self.shipped) = (sent, shipped);
            self.tally.checks += 1;
        }
        match (end, status.signal()) {
            (End::Point(name, _), Some(6)) => *self.tally.at.entry(name).or_default() += 1,
            (_, Some(9)) => self.tally.random += 1,
            (end, _) => panic!("{end:?} became {status}"),
        }
        self.tally.lives += 1;
        let looked = if self.unchecked { "not checked" } else { "checked" };
        eprintln!("{end:?}: {status}, {looked}; start {start_ms} ms, check {check_ms} ms, load {push_ms} ms");
    }

    fn acknowledged(&self) -> u64 {
        self.senders.iter().map(|sender| sender.counts().acknowledged).sum()
    }

    async fn wait_for_end(&self, quipu: &mut Quipu, patience: Duration) {
        let begun = self.clock.monotonic();
        while quipu.ended().is_none() && self.clock.monotonic().saturating_sub(begun) < patience {
            self.clock.sleep(Duration::from_millis(10)).await;
        }
    }

    /// Holds everything that was sent in earlier lives against what is there. `None` when the process ended
    /// meanwhile; the next life looks again.
    async fn check(&mut self, quipu: &Quipu, sent: &[usize], shipped: usize) -> Option<()> {
        let found = check::scraped(quipu, &self.targets).await?;
        if let Some(last) = self.tally.load.last_mut() {
            last.scraped += found;
        }
        check::scraped_total(quipu, &self.targets, self.begun_ms).await?;
        for (sender, (sent, settled)) in self.senders.iter().zip(sent.iter().zip(&self.settled)) {
            check::pushed(quipu, sender, *settled..*sent).await?;
            // Another part of what was good before: flush and merge wrote it again since.
            let len = (*settled).min(LOOK_BACK);
            let from = self.dice.below((*settled - len) as u64 + 1);
            let from = usize::try_from(from).expect("a number of requests");
            check::pushed(quipu, sender, from..from + len).await?;
            check::pushed_total(quipu, sender, *sent).await?;
        }
        let sql = logs::connect(quipu).await?;
        self.shipper.check(&sql, self.shipped..shipped).await?;
        self.program.check_none_twice(&sql).await
    }

    /// Kills a process that is on its way up: recovery must stand that as well.
    async fn kill_while_starting(&mut self) {
        let wait = 20 + self.dice.below(400);
        let mut quipu = self.spawn(false, EAGER, &[]);
        self.clock.sleep(Duration::from_millis(wait)).await;
        let status = quipu.kill();
        assert_eq!(status.signal(), Some(9), "it ended by itself while it started");
        self.tally.while_starting += 1;
    }

    /// Everything once more, after the last kill and after a last flush; then the rows in the files.
    async fn check_all(&mut self) {
        let mut quipu = self.spawn(false, EAGER, &[]);
        assert!(quipu.is_ready().await, "it ended by itself while it started");
        let sent: Vec<usize> = self.senders.iter().map(|sender| sender.sent()).collect();
        self.settled = vec![0; sent.len()];
        let shipped = self.shipper.sent();
        self.check(&quipu, &sent, shipped).await.expect("nobody kills it");
        logs::check_all(&quipu, &self.shipper, &self.program).await;
        let mut expected = BTreeMap::from([("pushed".to_owned(), 0), ("scraped".to_owned(), 0)]);
        let mut resent = 0;
        for sender in &self.senders {
            *expected.entry("pushed".to_owned()).or_default() += sender.stored(sender.sent()).0;
            resent += sender.counts().resent * REQUEST_ROWS;
        }
        let reports = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];
        let reports =
            reports.into_iter().chain(["scrape_samples_post_metric_relabeling", "scrape_series_added"]);
        for target in 0..targets::TARGETS {
            let stored = self.targets.stored(target);
            *expected.entry("scraped".to_owned()).or_default() += stored.rows;
            for report in reports.clone() {
                *expected.entry(report.to_owned()).or_default() += stored.ups;
            }
        }
        assert_eq!(check::sql(&quipu).await, expected, "after the last kill");
        assert_eq!(quipu.post("/-/flush").await, 200);
        assert_eq!(check::sql(&quipu).await, expected, "after the last flush");
        logs::check_all(&quipu, &self.shipper, &self.program).await;
        merge_all(&quipu).await;
        assert_eq!(check::sql(&quipu).await, expected, "after the last merge");
        logs::check_all(&quipu, &self.shipper, &self.program).await;
        quipu.stop().await;
        let data = self.data().display().to_string();
        let objects =
            Objects::open(&data, &ObjectsOptions::default(), &Disk::real(), &Pools::current()).await;
        let objects = objects.expect("the folder is there");
        let in_files = check::rows_in_files(&objects, "samples").await;
        assert_eq!(in_files, expected.values().sum::<u64>(), "rows in files after everything was merged");
        let requests = self.senders.iter().map(|sender| sender.stored_histograms(sender.sent()).0);
        let extras = requests.sum::<u64>() * REQUEST_EXTRAS;
        for table in ["histograms", "exemplars"] {
            assert_eq!(check::rows_in_files(&objects, table).await, extras, "{table} in files");
        }
        let (pushed, scraped) = (expected["pushed"], expected["scraped"]);
        eprintln!(
            "{pushed} samples pushed ({resent} sent again), {extras} histograms and exemplars each, \
             {scraped} scraped, {in_files} rows in files"
        );
    }

    fn report(&self) {
        let Tally { lives, at, random, while_starting, checks, load: _ } = &self.tally;
        let at_points: u64 = at.values().sum();
        let (least, middle, all) = self.tally.rates();
        let failed: u64 = (0..targets::TARGETS).map(|target| self.targets.stored(target).failed).sum();
        eprintln!(
            "kill loop: {lives} kills under load, {random} at random times, {at_points} at points {at:?}; \
             in a flush {}, a commit {}, a merge {}; {while_starting} more while starting; {checks} checks; \
             samples/s least {least}, middle {middle}, all {all}; {failed} scrapes failed",
            self.tally.inside("flush."),
            self.tally.inside("commit."),
            self.tally.inside("merge."),
        );
    }
}

/// Flushes one after the other, until it is stopped or the server is gone.
async fn keep_flushing(server: Server, stop: Shutdown) {
    while !stop.is_stopped() {
        let Ok(answer) = server.client.post(format!("{}/-/flush", server.http)).send().await else { return };
        assert_eq!(answer.status().as_u16(), 200, "a flush failed");
        server.clock.sleep(FLUSH_PAUSE).await;
    }
}

/// Makes one file of all files of a day: what was sent twice is there once then. The merge job may be at it, too.
async fn merge_all(quipu: &Quipu) {
    let merged = || async { quipu.post("/api/v1/admin/tsdb/merge").await == 204 };
    quipu.wait_for("everything was merged", merged).await;
}

/// Commits since the last checkpoint in the table that has most.
fn commits_since_checkpoint(data: &Path) -> u64 {
    let tables = ["metadata", "series", "staleness", "samples", "histograms", "exemplars", "logs"];
    let since = |table: &str| {
        let log = std::fs::read_dir(data.join("default").join(table).join("_delta_log")).ok()?;
        let names = log.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let (mut newest, mut checkpoint) = (0, 0);
        for name in names {
            let Some(number) = name.get(..20).and_then(|digits| digits.parse::<u64>().ok()) else { continue };
            newest = newest.max(number);
            if name.contains("checkpoint") {
                checkpoint = checkpoint.max(number);
            }
        }
        Some(newest - checkpoint)
    };
    tables.into_iter().filter_map(since).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kills() {
    let rounds = setting("QUIPU_KILL_ROUNDS").unwrap_or(ROUNDS);
    let mut world = World::new().await;
    let mut plan = world.plan(rounds);
    while !plan.is_empty() {
        // A life that ended before it was checked is followed by one that has time for it.
        let calm = if world.unchecked { plan.iter().position(Option::is_none) } else { None };
        let point = plan.swap_remove(calm.unwrap_or(0));
        if world.tally.lives > 0 && world.dice.below(8) == 0 {
            world.kill_while_starting().await;
        }
        let point = if world.unchecked { point } else { point.or_else(|| world.occasion()) };
        let end = match point {
            Some(point) => world.end(point),
            None => End::Random(Duration::from_millis(300 + world.dice.below(1_200))),
        };
        world.live(end).await;
    }
    if rounds >= FULL_ROUNDS {
        for _ in 0..MORE_ROUNDS {
            let Some(point) = world.missing() else { break };
            let end = world.end(point);
            world.live(end).await;
        }
    }
    world.check_all().await;
    world.report();
    if rounds >= FULL_ROUNDS {
        assert_eq!(world.missing(), None, "a point that was not reached often enough");
        let (.., rate) = world.tally.rates();
        assert!(rate >= LEAST_RATE, "{rate} samples/s");
    }
}
