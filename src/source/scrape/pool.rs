//! The targets of one job: discovery brings groups, [`Pool::sync`] makes loops of them.
//!
//! A loop is known by its target's hash. A target that stays keeps its loop; one that goes ends it and its
//! series go stale in a while; a reload replaces loops and hands their memory over where nothing changed that
//! shapes samples.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::task::JoinHandle;

use super::fetch::Fetcher;
use super::round::{Memory, Probe};
use super::run::{Busy, Common, Ending, Loop};
use super::sink::Sink;
use super::stats::Stats;
use super::status::Status;
use super::{DroppedTarget, TargetStatus, Targets};
use crate::model::Labels;
use crate::model::time::count_to_f64;
use crate::runtime::{Pools, Shutdown};
use crate::source::discovery::{Discover, FileDiscovery, FixedDiscovery, Group};
use crate::source::settings::ScrapeSettings;
use crate::source::target::{Populated, Target};

/// How many dropped targets are remembered where the user sets no number.
const DROPPED_KEPT: usize = 10_000;

/// One job.
#[derive(Debug)]
pub(super) struct Pool {
    common: Arc<Common>,
    pools: Pools,
    sink: Sink,
    stats: Stats,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    job: Arc<ScrapeSettings>,
    fetcher: Arc<Fetcher>,
    /// What each mechanism found; `None` until it has answered.
    groups: Vec<Option<Vec<Group>>>,
    /// Ends the mechanisms.
    discovery: Shutdown,
    active: BTreeMap<u64, Running>,
    dropped: Vec<Labels>,
    dropped_count: usize,
    /// The job changed: all loops are replaced at the next sync, with their memories or without.
    replace: Option<Replace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replace {
    WithMemory,
    WithoutMemory,
}

/// A target's loop from outside.
#[derive(Debug)]
struct Running {
    target: Arc<Target>,
    discovered: Labels,
    memory: Arc<Mutex<Memory>>,
    status: Arc<Status>,
    ending: Ending,
    task: JoinHandle<()>,
}

impl Pool {
    pub(super) fn start(
        job: ScrapeSettings,
        common: &Arc<Common>,
        pools: &Pools,
        sink: &Sink,
        stats: &Stats,
    ) -> Arc<Self> {
        let pool = Arc::new(Self {
            common: Arc::clone(common),
            pools: pools.clone(),
            sink: sink.clone(),
            stats: stats.clone(),
            state: Mutex::new(State {
                fetcher: Arc::new(Fetcher::new(&job)),
                job: Arc::new(job),
                groups: Vec::new(),
                discovery: Shutdown::new(),
                active: BTreeMap::new(),
                dropped: Vec::new(),
                dropped_count: 0,
                replace: None,
            }),
        });
        pool.discover(&mut pool.state());
        pool
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Takes new settings of the same job. Nothing happens when nothing changed.
    pub(super) fn reload(self: &Arc<Self>, job: &ScrapeSettings) {
        let state = &mut *self.state();
        if *state.job == *job {
            return;
        }
        let same_places = state.job.static_groups == job.static_groups && state.job.file_sd == job.file_sd;
        let keeps = job.keeps_caches_of(&state.job) && state.replace != Some(Replace::WithoutMemory);
        state.replace = Some(if keeps { Replace::WithMemory } else { Replace::WithoutMemory });
        state.job = Arc::new(job.clone());
        state.fetcher = Arc::new(Fetcher::new(job));
        if same_places {
            self.sync(state);
        } else {
            state.discovery.stop();
            self.discover(state);
        }
    }

    /// The job left the configuration: all its targets are gone.
    pub(super) fn end(&self) {
        let state = &mut *self.state();
        state.discovery.stop();
        let (active_before, dropped_before) = (state.active.len(), state.dropped_count);
        state.dropped_count = 0;
        for (_, running) in std::mem::take(&mut state.active) {
            self.let_go(&running);
        }
        self.count(state, active_before, dropped_before);
    }

    /// Starts the mechanisms of the job.
    fn discover(self: &Arc<Self>, state: &mut State) {
        let mut sources: Vec<Box<dyn Discover>> = Vec::new();
        if !state.job.static_groups.is_empty() {
            sources.push(Box::new(FixedDiscovery::new(state.job.static_groups.clone())));
        }
        for settings in &state.job.file_sd {
            sources.push(Box::new(FileDiscovery::new(
                settings.clone(),
                self.common.clock,
                self.pools.clone(),
            )));
        }
        state.groups = vec![None; sources.len()];
        state.discovery = Shutdown::new();
        if sources.is_empty() {
            return self.sync(state);
        }
        let (pool, stop, busy) = (Arc::clone(self), state.discovery.clone(), Busy::new(&self.common));
        drop(self.pools.spawn_io(async move {
            let _busy = busy;
            let mut found = stream::select_all(sources.into_iter().enumerate().map(|(i, s)| groups_of(i, s)));
            loop {
                let next = tokio::select! {
                    biased;
                    () = pool.common.shutdown.stopped() => return,
                    () = stop.stopped() => return,
                    next = found.next() => next,
                };
                let Some((source, groups)) = next else { return };
                pool.found(source, groups, &stop);
            }
        }));
    }

    fn found(self: &Arc<Self>, source: usize, groups: Vec<Group>, stop: &Shutdown) {
        let state = &mut *self.state();
        // What an ended mechanism had found belongs to the job as it was before.
        if stop.is_stopped() {
            return;
        }
        state.groups[source] = Some(groups);
        if state.groups.iter().all(Option::is_some) {
            self.sync(state);
        }
    }

    /// Brings the loops in line with the groups.
    fn sync(self: &Arc<Self>, state: &mut State) {
        let (targets, dropped) = populate(state);
        let (active_before, dropped_before) = (state.active.len(), state.dropped_count);
        state.dropped_count = dropped.len();
        let kept = state.job.limits.dropped_targets;
        state.dropped = dropped.into_iter().take(if kept == 0 { DROPPED_KEPT } else { kept }).collect();

        let mut before = std::mem::take(&mut state.active);
        let replace = state.replace.take();
        for target in targets {
            let running = match before.remove(&target.hash) {
                None => self.start_loop(state, Arc::new(target), None, None),
                Some(running) => self.go_on(state, running, target, replace),
            };
            state.active.insert(running.target.hash, running);
        }
        for running in before.values() {
            self.let_go(running);
        }
        let (active, limit) = (state.active.len(), state.job.limits.targets);
        let over = limit > 0 && active > limit;
        let message =
            over.then(|| format!("target_limit exceeded (number of targets: {active}, limit: {limit})"));
        for running in state.active.values() {
            running.status.force(message.clone());
        }
        self.count(state, active_before, dropped_before);
    }

    /// A target that was there before: its loop stays, unless the job or the target's interval changed.
    fn go_on(
        self: &Arc<Self>,
        state: &State,
        mut running: Running,
        target: Target,
        replace: Option<Replace>,
    ) -> Running {
        let pace = |target: &Target| (target.interval, target.timeout);
        running.discovered = target.discovered.clone();
        match replace {
            None if pace(&running.target) == pace(&target) => running,
            Some(Replace::WithoutMemory) => {
                self.let_go(&running);
                let status = Arc::clone(&running.status);
                self.start_loop(state, Arc::new(target), None, Some(status))
            }
            None | Some(Replace::WithMemory) => {
                running.ending.hand_over();
                let status = Arc::clone(&running.status);
                self.start_loop(state, Arc::new(target), Some(running), Some(status))
            }
        }
    }

    /// Starts a loop; one that takes over waits for the one before.
    fn start_loop(
        self: &Arc<Self>,
        state: &State,
        target: Arc<Target>,
        before: Option<Running>,
        status: Option<Arc<Status>>,
    ) -> Running {
        let at_once = state.job.at_once && status.is_none();
        let status = status.unwrap_or_default();
        let memory = match &before {
            Some(before) => Arc::clone(&before.memory),
            None => Arc::new(Mutex::new(Memory::new())),
        };
        self.common.live.add(&memory);
        let ending = Ending::default();
        let this = Loop {
            common: Arc::clone(&self.common),
            probe: Probe {
                target: Arc::clone(&target),
                job: Arc::clone(&state.job),
                sink: self.sink.clone(),
                memory: Arc::clone(&memory),
                stats: self.stats.clone(),
            },
            fetcher: Arc::clone(&state.fetcher),
            status: Arc::clone(&status),
            ending: ending.clone(),
        };
        let busy = Busy::new(&self.common);
        let task = self.pools.spawn_io(async move {
            let _busy = busy;
            if let Some(before) = before
                && before.task.await.is_err()
            {
                tracing::error!("the loop of a target ended by a defect; another one takes over");
            }
            this.run(at_once).await;
        });
        let discovered = target.discovered.clone();
        Running { target, discovered, memory, status, ending, task }
    }

    fn let_go(&self, running: &Running) {
        self.common.live.remove(&running.memory);
        running.ending.gone();
    }

    /// Keeps the gauges of all jobs together.
    fn count(&self, state: &State, active_before: usize, dropped_before: usize) {
        self.stats.active.add(count_to_f64(state.active.len()) - count_to_f64(active_before));
        self.stats.dropped.add(count_to_f64(state.dropped_count) - count_to_f64(dropped_before));
    }

    /// Adds the targets of this job to the list.
    pub(super) fn list(&self, into: &mut Targets) {
        let state = self.state();
        let pool = &state.job.job;
        into.active.extend(state.active.values().map(|running| TargetStatus {
            pool: pool.clone(),
            discovered: running.discovered.clone(),
            labels: running.target.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            url: running.target.url.clone(),
            interval: running.target.interval,
            timeout: running.target.timeout,
            last: running.status.last(),
        }));
        into.dropped.extend(
            state
                .dropped
                .iter()
                .map(|labels| DroppedTarget { pool: pool.clone(), discovered: labels.clone() }),
        );
        into.dropped_counts.insert(pool.clone(), state.dropped_count);
    }
}

/// The targets of all groups, each once, and the labels of those that relabelling dropped.
fn populate(state: &State) -> (Vec<Target>, Vec<Labels>) {
    let (mut targets, mut dropped, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for group in state.groups.iter().flatten().flatten() {
        for address in &group.targets {
            match Target::populate(address, group, &state.job) {
                Ok(Populated::Active(target)) if seen.insert(target.hash) => targets.push(*target),
                Ok(Populated::Active(_)) => {}
                Ok(Populated::Dropped(labels)) => dropped.push(labels),
                Err(error) => {
                    tracing::error!(job = %state.job.job, group = %group.source, address, %error, "this is no target");
                }
            }
        }
    }
    (targets, dropped)
}

/// All answers of one mechanism.
fn groups_of(number: usize, source: Box<dyn Discover>) -> BoxStream<'static, (usize, Vec<Group>)> {
    stream::unfold(source, move |mut source| async move {
        let groups = source.next().await;
        Some(((number, groups), source))
    })
    .boxed()
}
