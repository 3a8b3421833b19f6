//! Two histograms compared: whether they are the same, and whether a counter was reset between them.
//!
//! Source: Prometheus 3.14, `model/histogram/float_histogram.go` (`Equals`, `DetectReset`).

use super::bounds::exponential;
use super::buckets::{indexed, is_custom};
use super::total::{Total, intersect, rebounded};
use crate::model::{Histogram, ResetHint, Span, coarser_bucket};

/// Whether all numbers are the same bits and stand in the same buckets, empty ones too. Hints do not count.
pub(crate) fn same(left: &Histogram, right: &Histogram) -> bool {
    let numbers =
        |of: &Histogram| [of.count, of.sum, of.zero_count, of.zero_threshold + 0.0].map(f64::to_bits);
    let side = |spans: [&[Span]; 2], counts: [&[f64]; 2]| {
        let [left, right] =
            [0, 1].map(|at| indexed(spans[at], counts[at]).map(|(index, count)| (index, count.to_bits())));
        left.eq(right)
    };
    left.schema == right.schema
        && numbers(left) == numbers(right)
        && (!is_custom(left) || left.custom_bounds == right.custom_bounds)
        && side([&left.negative_spans, &right.negative_spans], [&left.negative, &right.negative])
        && side([&left.positive_spans, &right.positive_spans], [&left.positive, &right.positive])
}

/// Whether `now` cannot be `before` with more observations in it, so that the counter began anew in between. A
/// hint of `now` decides alone. A gauge is compared as if it were a counter.
pub(crate) fn is_reset(now: &Histogram, before: &Histogram) -> bool {
    match now.reset_hint {
        ResetHint::Reset => return true,
        ResetHint::NotReset => return false,
        ResetHint::Unknown | ResetHint::Gauge => {}
    }
    if now.count < before.count || (is_custom(now) && !is_custom(before)) {
        return true;
    }
    if is_custom(now) && now.custom_bounds != before.custom_bounds {
        let shared = intersect(&now.custom_bounds, &before.custom_bounds);
        let folded = |of: &Histogram| {
            let mut counts = vec![0.0; shared.len() + 1];
            for (index, count) in indexed(&of.positive_spans, &of.positive) {
                let at = rebounded(index, &of.custom_bounds, &shared);
                counts[usize::try_from(at).expect("a place among the borders")] += count;
            }
            counts
        };
        return folded(now).iter().zip(&folded(before)).any(|(now, before)| now < before);
    }
    if now.schema > before.schema || now.zero_threshold < before.zero_threshold {
        return true;
    }
    if now.zero_threshold > before.zero_threshold {
        // Widened to the same zero bucket, unless a populated bucket stands in the way.
        let mut widened = Total::of(before);
        widened.widen_zero(now.zero_threshold);
        let widened = widened.finish();
        if widened.zero_threshold > now.zero_threshold || now.zero_count < widened.zero_count {
            return true;
        }
    } else if now.zero_count < before.zero_count {
        return true;
    }
    lost_any((&now.positive_spans, &now.positive), (&before.positive_spans, &before.positive), (now, before))
        || lost_any(
            (&now.negative_spans, &now.negative),
            (&before.negative_spans, &before.negative),
            (now, before),
        )
}

/// Whether any bucket outside the zero bucket has fewer observations than before, at the resolution of now.
fn lost_any(
    now: (&[Span], &[f64]),
    before: (&[Span], &[f64]),
    (of_now, of_before): (&Histogram, &Histogram),
) -> bool {
    let by = of_before.schema.abs_diff(of_now.schema);
    // Buckets ascend: behind the first one outside of the zero bucket all are outside.
    let mut may_be_in_zero = of_now.zero_threshold > 0.0 && !is_custom(of_now);
    let mut in_zero = |index: i32| {
        may_be_in_zero = may_be_in_zero && exponential(index, of_now.schema) <= of_now.zero_threshold;
        may_be_in_zero
    };
    if by == 0 && now.0 == before.0 && now.1.len() == before.1.len() {
        let inside = indexed(now.0, now.1).take_while(|(index, _)| in_zero(*index)).count();
        return now.1[inside..].iter().zip(&before.1[inside..]).any(|(now, before)| now < before);
    }
    let mut now = indexed(now.0, now.1).peekable();
    let mut before = indexed(before.0, before.1)
        .map(|(index, count)| (if by == 0 { index } else { coarser_bucket(index, by) }, count))
        .peekable();
    while let Some((index, mut count)) = before.next() {
        while let Some((_, more)) = before.next_if(|(next, _)| *next == index) {
            count += more;
        }
        if in_zero(index) {
            continue;
        }
        while now.next_if(|(at, _)| *at < index).is_some() {}
        let there = now.peek().filter(|(at, _)| *at == index).map(|(_, count)| *count);
        if there.map_or(count != 0.0, |there| there < count) {
            return true;
        }
    }
    false
}
