//! Runs a script against anything that stores samples and answers queries.

use std::collections::BTreeMap;

use super::compare::{Answer, QueryResult, check, check_result};
use super::nhcb::with_native_histograms;
use super::script::{CommandKind, Eval, Expected, Sample, When, parse};
use super::series::{Labels, Value};

/// Why a query has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something that is not built yet, by name: it counts apart.
    Unsupported(String),
    /// The query's error.
    Error(String),
}

/// What is tested: three closures over one store. `clear` empties it, `load` adds samples.
pub(super) struct Engine<'a> {
    pub(super) clear: Box<dyn FnMut() + 'a>,
    pub(super) load: LoadWith<'a>,
    pub(super) eval: EvalWith<'a>,
}

type LoadWith<'a> = Box<dyn FnMut(BTreeMap<Labels, Vec<Sample>>) -> Result<(), Failure> + 'a>;
type EvalWith<'a> = Box<dyn FnMut(&str, When) -> Result<Answer, Failure> + 'a>;

/// How the evals of a script went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) unsupported: usize,
    /// `line N: query: why`, of the failed and the unsupported.
    pub(super) notes: Vec<String>,
}

/// Runs all commands of a script, whatever fails.
///
/// # Errors
/// Where the script itself cannot be read.
pub(super) fn run(script: &str, engine: &mut Engine<'_>) -> Result<Tally, String> {
    let mut tally = Tally::default();
    // What was left out of the loads since the last `clear`: an eval that fails may miss just that.
    let mut missing: Option<String> = None;
    (engine.clear)();
    for command in parse(script)? {
        match command.kind {
            CommandKind::Clear => {
                (engine.clear)();
                missing = None;
            }
            CommandKind::Load(load) => {
                let series =
                    with_native_histograms(&load).map_err(|e| format!("line {}: {e}", command.line))?;
                match (engine.load)(series) {
                    Ok(()) => {}
                    Err(Failure::Unsupported(what)) => missing = Some(what),
                    Err(Failure::Error(why)) => return Err(format!("line {}: load: {why}", command.line)),
                }
            }
            CommandKind::Eval(eval) => {
                let outcome = match (run_eval(&eval, engine), &missing) {
                    (Err(Failure::Error(_)), Some(what)) => Err(Failure::Unsupported(what.clone())),
                    (outcome, _) => outcome,
                };
                let note = |why: &str| format!("line {}: {}: {why}", command.line, eval.query);
                match outcome {
                    Ok(()) => tally.passed += 1,
                    Err(Failure::Unsupported(what)) => {
                        tally.unsupported += 1;
                        tally.notes.push(note(&format!("not supported: {what}")));
                    }
                    Err(Failure::Error(why)) => {
                        tally.failed += 1;
                        tally.notes.push(note(&why));
                    }
                }
            }
        }
    }
    Ok(tally)
}

fn run_eval(eval: &Eval, engine: &mut Engine<'_>) -> Result<(), Failure> {
    match ((engine.eval)(&eval.query, eval.when), &eval.fail) {
        (Ok(_), Some(_)) => Err(Failure::Error("expected a failure, got an answer".to_owned())),
        (Ok(answer), None) => {
            check(eval, &answer).map_err(Failure::Error)?;
            run_as_range(eval, engine)
        }
        (Err(Failure::Error(why)), Some(texts)) => match texts.iter().find(|text| !text.matches(&why)) {
            Some(text) => Err(Failure::Error(format!("expected the failure {text:?}, got {why:?}"))),
            None => Ok(()),
        },
        (Err(failure), _) => Err(failure),
    }
}

/// What a query answers at a time it must also answer at the middle step of a range query around it, unless it
/// asks for the query's own times, for an order, or for something that only instant queries answer.
fn run_as_range(eval: &Eval, engine: &mut Engine<'_>) -> Result<(), Failure> {
    const STEP: i64 = 60_000;
    let When::Instant(at) = eval.when else { return Ok(()) };
    let own_times = ["start()", "end()", "range()", "step()"].iter().any(|call| eval.query.contains(call));
    let only_instant = match &eval.expected {
        Expected::String(_) => true,
        Expected::Series { step, .. } => *step != 0,
        Expected::Scalar(_) => false,
    };
    if own_times || only_instant {
        return Ok(());
    }
    let when = When::Range { start: at - STEP, end: at + STEP, step: STEP };
    let in_range = |why| Failure::Error(format!("as a range query: {why}"));
    let answer = (engine.eval)(&eval.query, when).map_err(|failure| match failure {
        Failure::Error(why) => in_range(why),
        unsupported @ Failure::Unsupported(_) => unsupported,
    })?;
    let QueryResult::Matrix(series) = answer.result else {
        return Err(in_range(format!("no matrix: {:?}", answer.result)));
    };
    if eval.ordered {
        return Ok(());
    }
    let middle = |(labels, points): (Labels, Vec<(i64, Value)>)| {
        let (_, value) = points.into_iter().find(|(time, _)| *time == at)?;
        Some((labels, value))
    };
    let mut values: Vec<_> = series.into_iter().filter_map(middle).collect();
    let result = match (&eval.expected, values.pop()) {
        (Expected::Scalar(_), Some((_, Value::Float(value)))) => QueryResult::Scalar(value),
        (_, last) => {
            values.extend(last);
            QueryResult::Vector(values)
        }
    };
    check_result(eval, &result).map_err(in_range)
}
