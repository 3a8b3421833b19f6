//! Numbers and strings one by one; the rest is tested through the parser.

use super::{lex, parse_number, unquote};
use crate::query::promql::token::TokenKind;

fn kinds(text: &str) -> Vec<TokenKind> {
    lex(text).tokens.into_iter().map(|token| token.kind).collect()
}

#[test]
fn numbers_are_those_of_go() {
    let cases = [
        ("1_000", 1000.0),
        ("0x1F", 31.0),
        ("0x_1f", 31.0),
        ("017", 15.0),
        ("0_17", 15.0),
        ("089", 89.0),
        ("5.", 5.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1_0.5e-1", 1.05),
        ("9223372036854775808", 9_223_372_036_854_776_000.0),
    ];
    for (text, value) in cases {
        assert_eq!(parse_number(text), Ok(value), "{text}");
        assert_eq!(kinds(text), [TokenKind::Number, TokenKind::Eof], "{text}");
    }
    assert!(parse_number("NaN").is_ok_and(f64::is_nan) && parse_number("iNf") == Ok(f64::INFINITY));
    for bad in ["5_", "0x", "1e400", "0xffffffffffffffffff", "1e"] {
        assert!(parse_number(bad).is_err(), "{bad}");
    }
}

#[test]
fn durations_end_where_their_units_end() {
    for text in ["5m", "1h30m", "1y2w3d4h5m6s7ms", "5hs"] {
        assert_eq!(kinds(text), [TokenKind::Duration, TokenKind::Eof], "{text}");
    }
    for bad in ["5mx", "5m3", "5q", "1__0", "1e", "1._1", "0x1.5"] {
        assert_eq!(kinds(bad), [TokenKind::Error], "{bad}");
    }
}

#[test]
fn strings_are_those_of_go() {
    let cases: [(&str, &[u8]); 8] = [
        (r#""a'b""#, b"a'b"),
        (r#"'a"b\''"#, b"a\"b'"),
        (r"`raw\n`", br"raw\n"),
        (r#""\a\b\f\n\r\t\v\\\"""#, b"\x07\x08\x0c\n\r\t\x0b\\\""),
        (r#""\xFF\377""#, b"\xff\xff"),
        (r#""\u00e9\U0001F389""#, "é🎉".as_bytes()),
        (r#""é""#, "é".as_bytes()),
        (r#""\101""#, b"A"),
    ];
    for (token, bytes) in cases {
        assert_eq!(kinds(token), [TokenKind::String, TokenKind::Eof], "{token}");
        assert_eq!(unquote(token), bytes, "{token}");
    }
}

#[test]
fn words_mean_something_only_where_they_can() {
    assert!(matches!(kinds("SUM")[0], TokenKind::Aggregator(_)));
    assert_eq!(kinds("{sum")[1], TokenKind::Identifier);
    assert_eq!(kinds("fill")[0], TokenKind::Identifier);
    assert!(matches!(kinds("fill\n (1)")[0], TokenKind::Keyword(_)));
    assert_eq!(kinds("a:sum")[0], TokenKind::MetricIdentifier);
    assert_eq!(kinds("a#b\nc"), [TokenKind::Identifier, TokenKind::Identifier, TokenKind::Eof]);
}
