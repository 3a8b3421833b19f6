//! Rules hold line by line, and what is added is what Loki adds.

use super::*;

const NOW_MS: i64 = 1_790_000_000_000;
const NOW: i64 = NOW_MS * NS_PER_MS;

/// Every line: stream, time relative to now, text, metadata.
pub(in crate::wire) fn lines(batch: &LogBatch) -> Vec<String> {
    let line = |row| {
        let line = batch.line(row);
        let stream = &batch.streams[line.stream as usize];
        format!("{} {} {:?} {}", stream.as_ref(), line.timestamp, line.body, line.metadata)
    };
    (0..batch.len()).map(line).collect()
}

fn bare() -> LogRules {
    LogRules { service_name_from: Vec::new(), detect_levels: false, ..LogRules::default() }
}

#[test]
fn streams_are_made_once_whatever_the_order_of_their_labels() {
    let rules = LogRules::default();
    let mut intake = Intake::new(&rules, NOW_MS);
    let mut number = |pairs: &[(&str, &str)]| intake.stream(&mut pairs.to_vec()).expect("good labels");
    assert_eq!(number(&[("b", "2"), ("a", "1"), ("c", "")]), 0);
    assert_eq!(number(&[("a", "1"), ("b", "2")]), 0);
    assert_eq!(number(&[("a", "1"), ("b", "2"), ("service_name", "unknown_service")]), 0);
    assert_eq!(number(&[("a", "1"), ("service_name", ""), ("b", "2"), ("app", "")]), 0);
    assert_eq!(number(&[("container", "x"), ("app", "api")]), 1);
    assert_eq!(number(&[]), 2);
    let texts: Vec<String> =
        intake.batch().streams.iter().map(|labels| labels.as_ref().to_string()).collect();
    assert_eq!(
        texts,
        [
            r#"{a="1", b="2", service_name="unknown_service"}"#,
            r#"{app="api", container="x", service_name="api"}"#,
            r#"{service_name="unknown_service"}"#,
        ]
    );
}

#[test]
fn bad_streams_are_refused_in_loki_s_words() {
    let rules = bare();
    let mut intake = Intake::new(&rules, NOW_MS);
    let many: Vec<String> = (0..16).map(|n| format!("l{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "v")).collect();
    let long = "x".repeat(2_049);
    for (pairs, reason, text) in [
        (vec![("a", "")], "missing_labels", "error at least one label pair is required per stream"),
        (many.clone(), "max_label_names_per_series", "has 16 label names; limit 15"),
        (vec![("a-b", "c")], "invalid_labels", "Error parsing labels '{a-b=\"c\"}'"),
        (vec![(&*long, "c")], "label_name_too_long", "has label name too long"),
        (vec![("a", &*long)], "label_value_too_long", "has label value too long"),
        (vec![("a", "1"), ("a", "2")], "duplicate_label_names", "has duplicate label name: 'a'"),
    ] {
        let refusal = intake.stream(&mut pairs.clone()).expect_err(reason);
        assert_eq!(refusal.reason, reason);
        assert!(refusal.text.contains(text) && refusal.text.len() < 4_000, "{}", refusal.text);
    }
    assert!(intake.batch().streams.is_empty());
    let rules = LogRules::default();
    let mut fifteen = many[..15].to_vec();
    assert!(Intake::new(&rules, NOW_MS).stream(&mut fifteen).is_ok(), "service_name does not count");
    assert_eq!(fifteen.len(), 16);
}

#[test]
fn bad_lines_are_refused_and_their_neighbours_are_taken() {
    let rules = LogRules { max_age_ms: Some(60_000), ..bare() };
    let mut intake = Intake::new(&rules, NOW_MS);
    let stream = intake.stream(&mut vec![("a", "b")]).expect("good labels");
    let long = "x".repeat(rules.line_bytes + 1);
    intake.line(stream, NOW, "first");
    intake.line(stream, NOW - 60_001 * NS_PER_MS, "old");
    intake.line(stream, NOW + 601_000 * NS_PER_MS, "new");
    intake.line(stream, NOW, &long);
    intake.metadata.push("k", &long[..rules.metadata_bytes]);
    intake.line(stream, NOW, "wide");
    (0..=rules.metadata_entries).for_each(|n| intake.metadata.push(&n.to_string(), "v"));
    intake.line(stream, NOW, "many");
    intake.line(stream, NOW + 600_000 * NS_PER_MS, &long[..rules.line_bytes]);
    assert_eq!(intake.text(b"a\xFF\xFEb"), "a\u{FFFD}\u{FFFD}b");
    let taken = intake.finish();
    assert_eq!((taken.batch.len(), taken.refused.lines(), taken.replaced), (2, 5, 2));
    let reasons: Vec<_> = taken.refused.reasons().map(|(reason, lines, _)| (reason, lines)).collect();
    assert_eq!(
        reasons,
        [
            ("greater_than_max_sample_age", 1),
            ("line_too_long", 1),
            ("structured_metadata_too_large", 1),
            ("structured_metadata_too_many", 1),
            ("too_far_in_future", 1),
        ]
    );
    let message = taken.refused.message(taken.batch.len());
    for text in [
        "5 of 7 lines refused, the others are stored: ",
        "entry for stream '{a=\"b\"}' has timestamp too old: 2026-09-21T14:12:19Z, oldest acceptable timestamp is: 2026-09-21T14:12:20Z",
        "entry for stream '{a=\"b\"}' has timestamp too new: 2026-09-21T14:23:21Z",
        "Max entry size '262144' bytes exceeded for stream '{a=\"b\"}' while adding an entry with length '262145' bytes",
        "stream '{a=\"b\"}' has structured metadata too large: '65537' bytes, limit: '65536' bytes",
        "stream '{a=\"b\"}' has too many structured metadata labels: '129', limit: '128'",
    ] {
        assert!(message.contains(text), "{text}\n{message}");
    }
}

#[test]
fn without_a_limit_of_age_the_store_s_bound_holds() {
    let rules = LogRules { grace_ms: i64::MAX, ..bare() };
    let mut intake = Intake::new(&rules, NOW_MS);
    let stream = intake.stream(&mut vec![("a", "b")]).expect("good labels");
    for time in [OLDEST_MS, NOW_MS + FUTURE_MS] {
        intake.line(stream, time * NS_PER_MS, "in");
    }
    for time in [OLDEST_MS - 1, NOW_MS + FUTURE_MS + 1] {
        intake.line(stream, time * NS_PER_MS, "out");
    }
    intake.line(stream, i64::MIN, "out");
    intake.line(stream, i64::MAX, "out");
    let taken = intake.finish();
    assert_eq!((taken.batch.len(), taken.refused.lines()), (2, 4));
}

#[test]
fn a_level_comes_from_labels_then_metadata_then_the_line() {
    let rules = LogRules { service_name_from: Vec::new(), ..LogRules::default() };
    let mut intake = Intake::new(&rules, NOW_MS);
    let plain = intake.stream(&mut vec![("a", "b")]).expect("good labels");
    let by_label = intake.stream(&mut vec![("level", "ERR")]).expect("good labels");
    intake.line(plain, 1, "level=warn x");
    intake.line(by_label, 2, "level=warn x");
    intake.metadata.push("severity", "Notice");
    intake.line(plain, 3, "level=warn x");
    intake.metadata.push("z", "1");
    intake.line(by_label, 4, "");
    intake.metadata.push("detected_level", "WARNING");
    intake.line(by_label, 5, "");
    intake.metadata.push("a", "1");
    intake.line(plain, 6, "nothing");
    let texts = lines(intake.batch());
    assert_eq!(
        texts,
        [
            r#"{a="b"} 1 "level=warn x" {detected_level="warn"}"#,
            r#"{level="ERR"} 2 "level=warn x" {detected_level="error"}"#,
            r#"{a="b"} 3 "level=warn x" {detected_level="Notice", severity="Notice"}"#,
            r#"{level="ERR"} 4 "" {detected_level="error", z="1"}"#,
            r#"{level="ERR"} 5 "" {detected_level="warn"}"#,
            r#"{a="b"} 6 "nothing" {a="1", detected_level="unknown"}"#,
        ]
    );
}

#[test]
fn names_become_label_names() {
    let named = |name: &str| {
        let mut out = String::new();
        push_label_name(&mut out, name);
        out
    };
    assert_eq!(
        [named("k8s.pod-name"), named("9x"), named("é"), named("a_b")],
        ["k8s_pod_name", "key_9x", "_", "a_b"]
    );
    assert!(is_label_name("_a9") && !is_label_name("") && !is_label_name("9a") && !is_label_name("a.b"));
}
