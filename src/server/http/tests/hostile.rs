//! Hostile requests through the socket: each is a 4xx that names what is wrong, and the server goes on.

use super::client::Answer;
use super::data::{AT, HEADERS, filled, send};
use super::ready_server;
use crate::runtime::Dice;
use crate::wire::remote_write::{SeriesToWrite, encode};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

fn assert_refused(answer: &Answer, text: &str, what: &str) {
    assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.body);
    assert!(answer.body.contains(text), "{what}: {}", answer.body);
    assert!(answer.body.len() < 4_096, "{what}: the answer repeats {} bytes", answer.body.len());
}

#[tokio::test]
async fn deep_queries_are_refused_with_their_limit() {
    let server = filled().await;
    let deep = |open: &str, middle: &str, close: &str| {
        format!("query={}{middle}{}&time=60", open.repeat(10_000), close.repeat(10_000))
    };
    let cases = [
        ("parentheses", deep("(", "1", ")")),
        ("calls", deep("abs(", "up", ")")),
        ("signs", deep("-", "1", "")),
        ("a chain", format!("query=1{}&time=60", "%2B1".repeat(10_000))),
    ];
    for (what, body) in cases {
        let answer = server.post("/api/v1/query", FORM, body).await;
        assert_refused(&answer, "limit", what);
    }
    let whole = server.get("/api/v1/query?query=sum(up)&time=60").await;
    assert_eq!(whole.status, 200, "{}", whole.body);
}

#[tokio::test]
async fn bombs_and_giant_labels_are_refused_with_their_limit() {
    let server = ready_server().await;
    let zeros = vec![0; 100 << 20];
    let bomb = snap::raw::Encoder::new().compress_vec(&zeros).expect("zeros can be packed");
    assert_refused(&server.post("/api/v1/write", HEADERS, bomb).await, "body_bytes", "a snappy bomb");
    let giant = "x".repeat(10 << 20);
    for (labels, limit) in [
        ([("__name__", "m"), ("a", giant.as_str())], "label_value_bytes"),
        ([("__name__", "m"), (giant.as_str(), "a")], "label_name_bytes"),
        ([("__name__", giant.as_str()), ("a", "b")], "label_value_bytes"),
    ] {
        let answer = send(&server, &[SeriesToWrite { labels: &labels, samples: &[(AT, 1.0)] }]).await;
        assert_refused(&answer, limit, "a label of 10 MB");
    }
    let names: Vec<String> = (0..300).map(|n| format!("l{n:03}")).collect();
    let mut labels = vec![("__name__", "m")];
    labels.extend(names.iter().map(|name| (name.as_str(), "v")));
    let answer = send(&server, &[SeriesToWrite { labels: &labels, samples: &[(AT, 1.0)] }]).await;
    assert_refused(&answer, "labels_per_series", "300 labels");
    let found = server.get("/api/v1/label/__name__/values").await;
    assert!(found.body.contains("\"data\":[]"), "nothing of it was stored: {}", found.body);
}

#[tokio::test]
async fn damaged_bodies_never_cost_more_than_their_request() {
    let server = ready_server().await;
    let labels = [("__name__", "m"), ("job", "a"), ("zone", "é")];
    let rows: Vec<(i64, f64)> = (0..50).map(|n| (n * 1_000, 0.5)).collect();
    let good = encode(&[SeriesToWrite { labels: &labels, samples: &rows }], &[]).expect("small");
    let plain = snap::raw::Decoder::new().decompress_vec(&good).expect("it was packed a moment ago");
    let mut dice = Dice::new(20_261_121);
    let mut below = |n: usize| usize::try_from(dice.below(n as u64)).expect("below a length");
    for round in 0..300 {
        // Every other round damages what snappy holds, so that the damage reaches the protobuf decoder.
        let mut body = if round % 2 == 0 { good.clone() } else { plain.clone() };
        for _ in 0..=below(3) {
            let at = below(body.len());
            body[at] = u8::try_from(below(256)).expect("a byte");
        }
        body.truncate(body.len() - below(body.len() / 2));
        if round % 2 == 1 {
            body = snap::raw::Encoder::new().compress_vec(&body).expect("small");
        }
        let answer = server.post("/api/v1/write", HEADERS, body).await;
        assert!(matches!(answer.status, 204 | 400), "round {round}: {} {}", answer.status, answer.body);
    }
    assert_eq!(server.post("/api/v1/write", HEADERS, good).await.status, 204);
}

#[tokio::test]
async fn times_at_the_ends_are_answers_or_4xx() {
    let server = filled().await;
    let ends = [
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775.807",
        "1e308",
        "-1e308",
        "NaN",
        "Inf",
    ];
    for end in ends {
        for path in [
            format!("query?query=up&time={end}"),
            format!("query?query=rate(up%5B5m%5D%20offset%20-5m)&time={end}"),
            format!("query?query=up%20@%20{end}&time=60"),
            format!("query_range?query=up&start={end}&end={end}&step=1"),
            format!("query_range?query=up&start=0&end={end}&step=1"),
            format!("query_range?query=up&start=0&end=60&step={end}"),
            format!("query?query=up&time=60&lookback_delta={end}"),
            format!("query?query=up&time=60&timeout={end}"),
            format!("series?match[]=up&start=-{end}&end={end}"),
            format!("labels?start={end}"),
            format!("query_exemplars?query=up&start={end}&end={end}"),
        ] {
            let answer = server.get(&format!("/api/v1/{path}")).await;
            assert!(answer.status == 200 || (400..500).contains(&answer.status), "{path}: {answer:?}");
            assert!(matches!(answer.json()["status"].as_str(), Some("success" | "error")), "{path}");
        }
    }
    let extremes = [(i64::MIN, 1.0), (i64::MAX, 1.0), (i64::MIN + 1, f64::NAN)];
    let labels = [("__name__", "m")];
    let answer = send(&server, &[SeriesToWrite { labels: &labels, samples: &extremes }]).await;
    assert_refused(&answer, "out of bounds", "timestamps at the ends of i64");
}

/// A query that takes seconds is gone soon after its client, and counts as neither answered nor failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_ends_when_its_client_goes_away() {
    let server = ready_server().await;
    let rows: Vec<(i64, f64)> =
        (-1_000..50).map(|n| (n * 1_000, f64::from(i32::try_from(n).expect("small")))).collect();
    let names: Vec<String> = (0..400).map(|n| n.to_string()).collect();
    let labels: Vec<_> = names.iter().map(|n| [("__name__", "m"), ("n", n.as_str())]).collect();
    let series: Vec<_> = labels.iter().map(|labels| SeriesToWrite { labels, samples: &rows }).collect();
    assert_eq!(send(&server, &series).await.status, 204);
    let query = "/api/v1/query_range?query=quantile_over_time(0.9,m%5B1000s%5D)&start=-1000&end=60&step=0.1";
    let leaving = server.get(query);
    let watching =
        async { while !server.get("/metrics").await.body.contains("quipu_queries_running 1\n") {} };
    tokio::select! {
        answer = leaving => panic!("the query was too quick for this test: {}", answer.status),
        () = watching => {}
    }
    while !server.get("/metrics").await.body.contains("quipu_queries_running 0\n") {}
    let metrics = server.get("/metrics").await.body;
    assert!(metrics.contains("quipu_query_total{result=\"success\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn long_addresses_and_forms_end_in_4xx() {
    let server = ready_server().await;
    let long = "a".repeat(1 << 20);
    let answer = server.get(&format!("/api/v1/query?query={long}")).await;
    assert!((400..500).contains(&answer.status), "{}", answer.status);
    for path in ["/api/v1/query?query=%FF%FE", "/api/v1/label/%FF/values", "/api/v1/series?match[]=%00"] {
        let answer = server.get(path).await;
        assert!((400..500).contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
    }
    assert_eq!(server.get("/-/healthy").await.status, 200);
}
