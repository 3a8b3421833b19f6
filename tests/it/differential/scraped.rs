//! A real target with native histograms, scraped by quipu and by Prometheus: what both then answer must be equal.
//!
//! The target is a Prometheus that shows its own histograms over protobuf. Two scrapers never ask at the same moment,
//! so its pages are recorded while it has something to do, each gets a timestamp, and every scraper is shown all of
//! them in order:
//!
//! ```text
//!   target ─ page 0, 1, 2, … ─▶ stamped ─▶ /quipu       n-th request: page n
//!                                          /prometheus  n-th request: page n
//! ```
//! Beside that both scrape the target itself, where only what does not depend on the moment is compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use quipu::runtime::Pools;

use super::super::peers::{Prometheus, Quipu};
use super::answer::{Tally, compare};
use super::grammar::Term;
use super::{Question, ask, seconds};

/// Recorded pages.
const PAGES: usize = 8;
/// Between two pages, as their timestamps say.
const STEP_MS: i64 = 5_000;

/// What a scraper of native histograms asks for first.
const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// Each shows itself twice: the second time with classic histograms converted.
const SCRAPERS: [&str; 4] = ["quipu", "prometheus", "quipu-converted", "prometheus-converted"];

/// The recorded pages behind one port, and how many each scraper was shown.
struct Pages {
    address: String,
    recorded: Vec<Vec<u8>>,
    shown: [AtomicUsize; SCRAPERS.len()],
}

impl Pages {
    async fn serve(recorded: Vec<Vec<u8>>) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let pages = Arc::new(Self { address, recorded, shown: Default::default() });
        let router = Router::new().route("/{scraper}", get(show)).with_state(Arc::clone(&pages));
        drop(Pools::current().spawn_io(async move { axum::serve(listener, router).await }));
        pages
    }

    /// Whether all scrapers have stored every page: they ask again only after that.
    fn are_stored(&self) -> bool {
        self.shown.iter().all(|shown| shown.load(Ordering::SeqCst) > self.recorded.len())
    }
}

async fn show(State(pages): State<Arc<Pages>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(scraper) = SCRAPERS.iter().position(|scraper| *scraper == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if !accept.starts_with("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily") {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    }
    let number = pages.shown[scraper].fetch_add(1, Ordering::SeqCst);
    let page = pages.recorded[number.min(pages.recorded.len() - 1)].clone();
    ([(header::CONTENT_TYPE, PROTOBUF)], page).into_response()
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first().expect("a varint ends");
        *bytes = rest;
        number |= u64::from(first & 0x7F) << shift;
        if *first < 0x80 {
            return number;
        }
        shift += 7;
    }
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn take<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::try_from(varint(bytes)).expect("a length");
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken
}

/// A page whose metrics have this timestamp: `MetricFamily { …, 4 metric: Metric { …, 6 timestamp_ms } }`.
fn stamped(page: &[u8], time_ms: i64) -> Vec<u8> {
    const METRIC: u64 = 4 << 3 | 2;
    const TIMESTAMP: u64 = 6 << 3;
    let (mut rest, mut out) = (page, Vec::new());
    while !rest.is_empty() {
        let (mut family, mut stamped) = (take(&mut rest), Vec::new());
        while !family.is_empty() {
            let key = varint(&mut family);
            put_varint(&mut stamped, key);
            match key % 8 {
                0 => {
                    put_varint(&mut stamped, varint(&mut family));
                    continue;
                }
                wire_type => assert_eq!(wire_type, 2, "a family has numbers, texts and metrics"),
            }
            let mut field = take(&mut family).to_vec();
            if key == METRIC {
                put_varint(&mut field, TIMESTAMP);
                put_varint(&mut field, time_ms.cast_unsigned());
            }
            put_varint(&mut stamped, field.len() as u64);
            stamped.extend(field);
        }
        put_varint(&mut out, stamped.len() as u64);
        out.extend(stamped);
    }
    out
}

/// Pages of a target that is asked this and that in between.
async fn record(target: &str, first_ms: i64) -> Vec<Vec<u8>> {
    let (client, mut pages) = (reqwest::Client::new(), Vec::new());
    for (number, time_ms) in (0..PAGES).zip((0_i64..).map(|number| first_ms + number * STEP_MS)) {
        // Much at first: since 3.6 a rate is not extrapolated below zero.
        let asked = if number == 0 { 400 } else { 10 * number };
        for at in 0..asked {
            let path = ["query?query=up", "labels", "query?query=vector(1)", "status/tsdb"][at % 4];
            let answer = client.get(format!("{target}/api/v1/{path}")).send().await.expect("it answers");
            assert_eq!(answer.status().as_u16(), 200);
        }
        let request = client.get(format!("{target}/metrics")).header("accept", PROTOBUF);
        let answer = request.send().await.expect("it answers");
        let content_type = answer.headers().get("content-type").map(|value| format!("{value:?}"));
        let is_protobuf = content_type.as_ref().is_some_and(|value| value.contains("google.protobuf"));
        assert!(is_protobuf, "{content_type:?}");
        pages.push(stamped(&answer.bytes().await.expect("a page"), time_ms));
    }
    pages
}

/// The scrape configuration of one of both; `native` is how quipu asks for native histograms.
fn config(pages: &str, scraper: &str, target: &str, native: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n\
         - job_name: frozen\n  metrics_path: /{scraper}\n  always_scrape_classic_histograms: true\n{native}\
        \x20 static_configs: [{{targets: ['{pages}']}}]\n\
         - job_name: converted\n  metrics_path: /{scraper}-converted\n  convert_classic_histograms_to_nhcb: true\n{native}\
        \x20 static_configs: [{{targets: ['{pages}']}}]\n\
         - job_name: live\n{native}  static_configs: [{{targets: ['{target}']}}]\n"
    )
}

const EXPRESSIONS: [&str; 29] = [
    "{job=\"frozen\"}",
    "{job=\"converted\",__name__=~\".+\"}",
    "count by (__name__) ({job=\"converted\",__name__=~\"prometheus_(tsdb|sd|rule).*\"})",
    "increase(prometheus_http_response_size_bytes{job=\"converted\"}[30s])",
    "X",
    "prometheus_http_response_size_bytes",
    "histogram_count(X)",
    "histogram_sum(X)",
    "histogram_avg(X)",
    "histogram_stddev(X)",
    "histogram_quantile(0.917, X)",
    "histogram_fraction(0, 0.001, X)",
    "rate(X[20s])",
    "increase(X[1m])",
    "irate(X[20s])",
    "delta(X[20s])",
    "resets(X[1m])",
    "changes(X[1m])",
    "sum by (handler) (rate(X[30s]))",
    "avg(X)",
    "count(X)",
    "histogram_quantile(0.99, sum(rate(X[30s])))",
    "histogram_quantile(0.5, rate(prometheus_http_response_size_bytes[30s]))",
    "histogram_fraction(0, 0.01, sum by (job) (increase(X[30s])))",
    "histogram_quantile(0.9, sum by (le, handler) (rate(prometheus_http_request_duration_seconds_bucket{job=\"frozen\"}[30s])))",
    "sum_over_time(X[20s])",
    "avg_over_time(X[20s] offset 5s)",
    "X - X offset 10s",
    "max_over_time(histogram_count(X)[30s:5s])",
];

fn questions(first_ms: i64) -> Vec<Question> {
    let mut questions = Vec::new();
    let last_ms = first_ms + STEP_MS * i64::try_from(PAGES).expect("a few");
    for text in EXPRESSIONS {
        let text = text
            .replace('X', "prometheus_http_request_duration_seconds{job=\"frozen\"}")
            .replace("size_bytes[", "size_bytes{job=\"frozen\"}[");
        let text = if text == "prometheus_http_response_size_bytes" {
            format!("{text}{{job=\"frozen\"}}")
        } else {
            text
        };
        let query = ("query", text.clone());
        let computed = Term::unknown(text).within(1e-9);
        for at in [first_ms + 7_000, first_ms + 22_500, last_ms] {
            let parameters = vec![query.clone(), ("time", seconds(at))];
            questions.push(Question { term: computed.clone(), path: "/api/v1/query", parameters });
        }
        let times = [("start", seconds(first_ms)), ("end", seconds(last_ms)), ("step", "2.5".to_owned())];
        let parameters = [query].into_iter().chain(times).collect();
        questions.push(Question { term: computed, path: "/api/v1/query_range", parameters });
    }
    questions
}

#[tokio::test(flavor = "multi_thread")]
async fn scraped_histograms_are_those_of_prometheus() {
    if !Prometheus::is_there() {
        return;
    }
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let target = Prometheus::start(folders[0].path(), "global: {}\n", &[]).await;
    let now = quipu::runtime::Clock::real().now_ms();
    let first_ms = now - now % 1_000 - 60_000;
    let pages = Pages::serve(record(&target.http, first_ms).await).await;
    let address = target.http.trim_start_matches("http://");
    let config = |scraper, native| config(&pages.address, scraper, address, native);
    let theirs = config("prometheus", "");
    let prometheus =
        Prometheus::start(folders[1].path(), &theirs, &["--enable-feature=native-histograms"]).await;
    let data = folders[2].path().join("data").display().to_string();
    let ours = config("quipu", "  scrape_native_histograms: true\n");
    let quipu = Quipu::start(folders[2].path(), &ours, &data).await;
    quipu.wait_for("both have stored all pages", || async { pages.are_stored() }).await;
    let (mut tally, mut differences) = (Tally::default(), Vec::new());
    for flushed in [false, true] {
        if flushed {
            assert_eq!(quipu.post("/-/flush").await, 200);
        }
        for question in questions(first_ms) {
            let (client, text) = (&quipu.client, &question.term.text);
            let (expected, found) =
                tokio::join!(ask(client, &prometheus.http, &question), ask(client, &quipu.http, &question));
            if let Err(why) = compare(&question.term, &expected, &found, &mut tally) {
                differences.push(format!("flushed {flushed}: {text} {:?}: {why}", question.parameters));
            }
        }
    }
    assert!(differences.is_empty(), "{}:\n{}", differences.len(), differences.join("\n"));
    assert!(tally.histograms > 1_000 && tally.empty < 20, "{tally:?}");
    live(&quipu, &prometheus).await;
    quipu.stop().await;
}

/// The target itself: the same series with native histograms, and counts that grow.
async fn live(quipu: &Quipu, prometheus: &Prometheus) {
    let names = "prometheus_http_(request_duration_seconds|response_size_bytes)";
    let series = format!("count({{__name__=~\"{names}\",job=\"live\"}})");
    let series = series.as_str();
    let both = || async { (quipu.value(series).await, prometheus.value(series).await) };
    quipu
        .wait_for("both have scraped the same series", || async {
            let (ours, theirs) = both().await;
            ours.is_some_and(|count| count > 3.0) && ours == theirs
        })
        .await;
    let grown = "sum(histogram_count(increase(prometheus_http_request_duration_seconds{job=\"live\"}[10s])))";
    let grows = || async {
        let found = [quipu.value(grown).await, prometheus.value(grown).await];
        found.iter().all(|count| count.is_some_and(|count| count > 0.0))
    };
    quipu.wait_for("counts grow", grows).await;
}
