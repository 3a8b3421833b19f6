//! Answers against expectations, with Prometheus' tolerance.

use std::collections::BTreeMap;

use super::histogram::Histogram;
use super::script::{Annotations, Eval, Expected};
use super::series::{Labels, Value};
use quipu::model::is_stale;

/// What a query answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) result: QueryResult,
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
}

/// The result of a query.
#[derive(Debug)]
pub(super) enum QueryResult {
    Scalar(f64),
    String(String),
    /// In the order of the answer.
    Vector(Vec<(Labels, Value)>),
    /// Times in ms.
    Matrix(Vec<(Labels, Vec<(i64, Value)>)>),
}

/// The relative difference that counts as equal.
const EPSILON: f64 = 1e-6;

/// Whether two floats are almost equal: `util/almost` of Prometheus.
pub(super) fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a.is_nan() && b.is_nan() {
        return true;
    }
    // Also infinities.
    if a.to_bits() == b.to_bits() || (a - b).abs() == 0.0 {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}

fn histograms_equal(expected: &Histogram, actual: &Histogram) -> bool {
    let buckets = |a: &BTreeMap<i64, f64>, b: &BTreeMap<i64, f64>| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && almost_equal(*a.1, *b.1))
    };
    expected.schema == actual.schema
        && expected.zero_threshold.to_bits() == actual.zero_threshold.to_bits()
        && expected.bounds == actual.bounds
        && almost_equal(expected.count, actual.count)
        && almost_equal(expected.sum, actual.sum)
        && almost_equal(expected.zero_count, actual.zero_count)
        && buckets(&expected.positive, &actual.positive)
        && buckets(&expected.negative, &actual.negative)
        && (!expected.hint_written || expected.hint == actual.hint)
}

fn values_equal(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Float(a), Value::Float(b)) => almost_equal(*a, *b),
        (Value::Histogram(a), Value::Histogram(b)) => histograms_equal(a, b),
        _ => false,
    }
}

/// Checks annotations and result.
pub(super) fn check(eval: &Eval, answer: &Answer) -> Result<(), String> {
    check_annotations("warning", &eval.warnings, &answer.warnings)?;
    check_annotations("info", &eval.infos, &answer.infos)?;
    check_result(eval, &answer.result)
}

/// Checks the result alone.
pub(super) fn check_result(eval: &Eval, result: &QueryResult) -> Result<(), String> {
    match (&eval.expected, result) {
        (Expected::Scalar(expected), QueryResult::Scalar(actual)) if almost_equal(*expected, *actual) => {
            Ok(())
        }
        (Expected::Scalar(expected), actual) => Err(format!("expected scalar {expected}, got {actual:?}")),
        (Expected::String(expected), QueryResult::String(actual)) if expected == actual => Ok(()),
        (Expected::String(expected), actual) => Err(format!("expected string {expected:?}, got {actual:?}")),
        (Expected::Series { series, .. }, QueryResult::Vector(actual)) => {
            check_vector(series, actual, eval.ordered)
        }
        (Expected::Series { start, end, step, series }, QueryResult::Matrix(actual)) => {
            let expected: Result<Vec<_>, String> =
                series.iter().map(|(labels, values)| timed(labels, values, (*start, *end, *step))).collect();
            check_matrix(&expected?, actual)
        }
        (Expected::Series { .. }, actual) => Err(format!("expected series, got {actual:?}")),
    }
}

fn check_annotations(what: &str, expected: &Annotations, actual: &[String]) -> Result<(), String> {
    if expected.none && !actual.is_empty() {
        return Err(format!("expected no {what}, got {actual:?}"));
    }
    if (expected.some || !expected.each.is_empty()) && actual.is_empty() {
        return Err(format!("expected a {what}, got none"));
    }
    for text in &expected.each {
        if !actual.iter().any(|found| text.matches(found)) {
            return Err(format!("expected the {what} {text:?}, got {actual:?}"));
        }
    }
    let unexpected = actual.iter().find(|found| !expected.each.iter().any(|text| text.matches(found)));
    match unexpected {
        Some(found) if !expected.each.is_empty() => Err(format!("unexpected {what} {found:?}")),
        _ => Ok(()),
    }
}

type Expectation = (Labels, Vec<Option<Value>>);

fn check_vector(expected: &[Expectation], actual: &[(Labels, Value)], ordered: bool) -> Result<(), String> {
    for (position, (labels, value)) in actual.iter().enumerate() {
        let place = expected.iter().position(|(expected, _)| expected == labels);
        let place = place.ok_or_else(|| format!("unexpected series {labels:?} with {value:?}"))?;
        if ordered && place != position {
            return Err(format!("{labels:?} is at position {position}, expected at {place}"));
        }
        let wanted = expected[place].1.first().cloned().flatten().unwrap_or(Value::Float(0.0));
        if !values_equal(&wanted, value) {
            return Err(format!("{labels:?}: expected {wanted:?}, got {value:?}"));
        }
    }
    all_found(expected.iter().map(|(labels, _)| labels), actual.iter().map(|(labels, _)| labels))
}

type TimedSeries = (Labels, Vec<(i64, Value)>);

/// Gives the values their times.
fn timed(labels: &Labels, values: &[Option<Value>], range: (i64, i64, i64)) -> Result<TimedSeries, String> {
    let (start, end, step) = range;
    let times = (0i64..).map(|i| start + i * step);
    let points: Vec<_> = times.zip(values).collect();
    if points.last().is_some_and(|(time, _)| *time > end) {
        return Err(format!("{} values are expected of {labels:?}, more than there are steps", values.len()));
    }
    let there = points.into_iter().filter_map(|(time, value)| Some((time, value.clone()?)));
    Ok((labels.clone(), there.collect()))
}

fn check_matrix(expected: &[TimedSeries], actual: &[TimedSeries]) -> Result<(), String> {
    if let Some(pair) = actual.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        return Err(format!("series are not sorted: {:?} stands before {:?}", pair[0].0, pair[1].0));
    }
    for (labels, points) in actual {
        let wanted = expected.iter().find(|(expected, _)| expected == labels);
        let (_, wanted) = wanted.ok_or_else(|| format!("unexpected series {labels:?} with {points:?}"))?;
        let equal = |(a, b): (&(i64, Value), &(i64, Value))| a.0 == b.0 && values_equal(&a.1, &b.1);
        if wanted.len() != points.len() || !wanted.iter().zip(points).all(equal) {
            return Err(format!("{labels:?}: expected {wanted:?}, got {points:?}"));
        }
    }
    all_found(expected.iter().map(|(labels, _)| labels), actual.iter().map(|(labels, _)| labels))
}

fn all_found<'a>(
    mut expected: impl Iterator<Item = &'a Labels>,
    actual: impl Iterator<Item = &'a Labels>,
) -> Result<(), String> {
    let actual: std::collections::BTreeSet<_> = actual.collect();
    expected
        .find(|labels| !actual.contains(labels))
        .map_or(Ok(()), |missing| Err(format!("missing {missing:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn almost_is_a_millionth_and_zero_is_zero() {
        for (a, b) in [(1.0, 1.000_000_9), (f64::INFINITY, f64::INFINITY), (0.0, -0.0), (f64::NAN, f64::NAN)]
        {
            assert!(almost_equal(a, b) && almost_equal(b, a), "{a} {b}");
        }
        let different = [
            (1.0, 1.000_01),
            (0.0, 1e-300),
            (f64::INFINITY, f64::MAX),
            (1.0, -1.0),
            (f64::NAN, 0.0),
            (1e308, -1e308),
        ];
        for (a, b) in different {
            assert!(!almost_equal(a, b) && !almost_equal(b, a), "{a} {b}");
        }
        let stale = f64::from_bits(quipu::model::STALE_NAN);
        assert!(almost_equal(stale, stale) && !almost_equal(stale, f64::NAN));
    }
}
