//! One line of OpenMetrics 1.0: single spaces, no empty lines, timestamps in seconds, exemplars.

use memchr::{memchr, memrchr};

use super::exposition::{
    Complaint, Exemplar, Line, labels_end, metric_type, plain_name, take_name, unescape,
};
use super::number::{parse_float, parse_seconds};

/// Reads a line without its line feed.
pub(super) fn parse_line(line: &[u8]) -> Result<Line<'_>, Complaint<'_>> {
    match line.strip_prefix(b"# ") {
        Some(b"EOF") => Ok(Line::End),
        Some(comment) => descriptor(comment),
        None if line.is_empty() || line[0] == b'#' => {
            Err(Complaint("expected a metric or a descriptor", line))
        }
        None => sample(line),
    }
}

/// `TYPE name type`, `HELP name text`, `UNIT name unit`: there are no other comments.
fn descriptor(comment: &[u8]) -> Result<Line<'_>, Complaint<'_>> {
    let refused = Complaint("expected HELP, TYPE, UNIT or EOF after #", comment);
    let (word, rest) = comment.split_at_checked(5).ok_or(refused)?;
    if ![&b"TYPE "[..], b"HELP ", b"UNIT "].contains(&word) {
        return Err(Complaint("expected HELP, TYPE, UNIT or EOF after #", comment));
    }
    let (name, text) = take_name(rest)?;
    let metric = plain_name(name)?;
    let text = text.strip_prefix(b" ").ok_or(Complaint("expected a text after the metric's name", rest))?;
    match word {
        b"TYPE " => Ok(Line::Type(metric, name, metric_type(text)?)),
        b"HELP " => Ok(Line::Help(metric, unescape(text, true)?)),
        _ => {
            let unit = std::str::from_utf8(text).map_err(|_| Complaint("invalid UTF-8", text))?;
            let suffix = metric.strip_suffix(unit).is_some_and(|stem| stem.ends_with('_') || unit.is_empty());
            if !suffix {
                return Err(Complaint("the unit is not a suffix of the metric's name", rest));
            }
            Ok(Line::Unit(metric, unit))
        }
    }
}

fn sample(line: &[u8]) -> Result<Line<'_>, Complaint<'_>> {
    // Without a hash there is no exemplar, and the last brace ends the labels.
    let exemplar_possible = memchr(b'#', line).is_some();
    let end = if !exemplar_possible && let Some(brace) = memrchr(b'}', line) {
        Some(brace + 1)
    } else {
        let word = memchr(b' ', line).unwrap_or(line.len());
        // A brace within the first word opens the labels; a later one is the exemplar's.
        memchr(b'{', &line[..word]).map_or(Some(word), |_| labels_end(line))
    };
    let end = end.ok_or(Complaint("the labels do not end", line))?;
    let (series, rest) = line.split_at(end);
    let (value, mut rest) = word(rest).ok_or(Complaint("expected a value after the metric", line))?;
    let value = parse_float(value).ok_or(Complaint("the value is not a number", value))?;
    let timestamp_ms = if rest.starts_with(b" # ") { None } else { timestamp(&mut rest)? };
    let exemplar = match rest.strip_prefix(b" # ") {
        Some(text) => Some(exemplar(text)?),
        None if rest.is_empty() => None,
        None => return Err(Complaint("expected an exemplar or the end of the line", rest)),
    };
    Ok(Line::Sample { series, value, timestamp_ms, exemplar })
}

/// A space and what stands up to the next space.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b" ")?;
    let end = memchr(b' ', text).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn timestamp<'a>(rest: &mut &'a [u8]) -> Result<Option<i64>, Complaint<'a>> {
    let Some((text, after)) = word(rest) else {
        return Ok(None);
    };
    *rest = after;
    let ms = parse_seconds(text).ok_or(Complaint("the timestamp is not a finite number", text))?;
    Ok(Some(ms))
}

/// `{labels} value [timestamp]`.
fn exemplar(text: &[u8]) -> Result<Exemplar<'_>, Complaint<'_>> {
    if !text.starts_with(b"{") {
        return Err(Complaint("expected the labels of an exemplar", text));
    }
    let end = labels_end(text).ok_or(Complaint("the labels of the exemplar do not end", text))?;
    let (labels, rest) = text.split_at(end);
    let (value, mut rest) =
        word(rest).ok_or(Complaint("expected a value after the exemplar's labels", text))?;
    let value = parse_float(value).ok_or(Complaint("the exemplar's value is not a number", value))?;
    let timestamp_ms = timestamp(&mut rest)?;
    if !rest.is_empty() {
        return Err(Complaint("expected the end of the line after the exemplar", rest));
    }
    Ok(Exemplar { labels, value, timestamp_ms })
}
