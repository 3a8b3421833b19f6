//! One turn of one file: look, split, store, move on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::file::{Ask, Look, Rest, Tailed};
use super::lines::{Consumed, Flush, Split};
use crate::model::{FilePosition, LogBatch};
use crate::runtime::{Clock, Pools, Registry, Shutdown};
use crate::source::log_sink::{LogSink, count_lines, count_refused, count_replaced};
use crate::source::settings::FILENAME;
use crate::wire::logs::{Intake, LogRules};

/// The least number of bytes that one look reads.
const LOOK_BYTES: usize = 512 << 10;
/// The first and the longest pause after a batch was not stored.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Times given to lines may run ahead of the clock by this much after it was set back; ns.
const AHEAD_NS: i64 = 3_600_000_000_000;
const DOOR: &str = "file";

/// What all files share.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) sink: LogSink,
    pub(super) rules: LogRules,
    pub(super) entry_bytes: usize,
    pub(super) clock: Clock,
    pub(super) pools: Pools,
    pub(super) registry: Arc<Registry>,
    pub(super) shutdown: Shutdown,
}

/// The rules of doors where they make sense for files: nothing of a file may be refused, as nobody would hear of it.
pub(super) fn rules_of_files(rules: &LogRules) -> LogRules {
    LogRules {
        // A byte that is no text takes three.
        line_bytes: rules.line_bytes.saturating_mul(3),
        label_names: usize::MAX,
        label_name_bytes: usize::MAX,
        label_value_bytes: usize::MAX,
        max_age_ms: None,
        grace_ms: i64::MAX,
        ..rules.clone()
    }
}

/// The times that lines get: each later than the one before, over all files, so that equal lines of a file and of
/// its successor stay two.
#[derive(Debug)]
pub(super) struct Times(AtomicI64);

impl Times {
    pub(super) fn new() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }

    /// Later lines are later than this.
    pub(super) fn pass(&self, ns: i64) {
        self.0.fetch_max(ns, Ordering::Relaxed);
    }

    fn next(&self, now_ns: i64) -> i64 {
        let later = |last: i64| if last >= now_ns && last - now_ns < AHEAD_NS { last + 1 } else { now_ns };
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(later(last)));
        last.map_or(now_ns, later)
    }
}

impl Tailed {
    /// Reads on; `true` when more is waiting in the file.
    pub(super) async fn turn(&mut self, ground: &Ground, times: &Times, flush: Flush) -> bool {
        if self.replaced || self.shadow_of.is_some() {
            return false;
        }
        let ask = Ask {
            file: Arc::clone(&self.file),
            print: self.print,
            offset: self.offset,
            stamp: self.stamp.filter(|_| flush == Flush::No),
            limit: LOOK_BYTES.max(ground.entry_bytes * 2 + 2),
        };
        match ground.pools.run_blocking(move || ask.look()).await {
            Ok(Look::Same) => false,
            Ok(Look::Replaced) => {
                self.replaced = true;
                false
            }
            Ok(Look::Bytes { bytes, print, stamp, at_end }) => {
                // A write right after a look may leave size and time as they are: what was seen twice is certain.
                let is_certain = at_end && self.seen == Some(stamp);
                if self.seen != Some(stamp) {
                    self.changed = ground.clock.monotonic();
                    self.seen = Some(stamp);
                }
                // The position that is stored with the lines has it, too.
                self.print = print;
                let flush = if at_end { flush } else { Flush::No };
                let Some(consumed) = self.take(ground, times, &bytes, flush).await else { return false };
                self.offset += u64::try_from(consumed).unwrap_or(0);
                self.rest = match flush {
                    _ if consumed == bytes.len() => Rest::Nothing,
                    Flush::No => Rest::Waits,
                    Flush::Lines | Flush::All => Rest::Unfinished,
                };
                self.stamp = is_certain.then_some(stamp);
                !at_end
            }
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "a log file cannot be read");
                false
            }
        }
    }

    /// Stores the entries of some bytes and gives how many bytes are taken. `None` when the end came first.
    async fn take(&mut self, ground: &Ground, times: &Times, bytes: &[u8], flush: Flush) -> Option<usize> {
        let (mut batch, consumed) = self.batch(ground, times, bytes, flush);
        if consumed.bytes == 0 {
            return Some(0);
        }
        let (lines, text) = (batch.len(), batch.bodies.len());
        let last_ns = batch.timestamps.last().copied().unwrap_or(self.last_ns);
        batch.position = Some(FilePosition {
            offset: self.offset + u64::try_from(consumed.bytes).unwrap_or(0),
            last_ns,
            ..self.position()
        });
        if !store(ground, batch).await {
            return None;
        }
        self.last_ns = last_ns;
        count_lines(&ground.registry, DOOR, lines, text);
        let help = "How often an entry of a log file was cut because it is longer than a line may be.";
        ground.registry.counter("quipu_log_files_cuts_total", help, &[]).add(consumed.cuts);
        Some(consumed.bytes)
    }

    fn batch(&self, ground: &Ground, times: &Times, bytes: &[u8], flush: Flush) -> (LogBatch, Consumed) {
        let path = self.path.to_string_lossy();
        let mut intake = Intake::new(&ground.rules, ground.clock.now_ms());
        let labels = self.settings.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut labels: Vec<(&str, &str)> = labels.chain([(FILENAME, &*path)]).collect();
        let stream = intake.stream(&mut labels);
        let multiline = self.settings.multiline.as_ref();
        let split = Split { limit: ground.entry_bytes, start: multiline.map(|rule| &rule.start) };
        let now_ns = ground.clock.now_ms().saturating_mul(1_000_000);
        let consumed = split.entries(bytes, flush, |entry| {
            let text = intake.text(entry);
            match &stream {
                Ok(stream) => intake.line(*stream, times.next(now_ns), &text),
                Err(refusal) => intake.refuse(1, entry.len(), refusal),
            }
        });
        let taken = intake.finish();
        count_refused(&ground.registry, DOOR, &taken.refused);
        if taken.replaced > 0 {
            count_replaced(&ground.registry, DOOR, taken.replaced);
        }
        (taken.batch, consumed)
    }
}

/// Stores a batch, however long it takes. `false` when the end came first. The very same batch is sent again, so
/// that one that was stored without an answer is not stored twice.
pub(super) async fn store(ground: &Ground, batch: LogBatch) -> bool {
    let mut pause = FIRST_PAUSE;
    loop {
        let Err(error) = ground.sink.append(batch.clone()).await else { return true };
        tracing::warn!(%error, ?pause, "lines of a log file could not be stored; they wait in the file");
        tokio::select! {
            biased;
            () = ground.shutdown.stopped() => return false,
            () = ground.clock.sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_ascend_and_do_not_follow_a_clock_that_was_far_ahead() {
        let times = Times::new();
        let given: Vec<i64> = [5, 5, 4, 10].map(|now| times.next(now)).to_vec();
        assert_eq!(given, [5, 6, 7, 10]);
        times.pass(100);
        assert_eq!(times.next(50), 101);
        times.pass(AHEAD_NS * 2);
        assert_eq!([times.next(60), times.next(60)], [60, 61]);
    }
}
