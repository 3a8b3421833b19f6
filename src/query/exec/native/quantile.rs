//! What is estimated from the buckets of one histogram: quantiles and fractions.
//!
//! Inside an exponential bucket observations are taken to be spread evenly over the logarithm, inside the zero
//! bucket and custom buckets evenly over the value. Source: Prometheus 3.14, `promql/quantile.go`
//! (`HistogramQuantile`, `HistogramFraction`).

use super::buckets::{Bucket, buckets, is_custom};
use crate::model::Histogram;
use crate::query::plan::HistogramNote;

/// The value below which the part `q` of the observations lies, and what has to be said about it.
pub(crate) fn quantile(q: f64, histogram: &Histogram) -> (f64, Option<HistogramNote>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    let mut all = buckets(histogram);
    // Observations that are NaN are counted but stand in no bucket: then ranks are right from below only.
    let from_below = histogram.sum.is_nan() || q < 0.5;
    if !from_below {
        all.reverse();
    }
    let rank = if from_below { q * histogram.count } else { (1.0 - q) * histogram.count };
    let (mut bucket, mut count, mut seen) = (NONE, 0.0, 0);
    for found in &all {
        seen += 1;
        bucket = *found;
        count += found.count;
        if found.count != 0.0 && count >= rank {
            break;
        }
    }
    if let Some(at_the_end) = narrow(histogram, &mut bucket) {
        return (at_the_end, None);
    }
    // Rounding must not give more observations than there are.
    count = count.min(histogram.count);
    if count < rank {
        return if histogram.sum.is_nan() {
            (f64::NAN, Some(HistogramNote::QuantileIsNan))
        } else {
            (bucket.upper, None)
        };
    }
    let rank = if from_below { rank - (count - bucket.count) } else { count - rank };
    let in_buckets = all[seen..].iter().fold(count, |count, bucket| count + bucket.count);
    let skewed = histogram.sum.is_nan() && in_buckets < histogram.count;
    if let Some(last) = all[seen..].last().filter(|_| histogram.sum.is_nan()) {
        // Odd but certain: while it counts the rest, Prometheus forgets which bucket it had found.
        bucket = *last;
    }
    let value = inside(histogram, bucket, rank / bucket.count);
    (value, skewed.then_some(HistogramNote::QuantileIsSkewed))
}

const NONE: Bucket = Bucket { lower: 0.0, upper: 0.0, has_lower: false, has_upper: false, count: 0.0 };

/// Where all observations are on one side of zero, the zero bucket begins or ends there. A custom bucket without
/// an end gives the value at its other end.
fn narrow(histogram: &Histogram, bucket: &mut Bucket) -> Option<f64> {
    if !is_custom(histogram) {
        if bucket.lower < 0.0 && bucket.upper > 0.0 {
            one_sided(histogram, bucket);
        }
        return None;
    }
    if bucket.lower == f64::NEG_INFINITY {
        if bucket.upper <= 0.0 {
            return Some(bucket.upper);
        }
        bucket.lower = 0.0;
    } else if bucket.upper == f64::INFINITY {
        return Some(bucket.lower);
    }
    None
}

fn one_sided(histogram: &Histogram, bucket: &mut Bucket) {
    match (histogram.negative.is_empty(), histogram.positive.is_empty()) {
        (true, false) => bucket.lower = 0.0,
        (false, true) => bucket.upper = 0.0,
        _ => {}
    }
}

/// The value at a fraction of a bucket.
fn inside(histogram: &Histogram, bucket: Bucket, fraction: f64) -> f64 {
    let Bucket { lower, upper, .. } = bucket;
    if is_custom(histogram) || (lower <= 0.0 && upper >= 0.0) {
        return lower + (upper - lower) * fraction;
    }
    let (low, high) = (lower.abs().log2(), upper.abs().log2());
    if lower > 0.0 {
        return (low + (high - low) * fraction).exp2();
    }
    -(high + (low - high) * (1.0 - fraction)).exp2()
}

/// Which part of the observations lies between two values, and what has to be said about it.
pub(crate) fn fraction(lower: f64, upper: f64, histogram: &Histogram) -> (f64, Option<HistogramNote>) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let all = buckets(histogram);
    let in_buckets = all.iter().fold(0.0, |count, bucket| count + bucket.count);
    let has_nan = histogram.sum.is_nan();
    let count = if has_nan { in_buckets } else { histogram.count };
    let below = |value| below(value, histogram, &all).map_or(count, |rank: f64| rank.min(count));
    let note = (has_nan && in_buckets < histogram.count).then_some(HistogramNote::FractionWithoutNan);
    ((below(upper) - below(lower)) / histogram.count, note)
}

/// How many observations lie below a value; `None` where it is above all buckets.
fn below(value: f64, histogram: &Histogram, all: &[Bucket]) -> Option<f64> {
    let mut rank = 0.0;
    for bucket in all {
        let mut bucket = *bucket;
        let is_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if is_zero {
            one_sided(histogram, &mut bucket);
        }
        if bucket.lower >= value {
            return Some(rank);
        }
        if bucket.upper > value {
            // Without a lower end nothing can be interpolated: the whole bucket counts.
            if bucket.lower == f64::NEG_INFINITY && (is_custom(histogram) || is_zero) {
                return Some(bucket.count);
            }
            let is_linear = is_custom(histogram) || is_zero;
            return Some(rank + bucket.count * part_below(bucket, value, is_linear));
        }
        rank += bucket.count;
    }
    None
}

/// Which part of a bucket lies below a value inside it.
fn part_below(bucket: Bucket, value: f64, is_linear: bool) -> f64 {
    if is_linear {
        return (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let [low, high, at] = [bucket.lower, bucket.upper, value].map(|value| value.abs().log2());
    if value > 0.0 { (at - low) / (high - low) } else { 1.0 - (at - high) / (low - high) }
}
