//! The test language's histograms as the store's, and back.

use std::collections::BTreeMap;

use quipu::model::{self, Span};

use super::histogram::{CUSTOM_SCHEMA, Histogram, ResetHint};

/// As it is stored.
pub(super) fn to_model(histogram: &Histogram) -> model::Histogram {
    let (positive_spans, positive) = spans(&histogram.positive);
    let (negative_spans, negative) = spans(&histogram.negative);
    model::Histogram {
        schema: i8::try_from(histogram.schema).expect("a small number"),
        is_float: true,
        reset_hint: match histogram.hint {
            ResetHint::Unknown => model::ResetHint::Unknown,
            ResetHint::Reset => model::ResetHint::Reset,
            ResetHint::NotReset => model::ResetHint::NotReset,
            ResetHint::Gauge => model::ResetHint::Gauge,
        },
        zero_threshold: histogram.zero_threshold,
        zero_count: histogram.zero_count,
        count: histogram.count,
        sum: histogram.sum,
        positive_spans,
        negative_spans,
        positive,
        negative,
        custom_bounds: histogram.bounds.clone(),
    }
}

/// As an answer has it.
pub(super) fn from_model(histogram: &model::Histogram) -> Histogram {
    let side = |spans: &[Span], counts: &[f64]| {
        let mut next = 0;
        let mut indices = Vec::new();
        for span in spans {
            let first = next + i64::from(span.offset);
            next = first + i64::from(span.length);
            indices.extend(first..next);
        }
        let full = indices.into_iter().zip(counts.iter().copied()).filter(|(_, count)| *count != 0.0);
        full.collect::<BTreeMap<_, _>>()
    };
    Histogram {
        schema: i64::from(histogram.schema),
        sum: histogram.sum,
        count: histogram.count,
        zero_threshold: histogram.zero_threshold,
        zero_count: histogram.zero_count,
        positive: side(&histogram.positive_spans, &histogram.positive),
        negative: side(&histogram.negative_spans, &histogram.negative),
        bounds: histogram.custom_bounds.clone(),
        hint: match histogram.reset_hint {
            model::ResetHint::Unknown => ResetHint::Unknown,
            model::ResetHint::Reset => ResetHint::Reset,
            model::ResetHint::NotReset => ResetHint::NotReset,
            model::ResetHint::Gauge => ResetHint::Gauge,
        },
        hint_written: false,
    }
}

fn spans(side: &BTreeMap<i64, f64>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts) = (Vec::<Span>::new(), Vec::new());
    let mut next = 0;
    for (index, count) in side {
        match spans.last_mut() {
            Some(span) if *index == next => span.length += 1,
            _ => spans.push(Span { offset: i32::try_from(index - next).expect("a small index"), length: 1 }),
        }
        counts.push(*count);
        next = index + 1;
    }
    (spans, counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_lead_back() {
        let text =
            "schema:1 sum:3 count:9 z_bucket:1 z_bucket_w:0.5 buckets:[1 0 2] offset:-3 n_buckets:[4 1]";
        for text in [text, "schema:-53 sum:1 count:3 custom_values:[1 2] buckets:[1 1 1]"] {
            let histogram = Histogram::parse(text).expect("a histogram");
            assert_eq!(from_model(&to_model(&histogram)), histogram);
        }
        assert_eq!(i64::from(model::CUSTOM_BUCKETS), CUSTOM_SCHEMA);
    }
}
