//! Prometheus' own table of relabelling, and what is refused.

use super::*;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn rules(yaml: &str, names: NameScheme) -> Result<Vec<Rule>> {
    let raw: Vec<RawRule> = serde_saphyr::from_str(yaml).map_err(|e| Error::invalid(e.to_string()))?;
    raw.iter().map(|raw| Rule::new(raw, names)).collect()
}

/// The labels after the rules; `None` when they were dropped.
fn relabelled(input: Pairs<'_>, yaml: &str, names: NameScheme) -> Option<Vec<(String, String)>> {
    let mut labels: LabelSet = input.iter().copied().collect();
    let kept = apply(&rules(yaml, names).expect(yaml), &mut labels);
    labels.sort();
    kept.then(|| labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
}

const ABC: Pairs<'_> = &[("a", "foo"), ("b", "bar"), ("c", "baz")];

/// Cases of Prometheus' `TestRelabel`: input, rules, what is added or changed (an empty value: removed), or
/// `None` when all is dropped.
fn table() -> Vec<(Pairs<'static>, &'static str, Option<Pairs<'static>>)> {
    vec![
        (ABC, "[{source_labels: [a], regex: 'f(.*)', target_label: d, replacement: 'ch${1}-ch${1}'}]", Some(&[("d", "choo-choo")])),
        (
            ABC,
            "[{source_labels: [a, b], regex: 'f(.*);(.*)r', target_label: a, replacement: 'b${1}${2}m'},
              {source_labels: [c, a], regex: '(b).*b(.*)ba(.*)', target_label: d, replacement: '$1$2$2$3'}]",
            Some(&[("a", "boobam"), ("d", "boooom")]),
        ),
        (ABC, "[{source_labels: [a], regex: '.*o.*', action: drop}, {source_labels: [a], target_label: d}]", None),
        (&[("a", "abc")], "[{source_labels: [a], regex: '.*(b).*', target_label: d}]", Some(&[("d", "b")])),
        (ABC, "[{source_labels: [a], regex: no-match, action: drop}]", Some(&[])),
        (ABC, "[{source_labels: [a], regex: 'f|o', action: drop}]", Some(&[])),
        (ABC, "[{source_labels: [a], regex: no-match, action: keep}]", None),
        (ABC, "[{source_labels: [a], regex: 'f.*', action: keep}]", Some(&[])),
        (ABC, "[{source_labels: [a], regex: 'b', target_label: b, replacement: x}]", Some(&[])),
        (&[("a", "foo"), ("f", "baz")], "[{source_labels: [a], regex: '(f).*', target_label: '$1', replacement: '$2'}]", Some(&[("f", "")])),
        (ABC, "[{source_labels: [c], target_label: d, action: hashmod, modulus: 1000}]", Some(&[("d", "976")])),
        (&[("a", "foo\nbar")], "[{source_labels: [a], target_label: b, action: hashmod, modulus: 1000}]", Some(&[("b", "734")])),
        (&[("a", "foo"), ("b1", "bar"), ("b2", "baz")], "[{regex: '(b.*)', replacement: 'bar_${1}', action: labelmap}]", Some(&[("bar_b1", "bar"), ("bar_b2", "baz")])),
        (&[("__meta_my_bar", "aaa"), ("__meta_other", "ccc")], "[{regex: '__meta_(my.*)', replacement: '${1}', action: labelmap}]", Some(&[("my_bar", "aaa")])),
        (&[("a", "some-name-value")], "[{source_labels: [a], regex: 'some-([^-]+)-([^,]+)', replacement: '${2}', target_label: '${1}'}]", Some(&[("name", "value")])),
        (&[("a", "some-name-value")], "[{source_labels: [a], regex: 'some-([^-]+)-([^,]+)', replacement: '${3}', target_label: '${1}'}]", Some(&[])),
        (&[("a", "some-name-0")], "[{source_labels: [a], regex: 'some-([^-]+)-([^,]+)', replacement: '${1}', target_label: '${3}'}]", Some(&[])),
        (
            &[("__meta_sd_tags", "path:/secret,job:some-job,label:foo=bar")],
            "[{source_labels: [__meta_sd_tags], regex: '(?:.+,|^)path:(/[^,]+).*', target_label: __metrics_path__},
              {source_labels: [__meta_sd_tags], regex: '(?:.+,|^)job:([^,]+).*', target_label: job},
              {source_labels: [__meta_sd_tags], regex: '(?:.+,|^)label:([^=]+)=([^,]+).*', replacement: '${2}', target_label: '${1}'}]",
            Some(&[("__metrics_path__", "/secret"), ("job", "some-job"), ("foo", "bar")]),
        ),
        (&[("a", "foo"), ("b1", "bar"), ("b2", "baz")], "[{regex: '(b.*)', action: labelkeep}]", Some(&[("a", "")])),
        (&[("a", "foo"), ("b1", "bar"), ("b2", "baz")], "[{regex: 'b.*', action: labeldrop}]", Some(&[("b1", ""), ("b2", "")])),
        (&[("foo", "bAr123Foo")], "[{source_labels: [foo], action: uppercase, target_label: up}, {source_labels: [foo], action: lowercase, target_label: low}]", Some(&[("up", "BAR123FOO"), ("low", "bar123foo")])),
        (&[("a", "x"), ("b", "x")], "[{source_labels: [a], action: keepequal, target_label: b}]", Some(&[])),
        (&[("a", "x"), ("b", "y")], "[{source_labels: [a], action: keepequal, target_label: b}]", None),
        (&[("a", "x"), ("b", "x")], "[{source_labels: [a], action: dropequal, target_label: b}]", None),
        (&[("a", "x"), ("b", "y")], "[{source_labels: [a], action: DropEqual, target_label: b}]", Some(&[])),
        (&[("a", "x"), ("b", "y")], "[{source_labels: [a, b], separator: '/', target_label: c}]", Some(&[("c", "x/y")])),
        (&[("a", "line\nfeed")], "[{source_labels: [a], regex: 'l.*d', target_label: b, replacement: yes}]", Some(&[("b", "yes")])),
        (&[("a", "x")], "[{target_label: b, replacement: fixed}, {target_label: a, replacement: ''}]", Some(&[("a", ""), ("b", "fixed")])),
    ]
}

#[test]
fn rules_do_what_prometheus_does() {
    for (input, yaml, changes) in table() {
        let expected = changes.map(|changes| {
            let mut labels: LabelSet = input.iter().copied().collect();
            for (name, value) in changes {
                labels.set(name, value);
            }
            labels.sort();
            labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect::<Vec<_>>()
        });
        assert_eq!(relabelled(input, yaml, NameScheme::Utf8), expected, "{yaml}");
    }
}

#[test]
fn a_name_that_the_scheme_does_not_allow_is_not_set() {
    let yaml = "[{source_labels: [a], target_label: '${1}', replacement: x}]";
    assert_eq!(
        relabelled(&[("a", "ä b")], yaml, NameScheme::Legacy),
        relabelled(&[("a", "ä b")], "[]", NameScheme::Legacy)
    );
    assert_ne!(
        relabelled(&[("a", "ä b")], yaml, NameScheme::Utf8),
        relabelled(&[("a", "ä b")], "[]", NameScheme::Utf8)
    );
}

#[test]
fn wrong_rules_are_refused_in_prometheus_words() {
    let cases = [
        ("[{action: replace}]", "requires 'target_label' value"),
        ("[{action: lowercase}]", "requires 'target_label' value"),
        ("[{action: hashmod, target_label: a}]", "requires non-zero modulus"),
        ("[{action: lowercase, target_label: a, replacement: b}]", "'replacement' can not be set"),
        ("[{action: labelmap, replacement: ''}]", "invalid 'replacement'"),
        ("[{action: keepequal, target_label: a, regex: b}]", "no other fields"),
        ("[{action: dropequal, target_label: a, separator: b}]", "no other fields"),
        ("[{action: labeldrop, source_labels: [a]}]", "requires only 'regex'"),
        ("[{action: labelkeep, target_label: a}]", "requires only 'regex'"),
        ("[{action: keep, regex: '(?=x)'}]", "'regex' of a relabel rule is not valid"),
        ("[{action: sort}]", "unknown relabel action"),
        ("[{acton: keep}]", "acton"),
    ];
    for (yaml, message) in cases {
        let error = rules(yaml, NameScheme::Utf8).expect_err(yaml);
        assert!(error.to_string().contains(message), "{yaml}: {error}");
    }
    let legacy = rules("[{target_label: 'a-b', replacement: x}]", NameScheme::Legacy);
    assert!(legacy.expect_err("a dash").to_string().contains("invalid 'target_label'"));
    assert!(rules("[{action: labelmap, replacement: 'x_${1}'}]", NameScheme::Legacy).is_ok());
}
