//! One native histogram sample: what a target counted in each bucket. Plain data; arithmetic is the query house's.

/// The schema number of histograms whose bucket borders are their own (`custom_bounds`).
pub const CUSTOM_BUCKETS: i8 = -53;

/// A run of neighbouring buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Buckets between the end of the span before (the first: from index 0) and this one. Only the first may be
    /// negative.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// What is known about a counter reset between the sample before and this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum ResetHint {
    /// Nothing: the two have to be compared.
    #[default]
    Unknown = 0,
    /// There was one.
    Reset = 1,
    /// There was none.
    NotReset = 2,
    /// The histogram is a gauge: it has no resets.
    Gauge = 3,
}

/// One native histogram sample. Counts are absolute and of one bucket each, as floats: a histogram that a target
/// counted in integers is exact up to 2^53.
///
/// Buckets of an exponential schema `s` (−4 to 8) have the borders `2^(i·2^-s)`, upper ones included; bucket `i`
/// is `(base^(i-1), base^i]`. The zero bucket is `[-zero_threshold, zero_threshold]`. With [`CUSTOM_BUCKETS`]
/// bucket `i` ends at `custom_bounds[i]`, the last one at +Inf, and there are no negative or zero buckets.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// −4 to 8, or [`CUSTOM_BUCKETS`].
    pub schema: i8,
    /// Counted in floats; otherwise every count is an integer.
    pub is_float: bool,
    /// About counter resets.
    pub reset_hint: ResetHint,
    /// Half the width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations, NaN included. The bits of [`super::STALE_NAN`] in `sum` mark a stale series.
    pub count: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// Where the positive buckets are.
    pub positive_spans: Vec<Span>,
    /// Where the negative buckets are, by absolute value.
    pub negative_spans: Vec<Span>,
    /// One count for each bucket of the positive spans.
    pub positive: Vec<f64>,
    /// One count for each bucket of the negative spans.
    pub negative: Vec<f64>,
    /// Upper borders of custom buckets, ascending, without +Inf; otherwise empty.
    pub custom_bounds: Vec<f64>,
}
