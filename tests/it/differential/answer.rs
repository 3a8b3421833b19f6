//! What a server said, and how two such answers differ.

use std::collections::{BTreeMap, BTreeSet};

use quipu::model::time::seconds_to_ms;
use serde_json::Value;

use super::grammar::{Order, Term};
use super::shown::{Shown, shown};

/// What 3.5 refuses in other words than 3.14.
pub(super) const NEW_TEXTS: [(&str, &str); 2] = [
    ("Scalar value NaN overflows int64", "Parameter value is NaN"),
    ("Ratio value NaN is NaN", "Ratio value is NaN"),
];

/// What quipu refuses before it reads anything, and Prometheus when it comes to it: of two reasons it may name this one.
const EARLY: &str = "invalid regular expression in label_replace(): ";

/// What a server said.
#[derive(Debug)]
pub(super) enum Said {
    Data(Data),
    Refused { status: u16, error_type: String, message: String },
}

#[derive(Debug, Clone)]
pub(super) struct Data {
    result_type: String,
    /// The text of a string.
    text: String,
    series: Vec<Series>,
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
}

type Labels = BTreeMap<String, String>;
/// ms, value, by labels.
type ByLabels<'a> = BTreeMap<Labels, &'a Series>;

#[derive(Debug, Clone)]
struct Series {
    labels: Labels,
    /// ms, value.
    points: Vec<(i64, f64)>,
    /// ms, histogram.
    histograms: Vec<(i64, Shown)>,
}

/// What was compared.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) answers: usize,
    pub(super) empty: usize,
    pub(super) refusals: usize,
    /// Of what quipu does not do yet.
    pub(super) unsupported: usize,
    /// Refused in other words.
    pub(super) other_words: usize,
    /// Refused by one side only, as the lists of what changed after 3.5 say.
    pub(super) changed_since: usize,
    /// Range queries of which 3.5 says something else at each instant.
    pub(super) contradictions: usize,
    pub(super) series: usize,
    pub(super) points: usize,
    pub(super) histograms: usize,
    pub(super) annotated: usize,
    /// Points that agree only relative to the sum of what went in.
    pub(super) forgiven: usize,
}

impl Said {
    pub(super) fn new(status: u16, body: &str) -> Self {
        let json: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"));
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        if json["status"] != "success" {
            return Self::Refused { status, error_type: text("errorType"), message: text("error") };
        }
        assert_eq!(status, 200, "{body}");
        let set = |name: &str| {
            let texts = json[name].as_array().map(Vec::as_slice).unwrap_or_default();
            texts.iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
        };
        let (result_type, result) = (&json["data"]["resultType"], &json["data"]["result"]);
        let result_type = result_type.as_str().expect("a type").to_owned();
        let mut data = Data {
            result_type,
            text: String::new(),
            series: Vec::new(),
            warnings: set("warnings"),
            infos: set("infos"),
        };
        match data.result_type.as_str() {
            "string" => data.text = result.to_string(),
            "scalar" => {
                let points = vec![point(result)];
                data.series = vec![Series { labels: Labels::new(), points, histograms: Vec::new() }];
            }
            _ => data.series = result.as_array().expect("a list").iter().map(series).collect(),
        }
        Self::Data(data)
    }
}

impl Said {
    /// What a range query says of one time, as an instant query would say it.
    pub(super) fn at(&self, time_ms: i64) -> Option<Self> {
        let Self::Data(data) = self else { return None };
        let one = |series: &Series| {
            let points =
                series.points.iter().filter(|(time, _)| *time == time_ms).copied().collect::<Vec<_>>();
            let histograms =
                series.histograms.iter().filter(|(time, _)| *time == time_ms).cloned().collect::<Vec<_>>();
            let some = !points.is_empty() || !histograms.is_empty();
            some.then(|| Series { labels: series.labels.clone(), points, histograms })
        };
        let series = data.series.iter().filter_map(one).collect();
        Some(Self::Data(Data { result_type: "vector".to_owned(), series, ..data.clone() }))
    }

    /// The same without what was noted.
    pub(super) fn without_notes(mut self) -> Self {
        if let Self::Data(data) = &mut self {
            data.warnings.clear();
            data.infos.clear();
        }
        self
    }

    /// Takes warnings out that begin so: only newer versions give them.
    pub(super) fn forget_warnings(&mut self, new: &[&str]) {
        if let Self::Data(data) = self {
            data.warnings.retain(|warning| !new.iter().any(|start| warning.starts_with(start)));
        }
    }

    /// Takes out what 3.14 says more or less than 3.5 of a histogram: the metric's name, and which buckets were mended.
    pub(super) fn forget_details(&mut self) {
        let Self::Data(data) = self else { return };
        for texts in [&mut data.warnings, &mut data.infos] {
            *texts = texts.iter().map(|text| without_details(text)).collect();
        }
    }

    /// Whether quipu refuses it because it cannot do it yet.
    pub(super) fn is_unsupported(&self) -> bool {
        matches!(self, Self::Refused { message, .. } if message.contains("not supported yet"))
    }

    /// Whether this is a refusal with this text.
    pub(super) fn refuses_with(&self, text: &str) -> bool {
        matches!(self, Self::Refused { message, .. } if message.contains(text))
    }

    /// Whether this is a refusal with one of these texts, of what the other answers.
    pub(super) fn refuses_alone(&self, other: &Self, texts: &[&str]) -> bool {
        let (Self::Refused { message, .. }, Self::Data(_)) = (self, other) else { return false };
        texts.iter().any(|text| message.contains(text))
    }
}

/// 3.5 puts a note about NaN observations at the first argument, 3.14 at the histograms.
fn without_details(text: &str) -> String {
    let end = [" for metric name ", " ("].iter().filter_map(|start| text.find(start)).min();
    if let Some(end) = end.filter(|_| text.contains(" has NaN observations, ")) {
        return text[..end].to_owned();
    }
    let is_histogram = text.contains("bucket label \"le\"") || text.contains("input to histogram_quantile");
    let end = [" for metric name ", ", from buckets "].iter().filter_map(|start| text.find(start)).min();
    match (end, text.rfind(" (")) {
        (Some(end), Some(place)) if is_histogram && end < place => {
            format!("{}{}", &text[..end], &text[place..])
        }
        _ => text.to_owned(),
    }
}

fn point(pair: &Value) -> (i64, f64) {
    let seconds = pair[0].as_f64().expect("seconds");
    (seconds_to_ms(seconds), pair[1].as_str().and_then(|text| text.parse().ok()).expect("a value"))
}

fn series(json: &Value) -> Series {
    let labels = json["metric"].as_object().expect("labels").iter();
    let labels = labels.map(|(name, value)| (name.clone(), value.as_str().expect("a value").to_owned()));
    let list = |many: &str, one: &str| -> Vec<Value> {
        let list = json[many].as_array().cloned().unwrap_or_default();
        list.into_iter().chain(json.get(one).cloned()).collect()
    };
    Series {
        labels: labels.collect(),
        points: list("values", "value").iter().map(point).collect(),
        histograms: list("histograms", "histogram").iter().map(shown).collect(),
    }
}

/// Compares what both said to one question.
///
/// # Errors
/// The difference, in words.
pub(super) fn compare(term: &Term, expected: &Said, found: &Said, tally: &mut Tally) -> Result<(), String> {
    match (expected, found) {
        (Said::Data(expected), Said::Data(found)) => compare_data(term, expected, found, tally),
        (Said::Refused { message, .. }, Said::Refused { message: found_message, .. }) => {
            compare_refusals(expected, found, tally)?;
            let new = NEW_TEXTS.iter().find(|(old, _)| message == old);
            let message = new.map_or(message.as_str(), |(_, new)| new);
            if without_series(message) == without_series(found_message) || found_message.starts_with(EARLY) {
                return Ok(());
            }
            Err(format!("refused with {found_message:?} instead of {message:?}"))
        }
        _ => compare_refusals(expected, found, tally),
    }
}

/// Which duplicate of which group is named first is not defined; the side is.
fn without_series(message: &str) -> String {
    match (message.split_once(" for the match group "), message.split_once(" on the ")) {
        (Some((start, _)), Some((_, end))) => {
            let (side, words) =
                (end.split(':').next().unwrap_or_default(), end.rsplit(';').next().unwrap_or_default());
            format!("{start} on the {side} {words}")
        }
        _ => message.to_owned(),
    }
}

/// Compares whether and how both refuse, and not the words. What quipu does not support yet counts apart.
///
/// # Errors
/// As [`compare`].
pub(super) fn compare_refusals(expected: &Said, found: &Said, tally: &mut Tally) -> Result<(), String> {
    match (expected, found) {
        (Said::Data(_), Said::Data(_)) => tally.answers += 1,
        (Said::Refused { message, .. }, Said::Data(_)) => {
            return Err(format!("should be refused: {message}"));
        }
        (Said::Data(_), Said::Refused { message, .. }) => return Err(format!("refused: {message}")),
        (
            Said::Refused { status, error_type, message },
            Said::Refused { status: found_status, error_type: found_type, message: found_message },
        ) => {
            tally.refusals += 1;
            tally.other_words += usize::from(message != found_message);
            if (status, error_type) != (found_status, found_type) {
                return Err(format!(
                    "refused as {found_status} {found_type} instead of {status} {error_type}"
                ));
            }
        }
    }
    Ok(())
}

fn compare_data(term: &Term, expected: &Data, found: &Data, tally: &mut Tally) -> Result<(), String> {
    tally.answers += 1;
    tally.empty += usize::from(expected.series.is_empty());
    tally.annotated += usize::from(!expected.warnings.is_empty() || !expected.infos.is_empty());
    if expected.result_type != found.result_type {
        return Err(format!("a {} instead of a {}", found.result_type, expected.result_type));
    }
    if expected.text != found.text {
        return Err(format!("{} instead of {}", found.text, expected.text));
    }
    compare_series(term, expected, found, tally)?;
    for (what, expected, found) in
        [("warnings", &expected.warnings, &found.warnings), ("infos", &expected.infos, &found.infos)]
    {
        // The inner one of two subqueries is evaluated up to the end of the outer one by 3.5, and only up to its last
        // step by 3.14: it may then have more to say.
        let says_less = term.subqueries() > 1 && found.is_subset(expected);
        if expected != found && !says_less {
            return Err(format!("{what} {found:?} instead of {expected:?}"));
        }
    }
    if expected.result_type == "matrix" {
        let order = |data: &Data| data.series.iter().map(|s| s.labels.clone()).collect::<Vec<_>>();
        let (expected, found) = (order(expected), order(found));
        return if expected == found {
            Ok(())
        } else {
            Err(format!("series in the order {found:?} instead of {expected:?}"))
        };
    }
    compare_order(&term.order, expected, found)
}

fn compare_series(term: &Term, expected: &Data, found: &Data, tally: &mut Tally) -> Result<(), String> {
    fn by_labels(data: &Data) -> Result<ByLabels<'_>, String> {
        let mut all = BTreeMap::new();
        for series in &data.series {
            if all.insert(series.labels.clone(), series).is_some() {
                return Err(format!("{:?} twice", series.labels));
            }
        }
        Ok(all)
    }
    let (expected, mut found) = (by_labels(expected)?, by_labels(found)?);
    for (labels, series) in &expected {
        let Some(others) = found.remove(labels) else {
            return Err(format!("{labels:?} is missing: {}", series.start()));
        };
        tally.series += 1;
        tally.points += series.points.len();
        tally.histograms += series.histograms.len();
        let compared = compare_points(term, &series.points, &others.points, tally)
            .and_then(|()| compare_histograms(term, &series.histograms, &others.histograms, tally));
        compared.map_err(|why| format!("{labels:?}: {why}"))?;
    }
    match found.into_iter().next() {
        Some((labels, series)) => Err(format!("{labels:?} is too much: {}", series.start())),
        None => Ok(()),
    }
}

impl Series {
    fn start(&self) -> String {
        let (points, histograms) = (self.points.len().min(3), self.histograms.len().min(1));
        format!("{:?} {:?}", &self.points[..points], &self.histograms[..histograms])
    }
}

fn compare_points(
    term: &Term,
    expected: &[(i64, f64)],
    found: &[(i64, f64)],
    tally: &mut Tally,
) -> Result<(), String> {
    compare_times(expected, found)?;
    for ((time, expected), (_, found)) in expected.iter().zip(found) {
        compare_values(term, *expected, *found, tally).map_err(|why| format!("at {time}: {why}"))?;
    }
    Ok(())
}

fn compare_histograms(
    term: &Term,
    expected: &[(i64, Shown)],
    found: &[(i64, Shown)],
    tally: &mut Tally,
) -> Result<(), String> {
    compare_times(expected, found)?;
    for ((time, expected), (_, found)) in expected.iter().zip(found) {
        let compared = expected.compare(term, found, tally);
        compared.map_err(|why| format!("at {time}: {why}: {found:?} instead of {expected:?}"))?;
    }
    Ok(())
}

fn compare_times<T>(expected: &[(i64, T)], found: &[(i64, T)]) -> Result<(), String> {
    let times = |points: &[(i64, T)]| points.iter().map(|(time, _)| *time).collect::<Vec<_>>();
    let (expected, found) = (times(expected), times(found));
    if expected == found {
        return Ok(());
    }
    let missing: Vec<_> = expected.iter().filter(|time| !found.contains(time)).take(3).collect();
    let extra: Vec<_> = found.iter().filter(|time| !expected.contains(time)).take(3).collect();
    Err(format!("times missing {missing:?}, too much {extra:?}"))
}

/// Compares two numbers as a term allows.
///
/// # Errors
/// The difference, in words.
pub(super) fn compare_values(
    term: &Term,
    expected: f64,
    found: f64,
    tally: &mut Tally,
) -> Result<(), String> {
    let distance = (expected - found).abs();
    let same =
        expected.to_bits() == found.to_bits() || expected.is_nan() && found.is_nan() || distance == 0.0;
    if same || distance <= term.relative * expected.abs().max(found.abs()) && expected.is_finite() {
        return Ok(());
    }
    if distance <= term.absolute {
        tally.forgiven += 1;
        return Ok(());
    }
    Err(format!("{found:e} instead of {expected:e}"))
}

/// The values in their order, within each group; which of two equal ones comes first is not defined.
fn compare_order(order: &Order, expected: &Data, found: &Data) -> Result<(), String> {
    let group = |labels: &Labels| -> Labels {
        let named = |names: &[String], name: &String| names.contains(name);
        let labels = labels.clone().into_iter();
        match order {
            Order::None | Order::Whole => Labels::new(),
            Order::By(names) => labels.filter(|(name, _)| named(names, name)).collect(),
            Order::Without(names) => {
                labels.filter(|(name, _)| name != "__name__" && !named(names, name)).collect()
            }
        }
    };
    if *order == Order::None {
        return Ok(());
    }
    let grouped = |data: &Data| {
        let mut groups: BTreeMap<Labels, Vec<String>> = BTreeMap::new();
        for series in &data.series {
            // Ten digits: what is equal within the tolerance is equal here. -0 + 0 is 0: they are equal to `sort`.
            let values = series.points.iter().map(|(_, value)| format!("{:.9e}", value + 0.0));
            groups.entry(group(&series.labels)).or_default().extend(values);
        }
        groups
    };
    let (expected, found) = (grouped(expected), grouped(found));
    if expected == found { Ok(()) } else { Err(format!("in the order {found:?} instead of {expected:?}")) }
}

/// What a comparison must not overlook.
#[test]
fn differences_are_seen() {
    let vector = |series: &[(&str, &str)], rest: &str| {
        let one = |(job, value): &(&str, &str)| {
            format!(r#"{{"metric":{{"job":"{job}"}},"value":[1.5,"{value}"]}}"#)
        };
        let series: Vec<_> = series.iter().map(one).collect();
        let list = series.join(",");
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{list}]}}{rest}}}"#)
    };
    let expected = vector(&[("a", "1"), ("b", "-Inf")], "");
    let matrix = |times: &str| {
        let series = format!(r#"{{"metric":{{}},"values":[{times}]}}"#);
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{series}]}}}}"#)
    };
    let mut sorted = Term::unknown("sort(x)".to_owned());
    sorted.order = Order::Whole;
    let differs = |expected: &str, found: &str| {
        let (expected, found) = (Said::new(200, expected), Said::new(200, found));
        compare(&sorted, &expected, &found, &mut Tally::default()).is_err()
    };
    assert!(!differs(&expected, &expected));
    assert!(!differs(&expected, &vector(&[("a", "1.0000000000001"), ("b", "-Inf")], "")), "within 1e-12");
    for (found, what) in [
        (vector(&[("a", "1.00000000001"), ("b", "-Inf")], ""), "a value"),
        (vector(&[("a", "NaN"), ("b", "-Inf")], ""), "NaN"),
        (vector(&[("a", "1"), ("b", "+Inf")], ""), "an infinity"),
        (vector(&[("a", "1")], ""), "a series too few"),
        (vector(&[("a", "1"), ("b", "-Inf"), ("c", "1")], ""), "a series too many"),
        (vector(&[("b", "-Inf"), ("a", "1")], ""), "the order"),
        (vector(&[("a", "1"), ("c", "-Inf")], ""), "labels"),
        (vector(&[("a", "1"), ("b", "-Inf")], r#","infos":["x"]"#), "an info"),
        (matrix("[1.5,\"1\"]"), "the kind"),
    ] {
        assert!(differs(&expected, &found), "{what}");
    }
    assert!(differs(&matrix("[1,\"1\"],[2,\"1\"]"), &matrix("[1,\"1\"]")), "a step");
    assert!(differs(&matrix("[1,\"1\"]"), &matrix("[1.001,\"1\"]")), "a time");
}
