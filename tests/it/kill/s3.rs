//! An S3 (moto) that errs, is away, and does what it was asked without saying so.

use std::sync::Arc;
use std::time::Duration;

use quipu::runtime::{Clock, Dice, Disk, Objects, ObjectsOptions, Pools, Shutdown};
use tokio::task::JoinHandle;

use super::load::{Counts, Habit, Sender, Server};
use super::proxy::{Mood, Proxy};
use super::{Folder, check, merge_all, seed};
use crate::peers::{Quipu, moto_server};

/// Bucket and prefix.
const STORAGE: &str = "s3://bucket/some/prefix";
const ERRING: Duration = Duration::from_secs(12);
/// Each sender writes 400 samples in so much time; what the store cannot take for a while fits into memory.
const PERIOD: Duration = Duration::from_millis(250);
/// The same where the limits are to be felt.
const FAST: Duration = Duration::from_millis(20);

/// The configuration; small limits where a slow store shall be felt.
fn config(endpoint: &str, limits: &str) -> String {
    format!(
        "quipu: {{store: {{first_flush: 1s, flush_interval: 1s, backfill_interval: 3s, wal_segment_size: 1MB, \
         merge_interval: 1s, gc_delay: 20s, {limits} s3: {{endpoint: 'http://{endpoint}', region: us-east-1, \
         access_key_id: key, secret_access_key: secret, allow_http: true, request_timeout: 2s, \
         retry_timeout: 6s}}}}, logs: {{own_log: false}}}}\n"
    )
}

/// The parts of the test.
struct Stage {
    folder: Folder,
    clock: Clock,
    senders: Vec<Arc<Sender>>,
    moto: String,
}

impl Stage {
    async fn start(&self, endpoint: &str, limits: &str) -> Quipu {
        let wal = format!("--wal.path={}", self.folder.path().join("wal").display());
        let mut quipu = Quipu::spawn(self.folder.path(), &config(endpoint, limits), STORAGE, &[wal]);
        assert!(quipu.is_ready().await, "it ended by itself while it started");
        quipu
    }

    fn counts(&self) -> Counts {
        self.senders.iter().map(|sender| sender.counts()).fold(Counts::default(), |sum, one| Counts {
            acknowledged: sum.acknowledged + one.acknowledged,
            refused: sum.refused + one.refused,
            resent: sum.resent + one.resent,
        })
    }

    fn load(&self, quipu: &Quipu, period: Duration) -> Load {
        let (server, stop) = (Server::of(quipu), Shutdown::new());
        let run = |sender: &Arc<Sender>| {
            Pools::current().spawn_io(Arc::clone(sender).run(server.clone(), stop.clone(), period))
        };
        Load { tasks: self.senders.iter().map(run).collect(), stop }
    }

    /// Waits for something of the counts, at most a minute.
    async fn until(&self, what: &str, holds: impl Fn(Counts) -> bool) {
        for _ in 0..1_200 {
            if holds(self.counts()) {
                return;
            }
            self.clock.sleep(Duration::from_millis(50)).await;
        }
        panic!("a minute passed before {what}: {:?}", self.counts());
    }

    /// Everything sent so far, sample by sample.
    async fn settle(&self, quipu: &Quipu) {
        for sender in &self.senders {
            check::pushed(quipu, sender, 0..sender.sent()).await.expect("nobody kills it");
        }
    }

    /// The same, and how many rows SQL counts.
    async fn check(&self, quipu: &Quipu) -> u64 {
        self.settle(quipu).await;
        let rows: u64 = self.senders.iter().map(|sender| sender.stored(sender.sent()).0).sum();
        assert_eq!(check::sql(quipu).await.into_values().sum::<u64>(), rows);
        rows
    }

    async fn rows_in_files(&self) -> u64 {
        let options = ObjectsOptions {
            endpoint: Some(format!("http://{}", self.moto)),
            region: Some("us-east-1".to_owned()),
            access_key_id: Some("key".to_owned()),
            secret_access_key: Some("secret".to_owned()),
            allow_http: true,
            ..ObjectsOptions::default()
        };
        let objects = Objects::open(STORAGE, &options, &Disk::real(), &Pools::current()).await;
        check::rows_in_files(&objects.expect("good options"), "samples").await
    }
}

/// Senders that run.
struct Load {
    tasks: Vec<JoinHandle<()>>,
    stop: Shutdown,
}

impl Load {
    async fn stop(self) {
        self.stop.stop();
        for task in self.tasks {
            task.await.expect("the load does not panic");
        }
    }
}

/// A metric of quipu's own.
async fn own(quipu: &Quipu, name: &str) -> f64 {
    let answer = quipu.client.get(format!("{}/metrics", quipu.http)).send().await.expect("quipu answers");
    let text = answer.text().await.expect("a body");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is not in:\n{text}"))
}

async fn drained(quipu: &Quipu) {
    let empty = || async { own(quipu, "quipu_buffered_samples").await == 0.0 };
    quipu.wait_for("everything was flushed by itself", empty).await;
}

/// The store errs for a while: flushes get through, sooner or later, and writers notice nothing.
async fn erring(stage: &Stage, quipu: &Quipu, proxy: &Proxy) {
    let load = stage.load(quipu, PERIOD);
    stage.until("anything was acknowledged", |now| now.acknowledged > 30).await;
    proxy.set(Mood::Erring);
    stage.clock.sleep(ERRING).await;
    proxy.set(Mood::Well);
    load.stop().await;
    let Counts { acknowledged, refused, .. } = stage.counts();
    assert_eq!(refused, 0, "there was room, {acknowledged} requests were acknowledged");
    drained(quipu).await;
    let flushes = own(quipu, "quipu_flushes_total").await;
    let failed = own(quipu, "quipu_flush_failures_total").await;
    let took = stage.clock.monotonic();
    eprintln!(
        "s3: {took:?}: {acknowledged} requests acknowledged while the store erred; {flushes} flushes, \
         {failed} failed ones"
    );
}

/// The store is away until a limit is felt, and comes back.
async fn away(stage: &Stage, quipu: &Quipu, proxy: &Proxy) {
    let before = stage.counts();
    proxy.set(Mood::Down);
    let load = stage.load(quipu, FAST);
    stage.until("writes went on without a store", |now| now.acknowledged > before.acknowledged + 10).await;
    stage.until("a limit was felt", |now| now.refused > before.refused + 10).await;
    assert_eq!(quipu.status("/-/healthy").await, Some(200));
    proxy.set(Mood::Well);
    let (full, felt) = (stage.counts(), stage.clock.monotonic());
    stage.until("writes went on by themselves", |now| now.acknowledged > full.acknowledged + 10).await;
    load.stop().await;
    drained(quipu).await;
    let acknowledged = full.acknowledged - before.acknowledged;
    let took = stage.clock.monotonic();
    eprintln!("s3: {took:?}: {acknowledged} requests acknowledged while it was away, refusals by {felt:?}");
}

async fn make_bucket(moto: &str) {
    let put = reqwest::Client::new().put(format!("http://{moto}/bucket")).send().await;
    assert!(put.expect("moto answers").status().is_success(), "no bucket");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erring_object_store_loses_nothing() {
    let Some((_running, moto)) = moto_server().await else { return };
    make_bucket(&moto).await;
    let clock = Clock::real();
    let mut dice = seed("s3", clock);
    let proxy = Proxy::start(&moto, Dice::new(dice.roll()), clock).await;
    let base = clock.now_ms();
    let habits = [Habit::default(), Habit { old: true, resends: false }, Habit { old: false, resends: true }];
    let senders = habits.iter().zip(0..).map(|(habit, n)| Sender::new(n, base, *habit)).collect();
    let stage = Stage { folder: Folder::new(), clock, senders, moto };
    let mut quipu = stage.start(&proxy.address, "memory_limit: 8MB, wal_limit: 2MB,").await;
    erring(&stage, &quipu, &proxy).await;
    stage.settle(&quipu).await;
    away(&stage, &quipu, &proxy).await;
    stage.settle(&quipu).await;
    quipu.kill();
    let mut quipu = stage.start(&proxy.address, "").await;
    stage.check(&quipu).await;
    let flushed = kill_in_trouble(&stage, &mut quipu, &proxy).await;
    let in_files = stage.rows_in_files().await;
    let Counts { acknowledged, refused, resent } = stage.counts();
    assert_eq!(in_files, flushed, "rows in files after everything was merged");
    let acts = proxy.counts();
    eprintln!(
        "s3: {acknowledged} requests acknowledged, {refused} refused, {resent} sent again, {flushed} samples, \
         {in_files} rows in files; the proxy: {acts:?}"
    );
    assert_eq!(acts.len(), 9, "something never happened: {acts:?}");
}

/// Killed while the store errs, started again when it is well. Answers the samples that are stored then.
async fn kill_in_trouble(stage: &Stage, quipu: &mut Quipu, proxy: &Proxy) -> u64 {
    let load = stage.load(quipu, PERIOD);
    proxy.set(Mood::Erring);
    stage.clock.sleep(Duration::from_secs(4)).await;
    quipu.kill();
    proxy.set(Mood::Well);
    load.stop().await;
    let again = stage.start(&proxy.address, "").await;
    stage.check(&again).await;
    assert_eq!(again.post("/-/flush").await, 200);
    merge_all(&again).await;
    let rows = stage.check(&again).await;
    again.stop().await;
    rows
}
