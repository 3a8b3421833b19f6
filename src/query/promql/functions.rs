//! The functions of PromQL: names, argument types, result types. One table, sorted by name.

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ValueType {
    /// One number at each step.
    Scalar,
    /// At most one sample a series at each step: an instant vector.
    Vector,
    /// Samples of a time range at each step: a range vector.
    Matrix,
    /// A text.
    String,
}

impl ValueType {
    /// The name in the API and in a few error texts.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }

    /// The name in the documentation and in most error texts.
    pub(crate) fn documented(self) -> &'static str {
        match self {
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::Scalar | Self::String => self.as_str(),
        }
    }
}

/// A function's signature.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: &'static str,
    /// The types of its arguments; further ones have the last type.
    pub(crate) args: &'static [ValueType],
    /// 0: exactly `args`. n > 0: the last of `args` is optional, up to n of it. -1: as many as wanted.
    pub(crate) variadic: i8,
    /// What it evaluates to.
    pub(crate) returns: ValueType,
    /// Whether Prometheus keeps it behind a flag. Here it is always allowed.
    pub(crate) experimental: bool,
}

impl Function {
    /// The function of that name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        let at = FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok()?;
        Some(&FUNCTIONS[at])
    }

    const fn experimental(mut self) -> Self {
        self.experimental = true;
        self
    }
}

const fn function(
    name: &'static str,
    args: &'static [ValueType],
    variadic: i8,
    returns: ValueType,
) -> Function {
    Function { name, args, variadic, returns, experimental: false }
}

const S: ValueType = ValueType::Scalar;
const V: ValueType = ValueType::Vector;
const M: ValueType = ValueType::Matrix;
/// A text.
const T: ValueType = ValueType::String;

/// All functions of Prometheus 3.14.
pub(crate) static FUNCTIONS: [Function; 90] = [
    function("abs", &[V], 0, V),
    function("absent", &[V], 0, V),
    function("absent_over_time", &[M], 0, V),
    function("acos", &[V], 0, V),
    function("acosh", &[V], 0, V),
    function("asin", &[V], 0, V),
    function("asinh", &[V], 0, V),
    function("atan", &[V], 0, V),
    function("atanh", &[V], 0, V),
    function("avg_over_time", &[M], 0, V),
    function("ceil", &[V], 0, V),
    function("changes", &[M], 0, V),
    function("clamp", &[V, S, S], 0, V),
    function("clamp_max", &[V, S], 0, V),
    function("clamp_min", &[V, S], 0, V),
    function("cos", &[V], 0, V),
    function("cosh", &[V], 0, V),
    function("count_over_time", &[M], 0, V),
    function("day_of_month", &[V], 1, V),
    function("day_of_week", &[V], 1, V),
    function("day_of_year", &[V], 1, V),
    function("days_in_month", &[V], 1, V),
    function("deg", &[V], 0, V),
    function("delta", &[M], 0, V),
    function("deriv", &[M], 0, V),
    function("double_exponential_smoothing", &[M, S, S], 0, V).experimental(),
    function("end", &[], 0, S).experimental(),
    function("exp", &[V], 0, V),
    function("first_over_time", &[M], 0, V),
    function("floor", &[V], 0, V),
    function("histogram_avg", &[V], 0, V),
    function("histogram_count", &[V], 0, V),
    function("histogram_fraction", &[S, S, V], 0, V),
    function("histogram_quantile", &[S, V], 0, V),
    function("histogram_quantiles", &[V, T, S, S], 9, V).experimental(),
    function("histogram_stddev", &[V], 0, V),
    function("histogram_stdvar", &[V], 0, V),
    function("histogram_sum", &[V], 0, V),
    function("hour", &[V], 1, V),
    function("idelta", &[M], 0, V),
    function("increase", &[M], 0, V),
    function("info", &[V, V], 1, V).experimental(),
    function("irate", &[M], 0, V),
    function("label_join", &[V, T, T, T], -1, V),
    function("label_replace", &[V, T, T, T, T], 0, V),
    function("last_over_time", &[M], 0, V),
    function("ln", &[V], 0, V),
    function("log10", &[V], 0, V),
    function("log2", &[V], 0, V),
    function("mad_over_time", &[M], 0, V).experimental(),
    function("max_of", &[S, S], 0, S).experimental(),
    function("max_over_time", &[M], 0, V),
    function("min_of", &[S, S], 0, S).experimental(),
    function("min_over_time", &[M], 0, V),
    function("minute", &[V], 1, V),
    function("month", &[V], 1, V),
    function("pi", &[], 0, S),
    function("predict_linear", &[M, S], 0, V),
    function("present_over_time", &[M], 0, V),
    function("quantile_over_time", &[S, M], 0, V),
    function("rad", &[V], 0, V),
    function("range", &[], 0, S).experimental(),
    function("rate", &[M], 0, V),
    function("resets", &[M], 0, V),
    function("round", &[V, S], 1, V),
    function("scalar", &[V], 0, S),
    function("sgn", &[V], 0, V),
    function("sin", &[V], 0, V),
    function("sinh", &[V], 0, V),
    function("sort", &[V], 0, V),
    function("sort_by_label", &[V, T], -1, V).experimental(),
    function("sort_by_label_desc", &[V, T], -1, V).experimental(),
    function("sort_desc", &[V], 0, V),
    function("sqrt", &[V], 0, V),
    function("start", &[], 0, S).experimental(),
    function("start_timestamp", &[V], 0, V).experimental(),
    function("stddev_over_time", &[M], 0, V),
    function("stdvar_over_time", &[M], 0, V),
    function("step", &[], 0, S).experimental(),
    function("sum_over_time", &[M], 0, V),
    function("tan", &[V], 0, V),
    function("tanh", &[V], 0, V),
    function("time", &[], 0, S),
    function("timestamp", &[V], 0, V),
    function("ts_of_first_over_time", &[M], 0, V).experimental(),
    function("ts_of_last_over_time", &[M], 0, V).experimental(),
    function("ts_of_max_over_time", &[M], 0, V).experimental(),
    function("ts_of_min_over_time", &[M], 0, V).experimental(),
    function("vector", &[S], 0, V),
    function("year", &[V], 1, V),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_sorted_so_that_each_is_found() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        assert!(FUNCTIONS.iter().all(|f| Function::find(f.name) == Some(f)));
        assert!(Function::find("Rate").is_none() && Function::find("").is_none());
    }

    #[test]
    fn signatures_make_sense() {
        for function in &FUNCTIONS {
            assert!(function.variadic == 0 || !function.args.is_empty(), "{}", function.name);
            assert!(matches!(function.returns, S | V), "{}", function.name);
        }
    }
}
