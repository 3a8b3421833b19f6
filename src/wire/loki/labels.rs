//! The label text of the protobuf form: `{app="api", zone="eu"}`, values quoted as Go quotes them.

/// The pairs in the order written.
///
/// # Errors
/// What was expected, and where.
pub(super) fn parse(text: &str) -> Result<Vec<(&str, String)>, String> {
    let mut pairs = Vec::new();
    let at = |rest: &str| text.len() - rest.len();
    let expected = |what: &str, rest: &str| Err(format!("expected {what} at byte {}", at(rest)));
    let Some(mut rest) = text.trim_start().strip_prefix('{').map(str::trim_start) else {
        return expected("'{'", text);
    };
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return if after.trim().is_empty() { Ok(pairs) } else { expected("the end", after) };
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, after) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        if name.is_empty() {
            return expected("a label name", rest);
        }
        let Some(after) = after.trim_start().strip_prefix('=').map(str::trim_start) else {
            return expected("'='", after);
        };
        let Some((value, after)) = quoted(after) else { return expected("a quoted value", after) };
        pairs.push((name, value));
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.starts_with('}') => {}
            None => return expected("',' or '}'", rest),
        }
    }
}

/// A string in quotes or back quotes, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        return raw.split_once('`').map(|(value, rest)| (value.to_owned(), rest));
    }
    let mut rest = text.strip_prefix('"')?;
    let mut out = Vec::new();
    loop {
        let end = rest.find(['"', '\\'])?;
        out.extend_from_slice(&rest.as_bytes()[..end]);
        let is_quote = rest.as_bytes()[end] == b'"';
        rest = &rest[end + 1..];
        if is_quote {
            return Some((String::from_utf8_lossy(&out).into_owned(), rest));
        }
        rest = escape(rest, &mut out)?;
    }
}

/// Appends what an escape stands for, behind its backslash, and gives what follows it.
fn escape<'a>(text: &'a str, out: &mut Vec<u8>) -> Option<&'a str> {
    let first = *text.as_bytes().first()?;
    let (digits, radix, skipped) = match first {
        b'x' => (2, 16, 1),
        b'u' => (4, 16, 1),
        b'U' => (8, 16, 1),
        b'0'..=b'7' => (3, 8, 0),
        _ => {
            const PLAIN: [(u8, u8); 9] = [
                (b'n', b'\n'),
                (b't', b'\t'),
                (b'r', b'\r'),
                (b'a', 7),
                (b'b', 8),
                (b'f', 12),
                (b'v', 11),
                (b'\\', b'\\'),
                (b'"', b'"'),
            ];
            out.push(PLAIN.iter().find(|(letter, _)| *letter == first)?.1);
            return Some(&text[1..]);
        }
    };
    let number = text.get(skipped..skipped + digits)?;
    let value = u32::from_str_radix(number, radix).ok().filter(|_| !number.starts_with('+'))?;
    if digits < 4 {
        out.push(u8::try_from(value).ok()?);
    } else {
        out.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(&text[skipped + digits..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        parse(text).map(|pairs| format!("{pairs:?}"))
    }

    #[test]
    fn label_texts_are_read_as_go_writes_them() {
        for (text, pairs) in [
            ("{}", "[]"),
            (" { } ", "[]"),
            (r#"{a="b"}"#, r#"[("a", "b")]"#),
            (r#"{a = "b" , c_1="d",}"#, r#"[("a", "b"), ("c_1", "d")]"#),
            (r#"{a="q\"\\\n\t\u00e9\x41\101\U0001F600é"}"#, r#"[("a", "q\"\\\n\téAA😀é")]"#),
            (r"{a=`raw\n`}", r#"[("a", "raw\\n")]"#),
            (r#"{a="\xff"}"#, "[(\"a\", \"\u{FFFD}\")]"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(pairs), "{text}");
        }
        for (text, error) in [
            ("", "expected '{' at byte 0"),
            ("{", "expected a label name at byte 1"),
            ("{a}", "expected '=' at byte 2"),
            ("{a=b}", "expected a quoted value at byte 3"),
            ("{a=\"b}", "expected a quoted value at byte 3"),
            ("{a=\"b\" c=\"d\"}", "expected ',' or '}' at byte 7"),
            ("{a-b=\"c\"}", "expected '=' at byte 2"),
            ("{a=\"b\"} x", "expected the end at byte 7"),
            ("{a=\"\\q\"}", "expected a quoted value at byte 3"),
            ("{a=\"\\u12\"}", "expected a quoted value at byte 3"),
        ] {
            assert_eq!(read(text), Err(error.to_owned()), "{text}");
        }
    }
}
