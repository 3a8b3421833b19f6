//! `/api/v1/write`: remote write 1.0. 204 only after the samples are durable.
//!
//! Good samples of a partly bad request are stored and 400 names the first bad ones: Prometheus does not send a
//! request again after a 4xx, and does after a 5xx, which is given only when nothing was stored.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::admission::{Admitted, admit, refusal};
use super::reply::text_error;
use super::{Door, Rooms};
use crate::error::{Error, Kind, Result};
use crate::model::{
    Batch, ExemplarRow, Handle, Histogram, HistogramRow, LabelsRef, MetricMetadata, ResetHint, STALE_NAN,
    Timestamps,
};
use crate::runtime::Registry;
use crate::store::Appended;
use crate::wire::Limits;
use crate::wire::remote_write::{LabelPairs, SeriesRef, WriteRequest, decompress};

/// Bytes of memory of one request's native histograms: a bucket may be one byte of the body and eight in memory.
const HISTOGRAM_BYTES: usize = 256 << 20;
/// How many refused series and samples a 400 names.
const NAMED: usize = 5;
/// How often handles are resolved again before the request is given up.
const TRIES: usize = 3;
const MEDIA_TYPE: &str = "application/x-protobuf";
const VERSION_1: &str = "prometheus.WriteRequest";
const VERSION_2: &str = "io.prometheus.write.v2.Request";

/// POST.
pub(super) async fn write(State(door): State<Arc<Door>>, request: Request) -> Response {
    let rooms = match door.rooms() {
        Ok(rooms) => rooms,
        Err(not_ready) => return not_ready.into_response(),
    };
    let response = match take(rooms, request).await {
        Ok(refused) if refused.is_empty() => StatusCode::NO_CONTENT.into_response(),
        Ok(refused) => {
            let message = refused.message();
            tracing::warn!(refused = refused.count, "{message}");
            text_error(StatusCode::BAD_REQUEST, &message)
        }
        Err(response) => *response,
    };
    record(&door.registry, response.status());
    response
}

fn record(registry: &Registry, status: StatusCode) {
    let help = "Remote write requests by status.";
    registry.counter("quipu_remote_write_requests_total", help, &[("code", status.as_str())]).inc();
}

async fn take(rooms: &Rooms, request: Request) -> Result<Refused, Box<Response>> {
    let boxed = |status, message: String| Box::new(text_error(status, &message));
    let (parts, body) = request.into_parts();
    check_headers(&parts.headers).map_err(|why| boxed(StatusCode::UNSUPPORTED_MEDIA_TYPE, why))?;
    let Admitted { body, memory } = admit(rooms, &parts.headers, body, "remote write").await?;
    let limits = Limits::default();
    let rooms = rooms.clone();
    // Not ended when the client goes away: the batch is whole or not there, and the client will ask again.
    let stored = rooms.pools.clone().spawn_cpu(async move {
        let _memory = memory;
        store(&rooms, &body, &limits).await
    });
    let stored = stored.await.unwrap_or_else(|e| Err(Error::internal("a request did not end").caused_by(e)));
    stored.map_err(|error| Box::new(refusal(&error)))
}

/// Prometheus' rules: a missing type or encoding means version 1.0 and snappy.
fn check_headers(headers: &HeaderMap) -> Result<(), String> {
    let text = |name| headers.get(name).map_or("", |value| value.to_str().unwrap_or("?"));
    let content_type = text(header::CONTENT_TYPE).trim();
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or("");
    if !media.is_empty() && media != MEDIA_TYPE {
        return Err(format!(
            "expected {MEDIA_TYPE} as the first (media) part, got {content_type} content-type"
        ));
    }
    for parameter in parts {
        match parameter.split_once('=') {
            Some(("proto", VERSION_1)) => {}
            Some(("proto", VERSION_2)) => {
                return Err(format!("not supported yet: remote write 2.0 ({VERSION_2}); send {VERSION_1}"));
            }
            Some(("proto", other)) => {
                return Err(format!(
                    "got {content_type} content type; unknown type for remote write protobuf message {other}"
                ));
            }
            _ => {}
        }
    }
    match text(header::CONTENT_ENCODING) {
        "" | "snappy" => Ok(()),
        other => Err(format!(
            "{other} encoding (compression) is not accepted by this server; only snappy is acceptable"
        )),
    }
}

/// What was not stored, and why.
#[derive(Debug, Default)]
struct Refused {
    count: usize,
    total: usize,
    first: Vec<String>,
}

impl Refused {
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, count: usize, why: impl FnOnce() -> String) {
        if count == 0 {
            return;
        }
        self.count += count;
        if self.first.len() < NAMED {
            self.first.push(why());
        }
    }

    fn message(&self) -> String {
        let more = if self.first.len() == NAMED { "; …" } else { "" };
        let first = self.first.join("; ");
        format!("{} of {} refused, the others are stored: {first}{more}", self.count, self.total)
    }
}

/// The rows of a request, with what is needed to resolve a stale handle again.
#[derive(Debug, Default)]
struct Rows {
    /// Canonical labels and metric of each series that has rows.
    series: Vec<(String, Vec<u8>)>,
    /// The series of each float row, histogram and exemplar.
    of: [Vec<usize>; 3],
    /// Times of the float rows.
    timestamps: Vec<i64>,
    batch: Batch,
    /// Bytes of the histograms.
    histogram_bytes: usize,
}

impl Rows {
    /// The series of a row, numbered as [`Batch::handles`] does.
    fn series_of(&self, row: usize) -> &(String, Vec<u8>) {
        let at = self.of.iter().flatten().nth(row).expect("the store numbers the rows of the batch");
        &self.series[*at]
    }
}

async fn store(rooms: &Rooms, body: &[u8], limits: &Limits) -> Result<Refused> {
    let mut message = Vec::new();
    decompress(body, limits, &mut message)?;
    let (mut rows, refused) = collect(rooms, &WriteRequest::new(&message, limits))?;
    drop(message);
    rows.batch.timestamps = Timestamps::Each(std::mem::take(&mut rows.timestamps));
    for _ in 0..TRIES {
        match rooms.store.append(&rooms.tenant, rows.batch.clone()).await? {
            Appended::Stored => return Ok(refused),
            Appended::Resolve(stale) => {
                for row in stale {
                    let (metric, labels) = rows.series_of(row);
                    let labels = LabelsRef::trusted(labels);
                    let handle = rooms.store.resolve(&rooms.tenant, metric, labels)?;
                    rows.batch.rebind(row, handle);
                }
            }
        }
    }
    Err(Error::new(Kind::Unavailable, "series come and go too fast; send again later"))
}

/// Sorts out what can be stored. Nothing is stored before the whole message has been read.
fn collect(rooms: &Rooms, request: &WriteRequest<'_>) -> Result<(Rows, Refused)> {
    let (mut rows, mut refused) = (Rows::default(), Refused::default());
    let mut labels = LabelPairs::default();
    request.for_each_series(|series| {
        refused.total += series.rows();
        match series.labels(&mut labels) {
            Ok(()) => rows.add(rooms, &series, &labels, &mut refused),
            Err(error) => {
                refused.add(series.rows(), || error.to_string());
                Ok(())
            }
        }
    })?;
    request.for_each_metadata(|metadata| {
        match metadata {
            Ok(metadata) => rows.batch.metadata.push(MetricMetadata {
                metric: metadata.metric.into(),
                kind: metadata.kind,
                help: metadata.help.into(),
                unit: metadata.unit.into(),
            }),
            Err(error) => {
                refused.total += 1;
                refused.add(1, || error.to_string());
            }
        }
        Ok(())
    })?;
    Ok((rows, refused))
}

impl Rows {
    /// Takes the rows of a series.
    ///
    /// # Errors
    /// When the whole body is to be refused: it is damaged, or its histograms take too much memory.
    fn add(
        &mut self,
        rooms: &Rooms,
        series: &SeriesRef<'_, '_>,
        labels: &LabelPairs<'_>,
        refused: &mut Refused,
    ) -> Result<()> {
        if series.rows() == 0 {
            return Ok(());
        }
        let mut canonical = Vec::new();
        labels.push_canonical(&mut canonical);
        let shown = || format!("series {}{}", labels.metric(), LabelsRef::trusted(&canonical));
        let mut refuse = |error: &Error| refused.add(1, || format!("{error}, {}", shown()));
        let handle = match rooms.store.resolve(&rooms.tenant, labels.metric(), LabelsRef::trusted(&canonical))
        {
            Ok(handle) => handle,
            Err(error) => {
                (0..series.rows()).for_each(|_| refuse(&error));
                return Ok(());
            }
        };
        let before = self.batch.rows();
        for (timestamp, value) in series.samples {
            match rooms.store.accepts(*timestamp) {
                Ok(()) => self.push(handle, *timestamp, *value),
                Err(error) => refuse(&error),
            }
        }
        for histogram in series.histograms() {
            let (timestamp, histogram) = histogram?;
            match rooms.store.accepts(timestamp).and_then(|()| histogram.check()) {
                Ok(()) => self.push_histogram(handle, timestamp, histogram)?,
                Err(error) => refuse(&error),
            }
        }
        for exemplar in series.exemplars() {
            match exemplar?.and_then(|one| rooms.store.accepts(one.timestamp).map(|()| one)) {
                Ok(exemplar) => {
                    self.of[2].push(self.series.len());
                    self.batch.exemplars.push(ExemplarRow { series: handle, exemplar });
                }
                Err(error) => refuse(&error),
            }
        }
        if self.batch.rows() > before {
            self.series.push((labels.metric().to_owned(), canonical));
        }
        Ok(())
    }

    fn push(&mut self, series: Handle, timestamp: i64, value: f64) {
        self.of[0].push(self.series.len());
        self.batch.series.push(series);
        self.timestamps.push(timestamp);
        self.batch.values.push(value);
    }

    fn push_histogram(&mut self, series: Handle, timestamp: i64, mut histogram: Histogram) -> Result<()> {
        if histogram.is_stale_marker() {
            self.push(series, timestamp, f64::from_bits(STALE_NAN));
            return Ok(());
        }
        self.histogram_bytes += histogram.weight();
        if self.histogram_bytes > HISTOGRAM_BYTES {
            let text = "the native histograms of one request take too much memory; send fewer at a time";
            return Err(Error::new(Kind::Limit, text).with("limit", HISTOGRAM_BYTES));
        }
        if histogram.reset_hint != ResetHint::Gauge {
            // A sender's word is about the samples that it had seen: like Prometheus, we compare those that we have.
            histogram.reset_hint = ResetHint::Unknown;
        }
        self.of[1].push(self.series.len());
        let histogram = Arc::new(histogram);
        self.batch.histograms.push(HistogramRow { series, timestamp, histogram });
        Ok(())
    }
}
