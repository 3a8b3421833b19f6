//! The text of a series, `name{a="b",…}` or `{"name","a"="b",…}`, checked and decoded.

use std::ops::Range;

use memchr::{memchr2, memchr3};

use super::super::limits::Limits;
use crate::error::{Error, Result};
use crate::model::{METRIC_NAME, push_openmetrics_float};

/// Decoded names and values; reused from series to series.
#[derive(Debug, Default)]
pub struct LabelScratch {
    text: String,
    metric: Range<usize>,
    pairs: Vec<(Range<usize>, Range<usize>)>,
}

impl LabelScratch {
    /// The metric's name.
    pub fn metric(&self) -> &str {
        &self.text[self.metric.clone()]
    }

    /// The labels without `__name__`, as written: in any order, no name twice, values may be empty.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.pairs.iter().map(|(name, value)| (&self.text[name.clone()], &self.text[value.clone()]))
    }

    fn clear(&mut self) {
        self.text.clear();
        self.pairs.clear();
        self.metric = 0..0;
    }

    fn push(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        push_unescaped(&mut self.text, text, true);
        start..self.text.len()
    }

    /// Writes the value of a label as OpenMetrics writes floats, if it is one.
    pub(super) fn normalize_float(&mut self, label: &str) {
        let Some(at) = self.pairs.iter().position(|(name, _)| &self.text[name.clone()] == label) else {
            return;
        };
        let value = &self.text[self.pairs[at].1.clone()];
        let Some(number) = super::super::number::parse_float(value.as_bytes()) else {
            return;
        };
        let mut text = Vec::new();
        push_openmetrics_float(&mut text, number);
        let start = self.text.len();
        self.text.push_str(std::str::from_utf8(&text).expect("digits are ASCII"));
        self.pairs[at].1 = start..self.text.len();
    }

    fn check_names(&self, metric: bool) -> Result<()> {
        let mut names: Vec<&str> = self.pairs().map(|(name, _)| name).collect();
        if metric {
            names.push(METRIC_NAME);
        }
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Error::invalid("a label name occurs twice").with("label", pair[0])),
            None => Ok(()),
        }
    }
}

/// Reads a whole series.
pub(super) fn decode(text: &[u8], limits: &Limits, scratch: &mut LabelScratch) -> Result<()> {
    scratch.clear();
    let text = utf8(text)?;
    let end = name_end(text.as_bytes(), is_metric_char);
    if end > 0 {
        limits.check_label(&text[..end], "")?;
        scratch.metric = scratch.push(&text[..end]);
    }
    let rest = text[end..].trim_start_matches(BLANKS);
    if !rest.is_empty() {
        Reader { rest, limits, metric: Some(end > 0) }.labels(scratch)?;
    }
    if scratch.metric.is_empty() {
        return Err(Error::invalid("expected a metric name"));
    }
    scratch.check_names(true)
}

/// Reads the braces of an exemplar; a quoted name alone is not allowed in there.
pub(super) fn decode_exemplar(text: &[u8], limits: &Limits, scratch: &mut LabelScratch) -> Result<()> {
    scratch.clear();
    Reader { rest: utf8(text)?, limits, metric: None }.labels(scratch)?;
    scratch.check_names(false)
}

fn utf8(text: &[u8]) -> Result<&str> {
    std::str::from_utf8(text).map_err(|_| Error::invalid("invalid UTF-8 in a series"))
}

const BLANKS: [char; 2] = [' ', '\t'];

struct Reader<'t, 'l> {
    rest: &'t str,
    limits: &'l Limits,
    /// Whether the metric's name is known; `None` where there can be none.
    metric: Option<bool>,
}

impl<'t> Reader<'t, '_> {
    /// `{name="value", "quoted"="value", "metric"}`; a comma may trail or lack, and blanks may stand anywhere,
    /// as Prometheus takes the text format. It refuses both in OpenMetrics, but nothing is misread by taking them.
    fn labels(&mut self, scratch: &mut LabelScratch) -> Result<()> {
        if !self.eat('{') {
            return Err(self.refuse("expected '{' or a blank after the metric's name"));
        }
        loop {
            if self.eat('}') {
                break;
            }
            self.label(scratch)?;
            self.limits.check_count(scratch.pairs.len() + usize::from(self.metric == Some(true)))?;
            self.eat(',');
        }
        if self.rest.is_empty() { Ok(()) } else { Err(self.refuse("unexpected text after the labels")) }
    }

    fn label(&mut self, scratch: &mut LabelScratch) -> Result<()> {
        let quoted = self.rest.starts_with('"');
        let name = if quoted { self.quoted()? } else { self.name()? };
        if quoted && self.metric.is_some() && self.rest.starts_with([',', '}']) {
            if self.metric.replace(true) == Some(true) {
                return Err(Error::invalid("the metric's name is already set"));
            }
            self.limits.check_label(name, "")?;
            scratch.metric = scratch.push(name);
            return Ok(());
        }
        if !self.eat('=') {
            return Err(self.refuse("expected '='"));
        }
        let value = self.quoted()?;
        if name.is_empty() {
            return Err(Error::invalid("a label name is empty"));
        }
        self.limits.check_label(name, value)?;
        let pair = (scratch.push(name), scratch.push(value));
        scratch.pairs.push(pair);
        Ok(())
    }

    fn name(&mut self) -> Result<&'t str> {
        let end = name_end(self.rest.as_bytes(), |byte| byte.is_ascii_alphabetic() || byte == b'_');
        if end == 0 {
            return Err(self.refuse("expected a label name"));
        }
        Ok(self.advance(end))
    }

    /// What stands between two quotes, escapes and all.
    fn quoted(&mut self) -> Result<&'t str> {
        let end = quoted_end(self.rest.as_bytes()).ok_or_else(|| self.refuse("expected a quoted text"))?;
        let text = self.advance(end);
        Ok(&text[1..text.len() - 1])
    }

    fn advance(&mut self, bytes: usize) -> &'t str {
        let (text, rest) = self.rest.split_at(bytes);
        self.rest = rest.trim_start_matches(BLANKS);
        text
    }

    fn eat(&mut self, token: char) -> bool {
        let found = self.rest.starts_with(token);
        if found {
            self.advance(token.len_utf8());
        }
        found
    }

    fn refuse(&self, what: &str) -> Error {
        let found = self.rest.chars().next().map_or_else(|| "the end".to_owned(), |c| format!("{c:?}"));
        Error::invalid(format!("{what}, got {found}"))
    }
}

pub(super) fn is_metric_char(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b':'
}

/// The length of the name at the start of a text: letters, and digits after the first.
pub(super) fn name_end(text: &[u8], is_letter: impl Fn(u8) -> bool) -> usize {
    let inside = |(at, byte): (usize, &u8)| is_letter(*byte) || (at > 0 && byte.is_ascii_digit());
    text.iter().enumerate().take_while(|pair| inside(*pair)).count()
}

/// The length of the quoted text at the start, with its quotes. `None` when there is none or it does not end.
pub(super) fn quoted_end(text: &[u8]) -> Option<usize> {
    let mut at = usize::from(text.first() == Some(&b'"'));
    while at > 0 {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
    None
}

/// Where the labels of a series end, quotes and escapes read.
pub(super) fn labels_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr3(b'"', b'}', b'\n', &text[at..])?;
        match text[at] {
            b'"' => at += quoted_end(&text[at..])?,
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

/// Appends a text with `\\`, `\n` and, with `quotes`, `\"` replaced; any other backslash stays.
pub(super) fn push_unescaped(out: &mut String, text: &str, quotes: bool) {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let replaced = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => Some('\\'),
            Some(b'n') => Some('\n'),
            Some(b'"') if quotes => Some('"'),
            _ => None,
        };
        out.push(replaced.unwrap_or('\\'));
        rest = &rest[at + 1 + usize::from(replaced.is_some())..];
    }
    out.push_str(rest);
}
