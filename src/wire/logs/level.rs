//! `detected_level`: how serious a line is, by the rules of Loki's distributor (`field_detection.go`).
//!
//! Metadata first, then a `level` field of a line that is JSON or logfmt, then words in the text.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::pairs::Pairs;
use crate::wire::json_reader::{Found, Reader};

/// The name of the metadata that is added.
pub(super) const DETECTED_LEVEL: &str = "detected_level";
const UNKNOWN: &str = "unknown";
/// `OpenTelemetry`'s number, as metadata.
const SEVERITY_NUMBER: &str = "severity_number";
/// Objects in objects that are looked into.
const JSON_DEPTH: usize = 2;

/// Where a level stands, the most wanted first.
const FIELDS: [&str; 14] = [
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
];

/// Spellings, and what they stand for.
const NAMES: [(&str, &str); 14] = [
    ("trace", "trace"),
    ("trc", "trace"),
    ("debug", "debug"),
    ("dbg", "debug"),
    ("info", "info"),
    ("inf", "info"),
    ("information", "info"),
    ("warn", "warn"),
    ("wrn", "warn"),
    ("warning", "warn"),
    ("error", "error"),
    ("err", "error"),
    ("critical", "critical"),
    ("fatal", "fatal"),
];

/// Words in a text and their levels; a level further up wins wherever the words stand. No word ends as another
/// begins, so that one pass finds all of them.
static WORDS: LazyLock<Regex> = LazyLock::new(|| {
    let words = [
        "info|INFO",
        r"(?:err|ERR):|\[(?:err|ERR|error|ERROR)\]",
        r"(?:warn|WARN):|\[(?:warn|WARN)\]|warning|WARNING",
        r"(?:critical|CRITICAL)(?::)|\[(?:critical|CRITICAL)\]",
        "debug|DEBUG",
    ];
    Regex::new(&words.join("|")).expect("a constant expression")
});
const WORD_LEVELS: [&str; 5] = ["info", "error", "warn", "critical", "debug"];

fn known(text: &str) -> Option<&'static str> {
    NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, level)| *level)
}

/// A level in lower case and in its usual spelling; one that is not known stays as it is.
pub(super) fn normal(text: &str) -> &str {
    known(text).unwrap_or(text)
}

/// The level that some labels name.
pub(super) fn of_labels<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
    FIELDS.iter().find_map(|name| get(name)).map(normal)
}

/// The level of a line that neither its labels nor its metadata name.
pub(super) fn of_line(metadata: &Pairs, line: &str) -> &'static str {
    if let Some(number) = metadata.get(SEVERITY_NUMBER).filter(|number| !number.is_empty()) {
        return of_number(number);
    }
    let trimmed = line.trim();
    let field = if trimmed.starts_with('{') && trimmed.ends_with('}') {
        in_json(trimmed)
    } else if line.contains('=') {
        in_logfmt(line)
    } else {
        None
    };
    field.unwrap_or_else(|| of_text(line))
}

fn of_number(text: &str) -> &'static str {
    match text.parse::<i64>() {
        Err(_) => "info",
        Ok(0) => UNKNOWN,
        Ok(number) => match number {
            ..=4 => "trace",
            5..=8 => "debug",
            9..=12 => "info",
            13..=16 => "warn",
            17..=20 => "error",
            21..=24 => "fatal",
            _ => UNKNOWN,
        },
    }
}

fn of_text(line: &str) -> &'static str {
    let mut best = WORD_LEVELS.len();
    for word in WORDS.find_iter(line.as_bytes()) {
        let start = word.as_bytes().iter().find(|byte| **byte != b'[').map_or(0, u8::to_ascii_lowercase);
        // The first letters of the words differ.
        let rank = WORD_LEVELS.iter().position(|level| level.as_bytes()[0] == start).unwrap_or(best);
        best = best.min(rank);
        if best == 0 {
            break;
        }
    }
    WORD_LEVELS.get(best).copied().unwrap_or(UNKNOWN)
}

/// The first string in the order of the text that stands under one of the names.
fn in_json(text: &str) -> Option<&'static str> {
    let mut scratch = String::new();
    let mut reader = Reader::new(text);
    // A text that is no JSON names what stands in front of the mistake.
    search(&mut reader, 0, &mut scratch).ok().flatten().and_then(known)
}

type Searched<'a> = Result<Option<&'a str>, crate::wire::json_reader::Malformed>;

fn search<'a>(reader: &mut Reader<'a>, depth: usize, scratch: &mut String) -> Searched<'a> {
    reader.begin_object()?;
    let mut first = true;
    while let Some(key) = reader.next_key(&mut first)? {
        match reader.look()? {
            Found::String if FIELDS.contains(&key.decode(scratch)?) => {
                // A level has no escapes.
                return Ok(Some(reader.string()?.raw()));
            }
            Found::Object if depth + 1 < JSON_DEPTH => {
                if let Some(level) = search(reader, depth + 1, scratch)? {
                    return Ok(Some(level));
                }
            }
            _ => drop(reader.skip()?),
        }
    }
    Ok(None)
}

/// The value of the name that stands first in [`FIELDS`]; case does not matter. What cannot be read ends the search.
fn in_logfmt(line: &str) -> Option<&'static str> {
    let mut best: Option<(usize, &str)> = None;
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches(|c: char| c <= ' ');
        let key_end = rest.find(|c: char| c <= ' ' || c == '=' || c == '"').unwrap_or(rest.len());
        let (key, after) = rest.split_at(key_end);
        let Some(after) = after.strip_prefix('=') else {
            // A key without a value; a quote in a key is a mistake.
            if after.is_empty() || after.starts_with('"') {
                break;
            }
            rest = after;
            continue;
        };
        let (value, after) = logfmt_value(after)?;
        let rank = FIELDS.iter().position(|field| field.eq_ignore_ascii_case(key));
        if let Some(rank) = rank.filter(|rank| best.is_none_or(|(before, _)| *rank < before)) {
            best = Some((rank, value));
            if rank == 0 {
                break;
            }
        }
        rest = after;
    }
    best.and_then(|(_, value)| known(value))
}

/// A value and what follows it. `None` when a quote is not closed.
fn logfmt_value(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return Some(text.split_at(text.find(|c: char| c <= ' ').unwrap_or(text.len())));
    };
    let mut escaped = false;
    let end = quoted.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some((&quoted[..end], &quoted[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_found_as_loki_finds_them() {
        let none = Pairs::default();
        for (line, level) in [
            ("", "unknown"),
            ("nothing to see", "unknown"),
            ("[ERROR] it broke", "error"),
            ("an error occurred", "unknown"),
            ("ERR: disk", "error"),
            ("[ERROR] but also some information", "info"),
            ("WARNING at noon", "warn"),
            ("[critical] core", "critical"),
            ("DEBUG x", "debug"),
            ("critical", "unknown"),
            ("ts=1 level=warn msg=\"an info\"", "warn"),
            ("ts=1 LVL=dbg severity=error", "error"),
            ("msg=\"level=error\" x=1", "unknown"),
            ("level=\"ERROR\" x", "error"),
            ("level=\"ERROR", "unknown"),
            ("a=b level=strange info", "info"),
            ("{\"level\":\"wrn\",\"msg\":\"x\"}", "warn"),
            ("  {\"a\":[1,{\"level\":\"info\"}],\"b\":{\"severity\":\"FATAL\"}} ", "fatal"),
            ("{\"a\":{\"b\":{\"level\":\"fatal\"}}}", "unknown"),
            ("{\"level\":30,\"msg\":\"DEBUG\"}", "debug"),
            ("{broken info}", "info"),
            ("{\"lev\\u0065l\":\"trace\"}", "trace"),
        ] {
            assert_eq!(of_line(&none, line), level, "{line}");
        }
        for (number, level) in
            [("1", "trace"), ("9", "info"), ("17", "error"), ("24", "fatal"), ("99", "unknown")]
        {
            let mut metadata = Pairs::default();
            metadata.push(SEVERITY_NUMBER, number);
            assert_eq!(of_line(&metadata, "debug"), level);
        }
    }

    #[test]
    fn spellings_become_one_and_strange_levels_stay() {
        assert_eq!([normal("WARNING"), normal("Err"), normal("notice")], ["warn", "error", "notice"]);
        let labels = [("severity", "INFORMATION"), ("lvl", "debug")];
        let get = |name: &str| labels.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        assert_eq!(of_labels(get), Some("info"));
        assert_eq!(of_labels(|_| None), None);
    }
}
