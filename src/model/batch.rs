//! What a door hands to the store: rows whose series are already resolved to handles.

use std::sync::Arc;

use super::{Histogram, Labels};

/// A series in the store's registry. A `generation` that has moved on means the slot was given to another
/// series; the store refuses the batch and the door resolves again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle {
    /// Index in the registry.
    pub slot: u32,
    /// How often the slot was given away.
    pub generation: u32,
}

/// The timestamps of a batch, in ms since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timestamps {
    /// A scrape: one for all rows.
    Shared(i64),
    /// One per row.
    Each(Vec<i64>),
}

impl Default for Timestamps {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

impl Timestamps {
    /// The timestamp of a row.
    ///
    /// # Panics
    /// When the row is outside the batch.
    pub fn at(&self, row: usize) -> i64 {
        match self {
            Self::Shared(timestamp) => *timestamp,
            Self::Each(timestamps) => timestamps[row],
        }
    }
}

/// One native histogram of a series. A stale series is marked by a float row, also where its samples are
/// histograms.
#[derive(Debug, Clone)]
pub struct HistogramRow {
    /// Whose.
    pub series: Handle,
    /// ms since 1970 UTC.
    pub timestamp: i64,
    /// What was counted.
    pub histogram: Arc<Histogram>,
}

/// One exemplar of a series: an observation and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct ExemplarRow {
    /// Whose.
    pub series: Handle,
    /// What was observed.
    pub exemplar: Exemplar,
}

/// An observation and where it came from, a trace id among its labels as a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// ms since 1970 UTC.
    pub timestamp: i64,
    /// What was observed.
    pub value: f64,
    /// Its own labels, none of the series'.
    pub labels: Labels,
}

impl Exemplar {
    /// The longest label set that OpenMetrics allows, in characters of names and values.
    pub const MAX_LABEL_CHARS: usize = 128;

    /// The order in which a series' exemplars are kept; equal ones are one.
    pub fn order(&self, other: &Self) -> std::cmp::Ordering {
        let by_time = self.timestamp.cmp(&other.timestamp);
        by_time.then_with(|| self.value.total_cmp(&other.value)).then_with(|| self.labels.cmp(&other.labels))
    }
}

/// What one request or scrape brings: float samples and stale markers (values with the bits of
/// [`super::STALE_NAN`]), native histograms, exemplars.
///
/// The batch is appended whole or not at all. Several rows of one series are allowed, in any order; of two
/// rows with one timestamp the later one wins, and a histogram wins over a float.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// One per float row.
    pub series: Vec<Handle>,
    /// Shared or one per float row.
    pub timestamps: Timestamps,
    /// One per float row.
    pub values: Vec<f64>,
    /// Native histograms.
    pub histograms: Vec<HistogramRow>,
    /// Exemplars.
    pub exemplars: Vec<ExemplarRow>,
    /// What the request says about metrics; may be empty.
    pub metadata: Vec<MetricMetadata>,
}

impl Batch {
    /// Number of float rows.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Number of rows of every sort.
    pub fn rows(&self) -> usize {
        self.values.len() + self.histograms.len() + self.exemplars.len()
    }

    /// Whether there are no rows of any sort.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// The series of every row: floats, then histograms, then exemplars. This is how rows are numbered.
    pub fn handles(&self) -> impl Iterator<Item = Handle> + '_ {
        let histograms = self.histograms.iter().map(|row| row.series);
        let exemplars = self.exemplars.iter().map(|row| row.series);
        self.series.iter().copied().chain(histograms).chain(exemplars)
    }

    /// Gives a row, numbered as in [`Self::handles`], another handle.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn rebind(&mut self, row: usize, handle: Handle) {
        let (floats, histograms) = (self.series.len(), self.histograms.len());
        match row.checked_sub(floats) {
            None => self.series[row] = handle,
            Some(at) if at < histograms => self.histograms[at].series = handle,
            Some(at) => self.exemplars[at - histograms].series = handle,
        }
    }
}

/// Type, help and unit of one metric family.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MetricMetadata {
    /// The family's name.
    pub metric: Arc<str>,
    /// Its type.
    pub kind: MetricType,
    /// Its help text; may be empty.
    pub help: Arc<str>,
    /// Its unit; may be empty.
    pub unit: Arc<str>,
}

/// The metric types of OpenMetrics, as Prometheus' API spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum MetricType {
    /// Not said.
    #[default]
    Unknown = 0,
    /// Only goes up, or resets.
    Counter = 1,
    /// Goes anywhere.
    Gauge = 2,
    /// Classic or native histogram of a counter.
    Histogram = 3,
    /// Histogram of a gauge.
    GaugeHistogram = 4,
    /// Quantiles computed by the target.
    Summary = 5,
    /// Labels that describe a thing.
    Info = 6,
    /// Boolean states.
    StateSet = 7,
}

impl MetricType {
    /// Every type, in the order of their stored numbers.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Counter,
        Self::Gauge,
        Self::Histogram,
        Self::GaugeHistogram,
        Self::Summary,
        Self::Info,
        Self::StateSet,
    ];

    /// The name in APIs, exposition formats and the `metadata` table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }

    /// The type of a name; `untyped` is the old spelling of `unknown`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "untyped" => Some(Self::Unknown),
            _ => Self::ALL.into_iter().find(|kind| kind.as_str() == name),
        }
    }

    /// The type of a stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}
