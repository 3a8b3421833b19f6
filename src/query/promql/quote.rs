//! Go's quoting (`strconv.Quote`, `%q`, `%#U`), in which Prometheus writes strings and characters.

use std::fmt::Write;

/// A string literal as Go's `strconv.Quote` writes it; bytes that are not UTF-8 become `\xNN`.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_char(&mut out, c, '"');
        }
        for byte in chunk.invalid() {
            push_hex(&mut out, 'x', 2, u32::from(*byte));
        }
    }
    out.push('"');
    out
}

/// A character as Go's `%q` writes it: `'$'`.
pub(super) fn quote_char(c: char) -> String {
    let mut out = String::from("'");
    push_char(&mut out, c, '\'');
    out.push('\'');
    out
}

/// A character as Go's `%#U` writes it: `U+0024 '$'`.
pub(super) fn code_point(c: char) -> String {
    let number = format!("U+{:04X}", u32::from(c));
    if is_printable(c) { format!("{number} '{c}'") } else { number }
}

fn push_char(out: &mut String, c: char, quote: char) {
    match c {
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        '\\' => out.push_str("\\\\"),
        c if c == quote => out.extend(['\\', c]),
        c if is_printable(c) => out.push(c),
        c if u32::from(c) < 0x20 || c == '\u{7f}' => push_hex(out, 'x', 2, u32::from(c)),
        c if u32::from(c) < 0x1_0000 => push_hex(out, 'u', 4, u32::from(c)),
        c => push_hex(out, 'U', 8, u32::from(c)),
    }
}

fn push_hex(out: &mut String, letter: char, digits: usize, value: u32) {
    write!(out, "\\{letter}{value:0digits$x}").expect("a string takes everything");
}

/// Rust's table of printable characters is the one Go uses (letters, marks, numbers, punctuation, symbols and
/// the ASCII space), but it is reachable only through `escape_debug`, which also escapes a combining mark where
/// it stands first: so the character is put behind another.
fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        c if c.is_ascii() => false,
        c => format!("a{c}").escape_debug().nth(1) == Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_go_quotes_them() {
        let cases: [(&[u8], &str); 8] = [
            (b"plain", r#""plain""#),
            (b"a\"b\\c'", r#""a\"b\\c'""#),
            (b"\x07\x08\x0c\n\r\t\x0b\x01\x7f", r#""\a\b\f\n\r\t\v\x01\x7f""#),
            ("é世🎉".as_bytes(), "\"é世🎉\""),
            ("e\u{301}".as_bytes(), "\"e\u{301}\""),
            ("\u{a0}\u{200b}".as_bytes(), r#""\u00a0\u200b""#),
            ("\u{e0001}".as_bytes(), r#""\U000e0001""#),
            (b"a\xc5z", r#""a\xc5z""#),
        ];
        for (bytes, quoted) in cases {
            assert_eq!(quote(bytes), quoted);
        }
        assert_eq!(quote_char('\''), r"'\''");
        assert_eq!(quote_char('"'), "'\"'");
        assert_eq!((code_point('z'), code_point('\n')), ("U+007A 'z'".to_owned(), "U+000A".to_owned()));
    }
}
