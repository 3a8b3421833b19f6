//! One line of the Prometheus text format 0.0.4: blanks anywhere between the parts, timestamps in ms.

use memchr::memrchr;

use super::exposition::{Complaint, Line, metric_type, plain_name, take_name, unescape};
use super::number::{parse_float, parse_integer};

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
    &text[blanks..]
}

/// Splits at the first blank; what follows has no blanks in front.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| is_blank(*byte)).unwrap_or(text.len());
    (&text[..end], trim_start(&text[end..]))
}

/// Reads a line without its line feed.
pub(super) fn parse_line(line: &[u8]) -> Result<Line<'_>, Complaint<'_>> {
    let line = trim_start(line);
    match line.first() {
        None => Ok(Line::Nothing),
        Some(b'#') => comment(line),
        Some(_) => sample(line),
    }
}

/// `# TYPE name type` or `# HELP name text`; every other comment says nothing.
fn comment(line: &[u8]) -> Result<Line<'_>, Complaint<'_>> {
    let (hash, rest) = split_word(line);
    let (word, rest) = split_word(rest);
    let is_help = word == b"HELP";
    // `#HELP x` is a plain comment, and so is `# HELP` with nothing behind it.
    if hash != b"#" || !(is_help || word == b"TYPE") || rest.is_empty() {
        return Ok(Line::Nothing);
    }
    let (name, text) = take_name(rest)?;
    let metric = plain_name(name)?;
    if is_help {
        // One blank separates; further ones belong to the text.
        let text = text.strip_prefix(b" ").or_else(|| text.strip_prefix(b"\t")).unwrap_or(text);
        return Ok(Line::Help(metric, unescape(text, false)?));
    }
    let kind = metric_type(text.trim_ascii())?;
    Ok(Line::Type(metric, name, kind))
}

/// In a line without an exemplar the last brace ends the labels: neither a value nor a timestamp has one. If
/// the labels are malformed, their decoder says so.
fn sample(line: &[u8]) -> Result<Line<'_>, Complaint<'_>> {
    let end = match memrchr(b'}', line) {
        Some(brace) => brace + 1,
        None => line.iter().position(|byte| is_blank(*byte)).unwrap_or(line.len()),
    };
    let (series, rest) = line.split_at(end);
    let (value, rest) = split_word(trim_start(rest));
    if value.is_empty() {
        return Err(Complaint("expected a value after the metric", line));
    }
    let value = parse_float(value).ok_or(Complaint("the value is not a number", value))?;
    let (timestamp, rest) = split_word(rest);
    if !rest.is_empty() {
        return Err(Complaint("expected the end of the line after the timestamp", rest));
    }
    let timestamp_ms = if timestamp.is_empty() {
        None
    } else {
        let ms = parse_integer(timestamp);
        Some(ms.ok_or(Complaint("the timestamp is not an integer", timestamp))?)
    };
    Ok(Line::Sample { series, value, timestamp_ms, exemplar: None })
}
