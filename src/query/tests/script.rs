//! Prometheus' test scripts, over series in memory and over a store: as far as a script loads floats only.
//!
//! The scripts are not part of this repository; where they are not beside it the test says so and passes.

#![expect(clippy::float_cmp, reason = "Prometheus compares what it expects exactly first")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::model::time::{self, parse_duration};
use crate::model::{Batch, Principal, STALE_NAN, Tenant, Timestamps, is_stale};
use crate::runtime::{Disk, Objects, Shutdown};
use crate::store::{Store, StoreGround, StoreSettings};

/// Series by labels, with what a script has loaded so far.
#[derive(Debug, Default)]
struct Loaded {
    series: BTreeMap<(String, Labels), BTreeMap<i64, f64>>,
    /// Something was loaded that series of floats cannot hold.
    has_more: bool,
}

/// What one script gave.
#[derive(Debug, Default)]
struct Count {
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
}

fn labels_of(text: &str) -> (String, Labels) {
    let matchers = promql::parse_selector(text).unwrap_or_else(|_| {
        assert_eq!(text.trim(), "{}", "a series that the parser cannot read");
        Vec::new()
    });
    let metric = matchers.iter().find(|m| m.name() == "__name__").map_or("", |m| m.value()).to_owned();
    let rest = matchers.iter().filter(|m| m.name() != "__name__").map(|m| (m.name(), m.value()));
    (metric, Labels::from_pairs(rest).expect("labels"))
}

/// Splits a series line into its labels and its points.
fn split_series(line: &str) -> (&str, &str) {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in line.char_indices() {
        if quote.is_some() {
            quote = quote.filter(|open| *open != c);
            continue;
        }
        match c {
            '"' | '\'' | '`' => quote = Some(c),
            '{' => depth += 1,
            '}' => depth -= 1,
            ' ' | '\t' if depth == 0 => return (&line[..at], line[at..].trim()),
            _ => {}
        }
    }
    (line, "")
}

fn number(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().trim_start_matches('+') {
        "stale" => Some(f64::from_bits(STALE_NAN)),
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        "nan" => Some(f64::NAN),
        text => text.replace('_', "").parse().ok(),
    }
}

/// One item of a series line, as values; `None` where it is no float.
fn items(text: &str) -> Option<Vec<Option<f64>>> {
    if let Some(gaps) = text.strip_prefix('_') {
        let count = if gaps.is_empty() { 1 } else { gaps.strip_prefix('x')?.parse().ok()? };
        return Some(vec![None; count]);
    }
    let Some((start, count)) = text.rsplit_once('x') else { return Some(vec![Some(number(text)?)]) };
    let count: usize = count.parse().ok()?;
    if let Some(value) = number(start) {
        return Some(vec![Some(value); count + 1]);
    }
    let sign = start[1..]
        .char_indices()
        .filter(|(at, c)| matches!(c, '+' | '-') && !matches!(start.as_bytes()[*at], b'e' | b'E'));
    let at = sign.map(|(at, _)| at + 1).next_back()?;
    let (mut value, step) = (number(&start[..at])?, number(&start[at..])?);
    let mut all = Vec::new();
    for _ in 0..=count {
        all.push(Some(value));
        value += step;
    }
    Some(all)
}

impl Loaded {
    fn line(&mut self, step: i64, line: &str) {
        let (name, points) = split_series(line);
        let mut values = Vec::new();
        for item in points.split_whitespace() {
            match items(item) {
                Some(more) => values.extend(more),
                None => return self.has_more = true,
            }
        }
        if name.contains("}@") {
            return self.has_more = true;
        }
        let at = |k: usize| step * i64::try_from(k).expect("small");
        let points = values.into_iter().enumerate().filter_map(|(k, v)| Some((at(k), v?))).collect();
        let old = self.series.insert(labels_of(name), points);
        if let Some(old) = old {
            let series = self.series.get_mut(&labels_of(name)).expect("just inserted");
            for (t, v) in old {
                series.entry(t).or_insert(v);
            }
        }
    }

    fn memory(&self) -> Data {
        let one = |((metric, labels), points): (&(String, Labels), &BTreeMap<i64, f64>)| MemorySeries {
            key: SeriesKey { metric: Arc::from(metric.as_str()), labels: labels.clone() },
            timestamps: points.iter().filter(|(_, v)| !is_stale(**v)).map(|(t, _)| *t).collect(),
            values: points.values().copied().filter(|v| !is_stale(*v)).collect(),
            stale_at: points.iter().filter(|(_, v)| is_stale(**v)).map(|(t, _)| *t).collect(),
        };
        Data::memory(self.series.iter().map(one).collect())
    }

    /// What a real store gives back: in how many parts it was written, whether each was flushed, and whether
    /// the files were merged.
    async fn stored(&self, place: Place) -> Result<Data> {
        let ground = StoreGround {
            objects: Objects::memory(),
            disk: Disk::simulated(1, Clock::manual(NOW)),
            clock: Clock::manual(NOW),
            pools: Pools::inline(),
            registry: Registry::new(),
            shutdown: Shutdown::new(),
        };
        let store = Store::open(StoreSettings::default(), ground, Path::new("/wal")).await?;
        let tenant = Tenant::default();
        let parts = if place == Place::Merged { 3 } else { 1 };
        for part in 0..parts {
            store.append(&tenant, self.part(&store, (part, parts))?).await?;
            if place != Place::Buffer {
                store.flush().await?;
            }
        }
        if place == Place::Merged {
            let days: BTreeSet<i32> =
                self.series.values().flat_map(BTreeMap::keys).map(|t| time::day_of(*t)).collect();
            for day in days {
                store.merge_day(&tenant, day).await?;
            }
        }
        Ok(Data::from(store.snapshot(&tenant, &Principal::default())))
    }

    /// Every `parts`-th point of each series, so that the parts overlap.
    fn part(&self, store: &Store, (part, parts): (usize, usize)) -> Result<Batch> {
        let (mut series, mut timestamps, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for ((metric, labels), points) in &self.series {
            let handle = store.resolve(&Tenant::default(), metric, labels.as_ref())?;
            for (t, v) in points.iter().skip(part).step_by(parts) {
                series.push(handle);
                timestamps.push(*t);
                values.push(*v);
            }
        }
        Ok(Batch { series, timestamps: Timestamps::Each(timestamps), values, metadata: Vec::new() })
    }

    async fn data(&self, place: Place) -> Data {
        match place {
            Place::Memory => self.memory(),
            _ => self.stored(place).await.expect("a store in memory takes what a script loads"),
        }
    }
}

/// Where the samples of a script are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In no store.
    Memory,
    /// In the store's buffer.
    Buffer,
    /// In a file.
    Flushed,
    /// In three overlapping files that were merged.
    Merged,
}

const NOW: i64 = 1_800_000_000_000;

fn duration(text: &str) -> i64 {
    match text.strip_prefix('-') {
        Some(text) => -parse_duration(text).expect("a duration"),
        None => parse_duration(text).expect("a duration"),
    }
}

/// Prometheus' `almost.Equal` at 1e-6.
fn almost(a: f64, b: f64) -> bool {
    if a == b || a.is_nan() && b.is_nan() {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < 1e-6 * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < 1e-6
}

/// One `eval` block.
#[derive(Debug, Default)]
struct Eval {
    header: String,
    lines: Vec<String>,
}

impl Eval {
    fn question(&self) -> Option<(Question, i64)> {
        let rest = self.header.strip_prefix("eval")?;
        let suffix =
            ["_ordered", "_fail", "_warn", "_info"].into_iter().find_map(|end| rest.strip_prefix(end));
        let rest = suffix.unwrap_or(rest).trim();
        let mut words = rest.splitn(3, ' ');
        let (kind, _) = (words.next()?, words.next()?);
        let rest = words.next()?;
        if kind == "instant" {
            let (at, text) = rest.split_once(' ')?;
            return Some((instant(text.trim(), duration(at)), 1));
        }
        let words: Vec<&str> = rest.splitn(6, ' ').collect();
        let [from, _, to, _, step, text] = words.as_slice() else { return None };
        let step_ms = duration(step);
        let times = Times::Range { start_ms: duration(from), end_ms: duration(to), step_ms };
        Some((Question { times, ..instant(text.trim(), 0) }, step_ms))
    }

    fn fails(&self) -> bool {
        self.header.starts_with("eval_fail") || self.lines.iter().any(|line| line.starts_with("expect fail"))
    }

    fn needs_more(&self) -> bool {
        self.lines.iter().any(|line| line.contains("{{") || line.starts_with("expect range vector"))
    }

    fn check_annotations(&self, answer: &Answer) -> std::result::Result<(), String> {
        for (kind, all) in [("warn", &answer.warnings), ("info", &answer.infos)] {
            let wanted: Vec<&String> =
                self.lines.iter().filter(|line| line.starts_with(&format!("expect {kind}"))).collect();
            let none = self.lines.iter().any(|line| *line == format!("expect no_{kind}"));
            if none && !all.is_empty() {
                return Err(format!("unexpected {kind}: {all:?}"));
            }
            if !wanted.is_empty() && all.is_empty() {
                return Err(format!("no {kind}, expected {wanted:?}"));
            }
            for line in wanted {
                let Some((_, text)) = line.split_once("msg:") else { continue };
                if !all.iter().any(|found| found == text.trim()) {
                    return Err(format!("no {kind} {:?} in {all:?}", text.trim()));
                }
            }
        }
        Ok(())
    }

    fn check(&self, answer: &Answer, step_ms: i64, start_ms: i64) -> std::result::Result<(), String> {
        self.check_annotations(answer)?;
        if let Some(text) = self.lines.iter().find_map(|line| line.strip_prefix("expect string ")) {
            let wanted = text.trim().trim_matches(['"', '\'', '`']);
            return if answer.text() == wanted { Ok(()) } else { Err(format!("text {:?}", answer.text())) };
        }
        let expected: Vec<&String> = self.lines.iter().filter(|line| !line.starts_with("expect")).collect();
        if answer.shape() == Shape::Scalar {
            let wanted = number(expected.first().ok_or("no expectation")?).ok_or("no number")?;
            let got = answer.series()[0].points().next().ok_or("no point")?.1;
            return if almost(got, wanted) { Ok(()) } else { Err(format!("{got} is not {wanted}")) };
        }
        if answer.series().len() != expected.len() {
            return Err(format!(
                "{} series, expected {}: {:?}",
                answer.series().len(),
                expected.len(),
                shown(answer)
            ));
        }
        let ordered =
            self.header.contains("_ordered") || self.lines.iter().any(|line| line == "expect ordered");
        for (at, line) in expected.into_iter().enumerate() {
            let (name, points) = split_series(line);
            let key = labels_of(name);
            let found = answer.series().iter().position(|series| {
                let mut pairs = series.labels().filter(|(name, _)| *name != "__name__");
                let metric = series.labels().find(|(name, _)| *name == "__name__").map_or("", |(_, v)| v);
                metric == key.0 && key.1.iter().eq(pairs.by_ref())
            });
            let found = found.ok_or_else(|| format!("no series {line}: {:?}", shown(answer)))?;
            if ordered && found != at {
                return Err(format!("{line} at place {found}"));
            }
            let points: Option<Vec<_>> = points.split_whitespace().map(items).collect();
            let points = points.ok_or("no floats")?.concat();
            let got: BTreeMap<i64, f64> = answer.series()[found].points().collect();
            let wanted = points
                .iter()
                .enumerate()
                .filter_map(|(k, v)| Some((start_ms + step_ms * i64::try_from(k).expect("small"), (*v)?)));
            let wanted: BTreeMap<i64, f64> = wanted.collect();
            let same = got.len() == wanted.len()
                && got.iter().zip(&wanted).all(|((t, a), (u, b))| t == u && almost(*a, *b));
            if !same {
                return Err(format!("{line}: got {got:?}"));
            }
        }
        Ok(())
    }
}

async fn evaluate(eval: &Eval, (loaded, data): (&Loaded, &Data), count: &mut Count) {
    let Some((question, step_ms)) = eval.question() else {
        return count.failed.push(format!("unreadable: {}", eval.header));
    };
    let start_ms = match question.times {
        Times::Instant { time_ms } => time_ms,
        Times::Range { start_ms, .. } => start_ms,
    };
    let result = match engine(true).promql(data, &question).await {
        Err(error) if error.kind() == Kind::Unsupported => return count.skipped += 1,
        Err(_) if eval.fails() => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(_) if eval.fails() => Err("should fail".to_owned()),
        Ok(_) if eval.needs_more() => return count.skipped += 1,
        Ok(answer) => eval.check(&answer, step_ms, start_ms),
    };
    match result {
        Ok(()) => count.passed += 1,
        Err(why) if loaded.has_more => {
            println!("    needs more than floats: {}: {why}", eval.header);
            count.skipped += 1;
        }
        Err(why) => count.failed.push(format!("{}\n      {why}", eval.header)),
    }
}

async fn script(text: &str, place: Place) -> Count {
    let (mut count, mut loaded, mut data) = (Count::default(), Loaded::default(), None);
    let mut lines =
        text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).peekable();
    while let Some(line) = lines.next() {
        let mut block = Vec::new();
        let is_block = line.starts_with("load") || line.starts_with("eval");
        while is_block && lines.peek().is_some_and(|line| !line.is_empty()) {
            block.extend(lines.next().map(str::to_owned));
        }
        if line.starts_with("load") || line == "clear" {
            data = None;
        }
        if line == "clear" {
            loaded = Loaded::default();
        } else if let Some(step) = line.strip_prefix("load_with_nhcb") {
            loaded.has_more = true;
            for line in &block {
                loaded.line(duration(step.trim()), line);
            }
        } else if let Some(step) = line.strip_prefix("load") {
            for line in &block {
                loaded.line(duration(step.trim()), line);
            }
        } else if line.starts_with("eval") {
            if data.is_none() {
                data = Some(loaded.data(place).await);
            }
            let eval = Eval { header: line.to_owned(), lines: block };
            let data = data.as_ref().expect("just made");
            evaluate(&eval, (&loaded, data), &mut count).await;
        }
    }
    count
}

/// Runs all scripts of a folder; how many evals passed and which did not.
async fn folder(folder: &Path, place: Place) -> Option<(usize, Vec<String>)> {
    let files = std::fs::read_dir(folder).ok()?;
    let mut files: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|ext| ext == "test"));
    files.sort();
    let (mut passed, mut failed) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a readable script");
        let count = script(&text, place).await;
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        println!(
            "{name}: {} passed, {} unsupported, {} failed",
            count.passed,
            count.skipped,
            count.failed.len()
        );
        passed += count.passed;
        failed.extend(count.failed.iter().map(|why| format!("{name}: {why}")));
    }
    Some((passed, failed))
}

const PLACES: [Place; 4] = [Place::Memory, Place::Buffer, Place::Flushed, Place::Merged];

#[tokio::test(start_paused = true)]
async fn our_own_scripts_pass_wherever_the_samples_are() {
    for place in PLACES {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries/promql");
        let (passed, failed) = folder(&scripts, place).await.expect("scripts");
        assert_eq!(failed, Vec::<String>::new(), "{place:?}");
        assert!(passed >= 30, "only {passed} passed");
    }
}

#[tokio::test(start_paused = true)]
async fn the_conformance_scripts_pass_wherever_the_samples_are() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/promql");
    for place in PLACES {
        println!("-- {place:?}");
        let Some((passed, failed)) = folder(&shared, place).await else {
            return println!("SKIPPED: no conformance scripts in {}", shared.display());
        };
        println!("{passed} passed, {} failed", failed.len());
        assert!(failed.is_empty(), "{place:?}: {}", failed.join("\n"));
        assert!(passed >= 500, "only {passed} passed");
    }
}
