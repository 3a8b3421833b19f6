//! The window kernels: one series' samples in, one value a step out. Pure; no Arrow, no I/O.
//!
//! ```text
//!   timestamps ─► Edges (planned once per timeline) ─┐
//!   values ──────────────────────────────────────────┴─► kernel ─► out[step], valid[step]
//! ```
//!
//! A step without a result holds 0.0 and its bit is clear, so that sums over series need no mask. Sums never
//! subtract what leaves a window: it would lose digits, and one NaN or infinity would poison the rest.

pub(crate) mod bits;
pub(crate) mod compensated;
mod counter;
mod edges;
mod latest;
#[cfg(test)]
pub(crate) mod oracle;
pub(crate) mod order;
mod quantile;
mod slide;
#[cfg(test)]
mod tests;

pub(crate) use self::edges::Edges;
use crate::error::Result;
use crate::query::plan::{Grid, StepScalar, WindowFunction, Windows};

/// One series' samples: timestamps ascending and unique (ms), with their values, and its stale markers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Samples<'a> {
    pub(crate) timestamps: &'a [i64],
    pub(crate) values: &'a [f64],
    /// Timestamps of stale markers, ascending. They end the lookback; range functions do not see them.
    pub(crate) stale_at: &'a [i64],
}

/// What one selector computes from a series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// The newest sample within the lookback.
    Newest,
    /// Its time in seconds.
    NewestTime,
    /// A function over the samples of the window; the number is its scalar argument, if it has one.
    Function(WindowFunction, Option<StepScalar>),
}

/// A selector's kernel with its scratch memory; one per partition of a scan.
#[derive(Debug)]
pub(crate) struct Kernel {
    kind: Kind,
    edges: Edges,
    counter: counter::Counter,
    sums: slide::Scratch<compensated::Sum>,
    extremes: slide::Scratch<f64>,
    quantile: quantile::Quantile,
    steps: usize,
    repeat: bool,
}

impl Kernel {
    /// A kernel that fills `grid.steps()` values a series. With `@` the one window is repeated for all steps.
    ///
    /// # Errors
    /// `Invalid` when a window leaves 64-bit milliseconds.
    pub(crate) fn new(
        kind: Kind,
        grid: &Grid,
        range_ms: i64,
        offset_ms: i64,
        at_ms: Option<i64>,
    ) -> Result<Self> {
        let windows = Windows::new(grid, range_ms, offset_ms, at_ms)?;
        Ok(Self {
            kind,
            edges: Edges::new(windows),
            counter: counter::Counter::default(),
            sums: slide::Scratch::default(),
            extremes: slide::Scratch::default(),
            quantile: quantile::Quantile::default(),
            steps: grid.steps(),
            repeat: at_ms.is_some(),
        })
    }

    /// What it computes.
    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Computes one series into `out` (one value a step) and `valid` (one bit a step); returns the number of
    /// values.
    pub(crate) fn run(&mut self, samples: &Samples<'_>, out: &mut [f64], valid: &mut [u64]) -> usize {
        assert_eq!(out.len(), self.steps);
        assert_eq!(samples.timestamps.len(), samples.values.len());
        if !self.repeat {
            return self.fill(samples, out, valid);
        }
        if let Kind::Function(WindowFunction::Quantile, Some(StepScalar::PerStep(_))) = &self.kind {
            return self.quantile_at(samples, out, valid);
        }
        let mut one = [0.0];
        let mut bit = [0];
        self.fill(samples, &mut one, &mut bit);
        out.fill(one[0]);
        let steps = self.steps;
        bits::fill(valid, steps, |_| bit[0] == 1)
    }

    /// `quantile_over_time(scalar(…), x[5m] @ t)`: one window, another quantile at every step.
    fn quantile_at(&mut self, samples: &Samples<'_>, out: &mut [f64], valid: &mut [u64]) -> usize {
        self.edges.plan(samples.timestamps);
        let Kind::Function(_, Some(StepScalar::PerStep(parameters))) = &self.kind else { return 0 };
        let window = &samples.values[self.edges.range(0)];
        for (value, parameter) in out.iter_mut().zip(parameters.iter()) {
            *value = if window.is_empty() { 0.0 } else { self.quantile.of(*parameter, window) };
        }
        bits::fill(valid, self.steps, |_| !window.is_empty())
    }

    fn fill(&mut self, samples: &Samples<'_>, out: &mut [f64], valid: &mut [u64]) -> usize {
        let changed = self.edges.plan(samples.timestamps);
        let edges = &self.edges;
        let function = match &self.kind {
            Kind::Newest => return latest::newest(edges, samples, out, valid, |at| samples.values[at]),
            Kind::NewestTime => {
                let seconds = |at: usize| crate::model::time::ms_to_seconds(samples.timestamps[at]);
                return latest::newest(edges, samples, out, valid, seconds);
            }
            Kind::Function(function, _) => *function,
        };
        let values = samples.values;
        match function {
            WindowFunction::Rate | WindowFunction::Increase | WindowFunction::Delta => {
                if changed {
                    self.counter.plan(edges, samples.timestamps);
                }
                return self.counter.extrapolated(edges, values, function, out, valid);
            }
            WindowFunction::Irate => return counter::irate(edges, samples, out, valid),
            WindowFunction::Resets => self.counter.resets(edges, values, out),
            WindowFunction::Changes => self.counter.changes(edges, values, out),
            WindowFunction::Sum => slide::sum(edges, values, &mut self.sums, out),
            WindowFunction::Avg => slide::avg(edges, values, &mut self.sums, out),
            WindowFunction::Min => slide::extreme(edges, values, &mut self.extremes, out, f64::min),
            WindowFunction::Max => slide::extreme(edges, values, &mut self.extremes, out, f64::max),
            WindowFunction::Count => {
                each(edges, out, |window| crate::model::time::count_to_f64(window.len()));
            }
            WindowFunction::Last => each(edges, out, |window| values[window.end - 1]),
            WindowFunction::Present => each(edges, out, |_| 1.0),
            WindowFunction::Stddev => each(edges, out, |window| slide::stddev(&values[window])),
            WindowFunction::Quantile => {
                let Kind::Function(_, Some(parameter)) = &self.kind else {
                    unreachable!("the planner gives quantile_over_time its parameter")
                };
                self.quantile.slide(parameter, edges, values, out);
            }
        }
        not_empty(edges, valid)
    }
}

/// Fills every step whose window has samples from the window alone; the others get 0.
fn each(edges: &Edges, out: &mut [f64], mut value: impl FnMut(std::ops::Range<usize>) -> f64) {
    for (step, out) in out.iter_mut().enumerate() {
        let window = edges.range(step);
        *out = if window.is_empty() { 0.0 } else { value(window) };
    }
}

/// Marks the steps whose window has samples.
fn not_empty(edges: &Edges, valid: &mut [u64]) -> usize {
    let (lows, highs) = (edges.lows(), edges.highs());
    bits::fill(valid, lows.len(), |step| highs[step] > lows[step])
}
