//! Classic histograms: what the buckets of one histogram at one time say. Pure.
//!
//! Source of the rules: Prometheus 3.14, `promql/quantile.go`.

use std::cmp::Ordering;

/// How many observations are at most `bound`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) bound: f64,
    pub(crate) count: f64,
}

/// Counts that went down from one bucket to the next and were raised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Raised {
    /// The lowest and the highest bound.
    pub(crate) bounds: (f64, f64),
    /// By how much at most.
    pub(crate) difference: f64,
}

/// Differences of neighbouring counts that are relatively smaller come from rounding.
const TOLERANCE: f64 = 1e-12;

/// A quantile, interpolated linearly within its bucket; buckets (not empty) are sorted by their bound. NaN for NaN, for
/// no observations, without a bucket `+Inf` and without another one; ∓∞ below 0 and above 1; the second highest bound
/// where it lies above that.
pub(crate) fn quantile(quantile: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Raised>) {
    if let Some(outside) = super::kernel::order::outside(quantile) {
        return (outside, None);
    }
    if !ends_infinite(buckets) {
        return (f64::NAN, None);
    }
    coalesce(buckets);
    let raised = raise(buckets);
    let (last, observations) = (buckets.len() - 1, buckets[buckets.len() - 1].count);
    if last == 0 || observations == 0.0 {
        return (f64::NAN, raised);
    }
    let rank = quantile * observations;
    let at = search(&buckets[..last], |bucket| bucket.count >= rank);
    let bucket = buckets[at];
    let value = match at.checked_sub(1).map(|below| buckets[below]) {
        Some(below) if at == last => below.bound,
        Some(below) => {
            let share = (rank - below.count) / (bucket.count - below.count);
            below.bound + (bucket.bound - below.bound) * share
        }
        None if bucket.bound <= 0.0 => bucket.bound,
        None => bucket.bound * (rank / bucket.count),
    };
    (value, raised)
}

/// The share of the observations between two values; buckets (not empty) are sorted by their bound.
pub(crate) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !ends_infinite(buckets) {
        return f64::NAN;
    }
    coalesce(buckets);
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, count, buckets) - rank_of(lower, count, buckets)) / count
}

/// How many observations are below a value.
fn rank_of(value: f64, count: f64, buckets: &[Bucket]) -> f64 {
    // All observations are positive when the first bound is.
    let mut below = if buckets[0].bound > 0.0 { 0.0 } else { f64::NEG_INFINITY };
    let mut rank = 0.0;
    for bucket in buckets {
        if below >= value {
            return if rank > count { count } else { rank };
        }
        if bucket.bound > value {
            // A bucket without a lower end is not divided: all of it counts.
            let inside = if below == f64::NEG_INFINITY {
                bucket.count
            } else {
                rank + (bucket.count - rank) * (value - below) / (bucket.bound - below)
            };
            return if inside > count { count } else { inside };
        }
        (below, rank) = (bucket.bound, bucket.count);
    }
    count
}

fn ends_infinite(buckets: &[Bucket]) -> bool {
    buckets.last().is_some_and(|bucket| bucket.bound == f64::INFINITY)
}

/// Makes buckets with the same bound one.
#[expect(clippy::float_cmp, reason = "bounds are the same or they are not")]
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, kept| {
        let same = next.bound == kept.bound;
        if same {
            kept.count += next.count;
        }
        same
    });
}

/// Raises every count to the highest before it; what differs by rounding only becomes equal, in either direction.
#[expect(clippy::float_cmp, reason = "equal counts need no care")]
fn raise(buckets: &mut [Bucket]) -> Option<Raised> {
    let mut raised: Option<Raised> = None;
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count == before {
            continue;
        }
        if is_rounding(before, bucket.count) {
            bucket.count = before;
        } else if bucket.count < before {
            let difference = before - bucket.count;
            bucket.count = before;
            let known =
                raised.get_or_insert(Raised { bounds: (bucket.bound, bucket.bound), difference: 0.0 });
            known.bounds = (known.bounds.0.min(bucket.bound), known.bounds.1.max(bucket.bound));
            known.difference = known.difference.max(difference);
        } else {
            before = bucket.count;
        }
    }
    raised
}

/// Whether two different counts are the same but for rounding; two NaN are.
fn is_rounding(a: f64, b: f64) -> bool {
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a.is_nan() && b.is_nan() {
        return true;
    }
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// Go's `sort.Search`, which gives a defined answer even where the condition does not stay true (NaN).
fn search(buckets: &[Bucket], holds: impl Fn(&Bucket) -> bool) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if holds(&buckets[middle]) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The bound that a label `le` names, as Go's `strconv.ParseFloat` reads it (decimal only).
pub(crate) fn parse_bound(le: &str) -> Option<f64> {
    let bound: f64 = le.parse().ok()?;
    let has_digits = le.bytes().any(|byte| byte.is_ascii_digit());
    let is_signed = le.starts_with(['+', '-']);
    // Beyond the range, and a NaN with a sign.
    let refused = bound.is_infinite() && has_digits || bound.is_nan() && is_signed;
    (!refused).then_some(bound)
}

/// The order of bounds.
pub(crate) fn by_bound(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.total_cmp(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs.iter().map(|(bound, count)| Bucket { bound: *bound, count: *count }).collect()
    }

    const GOOD: [(f64, f64); 4] = [(0.1, 1.0), (0.2, 3.0), (1.0, 4.0), (f64::INFINITY, 5.0)];

    fn of(q: f64, pairs: &[(f64, f64)]) -> f64 {
        quantile(q, &mut buckets(pairs)).0
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let near = |got: f64, wanted: f64| assert!((got - wanted).abs() < 1e-15, "{got} {wanted}");
        near(of(0.5, &GOOD), 0.1 + 0.1 * 0.75);
        near(of(0.1, &GOOD), 0.05);
        near(of(0.0, &GOOD), 0.0);
        near(of(0.95, &GOOD), 1.0);
        near(of(0.0, &[(-1.0, 1.0), (f64::INFINITY, 1.0)]), -1.0);
        near(of(0.5, &[(1.0, 1.0), (1.0, 1.0), (f64::INFINITY, 2.0)]), 0.5);
        assert_eq!((of(-1.0, &GOOD), of(2.0, &GOOD)), (f64::NEG_INFINITY, f64::INFINITY));
        for bad in [&GOOD[..3], &GOOD[3..], &[(1.0, 0.0), (f64::INFINITY, 0.0)]] {
            assert!(of(0.5, bad).is_nan(), "{bad:?}");
        }
        assert!(of(f64::NAN, &GOOD).is_nan());
    }

    #[test]
    fn counts_that_go_down_are_raised_and_said() {
        let mut down = buckets(&[(1.0, 5.0), (2.0, 3.0), (3.0, 4.0), (f64::INFINITY, 6.0)]);
        let (_, raised) = quantile(0.5, &mut down);
        assert_eq!(raised, Some(Raised { bounds: (2.0, 3.0), difference: 2.0 }));
        let mut rounded = buckets(&[(1.0, 5.0), (2.0, 5.0 - 1e-13), (f64::INFINITY, 6.0)]);
        let (_, raised) = quantile(0.5, &mut rounded);
        assert_eq!((raised, rounded[1].count), (None, 5.0));
    }

    #[test]
    fn a_fraction_is_a_difference_of_ranks() {
        let share = |lower, upper| fraction(lower, upper, &mut buckets(&GOOD));
        assert_eq!((share(0.0, 0.2), share(0.2, 0.2), share(-5.0, f64::INFINITY)), (0.6, 0.0, 1.0));
        assert!((share(0.05, 0.15) - 0.3).abs() < 1e-15);
        assert!(share(f64::NAN, 1.0).is_nan());
        let negative = [(-1.0, 2.0), (0.0, 3.0), (f64::INFINITY, 4.0)];
        let share = fraction(-2.0, 0.0, &mut buckets(&negative));
        assert!((share - 0.25).abs() < 1e-15, "the first bucket is not divided");
    }

    #[test]
    fn bounds_are_read_as_go_reads_them() {
        for (text, bound) in
            [("1", 1.0), ("+Inf", f64::INFINITY), ("-inf", f64::NEG_INFINITY), ("1e-3", 1e-3)]
        {
            assert_eq!(parse_bound(text), Some(bound));
        }
        for bad in ["", "x", "1e999", "+nan", " 1"] {
            assert_eq!(parse_bound(bad), None, "{bad}");
        }
        assert!(parse_bound("NaN").is_some_and(f64::is_nan));
    }
}
