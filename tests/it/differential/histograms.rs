//! The seeded native histograms: several resolutions, resets, gauges, custom borders, stale markers, NaN, and series
//! that have floats and histograms by turns.
//!
//! Counts never come near zero, not even after a reset: since 3.6 a rate is not extrapolated below it. A side that may
//! have buckets always has one: in Prometheus an empty bucket is there or not as the chunk needs it, and where a
//! quantile of the zero bucket lies depends on that.

use std::collections::BTreeMap;

use quipu::model::{CUSTOM_BUCKETS, Histogram, ResetHint, STALE_NAN, Span};

use super::data::{Kind, LENGTH_MS, Metric, START_MS, Series, label_sets, metric, times};
use super::dice::Dice;

/// What the samples of a metric are.
#[derive(Clone, Copy)]
pub(super) enum Native {
    /// Integers at schema 3.
    Counter,
    /// Floats with negative buckets at schema 1.
    Floats,
    Gauge,
    /// The same borders in all series.
    Custom,
    /// Each series has another resolution and another zero bucket.
    Widths,
    /// The resolution changes.
    Changing,
    /// Floats and histograms by turns.
    Mixed,
    /// It ends and comes back.
    Ending,
    /// NaN was observed.
    Nan,
    /// The sender says something about resets, right or wrong.
    Hinted,
}

const fn native(
    name: &'static str,
    labels: &'static [(&'static str, &'static [&'static str])],
    native: Native,
) -> Metric {
    metric(name, labels, 1e5, false, Kind::Native(native))
}

/// The metrics, beside those of floats.
pub(super) static NATIVES: [Metric; 10] = [
    native("nh_requests", &[("instance", &["0", "1"]), ("job", &["api", "web"])], Native::Counter),
    native("nh_floats", &[("job", &["api", "web", "db"])], Native::Floats),
    native("nh_gauge", &[("room", &["kitchen", "cellar"])], Native::Gauge),
    native("nh_custom", &[("x", &["1", "2", "3"])], Native::Custom),
    native("nh_widths", &[("x", &["1", "2", "3"])], Native::Widths),
    native("nh_changing", &[("x", &["1", "2"])], Native::Changing),
    native("nh_mixed", &[("job", &["api", "web"])], Native::Mixed),
    native("nh_ending", &[("k", &["1", "2"])], Native::Ending),
    native("nh_nan", &[("x", &["1"])], Native::Nan),
    native("nh_hinted", &[("x", &["1", "2"])], Native::Hinted),
];

/// All series with histograms of a seed.
pub(super) fn all(dice: &mut Dice) -> Vec<Series> {
    let mut series = Vec::new();
    for metric in &NATIVES {
        let Kind::Native(native) = metric.kind else { continue };
        for (number, mut labels) in label_sets(metric.labels).into_iter().enumerate() {
            labels.push(("__name__", metric.name));
            labels.sort_unstable();
            let (samples, histograms) = one(dice, native, number);
            series.push(Series { labels, samples, histograms });
        }
    }
    series
}

type Rows<T> = Vec<(i64, T)>;

fn one(dice: &mut Dice, native: Native, number: usize) -> (Rows<f64>, Rows<Histogram>) {
    const BORDERS: [f64; 5] = [0.1, 0.5, 1.0, 2.5, 10.0];
    let (mut floats, mut histograms) = (Vec::new(), Vec::new());
    let mut count = Counted::default();
    count.begin(dice, native, BORDERS.len());
    let mut schema = 3;
    for (at, time) in
        times(dice, 15_000).into_iter().enumerate().filter(|(_, time)| *time <= START_MS + LENGTH_MS)
    {
        if matches!(native, Native::Gauge) {
            count = Counted::default();
            count.begin(dice, native, BORDERS.len());
        } else if dice.percent(2) {
            count.reset();
        }
        match native {
            Native::Custom => count.observe_custom(dice, BORDERS.len()),
            _ => count.observe(dice, native),
        }
        if matches!(native, Native::Changing) && dice.percent(8) {
            schema = *dice.pick(&[3, 2, 1, 0, -1]);
        }
        let mut histogram = count.histogram(native);
        match native {
            Native::Custom => histogram.custom_bounds = BORDERS.to_vec(),
            Native::Hinted => {
                use ResetHint::{NotReset, Reset, Unknown};
                histogram.reset_hint = *dice.pick(&[Unknown, NotReset, NotReset, Reset]);
            }
            Native::Changing => histogram = histogram.at_schema(schema),
            Native::Floats => histogram = histogram.at_schema(1),
            Native::Widths => {
                histogram = histogram.at_schema([3, 1, -1][number]);
                histogram.zero_threshold = [0.001, 0.0, 1e-9][number];
            }
            Native::Mixed if at / 12 % 2 == number % 2 => {
                floats.push((time, histogram.count));
                continue;
            }
            Native::Ending if at % 40 > 20 => {
                if at % 40 == 21 {
                    histogram = Histogram { sum: f64::from_bits(STALE_NAN), ..Histogram::default() };
                    histograms.push((time, histogram));
                }
                continue;
            }
            _ => {}
        }
        histograms.push((time, histogram));
    }
    (floats, histograms)
}

/// What was observed, at schema 3 or in custom buckets.
#[derive(Default)]
struct Counted {
    positive: BTreeMap<i32, f64>,
    negative: BTreeMap<i32, f64>,
    zero: f64,
    nan: f64,
    sum: f64,
}

impl Counted {
    fn begin(&mut self, dice: &mut Dice, native: Native, borders: usize) {
        for _ in 0..40 {
            match native {
                Native::Custom => self.observe_custom(dice, borders),
                _ => self.observe(dice, native),
            }
        }
    }

    /// Loses most of what was counted.
    fn reset(&mut self) {
        let counts = self.positive.values_mut().chain(self.negative.values_mut());
        counts.for_each(|count| *count = (*count / 3.0).ceil());
        (self.zero, self.nan) = ((self.zero / 3.0).ceil(), (self.nan / 3.0).ceil());
        self.sum /= 3.0;
    }

    fn observe_custom(&mut self, dice: &mut Dice, borders: usize) {
        for _ in 0..dice.below(6) {
            let index = i32::try_from(dice.below(borders + 1)).expect("a few");
            *self.positive.entry(index).or_default() += 1.0;
            self.sum += f64::from(index) + dice.unit();
        }
    }

    fn observe(&mut self, dice: &mut Dice, native: Native) {
        for _ in 0..dice.below(8) {
            let index = i32::try_from(dice.between(-20, 30)).expect("a few");
            let weight = if matches!(native, Native::Floats) { dice.unit() } else { 1.0 };
            let side = match native {
                Native::Floats | Native::Gauge if dice.percent(40) => &mut self.negative,
                _ => &mut self.positive,
            };
            *side.entry(index).or_default() += weight;
            self.sum += f64::from(index) + dice.unit();
        }
        if dice.percent(20) {
            self.zero += 1.0;
        }
        if matches!(native, Native::Nan) && dice.percent(5) {
            (self.nan, self.sum) = (self.nan + 1.0, f64::NAN);
        }
    }

    fn histogram(&self, native: Native) -> Histogram {
        let (positive_spans, positive) = spans(&self.positive);
        let (negative_spans, negative) = spans(&self.negative);
        let is_custom = matches!(native, Native::Custom);
        let count = positive.iter().chain(&negative).sum::<f64>() + self.zero + self.nan;
        Histogram {
            schema: if is_custom { CUSTOM_BUCKETS } else { 3 },
            is_float: matches!(native, Native::Floats | Native::Gauge),
            reset_hint: if matches!(native, Native::Gauge) { ResetHint::Gauge } else { ResetHint::Unknown },
            zero_threshold: if is_custom { 0.0 } else { 0.001 },
            zero_count: self.zero,
            count,
            sum: self.sum,
            positive_spans,
            negative_spans,
            positive,
            negative,
            custom_bounds: Vec::new(),
        }
    }
}

fn spans(buckets: &BTreeMap<i32, f64>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut next) = (Vec::<Span>::new(), 0);
    for index in buckets.keys() {
        match spans.last_mut() {
            Some(span) if *index == next => span.length += 1,
            _ => spans.push(Span { offset: index - next, length: 1 }),
        }
        next = index + 1;
    }
    (spans, buckets.values().copied().collect())
}
