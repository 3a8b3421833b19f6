//! The instant selector: the newest sample within the lookback, unless a stale marker is newer. And the newest of
//! the best samples of a window.

use super::Samples;
use super::bits;
use super::edges::Edges;

/// Fills `value(index of the newest sample)` for every step. A marker newer than the sample (or at its time)
/// and inside the window means that the series had ended: no value, and no older sample instead.
pub(super) fn newest(
    edges: &Edges,
    samples: &Samples<'_>,
    out: &mut [f64],
    valid: &mut [u64],
    value: impl Fn(usize) -> f64,
) -> usize {
    let (lows, highs) = (edges.lows(), edges.highs());
    for ((out, low), high) in out.iter_mut().zip(lows).zip(highs) {
        *out = if high > low { value(*high as usize - 1) } else { 0.0 };
    }
    let set = bits::fill(valid, lows.len(), |step| highs[step] > lows[step]);
    if samples.stale_at.is_empty() || set == 0 {
        return set;
    }
    let mut seen = 0;
    for (step, out) in out.iter_mut().enumerate() {
        let end = edges.windows().end_ms(step);
        while seen < samples.stale_at.len() && samples.stale_at[seen] <= end {
            seen += 1;
        }
        let ended = seen > 0
            && bits::get(valid, step)
            && samples.stale_at[seen - 1] >= samples.timestamps[highs[step] as usize - 1];
        if ended {
            *out = 0.0;
            bits::clear(valid, step);
        }
    }
    bits::count(valid)
}

/// The index of the last value that beats or equals all before; NaN is beaten by everything.
pub(super) fn best(values: &[f64], beats: impl Fn(f64, f64) -> bool) -> usize {
    let mut found = 0;
    for (at, value) in values.iter().enumerate() {
        if beats(*value, values[found]) || values[found].is_nan() {
            found = at;
        }
    }
    found
}
