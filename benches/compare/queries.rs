//! One question to all servers: whether they agree, and how long each takes.
//!
//! The servers take turns, so that a machine that gets slower gets slower for all. A time is from the first byte
//! sent to the last byte received on a warm connection; nobody reads the JSON while the clock runs.

use std::collections::BTreeMap;
use std::time::Duration;

use quipu::model::time;
use serde_json::Value;

use crate::Bench;
use crate::data;
use crate::servers::{Program, Server};
use crate::table::{Figure, Row, Unit};

/// What two servers may differ by, relative: they add in different orders.
const TOLERANCE: f64 = 1e-9;

/// A range query.
#[derive(Debug)]
pub(crate) struct Question {
    text: String,
    start_ms: i64,
    end_ms: i64,
}

impl Question {
    /// Over all samples of a day, every 60 s.
    pub(crate) fn of_day(text: &str, start_ms: i64, samples: usize) -> Self {
        Self { text: text.to_owned(), start_ms, end_ms: data::time_of(start_ms, samples) }
    }

    pub(crate) async fn ask(&self, server: &Server) -> String {
        let (start, end) = (self.start_ms / 1_000, self.end_ms / 1_000);
        let (start, end) = (start.to_string(), end.to_string());
        let mut parameters =
            vec![("query", self.text.as_str()), ("start", &start), ("end", &end), ("step", "60")];
        if server.program == Program::Victoria {
            parameters.push(("nocache", "1"));
        }
        let request = server.client.get(server.url("/api/v1/query_range")).query(&parameters);
        let answer = request.send().await.expect("the server answers");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{} {}: {status} {text}", server.program.name(), self.text);
        text
    }
}

/// Adds a row for a question.
pub(crate) async fn run(bench: &mut Bench<'_>, servers: &mut [Server], name: &str, question: &Question) {
    agree(bench, servers, question).await;
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); servers.len()];
    for run in 0..bench.size.runs {
        for (server, times) in servers.iter().zip(&mut times) {
            if run < 2 || times.iter().sum::<Duration>() < bench.size.patience {
                times.push(timed(bench, server, question).await);
            }
        }
    }
    let mut row = Row::new(name, Unit::Milliseconds);
    for (server, times) in servers.iter().zip(times) {
        row.push(server.program, figure(times));
    }
    if let Some(quipu) = servers.iter_mut().find(|server| server.program == Program::Quipu) {
        let mut times = Vec::new();
        for _ in 0..bench.size.cold_runs {
            quipu.restart().await;
            // The first request of a process pays for more than its data.
            let nothing = Question { text: "vector(1)".to_owned(), ..*question };
            nothing.ask(quipu).await;
            times.push(timed(bench, quipu, question).await);
        }
        row.push_cold(figure(times));
    }
    bench.table.push(row);
}

async fn timed(bench: &Bench<'_>, server: &Server, question: &Question) -> Duration {
    let begun = bench.clock.monotonic();
    question.ask(server).await;
    bench.clock.monotonic().saturating_sub(begun)
}

fn figure(mut times: Vec<Duration>) -> Figure {
    times.sort_unstable();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let best = times.first().copied().expect("a question is asked at least once");
    Figure { best: milliseconds(best), median: Some(milliseconds(times[times.len() / 2])) }
}

/// Series by their labels, times by seconds.
type Points = BTreeMap<String, Vec<(f64, f64)>>;

/// quipu must say what Prometheus says. `VictoriaMetrics` extrapolates differently: a difference is only told.
async fn agree(bench: &mut Bench<'_>, servers: &[Server], question: &Question) {
    let mut answers: Vec<(Program, Points)> = Vec::new();
    for server in servers {
        answers.push((server.program, points(&question.ask(server).await)));
    }
    let of = |program| answers.iter().find(|(of, _)| *of == program).map(|(_, points)| points);
    let Some(ours) = of(Program::Quipu) else { return };
    assert!(!ours.is_empty(), "{}: nothing was found", question.text);
    if let Some(theirs) = of(Program::Prometheus) {
        let difference = difference(ours, theirs);
        assert!(difference.is_none(), "{}: {}", question.text, difference.unwrap_or_default());
    }
    let count = |points: &Points| points.values().map(Vec::len).sum::<usize>();
    if let Some(theirs) = of(Program::Victoria)
        && count(ours) != count(theirs)
    {
        let (ours, theirs) = (count(ours), count(theirs));
        bench.table.note(format!(
            "`{}`: quipu and Prometheus {ours} points, VictoriaMetrics {theirs}.",
            question.text
        ));
    }
}

fn points(answer: &str) -> Points {
    let answer: Value = serde_json::from_str(answer).expect("an answer is JSON");
    let result = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    let point = |point: &Value| {
        let value = point[1].as_str().and_then(|text| text.parse().ok()).expect("a value is a number");
        (point[0].as_f64().expect("a time is a number"), value)
    };
    let series = result.iter().map(|series| {
        let values = series["values"].as_array().map(Vec::as_slice).unwrap_or_default();
        (series["metric"].to_string(), values.iter().map(point).collect())
    });
    series.collect()
}

/// The first difference.
fn difference(ours: &Points, theirs: &Points) -> Option<String> {
    if !ours.keys().eq(theirs.keys()) {
        return Some(format!("series {:?} against {:?}", ours.keys(), theirs.keys()));
    }
    ours.iter().zip(theirs.values()).find_map(|((labels, ours), theirs)| {
        if ours.len() != theirs.len() {
            return Some(format!("{labels}: {} points against {}", ours.len(), theirs.len()));
        }
        let far = |(a, b): &(&(f64, f64), &(f64, f64))| {
            let allowed = TOLERANCE * a.1.abs().max(b.1.abs()).max(time::ms_to_seconds(1));
            a.0.total_cmp(&b.0).is_ne() || (a.1 - b.1).abs() > allowed
        };
        let (ours, theirs) = ours.iter().zip(theirs).find(far)?;
        Some(format!("{labels}: {ours:?} against {theirs:?}"))
    })
}
