//! Remote write 1.0: a snappy block around a protobuf `prometheus.WriteRequest`, read without copying.
//!
//! ```text
//!   WriteRequest { timeseries: 1 TimeSeries, metadata: 3 MetricMetadata }
//!   TimeSeries   { labels: 1 {name, value}, samples: 2 {value, timestamp}, exemplars: 3, histograms: 4 }
//! ```
//!
//! What is wrong with the bytes is an error of the whole body; what is wrong with one series (a label twice, no
//! name, a limit) is an error of that series, so that its neighbours can be stored. Nothing is allocated per
//! series of floats. Version 2.0 is another message and not read.

mod encode;
mod histogram;
#[cfg(test)]
mod tests;

pub(super) use encode::put_histogram;
pub use encode::{RichSeries, SeriesToWrite, encode, encode_rich};

use super::limits::{Limits, abridge};
use super::protobuf::{Fields, Malformed, Value, WRONG_TYPE, name_and_value};
use crate::error::{Error, Kind, Result};
use crate::model::{Exemplar, Histogram, METRIC_NAME, MetricType, push_pair};

/// Decompresses a body into `out`, which is overwritten and may be reused.
///
/// # Errors
/// `Limit` when the header claims more than `limits.body_bytes`, before anything is allocated; `Invalid` when it
/// claims more than snappy can hold in so few bytes, or when the block is damaged.
pub fn decompress(body: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Result<()> {
    super::coding::unsnap(body, limits, out).map_err(|e| e.during("remote write"))
}

/// A decompressed request.
#[derive(Debug, Clone, Copy)]
pub struct WriteRequest<'a> {
    message: &'a [u8],
    limits: &'a Limits,
}

/// One series of a request, its labels not yet looked at.
#[derive(Debug, Clone, Copy)]
pub struct SeriesRef<'r, 'a> {
    /// The labels as sent. Equal bytes are equal labels: a key for a cache of series that are already known.
    pub raw_labels: &'a [u8],
    /// Timestamp in ms since 1970 and value, as sent; stale markers among them.
    pub samples: &'r [(i64, f64)],
    exemplars: &'r [&'a [u8]],
    histograms: &'r [&'a [u8]],
    limits: &'a Limits,
}

/// The labels of a series, decoded; reused from series to series.
#[derive(Debug, Default)]
pub struct LabelPairs<'a> {
    metric: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> LabelPairs<'a> {
    /// The metric's name.
    pub fn metric(&self) -> &'a str {
        self.metric
    }

    /// The labels without `__name__`, sorted by name, each name once, no value empty.
    pub fn pairs(&self) -> &[(&'a str, &'a str)] {
        &self.pairs
    }

    /// Appends the labels without `__name__` in canonical form (see [`crate::model::LabelsRef`]).
    pub fn push_canonical(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.pairs {
            push_pair(out, name, value);
        }
    }
}

/// What a request says about a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataRef<'a> {
    /// The metric family.
    pub metric: &'a str,
    /// Its type; a number that is not known is `Unknown`.
    pub kind: MetricType,
    /// Its help text; may be empty.
    pub help: &'a str,
    /// Its unit; may be empty.
    pub unit: &'a str,
}

impl<'a> WriteRequest<'a> {
    /// A request whose bytes came from [`decompress`].
    pub fn new(message: &'a [u8], limits: &'a Limits) -> Self {
        Self { message, limits }
    }

    /// Calls `visit` for each series in the order sent. An error of `visit` ends the walk and is returned.
    ///
    /// # Errors
    /// `Invalid` when the bytes are not a `WriteRequest`. Series in front of the damage have been visited by
    /// then: the caller must not have stored them yet.
    pub fn for_each_series(&self, mut visit: impl FnMut(SeriesRef<'_, 'a>) -> Result<()>) -> Result<()> {
        let mut rows = SeriesRows::default();
        let mut fields = Fields::new(self.message);
        while let Some((number, value)) = fields.next_field().map_err(|e| damaged("WriteRequest", e))? {
            if number == 1 {
                let series = value.bytes().and_then(|message| self.series(message, &mut rows));
                visit(series.map_err(|e| damaged("TimeSeries", e))?)?;
            }
        }
        Ok(())
    }

    fn series<'r>(
        &self,
        message: &'a [u8],
        rows: &'r mut SeriesRows<'a>,
    ) -> Result<SeriesRef<'r, 'a>, Malformed> {
        let SeriesRows { samples, exemplars, histograms } = rows;
        samples.clear();
        exemplars.clear();
        histograms.clear();
        let (mut labels_start, mut labels_end) = (None, 0);
        let mut fields = Fields::new(message);
        loop {
            let start = message.len() - fields.remaining();
            let Some((number, value)) = fields.next_field()? else { break };
            match number {
                1 => {
                    value.bytes()?;
                    labels_start.get_or_insert(start);
                    labels_end = message.len() - fields.remaining();
                }
                2 => samples.push(sample(value.bytes()?)?),
                3 => exemplars.push(value.bytes()?),
                4 => histograms.push(value.bytes()?),
                _ => {}
            }
        }
        let raw_labels = &message[labels_start.unwrap_or(labels_end)..labels_end];
        Ok(SeriesRef { raw_labels, samples, exemplars, histograms, limits: self.limits })
    }

    /// Calls `visit` for each piece of metadata in the order sent; what is wrong with one piece (not UTF-8, too
    /// long) is given to `visit` as its error.
    ///
    /// # Errors
    /// `Invalid` when the bytes are not a `WriteRequest`; any error of `visit`.
    pub fn for_each_metadata(
        &self,
        mut visit: impl FnMut(Result<MetadataRef<'a>>) -> Result<()>,
    ) -> Result<()> {
        let mut fields = Fields::new(self.message);
        while let Some((number, value)) = fields.next_field().map_err(|e| damaged("WriteRequest", e))? {
            if number == 3 {
                let raw = value.bytes().and_then(RawMetadata::read);
                let raw = raw.map_err(|e| damaged("MetricMetadata", e))?;
                visit(raw.decode(self.limits))?;
            }
        }
        Ok(())
    }
}

/// The rows of a series as they are read; reused from series to series.
#[derive(Default)]
struct SeriesRows<'a> {
    samples: Vec<(i64, f64)>,
    exemplars: Vec<&'a [u8]>,
    histograms: Vec<&'a [u8]>,
}

impl<'a> SeriesRef<'_, 'a> {
    /// Number of rows of every sort.
    pub fn rows(&self) -> usize {
        self.samples.len() + self.histograms.len() + self.exemplars.len()
    }

    /// The native histograms and their timestamps (ms since 1970), stale markers among them; not yet checked
    /// ([`Histogram::check`]).
    ///
    /// # Errors
    /// `Invalid` when the bytes are not a histogram: an error of the whole body.
    pub fn histograms(&self) -> impl Iterator<Item = Result<(i64, Histogram)>> + '_ {
        let read = |message: &&[u8]| histogram::histogram(message).map_err(|e| damaged("Histogram", e));
        self.histograms.iter().map(read)
    }

    /// The exemplars; the inner error is of one exemplar: its labels are malformed or too long.
    ///
    /// # Errors
    /// `Invalid` when the bytes are not an exemplar: an error of the whole body.
    pub fn exemplars(&self) -> impl Iterator<Item = Result<Result<Exemplar>>> + '_ {
        let read = |message: &&[u8]| histogram::exemplar(message, self.limits);
        self.exemplars.iter().map(move |message| read(message).map_err(|e| damaged("Exemplar", e)))
    }

    /// Checks and decodes the labels into `out`; unsorted labels are sorted, empty values are dropped.
    ///
    /// # Errors
    /// `Invalid` when a label is not UTF-8, is nameless or occurs twice, or when there is no `__name__`; `Limit`
    /// with the limit's name. The error names the series.
    pub fn labels(&self, out: &mut LabelPairs<'a>) -> Result<()> {
        out.metric = "";
        out.pairs.clear();
        self.collect(&mut out.pairs)
            .and_then(|()| canonical(out))
            .map_err(|e| e.with("series", shown(&out.pairs)).during("remote write"))
    }

    fn collect(&self, pairs: &mut Vec<(&'a str, &'a str)>) -> Result<()> {
        // One check for all strings: tags and short lengths are ASCII, so the fields are UTF-8 as a whole unless
        // a length has several bytes. A slice of it that is no text begins or ends inside a character.
        let text = std::str::from_utf8(self.raw_labels).ok();
        let mut at = 0;
        while at < self.raw_labels.len() {
            let short = text.and_then(|text| short_label(&text[at..]));
            let pair = match short {
                Some((name, value)) => {
                    at += name.len() + value.len() + SHORT_LABEL_BYTES;
                    Some((name, value))
                }
                None => self.any_field(&mut at)?,
            };
            let Some((name, value)) = pair else { continue };
            self.limits.check_label(name, value)?;
            self.limits.check_count(pairs.len() + 1)?;
            pairs.push((name, value));
        }
        Ok(())
    }

    /// The field at `at`, if it is a label, by the book.
    #[cold]
    fn any_field(&self, at: &mut usize) -> Result<Option<(&'a str, &'a str)>> {
        let mut fields = Fields::new(&self.raw_labels[*at..]);
        let field = fields.next_field().map_err(|e| damaged("TimeSeries", e))?;
        *at = self.raw_labels.len() - fields.remaining();
        let Some((1, Value::Bytes(label))) = field else { return Ok(None) };
        let (name, value) = name_and_value(label).map_err(|e| damaged("Label", e))?;
        Ok(Some((utf8("label name", name)?, utf8("label value", value)?)))
    }
}

/// Tags and lengths of [`short_label`].
const SHORT_LABEL_BYTES: usize = 6;

/// A label as every sender writes it, when all lengths are below 128: `0A len 0A len name 12 len value`.
#[inline]
fn short_label(text: &str) -> Option<(&str, &str)> {
    let [0x0A, length, 0x0A, name_length, rest @ ..] = text.as_bytes() else { return None };
    let [length, name_end] = [usize::from(*length), usize::from(*name_length)];
    let [0x12, value_length, ..] = rest.get(name_end..)? else { return None };
    let value_end = name_end + 2 + usize::from(*value_length);
    if value_end + 2 != length {
        return None;
    }
    // Text, so every byte is below 128 where it stands for a length.
    Some((text.get(4..4 + name_end)?, text.get(name_end + 6..value_end + 4)?))
}

/// Sorts, refuses what occurs twice or has no name, and moves the metric's name out.
fn canonical(labels: &mut LabelPairs<'_>) -> Result<()> {
    let pairs = &mut labels.pairs;
    // Senders sort; bytes decide, where `__name__` stands behind capitals.
    if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
        pairs.sort_unstable();
        if let Some(twice) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::invalid("a label name occurs twice").with("label", abridge(twice[0].0)));
        }
    }
    if pairs.first().is_some_and(|(name, _)| name.is_empty()) {
        return Err(Error::invalid("a label name is empty"));
    }
    let name = pairs.iter().position(|(name, value)| *name == METRIC_NAME && !value.is_empty());
    let name = name.ok_or_else(|| Error::invalid("a series has no metric name (label __name__)"))?;
    labels.metric = pairs.remove(name).1;
    pairs.retain(|(_, value)| !value.is_empty());
    Ok(())
}

/// The labels read so far, for a message.
fn shown(pairs: &[(&str, &str)]) -> String {
    const SHOWN: usize = 10;
    let mut text = String::from("{");
    for (name, value) in pairs.iter().take(SHOWN) {
        let lead = if text.len() > 1 { ", " } else { "" };
        text.extend([lead, &abridge(name), "=\"", &abridge(value), "\""]);
    }
    text.push_str(if pairs.len() > SHOWN { ", …}" } else { "}" });
    text
}

fn damaged(message: &'static str, Malformed(what): Malformed) -> Error {
    Error::invalid(format!("the body is not a remote write request: {what}"))
        .with("message", message)
        .during("remote write")
}

#[inline]
fn sample(message: &[u8]) -> Result<(i64, f64), Malformed> {
    let (mut timestamp, mut value) = (0, 0.0);
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field {
            (1, Value::Fixed64(bits)) => value = f64::from_bits(bits),
            (2, Value::Varint(number)) => timestamp = number.cast_signed(),
            (1 | 2, _) => return Err(WRONG_TYPE),
            _ => {}
        }
    }
    Ok((timestamp, value))
}

#[inline]
fn utf8<'a>(what: &'static str, text: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(text).map_err(|_| {
        let start = String::from_utf8_lossy(&text[..text.len().min(400)]);
        Error::invalid(format!("a {what} is not UTF-8")).with("text", abridge(&start))
    })
}

#[derive(Default)]
struct RawMetadata<'a> {
    kind: u64,
    metric: &'a [u8],
    help: &'a [u8],
    unit: &'a [u8],
}

impl<'a> RawMetadata<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut raw = Self::default();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next_field()? {
            match (number, value) {
                (1, Value::Varint(kind)) => raw.kind = kind,
                (1, _) => return Err(WRONG_TYPE),
                (2, value) => raw.metric = value.bytes()?,
                (4, value) => raw.help = value.bytes()?,
                (5, value) => raw.unit = value.bytes()?,
                _ => {}
            }
        }
        Ok(raw)
    }

    fn decode(self, limits: &Limits) -> Result<MetadataRef<'a>> {
        let metric = utf8("metric name", self.metric)?;
        let (help, unit) = (utf8("help text", self.help)?, utf8("unit", self.unit)?);
        limits.check_label(metric, help).and_then(|()| limits.check_label("unit", unit))?;
        if metric.is_empty() {
            return Err(Error::new(Kind::Invalid, "metadata has no metric name").during("remote write"));
        }
        let kind = u8::try_from(self.kind).ok().and_then(MetricType::from_number);
        Ok(MetadataRef { metric, kind: kind.unwrap_or_default(), help, unit })
    }
}
