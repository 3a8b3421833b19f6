//! Loki's push request in its two forms, read into an [`Intake`].
//!
//! ```text
//!   JSON      {"streams": [{"stream": {"a": "b"}, "values": [["<ns>", "line", {"name": "value"}?], …]}, …]}
//!   protobuf  PushRequest { streams: 1 { labels: 1 text, entries: 2 { timestamp: 1, line: 2, metadata: 3 {1, 2} } } }
//! ```
//! A body that has another shape is an error as a whole; a stream or line that breaks a rule is refused by itself.
//! Names of structured metadata become label names, as in Loki. The legacy form of `/api/prom/push` is not read.

mod encode;
mod json;
mod labels;
mod message;
#[cfg(test)]
mod tests;

pub use encode::{EntryToWrite, StreamToWrite, encode};

use super::coding::unsnap;
use super::limits::Limits;
use super::logs::Intake;
use crate::error::Result;

const OPERATION: &str = "Loki push";

/// Reads a JSON body.
///
/// # Errors
/// `Invalid` when it is no push request. Nothing of it may be stored then.
pub fn decode_json(body: &[u8], intake: &mut Intake<'_>) -> Result<()> {
    let text = intake.text(body);
    json::decode(&text, intake).map_err(|e| e.during(OPERATION))
}

/// Reads a snappy block around a protobuf message.
///
/// # Errors
/// `Invalid` when it is no push request, `Limit` when it is too large. Nothing of it may be stored then.
pub fn decode_protobuf(body: &[u8], limits: &Limits, intake: &mut Intake<'_>) -> Result<()> {
    let mut message = Vec::new();
    let decoded = unsnap(body, limits, &mut message).and_then(|()| message::decode(&message, intake));
    decoded.map_err(|e| e.during(OPERATION))
}
