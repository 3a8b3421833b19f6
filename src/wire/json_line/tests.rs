//! Events in the shapes that shippers send, and hostile bytes.

use super::*;
use crate::runtime::fuzz::fuzz;
use crate::wire::logs::{LogRules, Taken};

const NOW_MS: i64 = 1_790_000_000_000;
const NOW: i64 = NOW_MS * 1_000_000;

fn rules() -> LogRules {
    LogRules { service_name_from: Vec::new(), detect_levels: false, ..LogRules::default() }.for_wide_events()
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn take(body: &[u8], shape: &Shape) -> Taken {
    let rules = rules();
    let mut intake = Intake::new(&rules, NOW_MS);
    decode(body, shape, NOW, &mut intake);
    intake.finish()
}

fn lines(taken: &Taken) -> Vec<String> {
    let batch = &taken.batch;
    let line = |row| {
        let line = batch.line(row);
        let stream = &batch.streams[line.stream as usize];
        format!("{} {} {:?} {}", stream.as_ref(), line.timestamp, line.body, line.metadata)
    };
    (0..batch.len()).map(line).collect()
}

#[test]
fn an_event_becomes_time_line_stream_and_metadata() {
    let shape = Shape {
        time_fields: names(&["date", "ts"]),
        message_fields: names(&["log.message", "message"]),
        stream_fields: names(&["stream", "k8s.pod"]),
        ignore_fields: names(&["drop", "internal.*"]),
        extra_fields: vec![("env".to_owned(), "test".to_owned()), ("n".to_owned(), "7".to_owned())],
    };
    let body = br#"{ "log": { "level": "info", "message": "hello \"world\"" }, "date": "0", "stream": "s1", "drop": 1 }

{"message":"plain","ts":1790000000.5,"k8s":{"pod":"p-1","ns":"x"},"internal":{"a":1,"b":{"c":2}},"n":1.50,"list":[1, {"a":2}],"stream":"s1"}
{"date":"","message":"m","ok":true,"gone":null,"empty":"","stream":"s1","":"e"}"#;
    let taken = take(body, &shape);
    assert!(taken.refused.is_empty(), "{}", taken.refused.message(0));
    assert_eq!(
        lines(&taken),
        [
            format!(r#"{{stream="s1"}} {NOW} "hello \"world\"" {{env="test", log.level="info", n="7"}}"#),
            format!(
                r#"{{k8s_pod="p-1", stream="s1"}} {} "plain" {{env="test", k8s.ns="x", list="[1, {{\"a\":2}}]", n="7"}}"#,
                NOW + 500_000_000
            ),
            format!(r#"{{stream="s1"}} {NOW} "m" {{_="e", env="test", n="7", ok="true"}}"#),
        ]
    );
}

#[test]
fn a_bad_line_is_named_by_its_number_and_the_others_are_taken() {
    let shape = Shape { stream_fields: names(&["app"]), ..Shape::default() };
    let body = b"{\"_msg\":\"a\",\"app\":\"x\"}\nnot json\r\n[1]\n{\"_msg\":\"b\",\"_time\":\"noon\",\"app\":\"x\"}\n\
        {\"_msg\":\"c\"}\n{\"_msg\":\"d\",\"app\":\"x\"} \n{\"_msg\":\"e\",\"app\":\"x\"";
    let taken = take(body, &shape);
    assert_eq!(taken.batch.len(), 2);
    let reasons: Vec<_> = taken.refused.reasons().map(|(reason, lines, _)| (reason, lines)).collect();
    assert_eq!(reasons, [("invalid_json", 3), ("invalid_timestamp", 1), ("missing_labels", 1)]);
    let message = taken.refused.message(2);
    for text in [
        "5 of 7 lines refused",
        "line 2: no JSON object: expected an object at byte 0: not json",
        "line 4: no time: noon",
        "line 5: error at least one label pair",
        "line 7: no JSON object: the text is cut off at byte 21",
    ] {
        assert!(message.contains(text), "{text}\n{message}");
    }
}

#[test]
fn hostile_lines_end_without_a_panic() {
    const WORDS: [&str; 12] =
        ["{", "}", "[", "]", "\"", ":", ",", "\n", "\\u00e9", "\\ud83d", "\"_time\":", "null"];
    let shape = Shape { stream_fields: names(&["a.b"]), ..Shape::default() };
    let first = br#"{"_time":"2026-09-21T14:13:20Z","_msg":"\ud83d\ude00 x","a":{"b":"c","d":[1,2,{"e":null}]},"n":-1.5e3}"#;
    let second =
        b"{\"_time\":1790000000,\"a\":{\"b\":\"c\"},\"level\":\"warn\"}\n{\"_msg\":\"x\",\"a.b\":\"1\"}";
    fuzz("json_line", &[first, second], &WORDS, |body| {
        let taken = take(body, &shape);
        lines(&taken);
        taken.refused.is_empty()
    });
}
