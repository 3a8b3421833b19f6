//! Resident memory per active series: the slope from the first half of the series to all of them.
//!
//! Each series has as many samples as five minutes of scraping bring; the first half is loaded whole before the
//! second begins, and nothing is flushed in between, so that the slope holds what a series costs with its samples.

use std::time::Duration;

use quipu::model::time;

use crate::data::{self, INTERVAL_MS, Series};
use crate::ingest::one;
use crate::table::{Row, Unit};
use crate::{Bench, load};

/// Series and samples of a request.
const WIDTH: usize = 2_000;
const LENGTH: usize = 5;
const CONNECTIONS: usize = 2;
/// What a server gets to come to rest.
const REST: Duration = Duration::from_secs(5);

pub(crate) async fn run(bench: &mut Bench<'_>) {
    let (half, samples) = (bench.size.growth_series, bench.size.growth_samples);
    let count = i64::try_from(samples).expect("a few samples");
    let start_ms = bench.clock.now_ms() / INTERVAL_MS * INTERVAL_MS - count * INTERVAL_MS;
    let rest = if half > 10_000 { REST } else { Duration::ZERO };
    let halves = [0..half, half..2 * half].map(|numbers| {
        let series: Vec<Series> = numbers.map(|number| one(number, samples, start_ms)).collect();
        data::bodies(&series, WIDTH, LENGTH)
    });
    let name = format!("resident memory per series, slope {} k to {} k", half / 1_000, 2 * half / 1_000);
    let mut row = Row::new(name, Unit::Kilobytes);
    for program in bench.peers.programs() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = bench.peers.start(program, folder.path(), "").await;
        let mut resident = Vec::new();
        for bodies in &halves {
            load::send(&server, bench.clock, bodies, CONNECTIONS).await;
            bench.clock.sleep(rest).await;
            resident.push(server.resident_kilobytes());
        }
        eprintln!("{}: {:.0} MB, then {:.0} MB", program.name(), resident[0] / 1e3, resident[1] / 1e3);
        row.push(program, (resident[1] - resident[0]) / time::count_to_f64(half));
    }
    bench.table.push(row);
}
