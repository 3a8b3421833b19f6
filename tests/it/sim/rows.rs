//! What the rows of a request are: floats, native histograms, exemplars, log lines. Everything of a row but its time
//! follows from two numbers, so that a reader can tell whether it is whole.

use quipu::model::{CUSTOM_BUCKETS, Exemplar, Histogram, Labels, STALE_NAN, Span};

/// What a row is a row of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    /// A series' float or stale marker. A histogram of the same time hides it.
    Float(u64),
    /// A series' native histogram.
    Histogram(u64),
    /// The exemplar of a series with a number that no other has: it is never written over.
    Exemplar(u64, u32),
    /// The log line with this number. Two requests may bring the same one; it is there once.
    Line(u32),
}

impl Of {
    /// The series whose row it is.
    pub(super) fn series(self) -> Option<u64> {
        match self {
            Self::Float(series) | Self::Histogram(series) | Self::Exemplar(series, _) => Some(series),
            Self::Line(_) => None,
        }
    }

    /// What hides a row of the same time.
    pub(super) fn hidden_by(self) -> Option<Self> {
        if let Self::Float(series) = self { Some(Self::Histogram(series)) } else { None }
    }
}

/// Whether the bits of a row are those of a stale marker.
pub(super) fn is_stale(of: Of, bits: u64) -> bool {
    matches!(of, Of::Float(_)) && bits == STALE_NAN
}

/// The histogram whose count is a value: of integers, of floats or with custom buckets.
pub(super) fn histogram(value: f64) -> Histogram {
    let span = |offset, length| Span { offset, length };
    let plain = Histogram { count: value, sum: value / 2.0, ..Histogram::default() };
    match value.rem_euclid(3.0) {
        kind if kind < 0.5 => Histogram {
            schema: 3,
            zero_threshold: 0.001,
            zero_count: 1.0,
            positive_spans: vec![span(-2, 1), span(3, 2)],
            positive: vec![1.0, 0.0, value - 2.0],
            ..plain
        },
        kind if kind < 1.5 => Histogram {
            schema: -1,
            is_float: true,
            negative_spans: vec![span(0, 2)],
            negative: vec![value / 4.0, value * 0.75],
            ..plain
        },
        _ => Histogram {
            schema: CUSTOM_BUCKETS,
            positive_spans: vec![span(0, 3)],
            positive: vec![value - 2.0, 1.0, 1.0],
            custom_bounds: vec![0.5, 1.0],
            ..plain
        },
    }
}

/// The exemplar with a number.
pub(super) fn exemplar(number: u32, at: i64) -> Exemplar {
    let text = number.to_string();
    let labels = Labels::from_pairs([("trace_id", text.as_str())]).expect("good labels");
    Exemplar { timestamp: at, value: f64::from(number), labels }
}
