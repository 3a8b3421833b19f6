//! A naive evaluator written straight from Prometheus 3.14's definitions (`promql/functions.go`, `engine.go`): every
//! window is searched and read on its own, in 128-bit times. The kernels are tested against it.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "a naive evaluator casts and compares as the definitions do"
)]

use super::{Kind, Samples};
use crate::query::plan::{Grid, StepScalar, WindowFunction};

/// What the selector of a query asks for.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) kind: Kind,
    pub(crate) grid: Grid,
    pub(crate) range_ms: i64,
    pub(crate) offset_ms: i64,
    pub(crate) at_ms: Option<i64>,
}

/// The values of one series at every step.
pub(crate) fn evaluate(ask: &Ask, samples: &Samples<'_>) -> Vec<Option<f64>> {
    (0..ask.grid.steps())
        .map(|step| {
            let time = ask.at_ms.unwrap_or_else(|| ask.grid.time(step));
            let end = i128::from(time) - i128::from(ask.offset_ms);
            let start = end - i128::from(ask.range_ms);
            at(&ask.kind, (step, ask.grid.time(step)), samples, (start, end, ask.range_ms))
        })
        .collect()
}

fn at(
    kind: &Kind,
    step: (usize, i64),
    samples: &Samples<'_>,
    (start, end, range_ms): (i128, i128, i64),
) -> Option<f64> {
    let inside = |t: &i64| i128::from(*t) > start && i128::from(*t) <= end;
    let points: Vec<(i64, f64)> = samples
        .timestamps
        .iter()
        .zip(samples.values)
        .filter(|(t, _)| inside(t))
        .map(|(t, v)| (*t, *v))
        .collect();
    let stale = samples.stale_at.iter().copied().rfind(inside);
    let last = points.last().copied();
    match kind {
        Kind::Newest | Kind::NewestTime => {
            let (t, v) = last.filter(|(t, _)| stale.is_none_or(|stale| stale < *t))?;
            Some(if *kind == Kind::Newest { v } else { t as f64 / 1000.0 })
        }
        Kind::Function(function, arguments) => {
            window(*function, arguments, step, &points, (start, end, range_ms))
        }
    }
}

fn window(
    function: WindowFunction,
    arguments: &[StepScalar],
    (step, time): (usize, i64),
    points: &[(i64, f64)],
    (start, end, range_ms): (i128, i128, i64),
) -> Option<f64> {
    let values: Vec<f64> = points.iter().map(|(_, v)| *v).collect();
    let pairs = || values.windows(2).map(|pair| (pair[0], pair[1]));
    let last = *points.last()?;
    Some(match function {
        WindowFunction::Rate | WindowFunction::Increase | WindowFunction::Delta => {
            return extrapolated(function, points, start, end, range_ms);
        }
        WindowFunction::Irate => {
            let before = *points.iter().rev().nth(1)?;
            let gap = (last.0 - before.0) as f64 / 1000.0;
            (if last.1 < before.1 { last.1 } else { last.1 - before.1 }) / gap
        }
        WindowFunction::Resets => pairs().filter(|(a, b)| b < a).count() as f64,
        WindowFunction::Changes => {
            pairs().filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64
        }
        WindowFunction::Sum => kahan_sum(&values),
        WindowFunction::Avg => average(&values),
        WindowFunction::Min => compare(&values, |now, best| now < best || best.is_nan()),
        WindowFunction::Max => compare(&values, |now, best| now > best || best.is_nan()),
        WindowFunction::Count => values.len() as f64,
        WindowFunction::First => points[0].1,
        WindowFunction::Last => last.1,
        WindowFunction::Present => 1.0,
        WindowFunction::Stddev => variance(&values).sqrt(),
        WindowFunction::Stdvar => variance(&values),
        WindowFunction::Quantile => quantile(arguments[0].at(step), &values),
        WindowFunction::MedianDeviation if values.iter().any(|v| v.is_nan()) => f64::NAN,
        WindowFunction::MedianDeviation => {
            let median = quantile(0.5, &values);
            quantile(0.5, &values.iter().map(|v| (v - median).abs()).collect::<Vec<_>>())
        }
        WindowFunction::TimeOfFirst => points[0].0 as f64 / 1000.0,
        WindowFunction::TimeOfLast => last.0 as f64 / 1000.0,
        WindowFunction::TimeOfMax => time_of(points, |now, best| now >= best),
        WindowFunction::TimeOfMin => time_of(points, |now, best| now <= best),
        _ if points.len() < 2 => return None,
        WindowFunction::Idelta => last.1 - points[points.len() - 2].1,
        WindowFunction::Deriv => regression(points, points[0].0).0,
        WindowFunction::PredictLinear => {
            let (slope, intercept) = regression(points, time);
            slope * arguments[0].at(step) + intercept
        }
        WindowFunction::Smooth => smooth(&values, arguments[0].at(step), arguments[1].at(step)),
    })
}

fn time_of(points: &[(i64, f64)], better: impl Fn(f64, f64) -> bool) -> f64 {
    let mut best = points[0];
    for point in points {
        if better(point.1, best.1) || best.1.is_nan() {
            best = *point;
        }
    }
    best.0 as f64 / 1000.0
}

fn regression(points: &[(i64, f64)], from: i64) -> (f64, f64) {
    let init = points[0].1;
    if points[1..].iter().all(|(_, v)| *v == init) {
        return if init.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, init) };
    }
    let sum = |of: &dyn Fn(f64, f64) -> f64| {
        let terms = points.iter().map(|(t, v)| of((i128::from(*t) - i128::from(from)) as f64 / 1e3, *v));
        let (sum, c) = terms.fold((0.0, 0.0), |(sum, c), term| increment(term, sum, c));
        sum + c
    };
    let (x, y) = (sum(&|x, _| x), sum(&|_, y| y));
    let (xy, xx) = (sum(&|x, y| x * y), sum(&|x, _| x * x));
    let n = points.len() as f64;
    let slope = (xy - x * y / n) / (xx - x * x / n);
    (slope, y / n - slope * x / n)
}

fn smooth(values: &[f64], sf: f64, tf: f64) -> f64 {
    let (mut s0, mut s1, mut b) = (0.0, values[0], values[1] - values[0]);
    for (i, value) in values.iter().enumerate().skip(1) {
        let x = sf * value;
        b = if i - 1 == 0 { b } else { tf * (s1 - s0) + (1.0 - tf) * b };
        let y = (1.0 - sf) * (s1 + b);
        (s0, s1) = (s1, x + y);
    }
    s1
}

fn extrapolated(
    function: WindowFunction,
    points: &[(i64, f64)],
    start: i128,
    end: i128,
    range_ms: i64,
) -> Option<f64> {
    if points.len() < 2 {
        return None;
    }
    let (first, last) = (points[0], points[points.len() - 1]);
    let is_counter = function != WindowFunction::Delta;
    let mut result = last.1 - first.1;
    if is_counter {
        for pair in points.windows(2) {
            if pair[1].1 < pair[0].1 {
                result += pair[0].1;
            }
        }
    }
    let mut to_start = (i128::from(first.0) - start) as f64 / 1000.0;
    let mut to_end = (end - i128::from(last.0)) as f64 / 1000.0;
    let sampled = (last.0 - first.0) as f64 / 1000.0;
    let average = sampled / (points.len() - 1) as f64;
    if to_start >= average * 1.1 {
        to_start = average / 2.0;
    }
    if is_counter && result > 0.0 && first.1 >= 0.0 {
        let to_zero = sampled * (first.1 / result);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= average * 1.1 {
        to_end = average / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if function == WindowFunction::Rate {
        factor /= range_ms as f64 / 1000.0;
    }
    Some(result * factor)
}

fn increment(inc: f64, sum: f64, c: f64) -> (f64, f64) {
    let t = sum + inc;
    let c = if t.is_infinite() {
        0.0
    } else if sum.abs() >= inc.abs() {
        c + ((sum - t) + inc)
    } else {
        c + ((inc - t) + sum)
    };
    (t, c)
}

fn kahan_sum(values: &[f64]) -> f64 {
    let (sum, c) = values.iter().fold((0.0, 0.0), |(sum, c), value| increment(*value, sum, c));
    if sum.is_infinite() { sum } else { sum + c }
}

fn average(values: &[f64]) -> f64 {
    let (mut sum, mut count, mut mean, mut c, mut incremental) = (values[0], 1.0, 0.0, 0.0, false);
    for (i, value) in values[1..].iter().enumerate() {
        count = (i + 2) as f64;
        if !incremental {
            let (next, next_c) = increment(*value, sum, c);
            if !next.is_infinite() {
                (sum, c) = (next, next_c);
                continue;
            }
            incremental = true;
            mean = sum / (count - 1.0);
            c /= count - 1.0;
        }
        let q = (count - 1.0) / count;
        (mean, c) = increment(value / count, q * mean, q * c);
    }
    if incremental { mean + c } else { sum / count + c / count }
}

fn compare(values: &[f64], better: impl Fn(f64, f64) -> bool) -> f64 {
    values.iter().fold(values[0], |best, value| if better(*value, best) { *value } else { best })
}

fn variance(values: &[f64]) -> f64 {
    let (mut count, mut mean, mut c_mean, mut aux, mut c_aux) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - (mean + c_mean);
        (mean, c_mean) = increment(delta / count, mean, c_mean);
        (aux, c_aux) = increment(delta * (value - (mean + c_mean)), aux, c_aux);
    }
    (aux + c_aux) / count
}

/// Prometheus' quantile of unsorted values (not empty).
pub(crate) fn quantile(q: f64, values: &[f64]) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.partial_cmp(b).expect("not NaN"),
    });
    let n = sorted.len() as f64;
    let rank = q * (n - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (n - 1.0).min(lower + 1.0);
    let weight = rank - rank.floor();
    sorted[lower as usize] * (1.0 - weight) + sorted[upper as usize] * weight
}
