//! The buckets of a histogram with their borders, from the lowest to the highest.

use super::bounds::exponential;
use crate::model::{CUSTOM_BUCKETS, Histogram, Span};

/// One bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Its lower border.
    pub lower: f64,
    /// Its upper border.
    pub upper: f64,
    /// Whether the lower border belongs to it.
    pub has_lower: bool,
    /// Whether the upper border belongs to it.
    pub has_upper: bool,
    /// Observations in it.
    pub count: f64,
}

/// Whether the borders are the histogram's own.
pub(crate) fn is_custom(histogram: &Histogram) -> bool {
    histogram.schema == CUSTOM_BUCKETS
}

/// The buckets of spans: index and count. A span without its counts ends the list.
pub(crate) fn indexed<'a>(spans: &'a [Span], counts: &'a [f64]) -> impl Iterator<Item = (i32, f64)> + 'a {
    let mut next = 0_i32;
    let indices = spans.iter().flat_map(move |span| {
        let first = next.saturating_add(span.offset);
        let length = i32::try_from(span.length).unwrap_or(i32::MAX);
        next = first.saturating_add(length);
        first..next
    });
    indices.zip(counts.iter().copied())
}

/// Buckets in spans. Indices ascend.
pub(crate) fn in_spans(buckets: impl Iterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let (least, most) = buckets.size_hint();
    let (mut spans, mut counts) = (Vec::<Span>::new(), Vec::with_capacity(most.unwrap_or(least)));
    let mut next = 0_i32;
    for (index, count) in buckets {
        match spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            _ => spans.push(Span { offset: index.saturating_sub(next), length: 1 }),
        }
        counts.push(count);
        next = index.saturating_add(1);
    }
    (spans, counts)
}

/// The end of a bucket by its index; below the first custom bucket there is −Inf.
pub(crate) fn border(schema: i8, custom: &[f64], index: i32) -> f64 {
    if schema != CUSTOM_BUCKETS {
        return exponential(index, schema);
    }
    match usize::try_from(index) {
        Err(_) => f64::NEG_INFINITY,
        Ok(index) => custom.get(index).copied().unwrap_or(f64::INFINITY),
    }
}

/// All buckets, empty ones too, ascending; an empty zero bucket is left out. Where the zero bucket reaches into
/// another one, the other one ends at the zero bucket.
pub fn buckets(histogram: &Histogram) -> Vec<Bucket> {
    let (schema, custom) = (histogram.schema, histogram.custom_bounds.as_slice());
    let threshold = histogram.zero_threshold;
    let mut all: Vec<Bucket> = negative(histogram).collect();
    all.reverse();
    for bucket in &mut all {
        if bucket.upper < 0.0 && bucket.upper > -threshold {
            bucket.upper = -threshold;
        }
    }
    if histogram.zero_count > 0.0 {
        all.extend(zero(histogram));
    }
    all.extend(indexed(&histogram.positive_spans, &histogram.positive).map(|(index, count)| {
        let (lower, upper) = (border(schema, custom, index.saturating_sub(1)), border(schema, custom, index));
        let is_custom = schema == CUSTOM_BUCKETS;
        let has_lower = if is_custom { index == 0 } else { lower < 0.0 };
        let reaches_in = lower > 0.0 && lower < threshold;
        let lower = if reaches_in { threshold } else { lower };
        Bucket { lower, upper, has_lower, has_upper: is_custom || upper > 0.0, count }
    }));
    all
}

/// The negative buckets from zero down.
pub(super) fn negative(histogram: &Histogram) -> impl Iterator<Item = Bucket> + '_ {
    indexed(&histogram.negative_spans, &histogram.negative).map(|(index, count)| {
        let far = exponential(index, histogram.schema);
        let near = exponential(index.saturating_sub(1), histogram.schema);
        Bucket { lower: -far, upper: -near, has_lower: -far < 0.0, has_upper: false, count }
    })
}

/// The zero bucket; custom buckets have none.
pub(super) fn zero(histogram: &Histogram) -> Option<Bucket> {
    let (upper, count) = (histogram.zero_threshold, histogram.zero_count);
    (!is_custom(histogram)).then_some(Bucket {
        lower: -upper,
        upper,
        has_lower: true,
        has_upper: true,
        count,
    })
}
