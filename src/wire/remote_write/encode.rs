//! The other half of the codec: what a sender writes. For tests, benches and remote-write clients.

use super::super::protobuf::{put_bytes, put_double, put_number};
use crate::error::{Error, Result};
use crate::model::MetricMetadata;

/// A series to encode. Labels are written as given, `__name__` among them.
#[derive(Debug, Clone, Copy)]
pub struct SeriesToWrite<'a> {
    /// Names and values; the protocol wants them sorted by name.
    pub labels: &'a [(&'a str, &'a str)],
    /// Timestamps in ms since 1970, and values.
    pub samples: &'a [(i64, f64)],
}

/// A request as it is sent: protobuf in a snappy block.
///
/// # Errors
/// `Invalid` when the message is larger than snappy can hold (4 GiB).
pub fn encode(series: &[SeriesToWrite<'_>], metadata: &[MetricMetadata]) -> Result<Vec<u8>> {
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
