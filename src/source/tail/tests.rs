//! Real files under a clock that stands still: rotation in every order, restarts, and a store that is down.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use futures::FutureExt;

use super::*;
use crate::error::{Error, Kind};
use crate::model::{FilePosition, LogBatch};
use crate::runtime::Dice;

#[derive(Debug, Default)]
struct Stored {
    /// Stream, time, text.
    lines: Vec<(String, i64, String)>,
    positions: BTreeMap<(u64, u64), FilePosition>,
    down: bool,
}

/// A folder with files, and a store that keeps what it is given.
struct Bench {
    dir: tempfile::TempDir,
    stored: Arc<Mutex<Stored>>,
    clock: Clock,
    rules: LogRules,
    registry: Arc<Registry>,
}

impl Bench {
    fn new() -> Self {
        let rules = LogRules { detect_levels: false, service_name_from: Vec::new(), ..LogRules::default() };
        Self {
            dir: tempfile::tempdir().expect("a temporary folder"),
            stored: Arc::default(),
            clock: Clock::manual(1_790_000_000_000),
            rules,
            registry: Registry::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let file = fs::File::options().create(true).append(true).open(self.path(name));
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("the folder can be written");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("it is there");
    }

    /// What `logrotate` does for `copytruncate`. Later than the last write by the file system's clock, which moves
    /// in steps: nobody is that fast.
    fn copy_and_truncate(&self, from: &str, to: &str) {
        let written =
            |path: PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).expect("it is there");
        let (last, probe) = (written(self.path(from)), self.path("probe"));
        loop {
            fs::write(&probe, "x").expect("the folder can be written");
            if written(probe.clone()) > last {
                break;
            }
        }
        fs::copy(self.path(from), self.path(to)).expect("it is there");
        fs::File::options().write(true).truncate(true).open(self.path(from)).expect("it is there");
    }

    fn settings(&self, pattern: &str) -> LogFileSettings {
        LogFileSettings {
            paths: vec![self.path(pattern).display().to_string()],
            labels: BTreeMap::from([("job".to_owned(), "j".to_owned())]),
            multiline: None,
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Stored> {
        self.stored.lock().expect("no panic inside")
    }

    fn start(&self, settings: &[LogFileSettings]) -> Tailer {
        let (into, from) = (Arc::clone(&self.stored), Arc::clone(&self.stored));
        let append = move |batch: LogBatch| {
            let stored = &mut *into.lock().expect("no panic inside");
            let result = if stored.down {
                Err(Error::new(Kind::Unavailable, "down"))
            } else {
                let lines = (0..batch.len()).map(|row| batch.line(row)).map(|line| {
                    let stream = batch.streams[line.stream as usize].as_ref().to_string();
                    (stream, line.timestamp, line.body.to_owned())
                });
                stored.lines.extend(lines);
                if let Some(position) = batch.position {
                    let key = (position.device, position.inode);
                    if position.is_done {
                        stored.positions.remove(&key);
                    } else {
                        stored.positions.insert(key, position);
                    }
                }
                Ok(())
            };
            async move { result }.boxed()
        };
        let sink = LogSink::new(append, move || {
            from.lock().expect("no panic inside").positions.values().cloned().collect()
        });
        let tailer = Tailer::start(sink, &self.rules, self.clock, &Pools::inline(), &self.registry);
        tailer.apply(settings);
        tailer
    }

    async fn wait(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    /// The texts stored so far, in order.
    fn texts(&self) -> Vec<String> {
        self.state().lines.iter().map(|(_, _, text)| text.clone()).collect()
    }

    fn labels_of(&self, text: &str) -> String {
        let line = self.state().lines.iter().find(|(_, _, found)| found == text).cloned();
        line.expect("the line is there").0.replace(&self.dir.path().display().to_string(), "")
    }
}

#[tokio::test(start_paused = true)]
async fn lines_are_taken_as_they_end_and_survive_a_restart() {
    let bench = Bench::new();
    bench.append("a.log", "one\ntwo\nthr");
    let settings = [bench.settings("*.log")];
    let tailer = bench.start(&settings);
    bench.wait(3).await;
    assert_eq!(bench.texts(), ["one", "two"]);
    assert_eq!(bench.labels_of("one"), r#"{filename="/a.log", job="j"}"#);
    bench.append("a.log", "ee\n");
    bench.append("b.log", "new file\n");
    bench.append("c.log.gz", "not read\n");
    bench.wait(3).await;
    assert_eq!(bench.texts(), ["one", "two", "three", "new file"]);
    tailer.stop().await;
    bench.append("a.log", "four\n");
    let tailer = bench.start(&settings);
    bench.wait(3).await;
    assert_eq!(bench.texts()[4..], ["four"]);
    let times: Vec<i64> = bench.state().lines.iter().map(|(_, time, _)| *time).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    tailer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_renamed_file_is_read_to_its_end() {
    let bench = Bench::new();
    bench.append("a.log", "one\n");
    // The pattern does not find what rotation leaves.
    let tailer = bench.start(&[bench.settings("a.log")]);
    bench.wait(3).await;
    bench.rename("a.log", "a.log.1");
    bench.append("a.log.1", "two\nlast without end");
    bench.append("a.log", "three\n");
    bench.wait(10).await;
    bench.append("a.log.1", " of line\nfour");
    bench.wait(30).await;
    let mut texts = bench.texts();
    texts.sort();
    assert_eq!(texts, ["last without end of line", "one", "three", "two"]);
    assert_eq!(bench.labels_of("two"), r#"{filename="/a.log", job="j"}"#);
    bench.wait(40).await;
    assert_eq!(bench.texts().last().map(String::as_str), Some("four"), "nothing follows any more");
    fs::remove_file(bench.path("a.log")).expect("it is there");
    bench.wait(10).await;
    assert_eq!(bench.state().positions.len(), 1, "a deleted file needs no position");
    tailer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_truncated_file_is_read_anew_and_its_copy_to_the_end() {
    for pattern in ["a.log", "a.log*"] {
        let bench = Bench::new();
        bench.append("a.log", "one\n");
        let settings = [bench.settings(pattern)];
        let tailer = bench.start(&settings);
        bench.wait(3).await;
        bench.append("a.log", "two\n");
        bench.copy_and_truncate("a.log", "a.log.1");
        bench.append("a.log", "three\nfour\nfive\n");
        bench.wait(5).await;
        let mut texts = bench.texts();
        texts.sort();
        // Without the copy what was not read in time is gone.
        let expected: &[&str] = if pattern == "a.log" {
            &["five", "four", "one", "three"]
        } else {
            &["five", "four", "one", "three", "two"]
        };
        assert_eq!(texts, expected, "{pattern}");
        tailer.stop().await;
        // Once more while nobody looks.
        bench.append("a.log", "six\n");
        bench.rename("a.log.1", "a.log.2");
        bench.copy_and_truncate("a.log", "a.log.1");
        bench.append("a.log", "seven\n");
        let tailer = bench.start(&settings);
        bench.wait(5).await;
        let new = &bench.texts()[expected.len()..];
        let expected: &[&str] = if pattern == "a.log" { &["seven"] } else { &["seven", "six"] };
        let mut new = new.to_vec();
        new.sort();
        assert_eq!(new, expected, "{pattern}");
        tailer.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_beside_its_original_is_not_read_twice() {
    let bench = Bench::new();
    bench.append("a.log", "one\ntwo\n");
    let tailer = bench.start(&[bench.settings("a.log*")]);
    bench.wait(3).await;
    fs::copy(bench.path("a.log"), bench.path("a.log.1")).expect("it is there");
    bench.wait(5).await;
    bench.append("a.log", "three\n");
    bench.wait(5).await;
    assert_eq!(bench.texts(), ["one", "two", "three"]);
    fs::File::options().write(true).truncate(true).open(bench.path("a.log")).expect("it is there");
    bench.append("a.log", "four\n");
    bench.wait(5).await;
    assert_eq!(bench.texts(), ["one", "two", "three", "four"]);
    // A file of its own that begins in the same way.
    bench.append("b.log", "four\n");
    bench.append("a.log.err", "four\n");
    bench.wait(5).await;
    assert_eq!(bench.texts().len(), 5, "{:?}", bench.texts());
    tailer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_waits() {
    let bench = Bench::new();
    bench.state().down = true;
    bench.append("a.log", "one\n");
    let settings = [bench.settings("*.log")];
    let tailer = bench.start(&settings);
    bench.wait(20).await;
    bench.append("a.log", "two\n");
    assert!(bench.texts().is_empty());
    bench.state().down = false;
    bench.wait(20).await;
    assert_eq!(bench.texts(), ["one", "two"]);
    bench.state().down = true;
    bench.append("a.log", "three\n");
    bench.wait(5).await;
    tailer.stop().await;
    bench.state().down = false;
    let tailer = bench.start(&settings);
    bench.wait(5).await;
    assert_eq!(bench.texts(), ["one", "two", "three"]);
    tailer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn entries_of_several_lines_wait_for_the_next_one_but_not_for_ever() {
    let bench = Bench::new();
    let rule = serde_json::json!({"paths": [bench.path("*.log")], "multiline": {"start": r"^\["}});
    let settings: LogFileSettings = serde_json::from_value(rule).expect("settings");
    bench.append("a.log", "[1] a\n at b\n[2] c\n at d\n");
    let tailer = bench.start(std::slice::from_ref(&settings));
    bench.wait(1).await;
    assert_eq!(bench.texts(), ["[1] a\n at b"]);
    bench.append("a.log", " at e\n");
    bench.wait(2).await;
    assert_eq!(bench.texts().len(), 1);
    bench.wait(3).await;
    assert_eq!(bench.texts()[1..], ["[2] c\n at d\n at e"]);
    tailer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_begins_and_ends_following() {
    let bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.append("b.log", "b one\n");
    let tailer = bench.start(&[bench.settings("a.log")]);
    bench.wait(3).await;
    let mut other = bench.settings("*.log");
    other.labels.insert("job".to_owned(), "k".to_owned());
    tailer.apply(&[other]);
    bench.append("a.log", "two\n");
    bench.wait(3).await;
    let mut texts = bench.texts();
    texts.sort();
    assert_eq!(texts, ["b one", "one", "two"]);
    assert_eq!(bench.labels_of("two"), r#"{filename="/a.log", job="k"}"#);
    tailer.apply(&[]);
    bench.wait(3).await;
    bench.append("a.log", "three\n");
    bench.wait(3).await;
    assert_eq!(bench.texts().len(), 3);
    tailer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn long_lines_are_cut_and_bytes_that_are_no_text_are_replaced() {
    let mut bench = Bench::new();
    bench.rules.line_bytes = 1 << 10;
    let long = "é".repeat(700);
    bench.append("a.log", &format!("{long}\nshort\n"));
    let file = fs::File::options().append(true).open(bench.path("a.log"));
    file.and_then(|mut file| file.write_all(b"a\xFFb\n")).expect("the file is there");
    let tailer = bench.start(&[bench.settings("a.log")]);
    bench.wait(3).await;
    let texts = bench.texts();
    assert_eq!(texts[..2].concat(), long);
    assert_eq!(texts[2..], ["short", "a\u{FFFD}b"]);
    let page = bench.registry.render();
    assert!(page.contains("quipu_log_files_cuts_total 1\n"), "{page}");
    assert!(page.contains("quipu_logs_not_utf8_total{door=\"file\"} 1\n"), "{page}");
    assert!(page.contains("quipu_log_files 1\n"), "{page}");
    tailer.stop().await;
}

/// Writing, rotating both ways, stopping, starting and failing in any order: every line is there once.
#[tokio::test(start_paused = true)]
async fn each_line_is_stored_exactly_once_whatever_happens() {
    for seed in 0..12 {
        let bench = Bench::new();
        let mut dice = Dice::new(seed);
        let settings = [bench.settings("app.log*")];
        let mut tailer = Some(bench.start(&settings));
        let (mut written, mut rotated) = (0, 0);
        bench.append("app.log", "");
        for _ in 0..80 {
            match dice.below(9) {
                0..=3 => {
                    for _ in 0..dice.below(4) {
                        bench.append("app.log", &format!("line {written} of seed {seed}\n"));
                        written += 1;
                    }
                }
                4 | 5 => {
                    for old in (1..=rotated).rev() {
                        bench.rename(&format!("app.log.{old}"), &format!("app.log.{}", old + 1));
                    }
                    rotated += 1;
                    if dice.one_in(2) {
                        bench.copy_and_truncate("app.log", "app.log.1");
                    } else {
                        bench.rename("app.log", "app.log.1");
                        bench.append("app.log", "");
                    }
                }
                6 => bench.state().down = dice.one_in(2),
                7 => match tailer.take() {
                    Some(running) => running.stop().await,
                    None => tailer = Some(bench.start(&settings)),
                },
                _ => bench.wait(dice.below(6)).await,
            }
        }
        bench.state().down = false;
        if let Some(running) = tailer.take() {
            running.stop().await;
        }
        bench.append("app.log", &format!("line {written} of seed {seed}\n"));
        written += 1;
        let tailer = bench.start(&settings);
        bench.wait(40).await;
        tailer.stop().await;
        let mut found = bench.texts();
        found.sort_by_key(|text| text.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()));
        let expected: Vec<String> = (0..written).map(|n| format!("line {n} of seed {seed}")).collect();
        assert_eq!(found, expected, "seed {seed}");
    }
}
