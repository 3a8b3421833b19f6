//! One native histogram sample: what a target counted in each bucket. Plain data and what makes it valid;
//! arithmetic is the query house's.

use std::cmp::Ordering;

use crate::error::{Error, Kind, Result};

/// The schema number of histograms whose bucket borders are their own (`custom_bounds`).
pub const CUSTOM_BUCKETS: i8 = -53;

/// The schema numbers of exponential buckets.
pub const EXPONENTIAL_SCHEMAS: std::ops::RangeInclusive<i8> = -4..=8;

/// 2^63: counts from here on are no integers of 64 signed bits.
pub const INTEGERS_END: f64 = f64::from_bits(0x43E0_0000_0000_0000);

/// The most buckets and spans of one histogram, on each side. Clients make 160; this bounds what a sender may ask for.
pub const MAX_BUCKETS: usize = 1 << 16;

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

impl ResetHint {
    /// The hint of a stored or sent number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Unknown, Self::Reset, Self::NotReset, Self::Gauge].get(usize::from(number)).copied()
    }
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

impl Histogram {
    /// Whether it only says that the series has ended.
    pub fn is_stale_marker(&self) -> bool {
        super::is_stale(self.sum)
    }

    /// About how many bytes of memory it takes.
    pub fn weight(&self) -> usize {
        let spans = self.positive_spans.len() + self.negative_spans.len();
        let numbers = spans + self.positive.len() + self.negative.len() + self.custom_bounds.len();
        size_of::<Self>() + 16 + numbers * 8
    }

    /// The same observations in the wider buckets of a coarser exponential schema.
    ///
    /// # Panics
    /// In debug builds, when it has custom buckets or `schema` is finer than its own.
    #[must_use]
    pub fn at_schema(&self, schema: i8) -> Self {
        debug_assert!(
            self.schema != CUSTOM_BUCKETS && schema <= self.schema,
            "only coarser buckets can be made"
        );
        let by = self.schema.abs_diff(schema);
        let (positive_spans, positive) = merge_buckets(&self.positive_spans, &self.positive, by);
        let (negative_spans, negative) = merge_buckets(&self.negative_spans, &self.negative, by);
        Self { schema, positive_spans, negative_spans, positive, negative, ..self.clone() }
    }

    /// Checks what Prometheus checks before it stores one: spans and buckets fit, no count is negative, and the
    /// counts of integer histograms add up.
    ///
    /// # Errors
    /// `Invalid` in Prometheus' words; `Limit` for more than [`MAX_BUCKETS`].
    pub fn check(&self) -> Result<()> {
        let most = [&self.positive, &self.negative, &self.custom_bounds].map(Vec::len).into_iter().max();
        let spans = self.positive_spans.len().max(self.negative_spans.len());
        if most.unwrap_or(0).max(spans) > MAX_BUCKETS {
            return Err(
                Error::new(Kind::Limit, "a histogram has too many buckets").with("limit", MAX_BUCKETS)
            );
        }
        if self.schema == CUSTOM_BUCKETS {
            self.check_custom()?;
        } else if EXPONENTIAL_SCHEMAS.contains(&self.schema) {
            let sides = [
                ("positive", &self.positive_spans, &self.positive),
                ("negative", &self.negative_spans, &self.negative),
            ];
            for (side, spans, buckets) in sides {
                check_spans(spans, buckets.len(), false).map_err(|e| invalid(format!("{side} side: {e}")))?;
            }
            if !self.custom_bounds.is_empty() {
                return Err(invalid("histogram with exponential schema must not have custom bounds"));
            }
        } else {
            let text = "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, \
                        or -53 for custom buckets";
            return Err(invalid(format!("{text}: schema {}", self.schema)));
        }
        self.check_counts()
    }

    fn check_custom(&self) -> Result<()> {
        let mut before = f64::NEG_INFINITY;
        for bound in &self.custom_bounds {
            // NaN is not greater either.
            if bound.partial_cmp(&before) != Some(Ordering::Greater) {
                let text = "histogram custom bounds must be in strictly increasing order";
                return Err(invalid(format!(
                    "previous bound is {before:.6} and current is {bound:.6}: {text}"
                )));
            }
            before = *bound;
        }
        if before == f64::INFINITY {
            let text = "histogram custom bounds must be finite";
            return Err(invalid(format!("last +Inf bound must not be explicitly defined: {text}")));
        }
        let covered = check_spans(&self.positive_spans, self.positive.len(), true).map_err(invalid)?;
        let bounds = self.custom_bounds.len();
        if i64::try_from(bounds + 1).is_ok_and(|buckets| buckets < covered) {
            return Err(invalid(format!(
                "only {bounds} custom bounds defined which is insufficient to cover total span length of \
                 {covered}: histogram custom bounds are too few"
            )));
        }
        let refused = match () {
            () if self.zero_count != 0.0 => "custom buckets: must have zero count of 0",
            () if self.zero_threshold != 0.0 => "custom buckets: must have zero threshold of 0",
            () if !self.negative_spans.is_empty() => "custom buckets: must not have negative spans",
            () if !self.negative.is_empty() => "custom buckets: must not have negative buckets",
            () => return Ok(()),
        };
        Err(invalid(refused))
    }

    fn check_counts(&self) -> Result<()> {
        let negative_count = "histogram has a bucket whose observation count is negative";
        for (side, buckets) in [("negative", &self.negative), ("positive", &self.positive)] {
            if let Some(at) = buckets.iter().position(|count| *count < 0.0) {
                let text = format!("bucket number {} has observation count of {}", at + 1, buckets[at]);
                return Err(invalid(format!("{side} side: {text}: {negative_count}")));
            }
        }
        if self.zero_count < 0.0 {
            let text = format!("zero bucket has observation count of {}: {negative_count}", self.zero_count);
            return Err(invalid(text));
        }
        if self.count < 0.0 {
            return Err(invalid(format!("observation count is {}: {negative_count}", self.count)));
        }
        if self.is_float {
            return Ok(());
        }
        let found: f64 = self.negative.iter().chain(&self.positive).sum::<f64>() + self.zero_count;
        let wrong = if self.sum.is_nan() { found > self.count } else { found - self.count != 0.0 };
        if !wrong {
            return Ok(());
        }
        let rule = if self.sum.is_nan() {
            "histogram's observation count should be at least the number of observations found in the buckets"
        } else {
            "histogram's observation count should equal the number of observations found in the buckets (in \
             absence of NaN)"
        };
        let counts = format!("{found} observations found in buckets, but the Count field is {}", self.count);
        Err(invalid(format!("{counts}: {rule}")))
    }
}

/// Where bucket `index` ends up when `2^by` neighbours become one: `ceil(index / 2^by)`.
pub fn coarser_bucket(index: i32, by: u8) -> i32 {
    (index.saturating_sub(1) >> by.min(31)) + 1
}

/// Puts `2^by` neighbouring buckets into one.
fn merge_buckets(spans: &[Span], buckets: &[f64], by: u8) -> (Vec<Span>, Vec<f64>) {
    let (mut out, mut counts): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::new());
    let (mut index, mut last) = (0i32, None);
    let mut rest = buckets.iter();
    for span in spans {
        index = index.wrapping_add(span.offset);
        for count in rest.by_ref().take(span.length as usize) {
            let merged = coarser_bucket(index, by);
            match (last, out.last_mut()) {
                (Some(before), _) if before == merged => {
                    *counts.last_mut().expect("a bucket has its count") += count;
                }
                (Some(before), Some(span)) if merged == before + 1 => {
                    span.length += 1;
                    counts.push(*count);
                }
                (before, _) => {
                    let offset = before.map_or(merged, |before: i32| merged - before - 1);
                    out.push(Span { offset, length: 1 });
                    counts.push(*count);
                }
            }
            last = Some(merged);
            index = index.wrapping_add(1);
        }
    }
    (out, counts)
}

fn invalid(text: impl Into<String>) -> Error {
    Error::invalid(text.into())
}

/// Whether spans are in order and have as many buckets as there are; gives the indices that they reach over.
fn check_spans(spans: &[Span], buckets: usize, all: bool) -> Result<i64, String> {
    let (mut needed, mut covered) = (0i64, 0i64);
    for (at, span) in spans.iter().enumerate() {
        if (all || at > 0) && span.offset < 0 {
            let number = at + 1;
            let text = "histogram has a span whose offset is negative";
            return Err(format!("span number {number} with offset {}: {text}", span.offset));
        }
        needed += i64::from(span.length);
        covered += i64::from(span.length) + i64::from(span.offset);
    }
    if i64::try_from(buckets) != Ok(needed) {
        let text = "histogram spans specify different number of buckets than provided";
        return Err(format!("spans need {needed} buckets, have {buckets} buckets: {text}"));
    }
    Ok(covered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Histogram {
        Histogram {
            schema: 3,
            zero_threshold: 0.001,
            zero_count: 2.0,
            count: 12.0,
            sum: 3.5,
            positive_spans: vec![Span { offset: -4, length: 2 }, Span { offset: 3, length: 1 }],
            positive: vec![1.0, 2.0, 3.0],
            negative_spans: vec![Span { offset: 1, length: 1 }],
            negative: vec![4.0],
            ..Histogram::default()
        }
    }

    fn custom() -> Histogram {
        Histogram {
            schema: CUSTOM_BUCKETS,
            count: 3.0,
            sum: 1.0,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive: vec![1.0, 2.0],
            custom_bounds: vec![0.5],
            ..Histogram::default()
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        assert!(good().check().is_ok() && custom().check().is_ok());
        assert!(Histogram { sum: f64::NAN, count: 13.0, ..good() }.check().is_ok(), "NaN was observed once");
        assert!(Histogram { is_float: true, count: 1.5, ..good() }.check().is_ok(), "floats need not add up");
        let span = |offset, length| Span { offset, length };
        let cases = [
            (Histogram { schema: 9, ..good() }, "invalid schema"),
            (Histogram { positive: vec![1.0], ..good() }, "spans need 3 buckets, have 1 buckets"),
            (
                Histogram { positive_spans: vec![span(0, 2), span(-1, 1)], ..good() },
                "span number 2 with offset -1",
            ),
            (Histogram { negative: vec![-4.0], ..good() }, "bucket number 1 has observation count of -4"),
            (Histogram { zero_count: -1.0, ..good() }, "zero bucket has observation count of -1"),
            (Histogram { is_float: true, count: -1.0, ..good() }, "observation count is -1"),
            (
                Histogram { count: 13.0, ..good() },
                "12 observations found in buckets, but the Count field is 13",
            ),
            (Histogram { sum: f64::NAN, count: 11.0, ..good() }, "should be at least"),
            (Histogram { custom_bounds: vec![1.0], ..good() }, "must not have custom bounds"),
            (Histogram { custom_bounds: vec![], ..custom() }, "only 0 custom bounds defined"),
            (Histogram { custom_bounds: vec![1.0, 1.0], ..custom() }, "strictly increasing"),
            (Histogram { custom_bounds: vec![1.0, f64::NAN], ..custom() }, "strictly increasing"),
            (Histogram { custom_bounds: vec![1.0, f64::INFINITY], ..custom() }, "must be finite"),
            (Histogram { positive_spans: vec![span(-1, 2)], ..custom() }, "span number 1 with offset -1"),
            (Histogram { zero_count: 1.0, ..custom() }, "zero count of 0"),
            (Histogram { zero_threshold: 1.0, ..custom() }, "zero threshold of 0"),
            (Histogram { negative_spans: vec![span(0, 0)], ..custom() }, "negative spans"),
        ];
        for (histogram, words) in cases {
            let error = histogram.check().expect_err(words).to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
        let many = Histogram { positive: vec![0.0; MAX_BUCKETS + 1], ..good() };
        assert_eq!(many.check().expect_err("too many").kind(), Kind::Limit);
    }
}
