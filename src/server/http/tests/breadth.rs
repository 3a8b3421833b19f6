//! The endpoints beyond questions and labels: their shapes, limits and texts. `tests/it/api.rs` compares them with
//! a real Prometheus where one is there.

use super::data::{AT, HEADERS, filled, send};
use super::ready_server;
use crate::wire::remote_write::SeriesToWrite;

#[tokio::test]
async fn queries_are_printed_and_taken_apart() {
    let server = ready_server().await;
    let cases = [
        ("format_query?query=sum(up)by(a)", r#""sum by (a) (up)""#),
        (
            "parse_query?query=up%20offset%201m",
            r#"{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"up"}],"name":"up","offset":60000,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"}"#,
        ),
        ("status/walreplay", r#"{"current":0,"max":0,"min":0}"#),
    ];
    for (path, data) in cases {
        let answer = server.get(&format!("/api/v1/{path}")).await;
        assert_eq!(answer.body, format!("{{\"status\":\"success\",\"data\":{data}}}"), "{path}");
    }
    let wrong = server.get("/api/v1/parse_query?query=up%7B").await;
    let text = r#"invalid parameter \"query\": 1:4: parse error: unexpected end of input inside braces"#;
    assert_eq!(wrong.status, 400);
    assert!(wrong.body.contains(text), "{}", wrong.body);
}

#[tokio::test]
async fn stats_are_there_when_asked_for() {
    let server = filled().await;
    let answer = server.get("/api/v1/query?query=sum(up)&time=60&stats=all").await.json();
    assert_eq!(answer["data"]["stats"]["samples"]["totalQueryableSamples"], 2, "{answer}");
    assert!(answer["data"]["stats"]["timings"]["evalTotalTime"].is_f64(), "{answer}");
    assert!(answer["warnings"].is_null(), "{answer}");
    let odd = server.get("/api/v1/query?query=1&time=60&stats=yes").await.json();
    assert!(odd["data"]["stats"].is_object());
    let warning = r#"value "yes" for parameter "stats" is deprecated and will be rejected in the next major release, use "true" or "all""#;
    assert_eq!(odd["warnings"], serde_json::json!([warning]));
}

#[tokio::test]
async fn series_are_counted_by_name_and_label() {
    let server = filled().await;
    let status = server.get("/api/v1/status/tsdb?limit=2").await.json();
    let stat = |name: &str, value: u64| serde_json::json!({"name": name, "value": value});
    let expected = serde_json::json!({
        "headStats": {"numSeries": 2, "numLabelPairs": 4, "chunkCount": 2, "minTime": AT, "maxTime": AT},
        "seriesCountByMetricName": [stat("up", 2)],
        "labelValueCountByLabelName": [stat("job", 2), stat("__name__", 1)],
        // Two times 8 + 2 bytes, each text with a byte of length; `zone` has as many as `job`.
        "memoryInBytesByLabelName": [stat("__name__", 24), stat("job", 12)],
        "seriesCountByLabelValuePair": [stat("__name__=up", 2), stat("job=a", 1)],
    });
    assert_eq!(status["data"], expected, "{status}");
    for (limit, text) in [
        ("0", "limit must be a positive number"),
        ("-1", "limit must be a positive number"),
        ("x", "limit must be a positive number"),
        ("10001", "limit must not exceed 10000"),
    ] {
        let answer = server.get(&format!("/api/v1/status/tsdb?limit={limit}")).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some(text)), "{limit}");
    }
}

#[tokio::test]
async fn an_empty_server_has_empty_counts() {
    let server = ready_server().await;
    let status = server.get("/api/v1/status/tsdb").await.json();
    assert_eq!(status["data"]["headStats"]["numSeries"], 0);
    assert_eq!(status["data"]["headStats"]["minTime"], i64::MAX);
    assert_eq!(status["data"]["seriesCountByMetricName"], serde_json::json!([]));
    assert_eq!(server.get("/api/v1/targets/metadata").await.body, r#"{"status":"success","data":[]}"#);
    let wrong = server.get("/api/v1/targets/metadata?limit=x").await;
    assert_eq!((wrong.status, wrong.json()["error"].as_str()), (400, Some("limit must be a number")));
}

#[tokio::test]
async fn features_say_what_acts_and_what_does_not() {
    let server = ready_server().await;
    let features = server.get("/api/v1/features").await.json()["data"].clone();
    assert_eq!(features["api"]["admin"], false, "this server was started without");
    assert_eq!(features["api"]["query_stats"], true);
    assert_eq!(features["promql_functions"]["rate"], true);
    assert_eq!(features["promql_operators"]["sum"], true);
    let functions = features["promql_functions"].as_object().expect("an object");
    assert_eq!(functions.len(), 90, "all functions of Prometheus, whether they act or not");
}

#[tokio::test]
async fn federation_has_the_newest_samples_in_text() {
    let server = filled().await;
    let stale = f64::from_bits(crate::model::STALE_NAN);
    let more = [
        SeriesToWrite {
            labels: &[("__name__", "a.b"), ("zone", "own")],
            samples: &[(AT, 1e6), (AT + 1, 2.5)],
        },
        SeriesToWrite { labels: &[("__name__", "gone")], samples: &[(AT, 1.0), (AT + 1, stale)] },
        SeriesToWrite { labels: &[("__name__", "old")], samples: &[(-300_000, 1.0)] },
    ];
    assert_eq!(send(&server, &more).await.status, 204);
    let up = "# TYPE up untyped\nup{job=\"a\",instance=\"\",zone=\"eu\"} 1 30000\n\
              up{job=\"b\",zone=\"é \\\"x\\\"\",instance=\"\"} 0.5 30000\n";
    let answer = server.get("/federate?match[]=up&match[]=%7Bjob=%22a%22%7D&match[]=gone&match[]=old").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, up));
    let plain = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    assert_eq!(answer.header("content-type"), Some(plain));
    let utf8 =
        "Accept: text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3\r\n";
    for (headers, name) in [("", "a_b{"), (utf8, "{\"a.b\",")] {
        let answer = server.send("GET", "/federate?match[]=%7B%22a.b%22%7D", headers, "").await;
        assert!(answer.body.ends_with("} 2.5 30001\n") && answer.body.contains(name), "{}", answer.body);
        assert!(answer.body.contains("zone=\"own\",instance=\"\""), "{}", answer.body);
    }
    let wrong = server.get("/federate?match[]=up%7B").await;
    let text = "1:4: parse error: unexpected end of input inside braces\n";
    assert_eq!((wrong.status, wrong.body.as_str()), (400, text));
    assert_eq!(server.get("/federate").await.body, "");
}

/// Some answers are written while they are sent, others in one buffer; both are the same text.
#[tokio::test]
async fn a_large_answer_comes_in_pieces_and_is_whole() {
    let server = ready_server().await;
    let rows: Vec<(i64, f64)> = (0..10_000).map(|n| (n * 5, 0.25)).collect();
    let labels =
        [[("__name__", "m"), ("n", "0")], [("__name__", "m"), ("n", "1")], [("__name__", "m"), ("n", "2")]];
    let series: Vec<_> = labels.iter().map(|labels| SeriesToWrite { labels, samples: &rows }).collect();
    assert_eq!(send(&server, &series).await.status, 204);
    for query in ["m%5B1m%5D", "m"] {
        let path = match query {
            "m" => "query_range?query=m&start=1&end=50&step=0.005".to_owned(),
            _ => format!("query?query={query}&time=50"),
        };
        let raw = server.get(&format!("/api/v1/{path}")).await;
        assert_eq!(raw.header("transfer-encoding"), Some("chunked"), "{path}");
        let answer = raw.json();
        assert_eq!(answer["data"]["result"].as_array().map(Vec::len), Some(3));
        let points = |at: usize| answer["data"]["result"][at]["values"].as_array().map_or(0, Vec::len);
        assert_eq!([points(0), points(1), points(2)], [points(0); 3]);
        assert!(points(0) >= 9_801, "{}", points(0));
    }
    let small = server.get("/api/v1/query?query=m&time=50").await;
    assert_eq!(small.header("transfer-encoding"), None);
}

#[tokio::test]
async fn what_is_no_remote_read_is_refused() {
    let server = filled().await;
    let damaged = server.post("/api/v1/read", HEADERS, "garbage").await;
    assert_eq!(damaged.status, 400, "{}", damaged.body);
    let request = |message: &[u8]| snap::raw::Encoder::new().compress_vec(message).expect("small");
    // A form that nobody knows.
    let unknown = server.post("/api/v1/read", HEADERS, request(&[2 << 3, 9])).await;
    assert_eq!(unknown.status, 400);
    assert!(
        unknown.body.contains("does not support any of the requested response types"),
        "{}",
        unknown.body
    );
    // No queries: an empty message, packed.
    let empty = server.post("/api/v1/read", HEADERS, request(&[])).await;
    assert_eq!((empty.status, empty.body.as_str()), (200, "\0"));
    assert_eq!(empty.header("content-encoding"), Some("snappy"));
    assert_eq!(server.get("/api/v1/read").await.status, 405);
}
