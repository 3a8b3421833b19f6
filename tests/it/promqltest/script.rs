//! The commands of a `.test` script: `load`, `load_with_nhcb`, `clear`, `eval` with its expectations.
//!
//! Lines are trimmed; a comment is a line of its own and ends a block, as a blank line does.

use std::collections::BTreeMap;

use super::histogram::number;
use super::series::{Labels, Value, parse_labels, parse_series, parse_start_times, parse_string};
use quipu::model::time::parse_duration;

/// One command and the line it starts in, from 1.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) line: usize,
    pub(super) kind: CommandKind,
}

#[derive(Debug)]
pub(super) enum CommandKind {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

/// A sample to store.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// ms since 1970.
    pub(super) time: i64,
    /// ms since 1970, where one is given.
    pub(super) start_time: Option<i64>,
    pub(super) value: Value,
}

/// Series to store, additional to those of earlier loads.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Whether classic histograms are to be stored as native ones too.
    pub(super) with_nhcb: bool,
    pub(super) series: BTreeMap<Labels, Vec<Sample>>,
}

/// Which times a query is asked for, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// A query and what it must answer.
#[derive(Debug)]
pub(super) struct Eval {
    pub(super) query: String,
    pub(super) when: When,
    pub(super) expected: Expected,
    pub(super) ordered: bool,
    /// The query must fail, with an error that matches each.
    pub(super) fail: Option<Vec<Text>>,
    pub(super) warnings: Annotations,
    pub(super) infos: Annotations,
}

/// The answer that is expected.
#[derive(Debug)]
pub(super) enum Expected {
    Scalar(f64),
    String(String),
    /// Values from `start` on, `step` apart, not after `end` (all ms), in the order of the script.
    Series {
        start: i64,
        end: i64,
        step: i64,
        series: Vec<(Labels, Vec<Option<Value>>)>,
    },
}

/// What is expected of warnings or infos.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    /// None at all may be there.
    pub(super) none: bool,
    /// At least one, whatever it says (`eval_warn`, `eval_info`).
    pub(super) some: bool,
    /// Each must be there, and nothing else.
    pub(super) each: Vec<Text>,
}

/// A message to be matched.
#[derive(Debug)]
pub(super) enum Text {
    Exactly(String),
    Matching(regex::Regex),
}

impl Text {
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exactly(expected) => expected == text,
            Self::Matching(regex) => regex.is_match(text),
        }
    }
}

/// Reads a whole script.
pub(super) fn parse(script: &str) -> Result<Vec<Command>, String> {
    let clean =
        |line: &str| if line.trim().starts_with('#') { String::new() } else { line.trim().to_owned() };
    let lines: Vec<String> = script.lines().map(clean).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let (line, head) = (at + 1, lines[at].as_str());
        at += 1;
        if head.is_empty() {
            continue;
        }
        let failure = |why| format!("line {line}: {why}");
        let word = head.split_whitespace().next().unwrap_or_default().to_lowercase();
        let block_end = lines[at..].iter().position(String::is_empty).map_or(lines.len(), |n| at + n);
        let block = &lines[at..block_end];
        let (kind, used) = match word.as_str() {
            "clear" => (CommandKind::Clear, 0),
            "load" | "load_with_nhcb" => (parse_load(head, block).map_err(failure)?, block.len()),
            word if word.starts_with("eval") => parse_eval(head, block).map_err(failure)?,
            _ => return Err(failure(format!("invalid command {head:?}"))),
        };
        at += used;
        commands.push(Command { line, kind });
    }
    Ok(commands)
}

fn duration(text: &str) -> Result<i64, String> {
    parse_duration(text).map_err(|e| e.to_string())
}

fn parse_load(head: &str, block: &[String]) -> Result<CommandKind, String> {
    let (command, gap) = head.split_once(char::is_whitespace).ok_or("load needs a step")?;
    let gap = duration(gap.trim())?;
    let mut load = Load { with_nhcb: command == "load_with_nhcb", ..Load::default() };
    let mut start_times: Option<(Labels, Vec<Option<i64>>)> = None;
    for line in block {
        let head_end = line.find(char::is_whitespace).unwrap_or(line.len());
        if let Some(metric) = line[..head_end].strip_suffix("@st") {
            if start_times.is_some() {
                return Err("an @st line has no sample line behind it".to_owned());
            }
            let (labels, _) = parse_labels(metric)?;
            start_times = Some((labels, parse_start_times(&line[head_end..])?));
            continue;
        }
        let (labels, points) = parse_series(line)?;
        let starts = start_times.take();
        if starts.as_ref().is_some_and(|(of, times)| *of != labels || times.len() != points.len()) {
            return Err(format!("the @st line in front of {line:?} does not fit it"));
        }
        let starts = starts.map(|(_, times)| times).unwrap_or_default();
        let samples = (0i64..).zip(points).enumerate().filter_map(|(i, (nth, value))| {
            let time = nth * gap;
            let start_time = starts.get(i).copied().flatten().map(|offset| time + offset);
            Some(Sample { time, start_time, value: value? })
        });
        // A series that is written again replaces the first.
        load.series.insert(labels, samples.collect());
    }
    if start_times.is_some() {
        return Err("an @st line has no sample line behind it".to_owned());
    }
    Ok(CommandKind::Load(load))
}

/// The next word of a text, and what is behind it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A duration behind a given word.
fn duration_behind<'a>(expected: &str, text: &'a str) -> Result<(i64, &'a str), String> {
    let (found, rest) = word(text);
    if found != expected {
        return Err(format!("{expected:?} is expected, not {found:?}"));
    }
    let (value, rest) = word(rest);
    Ok((duration(value)?, rest))
}

/// `instant at 5m QUERY`, `range from 0 to 1h step 5m QUERY`.
fn parse_when(text: &str) -> Result<(When, &str), String> {
    match word(text) {
        ("instant", rest) => {
            let (at, query) = duration_behind("at", rest)?;
            Ok((When::Instant(at), query))
        }
        ("range", rest) => {
            let ((start, end, step), query) = parse_range(rest)?;
            Ok((When::Range { start, end, step }, query))
        }
        (other, _) => Err(format!("\"instant\" or \"range\" is expected, not {other:?}")),
    }
}

/// `from 0 to 1h step 5m`.
fn parse_range(text: &str) -> Result<((i64, i64, i64), &str), String> {
    let (start, rest) = duration_behind("from", text)?;
    let (end, rest) = duration_behind("to", rest)?;
    let (step, rest) = duration_behind("step", rest)?;
    if end < start { Err("the end is before the start".to_owned()) } else { Ok(((start, end, step), rest)) }
}

/// The command and how many lines of the block belong to it: a scalar or a message of failure ends it.
fn parse_eval(head: &str, block: &[String]) -> Result<(CommandKind, usize), String> {
    let (command, rest) = word(head);
    let (when, query) = parse_when(rest)?;
    let (start, end, step) = match when {
        When::Instant(at) => (at, at, 0),
        When::Range { start, end, step } => (start, end, step),
    };
    let mut eval = Eval {
        query: query.to_owned(),
        when,
        expected: Expected::Series { start, end, step, series: Vec::new() },
        ordered: false,
        fail: None,
        warnings: Annotations::default(),
        infos: Annotations::default(),
    };
    match command {
        "eval" => {}
        "eval_ordered" => eval.ordered = true,
        "eval_fail" => eval.fail = Some(Vec::new()),
        "eval_warn" => eval.warnings.some = true,
        "eval_info" => eval.infos.some = true,
        _ => return Err(format!("invalid command {command:?}")),
    }
    let mut used = 0;
    for line in block {
        used += 1;
        if !parse_expectation(&mut eval, line).map_err(|why| format!("{query}: {line:?}: {why}"))? {
            break;
        }
    }
    let both = |a: &Annotations| a.none && !a.each.is_empty();
    if both(&eval.warnings) || both(&eval.infos) {
        return Err(format!("{query}: both some and none are expected"));
    }
    Ok((CommandKind::Eval(Box::new(eval)), used))
}

/// One line below an `eval`; false where it is the last one.
fn parse_expectation(eval: &mut Eval, line: &str) -> Result<bool, String> {
    if let Some(fail) = &mut eval.fail {
        for (prefix, is_regex) in [("expected_fail_message", false), ("expected_fail_regexp", true)] {
            if let Some(text) = line.strip_prefix(prefix) {
                fail.push(message(text, is_regex)?);
                return Ok(false);
            }
        }
    }
    if let Some(range) = line.strip_prefix("expect range vector") {
        let ((start, end, step), _) = parse_range(range)?;
        eval.expected = Expected::Series { start, end, step, series: Vec::new() };
        return Ok(true);
    }
    if let Some(text) = line.strip_prefix("expect string") {
        let (string, _) = parse_string(text.trim_start())?;
        eval.expected = Expected::String(string);
        return Ok(true);
    }
    if let ("expect", rest) = word(line) {
        parse_expect(eval, rest)?;
        return Ok(true);
    }
    if let Ok(value) = number(line) {
        eval.expected = Expected::Scalar(value);
        return Ok(false);
    }
    let found = parse_series(line)?;
    let Expected::Series { step, series, .. } = &mut eval.expected else {
        return Err("a series and a single value are expected at once".to_owned());
    };
    if found.1.len() > 1 && *step == 0 {
        return Err("several values are expected of an instant query".to_owned());
    }
    // The same series written twice: the last one counts, as in a map.
    series.retain(|(labels, _)| *labels != found.0);
    series.push(found);
    Ok(true)
}

/// `fail`, `warn msg: …`, `info regex: …`, `no_warn`, `ordered`.
fn parse_expect(eval: &mut Eval, rest: &str) -> Result<(), String> {
    let (what, how) = word(rest);
    let text = match how.split_once(':') {
        _ if how.is_empty() => message("", true)?,
        Some(("msg", text)) => message(text, false)?,
        Some(("regex", text)) => message(text, true)?,
        _ => return Err("\"msg:\" or \"regex:\" is expected".to_owned()),
    };
    match what {
        "fail" if eval.fail.as_ref().is_some_and(|texts| !texts.is_empty()) => {
            return Err("two failures are expected at once".to_owned());
        }
        "fail" => eval.fail.get_or_insert_default().push(text),
        "warn" => eval.warnings.each.push(text),
        "info" => eval.infos.each.push(text),
        "no_warn" => eval.warnings.none = true,
        "no_info" => eval.infos.none = true,
        "ordered" => eval.ordered = true,
        _ => return Err(format!("unknown expectation {what:?}")),
    }
    Ok(())
}

fn message(text: &str, is_regex: bool) -> Result<Text, String> {
    let text = text.trim();
    if !is_regex {
        return Ok(Text::Exactly(text.to_owned()));
    }
    regex::Regex::new(text).map(Text::Matching).map_err(|e| e.to_string())
}
