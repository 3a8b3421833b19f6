//! The one task that gives out sequences: WAL first, buffer second, answer third.
//!
//! ```text
//!   append ─┐                       ┌─ write + fdatasync (one for all that wait) ─┐
//!   append ─┼─▶ bounded queue ─▶ sequencer                                    apply to buffers ─▶ ack
//!   freeze ─┘                       └─ freeze: an empty buffer takes the place ─────┘
//! ```
//! Because only this task applies rows and freezes buffers, a frozen buffer holds exactly the sequences
//! (previous, N] of all tenants.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::buffer::Rows;
use super::catalog::Ground;
use super::tenants::{TenantState, Tenants};
use super::wal::{Class, LogParts, Request, Wal};
use crate::error::{Error, Kind, Result};
use crate::model::Batch;
use crate::runtime::FaultPoint;

/// Requests that may wait for the disk at a time.
const QUEUE: usize = 4_096;
/// Rows after which a group is written without waiting for more.
const GROUP_ROWS: usize = 65_536;
/// The least time between two syncs while less than a full group waits.
const SYNC_PACE: Duration = Duration::from_millis(5);

/// What the sequencer is asked to do.
#[derive(Debug)]
pub(in crate::store) enum Message {
    /// Write, apply, acknowledge.
    Append(Append),
    /// Freeze every tenant's buffers of some classes. The answer is the last sequence: no row of them up to it
    /// is in an active buffer any more.
    Freeze { classes: &'static [Class], reply: oneshot::Sender<u64> },
    /// Delete the segments that all tables have, by the last committed sequence of (live, backfill).
    Release { live: u64, backfill: u64, reply: oneshot::Sender<Result<usize>> },
    /// Sync and end.
    Stop { reply: oneshot::Sender<Result<()>> },
}

/// One append on its way.
#[derive(Debug)]
pub(in crate::store) struct Append {
    pub(in crate::store) tenant: Arc<TenantState>,
    pub(in crate::store) batch: Batch,
    /// Row numbers of backfill rows and of the others, when a batch has both or only backfill.
    pub(in crate::store) split: Option<(Vec<u32>, Vec<u32>)>,
    /// Log lines; then there are no samples.
    pub(in crate::store) logs: Option<Box<LogParts>>,
    pub(in crate::store) reply: oneshot::Sender<Result<Appended>>,
}

/// Bytes of log lines that count as one row when groups are filled.
const BYTES_PER_ROW: usize = 256;

impl Append {
    /// How much of a full group it is, in rows.
    fn weight(&self) -> usize {
        let logs = self.logs.as_ref().map_or(0, |logs| logs.lines() + logs.bytes() / BYTES_PER_ROW);
        self.batch.len() + logs
    }
}

/// How an append ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// The rows are durable and visible.
    Stored,
    /// Nothing was written: the handles of these rows are stale. Resolve them again and append again.
    Resolve(Vec<usize>),
}

/// Sends messages to the sequencer.
#[derive(Debug, Clone)]
pub(in crate::store) struct SequencerHandle {
    queue: mpsc::Sender<Message>,
}

impl SequencerHandle {
    /// Sends a message and waits for its answer.
    ///
    /// # Errors
    /// `Unavailable` when the queue is full or the store has stopped.
    pub(in crate::store) async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let stopped = || Error::new(Kind::Unavailable, "the store is stopping");
        match self.queue.try_send(message(reply)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(message @ Message::Append(_))) => {
                drop(message);
                let text = "too many requests wait for the disk; send again later";
                return Err(Error::new(Kind::Unavailable, text).with("limit", QUEUE));
            }
            Err(mpsc::error::TrySendError::Full(message)) => {
                self.queue.send(message).await.map_err(|_| stopped())?;
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(stopped()),
        }
        answer.await.map_err(|_| stopped())
    }
}

/// The task's state.
#[derive(Debug)]
pub(in crate::store) struct Sequencer {
    wal: Option<Wal>,
    tenants: Arc<Tenants>,
    ground: Ground,
    /// Acknowledge after the sync, or after the write and sync once a second.
    sync_first: bool,
    last_sync: Duration,
    metrics: super::metrics::StoreMetrics,
}

impl Sequencer {
    /// Starts the task.
    pub(in crate::store) fn start(
        wal: Wal,
        tenants: Arc<Tenants>,
        ground: Ground,
        sync_first: bool,
        metrics: super::metrics::StoreMetrics,
    ) -> SequencerHandle {
        let (queue, incoming) = mpsc::channel(QUEUE);
        let last_sync = ground.clock.monotonic();
        let pools = ground.pools.clone();
        let task = Self { wal: Some(wal), tenants, ground, sync_first, last_sync, metrics };
        pools.spawn_io(task.run(incoming));
        SequencerHandle { queue }
    }

    async fn run(mut self, mut incoming: mpsc::Receiver<Message>) {
        let mut group: Vec<Append> = Vec::new();
        while let Some(first) = incoming.recv().await {
            let mut next = Some(first);
            while let Some(message) = next.take() {
                match message {
                    Message::Append(append) => {
                        group.push(append);
                        self.fill(&mut group, &mut incoming, &mut next).await;
                        self.write(std::mem::take(&mut group)).await;
                    }
                    Message::Freeze { classes, reply } => {
                        // A flush that went away freezes again later; its buffers stay readable.
                        ignore(reply.send(self.freeze(classes)));
                    }
                    Message::Release { live, backfill, reply } => {
                        ignore(reply.send(self.release(live, backfill).await));
                    }
                    Message::Stop { reply } => {
                        ignore(reply.send(self.on_wal(Wal::sync).await));
                        return;
                    }
                }
            }
        }
    }

    /// Takes what else waits, up to a full group, and lets a short while pass since the last sync.
    async fn fill(
        &self,
        group: &mut Vec<Append>,
        incoming: &mut mpsc::Receiver<Message>,
        other: &mut Option<Message>,
    ) {
        let mut rows = group[0].weight();
        let mut waited = false;
        while rows < GROUP_ROWS {
            match incoming.try_recv() {
                Ok(Message::Append(append)) => {
                    rows += append.weight();
                    group.push(append);
                }
                Ok(message) => {
                    *other = Some(message);
                    return;
                }
                Err(_) => {
                    let pause = SYNC_PACE
                        .saturating_sub(self.ground.clock.monotonic().saturating_sub(self.last_sync));
                    if waited || pause.is_zero() || !self.sync_first {
                        return;
                    }
                    waited = true;
                    self.ground.clock.sleep(pause).await;
                }
            }
        }
    }

    async fn write(&mut self, group: Vec<Append>) {
        let group = refuse_stale(group);
        if group.is_empty() {
            return;
        }
        let now = self.ground.clock.monotonic();
        let sync = self.sync_first || now.saturating_sub(self.last_sync) >= Duration::from_secs(1);
        let (group, written) = self
            .on_wal(move |wal| {
                let written = write_group(wal, &group, sync);
                (group, written)
            })
            .await;
        if sync {
            self.last_sync = self.ground.clock.monotonic();
        }
        match written {
            Ok(sequences) => {
                self.ground.faults.at(FaultPoint::AppendLogged).await;
                for (append, sequences) in group.into_iter().zip(sequences) {
                    self.metrics.appended(append.batch.len());
                    self.metrics
                        .appended_lines
                        .add(append.logs.as_ref().map_or(0, |logs| logs.lines()) as u64);
                    apply(&append, &sequences);
                    ignore(append.reply.send(Ok(Appended::Stored)));
                }
            }
            Err(error) => {
                self.metrics.append_failures.inc();
                tracing::error!(%error, requests = group.len(), "the WAL could not be written");
                for append in group {
                    ignore(append.reply.send(Err(refusal(&error))));
                }
            }
        }
    }

    fn freeze(&self, classes: &[Class]) -> u64 {
        for tenant in self.tenants.all() {
            if classes.contains(&Class::Live) {
                tenant.registry.write().expect("no holder of this lock panics").next_epoch();
            }
            for class in classes {
                tenant.freeze(*class);
            }
        }
        self.wal.as_ref().expect("the WAL is back between messages").last_sequence()
    }

    async fn release(&mut self, live: u64, backfill: u64) -> Result<usize> {
        let positions: Vec<_> =
            self.tenants.all().iter().map(|tenant| (tenant.name.clone(), tenant.positions())).collect();
        self.on_wal(move |wal| {
            wal.roll()?;
            wal.keep_positions(&positions)?;
            wal.release(&|class| if class == Class::Live { live } else { backfill })
        })
        .await
    }

    /// Runs work on the WAL where blocking is allowed.
    async fn on_wal<T: Send + 'static>(&mut self, work: impl FnOnce(&mut Wal) -> T + Send + 'static) -> T {
        let mut wal = self.wal.take().expect("the WAL is back between messages");
        let done = self.ground.pools.run_blocking(move || {
            let out = work(&mut wal);
            Ok((wal, out))
        });
        let (wal, out) = done.await.expect("work on the WAL does not panic");
        self.metrics.wal_bytes.set(crate::model::time::count_to_f64(wal.bytes()));
        self.wal = Some(wal);
        out
    }
}

/// Answers the appends with stale handles and returns the others.
fn refuse_stale(group: Vec<Append>) -> Vec<Append> {
    let mut good = Vec::with_capacity(group.len());
    for append in group {
        let stale: Vec<usize> = {
            let registry = super::tenants::read(&append.tenant.registry);
            let rows = append.batch.series.iter().enumerate();
            rows.filter(|(_, handle)| registry.get(**handle).is_none()).map(|(row, _)| row).collect()
        };
        if stale.is_empty() {
            good.push(append);
        } else {
            ignore(append.reply.send(Ok(Appended::Resolve(stale))));
        }
    }
    good
}

fn parts(append: &Append) -> Vec<(Class, Rows<'_>)> {
    let batch = &append.batch;
    let all = match &append.split {
        None => vec![(Class::Live, Rows { batch, only: None })],
        Some((backfill, live)) => vec![
            (Class::Live, Rows { batch, only: Some(live) }),
            (Class::Backfill, Rows { batch, only: Some(backfill) }),
        ],
    };
    all.into_iter().filter(|(_, rows)| rows.len() > 0).collect()
}

fn write_group(wal: &mut Wal, group: &[Append], sync: bool) -> Result<Vec<Vec<u64>>> {
    let requests: Vec<Request<'_>> = group
        .iter()
        .map(|append| Request {
            tenant: &append.tenant.name,
            parts: parts(append),
            batch: &append.batch,
            registry: &append.tenant.registry,
            logs: append.logs.as_deref(),
        })
        .collect();
    let sequences = wal.append(&requests)?;
    if sync {
        wal.sync()?;
    }
    Ok(sequences)
}

fn apply(append: &Append, sequences: &[u64]) {
    let mut sequences = sequences.iter();
    for ((class, rows), sequence) in parts(append).into_iter().zip(sequences.by_ref()) {
        let buffer = append.tenant.active(class);
        let mut registry = append.tenant.registry.write().expect("no holder of this lock panics");
        let mut buffer = buffer.write().expect("no holder of this lock panics");
        buffer.apply(*sequence, rows, &mut registry);
    }
    if let Some(logs) = &append.logs {
        for ((class, batch), sequence) in logs.parts.iter().zip(sequences) {
            let buffer = append.tenant.active(*class);
            buffer.write().expect("no holder of this lock panics").apply_logs(*sequence, batch);
        }
        if let Some(position) = &logs.position {
            append.tenant.keep_position(position.clone());
        }
    }
    if !append.batch.metadata.is_empty() {
        append.tenant.update_catalogue(|catalogue| {
            for metadata in &append.batch.metadata {
                catalogue.describe(metadata);
            }
        });
    }
}

/// Who asked may have gone away; what was done stays done.
fn ignore<T>(_unsent: std::result::Result<(), T>) {}

/// What the sender of a request is told when the disk refuses: try again, whatever the disk said.
fn refusal(error: &Error) -> Error {
    match error.kind() {
        Kind::Limit | Kind::Unavailable => error.repeated(),
        _ => Error::new(Kind::Unavailable, "the write-ahead log cannot be written; nothing was stored")
            .caused_by(error.repeated()),
    }
}
