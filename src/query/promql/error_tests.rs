//! What is refused, where, and in which words: those of Prometheus.

use super::{parse, parse_selector};
use crate::error::Kind;

/// Each query with its whole message.
fn assert_errors(cases: &[(&str, &str)]) {
    for (query, message) in cases {
        let error = parse(query).expect_err(query);
        assert_eq!(error.message(), *message, "{query}");
        assert_eq!(error.kind(), Kind::Syntax);
    }
}

#[test]
fn unreadable_characters() {
    assert_errors(&[
        ("", "unknown position: parse error: no expression found in input"),
        (" # nothing", "1:1: parse error: no expression found in input"),
        ("foo $", "1:5: parse error: unexpected character: '$'"),
        ("foo and\n\n é", "3:2: parse error: unexpected character: 'é'"),
        ("(1", "1:3: parse error: unclosed left parenthesis"),
        ("(1))", "1:5: parse error: unexpected right parenthesis ')'"),
        ("foo]", "1:4: parse error: unexpected right bracket ']'"),
        ("foo[5m", "1:7: parse error: unclosed left bracket"),
        ("foo[[", "1:5: parse error: unexpected character in duration expression: '['"),
        ("foo[5m[", "1:7: parse error: unexpected left bracket '['"),
        ("foo[", "1:5: parse error: unexpected end of input in duration expression"),
        ("foo[:5m]", "1:6: parse error: unexpected colon before duration in duration expression"),
        ("foo[5m:1m:1m]", "1:10: parse error: unexpected colon ':'"),
        ("foo[5m x]", "1:8: parse error: unexpected character: 'x', expected ':'"),
        ("foo[5mx]", r#"1:5: parse error: bad number or duration syntax: "5mx""#),
        ("5x", r#"1:1: parse error: bad number or duration syntax: "5""#),
        ("1..2", r#"1:1: parse error: bad number or duration syntax: "1..""#),
        ("foo{", "1:5: parse error: unexpected end of input inside braces"),
        ("foo{{}}", "1:5: parse error: unexpected left brace '{'"),
        ("foo{a!b}", "1:6: parse error: unexpected character after '!' inside braces: 'b'"),
        ("foo ! bar", "1:5: parse error: unexpected character after '!': ' '"),
        ("foo =~ bar", "1:5: parse error: unexpected character after '=': '~'"),
        (r#"foo{a=~"("}"#, "1:5: parse error: error parsing regexp: missing closing ): `(`"),
        (r#""abc"#, "1:1: parse error: unterminated quoted string"),
        ("\"a\nb\"", "1:1: parse error: unterminated quoted string"),
        ("`abc", "1:1: parse error: unterminated raw string"),
        (r#""\z""#, "1:1: parse error: unknown escape sequence U+007A 'z'"),
        (r#""\'""#, "1:1: parse error: unknown escape sequence U+0027 '''"),
        (r#""\x4g""#, "1:1: parse error: illegal character U+0067 'g' in escape sequence"),
        (r#""\400""#, "1:1: parse error: escape sequence is an invalid Unicode code point"),
        (r#""\ud800""#, "1:1: parse error: escape sequence is an invalid Unicode code point"),
    ]);
}

#[test]
fn tokens_in_the_wrong_place() {
    assert_errors(&[
        ("foo +", "1:6: parse error: unexpected end of input"),
        ("*foo", "1:1: parse error: unexpected <op:*>"),
        ("foo bar", r#"1:5: parse error: unexpected identifier "bar""#),
        ("foo:a a:b", r#"1:7: parse error: unexpected metric identifier "a:b""#),
        ("foo 1", r#"1:5: parse error: unexpected number "1""#),
        ("foo by", "1:5: parse error: unexpected <by>"),
        ("foo + group_left bar", "1:7: parse error: unexpected <group_left>"),
        ("1 = 2", r#"1:3: parse error: unexpected "=""#),
        ("()", r#"1:2: parse error: unexpected ")""#),
        (r#"foo "a long string""#, r#"1:5: parse error: unexpected string "\"a long st"..."#),
        ("sum(foo +)", r#"1:10: parse error: unexpected ")" in aggregation"#),
        ("sum(abs(foo bar))", r#"1:13: parse error: unexpected identifier "bar" in aggregation"#),
        ("sum(foo) bar", r#"1:10: parse error: unexpected identifier "bar""#),
        ("sum by (a) foo", r#"1:12: parse error: unexpected identifier "foo" in aggregation"#),
        ("sum by foo (x)", r#"1:8: parse error: unexpected identifier "foo" in grouping opts, expected "(""#),
        ("sum by (1) (x)", r#"1:9: parse error: unexpected number "1" in grouping opts, expected label"#),
        (
            "sum by (a b) (x)",
            r#"1:11: parse error: unexpected identifier "b" in grouping opts, expected "," or ")""#,
        ),
        (r#"sum by ("") (x)"#, r#"1:9: parse error: invalid label name for grouping: """#),
        (r#"sum by ("\xff") (x)"#, r#"1:9: parse error: invalid label name for grouping: "\xff""#),
        ("foo{1}", "1:5: parse error: unexpected character inside braces: '1'"),
        ("foo{,}", r#"1:5: parse error: unexpected "," in label matching, expected identifier or "}""#),
        ("foo{a}", r#"1:6: parse error: unexpected "}" in label matching, expected label matching operator"#),
        ("foo{a=b}", r#"1:7: parse error: unexpected identifier "b" in label matching, expected string"#),
        (
            r#"foo{a="b" or c="d"}"#,
            r#"1:11: parse error: unexpected identifier "or" in label matching, expected "," or "}""#,
        ),
        (
            "foo offset bar",
            r#"1:12: parse error: unexpected identifier "bar" in offset, expected number, duration, step(), or range()"#,
        ),
        ("foo @ bar", r#"1:7: parse error: unexpected identifier "bar" in @, expected timestamp"#),
        (
            "foo[]",
            r#"1:5: parse error: unexpected "]" in subquery or range selector, expected number, duration, step(), or range()"#,
        ),
        (
            "foo[5m 5m]",
            r#"1:8: parse error: unexpected duration "5m" in subquery or range, expected ":" or "]""#,
        ),
        (
            "foo[5m:1m 1m]",
            r#"1:11: parse error: unexpected duration "1m" in subquery selector, expected "]""#,
        ),
    ]);
}

#[test]
fn meanings_that_do_not_exist() {
    assert_errors(&[
        ("nope(foo)", r#"1:1: parse error: unknown function with name "nope""#),
        ("1 + Rate(foo[5m])", r#"1:5: parse error: unknown function with name "Rate""#),
        ("abs(foo,)", "1:8: parse error: trailing commas not allowed in function call args"),
        ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
        (
            "topk(foo)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        (
            "1e400",
            r#"1:1: parse error: error parsing number: strconv.ParseFloat: parsing "1e400": value out of range"#,
        ),
        ("foo[0]", "1:5: parse error: duration must be greater than 0"),
        ("foo[5m-5m]", "1:5: parse error: duration must be greater than 0"),
        ("foo[5m/0]", "1:7: parse error: division by zero"),
        ("foo[5m%0]", "1:7: parse error: modulo by zero"),
        ("foo[9.5e10]", "1:5: parse error: duration out of range"),
        ("foo offset 9.5e10", "1:12: parse error: duration out of range"),
        (
            "1 offset 5m",
            "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        ("foo offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"),
        ("foo @ 1 @ end()", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        ("foo @ Inf", "1:1: parse error: timestamp out of bounds for @ modifier: +Inf"),
        ("(foo)[5m]", "1:6: parse error: ranges only allowed for vector selectors"),
        ("foo offset 1m[5m]", "1:14: parse error: no offset modifiers allowed before range"),
        ("foo @ 1[5m]", "1:8: parse error: no @ modifiers allowed before range"),
        (
            "foo anchored smoothed",
            "1:1: parse error: anchored and smoothed modifiers cannot be used together",
        ),
        ("foo[5m:1m] smoothed", "1:1: parse error: smoothed modifier is not supported for subqueries"),
    ]);
}

#[test]
fn types_that_do_not_fit() {
    assert_errors(&[
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        (r#"1 + {a=~".*"}"#, "1:5: parse error: vector selector must contain at least one non-empty matcher"),
        (r#"foo{__name__="bar"}"#, r#"1:1: parse error: metric name must not be set twice: "foo" or "bar""#),
        ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("foo + bool bar", "1:5: parse error: bool modifier can only be used on comparison operators"),
        ("foo or 1", r#"1:1: parse error: set operator "or" not allowed in binary scalar expression"#),
        ("foo and on (a) group_left bar", r#"1:1: parse error: no grouping allowed for "and" operation"#),
        (
            "foo * on (a, b) group_left (b) bar",
            r#"1:5: parse error: label "b" must not occur in ON and GROUP clause at once"#,
        ),
        ("foo * on (a) 1", "1:1: parse error: vector matching only allowed between instant vectors"),
        (
            "1 + fill (0) foo",
            "1:1: parse error: filling in missing series only allowed between instant vectors",
        ),
        ("foo or fill (0) bar", "1:1: parse error: filling in missing series not allowed for set operators"),
        (
            r#"foo + "x""#,
            "1:7: parse error: binary expression must contain only scalar and instant vector types",
        ),
        (
            "foo[5m] + 1",
            "1:1: parse error: binary expression must contain only scalar and instant vector types",
        ),
        (
            r#"-"x""#,
            r#"1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got "string""#,
        ),
        (
            "rate(foo)",
            r#"1:6: parse error: expected type range vector in call to function "rate", got instant vector"#,
        ),
        ("sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, got scalar"),
        (
            "topk(foo, bar)",
            "1:6: parse error: expected type scalar in aggregation parameter, got instant vector",
        ),
        ("time(1)", r#"1:1: parse error: expected 0 argument(s) in call to "time", got 1"#),
        ("round()", r#"1:1: parse error: expected at least 1 argument(s) in call to "round", got 0"#),
        ("round(foo, 1, 2)", r#"1:1: parse error: expected at most 2 argument(s) in call to "round", got 3"#),
        ("foo[5m][5m]", "1:8: parse error: ranges only allowed for vector selectors"),
        (
            "foo[5m][5m:1m]",
            "1:1: parse error: subquery is only allowed on instant vector, got matrix instead",
        ),
        ("1[5m:1m]", "1:1: parse error: subquery is only allowed on instant vector, got scalar instead"),
        ("info(a, b)", "1:9: parse error: expected label selectors only, got vector selector instead"),
        (r#"info(a, {b="c"} == 1)"#, "1:9: parse error: expected label selectors only"),
    ]);
}

#[test]
fn what_prometheus_accepts_is_accepted() {
    let accepted = [
        r#"info(a, {b=""})"#,
        "sum(sum)",
        "sum + by + or + start + min_of",
        "fill + fill(1) fill",
        "anchored{job=\"x\"} smoothed",
        "sum by (on, bool, ignoring, group_left, or,) (x)",
        r#"{"my.metric", "my.label"=~"x"}"#,
        "foo offset -(5m) * 2",
        "foo offset (1m) * 2",
        "foo offset 0 offset 5m",
        "foo[max_of(step(), 5s):min_of(range(), 1m)]",
        "label_join(foo, `a`, 'b')",
        "-2 ^ 2",
        "foo # a comment\n + bar",
        "foo{a=~`\\d+`, # here too\n}",
    ];
    for query in accepted {
        parse(query).expect(query);
    }
    for wanting in ["label_join(foo, 'a', 'b', 'c', 'd', 'e')", "foo * on () group_left () bar"] {
        parse(wanting).expect(wanting);
    }
}

#[test]
fn a_selector_alone_may_match_everything_but_is_nothing_more() {
    let names =
        |text| -> Vec<String> { parse_selector(text).expect(text).iter().map(ToString::to_string).collect() };
    assert_eq!(names(r#"up{a!="b"}"#), [r#"a!="b""#, r#"__name__="up""#]);
    assert_eq!(names("{}"), Vec::<String>::new());
    for bad in ["up[5m]", "up offset 5m", "1", "", "up + up"] {
        assert_eq!(parse_selector(bad).expect_err(bad).kind(), Kind::Syntax);
    }
}
