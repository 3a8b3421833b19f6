//! Floats as integers that sort as `PromQL` sorts: NaN first, then from -∞ to +∞.

/// The sort key of a value; every NaN has the smallest.
#[inline]
pub(crate) fn key(value: f64) -> u64 {
    if value.is_nan() {
        return 0;
    }
    let bits = value.to_bits();
    let sign = bits >> 63;
    // Negative numbers are stored with growing magnitude: turn all their bits; positive ones go above them.
    bits ^ (sign.wrapping_neg() | 1 << 63)
}

/// The value of a key.
#[inline]
pub(crate) fn value(key: u64) -> f64 {
    if key == 0 {
        return f64::NAN;
    }
    f64::from_bits(if key >> 63 == 1 { key ^ (1 << 63) } else { !key })
}

/// Where a quantile of `count` sorted values lies: the lower index and the weight of the next one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the rank lies between 0 and count - 1, which the caller's 0 ≤ q ≤ 1 guarantees"
)]
pub(crate) fn rank(quantile: f64, count: usize) -> (usize, f64) {
    debug_assert!((0.0..=1.0).contains(&quantile) && count > 0);
    let rank = quantile * (crate::model::time::count_to_f64(count) - 1.0);
    let lower = rank.floor().max(0.0);
    ((lower as usize).min(count - 1), rank - rank.floor())
}

/// What a quantile outside of 0..=1 gives instead of a value of the data.
#[inline]
pub(crate) fn outside(quantile: f64) -> Option<f64> {
    if quantile.is_nan() {
        Some(f64::NAN)
    } else if quantile < 0.0 {
        Some(f64::NEG_INFINITY)
    } else if quantile > 1.0 {
        Some(f64::INFINITY)
    } else {
        None
    }
}

/// The quantile of the keys of some values (not empty); reorders them.
pub(crate) fn quantile_of_keys(quantile: f64, keys: &mut [u64]) -> f64 {
    if let Some(value) = outside(quantile) {
        return value;
    }
    let (lower, weight) = rank(quantile, keys.len());
    let (_, low, above) = keys.select_nth_unstable(lower);
    let low = *low;
    let high = above.iter().copied().min().unwrap_or(low);
    interpolate(value(low), value(high), weight)
}

/// Prometheus' interpolation; an infinite neighbour with weight 0 gives NaN there too.
#[inline]
pub(crate) fn interpolate(low: f64, high: f64, weight: f64) -> f64 {
    low * (1.0 - weight) + high * weight
}
