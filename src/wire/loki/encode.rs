//! The other half of the protobuf form: what a sender writes. For tests, benches and clients.

use super::super::protobuf::{put_bytes, put_number};
use crate::error::{Error, Result};

/// A stream to encode.
#[derive(Debug, Clone, Copy)]
pub struct StreamToWrite<'a> {
    /// The labels as text: `{app="api"}`.
    pub labels: &'a str,
    /// Its lines.
    pub entries: &'a [EntryToWrite<'a>],
}

/// A line to encode.
#[derive(Debug, Clone, Copy)]
pub struct EntryToWrite<'a> {
    /// ns since 1970.
    pub timestamp: i64,
    /// The text; need not be UTF-8 for a test.
    pub line: &'a [u8],
    /// Structured metadata.
    pub metadata: &'a [(&'a str, &'a str)],
}

/// A request as Promtail and Alloy send it: protobuf in a snappy block.
///
/// # Errors
/// `Invalid` when the message is larger than snappy can hold (4 GiB).
pub fn encode(streams: &[StreamToWrite<'_>]) -> Result<Vec<u8>> {
    let (mut message, mut outer, mut entry, mut inner) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for stream in streams {
        outer.clear();
        put_bytes(&mut outer, 1, stream.labels.as_bytes());
        for one in stream.entries {
            entry.clear();
            inner.clear();
            put_number(&mut inner, 1, one.timestamp.div_euclid(1_000_000_000).cast_unsigned());
            put_number(&mut inner, 2, one.timestamp.rem_euclid(1_000_000_000).cast_unsigned());
            put_bytes(&mut entry, 1, &inner);
            put_bytes(&mut entry, 2, one.line);
            for (name, value) in one.metadata {
                inner.clear();
                put_bytes(&mut inner, 1, name.as_bytes());
                put_bytes(&mut inner, 2, value.as_bytes());
                put_bytes(&mut entry, 3, &inner);
            }
            put_bytes(&mut outer, 2, &entry);
        }
        put_bytes(&mut message, 1, &outer);
    }
    let too_large = |e: snap::Error| Error::invalid("the request is too large for snappy").caused_by(e);
    snap::raw::Encoder::new().compress_vec(&message).map_err(too_large)
}
