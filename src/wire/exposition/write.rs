//! The text format 0.0.4 the other way round: what `/federate` answers. Only untyped samples, as federation has.
//!
//! Sources: prometheus/common `expfmt/text_create.go`, `expfmt/encode.go`, `model/metric.go` (`EscapeName`).

use std::borrow::Cow;

use crate::model::push_go_float_general;

/// How a name is written that is not plain ASCII letters, digits and underscores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameEscaping {
    /// Each other character becomes an underscore.
    Underscores,
    /// In quotes, the metric's name inside of the braces.
    Utf8,
}

impl NameEscaping {
    /// What a client that scrapes says in its `Accept` header; underscores where it says nothing that is known.
    pub fn from_accept(accept: &str) -> Self {
        let last =
            accept.split([',', ';']).filter_map(|part| part.trim().strip_prefix("escaping=")).next_back();
        if last == Some("allow-utf-8") { Self::Utf8 } else { Self::Underscores }
    }

    /// The name without quotes.
    pub(super) fn escaped(self, name: &str) -> Cow<'_, str> {
        let kept = |at: usize, c: char| {
            c == '_' || c == ':' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit())
        };
        match self {
            Self::Underscores if !is_plain(name) => {
                name.chars().enumerate().map(|(at, c)| if kept(at, c) { c } else { '_' }).collect()
            }
            _ => Cow::Borrowed(name),
        }
    }

    /// The media type of such an answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Underscores => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            Self::Utf8 => "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8",
        }
    }
}

/// Appends the `# TYPE` line of a family.
pub(super) fn push_type(out: &mut Vec<u8>, metric: &str, kind: &str, escaping: NameEscaping) {
    out.extend_from_slice(b"# TYPE ");
    push_name(out, metric, escaping);
    out.push(b' ');
    out.extend_from_slice(kind.as_bytes());
    out.push(b'\n');
}

/// Appends a sample's line; the labels in their order, without `__name__`.
pub(super) fn push_line<'a>(
    out: &mut Vec<u8>,
    metric: &str,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    (timestamp_ms, value): (i64, f64),
    escaping: NameEscaping,
) {
    push_series(out, metric, labels, escaping);
    out.push(b' ');
    // Go's encoder has a case for 0 that takes -0 along.
    push_go_float_general(out, if value == 0.0 { 0.0 } else { value });
    out.push(b' ');
    out.extend_from_slice(itoa::Buffer::new().format(timestamp_ms).as_bytes());
    out.push(b'\n');
}

/// Appends the text of a series: what stands in front of the value.
pub fn push_series<'a>(
    out: &mut Vec<u8>,
    metric: &str,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    escaping: NameEscaping,
) {
    let inside = escaping == NameEscaping::Utf8 && !is_plain(metric);
    let mut lead = b'{';
    if inside {
        out.push(lead);
        lead = b',';
    }
    push_name(out, metric, escaping);
    for (name, value) in labels {
        out.push(lead);
        lead = b',';
        push_name(out, name, escaping);
        out.extend_from_slice(b"=\"");
        push_escaped(out, value);
        out.push(b'"');
    }
    if lead == b',' {
        out.push(b'}');
    }
}

fn is_plain(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c == '_' || c == ':' || c.is_ascii_alphabetic());
    starts_well && name.bytes().all(|b| b == b'_' || b == b':' || b.is_ascii_alphanumeric())
}

fn push_name(out: &mut Vec<u8>, name: &str, escaping: NameEscaping) {
    if is_plain(name) {
        return out.extend_from_slice(name.as_bytes());
    }
    match escaping {
        NameEscaping::Utf8 => {
            out.push(b'"');
            push_escaped(out, name);
            out.push(b'"');
        }
        NameEscaping::Underscores => out.extend_from_slice(escaping.escaped(name).as_bytes()),
    }
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' => out.extend_from_slice(b"\\\""),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(metric: &str, labels: &[(&str, &str)], value: f64, escaping: NameEscaping) -> String {
        let mut out = Vec::new();
        push_type(&mut out, metric, "untyped", escaping);
        push_line(&mut out, metric, labels.iter().copied(), (-5, value), escaping);
        String::from_utf8(out).expect("text is UTF-8")
    }

    #[test]
    fn lines_as_prometheus_writes_them() {
        use NameEscaping::{Underscores, Utf8};
        let labels = [("job", "a\"\\\né"), ("instance", "")];
        let expected = "# TYPE up untyped\nup{job=\"a\\\"\\\\\\né\",instance=\"\"} 1.23456789e+08 -5\n";
        assert_eq!(line("up", &labels, 123_456_789.0, Underscores), expected);
        assert_eq!(line("up", &[], -0.0, Utf8), "# TYPE up untyped\nup 0 -5\n");
        let odd = [("a.b", "x"), ("1", "y")];
        let quoted = "# TYPE \"é.s\" untyped\n{\"é.s\",\"a.b\"=\"x\",\"1\"=\"y\"} NaN -5\n";
        assert_eq!(line("é.s", &odd, f64::NAN, Utf8), quoted);
        let plain = "# TYPE __s untyped\n__s{a_b=\"x\",_=\"y\"} +Inf -5\n";
        assert_eq!(line("é.s", &odd, f64::INFINITY, Underscores), plain);
    }

    #[test]
    fn the_scraper_says_which_names_it_takes() {
        let ours = "text/plain;version=0.0.4;q=0.5;escaping=allow-utf-8,*/*;q=0.1";
        assert_eq!(NameEscaping::from_accept(ours), NameEscaping::Utf8);
        for other in ["", "text/plain", "text/plain;escaping=underscores", "text/plain;escaping=morse"] {
            assert_eq!(NameEscaping::from_accept(other), NameEscaping::Underscores, "{other}");
        }
    }
}
