//! Functions over the samples of one window, where there are histograms among them.
//!
//! Source: Prometheus 3.14, `promql/functions.go` (`histogramRate`, `instantValue`, `funcSumOverTime`, …).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use super::compare::{is_reset, same};
use super::hints::Hints;
use super::total::{Incompatible, Mean, Notes, Total};
use super::window::{Outcome, Points};
use super::{compact, divided, scaled};
use crate::model::time::{count_to_f64, ms_to_f64, ms_to_seconds};
use crate::model::{Histogram, ResetHint};
use crate::query::plan::{HistogramNote, Operation, WindowFunction};

/// What the functions have to say, each once.
#[derive(Debug, Default)]
pub(crate) struct Found(Vec<HistogramNote>);

impl Found {
    pub(crate) fn add(&mut self, note: HistogramNote) {
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    fn add_sum(&mut self, notes: Notes, how: Operation) {
        if notes.bounds_reconciled {
            self.add(HistogramNote::BoundsReconciled(how));
        }
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = HistogramNote> + '_ {
        self.0.drain(..)
    }
}

/// One window: which floats and which histograms lie in it, and its borders in ms.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) floats: Range<usize>,
    pub(super) histograms: Range<usize>,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
}

/// `rate`, `increase` and `delta`: last minus first, plus what a counter lost at its resets, extrapolated.
pub(super) fn extrapolated(
    points: &Points<'_>,
    view: &View,
    function: WindowFunction,
    found: &mut Found,
) -> Outcome {
    if !view.floats.is_empty() {
        found.add(HistogramNote::MixedRange);
        return Outcome::Nothing;
    }
    let histograms = &points.histograms[view.histograms.clone()];
    if histograms.len() < 2 {
        return Outcome::Nothing;
    }
    let is_counter = function != WindowFunction::Delta;
    let Ok(increase) = increase(histograms, is_counter, found) else {
        found.add(HistogramNote::MixedSchemas);
        return Outcome::Nothing;
    };
    let times = &points.times[view.histograms.clone()];
    let (first_ms, last_ms) = (times[0], times[times.len() - 1]);
    let covered = ms_to_f64(last_ms - first_ms) / 1000.0;
    let average = covered / count_to_f64(histograms.len() - 1);
    let border = |seconds: f64| if seconds >= average * 1.1 { average / 2.0 } else { seconds };
    let mut to_start = border(ms_to_f64(first_ms - view.start_ms) / 1000.0);
    let first = histograms[0].count;
    if is_counter && increase.count > 0.0 && first >= 0.0 {
        // Not further back than where the count would reach zero.
        let to_zero = covered * (first / increase.count);
        to_start = if to_zero < to_start { to_zero } else { to_start };
    }
    let to_end = border(ms_to_f64(view.end_ms - last_ms) / 1000.0);
    let mut factor = (covered + to_start + to_end) / covered;
    if function == WindowFunction::Rate {
        factor /= ms_to_seconds(view.end_ms - view.start_ms);
    }
    Outcome::histogram(scaled(increase, factor))
}

fn increase(
    histograms: &[Arc<Histogram>],
    is_counter: bool,
    found: &mut Found,
) -> Result<Histogram, Incompatible> {
    let (first, last) = (&histograms[0], &histograms[histograms.len() - 1]);
    let is_gauge = |histogram: &Histogram| histogram.reset_hint == ResetHint::Gauge;
    if is_counter && histograms.iter().any(|histogram| is_gauge(histogram)) {
        found.add(HistogramNote::NotACounter);
    }
    if !is_counter && [first, last].into_iter().any(|histogram| !is_gauge(histogram)) {
        found.add(HistogramNote::NotAGauge);
    }
    // After a reset the first sample does not matter, not even its buckets' shape.
    let begins_anew = is_counter && is_reset(&histograms[1], first);
    let begin = if begins_anew {
        Cow::Owned(Total::nothing_like(&histograms[1]).finish())
    } else {
        Cow::Borrowed(first.as_ref())
    };
    let mut total = Total::of(last);
    if is_counter {
        let compared = histograms[1..].iter().map(Arc::as_ref).chain([&*begin]);
        let custom = super::buckets::is_custom(&begin);
        let coarsest = compared.map(|histogram| (super::buckets::is_custom(histogram), histogram.schema));
        let mut schema = last.schema;
        for (is_custom, own) in coarsest {
            if is_custom != custom {
                return Err(Incompatible);
            }
            schema = schema.min(own);
        }
        total.reduce(schema);
    }
    let notes = total.subtract(&begin)?;
    found.add_sum(notes, Operation::Subtraction);
    if is_counter {
        let mut before = &*begin;
        for now in &histograms[1..] {
            if is_reset(now, before) {
                let notes = total.add(before)?;
                found.add_sum(notes, Operation::Addition);
            }
            before = now;
        }
    }
    total.set_hint(ResetHint::Gauge);
    Ok(compact(total.finish()))
}

/// `irate` and `idelta`: the last two samples of the window.
pub(super) fn instant(points: &Points<'_>, view: &View, is_rate: bool, found: &mut Found) -> Outcome {
    let recent = |range: &Range<usize>, kind| range.clone().rev().take(2).map(move |at| (at, kind));
    let mut last: Vec<(i64, usize, Kind)> = recent(&view.floats, Kind::Float)
        .chain(recent(&view.histograms, Kind::Histogram))
        .map(|(at, kind)| match kind {
            Kind::Float => (points.floats.timestamps[at], at, kind),
            Kind::Histogram => (points.times[at], at, kind),
        })
        .collect();
    last.sort_unstable_by_key(|(time_ms, ..)| std::cmp::Reverse(*time_ms));
    match last.as_slice() {
        [(now_ms, now, Kind::Histogram), (before_ms, before, Kind::Histogram), ..] => {
            let seconds = ms_to_f64(now_ms - before_ms) / 1000.0;
            between(&points.histograms[*before], &points.histograms[*now], seconds, is_rate, found)
        }
        [(.., Kind::Float), (.., Kind::Float), ..] => Outcome::Keep,
        [_, _, ..] => {
            found.add(HistogramNote::MixedRange);
            Outcome::Nothing
        }
        _ => Outcome::Nothing,
    }
}

/// What a sample is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Float,
    Histogram,
}

fn between(before: &Histogram, now: &Histogram, seconds: f64, is_rate: bool, found: &mut Found) -> Outcome {
    let are_gauges = [before, now].map(|histogram| histogram.reset_hint == ResetHint::Gauge);
    if is_rate && are_gauges != [false; 2] {
        found.add(HistogramNote::NotACounter);
    }
    if !is_rate && are_gauges != [true; 2] {
        found.add(HistogramNote::NotAGauge);
    }
    let mut total = Total::of(now);
    if !is_rate || !is_reset(now, before) {
        match total.subtract(before) {
            Ok(notes) => found.add_sum(notes, Operation::Subtraction),
            Err(Incompatible) => {
                found.add(HistogramNote::MixedSchemas);
                return Outcome::Nothing;
            }
        }
    }
    total.set_hint(ResetHint::Gauge);
    let difference = compact(total.finish());
    Outcome::histogram(if is_rate { divided(difference, seconds) } else { difference })
}

/// `sum_over_time` and `avg_over_time`.
pub(super) fn folded(
    points: &Points<'_>,
    view: &View,
    is_mean: bool,
    (hints, found): (&mut Hints, &mut Found),
) -> Outcome {
    if !view.floats.is_empty() {
        found.add(HistogramNote::MixedRange);
        return Outcome::Nothing;
    }
    let all = points.histograms;
    let mut seen = [false; 2];
    let mut hinted = view.histograms.clone().map(|at| {
        let hint = hints.of(points, at);
        seen[0] |= hint == ResetHint::Reset;
        seen[1] |= hint == ResetHint::NotReset;
        let mut total = Total::of(&all[at]);
        total.set_hint(hint);
        total
    });
    let Some(first) = hinted.next() else { return Outcome::Nothing };
    let fold = || {
        let mut notes = Notes::default();
        if is_mean {
            let mut mean = Mean::from(first);
            for total in hinted {
                notes |= mean.merge(Mean::from(total))?;
            }
            return Ok((mean.finish(), notes));
        }
        let mut sum = first;
        for total in hinted {
            notes |= sum.merge(total)?;
        }
        Ok::<_, Incompatible>((sum.finish(), notes))
    };
    let Ok((histogram, notes)) = fold() else {
        found.add(HistogramNote::MixedSchemas);
        return Outcome::Nothing;
    };
    if seen == [true; 2] {
        found.add(HistogramNote::ResetsCollide(Operation::Aggregation));
    }
    found.add_sum(notes, Operation::Aggregation);
    Outcome::histogram(histogram)
}

/// A sample of either kind.
enum Sample<'a> {
    Float(f64),
    Histogram(&'a Histogram),
}

/// How often two neighbouring samples of a window make a counter reset, or differ (`changes`). Between a float and
/// a histogram they always do.
pub(super) fn transitions(points: &Points<'_>, view: &View, is_resets: bool) -> Outcome {
    let (mut floats, mut histograms) = (view.floats.clone(), view.histograms.clone());
    let next = || {
        let float_ms = floats.clone().next().map(|at| points.floats.timestamps[at]);
        let histogram_ms = histograms.clone().next().map(|at| points.times[at]);
        let float_is_first = match (float_ms, histogram_ms) {
            (Some(float), Some(histogram)) => float < histogram,
            (float, _) => float.is_some(),
        };
        if float_is_first {
            floats.next().map(|at| Sample::Float(points.floats.values[at]))
        } else {
            histograms.next().map(|at| Sample::Histogram(&points.histograms[at]))
        }
    };
    let mut samples = std::iter::from_fn(next);
    let Some(mut before) = samples.next() else { return Outcome::Nothing };
    let mut count = 0;
    for now in samples {
        let counts = match (&before, &now) {
            (Sample::Float(before), Sample::Float(now)) if is_resets => now < before,
            (Sample::Float(before), Sample::Float(now)) => {
                before.partial_cmp(now).is_some_and(Ordering::is_ne) || before.is_nan() != now.is_nan()
            }
            (Sample::Histogram(before), Sample::Histogram(now)) if is_resets => is_reset(now, before),
            (Sample::Histogram(before), Sample::Histogram(now)) => !same(now, before),
            _ => true,
        };
        count += usize::from(counts);
        before = now;
    }
    Outcome::Float(count_to_f64(count))
}
