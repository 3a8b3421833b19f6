//! What targets expose as protobuf: `io.prometheus.client.MetricFamily` messages, each behind its length.
//!
//! ```text
//!   MetricFamily { 1 name, 2 help, 3 type, 4 metric, 5 unit }
//!   Metric       { 1 label {1 name, 2 value}, 2 gauge {1}, 3 counter {1, 2 exemplar}, 4 summary, 5 untyped {1},
//!                  6 timestamp_ms, 7 histogram }
//!   Summary      { 1 count, 2 sum, 3 quantile {1 quantile, 2 value} }
//!   Histogram    { 1 count, 2 sum, 3 bucket {1 count, 2 upper_bound, 3 exemplar, 4 float}, 4 count_float,
//!                  5 schema, 6 zero_threshold, 7 zero_count, 8 zero_float, 9 … 11 negative, 12 … 14 positive,
//!                  16 exemplars }
//! ```
//!
//! Every sample gets the text that its series would have in the text format, so that the scrape cache knows one
//! kind of key. The text lives in a buffer of the walk, which is why samples are pushed and not pulled.

mod metric;

use std::borrow::Cow;

use self::metric::{Classic, Metric, SummaryParts, value_of};
use super::super::limits::Limits;
use super::super::protobuf::{Fields, Malformed, Value, WRONG_TYPE};
use super::{Event, Exemplar, Family, SampleLine, abridge, series};
use crate::error::{Error, Result};
use crate::model::{Histogram, MetricType, push_openmetrics_float};

/// How histograms are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HistogramOptions {
    /// Native histograms are read; otherwise they are taken for classic ones.
    pub native: bool,
    /// The classic buckets of native histograms are read too.
    pub classic: bool,
}

/// What a body says, piece by piece. `'a` is the body, `'s` a buffer of the walk.
#[derive(Debug)]
pub enum ProtobufEvent<'a, 's> {
    /// Something about a family; never a sample.
    About(Event<'a>),
    /// A float.
    Sample(SampleLine<'s>),
    /// A native histogram.
    Histogram(HistogramLine<'s>),
}

/// A native histogram, its labels not yet looked at.
#[derive(Debug)]
pub struct HistogramLine<'s> {
    /// Its series and timestamp; the value means nothing.
    pub line: SampleLine<'s>,
    /// What was counted; not yet checked ([`Histogram::check`]).
    pub histogram: Histogram,
    /// Its exemplars, as lines of their own: only `exemplar` means something.
    pub exemplars: &'s [OwnedExemplar],
}

/// An exemplar of a histogram: the text of its labels, as in OpenMetrics, and what was observed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OwnedExemplar {
    labels: Vec<u8>,
    value: f64,
    timestamp_ms: Option<i64>,
}

impl From<Exemplar<'_>> for OwnedExemplar {
    fn from(exemplar: Exemplar<'_>) -> Self {
        let Exemplar { labels, value, timestamp_ms } = exemplar;
        Self { labels: labels.to_vec(), value, timestamp_ms }
    }
}

impl OwnedExemplar {
    /// The borrowed form.
    pub fn as_ref(&self) -> Exemplar<'_> {
        Exemplar { labels: &self.labels, value: self.value, timestamp_ms: self.timestamp_ms }
    }
}

/// Calls `visit` for everything that a body says, in its order. An error of `visit` ends the walk.
///
/// # Errors
/// `Invalid` when the bytes are not such messages, naming the family as far as it is known.
pub fn for_each<'a>(
    body: &'a [u8],
    limits: &Limits,
    options: HistogramOptions,
    mut visit: impl FnMut(ProtobufEvent<'a, '_>) -> Result<()>,
) -> Result<()> {
    let mut walk = Walk { limits, options, number: 0, text: Vec::new(), exemplars: Vec::new() };
    let mut input = Fields::new(body);
    let cut_off = |e: Malformed| malformed(e, "");
    while input.remaining() > 0 {
        let length = input.varint().map_err(cut_off)?;
        let length = usize::try_from(length).map_err(|_| cut_off(Malformed("the message is cut off")))?;
        let message = input.take(length).map_err(cut_off)?;
        walk.family(message, &mut visit)?;
    }
    Ok(())
}

fn malformed(Malformed(what): Malformed, family: &str) -> Error {
    let error = Error::invalid(format!("the body is not delimited protobuf metrics: {what}"));
    if family.is_empty() { error } else { error.with("family", abridge(family)) }
}

/// The state of one walk.
struct Walk<'l> {
    limits: &'l Limits,
    options: HistogramOptions,
    /// Samples so far; stands for the line in messages.
    number: usize,
    /// The text of the series, kept for its memory.
    text: Vec<u8>,
    exemplars: Vec<OwnedExemplar>,
}

/// A family's head.
struct Head<'a> {
    name: &'a str,
    kind: MetricType,
}

impl Walk<'_> {
    fn family<'a>(
        &mut self,
        message: &'a [u8],
        visit: &mut impl FnMut(ProtobufEvent<'a, '_>) -> Result<()>,
    ) -> Result<()> {
        let (head, metrics) = head(message, visit)?;
        for bytes in metrics {
            let metric = Metric::read(bytes).map_err(|e| malformed(e, head.name))?;
            self.metric(&head, &metric, visit)?;
        }
        Ok(())
    }

    fn metric<'a>(
        &mut self,
        head: &Head<'a>,
        metric: &Metric<'a>,
        visit: &mut impl FnMut(ProtobufEvent<'a, '_>) -> Result<()>,
    ) -> Result<()> {
        let bad = |e| malformed(e, head.name);
        match head.kind {
            MetricType::Summary => {
                let parts = SummaryParts::read(metric.body(4).map_err(bad)?).map_err(bad)?;
                self.sample((head.name, "_count"), metric, None, parts.count, visit)?;
                self.sample((head.name, "_sum"), metric, None, parts.sum, visit)?;
                for (quantile, value) in &parts.quantiles {
                    self.sample((head.name, ""), metric, Some(("quantile", *quantile)), *value, visit)?;
                }
                Ok(())
            }
            MetricType::Histogram | MetricType::GaugeHistogram => {
                let message = metric.body(7).map_err(bad)?;
                let (histogram, classic) = metric::histogram(message, head.kind).map_err(bad)?;
                match histogram.filter(|_| self.options.native) {
                    None => self.classic(head, metric, &classic, visit),
                    Some(histogram) => {
                        self.native(head, metric, (histogram, &classic), visit)?;
                        let wanted = self.options.classic && !classic.buckets.is_empty();
                        if wanted { self.classic(head, metric, &classic, visit) } else { Ok(()) }
                    }
                }
            }
            kind => {
                let field = match kind {
                    MetricType::Counter => 3,
                    MetricType::Gauge => 2,
                    _ => 5,
                };
                let (value, exemplar) = value_of(metric.body(field).map_err(bad)?).map_err(bad)?;
                self.take_exemplar(exemplar).map_err(bad)?;
                self.sample((head.name, ""), metric, None, value, visit)
            }
        }
    }

    /// `_count`, `_sum` and the buckets, that of +Inf added where it is missing.
    fn classic<'a>(
        &mut self,
        head: &Head<'a>,
        metric: &Metric<'a>,
        classic: &Classic<'a>,
        visit: &mut impl FnMut(ProtobufEvent<'a, '_>) -> Result<()>,
    ) -> Result<()> {
        self.sample((head.name, "_count"), metric, None, classic.count, visit)?;
        self.sample((head.name, "_sum"), metric, None, classic.sum, visit)?;
        for bucket in &classic.buckets {
            self.take_exemplar(bucket.exemplar).map_err(|e| malformed(e, head.name))?;
            self.sample((head.name, "_bucket"), metric, Some(("le", bucket.bound)), bucket.count, visit)?;
        }
        if classic.buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
            let bound = Some(("le", f64::INFINITY));
            self.sample((head.name, "_bucket"), metric, bound, classic.count, visit)?;
        }
        Ok(())
    }

    fn native<'a>(
        &mut self,
        head: &Head<'a>,
        metric: &Metric<'a>,
        (histogram, classic): (Histogram, &Classic<'a>),
        visit: &mut impl FnMut(ProtobufEvent<'a, '_>) -> Result<()>,
    ) -> Result<()> {
        self.exemplars.clear();
        let of_buckets = classic.buckets.iter().filter_map(|bucket| bucket.exemplar);
        let own = classic.exemplars.iter().copied();
        let all: Vec<_> = if classic.exemplars.is_empty() { of_buckets.collect() } else { own.collect() };
        for message in all {
            let exemplar = metric::exemplar(message).map_err(|e| malformed(e, head.name))?;
            self.exemplars.push(exemplar);
        }
        self.series(head.name, "", metric, None).map_err(|e| malformed(e, head.name))?;
        self.number += 1;
        let line = self.line(metric, f64::NAN, None);
        let event = HistogramLine { line, histogram, exemplars: &self.exemplars };
        let visited = visit(ProtobufEvent::Histogram(event));
        self.exemplars.clear();
        visited
    }

    /// Keeps the exemplar of the next sample, if it has one.
    fn take_exemplar(&mut self, message: Option<&[u8]>) -> Result<(), Malformed> {
        self.exemplars.clear();
        if let Some(message) = message {
            self.exemplars.push(metric::exemplar(message)?);
        }
        Ok(())
    }

    fn sample<'a>(
        &mut self,
        (name, suffix): (&str, &str),
        metric: &Metric<'a>,
        bound: Option<(&str, f64)>,
        value: f64,
        visit: &mut impl FnMut(ProtobufEvent<'a, '_>) -> Result<()>,
    ) -> Result<()> {
        self.series(name, suffix, metric, bound).map_err(|e| malformed(e, name))?;
        self.number += 1;
        // Only Prometheus' own NaN: a stale marker is not for targets to make.
        let value = if value.is_nan() { f64::from_bits(crate::model::NORMAL_NAN) } else { value };
        let line = self.line(metric, value, self.exemplars.first().map(OwnedExemplar::as_ref));
        let visited = visit(ProtobufEvent::Sample(line));
        self.exemplars.clear();
        visited
    }

    fn line<'s>(&'s self, metric: &Metric<'_>, value: f64, exemplar: Option<Exemplar<'s>>) -> SampleLine<'s> {
        SampleLine {
            series: &self.text,
            value,
            timestamp_ms: metric.timestamp_ms,
            exemplar,
            line: self.number,
            family: Family::default(),
            limits: self.limits,
        }
    }

    /// Writes the text of a series.
    fn series(
        &mut self,
        name: &str,
        suffix: &str,
        metric: &Metric<'_>,
        bound: Option<(&str, f64)>,
    ) -> Result<(), Malformed> {
        let text = &mut self.text;
        text.clear();
        let plain = is_plain(name, series::is_metric_char);
        if plain {
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(suffix.as_bytes());
        }
        text.push(b'{');
        if !plain {
            text.push(b'"');
            push_escaped(text, name);
            push_escaped(text, suffix);
            text.push(b'"');
        }
        for (name, value) in &metric.labels {
            push_label(text, utf8(name)?, utf8(value)?);
        }
        if let Some((name, bound)) = bound {
            let mut value = Vec::new();
            push_openmetrics_float(&mut value, bound);
            push_label(text, name, utf8(&value)?);
        }
        text.push(b'}');
        Ok(())
    }
}

/// Tells what a family says about itself; gives its head and metrics.
fn head<'a>(
    message: &'a [u8],
    visit: &mut impl FnMut(ProtobufEvent<'a, '_>) -> Result<()>,
) -> Result<(Head<'a>, Vec<&'a [u8]>)> {
    let (mut name, mut help, mut unit, mut kind) = ("", "", "", MetricType::Counter);
    let mut metrics = Vec::new();
    let mut fields = Fields::new(message);
    let mut next = || -> Result<bool, Malformed> {
        let Some(field) = fields.next_field()? else { return Ok(false) };
        match field {
            (1, Value::Bytes(text)) => name = utf8(text)?,
            (2, Value::Bytes(text)) => help = utf8(text)?,
            (3, Value::Varint(number)) => kind = family_type(number)?,
            (4, Value::Bytes(metric)) => metrics.push(metric),
            (5, Value::Bytes(text)) => unit = utf8(text)?,
            (1..=5, _) => return Err(WRONG_TYPE),
            _ => {}
        }
        Ok(true)
    };
    loop {
        match next() {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(malformed(error, name)),
        }
    }
    if name.is_empty() {
        return Err(malformed(Malformed("a family has no name"), ""));
    }
    let metric = || Cow::Borrowed(name);
    visit(ProtobufEvent::About(Event::Help { metric: metric(), text: Cow::Borrowed(help) }))?;
    visit(ProtobufEvent::About(Event::Type { metric: metric(), kind }))?;
    if !unit.is_empty() {
        visit(ProtobufEvent::About(Event::Unit { metric: metric(), unit }))?;
    }
    Ok((Head { name, kind }, metrics))
}

fn family_type(number: u64) -> Result<MetricType, Malformed> {
    Ok(match number {
        0 => MetricType::Counter,
        1 => MetricType::Gauge,
        2 => MetricType::Summary,
        3 => MetricType::Unknown,
        4 => MetricType::Histogram,
        5 => MetricType::GaugeHistogram,
        _ => return Err(Malformed("a family has a type that is not known")),
    })
}

fn utf8(text: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(text).map_err(|_| Malformed("a text is not UTF-8"))
}

/// Whether a name needs no quotes.
fn is_plain(name: &str, allowed: fn(u8) -> bool) -> bool {
    !name.is_empty() && series::name_end(name.as_bytes(), allowed) == name.len()
}

fn push_label(text: &mut Vec<u8>, name: &str, value: &str) {
    if text.last() != Some(&b'{') {
        text.push(b',');
    }
    if is_plain(name, |byte| byte != b':' && series::is_metric_char(byte)) {
        text.extend_from_slice(name.as_bytes());
    } else {
        text.push(b'"');
        push_escaped(text, name);
        text.push(b'"');
    }
    text.extend_from_slice(b"=\"");
    push_escaped(text, value);
    text.push(b'"');
}

fn push_escaped(text: &mut Vec<u8>, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'\\' => text.extend_from_slice(b"\\\\"),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'"' => text.extend_from_slice(b"\\\""),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests;
