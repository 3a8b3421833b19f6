//! What a user runs, run as a user runs it: the real binary, real exporters, real clients, other engines.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quipu::runtime::Clock;
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
fn have(program: &Path) -> bool {
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

fn venv_python() -> PathBuf {
    let cache = std::env::vars().find(|(name, _)| name == "QUIPU_TEST_VENV").map(|(_, value)| value);
    cache.map_or_else(|| PathBuf::from("no-venv-python"), |venv| Path::new(&venv).join("bin/python"))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// A quipu in a folder of its own.
struct Quipu {
    process: Running,
    http: String,
    pg_port: u16,
    client: reqwest::Client,
    clock: Clock,
}

impl Quipu {
    async fn start(folder: &Path, config: &str, data: &str) -> Self {
        let (http_port, pg_port) = (free_port(), free_port());
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config).expect("a temporary folder can be written");
        let process = Command::new(env!("CARGO_BIN_EXE_quipu"))
            .arg("serve")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={data}"))
            .arg(format!("--web.listen-address=127.0.0.1:{http_port}"))
            .arg(format!("--pg.listen-address=127.0.0.1:{pg_port}"))
            .arg("--web.enable-lifecycle")
            .stdout(Stdio::null())
            .stderr(Stdio::from(std::fs::File::create(folder.join("log")).expect("a log file")))
            .current_dir(folder)
            .spawn()
            .expect("the binary starts");
        let clock = Clock::real();
        let quipu = Self {
            process: Running(process),
            http: format!("http://127.0.0.1:{http_port}"),
            pg_port,
            client: reqwest::Client::new(),
            clock,
        };
        quipu.wait_for("it is ready", || async { quipu.status("/-/ready").await == Some(200) }).await;
        quipu
    }

    async fn wait_for<F: Future<Output = bool>>(&self, what: &str, mut holds: impl FnMut() -> F) {
        for _ in 0..300 {
            if holds().await {
                return;
            }
            self.clock.sleep(Duration::from_millis(100)).await;
        }
        panic!("30 s passed before {what}");
    }

    async fn status(&self, path: &str) -> Option<u16> {
        let answer = self.client.get(format!("{}{path}", self.http)).send().await.ok()?;
        Some(answer.status().as_u16())
    }

    async fn post(&self, path: &str) -> u16 {
        let answer = self.client.post(format!("{}{path}", self.http)).send().await.expect("quipu answers");
        answer.status().as_u16()
    }

    async fn query(&self, promql: &str) -> Value {
        let request = self.client.get(format!("{}/api/v1/query", self.http)).query(&[("query", promql)]);
        let text = request.send().await.expect("quipu answers").text().await.expect("a body");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{promql}: {e}: {text}"))
    }

    async fn value(&self, promql: &str) -> Option<f64> {
        let answer = self.query(promql).await;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// SIGTERM, and whether it ended with 0 within 10 s.
    async fn stop(mut self) {
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

/// A `node_exporter` and the address of its metrics.
fn node_exporter() -> Option<(Running, String)> {
    let program = Path::new("prometheus-node-exporter");
    if !have(program) {
        return None;
    }
    let address = format!("127.0.0.1:{}", free_port());
    let listen = format!("--web.listen-address={address}");
    let process = Command::new(program).arg(listen).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Some((Running(process.expect("node_exporter starts")), address))
}

fn python(script: &str, arguments: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py").join(script);
    let output = Command::new(venv_python()).arg(script).args(arguments).output().expect("Python runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(text.trim()).unwrap_or_else(|e| panic!("{e}: {text}\n{complaint}"))
}

fn psql(port: u16, sql: &str) -> String {
    let output = Command::new("psql")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "quipu", "-At", "-c", sql])
        .output()
        .expect("psql runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sql}: {complaint}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Remote write of `count` samples of each of two series, one second apart, ending now.
async fn remote_write(quipu: &Quipu, metric: &str, count: i64) -> f64 {
    use quipu::wire::remote_write::{SeriesToWrite, encode};
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
    let body = encode(&series, &[]).expect("the body can be encoded");
    let answer = quipu
        .client
        .post(format!("{}/api/v1/write", quipu.http))
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy")
        .header("x-prometheus-remote-write-version", "0.1.0")
        .body(body)
        .send()
        .await
        .expect("quipu answers");
    assert_eq!(answer.status().as_u16(), 204, "{}", answer.text().await.unwrap_or_default());
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_goes_all_the_way_and_other_engines_read_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let exporter = node_exporter();
    let address = exporter.as_ref().map_or("127.0.0.1:9", |(_, address)| address);
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs: [{{job_name: node, static_configs: [{{targets: ['{address}']}}]}}]\n"
    );
    let data = folder.path().join("data");
    let quipu = Quipu::start(folder.path(), &config, &data.display().to_string()).await;

    let sum = remote_write(&quipu, "pushed_total", 100).await;
    assert_eq!(quipu.value("sum(sum_over_time(pushed_total[5m]))").await, Some(sum));
    if exporter.is_some() {
        quipu
            .wait_for("the exporter is up", || async { quipu.value("up{job=\"node\"}").await == Some(1.0) })
            .await;
        assert!(quipu.value("count({__name__=~\"node_.+\"})").await.is_some_and(|series| series > 100.0));
    } else {
        quipu
            .wait_for("the target is down", || async { quipu.value("up{job=\"node\"}").await == Some(0.0) })
            .await;
    }
    let count = "SELECT count(*), sum(value) FROM pushed_total";
    if have(Path::new("psql")) {
        assert_eq!(psql(quipu.pg_port, count), format!("200|{sum}"));
        assert!(psql(quipu.pg_port, "\\dt").contains("pushed_total"));
        psql(quipu.pg_port, "CHECKPOINT");
        assert_eq!(psql(quipu.pg_port, count), format!("200|{sum}"), "after the flush");
    } else {
        assert_eq!(quipu.post("/-/flush").await, 200);
    }
    let with_python = have(&venv_python());
    if with_python {
        let seen = python("clients.py", &[&quipu.pg_port.to_string(), "pushed_total"]);
        assert_eq!(seen["psycopg_text"], seen["psycopg_binary"], "{seen}");
        assert_eq!((&seen["parameter"], &seen["ddl"]), (&Value::from(200), &Value::from("25006")));
    }
    quipu.stop().await;

    if with_python {
        let tenant = data.join("default");
        let read = python("readers.py", &[&tenant.display().to_string(), "pushed_total"]);
        assert_eq!(read["duckdb"], serde_json::json!([200, sum]), "{read}");
        assert_eq!(read["polars"], serde_json::json!([200, sum]), "{read}");
        assert_eq!(read["joined"], Value::from(200), "a join through series must not multiply rows: {read}");
        assert!(read["optimize"].as_str().is_some_and(|text| text.starts_with("refused")), "{read}");
    }
    let quipu = Quipu::start(folder.path(), &config, &data.display().to_string()).await;
    assert_eq!(quipu.value("sum(sum_over_time(pushed_total[5m]))").await, Some(sum), "after a restart");
    quipu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_write_survives_kill() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data").display().to_string();
    let mut expected: f64 = 0.0;
    for round in 0..5 {
        let quipu = Quipu::start(folder.path(), "global: {}\n", &data).await;
        if round > 0 {
            let mut found = 0.0;
            for before in 0..round {
                let one = format!("sum(sum_over_time(killed_{before}[10m]))");
                found += quipu.value(&one).await.expect("an acknowledged write is there");
            }
            assert_eq!(found.to_bits(), expected.to_bits(), "round {round}: {found} of {expected}");
        }
        expected += remote_write(&quipu, &format!("killed_{round}"), 50).await;
        if round % 2 == 1 {
            assert_eq!(quipu.post("/-/flush").await, 200);
        }
        // Dropped without a word: SIGKILL.
    }
}

#[test]
fn a_taken_port_names_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    let address = taken.local_addr().expect("a bound socket has an address").to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut process = Command::new(env!("CARGO_BIN_EXE_quipu"))
        .arg(format!("--web.listen-address={address}"))
        .arg("--pg.listen-address=127.0.0.1:0")
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let stderr = process.stderr.take().expect("it is piped");
    let lines: Vec<String> = BufReader::new(stderr).lines().map_while(Result::ok).collect();
    assert!(!process.wait().expect("it ends").success());
    assert!(lines.iter().any(|line| line.contains("--web.listen-address")), "{lines:?}");
}
