//! One target, one body after the other, no network.

use std::collections::HashSet;

use super::*;
use crate::model::MetricType;
use crate::model::time::OLDEST_MS;
use crate::source::discovery::Group;
use crate::source::relabel::{RawRule, Rule};
use crate::source::scrape::round::{Memory, Probe};
use crate::source::settings::{GlobalSettings, Limits, NameScheme};
use crate::source::target::{Populated, Target};
use crate::wire::exposition::Format;

const AT: i64 = 1_700_000_000_000;
const REPORTED: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

struct Bench {
    store: FakeStore,
    probe: Probe,
    at: i64,
}

/// What one round left: rows of the body, and the report.
struct Round {
    rows: Vec<Row>,
    report: Vec<f64>,
    result: Result<()>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut ScrapeSettings)) -> Self {
        let mut job = ScrapeSettings::new("j", &GlobalSettings::default());
        change(&mut job);
        let target = match Target::populate("h:1", &Group::default(), &job).expect("a plain target") {
            Populated::Active(target) => *target,
            Populated::Dropped(_) => unreachable!("there are no target rules"),
        };
        let store = FakeStore::default();
        let probe = Probe {
            target: Arc::new(target),
            job: Arc::new(job),
            sink: store.sink(),
            memory: Arc::new(Mutex::new(Memory::new())),
            stats: Stats::new(&Registry::new()),
        };
        Self { store, probe, at: AT }
    }

    async fn text(&mut self, body: &str) -> Round {
        self.round(Ok((Format::Text, body.as_bytes()))).await
    }

    async fn fail(&mut self) -> Round {
        self.round(Err(Error::new(Kind::Io, "connection refused"))).await
    }

    async fn round(&mut self, fetched: Result<(Format, &[u8])>) -> Round {
        self.at += 1_000;
        let result = self.probe.round(fetched, self.at, || 0.25).await;
        let own = r#"{instance="h:1", job="j"}"#;
        let is_report = |name: &str| {
            name.strip_suffix(own)
                .is_some_and(|metric| REPORTED.contains(&metric) || metric.starts_with("scrape_"))
        };
        let (report, mut rows): (Vec<Row>, Vec<Row>) =
            self.store.take().into_iter().partition(|(name, _, _)| is_report(name));
        for row in &mut rows {
            row.0 = row.0.replace(r#"instance="h:1", job="j""#, "TARGET");
            row.1 -= self.at;
        }
        let report = report.into_iter().filter_map(|(_, _, value)| value).collect();
        Round { rows, report, result }
    }
}

fn row(name: &str, value: f64) -> Row {
    (name.to_owned(), 0, Some(value))
}

fn stale(name: &str) -> Row {
    (name.to_owned(), 0, None)
}

fn rules(yaml: &str) -> Vec<Rule> {
    let raw: Vec<RawRule> = serde_saphyr::from_str(yaml).expect("well formed");
    raw.iter().map(|raw| Rule::new(raw, NameScheme::Utf8).expect("right")).collect()
}

#[tokio::test]
async fn a_steady_target_adds_series_once() {
    let mut bench = Bench::new(|_| {});
    let first = bench.text("a 1\nb{x=\"y\",job=\"own\"} 2\n").await;
    let expected = [row("a{TARGET}", 1.0), row(r#"b{exported_job="own", TARGET, x="y"}"#, 2.0)];
    assert_eq!(first.rows, expected);
    assert_eq!(first.report, [1.0, 0.25, 2.0, 2.0, 2.0]);
    let second = bench.text("a 3\nb{x=\"y\",job=\"own\"} 4\n").await;
    assert_eq!(second.rows.iter().map(|row| row.2).collect::<Vec<_>>(), [Some(3.0), Some(4.0)]);
    assert_eq!(second.report, [1.0, 0.25, 2.0, 2.0, 0.0]);
    assert!(second.result.is_ok());
}

#[tokio::test]
async fn what_vanishes_goes_stale_once() {
    let mut bench = Bench::new(|_| {});
    bench.text("a 1\nb 2\nc 3\n").await;
    assert_eq!(
        bench.text("a 1\nc 3\n").await.rows,
        [row("a{TARGET}", 1.0), row("c{TARGET}", 3.0), stale("b{TARGET}")]
    );
    assert_eq!(bench.text("a 1\nc 3\n").await.rows.len(), 2);
    let back = bench.text("c 3\nb 1\na 1\n").await;
    assert_eq!((back.rows.len(), back.report[4]), (3, 1.0), "b is added again");
    assert!(back.rows.iter().all(|row| row.2.is_some()));
}

#[tokio::test]
async fn a_failed_scrape_makes_everything_stale_and_the_target_down() {
    let mut bench = Bench::new(|_| {});
    bench.text("a 1\nb 2\n").await;
    let failed = bench.fail().await;
    assert_eq!(failed.rows, [stale("a{TARGET}"), stale("b{TARGET}")]);
    assert_eq!(failed.report, [0.0, 0.25, 0.0, 0.0, 0.0]);
    assert_eq!(failed.result.expect_err("it failed").message(), "connection refused");
    assert!(bench.fail().await.rows.is_empty(), "nothing goes stale twice");
    let back = bench.text("a 1\nb 2\n").await;
    assert_eq!((back.rows.len(), back.report[4]), (2, 0.0), "the series were known");
}

#[tokio::test]
async fn a_malformed_body_stores_nothing_of_it() {
    let mut bench = Bench::new(|_| {});
    bench.text("a 1\nb 2\n").await;
    let bad = bench.text("a 5\nnew 1\nbad x\n").await;
    assert_eq!(bad.rows, [stale("a{TARGET}"), stale("b{TARGET}")]);
    assert_eq!((bad.report[0], bad.report[2]), (0.0, 2.0), "what was read is counted");
    let error = bad.result.expect_err("malformed");
    assert_eq!(error.get("line"), Some("3"), "{error}");
    let eof = bench.round(Ok((Format::OpenMetrics, b"a 1\n"))).await;
    assert!(eof.result.is_err(), "OpenMetrics ends with # EOF");
    let empty = bench.text("").await;
    assert!(empty.result.is_ok() && empty.rows.is_empty(), "an empty body is a scrape without samples");
}

#[tokio::test]
async fn a_limit_fails_the_whole_scrape() {
    let mut bench = Bench::new(|job| job.limits.samples = 2);
    assert!(bench.text("a 1\nb 2\n").await.result.is_ok());
    let over = bench.text("a 1\nb 2\nc 3\n").await;
    assert_eq!(over.rows, [stale("a{TARGET}"), stale("b{TARGET}")]);
    assert_eq!(over.report, [0.0, 0.25, 3.0, 3.0, 0.0]);
    let error = over.result.expect_err("over the limit");
    assert_eq!((error.message(), error.get("sample_limit")), ("sample limit exceeded", Some("2")));
    let known = bench.store.state().names.iter().any(|name| name.starts_with('c'));
    assert!(!known, "what is over the limit does not fill the store");

    let mut bench = Bench::new(|job| job.limits = Limits { labels: 3, ..Limits::default() });
    assert!(bench.text("a 1\n").await.result.is_ok());
    let over = bench.text("a 1\nb{x=\"y\"} 2\n").await;
    assert_eq!(over.result.expect_err("four labels").message(), "label_limit exceeded");
    assert_eq!(over.report[0].to_bits(), 0.0_f64.to_bits());
}

#[tokio::test]
async fn relabelling_drops_before_the_limit_counts() {
    let mut bench = Bench::new(|job| {
        job.limits.samples = 1;
        job.labels.metric_relabel = rules(
            "[{source_labels: [__name__], regex: 'go_.*', action: drop},
              {source_labels: [__name__], regex: '(.*)_old', target_label: __name__}]",
        );
    });
    for added in [1.0, 0.0] {
        let round = bench.text("go_a 1\na_old 2\ngo_b 3\n").await;
        assert_eq!(round.rows, [row("a{TARGET}", 2.0)]);
        assert_eq!(round.report, [1.0, 0.25, 3.0, 1.0, added]);
    }
}

#[tokio::test]
async fn timestamps_count_when_they_are_honored() {
    let body = format!("a 1 {}\nb 2\nfar 3 {}\nold 4 {}\n", AT + 500, AT + 700_000, OLDEST_MS - 1);
    let mut bench = Bench::new(|_| {});
    let first = bench.text(&body).await;
    assert_eq!(first.rows, [("a{TARGET}".to_owned(), -500, Some(1.0)), row("b{TARGET}", 2.0)]);
    assert_eq!(first.report[..3], [1.0, 0.25, 4.0]);
    assert_eq!(
        bench.text("c 1\n").await.rows,
        [row("c{TARGET}", 1.0), stale("b{TARGET}")],
        "a is not watched"
    );

    let mut bench = Bench::new(|job| job.labels.track_timestamps_staleness = true);
    bench.text(&body).await;
    assert_eq!(bench.text("b 1\n").await.rows, [row("b{TARGET}", 1.0), stale("a{TARGET}")]);

    let mut bench = Bench::new(|job| job.labels.honor_timestamps = false);
    assert!(bench.text(&body).await.rows.iter().all(|row| row.1 == 0));
    assert_eq!(bench.text("").await.rows.len(), 4, "without their timestamps all are watched");
}

#[tokio::test]
async fn a_repeated_series_counts_once_and_another_spelling_is_no_other_series() {
    let mut bench = Bench::new(|_| {});
    let twice = bench.text("a{x=\"1\",y=\"2\"} 1\na{x=\"1\",y=\"2\"} 5\n").await;
    assert_eq!(twice.rows, [row(r#"a{TARGET, x="1", y="2"}"#, 1.0)]);
    assert_eq!(twice.report, [1.0, 0.25, 2.0, 2.0, 1.0]);
    let respelled = bench.text("a{y=\"2\",x=\"1\"} 7\n").await;
    assert_eq!(respelled.rows, [row(r#"a{TARGET, x="1", y="2"}"#, 7.0)], "and no stale marker");
    let with_times = bench.text(&format!("a 1 {AT}\na 2 {}\n", AT + 1)).await;
    assert_eq!(
        with_times.rows.iter().filter(|row| row.0 == "a{TARGET}").count(),
        2,
        "two timestamps are two samples"
    );
}

#[tokio::test]
async fn honored_labels_stay() {
    let mut bench = Bench::new(|job| job.labels.honor_labels = true);
    let round = bench.text("a{job=\"own\",instance=\"\"} 1\n").await;
    assert_eq!(round.rows, [row(r#"a{instance="h:1", job="own"}"#, 1.0)]);
}

#[tokio::test]
async fn handles_that_the_store_gave_away_are_resolved_again() {
    let mut bench = Bench::new(|_| {});
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_count 1\nb 2\nc 3\n";
    let first = bench.text(body).await;
    assert_eq!(first.rows[0].0, r#"h_bucket{TARGET, le="1.0"}"#);
    bench.store.forget();
    let second = bench.text(&body.replace("c 3\n", "")).await;
    let mut expected = first.rows.clone();
    expected[3].2 = None;
    assert_eq!(second.rows, expected, "the same labels again, and the stale marker too");
    assert_eq!(second.report, [1.0, 0.25, 3.0, 3.0, 0.0]);
}

#[tokio::test]
async fn a_store_that_is_down_takes_nothing_and_loses_no_marker() {
    let mut bench = Bench::new(|_| {});
    bench.text("a 1\nb 2\n").await;
    bench.store.set_down(true);
    let refused = bench.text("a 1\n").await;
    assert_eq!(refused.result.expect_err("down").kind(), Kind::Unavailable);
    assert!(refused.rows.is_empty());
    bench.store.set_down(false);
    assert_eq!(bench.text("a 3\n").await.rows, [row("a{TARGET}", 3.0), stale("b{TARGET}")]);
}

#[tokio::test]
async fn metadata_is_sent_when_it_is_new_or_changes() {
    let mut bench = Bench::new(|_| {});
    let body = "# HELP a How many.\n# TYPE a counter\na_total 1\n# TYPE b gauge\nb 1\n# EOF\n";
    bench.round(Ok((Format::OpenMetrics, body.as_bytes()))).await;
    let sent = bench.store.take_metadata();
    let text: Vec<_> = sent.iter().map(|m| (&*m.metric, m.kind, &*m.help)).collect();
    assert_eq!(text, [("a", MetricType::Counter, "How many."), ("b", MetricType::Gauge, "")]);
    bench.round(Ok((Format::OpenMetrics, body.as_bytes()))).await;
    assert!(bench.store.take_metadata().is_empty());
    let changed = body.replace("How many.", "So many.");
    bench.store.set_down(true);
    bench.round(Ok((Format::OpenMetrics, changed.as_bytes()))).await;
    bench.store.set_down(false);
    bench.round(Ok((Format::OpenMetrics, changed.as_bytes()))).await;
    assert_eq!(bench.store.take_metadata().len(), 1, "what was not stored is sent again");
}

#[tokio::test]
async fn extra_metrics_tell_timeout_limit_and_size() {
    let mut bench = Bench::new(|job| {
        job.extra_metrics = true;
        job.limits.samples = 9;
    });
    assert_eq!(bench.text("a 1\n").await.report[5..], [10.0, 9.0, 4.0]);
    let too_long = Err(Error::new(Kind::Limit, "body size limit exceeded"));
    assert_eq!(bench.round(too_long).await.report[5..], [10.0, 9.0, -1.0]);
}

#[tokio::test]
async fn a_removed_target_goes_stale_except_what_goes_on_elsewhere() -> Result<()> {
    let mut bench = Bench::new(|_| {});
    bench.text("a 1\nb 2\n").await;
    let handle =
        |metric: &str| bench.store.state().handles[&format!(r#"{metric}{{instance="h:1", job="j"}}"#)];
    let goes_on = HashSet::from([handle("b"), handle("up")]);
    bench.probe.farewell(AT + 9_000, &goes_on).await?;
    let rows = bench.store.take();
    assert!(rows.iter().all(|row| row.1 == AT + 9_000 && row.2.is_none()));
    let names: Vec<_> = rows.iter().map(|row| row.0.split('{').next().unwrap_or("")).collect();
    assert_eq!(names, ["a", REPORTED[1], REPORTED[2], REPORTED[3], REPORTED[4]]);
    Ok(())
}
