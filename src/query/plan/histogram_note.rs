//! What Prometheus says about native histograms in an answer, in its words.

use std::fmt;

/// A warning or an info.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum HistogramNote {
    /// A range with floats and histograms, for a function that takes only one kind.
    MixedRange,
    /// A group with both.
    MixedGroup,
    /// A classic and a native histogram of the same labels.
    ClassicAndNative,
    /// `rate` of a gauge.
    NotACounter,
    /// `delta` of a counter.
    NotAGauge,
    /// Exponential and custom buckets together.
    MixedSchemas,
    /// The same, of a binary operator.
    BucketLayouts(&'static str),
    /// A binary operator that is not defined for these two.
    Types(SampleType, &'static str, SampleType),
    /// An aggregation that takes floats only.
    IgnoredInAggregation(&'static str),
    /// A function that takes floats only, over a range with both.
    IgnoredInRange,
    /// A quantile above all buckets, because of NaN observations.
    QuantileIsNan,
    /// A quantile with NaN observations.
    QuantileIsSkewed,
    /// A fraction with NaN observations.
    FractionWithoutNan,
    /// Hints that contradict each other.
    ResetsCollide(Operation),
    /// Custom bounds that were brought together.
    BoundsReconciled(Operation),
}

/// What an operand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum SampleType {
    /// A float.
    Float,
    /// A native histogram.
    Histogram,
}

/// How histograms came together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// `+`
    Addition,
    /// `-`
    Subtraction,
    /// An aggregation, over series or over time.
    Aggregation,
}

impl HistogramNote {
    /// Otherwise it is an info.
    pub(super) fn is_warning(self) -> bool {
        match self {
            Self::MixedRange
            | Self::MixedGroup
            | Self::ClassicAndNative
            | Self::NotACounter
            | Self::NotAGauge
            | Self::MixedSchemas
            | Self::BucketLayouts(_)
            | Self::ResetsCollide(_) => true,
            Self::Types(..)
            | Self::IgnoredInAggregation(_)
            | Self::IgnoredInRange
            | Self::QuantileIsNan
            | Self::QuantileIsSkewed
            | Self::FractionWithoutNan
            | Self::BoundsReconciled(_) => false,
        }
    }

    /// The text of the note about a metric, whose name is quoted already.
    pub(super) fn write(self, f: &mut fmt::Formatter<'_>, metric: &str) -> fmt::Result {
        let kind = if self.is_warning() { "warning" } else { "info" };
        write!(f, "PromQL {kind}: ")?;
        // Some texts name the metric only where there is one.
        let named = |f: &mut fmt::Formatter<'_>, text: &str| {
            f.write_str(text)?;
            if metric == "\"\"" { Ok(()) } else { write!(f, " for metric name {metric}") }
        };
        match self {
            Self::MixedRange => {
                write!(f, "encountered a mix of histograms and floats for metric name {metric}")
            }
            Self::MixedGroup => f.write_str("encountered a mix of histograms and floats for aggregation"),
            Self::ClassicAndNative => named(f, "vector contains a mix of classic and native histograms"),
            Self::NotACounter => write!(f, "this native histogram metric is not a counter: {metric}"),
            Self::NotAGauge => write!(f, "this native histogram metric is not a gauge: {metric}"),
            Self::MixedSchemas => write!(
                f,
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name \
                 {metric}"
            ),
            Self::BucketLayouts(op) => {
                write!(f, "incompatible bucket layout encountered for binary operator {op}")
            }
            Self::Types(left, op, right) => write!(
                f,
                "incompatible sample types encountered for binary operator \"{op}\": {left} {op} {right}"
            ),
            Self::IgnoredInAggregation(name) => write!(f, "ignored histogram in {name} aggregation"),
            Self::IgnoredInRange => write!(
                f,
                "ignored histograms in a range containing both floats and histograms for metric name {metric}"
            ),
            Self::QuantileIsNan => {
                named(f, "input to histogram_quantile has NaN observations, result is NaN")
            }
            Self::QuantileIsSkewed => {
                named(f, "input to histogram_quantile has NaN observations, result is skewed higher")
            }
            Self::FractionWithoutNan => {
                let text =
                    "input to histogram_fraction has NaN observations, which are excluded from all fractions";
                named(f, text)
            }
            Self::ResetsCollide(how) => write!(f, "conflicting counter resets during histogram {how}"),
            Self::BoundsReconciled(how) => {
                write!(f, "mismatched custom buckets were reconciled during {how}")
            }
        }
    }
}

impl fmt::Display for SampleType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Histogram => "histogram",
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        })
    }
}
