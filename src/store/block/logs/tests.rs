//! Files of log lines read back, and the token parts against a plain search.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::error::{Kind, Result};
use crate::model::{Labels, LogLine, label_column, series_id};
use crate::runtime::Objects;
use crate::store::block::{CacheLimits, ScanCache};

/// Words as logs have them: short and long, hexadecimal, with dashes and letters beyond ASCII.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{1,6}",
        2 => "[0-9a-f]{4}",
        1 => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        1 => "[0-9a-f]{32}",
        1 => "[a-z_]{17,70}",
        1 => "[éß温]{1,3}",
    ]
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    let line = prop::collection::vec((word(), "[ =.\\-]{0,2}"), 0..8);
    let line = line.prop_map(|words| words.into_iter().map(|(word, between)| word + &between).collect());
    prop::collection::vec(line, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn tokens_never_miss_a_part_of_a_line(lines in lines(), budget in 0..4000usize, at in 0..20usize, from in 0..200usize, len in 1..60usize) {
        let part = tokens::TokenBuilder::new().build(lines.iter().map(String::as_bytes), budget).unwrap();
        let part = TokenPart::decode(&part).unwrap();
        let line: Vec<char> = lines[at % lines.len()].chars().collect();
        let from = from.min(line.len());
        let needle: String = line[from..line.len().min(from + len)].iter().collect();
        prop_assert!(part.may_contain(&needle), "{needle:?} is in {lines:?}");
    }
}

#[test]
fn needles_that_are_not_there_are_not_read_for() {
    let id = |n: u64| {
        format!("{:032x}", u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 3)
    };
    let uuid = |n: u64| {
        let id = id(n);
        format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..])
    };
    let lines: Vec<String> =
        (0..20_000).map(|n| format!("level=info request={} user=u{n} done", uuid(n))).collect();
    let part = tokens::TokenBuilder::new().build(lines.iter().map(String::as_bytes), 1 << 20).unwrap();
    let part = TokenPart::decode(&part).unwrap();
    assert!((0..1_000).all(|n| part.may_contain(&uuid(n))));
    let wrong = (50_000..51_000).filter(|n| part.may_contain(&uuid(*n))).count();
    assert!(wrong < 10, "{wrong} of 1,000 absent UUIDs seem to be there");
    assert!(!part.may_contain(" absent "), "an inner token is looked up as it is");
    assert!(part.may_contain("bsent"), "an outer one may be a part of another");
    assert!(!part.may_contain(&id(7)), "a token of 32 digits: none is as long");
    assert!(part.may_contain(&uuid(7)[10..30]) && part.may_contain("-") && part.may_contain(""));
}

async fn written(labels: &[&str], lines: &[(&Labels, i64, String, Labels)]) -> (FinishedLogs, Objects) {
    let labels: Vec<Arc<str>> = labels.iter().map(|label| Arc::from(*label)).collect();
    let mut writer = LogWriter::new(Vec::new(), labels.into()).unwrap();
    for (stream, timestamp, body, metadata) in lines {
        let line = LogLine { stream: 0, timestamp: *timestamp, body, metadata: metadata.as_ref() };
        writer.push(stream, line).unwrap();
    }
    let (logs, bytes) = writer.finish().unwrap();
    assert_eq!(logs.size, bytes.len() as u64);
    let objects = Objects::memory();
    objects.put("logs.parquet", Bytes::from(bytes)).await.unwrap();
    (logs, objects)
}

async fn open(objects: &Objects, logs: &FinishedLogs) -> Result<Arc<LogFile>> {
    let cache = ScanCache::new(CacheLimits::default());
    LogFile::open(objects, "logs.parquet", logs.place(), &cache).await
}

fn two_streams() -> (Labels, Labels) {
    let a = Labels::from_pairs([("app", "a"), ("Zone", "eu")]).unwrap();
    let b = Labels::from_pairs([("job", "b"), ("level", "warn")]).unwrap();
    if series_id(a.as_ref()) < series_id(b.as_ref()) { (a, b) } else { (b, a) }
}

#[tokio::test]
async fn a_file_gives_back_what_was_written() -> Result<()> {
    let (first, second) = two_streams();
    let trace = "0123456789abcdef0123456789abcdef";
    let metadata =
        Labels::from_pairs([("trace_id", trace), ("span_id", "XYZ"), ("user", "u"), ("level", "error")])?;
    let lines: Vec<_> = (0..70_000i64)
        .map(|n| {
            let stream = if n < 66_000 { &first } else { &second };
            let metadata = if n % 1_000 == 0 { metadata.clone() } else { Labels::empty() };
            (stream, n * 1_000_003 - 5, format!("line {n} é"), metadata)
        })
        .collect();
    let (logs, objects) = written(&["app", "job"], &lines).await;
    assert_eq!((logs.rows, logs.group_rows.as_slice()), (70_000, &[65_536, 4_464][..]));
    let file = open(&objects, &logs).await?;
    assert_eq!(file.streams(), [first.clone(), second.clone()]);
    let tail = Segment { stream: 0, start: 0, rows: 464, first: lines[65_536].1, last: lines[65_999].1 };
    assert_eq!(file.segments(1)[0], tail);
    assert_eq!(file.segments(1)[1].range(), 464..4_464);
    let mut group = file.read(1, [460..470, 4_463..4_464].into_iter(), LogColumns::ALL, 4)?;
    let mut seen = Vec::new();
    while let Some(batch) = group.next().await? {
        let body = batch.column_by_name("body").unwrap().as_string::<i32>().clone();
        let severity = batch.column_by_name("severity").unwrap().as_string::<i32>().clone();
        let traces = batch.column_by_name("trace_id").unwrap().as_fixed_size_binary().clone();
        for row in 0..batch.num_rows() {
            let severity = severity.is_valid(row).then(|| severity.value(row).to_owned());
            seen.push((body.value(row).to_owned(), severity, traces.is_valid(row)));
        }
    }
    assert_eq!(seen.len(), 11);
    assert_eq!(seen[0].0, "line 65996 é");
    assert!(seen[4].2 && seen[4].1.as_deref() == Some("error"), "{seen:?}");
    let level = second.get("level").map(str::to_owned);
    assert_eq!(
        seen[10],
        ("line 69999 é".to_owned(), level, false),
        "the stream says it where the line does not"
    );
    assert_eq!(file.may_contain(&[0, 1], &["ine 66001 ".to_owned()]).await?, [1]);
    assert_eq!(file.may_contain(&[0, 1], &["nothing like this at all".to_owned()]).await?, [0usize; 0]);
    Ok(())
}

#[tokio::test]
async fn damage_is_named() -> Result<()> {
    let (first, _) = two_streams();
    let trace = |n: i64| Labels::from_pairs([("trace_id", format!("{n:032x}").as_str())]).unwrap();
    let lines: Vec<_> = (0..100).map(|n| (&first, n, format!("line {n}"), trace(n))).collect();
    let (logs, objects) = written(&[], &lines).await;
    let good = objects.get("logs.parquet").await?;
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.to_vec();
        bad[at] ^= 0x20;
        objects.put("logs.parquet", bad.into()).await?;
        let read = async {
            let file = open(&objects, &logs).await?;
            file.may_contain(&[0], &["line 7".to_owned()]).await?;
            let id = 7u128.to_be_bytes();
            assert_eq!(file.may_have(&[0], Identifier::Trace, &id).await?, [0], "the line is there, at {at}");
            let mut group = file.read(0, std::iter::once(0..100), LogColumns::ALL, 100)?;
            let mut lines = Vec::new();
            while let Some(batch) = group.next().await? {
                let body = batch.column_by_name("body").map(|c| c.as_string::<i32>().clone());
                lines.extend(body.iter().flatten().flatten().map(str::to_owned).collect::<Vec<_>>());
            }
            let (mut decoder, mut searched) = (LineDecoder::new()?, Vec::new());
            let mut pages = LinePages::fetch(&file, 0, std::slice::from_ref(&(3..100))).await?;
            while let Some(page) = pages.next(&mut decoder) {
                let page = page?;
                for at in 0..page.offsets.len() - 1 {
                    searched.push(page.line(at).map_err(|e| e.with("file", file.path()))?.to_owned());
                }
            }
            assert_eq!(searched, lines, "both ways to read a page");
            Ok::<_, crate::error::Error>(lines)
        };
        match read.await {
            // What a reader of lines does not look at: label columns, page statistics, padding of the footer.
            Ok(found) => assert_eq!(found.len(), 100, "at {at}"),
            Err(error) => {
                assert!(matches!(error.kind(), Kind::Corrupt | Kind::Unsupported), "at {at}: {error}");
                assert!(error.get("file").is_some(), "at {at}: {error}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn identifiers_leave_out_row_groups_and_never_a_line() -> Result<()> {
    let (first, _) = two_streams();
    let trace = |n: i64| format!("{n:032x}");
    let metadata = |n: i64| match n {
        // The first row group has spans in upper case, which are text, and the second has none.
        7 => Labels::from_pairs([("span_id", "00000000000000AA")]).unwrap(),
        8 => Labels::from_pairs([("trace_id", trace(8).as_str()), ("span_id", "00000000000000aa")]).unwrap(),
        66_000.. => Labels::from_pairs([("trace_id", trace(n).as_str())]).unwrap(),
        _ => Labels::empty(),
    };
    let lines: Vec<_> = (0..66_500).map(|n| (&first, n, String::new(), metadata(n))).collect();
    let (logs, objects) = written(&[], &lines).await;
    let file = open(&objects, &logs).await?;
    let id = |n: i64| u128::from_str_radix(&trace(n), 16).unwrap().to_be_bytes();
    assert_eq!(file.may_have(&[0, 1], Identifier::Trace, &id(8)).await?, [0]);
    for n in 66_000..66_500 {
        assert!(file.may_have(&[0, 1], Identifier::Trace, &id(n)).await?.contains(&1), "line {n}");
    }
    let span = 0xaa_u64.to_be_bytes();
    assert_eq!(file.may_have(&[0, 1], Identifier::Span, &span).await?, [0]);
    assert_eq!(file.may_have(&[1], Identifier::Span, &span).await?, [0usize; 0], "no line there has a span");
    let mut wrong = 0;
    for n in 70_000..70_500 {
        wrong += file.may_have(&[1], Identifier::Trace, &id(n)).await?.len();
    }
    assert!(wrong < 60, "{wrong} of 500 absent traces seem to be there");
    Ok(())
}

#[test]
fn what_is_out_of_order_is_refused() {
    let (first, second) = two_streams();
    let line = |timestamp| LogLine {
        stream: 0,
        timestamp,
        body: "x",
        metadata: crate::model::LabelsRef::trusted(b""),
    };
    let writer = || LogWriter::new(Vec::new(), Arc::from([])).unwrap();
    let mut late = writer();
    late.push(&first, line(5)).unwrap();
    assert!(late.push(&first, line(4)).is_err());
    let mut swapped = writer();
    swapped.push(&second, line(5)).unwrap();
    assert!(swapped.push(&first, line(5)).is_err());
    assert!(writer().finish().is_err(), "no lines");
    assert_eq!(label_column("Zone"), None, "other engines do not tell zone and Zone apart");
    assert_eq!(label_column("app").as_deref(), Some("label_app"));
}
