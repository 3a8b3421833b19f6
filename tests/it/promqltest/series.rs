//! Series lines: `metric{label="value"} 1 2+1x5 _ stale {{schema:0 count:1}}x3`.

use std::collections::BTreeMap;

use super::histogram::{Histogram, number};
use quipu::model::STALE_NAN;
use quipu::model::time::parse_duration;

/// Names to values; empty values are absent. Ordered as Prometheus orders label sets.
pub(super) type Labels = BTreeMap<String, String>;

/// The value of a sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Float(f64),
    Histogram(Box<Histogram>),
}

/// Copies that one item may stand for, so that a slip of the pen does not fill the memory.
const MAX_REPEAT: usize = 1_000_000;

/// A series line: labels and points, `None` where there is no sample.
pub(super) fn parse_series(line: &str) -> Result<(Labels, Vec<Option<Value>>), String> {
    let (labels, rest) = parse_labels(line)?;
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return Err(format!("unexpected {rest:?} behind the labels"));
    }
    Ok((labels, parse_points(rest)?))
}

/// Labels at the start of a text, and what is left of it.
pub(super) fn parse_labels(text: &str) -> Result<(Labels, &str), String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{').filter(|inner| !inner.starts_with('{')) {
        rest = parse_braces(inner, &mut labels)?;
    } else if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("a series is expected at {text:?}"));
    }
    if !name.is_empty() {
        labels.insert("__name__".to_owned(), name.to_owned());
    }
    labels.retain(|_, value| !value.is_empty());
    Ok((labels, rest))
}

fn parse_braces<'a>(mut rest: &'a str, labels: &mut Labels) -> Result<&'a str, String> {
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok(rest);
        }
        let quoted = rest.starts_with(['"', '\'', '`']);
        let name;
        if quoted {
            (name, rest) = parse_string(rest)?;
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (name, rest) = (rest[..end].to_owned(), &rest[end..]);
        }
        rest = rest.trim_start();
        if let Some(value) = rest.strip_prefix('=') {
            let value_of;
            (value_of, rest) = parse_string(value.trim_start())?;
            labels.insert(name, value_of);
        } else if quoted {
            labels.insert("__name__".to_owned(), name);
        } else {
            return Err(format!("\"=\" is expected at {rest:?}"));
        }
        rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.starts_with('}') => {}
            None => return Err(format!("\",\" or \"}}\" is expected at {rest:?}")),
        }
    }
}

/// A string literal with Go's escapes, or raw in back quotes, and what is behind it.
pub(super) fn parse_string(text: &str) -> Result<(String, &str), String> {
    let quote = text.chars().next().filter(|c| "\"'`".contains(*c));
    let quote = quote.ok_or_else(|| format!("a string is expected at {text:?}"))?;
    let mut bytes = Vec::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            let string = String::from_utf8(bytes).map_err(|_| "a string is not UTF-8".to_owned())?;
            return Ok((string, &text[at + 1..]));
        }
        if c != '\\' || quote == '`' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let (_, escape) = chars.next().ok_or("an escape is not finished")?;
        let mut code = |digits: usize| {
            let text: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
            u32::from_str_radix(&text, 16).map_err(|_| format!("bad escape \\{escape}{text}"))
        };
        match escape {
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            'r' => bytes.push(b'\r'),
            'x' => bytes.push(u8::try_from(code(2)?).map_err(|e| e.to_string())?),
            'u' | 'U' => {
                let c = char::from_u32(code(if escape == 'u' { 4 } else { 8 })?).ok_or("no character")?;
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            '\\' | '"' | '\'' => bytes.extend_from_slice(escape.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => return Err(format!("unknown escape \\{escape}")),
        }
    }
    Err(format!("a string is not closed: {text:?}"))
}

/// Points, separated by blanks.
pub(super) fn parse_points(text: &str) -> Result<Vec<Option<Value>>, String> {
    let mut points = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = item_end(rest);
        push_item(&mut points, &rest[..end]).map_err(|why| format!("{:?}: {why}", &rest[..end]))?;
        rest = rest[end..].trim_start();
    }
    Ok(points)
}

/// Blanks inside of `{{…}}` do not end an item.
fn item_end(text: &str) -> usize {
    let mut inside = false;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match (byte, bytes.get(at + 1)) {
            (b'{', Some(b'{')) => inside = true,
            (b'}', Some(b'}')) => inside = false,
            (byte, _) if byte.is_ascii_whitespace() && !inside => return at,
            _ => {}
        }
    }
    text.len()
}

fn push_item(out: &mut Vec<Option<Value>>, item: &str) -> Result<(), String> {
    if item == "_" {
        out.push(None);
    } else if let Some(times) = item.strip_prefix("_x") {
        out.resize(out.len() + repeat(times)?, None);
    } else if item == "stale" {
        out.push(Some(Value::Float(f64::from_bits(STALE_NAN))));
    } else if let Some(text) = item.strip_prefix("{{") {
        return push_histograms(out, text);
    } else {
        return push_floats(out, item);
    }
    Ok(())
}

/// `v`, `vxN` (N + 1 values), `a+bxN`, `a-bxN` (N + 1 values, each the sum of the one before).
fn push_floats(out: &mut Vec<Option<Value>>, item: &str) -> Result<(), String> {
    let (terms, times) = match item.split_once('x') {
        Some((terms, times)) => (terms, Some(repeat(times)?)),
        None => (item, None),
    };
    // A sign that is neither the first byte nor an exponent's starts the increment.
    let bytes = terms.as_bytes();
    let is_sign = |at: &usize| b"+-".contains(&bytes[*at]) && !b"eE".contains(&bytes[at - 1]);
    let split = (1..bytes.len()).find(is_sign);
    let (first, step) = match (split, times) {
        (Some(at), Some(_)) => (number(&terms[..at])?, number(&terms[at..])?),
        (Some(_), None) => return Err("an increment needs a repetition".to_owned()),
        (None, _) => (number(terms)?, 0.0),
    };
    let mut value = first;
    for _ in 0..=times.unwrap_or(0) {
        out.push(Some(Value::Float(value)));
        if split.is_some() {
            value += step;
        }
    }
    Ok(())
}

/// `{{…}}`, `{{…}}xN`, `{{…}}+{{…}}xN`, `{{…}}-{{…}}xN`; the first `{{` has been taken.
fn push_histograms(out: &mut Vec<Option<Value>>, text: &str) -> Result<(), String> {
    let close = |text: &str| text.find("}}").ok_or_else(|| "a histogram is not closed".to_owned());
    let end = close(text)?;
    let mut histogram = Histogram::parse(&text[..end])?;
    let mut rest = &text[end + 2..];
    let mut step = None;
    for (sign, factor) in [("+{{", 1.0), ("-{{", -1.0)] {
        if let Some(text) = rest.strip_prefix(sign) {
            let end = close(text)?;
            step = Some((Histogram::parse(&text[..end])?, factor));
            rest = &text[end + 2..];
        }
    }
    let times = match rest.strip_prefix('x') {
        Some(times) => repeat(times)?,
        None if rest.is_empty() && step.is_none() => 0,
        None => return Err(format!("unexpected {rest:?}")),
    };
    for i in 0..=times {
        if let (Some((step, factor)), 1..) = (&step, i) {
            histogram = histogram.add(step, *factor)?;
        }
        out.push(Some(Value::Histogram(Box::new(histogram.clone()))));
    }
    Ok(())
}

fn repeat(text: &str) -> Result<usize, String> {
    let times: usize = text.parse().map_err(|_| format!("{text:?} is no repetition"))?;
    if times > MAX_REPEAT { Err(format!("more than {MAX_REPEAT} repetitions")) } else { Ok(times) }
}

/// Start timestamps, relative to their samples in ms: `-30s-1mx2`, `_x3`, `0s`.
pub(super) fn parse_start_times(text: &str) -> Result<Vec<Option<i64>>, String> {
    let mut out = Vec::new();
    for item in text.split_whitespace() {
        if item == "_" {
            out.push(None);
        } else if let Some(times) = item.strip_prefix("_x") {
            out.resize(out.len() + repeat(times)?, None);
        } else {
            let (mut at, rest) = signed_duration(item)?;
            let (step, rest) = if rest.starts_with(['+', '-']) { signed_duration(rest)? } else { (0, rest) };
            let times = rest.strip_prefix('x').map_or(Ok(0), repeat)?;
            for _ in 0..=times {
                out.push(Some(at));
                at += step;
            }
        }
    }
    Ok(out)
}

/// A duration of one unit with an optional sign, in ms, and what is behind it.
fn signed_duration(text: &str) -> Result<(i64, &str), String> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let is_unit = |c: char| c.is_ascii_alphabetic() && c != 'x';
    let end = unsigned[digits..].find(|c| !is_unit(c)).map_or(unsigned.len(), |letters| digits + letters);
    let ms = parse_duration(&unsigned[..end]).map_err(|e| e.to_string())?;
    Ok((if negative { -ms } else { ms }, &unsigned[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(text: &str) -> Vec<Option<f64>> {
        let points = parse_points(text).expect(text);
        let float = |value| match value {
            Value::Float(value) => value,
            Value::Histogram(_) => f64::NAN,
        };
        points.into_iter().map(|point| point.map(float)).collect()
    }

    #[test]
    fn points_are_counted_as_prometheus_counts_them() {
        let some = |values: &[f64]| values.iter().map(|value| Some(*value)).collect::<Vec<_>>();
        assert_eq!(floats("1 -2.5 +3 1e-3 1_000"), some(&[1.0, -2.5, 3.0, 0.001, 1000.0]));
        assert_eq!(floats("7x2"), some(&[7.0, 7.0, 7.0]));
        assert_eq!(floats("0x3"), some(&[0.0; 4]));
        assert_eq!(floats("0+10x2 -1-1e1x1"), some(&[0.0, 10.0, 20.0, -1.0, -11.0]));
        assert_eq!(floats("_ 1 _x2"), [None, Some(1.0), None, None]);
        assert_eq!(floats("inf -Inf"), some(&[f64::INFINITY, f64::NEG_INFINITY]));
        assert!(floats("NaN stale").iter().all(|value| value.is_some_and(f64::is_nan)));
        for bad in ["x3", "1+2", "1x", "1x-1", "abc", "{{", "{{}}y", "_y", "1x9999999999"] {
            assert!(parse_points(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn histograms_stand_beside_floats() {
        let points =
            parse_points("1 {{schema:0 count:1 buckets:[1]}}+{{count:2 buckets:[2]}}x2 _").expect("points");
        assert_eq!(points.len(), 5);
        let Some(Value::Histogram(last)) = &points[3] else { panic!("{points:?}") };
        assert_eq!((last.count.to_bits(), last.positive.get(&0)), (5f64.to_bits(), Some(&5.0)));
    }

    #[test]
    fn labels_may_be_quoted_and_the_name_may_stand_inside() {
        let pairs = |text: &str| {
            let (labels, _) = parse_series(text).expect(text);
            labels.into_iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(",")
        };
        assert_eq!(pairs(r#"a:b{x="y", z='\'\x41'} 1"#), "__name__=a:b,x=y,z='A");
        assert_eq!(pairs(r#"{"my.metric","my.label"=`\d`,} 1"#), r"__name__=my.metric,my.label=\d");
        assert_eq!(pairs("{} 1"), "");
        assert_eq!(pairs(r#"a{x=""} 1"#), "__name__=a");
        for bad in ["1", "a{x} 1", "a{x=y} 1", r#"a{x="y"1"#, r#"a{x="y" 1"#, r#"a"b""#] {
            assert!(parse_series(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn start_times_are_relative_and_may_step() {
        let times = parse_start_times("_ -30s-1mx2 _x2 5ms 0sx1").expect("times");
        let some = [Some(-30_000), Some(-90_000), Some(-150_000)];
        let rest = [None, None, Some(5), Some(0), Some(0)];
        assert_eq!(times, [[None].as_slice(), &some, &rest].concat());
        assert!(parse_start_times("5").is_err() && parse_start_times("-").is_err());
    }
}
