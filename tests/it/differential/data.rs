//! The seeded data: everything that selectors, windows and aggregations may stumble over.
//!
//! 50 minutes of counters with resets, gauges with negative values, NaN and infinities, stale markers, gaps,
//! irregular timestamps, series that end or come back, and label sets that nearly are one another.

use quipu::model::{Histogram, STALE_NAN};

use super::dice::Dice;
use super::histograms::Native;

/// The first sample, ms: 2023-11-14T22:13:20Z.
pub(super) const START_MS: i64 = 1_700_000_000_000;
/// No sample is later than this after the first.
pub(super) const LENGTH_MS: i64 = 50 * 60_000;

/// What the grammar has to know of a metric.
pub(super) struct Metric {
    pub(super) name: &'static str,
    /// Labels and their values.
    pub(super) labels: &'static [(&'static str, &'static [&'static str])],
    /// No finite value is further from zero.
    pub(super) bound: f64,
    /// No two series ever have the same value, and none is NaN.
    pub(super) distinct: bool,
    pub(super) kind: Kind,
}

/// What the samples of a metric are.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// A gauge that is NaN or infinite now and then.
    Broken,
    /// 0 and 1.
    Flag,
    /// It ends, with or without a stale marker, or comes back, by its number.
    Ending,
    /// One sample in seven minutes: longer than the lookback.
    Sparse,
    /// Large values of both signs beside small ones.
    Cancelling,
    Tiny,
    /// So large that sums overflow; all positive, so that the order does not decide which.
    Huge,
    /// One sample in all.
    Single,
    /// Buckets of classic histograms, which nearly always grow with their bound; the same times for all.
    Bucket,
    /// Native histograms; `histograms` makes them.
    Native(Native),
}

pub(super) const fn metric(
    name: &'static str,
    labels: &'static [(&'static str, &'static [&'static str])],
    bound: f64,
    distinct: bool,
    kind: Kind,
) -> Metric {
    Metric { name, labels, bound, distinct, kind }
}

/// The metrics. An empty label value is an absent label.
pub(super) static METRICS: [Metric; 17] = [
    metric(
        "requests_total",
        &[("code", &["200", "500"]), ("instance", &["0", "1", "2"]), ("job", &["api", "web"])],
        1e6,
        true,
        Kind::Counter,
    ),
    metric("bytes_sum", &[("dc", &["a", "b"]), ("job", &["api", ""])], 1e6, true, Kind::Counter),
    metric("queue", &[("job", &["api", "web", "db"])], 1e6, true, Kind::Counter),
    metric("temperature", &[("room", &["kitchen", "cellar", "am Dach", "ü", ""])], 1e3, false, Kind::Broken),
    metric("level", &[("tank", &["1", "2", "10", "11"])], 1e3, true, Kind::Gauge),
    metric("near", &[("a", &["1", "1 ", ""]), ("b", &["1", ""])], 1e3, true, Kind::Gauge),
    metric("twin_a", &[("x", &["1", "2"])], 1e3, true, Kind::Gauge),
    metric("twin_b", &[("x", &["1", "2"])], 1e3, true, Kind::Gauge),
    metric("switch", &[("host", &["a", "b", "c", "d"])], 1.0, false, Kind::Flag),
    metric("ended", &[("k", &["1", "2", "3", "4"])], 1e3, true, Kind::Ending),
    metric("sparse", &[("n", &["1", "2", "3"])], 1e3, true, Kind::Sparse),
    metric("wide", &[("id", &["1", "2", "3"])], 2e16, false, Kind::Cancelling),
    metric("tiny", &[("id", &["1", "2"])], 1e-299, true, Kind::Tiny),
    metric("huge", &[("id", &["1", "2", "3"])], 1.7e308, true, Kind::Huge),
    metric("single", &[("id", &["1", "2"])], 1e3, true, Kind::Single),
    metric(
        "latency_bucket",
        &[("job", &["api", "web"]), ("le", &["0.1", "0.5", "1", "2.5", "+Inf"])],
        1e6,
        false,
        Kind::Bucket,
    ),
    // Not sorted, equal, missing and malformed bounds.
    metric("odd_bucket", &[("le", &["-1", "0", "1", "1.0", "x", "+Inf", ""])], 1e6, false, Kind::Bucket),
];

/// A series as it is sent.
pub(super) struct Series {
    /// Sorted by name.
    pub(super) labels: Vec<(&'static str, &'static str)>,
    pub(super) samples: Vec<(i64, f64)>,
    /// Native histograms; no time is in both.
    pub(super) histograms: Vec<(i64, Histogram)>,
}

/// Neighbouring samples of one kind.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) samples: Vec<(i64, f64)>,
    pub(super) histograms: Vec<(i64, Histogram)>,
}

impl Series {
    /// The samples from `from` to before `to`, cut where their kind changes.
    pub(super) fn turns(&self, from: i64, to: i64) -> Vec<Turn> {
        let mut turns: Vec<Turn> = Vec::new();
        let mut histograms = self.histograms.iter().filter(|(time, _)| (from..to).contains(time)).peekable();
        let mut samples = self.samples.iter().filter(|(time, _)| (from..to).contains(time)).peekable();
        while samples.peek().is_some() || histograms.peek().is_some() {
            let mut turn = Turn::default();
            let until = histograms.peek().map_or(i64::MAX, |(time, _)| *time);
            turn.samples.extend(std::iter::from_fn(|| samples.next_if(|(time, _)| *time < until)));
            if turn.samples.is_empty() {
                let until = samples.peek().map_or(i64::MAX, |(time, _)| *time);
                let next = || histograms.next_if(|(time, _)| *time < until);
                turn.histograms.extend(std::iter::from_fn(next).cloned());
            }
            turns.push(turn);
        }
        turns
    }
}

/// All series of a seed.
pub(super) fn all(dice: &mut Dice) -> Vec<Series> {
    let mut series = Vec::new();
    for metric in &METRICS {
        for (number, mut labels) in label_sets(metric.labels).into_iter().enumerate() {
            labels.push(("__name__", metric.name));
            labels.retain(|(_, value)| !value.is_empty());
            labels.sort_unstable();
            let mut samples = match metric.kind {
                Kind::Counter => counter(dice, number),
                Kind::Bucket => bucket(dice, number),
                kind => gauge(dice, kind, number),
            };
            samples.retain(|(time, _)| *time <= START_MS + LENGTH_MS);
            series.push(Series { labels, samples, histograms: Vec::new() });
        }
    }
    series
}

pub(super) fn label_sets(
    labels: &[(&'static str, &'static [&'static str])],
) -> Vec<Vec<(&'static str, &'static str)>> {
    let mut sets = vec![Vec::new()];
    for (name, values) in labels {
        let with = |set: &Vec<_>, value| [set.as_slice(), &[(*name, value)]].concat();
        sets = sets.iter().flat_map(|set| values.iter().map(move |value| with(set, *value))).collect();
    }
    sets
}

/// The times of a series: on a grid, beside it, or anywhere; some have gaps.
pub(super) fn times(dice: &mut Dice, interval_ms: i64) -> Vec<i64> {
    let (jitter, gaps) = (*dice.pick(&[0, 0, 3, 900]), dice.percent(60));
    let anywhere = dice.percent(20);
    let mut times = Vec::new();
    let mut due = START_MS + dice.between(0, interval_ms / 1_000) * 1_000;
    while due < START_MS + LENGTH_MS {
        times.push(due + dice.between(-jitter, jitter));
        due += if anywhere { dice.between(2_000, 2 * interval_ms) } else { interval_ms };
        if gaps && dice.percent(2) {
            due += dice.between(1, 9) * 60_000;
        }
    }
    times.dedup();
    times
}

fn counter(dice: &mut Dice, number: usize) -> Vec<(i64, f64)> {
    let interval = *dice.pick(&[5_000, 10_000, 15_000]);
    let fraction = dice.percent(50);
    // Distinct between series from the first value on.
    let mut value = f64::from(u32::try_from(number).expect("small")) * 1.0625 + dice.unit() * 1e3;
    value =
        if fraction { value } else { value.floor() + f64::from(u8::try_from(number).expect("small")) / 64.0 };
    let mut samples = Vec::new();
    for time in times(dice, interval) {
        let step = dice.unit() * 50.0;
        value += if fraction { step } else { step.floor() };
        if dice.percent(2) {
            value = dice.unit();
        }
        samples.push((time, value));
        if dice.percent(1) {
            samples.push((time + 1_000, f64::from_bits(STALE_NAN)));
        }
    }
    samples
}

fn gauge(dice: &mut Dice, kind: Kind, number: usize) -> Vec<(i64, f64)> {
    let interval = if matches!(kind, Kind::Sparse) { 420_000 } else { *dice.pick(&[10_000, 15_000, 30_000]) };
    let mut times = times(dice, interval);
    let middle = START_MS + LENGTH_MS / 2;
    if matches!(kind, Kind::Single) {
        times.retain(|time| *time > middle);
        times.truncate(1);
    }
    let mut value = 0.0;
    let mut samples = Vec::new();
    for (at, time) in times.into_iter().enumerate() {
        value = match kind {
            Kind::Broken => broken(dice, value),
            Kind::Flag if number == 0 => 1.0,
            Kind::Flag if dice.percent(10) => 1.0 - value,
            Kind::Flag => value,
            Kind::Cancelling => {
                let large = f64::from(u8::from(dice.percent(50))) * 2e16 - 1e16;
                let small = dice.unit();
                *dice.pick(&[large, large, small, -1.0])
            }
            Kind::Huge => (dice.unit() + 1.0) * 8e307,
            Kind::Tiny => (dice.unit() - 0.5) * 1e-299,
            _ => (dice.unit() - 0.5) * 200.0,
        };
        let value = match (kind, number) {
            (Kind::Ending, 0) if time > middle => break,
            (Kind::Ending, 1) if time > middle => f64::from_bits(STALE_NAN),
            (Kind::Ending, 2) if (middle..middle + 600_000).contains(&time) => continue,
            (Kind::Ending, 3) if at % 3 == 2 => f64::from_bits(STALE_NAN),
            _ => value,
        };
        samples.push((time, value));
        if matches!((kind, number), (Kind::Ending, 1)) && time > middle {
            break;
        }
    }
    samples
}

/// A bucket of two histograms of five buckets; now and then it is behind the bucket below.
fn bucket(dice: &mut Dice, number: usize) -> Vec<(i64, f64)> {
    const SHARES: [f64; 5] = [0.1, 0.35, 0.35, 0.8, 1.0];
    let (share, scale) = (SHARES[number % 5], if number < 5 { 1.0 } else { 3.0 });
    let mut samples = Vec::new();
    for at in 0..LENGTH_MS / 15_000 {
        // A restart in the middle.
        let since = if at < 120 { at } else { at - 120 };
        let observations = f64::from(i32::try_from(since * 7).expect("small")) * scale;
        let behind = if dice.percent(2) { 0.5 } else { 1.0 };
        samples.push((START_MS + at * 15_000, (observations * share * behind).floor()));
    }
    samples
}

fn broken(dice: &mut Dice, before: f64) -> f64 {
    match dice.below(30) {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        3 => 0.0,
        4 => -0.0,
        5..=8 => before,
        _ => (dice.unit() - 0.6) * 100.0,
    }
}
