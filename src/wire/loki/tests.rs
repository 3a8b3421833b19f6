//! Both forms go round, shapes are held, and hostile bytes end in errors.

use super::*;
use crate::error::Kind;
use crate::model::LabelsRef;
use crate::runtime::fuzz::fuzz;
use crate::wire::logs::{LogRules, Taken};

const NOW_MS: i64 = 1_790_000_000_000;
const AT: i64 = NOW_MS * 1_000_000 + 7;

fn plain() -> LogRules {
    LogRules { service_name_from: Vec::new(), detect_levels: false, ..LogRules::default() }
}

fn json(body: &[u8], rules: &LogRules) -> Result<Taken> {
    let mut intake = Intake::new(rules, NOW_MS);
    decode_json(body, &mut intake).map(|()| intake.finish())
}

fn protobuf(body: &[u8], rules: &LogRules) -> Result<Taken> {
    let mut intake = Intake::new(rules, NOW_MS);
    decode_protobuf(body, &Limits::default(), &mut intake).map(|()| intake.finish())
}

fn lines(taken: &Taken) -> Vec<String> {
    let batch = &taken.batch;
    let line = |row| {
        let line = batch.line(row);
        assert!(LabelsRef::parse(line.metadata.as_bytes()).is_ok(), "canonical");
        let stream = &batch.streams[line.stream as usize];
        format!("{} {} {:?} {}", stream.as_ref(), line.timestamp - AT, line.body, line.metadata)
    };
    (0..batch.len()).map(line).collect()
}

#[test]
fn both_forms_say_the_same() -> Result<()> {
    let text = format!(
        r#" {{"streams": [
            {{"stream": {{"app": "a\"pi", "zone": "é"}}, "values": [["{AT}", "one\n\u00e9"], ["{}", "", {{"trace.id": "t", "9": "", "x": "1"}}]]}},
            {{"values": [["{AT}", "three", null]], "more": [1, {{}}], "stream": {{"zone": "é", "app": "a\"pi"}}}},
            {{"stream": {{"app": "b"}}, "values": []}}, {{"stream": {{"app": "c"}}, "values": null}}
        ], "other": null}}"#,
        AT + 1
    );
    let metadata = [("trace.id", "t"), ("9", ""), ("x", "1")];
    let entry =
        |timestamp, line: &'static str| EntryToWrite { timestamp, line: line.as_bytes(), metadata: &[] };
    let first = [entry(AT, "one\né"), EntryToWrite { metadata: &metadata, ..entry(AT + 1, "") }];
    let streams = [
        StreamToWrite { labels: r#"{app="a\"pi", zone="é"}"#, entries: &first },
        StreamToWrite { labels: r#"{zone="é", app="a\"pi"}"#, entries: &[entry(AT, "three")] },
        StreamToWrite { labels: r#"{app="b"}"#, entries: &[] },
    ];
    let expected = [
        r#"{app="a\"pi", zone="é"} 0 "one\né" {}"#,
        r#"{app="a\"pi", zone="é"} 1 "" {trace_id="t", x="1"}"#,
        r#"{app="a\"pi", zone="é"} 0 "three" {}"#,
    ];
    let from_json = json(text.as_bytes(), &plain())?;
    let from_protobuf = protobuf(&encode(&streams)?, &plain())?;
    assert_eq!(
        (lines(&from_json), lines(&from_protobuf)),
        (expected.map(str::to_owned).to_vec(), lines(&from_json))
    );
    assert!(from_json.refused.is_empty() && from_protobuf.refused.is_empty());
    assert_eq!(lines(&json(b"{}", &plain())?), Vec::<String>::new());
    Ok(())
}

#[test]
fn times_before_1970_and_lines_that_are_no_text_are_taken() -> Result<()> {
    let entries = [
        EntryToWrite { timestamp: -1, line: b"a\xFFb", metadata: &[("k", "v")] },
        EntryToWrite { timestamp: -1_000_000_001, line: b"", metadata: &[] },
    ];
    let taken = protobuf(&encode(&[StreamToWrite { labels: "{a=\"b\"}", entries: &entries }])?, &plain())?;
    let times: Vec<i64> = taken.batch.timestamps.clone();
    assert_eq!((times, taken.replaced), (vec![-1, -1_000_000_001], 1));
    assert_eq!(taken.batch.line(0).body, "a\u{FFFD}b");
    let body = b"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",\"a\xFFb\"]]}]}";
    let taken = json(body, &plain())?;
    assert_eq!((taken.batch.line(0).body, taken.replaced), ("a\u{FFFD}b", 1));
    Ok(())
}

#[test]
fn another_shape_is_refused_whole() {
    let value = |value: &str| format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":[{value}]}}]}}"#);
    for (body, words) in [
        (String::new(), "expected an object"),
        ("{\"streams\":[".to_owned(), "cut off"),
        ("[]".to_owned(), "expected an object"),
        ("{\"streams\":{}}".to_owned(), "expected an array"),
        ("{\"streams\":[1]}".to_owned(), "expected an object"),
        ("{} x".to_owned(), "expected the end"),
        (value("[1,\"x\"]"), "a timestamp is not a string"),
        (value("[\"1.5\",\"x\"]"), "a timestamp is not a string of nanoseconds"),
        (value("[\"\",\"x\"]"), "a timestamp is not a string of nanoseconds"),
        (value("[\"99999999999999999999\",\"x\"]"), "a timestamp is not a string of nanoseconds"),
        (value("[\"1\",2]"), "a line is not a string"),
        (value("[\"1\"]"), "a value is not [timestamp, line, metadata]"),
        (value("[]"), "a value is not [timestamp, line, metadata]"),
        (value("[\"1\",\"x\",{},1]"), "a value is not [timestamp, line, metadata]"),
        (value("[\"1\",\"x\",{\"a\":1}]"), "a value of structured metadata is not a string"),
        (value("[\"1\",\"x\",{\"a\":{}}]"), "a value of structured metadata is not a string"),
        (r#"{"streams":[{"stream":{"a":1},"values":[]}]}"#.to_owned(), "a label's value is not a string"),
    ] {
        let error = json(body.as_bytes(), &plain()).expect_err(&body);
        assert_eq!(error.kind(), Kind::Invalid, "{body}");
        assert!(
            error.to_string().starts_with("Loki push: ") && error.message().contains(words),
            "{body}: {error}"
        );
    }
    let snap = |message: &[u8]| snap::raw::Encoder::new().compress_vec(message).expect("small");
    for (message, words) in [
        (&[0x0A, 5, 1][..], "cut off"),
        (&[0x08, 1], "another type"),
        (&[0x0A, 2, 0x10, 1], "another type"),
        (&[0x0A, 4, 0x12, 2, 0x10, 1], "another type"),
    ] {
        let error = protobuf(&snap(message), &plain()).expect_err(words);
        assert!(error.message().contains(words), "{error}");
    }
    for body in [&b""[..], b"plain text", &[5, 0, 1]] {
        assert_eq!(protobuf(body, &plain()).expect_err("no snappy").kind(), Kind::Invalid);
    }
}

#[test]
fn a_bad_stream_is_named_and_its_neighbours_are_taken() -> Result<()> {
    let entries = [EntryToWrite { timestamp: AT, line: b"line", metadata: &[("k", "v")] }; 3];
    let streams =
        ["{a=\"b\"}", "{a=b}", "{}", "{a=\"c\"}"].map(|labels| StreamToWrite { labels, entries: &entries });
    let taken = protobuf(&encode(&streams)?, &plain())?;
    assert_eq!((taken.batch.len(), taken.refused.lines()), (6, 6));
    let reasons: Vec<_> = taken.refused.reasons().collect();
    assert_eq!(reasons, [("invalid_labels", 3, 18), ("missing_labels", 3, 18)]);
    let message = taken.refused.message(6);
    assert!(
        message.contains("Error parsing labels '{a=b}' with error: expected a quoted value at byte 3"),
        "{message}"
    );
    let text = r#"{"streams":[{"stream":{"a-b":"c"},"values":[["1","x"]]},{"stream":{"a":"b"},"values":[["1","x"]]}]}"#;
    let taken = json(text.as_bytes(), &plain())?;
    assert_eq!((taken.batch.len(), taken.refused.lines()), (1, 1));
    Ok(())
}

#[test]
fn hostile_bodies_end_without_a_panic() -> Result<()> {
    const WORDS: [&str; 13] = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "\\",
        "\\u00e9",
        "\"stream\":",
        "\"values\":",
        "[\"1\",\"x\"]",
        "null",
    ];
    let line = "lévél=\"info\" level=warn x".as_bytes();
    let entries = [EntryToWrite { timestamp: AT, line, metadata: &[("k", "v")] }; 2];
    let packed = encode(&[StreamToWrite { labels: "{a=\"b\\n\"}", entries: &entries }; 2])?;
    let mut unpacked = Vec::new();
    unsnap(&packed, &Limits::default(), &mut unpacked)?;
    let text = format!(
        r#"{{"streams":[{{"stream":{{"a":"\u00e9"}},"values":[["{AT}","{{\"level\":\"info\"}}"],["1","\\",{{"k":"v"}}]]}}]}}"#
    );
    let rules = LogRules::default();
    let whole = |taken: Result<Taken>| {
        taken.is_ok_and(|taken| {
            lines(&taken);
            taken.refused.is_empty()
        })
    };
    fuzz("loki_protobuf", &[&unpacked], &[], |message| {
        let mut intake = Intake::new(&rules, NOW_MS);
        whole(message::decode(message, &mut intake).map(|()| intake.finish()))
    });
    fuzz("loki_json", &[text.as_bytes()], &WORDS, |body| whole(json(body, &rules)));
    fuzz(
        "loki_labels",
        &[br#"{app="a\"pi\x41", zone="\u00e9"}"#, b"{a=`b`,}"],
        &["{", "}", "=", "\"", ","],
        |text| labels::parse(&String::from_utf8_lossy(text)).is_ok(),
    );
    Ok(())
}

/// From the body to the batch nothing is allocated for a line by itself; columns grow by doubling.
#[test]
fn a_line_costs_no_allocation() -> Result<()> {
    const LINES: usize = 5_000;
    let entry = EntryToWrite { timestamp: AT, line: b"level=info msg=\"a line\"", metadata: &[("k", "v")] };
    let entries = vec![entry; LINES];
    let packed = encode(&[StreamToWrite { labels: "{a=\"b\"}", entries: &entries }])?;
    let values = format!(r#"["{AT}","{{\"level\":\"info\"}} \u00e9",{{"k":"v"}}],"#).repeat(LINES);
    let text =
        format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":[{}]}}]}}"#, values.trim_end_matches(','));
    let rules = LogRules::default();
    // What is made at the first use is made before.
    drop((protobuf(&packed, &rules), json(text.as_bytes(), &rules)));
    let mut taken = Vec::new();
    let counted = allocation_counter::measure(|| {
        taken.push(protobuf(&packed, &rules));
        taken.push(json(text.as_bytes(), &rules));
    });
    for taken in taken {
        assert_eq!(taken?.batch.len(), LINES);
    }
    // The scratch of a level in a JSON line is one that stays empty.
    assert!(counted.count_total < 500, "{} allocations", counted.count_total);
    Ok(())
}
