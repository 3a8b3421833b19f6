//! Remote write: samples a second and core, in requests as Prometheus sends them: 2,000 series with one sample.

use crate::data::{self, Body, INTERVAL_MS, Series, label};
use crate::load::Cost;
use crate::table::{Row, Unit};
use crate::{Bench, load};

use quipu::model::time;

/// Prometheus' `max_samples_per_send`.
const WIDTH: usize = 2_000;
/// Requests under way at a time.
const CONNECTIONS: usize = 4;
/// Rounds before the clock starts: the first one makes the series.
const WARM: usize = 2;

pub(crate) async fn run(bench: &mut Bench<'_>) {
    let rounds = bench.size.ingest_rounds + WARM;
    let bodies = rounds_of(bench, rounds);
    let mut acknowledged = Row::new("remote write, until acknowledged", Unit::ThousandsPerCoreSecond);
    let mut flushed = Row::new("remote write, until in files", Unit::ThousandsPerCoreSecond);
    for program in bench.peers.programs() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = bench.peers.start(program, folder.path(), "").await;
        load::send(&server, bench.clock, &bodies[..WARM], CONNECTIONS).await;
        bench.clock.sleep(std::time::Duration::from_secs(1)).await;
        let before = server.cpu();
        let cost = load::send(&server, bench.clock, &bodies[WARM..], CONNECTIONS).await;
        acknowledged.push(program, per_core(cost));
        server.flush().await;
        // Prometheus makes blocks after two hours; a snapshot is what makes them now.
        server.disk_bytes().await;
        let cpu = server.cpu().saturating_sub(before);
        flushed.push(program, per_core(Cost { cpu, ..cost }));
    }
    bench.table.push(acknowledged);
    bench.table.push(flushed);
}

/// Thousands of samples a second of CPU.
pub(crate) fn per_core(cost: Cost) -> f64 {
    // A smallest run may cost less than one tick of the clock that counts it.
    let seconds = cost.cpu.as_secs_f64().max(0.01);
    time::count_to_f64(cost.samples) / 1_000.0 / seconds
}

/// Series with one sample in each round, up to now.
fn rounds_of(bench: &Bench<'_>, rounds: usize) -> Vec<Vec<Body>> {
    let count = i64::try_from(rounds).expect("a few rounds");
    let start_ms = bench.clock.now_ms() / INTERVAL_MS * INTERVAL_MS - count * INTERVAL_MS;
    let series: Vec<Series> =
        (0..bench.size.ingest_series).map(|number| one(number, rounds, start_ms)).collect();
    data::bodies(&series, WIDTH, 1)
}

/// A counter, a gauge with decimals or a constant, with the labels of a container.
pub(crate) fn one(number: usize, samples: usize, start_ms: i64) -> Series {
    let value = |at: usize| match number % 10 {
        0..6 => time::count_to_f64(number),
        6..9 => time::count_to_f64(number * 1_000 + at * (number % 97)),
        _ => time::count_to_f64((number * 31 + at * at * 17) % 10_000) / 100.0,
    };
    let labels = vec![
        label("__name__", format!("container_metric_{:03}_total", number % 200)),
        label("container", format!("app-{}", number % 7)),
        label("instance", format!("10.0.{}.{}:10250", number / 51_200 % 256, number / 200 % 256)),
        label("job", "kubelet"),
        label("namespace", format!("team-{}", number / 200 % 40)),
        label("pod", format!("service-{:05}-7d9c6b5f4-x{:04}", number / 200, number / 200 % 1_000)),
    ];
    Series { labels, samples: (0..samples).map(|at| (data::time_of(start_ms, at), value(at))).collect() }
}
