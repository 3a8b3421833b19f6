//! quipu beside Prometheus and `VictoriaMetrics`: the same data, the same questions over HTTP, one table with ratios.
//!
//! ```text
//!   size ─► part (machine, queries, dashboards, native, logs, real, ingest, scrape, growth) ─► servers in temporary folders ─► rows ─► table
//! ```
//!
//! `cargo bench` runs the full size; without `--bench` (that is in `cargo test`) the smallest size runs with the
//! debug binary, only so that this never rots: its figures mean nothing. A peer that is not installed is left out
//! of the table, loudly. What it does not do: judge. There is no threshold here.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark says what it does and prints its table"
)]

mod dashboards;
mod data;
mod day;
mod growth;
mod ingest;
mod lines;
mod load;
mod logs;
mod machine;
mod native;
mod profile;
mod protobuf;
mod queries;
mod random;
mod recording;
mod scrape;
mod servers;
mod size;
mod table;

use quipu::runtime::Clock;

use servers::{Peers, Program};
use size::{Part, Size};
use table::Table;

fn main() {
    let Some(size) = Size::from_arguments(std::env::args().skip(1)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(run(&size));
}

/// What every part needs.
struct Bench<'a> {
    size: &'a Size,
    peers: Peers,
    clock: Clock,
    table: Table,
}

async fn run(size: &Size) {
    let peers = Peers::find();
    for missing in Program::ALL.into_iter().filter(|program| peers.path(*program).is_none()) {
        eprintln!("SKIPPED: {} is not installed; tests/install does that", missing.name());
    }
    let mut bench = Bench { size, table: Table::new(&peers), peers, clock: Clock::real() };
    for part in &size.parts {
        let begun = bench.clock.monotonic();
        match part {
            Part::Machine => machine::run(&mut bench),
            Part::Queries => day::counters(&mut bench).await,
            Part::Dashboards => dashboards::run(&mut bench).await,
            Part::Native => native::run(&mut bench).await,
            Part::Real => day::redrawn(&mut bench).await,
            Part::Ingest => ingest::run(&mut bench).await,
            Part::Scrape => scrape::run(&mut bench).await,
            Part::Logs => logs::run(&mut bench).await,
            Part::Growth => growth::run(&mut bench).await,
            Part::Profile => profile::run(&mut bench).await,
        }
        let took = bench.clock.monotonic().saturating_sub(begun);
        eprintln!("{part:?}: done in {:.1} s", took.as_secs_f64());
    }
    if size.parts != [Part::Profile] {
        println!("{}", bench.table.to_markdown());
    }
}
