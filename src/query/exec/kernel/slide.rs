//! Sums, means and extremes of sliding windows by combination only.
//!
//! ```text
//!   range a multiple of step          otherwise: two stacks
//!   bins   a b c│d e f│g h i          samples  . . . . .│. . . .
//!   suffix ◄────┤◄────┤◄────          suffixes ◄────────┤ running total ►
//!   prefix ────►│────►│────►
//!   window b..d = suffix(b) ⊕ prefix(d)
//! ```
//!
//! Sources: M. van Herk, Pattern Recognition Letters 13 (1992); K. Tangwongsan et al., PVLDB 8 (2015) (two stacks).
//! Short windows are read again at every step.

use super::compensated::{Sum, mean_in_order, sum_in_order, sum_of};
use super::edges::{Edges, scratch};
use crate::model::time::count_to_f64;

/// Reused memory: bins, prefixes and suffixes.
#[derive(Debug, Default)]
pub(super) struct Scratch<T> {
    bins: Vec<T>,
    prefixes: Vec<T>,
    suffixes: Vec<T>,
}

/// Above this a sum of a long window could overflow, and then the order of additions decides: do it in order.
const HUGE: f64 = 1e300;

fn has_huge(values: &[f64]) -> bool {
    values.iter().fold(false, |any, value| any | ((value.abs() > HUGE) & (value.abs() < f64::INFINITY)))
}

/// `sum_over_time`.
pub(super) fn sum(edges: &Edges, values: &[f64], sums: &mut Scratch<Sum>, out: &mut [f64]) {
    if has_huge(values) {
        return super::each(edges, out, |window| sum_in_order(&values[window]));
    }
    slide(edges, values, sums, Sum::default(), (sum_of, Sum::plus), |step, sum| out[step] = sum.total());
}

/// `avg_over_time`.
pub(super) fn avg(edges: &Edges, values: &[f64], sums: &mut Scratch<Sum>, out: &mut [f64]) {
    if has_huge(values) {
        return super::each(edges, out, |window| mean_in_order(&values[window]));
    }
    slide(edges, values, sums, Sum::default(), (sum_of, Sum::plus), |step, sum| {
        let count = edges.range(step).len();
        out[step] = if count == 0 { 0.0 } else { sum.mean(count_to_f64(count)) };
    });
}

/// `min_over_time` and `max_over_time`: `pick` is `f64::min` or `f64::max`, which ignore NaN, so NaN is the
/// neutral element and only windows of nothing but NaN give it.
pub(super) fn extreme(
    edges: &Edges,
    values: &[f64],
    extremes: &mut Scratch<f64>,
    out: &mut [f64],
    pick: impl Fn(f64, f64) -> f64 + Copy,
) {
    let of = move |values: &[f64]| {
        let (chunks, rest) = values.as_chunks::<4>();
        let mut lanes = [f64::NAN; 4];
        for chunk in chunks {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *lane = pick(*lane, *value);
            }
        }
        let found = pick(pick(lanes[0], lanes[1]), pick(lanes[2], lanes[3]));
        rest.iter().fold(found, |found, value| pick(found, *value))
    };
    slide(edges, values, extremes, f64::NAN, (of, pick), |step, found| {
        out[step] = if edges.range(step).is_empty() { 0.0 } else { found };
    });
}

/// `stdvar_over_time` of one window: Welford's method with compensation, in Prometheus' order of operations;
/// another order differs by 1e-7 where the mean is large against the deviation.
pub(super) fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Sum::default(), Sum::default());
    let mut count = 0.0;
    for value in values {
        count += 1.0;
        let delta = value - (mean.high + mean.low);
        mean.add_in_order(delta / count);
        squares.add_in_order(delta * (value - (mean.high + mean.low)));
    }
    (squares.high + squares.low) / count
}

/// Combines every window and hands it to `emit`; an empty window is the neutral element.
fn slide<T: Copy + Default>(
    edges: &Edges,
    values: &[f64],
    memory: &mut Scratch<T>,
    neutral: T,
    (of, combine): (impl Fn(&[f64]) -> T + Copy, impl Fn(T, T) -> T + Copy),
    mut emit: impl FnMut(usize, T),
) {
    let steps = edges.lows().len();
    if steps == 1 || edges.are_short() {
        return (0..steps).for_each(|step| emit(step, of(&values[edges.range(step)])));
    }
    match edges.bins() {
        Some(bins) => herk(bins, values, memory, neutral, (of, combine), emit),
        None => two_stacks(edges, values, memory, neutral, (of, combine), emit),
    }
}

fn herk<T: Copy + Default>(
    (borders, width): (&[u32], usize),
    values: &[f64],
    memory: &mut Scratch<T>,
    neutral: T,
    (of, combine): (impl Fn(&[f64]) -> T, impl Fn(T, T) -> T),
    mut emit: impl FnMut(usize, T),
) {
    let count = borders.len() - 1;
    let steps = borders.len() - width;
    let bins = scratch(&mut memory.bins, count);
    fill_bins(borders, values, bins, of, &combine);
    let prefixes = scratch(&mut memory.prefixes, count);
    let suffixes = scratch(&mut memory.suffixes, count);
    let blocks = bins.chunks(width).zip(prefixes.chunks_mut(width)).zip(suffixes.chunks_mut(width));
    for ((bins, prefixes), suffixes) in blocks {
        let mut total = neutral;
        for (bin, prefix) in bins.iter().zip(prefixes) {
            total = combine(total, *bin);
            *prefix = total;
        }
        let mut total = neutral;
        for (bin, suffix) in bins.iter().zip(suffixes).rev() {
            total = combine(*bin, total);
            *suffix = total;
        }
    }
    // Window k is made of the bins k..k+width; where it is exactly one block its prefix is the whole of it.
    let mut in_block = 0;
    for (step, (suffix, prefix)) in suffixes[..steps].iter().zip(&prefixes[width - 1..]).enumerate() {
        emit(step, if in_block == 0 { *prefix } else { combine(*suffix, *prefix) });
        in_block = if in_block + 1 == width { 0 } else { in_block + 1 };
    }
}

/// One value per step bin. Four samples a bin is what a minute's step over 15 s data has: worth its own loop.
fn fill_bins<T: Copy>(
    borders: &[u32],
    values: &[f64],
    bins: &mut [T],
    of: impl Fn(&[f64]) -> T,
    combine: &impl Fn(T, T) -> T,
) {
    let mut at = 0;
    while at < bins.len() {
        let from = at;
        while at < bins.len() && borders[at + 1] - borders[at] == 4 {
            at += 1;
        }
        let samples = &values[borders[from] as usize..borders[at] as usize];
        for (bin, four) in bins[from..at].iter_mut().zip(samples.as_chunks::<4>().0) {
            let [a, b, c, d] = four.map(|value| of(&[value]));
            *bin = combine(combine(a, b), combine(c, d));
        }
        if at < bins.len() {
            bins[at] = of(&values[borders[at] as usize..borders[at + 1] as usize]);
            at += 1;
        }
    }
}

fn two_stacks<T: Copy + Default>(
    edges: &Edges,
    values: &[f64],
    memory: &mut Scratch<T>,
    neutral: T,
    (of, combine): (impl Fn(&[f64]) -> T, impl Fn(T, T) -> T),
    mut emit: impl FnMut(usize, T),
) {
    let suffixes = scratch(&mut memory.suffixes, values.len());
    // Samples before `middle` are in the front stack (suffix totals), those up to `taken` in the back total.
    let (mut middle, mut taken) = (0, 0);
    let mut back = neutral;
    for step in 0..edges.lows().len() {
        let window = edges.range(step);
        if window.is_empty() {
            emit(step, neutral);
            continue;
        }
        if window.start >= middle {
            let mut total = neutral;
            for at in window.clone().rev() {
                total = combine(of(&values[at..=at]), total);
                suffixes[at] = total;
            }
            (middle, taken, back) = (window.end, window.end, neutral);
            emit(step, total);
            continue;
        }
        for value in values[taken.min(window.end)..window.end].chunks(1) {
            back = combine(back, of(value));
        }
        taken = taken.max(window.end);
        emit(step, combine(suffixes[window.start], back));
    }
}
