//! PromQL over native histograms in memory: selectors, functions, aggregations, operators, annotations.

use std::sync::Arc;

use super::exec::MemorySeries;
use super::*;
use crate::error::Result;
use crate::model::{Histogram, Labels, ResetHint, SeriesKey, Span};
use crate::runtime::{Clock, Pools, Registry};

/// `n` observations in each of two buckets, (1, 2] and (2, 4].
fn pair(n: f64) -> Arc<Histogram> {
    Arc::new(Histogram {
        is_float: true,
        count: 2.0 * n,
        sum: 5.0 * n,
        positive_spans: vec![Span { offset: 1, length: 2 }],
        positive: vec![n, n],
        ..Histogram::default()
    })
}

fn series(job: &str, floats: &[(i64, f64)], histograms: &[(i64, Arc<Histogram>)]) -> MemorySeries {
    MemorySeries {
        key: SeriesKey {
            metric: Arc::from("h"),
            labels: Labels::from_pairs([("job", job)]).expect("labels"),
        },
        timestamps: floats.iter().map(|(time, _)| *time).collect(),
        values: floats.iter().map(|(_, value)| *value).collect(),
        stale_at: Vec::new(),
        histogram_times: histograms.iter().map(|(time, _)| *time).collect(),
        histograms: histograms.iter().map(|(_, histogram)| Arc::clone(histogram)).collect(),
    }
}

/// A counter that grows by one pair a minute for ten minutes.
fn counter(job: &str) -> MemorySeries {
    let points: Vec<_> = (0..=10).map(|k| (i64::from(k) * 60_000, pair(f64::from(k)))).collect();
    series(job, &[], &points)
}

async fn ask(data: Vec<MemorySeries>, text: &str, times: Times) -> Result<Answer> {
    let ground = EngineGround { pools: Pools::current(), clock: Clock::real(), registry: Registry::new() };
    let engine = Engine::new(QuerySettings::default(), ground)?;
    let question = Question { text: text.to_owned(), times, lookback_ms: None, timeout: None };
    engine.promql(&Data::memory(data), &question).await
}

const RANGE: Times = Times::Range { start_ms: 120_000, end_ms: 240_000, step_ms: 60_000 };

fn at(minute: i64) -> Times {
    Times::Instant { time_ms: minute * 60_000 }
}

/// Floats as they are, histograms as `{count sum [counts]}`.
fn shown(answer: &Answer) -> Vec<String> {
    let one = |series: &AnswerSeries| {
        let mut points: Vec<(i64, String)> = series.points().map(|(t, v)| (t, format!("{v}"))).collect();
        points.extend(
            series.histograms().map(|(t, h)| (t, format!("{{{} {} {:?}}}", h.count, h.sum, h.positive))),
        );
        points.sort_unstable();
        let points: Vec<String> =
            points.into_iter().map(|(t, point)| format!("{point}@{}", t / 1000)).collect();
        points.join(" ")
    };
    answer.series().iter().map(one).collect()
}

#[tokio::test]
async fn selectors_give_the_newest_sample_of_either_kind() -> Result<()> {
    let mixed = || series("a", &[(60_000, 7.0)], &[(0, pair(1.0)), (120_000, pair(2.0))]);
    let times = Times::Range { start_ms: 0, end_ms: 180_000, step_ms: 60_000 };
    let answer = ask(vec![mixed()], "h", times).await?;
    assert_eq!(shown(&answer), ["{2 5 [1.0, 1.0]}@0 7@60 {4 10 [2.0, 2.0]}@120 {4 10 [2.0, 2.0]}@180"]);
    let answer = ask(vec![mixed()], "timestamp(h)", times).await?;
    assert_eq!(shown(&answer), ["0@0 60@60 120@120 120@180"]);
    let ended = MemorySeries { stale_at: vec![150_000], ..mixed() };
    assert_eq!(
        shown(&ask(vec![ended.clone()], "h", times).await?),
        ["{2 5 [1.0, 1.0]}@0 7@60 {4 10 [2.0, 2.0]}@120"]
    );
    assert_eq!(shown(&ask(vec![ended], "h @ 120", RANGE).await?).len(), 1);
    let old = ask(vec![mixed()], "h", at(7)).await?;
    assert!(old.series().is_empty(), "the lookback is five minutes, open on the left");
    let stored = ask(vec![mixed()], "h[2m]", at(2)).await?;
    assert_eq!(shown(&stored), ["7@60 {4 10 [2.0, 2.0]}@120"]);
    Ok(())
}

#[tokio::test]
async fn counters_have_rates() -> Result<()> {
    let answer = ask(vec![counter("a")], "increase(h[2m])", RANGE).await?;
    let twice = "{4 10 [2.0, 2.0]}";
    assert_eq!(shown(&answer), [format!("{twice}@120 {twice}@180 {twice}@240")]);
    assert!(answer.infos.is_empty() && answer.warnings.is_empty(), "{answer:?}");
    assert_eq!(answer.series()[0].histograms().next().expect("one").1.reset_hint, ResetHint::Gauge);
    let reset = series("a", &[], &[(0, pair(5.0)), (60_000, pair(1.0)), (120_000, pair(3.0))]);
    let answer = ask(vec![reset.clone()], "increase(h[3m] @ 120)", at(2)).await?;
    // Three in two minutes, and a minute more before the first sample.
    assert_eq!(shown(&answer), ["{9 22.5 [4.5, 4.5]}@120"]);
    let answer = ask(vec![reset.clone()], "resets(h[5m])", at(2)).await?;
    assert_eq!(shown(&answer), ["1@120"]);
    let answer = ask(vec![reset], "delta(h[5m])", at(2)).await?;
    assert_eq!(answer.warnings, ["PromQL warning: this native histogram metric is not a gauge: \"h\" (1:7)"]);
    let answer = ask(vec![counter("a")], "irate(h[5m])", at(3)).await?;
    assert_eq!(answer.series()[0].histograms().map(|(_, h)| h.count * 60.0).collect::<Vec<_>>(), [2.0]);
    Ok(())
}

#[tokio::test]
async fn ranges_with_both_kinds_are_refused_or_taken_by_function() -> Result<()> {
    let mixed = || vec![series("a", &[(60_000, 7.0)], &[(0, pair(1.0)), (120_000, pair(2.0))])];
    for (text, result) in [
        ("count_over_time(h[5m])", Some("3@120")),
        ("present_over_time(h[5m])", Some("1@120")),
        ("last_over_time(h[5m])", Some("{4 10 [2.0, 2.0]}@120")),
        ("changes(h[5m])", Some("2@120")),
        ("max_over_time(h[5m])", Some("7@120")),
        ("sum_over_time(h[5m])", None),
        ("rate(h[5m])", None),
    ] {
        let answer = ask(mixed(), text, at(2)).await?;
        assert_eq!(shown(&answer), result.into_iter().collect::<Vec<_>>(), "{text}");
        let expected = text.starts_with("max").then_some(
            "PromQL info: ignored histograms in a range containing both floats and histograms for metric name \"h\" (1:15)",
        );
        assert_eq!(answer.infos, expected.into_iter().collect::<Vec<_>>(), "{text}");
        assert_eq!(answer.warnings.len(), usize::from(result.is_none()), "{text}");
    }
    let answer = ask(mixed(), "sum_over_time(h[5m])", at(2)).await?;
    let text = "PromQL warning: encountered a mix of histograms and floats for metric name \"h\" (1:15)";
    assert_eq!(answer.warnings, [text]);
    Ok(())
}

#[tokio::test]
async fn aggregations_add_histograms_or_leave_them_out() -> Result<()> {
    let data = || vec![counter("a"), counter("b"), series("c", &[(0, 3.0)], &[])];
    let answer = ask(data(), "sum(h{job!=\"c\"})", RANGE).await?;
    assert_eq!(shown(&answer), ["{8 20 [4.0, 4.0]}@120 {12 30 [6.0, 6.0]}@180 {16 40 [8.0, 8.0]}@240"]);
    let answer = ask(data(), "avg by (job) (h{job!=\"c\"})", at(2)).await?;
    assert_eq!(shown(&answer), ["{4 10 [2.0, 2.0]}@120"; 2]);
    let answer = ask(data(), "sum(h)", at(2)).await?;
    assert!(answer.series().is_empty());
    let text = "PromQL warning: encountered a mix of histograms and floats for aggregation (1:5)";
    assert_eq!(answer.warnings, [text]);
    assert_eq!(shown(&ask(data(), "count(h)", at(2)).await?), ["3@120"]);
    for (text, place) in [("max(h)", "1:5"), ("topk(2, h)", "1:1"), ("quantile(0.5, h)", "1:15")] {
        let answer = ask(data(), text, at(2)).await?;
        assert_eq!(shown(&answer), ["3@120"]);
        let name = text.split('(').next().expect("a name");
        assert_eq!(answer.infos, [format!("PromQL info: ignored histogram in {name} aggregation ({place})")]);
    }
    Ok(())
}

#[tokio::test]
async fn operators_and_functions_know_what_they_take() -> Result<()> {
    let data = || vec![counter("a")];
    for (text, result) in [
        ("-h", "{-4 -10 [-2.0, -2.0]}@120"),
        ("h * 2", "{8 20 [4.0, 4.0]}@120"),
        ("0.5 * h", "{2 5 [1.0, 1.0]}@120"),
        ("h / 0", "{inf inf []}@120"),
        ("histogram_count(h)", "4@120"),
        ("histogram_sum(h)", "10@120"),
        ("histogram_avg(h)", "2.5@120"),
        ("timestamp(-h)", "120@120"),
    ] {
        let answer = ask(data(), text, at(2)).await?;
        assert_eq!(shown(&answer), [result], "{text}");
        assert!(answer.infos.is_empty());
    }
    for text in ["abs(h)", "sort(h)", "histogram_sum(vector(1))"] {
        assert!(ask(data(), text, at(2)).await?.series().is_empty(), "{text}");
    }
    assert_eq!(shown(&ask(data(), "scalar(h)", at(2)).await?), ["NaN@120"]);
    for (text, types) in [
        ("h + 1", "\"+\": histogram + float"),
        ("1 / h", "\"/\": float / histogram"),
        ("h > bool 1", "\">\": histogram > float"),
    ] {
        let answer = ask(data(), text, RANGE).await?;
        assert!(answer.series().is_empty());
        let text =
            format!("PromQL info: incompatible sample types encountered for binary operator {types} (1:1)");
        assert_eq!(answer.infos, [text]);
    }
    Ok(())
}
