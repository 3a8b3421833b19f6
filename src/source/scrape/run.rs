//! The loop of one target: wait for its place in the interval, fetch, store, report; and say good-bye at the
//! end.
//!
//! Ticks are counted on the monotonic clock; a tick that comes while a scrape runs is served right after it, more
//! than one are skipped. The timestamp of a scrape is the ideal time of its tick when the real one is within 2 ms
//! (and 1 % of the interval), as in Prometheus: timestamps on a grid compress far better.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::fetch::Fetcher;
use super::live::Live;
use super::round::Probe;
use super::status::Status;
use crate::error::{Error, Kind};
use crate::model::Handle;
use crate::runtime::{Clock, Shutdown};

const TOLERANCE_MS: i64 = 2;
/// Decompressed bodies that are kept for their memory, and how large one may be.
const SPARE_BODIES: usize = 16;
const SPARE_BYTES: usize = 8 << 20;

/// What all loops of a process share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) clock: Clock,
    /// Ends everything at once; no stale markers are written.
    pub(super) shutdown: Shutdown,
    pub(super) seed: u64,
    pub(super) live: Live,
    pub(super) bodies: Bodies,
    /// How many tasks run.
    pub(super) tasks: watch::Sender<usize>,
}

/// Counts a task while it lives.
#[derive(Debug)]
pub(super) struct Busy(Arc<Common>);

impl Busy {
    pub(super) fn new(common: &Arc<Common>) -> Self {
        common.tasks.send_modify(|tasks| *tasks += 1);
        Self(Arc::clone(common))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.tasks.send_modify(|tasks| *tasks -= 1);
    }
}

/// Buffers for bodies, handed from scrape to scrape.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Bodies {
    fn take(&self) -> Vec<u8> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give(&self, body: Vec<u8>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_BODIES && body.capacity() <= SPARE_BYTES {
            spare.push(body);
        }
    }
}

/// Ends one loop between two scrapes. Clones end the same loop.
#[derive(Debug, Clone, Default)]
pub(super) struct Ending {
    stop: Shutdown,
    gone: Arc<AtomicBool>,
}

impl Ending {
    /// Another loop takes over: nothing goes stale.
    pub(super) fn hand_over(&self) {
        self.stop.stop();
    }

    /// The target is gone: its series go stale in a while.
    pub(super) fn gone(&self) {
        self.gone.store(true, Ordering::Release);
        self.stop.stop();
    }
}

/// One target's loop.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) common: Arc<Common>,
    pub(super) probe: Probe,
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) status: Arc<Status>,
    pub(super) ending: Ending,
}

/// The ideal times of a loop's scrapes.
#[derive(Debug)]
struct Grid {
    interval_ms: i64,
    aligned_ms: i64,
    tick: Duration,
    interval: Duration,
}

impl Grid {
    fn new(clock: &Clock, interval: Duration, interval_ms: i64) -> Self {
        Self { interval_ms, aligned_ms: clock.now_ms(), tick: clock.monotonic() + interval, interval }
    }

    /// The timestamp of a scrape that begins now.
    fn timestamp(&mut self, now_ms: i64) -> i64 {
        if now_ms < self.aligned_ms - self.interval_ms {
            // The wall clock was set back: the grid starts anew.
            self.aligned_ms = now_ms;
        }
        let behind = now_ms.saturating_sub(self.aligned_ms).max(0);
        self.aligned_ms += behind / self.interval_ms * self.interval_ms;
        let tolerance = (self.interval_ms / 100).min(TOLERANCE_MS);
        if now_ms - self.aligned_ms <= tolerance { self.aligned_ms } else { now_ms }
    }

    /// How long to wait for the next tick from `now`.
    fn wait(&mut self, now: Duration) -> Duration {
        let tick = self.tick;
        self.tick += self.interval;
        while self.tick <= now {
            self.tick += self.interval;
        }
        tick.saturating_sub(now)
    }
}

impl Loop {
    /// Scrapes until it is ended, and says good-bye where the target is gone.
    pub(super) async fn run(self, at_once: bool) {
        self.scrape_on(at_once).await;
        if self.ending.gone.load(Ordering::Acquire) {
            self.say_goodbye().await;
        }
    }

    async fn scrape_on(&self, at_once: bool) {
        let target = Arc::clone(&self.probe.target);
        let clock = self.common.clock;
        let offset = if at_once { 0 } else { target.offset_ms(clock.now_ms(), self.common.seed) };
        if !self.pause(Duration::from_millis(offset)).await {
            return;
        }
        let mut grid = Grid::new(&clock, target.interval.as_std(), target.interval.as_time());
        loop {
            let at_ms = grid.timestamp(clock.now_ms());
            if !self.scrape(at_ms).await || !self.pause(grid.wait(clock.monotonic())).await {
                return;
            }
        }
    }

    /// Waits; `false` when the loop is to end.
    async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.common.shutdown.stopped() => false,
            () = self.ending.stop.stopped() => false,
            () = self.common.clock.sleep(time) => true,
        }
    }

    /// One scrape; only the end of the process interrupts it, and then it answers `false`.
    async fn scrape(&self, at_ms: i64) -> bool {
        let clock = self.common.clock;
        let start = clock.monotonic();
        let seconds = || clock.monotonic().saturating_sub(start).as_secs_f64();
        let mut body = self.common.bodies.take();
        let fetched = match self.status.forced_error() {
            Some(message) => Err(Error::new(Kind::Limit, message)),
            None => tokio::select! {
                biased;
                () = self.common.shutdown.stopped() => return false,
                fetched = self.fetcher.get(&self.probe.target, &mut body) => fetched,
            },
        };
        let result = self.probe.round(fetched.map(|format| (format, &body[..])), at_ms, seconds).await;
        self.common.bodies.give(body);
        if let Err(error) = &result {
            tracing::debug!(target = %self.probe.target.url, job = %self.probe.job.job, %error, "scrape failed");
        }
        self.status.report(at_ms, seconds(), result.err().map(|e| e.to_string()));
        true
    }

    /// Writes the stale markers of a target that is gone, at the time of its next scrape; but waits two
    /// intervals and a tenth first, and spares the series that somebody else has scraped meanwhile: a target
    /// that comes back must not look stale.
    async fn say_goodbye(&self) {
        if self.status.last_scrape_ms().is_none() {
            return;
        }
        let interval = self.probe.target.interval.as_std();
        if !self.rest(interval).await {
            return;
        }
        let stale_ms = self.common.clock.now_ms();
        if !self.rest(interval + interval / 10).await {
            return;
        }
        let goes_on: Arc<HashSet<Handle>> = self.common.live.handles(&self.common.clock, interval / 10);
        if let Err(error) = self.probe.farewell(stale_ms, &goes_on).await {
            tracing::warn!(target = %self.probe.target.url, %error, "the stale markers of a removed target are lost");
        }
    }

    async fn rest(&self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.common.shutdown.stopped() => false,
            () = self.common.clock.sleep(time) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        Grid {
            interval_ms: 1_000,
            aligned_ms: 5_000,
            tick: Duration::from_secs(1),
            interval: Duration::from_secs(1),
        }
    }

    #[test]
    fn timestamps_are_aligned_within_the_tolerance_only() {
        let mut grid = grid();
        let cases = [(5_000, 5_000), (6_002, 6_000), (7_003, 7_003), (7_999, 7_999), (9_001, 9_000)];
        for (now, expected) in cases {
            assert_eq!(grid.timestamp(now), expected, "{now}");
        }
        let mut short = Grid { interval_ms: 100, ..self::grid() };
        assert_eq!((short.timestamp(5_101), short.timestamp(5_202)), (5_100, 5_202), "1 % of the interval");
    }

    #[test]
    fn a_clock_set_back_starts_the_grid_anew() {
        let mut grid = grid();
        assert_eq!(grid.timestamp(1_234), 1_234);
        assert_eq!(grid.timestamp(2_235), 2_234);
    }

    #[test]
    fn one_late_tick_is_served_and_more_are_skipped() {
        let mut grid = grid();
        let wait = |grid: &mut Grid, ms| grid.wait(Duration::from_millis(ms)).as_millis();
        assert_eq!(wait(&mut grid, 100), 900);
        assert_eq!(wait(&mut grid, 2_100), 0, "the tick of 2 s is served late");
        assert_eq!(wait(&mut grid, 2_200), 800);
        assert_eq!(wait(&mut grid, 6_500), 0);
        assert_eq!(wait(&mut grid, 6_600), 400, "those of 5 and 6 s are gone");
    }
}
