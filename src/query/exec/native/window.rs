//! A selector over a series that has histograms: each step's window over both kinds of samples.

use std::sync::Arc;

use super::super::kernel::{Edges, Kernel, Kind, Samples, bits};
use super::over_time::{self, Found, View};
use super::{Cell, cell_step};
use crate::error::Result;
use crate::model::Histogram;
use crate::model::time::{count_to_f64, ms_to_seconds};
use crate::query::plan::{Grid, HistogramNote, WindowFunction, Windows};

/// One series' samples of both kinds; no timestamp is in both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Points<'a> {
    pub(crate) floats: Samples<'a>,
    /// Ascending and unique, ms.
    pub(crate) times: &'a [i64],
    /// One a time.
    pub(crate) histograms: &'a [Arc<Histogram>],
}

/// What a step gets.
#[derive(Debug)]
pub(super) enum Outcome {
    /// What the float kernel found.
    Keep,
    Nothing,
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Outcome {
    pub(super) fn histogram(histogram: Histogram) -> Self {
        Self::Histogram(Arc::new(histogram))
    }
}

/// The windows of a selector over series with histograms; one per partition of a scan, beside its float kernel.
#[derive(Debug)]
pub(crate) struct Mixed {
    windows: Windows,
    floats: Edges,
    histograms: Edges,
    steps: usize,
    found: Found,
}

impl Mixed {
    /// For the same selector as a [`Kernel`].
    ///
    /// # Errors
    /// `Invalid` when a window leaves 64-bit milliseconds.
    pub(crate) fn new(grid: &Grid, range_ms: i64, offset_ms: i64, at_ms: Option<i64>) -> Result<Self> {
        let windows = || Windows::new(grid, range_ms, offset_ms, at_ms);
        Ok(Self {
            windows: windows()?,
            floats: Edges::new(windows()?),
            histograms: Edges::new(windows()?),
            steps: grid.steps(),
            found: Found::default(),
        })
    }

    /// Computes one series: floats into `out` and `valid`, histograms into `cells`.
    pub(crate) fn run(
        &mut self,
        kernel: &mut Kernel,
        points: &Points<'_>,
        (out, valid): (&mut [f64], &mut [u64]),
        cells: &mut Vec<Cell>,
    ) {
        kernel.run(&points.floats, out, valid);
        self.floats.plan(points.floats.timestamps);
        self.histograms.plan(points.times);
        cells.clear();
        let windows = self.windows.steps();
        for window in 0..windows {
            let view = View {
                floats: self.floats.range(window),
                histograms: self.histograms.range(window),
                start_ms: self.windows.end_ms(window) - self.windows.range_ms(),
                end_ms: self.windows.end_ms(window),
            };
            if view.histograms.is_empty() {
                continue;
            }
            let outcome = outcome(kernel.kind(), points, &view, &mut self.found);
            // One window under `@` stands for all steps.
            let steps = if windows == self.steps { window..window + 1 } else { 0..self.steps };
            for step in steps {
                let value = match &outcome {
                    Outcome::Keep => continue,
                    Outcome::Float(value) => {
                        bits::set(valid, step);
                        *value
                    }
                    Outcome::Nothing => {
                        bits::clear(valid, step);
                        0.0
                    }
                    Outcome::Histogram(histogram) => {
                        bits::clear(valid, step);
                        cells.push((cell_step(step), Arc::clone(histogram)));
                        0.0
                    }
                };
                out[step] = value;
            }
        }
    }

    /// What was found to be said since the last time.
    pub(crate) fn notes(&mut self) -> impl Iterator<Item = HistogramNote> + '_ {
        self.found.drain()
    }
}

fn outcome(kind: &Kind, points: &Points<'_>, view: &View, found: &mut Found) -> Outcome {
    let newest = view.histograms.end - 1;
    let newest_ms = points.times[newest];
    let float_is_newer = !view.floats.is_empty() && points.floats.timestamps[view.floats.end - 1] > newest_ms;
    let function = match kind {
        Kind::Newest | Kind::NewestTime => {
            let ended = points.floats.stale_at.iter().any(|at| (newest_ms..=view.end_ms).contains(at));
            return match kind {
                _ if float_is_newer => Outcome::Keep,
                _ if ended => Outcome::Nothing,
                Kind::Newest => Outcome::Histogram(Arc::clone(&points.histograms[newest])),
                _ => Outcome::Float(ms_to_seconds(newest_ms)),
            };
        }
        Kind::Function(function, _) => *function,
    };
    match function {
        WindowFunction::Rate | WindowFunction::Increase | WindowFunction::Delta => {
            over_time::extrapolated(points, view, function, found)
        }
        WindowFunction::Irate => over_time::instant(points, view, true, found),
        WindowFunction::Resets => over_time::transitions(points, view, true),
        WindowFunction::Changes => over_time::transitions(points, view, false),
        WindowFunction::Sum => over_time::folded(points, view, false, found),
        WindowFunction::Avg => over_time::folded(points, view, true, found),
        WindowFunction::Count => Outcome::Float(count_to_f64(view.floats.len() + view.histograms.len())),
        WindowFunction::Present => Outcome::Float(1.0),
        WindowFunction::Last if float_is_newer => Outcome::Keep,
        WindowFunction::Last => Outcome::Histogram(Arc::clone(&points.histograms[newest])),
        WindowFunction::Min | WindowFunction::Max | WindowFunction::Quantile | WindowFunction::Stddev => {
            if !view.floats.is_empty() {
                found.add(HistogramNote::IgnoredInRange);
            }
            Outcome::Keep
        }
    }
}
