//! Lines through a real socket: statuses and texts of both doors, and what reaches the store.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::client::{Answer, Server};
use super::*;
use crate::wire::loki::{EntryToWrite, StreamToWrite, encode};

/// The door's clock stands at a minute.
const AT: i64 = 60_000_000_000;
const JSON: &str = "Content-Type: application/json\r\n";

async fn push(server: &Server, headers: &str, body: impl AsRef<[u8]>) -> Answer {
    server.post("/loki/api/v1/push", headers, body).await
}

fn body(values: &str) -> String {
    format!(r#"{{"streams":[{{"stream":{{"app":"a"}},"values":[{values}]}}]}}"#)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

/// The value of one of our own metrics.
async fn metric(server: &Server, start: &str) -> Option<String> {
    let page = server.get("/metrics").await.body;
    page.lines().find_map(|line| line.strip_prefix(start).map(|value| value.trim().to_owned()))
}

#[tokio::test]
async fn a_push_is_taken_in_every_form() {
    let server = ready_server().await;
    let entry = EntryToWrite { timestamp: AT, line: b"from protobuf", metadata: &[("trace_id", "t")] };
    let packed = encode(&[StreamToWrite { labels: "{app=\"a\"}", entries: &[entry] }]).expect("small");
    let text = body(r#"["60000000000","from json",{"k":"v"}]"#);
    let snappy = snap::raw::Encoder::new().compress_vec(text.as_bytes()).expect("small");
    let proto = "Content-Type: application/x-protobuf\r\n";
    let with = |headers: &str, coding: &str| format!("{headers}Content-Encoding: {coding}\r\n");
    for (headers, body) in [
        (String::new(), packed.clone()),
        (proto.to_owned(), packed.clone()),
        (with(proto, "snappy"), packed.clone()),
        (JSON.to_owned(), text.clone().into_bytes()),
        (
            "Content-Type: application/json; charset=utf-8\r\nX-Scope-OrgID: x\r\n".to_owned(),
            text.clone().into_bytes(),
        ),
        (with(JSON, "gzip"), gzip(&text)),
        (with(JSON, "snappy"), snappy),
    ] {
        let answer = push(&server, &headers, body).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{headers}");
    }
    assert_eq!(metric(&server, "quipu_logs_lines_total{door=\"loki\"}").await.as_deref(), Some("7"));
    let page = server.get("/metrics").await.body;
    assert!(page.contains("handler=\"/loki/api/v1/push\",code=\"204\""), "{page}");
}

#[tokio::test]
async fn a_bad_push_is_refused_as_loki_refuses_it() {
    let server = ready_server().await;
    let cases = [
        (JSON, "{}".to_owned(), 422, "error at least one valid stream is required for ingestion"),
        (JSON, "{\"streams\":[]}".to_owned(), 422, "at least one valid stream"),
        (JSON, body(""), 204, ""),
        (JSON, "x".to_owned(), 400, "Loki push: the body is not a push request"),
        (JSON, body("[1,\"x\"]"), 400, "a timestamp is not a string of nanoseconds"),
        ("", "x".to_owned(), 400, "snappy"),
        (
            "Content-Type: application/json\r\nContent-Encoding: br\r\n",
            "{}".to_owned(),
            400,
            "Content-Encoding \"br\" not supported",
        ),
        ("Content-Type: application/json\r\nContent-Encoding: gzip\r\n", "x".to_owned(), 400, "not gzip"),
    ];
    for (headers, text, status, words) in cases {
        let answer = push(&server, headers, &text).await;
        assert_eq!(answer.status, status, "{text}: {}", answer.body);
        assert!(answer.body.contains(words), "{text}: {}", answer.body);
    }
    let partly = body(r#"["60000000000","good"],["960000000000","new"]"#);
    let answer = push(&server, JSON, &partly).await;
    assert_eq!(answer.status, 400);
    let words = "1 of 2 lines refused, the others are stored: entry for stream '{app=\"a\", service_name=\"a\"}' \
        has timestamp too new: 1970-01-01T00:16:00Z";
    assert!(answer.body.contains(words), "{}", answer.body);
    assert_eq!(metric(&server, "quipu_logs_lines_total{door=\"loki\"}").await.as_deref(), Some("1"));
    let refused = "quipu_logs_refused_lines_total{door=\"loki\",reason=\"too_far_in_future\"}";
    assert_eq!(metric(&server, refused).await.as_deref(), Some("1"));
    let bomb = gzip(&" ".repeat(65 << 20));
    let answer = push(&server, "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", bomb).await;
    assert_eq!(answer.status, 413, "{}", answer.body);
}

#[tokio::test]
async fn json_lines_are_taken_by_the_request_s_names() {
    let server = ready_server().await;
    let text = "{\"date\":\"0\",\"log\":{\"message\":\"hello\"},\"stream\":\"s\"}\n{\"date\":60,\"log\":{\"message\":\"world\"}}\n";
    let path =
        "/insert/jsonline?_stream_fields=stream&_time_field=date&_msg_field=log.message&extra_fields=a=b";
    let answer = server.post(path, "Content-Type: application/stream+json\r\n", text).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let headers =
        "VL-Stream-Fields: stream\r\nVL-Time-Field: date\r\nContent-Encoding: gzip\r\nAccountID: 7\r\n";
    let answer = server.post("/insert/jsonline", headers, gzip(text)).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(metric(&server, "quipu_logs_lines_total{door=\"jsonline\"}").await.as_deref(), Some("4"));
    let answer = server.post("/insert/jsonline", "", "{\"_msg\":\"good\"}\nbad\n").await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.starts_with("1 of 2 lines refused, the others are stored: line 2: no JSON object"),
        "{}",
        answer.body
    );
    for (path, words) in
        [("debug=1", "not supported yet: the parameter debug"), ("extra_fields=a", "not name=value")]
    {
        let answer = server.post(&format!("/insert/jsonline?{path}"), "", "{}").await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(words), "{}", answer.body);
    }
    assert_eq!(server.get("/insert/jsonline").await.status, 405);
}

#[tokio::test]
async fn what_is_not_there_yet_is_named() {
    let server = ready_server().await;
    for path in ["/loki/api/v1/query_range?query=x", "/loki/api/v1/labels", "/insert/elasticsearch/_bulk"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 422, "{path}");
        let name = path.split('?').next().expect("a path");
        assert!(answer.body.contains(&format!("not supported yet: {name}")), "{}", answer.body);
    }
}
