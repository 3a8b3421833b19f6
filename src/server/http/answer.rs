//! A PromQL answer as Prometheus' JSON, written straight into the body.
//!
//! Source: prometheus `web/api/v1/json_codec.go`. How a point, a time and a string are spelled is `wire::json`'s.

#[cfg(test)]
mod tests;

use futures::FutureExt;

use super::outgoing::Outgoing;
use crate::error::Result;
use crate::model::{Histogram, push_go_float};
use crate::query::{Answer, AnswerSeries, QueryStats, Shape, buckets};
use crate::wire::json::{push_object, push_sample, push_string, push_timestamp};

/// The whole body.
pub(super) fn to_json(answer: &Answer, stats: bool) -> Vec<u8> {
    let points: usize = answer.series().iter().map(AnswerSeries::point_count).sum();
    let mut out = Outgoing::whole(256 + 64 * answer.series().len() + 32 * points);
    let written = write(answer, stats, &mut out).now_or_never();
    written.expect("what is collected whole never waits").expect("and no client goes away");
    out.into_bytes()
}

/// Writes the body, one chunk after the other.
///
/// # Errors
/// `Cancelled` when the client went away.
pub(super) async fn write(answer: &Answer, stats: bool, out: &mut Outgoing) -> Result<()> {
    out.buffer().extend_from_slice(b"{\"status\":\"success\",\"data\":{\"resultType\":\"");
    out.buffer().extend_from_slice(answer.shape().as_str().as_bytes());
    out.buffer().extend_from_slice(b"\",\"result\":");
    match answer.shape() {
        Shape::String => {
            let out = out.buffer();
            out.push(b'[');
            push_timestamp(out, answer.time_ms());
            out.push(b',');
            push_string(out, answer.text());
            out.push(b']');
        }
        Shape::Scalar => {
            let point = answer.series().iter().flat_map(AnswerSeries::points).next();
            let (time_ms, value) = point.unwrap_or_else(|| (answer.time_ms(), f64::NAN));
            push_sample(out.buffer(), time_ms, value);
        }
        Shape::Vector | Shape::Matrix => write_series(answer, out).await?,
    }
    let out = out.buffer();
    if stats {
        push_stats(out, &answer.stats);
    }
    out.push(b'}');
    push_annotations(out, "warnings", &answer.warnings);
    push_annotations(out, "infos", &answer.infos);
    out.push(b'}');
    Ok(())
}

async fn write_series(answer: &Answer, out: &mut Outgoing) -> Result<()> {
    let is_vector = answer.shape() == Shape::Vector;
    out.buffer().push(b'[');
    for (at, series) in answer.series().iter().enumerate() {
        if at > 0 {
            out.buffer().push(b',');
        }
        push_metric(out.buffer(), series);
        if is_vector {
            push_point(out.buffer(), series);
        } else {
            write_points(series, out).await?;
        }
        out.buffer().push(b'}');
        out.pass().await?;
    }
    out.buffer().push(b']');
    Ok(())
}

/// The one point of a series of a vector.
fn push_point(out: &mut Vec<u8>, series: &AnswerSeries) {
    if let Some((time_ms, histogram)) = series.histograms().next() {
        out.extend_from_slice(b",\"histogram\":");
        return push_histogram(out, time_ms, histogram);
    }
    out.extend_from_slice(b",\"value\":");
    for (time_ms, value) in series.points().take(1) {
        push_sample(out, time_ms, value);
    }
}

/// The points of a series of a matrix: floats, then histograms.
async fn write_points(series: &AnswerSeries, out: &mut Outgoing) -> Result<()> {
    for (at, (time_ms, value)) in series.points().enumerate() {
        out.buffer().extend_from_slice(if at == 0 { &b",\"values\":["[..] } else { b"," });
        push_sample(out.buffer(), time_ms, value);
        if out.is_full() {
            out.pass().await?;
        }
    }
    if series.points().next().is_some() {
        out.buffer().push(b']');
    }
    for (at, (time_ms, histogram)) in series.histograms().enumerate() {
        out.buffer().extend_from_slice(if at == 0 { &b",\"histograms\":["[..] } else { b"," });
        push_histogram(out.buffer(), time_ms, histogram);
        if out.is_full() {
            out.pass().await?;
        }
    }
    if series.histograms().next().is_some() {
        out.buffer().push(b']');
    }
    Ok(())
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
        for (at, bucket) in full.into_iter().enumerate() {
            out.push(if at == 0 { b'[' } else { b',' });
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
        }
        out.push(b']');
    }
    out.extend_from_slice(b"}]");
}

/// `{"metric":{…}`, left open.
fn push_metric(out: &mut Vec<u8>, series: &AnswerSeries) {
    out.extend_from_slice(b"{\"metric\":");
    push_object(out, series.labels());
}

/// `,"stats":{"timings":{…},"samples":{…}}`, in seconds and samples.
fn push_stats(out: &mut Vec<u8>, stats: &QueryStats) {
    let seconds = |time: std::time::Duration| time.as_secs_f64();
    let inner = stats.evaluation.saturating_sub(stats.preparation).saturating_sub(stats.sorting);
    let stats = serde_json::json!({
        "timings": {
            "evalTotalTime": seconds(stats.evaluation),
            "resultSortTime": seconds(stats.sorting),
            "queryPreparationTime": seconds(stats.preparation),
            "innerEvalTime": seconds(inner),
            "execQueueTime": seconds(stats.waiting),
            "execTotalTime": seconds(stats.waiting + stats.evaluation),
        },
        "samples": {"totalQueryableSamples": stats.samples, "peakSamples": stats.samples},
    });
    out.extend_from_slice(b",\"stats\":");
    out.extend_from_slice(stats.to_string().as_bytes());
}

fn push_annotations(out: &mut Vec<u8>, name: &str, texts: &[String]) {
    if texts.is_empty() {
        return;
    }
    out.push(b',');
    push_string(out, name);
    out.push(b':');
    for (at, text) in texts.iter().enumerate() {
        out.push(if at == 0 { b'[' } else { b',' });
        push_string(out, text);
    }
    out.push(b']');
}
