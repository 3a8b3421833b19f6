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
mod regression;
mod slide;
mod smooth;
#[cfg(test)]
mod tests;

pub(crate) use self::edges::Edges;
use crate::error::Result;
use crate::model::time::{count_to_f64, ms_to_seconds};
use crate::query::plan::{Grid, StepScalar, WindowFunction, Windows};

/// One series' samples: timestamps ascending and unique (ms), with their values, and its stale markers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Samples<'a> {
    pub(crate) timestamps: &'a [i64],
    pub(crate) values: &'a [f64],
    /// Timestamps of stale markers, ascending. They end the lookback; range functions do not see them.
    pub(crate) stale_at: &'a [i64],
}

impl Samples<'_> {
    /// Those between two times, both included.
    pub(crate) fn within(&self, (first, last): (i64, i64)) -> Self {
        let inside = |timestamps: &[i64]| {
            let from = timestamps.partition_point(|t| *t < first);
            from..timestamps.partition_point(|t| *t <= last).max(from)
        };
        let (samples, stale) = (inside(self.timestamps), inside(self.stale_at));
        Self {
            timestamps: &self.timestamps[samples.clone()],
            values: &self.values[samples],
            stale_at: &self.stale_at[stale],
        }
    }
}

/// What one selector computes from a series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// The newest sample within the lookback.
    Newest,
    /// Its time in seconds.
    NewestTime,
    /// A function over the samples of the window, with its scalar arguments.
    Function(WindowFunction, Vec<StepScalar>),
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
    grid: Grid,
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
            grid: *grid,
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
    ///
    /// # Errors
    /// `Execution` where an argument is not allowed at a step that has samples.
    pub(crate) fn run(&mut self, samples: &Samples<'_>, out: &mut [f64], valid: &mut [u64]) -> Result<usize> {
        assert_eq!(out.len(), self.steps);
        assert_eq!(samples.timestamps.len(), samples.values.len());
        if self.follows_steps() {
            return self.each_step(samples, out, valid);
        }
        if !self.repeat {
            return Ok(self.fill(samples, out, valid));
        }
        let mut one = [0.0];
        let mut bit = [0];
        self.fill(samples, &mut one, &mut bit);
        out.fill(one[0]);
        let steps = self.steps;
        Ok(bits::fill(valid, steps, |_| bit[0] == 1))
    }

    /// Whether the result depends on the step in another way than by its window.
    fn follows_steps(&self) -> bool {
        match &self.kind {
            Kind::Function(WindowFunction::PredictLinear | WindowFunction::Smooth, _) => true,
            Kind::Function(WindowFunction::Quantile, arguments) => {
                self.repeat && matches!(arguments.as_slice(), [StepScalar::PerStep(_)])
            }
            _ => false,
        }
    }

    /// Step by step, each with its own arguments and evaluation time; with `@` all have one window.
    fn each_step(&mut self, samples: &Samples<'_>, out: &mut [f64], valid: &mut [u64]) -> Result<usize> {
        self.edges.plan(samples.timestamps);
        valid.fill(0);
        out.fill(0.0);
        for (step, out) in out.iter_mut().enumerate() {
            let window = self.edges.range(if self.repeat { 0 } else { step });
            let (timestamps, values) = (&samples.timestamps[window.clone()], &samples.values[window]);
            if values.is_empty() {
                continue;
            }
            let Kind::Function(function, arguments) = &self.kind else { continue };
            let argument = |at: usize| arguments[at].at(step);
            let value = match function {
                WindowFunction::PredictLinear => {
                    let time_ms = self.grid.time(step);
                    regression::predict(timestamps, values, time_ms, argument(0))
                }
                WindowFunction::Smooth => smooth::smooth(values, argument(0), argument(1))?,
                _ => Some(self.quantile.of(argument(0), values)),
            };
            if let Some(value) = value {
                *out = value;
                bits::set(valid, step);
            }
        }
        Ok(bits::count(valid))
    }

    fn fill(&mut self, samples: &Samples<'_>, out: &mut [f64], valid: &mut [u64]) -> usize {
        let changed = self.edges.plan(samples.timestamps);
        let edges = &self.edges;
        let (function, arguments) = match &self.kind {
            Kind::Newest => return latest::newest(edges, samples, out, valid, |at| samples.values[at]),
            Kind::NewestTime => {
                let seconds = |at: usize| ms_to_seconds(samples.timestamps[at]);
                return latest::newest(edges, samples, out, valid, seconds);
            }
            Kind::Function(function, arguments) => (*function, arguments),
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
            WindowFunction::Idelta => return counter::idelta(edges, values, out, valid),
            WindowFunction::Deriv => return regression::deriv(edges, samples, out, valid),
            WindowFunction::Resets => self.counter.resets(edges, values, out),
            WindowFunction::Changes => self.counter.changes(edges, values, out),
            WindowFunction::Sum => slide::sum(edges, values, &mut self.sums, out),
            WindowFunction::Avg => slide::avg(edges, values, &mut self.sums, out),
            WindowFunction::Min => slide::extreme(edges, values, &mut self.extremes, out, f64::min),
            WindowFunction::Max => slide::extreme(edges, values, &mut self.extremes, out, f64::max),
            WindowFunction::Quantile => self.quantile.slide(&arguments[0], edges, values, out),
            WindowFunction::MedianDeviation => {
                let quantile = &mut self.quantile;
                each(edges, out, |window| quantile.deviation(&values[window]));
            }
            function => each(edges, out, |window| plain(function, samples, window)),
        }
        not_empty(edges, valid)
    }
}

/// The functions that read every window (not empty) on its own.
fn plain(function: WindowFunction, samples: &Samples<'_>, window: std::ops::Range<usize>) -> f64 {
    let (first, last) = (window.start, window.end - 1);
    let values = &samples.values[window.clone()];
    let seconds = |at: usize| ms_to_seconds(samples.timestamps[at]);
    match function {
        WindowFunction::Count => count_to_f64(values.len()),
        WindowFunction::First => samples.values[first],
        WindowFunction::Last => samples.values[last],
        WindowFunction::Present => 1.0,
        WindowFunction::Stddev => slide::variance(values).sqrt(),
        WindowFunction::Stdvar => slide::variance(values),
        WindowFunction::TimeOfFirst => seconds(first),
        WindowFunction::TimeOfLast => seconds(last),
        WindowFunction::TimeOfMax => seconds(first + latest::best(values, |now, best| now >= best)),
        WindowFunction::TimeOfMin => seconds(first + latest::best(values, |now, best| now <= best)),
        _ => unreachable!("the other functions have their own kernels"),
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
