//! What a door hands to the store: rows whose series are already resolved to handles.

use std::sync::Arc;

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

/// Float samples and stale markers (values with the bits of [`super::STALE_NAN`]) of one request or scrape.
///
/// The batch is appended whole or not at all. Several rows of one series are allowed, in any order; of two
/// rows with one timestamp the later one wins.
#[derive(Debug, Clone)]
pub struct Batch {
    /// One per row.
    pub series: Vec<Handle>,
    /// Shared or one per row.
    pub timestamps: Timestamps,
    /// One per row.
    pub values: Vec<f64>,
    /// What the request says about metrics; may be empty.
    pub metadata: Vec<MetricMetadata>,
}

impl Batch {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
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
