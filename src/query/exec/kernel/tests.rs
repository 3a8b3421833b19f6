//! The kernels against the naive evaluator: ordinary series, jitter, gaps, resets, NaN, infinities, huge values,
//! markers, negative times and the ends of `i64`.
#![expect(clippy::float_cmp, reason = "a naive evaluator casts and compares as the definitions do")]

use proptest::prelude::*;

use super::oracle::{self, Ask};
use super::*;

/// Timestamps with a value each, and markers between them.
#[derive(Debug, Clone)]
struct Series {
    timestamps: Vec<i64>,
    values: Vec<f64>,
    stale_at: Vec<i64>,
}

impl Series {
    fn samples(&self) -> Samples<'_> {
        Samples { timestamps: &self.timestamps, values: &self.values, stale_at: &self.stale_at }
    }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (0..50_u32).prop_map(f64::from),
        4 => -1e3..1e6_f64,
        1 => Just(f64::NAN),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
        1 => prop_oneof![Just(1e100), Just(-1e100), Just(f64::MAX), Just(-0.0), Just(5e-324)],
    ]
}

/// Regular, jittered or sparse timestamps from `start` on, with the given kind of values.
fn series() -> impl Strategy<Value = Series> {
    let gap = prop_oneof![
        Just(vec![15_000]),
        prop::collection::vec(13_000..17_000_i64, 1..40),
        prop::collection::vec(1..400_000_i64, 1..40),
        Just(vec![1]),
    ];
    let start =
        prop_oneof![Just(0), -2_000_000..2_000_000_i64, Just(i64::MAX - 100_000_000), Just(i64::MIN + 2)];
    let values = prop_oneof![
        prop::collection::vec(value(), 0..300),
        prop::collection::vec((0..20_u32).prop_map(f64::from), 0..300),
        prop::collection::vec(0.0..1e9_f64, 0..300),
    ];
    (start, gap, values, prop::collection::vec(0..300_usize, 0..4)).prop_map(
        |(start, gaps, mut values, marks)| {
            let mut at = start;
            let mut timestamps = Vec::new();
            for k in 0..values.len() {
                timestamps.push(at);
                let Some(next) = at.checked_add(gaps[k % gaps.len()]) else { break };
                at = next;
            }
            values.truncate(timestamps.len());
            let mut stale_at = Vec::new();
            for mark in marks {
                // A sample becomes a marker: they never share a time.
                if mark < timestamps.len() {
                    stale_at.push(timestamps.remove(mark));
                    values.remove(mark);
                }
            }
            stale_at.sort_unstable();
            Series { timestamps, values, stale_at }
        },
    )
}

fn kind() -> impl Strategy<Value = Kind> {
    let argument = prop_oneof![
        Just(0.9),
        Just(0.0),
        Just(1.0),
        Just(0.5),
        Just(-1.0),
        Just(2.0),
        Just(f64::NAN),
        0.0..1.0_f64
    ];
    (0..WindowFunction::ALL.len() + 2, argument, 0.01..0.99_f64).prop_map(|(which, argument, factor)| {
        let constant = |values: &[f64]| values.iter().map(|value| StepScalar::Constant(*value)).collect();
        match WindowFunction::ALL.get(which).copied() {
            Some(function @ (WindowFunction::Quantile | WindowFunction::PredictLinear)) => {
                Kind::Function(function, constant(&[argument]))
            }
            Some(WindowFunction::Smooth) => {
                Kind::Function(WindowFunction::Smooth, constant(&[factor, 1.0 - factor]))
            }
            Some(function) => Kind::Function(function, Vec::new()),
            None if which == WindowFunction::ALL.len() => Kind::Newest,
            None => Kind::NewestTime,
        }
    })
}

fn check(ask: &Ask, all: &[&Series]) -> Result<(), TestCaseError> {
    let made = Kernel::new(ask.kind.clone(), &ask.grid, ask.range_ms, ask.offset_ms, ask.at_ms);
    let Ok(mut kernel) = made else { return Ok(()) };
    let steps = ask.grid.steps();
    let (mut out, mut valid) = (vec![f64::NAN; steps], vec![u64::MAX; bits::word_count(steps)]);
    for series in all {
        let set = kernel.run(&series.samples(), &mut out, &mut valid).expect("good arguments");
        let expected = oracle::evaluate(ask, &series.samples());
        prop_assert_eq!(set, expected.iter().flatten().count());
        let scale = series.values.iter().filter(|v| v.is_finite()).fold(0.0, |sum: f64, v| sum + v.abs());
        for (step, expected) in expected.iter().enumerate() {
            prop_assert_eq!(bits::get(&valid, step), expected.is_some(), "step {}", step);
            prop_assert!(
                close(out[step], expected.unwrap_or(0.0), scale),
                "step {}: {:?} is not {:?}",
                step,
                out[step],
                expected
            );
        }
    }
    Ok(())
}

/// 1e-12 relative; near zero, of the sum of the magnitudes that were added.
fn close(got: f64, expected: f64, scale: f64) -> bool {
    if got.to_bits() == expected.to_bits() || got == expected || got.is_nan() && expected.is_nan() {
        return true;
    }
    (got - expected).abs() <= 1e-12 * got.abs().max(expected.abs()) + 1e-18 * scale
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn every_kernel_agrees_with_the_naive_evaluator(
        (one, other) in (series(), series()),
        kind in kind(),
        (shift, step, steps) in (-400_000..2_000_000_i64, prop_oneof![Just(60_000), Just(15_000), Just(1), 1..500_000_i64], 1..200_usize),
        range in prop_oneof![Just(60_000), Just(300_000), Just(3_600_000), Just(15_000), Just(1), 1..2_000_000_i64],
        offset in prop_oneof![3 => Just(0), 1 => -700_000..700_000_i64],
        at in prop_oneof![4 => Just(None), 1 => (-400_000..2_000_000_i64).prop_map(Some)],
    ) {
        let base = one.timestamps.first().copied().unwrap_or(0);
        let start = base.saturating_add(shift);
        let end = start.saturating_add(step * (i64::try_from(steps).expect("small") - 1));
        let grid = Grid::range(start, end, step).expect("a valid grid");
        let at = at.map(|at| base.saturating_add(at));
        let ask = Ask { kind, grid, range_ms: range, offset_ms: offset, at_ms: at };
        // Twice the same timeline, another one, and the first again: the plan must follow.
        check(&ask, &[&one, &one, &other, &one])?;
    }
}

fn run(kind: Kind, grid: Grid, range_ms: i64, series: &Series) -> Vec<Option<f64>> {
    let mut kernel = Kernel::new(kind, &grid, range_ms, 0, None).expect("windows in range");
    let (mut out, mut valid) = (vec![0.0; grid.steps()], vec![0; bits::word_count(grid.steps())]);
    kernel.run(&series.samples(), &mut out, &mut valid).expect("good arguments");
    out.iter().enumerate().map(|(step, value)| bits::get(&valid, step).then_some(*value)).collect()
}

#[test]
fn a_marker_ends_the_lookback_but_not_a_range() {
    let series = Series { timestamps: vec![0, 60_000], values: vec![1.0, 2.0], stale_at: vec![30_000] };
    let grid = Grid::range(0, 420_000, 30_000).expect("a grid");
    let got = run(Kind::Newest, grid, 300_000, &series);
    assert_eq!(got[..3], [Some(1.0), None, Some(2.0)]);
    assert_eq!(got[11..13], [Some(2.0), None], "the lookback is left-open");
    let count = run(Kind::Function(WindowFunction::Count, Vec::new()), grid, 300_000, &series);
    assert_eq!(count[1], Some(1.0), "a range does not see the marker");
}

#[test]
fn a_window_is_left_open() {
    let series =
        Series { timestamps: vec![0, 15_000, 30_000], values: vec![1.0, 2.0, 3.0], stale_at: vec![] };
    let grid = Grid::instant(30_000);
    let count = |range| run(Kind::Function(WindowFunction::Count, Vec::new()), grid, range, &series)[0];
    assert_eq!((count(15_000), count(30_000), count(30_001)), (Some(1.0), Some(2.0), Some(3.0)));
    assert_eq!(run(Kind::Function(WindowFunction::Rate, Vec::new()), grid, 15_000, &series), [None]);
}

#[test]
fn a_factor_is_refused_only_where_there_are_samples() {
    let series = Series { timestamps: vec![0], values: vec![1.0], stale_at: vec![] };
    let run = |factor, time| {
        let arguments = vec![StepScalar::Constant(factor), StepScalar::Constant(0.5)];
        let kind = Kind::Function(WindowFunction::Smooth, arguments);
        let mut kernel = Kernel::new(kind, &Grid::instant(time), 1_000, 0, None).expect("windows in range");
        kernel.run(&series.samples(), &mut [0.0], &mut [0]).map_err(|e| e.message().to_owned())
    };
    let message = |got| Err(format!("invalid smoothing factor. Expected: 0 < sf < 1, got: {got}"));
    assert_eq!(run(1.5, 0), message("1.500000"));
    assert_eq!(run(f64::INFINITY, 0), message("+Inf"));
    assert_eq!((run(1.5, 5_000), run(f64::NAN, 0)), (Ok(0), Ok(0)));
}

#[test]
fn a_prediction_goes_on_from_each_step_even_under_at() {
    let series = Series { timestamps: vec![0, 10_000], values: vec![0.0, 10.0], stale_at: vec![] };
    let arguments = vec![StepScalar::Constant(60.0)];
    let kind = Kind::Function(WindowFunction::PredictLinear, arguments);
    let grid = Grid::range(0, 120_000, 60_000).expect("a grid");
    let mut kernel = Kernel::new(kind, &grid, 60_000, 0, Some(10_000)).expect("windows in range");
    let (mut out, mut valid) = ([0.0; 3], [0]);
    assert_eq!(kernel.run(&series.samples(), &mut out, &mut valid).expect("good arguments"), 3);
    assert_eq!(out, [60.0, 120.0, 180.0]);
}

#[test]
fn samples_outside_of_a_span_are_not_seen() {
    let series =
        Series { timestamps: vec![0, 10, 20], values: vec![0.0, 1.0, 2.0], stale_at: vec![5, 15, 25] };
    let samples = series.samples();
    let within = samples.within((10, 20));
    assert_eq!(
        (within.timestamps, within.values, within.stale_at),
        (&[10, 20][..], &[1.0, 2.0][..], &[15][..])
    );
    assert!(samples.within((30, 10)).timestamps.is_empty());
}
