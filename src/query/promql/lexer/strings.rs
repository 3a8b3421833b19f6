//! Strings: `"…"` and `'…'` with Go's escapes, `` `…` `` raw.

use super::{Failure, Lexer};
use crate::query::promql::quote::code_point;
use crate::query::promql::token::TokenKind;

impl Lexer<'_> {
    /// Reads to the closing quote; the opening one has been read.
    pub(super) fn string(&mut self, quote: char) -> Result<(), Failure> {
        let raw = quote == '`';
        loop {
            match self.next() {
                None if raw => return Err("unterminated raw string".to_owned()),
                None => return Err("unterminated quoted string".to_owned()),
                Some('\n') if !raw => return Err("unterminated quoted string".to_owned()),
                Some('\\') if !raw => self.escape(quote)?,
                Some(c) if c == quote => break,
                Some(_) => {}
            }
        }
        self.emit(TokenKind::String);
        Ok(())
    }

    /// Reads an escape behind its backslash and checks it.
    fn escape(&mut self, quote: char) -> Result<(), Failure> {
        let not_terminated = || "escape sequence not terminated".to_owned();
        let c = self.next().ok_or_else(not_terminated)?;
        let (digits, radix, largest, first) = match c {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == quote => return Ok(()),
            '0'..='7' => (3, 8, 0xFF, Some(c)),
            'x' => (2, 16, 0xFF, None),
            'u' => (4, 16, 0x10_FFFF, None),
            'U' => (8, 16, 0x10_FFFF, None),
            c => return Err(format!("unknown escape sequence {}", code_point(c))),
        };
        let mut value: u32 = first.and_then(|c| c.to_digit(radix)).unwrap_or(0);
        for _ in usize::from(first.is_some())..digits {
            let c = self.next().ok_or_else(not_terminated)?;
            let illegal = || format!("illegal character {} in escape sequence", code_point(c));
            value = value.wrapping_mul(radix) | c.to_digit(radix).ok_or_else(illegal)?;
        }
        if value > largest || (0xD800..0xE000).contains(&value) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }
}

/// The bytes that a string token stands for. They need not be UTF-8: `"\xFF"` is one byte, as in Go.
pub(in crate::query::promql) fn unquote(token: &str) -> Vec<u8> {
    let quote = token.as_bytes().first().copied();
    let inner = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    if quote == Some(b'`') || !inner.contains('\\') {
        return inner.as_bytes().to_vec();
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            push_escape(&mut out, &mut chars);
        } else {
            push_char(&mut out, c);
        }
    }
    out
}

/// Decodes one escape; the lexer has checked it.
fn push_escape(out: &mut Vec<u8>, chars: &mut std::str::Chars<'_>) {
    let Some(c) = chars.next() else { return };
    let mut number = |first: u32, digits: usize, radix: u32| {
        let more = chars.by_ref().take(digits);
        more.fold(first, |value, c| value.wrapping_mul(radix) | c.to_digit(radix).unwrap_or(0))
    };
    let simple = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0C,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0B,
        '0'..='7' => low_byte(number(c.to_digit(8).unwrap_or(0), 2, 8)),
        'x' => low_byte(number(0, 2, 16)),
        'u' => return push_char(out, char::from_u32(number(0, 4, 16)).unwrap_or_default()),
        'U' => return push_char(out, char::from_u32(number(0, 8, 16)).unwrap_or_default()),
        c => return push_char(out, c), // A backslash or the quote itself.
    };
    out.push(simple);
}

fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

fn push_char(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
