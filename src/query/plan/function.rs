//! The functions, operators and aggregations that are evaluated, by name. A name that is not here is answered
//! with "not supported yet"; it never falls through to something similar.

/// What is computed over a range vector selector, one value a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum WindowFunction {
    /// Per-second increase of a counter, extrapolated to the window.
    Rate,
    /// Increase of a counter, extrapolated to the window.
    Increase,
    /// Difference of a gauge, extrapolated to the window.
    Delta,
    /// Per-second increase of a counter between the last two samples.
    Irate,
    /// Difference of the last two samples.
    Idelta,
    /// How often a counter went down.
    Resets,
    /// How often the value changed.
    Changes,
    /// Sum of the samples.
    Sum,
    /// Mean of the samples.
    Avg,
    /// Smallest sample.
    Min,
    /// Largest sample.
    Max,
    /// Number of samples.
    Count,
    /// Oldest sample.
    First,
    /// Newest sample.
    Last,
    /// Interpolated quantile of the samples.
    Quantile,
    /// Population standard deviation of the samples.
    Stddev,
    /// Population variance of the samples.
    Stdvar,
    /// Median of the distances from the median.
    MedianDeviation,
    /// 1 where there is a sample.
    Present,
    /// Time of the oldest sample, seconds.
    TimeOfFirst,
    /// Time of the newest sample, seconds.
    TimeOfLast,
    /// Time of the last of the largest samples, seconds.
    TimeOfMax,
    /// Time of the last of the smallest samples, seconds.
    TimeOfMin,
    /// Slope of the regression line, per second.
    Deriv,
    /// The regression line so many seconds after the evaluation time.
    PredictLinear,
    /// Smoothed value, by Holt's method with two factors.
    Smooth,
}

impl WindowFunction {
    /// The function of a name in a query.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }

    /// All of them, in no meaningful order.
    pub(crate) const ALL: [Self; 26] = [
        Self::Rate,
        Self::Increase,
        Self::Delta,
        Self::Irate,
        Self::Idelta,
        Self::Resets,
        Self::Changes,
        Self::Sum,
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Count,
        Self::First,
        Self::Last,
        Self::Quantile,
        Self::Stddev,
        Self::Stdvar,
        Self::MedianDeviation,
        Self::Present,
        Self::TimeOfFirst,
        Self::TimeOfLast,
        Self::TimeOfMax,
        Self::TimeOfMin,
        Self::Deriv,
        Self::PredictLinear,
        Self::Smooth,
    ];

    /// The name in a query.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Increase => "increase",
            Self::Delta => "delta",
            Self::Irate => "irate",
            Self::Idelta => "idelta",
            Self::Resets => "resets",
            Self::Changes => "changes",
            Self::Sum => "sum_over_time",
            Self::Avg => "avg_over_time",
            Self::Min => "min_over_time",
            Self::Max => "max_over_time",
            Self::Count => "count_over_time",
            Self::First => "first_over_time",
            Self::Last => "last_over_time",
            Self::Quantile => "quantile_over_time",
            Self::Stddev => "stddev_over_time",
            Self::Stdvar => "stdvar_over_time",
            Self::MedianDeviation => "mad_over_time",
            Self::Present => "present_over_time",
            Self::TimeOfFirst => "ts_of_first_over_time",
            Self::TimeOfLast => "ts_of_last_over_time",
            Self::TimeOfMax => "ts_of_max_over_time",
            Self::TimeOfMin => "ts_of_min_over_time",
            Self::Deriv => "deriv",
            Self::PredictLinear => "predict_linear",
            Self::Smooth => "double_exponential_smoothing",
        }
    }

    /// Whether the result is no longer the metric: all but `first_over_time` and `last_over_time`, which only look
    /// back further.
    pub(crate) fn drops_name(self) -> bool {
        !matches!(self, Self::First | Self::Last)
    }

    /// Whether Prometheus says so when the metric's name does not look like a counter's.
    pub(crate) fn wants_counter(self) -> bool {
        matches!(self, Self::Rate | Self::Increase)
    }
}

/// Arithmetic and comparison between a vector and a scalar or between scalars; and two functions of two scalars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ScalarOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    /// `max_of`
    MaxOf,
    /// `min_of`
    MinOf,
}

impl ScalarOp {
    /// The operator in a query.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterOrEqual => ">=",
            Self::LessOrEqual => "<=",
            Self::MaxOf => "max_of",
            Self::MinOf => "min_of",
        }
    }

    /// Whether it filters (or gives 0 and 1 with `bool`).
    pub(crate) fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Greater
                | Self::Less
                | Self::GreaterOrEqual
                | Self::LessOrEqual
        )
    }

    /// Whether a comparison holds; false for arithmetic.
    #[expect(clippy::float_cmp, reason = "PromQL compares floats exactly")]
    pub(crate) fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Greater => left > right,
            Self::Less => left < right,
            Self::GreaterOrEqual => left >= right,
            Self::LessOrEqual => left <= right,
            _ => false,
        }
    }

    /// The value between two scalars; a comparison gives 1 or 0.
    pub(crate) fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div => left / right,
            Self::Mod => left % right,
            Self::Pow => go_pow(left, right),
            Self::Atan2 => left.atan2(right),
            Self::MaxOf => go_max(left, right),
            Self::MinOf => go_min(left, right),
            comparison => f64::from(u8::from(comparison.holds(left, right))),
        }
    }
}

/// Go's `math.Pow`: C's `pow`, which Rust's `powf` calls.
fn go_pow(base: f64, exponent: f64) -> f64 {
    base.powf(exponent)
}

/// Go's `math.Max`: NaN wins over all but +Inf, and 0 over -0.
#[expect(clippy::float_cmp, reason = "the two zeros are equal")]
pub(crate) fn go_max(left: f64, right: f64) -> f64 {
    if left == f64::INFINITY || right == f64::INFINITY {
        f64::INFINITY
    } else if left.is_nan() || right.is_nan() {
        f64::NAN
    } else if left > right || left == right && right.is_sign_negative() {
        left
    } else {
        right
    }
}

/// Go's `math.Min`: NaN wins over all but -Inf, and -0 over 0.
pub(crate) fn go_min(left: f64, right: f64) -> f64 {
    -go_max(-left, -right)
}

/// How series become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum AggregateOp {
    /// Sum, compensated.
    Sum,
    /// Mean, compensated.
    Avg,
    /// Smallest; NaN only when all are.
    Min,
    /// Largest; NaN only when all are.
    Max,
    /// How many.
    Count,
    /// 1 where there is any.
    Group,
    /// The k largest series.
    TopK,
    /// The k smallest series.
    BottomK,
    /// Interpolated quantile over the series.
    Quantile,
    /// Population standard deviation over the series.
    Stddev,
    /// Population variance over the series.
    Stdvar,
    /// Any k series.
    LimitK,
}

impl AggregateOp {
    /// The aggregation of a name in a query.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name() == name)
    }

    /// All of them, in no meaningful order.
    pub(crate) const ALL: [Self; 12] = [
        Self::Sum,
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Count,
        Self::Group,
        Self::TopK,
        Self::BottomK,
        Self::Quantile,
        Self::Stddev,
        Self::Stdvar,
        Self::LimitK,
    ];

    /// The name in a query.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Count => "count",
            Self::Group => "group",
            Self::TopK => "topk",
            Self::BottomK => "bottomk",
            Self::Quantile => "quantile",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::LimitK => "limitk",
        }
    }

    /// Whether the result is series of the input, not one series a group.
    pub(crate) fn keeps_series(self) -> bool {
        matches!(self, Self::TopK | Self::BottomK | Self::LimitK)
    }
}
