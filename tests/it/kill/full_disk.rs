//! A disk that is full, and has room again: a small tmpfs under data and WAL.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use quipu::runtime::{Clock, Dice, Pools, Shutdown};

use super::load::{Habit, Sender, Server};
use super::{Folder, check, seed};
use crate::peers::Quipu;

const SIZE_KIB: u64 = 48 << 10;
const CYCLES: usize = 3;
/// The most that is free when the disk counts as full, KiB.
const ROOM_KIB: u64 = 600;
const PERIOD: Duration = Duration::from_millis(30);

/// A mounted tmpfs.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None`, and loudly so, where this process may not mount. In CI that is a failure.
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).expect("a temporary folder can be written");
        let options = format!("size={SIZE_KIB}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).output();
        let why = match mounted {
            Ok(output) if output.status.success() => return Some(Self(at)),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let ci = std::env::vars().any(|(name, value)| name == "CI" && value == "true");
        assert!(!ci, "no tmpfs can be mounted: {why}");
        eprintln!("SKIPPED: no tmpfs can be mounted: {why}");
        None
    }

    /// Leaves room for so many KiB.
    fn fill(&self, room: u64) {
        let output =
            Command::new("df").args(["--output=avail", "-k"]).arg(&self.0).output().expect("df runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let free: u64 = text.lines().nth(1).and_then(|n| n.trim().parse().ok()).expect("a number of KiB");
        let ballast = vec![0; usize::try_from(free.saturating_sub(room) << 10).expect("a small disk")];
        // Quipu may take the room at the same time.
        drop(std::fs::write(self.ballast(), ballast));
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast is there");
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a process that is being ended may still have files open.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

fn config() -> &'static str {
    "quipu: {store: {first_flush: 1s, flush_interval: 1s, backfill_interval: 2s, wal_segment_size: 1MB, \
     merge_interval: 1s, gc_delay: 10s}, logs: {own_log: false}}\n"
}

async fn start(folder: &Path, data: &str) -> Quipu {
    let mut quipu = Quipu::spawn(folder, config(), data, &[]);
    assert!(quipu.is_ready().await, "it ended by itself while it started");
    quipu
}

/// Waits until every sender got another answer of a kind.
async fn until_all(senders: &[Arc<Sender>], clock: Clock, what: &str, count: fn(&Sender) -> u64) {
    let before: Vec<u64> = senders.iter().map(|sender| count(sender)).collect();
    for _ in 0..600 {
        if senders.iter().zip(&before).all(|(sender, before)| count(sender) > *before) {
            return;
        }
        clock.sleep(Duration::from_millis(50)).await;
    }
    panic!("30 s passed before {what}");
}

/// Requests of each sender, from those of an earlier look on.
async fn settle(quipu: &Quipu, senders: &[Arc<Sender>], from: &[usize], to: &[usize]) {
    for (sender, (from, to)) in senders.iter().zip(from.iter().zip(to)) {
        check::pushed(quipu, sender, *from..*to).await.expect("nobody kills it");
    }
}

fn sent(senders: &[Arc<Sender>]) -> Vec<usize> {
    senders.iter().map(|sender| sender.sent()).collect()
}

/// Load while the disk fills up and is freed again; answers how many flushes failed.
async fn cycle(quipu: &Quipu, disk: &Tmpfs, senders: &[Arc<Sender>], dice: &mut Dice) -> u64 {
    let before = sent(senders);
    let (server, stop) = (Server::of(quipu), Shutdown::new());
    let run = |sender: &Arc<Sender>| {
        Pools::current().spawn_io(Arc::clone(sender).run(server.clone(), stop.clone(), PERIOD))
    };
    let tasks: Vec<_> = senders.iter().map(run).collect();
    until_all(senders, quipu.clock, "anything was acknowledged", |sender| sender.counts().acknowledged).await;
    disk.fill(dice.below(ROOM_KIB));
    until_all(senders, quipu.clock, "the disk was full", |sender| sender.counts().refused).await;
    let mut failed = 0;
    for _ in 0..3 {
        let status = quipu.post("/-/flush").await;
        assert!(status == 200 || status >= 500, "a flush on a full disk: {status}");
        failed += u64::from(status != 200);
    }
    assert_eq!(quipu.status("/-/healthy").await, Some(200));
    // A sender has one request on the way; what came before it is there although the disk is full.
    let until: Vec<usize> = senders.iter().map(|sender| sender.sent() - 1).collect();
    settle(quipu, senders, &before, &until).await;
    disk.make_room();
    until_all(senders, quipu.clock, "writes went on", |sender| sender.counts().acknowledged).await;
    stop.stop();
    for task in tasks {
        task.await.expect("the load does not panic");
    }
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_recovers_by_itself() {
    let clock = Clock::real();
    let folder = Folder::new();
    let Some(disk) = Tmpfs::mount(folder.path().join("disk")) else { return };
    let mut dice = seed("full disk", clock);
    let data = disk.0.join("data").display().to_string();
    let base = clock.now_ms();
    let habits = [Habit::default(), Habit { old: true, resends: false }, Habit { old: false, resends: true }];
    let senders: Vec<_> = habits.iter().zip(0..).map(|(habit, n)| Sender::new(n, base, *habit)).collect();
    let mut failed = 0;
    let mut quipu = start(folder.path(), &data).await;
    for round in 0..CYCLES {
        failed += cycle(&quipu, &disk, &senders, &mut dice).await;
        quipu.wait_for("flushes succeed again", || async { quipu.post("/-/flush").await == 200 }).await;
        if round % 2 == 1 {
            quipu.kill();
            quipu = start(folder.path(), &data).await;
        }
        settle(&quipu, &senders, &[0; 3], &sent(&senders)).await;
        let rows: u64 = senders.iter().map(|sender| sender.stored(sender.sent()).0).sum();
        assert_eq!(check::sql(&quipu).await.into_values().sum::<u64>(), rows, "cycle {round}");
    }
    let counts: Vec<_> = senders.iter().map(|sender| sender.counts()).collect();
    eprintln!("full disk: {CYCLES} times full, {failed} flushes failed, {counts:?}");
    assert!(failed > 0, "no flush met the full disk");
    quipu.stop().await;
}
