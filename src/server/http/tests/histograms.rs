//! Native histograms and exemplars through the remote write door.

use super::data::{AT, HEADERS};
use super::ready_server;
use crate::model::{Exemplar, Histogram, Labels, STALE_NAN, Span};
use crate::wire::remote_write::{RichSeries, encode_rich};

fn histogram(count: f64) -> Histogram {
    Histogram {
        schema: 1,
        count: count + 2.0,
        sum: 4.5,
        zero_threshold: 0.001,
        zero_count: 2.0,
        positive_spans: vec![Span { offset: -1, length: 1 }],
        positive: vec![count],
        ..Histogram::default()
    }
}

fn exemplar(timestamp: i64, trace: &str) -> Exemplar {
    let labels = Labels::from_pairs([("trace_id", trace)]).expect("good labels");
    Exemplar { timestamp, value: 0.25, labels }
}

#[tokio::test]
async fn good_ones_are_stored_and_bad_ones_are_named() {
    let server = ready_server().await;
    let labels = [("__name__", "h"), ("job", "a")];
    let stale = Histogram { sum: f64::from_bits(STALE_NAN), ..Histogram::default() };
    let bad = Histogram { count: 99.0, ..histogram(1.0) };
    let float = Histogram { is_float: true, count: 0.5, ..histogram(0.5) };
    let series = RichSeries {
        labels: &labels,
        samples: &[(AT - 3_000, 1.0)],
        histograms: &[(AT - 2_000, histogram(3.0)), (AT - 1_000, float), (AT - 500, bad), (AT, stale)],
        exemplars: &[exemplar(AT, "t1"), exemplar(AT, "t1"), exemplar(AT - 5, &"x".repeat(200))],
    };
    let body = encode_rich(&[series], &[]).expect("small");
    let answer = server.post("/api/v1/write", HEADERS, body.clone()).await;
    assert_eq!(answer.status, 400);
    for words in ["2 of 8 refused", "Count field is 99", "exceeds maximum of 128 UTF-8 characters", "h{job="]
    {
        assert!(answer.body.contains(words), "{words}: {}", answer.body);
    }
    let again = server.post("/api/v1/write", HEADERS, body).await;
    assert_eq!(again.status, 400, "sent again it changes nothing");
    let found = server.get("/api/v1/query_exemplars?query=rate(h%5B5m%5D)%2Bh").await;
    let expected = r#"{"status":"success","data":[{"seriesLabels":{"__name__":"h","job":"a"},"exemplars":[{"labels":{"trace_id":"t1"},"value":"0.25","timestamp":30}]}]}"#;
    assert_eq!(found.body, expected);
    let none = server.get("/api/v1/query_exemplars?query=h&start=31&end=40").await;
    assert_eq!(none.body, r#"{"status":"success","data":[]}"#);
    let series = server.get("/api/v1/series?match[]=h").await;
    assert!(series.body.contains(r#"{"__name__":"h","job":"a"}"#), "{}", series.body);
}

#[tokio::test]
async fn a_damaged_histogram_spoils_the_request() {
    let server = ready_server().await;
    // TimeSeries { labels { __name__ h }, histograms: 0xFF }
    let message = b"\x0a\x14\x0a\x0d\x0a\x08__name__\x12\x01h\x22\x03\xff\xff\xff";
    let body = snap::raw::Encoder::new().compress_vec(message).expect("small");
    let answer = server.post("/api/v1/write", HEADERS, body).await;
    assert_eq!((answer.status, answer.body.contains("Histogram")), (400, true), "{}", answer.body);
    let series = server.get("/api/v1/series?match[]=h").await;
    assert!(series.body.contains(r#""data":[]"#), "{}", series.body);
}
