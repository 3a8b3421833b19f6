//! Prometheus' HTTP API: quipu's answers beside those of Prometheus 3.5, and Prometheus' own programs as clients.

use std::path::Path;
use std::process::{Command, Stdio};

use quipu::wire::remote_write::SeriesToWrite;
use serde_json::{Value, json};

use super::peers::{Prometheus, Quipu, have, peer, remote_write_to};

/// Samples of each series, 15 s apart, the last one now.
const SAMPLES: i64 = 100;

/// The same in both, with `$SELF` where the address stands.
const CONFIG: &str = "global: {external_labels: {zone: eu, instance_of: test}}\n";

fn samples(now: i64, first: i32) -> Vec<(i64, f64)> {
    let value = |i: i64| f64::from(first) + f64::from(i32::try_from(i % 7).expect("small")) * 0.25;
    (0..SAMPLES).map(|i| (now - (SAMPLES - 1 - i) * 15_000, value(i))).collect()
}

/// Writes the same series to all: a few of two metrics, one with capitals, one with UTF-8 names, one that ended.
async fn fill(servers: &[&str], now: i64) {
    let client = reqwest::Client::new();
    let stale = f64::from_bits(quipu::model::STALE_NAN);
    let all: [&[(&str, &str)]; 6] = [
        &[("__name__", "api_requests_total"), ("code", "200"), ("job", "api")],
        &[("__name__", "api_requests_total"), ("code", "500"), ("instance", "i:1"), ("job", "api")],
        &[("Zone", "own"), ("__name__", "api_requests_total"), ("code", "200"), ("job", "web")],
        &[("__name__", "up"), ("job", "api"), ("zone", "us")],
        &[("__name__", "a.b"), ("x.y", "é\"\\\n")],
        &[("__name__", "gone"), ("job", "api")],
    ];
    for (at, labels) in (0..).zip(all) {
        let mut samples = samples(now, at * 1_000_000);
        if labels[0].1 == "gone" {
            samples.last_mut().expect("there are some").1 = stale;
        }
        for server in servers {
            remote_write_to(&client, server, &[SeriesToWrite { labels, samples: &samples }]).await;
        }
    }
}

async fn get(server: &str, path: &str, accept: &str) -> (u16, String, String) {
    let request = reqwest::Client::new().get(format!("{server}{path}")).header("accept", accept);
    let answer = request.send().await.expect("it answers");
    let header = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
    let content_type = header.unwrap_or_default().to_owned();
    (answer.status().as_u16(), content_type, answer.text().await.expect("a body"))
}

async fn json_of(server: &str, path: &str) -> Value {
    let (_, _, body) = get(server, path, "*/*").await;
    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{server}{path}: {e}: {body}"))
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// What Prometheus 3.14 has in trees and 3.5 has not.
fn without_news(tree: &mut Value) {
    match tree {
        Value::Object(fields) => {
            for news in ["anchored", "smoothed", "fillValues"] {
                fields.remove(news);
            }
            fields.values_mut().for_each(without_news);
        }
        Value::Array(items) => items.iter_mut().for_each(without_news),
        _ => {}
    }
}

/// Lists of counts, equal counts by name: Prometheus leaves their order open.
fn sorted(mut status: Value) -> Value {
    for list in status["data"].as_object_mut().into_iter().flat_map(|data| data.values_mut()) {
        if let Some(list) = list.as_array_mut() {
            list.sort_by_key(|stat| (std::cmp::Reverse(stat["value"].as_u64()), stat["name"].to_string()));
        }
    }
    status
}

/// The names of all fields, with those of inner objects.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, inner)| (name.clone(), shape(inner))).collect(),
        Value::Array(items) => items.first().map_or(json!([]), |item| json!([shape(item)])),
        _ => Value::Null,
    }
}

async fn compare_queries(ours: &str, theirs: &str) {
    let long = "a_metric_with_a_name_that_is_long_enough_to_fill_a_good_part_of_a_line";
    let queries = [
        "sum by (a,b) (rate(up{a=\"b\",c=~\"d.*\"}[5m:1m] @ end() offset 5m)) / on (x) group_left (y) -z^2",
        "topk(3, up) > bool 1",
        "up @ 1.5 offset -5m + 1e300 - 0x1F",
        "quantile_over_time(0.9,x[5m] offset 1h)",
        "label_replace(a,\"b\",\"c\",\"d\",`e\\d`) and ignoring(x) b or c unless d",
        "{\"a.b\",\"c.d\"!=\"e\"} * on() group_right(f) h",
        "count_values without (a) (\"v\", - (x + +y)) == time()",
        "max_over_time(rate(up[5m])[1h:]) atan2 scalar(up)",
        "\"text\"",
        &format!(
            "sum by (x) (rate({long}{{job=\"api\"}}[5m])) / on (x) group_left () -topk(3, ({long} + {long}))"
        ),
        "up{",
        "",
        "sum(up) by",
    ];
    for query in queries {
        for what in ["format_query", "parse_query"] {
            let path = format!("/api/v1/{what}?query={}", encoded(query));
            let mut our = json_of(ours, &path).await;
            if what == "parse_query" {
                without_news(&mut our);
            }
            assert_eq!(our, json_of(theirs, &path).await, "{what} of {query}");
        }
    }
    for stats in ["", "&stats=all", "&stats=true"] {
        for path in ["query?query=up", "query_range?query=up&start=0&end=60&step=60"] {
            let path = format!("/api/v1/{path}{stats}");
            let (our, their) = (json_of(ours, &path).await, json_of(theirs, &path).await);
            assert_eq!(shape(&our["data"]["stats"]), shape(&their["data"]["stats"]), "{path}");
        }
    }
}

async fn compare_status(ours: &str, theirs: &str) {
    let path = "/api/v1/status/tsdb?limit=10000";
    assert_eq!(sorted(json_of(ours, path).await), sorted(json_of(theirs, path).await));
    for path in [
        "status/tsdb?limit=0",
        "status/tsdb?limit=x",
        "status/walreplay",
        "targets/metadata",
        "targets/metadata?limit=x",
        "targets/metadata?match_target=x%7B",
        "rules",
        "alerts",
        "alertmanagers",
        "scrape_pools",
        "status/tsdb?limit=10001",
    ] {
        let path = format!("/api/v1/{path}");
        let parsed = |(status, content_type, body): (u16, String, String)| {
            let body: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"));
            (status, content_type, body)
        };
        let (our, their) = (get(ours, &path, "*/*").await, get(theirs, &path, "*/*").await);
        // 3.5 had no upper limit yet.
        if path.ends_with("10001") {
            assert_eq!(our.0, 400, "{}", our.2);
        } else {
            assert_eq!(parsed(our), parsed(their), "{path}");
        }
    }
    for path in ["status/runtimeinfo", "status/config", "status/buildinfo"] {
        let path = format!("/api/v1/{path}");
        let (our, their) = (shape(&json_of(ours, &path).await), shape(&json_of(theirs, &path).await));
        let missing: Vec<_> = their["data"].as_object().expect("fields").keys().collect();
        assert!(missing.iter().all(|name| our["data"].get(name.as_str()).is_some()), "{path}: {our} {their}");
    }
}

async fn compare_federation(ours: &str, theirs: &str) {
    let scrape = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5";
    for (matches, lines) in [
        (&["up"][..], 1),
        (&["up", "api_requests_total", "{job=\"api\"}"], 4),
        (&["{__name__=~\".+\"}"], 5),
        (&["gone"], 0),
        (&["up{"], 1),
        (&[], 0),
    ] {
        let asked: Vec<_> = matches.iter().map(|text| format!("match[]={}", encoded(text))).collect();
        let path = format!("/federate?{}", asked.join("&"));
        for accept in ["*/*", scrape] {
            let (our, their) = (get(ours, &path, accept).await, get(theirs, &path, accept).await);
            assert_eq!(our, their, "{path}");
            assert_eq!(
                our.2.lines().filter(|line| !line.starts_with('#')).count(),
                lines,
                "{path}: {}",
                our.2
            );
        }
    }
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.extend([number << 3 | 2, u8::try_from(bytes.len()).expect("below 128")]);
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, field: u8, value: i64) {
    out.push(field << 3);
    let mut value = value.cast_unsigned();
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// A packed `ReadRequest` for one selection.
fn read_request(span: (i64, i64), matchers: &[(i64, &str, &str)], accepted: &[u8]) -> Vec<u8> {
    let (mut query, mut request) = (Vec::new(), Vec::new());
    number(&mut query, 1, span.0);
    number(&mut query, 2, span.1);
    for (kind, name, value) in matchers {
        let mut matcher = Vec::new();
        number(&mut matcher, 1, *kind);
        field(&mut matcher, 2, name.as_bytes());
        field(&mut matcher, 3, value.as_bytes());
        field(&mut query, 3, &matcher);
    }
    field(&mut request, 1, &query);
    field(&mut request, 2, accepted);
    snap::raw::Encoder::new().compress_vec(&request).expect("small")
}

async fn read(server: &str, body: Vec<u8>) -> (u16, Option<String>, Vec<u8>) {
    let request = reqwest::Client::new().post(format!("{server}/api/v1/read")).body(body);
    let answer = request.send().await.expect("it answers");
    let content_type = answer.headers().get("content-type").map(|value| format!("{value:?}"));
    (answer.status().as_u16(), content_type, answer.bytes().await.expect("a body").to_vec())
}

async fn compare_reads(ours: &str, theirs: &str, now: i64) {
    let whole = (now - SAMPLES * 15_000, now);
    let names = [
        (whole, vec![(0, "__name__", "api_requests_total")]),
        (whole, vec![(2, "__name__", "up|gone|a.b")]),
        (whole, vec![(3, "job", "web|"), (1, "code", "500")]),
        (whole, vec![(0, "zone", "eu"), (2, "__name__", ".+")]),
        (whole, vec![(0, "__name__", "nothing")]),
        ((now - 60_000, now), vec![(0, "__name__", "up")]),
    ];
    for (span, matchers) in names {
        let body = read_request(span, &matchers, &[1, 0]);
        assert_eq!(read(ours, body.clone()).await, read(theirs, body).await, "{matchers:?}");
        // One message: the order of the series is open.
        let body = read_request(span, &matchers, &[0]);
        let (our, their) = (read(ours, body.clone()).await, read(theirs, body).await);
        assert_eq!((our.0, &our.1), (their.0, &their.1), "{matchers:?}");
        let unpacked = |bytes: &[u8]| {
            let mut all = snap::raw::Decoder::new().decompress_vec(bytes).expect("snappy");
            all.sort_unstable();
            all
        };
        assert_eq!(unpacked(&our.2), unpacked(&their.2), "{matchers:?}");
    }
    for bad in [read_request(whole, &[(2, "a", "(")], &[0]), read_request(whole, &[], &[7]), b"x".to_vec()] {
        let (our, their) = (read(ours, bad.clone()).await, read(theirs, bad).await);
        assert_eq!(our.0, 400, "{}", String::from_utf8_lossy(&our.2));
        assert!(their.0 == 400 || their.0 == 500, "{}", their.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_prometheus() {
    if !Prometheus::is_there() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data").display().to_string();
    let quipu = Quipu::start(folder.path(), CONFIG, &data).await;
    let prometheus = Prometheus::start(folder.path(), CONFIG, &[]).await;
    let (ours, theirs) = (quipu.http.as_str(), prometheus.http.as_str());
    let now = quipu.clock.now_ms();
    fill(&[ours, theirs], now).await;
    compare_status(ours, theirs).await;
    compare_queries(ours, theirs).await;
    compare_federation(ours, theirs).await;
    compare_reads(ours, theirs, now).await;
    assert_eq!(quipu.post("/-/flush").await, 200);
    compare_federation(ours, theirs).await;
    compare_reads(ours, theirs, now).await;
    quipu.stop().await;
}

/// Two generations of Prometheus read from quipu and scrape its federation.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_and_federates() {
    let programs = ["prometheus-stable/usr/bin/prometheus", "prometheus-sid/usr/bin/prometheus"];
    for program in programs.map(peer).iter().filter(|program| have(program)) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data").display().to_string();
        let quipu = Quipu::start(folder.path(), CONFIG, &data).await;
        let now = quipu.clock.now_ms();
        fill(&[&quipu.http], now).await;
        let http = &quipu.http;
        let address = http.strip_prefix("http://").expect("an address");
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             remote_read: [{{url: '{http}/api/v1/read', read_recent: true}}]\n\
             scrape_configs:\n\
             - job_name: federate\n  honor_labels: true\n  metrics_path: /federate\n\
            \x20 params: {{'match[]': ['{{__name__=\"up\"}}']}}\n\
            \x20 static_configs: [{{targets: ['{address}']}}]\n"
        );
        let prometheus = Prometheus::start_program(program, folder.path(), &config, &[]).await;
        let at = now / 1_000;
        for query in [
            "sum(rate(api_requests_total[5m]))",
            "count by (code) (api_requests_total{code=~\"2..\"})",
            "sum(sum_over_time({__name__=~\"api.*|gone\",job!=\"web\"}[20m]))",
            "count(gone)",
        ] {
            let path = format!("/api/v1/query?time={at}&query={}", encoded(query));
            let (our, their) = (json_of(http, &path).await, json_of(&prometheus.http, &path).await);
            assert_eq!(our["data"], their["data"], "{}: {query}", program.display());
            assert!(query.contains("gone)") || our["data"]["result"][0].is_object(), "{query}: {our}");
        }
        let arrived =
            || async { prometheus.value("scrape_samples_scraped{job=\"federate\"}").await == Some(1.0) };
        quipu.wait_for("the federation is scraped", arrived).await;
        assert_eq!(prometheus.value("up{job=\"federate\"}").await, Some(1.0));
        // Read and scraped at the same time it is one series: its own labels stay, quipu's external ones are on it.
        let both = "count(up{job=\"api\",zone=\"us\",instance_of=\"test\"})";
        assert_eq!(prometheus.value(both).await, Some(1.0));
        quipu.stop().await;
    }
}

fn promtool(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("promtool runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_asks_and_checks() {
    let program = peer("prometheus-stable/usr/bin/promtool");
    if !have(&program) {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data").display().to_string();
    let quipu = Quipu::start(folder.path(), CONFIG, &data).await;
    let now = quipu.clock.now_ms();
    fill(&[&quipu.http], now).await;
    let (http, seconds) = (quipu.http.as_str(), now / 1_000);
    let time = format!("--time={seconds}");
    let instant = promtool(&program, &["query", "instant", &time, http, "count(api_requests_total)"]);
    assert_eq!(instant.trim(), format!("{{}} => 3 @[{seconds}]"));
    let (start, end) = (format!("--start={}", seconds - 60), format!("--end={seconds}"));
    let range = promtool(&program, &["query", "range", &start, &end, "--step=30s", http, "count(up)"]);
    assert_eq!(range.lines().count(), 4, "a head and three steps: {range}");
    let series = promtool(&program, &["query", "series", "--match=up", "--match=gone", http]);
    assert!(series.contains("zone=\"us\"") && series.contains("gone"), "{series}");
    let labels = promtool(&program, &["query", "labels", http, "job"]);
    assert_eq!(labels.lines().collect::<Vec<_>>(), ["api", "web"]);

    let (status, _, metrics) = get(http, "/metrics", "*/*").await;
    assert_eq!(status, 200);
    let file = folder.path().join("metrics");
    std::fs::write(&file, &metrics).expect("a temporary folder can be written");
    let checked = Command::new(&program)
        .args(["check", "metrics"])
        .stdin(Stdio::from(std::fs::File::open(&file).expect("it was written")))
        .output()
        .expect("promtool runs");
    let complaint = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{complaint}");
    quipu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_packed_as_the_client_asks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data").display().to_string();
    let quipu = Quipu::start(folder.path(), CONFIG, &data).await;
    let now = quipu.clock.now_ms();
    fill(&[&quipu.http], now).await;
    let seconds = now / 1_000;
    let small = format!("/api/v1/query?query=up&time={seconds}");
    let start = seconds - 1_400;
    // 22 points a second of 3 series: more than is written in one piece.
    let large = format!("/api/v1/query_range?query=api_requests_total&start={start}&end={seconds}&step=0.14");
    for path in [small, large, "/metrics".to_owned()] {
        let plain = get(&quipu.http, &path, "*/*").await.2;
        for encoding in ["gzip", "zstd", "gzip, zstd"] {
            let request =
                quipu.client.get(format!("{}{path}", quipu.http)).header("accept-encoding", encoding);
            let answer = request.send().await.expect("it answers");
            let packed = answer.headers().get("content-encoding").map(|value| value.as_bytes().to_vec());
            let body = answer.bytes().await.expect("a body");
            let unpacked = match packed.as_deref() {
                Some(b"zstd") if encoding.contains("zstd") => zstd::decode_all(&body[..]).expect("zstd"),
                Some(b"gzip") if encoding == "gzip" => {
                    let mut out = Vec::new();
                    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&body[..]), &mut out)
                        .expect("gzip");
                    out
                }
                other => panic!("{path}: {encoding} gave {other:?}"),
            };
            if path.starts_with("/api") {
                assert_eq!(String::from_utf8_lossy(&unpacked), plain, "{path}");
            }
        }
    }
    quipu.stop().await;
}
