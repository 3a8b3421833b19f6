//! Request parameters as Go's `net/http` and Prometheus' API read them, with Prometheus' error texts.
//!
//! Sources: net/url `parseQuery`, `http.Request.FormValue`, prometheus web/api/v1/api.go `parseTime`,
//! `parseDuration`, `parseLimitParam`.

use std::fmt::Write as _;

use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use chrono::DateTime;
use percent_encoding::percent_decode_str;

use super::reply::{ApiError, invalid_parameter};
use crate::model::time::{
    MAX_TIME_MS, MIN_TIME_MS, day_of, parse_duration as prometheus_duration, seconds_to_ms,
};

/// The largest form body: Go's limit.
const FORM_BYTES: usize = 10 << 20;
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// The parameters of a request: those of a form body first, then those of the URL.
#[derive(Debug, Default)]
pub(super) struct Form {
    pairs: Vec<(String, String)>,
    /// How many of the pairs stood in the body.
    in_body: usize,
}

impl Form {
    /// The parameters of a URL alone, for requests whose body is something else.
    pub(super) fn of_url(query: Option<&str>) -> Self {
        let mut form = Self::default();
        push_pairs(&mut form.pairs, query.unwrap_or(""));
        form
    }

    /// The first value, empty when absent: Go's `FormValue`.
    pub(super) fn value(&self, name: &str) -> &str {
        self.pairs.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// The first value in the URL, empty when absent.
    pub(super) fn url_value(&self, name: &str) -> &str {
        self.pairs[self.in_body..].iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// Every value of a repeated parameter.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        self.pairs.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    /// A time in ms, or `default` when absent.
    pub(super) fn time_or(&self, name: &'static str, default: i64) -> Result<i64, ApiError> {
        match self.value(name) {
            "" => Ok(default),
            text => parse_time(text)
                .map_err(|e| invalid_parameter(name, format!("invalid time value for '{name}': {e}"))),
        }
    }

    /// A time in ms that must be there.
    pub(super) fn time(&self, name: &'static str) -> Result<i64, ApiError> {
        parse_time(self.value(name)).map_err(|e| invalid_parameter(name, e))
    }

    /// A UTC day, `2026-11-21`, as days since 1970; `None` when absent.
    pub(super) fn day(&self, name: &'static str) -> Result<Option<i32>, ApiError> {
        let text = self.value(name);
        if text.is_empty() {
            return Ok(None);
        }
        let midnight = DateTime::parse_from_rfc3339(&format!("{text}T00:00:00Z"));
        let why = |_| format!("cannot parse {} to a day (YYYY-MM-DD)", quote(text));
        let midnight = midnight.map_err(|e| invalid_parameter(name, why(e)))?;
        Ok(Some(day_of(midnight.timestamp_millis())))
    }

    /// A duration in ms; `None` when absent.
    pub(super) fn duration(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        match self.value(name) {
            "" => Ok(None),
            text => parse_duration(text).map(Some).map_err(|e| invalid_parameter(name, e)),
        }
    }

    /// `limit`; `None` when absent or 0, which both mean none.
    pub(super) fn limit(&self) -> Result<Option<usize>, ApiError> {
        let text = self.value("limit");
        if text.is_empty() {
            return Ok(None);
        }
        let limit = atoi(text).map_err(|e| invalid_parameter("limit", e))?;
        let limit =
            usize::try_from(limit).map_err(|_| invalid_parameter("limit", "limit must be non-negative"))?;
        Ok((limit > 0).then_some(limit))
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let mut form = Self::default();
        let (parts, body) = request.into_parts();
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let media = content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
        let has_form = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
        if has_form && media.eq_ignore_ascii_case(FORM_TYPE) {
            let bytes = axum::body::to_bytes(body, FORM_BYTES).await.map_err(|_| {
                let limit = format!("http: request body too large (limit: {FORM_BYTES} bytes)");
                ApiError::bad_data(format!("error parsing form values: {limit}"))
            })?;
            push_pairs(&mut form.pairs, &String::from_utf8_lossy(&bytes));
            form.in_body = form.pairs.len();
        }
        push_pairs(&mut form.pairs, parts.uri.query().unwrap_or(""));
        Ok(form)
    }
}

/// Pairs that are not well formed are skipped, as Go does where the caller ignores the error.
fn push_pairs(pairs: &mut Vec<(String, String)>, text: &str) {
    for pair in text.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Some(name), Some(value)) = (unescape(name), unescape(value)) {
            pairs.push((name, value));
        }
    }
}

/// `%xx` and `+`; `None` for a `%` without two hex digits.
fn unescape(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_hex = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_hexdigit);
    let well_formed = bytes.iter().enumerate().all(|(i, b)| *b != b'%' || (is_hex(i + 1) && is_hex(i + 2)));
    let spaced = text.replace('+', " ");
    well_formed.then(|| percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// Float seconds, RFC 3339, or Prometheus' own smallest and largest time; in ms, clamped to those two.
///
/// Grafana sends milliseconds where seconds are meant (year 55,000): that is data, not an error.
pub(super) fn parse_time(text: &str) -> Result<i64, String> {
    if let Some(seconds) = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite()) {
        // Milliseconds of the fraction alone, so that large times keep them.
        let (whole, rest) = (seconds_to_ms(seconds.trunc()), seconds_to_ms(seconds.fract()));
        return Ok(whole.saturating_add(rest).clamp(MIN_TIME_MS, MAX_TIME_MS));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp_millis());
    }
    match text {
        "-292273086-05-16T16:47:06Z" => Ok(MIN_TIME_MS),
        "292277025-08-18T07:12:54.999999999Z" => Ok(MAX_TIME_MS),
        _ => Err(format!("cannot parse {} to a valid timestamp", quote(text))),
    }
}

/// Float seconds or a Prometheus duration, in ms. The bound is that of Go's nanoseconds.
pub(super) fn parse_duration(text: &str) -> Result<i64, String> {
    const BOUND_SECONDS: f64 = 9_223_372_036.0;
    if let Ok(seconds) = text.parse::<f64>() {
        if seconds.is_nan() || seconds.abs() > BOUND_SECONDS {
            return Err(format!("cannot parse {} to a valid duration. It overflows int64", quote(text)));
        }
        return Ok(seconds_to_ms(seconds));
    }
    prometheus_duration(text).map_err(|_| format!("cannot parse {} to a valid duration", quote(text)))
}

/// Go's `strconv.Atoi` with its error texts.
pub(super) fn atoi(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let what = if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        "invalid syntax"
    } else {
        match text.parse() {
            Ok(number) => return Ok(number),
            Err(_) => "value out of range",
        }
    };
    Err(format!("strconv.Atoi: parsing {}: {what}", quote(text)))
}

/// Go's `%q`.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            _ if u32::from(c) < 0x20 || c == '\x7f' => {
                push_escape(&mut out, format_args!("x{:02x}", u32::from(c)));
            }
            _ if c.is_control() => push_escape(&mut out, format_args!("u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

fn push_escape(out: &mut String, code: std::fmt::Arguments<'_>) {
    write!(out, "\\{code}").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests;
