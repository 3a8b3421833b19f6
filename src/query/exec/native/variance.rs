//! The variance of the observations of one histogram, estimated from its buckets.

use super::super::kernel::compensated::Sum;
use super::buckets::{Bucket, buckets, is_custom};
use crate::model::Histogram;

/// The variance, as if all observations of a bucket stood in its middle: the geometric one of exponential
/// buckets. Source: Prometheus 3.14, `promql/functions.go` (`histogramVariance`).
pub(crate) fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut sum = Sum::default();
    for bucket in buckets(histogram).into_iter().filter(|bucket| bucket.count != 0.0) {
        let Bucket { lower, upper, .. } = bucket;
        let middle = if is_custom(histogram) {
            f64::midpoint(upper, lower)
        } else if lower <= 0.0 && upper >= 0.0 {
            0.0
        } else {
            (upper * lower).sqrt().copysign(upper)
        };
        let delta = middle - mean;
        sum.add_in_order(bucket.count * delta * delta);
    }
    (sum.high + sum.low) / histogram.count
}
