//! What a PromQL question is and what comes back: series with their points, read in place by an encoder.

use std::sync::Arc;
use std::time::Duration;

use super::exec::{self, Cell, MergedRow, bits};
use super::plan::Grid;
use crate::model::{Histogram, LabelsRef};

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The query.
    pub text: String,
    /// At which times.
    pub times: Times,
    /// How far instant selectors look back, ms; `None` is the setting.
    pub lookback_ms: Option<i64>,
    /// How long it may run; the setting, where that is shorter or this is `None`.
    pub timeout: Option<Duration>,
}

/// The evaluation times of a question, ms since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// At one time.
    Instant {
        /// When.
        time_ms: i64,
    },
    /// At every step from start to end.
    Range {
        /// The first.
        start_ms: i64,
        /// The last is at or before this.
        end_ms: i64,
        /// Their distance.
        step_ms: i64,
    },
}

/// What kind of result it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One point without labels.
    Scalar,
    /// One point a series.
    Vector,
    /// Many points a series.
    Matrix,
    /// A text.
    String,
}

impl Shape {
    /// Prometheus' `resultType`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }
}

/// What answering took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueryStats {
    /// Until it was admitted.
    pub waiting: Duration,
    /// From then on.
    pub evaluation: Duration,
    /// Of it, until the series were found.
    pub preparation: Duration,
    /// Of it, putting the answer in order.
    pub sorting: Duration,
    /// Samples of the series that were found, in the times that count: no more than these were read.
    pub samples: u64,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    shape: Shape,
    grid: Grid,
    text: String,
    series: Vec<AnswerSeries>,
    /// In Prometheus' words, each once, sorted.
    pub warnings: Vec<String>,
    /// In Prometheus' words, each once, sorted.
    pub infos: Vec<String>,
    /// What it took.
    pub stats: QueryStats,
}

/// One series of an answer.
#[derive(Debug, Clone)]
pub struct AnswerSeries {
    labels: Box<[u8]>,
    points: Points,
}

#[derive(Debug, Clone)]
enum Points {
    /// A value a step of the grid, where its bit is set.
    Steps { grid: Grid, values: Vec<f64>, valid: Vec<u64>, histograms: Vec<Cell> },
    /// As stored.
    Samples { timestamps: Vec<i64>, values: Vec<f64>, times: Vec<i64>, histograms: Vec<Arc<Histogram>> },
}

impl AnswerSeries {
    pub(super) fn steps(grid: Grid, row: MergedRow) -> Self {
        let MergedRow { labels, values, valid, histograms } = row;
        Self { labels, points: Points::Steps { grid, values, valid, histograms } }
    }

    pub(super) fn samples(
        labels: Box<[u8]>,
        (timestamps, values): (Vec<i64>, Vec<f64>),
        (times, histograms): (Vec<i64>, Vec<Arc<Histogram>>),
    ) -> Self {
        Self { labels, points: Points::Samples { timestamps, values, times, histograms } }
    }

    /// The label pairs in output order: sorted by name, `__name__` at its place.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        exec::in_output_order(self.labels_ref())
    }

    pub(super) fn labels_ref(&self) -> LabelsRef<'_> {
        LabelsRef::trusted(&self.labels)
    }

    /// The floats in order: ms since 1970, value.
    pub fn points(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        let (steps, samples) = match &self.points {
            Points::Steps { grid, values, valid, .. } => (Some((grid, values, valid)), None),
            Points::Samples { timestamps, values, .. } => (None, Some((timestamps, values))),
        };
        let steps = steps.into_iter().flat_map(|(grid, values, valid)| {
            bits::ones(valid).map(move |step| (grid.time(step), values[step]))
        });
        let samples = samples
            .into_iter()
            .flat_map(|(timestamps, values)| timestamps.iter().copied().zip(values.iter().copied()));
        steps.chain(samples)
    }

    /// The native histograms in order: ms since 1970, histogram. No time has a float too.
    pub fn histograms(&self) -> impl Iterator<Item = (i64, &Histogram)> + '_ {
        let (steps, samples) = match &self.points {
            Points::Steps { grid, histograms, .. } => (Some((grid, histograms)), None),
            Points::Samples { times, histograms, .. } => (None, Some((times, histograms))),
        };
        let steps = steps.into_iter().flat_map(|(grid, cells)| {
            cells.iter().map(move |(step, histogram)| (grid.time(*step as usize), histogram.as_ref()))
        });
        let samples = samples
            .into_iter()
            .flat_map(|(times, histograms)| times.iter().copied().zip(histograms.iter().map(Arc::as_ref)));
        steps.chain(samples)
    }

    /// How many points of both kinds there are.
    pub fn point_count(&self) -> usize {
        match &self.points {
            Points::Steps { valid, histograms, .. } => bits::count(valid) + histograms.len(),
            Points::Samples { timestamps, times, .. } => timestamps.len() + times.len(),
        }
    }
}

impl Answer {
    pub(super) fn new(shape: Shape, grid: Grid, series: Vec<AnswerSeries>) -> Self {
        let (text, warnings, infos) = (String::new(), Vec::new(), Vec::new());
        Self { shape, grid, text, series, warnings, infos, stats: QueryStats::default() }
    }

    pub(super) fn of_text(text: String, grid: Grid) -> Self {
        Self { text, ..Self::new(Shape::String, grid, Vec::new()) }
    }

    /// Orders the series by their labels.
    pub(super) fn sort(&mut self) {
        self.series.sort_by(|a, b| exec::compare(a.labels_ref(), b.labels_ref()));
    }

    /// What kind of result it is.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The series: a matrix's sorted as Prometheus sorts label sets, a vector's by value where it was asked for
    /// (`sort`, `topk`) and else by labels too. A scalar is one series without labels.
    pub fn series(&self) -> &[AnswerSeries] {
        &self.series
    }

    /// The first evaluation time, ms since 1970: the time of a scalar or a text.
    pub fn time_ms(&self) -> i64 {
        self.grid.start_ms()
    }

    /// The text of a [`Shape::String`].
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Keeps the first `limit` series; whether any were left out.
    pub fn truncate(&mut self, limit: usize) -> bool {
        let more = self.series.len() > limit;
        self.series.truncate(limit);
        more
    }
}
