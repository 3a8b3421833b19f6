//! A day of samples in all three servers: how large it is on disk, and how fast it answers.

use std::path::Path;

use quipu::model::time;

use crate::data::{self, Body, Series};
use crate::queries::{self, Question};
use crate::servers::{Program, Server};
use crate::table::{Row, Unit};
use crate::{Bench, load, recording};

/// Series and samples of a request: half an hour of a hundred series.
pub(crate) const WIDTH: usize = 100;
pub(crate) const LENGTH: usize = 120;
/// The query rows of counters.
pub(crate) const QUERIES: [(&str, &str); 6] = [
    ("sum(rate)", "sum(rate(m[5m]))"),
    ("max by (instance)(max_over_time[1h])", "max by (instance)(max_over_time(m[1h]))"),
    ("sum(avg_over_time[1d])", "sum(avg_over_time(m[1d]))"),
    ("quantile(0.9, rate)", "quantile(0.9, rate(m[5m]))"),
    ("topk(5, rate)", "topk(5, rate(m[5m]))"),
    ("one raw series", "m{instance=\"host-001:9100\",cpu=\"3\"}"),
];
/// One connection at a time: Prometheus wants the samples of a series in order.
const CONNECTIONS: usize = 1;

/// Counters on regular timelines, then the same on jittered ones.
pub(crate) async fn counters(bench: &mut Bench<'_>) {
    let (series, samples) = (bench.size.series, bench.size.samples);
    for (suffix, is_jittered) in [("", false), (", jittered", true)] {
        let start_ms = start_ms(bench);
        let mut day = data::counters("m", series, samples, start_ms);
        if is_jittered {
            data::jitter(&mut day);
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut servers = all_loaded(bench, folder.path(), &day).await;
        sizes(bench, &servers, &day, &format!("disk, {series} counters{suffix}")).await;
        for (name, text) in QUERIES {
            let question = Question::of_day(text, start_ms, samples);
            queries::run(bench, &mut servers, &format!("{name}{suffix}"), &question).await;
        }
    }
}

/// A day drawn from the deltas of a real recording.
pub(crate) async fn redrawn(bench: &mut Bench<'_>) {
    let samples = bench.size.samples;
    let start_ms = start_ms(bench);
    let day = recording::redraw(samples, start_ms);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut servers = all_loaded(bench, folder.path(), &day).await;
    sizes(bench, &servers, &day, &format!("disk, redrawn day of {} series", day.len())).await;
    for (name, text) in [
        (
            "sum by (mode)(rate) of 16 CPU counters, redrawn day",
            "sum by (mode)(rate(node_cpu_seconds_total[5m]))",
        ),
        ("count of all series, redrawn day", "count({job=\"node\"})"),
    ] {
        let question = Question::of_day(text, start_ms, samples);
        queries::run(bench, &mut servers, name, &question).await;
    }
}

/// Yesterday, so that all servers take it as it comes: not too old for anybody, and over.
pub(crate) fn start_ms(bench: &Bench<'_>) -> i64 {
    time::day_start(time::day_of(bench.clock.now_ms()) - 1)
}

/// All servers, with a day of series in files.
pub(crate) async fn all_loaded(bench: &mut Bench<'_>, folder: &Path, day: &[Series]) -> Vec<Server> {
    loaded(bench, folder, bench.peers.programs(), &data::bodies(day, WIDTH, LENGTH)).await
}

/// Some servers, with a day in files.
pub(crate) async fn loaded(
    bench: &mut Bench<'_>,
    folder: &Path,
    programs: Vec<Program>,
    rounds: &[Vec<Body>],
) -> Vec<Server> {
    let mut servers = Vec::new();
    for program in programs {
        let server = bench.peers.start(program, folder, "").await;
        let cost = load::send(&server, bench.clock, rounds, CONNECTIONS).await;
        eprintln!(
            "{}: loaded {} samples in {:.1} s, {:.1} s of CPU",
            program.name(),
            cost.samples,
            cost.wall.as_secs_f64(),
            cost.cpu.as_secs_f64()
        );
        servers.push(server);
    }
    let today = time::day_of(bench.clock.now_ms());
    for server in &mut servers {
        server.finish(today - 1, bench.size.settle).await;
    }
    servers
}

async fn sizes(bench: &mut Bench<'_>, servers: &[Server], day: &[Series], name: &str) {
    let samples: usize = day.iter().map(|series| series.samples.len()).sum();
    let mut row = Row::new(name, Unit::BytesPerSample);
    for server in servers {
        let bytes = i64::try_from(server.disk_bytes().await).expect("fewer than 2^63 bytes");
        row.push(server.program, time::ms_to_f64(bytes) / time::count_to_f64(samples));
    }
    bench.table.push(row);
}
