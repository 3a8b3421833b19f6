//! Where quipu's CPU time goes: each query row is asked again and again while `perf` samples the process, once with
//! warm caches and once with a cache too small to keep a page. Only when asked for by name; it needs `perf`.
//!
//! A sample counts for the stage that its innermost function belongs to. What the compiler inlined counts for
//! the function that it was inlined into.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use quipu::model::time;

use crate::day;
use crate::queries::Question;
use crate::servers::{Program, Server};
use crate::{Bench, data, load};

/// Stages by what the names of their functions begin with or hold; the first that fits counts.
const STAGES: [(&str, &[&str]); 11] = [
    ("zstd", &["ZSTD_", "HUF_", "FSE_", "zstd"]),
    ("checksums", &["crc32c"]),
    ("decode", &["store::block::decode", "split_streams"]),
    ("windows", &["query::exec::kernel", "series_scan"]),
    ("aggregate", &["query::exec::aggregate", "query::exec::grid_aggregate", "GridAggregate"]),
    ("scan", &["quipu::store::"]),
    ("JSON", &["server::http::answer", "wire::json", "zmij", "itoa", "push_go_float", "model::float"]),
    ("plan and rows", &["quipu::query", "datafusion", "arrow"]),
    ("HTTP and runtime", &["quipu::server", "hyper", "axum", "tower", "tokio", "http", "mio", "futures"]),
    ("memory", &["mem", "alloc", "free", "__rdl", "sysmalloc", "unlink_chunk"]),
    ("system", &["[k]"]),
];

/// How long each question is asked.
const LENGTH: Duration = Duration::from_secs(4);

pub(crate) async fn run(bench: &mut Bench<'_>) {
    let (series, samples) = (bench.size.series, bench.size.samples);
    let start_ms = day::start_ms(bench);
    let rounds = data::bodies(&data::counters("m", series, samples, start_ms), day::WIDTH, day::LENGTH);
    let head: Vec<&str> = STAGES.iter().map(|(name, _)| *name).collect();
    println!("CPU ms per query\n\n| | wall | CPU | {} | other |", head.join(" | "));
    println!("|{}", "---|".repeat(STAGES.len() + 4));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = bench.peers.start(Program::Quipu, folder.path(), "").await;
    load::send(&server, bench.clock, &rounds, 1).await;
    server.finish(time::day_of(start_ms), bench.size.settle).await;
    for (caches, settings) in [("caches warm", ""), ("pages not kept", ", memory_limit: 8MB")] {
        server.restart_with(settings).await;
        for (name, text) in day::QUERIES {
            let question = Question::of_day(text, start_ms, samples);
            println!(
                "{}",
                sampled(bench, &server, &question, folder.path(), &format!("{name}, {caches}")).await
            );
        }
    }
}

async fn sampled(
    bench: &Bench<'_>,
    server: &Server,
    question: &Question,
    folder: &Path,
    name: &str,
) -> String {
    for _ in 0..5 {
        question.ask(server).await;
    }
    let file = folder.join("perf.data");
    let mut perf = Command::new("perf")
        .args(["record", "-F", "1999", "-o"])
        .arg(&file)
        .args(["-p", &server.pid().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("perf is installed");
    let (begun, cpu) = (bench.clock.monotonic(), server.cpu());
    let mut count = 0;
    while bench.clock.monotonic() < begun + LENGTH {
        question.ask(server).await;
        count += 1;
    }
    let wall = bench.clock.monotonic().saturating_sub(begun).as_secs_f64();
    let cpu = server.cpu().saturating_sub(cpu).as_secs_f64();
    // perf writes its file when it is told to end.
    drop(Command::new("kill").args(["-INT", &perf.id().to_string()]).status());
    drop(perf.wait());
    let each = 1e3 / time::count_to_f64(count);
    let parts = stages(&file).map(|share| format!("{:.2}", share * cpu * each));
    format!("| {name} | {:.2} | {:.2} | {} |", wall * each, cpu * each, parts.join(" | "))
}

/// The share of each stage in all samples, and of what belongs to none.
fn stages(file: &Path) -> [f64; STAGES.len() + 1] {
    let script = Command::new("perf").args(["script", "-F", "ip,sym,dso", "-i"]).arg(file).output();
    let script = script.expect("perf can read what it wrote").stdout;
    let text = String::from_utf8_lossy(&script);
    if let Some(copy) = std::env::vars().find(|(name, _)| name == "QUIPU_BENCH_PERF") {
        // For a closer look than stages give.
        fs::copy(file, Path::new(&copy.1)).expect("the copy can be written");
    }
    let mut counts = [0_usize; STAGES.len() + 1];
    for line in text.lines() {
        let is_system = line.contains("[kernel") || line.contains("[unknown]") || line.contains("([k");
        let stage = STAGES.iter().position(|(stage, names)| {
            if *stage == "system" {
                is_system
            } else {
                !is_system && names.iter().any(|name| line.contains(name))
            }
        });
        counts[stage.unwrap_or(STAGES.len())] += 1;
    }
    let all: usize = counts.iter().sum();
    counts.map(|count| time::count_to_f64(count) / time::count_to_f64(all.max(1)))
}
