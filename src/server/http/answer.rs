//! A PromQL answer as Prometheus' JSON, written straight into one buffer.
//!
//! Source: prometheus `web/api/v1/json_codec.go` and util/jsonutil: a point is `[seconds,"value"]`, seconds with
//! three decimals where they are no whole number, the value in Go's spelling.

use crate::model::push_go_float;
use crate::query::{Answer, AnswerSeries, Shape};

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
            push_time(&mut out, answer.time_ms());
            out.push(b',');
            push_string(&mut out, answer.text());
            out.push(b']');
        }
        Shape::Scalar => {
            let point = answer.series().iter().flat_map(AnswerSeries::points).next();
            let (time_ms, value) = point.unwrap_or_else(|| (answer.time_ms(), f64::NAN));
            push_point(&mut out, time_ms, value);
        }
        Shape::Vector => push_list(&mut out, answer.series(), |out, series| {
            push_metric(out, series);
            out.extend_from_slice(b",\"value\":");
            for (time_ms, value) in series.points().take(1) {
                push_point(out, time_ms, value);
            }
            out.push(b'}');
        }),
        Shape::Matrix => push_list(&mut out, answer.series(), |out, series| {
            push_metric(out, series);
            out.extend_from_slice(b",\"values\":");
            push_list(out, series.points(), |out, (time_ms, value)| push_point(out, time_ms, value));
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

fn push_point(out: &mut Vec<u8>, time_ms: i64, value: f64) {
    out.push(b'[');
    push_time(out, time_ms);
    out.extend_from_slice(b",\"");
    push_go_float(out, value);
    out.extend_from_slice(b"\"]");
}

/// Seconds; the fraction has three digits or is not there.
fn push_time(out: &mut Vec<u8>, time_ms: i64) {
    let mut digits = itoa::Buffer::new();
    if time_ms < 0 {
        out.push(b'-');
    }
    let ms = time_ms.unsigned_abs();
    out.extend_from_slice(digits.format(ms / 1_000).as_bytes());
    let fraction = ms % 1_000;
    if fraction > 0 {
        // 1_005 written without its first digit is "005".
        out.push(b'.');
        out.extend_from_slice(&digits.format(1_000 + fraction).as_bytes()[1..]);
    }
}

/// A JSON string. Runs without special characters, which is nearly all of them, are copied whole.
fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && !matches!(byte, b'"' | b'\\') {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn points_are_spelled_as_prometheus_spells_them() {
        let cases = [
            (0, 1.0, "[0,\"1\"]"),
            (1_435_781_430_781, 0.1, "[1435781430.781,\"0.1\"]"),
            (1_005, -0.0, "[1.005,\"-0\"]"),
            (1_500, f64::NAN, "[1.500,\"NaN\"]"),
            (-1, f64::INFINITY, "[-0.001,\"+Inf\"]"),
            (-2_000, 1e21, "[-2,\"1e+21\"]"),
        ];
        for (time_ms, value, json) in cases {
            assert_eq!(text(|out| push_point(out, time_ms, value)), json);
        }
    }

    #[test]
    fn strings_come_back_from_any_json_reader() {
        for value in ["", "a\"b\\c\nd\re\tf\x01g\x1f", "é😂\u{2028}</script>", "\\", "\""] {
            let json = text(|out| push_string(out, value));
            assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), value);
        }
    }
}
