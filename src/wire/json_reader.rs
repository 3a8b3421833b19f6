//! JSON, pulled token by token out of a text: nothing is built, numbers keep their digits, strings are borrowed.
//!
//! Stricter than it needs to be about structure, laxer about control characters in strings, as Go's fast readers
//! are. A lone surrogate becomes U+FFFD.

use memchr::memchr2;

/// Objects and arrays inside each other.
const MAX_DEPTH: usize = 64;

/// Why a text cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    /// What was expected or found.
    pub(super) what: &'static str,
    /// Byte position.
    pub(super) at: usize,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

type Read<T> = Result<T, Malformed>;

/// What a value is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Object,
    Array,
    String,
    Number,
    True,
    False,
    Null,
}

/// A string as it stands between its quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonStr<'a> {
    raw: &'a str,
    escaped: bool,
    at: usize,
}

impl<'a> JsonStr<'a> {
    /// The text with its escapes.
    pub(super) fn raw(self) -> &'a str {
        self.raw
    }

    /// The text; `scratch` is overwritten when there are escapes.
    pub(super) fn decode<'s>(self, scratch: &'s mut String) -> Read<&'s str>
    where
        'a: 's,
    {
        if !self.escaped {
            return Ok(self.raw);
        }
        scratch.clear();
        let bad = Malformed { what: "a string has a wrong escape", at: self.at };
        let mut rest = self.raw;
        while let Some(slash) = rest.find('\\') {
            scratch.push_str(&rest[..slash]);
            let (c, after) = escape(&rest[slash + 1..]).ok_or(bad)?;
            scratch.push(c);
            rest = after;
        }
        scratch.push_str(rest);
        Ok(scratch)
    }
}

/// The character of an escape, behind its backslash, and what follows.
fn escape(text: &str) -> Option<(char, &str)> {
    let simple = match text.as_bytes().first()? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => return unicode(&text[1..]),
        byte @ (b'"' | b'\\' | b'/') => char::from(*byte),
        _ => return None,
    };
    Some((simple, &text[1..]))
}

fn unicode(text: &str) -> Option<(char, &str)> {
    let (unit, rest) = hex4(text)?;
    if let Some(c) = char::from_u32(unit) {
        return Some((c, rest));
    }
    let low = rest.strip_prefix("\\u").and_then(hex4).filter(|(low, _)| (0xDC00..0xE000).contains(low));
    match low {
        Some((low, rest)) if unit < 0xDC00 => {
            let code = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            Some((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), rest))
        }
        _ => Some((char::REPLACEMENT_CHARACTER, rest)),
    }
}

fn hex4(text: &str) -> Option<(u32, &str)> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some((u32::from_str_radix(digits, 16).ok()?, &text[4..]))
}

/// A position in a text. A copy reads on by itself.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// What is wrong here.
    pub(super) fn complaint(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }

    fn fail<T>(&self, what: &'static str) -> Read<T> {
        Err(self.complaint(what))
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Read<()> {
        if self.peek() != Some(byte) {
            return self.fail(what);
        }
        self.at += 1;
        Ok(())
    }

    /// What the next value is.
    pub(super) fn look(&mut self) -> Read<Found> {
        Ok(match self.peek() {
            Some(b'{') => Found::Object,
            Some(b'[') => Found::Array,
            Some(b'"') => Found::String,
            Some(b'-' | b'0'..=b'9') => Found::Number,
            Some(b't') => Found::True,
            Some(b'f') => Found::False,
            Some(b'n') => Found::Null,
            Some(_) => return self.fail("expected a value"),
            None => return self.fail("the text is cut off"),
        })
    }

    /// Nothing but space may follow.
    pub(super) fn end(&mut self) -> Read<()> {
        if self.peek().is_some() { self.fail("expected the end of the text") } else { Ok(()) }
    }

    fn deeper(&mut self) -> Read<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { self.fail("values are nested too deep") } else { Ok(()) }
    }

    pub(super) fn begin_object(&mut self) -> Read<()> {
        self.expect(b'{', "expected an object")?;
        self.deeper()
    }

    /// The next key; its value follows and must be read. `None` at the end of the object. `first` starts as `true`.
    pub(super) fn next_key(&mut self, first: &mut bool) -> Read<Option<JsonStr<'a>>> {
        if !self.more(b'}', first, "expected a comma or the end of the object")? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return self.fail("expected a key");
        }
        let key = self.string()?;
        self.expect(b':', "expected a colon")?;
        Ok(Some(key))
    }

    pub(super) fn begin_array(&mut self) -> Read<()> {
        self.expect(b'[', "expected an array")?;
        self.deeper()
    }

    /// Whether another element follows, which must be read. `first` starts as `true`.
    pub(super) fn next_element(&mut self, first: &mut bool) -> Read<bool> {
        self.more(b']', first, "expected a comma or the end of the array")
    }

    fn more(&mut self, close: u8, first: &mut bool, what: &'static str) -> Read<bool> {
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            None => self.fail("the text is cut off"),
            _ if std::mem::take(first) => Ok(true),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => self.fail(what),
        }
    }

    pub(super) fn string(&mut self) -> Read<JsonStr<'a>> {
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        let mut escaped = false;
        let bytes = self.text.as_bytes();
        loop {
            let Some(found) = memchr2(b'"', b'\\', &bytes[self.at..]) else {
                return self.fail("a string is not closed");
            };
            self.at += found;
            if bytes[self.at] == b'"' {
                let raw = &self.text[start..self.at];
                self.at += 1;
                return Ok(JsonStr { raw, escaped, at: start });
            }
            escaped = true;
            // The escaped character may have several bytes; no quote or backslash is among its others.
            self.at = (self.at + 2).min(bytes.len());
        }
    }

    /// The digits of a number, `true`, `false` or `null`, as written.
    pub(super) fn scalar(&mut self) -> Read<&'a str> {
        let found = self.look()?;
        let rest = &self.text[self.at..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
        let word = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        let good = match found {
            Found::True => word == "true",
            Found::False => word == "false",
            Found::Null => word == "null",
            Found::Number => is_number(word),
            _ => false,
        };
        if !good {
            return self.fail("expected a number, true, false or null");
        }
        self.at += word.len();
        Ok(word)
    }

    /// Goes past the next value, checks its structure and gives its text.
    pub(super) fn skip(&mut self) -> Read<&'a str> {
        let found = self.look()?;
        let start = self.at;
        let mut first = true;
        match found {
            Found::Object => {
                self.begin_object()?;
                while self.next_key(&mut first)?.is_some() {
                    self.skip()?;
                }
            }
            Found::Array => {
                self.begin_array()?;
                while self.next_element(&mut first)? {
                    self.skip()?;
                }
            }
            Found::String => drop(self.string()?),
            _ => drop(self.scalar()?),
        }
        Ok(&self.text[start..self.at])
    }
}

/// JSON's grammar.
fn is_number(word: &str) -> bool {
    let digits = |text: &'_ str| {
        let count = text.bytes().take_while(u8::is_ascii_digit).count();
        (count > 0).then_some(count)
    };
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    // A zero stands alone in front of the point.
    if matches!(unsigned.as_bytes(), [b'0', b'0'..=b'9', ..]) {
        return false;
    }
    let number = || {
        let mut rest = &unsigned[digits(unsigned)?..];
        if let Some(fraction) = rest.strip_prefix('.') {
            rest = &fraction[digits(fraction)?..];
        }
        if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            rest = &exponent[digits(exponent)?..];
        }
        Some(rest)
    };
    number() == Some("")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str) -> Read<&str> {
        let mut reader = Reader::new(text);
        let value = reader.skip()?;
        reader.end().map(|()| value)
    }

    fn string(text: &str) -> Read<String> {
        let mut scratch = String::new();
        Reader::new(text).string()?.decode(&mut scratch).map(str::to_owned)
    }

    #[test]
    fn values_are_read_whole() {
        for text in ["{}", "[]", "[1, -2.5e+7,\"a\\\"b\",{\"k\":[null,true,false]}]", "\"\\u00e9é\"", "0"] {
            assert_eq!(whole(&format!(" {text}\n")), Ok(text));
        }
        let deep = "[".repeat(MAX_DEPTH + 1);
        for (text, what) in [
            ("", "cut off"),
            ("{", "cut off"),
            ("[1 2]", "comma"),
            ("{\"a\" 1}", "colon"),
            ("{a:1}", "key"),
            ("{\"a\":1,}", "key"),
            ("[1,]", "value"),
            ("1 2", "end of the text"),
            ("\"abc", "not closed"),
            ("\"abc\\", "not closed"),
            ("tru", "expected a number"),
            ("-", "expected a number"),
            ("1.e5", "expected a number"),
            ("1e", "expected a number"),
            ("+1", "value"),
            (&deep, "too deep"),
        ] {
            let error = whole(text).expect_err(text);
            assert!(error.what.contains(what), "{text}: {error}");
        }
    }

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(string(r#""a\n\t\\\"\/\u00e9""#).as_deref(), Ok("a\n\t\\\"/é"));
        assert_eq!(string(r#""\ud83d\ude00 \ud83d x \ude00""#).as_deref(), Ok("😀 \u{FFFD} x \u{FFFD}"));
        assert_eq!(string("\"raw\ttab\"").as_deref(), Ok("raw\ttab"));
        for bad in [r#""\x""#, r#""\u12""#, r#""\u12g4""#, "\"\\é\""] {
            assert_eq!(string(bad).expect_err(bad).what, "a string has a wrong escape");
        }
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_read(text in any::<String>(), number: f64) {
            let value = serde_json::json!({&text: [&text, number, {"x": null}]}).to_string();
            prop_assert_eq!(whole(&value), Ok(value.as_str()));
            prop_assert_eq!(string(&serde_json::Value::from(text.as_str()).to_string()), Ok(text));
        }

        #[test]
        fn anything_ends(text in any::<String>(), near in r#"[\[\]{}:,"\\0-9eE.u+tfn -]{0,40}"#) {
            // Whatever is valid must be read; leniency is allowed.
            for text in [text, near] {
                let valid = serde_json::from_str::<serde_json::Value>(&text).is_ok();
                prop_assert!(!valid || whole(&text).is_ok(), "{}", text);
            }
        }
    }
}
