//! Warnings and infos that travel beside the rows to the answer, in Prometheus' words.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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
    /// A ratio of `limit_ratio` beyond -1 to 1, and what it is taken for.
    RatioOutOfRange { got: f64, taken: f64 },
    /// A series that is no bucket: the metric (empty where names are already gone) and its label `le`.
    BadBucket { metric: &'a str, le: &'a str },
    /// Buckets that go down, and were mended; see [`Annotations::add_mended`].
    Mended { metric: &'a str },
}

/// Which buckets of classic histograms were raised, because there were less observations than in a lower one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mended {
    /// The first and last evaluation time, ms.
    pub(crate) time_ms: (i64, i64),
    /// The lowest and highest upper bound.
    pub(crate) bounds: (f64, f64),
    /// By how much at most.
    pub(crate) difference: f64,
    /// How many histograms.
    pub(crate) samples: u64,
}

impl Mended {
    fn merge(&mut self, other: &Self) {
        self.time_ms = (self.time_ms.0.min(other.time_ms.0), self.time_ms.1.max(other.time_ms.1));
        self.bounds = (self.bounds.0.min(other.bounds.0), self.bounds.1.max(other.bounds.1));
        self.difference = self.difference.max(other.difference);
        self.samples = self.samples.saturating_add(other.samples);
    }
}

impl fmt::Display for Mended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |ms: i64| {
            let time = chrono::DateTime::from_timestamp(ms / 1_000, 0).unwrap_or_default();
            time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        };
        let (low, high) = (go_general(self.bounds.0), go_general(self.bounds.1));
        write!(
            f,
            "from buckets {low} to {high}, with a max diff of {}, over {} samples from {} to {}",
            go_two_digits(self.difference),
            self.samples,
            time(self.time_ms.0),
            time(self.time_ms.1)
        )
    }
}

impl Annotation<'_> {
    fn is_warning(self) -> bool {
        match self {
            Self::NotACounter(_) | Self::Mended { .. } => false,
            Self::Histogram(note, _) => note.is_warning(),
            Self::QuantileOutOfRange(_)
            | Self::SortInRangeQuery
            | Self::RatioOutOfRange { .. }
            | Self::BadBucket { .. } => true,
        }
    }
}

/// The end of a text that names a metric where there is one.
fn for_metric(metric: &str) -> String {
    if metric.is_empty() { String::new() } else { format!(" for metric name {}", go_quoted(metric)) }
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
            Self::RatioOutOfRange { got, taken } => {
                let (got, taken) = (go_general(*got), go_general(*taken));
                write!(
                    f,
                    "PromQL warning: ratio value should be between -1 and 1, got {got}, capping to {taken}"
                )
            }
            Self::BadBucket { metric, le } => write!(
                f,
                "PromQL warning: bucket label \"le\" is missing or has a malformed value of {}{}",
                go_quoted(le),
                for_metric(metric)
            ),
            Self::Mended { metric } => write!(
                f,
                "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}",
                for_metric(metric)
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
    warnings: BTreeMap<String, Place>,
    infos: BTreeMap<String, Place>,
}

/// Where something was found, and what was mended there.
#[derive(Debug, Clone, Copy)]
struct Place {
    position: Position,
    mended: Option<Mended>,
}

impl Annotations {
    /// None yet; `text` is the query, which positions refer to, and `order` is that in which they are evaluated.
    pub(crate) fn new(text: &str, order: Vec<Position>) -> Self {
        Self { text: text.into(), order: order.into(), found: Arc::default() }
    }

    /// Adds one, if it is not there yet.
    pub(crate) fn add(&self, annotation: Annotation<'_>, position: Position) {
        self.insert(annotation, Place { position, mended: None });
    }

    /// Adds what was mended to what is known of the same metric.
    pub(crate) fn add_mended(&self, metric: &str, mended: Mended, position: Position) {
        self.insert(Annotation::Mended { metric }, Place { position, mended: Some(mended) });
    }

    fn insert(&self, annotation: Annotation<'_>, place: Place) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let all = if annotation.is_warning() { &mut found.warnings } else { &mut found.infos };
        match all.entry(annotation.to_string()) {
            Entry::Vacant(entry) => {
                entry.insert(place);
            }
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                known.position = self.later(known.position, place.position);
                if let (Some(known), Some(mended)) = (&mut known.mended, &place.mended) {
                    known.merge(mended);
                }
            }
        }
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
        let write = |(text, place): (String, Place)| {
            let details = place.mended.map_or_else(String::new, |mended| format!(", {mended}"));
            format!("{text}{details} ({})", place.position.in_text(&self.text))
        };
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

/// A float as Go's `%.2g` writes it.
fn go_two_digits(value: f64) -> String {
    if !value.is_finite() {
        return go_general(value);
    }
    let text = format!("{value:.1e}");
    let (digits, exponent) = text.split_once('e').expect("Rust's exponent form has an e");
    let exponent: i32 = exponent.parse().expect("a decimal exponent");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    let rounded: f64 = text.parse().expect("Rust reads what it writes");
    if (-4..2).contains(&exponent) {
        return format!("{rounded}");
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
    fn what_was_mended_is_said_once_with_all_that_is_known() {
        let all = Annotations::new("histogram_quantile(0.5, x)", Vec::new());
        let mended = |time, bound, difference| Mended {
            time_ms: (time, time),
            bounds: (bound, bound),
            difference,
            samples: 1,
        };
        all.add_mended("", mended(60_000, 0.5, 123.4), Position(24));
        all.add_mended("", mended(0, 10.0, 2.0), Position(24));
        all.add(Annotation::BadBucket { metric: "x", le: "a\"" }, Position(24));
        let (warnings, infos) = all.take();
        let text = "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from buckets 0.5 to 10, with a max diff of 1.2e+02, over 2 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z (1:25)";
        assert_eq!(infos, [text]);
        let text = r#"PromQL warning: bucket label "le" is missing or has a malformed value of "a\"" for metric name "x" (1:25)"#;
        assert_eq!(warnings, [text]);
    }

    #[test]
    fn two_digits_are_those_of_go() {
        for (value, text) in [
            (10.0, "10"),
            (100.0, "1e+02"),
            (5.0, "5"),
            (0.5, "0.5"),
            (123.4, "1.2e+02"),
            (1e-7, "1e-07"),
            (0.000_99, "0.00099"),
        ] {
            assert_eq!(go_two_digits(value), text);
        }
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
