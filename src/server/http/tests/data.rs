//! Samples in through remote write, out through every question: shapes, statuses and texts.

use super::client::{Answer, Server};
use super::ready_server;
use crate::model::{MetricMetadata, MetricType};
use crate::wire::remote_write::{SeriesToWrite, encode};

pub(super) const HEADERS: &str = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n";

/// 1970-01-01T00:00:30Z, half a minute before the server's clock.
pub(super) const AT: i64 = 30_000;

pub(super) async fn send(server: &Server, series: &[SeriesToWrite<'_>]) -> Answer {
    server.post("/api/v1/write", HEADERS, encode(series, &[]).expect("small")).await
}

/// `up{job="a"}` 1 and `up{job="b",zone="é \"x\""}` 0.5, both at 30 s; metadata of `up`.
pub(super) async fn filled() -> Server {
    let server = ready_server().await;
    let series = [
        SeriesToWrite { labels: &[("__name__", "up"), ("job", "a")], samples: &[(AT, 1.0)] },
        SeriesToWrite {
            labels: &[("__name__", "up"), ("job", "b"), ("zone", "é \"x\"")],
            samples: &[(AT, 0.5)],
        },
    ];
    let metadata = MetricMetadata {
        metric: "up".into(),
        kind: MetricType::Gauge,
        help: "Whether it is.".into(),
        unit: "".into(),
    };
    let body = encode(&series, &[metadata]).expect("small");
    let written = server.post("/api/v1/write", HEADERS, body).await;
    assert_eq!((written.status, written.body.as_str()), (204, ""));
    server
}

async fn fetched(server: &Server, path: &str) -> String {
    let answer = server.get(path).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    answer.body
}

#[tokio::test]
async fn what_was_written_is_found_in_every_form() {
    let server = filled().await;
    let cases = [
        (
            "query?query=up&time=31.5",
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[31.500,"1"]},{"metric":{"__name__":"up","job":"b","zone":"é \"x\""},"value":[31.500,"0.5"]}]}"#,
        ),
        (
            "query_range?query=up%7Bjob=%22a%22%7D&start=30&end=60&step=15",
            r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[30,"1"],[45,"1"],[60,"1"]]}]}"#,
        ),
        ("query?query=1%2B1&time=4", r#"{"resultType":"scalar","result":[4,"2"]}"#),
        ("query?query=%22a%5C%22%22&time=4", r#"{"resultType":"string","result":[4,"a\""]}"#),
        ("query?query=nothing", r#"{"resultType":"vector","result":[]}"#),
        (
            "query?query=up%7Bjob=%22a%22%7D%5B1m%5D&time=60",
            r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[30,"1"]]}]}"#,
        ),
        ("labels", r#"["__name__","job","zone"]"#),
        ("labels?match[]=up%7Bjob=%22a%22%7D", r#"["__name__","job"]"#),
        ("label/job/values", r#"["a","b"]"#),
        ("label/__name__/values", r#"["up"]"#),
        ("label/U__job/values?match[]=up%7Bzone!=%22%22%7D", r#"["b"]"#),
        ("label/none/values", "[]"),
        ("labels?start=1000&end=2000", "[]"),
        (
            "series?match[]=up&match[]=%7Bjob=%22b%22%7D",
            r#"[{"__name__":"up","job":"a"},{"__name__":"up","job":"b","zone":"é \"x\""}]"#,
        ),
        ("metadata", r#"{"up":[{"type":"gauge","help":"Whether it is.","unit":""}]}"#),
        ("metadata?metric=none", "{}"),
        ("metadata?limit=0", "{}"),
        ("query_exemplars?query=test&start=1700000000000&end=1700000060000", "[]"),
    ];
    for (path, data) in cases {
        let body = fetched(&server, &format!("/api/v1/{path}")).await;
        assert_eq!(body, format!("{{\"status\":\"success\",\"data\":{data}}}"), "{path}");
    }
}

#[tokio::test]
async fn a_form_asks_as_an_address_does() {
    let server = filled().await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for (path, body, data) in [
        (
            "query",
            "query=sum(up)&time=60",
            r#"{"resultType":"vector","result":[{"metric":{},"value":[60,"1.5"]}]}"#,
        ),
        ("labels", "match%5B%5D=up", r#"["__name__","job","zone"]"#),
        ("series", "match[]=up{job=\"a\"}", r#"[{"__name__":"up","job":"a"}]"#),
    ] {
        let answer = server.post(&format!("/api/v1/{path}"), form, body).await;
        assert_eq!(answer.body, format!("{{\"status\":\"success\",\"data\":{data}}}"), "{path}");
    }
}

#[tokio::test]
async fn a_limit_cuts_and_says_so() {
    let server = filled().await;
    for path in ["query?query=up&limit=1&time=60", "label/job/values?limit=1", "series?match[]=up&limit=1"] {
        let body = fetched(&server, &format!("/api/v1/{path}")).await;
        assert!(body.ends_with(r#","warnings":["results truncated due to limit"]}"#), "{body}");
        assert!(!body.contains("\"b\""), "{body}");
    }
    let whole = fetched(&server, "/api/v1/label/job/values?limit=2").await;
    assert!(!whole.contains("warnings"), "{whole}");
}

#[tokio::test]
async fn wrong_parameters_are_refused_in_prometheus_words() {
    let server = ready_server().await;
    let step = "zero or negative query resolution step widths are not accepted. Try a positive integer";
    let points = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)";
    let cases = [
        (
            "query?query=up&time=x",
            r#"invalid parameter "time": invalid time value for 'time': cannot parse "x" to a valid timestamp"#,
        ),
        ("query?query=up&limit=x", r#"invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax"#),
        ("query?query=up&limit=-1", r#"invalid parameter "limit": limit must be non-negative"#),
        ("query?query=up&timeout=x", r#"invalid parameter "timeout": cannot parse "x" to a valid duration"#),
        (
            "query?query=up&lookback_delta=x",
            r#"error parsing lookback delta duration: cannot parse "x" to a valid duration"#,
        ),
        (
            "query?query=",
            r#"invalid parameter "query": unknown position: parse error: no expression found in input"#,
        ),
        (
            "query?query=up%7B",
            r#"invalid parameter "query": 1:4: parse error: unexpected end of input inside braces"#,
        ),
        ("query_range?query=up", r#"invalid parameter "start": cannot parse "" to a valid timestamp"#),
        (
            "query_range?query=up&start=2&end=1&step=1",
            r#"invalid parameter "end": end timestamp must not be before start time"#,
        ),
        (
            "query_range?query=up&start=1&end=2&step=x",
            r#"invalid parameter "step": cannot parse "x" to a valid duration"#,
        ),
        ("query_range?query=up&start=1&end=2&step=0", &format!("invalid parameter \"step\": {step}")),
        ("query_range?query=up&start=1&end=2&step=-1", &format!("invalid parameter \"step\": {step}")),
        ("query_range?query=up&start=0&end=11001&step=1", points),
        (
            "query_range?query=up[1m]&start=0&end=1&step=1",
            r#"invalid parameter "query": invalid expression type "range vector" for range query, must be Scalar or instant Vector"#,
        ),
        ("series", "no match[] parameter provided"),
        (
            "series?match[]=%7Ba=%22%22%7D",
            r#"invalid parameter "match[]": match[] must contain at least one non-empty matcher"#,
        ),
        ("labels?match[]=%7Ba=~%22.*%22%7D", "match[] must contain at least one non-empty matcher"),
        (
            "labels?start=x",
            r#"invalid parameter "start": invalid time value for 'start': cannot parse "x" to a valid timestamp"#,
        ),
        ("label/U__/values", r#"invalid label name: """#),
        ("metadata?limit=x", "limit must be a number"),
        ("metadata?limit_per_metric=x", "limit_per_metric must be a number"),
        ("query_exemplars?query=up&start=2&end=1", "end timestamp must not be before start timestamp"),
    ];
    for (path, text) in cases {
        let answer = server.get(&format!("/api/v1/{path}")).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        let json = answer.json();
        assert_eq!((json["status"].as_str(), json["errorType"].as_str()), (Some("error"), Some("bad_data")));
        assert_eq!(json["error"].as_str(), Some(text), "{path}");
    }
    assert_eq!(server.get("/api/v1/query_range?query=1&start=0&end=11000&step=1").await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_evaluated_is_422() {
    let server = filled().await;
    for (query, text) in [("info(up)", "not supported yet"), ("rate(up[5m]+anchored)", "not supported yet")] {
        let answer = server.get(&format!("/api/v1/query?query={query}&time=60")).await;
        assert_eq!((answer.status, answer.json()["errorType"].as_str()), (422, Some("execution")), "{query}");
        assert!(answer.body.contains(text), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_partly_bad_write_stores_the_good_and_names_the_bad() {
    let server = ready_server().await;
    let series = [
        SeriesToWrite { labels: &[("job", "a")], samples: &[(AT, 1.0)] },
        SeriesToWrite { labels: &[("__name__", "m"), ("a", "1"), ("a", "2")], samples: &[(AT, 1.0)] },
        SeriesToWrite {
            labels: &[("__name__", "m")],
            samples: &[(i64::MIN, 1.0), (AT, 7.0), (i64::MAX, 1.0)],
        },
    ];
    let answer = send(&server, &series).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    for part in ["4 of 5 refused", "no metric name", "occurs twice", "out of bounds", "older than 1900"] {
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    }
    let found = fetched(&server, "/api/v1/query?query=m&time=60").await;
    assert!(found.contains(r#""value":[60,"7"]"#), "{found}");
}

#[tokio::test]
async fn what_is_no_remote_write_is_refused_by_name() {
    let server = ready_server().await;
    let v2 = "Content-Type: application/x-protobuf;proto=io.prometheus.write.v2.Request\r\n";
    let cases = [
        (v2, 415, "not supported yet: remote write 2.0"),
        (
            "Content-Type: application/json\r\n",
            415,
            "expected application/x-protobuf as the first (media) part",
        ),
        ("Content-Type: application/x-protobuf;proto=x.Y\r\n", 415, "x.Y"),
        ("Content-Encoding: zstd\r\n", 415, "zstd encoding (compression) is not accepted by this server"),
        (HEADERS, 400, "snappy"),
    ];
    for (headers, status, text) in cases {
        let answer = server.post("/api/v1/write", headers, "garbage").await;
        assert_eq!(answer.status, status, "{headers}: {}", answer.body);
        assert!(answer.body.contains(text), "{headers}: {}", answer.body);
    }
    let claimed = "Content-Length: 99999999\r\n";
    let answer = server
        .raw(&format!("POST /api/v1/write HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{claimed}\r\n"))
        .await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (413, "the body is larger than the limit of 33554432 bytes\n")
    );
    let bomb = [0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0];
    let answer = server.post("/api/v1/write", HEADERS, bomb).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("body_bytes"), "{}", answer.body);
    assert_eq!(server.get("/api/v1/write").await.status, 405);
}
