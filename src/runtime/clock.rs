//! Time: the wall clock, a monotonic clock and sleep. The only file that may read the system's clocks.
//!
//! A manual clock starts at a given millisecond and moves with tokio's clock, so that a test under
//! `#[tokio::test(start_paused = true)]` moves everything with `tokio::time::advance`, or not at all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Where a component gets the time from. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Wall-clock ms at `base`; `None` asks the system.
    start_ms: Option<i64>,
    base: Instant,
}

impl Clock {
    /// The system's clocks.
    pub fn real() -> Self {
        Self { start_ms: None, base: Instant::now() }
    }

    /// A wall clock that reads `start_ms` (ms since 1970 UTC) now and moves with tokio's clock.
    pub fn manual(start_ms: i64) -> Self {
        Self { start_ms: Some(start_ms), base: Instant::now() }
    }

    /// Milliseconds since 1970 UTC; negative before.
    pub fn now_ms(&self) -> i64 {
        match self.start_ms {
            Some(start) => start.saturating_add(duration_ms(self.base.elapsed())),
            None => system_ms(),
        }
    }

    /// Time since this clock was made; never goes back.
    pub fn monotonic(&self) -> Duration {
        self.base.elapsed()
    }

    /// Waits. Dropping the future ends the wait.
    #[expect(clippy::disallowed_methods, reason = "this is the place that other rooms are sent to")]
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Waits until the wall clock reads `ms`; returns at once when it already does.
    pub async fn sleep_until_ms(&self, ms: i64) {
        let wait = ms.saturating_sub(self.now_ms());
        if let Ok(wait) = u64::try_from(wait) {
            self.sleep(Duration::from_millis(wait)).await;
        }
    }

    /// The future's answer, or `None` when it did not come within `limit`.
    pub async fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(limit, future).await.ok()
    }
}

/// A file time or any other system time as ms since 1970 UTC.
pub(crate) fn to_ms(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => duration_ms(after),
        Err(before) => -duration_ms(before.duration()),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the place that other rooms are sent to")]
fn system_ms() -> i64 {
    to_ms(SystemTime::now())
}

fn duration_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_manual_clock_moves_with_tokio_s_and_not_by_itself() {
        let clock = Clock::manual(1_000);
        assert_eq!(clock.now_ms(), 1_000);
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!((clock.now_ms(), clock.monotonic()), (1_250, Duration::from_millis(250)));
        clock.sleep_until_ms(5_000).await;
        assert_eq!(clock.now_ms(), 5_000);
        clock.sleep_until_ms(10).await;
        assert_eq!(clock.now_ms(), 5_000, "a time in the past is no wait");
    }

    #[tokio::test(start_paused = true)]
    async fn within_gives_up() {
        let clock = Clock::manual(0);
        assert_eq!(clock.within(Duration::from_secs(1), std::future::pending::<()>()).await, None);
        assert_eq!(clock.within(Duration::from_secs(1), async { 7 }).await, Some(7));
    }

    #[test]
    fn file_times_before_1970_are_negative() {
        assert_eq!(to_ms(UNIX_EPOCH - Duration::from_secs(2)), -2_000);
        assert!(Clock::real().now_ms() > 1_700_000_000_000);
    }
}
