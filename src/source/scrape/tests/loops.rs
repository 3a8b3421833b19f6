//! Loops against a real HTTP server on the loopback interface, with short intervals.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use super::*;
use crate::source::discovery::Group;
use crate::source::settings::{Credentials, GlobalSettings, Secret};

const INTERVAL: Duration = Duration::from_millis(100);

/// How the server answers.
#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    delay: Duration,
}

impl Answer {
    fn text(body: &str) -> Self {
        let headers = vec![("content-type", "text/plain; version=0.0.4".to_owned())];
        Self { status: 200, headers, body: body.as_bytes().to_vec(), delay: Duration::ZERO }
    }
}

#[derive(Debug, Clone)]
struct Server {
    answer: Arc<Mutex<Answer>>,
    seen: Arc<Mutex<Option<(Uri, HeaderMap)>>>,
    hits: Arc<AtomicUsize>,
    address: String,
}

impl Server {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let server = Self {
            answer: Arc::new(Mutex::new(answer)),
            seen: Arc::default(),
            hits: Arc::default(),
            address,
        };
        let router = Router::new().fallback(respond).with_state(server.clone());
        drop(Pools::current().spawn_io(async move { axum::serve(listener, router).await }));
        server
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().expect("no panic") = answer;
    }

    fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    fn header(&self, name: &str) -> String {
        let seen = self.seen.lock().expect("no panic");
        let headers = &seen.as_ref().expect("it was asked").1;
        headers.get(name).map_or("", |value| value.to_str().expect("ASCII")).to_owned()
    }
}

async fn respond(State(server): State<Server>, uri: Uri, headers: HeaderMap) -> Response {
    server.hits.fetch_add(1, Ordering::SeqCst);
    *server.seen.lock().expect("no panic") = Some((uri, headers));
    let answer = server.answer.lock().expect("no panic").clone();
    Clock::real().sleep(answer.delay).await;
    let status = StatusCode::from_u16(answer.status).expect("a status");
    let mut response = (status, Bytes::from(answer.body)).into_response();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().expect("a header value"));
    }
    response
}

struct Bench {
    store: FakeStore,
    scraper: Scraper,
    server: Server,
}

impl Bench {
    async fn new(answer: Answer) -> Self {
        let store = FakeStore::default();
        let scraper = Scraper::new(store.sink(), Clock::real(), Pools::current(), &Registry::new(), 7);
        Self { store, scraper, server: Server::start(answer).await }
    }

    fn job(&self, change: impl FnOnce(&mut ScrapeSettings)) -> ScrapeSettings {
        let mut job = ScrapeSettings::new("j", &GlobalSettings::default());
        job.interval = Millis::new(100);
        job.timeout = Millis::new(100);
        job.at_once = true;
        job.static_groups = vec![Group { targets: vec![self.server.address.clone()], ..Group::default() }];
        change(&mut job);
        job
    }

    /// Waits until the store has a row that passes; fails after 5 s.
    async fn sees(&self, pass: impl Fn(&Row) -> bool) -> Row {
        let find = async {
            loop {
                let found = self.store.state().rows.iter().find(|row| pass(row)).cloned();
                match found {
                    Some(row) => return row,
                    None => Clock::real().sleep(Duration::from_millis(5)).await,
                }
            }
        };
        Clock::real().within(Duration::from_secs(5), find).await.expect("the row comes within 5 s")
    }

    /// The error that the only target shows after its next failure.
    async fn error(&self) -> String {
        self.sees(|row| row.0.starts_with("up{") && row.2 == Some(0.0)).await;
        let wait = async {
            loop {
                let targets = self.scraper.targets();
                match targets.active.first().map(|target| &target.last) {
                    Some(last) if last.health == Health::Down => return last.error.clone(),
                    _ => Clock::real().sleep(Duration::from_millis(5)).await,
                }
            }
        };
        Clock::real().within(Duration::from_secs(5), wait).await.expect("the target is down within 5 s")
    }
}

fn is(metric: &str, value: Option<f64>) -> impl Fn(&Row) -> bool {
    let start = format!("{metric}{{");
    move |row| row.0.starts_with(&start) && row.2 == value
}

#[tokio::test]
async fn a_target_is_negotiated_with_and_shown() {
    let bench = Bench::new(Answer::text("a 1\n")).await;
    bench.scraper.apply(&[bench.job(|_| {})]);
    bench.sees(is("up", Some(1.0))).await;
    assert!(bench.server.header("accept").starts_with("application/openmetrics-text;version=1.0.0;"));
    assert_eq!(bench.server.header("accept-encoding"), "gzip");
    assert_eq!(bench.server.header("x-prometheus-scrape-timeout-seconds"), "0.1");
    assert!(bench.server.header("user-agent").starts_with("quipu/"));
    bench.sees(|row| row.0.starts_with("a{") && row.1 > 0).await;
    let targets = bench.scraper.targets();
    let target = &targets.active[0];
    assert_eq!((target.pool.as_str(), target.last.health), ("j", Health::Up));
    assert_eq!(target.url, format!("http://{}/metrics", bench.server.address));
    assert_eq!(target.global_url("box"), target.url.replace("127.0.0.1", "box"));
    assert_eq!(target.labels[1], ("job".to_owned(), "j".to_owned()));
    assert_eq!(bench.scraper.scrape_pools(), ["j"]);
    bench.scraper.stop().await;
    let hits = bench.server.hits();
    Clock::real().sleep(INTERVAL * 3).await;
    assert_eq!(bench.server.hits(), hits, "nothing is scraped after the stop");
    assert!(bench.store.take().iter().all(|row| row.2.is_some()), "a stop leaves no stale markers");
}

#[tokio::test]
async fn timestamps_do_not_drift() {
    let bench = Bench::new(Answer::text("a 1\n")).await;
    bench.scraper.apply(&[bench.job(|job| job.at_once = false)]);
    bench.sees(is("up", Some(1.0))).await;
    Clock::real().sleep(INTERVAL * 8).await;
    let rows = bench.store.take();
    let times: Vec<i64> = rows.iter().filter(|row| is("a", Some(1.0))(row)).map(|row| row.1).collect();
    // A loop that slept an interval after each scrape would be later every time.
    let late: Vec<i64> = times.iter().map(|time| (time - times[0] + 50).rem_euclid(100) - 50).collect();
    assert!(times.len() >= 5 && late.iter().all(|ms| ms.abs() < 40), "{late:?}");
}

#[tokio::test]
async fn gzip_is_read_and_a_bomb_is_refused() {
    use std::io::Write;
    let gzip = |body: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body).expect("memory");
        let headers =
            vec![("content-type", "text/plain".to_owned()), ("content-encoding", "gzip".to_owned())];
        Answer { headers, body: encoder.finish().expect("memory"), ..Answer::text("") }
    };
    let bench = Bench::new(gzip(b"zipped 1\n")).await;
    bench
        .scraper
        .apply(&[bench.job(|job| job.limits.body_size = crate::model::setting::ByteSize::new(10_000))]);
    bench.sees(is("zipped", Some(1.0))).await;
    bench.server.answers(gzip(&vec![b'#'; 1 << 22]));
    assert!(bench.error().await.starts_with("body size limit exceeded"));
    bench.sees(is("zipped", None)).await;
}

#[tokio::test]
async fn every_failure_says_what_it_is() {
    let cases = [
        (Answer { status: 503, ..Answer::text("") }, "server returned HTTP status 503 Service Unavailable"),
        (Answer { delay: Duration::from_secs(2), ..Answer::text("") }, "scrape_timeout of 100ms passed"),
        (Answer::text("a b c\n"), "line: 1"),
        (
            Answer { headers: vec![("content-type", "text/html".to_owned())], ..Answer::text("a 1\n") },
            "fallback_scrape_protocol",
        ),
        (
            Answer { status: 302, headers: vec![("location", "/metrics".to_owned())], ..Answer::text("") },
            "redirect",
        ),
    ];
    for (answer, message) in cases {
        let bench = Bench::new(answer).await;
        bench.scraper.apply(&[bench.job(|_| {})]);
        let error = bench.error().await;
        assert!(error.contains(message), "{error}");
        bench.scraper.stop().await;
    }
    let bench = Bench::new(Answer::text("")).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    bench.scraper.apply(&[bench.job(|job| job.static_groups[0].targets = vec![closed.to_string()])]);
    let error = bench.error().await;
    assert!(error.contains("onnection refused"), "{error}");
}

#[tokio::test]
async fn credentials_come_from_a_file_at_each_use() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("token");
    std::fs::write(&file, "one\n")?;
    let bench = Bench::new(Answer::text("a 1\n")).await;
    let credentials =
        Credentials::Header { kind: "Bearer".to_owned(), credentials: Some(Secret::File(file.clone())) };
    bench.scraper.apply(&[bench.job(|job| job.http.credentials = Some(credentials))]);
    bench.sees(is("up", Some(1.0))).await;
    assert_eq!(bench.server.header("authorization"), "Bearer one");
    std::fs::write(&file, "two")?;
    Clock::real().sleep(INTERVAL * 3).await;
    assert_eq!(bench.server.header("authorization"), "Bearer two");
    std::fs::remove_file(&file)?;
    assert!(bench.error().await.contains("token"));
    Ok(())
}

#[tokio::test]
async fn a_job_that_leaves_the_configuration_goes_stale() {
    let bench = Bench::new(Answer::text("a 1\n")).await;
    bench.scraper.apply(&[bench.job(|_| {})]);
    bench.sees(is("a", Some(1.0))).await;
    bench.scraper.apply(&[]);
    assert!(bench.scraper.targets().active.is_empty());
    let marker = bench.sees(is("a", None)).await;
    let rows = bench.store.take();
    let last = rows.iter().filter(|row| row.2.is_some()).map(|row| row.1).max().expect("it was scraped");
    assert!(marker.1 > last, "after the last sample");
    let stale = rows.iter().filter(|row| row.2.is_none()).count();
    assert_eq!(stale, 6, "the sample and the report");
}

#[tokio::test]
async fn a_target_that_comes_back_does_not_look_stale() {
    let bench = Bench::new(Answer::text("a 1\n")).await;
    let job = bench.job(|_| {});
    bench.scraper.apply(std::slice::from_ref(&job));
    bench.sees(is("a", Some(1.0))).await;
    bench.scraper.apply(&[]);
    bench.scraper.apply(std::slice::from_ref(&job));
    Clock::real().sleep(INTERVAL * 5).await;
    let rows = bench.store.take();
    assert!(rows.iter().all(|row| row.2.is_some()), "{rows:?}");
}

#[tokio::test]
async fn a_reload_keeps_what_it_can() {
    let bench = Bench::new(Answer::text("a 1\nb 2\n")).await;
    let job = bench.job(|_| {});
    bench.scraper.apply(std::slice::from_ref(&job));
    bench.sees(is("b", Some(2.0))).await;
    let added = |rows: &[Row]| rows.iter().filter(|row| is("scrape_series_added", Some(2.0))(row)).count();
    // Unchanged, then another timeout: the cache lives on, so no series is added again.
    bench.scraper.apply(std::slice::from_ref(&job));
    bench.scraper.apply(&[ScrapeSettings { timeout: Millis::new(90), ..job.clone() }]);
    Clock::real().sleep(INTERVAL * 4).await;
    assert_eq!(bench.scraper.targets().active[0].timeout, Millis::new(90));
    let rows = bench.store.take();
    assert_eq!(added(&rows), 1, "{rows:?}");
    assert!(rows.iter().all(|row| row.2.is_some()));
    // Other rules: what they drop goes stale, the rest goes on.
    let raw: Vec<crate::source::relabel::RawRule> =
        serde_saphyr::from_str("[{source_labels: [__name__], regex: b, action: drop}]").expect("YAML");
    let mut changed = job.clone();
    changed.labels.metric_relabel =
        vec![crate::source::relabel::Rule::new(&raw[0], job.labels.name_scheme).expect("a right rule")];
    bench.scraper.apply(&[changed]);
    bench.sees(is("b", None)).await;
    let stale: Vec<_> = bench.store.take().into_iter().filter(|row| row.2.is_none()).collect();
    assert_eq!(stale.len(), 1, "{stale:?}");
}

#[tokio::test]
async fn too_many_targets_fail_all_and_dropped_ones_are_listed() {
    let bench = Bench::new(Answer::text("a 1\n")).await;
    let raw: Vec<crate::source::relabel::RawRule> =
        serde_saphyr::from_str("[{source_labels: [__address__], regex: 'no.*', action: drop}]")
            .expect("YAML");
    let job = bench.job(|job| {
        job.relabel =
            vec![crate::source::relabel::Rule::new(&raw[0], job.labels.name_scheme).expect("a right rule")];
        job.static_groups[0].targets.extend(["no:1", "no:2"].map(str::to_owned));
        job.limits.dropped_targets = 1;
        job.limits.targets = 1;
    });
    bench.scraper.apply(std::slice::from_ref(&job));
    bench.sees(is("up", Some(1.0))).await;
    let targets = bench.scraper.targets();
    assert_eq!((targets.active.len(), targets.dropped.len(), targets.dropped_counts["j"]), (1, 1, 2));
    assert_eq!(targets.dropped[0].discovered.get("__address__"), Some("no:1"));

    let mut more = job;
    more.static_groups[0].targets.push(bench.server.address.replace("127.0.0.1", "localhost"));
    bench.scraper.apply(&[more]);
    assert_eq!(bench.error().await, "target_limit exceeded (number of targets: 2, limit: 1)");
}
