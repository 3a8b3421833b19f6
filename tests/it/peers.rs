//! The programs that end-to-end tests start: quipu itself, exporters, clients. Each ends with its test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use quipu::runtime::Clock;
use quipu::wire::remote_write::{RichSeries, SeriesToWrite, encode_rich};
use serde_json::Value;

/// A program that is ended with the test, by its pid.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // A program that has ended by itself needs no killing.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Whether a peer is there. In CI a missing one is a failure, elsewhere a loud skip.
pub(crate) fn have(program: &Path) -> bool {
    let there = program.is_absolute() && program.exists()
        || Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok();
    if !there {
        let ci = std::env::vars().any(|(name, value)| name == "CI" && value == "true");
        assert!(!ci, "{} is not installed; tests/install does that", program.display());
        eprintln!("SKIPPED: {} is not installed", program.display());
    }
    there
}

pub(crate) fn venv_python() -> PathBuf {
    let cache = std::env::vars().find(|(name, _)| name == "QUIPU_TEST_VENV").map(|(_, value)| value);
    cache.map_or_else(|| PathBuf::from("no-venv-python"), |venv| Path::new(&venv).join("bin/python"))
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// A quipu in a folder of its own.
pub(crate) struct Quipu {
    process: Running,
    pub(crate) http: String,
    pub(crate) pg_port: u16,
    pub(crate) client: reqwest::Client,
    pub(crate) clock: Clock,
}

impl Quipu {
    pub(crate) async fn start(folder: &Path, config: &str, data: &str) -> Self {
        let quipu = Self::spawn(folder, config, data, &[]);
        quipu.wait_for("it is ready", || async { quipu.status("/-/ready").await == Some(200) }).await;
        quipu
    }

    /// Starts the process with more flags and does not wait for it. Its log is `folder/log`, all lives in one.
    pub(crate) fn spawn(folder: &Path, config: &str, data: &str, flags: &[String]) -> Self {
        let (http_port, pg_port) = (free_port(), free_port());
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config).expect("a temporary folder can be written");
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log"));
        let process = Command::new(env!("CARGO_BIN_EXE_quipu"))
            .arg("serve")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={data}"))
            .arg(format!("--web.listen-address=127.0.0.1:{http_port}"))
            .arg(format!("--pg.listen-address=127.0.0.1:{pg_port}"))
            .args(["--web.enable-lifecycle", "--web.enable-admin-api"])
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::from(log.expect("a log file")))
            .current_dir(folder)
            .spawn()
            .expect("the binary starts");
        Self {
            process: Running(process),
            http: format!("http://127.0.0.1:{http_port}"),
            pg_port,
            client: reqwest::Client::new(),
            clock: Clock::real(),
        }
    }

    /// Waits until it is ready; `false` when the process ended before.
    pub(crate) async fn is_ready(&mut self) -> bool {
        for _ in 0..3_000 {
            if self.status("/-/ready").await == Some(200) {
                return true;
            }
            if self.ended().is_some() {
                return false;
            }
            self.clock.sleep(Duration::from_millis(20)).await;
        }
        panic!("a minute passed before it was ready");
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.0.try_wait().expect("the process can be waited for")
    }

    /// SIGKILL, unless it ended by itself, and how it ended.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        // It may be gone already.
        drop(self.process.0.kill());
        self.process.0.wait().expect("the process can be waited for")
    }

    pub(crate) async fn wait_for<F: Future<Output = bool>>(&self, what: &str, mut holds: impl FnMut() -> F) {
        for _ in 0..300 {
            if holds().await {
                return;
            }
            self.clock.sleep(Duration::from_millis(100)).await;
        }
        panic!("30 s passed before {what}");
    }

    pub(crate) async fn status(&self, path: &str) -> Option<u16> {
        let answer = self.client.get(format!("{}{path}", self.http)).send().await.ok()?;
        Some(answer.status().as_u16())
    }

    pub(crate) async fn post(&self, path: &str) -> u16 {
        let answer = self.client.post(format!("{}{path}", self.http)).send().await.expect("quipu answers");
        answer.status().as_u16()
    }

    pub(crate) async fn query(&self, promql: &str) -> Value {
        query(&self.client, &self.http, promql).await
    }

    pub(crate) async fn value(&self, promql: &str) -> Option<f64> {
        first_value(&self.query(promql).await)
    }

    /// Remote write of a few series; it must be taken whole.
    pub(crate) async fn write(&self, series: &[SeriesToWrite<'_>]) {
        remote_write_to(&self.client, &self.http, series).await;
    }

    /// SIGTERM, and whether it ended with 0 within 10 s.
    pub(crate) async fn stop(mut self) {
        let pid = self.process.0.id().to_string();
        let sent = Command::new("kill").arg(pid).status().expect("kill runs");
        assert!(sent.success());
        for _ in 0..100 {
            if let Some(status) = self.process.0.try_wait().expect("the process can be waited for") {
                assert!(status.success(), "ended with {status}");
                return;
            }
            self.clock.sleep(Duration::from_millis(100)).await;
        }
        panic!("still running 10 s after SIGTERM");
    }
}

/// Prometheus 3.5 of Debian sid: the oracle of the differential test and a peer end to end.
pub(crate) struct Prometheus {
    process: Running,
    pub(crate) http: String,
}

/// A program that was unpacked for the tests.
pub(crate) fn peer(path: &str) -> PathBuf {
    let peers = std::env::vars().find(|(name, _)| name == "QUIPU_TEST_PEERS").map(|(_, value)| value);
    peers.map_or_else(|| PathBuf::from("no-peers"), PathBuf::from).join(path)
}

impl Prometheus {
    fn program() -> PathBuf {
        peer("prometheus-sid/usr/bin/prometheus")
    }

    pub(crate) async fn value(&self, promql: &str) -> Option<f64> {
        first_value(&query(&reqwest::Client::new(), &self.http, promql).await)
    }

    /// As [`have`].
    pub(crate) fn is_there() -> bool {
        have(&Self::program())
    }

    /// One in a folder of its own that takes remote write of any time and keeps it in one head. `$SELF` in the
    /// configuration is its own address.
    pub(crate) async fn start(folder: &Path, config: &str, flags: &[&str]) -> Self {
        Self::start_program(&Self::program(), folder, config, flags).await
    }

    /// The same of another version.
    pub(crate) async fn start_program(program: &Path, folder: &Path, config: &str, flags: &[&str]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let file = folder.join("peer.yml");
        std::fs::write(&file, config.replace("$SELF", &address)).expect("a temporary folder can be written");
        let process = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y"])
            .args(["--storage.tsdb.min-block-duration=10000h", "--storage.tsdb.max-block-duration=10000h"])
            .args(["--web.console.templates=/nonexistent", "--web.console.libraries=/nonexistent"])
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::from(std::fs::File::create(folder.join("peer-log")).expect("a log file")))
            .current_dir(folder)
            .spawn()
            .expect("Prometheus starts");
        let started = Self { process: Running(process), http: format!("http://{address}") };
        let (clock, client) = (Clock::real(), reqwest::Client::new());
        for _ in 0..300 {
            let answer = client.get(format!("{}/-/ready", started.http)).send().await;
            if answer.is_ok_and(|answer| answer.status().as_u16() == 200) {
                return started;
            }
            clock.sleep(Duration::from_millis(100)).await;
        }
        let log = std::fs::read_to_string(folder.join("peer-log")).unwrap_or_default();
        panic!("Prometheus (process {}) is not ready after 30 s: {log}", started.process.0.id());
    }
}

async fn query(client: &reqwest::Client, server: &str, promql: &str) -> Value {
    let request = client.get(format!("{server}/api/v1/query")).query(&[("query", promql)]);
    let text = request.send().await.expect("the server answers").text().await.expect("a body");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{promql}: {e}: {text}"))
}

fn first_value(answer: &Value) -> Option<f64> {
    answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

/// A `node_exporter` and the address of its metrics.
pub(crate) fn node_exporter() -> Option<(Running, String)> {
    let program = Path::new("prometheus-node-exporter");
    if !have(program) {
        return None;
    }
    let address = format!("127.0.0.1:{}", free_port());
    let listen = format!("--web.listen-address={address}");
    let process = Command::new(program).arg(listen).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Some((Running(process.expect("node_exporter starts")), address))
}

pub(crate) fn python(script: &str, arguments: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py").join(script);
    let output = Command::new(venv_python()).arg(script).args(arguments).output().expect("Python runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(text.trim()).unwrap_or_else(|e| panic!("{e}: {text}\n{complaint}"))
}

pub(crate) fn psql(port: u16, sql: &str) -> String {
    let output = Command::new("psql")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "quipu", "-At", "-c", sql])
        .output()
        .expect("psql runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sql}: {complaint}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An S3 server with its address.
pub(crate) async fn moto_server() -> Option<(Running, String)> {
    let program = venv_python().with_file_name("moto_server");
    if !have(&program) {
        return None;
    }
    let port = free_port();
    let process = Command::new(program)
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let running = Running(process.expect("moto starts"));
    let address = format!("127.0.0.1:{port}");
    let clock = Clock::real();
    for _ in 0..600 {
        if std::net::TcpStream::connect(&address).is_ok() {
            return Some((running, address));
        }
        clock.sleep(Duration::from_millis(100)).await;
    }
    panic!("a minute passed before moto listened");
}

/// A remote write 1.0 request with this body, not sent yet.
pub(crate) fn write_request(client: &reqwest::Client, http: &str, body: Vec<u8>) -> reqwest::RequestBuilder {
    client
        .post(format!("{http}/api/v1/write"))
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy")
        .header("x-prometheus-remote-write-version", "0.1.0")
        .body(body)
}

/// Remote write of `count` samples of each of two series, one second apart, ending now.
pub(crate) async fn remote_write(quipu: &Quipu, metric: &str, count: i64) -> f64 {
    let now = quipu.clock.now_ms();
    let mut sum = 0.0;
    let mut rows = Vec::new();
    for _ in 0..2 {
        let samples: Vec<(i64, f64)> = (0..count)
            .map(|i| (now - (count - i) * 1_000, f64::from(i32::try_from(i).expect("a small number")) * 0.5))
            .collect();
        sum += samples.iter().map(|sample| sample.1).sum::<f64>();
        rows.push(samples);
    }
    let labels = ["a", "b"].map(|host| [("__name__", metric), ("host", host), ("job", "pushed")]);
    let series: Vec<_> =
        labels.iter().zip(&rows).map(|(labels, samples)| SeriesToWrite { labels, samples }).collect();
    quipu.write(&series).await;
    sum
}

/// Remote write into any server; it must be taken whole.
pub(crate) async fn remote_write_to(client: &reqwest::Client, server: &str, series: &[SeriesToWrite<'_>]) {
    let rich = series.iter().map(|one| RichSeries {
        labels: one.labels,
        samples: one.samples,
        ..RichSeries::default()
    });
    rich_write_to(client, server, &rich.collect::<Vec<_>>()).await;
}

/// The same with histograms and exemplars.
pub(crate) async fn rich_write_to(client: &reqwest::Client, server: &str, series: &[RichSeries<'_>]) {
    let body = encode_rich(series, &[]).expect("the body can be encoded");
    let answer = write_request(client, server, body).send().await.expect("the server answers");
    assert_eq!(answer.status().as_u16(), 204, "{server}: {}", answer.text().await.unwrap_or_default());
}
