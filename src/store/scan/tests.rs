//! The scan against a model that knows nothing but "the last writer of a timestamp wins".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::error::Result;
use crate::model::{Labels, MatchOp, Matcher, SeriesKey};
use crate::runtime::Objects;
use crate::store::block::{
    BlockFile, BlockWriter, CacheLimits, NO_START, RowSort, RowValues, RunRows, ScanCache, WriterSetting,
};
use crate::store::buffer::BufferRun;

/// What was written at one time of a series: the bits of a value and a start, or a stale marker.
type Event = Option<(u64, i64)>;
type Content = BTreeMap<(String, i64, Vec<u8>), BTreeMap<i64, Event>>;

fn key_of(name: &(String, i64, Vec<u8>)) -> SeriesKey {
    let labels = Labels::from_canonical(&name.2).expect("made by us");
    SeriesKey { metric: Arc::from(&*name.0), labels }
}

fn parts(events: &BTreeMap<i64, Event>) -> (Vec<i64>, Vec<f64>, Vec<i64>, Vec<i64>) {
    let rows = || events.iter().filter_map(|(time, event)| event.map(|event| (*time, event)));
    let stale = events.iter().filter(|(_, event)| event.is_none()).map(|(time, _)| *time);
    (
        rows().map(|row| row.0).collect(),
        rows().map(|row| f64::from_bits(row.1.0)).collect(),
        rows().map(|row| row.1.1).collect(),
        stale.collect(),
    )
}

async fn file(objects: &Objects, cache: &ScanCache, name: &str, content: &Content) -> Result<Arc<BlockFile>> {
    let mut writer = BlockWriter::of(RowSort::Samples, Vec::new(), WriterSetting::Fresh)?;
    for (series, events) in content {
        let (timestamps, values, starts, stale_at) = parts(events);
        let key = key_of(series);
        let starts = (!starts.iter().all(|start| *start == NO_START)).then_some(&*starts);
        let (timestamps, values, stale_at) = (&*timestamps, &*values, &*stale_at);
        writer.push_run(RunRows {
            key: &key,
            id: series.1,
            timestamps,
            rows: RowValues::Floats { values, starts },
            stale_at,
        })?;
    }
    let (block, bytes) = writer.finish()?;
    objects.put(name, bytes.into()).await?;
    BlockFile::open(objects, name, block.index, cache).await
}

fn layer(content: &Content) -> Layer {
    let run = |(series, events): (&(String, i64, Vec<u8>), &BTreeMap<i64, Event>)| {
        let (timestamps, values, _, stale_at) = parts(events);
        let key = key_of(series);
        let (histogram_times, histograms) = (Vec::new(), Vec::new());
        BufferRun { key, id: series.1, timestamps, values, stale_at, histogram_times, histograms }
    };
    Layer { runs: content.iter().map(run).collect() }
}

/// Regular, jittered and constant runs over few series, so that files overlap; ids that collide; negative times.
fn contents() -> impl Strategy<Value = Content> {
    let value = prop_oneof![
        Just(1.5f64.to_bits()),
        Just(0x7ff8_0000_0000_0001u64),
        Just(0xfff0_0000_0000_0123u64),
        (0..50u32).prop_map(|n| f64::from(n).to_bits()),
    ];
    let start = prop_oneof![3 => Just(NO_START), 1 => -5..5i64];
    let event = prop_oneof![5 => (value, start).prop_map(Some), 1 => Just(None)];
    let irregular = prop::collection::btree_map(-40..40i64, event, 1..12);
    let regular = (-40..40i64, 1..5i64, 1..30i64, 0..3u32).prop_map(|(first, step, rows, value)| {
        let event = Some((f64::from(value).to_bits(), NO_START));
        (0..rows).map(|at| (first + at * step, event)).collect::<BTreeMap<_, _>>()
    });
    let events = prop_oneof![irregular, regular];
    let name = ("[ab]?", -1..2i64, 0..3usize).prop_map(|(metric, id, labels)| {
        let labels = [&b""[..], b"x\xFE1\xFF", b"x\xFE1\xFFy\xFE2\xFF"][labels];
        (metric, id, labels.to_vec())
    });
    prop::collection::btree_map(name, events, 1..6)
}

#[derive(Debug, Clone)]
struct Case {
    files: Vec<Content>,
    layers: Vec<Content>,
    range: (i64, i64),
    matcher: usize,
    mask: Option<(i64, i64)>,
}

fn cases() -> impl Strategy<Value = Case> {
    let range = prop_oneof![
        Just((i64::MIN, i64::MAX)),
        (-45..45i64, 0..40i64).prop_map(|(from, length)| (from, from + length)),
    ];
    let files = prop::collection::vec(contents(), 0..5);
    let layers = prop::collection::vec(contents(), 0..3);
    let mask =
        prop::option::weighted(0.3, (-45..45i64, 0..20i64).prop_map(|(from, length)| (from, from + length)));
    (files, layers, range, 0..6usize, mask).prop_map(|(files, layers, range, matcher, mask)| Case {
        files,
        layers,
        range,
        matcher,
        mask,
    })
}

fn matchers(case: usize) -> Vec<Matcher> {
    let other = |name: &str, op, value: &str| Matcher::new(name, op, value).expect("a good matcher");
    match case {
        0 => vec![],
        1 => vec![Matcher::equal("__name__", "a")],
        2 => vec![Matcher::equal("x", "1")],
        3 => vec![other("y", MatchOp::NotEqual, "2")],
        4 => vec![other("__name__", MatchOp::Regex, "a|b"), Matcher::equal("y", "")],
        _ => vec![Matcher::equal("__name__", ""), other("x", MatchOp::NotRegex, "1")],
    }
}

/// Everything that should be seen, by the simplest means.
fn model(case: &Case) -> Content {
    let mut merged: Content = BTreeMap::new();
    for content in case.files.iter().chain(&case.layers) {
        for (series, events) in content {
            merged.entry(series.clone()).or_default().extend(events);
        }
    }
    let matchers = matchers(case.matcher);
    merged.retain(|series, events| {
        let key = key_of(series);
        let masked = |time: &i64| {
            case.mask.is_some_and(|(from, to)| (from..=to).contains(time) && key.labels.get("x") == Some("1"))
        };
        events.retain(|time, _| (case.range.0..=case.range.1).contains(time) && !masked(time));
        let all = matchers.iter().all(|m| match m.name() {
            "__name__" => m.matches(&key.metric),
            _ => m.matches_labels(key.labels.as_ref()),
        });
        all && !events.is_empty()
    });
    merged
}

fn found(series: &SelectedSeries, rows: &SeriesRows<'_>) -> BTreeMap<i64, Event> {
    let mut events = BTreeMap::new();
    assert_eq!(rows.timestamps.len(), rows.values.len());
    assert!(rows.timestamps.is_sorted_by(|a, b| a < b), "{series:?}: {:?}", rows.timestamps);
    assert!(rows.stale_at.is_sorted_by(|a, b| a < b), "{series:?}: {:?}", rows.stale_at);
    for (time, value) in rows.timestamps.iter().zip(rows.values) {
        events.insert(*time, Some((value.to_bits(), NO_START)));
    }
    for time in rows.stale_at {
        assert!(events.insert(*time, None).is_none(), "a sample and a marker at {time}");
    }
    events
}

fn without_starts(content: Content) -> Content {
    let strip = |events: BTreeMap<i64, Event>| {
        events.into_iter().map(|(time, event)| (time, event.map(|(bits, _)| (bits, NO_START)))).collect()
    };
    content.into_iter().map(|(series, events)| (series, strip(events))).collect()
}

fn name_of(key: &SeriesKey, id: i64) -> (String, i64, Vec<u8>) {
    (key.metric.to_string(), id, key.labels.as_bytes().to_vec())
}

async fn input(case: &Case) -> Result<SelectionInput> {
    let objects = Objects::memory();
    let cache = ScanCache::new(CacheLimits::default());
    let mut files = Vec::new();
    for (at, content) in case.files.iter().enumerate() {
        let rank = u64::try_from(at).expect("few");
        let file = file(&objects, &cache, &format!("{at}.parquet"), content).await?;
        files.push(RankedFile { file, rank: (rank, rank) });
    }
    // The order in which they are handed in does not matter.
    files.reverse();
    let tombstones = case.mask.map(|(from, to)| {
        let matchers = vec![Matcher::equal("x", "1")];
        Tombstone { of: Buried::Series, matchers, from, to }
    });
    Ok(SelectionInput {
        files,
        layers: case.layers.iter().map(layer).collect(),
        matchers: matchers(case.matcher),
        from: case.range.0,
        to: case.range.1,
        tombstones: tombstones.into_iter().collect(),
    })
}

async fn scan_equals_the_model(case: &Case, partitions: usize) -> Result<()> {
    let selection = Arc::new(Selection::new(input(case).await?).await?);
    let names: Vec<_> = selection.series().iter().map(|series| name_of(&series.key, series.id)).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    let ranges = selection.partitions(partitions);
    assert!(ranges.len() <= partitions);
    let mut seen = Content::new();
    let mut next = 0;
    for range in ranges {
        assert_eq!(range.start, next);
        next = range.end;
        let mut reader = selection.scan(range)?;
        while let Some(rows) = reader.next().await? {
            let series = &selection.series()[rows.index];
            assert!(u64::try_from(rows.timestamps.len()).expect("few") <= series.max_rows);
            let events = found(series, &rows);
            if !events.is_empty() {
                seen.insert(name_of(&series.key, series.id), events);
            }
        }
    }
    assert_eq!(next, selection.series().len());
    assert_eq!(seen, without_starts(model(case)));
    Ok(())
}

async fn merge_equals_the_model(case: &Case) -> Result<()> {
    let whole = Case { layers: Vec::new(), range: (i64::MIN, i64::MAX), matcher: 0, ..case.clone() };
    let mut input = input(&whole).await?;
    input.files.sort_by_key(|file| file.rank);
    let files: Vec<_> = input.files.into_iter().map(|ranked| ranked.file).collect();
    let mut merge = Merge::new(files, input.tombstones)?;
    let mut seen = Content::new();
    let mut last = None;
    while let Some(run) = merge.next().await? {
        let name = name_of(run.key, run.id);
        assert!(last.as_ref() < Some(&name), "in key order");
        last = Some(name.clone());
        let RowValues::Floats { values, starts } = run.rows else { unreachable!("files of samples") };
        let start = |at: usize| starts.map_or(NO_START, |starts| starts[at]);
        let rows = run.timestamps.iter().zip(values).enumerate();
        let mut events: BTreeMap<i64, Event> =
            rows.map(|(at, (time, value))| (*time, Some((value.to_bits(), start(at))))).collect();
        events.extend(run.stale_at.iter().map(|time| (*time, None)));
        assert_eq!(events.len(), run.timestamps.len() + run.stale_at.len());
        seen.insert(name, events);
    }
    assert_eq!(seen, model(&whole));
    Ok(())
}

async fn labels_equal_the_model(case: &Case) -> Result<()> {
    let all = Case { range: (i64::MIN, i64::MAX), mask: None, ..case.clone() };
    let keys: Vec<_> = model(&all).keys().map(key_of).collect();
    let mut names: BTreeSet<String> =
        keys.iter().flat_map(|key| key.labels.iter().map(|(name, _)| name.to_owned())).collect();
    if keys.iter().any(|key| !key.metric.is_empty()) {
        names.insert("__name__".to_owned());
    }
    assert_eq!(label_names(input(&all).await?).await?, names);
    let values: BTreeSet<_> = keys.iter().filter_map(|key| key.labels.get("x")).map(str::to_owned).collect();
    assert_eq!(label_values("x", input(&all).await?).await?, values);
    let metrics: BTreeSet<_> =
        keys.iter().map(|key| key.metric.to_string()).filter(|m| !m.is_empty()).collect();
    assert_eq!(label_values("__name__", input(&all).await?).await?, metrics);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_is_what_the_last_writer_wrote(case in cases(), partitions in 1..4usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let checks = async {
            scan_equals_the_model(&case, partitions).await?;
            merge_equals_the_model(&case).await?;
            labels_equal_the_model(&case).await
        };
        prop_assert!(runtime.block_on(checks).map_err(|e| TestCaseError::fail(e.to_string())).is_ok());
    }
}

fn series(pod: usize) -> (String, i64, Vec<u8>) {
    let labels = Labels::from_pairs([("pod", &*format!("p{pod}"))]).expect("good labels");
    ("m".to_owned(), crate::model::series_id(labels.as_ref()), labels.as_bytes().to_vec())
}

/// `rows` jittered samples of each of `pods` series, from `first` ms on.
fn jittered(pods: usize, rows: i64, first: i64) -> Content {
    let events = |pod: usize| {
        let pod = i64::try_from(pod).expect("few");
        let time = move |i: i64| first + i * 1_000 + i * pod % 7;
        let value = move |i: i64| f64::from(i32::try_from(i * 3 + pod).expect("small")).to_bits();
        (0..rows).map(move |i| (time(i), Some((value(i), NO_START)))).collect()
    };
    (0..pods).map(|pod| (series(pod), events(pod))).collect()
}

#[tokio::test]
async fn series_that_cross_pages_and_chunks_are_whole() -> Result<()> {
    // 30 series of 12,345 rows: pages cut series, and the reader loads several chunks.
    let files = vec![jittered(30, 12_345, 0), jittered(30, 5_000, 12_345_000), jittered(3, 100, 3)];
    let case =
        Case { files, layers: vec![jittered(2, 50, -7)], range: (100, 15_000_000), matcher: 0, mask: None };
    scan_equals_the_model(&case, 3).await?;
    let case = Case { range: (i64::MIN, i64::MAX), mask: Some((0, 5)), ..case };
    scan_equals_the_model(&case, 1).await?;
    merge_equals_the_model(&case).await
}

#[tokio::test]
async fn a_merge_writes_files_of_bounded_size() -> Result<()> {
    let objects = Objects::memory();
    let cache = ScanCache::new(CacheLimits::default());
    // More than two row groups, so that bytes leave before the end.
    let low = file(&objects, &cache, "low.parquet", &jittered(200, 12_000, 0)).await?;
    let high = file(&objects, &cache, "high.parquet", &jittered(250, 100, 7_000_000)).await?;
    let mut merge = Merge::new(vec![low, high], Vec::new())?;
    let (mut files, mut rows) = (Vec::new(), 0);
    loop {
        let path = format!("merged-{}.parquet", files.len());
        let mut out = objects.writer(&path);
        let Some(block) = merge.write_file(&mut out, WriterSetting::Merged, 1 << 10).await? else { break };
        assert_eq!(out.finish().await?, block.size);
        rows += block.rows;
        files.push(BlockFile::open(&objects, &path, block.index, &cache).await?);
    }
    assert!(files.len() > 1, "split by size");
    assert_eq!(
        rows,
        200 * 12_000 + 250 * 100 - 200 * 100,
        "a hundred rows a series are in both, at the same times"
    );
    let ranked = files.into_iter().map(|file| RankedFile { file, rank: (1, 2) }).collect();
    let selection = Arc::new(Selection::new(SelectionInput { files: ranked, ..everything() }).await?);
    assert_eq!(selection.series().len(), 250);
    let mut reader = selection.scan(0..250)?;
    let mut read = 0;
    while let Some(rows) = reader.next().await? {
        read += u64::try_from(rows.values.len()).expect("few");
    }
    assert_eq!(read, rows);
    Ok(())
}

fn everything() -> SelectionInput {
    SelectionInput { from: i64::MIN, to: i64::MAX, ..SelectionInput::default() }
}

#[tokio::test]
async fn one_of_ten_thousand_series_reads_128_kb_of_pages() -> Result<()> {
    let objects = Objects::memory();
    let cache = ScanCache::new(CacheLimits::default());
    let file = file(&objects, &cache, "day.parquet", &jittered(10_000, 100, 0)).await?;
    let select = |from, to| {
        let matchers = vec![Matcher::equal("__name__", "m"), Matcher::equal("pod", "p77")];
        let files = vec![RankedFile { file: Arc::clone(&file), rank: (1, 1) }];
        Selection::new(SelectionInput { files, matchers, from, to, ..SelectionInput::default() })
    };
    let selection = Arc::new(select(0, i64::MAX).await?);
    let before = objects.stats().snapshot();
    let mut reader = selection.scan(0..selection.series().len())?;
    assert_eq!(reader.next().await?.expect("one series").timestamps.len(), 100);
    let read = objects.stats().snapshot().bytes_read - before.bytes_read;
    assert!((1..=128 << 10).contains(&read), "{read} bytes");

    let again = Arc::new(select(0, i64::MAX).await?);
    let before = objects.stats().snapshot();
    assert_eq!(again.scan(0..1)?.next().await?.map(|rows| rows.values.len()), Some(100));
    assert_eq!(objects.stats().snapshot(), before, "the second time everything is in the cache");
    Ok(())
}

#[tokio::test]
async fn regular_constant_series_read_no_page() -> Result<()> {
    let objects = Objects::memory();
    let cache = ScanCache::new(CacheLimits::default());
    let events = (0..1_000).map(|i| (i * 15_000 - 60_000, Some((1f64.to_bits(), NO_START)))).collect();
    let file = file(&objects, &cache, "up.parquet", &Content::from([(series(1), events)])).await?;
    let files = vec![RankedFile { file, rank: (1, 1) }];
    let input = SelectionInput { files, from: -30_000, to: 0, ..SelectionInput::default() };
    let selection = Arc::new(Selection::new(input).await?);
    assert_eq!(selection.series()[0].max_rows, 3, "exact for a regular timeline");
    let before = objects.stats().snapshot();
    let mut reader = selection.scan(0..1)?;
    let rows = reader.next().await?.expect("one series");
    assert_eq!((rows.timestamps, rows.values), (&[-30_000, -15_000, 0][..], &[1.0; 3][..]));
    assert_eq!(objects.stats().snapshot(), before);
    Ok(())
}
