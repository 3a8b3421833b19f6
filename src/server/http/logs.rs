//! The doors of log lines: `/loki/api/v1/push` and `/insert/jsonline`. Success only after the lines are durable.
//!
//! Good lines of a partly bad request are stored and 400 names the first bad ones. A tenant's header is not looked
//! at: there is one tenant. Queries in Loki's API are not answered here yet.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::admission::{Admitted, admit, refusal};
use super::params::{Form, quote};
use super::reply::{text_error, text_from};
use super::{Door, Rooms};
use crate::error::{Error, Kind, Result};
use crate::runtime::{MemoryGuard, Registry};
use crate::source::{count_lines, count_refused, count_replaced};
use crate::wire::json_line::{self, Shape};
use crate::wire::logs::{Intake, LogRules, Refused, Taken};
use crate::wire::{Coding, Limits, loki};

const LOKI: &str = "loki";
const JSON_LINE: &str = "jsonline";
/// Loki's answer to a push of nothing.
const NO_STREAMS: &str = "error at least one valid stream is required for ingestion";

/// POST of Loki's push.
pub(super) async fn push(State(door): State<Arc<Door>>, request: Request) -> Response {
    let json = is_json(request.headers());
    let decode = move |body: &[u8], coding: Coding, intake: &mut Intake<'_>| {
        let limits = Limits::default();
        // Protobuf is a snappy block by itself; the header may say so or not.
        let coding = if !json && coding == Coding::Snappy { Coding::Identity } else { coding };
        let body = coding.decode(body, &limits)?;
        let len = body.len();
        if json {
            loki::decode_json(&body, intake)?;
        } else {
            loki::decode_protobuf(&body, &limits, intake)?;
        }
        Ok(len)
    };
    let rules = |rules: &Arc<LogRules>| Arc::clone(rules);
    match take(&door, LOKI, rules, request, decode).await {
        Ok(Outcome { nothing: true, .. }) => text_error(StatusCode::UNPROCESSABLE_ENTITY, NO_STREAMS),
        Ok(outcome) => outcome.answer(StatusCode::NO_CONTENT),
        Err(response) => *response,
    }
}

/// POST of JSON lines.
pub(super) async fn json_line(State(door): State<Arc<Door>>, request: Request) -> Response {
    let shape = match shape(request.uri(), request.headers()) {
        Ok(shape) => shape,
        Err(error) => return refusal(&error),
    };
    let now_ns = door.clock.now_ms().saturating_mul(1_000_000);
    let decode = move |body: &[u8], coding: Coding, intake: &mut Intake<'_>| {
        let body = coding.decode(body, &Limits::default())?;
        json_line::decode(&body, &shape, now_ns, intake);
        Ok(body.len())
    };
    let rules = |rules: &Arc<LogRules>| Arc::new(rules.for_wide_events());
    match take(&door, JSON_LINE, rules, request, decode).await {
        Ok(outcome) => outcome.answer(StatusCode::OK),
        Err(response) => *response,
    }
}

/// What Loki and `VictoriaLogs` have and quipu has not.
pub(super) async fn not_yet(uri: Uri) -> Response {
    text_from(&Error::unsupported(uri.path()))
}

/// Of the type alone: a push without one is protobuf.
fn is_json(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    media.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}

/// How a request ended.
struct Outcome {
    stored: usize,
    /// There was not one stream in it.
    nothing: bool,
    refused: Refused,
}

impl Outcome {
    fn answer(self, success: StatusCode) -> Response {
        if self.refused.is_empty() {
            return success.into_response();
        }
        let message = self.refused.message(self.stored);
        // Not in full: the log may be a stream of lines itself.
        tracing::warn!(refused = self.refused.lines(), stored = self.stored, "log lines were refused");
        text_error(StatusCode::BAD_REQUEST, &message)
    }
}

/// Reads, decodes and stores. `decode` gives the number of bytes that the body unpacked to.
async fn take(
    door: &Door,
    name: &'static str,
    rules: impl Fn(&Arc<LogRules>) -> Arc<LogRules>,
    request: Request,
    decode: impl FnOnce(&[u8], Coding, &mut Intake<'_>) -> Result<usize> + Send + 'static,
) -> Result<Outcome, Box<Response>> {
    let rooms = door.rooms().map_err(|not_ready| Box::new(not_ready.into_response()))?;
    let (parts, body) = request.into_parts();
    let encoding = parts.headers.get(header::CONTENT_ENCODING).map_or("", |v| v.to_str().unwrap_or("?"));
    let coding = Coding::of_header(encoding).ok_or_else(|| {
        let text = format!("Content-Encoding {} not supported", quote(encoding));
        Box::new(text_error(StatusCode::BAD_REQUEST, &text))
    })?;
    let Admitted { body, mut memory } = admit(rooms, &parts.headers, body, "log").await?;
    let (rooms, registry, now_ms) = (rooms.clone(), Arc::clone(&door.registry), door.clock.now_ms());
    let rules = rules(&rooms.log_rules);
    // Not ended when the client goes away: the batch is whole or not there, and the client will ask again.
    let stored = rooms.pools.clone().spawn_cpu(async move {
        let mut intake = Intake::new(&rules, now_ms);
        let unpacked = decode(&body, coding, &mut intake)?;
        grow(&mut memory, unpacked)?;
        drop(body);
        let taken = intake.finish();
        store(&rooms, &registry, name, taken).await
    });
    let stored = stored.await.unwrap_or_else(|e| Err(Error::internal("a request did not end").caused_by(e)));
    stored.map_err(|error| Box::new(too_large(&error).unwrap_or_else(|| refusal(&error))))
}

/// What a packed body unpacked to may be much more than was set aside for it.
fn grow(memory: &mut MemoryGuard, unpacked: usize) -> Result<()> {
    let wanted = u64::try_from(unpacked).unwrap_or(u64::MAX).saturating_mul(2);
    memory.try_grow(wanted.saturating_sub(memory.bytes())).map_err(|error| {
        Error::new(Kind::Unavailable, "too many log requests at a time; send again later").caused_by(error)
    })
}

async fn store(rooms: &Rooms, registry: &Registry, name: &'static str, taken: Taken) -> Result<Outcome> {
    let Taken { batch, refused, replaced } = taken;
    let (stored, bytes) = (batch.len(), batch.bodies.len());
    let nothing = batch.streams.is_empty() && refused.is_empty();
    rooms.store.append_logs(&rooms.tenant, batch).await?;
    count_lines(registry, name, stored, bytes);
    count_refused(registry, name, &refused);
    if replaced > 0 {
        count_replaced(registry, name, replaced);
    }
    Ok(Outcome { stored, nothing, refused })
}

/// 413 for a body that unpacks to too much.
fn too_large(error: &Error) -> Option<Response> {
    let is_body = error.kind() == Kind::Limit && error.get("limit") == Some("body_bytes");
    is_body.then(|| text_error(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string()))
}

/// `VictoriaLogs`' parameters; those of the URL win over headers.
fn shape(uri: &Uri, headers: &HeaderMap) -> Result<Shape> {
    let form = Form::of_url(uri.query());
    let text = |parameter: &str, header: &str| match form.value(parameter) {
        "" => headers.get(header).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned(),
        value => value.to_owned(),
    };
    let list = |parameter: &str, header: &str| -> Vec<String> {
        let text = text(parameter, header);
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let debug = text("debug", "VL-Debug").to_ascii_lowercase();
    if !matches!(debug.as_str(), "" | "0" | "f" | "false" | "no") {
        return Err(Error::invalid("not supported yet: the parameter debug"));
    }
    let extra = list("extra_fields", "VL-Extra-Fields").into_iter().map(|pair| match pair.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Error::invalid(format!("extra_fields: {} is not name=value", quote(&pair)))),
    });
    let or = |list: Vec<String>, default: Vec<String>| if list.is_empty() { default } else { list };
    let default = Shape::default();
    Ok(Shape {
        time_fields: or(list("_time_field", "VL-Time-Field"), default.time_fields),
        message_fields: or(list("_msg_field", "VL-Msg-Field"), default.message_fields),
        stream_fields: list("_stream_fields", "VL-Stream-Fields"),
        ignore_fields: list("ignore_fields", "VL-Ignore-Fields"),
        extra_fields: extra.collect::<Result<_>>()?,
    })
}
