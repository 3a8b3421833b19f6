//! Remote read: which series and times somebody wants, and their samples in one of two forms.
//!
//! Source: prometheus `prompb/remote.proto`, `prompb/types.proto`, `storage/remote/chunked.go`.
//!
//! ```text
//!   SAMPLES              snappy( ReadResponse{ QueryResult{ TimeSeries{ Label*, Sample*, Histogram* }* }* } )
//!   STREAMED_XOR_CHUNKS  ( uvarint length │ CRC32C, big-endian:4 │ ChunkedReadResponse{ one series, index } )*
//! ```
//!
//! Hints are read over: they say what the reader will do with the samples, and no answer depends on them.

use super::histogram_chunk::chunks;
use super::protobuf::{Fields, Malformed, Value, WRONG_TYPE, put_bytes, put_double, put_number, put_varint};
use super::remote_write::put_histogram;
use super::xor::{CHUNK_SAMPLES, XorChunk};
use crate::error::{Error, Kind, Result};
use crate::model::{Histogram, MatchOp, Matcher};

/// Queries of one request.
const MAX_QUERIES: usize = 1_000;
/// Matchers of one query.
const MAX_MATCHERS: usize = 1_000;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseType {
    /// One message with all samples.
    Samples,
    /// A stream of messages with chunks of one series each.
    StreamedXorChunks,
}

/// One question of a request.
#[derive(Debug, Clone, Default)]
pub struct ReadQuery {
    /// First ms.
    pub from_ms: i64,
    /// Last ms, inclusive.
    pub to_ms: i64,
    /// All must match.
    pub matchers: Vec<Matcher>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// What is asked, in the order of the answer.
    pub queries: Vec<ReadQuery>,
    /// The first form that the asker takes and we can give.
    pub response: ResponseType,
}

impl ReadRequest {
    /// Reads an unpacked message.
    ///
    /// # Errors
    /// `Invalid` for what is no request or has a wrong regular expression, `Limit` for too many queries or
    /// matchers, `Unsupported` when no form that the asker takes is known.
    pub fn decode(message: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(message);
        let (mut queries, mut accepted) = (Vec::new(), Vec::new());
        while let Some((number, value)) = fields.next_field().map_err(malformed)? {
            match (number, value) {
                (1, Value::Bytes(query)) => {
                    limit("queries", queries.len(), MAX_QUERIES)?;
                    queries.push(query_of(query)?);
                }
                (2, Value::Varint(one)) => accepted.push(one),
                (2, Value::Bytes(packed)) => accepted.extend(packed.iter().map(|byte| u64::from(*byte))),
                (1 | 2, _) => return Err(malformed(WRONG_TYPE)),
                _ => {}
            }
        }
        Ok(Self { queries, response: response_of(&accepted)? })
    }
}

/// Who says nothing takes samples. Numbers above 127 take more than a byte when packed; none of these is known.
fn response_of(accepted: &[u64]) -> Result<ResponseType> {
    if accepted.is_empty() {
        return Ok(ResponseType::Samples);
    }
    let known = accepted.iter().find_map(|number| match number {
        0 => Some(ResponseType::Samples),
        1 => Some(ResponseType::StreamedXorChunks),
        _ => None,
    });
    known.ok_or_else(|| {
        let text = "server does not support any of the requested response types";
        Error::invalid(format!("{text}: {accepted:?}; supported: SAMPLES, STREAMED_XOR_CHUNKS"))
    })
}

fn query_of(message: &[u8]) -> Result<ReadQuery> {
    let mut fields = Fields::new(message);
    let mut query = ReadQuery::default();
    while let Some((number, value)) = fields.next_field().map_err(malformed)? {
        match (number, value) {
            (1, Value::Varint(ms)) => query.from_ms = ms.cast_signed(),
            (2, Value::Varint(ms)) => query.to_ms = ms.cast_signed(),
            (3, Value::Bytes(matcher)) => {
                limit("matchers", query.matchers.len(), MAX_MATCHERS)?;
                query.matchers.push(matcher_of(matcher)?);
            }
            (1..=3, _) => return Err(malformed(WRONG_TYPE)),
            _ => {}
        }
    }
    Ok(query)
}

fn matcher_of(message: &[u8]) -> Result<Matcher> {
    let mut fields = Fields::new(message);
    let (mut op, mut name, mut text) = (MatchOp::Equal, "", "");
    while let Some((number, value)) = fields.next_field().map_err(malformed)? {
        match (number, value) {
            (1, Value::Varint(0)) => op = MatchOp::Equal,
            (1, Value::Varint(1)) => op = MatchOp::NotEqual,
            (1, Value::Varint(2)) => op = MatchOp::Regex,
            (1, Value::Varint(3)) => op = MatchOp::NotRegex,
            (1, Value::Varint(other)) => {
                return Err(Error::invalid("invalid matcher type").with("type", other));
            }
            (2, Value::Bytes(bytes)) => name = utf8(bytes)?,
            (3, Value::Bytes(bytes)) => text = utf8(bytes)?,
            (1..=3, _) => return Err(malformed(WRONG_TYPE)),
            _ => {}
        }
    }
    Matcher::new(name, op, text)
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|e| Error::invalid("a matcher is not UTF-8").caused_by(e))
}

fn malformed(Malformed(what): Malformed) -> Error {
    Error::invalid(format!("a remote read request is damaged: {what}"))
}

fn limit(what: &'static str, count: usize, allowed: usize) -> Result<()> {
    if count < allowed {
        return Ok(());
    }
    Err(Error::new(Kind::Limit, format!("a remote read request has too many {what}")).with("limit", allowed))
}

/// An answer of the form [`ResponseType::Samples`] in the making.
#[derive(Debug, Default)]
pub struct SamplesResponse {
    message: Vec<u8>,
    result: Vec<u8>,
    series: Vec<u8>,
    sample: Vec<u8>,
}

impl SamplesResponse {
    /// Appends a series to the result of the current query; labels come sorted by name, samples and histograms by
    /// time.
    pub fn push_series<'a>(
        &mut self,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        samples: impl Iterator<Item = (i64, f64)>,
        histograms: impl Iterator<Item = (i64, &'a Histogram)>,
    ) {
        self.series.clear();
        push_labels(&mut self.series, labels);
        for (time_ms, value) in samples {
            self.sample.clear();
            // Prometheus leaves out what is zero, of either sign.
            if value.abs().to_bits() != 0 {
                put_double(&mut self.sample, 1, value);
            }
            put_number(&mut self.sample, 2, time_ms.cast_unsigned());
            put_bytes(&mut self.series, 2, &self.sample);
        }
        for (time_ms, histogram) in histograms {
            self.sample.clear();
            put_histogram(&mut self.sample, time_ms, histogram);
            put_bytes(&mut self.series, 4, &self.sample);
        }
        put_bytes(&mut self.result, 1, &self.series);
    }

    /// Ends the result of a query, also an empty one.
    pub fn end_query(&mut self) {
        put_bytes(&mut self.message, 1, &self.result);
        self.result.clear();
    }

    /// The body.
    ///
    /// # Errors
    /// `Limit` when it is more than snappy can hold (4 GiB).
    pub fn finish(self) -> Result<Vec<u8>> {
        let too_large = |e: snap::Error| Error::new(Kind::Limit, "the answer is too large").caused_by(e);
        snap::raw::Encoder::new().compress_vec(&self.message).map_err(too_large)
    }
}

fn push_labels<'a>(out: &mut Vec<u8>, labels: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut one = Vec::new();
    for (name, value) in labels {
        one.clear();
        put_bytes(&mut one, 1, name.as_bytes());
        put_bytes(&mut one, 2, value.as_bytes());
        put_bytes(out, 1, &one);
    }
}

/// Chunks of one series, each as the field of the message that it is sent in. Floats and histograms come sorted by
/// time, no time in both.
pub fn encode_chunks<'a>(
    samples: impl Iterator<Item = (i64, f64)>,
    histograms: impl Iterator<Item = (i64, &'a Histogram)>,
) -> Vec<Vec<u8>> {
    let (mut samples, mut histograms) = (samples.peekable(), histograms.peekable());
    let mut fields = Vec::new();
    while samples.peek().is_some() || histograms.peek().is_some() {
        let until = histograms.peek().map(|(time, _)| *time);
        let turn = || samples.next_if(|(time, _)| until.is_none_or(|until| *time < until));
        push_xor_chunks(&mut fields, std::iter::from_fn(turn));
        let until = samples.peek().map(|(time, _)| *time);
        let turn = || histograms.next_if(|(time, _)| until.is_none_or(|until| *time <= until));
        for chunk in chunks(std::iter::from_fn(turn)) {
            fields.push(chunk_field(chunk.times, chunk.encoding, &chunk.bytes));
        }
    }
    fields
}

fn push_xor_chunks(fields: &mut Vec<Vec<u8>>, samples: impl Iterator<Item = (i64, f64)>) {
    const XOR: u64 = 1;
    let mut open = XorChunk::default();
    let mut close = |open: XorChunk| {
        if open.count() > 0 {
            fields.push(chunk_field(open.times(), XOR, &open.finish()));
        }
    };
    for (time_ms, value) in samples {
        if open.count() == CHUNK_SAMPLES {
            close(std::mem::take(&mut open));
        }
        open.push(time_ms, value);
    }
    close(open);
}

/// `Chunk{ min_time_ms, max_time_ms, type, data }`.
fn chunk_field((first, last): (i64, i64), encoding: u64, bytes: &[u8]) -> Vec<u8> {
    let (mut inner, mut field) = (Vec::new(), Vec::new());
    // Like Go's encoder, which leaves zeros out.
    for (number, time) in [(1, first), (2, last)] {
        if time != 0 {
            put_number(&mut inner, number, time.cast_unsigned());
        }
    }
    put_number(&mut inner, 3, encoding);
    put_bytes(&mut inner, 4, bytes);
    put_bytes(&mut field, 2, &inner);
    field
}

/// Appends the frames of one series to a stream. A frame ends after the chunk with which it reaches
/// `max_bytes`.
pub fn push_frames<'a>(
    out: &mut Vec<u8>,
    query: usize,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    chunks: &[Vec<u8>],
    max_bytes: usize,
) {
    let mut head = Vec::new();
    push_labels(&mut head, labels);
    let mut series = head.clone();
    for (at, chunk) in chunks.iter().enumerate() {
        series.extend_from_slice(chunk);
        if series.len() >= max_bytes || at + 1 == chunks.len() {
            push_frame(out, query, &series);
            series.truncate(head.len());
        }
    }
}

fn push_frame(out: &mut Vec<u8>, query: usize, series: &[u8]) {
    let mut message = Vec::with_capacity(series.len() + 16);
    put_bytes(&mut message, 1, series);
    if query > 0 {
        put_number(&mut message, 2, query as u64);
    }
    put_varint(out, message.len() as u64);
    out.extend_from_slice(&crc32c::crc32c(&message).to_be_bytes());
    out.extend_from_slice(&message);
}

#[cfg(test)]
mod tests;
