//! Histogram arithmetic against naive models, and what must hold of any histogram.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::buckets::{in_spans, indexed};
use super::compare::{is_reset, same};
use super::total::{Incompatible, Mean, Total};
use super::*;
use crate::model::{CUSTOM_BUCKETS, ResetHint};
use crate::query::plan::HistogramNote;

/// An exponential histogram of whole observations.
fn histogram(
    schema: i8,
    zero: (f64, u32),
    positive: &BTreeMap<i32, u32>,
    negative: &BTreeMap<i32, u32>,
) -> Histogram {
    let side =
        |side: &BTreeMap<i32, u32>| in_spans(side.iter().map(|(index, count)| (*index, f64::from(*count))));
    let ((positive_spans, positive), (negative_spans, negative)) = (side(positive), side(negative));
    let count = f64::from(zero.1) + positive.iter().sum::<f64>() + negative.iter().sum::<f64>();
    Histogram {
        schema,
        is_float: true,
        zero_threshold: zero.0,
        zero_count: f64::from(zero.1),
        count,
        sum: count * 1.5,
        positive_spans,
        negative_spans,
        positive,
        negative,
        ..Histogram::default()
    }
}

fn custom(bounds: &[f64], counts: &[f64]) -> Histogram {
    let (positive_spans, positive) = in_spans((0..).zip(counts.iter().copied()));
    let count = counts.iter().sum();
    let custom_bounds = bounds.to_vec();
    Histogram {
        schema: CUSTOM_BUCKETS,
        is_float: true,
        count,
        sum: 2.0 * count,
        positive_spans,
        positive,
        custom_bounds,
        ..Histogram::default()
    }
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    let side = || prop::collection::btree_map(-12..12, 0..5_u32, 0..6);
    let threshold = prop_oneof![Just(0.0), Just(0.001), Just(0.5), Just(0.7), Just(3.0)];
    (-1..4_i8, threshold, 0..4_u32, side(), side())
        .prop_map(|(schema, threshold, zero, positive, negative)| {
            histogram(schema, (threshold, zero), &positive, &negative)
        })
        // No bucket of a real histogram lies inside its zero bucket.
        .prop_map(|mut histogram| {
            let mut total = Total::of(&Histogram { zero_threshold: 0.0, ..histogram.clone() });
            total.widen_zero(histogram.zero_threshold);
            let zero_count = histogram.zero_count;
            histogram = Histogram { reset_hint: ResetHint::Unknown, ..total.finish() };
            histogram.zero_count = histogram.zero_count.max(zero_count);
            histogram.count = population(&histogram);
            histogram
        })
}

/// Observations in all buckets.
fn population(histogram: &Histogram) -> f64 {
    histogram.zero_count + histogram.positive.iter().sum::<f64>() + histogram.negative.iter().sum::<f64>()
}

fn sum(left: &Histogram, right: &Histogram) -> Result<Histogram, Incompatible> {
    let mut total = Total::of(left);
    total.add(right)?;
    Ok(total.finish())
}

fn equal(left: f64, right: f64) -> bool {
    left.to_bits() == right.to_bits() || (left - right).abs() == 0.0
}

#[test]
fn buckets_of_a_lower_resolution_and_a_wider_zero_bucket_come_together() {
    let fine = histogram(1, (0.001, 2), &(0..4).map(|index| (index, 1)).collect(), &BTreeMap::new());
    let coarse = histogram(0, (0.5, 1), &BTreeMap::from([(0, 3), (1, 4)]), &BTreeMap::from([(2, 1)]));
    let total = sum(&fine, &coarse).expect("both are exponential");
    assert_eq!(total.schema, 0);
    assert!(equal(total.zero_threshold, 0.5) && equal(total.zero_count, 3.0));
    let positive: Vec<(i32, f64)> = indexed(&total.positive_spans, &total.positive).collect();
    // Buckets 0 to 3 of schema 1 are 0, 1, 1, 2 of schema 0.
    assert_eq!(positive, [(0, 4.0), (1, 6.0), (2, 1.0)]);
    assert_eq!(indexed(&total.negative_spans, &total.negative).collect::<Vec<_>>(), [(2, 1.0)]);
    assert!(equal(total.count, fine.count + coarse.count));
}

#[test]
fn a_zero_bucket_ends_at_no_populated_buckets_inside() {
    // 0.75 lies inside the populated bucket (0.5, 1]: the zero bucket grows to 1.
    let wide = histogram(0, (0.75, 1), &BTreeMap::from([(3, 1)]), &BTreeMap::new());
    let narrow = histogram(0, (0.001, 0), &BTreeMap::from([(0, 5), (1, 7)]), &BTreeMap::from([(-3, 2)]));
    let total = sum(&wide, &narrow).expect("both are exponential");
    assert!(equal(total.zero_threshold, 1.0) && equal(total.zero_count, 8.0), "{total:?}");
    assert_eq!(indexed(&total.positive_spans, &total.positive).collect::<Vec<_>>(), [(1, 7.0), (3, 1.0)]);
    assert!(total.negative.is_empty());
}

#[test]
fn custom_borders_are_those_that_both_have() {
    let left = custom(&[1.0, 2.0, 5.0], &[1.0, 2.0, 3.0, 4.0]);
    let right = custom(&[2.0, 3.0, 5.0, 6.0], &[10.0, 20.0, 30.0, 40.0, 50.0]);
    let mut total = Total::of(&left);
    let notes = total.add(&right).expect("both are custom");
    assert!(notes.bounds_reconciled && !notes.resets_collide);
    let total = total.finish();
    assert_eq!(total.custom_bounds, [2.0, 5.0]);
    assert_eq!(total.positive, [13.0, 53.0, 94.0]);
    let exponential = histogram(0, (0.0, 1), &BTreeMap::new(), &BTreeMap::new());
    assert_eq!(Total::of(&left).add(&exponential), Err(Incompatible));
    assert_eq!(Total::of(&exponential).add(&left), Err(Incompatible));
}

#[test]
fn hints_meet_as_prometheus_lets_them() {
    use ResetHint::{Gauge, NotReset, Reset, Unknown};
    for (left, right, hint, collide) in [
        (Reset, Reset, Reset, false),
        (Reset, NotReset, Unknown, true),
        (NotReset, Reset, Unknown, true),
        (Reset, Unknown, Unknown, false),
        (Unknown, NotReset, Unknown, false),
        (Gauge, Reset, Gauge, false),
        (NotReset, Gauge, Gauge, false),
    ] {
        let of = |reset_hint| Histogram { reset_hint, count: 1.0, ..Histogram::default() };
        let mut total = Total::of(&of(left));
        let notes = total.add(&of(right)).expect("both are exponential");
        assert_eq!((total.finish().reset_hint, notes.resets_collide), (hint, collide), "{left:?} {right:?}");
    }
}

#[test]
fn means_do_not_overflow() {
    let huge = Histogram { count: f64::MAX, sum: f64::MAX, ..Histogram::default() };
    let mut mean = Mean::from(Total::of(&huge));
    for _ in 0..3 {
        mean.merge(Mean::from(Total::of(&huge))).expect("both are exponential");
    }
    let mean = mean.finish();
    assert!((mean.count / f64::MAX - 1.0).abs() < 1e-15, "{mean:?}");
}

#[test]
fn resets_are_what_cannot_come_from_more_observations() {
    let one = |index| histogram(0, (0.0, 0), &BTreeMap::from([(index, 2)]), &BTreeMap::new());
    let hinted = |reset_hint| Histogram { reset_hint, ..one(1) };
    assert!(!is_reset(&one(1), &one(1)));
    assert!(is_reset(&one(2), &one(1)), "a populated bucket is gone");
    assert!(is_reset(&hinted(ResetHint::Reset), &one(1)) && !is_reset(&hinted(ResetHint::NotReset), &one(2)));
    let finer = Histogram { schema: 1, ..one(1) };
    assert!(is_reset(&finer, &one(1)), "the resolution is higher");
    let wider = Histogram { zero_threshold: 3.0, zero_count: 2.0, count: 2.0, ..Histogram::default() };
    assert!(is_reset(&wider, &one(2)), "the zero bucket ends inside (2, 4]");
    assert!(!is_reset(&Histogram { zero_threshold: 4.0, ..wider.clone() }, &one(2)));
    let (before, now) = (custom(&[1.0, 2.0], &[1.0, 2.0, 3.0]), custom(&[2.0], &[3.0, 3.0]));
    assert!(!is_reset(&now, &before) && is_reset(&custom(&[2.0], &[2.0, 4.0]), &before));
    assert!(is_reset(&now, &one(1)) && is_reset(&one(1), &custom(&[], &[0.0])));
}

#[test]
fn borders_of_buckets_are_open_below() {
    let both = histogram(0, (0.5, 1), &BTreeMap::from([(1, 2)]), &BTreeMap::from([(0, 3), (1, 4)]));
    let shown: Vec<_> = buckets(&both)
        .into_iter()
        .map(|bucket| (bucket.lower, bucket.upper, bucket.has_lower, bucket.has_upper, bucket.count))
        .collect();
    let expected = [
        (-2.0, -1.0, true, false, 4.0),
        (-1.0, -0.5, true, false, 3.0),
        (-0.5, 0.5, true, true, 1.0),
        (1.0, 2.0, false, true, 2.0),
    ];
    assert_eq!(shown, expected);
    let shown: Vec<_> = buckets(&custom(&[2.5], &[1.0, 3.0]))
        .into_iter()
        .map(|b| (b.lower, b.upper, b.has_lower, b.has_upper))
        .collect();
    assert_eq!(shown, [(f64::NEG_INFINITY, 2.5, true, true), (2.5, f64::INFINITY, false, true)]);
}

#[test]
fn quantiles_and_fractions_are_interpolated() {
    let counts = BTreeMap::from([(0, 1), (1, 2), (2, 1)]);
    let single = Histogram { sum: 5.0, ..histogram(0, (0.0, 0), &counts, &BTreeMap::new()) };
    let close = |(value, note): (f64, Option<_>), expected: f64| {
        assert!(
            note.is_none() && ((value - expected).abs() < 1e-12 || value.to_bits() == expected.to_bits())
        );
    };
    close(quantile(0.5, &single), std::f64::consts::SQRT_2);
    close(quantile(0.0, &single), 0.5);
    close(quantile(1.0, &single), 4.0);
    close(quantile(-0.1, &single), f64::NEG_INFINITY);
    close(quantile(1.1, &single), f64::INFINITY);
    close(fraction(1.0, 2.0, &single), 0.5);
    close(fraction(f64::NEG_INFINITY, std::f64::consts::SQRT_2, &single), 0.5);
    close(fraction(2.0, 1.0, &single), 0.0);
    let mirrored = histogram(0, (0.0, 0), &BTreeMap::new(), &counts);
    close(quantile(0.5, &mirrored), -std::f64::consts::SQRT_2);
    // Custom buckets and the zero bucket are divided evenly, and by 0 where there is nothing below it.
    close(quantile(0.5, &custom(&[2.0, 5.0], &[2.0, 2.0])), 2.0);
    close(quantile(0.25, &custom(&[2.0, 5.0], &[2.0, 2.0])), 1.0);
    close(quantile(0.25, &histogram(0, (0.5, 2), &BTreeMap::from([(3, 2)]), &BTreeMap::new())), 0.25);
    assert!(quantile(0.5, &Histogram::default()).0.is_nan());
    // An observation that is NaN is in no bucket.
    let broken = Histogram { sum: f64::NAN, count: 5.0, ..single.clone() };
    assert_eq!(quantile(0.99, &broken).1, Some(HistogramNote::QuantileIsNan));
    assert_eq!(quantile(0.5, &broken).1, Some(HistogramNote::QuantileIsSkewed));
    assert_eq!(fraction(0.0, 1.0, &broken).1, Some(HistogramNote::FractionWithoutNan));
    assert_eq!(text(&single), "{count:4, sum:5, (0.5,1]:1, (1,2]:2, (2,4]:1}");
}

proptest! {
    #[test]
    fn sums_lose_nothing_and_have_no_order(left in any_histogram(), right in any_histogram()) {
        let (there, back) = (sum(&left, &right).expect("exponential"), sum(&right, &left).expect("exponential"));
        prop_assert!(same(&compact(there.clone()), &compact(back)));
        prop_assert!(equal(population(&there), left.count + right.count), "{left:?} {right:?} {there:?}");
        prop_assert!(equal(there.count, left.count + right.count));
        prop_assert!(there.schema == left.schema.min(right.schema));
        prop_assert!(there.zero_threshold >= left.zero_threshold.max(right.zero_threshold));
    }

    #[test]
    fn same_shapes_are_added_bucket_by_bucket(
        left in prop::collection::btree_map(-9..9, 0..9_u32, 0..9),
        right in prop::collection::btree_map(-9..9, 0..9_u32, 0..9),
    ) {
        let of = |side| histogram(2, (0.0, 1), side, &BTreeMap::new());
        let total = sum(&of(&left), &of(&right)).expect("exponential");
        let mut naive: BTreeMap<i32, f64> = BTreeMap::new();
        for (index, count) in left.iter().chain(&right) {
            *naive.entry(*index).or_default() += f64::from(*count);
        }
        let found: BTreeMap<i32, f64> = indexed(&total.positive_spans, &total.positive).collect();
        prop_assert_eq!(found, naive);
    }

    #[test]
    fn what_was_added_can_be_taken_away(left in any_histogram(), right in any_histogram()) {
        let mut total = Total::of(&left);
        total.add(&right).expect("exponential");
        total.subtract(&right).expect("exponential");
        // The shape stays that of the sum.
        let mut reshaped = Total::of(&left);
        reshaped.add(&scaled(Histogram::clone(&right), 0.0)).expect("exponential");
        let (rest, reshaped) = (compact(total.finish()), compact(reshaped.finish()));
        prop_assert!(equal(rest.count, left.count));
        prop_assert!(equal(population(&rest), population(&reshaped)));
    }

    #[test]
    fn more_observations_are_no_reset(left in any_histogram(), right in any_histogram()) {
        // A coarser bucket may reach out of a zero bucket that took all of its finer ones: that is a reset.
        if left.schema != right.schema {
            return Ok(());
        }
        let total = sum(&left, &right).expect("exponential");
        prop_assert!(!is_reset(&total, &left), "{left:?} {right:?} {total:?}");
        prop_assert!(!is_reset(&total, &right));
        prop_assert_eq!(is_reset(&left, &total), right.count > 0.0 || left.schema > total.schema
            || left.zero_threshold < total.zero_threshold);
    }

    #[test]
    fn cells_read_back(histograms in prop::collection::vec(any_histogram(), 0..5)) {
        let mut cells: Vec<Cell> = Vec::new();
        for (step, histogram) in (0_u32..).step_by(3).zip(histograms) {
            let histogram = Arc::new(histogram);
            cells.push((step, Arc::clone(&histogram)));
            cells.push((step + 1, histogram));
        }
        let mut bytes = Vec::new();
        push_cells(&mut bytes, &cells);
        let read = read_cells(&bytes).expect("our own bytes");
        prop_assert_eq!(&read, &cells);
        prop_assert!(read.chunks(2).all(|pair| Arc::ptr_eq(&pair[0].1, &pair[1].1)));
        prop_assert!(bytes.is_empty() || read_cells(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn shared_borders_keep_their_cumulative_counts(
        left in prop::collection::btree_set(0..9_i32, 0..6), right in prop::collection::btree_set(0..9_i32, 0..6),
    ) {
        let of = |bounds: &std::collections::BTreeSet<i32>| {
            let bounds: Vec<f64> = bounds.iter().copied().map(f64::from).collect();
            let counts = vec![1.0; bounds.len() + 1];
            custom(&bounds, &counts)
        };
        let total = sum(&of(&left), &of(&right)).expect("custom");
        let mut below = 0.0;
        let counts: BTreeMap<i32, f64> = indexed(&total.positive_spans, &total.positive).collect();
        for (index, bound) in (0..).zip(&total.custom_bounds) {
            below += counts.get(&index).copied().unwrap_or(0.0);
            let naive = left.iter().chain(&right).filter(|own| f64::from(**own) <= *bound).count();
            prop_assert!(equal(below, crate::model::time::count_to_f64(naive)));
        }
        prop_assert!(equal(total.positive.iter().sum(), total.count));
    }
}
