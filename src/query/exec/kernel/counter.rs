//! Counter functions: rate, increase and delta (extrapolated), irate and idelta, resets, changes.
//!
//! Source of the extrapolation: Prometheus 3.14, `promql/functions.go`, `extrapolatedRate`. What depends on the
//! timestamps alone is computed once per timeline; a series then costs one difference and a few multiplications
//! a step, and one addition a counter reset and window.

use std::cmp::Ordering;

use super::Samples;
use super::bits;
use super::edges::{Edges, scratch};
use crate::model::time::{ms_to_f64, ms_to_seconds};
use crate::query::plan::WindowFunction;

/// Scratch memory of the counter kernels.
#[derive(Debug, Default)]
pub(super) struct Counter {
    /// Indices whose value is below the one before.
    drops: Vec<u32>,
    /// Per sample: how many changes up to here.
    prefix: Vec<u32>,
    /// Per step: seconds between first and last sample, and from them to the window's borders.
    sampled: Vec<f64>,
    to_start: Vec<f64>,
    to_end: Vec<f64>,
    first: Vec<f64>,
}

impl Counter {
    /// Called whenever the timeline has changed: what [`Counter::extrapolated`] needs of it.
    pub(super) fn plan(&mut self, edges: &Edges, timestamps: &[i64]) {
        let (windows, steps) = (edges.windows(), edges.lows().len());
        let sampled = scratch(&mut self.sampled, steps);
        let to_start = scratch(&mut self.to_start, steps);
        let to_end = scratch(&mut self.to_end, steps);
        for step in 0..steps {
            let window = edges.range(step);
            if window.len() < 2 {
                (sampled[step], to_start[step], to_end[step]) = (1.0, 0.0, 0.0);
                continue;
            }
            let (first, last) = (timestamps[window.start], timestamps[window.end - 1]);
            let end = windows.end_ms(step);
            let covered = ms_to_f64(last - first) / 1000.0;
            let average = covered / crate::model::time::count_to_f64(window.len() - 1);
            let threshold = average * 1.1;
            let border = |seconds: f64| if seconds >= threshold { average / 2.0 } else { seconds };
            sampled[step] = covered;
            to_start[step] = border(ms_to_f64(first - (end - windows.range_ms())) / 1000.0);
            to_end[step] = border(ms_to_f64(end - last) / 1000.0);
        }
    }

    /// `rate`, `increase` and `delta` of a series whose timeline was planned.
    pub(super) fn extrapolated(
        &mut self,
        edges: &Edges,
        values: &[f64],
        function: WindowFunction,
        out: &mut [f64],
        valid: &mut [u64],
    ) -> usize {
        let is_counter = function != WindowFunction::Delta;
        self.differences(edges, values, is_counter, out);
        let steps = out.len();
        let divisor =
            if function == WindowFunction::Rate { seconds(edges.windows().range_ms()) } else { 1.0 };
        let first = &self.first[..steps];
        let (sampled, to_start, to_end) =
            (&self.sampled[..steps], &self.to_start[..steps], &self.to_end[..steps]);
        for step in 0..steps {
            let (difference, covered) = (out[step], sampled[step]);
            let mut start = to_start[step];
            if is_counter {
                // Not further back than where the line would reach zero.
                let to_zero = covered * (first[step] / difference);
                let applies = difference > 0.0 && first[step] >= 0.0;
                let to_zero = if applies { to_zero } else { start };
                start = if to_zero < start { to_zero } else { start };
            }
            out[step] = difference * ((covered + start + to_end[step]) / covered / divisor);
        }
        let (lows, highs) = (edges.lows(), edges.highs());
        bits::fill(valid, steps, |step| highs[step] > lows[step] + 1)
    }

    /// Last minus first value of each window into `out`, plus what a counter lost at its resets.
    fn differences(&mut self, edges: &Edges, values: &[f64], is_counter: bool, out: &mut [f64]) {
        let (lows, highs) = (edges.lows(), edges.highs());
        let first = scratch(&mut self.first, out.len());
        for (((low, high), first), out) in lows.iter().zip(highs).zip(first.iter_mut()).zip(out.iter_mut()) {
            let (low, high) = (*low as usize, *high as usize);
            (*first, *out) = (0.0, 0.0);
            if high > low + 1 {
                *first = values[low];
                *out = values[high - 1] - values[low];
            }
        }
        if !is_counter {
            return;
        }
        find_drops(values, &mut self.drops);
        for drop in &self.drops {
            let lost = values[*drop as usize - 1];
            let from = highs.partition_point(|high| high <= drop);
            for step in from..out.len() {
                if lows[step] >= *drop {
                    break;
                }
                out[step] += lost;
            }
        }
    }

    /// How many values of each window are below the one before, inside the window.
    pub(super) fn resets(&mut self, edges: &Edges, values: &[f64], out: &mut [f64]) {
        find_drops(values, &mut self.drops);
        let drops = &self.drops;
        super::each(edges, out, |window| {
            let before = |sample: usize| drops.partition_point(|drop| (*drop as usize) <= sample);
            crate::model::time::count_to_f64(before(window.end - 1) - before(window.start))
        });
    }

    /// How many values of each window differ from the one before, inside the window; NaN equals NaN.
    pub(super) fn changes(&mut self, edges: &Edges, values: &[f64], out: &mut [f64]) {
        let prefix = scratch(&mut self.prefix, values.len());
        let mut count = 0;
        for (at, prefix) in prefix.iter_mut().enumerate() {
            if at > 0 {
                let (before, now) = (values[at - 1], values[at]);
                // NaN is neither below nor above anything, and not different from another NaN.
                let moved = before.partial_cmp(&now).is_some_and(Ordering::is_ne);
                count += u32::from(moved || before.is_nan() != now.is_nan());
            }
            *prefix = count;
        }
        let prefix = &self.prefix;
        super::each(edges, out, |window| f64::from(prefix[window.end - 1] - prefix[window.start]));
    }
}

/// Indices of the values that are below the one before, found 64 at a time.
fn find_drops(values: &[f64], drops: &mut Vec<u32>) {
    const BLOCK: usize = 64;
    drops.clear();
    if values.len() < 2 {
        return;
    }
    let (before, now) = (&values[..values.len() - 1], &values[1..]);
    for (block, (before, now)) in before.chunks(BLOCK).zip(now.chunks(BLOCK)).enumerate() {
        let any = before.iter().zip(now).fold(0, |any, (before, now)| any | u8::from(now < before));
        if any == 0 {
            continue;
        }
        for (at, (before, now)) in before.iter().zip(now).enumerate() {
            if now < before {
                drops.push(u32::try_from(block * BLOCK + at + 1).expect("checked with the timeline"));
            }
        }
    }
}

/// The increase between the last two samples of each window, per second; after a reset the last value.
pub(super) fn irate(edges: &Edges, samples: &Samples<'_>, out: &mut [f64], valid: &mut [u64]) -> usize {
    let (lows, highs) = (edges.lows(), edges.highs());
    for (step, out) in out.iter_mut().enumerate() {
        let (low, high) = (lows[step] as usize, highs[step] as usize);
        *out = 0.0;
        if high > low + 1 {
            let (before, now) = (samples.values[high - 2], samples.values[high - 1]);
            let increase = if now < before { now } else { now - before };
            *out = increase / ms_to_seconds(samples.timestamps[high - 1] - samples.timestamps[high - 2]);
        }
    }
    bits::fill(valid, lows.len(), |step| highs[step] > lows[step] + 1)
}

/// The difference of the last two samples of each window.
pub(super) fn idelta(edges: &Edges, values: &[f64], out: &mut [f64], valid: &mut [u64]) -> usize {
    let (lows, highs) = (edges.lows(), edges.highs());
    for (step, out) in out.iter_mut().enumerate() {
        let (low, high) = (lows[step] as usize, highs[step] as usize);
        *out = if high > low + 1 { values[high - 1] - values[high - 2] } else { 0.0 };
    }
    bits::fill(valid, lows.len(), |step| highs[step] > lows[step] + 1)
}

/// A duration in seconds as Go's `Duration.Seconds` rounds it.
fn seconds(ms: i64) -> f64 {
    ms_to_f64(ms / 1000) + ms_to_f64(ms % 1000 * 1_000_000) / 1e9
}
