//! `/api/v1/read`: remote read, as samples in one message or as a stream of XOR chunks.
//!
//! Source: prometheus `storage/remote/read_handler.go`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;

use super::full_labels::{External, full_labels, histograms, with_stale};
use super::outgoing::{Outgoing, streamed};
use super::reply::{text_error, text_from};
use super::{Door, Rooms};
use crate::error::{Error, Kind, Result};
use crate::model::{MatchOp, Matcher};
use crate::store::{Selection, SeriesRows};
use crate::wire::Limits;
use crate::wire::remote_read::{
    ReadQuery, ReadRequest, ResponseType, SamplesResponse, encode_chunks, push_frames,
};
use crate::wire::remote_write::decompress;

/// Bytes of a body, as sent and unpacked: Prometheus' limit.
const BODY_BYTES: usize = 32 << 20;
/// Requests at a time; further ones wait. Prometheus' default.
pub(super) const AT_ONCE: usize = 10;
/// Samples of an answer that is one message: it stands in memory twice, as bytes and packed.
const MAX_SAMPLES: u64 = 5_000_000;
/// What a float and its time take: a histogram counts as so many samples.
const SAMPLE_BYTES: usize = 16;
/// Bytes of a frame: Prometheus' default.
const FRAME_BYTES: usize = 1 << 20;
/// Samples whose chunks wait for their place in the order of labels: about 10 MiB of floats, a few hundred where all are
/// histograms of 160 buckets.
const WINDOW_SAMPLES: u64 = 1_000_000;

/// POST.
pub(super) async fn read(State(door): State<Arc<Door>>, request: Request) -> Response {
    let rooms = match door.rooms() {
        Ok(rooms) => rooms,
        Err(not_ready) => return not_ready.into_response(),
    };
    let place = Arc::clone(&door.reads).acquire_owned().await.expect("the semaphore is never closed");
    let external = Arc::clone(&door.last_reload().external_labels);
    match answer(rooms, request, external, place).await {
        Ok(response) => response,
        Err(error) if matches!(error.kind(), Kind::Invalid | Kind::Limit) => {
            text_error(StatusCode::BAD_REQUEST, &error.to_string())
        }
        Err(error) => text_from(&error),
    }
}

async fn answer(
    rooms: &Rooms,
    request: Request,
    external: Arc<External>,
    place: OwnedSemaphorePermit,
) -> Result<Response> {
    let body = axum::body::to_bytes(request.into_body(), BODY_BYTES).await;
    let body = body.map_err(|e| Error::invalid("the body could not be read").caused_by(e))?;
    let (mut message, limits) = (Vec::new(), Limits { body_bytes: BODY_BYTES, ..Limits::default() });
    decompress(&body, &limits, &mut message)?;
    let request = ReadRequest::decode(&message)?;
    let snapshot = rooms.snapshot();
    let mut selections = Vec::new();
    for query in request.queries {
        let ReadQuery { from_ms, to_ms, matchers } = query;
        selections.push(snapshot.select(without_external(matchers, &external), from_ms, to_ms).await?);
    }
    let (mut headers, body) = match request.response {
        ResponseType::Samples => {
            let all = rooms.pools.spawn_cpu(async move { samples(selections, &external).await });
            let all = all.await.map_err(|e| Error::internal("a remote read did not end").caused_by(e))??;
            drop(place);
            (vec![(header::CONTENT_ENCODING, "snappy")], Body::from(all))
        }
        ResponseType::StreamedXorChunks => (
            Vec::new(),
            streamed(&rooms.pools, |out| async move {
                let written = stream(&selections, &external, out).await;
                drop(place);
                written
            }),
        ),
    };
    headers.push((header::CONTENT_TYPE, content_type(request.response)));
    let mut response = Response::new(body);
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

fn content_type(response: ResponseType) -> &'static str {
    match response {
        ResponseType::Samples => "application/x-protobuf",
        ResponseType::StreamedXorChunks => {
            "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
        }
    }
}

/// A matcher for one of our external labels: no stored series has it, every one gets it.
fn without_external(matchers: Vec<Matcher>, external: &External) -> Vec<Matcher> {
    let is_external = |m: &Matcher| {
        let known = external.iter().any(|(name, value)| m.name() == name && m.value() == value);
        known && m.op() == MatchOp::Equal
    };
    let map = |m: Matcher| if is_external(&m) { Matcher::equal(m.name(), "") } else { m };
    matchers.into_iter().map(map).collect()
}

async fn samples(selections: Vec<Arc<Selection>>, external: &External) -> Result<Vec<u8>> {
    let (mut response, mut count) = (SamplesResponse::default(), 0);
    for selection in selections {
        let mut reader = selection.scan(0..selection.series().len())?;
        while let Some(rows) = reader.next().await? {
            let rows_here = rows.timestamps.len() + rows.stale_at.len() + rows.histogram_times.len();
            let floats = rows.timestamps.len() + rows.stale_at.len();
            count += u64::try_from(floats + weight(&rows) / SAMPLE_BYTES).unwrap_or(u64::MAX);
            if count > MAX_SAMPLES {
                let text = format!("exceeded sample limit ({MAX_SAMPLES})");
                return Err(Error::new(Kind::Limit, text));
            }
            if rows_here > 0 {
                let labels = full_labels(&selection.series()[rows.index].key, external);
                response.push_series(labels, with_stale(&rows), histograms(&rows));
            }
        }
        response.end_query();
    }
    response.finish()
}

/// Bytes of a series' histograms.
fn weight(rows: &SeriesRows<'_>) -> usize {
    rows.histograms.iter().map(|histogram| histogram.weight()).sum()
}

/// Series in the order of their labels: readers merge what they get with what they have.
async fn stream(selections: &[Arc<Selection>], external: &External, mut out: Outgoing) -> Result<Outgoing> {
    for (query, selection) in selections.iter().enumerate() {
        for window in windows(selection, external) {
            let mut chunks = encode(selection, &window).await?;
            for series in window {
                let chunks = chunks.remove(&series).unwrap_or_default();
                let labels = full_labels(&selection.series()[series].key, external);
                push_frames(out.buffer(), query, labels, &chunks, FRAME_BYTES);
                out.pass().await?;
            }
        }
    }
    Ok(out)
}

/// All series in the order of their labels, cut where a window's samples would be too many.
fn windows(selection: &Selection, external: &External) -> Vec<Vec<usize>> {
    let series = selection.series();
    let labels = |at: usize| full_labels(&series[at].key, external);
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_by(|a, b| labels(*a).cmp(labels(*b)));
    let (mut windows, mut samples) = (Vec::<Vec<usize>>::new(), u64::MAX);
    for at in order {
        let more = series[at].max_rows;
        if samples.saturating_add(more) > WINDOW_SAMPLES {
            windows.push(Vec::new());
            samples = 0;
        }
        samples += more;
        windows.last_mut().expect("one was pushed first").push(at);
    }
    windows
}

/// The chunks of the series of a window, read in the store's order.
async fn encode(selection: &Arc<Selection>, window: &[usize]) -> Result<HashMap<usize, Vec<Vec<u8>>>> {
    let mut chunks = HashMap::new();
    for range in ranges(window) {
        let mut reader = selection.scan(range)?;
        while let Some(rows) = reader.next().await? {
            chunks.insert(rows.index, encode_chunks(with_stale(&rows), histograms(&rows)));
        }
    }
    Ok(chunks)
}

/// Numbers as ranges.
fn ranges(numbers: &[usize]) -> Vec<Range<usize>> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for number in sorted {
        match ranges.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_series_are_read_in_ranges() {
        assert_eq!(ranges(&[5, 1, 2, 4, 9]), [1..3, 4..6, 9..10]);
        assert!(ranges(&[]).is_empty());
    }

    #[test]
    fn a_matcher_for_an_external_label_looks_for_series_without_it() {
        let external = [("zone".to_owned(), "eu".to_owned())];
        let asked =
            vec![Matcher::equal("zone", "eu"), Matcher::equal("zone", "us"), Matcher::equal("a", "eu")];
        let values: Vec<_> =
            without_external(asked, &external).iter().map(|m| m.value().to_owned()).collect();
        assert_eq!(values, ["", "us", "eu"]);
    }
}
