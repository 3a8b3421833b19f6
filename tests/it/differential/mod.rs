//! Differential test: the same data and the same questions to quipu and to Prometheus 3.5.
//!
//! Prometheus is Debian sid's (`tests/install` unpacks it). Expressions come from a grammar of what quipu evaluates,
//! seeded: `QUIPU_DIFF_SEED=S` and `QUIPU_DIFF_COUNT=N` ask others and more. Each is asked as an instant and as a range
//! query over HTTP, once with names removed by each function and once with delayed name removal, on both sides alike.
//! What must be equal: kind of result, series and their order where it means something, timestamps, values within
//! 1e-12 (1e-9 for standard deviations; sums near zero: of the sum of what went in), warnings and infos, and the kind
//! of error where both refuse.
//!
//! quipu follows Prometheus 3.14. What 3.5 does otherwise is [`NEW_WARNINGS`], [`NEW_REFUSALS`],
//! [`NEW_ANSWERS`] and [`answer::NEW_TEXTS`]. What is not asked:
//!
//! - what `grammar/functions.rs` names;
//! - `absent` of a selector with two matchers of one label: Prometheus' storage sorts the matchers while it reads, and
//!   which one counts depends on whether there was something to read;
//! - which of equal values `topk` chooses, and jumps (`ceil`, `%`, a filter) over values that differ in the last bit:
//!   neither is defined.

mod answer;
mod catalogue;
mod data;
mod dice;
mod grammar;
mod handed_on;
mod histograms;
mod operators;
mod scraped;
mod shown;

use std::path::Path;

use futures::StreamExt;
use quipu::model::time::seconds_to_ms;
use quipu::runtime::Clock;
use quipu::wire::remote_write::RichSeries;

use super::peers::{Prometheus, Quipu, rich_write_to};
use answer::{Said, Tally, compare, compare_refusals};
use data::{LENGTH_MS, START_MS, Series, Turn};
use dice::Dice;
use grammar::{Grammar, Term};

const COUNT: usize = 2_100;
/// Expressions over native histograms.
const HISTOGRAM_COUNT: usize = 700;
const SEED: u64 = 1;
/// Questions under way at a time.
const AT_A_TIME: usize = 4;
/// Differences that are shown.
const SHOWN: usize = 20;

/// What Prometheus 3.14 warns of and 3.5 does not; it is taken out of quipu's answer.
const NEW_WARNINGS: [&str; 2] = [
    // 3.12: `sort` and `sort_desc` order nothing in a range query.
    "PromQL warning: sort is ineffective for range queries",
    // 3.7: resets of native histograms.
    "PromQL warning: conflicting counter resets",
];

/// 3.5 breaks over some native histograms.
const BROKEN: &str = "unexpected error: runtime error";

/// What Prometheus 3.14 refuses and 3.5 answers: it looks at k of `topk` and `bottomk` before it knows whether there
/// is anything to choose from, and takes no NaN (3.6).
const NEW_REFUSALS: [&str; 3] = ["Parameter value is NaN", "Ratio value is NaN", "overflows int64"];

/// What Prometheus 3.14 refuses where 3.5 answers or refuses something later: several matches of which a comparison
/// would filter all but one, or of which an operator takes none because one side is a histogram (3.9).
const NEW_IN_COMPARISONS: &str = "multiple matches for labels";

/// What Prometheus 3.14 answers and 3.5 refuses: series that become equal when the delayed removal takes their names,
/// and have no value at the same step of a range query (they are one series then).
const NEW_ANSWERS: [&str; 1] = ["vector cannot contain metrics with the same labelset"];

/// What both sides have in every run: 3.14 takes it for granted.
const FEATURES: &str = "promql-experimental-functions,promql-duration-expr,native-histograms";

/// When something is asked.
#[derive(Debug, Clone)]
struct Question {
    term: Term,
    /// Path and parameters without the query.
    path: &'static str,
    parameters: Vec<(&'static str, String)>,
}

fn variable<T: std::str::FromStr>(name: &str, default: T) -> T {
    let value = std::env::vars().find(|(found, _)| found == name).and_then(|(_, value)| value.parse().ok());
    value.unwrap_or(default)
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

/// Whether the answer depends on nothing but the data: not on what Prometheus has read before, and not on which of
/// values that became equal is chosen.
fn is_defined(text: &str) -> bool {
    let repeats_a_label = |selector: &str| {
        let names =
            selector.split(',').map(|matcher| matcher.split(['=', '!']).next().unwrap_or_default().trim());
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        names.windows(2).any(|two| two[0] == two[1])
    };
    let mut selectors = text.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    // 3.5 adds up means, and an infinite one takes an infinite one away.
    let has_no_mean = ["avg", "nh_", "/ 0"].iter().all(|part| text.contains(part));
    let chooses = text.contains("topk") || text.contains("bottomk");
    let may_vary =
        text.contains("absent") && selectors.any(repeats_a_label) || chooses && text.contains("tiny");
    !may_vary && !has_no_mean
}

/// The questions of a seed: an instant and a range query of each expression.
fn questions(dice: &mut Dice, native: bool, count: usize) -> Vec<Question> {
    let mut questions = Vec::new();
    for _ in 0..count {
        let term = Grammar { dice, native }.query();
        let query = ("query", term.text.clone());
        let lookback = dice.percent(10).then(|| ("lookback_delta", "75s".to_owned()));
        let at = START_MS + dice.between(-60_000, LENGTH_MS + 420_000);
        let at = if dice.percent(50) { at - at % 15_000 } else { at };
        let parameters = [query.clone(), ("time", seconds(at))].into_iter().chain(lookback.clone()).collect();
        questions.push(Question { term: term.clone(), path: "/api/v1/query", parameters });
        let step = *dice.pick(&[15_000, 30_000, 60_000, 300_000, 13_337, 47_000]);
        let start = START_MS + dice.between(-600_000, LENGTH_MS);
        let start = if dice.percent(50) { start - start % step } else { start };
        // Now and then so many steps that the work is divided among threads.
        let step = if dice.percent(2) { 1_000 } else { step };
        let length = dice.between(0, LENGTH_MS);
        // 3.5 evaluates a subquery up to the end that was asked for, 3.14 up to the last step.
        let end = start + if term.subqueries() > 0 { length - length % step } else { length };
        let times = [("start", seconds(start)), ("end", seconds(end)), ("step", seconds(step))];
        let parameters = [query].into_iter().chain(times).chain(lookback).collect();
        questions.push(Question { term, path: "/api/v1/query_range", parameters });
    }
    questions.retain(|question| is_defined(&question.term.text));
    questions
}

/// Instant queries that are hardly queries any more.
fn mangled(dice: &mut Dice, count: usize) -> Vec<Question> {
    let one = |_| {
        let term = Term::unknown(Grammar { dice, native: false }.mangled());
        let parameters = vec![("query", term.text.clone()), ("time", seconds(START_MS + LENGTH_MS / 2))];
        Question { term, path: "/api/v1/query", parameters }
    };
    (0..count).map(one).collect()
}

async fn ask(client: &reqwest::Client, server: &str, question: &Question) -> Said {
    let request = client.get(format!("{server}{}", question.path)).query(&question.parameters);
    let answer = request.send().await.unwrap_or_else(|e| panic!("{server}: {question:?}: {e}"));
    let status = answer.status().as_u16();
    let body = answer.text().await.unwrap_or_else(|e| panic!("{server}: {question:?}: {e}"));
    Said::new(status, &body)
}

/// Writes the samples from `from` to before `to`. Where a series has floats and histograms by turns, each turn goes in a
/// request of its own: a request with both would not be in order.
async fn write(client: &reqwest::Client, server: &str, all: &[Series], (from, to): (i64, i64)) {
    let turns: Vec<Vec<Turn>> = all.iter().map(|series| series.turns(from, to)).collect();
    for number in 0..turns.iter().map(Vec::len).max().unwrap_or(0) {
        let both = all.iter().zip(&turns).filter_map(|(series, turns)| Some((series, turns.get(number)?)));
        let rich = both.map(|(series, turn)| RichSeries {
            labels: &series.labels,
            samples: &turn.samples,
            histograms: &turn.histograms,
            ..RichSeries::default()
        });
        rich_write_to(client, server, &rich.collect::<Vec<_>>()).await;
    }
}

/// quipu with the data in two files a table (merged into one for the run with `delayed`) and in its buffer, and
/// Prometheus with the data in its head.
async fn filled(folder: &Path, delayed: bool, all: &[Series]) -> (Quipu, Prometheus) {
    let (ours, theirs) = (folder.join("quipu"), folder.join("prometheus"));
    for folder in [&ours, &theirs] {
        std::fs::create_dir_all(folder).expect("a temporary folder can be written");
    }
    let delay = if delayed { ",promql-delayed-name-removal" } else { "" };
    let features = format!("--enable-feature={FEATURES}{delay}");
    let config = "global: {}\nstorage: {tsdb: {out_of_order_time_window: 100y}}\n";
    let prometheus = Prometheus::start(&theirs, config, &[&features]).await;
    let config = format!("global: {{}}\nquipu: {{query: {{delayed_name_removal: {delayed}}}}}\n");
    let data = ours.join("data").display().to_string();
    let quipu = Quipu::start(&ours, &config, &data).await;
    let third = LENGTH_MS / 3;
    let mut from = START_MS - 60_000;
    for slice in 0..3 {
        let to = if slice < 2 { START_MS + (slice + 1) * third } else { i64::MAX };
        write(&quipu.client, &quipu.http, all, (from, to)).await;
        write(&quipu.client, &prometheus.http, all, (from, to)).await;
        if slice < 2 {
            assert_eq!(quipu.post("/-/flush").await, 200);
        }
        from = to;
    }
    if delayed {
        assert_eq!(quipu.post("/api/v1/admin/tsdb/merge").await, 204);
    }
    (quipu, prometheus)
}

/// Whether Prometheus says of a range query's steps something else than of the same times one by one, where it agrees
/// with quipu: 3.5 uses the memory of a histogram again while an earlier step still needs it.
///
/// # Errors
/// Why not, in words.
async fn contradicts_itself(
    client: &reqwest::Client,
    (theirs, ours): (&str, &str),
    question: &Question,
    found: &Said,
) -> Result<(), String> {
    let number = |name: &str| {
        let parameter = question.parameters.iter().find(|(found, _)| *found == name);
        let seconds = parameter.and_then(|(_, value)| value.parse().ok()).expect("a range has it");
        seconds_to_ms(seconds)
    };
    let text = &question.term.text;
    let (start, end, step) = (number("start"), number("end"), number("step"));
    if !text.contains("nh_") || text.contains("start()") || text.contains("end()") {
        return Err("not asked at each instant".to_owned());
    }
    let term = question.term.clone().unordered();
    for time in (0_i64..).map(|at| start + at * step).take_while(|time| *time <= end) {
        let rest = question.parameters.iter().filter(|(name, _)| ["query", "lookback_delta"].contains(name));
        let parameters = rest.cloned().chain([("time", seconds(time))]).collect();
        let instant = Question { term: term.clone(), path: "/api/v1/query", parameters };
        let (theirs, ours) = tokio::join!(ask(client, theirs, &instant), ask(client, ours, &instant));
        let (theirs, ours) = (theirs.without_notes(), ours.without_notes());
        let here = found.at(time).map(Said::without_notes).ok_or("refused")?;
        let mut tally = Tally::default();
        compare(&term, &theirs, &ours, &mut tally).map_err(|why| format!("the instant {time} too: {why}"))?;
        compare(&term, &ours, &here, &mut tally).map_err(|why| format!("our instant {time}: {why}"))?;
    }
    Ok(())
}

/// The differences and what was compared.
async fn run(
    delayed: bool,
    all: &[Series],
    questions: &[Question],
    compare: impl Fn(&Term, &Said, &Said, &mut Tally) -> Result<(), String>,
) -> (Vec<String>, Tally) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (quipu, prometheus) = filled(folder.path(), delayed, all).await;
    let both = |question: Question| {
        let (client, ours, theirs) = (quipu.client.clone(), quipu.http.clone(), prometheus.http.clone());
        async move {
            let said = tokio::join!(ask(&client, &theirs, &question), ask(&client, &ours, &question));
            (question, said)
        }
    };
    let mut asked = futures::stream::iter(questions.iter().cloned().map(both)).buffered(AT_A_TIME);
    let (mut differences, mut tally) = (Vec::new(), Tally::default());
    while let Some((question, (mut expected, mut found))) = asked.next().await {
        found.forget_warnings(&NEW_WARNINGS);
        found.forget_details();
        expected.forget_details();
        let is_range = question.path.ends_with("range");
        let compares = ["==", "!=", ">", "<", "nh_"].iter().any(|op| question.term.text.contains(op));
        if found.refuses_alone(&expected, &NEW_REFUSALS)
            || compares
                && found.refuses_with(NEW_IN_COMPARISONS)
                && !expected.refuses_with(NEW_IN_COMPARISONS)
            || is_range && expected.refuses_alone(&found, &NEW_ANSWERS)
            || expected.refuses_with(BROKEN)
        {
            tally.changed_since += 1;
            continue;
        }
        if let Err(why) = compare(&question.term, &expected, &found, &mut tally) {
            let servers = (prometheus.http.as_str(), quipu.http.as_str());
            let contradiction = if is_range {
                contradicts_itself(&quipu.client, servers, &question, &found).await
            } else {
                Err(String::new())
            };
            let Err(more) = contradiction else {
                tally.contradictions += 1;
                continue;
            };
            let times: Vec<_> =
                question.parameters[1..].iter().map(|(name, value)| format!("{name}={value}")).collect();
            differences.push(format!(
                "{}\n      {}\n      {why}\n      {more}",
                question.term.text,
                times.join(" ")
            ));
        }
    }
    drop(asked);
    quipu.stop().await;
    (differences, tally)
}

/// Asks as many expressions as the environment says, of floats or mostly of native histograms.
async fn ask_both(native: bool, count: usize) {
    if !Prometheus::is_there() {
        return;
    }
    let (seed, count): (u64, usize) =
        (variable("QUIPU_DIFF_SEED", SEED), variable("QUIPU_DIFF_COUNT", count));
    eprintln!("seed {seed}, {count} expressions: QUIPU_DIFF_SEED={seed} QUIPU_DIFF_COUNT={count}");
    let mut dice = Dice::new(seed);
    let mut all = data::all(&mut dice);
    if native {
        all.extend(histograms::all(&mut dice));
    }
    let questions = questions(&mut dice, native, count);
    let clock = Clock::real();
    let mut failed = 0;
    for delayed in [false, true] {
        let (differences, tally) = run(delayed, &all, &questions, compare).await;
        eprintln!("delayed name removal {delayed}: {tally:?}, {} differences", differences.len());
        for difference in differences.iter().take(SHOWN) {
            eprintln!("  - {difference}");
        }
        failed += differences.len();
        // A test whose questions find nothing would agree about everything.
        let found = tally.points + tally.histograms;
        assert!(found > count * 20 && tally.empty < count && tally.annotated > count / 20, "{tally:?}");
        assert!(!native || tally.histograms > count * 10, "{tally:?}");
    }
    let samples: usize = all.iter().map(|series| series.samples.len() + series.histograms.len()).sum();
    eprintln!("{} series, {samples} samples, {:.1} s", all.len(), clock.monotonic().as_secs_f64());
    assert_eq!(failed, 0, "differences from Prometheus, seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_prometheus() {
    ask_both(false, COUNT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histograms_are_those_of_prometheus() {
    ask_both(true, HISTOGRAM_COUNT).await;
}

/// A slip may ask for what quipu does not do yet.
fn mangled_alike(_: &Term, expected: &Said, found: &Said, tally: &mut Tally) -> Result<(), String> {
    if found.is_unsupported() {
        tally.unsupported += 1;
        return Ok(());
    }
    compare_refusals(expected, found, tally)
}

/// Whether and how both refuse; the words of 3.14's grammar are others than those of 3.5.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_those_of_prometheus() {
    if !Prometheus::is_there() {
        return;
    }
    let (seed, count): (u64, usize) =
        (variable("QUIPU_DIFF_SEED", SEED), variable("QUIPU_DIFF_COUNT", COUNT));
    let mut dice = Dice::new(seed);
    let questions = mangled(&mut dice, count);
    let (differences, tally) = run(false, &[], &questions, mangled_alike).await;
    eprintln!("seed {seed}: {tally:?}");
    for difference in &differences {
        eprintln!("  - {difference}");
    }
    assert!(tally.refusals > count / 2, "a slip of the finger is mostly refused");
    assert!(differences.is_empty(), "QUIPU_DIFF_SEED={seed} QUIPU_DIFF_COUNT={count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_are_those_of_prometheus() {
    if !Prometheus::is_there() {
        return;
    }
    let (seed, count): (u64, usize) =
        (variable("QUIPU_DIFF_SEED", SEED), variable("QUIPU_DIFF_COUNT", COUNT));
    let mut dice = Dice::new(seed);
    let all = data::all(&mut dice);
    let lookups = catalogue::lookups(&mut dice, count / 4);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (quipu, prometheus) = filled(folder.path(), false, &all).await;
    let differences = catalogue::compare(&quipu.client, (&prometheus.http, &quipu.http), &lookups).await;
    for difference in differences.iter().take(SHOWN) {
        eprintln!("  - {difference}");
    }
    assert!(differences.is_empty(), "{}: QUIPU_DIFF_SEED={seed} QUIPU_DIFF_COUNT={count}", differences.len());
}
