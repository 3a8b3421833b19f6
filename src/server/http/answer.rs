//! A PromQL answer as Prometheus' JSON, written straight into one buffer.
//!
//! Source: prometheus `web/api/v1/json_codec.go`. How a point, a time and a string are spelled is `wire::json`'s.

#[cfg(test)]
mod tests;

use crate::model::{Histogram, push_go_float};
use crate::query::{Answer, AnswerSeries, Shape, buckets};
use crate::wire::json::{push_sample, push_string, push_timestamp};

/// The whole body.
pub(super) fn to_json(answer: &Answer) -> Vec<u8> {
    let points: usize = answer.series().iter().map(AnswerSeries::point_count).sum();
    let mut out = Vec::with_capacity(256 + 64 * answer.series().len() + 32 * points);
    out.extend_from_slice(b"{\"status\":\"success\",\"data\":{\"resultType\":\"");
    out.extend_from_slice(answer.shape().as_str().as_bytes());
    out.extend_from_slice(b"\",\"result\":");
    match answer.shape() {
        Shape::String => {
            out.push(b'[');
            push_timestamp(&mut out, answer.time_ms());
            out.push(b',');
            push_string(&mut out, answer.text());
            out.push(b']');
        }
        Shape::Scalar => {
            let point = answer.series().iter().flat_map(AnswerSeries::points).next();
            let (time_ms, value) = point.unwrap_or_else(|| (answer.time_ms(), f64::NAN));
            push_sample(&mut out, time_ms, value);
        }
        Shape::Vector => push_list(&mut out, answer.series(), |out, series| {
            push_metric(out, series);
            if let Some((time_ms, histogram)) = series.histograms().next() {
                out.extend_from_slice(b",\"histogram\":");
                push_histogram(out, time_ms, histogram);
            } else {
                out.extend_from_slice(b",\"value\":");
                for (time_ms, value) in series.points().take(1) {
                    push_sample(out, time_ms, value);
                }
            }
            out.push(b'}');
        }),
        Shape::Matrix => push_list(&mut out, answer.series(), |out, series| {
            push_metric(out, series);
            if series.points().next().is_some() {
                out.extend_from_slice(b",\"values\":");
                push_list(out, series.points(), |out, (time_ms, value)| push_sample(out, time_ms, value));
            }
            if series.histograms().next().is_some() {
                out.extend_from_slice(b",\"histograms\":");
                push_list(out, series.histograms(), |out, (time_ms, histogram)| {
                    push_histogram(out, time_ms, histogram);
                });
            }
            out.push(b'}');
        }),
    }
    out.push(b'}');
    push_annotations(&mut out, "warnings", &answer.warnings);
    push_annotations(&mut out, "infos", &answer.infos);
    out.push(b'}');
    out
}

/// `[time,{"count":"4","sum":"5","buckets":[[0,"1","2","4"]]}]`: the first number of a bucket says which borders
/// belong to it. Empty buckets are left out.
fn push_histogram(out: &mut Vec<u8>, time_ms: i64, histogram: &Histogram) {
    let push_number = |out: &mut Vec<u8>, value: f64| {
        out.push(b'"');
        push_go_float(out, value);
        out.push(b'"');
    };
    out.push(b'[');
    push_timestamp(out, time_ms);
    out.extend_from_slice(b",{\"count\":");
    push_number(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    push_number(out, histogram.sum);
    let full: Vec<_> = buckets(histogram).into_iter().filter(|bucket| bucket.count != 0.0).collect();
    if !full.is_empty() {
        out.extend_from_slice(b",\"buckets\":");
        push_list(out, full, |out, bucket| {
            out.extend_from_slice(match (bucket.has_lower, bucket.has_upper) {
                (false, true) => b"[0,",
                (true, false) => b"[1,",
                (false, false) => b"[2,",
                (true, true) => b"[3,",
            });
            push_number(out, bucket.lower);
            out.push(b',');
            push_number(out, bucket.upper);
            out.push(b',');
            push_number(out, bucket.count);
            out.push(b']');
        });
    }
    out.extend_from_slice(b"}]");
}

/// `{"metric":{…}`, left open.
fn push_metric(out: &mut Vec<u8>, series: &AnswerSeries) {
    out.extend_from_slice(b"{\"metric\":{");
    for (at, (name, value)) in series.labels().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_string(out, name);
        out.push(b':');
        push_string(out, value);
    }
    out.push(b'}');
}

fn push_annotations(out: &mut Vec<u8>, name: &str, texts: &[String]) {
    if texts.is_empty() {
        return;
    }
    out.push(b',');
    push_string(out, name);
    out.push(b':');
    push_list(out, texts, |out, text| push_string(out, text));
}

fn push_list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, push: impl Fn(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}
