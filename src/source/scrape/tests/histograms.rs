//! Protobuf bodies and exemplars into the real store.

use super::store::{AT, open, probe_of};
use super::*;
use crate::model::{Exemplar, Matcher, Principal, Tenant};
use crate::source::settings::{GlobalSettings, HistogramSettings};
use crate::store::{Snapshot, Store};
use crate::wire::exposition::Format;

type Bytes = Vec<u8>;

/// A field of bytes, shorter than 128.
fn field(number: u8, bytes: &[u8]) -> Bytes {
    let length = u8::try_from(bytes.len()).expect("short");
    assert!(length < 0x80, "one byte of length");
    [&[number << 3 | 2, length], bytes].concat()
}

fn double(number: u8, value: f64) -> Bytes {
    [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
}

/// A family of one histogram with a classic bucket, two native buckets and an exemplar; `count` each and one zero.
fn histogram_body(count: u8, with_exemplar: bool) -> Bytes {
    let native = [
        &[1 << 3, count * 2 + 1][..],
        &double(2, 1.5),
        &field(3, &[&[1 << 3, count][..], &double(2, 1.0)].concat()),
        &[5 << 3, 2],
        &double(6, 0.001),
        &[7 << 3, 1],
        &field(12, &[1 << 3, 2, 2 << 3, 2]),
        &field(13, &[count * 2, 0]),
    ];
    let exemplar = [&field(1, &[field(1, b"trace_id"), field(2, b"t")].concat())[..], &double(2, 0.7)];
    let time = field(3, &[1 << 3, 0x80, 0xE2, 0xCF, 0xAA, 0x06]); // 1,700,000,000 s
    let exemplar = field(1, &[&exemplar.concat()[..], &time].concat());
    // Field 16 has a key of two bytes: 0x82 0x01.
    let exemplar = [&[0x82, 0x01][..], &exemplar[1..]].concat();
    let native = [&native.concat()[..], if with_exemplar { &exemplar[..] } else { &[] }].concat();
    let code = field(1, &[field(1, b"code"), field(2, b"200")].concat());
    let metric = [code, field(7, &native)].concat();
    let family = [field(1, b"h"), field(2, b"Help."), vec![3 << 3, 4], field(4, &metric)].concat();
    // The family's length is all that stands in front of it.
    field(0, &family)[1..].to_vec()
}

fn job(change: impl FnOnce(&mut HistogramSettings)) -> ScrapeSettings {
    let mut job = ScrapeSettings::new("j", &GlobalSettings::default());
    job.histograms.native = true;
    change(&mut job.histograms);
    job
}

fn snapshot(store: &Store) -> Snapshot {
    store.snapshot(&Tenant::default(), &Principal::default())
}

/// `name: float times | histogram times and counts | stale times`, times from `AT`, of all but the report.
async fn rows(store: &Store) -> Vec<String> {
    let snapshot = snapshot(store);
    let not_report = Matcher::new("__name__", crate::model::MatchOp::NotRegex, "up|scrape_.*").expect("good");
    let selection = snapshot.select(vec![not_report], i64::MIN, i64::MAX).await.expect("readable");
    let mut reader = selection.scan(0..selection.series().len()).expect("readable");
    let mut out = Vec::new();
    while let Some(rows) = reader.next().await.expect("readable") {
        let key = &selection.series()[rows.index].key;
        let le = key.labels.get("le").map(|le| format!("{{le={le}}}")).unwrap_or_default();
        let times = |times: &[i64]| times.iter().map(|time| time - AT).collect::<Vec<_>>();
        let counts: Vec<_> = rows.histograms.iter().map(|one| (one.count, one.positive.clone())).collect();
        let (floats, stale) = (times(rows.timestamps), times(rows.stale_at));
        out.push(format!("{}{le}: {floats:?} | {counts:?} | {stale:?}", key.metric));
    }
    out
}

#[tokio::test(start_paused = true)]
async fn a_protobuf_target_is_stored_as_asked() -> Result<()> {
    let classic = ["h_bucket{le=+Inf}: [0] | [] | []", "h_bucket{le=1.0}: [0] | [] | []"];
    let sums = ["h_count: [0] | [] | []", "h_sum: [0] | [] | []"];
    let native = "h: [] | [(7.0, [3.0, 3.0])] | []";
    let asked = [(true, false), (true, true), (false, false)];
    for (native_wanted, classic_wanted) in asked {
        let store = open().await?;
        let settings = job(|histograms| {
            (histograms.native, histograms.classic) = (native_wanted, classic_wanted);
        });
        let probe = probe_of(&store, settings)?;
        probe.round(Ok((Format::Protobuf, &histogram_body(3, false))), AT, || 0.5).await?;
        let mut expected: Vec<&str> = if native_wanted { vec![native] } else { Vec::new() };
        if classic_wanted || !native_wanted {
            expected.extend(classic);
            expected.extend(sums);
        }
        let mut found = rows(&store).await;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{native_wanted} {classic_wanted}");
        let snapshot = snapshot(&store);
        let family = snapshot.catalogue().family_of("h").cloned().expect("its type was told");
        assert_eq!((&*family.help, family.kind), ("Help.", crate::model::MetricType::Histogram));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn histograms_go_stale_and_come_back() -> Result<()> {
    let store = open().await?;
    let probe = probe_of(&store, job(|_| {}))?;
    let bodies = [histogram_body(3, true), Vec::new(), histogram_body(4, true), histogram_body(5, true)];
    for (at, body) in (0..).zip(&bodies) {
        probe.round(Ok((Format::Protobuf, body)), AT + at * 1_000, || 0.5).await?;
    }
    let expected = "h: [] | [(7.0, [3.0, 3.0]), (9.0, [4.0, 4.0]), (11.0, [5.0, 5.0])] | [1000]";
    assert_eq!(rows(&store).await, [expected]);
    let exemplars = snapshot(&store).exemplars(Vec::new(), i64::MIN, i64::MAX).await?;
    let all: Vec<&Exemplar> = exemplars.iter().flat_map(|series| &series.exemplars).collect();
    assert_eq!(all.len(), 1, "it was shown three times");
    assert_eq!(
        (all[0].timestamp, all[0].value, all[0].labels.get("trace_id")),
        (1_700_000_000_000, 0.7, Some("t"))
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn too_many_buckets_fail_the_scrape() -> Result<()> {
    let store = open().await?;
    let probe = probe_of(&store, job(|histograms| histograms.bucket_limit = 1))?;
    let error = probe.round(Ok((Format::Protobuf, &histogram_body(3, false))), AT, || 0.5).await;
    assert!(error.is_ok(), "two neighbours become one: {error:?}");
    assert_eq!(rows(&store).await, ["h: [] | [(7.0, [6.0])] | []"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn openmetrics_exemplars_are_kept_once() -> Result<()> {
    let store = open().await?;
    let probe = probe_of(&store, job(|_| {}))?;
    let line = |trace: &str| format!("a_total 1 # {{trace_id=\"{trace}\"}} 0.5\n");
    for (at, trace) in [(0, "x"), (1_000, "x"), (2_000, "y"), (3_000, &"z".repeat(130))] {
        let body = format!("# TYPE a counter\n{}# EOF\n", line(trace));
        probe.round(Ok((Format::OpenMetrics, body.as_bytes())), AT + at, || 0.5).await?;
    }
    let exemplars = snapshot(&store).exemplars(Vec::new(), i64::MIN, i64::MAX).await?;
    let found: Vec<_> = exemplars.iter().flat_map(|series| &series.exemplars).collect();
    let found: Vec<_> = found.iter().map(|one| (one.timestamp - AT, one.labels.get("trace_id"))).collect();
    assert_eq!(found, [(0, Some("x")), (2_000, Some("y"))]);
    Ok(())
}

/// Two classic histograms, of which the second contradicts itself, and something else.
const CLASSIC: &str = "# TYPE c histogram\n\
    c_bucket{code=\"200\",le=\"1\"} 1\nc_bucket{code=\"200\",le=\"2.5\"} 2\n\
    c_bucket{code=\"200\",le=\"+Inf\"} 4\nc_sum{code=\"200\"} 7.5\nc_count{code=\"200\"} 4\n\
    c_bucket{code=\"500\",le=\"1\"} 3\nc_bucket{le=\"+Inf\",code=\"500\"} 2\nc_count{code=\"500\"} 2\n\
    # TYPE d_bucket gauge\nd_bucket{le=\"1\"} 1\n";

#[tokio::test(start_paused = true)]
async fn classic_histograms_are_converted() -> Result<()> {
    let native = "c: [] | [(4.0, [1.0, 1.0, 2.0])] | []";
    let other = "d_bucket{le=1}: [0] | [] | []";
    for (classic, rows_expected) in [(false, 2), (true, 10)] {
        let store = open().await?;
        let settings = job(|histograms| {
            *histograms = HistogramSettings { convert: true, classic, ..HistogramSettings::default() };
        });
        let probe = probe_of(&store, settings)?;
        probe.round(Ok((Format::Text, CLASSIC.as_bytes())), AT, || 0.5).await?;
        let found = rows(&store).await;
        assert_eq!(found.len(), rows_expected, "{found:?}");
        assert!(found.contains(&native.to_owned()) && found.contains(&other.to_owned()), "{found:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn converted_histograms_go_stale_and_leave_native_ones_alone() -> Result<()> {
    let store = open().await?;
    let probe = probe_of(&store, job(|histograms| (histograms.convert, histograms.classic) = (true, true)))?;
    probe.round(Ok((Format::Text, CLASSIC.as_bytes())), AT, || 0.5).await?;
    probe.round(Ok((Format::Protobuf, &histogram_body(3, false))), AT + 1_000, || 0.5).await?;
    let found = rows(&store).await;
    assert!(found.contains(&"c: [] | [(4.0, [1.0, 1.0, 2.0])] | [1000]".to_owned()), "{found:?}");
    assert!(found.contains(&"h: [] | [(7.0, [3.0, 3.0])] | []".to_owned()), "{found:?}");
    assert!(found.contains(&"h_bucket{le=1.0}: [1000] | [] | []".to_owned()), "{found:?}");
    Ok(())
}
