//! Log lines as shippers send them and as files have them, through the real binary and back out of SQL.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use quipu::runtime::Dice;
use quipu::wire::loki::{EntryToWrite, StreamToWrite, encode};

use super::peers::{Quipu, have, psql};

/// A request as one shipper sends it.
struct Sent {
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: Vec<u8>,
    status: u16,
}

const PUSH: &str = "/loki/api/v1/push";
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

/// Promtail and Alloy send protobuf, the latter with structured metadata; Vector does so, too, or sends JSON; Fluent
/// Bit sends JSON, packed when it is told to. Vector's other way is NDJSON over HTTP.
fn shippers(now_ms: i64) -> Vec<Sent> {
    let at = |n: i64| (now_ms - 1_000 + n) * 1_000_000 + n;
    let line =
        |n, line: &'static str| EntryToWrite { timestamp: at(n), line: line.as_bytes(), metadata: &[] };
    let promtail = [line(1, "level=info msg=\"first\""), line(2, "level=warn msg=\"second\"")];
    let metadata = [("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"), ("pod.name", "p-1")];
    let alloy = [EntryToWrite { metadata: &metadata, ..line(3, "from alloy") }];
    let packed = |labels, entries| encode(&[StreamToWrite { labels, entries }]).expect("small");
    let fluent_bit = serde_json::json!({"streams": [{
        "stream": {"job": "fluentbit"},
        "values": [[at(4).to_string(), r#"{"log":"from fluent bit","level":"ERROR"}"#]],
    }]});
    let vector = serde_json::json!({"streams": [{
        "stream": {"agent": "vector", "job": "vector"},
        "values": [[at(5).to_string(), "from vector é\n2nd line", {"host": "h"}]],
    }]});
    let lines = format!(
        "{{\"_msg\":\"from ndjson\",\"_time\":\"{0}\",\"job\":\"ndjson\",\"k8s\":{{\"pod\":\"p\"}},\"n\":1}}\n{{\"_msg\":\"again\",\"_time\":\"{1}\",\"job\":\"ndjson\"}}\n",
        at(6),
        at(7)
    );
    vec![
        Sent {
            path: PUSH,
            headers: &[PROTOBUF, ("user-agent", "promtail/2.9.17")],
            body: packed(r#"{filename="/var/log/a.log", job="promtail"}"#, &promtail),
            status: 204,
        },
        Sent {
            path: PUSH,
            headers: &[PROTOBUF, ("content-encoding", "snappy"), ("x-scope-orgid", "team")],
            body: packed(r#"{job="alloy"}"#, &alloy),
            status: 204,
        },
        Sent {
            path: PUSH,
            headers: &[JSON, ("content-encoding", "gzip"), ("user-agent", "Fluent-Bit")],
            body: gzip(&fluent_bit.to_string()),
            status: 204,
        },
        Sent { path: PUSH, headers: &[JSON], body: vector.to_string().into_bytes(), status: 204 },
        Sent {
            path: "/insert/jsonline?_stream_fields=job",
            headers: &[("content-type", "application/x-ndjson")],
            body: lines.into_bytes(),
            status: 200,
        },
    ]
}

async fn send(quipu: &Quipu, sent: &Sent) {
    let mut request = quipu.client.post(format!("{}{}", quipu.http, sent.path)).body(sent.body.clone());
    for (name, value) in sent.headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("quipu answers");
    let status = answer.status().as_u16();
    assert_eq!(status, sent.status, "{}: {}", sent.path, answer.text().await.unwrap_or_default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_shippers_send_is_found_once_in_sql() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data").display().to_string();
    let quipu = Quipu::start(folder.path(), "global: {}\n", &data).await;
    let all = shippers(quipu.clock.now_ms());
    for sent in all.iter().chain(&all) {
        send(&quipu, sent).await;
    }
    if !have(Path::new("psql")) {
        return quipu.stop().await;
    }
    let question = "SELECT job, service_name, replace(body, chr(10), '|') FROM logs \
         WHERE job IS NOT NULL ORDER BY timestamp, body";
    let expected = "promtail|promtail|level=info msg=\"first\"\n\
        promtail|promtail|level=warn msg=\"second\"\n\
        alloy|alloy|from alloy\n\
        fluentbit|fluentbit|{\"log\":\"from fluent bit\",\"level\":\"ERROR\"}\n\
        vector|vector|from vector é|2nd line\n\
        ndjson|ndjson|from ndjson\n\
        ndjson|ndjson|again";
    assert_eq!(psql(quipu.pg_port, question), expected);
    // Flushed, and sent once more: still the same.
    psql(quipu.pg_port, "CHECKPOINT");
    send(&quipu, &all[0]).await;
    assert_eq!(psql(quipu.pg_port, question), expected);
    let own = "SELECT count(*) > 0 FROM logs WHERE service_name = 'quipu' AND body LIKE '%quipu is ready%'";
    quipu.wait_for("its own log is a stream", || async { psql(quipu.pg_port, own) == "t" }).await;
    quipu.stop().await;
    let quipu = Quipu::start(folder.path(), "global: {}\n", &data).await;
    assert_eq!(psql(quipu.pg_port, question), expected, "after a restart");
    quipu.stop().await;
}

/// A program that writes its log, and a rotation that knows nothing of quipu.
struct Writer<'f> {
    folder: &'f Path,
    written: u32,
    rotated: u32,
}

impl Writer<'_> {
    fn write(&mut self, lines: u64) {
        let file = std::fs::File::options().create(true).append(true).open(self.folder.join("app.log"));
        let mut file = file.expect("the folder can be written");
        for _ in 0..lines {
            writeln!(file, "line {}", self.written).expect("the folder can be written");
            self.written += 1;
        }
    }

    fn rotate(&mut self, by_copy: bool) {
        let path =
            |n: u32| self.folder.join(if n == 0 { "app.log".to_owned() } else { format!("app.log.{n}") });
        for old in (1..=self.rotated).rev() {
            std::fs::rename(path(old), path(old + 1)).expect("it is there");
        }
        self.rotated += 1;
        if by_copy {
            std::fs::copy(path(0), path(1)).expect("it is there");
            std::fs::File::create(path(0)).expect("it is there");
        } else {
            std::fs::rename(path(0), path(1)).expect("it is there");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_rotated_files_are_there_once_after_kills() {
    if !have(Path::new("psql")) {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data").display().to_string();
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).expect("the folder can be written");
    let config = "quipu: {log_files: [{paths: ['logs/app.log*'], labels: {job: files}}]}\n";
    let mut writer = Writer { folder: &logs, written: 0, rotated: 0 };
    let mut dice = Dice::new(7);
    writer.write(10);
    for life in 0..5 {
        let mut quipu = Quipu::spawn(folder.path(), config, &data, &[]);
        assert!(quipu.is_ready().await, "life {life}");
        for _ in 0..4 {
            writer.write(dice.below(200));
            quipu.clock.sleep(Duration::from_millis(dice.below(700))).await;
            if dice.one_in(2) {
                writer.rotate(dice.one_in(2));
                writer.write(1 + dice.below(20));
            }
        }
        quipu.kill();
        writer.write(dice.below(20));
        writer.rotate(dice.one_in(2));
        writer.write(1 + dice.below(20));
    }
    let quipu = Quipu::start(folder.path(), config, &data).await;
    let expected = format!("{0}|{0}|0", writer.written);
    let count = "SELECT count(*), count(DISTINCT body), count(*) FILTER (WHERE NOT body LIKE 'line %') FROM logs WHERE job = 'files'";
    quipu.wait_for("every line is there", || async { psql(quipu.pg_port, count) == expected }).await;
    quipu.clock.sleep(Duration::from_secs(3)).await;
    assert_eq!(psql(quipu.pg_port, count), expected, "and no line comes a second time");
    quipu.stop().await;
}
