//! Native histograms: arithmetic over [`Histogram`], and their part of windows, aggregations and operators.
//!
//! A step of a row holds a float or a histogram, never both. Floats stand in the grid, histograms beside it as
//! [`Cell`]s; a kernel for floats sees an empty step where a histogram stands, so it ignores histograms without
//! knowing them. What has to treat them otherwise is here. Nothing here runs for series without histograms.

mod aggregate;
mod bounds;
mod buckets;
mod codec;
mod compare;
mod hints;
mod map;
mod over_time;
mod quantile;
#[cfg(test)]
mod tests;
mod text;
mod total;
mod variance;
mod window;

use std::sync::Arc;

pub(crate) use self::aggregate::Histograms;
pub use self::buckets::{Bucket, buckets};
pub(crate) use self::codec::{push_cells, read_cells};
pub(crate) use self::hints::hinted;
pub(crate) use self::map::{Between, Mapped, Operand, between, function_of, map_rows, scalar_of};
pub(crate) use self::quantile::{fraction, quantile};
pub(crate) use self::text::text;
pub(crate) use self::window::{MixedRows, Points, Reach};
use crate::model::Histogram;

/// A histogram and the step at which it stands; a row's cells ascend by step.
pub(crate) type Cell = (u32, Arc<Histogram>);

/// A step as cells write it.
pub(crate) fn cell_step(step: usize) -> u32 {
    u32::try_from(step).expect("a grid's steps fit 31 bits")
}

/// A histogram with every count multiplied. Of a negative one no resets are known.
pub(crate) fn scaled(histogram: Histogram, factor: f64) -> Histogram {
    let mut scaled = each(histogram, |count| count * factor);
    if factor < 0.0 {
        scaled.reset_hint = crate::model::ResetHint::Gauge;
    }
    scaled
}

/// A histogram with every count divided. Division by zero leaves no buckets.
pub(crate) fn divided(histogram: Histogram, by: f64) -> Histogram {
    let mut divided = each(histogram, |count| count / by);
    if by == 0.0 {
        divided.positive_spans.clear();
        divided.negative_spans.clear();
        divided.positive.clear();
        divided.negative.clear();
    } else if by < 0.0 {
        divided.reset_hint = crate::model::ResetHint::Gauge;
    }
    divided
}

fn each(histogram: Histogram, change: impl Fn(f64) -> f64) -> Histogram {
    let mut changed = histogram;
    changed.is_float = true;
    for count in [&mut changed.zero_count, &mut changed.count, &mut changed.sum] {
        *count = change(*count);
    }
    for count in changed.positive.iter_mut().chain(&mut changed.negative) {
        *count = change(*count);
    }
    changed
}

/// The same histogram without empty buckets.
pub(crate) fn compact(mut histogram: Histogram) -> Histogram {
    let full = |spans: &mut Vec<_>, counts: &mut Vec<f64>| {
        if counts.iter().all(|count| *count != 0.0) {
            return;
        }
        let left = buckets::indexed(spans, counts).filter(|(_, count)| *count != 0.0);
        let (left_spans, left_counts) = buckets::in_spans(left);
        (*spans, *counts) = (left_spans, left_counts);
    };
    full(&mut histogram.positive_spans, &mut histogram.positive);
    full(&mut histogram.negative_spans, &mut histogram.negative);
    histogram
}
