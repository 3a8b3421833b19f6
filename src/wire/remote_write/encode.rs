//! The other half of the codec: what a sender writes. For tests, benches and remote-write clients; remote read has
//! the same histograms.

use super::super::protobuf::{put_bytes, put_double, put_number, put_varint};
use crate::error::{Error, Result};
use crate::model::{Exemplar, Histogram, MetricMetadata, Span};

/// A series to encode. Labels are written as given, `__name__` among them.
#[derive(Debug, Clone, Copy)]
pub struct SeriesToWrite<'a> {
    /// Names and values; the protocol wants them sorted by name.
    pub labels: &'a [(&'a str, &'a str)],
    /// Timestamps in ms since 1970, and values.
    pub samples: &'a [(i64, f64)],
}

/// A series to encode with everything that it can have.
#[derive(Debug, Clone, Copy, Default)]
pub struct RichSeries<'a> {
    /// As in [`SeriesToWrite`].
    pub labels: &'a [(&'a str, &'a str)],
    /// As in [`SeriesToWrite`].
    pub samples: &'a [(i64, f64)],
    /// Timestamps in ms since 1970, and native histograms.
    pub histograms: &'a [(i64, Histogram)],
    /// Exemplars.
    pub exemplars: &'a [Exemplar],
}

/// A request as it is sent: protobuf in a snappy block.
///
/// # Errors
/// `Invalid` when the message is larger than snappy can hold (4 GiB).
pub fn encode(series: &[SeriesToWrite<'_>], metadata: &[MetricMetadata]) -> Result<Vec<u8>> {
    let rich = series.iter().map(|one| RichSeries {
        labels: one.labels,
        samples: one.samples,
        ..RichSeries::default()
    });
    encode_rich(&rich.collect::<Vec<_>>(), metadata)
}

/// As [`encode`], with histograms and exemplars.
///
/// # Errors
/// As [`encode`].
pub fn encode_rich(series: &[RichSeries<'_>], metadata: &[MetricMetadata]) -> Result<Vec<u8>> {
    let mut message = Vec::new();
    let (mut outer, mut inner) = (Vec::new(), Vec::new());
    for one in series {
        outer.clear();
        for (name, value) in one.labels {
            inner.clear();
            put_bytes(&mut inner, 1, name.as_bytes());
            put_bytes(&mut inner, 2, value.as_bytes());
            put_bytes(&mut outer, 1, &inner);
        }
        for (timestamp, value) in one.samples {
            inner.clear();
            put_double(&mut inner, 1, *value);
            put_number(&mut inner, 2, timestamp.cast_unsigned());
            put_bytes(&mut outer, 2, &inner);
        }
        for exemplar in one.exemplars {
            inner.clear();
            put_exemplar(&mut inner, exemplar);
            put_bytes(&mut outer, 3, &inner);
        }
        for (timestamp, histogram) in one.histograms {
            inner.clear();
            put_histogram(&mut inner, *timestamp, histogram);
            put_bytes(&mut outer, 4, &inner);
        }
        put_bytes(&mut message, 1, &outer);
    }
    for one in metadata {
        outer.clear();
        put_number(&mut outer, 1, u64::from(one.kind as u8));
        put_bytes(&mut outer, 2, one.metric.as_bytes());
        put_bytes(&mut outer, 4, one.help.as_bytes());
        put_bytes(&mut outer, 5, one.unit.as_bytes());
        put_bytes(&mut message, 3, &outer);
    }
    let too_large = |e: snap::Error| Error::invalid("the request is too large for snappy").caused_by(e);
    snap::raw::Encoder::new().compress_vec(&message).map_err(too_large)
}

fn put_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    let mut label = Vec::new();
    for (name, value) in &exemplar.labels {
        label.clear();
        put_bytes(&mut label, 1, name.as_bytes());
        put_bytes(&mut label, 2, value.as_bytes());
        put_bytes(out, 1, &label);
    }
    put_double(out, 2, exemplar.value);
    put_number(out, 3, exemplar.timestamp.cast_unsigned());
}

/// The fields of a `Histogram`.
pub(in crate::wire) fn put_histogram(out: &mut Vec<u8>, timestamp: i64, histogram: &Histogram) {
    if histogram.is_float {
        put_double(out, 2, histogram.count);
        put_double(out, 7, histogram.zero_count);
    } else {
        put_number(out, 1, whole(histogram.count).cast_unsigned());
        put_number(out, 6, whole(histogram.zero_count).cast_unsigned());
    }
    put_double(out, 3, histogram.sum);
    put_number(out, 4, zigzag(i64::from(histogram.schema)));
    put_double(out, 5, histogram.zero_threshold);
    put_side(out, 8, (&histogram.negative_spans, &histogram.negative), histogram.is_float);
    put_side(out, 11, (&histogram.positive_spans, &histogram.positive), histogram.is_float);
    put_number(out, 14, u64::from(histogram.reset_hint as u8));
    put_number(out, 15, timestamp.cast_unsigned());
    let bounds: Vec<u8> = histogram.custom_bounds.iter().flat_map(|bound| bound.to_le_bytes()).collect();
    if !bounds.is_empty() {
        put_bytes(out, 16, &bounds);
    }
}

/// Spans as field `first`, then deltas or counts, packed.
fn put_side(out: &mut Vec<u8>, first: u64, (spans, buckets): (&[Span], &[f64]), is_float: bool) {
    let mut inner = Vec::new();
    for span in spans {
        inner.clear();
        put_number(&mut inner, 1, zigzag(i64::from(span.offset)));
        put_number(&mut inner, 2, u64::from(span.length));
        put_bytes(out, first, &inner);
    }
    inner.clear();
    let mut before = 0;
    for count in buckets {
        if is_float {
            inner.extend_from_slice(&count.to_le_bytes());
        } else {
            let count = whole(*count);
            put_varint(&mut inner, zigzag(count - before));
            before = count;
        }
    }
    if !inner.is_empty() {
        put_bytes(out, if is_float { first + 2 } else { first + 1 }, &inner);
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// A count of an integer histogram.
#[expect(clippy::cast_possible_truncation, reason = "counts of integer histograms are whole numbers")]
fn whole(count: f64) -> i64 {
    count as i64
}
