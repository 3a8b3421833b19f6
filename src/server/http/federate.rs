//! `/federate`: the newest sample of each matching series, for another Prometheus to scrape: as text or, where it asks
//! for it, as protobuf.
//!
//! Source: prometheus `web/federate.go`. Series whose newest mark is a stale marker are left out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::full_labels::{External, full_labels};
use super::outgoing::{Outgoing, streamed};
use super::params::Form;
use super::reply::{text_error, text_from};
use super::{Door, Rooms};
use crate::error::{Error, Result};
use crate::model::{Histogram, Matcher, SeriesKey};
use crate::store::SeriesRows;
use crate::wire::exposition::{Exposed, Federation};

/// A label that Prometheus adds empty where a series has none, so that a scrape with `honor_labels` sets none.
const INSTANCE: &str = "instance";

/// An answer with fewer series is written in one buffer.
const SMALL_SERIES: usize = 1_000;

/// A series and its newest sample.
type Newest = (SeriesKey, i64, Value);

/// What a sample is.
#[derive(Debug, Clone)]
enum Value {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// GET.
pub(super) async fn federate(State(door): State<Arc<Door>>, headers: HeaderMap, form: Form) -> Response {
    let rooms = match door.rooms() {
        Ok(rooms) => rooms,
        Err(not_ready) => return not_ready.into_response(),
    };
    let sets = form.values("match[]").into_iter().map(crate::query::parse_selector);
    let sets = match sets.collect::<Result<Vec<_>>>() {
        Ok(sets) => sets,
        Err(error) => return text_error(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let found = match newest(rooms, sets, door.clock.now_ms()).await {
        Ok(found) => found,
        Err(error) => return text_from(&error),
    };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let form = Federation::from_accept(accept);
    let content_type = HeaderValue::from_static(form.content_type());
    let mut external = door.last_reload().external_labels.to_vec();
    if !external.iter().any(|(name, _)| name == INSTANCE) {
        external.push((INSTANCE.to_owned(), String::new()));
        external.sort();
    }
    let body = if found.len() < SMALL_SERIES {
        let whole = Outgoing::whole(found.len() * 128);
        match write(found, external, form, whole).await {
            Ok(whole) => Body::from(whole.into_bytes()),
            Err(error) => return text_from(&error),
        }
    } else {
        streamed(&rooms.pools, |out| write(found, external, form, out))
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// Sorted by name and then by labels, each series once.
async fn newest(rooms: &Rooms, sets: Vec<Vec<Matcher>>, now_ms: i64) -> Result<Vec<Newest>> {
    let snapshot = rooms.snapshot();
    let from_ms = now_ms.saturating_sub(rooms.engine.lookback_ms());
    let work = rooms.pools.spawn_cpu(async move {
        let mut found: Vec<Newest> = Vec::new();
        for set in sets {
            let selection = snapshot.select(set, from_ms, now_ms).await?;
            let mut reader = selection.scan(0..selection.series().len())?;
            while let Some(rows) = reader.next().await? {
                if let Some((time, value)) = newest_of(&rows) {
                    found.push((selection.series()[rows.index].key.clone(), time, value));
                }
            }
        }
        found.sort_by(|(a, ..), (b, ..)| {
            let by_name = a.metric.cmp(&b.metric);
            by_name.then_with(|| full_labels(a, &[]).cmp(full_labels(b, &[])))
        });
        found.dedup_by(|(a, ..), (b, ..)| a == b);
        Ok(found)
    });
    work.await.unwrap_or_else(|e| Err(Error::internal("a federation did not end").caused_by(e)))
}

/// The newest sample, unless the series has ended since.
fn newest_of(rows: &SeriesRows<'_>) -> Option<(i64, Value)> {
    let float = rows.timestamps.last().copied().zip(rows.values.last().copied().map(Value::Float));
    let histogram = rows.histograms.last().map(|histogram| Value::Histogram(Arc::clone(histogram)));
    let histogram = rows.histogram_times.last().copied().zip(histogram);
    let newest = float.into_iter().chain(histogram).max_by_key(|(time, _)| *time);
    newest.filter(|(time, _)| rows.stale_at.last().is_none_or(|stale| stale < time))
}

/// A label of the series stands before the external ones, which follow where it has none of their name.
async fn write(
    found: Vec<Newest>,
    external: Vec<(String, String)>,
    mut form: Federation,
    mut out: Outgoing,
) -> Result<Outgoing> {
    for (key, time, value) in found.iter().filter(|(key, ..)| !key.metric.is_empty()) {
        let labels = key.labels.iter().chain(missing(key, &external));
        let sample = match value {
            Value::Float(value) => Exposed::Untyped(*value),
            Value::Histogram(histogram) => Exposed::Histogram(histogram),
        };
        form.push(out.buffer(), &key.metric, labels, (*time, sample));
        out.pass().await?;
    }
    form.finish(out.buffer());
    Ok(out)
}

fn missing<'a>(key: &'a SeriesKey, external: &'a External) -> impl Iterator<Item = (&'a str, &'a str)> {
    let all = external.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    all.filter(|(name, _)| key.labels.get(name).is_none())
}
