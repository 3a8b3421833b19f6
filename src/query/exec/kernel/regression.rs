//! The line of least squares through the samples of a window: `deriv` and `predict_linear`.
//!
//! Every window is read again from its first sample, with compensated sums in Prometheus' order: the slope is a
//! difference of nearly equal numbers, and another order changes digits that users see.

use super::Samples;
use super::bits;
use super::compensated::Sum;
use super::edges::Edges;
use crate::model::time::ms_to_f64;

/// Slope (per second) and value at a time, of at least two samples. A constant series has no slope; one that is
/// constantly infinite has neither.
#[expect(clippy::float_cmp, reason = "a series is constant when its values are the same")]
fn line(timestamps: &[i64], values: &[f64], time_ms: i64) -> (f64, f64) {
    let first = values[0];
    if values.iter().all(|value| *value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let mut count = 0.0;
    let (mut x, mut y, mut xy, mut xx) = (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for (timestamp, value) in timestamps.iter().zip(values) {
        count += 1.0;
        let seconds = ms_to_f64(timestamp.wrapping_sub(time_ms)) / 1e3;
        x.add_in_order(seconds);
        y.add_in_order(*value);
        xy.add_in_order(seconds * value);
        xx.add_in_order(seconds * seconds);
    }
    let whole = |sum: Sum| sum.high + sum.low;
    let (x, y, xy, xx) = (whole(x), whole(y), whole(xy), whole(xx));
    let slope = (xy - x * y / count) / (xx - x * x / count);
    (slope, y / count - slope * x / count)
}

/// `deriv`: the slope, where there are two samples.
pub(super) fn deriv(edges: &Edges, samples: &Samples<'_>, out: &mut [f64], valid: &mut [u64]) -> usize {
    for (step, out) in out.iter_mut().enumerate() {
        let window = edges.range(step);
        *out = 0.0;
        if window.len() > 1 {
            let (timestamps, values) = (&samples.timestamps[window.clone()], &samples.values[window]);
            *out = line(timestamps, values, timestamps[0]).0;
        }
    }
    bits::fill(valid, edges.lows().len(), |step| edges.range(step).len() > 1)
}

/// `predict_linear`: where the line is so many seconds after a time.
pub(super) fn predict(timestamps: &[i64], values: &[f64], time_ms: i64, seconds: f64) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let (slope, intercept) = line(timestamps, values, time_ms);
    Some(slope * seconds + intercept)
}
