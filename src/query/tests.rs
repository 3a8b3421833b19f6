//! The PromQL engine over series in memory: what is refused, how plans look, and the conformance scripts.

use std::sync::Arc;

use super::exec::MemorySeries;
use super::*;
use crate::error::{Kind, Result};
use crate::model::{Labels, SeriesKey};
use crate::runtime::{Clock, Pools, Registry};

fn engine(delayed_name_removal: bool) -> Engine {
    let settings = QuerySettings { delayed_name_removal, ..QuerySettings::default() };
    let ground = EngineGround { pools: Pools::current(), clock: Clock::real(), registry: Registry::new() };
    Engine::new(settings, ground).expect("an engine")
}

fn series(metric: &str, labels: &[(&str, &str)], points: &[(i64, f64)]) -> MemorySeries {
    MemorySeries {
        key: SeriesKey {
            metric: Arc::from(metric),
            labels: Labels::from_pairs(labels.iter().copied()).expect("labels"),
        },
        timestamps: points.iter().map(|(t, _)| *t).collect(),
        values: points.iter().map(|(_, v)| *v).collect(),
        stale_at: Vec::new(),
        histogram_times: Vec::new(),
        histograms: Vec::new(),
    }
}

/// Two counters `m_total` and a gauge `g`, a sample every 15 s for ten minutes.
fn data() -> Data {
    let points = |slope: f64| -> Vec<(i64, f64)> {
        (0..40).map(|k| (k * 15_000, slope * f64::from(u32::try_from(k).expect("small")))).collect()
    };
    Data::memory(vec![
        series("g", &[("job", "a")], &points(-1.0)),
        series("m_total", &[("job", "a"), ("zone", "1")], &points(1.0)),
        series("m_total", &[("job", "b"), ("zone", "1")], &points(2.0)),
    ])
}

fn instant(text: &str, time_ms: i64) -> Question {
    Question { text: text.into(), times: Times::Instant { time_ms }, lookback_ms: None, timeout: None }
}

fn range(text: &str) -> Question {
    let times = Times::Range { start_ms: 300_000, end_ms: 540_000, step_ms: 60_000 };
    Question { times, ..instant(text, 0) }
}

async fn ask(question: &Question) -> Result<Answer> {
    engine(false).promql(&data(), question).await
}

fn shown(answer: &Answer) -> Vec<String> {
    let one = |series: &AnswerSeries| {
        let labels: Vec<String> = series.labels().map(|(name, value)| format!("{name}={value}")).collect();
        let points: Vec<String> = series.points().map(|(t, v)| format!("{v}@{t}")).collect();
        format!("{{{}}} {}", labels.join(","), points.join(" "))
    };
    answer.series().iter().map(one).collect()
}

#[tokio::test]
async fn answers_have_prometheus_shapes() -> Result<()> {
    let vector = ask(&instant("m_total", 60_000)).await?;
    assert_eq!(vector.shape(), Shape::Vector);
    assert_eq!(
        shown(&vector),
        ["{__name__=m_total,job=a,zone=1} 4@60000", "{__name__=m_total,job=b,zone=1} 8@60000"]
    );
    let scalar = ask(&instant("time() + 1", 60_000)).await?;
    assert_eq!((scalar.shape(), shown(&scalar)), (Shape::Scalar, vec!["{} 61@60000".to_owned()]));
    let samples = ask(&instant("m_total{job=\"a\"}[30s]", 60_000)).await?;
    assert_eq!(samples.shape(), Shape::Matrix);
    assert_eq!(shown(&samples), ["{__name__=m_total,job=a,zone=1} 3@45000 4@60000"]);
    let text = ask(&instant("\"hello\"", 0)).await?;
    assert_eq!((text.shape(), text.text()), (Shape::String, "hello"));
    let matrix = ask(&range("1")).await?;
    assert_eq!(shown(&matrix), ["{} 1@300000 1@360000 1@420000 1@480000 1@540000"]);
    Ok(())
}

#[tokio::test]
async fn rates_are_summed_over_groups_and_steps() -> Result<()> {
    let answer = ask(&range("floor(sum by (zone) (increase(m_total[1m])) + 0.5)")).await?;
    assert_eq!(shown(&answer), ["{zone=1} 12@300000 12@360000 12@420000 12@480000 12@540000"]);
    assert!(answer.infos.is_empty() && answer.warnings.is_empty());
    let answer = ask(&range("topk(1, m_total) * scalar(count(m_total))")).await?;
    assert_eq!(shown(&answer), ["{job=b,zone=1} 80@300000 96@360000 112@420000 128@480000 144@540000"]);
    Ok(())
}

#[tokio::test]
async fn annotations_name_the_place() -> Result<()> {
    let answer = ask(&range("rate(g[1m])")).await?;
    let text = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"g\" (1:6)";
    assert_eq!(answer.infos, [text]);
    // What is said twice has the place that is evaluated last: the outer one, the right one.
    for (text, place) in [
        ("rate((increase(g[1m]))[2m:15s])", "(1:1)"),
        ("rate(g[1m]) + rate(g[1m])", "(1:20)"),
        ("rate(g[1m]) + rate(g[1m:15s])", "(1:1)"),
        ("rate(g[1m:15s]) + rate(g[1m])", "(1:24)"),
    ] {
        let answer = engine(true).promql(&data(), &instant(text, 540_000)).await?;
        assert_eq!(answer.infos.len(), 1, "{text}: {:?}", answer.infos);
        assert!(answer.infos[0].ends_with(place), "{text}: {:?}", answer.infos);
    }
    let answer = ask(&instant("quantile(\n  1.5, g)", 60_000)).await?;
    assert_eq!(answer.warnings, ["PromQL warning: quantile value should be between 0 and 1, got 1.5 (2:3)"]);
    assert_eq!(shown(&answer), ["{} inf@60000"]);
    let answer = ask(&range("sort(g)")).await?;
    assert_eq!(answer.warnings.len(), 1);
    Ok(())
}

#[tokio::test]
async fn equal_label_sets_are_refused_at_once_or_at_the_end() -> Result<()> {
    for delayed in [false, true] {
        let question = instant("-{__name__=~\"g|m_total\", job=\"a\"}", 60_000);
        let both = Data::memory(vec![
            series("g", &[("job", "a")], &[(60_000, 1.0)]),
            series("m_total", &[("job", "a")], &[(60_000, 2.0)]),
        ]);
        let error = engine(delayed).promql(&both, &question).await.expect_err("they are equal");
        assert_eq!(error.message(), "vector cannot contain metrics with the same labelset");
        assert_eq!(error.kind(), Kind::Execution);
        let by_name = instant("sum by (__name__) (abs({__name__=~\"g|m_total\"}))", 60_000);
        let answer = engine(delayed).promql(&both, &by_name).await;
        // With the names gone at once the two are equal; at the end their groups are.
        assert!(answer.is_err());
    }
    Ok(())
}

#[tokio::test]
async fn a_k_that_is_no_number_of_series_is_refused() {
    for (k, message) in [
        ("1e30", "Scalar value 1e+30 overflows int64"),
        ("Inf", "Scalar value +Inf overflows int64"),
        ("NaN", "Parameter value is NaN"),
    ] {
        for metric in ["g", "nothing"] {
            let error = ask(&instant(&format!("topk({k}, {metric})"), 60_000)).await.expect_err(k);
            assert_eq!((error.kind(), error.message()), (Kind::Execution, message));
        }
    }
}

#[tokio::test]
async fn what_is_not_supported_is_refused_by_name() {
    let cases = [
        ("start_timestamp(g)", "start_timestamp"),
        ("info(g)", "info"),
        ("g </ 1", "</"),
        ("rate(g[5m] anchored)", "anchored"),
        ("g smoothed", "smoothed"),
    ];
    for (text, name) in cases {
        let error = ask(&instant(text, 0)).await.expect_err(text);
        assert_eq!(error.kind(), Kind::Unsupported, "{text}: {error}");
        assert_eq!(error.message(), format!("not supported yet: {name}"));
    }
}

#[test]
fn the_list_of_unsupported_names_is_pinned() {
    use super::plan::{InstantFunction, WindowFunction};
    let is_supported = |name: &str| {
        WindowFunction::from_name(name).is_some()
            || InstantFunction::from_name(name).is_some()
            || translate::OTHER_FUNCTIONS.contains(&name)
    };
    let missing: Vec<&str> =
        promql::functions::FUNCTIONS.iter().map(|f| f.name).filter(|name| !is_supported(name)).collect();
    insta::assert_snapshot!("unsupported_functions", missing.join("\n"));
    let missing = promql::ast::AggregateOp::ALL.into_iter().map(promql::ast::AggregateOp::as_str);
    let is_supported = |name: &str| {
        plan::AggregateOp::from_name(name).is_some() || translate::OTHER_AGGREGATIONS.contains(&name)
    };
    assert_eq!(missing.filter(|name| !is_supported(name)).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[tokio::test]
async fn range_queries_answer_vectors_and_scalars_only() {
    let error = ask(&range("g[5m]")).await.expect_err("a range vector");
    let text = "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector";
    assert_eq!((error.kind(), error.message()), (Kind::Invalid, text));
    assert!(ask(&range("\"text\"")).await.is_err());
    let backwards = Question { times: Times::Range { start_ms: 1, end_ms: 0, step_ms: 1 }, ..range("g") };
    assert_eq!(ask(&backwards).await.expect_err("backwards").kind(), Kind::Invalid);
    for text in ["topk(NaN, g)", "topk(1e30, g)"] {
        assert_eq!(ask(&range(text)).await.expect_err(text).kind(), Kind::Execution);
    }
    for (text, time_ms) in [("g", i64::MIN), ("g offset -1ms", i64::MAX)] {
        assert_eq!(ask(&instant(text, time_ms)).await.expect_err(text).kind(), Kind::Invalid);
    }
}

#[tokio::test]
async fn plans_show_selector_window_and_aggregation() -> Result<()> {
    let texts = [
        "sum by (job) (rate(m_total{job=~\"a|b\"}[5m] offset 1m))",
        "topk(scalar(g), abs(m_total @ 60) > bool 2)",
        "quantile_over_time(0.9, g[5m]) - time()",
        "sort_desc(-m_total)",
        "clamp(label_replace(m_total, \"a\", \"$1\", \"job\", \"(.*)\"), 0, scalar(g))",
        "sort_by_label(count_values(\"v\", m_total), \"v\")",
        "absent(histogram_quantile(0.9, m_total{job=\"a\"}))",
        "topk(scalar(g), timestamp(m_total @ 60 offset 1m))",
        "limit_ratio(0.5, predict_linear(g[5m], time()))",
        "max_over_time(sum by (zone) (rate(m_total[1m]))[5m:30s] offset 1m)",
        "rate(m_total[5m]) / on (job) group_left (zone) (g unless ignoring (job) m_total)",
    ];
    let mut all = String::new();
    for text in texts {
        let plans = engine(false).explain(&data(), &instant(text, 300_000)).await?;
        all.extend(["# ", text, "\n", &plans, "\n"]);
    }
    // How many parts a scan has depends on the machine.
    let all: Vec<String> =
        all.lines().map(|line| line.split(" partitions=").next().unwrap_or(line).to_owned()).collect();
    insta::assert_snapshot!("plans", all.join("\n"));
    Ok(())
}

#[tokio::test]
async fn limits_are_named() {
    let question = range("m_total");
    let settings = QuerySettings { max_samples: 1, ..QuerySettings::default() };
    let ground = EngineGround { pools: Pools::current(), clock: Clock::real(), registry: Registry::new() };
    let engine = Engine::new(settings, ground).expect("an engine");
    let error = engine.promql(&data(), &question).await.expect_err("too many");
    assert_eq!(error.kind(), Kind::Limit);
    assert_eq!(error.get("setting"), Some("quipu.query.max_samples"));
}

#[tokio::test]
async fn subqueries_are_limited_before_and_while_they_run() -> Result<()> {
    let settings = QuerySettings { max_samples: 1_000, ..QuerySettings::default() };
    let ground = EngineGround { pools: Pools::current(), clock: Clock::real(), registry: Registry::new() };
    let engine = Engine::new(settings, ground).expect("an engine");
    let ask = |text: &str, count: usize| {
        let many = (0..count).map(|n| series("g", &[("n", &n.to_string())], &[(300_000, 1.0)]));
        let (engine, data, question) = (&engine, Data::memory(many.collect()), instant(text, 540_000));
        async move { engine.promql(&data, &question).await }
    };
    // 250 steps are all that a plan may have, in one subquery or in several.
    for text in [
        "sum_over_time(vector(time())[251s:1s])",
        "sum_over_time(vector(1)[130s:1s]) + sum_over_time(vector(1)[130s:1s])",
        "count_over_time(count_over_time(g[100s:1s])[100s:1s])",
        "max_over_time(g[100d:1s])",
        "g[100d:1s]",
        "max_over_time(g[1d:1ms])",
    ] {
        let error = ask(text, 1).await.expect_err(text);
        assert_eq!((error.kind(), error.get("setting")), (Kind::Limit, Some("quipu.query.max_samples")));
    }
    // Four series have fewer than 1,000 samples on 240 steps, five have more.
    let text = "count(count_over_time(g[240s:1s]) == 240)";
    assert_eq!(shown(&ask(text, 4).await?), ["{} 4@540000"]);
    let error = ask(text, 5).await.expect_err("too many");
    assert_eq!((error.kind(), error.get("limit")), (Kind::Limit, Some("1000")));
    Ok(())
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_ended() {
    // Two series of two million steps each: far more than a millisecond, with a pause between them.
    let times = Times::Range { start_ms: 0, end_ms: 2_000_000, step_ms: 1 };
    let timeout = Some(std::time::Duration::from_millis(1));
    let question = Question { times, timeout, ..range("max_over_time(m_total[5m])") };
    let error = ask(&question).await.expect_err("too long");
    assert_eq!((error.kind(), error.message()), (Kind::Timeout, "query timed out in expression evaluation"));
}

#[tokio::test]
async fn groups_of_many_batches_do_not_mix() -> Result<()> {
    // 2,000 steps make batches of 65 rows: the inner aggregation gives several, each with its own labels.
    let many = (0..300).map(|n| {
        let (number, parity) = (n.to_string(), (n % 3).to_string());
        series("x", &[("n", &number), ("parity", &parity)], &[(0, f64::from(n % 3))])
    });
    let data = Data::memory(many.collect());
    let times = Times::Range { start_ms: 0, end_ms: 1_999, step_ms: 1 };
    let text = "sum by (parity) (sum by (n, parity) (x))";
    let answer = engine(false).promql(&data, &Question { times, ..range(text) }).await?;
    let sums: Vec<f64> =
        answer.series().iter().filter_map(|series| Some(series.points().last()?.1)).collect();
    assert_eq!(sums, [0.0, 100.0, 200.0]);
    Ok(())
}
