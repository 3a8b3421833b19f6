//! Functions of one value (and of scalars): which there are. What they compute is `exec/instant.rs`.

use std::fmt;

use datafusion::logical_expr::LogicalPlan;

use super::node::Node;
use super::scalar::ScalarArgument;
use super::schema::GridSchema;

/// What is computed from each value alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum InstantFunction {
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    /// Between two scalars; nothing where they are the wrong way round.
    Clamp,
    /// Not above a scalar.
    ClampMax,
    /// Not below a scalar.
    ClampMin,
    Cos,
    Cosh,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    /// Radians to degrees.
    Deg,
    /// `timestamp` of anything but a selector: the evaluation time.
    EvaluationTime,
    Exp,
    Floor,
    /// Mean of the observations of a native histogram; the others that begin so are of those too. Floats have none.
    HistogramAvg,
    HistogramCount,
    HistogramStddev,
    HistogramStdvar,
    HistogramSum,
    Hour,
    Ln,
    Log10,
    Log2,
    Minute,
    Month,
    /// Unary minus.
    Negate,
    /// Degrees to radians.
    Rad,
    /// To the nearest multiple of a scalar.
    Round,
    /// The sign.
    Sgn,
    Sin,
    Sinh,
    Sqrt,
    Tan,
    Tanh,
    Year,
}

/// Those that are called by a name of their own, in its order.
const NAMES: [(&str, InstantFunction); 40] = [
    ("abs", InstantFunction::Abs),
    ("acos", InstantFunction::Acos),
    ("acosh", InstantFunction::Acosh),
    ("asin", InstantFunction::Asin),
    ("asinh", InstantFunction::Asinh),
    ("atan", InstantFunction::Atan),
    ("atanh", InstantFunction::Atanh),
    ("ceil", InstantFunction::Ceil),
    ("clamp", InstantFunction::Clamp),
    ("clamp_max", InstantFunction::ClampMax),
    ("clamp_min", InstantFunction::ClampMin),
    ("cos", InstantFunction::Cos),
    ("cosh", InstantFunction::Cosh),
    ("day_of_month", InstantFunction::DayOfMonth),
    ("day_of_week", InstantFunction::DayOfWeek),
    ("day_of_year", InstantFunction::DayOfYear),
    ("days_in_month", InstantFunction::DaysInMonth),
    ("deg", InstantFunction::Deg),
    ("exp", InstantFunction::Exp),
    ("floor", InstantFunction::Floor),
    ("histogram_avg", InstantFunction::HistogramAvg),
    ("histogram_count", InstantFunction::HistogramCount),
    ("histogram_stddev", InstantFunction::HistogramStddev),
    ("histogram_stdvar", InstantFunction::HistogramStdvar),
    ("histogram_sum", InstantFunction::HistogramSum),
    ("hour", InstantFunction::Hour),
    ("ln", InstantFunction::Ln),
    ("log10", InstantFunction::Log10),
    ("log2", InstantFunction::Log2),
    ("minute", InstantFunction::Minute),
    ("month", InstantFunction::Month),
    ("rad", InstantFunction::Rad),
    ("round", InstantFunction::Round),
    ("sgn", InstantFunction::Sgn),
    ("sin", InstantFunction::Sin),
    ("sinh", InstantFunction::Sinh),
    ("sqrt", InstantFunction::Sqrt),
    ("tan", InstantFunction::Tan),
    ("tanh", InstantFunction::Tanh),
    ("year", InstantFunction::Year),
];

impl InstantFunction {
    /// The function of a name in a query.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
    }

    /// Whether it is of native histograms and not of floats.
    pub(crate) fn is_of_histograms(self) -> bool {
        matches!(
            self,
            Self::HistogramAvg
                | Self::HistogramCount
                | Self::HistogramStddev
                | Self::HistogramStdvar
                | Self::HistogramSum
        )
    }

    /// The name in a query or in EXPLAIN.
    pub(crate) fn name(self) -> &'static str {
        let named = NAMES.iter().find(|(_, function)| *function == self);
        named.map_or(if self == Self::Negate { "-" } else { "timestamp" }, |(name, _)| name)
    }
}

/// The node's parameters; inputs are the vector and those scalars that are not known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Instant {
    /// What is computed.
    pub(crate) function: InstantFunction,
    /// The bounds of `clamp`, the unit of `round`.
    pub(crate) arguments: Vec<ScalarArgument>,
}

impl Instant {
    /// A function of the value alone.
    pub(crate) fn of(function: InstantFunction) -> Self {
        Self { function, arguments: Vec::new() }
    }

    /// The plan; `scalars` are the inputs of the arguments, in their order.
    pub(crate) fn plan(
        self,
        input: LogicalPlan,
        scalars: Vec<LogicalPlan>,
        schema: &GridSchema,
    ) -> LogicalPlan {
        let inputs = std::iter::once(input).chain(scalars).collect();
        Node::plan("PromFunction", self, inputs, schema)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name())?;
        self.arguments.iter().try_for_each(|argument| argument.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_by_its_name() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
        for (name, function) in NAMES {
            assert_eq!((InstantFunction::from_name(name), function.name()), (Some(function), name));
        }
        assert_eq!(InstantFunction::from_name("-"), None);
        assert_eq!(InstantFunction::from_name("timestamp"), None, "it may be a selector's");
    }
}
