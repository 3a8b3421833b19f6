//! Both text formats as Prometheus reads them (the cases follow its own parser tests), and seeded fuzz.

use super::*;
use crate::error::Kind;
use crate::model::NORMAL_NAN;
use crate::runtime::fuzz::fuzz;

static LIMITS: std::sync::LazyLock<Limits> = std::sync::LazyLock::new(Limits::default);

/// Every event of a body, one short text each: `name{a="b"} value @timestamp`.
fn read(body: &[u8], format: Format) -> Result<Vec<String>> {
    let mut parser = Parser::new(body, format, &LIMITS);
    let mut scratch = LabelScratch::default();
    let mut out = Vec::new();
    while let Some(event) = parser.next_event()? {
        out.push(match event {
            Event::Type { metric, kind } => format!("TYPE {metric} {}", kind.as_str()),
            Event::Help { metric, text } => format!("HELP {metric} {text}"),
            Event::Unit { metric, unit } => format!("UNIT {metric} {unit}"),
            Event::Sample(sample) => {
                sample.labels(&mut scratch)?;
                let mut text = shown_labels(&scratch);
                text.push_str(&shown_number(sample.value, sample.timestamp_ms));
                if let Some(exemplar) = sample.exemplar {
                    sample.exemplar_labels(&mut scratch)?;
                    text.push_str(" # ");
                    text.push_str(&shown_labels(&scratch));
                    text.push_str(&shown_number(exemplar.value, exemplar.timestamp_ms));
                }
                text
            }
        });
    }
    Ok(out)
}

fn shown_labels(scratch: &LabelScratch) -> String {
    let pairs: Vec<_> = scratch.pairs().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{}{{{}}}", scratch.metric(), pairs.join(","))
}

fn shown_number(value: f64, timestamp: Option<i64>) -> String {
    timestamp.map_or_else(|| format!(" {value}"), |ms| format!(" {value} @{ms}"))
}

fn text(body: &str) -> Vec<String> {
    read(body.as_bytes(), Format::Text).unwrap_or_else(|e| panic!("{body:?}: {e}"))
}

fn openmetrics(body: &str) -> Vec<String> {
    let body = format!("{body}# EOF\n");
    read(body.as_bytes(), Format::OpenMetrics).unwrap_or_else(|e| panic!("{body:?}: {e}"))
}

#[test]
fn the_text_format() {
    let body = r#"# HELP go_gc_duration_seconds A summary of the GC invocation durations.
# 	TYPE go_gc_duration_seconds summary
go_gc_duration_seconds{quantile="0"} 4.9351e-05
go_gc_duration_seconds{quantile="0.25",} 7.424100000000001e-05
go_gc_duration_seconds{quantile="0.8", a="b"} 8.3835e-05
go_gc_duration_seconds{ quantile="1.0", a="b" } 8.3835e-05
go_gc_duration_seconds { quantile="2.0" a="b" } 8.3835e-05
go_gc_duration_seconds_count 99
some:aggregate:rate5m{a_b="c"}	1
# TYPE go_goroutines gauge

   go_goroutines 33  	123123
_metric_starting_with_underscore 1
testmetric{_label_starting_with_underscore="foo"} 1
testmetric{label="\"bar\"\\\n\x}#"} -Inf -5
# a comment
#HELP plain comment
# HELP
# HELP nohelp
# HELP escaped  two\\ \n \"lines
{"http.status",q="0.9","a.\"b"="x",} 8
"#;
    let expected = [
        "HELP go_gc_duration_seconds A summary of the GC invocation durations.",
        "TYPE go_gc_duration_seconds summary",
        r#"go_gc_duration_seconds{quantile="0.0"} 0.000049351"#,
        r#"go_gc_duration_seconds{quantile="0.25"} 0.00007424100000000001"#,
        r#"go_gc_duration_seconds{quantile="0.8",a="b"} 0.000083835"#,
        r#"go_gc_duration_seconds{quantile="1.0",a="b"} 0.000083835"#,
        r#"go_gc_duration_seconds{quantile="2.0",a="b"} 0.000083835"#,
        "go_gc_duration_seconds_count{} 99",
        r#"some:aggregate:rate5m{a_b="c"} 1"#,
        "TYPE go_goroutines gauge",
        "go_goroutines{} 33 @123123",
        "_metric_starting_with_underscore{} 1",
        r#"testmetric{_label_starting_with_underscore="foo"} 1"#,
        r#"testmetric{label="\"bar\"\\\n\\x}#"} -inf @-5"#,
        "HELP nohelp ",
        "HELP escaped  two\\ \n \\\"lines",
        r#"http.status{q="0.9",a."b="x"} 8"#,
    ];
    assert_eq!(text(body), expected);
    assert_eq!(text(body.trim_end()), expected, "the last line feed is optional");
    assert_eq!(text(""), [""; 0]);
}

#[test]
fn the_openmetrics_format() {
    let body = r#"# HELP foo A "thing"\n \"of\" \\ beauty
# TYPE foo_seconds counter
# UNIT foo_seconds seconds
foo_seconds_total{a="b"} 17.0 1520879607.789 # {id="counter-test"} 5
foo_seconds_created{a="b"} 1520872607.123
# TYPE hist histogram
hist_bucket{le="5"} 17 # {trace_id="a # {\"b\"}",x=""} 3.5 1520879608.5
hist_bucket{le="+Inf",v=" # {"} 18
hist_count 3 # {} 1
# TYPE state stateset
state{state="a}"} 1
# TYPE "dotted.name" info
{"dotted.name","x.y"="z"} 1 -1.5
# UNIT none 
# TYPE ratio unknown
ratio NaN
"#;
    let expected = [
        "HELP foo A \"thing\"\n \"of\" \\ beauty",
        "TYPE foo_seconds counter",
        "UNIT foo_seconds seconds",
        r#"foo_seconds_total{a="b"} 17 @1520879607789 # {id="counter-test"} 5"#,
        r#"foo_seconds_created{a="b"} 1520872607.123"#,
        "TYPE hist histogram",
        r#"hist_bucket{le="5.0"} 17 # {trace_id="a # {\"b\"}",x=""} 3.5 @1520879608500"#,
        r#"hist_bucket{le="+Inf",v=" # {"} 18"#,
        "hist_count{} 3 # {} 1",
        "TYPE state stateset",
        r#"state{state="a}"} 1"#,
        "TYPE dotted.name info",
        r#"dotted.name{x.y="z"} 1 @-1500"#,
        "UNIT none ",
        "TYPE ratio unknown",
        "ratio{} NaN",
    ];
    assert_eq!(openmetrics(body), expected);
    assert_eq!(read(b"# EOF", Format::OpenMetrics).ok(), Some(vec![]), "without a line feed behind it");
}

#[test]
fn a_bound_is_rewritten_only_in_its_own_family() {
    let body = "# TYPE a histogram\na_bucket{le=\"1\"} 1\nb{le=\"1\"} 1\n# TYPE b gauge\nb{le=\"1\"} 1\n\
                # TYPE s summary\ns{quantile=\"1\",le=\"1\"} 1\n# TYPE a histogram\na_bucket{le=\"x\"} 1\n\
                a_bucket{le=\"1000000\"} 1\n# TYPE \"a.b\" histogram\n{\"a.b_bucket\",le=\"1\"} 1\n";
    let samples: Vec<_> = text(body).into_iter().filter(|line| !line.starts_with("TYPE")).collect();
    assert_eq!(
        samples,
        [
            r#"a_bucket{le="1.0"} 1"#,
            r#"b{le="1"} 1"#,
            r#"b{le="1"} 1"#,
            r#"s{quantile="1.0",le="1"} 1"#,
            r#"a_bucket{le="x"} 1"#,
            r#"a_bucket{le="1e+06"} 1"#,
            r#"a.b_bucket{le="1.0"} 1"#,
        ]
    );
}

/// Each body is refused, with words and line.
fn refused(format: Format, cases: &[(&str, &str, usize)]) {
    for (body, words, line) in cases {
        let error = read(body.as_bytes(), format).expect_err(body);
        assert_eq!(error.kind(), Kind::Invalid, "{body:?}");
        assert!(error.to_string().contains(words), "{body:?}: {error}");
        assert_eq!(error.get("line"), Some(line.to_string().as_str()), "{body:?}: {error}");
    }
}

#[test]
fn what_the_text_format_refuses() {
    refused(
        Format::Text,
        &[
            ("a\n", "expected a value after the metric", 1),
            ("ok 1\na{b=\"c\"}\n", "expected a value", 2),
            ("a{b='c'} 1\n", "expected a quoted text, got '\\''", 1),
            ("a{b=\"c} 1\n", "expected a quoted text", 1),
            ("a{b=\n", "expected a value", 1),
            ("a{\"b\"=1} 1\n", "expected a quoted text", 1),
            ("a{=\"b\"} 1\n", "expected a label name", 1),
            ("a{,} 1\n", "expected a label name", 1),
            ("a{b=\"c\",,} 1\n", "expected a label name", 1),
            ("a{b} 1\n", "expected '='", 1),
            ("a{1=\"x\"} 1\n", "expected a label name", 1),
            ("a{b=\"1\",b=\"2\"} 1\n", "a label name occurs twice", 1),
            ("a{__name__=\"b\"} 1\n", "a label name occurs twice", 1),
            ("a{\"b\"} 1\n", "already set", 1),
            ("{\"a\",\"b\"} 1\n", "already set", 1),
            ("{b=\"c\"} 1\n", "expected a metric name", 1),
            ("{\"\"} 1\n", "expected a metric name", 1),
            ("a{\"\"=\"c\"} 1\n", "a label name is empty", 1),
            ("a-b 1\n", "got '-'", 1),
            ("0a 1\n", "got '0'", 1),
            ("<!DOCTYPE html>\n", "not a number (line: 1, text: html>)", 1),
            ("a 1 1 1\n", "expected the end of the line", 1),
            ("a 1 1.5\n", "the timestamp is not an integer", 1),
            ("a 0x1p-3\n", "the value is not a number (line: 1, text: 0x1p-3)", 1),
            ("a 1_0\n", "the value is not a number", 1),
            ("a 1\r\n", "the value is not a number (line: 1, text: 1\\r)", 1),
            ("a 1 # {x=\"y\"} 1\n", "got '1'", 1),
            ("# TYPE a nothing\n", "invalid metric type", 1),
            ("# TYPE 0 counter\n", "expected a metric name", 1),
            ("\n\n# HELP \"a\n", "expected a metric name", 3),
        ],
    );
    let raw: [&[u8]; 3] = [b"a{b=\"\xFF\"} 1\n", b"# HELP a \xFF\n", b"a\xFF 1\n"];
    for body in raw {
        assert!(read(body, Format::Text).is_err_and(|e| e.to_string().contains("UTF-8")), "{body:?}");
    }
}

#[test]
fn what_openmetrics_refuses() {
    refused(
        Format::OpenMetrics,
        &[
            ("", "does not end with # EOF", 0),
            ("a 1\n", "does not end with # EOF", 1),
            ("a 1", "does not end with # EOF", 1),
            ("a 1\n# EOF\nb 1\n", "unexpected data after # EOF", 3),
            ("a 1\n\n# EOF\n", "expected a metric or a descriptor", 2),
            ("# comment\n# EOF\n", "expected HELP, TYPE, UNIT or EOF", 1),
            ("#\n# EOF\n", "expected a metric or a descriptor", 1),
            ("# HELP a\n# EOF\n", "expected a text", 1),
            ("# TYPE a counter \n# EOF\n", "invalid metric type", 1),
            ("# UNIT a_seconds ms\n# EOF\n", "not a suffix", 1),
            ("# UNIT seconds seconds\n# EOF\n", "not a suffix", 1),
            ("a  1\n# EOF\n", "expected a value", 1),
            ("a\t1\n# EOF\n", "expected a value", 1),
            ("a 1 \n# EOF\n", "expected an exemplar or the end", 1),
            ("a 1 NaN\n# EOF\n", "not a finite number", 1),
            ("a 1 Inf\n# EOF\n", "not a finite number", 1),
            ("a 1 # {x=\"y\"}\n# EOF\n", "expected a value after the exemplar", 1),
            ("a 1 # {x=\"y\" 1\n# EOF\n", "labels of the exemplar do not end", 1),
            ("a 1 # x 1\n# EOF\n", "expected the labels of an exemplar", 1),
            ("a 1 # {\"x\"} 1\n# EOF\n", "expected '='", 1),
            ("a 1 # {x=\"y\"} 1 1 1\n# EOF\n", "expected the end of the line", 1),
            ("a{x=\"#\" 1\n# EOF\n", "the labels do not end", 1),
        ],
    );
}

#[test]
fn every_nan_is_prometheus_own_and_never_a_stale_marker() {
    let mut parser = Parser::new(b"a NaN\n", Format::Text, &LIMITS);
    let Ok(Some(Event::Sample(sample))) = parser.next_event() else { panic!("it is a sample") };
    assert_eq!(sample.value.to_bits(), NORMAL_NAN);
}

#[test]
fn the_series_text_is_the_cache_key() {
    let body = b"  a{b=\"c\"}   1\na{b=\"c\"} 2 3\nd 1\n{\"e.f\"}\t1\n";
    let mut parser = Parser::new(body, Format::Text, &LIMITS);
    let mut keys = Vec::new();
    while let Ok(Some(Event::Sample(sample))) = parser.next_event() {
        keys.push((String::from_utf8_lossy(sample.series), sample.line));
    }
    let expected = [("a{b=\"c\"}", 1), ("a{b=\"c\"}", 2), ("d", 3), ("{\"e.f\"}", 4)];
    assert_eq!(keys, expected.map(|(key, line)| (key.into(), line)));
}

#[test]
fn limits_are_named_and_messages_stay_short() {
    let limits =
        Limits { labels_per_series: 2, label_name_bytes: 4, label_value_bytes: 5, ..Limits::default() };
    for (body, limit) in [
        ("name{a=\"1\",b=\"2\"} 1\n".to_owned(), "labels_per_series"),
        ("{\"name\",a=\"1\",b=\"2\"} 1\n".to_owned(), "labels_per_series"),
        ("namex 1\n".to_owned(), "label_name_bytes"),
        ("a{longer=\"x\"} 1\n".to_owned(), "label_name_bytes"),
        (format!("a{{b=\"{}\"}} 1\n", "x".repeat(10 << 20)), "label_value_bytes"),
    ] {
        let mut parser = Parser::new(body.as_bytes(), Format::Text, &limits);
        let Ok(Some(Event::Sample(sample))) = parser.next_event() else { panic!("it is a sample") };
        let error = sample.labels(&mut LabelScratch::default()).expect_err("it passes a limit");
        assert_eq!(error.kind(), Kind::Limit);
        assert_eq!(error.get("limit"), Some(limit), "{error}");
        assert!(error.to_string().len() < 1_000);
    }
    let fits = b"name{a=\"12345\"} 1\n";
    let mut parser = Parser::new(fits, Format::Text, &limits);
    let Ok(Some(Event::Sample(sample))) = parser.next_event() else { panic!("it is a sample") };
    assert!(sample.labels(&mut LabelScratch::default()).is_ok());
    let long = format!("a {}\n", "é".repeat(1 << 20));
    assert!(read(long.as_bytes(), Format::Text).is_err_and(|e| e.to_string().len() < 500));
}

#[test]
fn content_types() {
    for (header, format) in [
        ("text/plain; version=0.0.4", Some(Format::Text)),
        ("Text/Plain;version=1.0.0;charset=utf-8", Some(Format::Text)),
        ("application/openmetrics-text; version=1.0.0", Some(Format::OpenMetrics)),
        ("application/vnd.google.protobuf", None),
        ("text/html", None),
        ("", None),
    ] {
        assert_eq!(Format::from_content_type(header), format, "{header}");
    }
    assert!(!ACCEPT.contains(char::is_whitespace));
}

/// Bodies that are cut off, changed and mixed: an error or a reading, never a panic, always an end.
#[test]
fn hostile_bodies_end_without_a_panic() {
    let text = b"# HELP a b\\n\n# TYPE a histogram\na_bucket{le=\"1\",x=\"\\\"}\"} 1e5 -17\n{\"q.r\",\"s\"=\"\xC3\xA9\"} NaN\n";
    let metrics = b"# TYPE a_s counter\n# UNIT a_s s\na_s_total{b=\"c\"} 1 1.5 # {t=\"u\"} 0.5 2.25\n# EOF\n";
    for (decoder, format, seed) in
        [("exposition", Format::Text, &text[..]), ("openmetrics", Format::OpenMetrics, &metrics[..])]
    {
        fuzz(decoder, &[seed], &WORDS, |body| read(body, format).is_ok());
    }
}

const WORDS: [&str; 16] = [
    "{",
    "}",
    "\"",
    "\\",
    "\n",
    " ",
    "#",
    "=",
    ",",
    "1e5",
    "NaN",
    "# TYPE a ",
    "# HELP a ",
    "# UNIT a ",
    "# EOF\n",
    "le=\"1\"",
];
