//! Files written here and read back: by our reader, and by the Parquet crate as a stranger would.

mod wide;

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMillisecondType};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::PageIndexPolicy;

use super::*;
use crate::error::{Error, Kind, Result};
use crate::model::{Labels, MatchOp, Matcher, MetricType, SeriesKey};
use crate::runtime::Objects;

/// An owned run.
#[derive(Debug, Clone)]
struct Run {
    key: SeriesKey,
    id: i64,
    timestamps: Vec<i64>,
    values: Vec<f64>,
    starts: Option<Vec<i64>>,
    stale_at: Vec<i64>,
}

fn key(metric: &str, pairs: &[(&str, &str)]) -> SeriesKey {
    let labels = Labels::from_pairs(pairs.iter().copied()).expect("good labels");
    SeriesKey { metric: Arc::from(metric), labels }
}

fn run(metric: &str, pairs: &[(&str, &str)], rows: impl IntoIterator<Item = (i64, f64)>) -> Run {
    let key = key(metric, pairs);
    let (timestamps, values) = rows.into_iter().unzip();
    Run { id: key.id(), key, timestamps, values, starts: None, stale_at: Vec::new() }
}

fn write(mut runs: Vec<Run>, setting: WriterSetting) -> Result<(FinishedBlock, Bytes)> {
    runs.sort_by(|a, b| (&a.key.metric, a.id, &a.key.labels).cmp(&(&b.key.metric, b.id, &b.key.labels)));
    let mut writer = BlockWriter::of(RowSort::Samples, Vec::new(), setting)?;
    for run in &runs {
        writer.push_run(RunRows {
            key: &run.key,
            id: run.id,
            timestamps: &run.timestamps,
            rows: RowValues::Floats { values: &run.values, starts: run.starts.as_deref() },
            stale_at: &run.stale_at,
        })?;
    }
    let (block, bytes) = writer.finish()?;
    assert_eq!(block.size, u64::try_from(bytes.len()).expect("small"));
    Ok((block, bytes.into()))
}

async fn open(block: &FinishedBlock, bytes: &Bytes) -> Result<(Objects, Arc<BlockFile>)> {
    let objects = Objects::memory();
    objects.put("f.parquet", bytes.clone()).await?;
    let cache = ScanCache::new(CacheLimits::default());
    let file = BlockFile::open(&objects, "f.parquet", block.index, &cache).await?;
    Ok((objects, file))
}

/// Many series of a few metrics with regular, jittered and constant rows.
fn many(series: usize, rows: i64) -> Vec<Run> {
    let jitter = |at: i64, seed: i64| (at * 7_919 + seed * 104_729) % 11;
    let build = |at: usize| {
        let seed = i64::try_from(at).expect("small");
        let metric = ["cpu_seconds_total", "http_requests_total", "up"][at % 3];
        let (pod, job) = (format!("pod-{at}"), format!("job-{}", at % 7));
        let time =
            |i: i64| 1_700_000_000_000 + i * 15_000 + if at.is_multiple_of(2) { 0 } else { jitter(i, seed) };
        let value = |i: i64| {
            if at.is_multiple_of(5) { 1.0 } else { f64::from(i32::try_from(i * seed).expect("small")) }
        };
        run(metric, &[("pod", &pod), ("job", &job)], (0..rows).map(|i| (time(i), value(i))))
    };
    (0..series).map(build).collect()
}

fn read_as_a_stranger(bytes: &Bytes) -> Result<Vec<RecordBatch>> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let failed = |e: parquet::errors::ParquetError| Error::internal("stranger").caused_by(e);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options).map_err(failed)?;
    let metadata = Arc::clone(builder.metadata());
    assert!(metadata.file_metadata().key_value_metadata().is_some_and(|pairs| pairs[0].key == "quipu.index"));
    let rows = metadata.file_metadata().num_rows();
    let counted: i64 =
        metadata.row_groups().iter().map(parquet::file::metadata::RowGroupMetaData::num_rows).sum();
    assert_eq!(rows, counted);
    for group in metadata.row_groups() {
        assert_eq!(group.sorting_columns().map(Vec::len), Some(3));
    }
    let reader = builder.build().map_err(failed)?;
    reader.map(|batch| batch.map_err(|e| Error::internal("stranger").caused_by(e))).collect()
}

#[test]
fn a_stranger_reads_the_rows_in_order() -> Result<()> {
    for setting in [WriterSetting::Fresh, WriterSetting::Merged] {
        let mut runs = many(90, 700);
        runs[4].starts = Some((0..700).map(|i| if i % 3 == 0 { NO_START } else { i }).collect());
        let (block, bytes) = write(runs.clone(), setting)?;
        assert_eq!((block.rows, block.runs), (63_000, 90));
        runs.sort_by(|a, b| (&a.key.metric, a.id).cmp(&(&b.key.metric, b.id)));
        let mut expected = runs.iter().flat_map(|run| (0..run.values.len()).map(move |at| (run, at)));
        for batch in read_as_a_stranger(&bytes)? {
            let metric = batch.column(0).as_string::<i32>();
            let id = batch.column(1).as_primitive::<Int64Type>();
            let time = batch.column(2).as_primitive::<TimestampMillisecondType>();
            let value = batch.column(3).as_primitive::<Float64Type>();
            let start = batch.column(4).as_primitive::<TimestampMillisecondType>();
            for row in 0..batch.num_rows() {
                let (run, at) = expected.next().expect("no more rows than were written");
                assert_eq!((metric.value(row), id.value(row)), (&*run.key.metric, run.id));
                assert_eq!((time.value(row), value.value(row)), (run.timestamps[at], run.values[at]));
                let written = run.starts.as_ref().map(|starts| starts[at]).filter(|start| *start != NO_START);
                assert_eq!(start.iter().nth(row).flatten(), written);
            }
        }
        assert!(expected.next().is_none(), "no fewer rows either");
    }
    Ok(())
}

#[test]
fn pages_carry_checksums_that_a_stranger_checks() -> Result<()> {
    let (_, bytes) = write(many(9, 300), WriterSetting::Merged)?;
    let mut bad = bytes.to_vec();
    // Inside the first page's body: metric, dictionary.
    bad[40] ^= 1;
    assert!(read_as_a_stranger(&bad.into()).is_err());
    Ok(())
}

#[test]
fn runs_that_break_the_order_are_refused() {
    let good = run("a", &[("x", "1")], [(1, 1.0), (2, 2.0)]);
    let mut backwards = good.clone();
    backwards.timestamps.reverse();
    let mut stale_value = good.clone();
    stale_value.values[0] = f64::from_bits(crate::model::STALE_NAN);
    let mut both = good.clone();
    both.stale_at = vec![2];
    let mut nothing = good.clone();
    (nothing.timestamps, nothing.values) = (Vec::new(), Vec::new());
    for bad in [backwards, stale_value, both, nothing] {
        let error = write(vec![bad], WriterSetting::Fresh).expect_err("refused");
        assert_eq!(error.kind(), Kind::Internal, "{error}");
    }
    assert!(write(vec![good.clone(), good], WriterSetting::Fresh).is_err(), "a series twice");
    assert!(write(Vec::new(), WriterSetting::Fresh).is_err(), "no run at all");
}

#[tokio::test]
async fn lookups_find_exactly_the_matching_runs() -> Result<()> {
    let runs = many(9_000, 2);
    let (block, bytes) = write(runs.clone(), WriterSetting::Fresh)?;
    let (_, file) = open(&block, &bytes).await?;
    let regex = |name: &str, op, value: &str| Matcher::new(name, op, value);
    let cases = [
        vec![],
        vec![Matcher::equal("__name__", "up")],
        vec![Matcher::equal("__name__", "up"), Matcher::equal("pod", "pod-8")],
        vec![Matcher::equal("__name__", "nothing")],
        vec![Matcher::equal("pod", "pod-4711")],
        vec![Matcher::equal("pod", "")],
        vec![Matcher::equal("absent", "x")],
        vec![Matcher::equal("absent", "")],
        vec![regex("__name__", MatchOp::Regex, "cpu.*|up")?, regex("job", MatchOp::NotRegex, "job-[0-5]")?],
        vec![regex("__name__", MatchOp::NotEqual, "up")?, regex("pod", MatchOp::Regex, ".*-77.?")?],
        vec![regex("pod", MatchOp::Regex, "pod-1|pod-2|pod-9999|")?],
    ];
    for matchers in cases {
        let found = file.lookup(&matchers, i64::MIN, i64::MAX).await?;
        let matches = |run: &&Run| {
            matchers.iter().all(|m| match m.name() {
                "__name__" => m.matches(&run.key.metric),
                _ => m.matches_labels(run.key.labels.as_ref()),
            })
        };
        let mut expected: Vec<_> = runs.iter().filter(matches).map(|run| run.key.clone()).collect();
        expected.sort_by_key(|key| (Arc::clone(&key.metric), key.id()));
        let found: Vec<_> = found
            .iter()
            .map(|run| SeriesKey { metric: Arc::clone(run.metric()), labels: run.labels().to_owned() })
            .collect();
        assert_eq!(found, expected, "{matchers:?}");
    }
    assert_eq!(file.lookup(&[], 0, 1_000).await?.len(), 0, "nothing that early");
    assert_eq!(file.label_names().collect::<Vec<_>>(), ["__name__", "job", "pod"]);
    assert_eq!(file.label_values("__name__").await?, ["cpu_seconds_total", "http_requests_total", "up"]);
    assert_eq!(file.label_values("pod").await?.len(), 9_000);
    assert_eq!(file.label_values("absent").await?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn one_series_reads_little_and_postings_spare_chunks() -> Result<()> {
    let (block, bytes) = write(many(10_000, 240), WriterSetting::Merged)?;
    let (objects, file) = open(&block, &bytes).await?;
    let opened = objects.stats().snapshot();
    assert_eq!(opened.gets, 1, "the directory is one read");
    let matchers = [Matcher::equal("__name__", "http_requests_total"), Matcher::equal("pod", "pod-6001")];
    let runs = file.lookup(&matchers, i64::MIN, i64::MAX).await?;
    assert_eq!(runs.len(), 1);
    let looked_up = objects.stats().snapshot();
    let chunk = 4_000 * 60;
    assert!(looked_up.bytes_read - opened.bytes_read < 2 * chunk, "two chunks at most hold the pod's metric");
    let pages = file.page_parts(runs[0].rows());
    let wanted =
        pages.flat_map(|part| [(Column::Timestamp, part.page), (Column::Value, part.page)]).collect();
    file.pages(&wanted, &mut PageDecoder::new()?).await?;
    let read = objects.stats().snapshot().bytes_read - looked_up.bytes_read;
    assert!(read <= 128 << 10, "{read} bytes of pages for one series");

    // Another cache: nothing is known but the directory.
    let cold = ScanCache::new(CacheLimits::default());
    let file = BlockFile::open(&objects, "f.parquet", block.index, &cold).await?;
    let before = objects.stats().snapshot();
    assert_eq!(file.lookup(&[Matcher::equal("pod", "pod-6001")], i64::MIN, i64::MAX).await?.len(), 1);
    let after = objects.stats().snapshot();
    assert_eq!(after.gets - before.gets, 2, "one postings part and one set of chunks");
    let chunks = cold.counts()[1].1.entries;
    assert_eq!(chunks, 1, "one of three chunks");
    Ok(())
}

#[tokio::test]
async fn a_flipped_byte_is_an_error_or_changes_nothing() -> Result<()> {
    let mut runs = many(40, 60);
    runs[3].stale_at = vec![1_800_000_000_000];
    runs[7].starts = Some(vec![5; 60]);
    let (block, bytes) = write(runs, WriterSetting::Merged)?;
    let (_, file) = open(&block, &bytes).await?;
    let expected = everything(&file).await?;
    let (mut refused, mut harmless) = (0, 0);
    for at in 0..bytes.len() {
        let mut bad = bytes.to_vec();
        bad[at] ^= 1 << (at % 8);
        let read = async {
            let (_, file) = open(&block, &Bytes::from(bad)).await?;
            everything(&file).await
        };
        match read.await {
            Err(error) => {
                assert_eq!(error.kind(), Kind::Corrupt, "{error}");
                assert_eq!(error.get("file"), Some("f.parquet"));
                refused += 1;
            }
            Ok(found) => {
                assert_eq!(found, expected, "byte {at}");
                harmless += 1;
            }
        }
    }
    assert!(refused > 1_000, "pages, index and directory are guarded: {refused}");
    assert!(harmless > 0, "the footer and two columns are not read: {harmless}");
    Ok(())
}

/// Everything that the reader can say about a file, as text.
async fn everything(file: &BlockFile) -> Result<Vec<String>> {
    let mut all = vec![file.label_names().collect::<Vec<_>>().join(",")];
    for name in ["__name__", "job", "pod"] {
        all.push(file.label_values(name).await?.join(","));
    }
    let mut decoder = PageDecoder::new()?;
    for run in file.lookup(&[], i64::MIN, i64::MAX).await? {
        all.push(format!("{} {:?} {} {:?}", run.metric(), run.labels(), run.id(), run.stale_at()));
        for part in file.page_parts(run.rows()) {
            let columns = match file.sort() {
                RowSort::Samples => vec![Column::Timestamp, Column::Value, Column::Start],
                RowSort::Histograms => vec![Column::Timestamp, Column::Histogram],
                RowSort::Exemplars => vec![Column::Timestamp, Column::Exemplar],
            };
            let wanted = columns.iter().map(|column| (*column, part.page)).collect();
            let pages = file.pages(&wanted, &mut decoder).await?;
            for column in columns {
                match &pages[&(column, part.page)] {
                    Page::Times(times) => all.push(format!("{:?}", &times[part.rows.clone()])),
                    Page::Values(values) => all.push(format!("{:?}", &values[part.rows.clone()])),
                    Page::Histograms(rows) => all.push(format!("{:?}", &rows[part.rows.clone()])),
                    Page::Exemplars(rows) => all.push(format!("{:?}", &rows[part.rows.clone()])),
                }
            }
        }
    }
    Ok(all)
}

#[tokio::test]
async fn row_groups_and_pages_are_found_by_row() -> Result<()> {
    let rows = 1_050_000;
    let long = run("m", &[("a", "1")], (0..rows).map(|i| (i * 10 + i % 3, 0.5)));
    let (block, bytes) = write(vec![long, run("n", &[], [(1, 1.0), (5, 2.0)])], WriterSetting::Fresh)?;
    assert_eq!(block.group_rows, [1_000_000, 50_002]);
    let (_, file) = open(&block, &bytes).await?;
    let parts: Vec<_> = file.page_parts(999_990..1_020_001).collect();
    let shapes: Vec<_> = parts.iter().map(|part| (part.page, part.rows.clone())).collect();
    assert_eq!(shapes, [((0, 49), 19_990..20_000), ((1, 0), 0..20_000), ((1, 1), 0..1)]);
    assert_eq!(file.page_parts(7..7).count(), 0);
    let wanted = file.page_parts(999_990..1_050_002).map(|part| (Column::Timestamp, part.page)).collect();
    let pages = file.pages(&wanted, &mut PageDecoder::new()?).await?;
    let Page::Times(times) = &pages[&(Column::Timestamp, (1, 0))] else { panic!("timestamps are times") };
    assert_eq!(times[3], 1_000_003 * 10 + 1_000_003 % 3);
    Ok(())
}

#[tokio::test]
async fn what_a_file_says_about_itself() -> Result<()> {
    let mut dead = run("b", &[("x", "2")], []);
    dead.stale_at = vec![-7, 90];
    let mut live = run("a", &[("x", "1")], [(-5, 1.0), (10, f64::NAN)]);
    live.stale_at = vec![20];
    let (block, bytes) = write(vec![live, dead], WriterSetting::Fresh)?;
    assert_eq!((block.min_time, block.max_time, block.rows, block.runs), (-7, 90, 2, 2));
    let bounds = block.bounds.clone().expect("there are rows");
    assert_eq!((bounds.time, &*bounds.metric.1), ((-5, 10), "a"), "bounds speak of rows only");
    let (_, file) = open(&block, &bytes).await?;
    let runs = file.lookup(&[], 60, 100).await?;
    assert_eq!(runs.len(), 1, "only the marker at 90 is that late");
    assert_eq!((runs[0].stale_at(), runs[0].row_times()), (&[-7, 90][..], None));
    Ok(())
}

#[tokio::test]
async fn colliding_ids_stay_two_runs() -> Result<()> {
    let mut one = run("m", &[("x", "1")], [(5, 1.0), (9, 2.0)]);
    let mut two = run("m", &[("x", "2")], [(1, 3.0), (2, 4.0)]);
    (one.id, two.id) = (42, 42);
    let (block, bytes) = write(vec![one, two], WriterSetting::Fresh)?;
    assert!(block.colliding_ids);
    let metadata =
        parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&bytes).expect("a footer");
    assert_eq!(metadata.row_group(0).sorting_columns().map(Vec::len), Some(2), "timestamps do not ascend");
    let (_, file) = open(&block, &bytes).await?;
    assert_eq!(file.lookup(&[Matcher::equal("x", "2")], 0, 10).await?.len(), 1);
    Ok(())
}

#[test]
fn side_tables_read_back() -> Result<()> {
    let row = |metric: &str, names: &[&str], day| MetadataRow {
        metric: Arc::from(metric),
        label_names: names.iter().map(|name| Arc::from(*name)).collect(),
        kind: MetricType::Counter,
        help: Arc::from("Requests."),
        unit: Arc::from(""),
        has_histograms: false,
        day,
    };
    let rows = vec![row("a", &["job", "code"], 1), row("a", &[], 2), row("b", &["x"], 1)];
    let table = write_metadata(vec![rows[2].clone(), rows[0].clone(), rows[1].clone()])?;
    assert_eq!(read_metadata(&table.bytes)?, rows);
    let mut bad = table.bytes.to_vec();
    bad[30] ^= 4;
    assert_eq!(read_metadata(&bad.into()).map_err(|e| e.kind()), Err(Kind::Corrupt));

    let series = |pairs| SeriesRow { day: 3, key: key("m", pairs), id: key("m", pairs).id() };
    let rows = vec![series(&[("a", "1"), ("b", "2")]), series(&[]), series(&[("a", "1"), ("b", "2")])];
    let table = write_series(rows)?;
    assert_eq!(table.rows, 2, "exact duplicates are one row");
    let batch = read_table(&table.bytes)?.remove(0);
    let labels = batch.column_by_name("labels").expect("a column").as_map();
    let lengths: Vec<_> = (0..2).map(|at| labels.value(at).len()).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 2);

    let stale = |timestamp| StaleRow { metric: Arc::from("m"), id: 1, timestamp };
    let table = write_staleness(vec![stale(9), stale(-3)])?;
    let batch = read_table(&table.bytes)?.remove(0);
    assert_eq!(batch.column(2).as_primitive::<TimestampMillisecondType>().values(), &[-3, 9]);
    assert_eq!(write_staleness(Vec::new())?.rows, 0, "an empty table is a file too");
    Ok(())
}
