//! A selector over a series that has histograms: each step's window over both kinds of samples.

use std::sync::Arc;

use super::super::batch::Rows;
use super::super::kernel::{Edges, Kernel, Kind, Samples, bits};
use super::hints::Hints;
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
    /// The histogram before the first, if it is known.
    pub(crate) before: Option<&'a Arc<Histogram>>,
}

impl Points<'_> {
    /// Those between two times, both included.
    pub(crate) fn within(&self, (first, last): (i64, i64)) -> Self {
        let from = self.times.partition_point(|time| *time < first);
        let to = self.times.partition_point(|time| *time <= last).max(from);
        let (times, histograms) = (&self.times[from..to], &self.histograms[from..to]);
        let before = from.checked_sub(1).map_or(self.before, |before| self.histograms.get(before));
        Self { floats: self.floats.within((first, last)), times, histograms, before }
    }
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

/// Which samples the steps of a selector reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach<'a> {
    pub(crate) grid: &'a Grid,
    pub(crate) range_ms: i64,
    pub(crate) offset_ms: i64,
    pub(crate) at_ms: Option<i64>,
    /// Resets of counters are named in what steps get.
    pub(crate) names_resets: bool,
}

/// What series with histograms need besides the kernel for their floats; made when the first one comes.
#[derive(Debug, Default)]
pub(crate) struct MixedRows {
    windows: Option<Mixed>,
    values: Vec<f64>,
    cells: Vec<Cell>,
}

impl MixedRows {
    /// Adds the row of a series, if it has any value; whether it has any float.
    ///
    /// # Errors
    /// `Invalid` when a window leaves 64-bit milliseconds.
    pub(crate) fn push(
        &mut self,
        kernel: &mut Kernel,
        points: &Points<'_>,
        (rows, valid): (&mut Rows, &mut [u64]),
        (key, drop_name): (i32, bool),
        reach: &Reach<'_>,
    ) -> Result<bool> {
        let windows = match &mut self.windows {
            Some(windows) => windows,
            none => {
                self.values.resize(reach.grid.steps(), 0.0);
                none.insert(Mixed::new(reach)?)
            }
        };
        windows.run(kernel, points, (&mut self.values, valid), &mut self.cells)?;
        let has_floats = bits::count(valid) > 0;
        if has_floats || !self.cells.is_empty() {
            rows.push_mixed(key, drop_name, (&self.values, valid), &self.cells);
        }
        Ok(has_floats)
    }

    /// What was found to be said since the last time.
    pub(crate) fn notes(&mut self) -> impl Iterator<Item = HistogramNote> + '_ {
        self.windows.iter_mut().flat_map(|windows| windows.found.drain())
    }
}

/// The windows of a selector over series with histograms; one per partition, beside its float kernel.
#[derive(Debug)]
struct Mixed {
    windows: Windows,
    floats: Edges,
    histograms: Edges,
    steps: usize,
    hints: Hints,
    found: Found,
}

impl Mixed {
    fn new(reach: &Reach<'_>) -> Result<Self> {
        let Reach { grid, range_ms, offset_ms, at_ms, names_resets } = *reach;
        let windows = || Windows::new(grid, range_ms, offset_ms, at_ms);
        Ok(Self {
            windows: windows()?,
            floats: Edges::new(windows()?),
            histograms: Edges::new(windows()?),
            steps: grid.steps(),
            hints: Hints::new(names_resets),
            found: Found::default(),
        })
    }

    /// Computes one series: floats into `out` and `valid`, histograms into `cells`.
    fn run(
        &mut self,
        kernel: &mut Kernel,
        points: &Points<'_>,
        (out, valid): (&mut [f64], &mut [u64]),
        cells: &mut Vec<Cell>,
    ) -> Result<()> {
        kernel.run(&points.floats, out, valid)?;
        self.floats.plan(points.floats.timestamps);
        self.histograms.plan(points.times);
        self.hints.clear(points.times.len());
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
            let outcome = outcome(kernel.kind(), points, &view, (&mut self.hints, &mut self.found));
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
        Ok(())
    }
}

fn outcome(
    kind: &Kind,
    points: &Points<'_>,
    view: &View,
    (hints, found): (&mut Hints, &mut Found),
) -> Outcome {
    let newest = view.histograms.end - 1;
    let newest_ms = points.times[newest];
    let float_is_newer = !view.floats.is_empty() && points.floats.timestamps[view.floats.end - 1] > newest_ms;
    let oldest = view.histograms.start;
    let oldest_ms = points.times[oldest];
    let float_is_older = !view.floats.is_empty() && points.floats.timestamps[view.floats.start] < oldest_ms;
    let function = match kind {
        Kind::Newest | Kind::NewestTime => {
            let ended = points.floats.stale_at.iter().any(|at| (newest_ms..=view.end_ms).contains(at));
            return match kind {
                _ if float_is_newer => Outcome::Keep,
                _ if ended => Outcome::Nothing,
                Kind::Newest => Outcome::Histogram(hints.histogram(points, newest)),
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
        WindowFunction::Idelta => over_time::instant(points, view, false, found),
        WindowFunction::Resets => over_time::transitions(points, view, true),
        WindowFunction::Changes => over_time::transitions(points, view, false),
        WindowFunction::Sum => over_time::folded(points, view, false, (hints, found)),
        WindowFunction::Avg => over_time::folded(points, view, true, (hints, found)),
        WindowFunction::Count => Outcome::Float(count_to_f64(view.floats.len() + view.histograms.len())),
        WindowFunction::Present => Outcome::Float(1.0),
        WindowFunction::Last | WindowFunction::TimeOfLast if float_is_newer => Outcome::Keep,
        WindowFunction::Last => Outcome::Histogram(hints.histogram(points, newest)),
        WindowFunction::TimeOfLast => Outcome::Float(ms_to_seconds(newest_ms)),
        WindowFunction::First | WindowFunction::TimeOfFirst if float_is_older => Outcome::Keep,
        WindowFunction::First => Outcome::Histogram(hints.histogram(points, oldest)),
        WindowFunction::TimeOfFirst => Outcome::Float(ms_to_seconds(oldest_ms)),
        WindowFunction::Min
        | WindowFunction::Max
        | WindowFunction::TimeOfMin
        | WindowFunction::TimeOfMax
        | WindowFunction::Quantile
        | WindowFunction::Stddev
        | WindowFunction::Stdvar
        | WindowFunction::MedianDeviation
        | WindowFunction::Deriv
        | WindowFunction::PredictLinear
        | WindowFunction::Smooth => {
            if !view.floats.is_empty() {
                found.add(HistogramNote::IgnoredInRange);
            }
            Outcome::Keep
        }
    }
}
