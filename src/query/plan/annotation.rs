//! Warnings and infos that travel beside the rows to the answer, in Prometheus' words.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::histogram_note::HistogramNote;

/// A byte offset in the query's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Position(pub(crate) usize);

impl Position {
    /// `line:column`, both from 1; the column counts bytes, as Prometheus does.
    pub(crate) fn in_text(self, text: &str) -> String {
        let Some(before) = text.as_bytes().get(..self.0) else { return "invalid position".to_owned() };
        let last = before.split(|byte| *byte == b'\n').next_back().unwrap_or(before);
        let (line, column) = (before.split(|byte| *byte == b'\n').count(), last.len() + 1);
        format!("{line}:{column}")
    }
}

/// Something the asker should know about the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Annotation<'a> {
    /// A quantile that is no quantile.
    QuantileOutOfRange(f64),
    /// `rate` of what does not look like a counter.
    NotACounter(&'a str),
    /// `sort` where the order is the labels'.
    SortInRangeQuery,
    /// About native histograms, and of which metric.
    Histogram(HistogramNote, &'a str),
}

impl Annotation<'_> {
    fn is_warning(self) -> bool {
        match self {
            Self::QuantileOutOfRange(_) | Self::SortInRangeQuery => true,
            Self::NotACounter(_) => false,
            Self::Histogram(note, _) => note.is_warning(),
        }
    }
}

impl fmt::Display for Annotation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QuantileOutOfRange(got) => {
                let got = go_general(*got);
                write!(f, "PromQL warning: quantile value should be between 0 and 1, got {got}")
            }
            Self::NotACounter(metric) => write!(
                f,
                "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                go_quoted(metric)
            ),
            Self::Histogram(note, metric) => note.write(f, &go_quoted(metric)),
            Self::SortInRangeQuery => f.write_str(
                "PromQL warning: sort is ineffective for range queries since results are always ordered by labels",
            ),
        }
    }
}

/// The annotations of one query: a set, shared by all its operators. One text is said once, with the last of its
/// places.
#[derive(Debug, Clone)]
pub(crate) struct Annotations {
    text: Arc<str>,
    /// The places in the order of evaluation.
    order: Arc<[Position]>,
    found: Arc<Mutex<Found>>,
}

#[derive(Debug, Default)]
struct Found {
    warnings: BTreeMap<String, Position>,
    infos: BTreeMap<String, Position>,
}

impl Annotations {
    /// None yet; `text` is the query, which positions refer to, and `order` is that in which they are evaluated.
    pub(crate) fn new(text: &str, order: Vec<Position>) -> Self {
        Self { text: text.into(), order: order.into(), found: Arc::default() }
    }

    /// Adds one, if it is not there yet.
    pub(crate) fn add(&self, annotation: Annotation<'_>, position: Position) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let all = if annotation.is_warning() { &mut found.warnings } else { &mut found.infos };
        let place = all.entry(annotation.to_string()).or_insert(position);
        *place = self.later(*place, position);
    }

    /// Which of two places is evaluated later.
    fn later(&self, a: Position, b: Position) -> Position {
        let rank = |place: Position| self.order.iter().rposition(|known| *known == place);
        if rank(b) > rank(a) { b } else { a }
    }

    /// The warnings and the infos, sorted.
    pub(crate) fn take(&self) -> (Vec<String>, Vec<String>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let found = std::mem::take(&mut *found);
        let write = |(text, place): (String, Position)| format!("{text} ({})", place.in_text(&self.text));
        (found.warnings.into_iter().map(write).collect(), found.infos.into_iter().map(write).collect())
    }
}

/// A float as Go's `%g` and `%v` write it.
pub(crate) fn go_general(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN".to_owned()
        } else {
            format!("{}Inf", if value > 0.0 { '+' } else { '-' })
        };
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("Rust's exponent form has an e");
    let exponent: i32 = exponent.parse().expect("a decimal exponent");
    // For the shortest digits Go decides as if 6 were the precision.
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A string as Go's `%q` writes it, for names and label values.
pub(crate) fn go_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_bytes_from_one() {
        assert_eq!(Position(0).in_text("rate(x[5m])"), "1:1");
        assert_eq!(Position(5).in_text("rate(x[5m])"), "1:6");
        assert_eq!(Position(9).in_text("sum(\n  rate(x[5m]))"), "2:5");
        assert_eq!(Position(99).in_text("x"), "invalid position");
    }

    #[test]
    fn annotations_are_a_set_in_prometheus_words() {
        let all =
            Annotations::new("quantile(1.5, rate(x[5m]))", vec![Position(19), Position(14), Position(9)]);
        for _ in 0..2 {
            all.add(Annotation::QuantileOutOfRange(1.5), Position(14));
            all.add(Annotation::QuantileOutOfRange(1.5), Position(9));
            all.add(Annotation::NotACounter("x"), Position(19));
        }
        let (warnings, infos) = all.take();
        assert_eq!(warnings, ["PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:10)"]);
        assert_eq!(
            infos,
            [
                "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"x\" (1:20)"
            ]
        );
    }
}
