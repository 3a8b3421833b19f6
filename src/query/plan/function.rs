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
    /// Newest sample.
    Last,
    /// Interpolated quantile of the samples.
    Quantile,
    /// Population standard deviation of the samples.
    Stddev,
    /// 1 where there is a sample.
    Present,
}

impl WindowFunction {
    /// The function of a name in a query.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }

    /// All of them, in no meaningful order.
    pub(crate) const ALL: [Self; 15] = [
        Self::Rate,
        Self::Increase,
        Self::Delta,
        Self::Irate,
        Self::Resets,
        Self::Changes,
        Self::Sum,
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Count,
        Self::Last,
        Self::Quantile,
        Self::Stddev,
        Self::Present,
    ];

    /// The name in a query.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Increase => "increase",
            Self::Delta => "delta",
            Self::Irate => "irate",
            Self::Resets => "resets",
            Self::Changes => "changes",
            Self::Sum => "sum_over_time",
            Self::Avg => "avg_over_time",
            Self::Min => "min_over_time",
            Self::Max => "max_over_time",
            Self::Count => "count_over_time",
            Self::Last => "last_over_time",
            Self::Quantile => "quantile_over_time",
            Self::Stddev => "stddev_over_time",
            Self::Present => "present_over_time",
        }
    }

    /// Whether the result is no longer the metric: all but `last_over_time`, which only looks back further.
    pub(crate) fn drops_name(self) -> bool {
        self != Self::Last
    }

    /// Whether Prometheus says so when the metric's name does not look like a counter's.
    pub(crate) fn wants_counter(self) -> bool {
        matches!(self, Self::Rate | Self::Increase)
    }
}

/// What is computed from each value alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum InstantFunction {
    /// `abs`
    Abs,
    /// `ceil`
    Ceil,
    /// `floor`
    Floor,
    /// Unary minus.
    Negate,
    /// `timestamp` of anything but a selector: the evaluation time.
    EvaluationTime,
    /// A number of a native histogram; floats have none.
    Statistic(Statistic),
}

impl InstantFunction {
    /// The name in a query or in EXPLAIN.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Abs => "abs",
            Self::Ceil => "ceil",
            Self::Floor => "floor",
            Self::Negate => "-",
            Self::EvaluationTime => "timestamp",
            Self::Statistic(function) => function.name(),
        }
    }
}

/// What is computed from each native histogram alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Statistic {
    /// Number of observations.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
    /// Their standard deviation, estimated from the buckets.
    Stddev,
    /// Their variance, estimated from the buckets.
    Stdvar,
}

impl Statistic {
    /// The function of a name in a query.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Count, Self::Sum, Self::Avg, Self::Stddev, Self::Stdvar]
            .into_iter()
            .find(|function| function.name() == name)
    }

    /// The name in a query.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Count => "histogram_count",
            Self::Sum => "histogram_sum",
            Self::Avg => "histogram_avg",
            Self::Stddev => "histogram_stddev",
            Self::Stdvar => "histogram_stdvar",
        }
    }
}

/// Arithmetic and comparison between a vector and a scalar or between scalars.
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
            comparison => f64::from(u8::from(comparison.holds(left, right))),
        }
    }
}

/// Go's `math.Pow`: C's `pow`, which Rust's `powf` calls.
fn go_pow(base: f64, exponent: f64) -> f64 {
    base.powf(exponent)
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
}

impl AggregateOp {
    /// The aggregation of a name in a query.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name() == name)
    }

    /// All of them, in no meaningful order.
    pub(crate) const ALL: [Self; 9] = [
        Self::Sum,
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Count,
        Self::Group,
        Self::TopK,
        Self::BottomK,
        Self::Quantile,
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
        }
    }

    /// Whether the result is series of the input, not one series a group.
    pub(crate) fn keeps_series(self) -> bool {
        matches!(self, Self::TopK | Self::BottomK)
    }
}
