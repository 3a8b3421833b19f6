//! The stored tables as another engine reads them: the Delta log line by line, the Parquet files row by row.
//!
//! It shares no code with the store. After a merge of every day and a clean-up: one file per table and day, one
//! row per series and day, the samples, histograms, exemplars and log lines that a snapshot shows, and no file that
//! nobody names.

use std::collections::{BTreeMap, BTreeSet};

use arrow::json::writer::{LineDelimited, WriterBuilder};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use quipu::model::{Span, time};
use quipu::runtime::Objects;
use serde_json::{Value, json};

use super::lines::{self, Known, Line, Pairs};
use super::model::{Row, Rows, is_hidden};
use super::reading::Seen;
use super::rows::{self, Of, is_stale};
use super::tailed::Tailed;

const TENANT: &str = "default";
const TABLES: [&str; 7] = ["metadata", "series", "staleness", "exemplars", "histograms", "logs", "samples"];

pub(super) async fn check(objects: &Objects, seen: &Seen, sent: &BTreeSet<Row>) {
    let rows = &seen.rows;
    let mut named = BTreeSet::new();
    let mut tables = BTreeMap::new();
    for table in TABLES {
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
    let series = check_series(&tables["series"], rows, sent);
    let of_series = |row: &Value| series[&key_of(row)];
    check_samples(&tables["samples"], rows, of_series);
    check_histograms(&tables["histograms"], rows, of_series);
    check_exemplars(&tables["exemplars"], rows);
    check_lines(&tables["logs"], seen);
    let listed = objects.list(TENANT).await.expect("a sound store can be listed");
    let is_data = |path: &str| path.ends_with(".parquet") && !path.contains("_delta_log");
    let found: BTreeSet<String> = listed.into_iter().map(|e| e.path).filter(|path| is_data(path)).collect();
    let left: Vec<_> = found.difference(&named).collect();
    assert!(left.is_empty(), "data files that nobody names: {left:?}");
}

/// The columns that name a series.
fn key_of(row: &Value) -> String {
    format!("{} {}", row["metric"], row["series_id"])
}

/// A column of times.
fn time_of(row: &Value) -> chrono::DateTime<chrono::Utc> {
    let text = row["timestamp"].as_str().unwrap_or_else(|| panic!("no time: {row}"));
    chrono::DateTime::parse_from_rfc3339(text).unwrap_or_else(|e| panic!("{text}: {e}")).to_utc()
}

fn float(row: &Value, column: &str) -> f64 {
    row[column].as_f64().unwrap_or_else(|| panic!("no {column}: {row}"))
}

/// The rows of a sort that a snapshot shows.
fn shown(rows: &Rows, of: impl Fn(Of) -> bool) -> Rows {
    let shown = rows.iter().filter(|((what, _), bits)| of(*what) && !is_stale(*what, **bits));
    shown.map(|(row, bits)| (*row, *bits)).collect()
}

/// Every stored sample once: those that a snapshot shows, and those that histograms hide.
fn check_samples(stored: &[Value], rows: &Rows, series: impl Fn(&Value) -> u64) {
    let mut found = Rows::new();
    for row in stored {
        let key = (Of::Float(series(row)), time_of(row).timestamp_millis());
        let twice = found.insert(key, float(row, "value").to_bits());
        assert!(twice.is_none(), "a sample is stored twice: {row}");
    }
    found.retain(|row, _| !is_hidden(*row, rows));
    assert_eq!(
        found,
        shown(rows, |of| matches!(of, Of::Float(_))),
        "samples in the files, and of a snapshot"
    );
}

/// Every stored histogram once and whole.
fn check_histograms(stored: &[Value], rows: &Rows, series: impl Fn(&Value) -> u64) {
    let mut found = Rows::new();
    for row in stored {
        let count = float(row, "count");
        let whole = rows::histogram(count);
        let spans = |spans: &[Span]| -> Value {
            spans.iter().map(|span| json!({"offset": span.offset, "length": span.length})).collect()
        };
        for (column, expected) in [
            ("sum", json!(whole.sum)),
            ("zero_count", json!(whole.zero_count)),
            ("zero_threshold", json!(whole.zero_threshold)),
            ("schema", json!(whole.schema)),
            ("is_float", json!(whole.is_float)),
            ("positive_spans", spans(&whole.positive_spans)),
            ("positive_counts", json!(whole.positive)),
            ("negative_spans", spans(&whole.negative_spans)),
            ("negative_counts", json!(whole.negative)),
            ("custom_bounds", json!(whole.custom_bounds)),
        ] {
            assert_eq!(row[column], expected, "{column} of {row}");
        }
        let key = (Of::Histogram(series(row)), time_of(row).timestamp_millis());
        assert!(found.insert(key, count.to_bits()).is_none(), "a histogram is stored twice: {row}");
    }
    let of = |of| matches!(of, Of::Histogram(_));
    assert_eq!(found, shown(rows, of), "histograms in the files, and of a snapshot");
}

/// Every stored exemplar once. A series with nothing else is not in the table of series.
fn check_exemplars(stored: &[Value], rows: &Rows) {
    let all = shown(rows, |of| matches!(of, Of::Exemplar(..)));
    let expected: BTreeSet<(u64, i64)> = all.iter().map(|((_, at), bits)| (*bits, *at)).collect();
    let mut found = BTreeSet::new();
    for row in stored {
        let value = float(row, "value");
        assert_eq!(row["labels"], json!({"trace_id": value.to_string()}), "an exemplar with foreign labels");
        let key = (value.to_bits(), time_of(row).timestamp_millis());
        assert!(found.insert(key), "an exemplar is stored twice: {row}");
    }
    assert_eq!(found, expected, "exemplars in the files, and of a snapshot");
}

/// Every stored line once and whole.
fn check_lines(stored: &[Value], seen: &Seen) {
    let (mut rows, mut tailed) = (Rows::new(), Tailed::new());
    for row in stored {
        let line = line_of(row);
        let twice = match lines::known(&line) {
            Known::Sent(key) => rows.insert(key, 0).is_some(),
            Known::Tailed(place) => tailed.insert(place, line.ns).is_some(),
        };
        assert!(!twice, "a line is stored twice: {row}");
    }
    let of = |of| matches!(of, Of::Line(_));
    assert_eq!(rows, shown(&seen.rows, of), "lines in the files, and of a snapshot");
    assert_eq!(tailed, seen.tailed, "lines of followed files in the files, and of a snapshot");
}

/// A row of the table `logs` put together again.
fn line_of(row: &Value) -> Line {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text in {row}")).to_owned();
    let map = |column: &str| -> Pairs {
        let map = row[column].as_object().unwrap_or_else(|| panic!("no {column}: {row}"));
        map.iter().map(|(name, value)| (name.clone(), text(value))).collect()
    };
    let (mut stream, mut metadata) = (map("labels"), map("attributes"));
    for (column, value) in row.as_object().expect("a row") {
        if let Some(label) = column.strip_prefix("label_") {
            let twice = stream.insert(label.to_owned(), text(value));
            assert!(twice.is_none(), "a label is a column and in the map: {row}");
        }
        if column == "trace_id" || column == "span_id" {
            assert!(
                metadata.insert(column.clone(), text(value)).is_none(),
                "an id that is there twice: {row}"
            );
        }
    }
    let names = ["detected_level", "severity_text", "severity", "level"];
    let severity =
        [&metadata, &stream].into_iter().find_map(|of| names.iter().find_map(|name| of.get(*name)));
    assert_eq!(row["severity"].as_str(), severity.map(String::as_str), "the severity of {row}");
    let rest = row["timestamp_ns_rest"].as_i64().unwrap_or_else(|| panic!("no rest of the time: {row}"));
    Line { stream, ns: time_of(row).timestamp_micros() * 1_000 + rest, body: text(&row["body"]), metadata }
}

/// One row per series and day, for every series with samples on that day. Answers what series the keys mean.
fn check_series(stored: &[Value], rows: &Rows, sent: &BTreeSet<Row>) -> BTreeMap<String, u64> {
    let number = |row: &Value| row["labels"]["n"].as_str().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX);
    let day = |row: &Value| row["day"].as_str().unwrap_or_default().to_owned();
    let found: BTreeSet<(String, u64)> = stored.iter().map(|row| (day(row), number(row))).collect();
    assert_eq!(found.len(), stored.len(), "a series has two rows for one day");
    let days = |row: &Row| match row.0 {
        Of::Float(series) | Of::Histogram(series) => Some((day_text(row.1), series)),
        Of::Exemplar(..) | Of::Line(_) => None,
    };
    for (row, _) in rows.iter().filter(|(row, bits)| !is_stale(row.0, **bits)) {
        let is_there = days(row).is_none_or(|key| found.contains(&key));
        assert!(is_there, "the series of {row:?} is not in the table");
    }
    let sent: BTreeSet<(String, u64)> = sent.iter().filter_map(days).collect();
    assert!(found.is_subset(&sent), "a series that nobody sent: {found:?}");
    stored.iter().map(|row| (key_of(row), number(row))).collect()
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
