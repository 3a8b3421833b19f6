//! Selections over files and buffers against a plain list of lines.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::error::Result;
use crate::model::{Labels, LogBatch, MatchOp, Matcher, series_id};
use crate::runtime::Objects;
use crate::store::block::{CacheLimits, LogColumns, LogFile, LogWriter, ScanCache};
use crate::store::buffer::{Buffer, LogView};
use crate::store::scan::selection::{Buried, Tombstone};

/// Stream, time, text, metadata.
type Line = (u8, i64, String, String);

fn stream(number: u8) -> Labels {
    let n = number.to_string();
    let zone = if number.is_multiple_of(2) { "eu" } else { "" };
    Labels::from_pairs([("n", n.as_str()), ("zone", zone)]).unwrap()
}

fn metadata(text: &str) -> Labels {
    let trace = format!("{text:0>32}");
    let trace_id = if text == "3" { &trace } else { text };
    Labels::from_pairs([("a", text), ("trace_id", trace_id), ("z", "z")]).unwrap()
}

fn view(lines: &[Line]) -> LogView {
    let mut buffer = Buffer::default();
    for (sequence, (number, time, body, extra)) in (1u64..).zip(lines) {
        let mut batch = LogBatch { streams: vec![stream(*number)], ..LogBatch::default() };
        assert!(batch.push(0, *time, body, metadata(extra).as_ref()));
        buffer.apply_logs(sequence, &batch);
    }
    buffer.log_view(u64::MAX)
}

async fn file(objects: &Objects, cache: &ScanCache, path: &str, lines: &[Line]) -> Result<Arc<LogFile>> {
    let view = view(lines);
    let mut writer = LogWriter::new(Vec::new(), Arc::from([Arc::from("n")]))?;
    for at in view.sorted(|_| true, i64::MIN, i64::MAX) {
        let line = view.line(at);
        writer.push(&view.streams()[line.stream as usize], line)?;
    }
    let (logs, bytes) = writer.finish()?;
    objects.put(path, bytes.into()).await?;
    LogFile::open(objects, path, logs.place(), cache).await
}

#[derive(Debug, Clone)]
struct Case {
    files: Vec<Vec<Line>>,
    buffers: Vec<Vec<Line>>,
    range: (i64, i64),
    matcher: usize,
    needles: Vec<String>,
    /// Lines of the zone `eu` before or after time 0 were deleted.
    deleted: Option<bool>,
}

fn cases() -> impl Strategy<Value = Case> {
    let line = (0..3u8, -20..20i64, "[ab ]{0,4}", "[34]?");
    let lines = move |min| prop::collection::vec(line.clone(), min..12);
    let range = prop_oneof![Just((i64::MIN, i64::MAX)), (-22..22i64, 0..20i64).prop_map(|(a, b)| (a, a + b))];
    let needles = prop::collection::vec("[ab ]{1,2}", 0..2);
    let (files, buffers) = (prop::collection::vec(lines(1), 0..4), prop::collection::vec(lines(0), 0..3));
    let all = (files, buffers, range, 0..3usize, needles, prop::option::of(any::<bool>()));
    all.prop_map(|(files, buffers, range, matcher, needles, deleted)| Case {
        files,
        buffers,
        range,
        matcher,
        needles,
        deleted,
    })
}

impl Case {
    fn tombstones(&self) -> Vec<Tombstone> {
        let of_zone = vec![Matcher::equal("zone", "eu")];
        let tombstone = |ms| Tombstone { of: Buried::Lines, matchers: of_zone, from: ms, to: ms };
        let series = Tombstone { of: Buried::Series, matchers: Vec::new(), from: i64::MIN, to: i64::MAX };
        self.deleted
            .map(|before| tombstone(if before { -1 } else { 0 }))
            .into_iter()
            .chain([series])
            .collect()
    }

    fn is_deleted(&self, line: &Line) -> bool {
        self.deleted.is_some_and(|before| line.0.is_multiple_of(2) && (line.1 < 0) == before)
    }
}

fn query(case: &Case) -> LogQuery {
    let matchers = match case.matcher {
        0 => vec![],
        1 => vec![Matcher::equal("zone", "eu")],
        _ => vec![Matcher::new("n", MatchOp::NotEqual, "1").unwrap()],
    };
    LogQuery {
        matchers,
        from: case.range.0,
        to: case.range.1,
        needles: case.needles.clone(),
        ..LogQuery::default()
    }
}

/// What a question shall find: each line once.
fn expected(case: &Case) -> BTreeSet<Line> {
    let query = query(case);
    let all = case.files.iter().chain(&case.buffers).flatten();
    let wanted = all.filter(|line| {
        let (number, time, body, _) = line;
        (query.from..=query.to).contains(time)
            && !case.is_deleted(line)
            && query.matchers.iter().all(|matcher| matcher.matches_labels(stream(*number).as_ref()))
            && query.needles.iter().all(|needle| body.contains(needle))
    });
    wanted.cloned().collect()
}

async fn selection(case: &Case) -> Result<Arc<LogSelection>> {
    selection_of(case, query(case)).await
}

async fn selection_of(case: &Case, query: LogQuery) -> Result<Arc<LogSelection>> {
    let (objects, cache) = (Objects::memory(), ScanCache::new(CacheLimits::default()));
    let mut input = LogInput { tombstones: case.tombstones(), ..LogInput::default() };
    for (number, lines) in case.files.iter().enumerate() {
        input.files.push(file(&objects, &cache, &format!("{number}.parquet"), lines).await?);
    }
    input.views = case.buffers.iter().map(|lines| view(lines)).collect();
    LogSelection::new(input, query).await.map(Arc::new)
}

async fn found(selection: &Arc<LogSelection>, partitions: usize) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for units in selection.partitions(partitions) {
        let mut reader = selection.scan(units, LogColumns::ALL);
        while let Some(rows) = reader.next().await? {
            let body = rows.body.as_ref().expect("asked for");
            for row in 0..rows.len() {
                let labels = &selection.streams()[rows.streams[row] as usize];
                let number = labels.get("n").expect("every stream has it").parse().expect("a digit");
                let mut scratch = Vec::new();
                let extra = rows.metadata(row, &mut scratch).to_owned();
                let text = extra.get("a").unwrap_or_default().to_owned();
                assert_eq!(extra, metadata(&text), "the metadata is whole again");
                lines.push((number, rows.timestamps[row], body.value(row).to_owned(), text));
            }
        }
    }
    Ok(lines)
}

async fn scan_equals_the_list(case: &Case, partitions: usize) -> Result<()> {
    let selection = selection(case).await?;
    let expected = expected(case);
    let lines = found(&selection, partitions).await?;
    assert_eq!(lines.iter().cloned().collect::<BTreeSet<_>>(), expected, "{case:?}");
    assert_eq!(lines.len(), expected.len(), "each once: {lines:?} {case:?}");
    let mut count = 0;
    for units in selection.partitions(partitions) {
        let mut reader = selection.scan(units, LogColumns::NONE);
        while let Some(rows) = reader.next().await? {
            count += rows.len();
        }
    }
    assert_eq!(count, expected.len(), "counted without reading: {case:?}");
    by_trace(case, &expected).await
}

/// A trace leaves out whole row groups, and no line that has it.
async fn by_trace(case: &Case, all: &BTreeSet<Line>) -> Result<()> {
    let trace_id = Some(3u128.to_be_bytes());
    let selection = selection_of(case, LogQuery { trace_id, ..query(case) }).await?;
    let found: BTreeSet<Line> = found(&selection, 2).await?.into_iter().collect();
    let has = |line: &&Line| line.3 == "3";
    assert!(found.is_subset(all), "{found:?} {case:?}");
    assert!(found.iter().filter(has).eq(all.iter().filter(has)), "{found:?} {case:?}");
    Ok(())
}

async fn merge_equals_the_list(case: &Case) -> Result<()> {
    if case.files.is_empty() {
        return Ok(());
    }
    let (objects, cache) = (Objects::memory(), ScanCache::new(CacheLimits::default()));
    let mut files = Vec::new();
    for (number, lines) in case.files.iter().enumerate() {
        files.push(file(&objects, &cache, &format!("{number}.parquet"), lines).await?);
    }
    let mut out = objects.writer("merged.parquet");
    let logs = LogMerge::new(files, Arc::from([Arc::from("zone")])).write(&mut out).await?;
    out.finish().await?;
    let merged = LogFile::open(&objects, "merged.parquet", logs.place(), &cache).await?;
    let ids: Vec<i64> = merged.streams().iter().map(|labels| series_id(labels.as_ref())).collect();
    assert!(ids.is_sorted());
    let whole = Case {
        buffers: Vec::new(),
        range: (i64::MIN, i64::MAX),
        matcher: 0,
        needles: Vec::new(),
        deleted: None,
        ..case.clone()
    };
    let input = LogInput { files: vec![merged], ..LogInput::default() };
    let selection = Arc::new(LogSelection::new(input, LogQuery::default()).await?);
    let lines = found(&selection, 1).await?;
    assert_eq!(lines.len() as u64, logs.rows);
    assert_eq!(lines.len(), expected(&whole).len(), "{case:?}");
    assert_eq!(lines.into_iter().collect::<BTreeSet<_>>(), expected(&whole));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_line_is_found_once(case in cases(), partitions in 1..4usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let checks = async {
            scan_equals_the_list(&case, partitions).await?;
            merge_equals_the_list(&case).await
        };
        prop_assert!(runtime.block_on(checks).map_err(|e| TestCaseError::fail(e.to_string())).is_ok());
    }
}

#[tokio::test]
async fn lines_of_one_time_keep_their_order_and_late_ones_cost_little() -> Result<()> {
    let same: Vec<Line> = ["c", "a", "b"].map(|text| (1, 7, text.to_owned(), String::new())).to_vec();
    let case = Case {
        files: vec![same.clone()],
        buffers: vec![],
        range: (0, 9),
        matcher: 0,
        needles: vec![],
        deleted: None,
    };
    assert_eq!(found(&selection(&case).await?, 1).await?, same);
    let hour = 3_600_000_000_000;
    let fresh = |n: i64| (1, hour + n, "x".to_owned(), String::new());
    let mut late: Vec<Line> = (1_000..2_000).map(fresh).collect();
    late.push((1, 0, "late".to_owned(), String::new()));
    let case = Case {
        files: vec![(0..1_000).map(fresh).collect()],
        buffers: vec![late],
        range: (i64::MIN, i64::MAX),
        ..case
    };
    let selection = selection(&case).await?;
    assert_eq!(selection.counts().contested_groups, 0, "a late line contests nothing between");
    assert_eq!(found(&selection, 2).await?.len(), 2_001);
    Ok(())
}
