//! Whether a body that is to be stored may come in now: its size, and the memory that its rows will take.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use super::Rooms;
use super::reply::{text_error, text_from};
use crate::error::{Error, Kind};
use crate::runtime::MemoryGuard;

/// Bytes of a body as it is sent.
const BODY_BYTES: usize = 32 << 20;

/// A body, and the memory that is set aside for what becomes of it.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) body: Bytes,
    pub(super) memory: MemoryGuard,
}

/// Reads a body of a request of kind `what`.
///
/// # Errors
/// The answer: 413 when it is too large, 503 when too many are under way.
pub(super) async fn admit(
    rooms: &Rooms,
    headers: &HeaderMap,
    body: Body,
    what: &str,
) -> Result<Admitted, Box<Response>> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    let declared: usize = declared.unwrap_or(BODY_BYTES);
    let too_large = || {
        let message = format!("the body is larger than the limit of {BODY_BYTES} bytes");
        Box::new(text_error(StatusCode::PAYLOAD_TOO_LARGE, &message))
    };
    if declared > BODY_BYTES {
        return Err(too_large());
    }
    // The body, what it unpacks to and the rows made of it, before any of it is read.
    let bytes = u64::try_from(declared).unwrap_or(u64::MAX).saturating_mul(4);
    let memory = rooms.write_memory.try_reserve(bytes).map_err(|error| {
        let text = format!("too many {what} requests at a time; send again later");
        Box::new(text_from(&Error::new(Kind::Unavailable, text).caused_by(error)))
    })?;
    // Too large, or the client went away.
    let body = axum::body::to_bytes(body, BODY_BYTES).await.map_err(|_| too_large())?;
    Ok(Admitted { body, memory })
}

/// Wrong bytes and passed limits are the sender's fault.
pub(super) fn refusal(error: &Error) -> Response {
    match error.kind() {
        Kind::Invalid | Kind::Limit => text_error(StatusCode::BAD_REQUEST, &error.to_string()),
        _ => text_from(error),
    }
}
