//! The scrape loop: every target of every job is fetched at its place in the interval, and what it exposes
//! becomes one batch for the sink.
//!
//! ```text
//!   Scraper ── one Pool a job ── one Loop a target ── one round an interval
//!   (apply,      (discovery,       (offset, ticks,      (parse, cache, stale,
//!    stop)        sync)             good-bye)            report, append)
//! ```

mod cache;
mod families;
mod fetch;
mod histograms;
mod live;
mod nhcb;
mod pool;
mod report;
mod round;
mod run;
mod sample_labels;
mod sink;
mod stats;
mod status;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

pub use sink::{Accepted, Sink};
pub use status::{Health, LastScrape};

use self::live::Live;
use self::pool::Pool;
use self::run::{Bodies, Common};
use self::stats::Stats;
use super::settings::ScrapeSettings;
use crate::model::Labels;
use crate::model::setting::Millis;
use crate::runtime::{Clock, Pools, Registry, Shutdown};

/// How long [`Scraper::stop`] waits for batches that are being stored.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Scrapes all jobs.
#[derive(Debug)]
pub struct Scraper {
    common: Arc<Common>,
    pools: Pools,
    sink: Sink,
    stats: Stats,
    jobs: Mutex<BTreeMap<String, Arc<Pool>>>,
}

/// An active target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetStatus {
    /// The job that scrapes it.
    pub pool: String,
    /// Its labels before relabelling.
    pub discovered: Labels,
    /// The labels that its samples get, in name order.
    pub labels: Vec<(String, String)>,
    /// What is fetched.
    pub url: String,
    /// How often.
    pub interval: Millis,
    /// How long it may take.
    pub timeout: Millis,
    /// How the last scrape went.
    pub last: LastScrape,
}

/// A target that relabelling dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedTarget {
    /// The job that does not scrape it.
    pub pool: String,
    /// Its labels before relabelling.
    pub discovered: Labels,
}

/// All targets, by job and then in a fixed order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Targets {
    /// Those that are scraped.
    pub active: Vec<TargetStatus>,
    /// Those that relabelling dropped, as far as they are remembered.
    pub dropped: Vec<DroppedTarget>,
    /// How many were dropped, by job.
    pub dropped_counts: BTreeMap<String, usize>,
}

impl Scraper {
    /// A scraper without jobs. `seed` shifts the places of all targets, so that two servers do not scrape at the
    /// same moment.
    pub fn new(sink: Sink, clock: Clock, pools: Pools, registry: &Registry, seed: u64) -> Self {
        let common = Common {
            clock,
            shutdown: Shutdown::new(),
            seed,
            live: Live::default(),
            bodies: Bodies::default(),
            tasks: watch::Sender::new(0),
        };
        Self {
            common: Arc::new(common),
            pools,
            sink,
            stats: Stats::new(registry),
            jobs: Mutex::new(BTreeMap::new()),
        }
    }

    /// Runs these jobs and no others: new ones start, gone ones end and go stale, changed ones go on under
    /// their new settings, the rest does not notice.
    pub fn apply(&self, settings: &[ScrapeSettings]) {
        let mut jobs = self.jobs();
        if self.common.shutdown.is_stopped() {
            return;
        }
        jobs.retain(|name, pool| {
            let stays = settings.iter().any(|job| job.job == *name);
            if !stays {
                pool.end();
            }
            stays
        });
        for job in settings {
            match jobs.get(&job.job) {
                Some(pool) => pool.reload(job),
                None => {
                    let pool = Pool::start(job.clone(), &self.common, &self.pools, &self.sink, &self.stats);
                    jobs.insert(job.job.clone(), pool);
                }
            }
        }
    }

    /// Ends all loops at once, without stale markers: the server comes back, and so do the series. Waits for
    /// the batches that are being stored, at most 5 s.
    pub async fn stop(&self) {
        self.common.shutdown.stop();
        let mut tasks = self.common.tasks.subscribe();
        let ended = self.common.clock.within(STOP_LIMIT, tasks.wait_for(|tasks| *tasks == 0)).await.is_some();
        if !ended {
            tracing::warn!("scrapes did not end in time; their batches may be stored or not");
        }
    }

    /// The names of the jobs.
    pub fn scrape_pools(&self) -> Vec<String> {
        self.jobs().keys().cloned().collect()
    }

    /// All targets.
    pub fn targets(&self) -> Targets {
        let mut targets = Targets::default();
        for pool in self.jobs().values() {
            pool.list(&mut targets);
        }
        targets
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Pool>>> {
        self.jobs.lock().expect("no holder of this lock panics")
    }
}

impl TargetStatus {
    /// The URL for somebody on another machine, as Prometheus gives it: this machine's name in place of the
    /// loopback address.
    pub fn global_url(&self, host_name: &str) -> String {
        let Some((scheme, rest)) = self.url.split_once("://") else { return self.url.clone() };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let port_at = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
        let (host, port) = authority.split_at(port_at.unwrap_or(authority.len()));
        if matches!(host, "127.0.0.1" | "localhost" | "[::1]") {
            return format!("{scheme}://{host_name}{port}{path}");
        }
        self.url.clone()
    }
}

#[cfg(test)]
mod tests;
