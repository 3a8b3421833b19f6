//! Bodies with native histograms, as Prometheus 3.5 writes them.

use std::sync::Arc;

use super::*;
use crate::error::Result;
use crate::model::{Labels, SeriesKey, Span};
use crate::query::{Data, Engine, EngineGround, MemorySeries, QuerySettings, Question, Times};
use crate::runtime::{Clock, Pools, Registry};

fn data() -> Data {
    let histogram = Histogram {
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 2.0,
        count: 7.5,
        sum: 18.4,
        positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
        positive: vec![1.0, 0.0, 0.5],
        negative_spans: vec![Span { offset: 0, length: 2 }],
        negative: vec![1.0, 3.0],
        ..Histogram::default()
    };
    let custom = Histogram {
        schema: crate::model::CUSTOM_BUCKETS,
        count: 3.0,
        sum: 1.0,
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive: vec![1.0, 1.0, 1.0],
        custom_bounds: vec![0.5, 1.0],
        ..Histogram::default()
    };
    let key = SeriesKey { metric: Arc::from("h"), labels: Labels::from_pairs([]).expect("labels") };
    Data::memory(vec![MemorySeries {
        key,
        timestamps: vec![60_000],
        values: vec![7.0],
        stale_at: Vec::new(),
        histogram_times: vec![0, 120_000],
        histograms: vec![Arc::new(histogram), Arc::new(custom)],
    }])
}

async fn body(text: &str, times: Times) -> Result<String> {
    let ground = EngineGround { pools: Pools::current(), clock: Clock::real(), registry: Registry::new() };
    let engine = Engine::new(QuerySettings::default(), ground)?;
    let question = Question { text: text.to_owned(), times, lookback_ms: None, timeout: None };
    let answer = engine.promql(&data(), &question).await?;
    Ok(String::from_utf8(to_json(&answer, false)).expect("JSON is UTF-8"))
}

#[tokio::test]
async fn an_instant_vector_has_a_histogram_instead_of_a_value() -> Result<()> {
    let found = body("h", Times::Instant { time_ms: 1500 }).await?;
    let expected = concat!(
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"h"},"#,
        r#""histogram":[1.500,{"count":"7.5","sum":"18.4","buckets":[[1,"-1.414213562373095","-1","3"],"#,
        r#"[1,"-1","-0.7071067811865475","1"],[3,"-0.001","0.001","2"],[0,"0.7071067811865475","1","1"],"#,
        r#"[0,"2","2.82842712474619","0.5"]]}]}]}}"#
    );
    assert_eq!(found, expected);
    Ok(())
}

#[tokio::test]
async fn a_matrix_has_both_lists_or_one() -> Result<()> {
    let custom =
        r#"{"count":"3","sum":"1","buckets":[[3,"-Inf","0.5","1"],[0,"0.5","1","1"],[0,"1","+Inf","1"]]}"#;
    let times = Times::Range { start_ms: 60_000, end_ms: 120_000, step_ms: 60_000 };
    let found = body("h", times).await?;
    let expected = format!(
        r#""result":[{{"metric":{{"__name__":"h"}},"values":[[60,"7"]],"histograms":[[120,{custom}]]}}]}}}}"#
    );
    assert!(found.ends_with(&expected), "{found}");
    let times = Times::Range { start_ms: 120_000, end_ms: 120_000, step_ms: 60_000 };
    let expected = format!(r#""result":[{{"metric":{{"__name__":"h"}},"histograms":[[120,{custom}]]}}]}}}}"#);
    let found = body("h", times).await?;
    assert!(found.ends_with(&expected), "{found}");
    let empty = body("h * 0", Times::Instant { time_ms: 0 }).await?;
    assert!(empty.contains(r#""histogram":[0,{"count":"0","sum":"0"}]"#), "{empty}");
    Ok(())
}
