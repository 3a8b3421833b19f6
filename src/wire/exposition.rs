//! What targets expose: the Prometheus text format 0.0.4 (and 1.0.0) and OpenMetrics 1.0, pulled line by line;
//! protobuf in a file of its own.
//!
//! ```text
//!   http_requests_total{code="200",path="/"} 1027 1395066363000
//!   └───────────── series ─────────────────┘ value timestamp
//! ```
//!
//! The raw text of a series is the key of the scrape cache: a target writes the same bytes at each scrape. So
//! [`Parser::next_event`] only finds where the parts of a line begin and end, reads the numbers, and allocates
//! nothing; [`SampleLine::labels`] checks and decodes the labels, once, when the cache does not know the text.
//! A raw line feed never stands inside a label value (both formats escape it), so a line is a line.

mod federation;
pub mod protobuf;
mod series;
#[cfg(test)]
mod tests;
mod write;

use std::borrow::Cow;

use memchr::memchr;

pub use federation::{Exposed, Federation};
pub use series::LabelScratch;
pub use write::{NameEscaping, push_series};

use super::limits::{Limits, abridge};
use super::{openmetrics, text};
use crate::error::{Error, Result};
use crate::model::MetricType;

/// An exposition format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `text/plain`, version 0.0.4 or 1.0.0. Timestamps are ms.
    Text,
    /// `application/openmetrics-text`. Timestamps are seconds; the body ends with `# EOF`.
    OpenMetrics,
    /// `application/vnd.google.protobuf`: [`protobuf::for_each`] reads it, not [`Parser`].
    Protobuf,
}

impl Format {
    /// The format of a `Content-Type` header. `None` for anything else (HTML, an empty header), where
    /// `fallback_scrape_protocol` decides.
    pub fn from_content_type(header: &str) -> Option<Self> {
        let media_type = header.split(';').next().unwrap_or("").trim();
        if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
            Some(Self::OpenMetrics)
        } else if media_type.eq_ignore_ascii_case("text/plain") {
            Some(Self::Text)
        } else if media_type.eq_ignore_ascii_case("application/vnd.google.protobuf") {
            Some(Self::Protobuf)
        } else {
            None
        }
    }
}

/// What a line says. Comments and empty lines say nothing and are skipped.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// `# TYPE`.
    Type {
        /// The metric family.
        metric: Cow<'a, str>,
        /// Its type.
        kind: MetricType,
    },
    /// `# HELP`.
    Help {
        /// The metric family.
        metric: Cow<'a, str>,
        /// The text, unescaped; may be empty.
        text: Cow<'a, str>,
    },
    /// `# UNIT`, only in OpenMetrics.
    Unit {
        /// The metric family.
        metric: Cow<'a, str>,
        /// The unit; may be empty.
        unit: &'a str,
    },
    /// One sample.
    Sample(SampleLine<'a>),
}

/// The line of a sample, its labels not yet looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleLine<'a> {
    /// The series as written, from the name to the end of the labels: the scrape cache's key.
    pub series: &'a [u8],
    /// The value; a NaN is always Prometheus' own and never a stale marker.
    pub value: f64,
    /// In ms since 1970, if written.
    pub timestamp_ms: Option<i64>,
    /// Only in OpenMetrics.
    pub exemplar: Option<Exemplar<'a>>,
    /// Counted from 1.
    pub line: usize,
    family: Family<'a>,
    limits: &'a Limits,
}

/// An exemplar, its labels not yet looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar<'a> {
    /// The labels as written, with their braces.
    pub labels: &'a [u8],
    /// The observed value.
    pub value: f64,
    /// In ms since 1970, if written.
    pub timestamp_ms: Option<i64>,
}

/// The family that the last `# TYPE` named.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Family<'a> {
    name: &'a [u8],
    kind: MetricType,
}

impl<'a> SampleLine<'a> {
    /// A line of a series that was not written so; its value means nothing.
    pub fn of_series(series: &'a [u8], timestamp_ms: Option<i64>, line: usize, limits: &'a Limits) -> Self {
        Self {
            series,
            value: f64::NAN,
            timestamp_ms,
            exemplar: None,
            line,
            family: Family::default(),
            limits,
        }
    }

    /// The same line without what hangs on it.
    #[must_use]
    pub fn without_exemplar(self) -> Self {
        Self { exemplar: None, ..self }
    }
}

impl SampleLine<'_> {
    /// Checks and decodes the metric's name and the labels into `scratch`. Bounds of a classic histogram's
    /// buckets (`le`) and of a summary (`quantile`) are written as OpenMetrics writes floats, as Prometheus 3
    /// does: `le="1"` is the label `1.0`.
    ///
    /// # Errors
    /// `Invalid` with the line when the series is malformed, not UTF-8, has no name or a label twice; `Limit`.
    pub fn labels(&self, scratch: &mut LabelScratch) -> Result<()> {
        let decoded = series::decode(self.series, self.limits, scratch);
        decoded.map_err(|e| e.with("line", self.line).with("series", shown(self.series)))?;
        let bound = match self.family.kind {
            MetricType::Histogram => "le",
            MetricType::Summary => "quantile",
            _ => return Ok(()),
        };
        // The type holds for its own family only, not for whatever follows it.
        if scratch.metric().as_bytes().starts_with(self.family.name) {
            scratch.normalize_float(bound);
        }
        Ok(())
    }

    /// Decodes the labels of the exemplar, if there is one; `scratch` has no metric name then.
    ///
    /// # Errors
    /// `Invalid` with the line when they are malformed; `Limit`.
    pub fn exemplar_labels(&self, scratch: &mut LabelScratch) -> Result<()> {
        let text = self.exemplar.map_or(&b"{}"[..], |exemplar| exemplar.labels);
        let decoded = series::decode_exemplar(text, self.limits, scratch);
        decoded.map_err(|e| e.with("line", self.line).with("exemplar", shown(text)))
    }
}

/// A pull parser over a whole body.
#[derive(Debug)]
pub struct Parser<'a> {
    rest: &'a [u8],
    format: Format,
    limits: &'a Limits,
    line: usize,
    family: Family<'a>,
    /// `# EOF` was read.
    ended: bool,
}

/// What one line is, without where it is.
pub(super) enum Line<'a> {
    Nothing,
    Type(Cow<'a, str>, &'a [u8], MetricType),
    Help(Cow<'a, str>, Cow<'a, str>),
    Unit(Cow<'a, str>, &'a str),
    Sample { series: &'a [u8], value: f64, timestamp_ms: Option<i64>, exemplar: Option<Exemplar<'a>> },
    End,
}

/// Why a line is refused, and which part of it.
#[derive(Debug, PartialEq)]
pub(super) struct Complaint<'a>(pub(super) &'static str, pub(super) &'a [u8]);

impl<'a> Parser<'a> {
    /// A parser of a body that is already decompressed.
    pub fn new(body: &'a [u8], format: Format, limits: &'a Limits) -> Self {
        Self { rest: body, format, limits, line: 0, family: Family::default(), ended: false }
    }

    /// The next event; `None` at the end. After an error the rest of the body cannot be trusted.
    ///
    /// # Errors
    /// `Invalid` with the line and the offending text.
    pub fn next_event(&mut self) -> Result<Option<Event<'a>>> {
        while let Some(line) = self.take_line()? {
            let parsed = match self.format {
                // Protobuf has no lines; whoever hands it over hears of it at the first one.
                Format::Text | Format::Protobuf => text::parse_line(line),
                Format::OpenMetrics => openmetrics::parse_line(line),
            };
            let parsed = parsed.map_err(|complaint| self.refuse(&complaint))?;
            if let Some(event) = self.event(parsed) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn event(&mut self, line: Line<'a>) -> Option<Event<'a>> {
        match line {
            Line::Nothing => None,
            Line::End => {
                self.ended = true;
                None
            }
            Line::Type(metric, name, kind) => {
                self.family = Family { name: unquoted(name), kind };
                Some(Event::Type { metric, kind })
            }
            Line::Help(metric, text) => Some(Event::Help { metric, text }),
            Line::Unit(metric, unit) => Some(Event::Unit { metric, unit }),
            Line::Sample { series, value, timestamp_ms, exemplar } => {
                let (line, family, limits) = (self.line, self.family, self.limits);
                Some(Event::Sample(SampleLine {
                    series,
                    value,
                    timestamp_ms,
                    exemplar,
                    line,
                    family,
                    limits,
                }))
            }
        }
    }

    /// The next line without its line feed.
    fn take_line(&mut self) -> Result<Option<&'a [u8]>> {
        let strict = self.format == Format::OpenMetrics;
        if self.rest.is_empty() {
            let cut_off = strict && !self.ended;
            return if cut_off {
                Err(self.refuse(&Complaint("the body does not end with # EOF", b"")))
            } else {
                Ok(None)
            };
        }
        self.line += 1;
        if self.ended {
            return Err(self.refuse(&Complaint("unexpected data after # EOF", self.rest)));
        }
        let end = memchr(b'\n', self.rest);
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &b""[..]),
        };
        self.rest = rest;
        if strict && end.is_none() && line != b"# EOF" {
            return Err(self.refuse(&Complaint("the body does not end with # EOF", line)));
        }
        Ok(Some(line))
    }

    fn refuse(&self, complaint: &Complaint<'_>) -> Error {
        let Complaint(what, text) = complaint;
        Error::invalid(*what).with("line", self.line).with("text", shown(text))
    }
}

/// The start of a text from outside, for a message.
fn shown(text: &[u8]) -> String {
    // A character is at most four bytes: what is cut off here is never shown.
    abridge(&String::from_utf8_lossy(&text[..text.len().min(400)]))
}

/// `# TYPE`'s type. All names of both formats are known in both.
pub(super) fn metric_type(text: &[u8]) -> Result<MetricType, Complaint<'_>> {
    let name = std::str::from_utf8(text).ok();
    name.and_then(MetricType::from_name).ok_or(Complaint("invalid metric type", text))
}

/// Splits a metric's name, plain or quoted, from what follows it.
pub(super) fn take_name(text: &[u8]) -> Result<(&[u8], &[u8]), Complaint<'_>> {
    let refused = Complaint("expected a metric name", text);
    let end = match text.first() {
        Some(b'"') => series::quoted_end(text).ok_or(refused)?,
        _ => series::name_end(text, series::is_metric_char),
    };
    if end == 0 {
        return Err(Complaint("expected a metric name", text));
    }
    Ok(text.split_at(end))
}

/// The name that [`take_name`] found, without quotes and escapes.
pub(super) fn plain_name(name: &[u8]) -> Result<Cow<'_, str>, Complaint<'_>> {
    unescape(unquoted(name), true)
}

fn unquoted(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(name)
}

/// Replaces `\\`, `\n` and, with `quotes`, `\"`; any other backslash stays.
pub(super) fn unescape(text: &[u8], quotes: bool) -> Result<Cow<'_, str>, Complaint<'_>> {
    let text = std::str::from_utf8(text).map_err(|_| Complaint("invalid UTF-8", text))?;
    if memchr(b'\\', text.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    series::push_unescaped(&mut out, text, quotes);
    Ok(Cow::Owned(out))
}

/// Where the labels of a series end: exact, quotes and escapes read. `None` when they do not end.
pub(super) fn labels_end(text: &[u8]) -> Option<usize> {
    series::labels_end(text)
}
