//! Log lines: what it costs to take them, how large they are, and how fast a text is found in them.
//!
//! The yardstick of searches is `DuckDB` over the same files on one thread (`logs.py`); quipu's figures are per
//! second of the server's CPU, so that both count one core.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use quipu::model::time;
use quipu::runtime::Pools;
use tokio_postgres::NoTls;

use crate::Bench;
use crate::lines::{self, Chunk};
use crate::servers::{Program, Server};

/// Lines of a request: about 1 MB of JSON.
const CHUNK: usize = 4_000;

/// A way to send lines.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Json,
    Protobuf,
    JsonLines,
}

impl Shape {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Json, "Loki push, JSON"),
        (Self::JsonLines, "JSON lines"),
        (Self::Protobuf, "Loki push, protobuf"),
    ];

    fn body(self, chunk: &Chunk) -> Vec<u8> {
        match self {
            Self::Json => chunk.json(),
            Self::Protobuf => chunk.protobuf(),
            Self::JsonLines => chunk.json_lines(),
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Json | Self::Protobuf => "/loki/api/v1/push",
            Self::JsonLines => "/insert/jsonline?_stream_fields=service,host,env",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
            Self::JsonLines => "application/stream+json",
        }
    }
}

pub(crate) async fn run(bench: &mut Bench<'_>) {
    let start_ns = (time::day_start(time::day_of(bench.clock.now_ms()) - 1)) * 1_000_000;
    for (shape, name) in Shape::ALL {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = bench.peers.start(Program::Quipu, folder.path(), "").await;
        let sent = send(bench, &server, shape, bench.size.log_lines / 5, start_ns).await;
        push_rate(bench, format!("{name}, to synced WAL"), &sent);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = bench.peers.start(Program::Quipu, folder.path(), "").await;
    let before = server.cpu();
    let mut sent = send(bench, &server, Shape::Protobuf, bench.size.log_lines, start_ns).await;
    let begun = bench.clock.monotonic();
    server.finish(time::day_of(bench.clock.now_ms()) - 1, bench.size.settle).await;
    let took = bench.clock.monotonic().saturating_sub(begun);
    sent.cpu = server.cpu().saturating_sub(before);
    push_rate(bench, "Loki push, protobuf, until in merged files".to_owned(), &sent);
    eprintln!("{} lines: flushed and merged in {:.1} s", sent.lines, took.as_secs_f64());
    sizes(bench, &server, &sent);
    searches(bench, &server, &sent).await;
}

fn push_rate(bench: &mut Bench<'_>, name: String, sent: &Sent) {
    let seconds = sent.cpu.as_secs_f64().max(0.01);
    let thousands = time::count_to_f64(sent.lines) / 1_000.0 / seconds;
    bench.table.push_log(name, format!("{thousands:.0} k lines/s per core"), "–");
}

/// What was sent, and what it cost the server.
#[derive(Debug, Default)]
struct Sent {
    lines: usize,
    bytes: usize,
    zstd_bytes: usize,
    cpu: Duration,
    /// What it takes to unpack the texts alone, packed as quipu packs them.
    unpacking: Duration,
}

async fn send(bench: &Bench<'_>, server: &Server, shape: Shape, lines: usize, start_ns: i64) -> Sent {
    let mut sent = Sent::default();
    let mut floor = Floor::new();
    let before = server.cpu();
    for first in (0..lines).step_by(CHUNK) {
        let chunk = lines::chunk(first, CHUNK.min(lines), start_ns);
        let body = Bytes::from(shape.body(&chunk));
        sent.lines += chunk.lines.len();
        sent.bytes += chunk.bytes();
        if matches!(shape, Shape::Protobuf) {
            floor.add(bench, &chunk.raw(), &mut sent);
        }
        push(bench, server, shape, body).await;
    }
    sent.cpu = server.cpu().saturating_sub(before);
    sent
}

/// The yardstick of size and of searches: zstd over the plain text, about a page at a time.
struct Floor {
    unpacker: zstd::bulk::Decompressor<'static>,
    raw: Vec<u8>,
}

impl Floor {
    fn new() -> Self {
        Self { unpacker: zstd::bulk::Decompressor::new().expect("memory for zstd"), raw: Vec::new() }
    }

    fn add(&mut self, bench: &Bench<'_>, text: &str, sent: &mut Sent) {
        let pack = |level| zstd::bulk::compress(text.as_bytes(), level).expect("memory for zstd");
        sent.zstd_bytes += pack(3).len();
        let packed = pack(1);
        self.raw.clear();
        self.raw.reserve(text.len());
        let begun = bench.clock.monotonic();
        let unpacked = self.unpacker.decompress_to_buffer(&packed, &mut self.raw);
        sent.unpacking += bench.clock.monotonic().saturating_sub(begun);
        assert_eq!(unpacked.ok(), Some(text.len()), "zstd gives back what it packed");
    }
}

async fn push(bench: &Bench<'_>, server: &Server, shape: Shape, body: Bytes) {
    for _ in 0..400 {
        let request =
            server.client.post(server.url(shape.path())).header("content-type", shape.content_type());
        let answer = request.body(body.clone()).send().await.expect("the server answers");
        let status = answer.status();
        if status.is_success() {
            return;
        }
        let text = answer.text().await.unwrap_or_default();
        assert!(status.is_server_error(), "lines were refused: {status} {text}");
        bench.clock.sleep(Duration::from_millis(250)).await;
    }
    unreachable!("the server never took a request");
}

fn sizes(bench: &mut Bench<'_>, server: &Server, sent: &Sent) {
    let bytes: u64 = server.table_files("logs").iter().map(|(_, bytes)| bytes).sum();
    let bytes = time::count_to_f64(usize::try_from(bytes).expect("fewer than 2^63 bytes"));
    let (raw, packed) = (time::count_to_f64(sent.bytes), time::count_to_f64(sent.zstd_bytes));
    let a_line = bytes / time::count_to_f64(sent.lines);
    let text =
        format!("{a_line:.1} B/line, {:.3} of raw, {:.2} of zstd 3 of the text", bytes / raw, bytes / packed);
    bench.table.push_log("disk, data and index".to_owned(), text, "–");
}

async fn searches(bench: &mut Bench<'_>, server: &Server, sent: &Sent) {
    let needles = [
        ("count, body holds a UUID", lines::uuid(sent.lines / 2)),
        ("count, body holds a phrase of one line in twenty", "reset by peer".to_owned()),
        ("count, every line is read", "u99 req".to_owned()),
    ];
    let config = format!("host=127.0.0.1 port={} user=bench dbname=quipu", server.postgres_port());
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.expect("the Postgres door");
    drop(Pools::current().spawn_io(connection));
    let gigabytes = time::count_to_f64(sent.bytes) / 1e9;
    let floor = gigabytes / sent.unpacking.as_secs_f64().max(0.001);
    let name = "unpacking zstd 1 of the text, in memory: what no search of all lines can beat";
    bench.table.push_log(name.to_owned(), format!("{floor:.1} GB/s per core"), "–");
    for (name, needle) in needles {
        let sql = format!("SELECT count(*) FROM logs WHERE body LIKE '%{needle}%'");
        let (mut best, mut count) = ((f64::INFINITY, f64::INFINITY), 0);
        for _ in 0..3 {
            let (cpu, begun) = (server.cpu(), bench.clock.monotonic());
            let row = client.query_one(&sql, &[]).await.expect("the search answers");
            let wall = bench.clock.monotonic().saturating_sub(begun).as_secs_f64();
            let cpu = server.cpu().saturating_sub(cpu).as_secs_f64().max(0.005);
            best = (best.0.min(wall), best.1.min(cpu));
            count = row.get::<_, i64>(0);
        }
        let read = groups_read(&client, &sql).await;
        let ours = format!("{}, {read} row groups", figure(best.0, gigabytes / best.1, count));
        let theirs = duckdb(&needle, &server.table_files("logs"));
        let yardstick = theirs.map_or_else(
            || "(not installed)".to_owned(),
            |(wall, cpu, theirs)| {
                assert_eq!(theirs, count, "DuckDB counts otherwise for {needle:?}");
                figure(wall, gigabytes / cpu, theirs)
            },
        );
        bench.table.push_log(name.to_owned(), ours, &yardstick);
    }
}

/// `a of b`, as EXPLAIN tells it.
async fn groups_read(client: &tokio_postgres::Client, sql: &str) -> String {
    let plan = client.query(&format!("EXPLAIN {sql}"), &[]).await.expect("the plan");
    let lines: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let place = lines.iter().find_map(|line| line.split_once("row_groups="));
    let (_, rest) = place.expect("the scan says what it reads");
    rest.split(',').next().unwrap_or_default().to_owned()
}

fn figure(wall: f64, gigabytes: f64, count: i64) -> String {
    format!("{:.1} ms, {gigabytes:.1} GB/s per core ({count} lines)", wall * 1e3)
}

/// Wall and CPU seconds and the count; `None` without `DuckDB`.
fn duckdb(needle: &str, files: &[(PathBuf, u64)]) -> Option<(f64, f64, i64)> {
    let python = crate::servers::venv_python()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/logs.py");
    let paths = files.iter().map(|(path, _)| path);
    let output = Command::new(python).arg(script).arg(needle).args(paths).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some((answer["wall_s"].as_f64()?, answer["cpu_s"].as_f64()?, answer["count"].as_i64()?))
}
