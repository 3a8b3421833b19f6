//! The stored tables as another engine reads them: the Delta log line by line, the Parquet files row by row.
//!
//! It shares no code with the store. After a merge of every day and a clean-up: one file per table and day, one
//! row per series and day, the samples that a snapshot shows, and no file that nobody names.

use std::collections::{BTreeMap, BTreeSet};

use arrow::json::writer::{LineDelimited, WriterBuilder};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use quipu::model::{STALE_NAN, time};
use quipu::runtime::Objects;
use serde_json::Value;

use super::model::{Row, Rows};

const TENANT: &str = "default";

pub(super) async fn check(objects: &Objects, rows: &Rows, sent: &BTreeSet<Row>) {
    let mut named = BTreeSet::new();
    let mut tables = BTreeMap::new();
    for table in ["metadata", "series", "staleness", "samples"] {
        let files = live_files(objects, table).await;
        let days: BTreeSet<&str> = files.iter().map(|path| day_of_path(path)).collect();
        assert_eq!(days.len(), files.len(), "{table} has two files of one day: {files:?}");
        let mut lines = Vec::new();
        for path in &files {
            let path = format!("{TENANT}/{table}/{path}");
            let bytes = objects.get(&path).await.unwrap_or_else(|e| panic!("a live file is gone: {e:?}"));
            lines.extend(parquet_lines(bytes));
            named.insert(path);
        }
        tables.insert(table, lines);
    }
    check_samples(&tables["samples"], rows);
    check_series(&tables["series"], rows, sent);
    let listed = objects.list(TENANT).await.expect("a sound store can be listed");
    let is_data = |path: &str| path.ends_with(".parquet") && !path.contains("_delta_log");
    let found: BTreeSet<String> = listed.into_iter().map(|e| e.path).filter(|path| is_data(path)).collect();
    let left: Vec<_> = found.difference(&named).collect();
    assert!(left.is_empty(), "data files that nobody names: {left:?}");
}

/// Every stored sample once, and as many as a snapshot shows.
fn check_samples(lines: &[Value], rows: &Rows) {
    let key = |line: &Value| format!("{} {} {}", line["metric"], line["series_id"], line["timestamp"]);
    let keys: BTreeSet<String> = lines.iter().map(key).collect();
    assert_eq!(keys.len(), lines.len(), "a sample is stored twice");
    let mut stored: Vec<u64> = lines
        .iter()
        .map(|line| line["value"].as_f64().unwrap_or_else(|| panic!("a sample without a value: {line}")))
        .map(f64::to_bits)
        .collect();
    let mut shown: Vec<u64> = rows.values().copied().filter(|bits| *bits != STALE_NAN).collect();
    stored.sort_unstable();
    shown.sort_unstable();
    assert_eq!(stored, shown, "the values in the files, and those of a snapshot");
}

/// One row per series and day, for every series with samples on that day.
fn check_series(lines: &[Value], rows: &Rows, sent: &BTreeSet<Row>) {
    let key = |line: &Value| {
        let n = line["labels"]["n"].as_str().and_then(|n| n.parse().ok());
        (line["day"].as_str().unwrap_or_default().to_owned(), n.unwrap_or(u64::MAX))
    };
    let stored: BTreeSet<(String, u64)> = lines.iter().map(key).collect();
    assert_eq!(stored.len(), lines.len(), "a series has two rows for one day");
    let days = |row: &Row| (day_text(row.1), row.0);
    let samples = rows.iter().filter(|(_, bits)| **bits != STALE_NAN);
    for (row, _) in samples {
        assert!(stored.contains(&days(row)), "the series of {row:?} is not in the table");
    }
    let sent: BTreeSet<(String, u64)> = sent.iter().map(days).collect();
    assert!(stored.is_subset(&sent), "a series that nobody sent: {stored:?}");
}

fn day_text(at: i64) -> String {
    let start = time::day_start(time::day_of(at));
    let date = chrono::DateTime::from_timestamp_millis(start).expect("a time that people write");
    date.date_naive().to_string()
}

/// `2027-01-15-<uuid>.parquet`.
fn day_of_path(path: &str) -> &str {
    path.get(..10).expect("a file's name begins with its day")
}

/// The paths of the files that the log names, by its newest checkpoint and the commits after it.
async fn live_files(objects: &Objects, table: &str) -> BTreeSet<String> {
    let entries = objects.list(&format!("{TENANT}/{table}/_delta_log")).await.expect("a log can be listed");
    let names: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
    let checkpoint = names.iter().rfind(|name| name.ends_with(".checkpoint.parquet")).copied();
    let number = |name: &str| name.rsplit('/').next().and_then(|n| n.get(..20)?.parse::<u64>().ok());
    let (mut live, mut next) = (BTreeSet::new(), 0);
    if let Some(path) = checkpoint {
        let bytes = objects.get(path).await.expect("a checkpoint can be read");
        apply(&mut live, parquet_lines(bytes));
        next = number(path).expect("a checkpoint has a number") + 1;
    }
    for name in names.iter().filter(|name| !name.ends_with(".parquet")) {
        let Some(at) = number(name).filter(|at| *at >= next) else { continue };
        assert_eq!(at, next, "a commit of {table} is missing");
        next += 1;
        let text = objects.get(name).await.expect("a commit can be read");
        apply(&mut live, json_lines(&text));
    }
    live
}

fn apply(live: &mut BTreeSet<String>, actions: Vec<Value>) {
    for action in actions {
        if let Some(path) = action["add"]["path"].as_str() {
            live.insert(path.to_owned());
        }
        if let Some(path) = action["remove"]["path"].as_str() {
            live.remove(path);
        }
    }
}

fn parquet_lines(bytes: Bytes) -> Vec<Value> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a Parquet file");
    let mut lines = WriterBuilder::new().build::<_, LineDelimited>(Vec::new());
    for batch in reader.build().expect("a Parquet file") {
        lines.write(&batch.expect("a whole row group")).expect("columns that JSON knows");
    }
    lines.finish().expect("a buffer in memory");
    json_lines(&lines.into_inner())
}

fn json_lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("JSON is text");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}
