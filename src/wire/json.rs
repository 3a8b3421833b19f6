//! The pieces of Prometheus' JSON answers, written straight into bytes: points, strings, label sets.
//!
//! They are byte for byte what Prometheus writes (`jsonutil`, `json_codec.go`). Only strings outside of label
//! sets differ in form, not in meaning: Prometheus escapes `<`, `>` and `&` there, and a JSON reader gets the same.

use crate::model::{LabelsRef, METRIC_NAME, push_go_float};

/// Appends one point: `[1435781430.781,"1.5"]`.
pub fn push_sample(out: &mut Vec<u8>, timestamp_ms: i64, value: f64) {
    // The longest point: 21 bytes of time, 24 of value, 5 around them.
    out.reserve(64);
    out.push(b'[');
    push_timestamp(out, timestamp_ms);
    out.extend_from_slice(b",\"");
    push_go_float(out, value);
    out.extend_from_slice(b"\"]");
}

/// Appends a value as a string: JSON numbers know neither NaN nor infinity.
pub fn push_value(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    push_go_float(out, value);
    out.push(b'"');
}

/// Appends a time in seconds, with three decimals where it is not whole: `1`, `1.500`, `-0.001`.
pub fn push_timestamp(out: &mut Vec<u8>, ms: i64) {
    let magnitude = ms.unsigned_abs();
    if ms < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(itoa::Buffer::new().format(magnitude / 1000).as_bytes());
    let fraction = magnitude % 1000;
    if fraction != 0 {
        let digit = |n: u64| b'0' + (n % 10).to_le_bytes()[0];
        out.extend_from_slice(&[b'.', digit(fraction / 100), digit(fraction / 10), digit(fraction)]);
    }
}

/// Appends a quoted string. Only what JSON demands is escaped: quotes, backslashes and control characters.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let mut rest = text.as_bytes();
    // Without an early exit the loop looks at many bytes at once; nearly always it finds nothing.
    if rest.iter().fold(false, |found, byte| found | is_special(*byte)) {
        while let Some(at) = rest.iter().position(|byte| is_special(*byte)) {
            out.extend_from_slice(&rest[..at]);
            push_escape(out, rest[at]);
            rest = &rest[at + 1..];
        }
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Appends a label set as an object, names in byte order. `__name__`, which stands in front of the canonical
/// bytes, moves to its place: behind names that begin with a capital or a digit.
pub fn push_labels(out: &mut Vec<u8>, labels: LabelsRef<'_>) {
    let mut rest = labels.iter().peekable();
    let mut metric = rest.next_if(|(name, _)| *name == METRIC_NAME);
    out.push(b'{');
    let mut lead = false;
    while let Some((name, value)) = rest.peek().copied() {
        let (name, value) = match metric.take_if(|_| name > METRIC_NAME) {
            Some(metric) => metric,
            None => {
                rest.next();
                (name, value)
            }
        };
        push_label(out, &mut lead, name, value);
    }
    if let Some((name, value)) = metric {
        push_label(out, &mut lead, name, value);
    }
    out.push(b'}');
}

/// Appends name-value pairs as an object, in their order.
pub fn push_object<'a>(out: &mut Vec<u8>, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push(b'{');
    let mut lead = false;
    for (name, value) in pairs {
        push_label(out, &mut lead, name, value);
    }
    out.push(b'}');
}

fn push_label(out: &mut Vec<u8>, lead: &mut bool, name: &str, value: &str) {
    if std::mem::replace(lead, true) {
        out.push(b',');
    }
    push_string(out, name);
    out.push(b':');
    push_string(out, value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn points_as_prometheus_writes_them() {
        for (ms, value, point) in [
            (0, 0.0, r#"[0,"0"]"#),
            (1_435_781_430_781, 1.5, r#"[1435781430.781,"1.5"]"#),
            (1_500, 1e21, r#"[1.500,"1e+21"]"#),
            (1_020, 1e-7, r#"[1.020,"1e-07"]"#),
            (1_003, -0.0, r#"[1.003,"-0"]"#),
            (-1, f64::NAN, r#"[-0.001,"NaN"]"#),
            (-62_135_596_800_000, f64::INFINITY, r#"[-62135596800,"+Inf"]"#),
            (i64::MIN, f64::NEG_INFINITY, r#"[-9223372036854775.808,"-Inf"]"#),
            (i64::MAX, -f64::MIN_POSITIVE, r#"[9223372036854775.807,"-2.2250738585072014e-308"]"#),
        ] {
            assert_eq!(text(|out| push_sample(out, ms, value)), point);
        }
    }

    #[test]
    fn strings_are_escaped_as_far_as_json_demands() {
        let written = text(|out| push_string(out, "a\"\\/\n\r\t\u{8}\u{1f}\u{7f}é<&>\u{2028}"));
        assert_eq!(written, "\"a\\\"\\\\/\\n\\r\\t\\u0008\\u001f\u{7f}é<&>\u{2028}\"");
        assert_eq!(text(|out| push_string(out, "")), r#""""#);
    }

    #[test]
    fn labels_stand_in_byte_order_with_the_name_among_them() {
        let of = |bytes: &[u8]| text(|out| push_labels(out, LabelsRef::trusted(bytes)));
        assert_eq!(of(b""), "{}");
        assert_eq!(of(b"a\xFE1\xFFb\xFE\"\xFF"), r#"{"a":"1","b":"\""}"#);
        assert_eq!(of(b"__name__\xFEup\xFF"), r#"{"__name__":"up"}"#);
        assert_eq!(of(b"__name__\xFEup\xFFa\xFE1\xFF"), r#"{"__name__":"up","a":"1"}"#);
        let capitals = b"__name__\xFEup\xFFA\xFE1\xFFZ\xFE2\xFF__x__\xFE3\xFFa\xFE4\xFF";
        assert_eq!(of(capitals), r#"{"A":"1","Z":"2","__name__":"up","__x__":"3","a":"4"}"#);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(string in any::<String>(), ms: i64, value: f64) {
            let read: String = serde_json::from_str(&text(|out| push_string(out, &string)))?;
            prop_assert_eq!(read, string);
            let point = text(|out| push_sample(out, ms, value));
            let (_, read): (serde_json::Number, String) = serde_json::from_str(&point)?;
            let read: f64 = read.parse()?;
            prop_assert!(read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan()));
        }
    }
}
