//! Scraping: targets inside the benchmark, each scraped every second, and what a sample costs the server.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::Bench;
use crate::ingest::per_core;
use crate::load::Cost;
use crate::table::{Row, Unit};

/// Why a text can always be written.
const WRITTEN: &str = "a string takes all text";
/// Series of a metric family.
const FAMILY: usize = 10;
/// Rounds of scrapes before the clock starts: the first one makes the series.
const WARM_ROUNDS: usize = 2;
/// How long a server may take until then; Prometheus looks at its targets five seconds after the start.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn run(bench: &mut Bench<'_>) {
    let (targets, series) = (bench.size.targets, bench.size.target_series);
    let exporter = Arc::new(Exporter::new(targets, series));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    let router = Router::new().route("/t/{target}", get(page)).with_state(Arc::clone(&exporter));
    let served = axum::serve(listener, router).into_future();
    let config = config(port, targets);
    let measured = measure(bench, &exporter, &config);
    tokio::select! {
        _ = served => unreachable!("the exporter serves as long as it is asked"),
        () = measured => {}
    }
}

async fn measure(bench: &mut Bench<'_>, exporter: &Exporter, config: &str) {
    let mut row = Row::new("scrape to storage", Unit::ThousandsPerCoreSecond);
    for program in bench.peers.programs() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = bench.peers.start(program, folder.path(), config).await;
        let warm = exporter.pages.load(Ordering::Relaxed) + WARM_ROUNDS * bench.size.targets;
        let end = bench.clock.monotonic() + PATIENCE;
        while exporter.pages.load(Ordering::Relaxed) < warm && bench.clock.monotonic() < end {
            bench.clock.sleep(Duration::from_millis(50)).await;
        }
        let (cpu, pages) = (server.cpu(), exporter.pages.load(Ordering::Relaxed));
        bench.clock.sleep(bench.size.scrape).await;
        let cpu = server.cpu().saturating_sub(cpu);
        let pages = exporter.pages.load(Ordering::Relaxed) - pages;
        let samples = pages * bench.size.target_series;
        let full = usize::try_from(bench.size.scrape.as_secs()).expect("a short time") * bench.size.targets;
        eprintln!("{}: {pages} of {full} scrapes, {:.2} s of CPU", program.name(), cpu.as_secs_f64());
        if pages * 10 < full * 9 {
            bench.table.note(format!("{} made {pages} of {full} scrapes.", program.name()));
        }
        row.push(program, per_core(Cost { samples, cpu, wall: bench.size.scrape }));
    }
    bench.table.push(row);
}

/// Prometheus' configuration: one target a path.
fn config(port: u16, targets: usize) -> String {
    let mut yaml = String::from("global: {scrape_interval: 1s, scrape_timeout: 1s}\n");
    yaml.push_str("scrape_configs:\n- job_name: bench\n  static_configs:\n");
    for target in 0..targets {
        write!(
            yaml,
            "  - targets: ['127.0.0.1:{port}']\n    labels: {{__metrics_path__: /t/{target}, instance: 'host-{target:04}'}}\n"
        )
        .expect(WRITTEN);
    }
    yaml
}

/// Everything but the values, and how many pages were served.
#[derive(Debug)]
struct Exporter {
    /// By target: the text in front of each value, comment lines included.
    targets: Vec<Vec<String>>,
    pages: AtomicUsize,
}

impl Exporter {
    fn new(targets: usize, series: usize) -> Self {
        let line = |target: usize, number: usize| {
            let (family, code) = (number / FAMILY, number % FAMILY);
            let name = format!("container_metric_{family:03}_total");
            let head = if code == 0 {
                format!("# HELP {name} A metric.\n# TYPE {name} counter\n")
            } else {
                String::new()
            };
            let pod = format!("service-{target:05}-7d9c6b5f4-x{:04}", target % 1_000);
            format!(
                "{head}{name}{{container=\"app-{}\",namespace=\"team-{}\",pod=\"{pod}\",code=\"{code}\"}} ",
                family % 7,
                target % 40
            )
        };
        let page = |target| (0..series).map(|number| line(target, number)).collect();
        Self { targets: (0..targets).map(page).collect(), pages: AtomicUsize::new(0) }
    }

    /// One page: constants, counters and gauges with decimals, as a node has them.
    fn page(&self, target: usize) -> Option<String> {
        let lines = self.targets.get(target)?;
        let at = self.pages.fetch_add(1, Ordering::Relaxed);
        let mut page = String::with_capacity(lines.iter().map(|line| line.len() + 16).sum());
        for (number, line) in lines.iter().enumerate() {
            page.push_str(line);
            let written = match number % 10 {
                0..6 => writeln!(page, "{number}"),
                6..9 => writeln!(page, "{}", number * 1_000 + at * (number % 97)),
                _ => writeln!(page, "{}.{:02}", (number + at) % 1_000, (at * 17) % 100),
            };
            written.expect(WRITTEN);
        }
        Some(page)
    }
}

async fn page(State(exporter): State<Arc<Exporter>>, Path(target): Path<usize>) -> impl IntoResponse {
    let page = exporter.page(target).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page)
}
