//! The aggregations against plain loops over all values of a step, on one accumulator and on merged ones.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "a naive evaluator casts and compares as the definitions do"
)]

use proptest::prelude::*;

use super::*;
use crate::query::exec::kernel::oracle;

type Series = (usize, Vec<Option<f64>>);

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        5 => (0..20_u32).prop_map(|v| Some(f64::from(v))),
        3 => (-1e6..1e6_f64).prop_map(Some),
        2 => Just(None),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)].prop_map(Some),
        1 => prop_oneof![Just(1e100), Just(-1e100)].prop_map(Some),
    ]
}

fn input() -> impl Strategy<Value = (usize, Vec<Series>)> {
    (1..70_usize).prop_flat_map(|steps| {
        let series = (0..3_usize, prop::collection::vec(value(), steps));
        (Just(steps), prop::collection::vec(series, 0..25))
    })
}

fn op() -> impl Strategy<Value = (AggregateOp, f64)> {
    let parameter = prop_oneof![Just(0.0), Just(1.0), Just(2.0), Just(7.9), Just(0.9), Just(1e9)];
    (0..AggregateOp::ALL.len(), parameter).prop_map(|(op, parameter)| (AggregateOp::ALL[op], parameter))
}

/// Accumulates series in the given groups; group ids in order of first appearance.
fn accumulate(
    op: AggregateOp,
    parameter: f64,
    steps: usize,
    series: &[(usize, &Series)],
) -> (Accumulator, Vec<usize>) {
    let mut acc = Accumulator::new(op, steps, &StepScalar::Constant(parameter));
    let mut groups: Vec<usize> = Vec::new();
    for (id, (group, points)) in series {
        let slot = groups.iter().position(|g| g == group).unwrap_or_else(|| {
            groups.push(*group);
            groups.len() - 1
        });
        let values: Vec<f64> = points.iter().map(|point| point.unwrap_or(0.0)).collect();
        let mut words = vec![0; bits::word_count(steps)];
        let set = bits::fill(&mut words, steps, |step| points[step].is_some());
        let valid = (set < steps).then_some(&words[..]);
        acc.add(slot, u32::try_from(*id).expect("few"), &Row { values: &values, valid });
    }
    (acc, groups)
}

fn naive(op: AggregateOp, parameter: f64, values: &[f64]) -> Option<f64> {
    let first = *values.first()?;
    let sum = || values.iter().sum::<f64>();
    Some(match op {
        AggregateOp::Sum => sum(),
        AggregateOp::Avg => sum() / values.len() as f64,
        AggregateOp::Min => values.iter().fold(first, |a, b| if a > *b || a.is_nan() { *b } else { a }),
        AggregateOp::Max => values.iter().fold(first, |a, b| if a < *b || a.is_nan() { *b } else { a }),
        AggregateOp::Count => values.len() as f64,
        AggregateOp::Group => 1.0,
        AggregateOp::Quantile => oracle::quantile(parameter, values),
        AggregateOp::Stdvar => variance(values),
        AggregateOp::Stddev => variance(values).sqrt(),
        AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::LimitK => return None,
    })
}

/// Two passes; NaN where a value is not finite.
fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64
}

/// The values that limitk must choose: the first k, as a sorted multiset.
fn naive_first(k: f64, values: &[f64]) -> Vec<u64> {
    let mut bits: Vec<u64> = values.iter().take(k as usize).map(|v| (v + 0.0).to_bits()).collect();
    bits.sort_unstable();
    bits
}

fn same(got: f64, expected: f64, scale: f64) -> bool {
    got.is_nan() && expected.is_nan()
        || got == expected
        || (got - expected).abs() <= 1e-12 * expected.abs() + 1e-15 * scale
}

/// The values that topk or bottomk must choose, as a sorted multiset.
fn naive_top(op: AggregateOp, k: f64, values: &[f64]) -> Vec<u64> {
    let mut ranked: Vec<f64> = values.to_vec();
    ranked.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Greater,
        (false, true) => std::cmp::Ordering::Less,
        (false, false) if op == AggregateOp::TopK => b.partial_cmp(a).expect("not NaN"),
        (false, false) => a.partial_cmp(b).expect("not NaN"),
    });
    ranked.truncate(k.min(1e6) as usize);
    let mut bits: Vec<u64> = ranked.iter().map(|v| (v + 0.0).to_bits()).collect();
    bits.sort_unstable();
    bits
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn groups_agree_with_plain_loops((steps, series) in input(), (op, parameter) in op(), cut in 0..25_usize) {
        let all: Vec<(usize, &Series)> = series.iter().enumerate().collect();
        let (left, right) = all.split_at(cut.min(all.len()));
        let (mut acc, mut groups) = accumulate(op, parameter, steps, left);
        let (other, theirs) = accumulate(op, parameter, steps, right);
        let mapping: Vec<usize> = theirs.iter().map(|group| {
            groups.iter().position(|g| g == group).unwrap_or_else(|| {
                groups.push(*group);
                groups.len() - 1
            })
        }).collect();
        acc.merge(other, &mapping, 0);
        let chosen = acc.chosen();
        for (slot, group) in groups.iter().enumerate() {
            let (mut out, mut valid) = (vec![0.0; steps], vec![0; bits::word_count(steps)]);
            if !op.keeps_series() {
                acc.finish(slot, &mut out, &mut valid);
            }
            for step in 0..steps {
                let at_step = |(g, points): &Series| (g == group).then(|| points[step]).flatten();
                let values: Vec<f64> = series.iter().filter_map(at_step).collect();
                if op.keeps_series() {
                    let member = |c: &&Chosen| series[c.series as usize].0 == *group && bits::get(&c.valid, step);
                    let mut got: Vec<u64> =
                        chosen.iter().filter(member).map(|c| (c.values[step] + 0.0).to_bits()).collect();
                    got.sort_unstable();
                    let wanted = match op {
                        AggregateOp::LimitK => naive_first(parameter, &values),
                        op => naive_top(op, parameter, &values),
                    };
                    prop_assert_eq!(got, wanted);
                    continue;
                }
                let expected = naive(op, parameter, &values);
                prop_assert_eq!(bits::get(&valid, step), expected.is_some());
                let scale = values.iter().filter(|v| v.is_finite()).map(|v| v.abs()).sum::<f64>();
                // The root of what is lost of the squares.
                let scale = if op == AggregateOp::Stddev { scale * 1e7 } else { scale };
                let scale = if op == AggregateOp::Stdvar { scale * scale } else { scale };
                let expected = expected.unwrap_or(0.0);
                prop_assert!(same(out[step], expected, scale), "{:?} is not {:?}", out[step], expected);
            }
        }
    }
}

#[test]
fn a_mean_does_not_overflow() {
    let series: Vec<Series> =
        vec![(0, vec![Some(f64::MAX), Some(1.0)]), (0, vec![Some(f64::MAX), Some(3.0)])];
    let all: Vec<(usize, &Series)> = series.iter().enumerate().collect();
    let (mut acc, _) = accumulate(AggregateOp::Avg, 0.0, 2, &all);
    let (mut out, mut valid) = ([0.0; 2], [0]);
    acc.finish(0, &mut out, &mut valid);
    assert!((out[0] / f64::MAX - 1.0).abs() < 1e-15 && (out[1] - 2.0).abs() < 1e-15, "{out:?}");
}

#[test]
fn the_best_come_first_and_nan_last() {
    let values = [3.0, f64::NAN, 7.0, 5.0];
    let series: Vec<Series> = values.iter().map(|v| (0, vec![Some(*v)])).collect();
    let all: Vec<(usize, &Series)> = series.iter().enumerate().collect();
    let order = |op, k| -> Vec<u32> {
        accumulate(op, k, 1, &all).0.chosen().iter().map(|chosen| chosen.series).collect()
    };
    assert_eq!(order(AggregateOp::TopK, 9.0), [2, 3, 0, 1]);
    assert_eq!(order(AggregateOp::BottomK, 2.0), [0, 3]);
    assert!(order(AggregateOp::TopK, 0.9).is_empty());
}
