//! quipu's own log as a stream of lines in its store.
//!
//! It never logs: a line about a line would have no end. What the store says about a failed append is one line for
//! each try, and there is one try in five seconds. The queue is bounded; what does not fit is lost from the store,
//! not from standard error, and counted.

use std::sync::Arc;
use std::time::Duration;

use super::log_sink::{LogSink, count_lines};
use crate::model::{Labels, LogBatch};
use crate::runtime::{Clock, OwnLine, OwnLines, Registry, Shutdown};
use crate::wire::logs::{Intake, LogRules};

/// How long lines are collected into one batch.
const COLLECT: Duration = Duration::from_secs(1);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// Lines of one batch.
const BATCH: usize = 512;
const DOOR: &str = "own";

/// Stores the lines until the shutdown, and then what is left as far as it can be stored at once.
pub async fn store_own_log(
    mut lines: OwnLines,
    rules: LogRules,
    sink: LogSink,
    clock: Clock,
    registry: Arc<Registry>,
    shutdown: Shutdown,
) {
    let rules = LogRules { max_age_ms: None, grace_ms: i64::MAX, line_bytes: usize::MAX, ..rules };
    let help = "Lines of quipu's own log that did not fit into the queue and are not in the store.";
    let lost = registry.counter("quipu_own_log_lost_lines_total", help, &[]);
    let mut collected = Vec::new();
    loop {
        let more = tokio::select! {
            biased;
            () = shutdown.stopped() => false,
            more = lines.next(&mut collected, BATCH) => more,
        };
        if more {
            tokio::select! {
                () = shutdown.stopped() => {}
                () = clock.sleep(COLLECT) => {}
            }
        }
        lines.take_ready(&mut collected, BATCH);
        lost.add(lines.take_lost());
        let batch = batch(&collected, &rules, clock.now_ms());
        let (count, bytes) = (batch.len(), batch.bodies.len());
        loop {
            if count == 0 || sink.append(batch.clone()).await.is_ok() {
                count_lines(&registry, DOOR, count, bytes);
                break;
            }
            tokio::select! {
                () = shutdown.stopped() => return,
                () = clock.sleep(PAUSE) => {}
            }
        }
        collected.clear();
        if !more {
            return;
        }
    }
}

fn batch(lines: &[OwnLine], rules: &LogRules, now_ms: i64) -> LogBatch {
    let mut intake = Intake::new(rules, now_ms);
    let labels = Labels::from_pairs([("service_name", "quipu")]).expect("one label");
    if let Ok(stream) = intake.own_stream(&labels) {
        for line in lines {
            intake.line(stream, line.at_ns, &line.text);
        }
    }
    intake.finish().batch
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::FutureExt;

    use super::*;
    use crate::error::{Error, Kind};
    use crate::runtime::{Pools, own_lines};

    #[tokio::test(start_paused = true)]
    async fn lines_are_kept_through_a_failure_and_the_rest_is_stored_at_the_end() {
        let clock = Clock::manual(1_000_000);
        let (tap, lines) = own_lines();
        let stored: Arc<Mutex<Vec<String>>> = Arc::default();
        let down = Arc::new(AtomicBool::new(true));
        let (into, is_down) = (Arc::clone(&stored), Arc::clone(&down));
        let append = move |batch: LogBatch| {
            let result = if is_down.load(Ordering::SeqCst) {
                Err(Error::new(Kind::Unavailable, "down"))
            } else {
                let rows = (0..batch.len())
                    .map(|row| format!("{} {}", batch.line(row).body, batch.line(row).metadata));
                into.lock().expect("no panic").extend(rows);
                Ok(())
            };
            async move { result }.boxed()
        };
        let (registry, shutdown) = (Registry::new(), Shutdown::new());
        let sink = LogSink::new(append, Vec::new);
        let rules = LogRules::default();
        let task = Pools::current().spawn_io(store_own_log(
            lines,
            rules,
            sink,
            clock,
            Arc::clone(&registry),
            shutdown.clone(),
        ));
        for n in 0..2_000 {
            tap.send(clock.now_ms(), &format!("level=INFO n={n}"));
        }
        clock.sleep(Duration::from_secs(12)).await;
        assert!(stored.lock().expect("no panic").is_empty());
        down.store(false, Ordering::SeqCst);
        clock.sleep(Duration::from_secs(6)).await;
        tap.send(clock.now_ms(), "level=WARN last");
        shutdown.stop();
        task.await.expect("it ends");
        let stored = stored.lock().expect("no panic");
        assert_eq!(stored.first().map(String::as_str), Some("level=INFO n=0 {detected_level=\"info\"}"));
        assert_eq!(stored.last().map(String::as_str), Some("level=WARN last {detected_level=\"warn\"}"));
        let lost = registry.counter("quipu_own_log_lost_lines_total", "", &[]).get();
        assert_eq!(u64::try_from(stored.len()).expect("few") + lost, 2_001);
        assert!(lost > 0 && stored.len() >= 1_024, "the queue is bounded: {lost}");
    }
}
