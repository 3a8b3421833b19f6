//! What `/federate` answers: families as text or, with native histograms, as delimited protobuf.
//!
//! Neighbouring samples of one name and kind are one family. Text shows histograms with custom buckets as classic ones
//! and leaves out others, which it has no words for; protobuf shows custom buckets as classic ones too. Sources:
//! prometheus `web/federate.go`, prometheus/common `expfmt/encode.go` (`Negotiate`), `expfmt/text_create.go`.

use super::super::protobuf::{put_bytes, put_double, put_number, put_varint};
use super::write::{NameEscaping, push_line, push_type};
use crate::model::{CUSTOM_BUCKETS, Histogram, ResetHint, Span, push_go_float_general};

/// A sample as it is exposed.
#[derive(Debug, Clone, Copy)]
pub enum Exposed<'a> {
    /// A float of unknown type.
    Untyped(f64),
    /// A native histogram.
    Histogram(&'a Histogram),
}

/// What a family is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Untyped,
    Histogram,
    GaugeHistogram,
}

impl Kind {
    fn of(sample: Exposed<'_>) -> Self {
        match sample {
            Exposed::Untyped(_) => Self::Untyped,
            Exposed::Histogram(histogram) if histogram.reset_hint == ResetHint::Gauge => Self::GaugeHistogram,
            Exposed::Histogram(_) => Self::Histogram,
        }
    }

    /// `MetricType` of the protobuf format.
    fn number(self) -> u64 {
        match self {
            Self::Untyped => 3,
            Self::Histogram => 4,
            Self::GaugeHistogram => 5,
        }
    }
}

/// The form that an answer has, and the family that is being written.
#[derive(Debug)]
pub struct Federation {
    is_protobuf: bool,
    escaping: NameEscaping,
    family: Option<(String, Kind)>,
    /// The metrics of the family as fields of its message; only of protobuf, where its length comes first.
    metrics: Vec<u8>,
}

impl Federation {
    /// What a scraper's `Accept` header asks for: what it wants most of what there is, text where it names neither.
    pub fn from_accept(accept: &str) -> Self {
        let mut wanted: Vec<(f64, bool)> = accept.split(',').filter_map(form_of).collect();
        wanted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let is_protobuf = wanted.first().is_some_and(|(_, is_protobuf)| *is_protobuf);
        let escaping = NameEscaping::from_accept(accept);
        Self { is_protobuf, escaping, family: None, metrics: Vec::new() }
    }

    /// The media type of such an answer.
    pub fn content_type(&self) -> &'static str {
        match (self.is_protobuf, self.escaping) {
            (false, escaping) => escaping.content_type(),
            (true, NameEscaping::Underscores) => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; \
                 escaping=underscores"
            }
            (true, NameEscaping::Utf8) => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; \
                 escaping=allow-utf-8"
            }
        }
    }

    /// Appends a sample; the labels in their order, without `__name__`.
    pub fn push<'a>(
        &mut self,
        out: &mut Vec<u8>,
        metric: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        (timestamp_ms, sample): (i64, Exposed<'_>),
    ) {
        if !self.is_protobuf && !has_text(sample) {
            return;
        }
        let kind = Kind::of(sample);
        if self.family.as_ref().is_none_or(|(name, before)| name != metric || *before != kind) {
            self.finish(out);
            self.family = Some((metric.to_owned(), kind));
            if !self.is_protobuf {
                push_type(
                    out,
                    metric,
                    if kind == Kind::Untyped { "untyped" } else { "histogram" },
                    self.escaping,
                );
            }
        }
        match sample {
            _ if self.is_protobuf => self.metric(labels, timestamp_ms, sample),
            Exposed::Untyped(value) => push_line(out, metric, labels, (timestamp_ms, value), self.escaping),
            Exposed::Histogram(histogram) => {
                push_classic(out, metric, labels, (timestamp_ms, histogram), self.escaping);
            }
        }
    }

    /// Ends the family that is being written; after the last one too.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let Some((name, kind)) = self.family.take().filter(|_| self.is_protobuf) else { return };
        let mut head = Vec::new();
        put_bytes(&mut head, 1, self.escaping.escaped(&name).as_bytes());
        put_number(&mut head, 3, kind.number());
        put_varint(out, (head.len() + self.metrics.len()) as u64);
        out.extend_from_slice(&head);
        out.append(&mut self.metrics);
    }

    /// `Metric { 1 label {1 name, 2 value}, 5 untyped {1 value}, 6 timestamp_ms, 7 histogram }`.
    fn metric<'a>(
        &mut self,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        timestamp_ms: i64,
        sample: Exposed<'_>,
    ) {
        let (mut metric, mut part) = (Vec::new(), Vec::new());
        for (name, value) in labels {
            part.clear();
            put_bytes(&mut part, 1, self.escaping.escaped(name).as_bytes());
            put_bytes(&mut part, 2, value.as_bytes());
            put_bytes(&mut metric, 1, &part);
        }
        part.clear();
        match sample {
            Exposed::Untyped(value) => {
                put_double(&mut part, 1, value);
                put_bytes(&mut metric, 5, &part);
                put_number(&mut metric, 6, timestamp_ms.cast_unsigned());
            }
            Exposed::Histogram(histogram) => {
                put_number(&mut metric, 6, timestamp_ms.cast_unsigned());
                put_histogram(&mut part, histogram);
                put_bytes(&mut metric, 7, &part);
            }
        }
        put_bytes(&mut self.metrics, 4, &metric);
    }
}

/// How much an entry of an `Accept` header is wanted, and whether it is protobuf; `None` for what there is not.
fn form_of(entry: &str) -> Option<(f64, bool)> {
    let mut parts = entry.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let (mut quality, mut is_delimited, mut version) = (1.0, false, "");
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match name.trim() {
            "q" => quality = value.trim().parse().unwrap_or(0.0),
            "encoding" => is_delimited = value == "delimited",
            "version" => version = value,
            _ => {}
        }
    }
    match media_type {
        "application/vnd.google.protobuf" => is_delimited.then_some((quality, true)),
        "text/plain" => ["", "0.0.4"].contains(&version).then_some((quality, false)),
        _ => None,
    }
}

/// Whether the text format has words for a sample.
fn has_text(sample: Exposed<'_>) -> bool {
    match sample {
        Exposed::Untyped(_) => true,
        Exposed::Histogram(histogram) => {
            histogram.schema == CUSTOM_BUCKETS && Kind::of(sample) == Kind::Histogram
        }
    }
}

/// Bound and observations up to it of each custom bucket but the last.
fn cumulative(histogram: &Histogram) -> impl Iterator<Item = (f64, f64)> + '_ {
    let mut counts = vec![0.0; histogram.custom_bounds.len() + 1];
    let (mut next, mut own) = (0_i64, histogram.positive.iter());
    for span in &histogram.positive_spans {
        let first = next + i64::from(span.offset);
        next = first + i64::from(span.length);
        for (index, count) in (first..next).zip(&mut own) {
            if let Some(place) = usize::try_from(index).ok().and_then(|index| counts.get_mut(index)) {
                *place = *count;
            }
        }
    }
    let mut total = 0.0;
    histogram.custom_bounds.iter().zip(counts).map(move |(bound, count)| {
        total += count;
        (*bound, total)
    })
}

/// The lines of a classic histogram.
fn push_classic<'a>(
    out: &mut Vec<u8>,
    metric: &str,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    (timestamp_ms, histogram): (i64, &Histogram),
    escaping: NameEscaping,
) {
    let labels: Vec<(&str, &str)> = labels.collect();
    let name = format!("{metric}_bucket");
    for (bound, count) in cumulative(histogram).chain([(f64::INFINITY, histogram.count)]) {
        let mut text = Vec::new();
        push_go_float_general(&mut text, bound);
        let text = String::from_utf8(text).expect("a number is ASCII");
        let all = labels.iter().copied().chain([("le", &*text)]);
        push_line(out, &name, all, (timestamp_ms, count), escaping);
    }
    for (suffix, value) in [("_sum", histogram.sum), ("_count", histogram.count)] {
        push_line(out, &format!("{metric}{suffix}"), labels.iter().copied(), (timestamp_ms, value), escaping);
    }
}

/// The fields of a `Histogram`: counts are floats, as federation gives them.
fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    put_double(out, 2, histogram.sum);
    if histogram.schema == CUSTOM_BUCKETS {
        for (bound, count) in cumulative(histogram) {
            let mut bucket = Vec::new();
            put_double(&mut bucket, 2, bound);
            put_double(&mut bucket, 4, count);
            put_bytes(out, 3, &bucket);
        }
        put_double(out, 4, histogram.count);
        return;
    }
    put_double(out, 4, histogram.count);
    put_number(out, 5, zigzag(i32::from(histogram.schema)));
    put_double(out, 6, histogram.zero_threshold);
    put_double(out, 8, histogram.zero_count);
    put_side(out, 9, &histogram.negative_spans, &histogram.negative);
    put_side(out, 12, &histogram.positive_spans, &histogram.positive);
}

/// Spans as field `first`, counts two behind; not packed, because the message is of proto2.
fn put_side(out: &mut Vec<u8>, first: u64, spans: &[Span], counts: &[f64]) {
    for span in spans {
        let mut message = Vec::new();
        put_number(&mut message, 1, zigzag(span.offset));
        put_number(&mut message, 2, u64::from(span.length));
        put_bytes(out, first, &message);
    }
    for count in counts {
        put_double(out, first + 2, *count);
    }
}

fn zigzag(number: i32) -> u64 {
    u64::from(((number << 1) ^ (number >> 31)).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::{HistogramOptions, ProtobufEvent, for_each};
    use super::*;
    use crate::wire::Limits;

    const SCRAPE: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                          encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

    fn custom() -> Histogram {
        Histogram {
            schema: CUSTOM_BUCKETS,
            count: 6.0,
            sum: 2.5,
            positive_spans: vec![Span { offset: 1, length: 2 }],
            positive: vec![2.0, 4.0],
            custom_bounds: vec![0.1, 1.0],
            ..Histogram::default()
        }
    }

    fn exponential() -> Histogram {
        Histogram {
            schema: -1,
            is_float: true,
            count: 4.5,
            sum: -2.5,
            zero_count: 1.0,
            zero_threshold: 0.001,
            positive_spans: vec![Span { offset: -2, length: 1 }, Span { offset: 3, length: 1 }],
            positive: vec![1.5, 1.0],
            negative_spans: vec![Span { offset: 0, length: 1 }],
            negative: vec![1.0],
            ..Histogram::default()
        }
    }

    fn page(accept: &str, samples: &[(&str, Exposed<'_>)]) -> Vec<u8> {
        let (mut form, mut out) = (Federation::from_accept(accept), Vec::new());
        for (metric, sample) in samples {
            form.push(&mut out, metric, [("a", "b"), ("instance", "")].into_iter(), (-5, *sample));
        }
        form.finish(&mut out);
        out
    }

    #[test]
    fn the_scraper_says_which_form_it_takes() {
        for (accept, is_protobuf) in [
            (SCRAPE, true),
            ("", false),
            ("*/*", false),
            (
                "text/plain;version=0.0.4;q=0.7,application/vnd.google.protobuf;encoding=delimited;q=0.6",
                false,
            ),
            ("text/plain;version=1.0.0,application/vnd.google.protobuf;encoding=delimited;q=0.6", true),
            ("application/vnd.google.protobuf;encoding=text", false),
        ] {
            let form = Federation::from_accept(accept);
            assert_eq!(form.content_type().contains("protobuf"), is_protobuf, "{accept}");
        }
    }

    #[test]
    fn text_shows_custom_buckets_as_classic_ones() {
        let (custom, exponential) = (custom(), exponential());
        let samples = [
            ("h", Exposed::Histogram(&exponential)),
            ("h", Exposed::Untyped(1.5)),
            ("h", Exposed::Histogram(&custom)),
        ];
        let expected = "# TYPE h untyped\nh{a=\"b\",instance=\"\"} 1.5 -5\n# TYPE h histogram\n\
                        h_bucket{a=\"b\",instance=\"\",le=\"0.1\"} 0 -5\nh_bucket{a=\"b\",instance=\"\",le=\"1\"} 2 -5\n\
                        h_bucket{a=\"b\",instance=\"\",le=\"+Inf\"} 6 -5\nh_sum{a=\"b\",instance=\"\"} 2.5 -5\n\
                        h_count{a=\"b\",instance=\"\"} 6 -5\n";
        assert_eq!(String::from_utf8(page("", &samples)).expect("text"), expected);
    }

    #[test]
    fn protobuf_reads_back() {
        let (custom, exponential) = (custom(), exponential());
        let gauge = Histogram { reset_hint: ResetHint::Gauge, ..exponential.clone() };
        let samples = [
            ("f", Exposed::Untyped(0.0)),
            ("f", Exposed::Untyped(1.5)),
            ("h", Exposed::Histogram(&exponential)),
            ("h", Exposed::Histogram(&gauge)),
            ("n", Exposed::Histogram(&custom)),
        ];
        let (body, mut found) = (page(SCRAPE, &samples), Vec::new());
        let options = HistogramOptions { native: true, classic: false };
        for_each(&body, &Limits::default(), options, |event| {
            match event {
                ProtobufEvent::Sample(line) => {
                    let series = String::from_utf8_lossy(line.series).into_owned();
                    found.push(format!("{series} {} {:?}", line.value, line.timestamp_ms));
                }
                ProtobufEvent::Histogram(event) => {
                    let expected =
                        if event.histogram.reset_hint == ResetHint::Gauge { &gauge } else { &exponential };
                    assert_eq!(event.histogram, *expected);
                    found.push("histogram".to_owned());
                }
                ProtobufEvent::About(_) => {}
            }
            Ok(())
        })
        .expect("it is good");
        let labels = "a=\"b\",instance=\"\"";
        let expected = [
            format!("f{{{labels}}} 0 Some(-5)"),
            format!("f{{{labels}}} 1.5 Some(-5)"),
            "histogram".to_owned(),
            "histogram".to_owned(),
            format!("n_count{{{labels}}} 6 Some(-5)"),
            format!("n_sum{{{labels}}} 2.5 Some(-5)"),
            format!("n_bucket{{{labels},le=\"0.1\"}} 0 Some(-5)"),
            format!("n_bucket{{{labels},le=\"1.0\"}} 2 Some(-5)"),
            format!("n_bucket{{{labels},le=\"+Inf\"}} 6 Some(-5)"),
        ];
        assert_eq!(found, expected);
    }
}
