//! A PromQL answer as Prometheus' JSON, written straight into one buffer.
//!
//! Source: prometheus `web/api/v1/json_codec.go`. How a point, a time and a string are spelled is `wire::json`'s.

use crate::query::{Answer, AnswerSeries, Shape};
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
            out.extend_from_slice(b",\"value\":");
            for (time_ms, value) in series.points().take(1) {
                push_sample(out, time_ms, value);
            }
            out.push(b'}');
        }),
        Shape::Matrix => push_list(&mut out, answer.series(), |out, series| {
            push_metric(out, series);
            out.extend_from_slice(b",\"values\":");
            push_list(out, series.points(), |out, (time_ms, value)| push_sample(out, time_ms, value));
            out.push(b'}');
        }),
    }
    out.push(b'}');
    push_annotations(&mut out, "warnings", &answer.warnings);
    push_annotations(&mut out, "infos", &answer.infos);
    out.push(b'}');
    out
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
