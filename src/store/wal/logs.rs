//! Log lines as a WAL body: the columns of a batch, plain. A record brings its own label sets, so it refers to no
//! other record.

use super::record::{Class, Reader, le_u32, le_u64, push_bytes, push_len};
use crate::error::{Error, Result};
use crate::model::{Labels, LabelsRef, LogBatch, Tenant};

/// The log lines of one request, and how far their file was read with them.
#[derive(Debug)]
pub(in crate::store) struct LogParts {
    /// The lines of each class; classes without lines are left out.
    pub(in crate::store) parts: Vec<(Class, LogBatch)>,
    /// Durable with the lines or not at all.
    pub(in crate::store) position: Option<crate::model::FilePosition>,
}

impl LogParts {
    /// Number of lines.
    pub(in crate::store) fn lines(&self) -> usize {
        self.parts.iter().map(|(_, batch)| batch.len()).sum()
    }

    /// Bytes of their texts.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.parts.iter().map(|(_, batch)| batch.bodies.len() + batch.metadata.len()).sum()
    }
}

/// A decoded logs body.
#[derive(Debug, PartialEq)]
pub(in crate::store) struct LogsBody {
    /// Whose lines.
    pub(in crate::store) tenant: Tenant,
    /// The lines.
    pub(in crate::store) batch: LogBatch,
}

/// Writes a logs body.
pub(super) fn write_logs(out: &mut Vec<u8>, tenant: &Tenant, batch: &LogBatch) {
    let rows = batch.len();
    out.reserve(rows * 20 + batch.bodies.len() + batch.metadata.len());
    push_bytes(out, tenant.as_str().as_bytes());
    push_len(out, batch.streams.len());
    for stream in &batch.streams {
        push_bytes(out, stream.as_bytes());
    }
    push_len(out, rows);
    out.extend(batch.stream.iter().flat_map(|stream| stream.to_le_bytes()));
    out.extend(batch.timestamps.iter().flat_map(|time| time.to_le_bytes()));
    for ends in [&batch.body_ends, &batch.metadata_ends] {
        out.extend(ends.iter().flat_map(|end| end.to_le_bytes()));
    }
    push_bytes(out, batch.bodies.as_bytes());
    push_bytes(out, &batch.metadata);
}

/// Reads a logs body.
///
/// # Errors
/// `Corrupt` when it ends early or breaks a rule.
pub(super) fn read_logs(bytes: &[u8]) -> Result<LogsBody> {
    let mut read = Reader(bytes);
    let tenant = read.tenant()?;
    let mut streams = Vec::new();
    for _ in 0..read.u32()? {
        streams.push(Labels::from_canonical(read.bytes()?)?);
    }
    let rows = read.u32()? as usize;
    let stream = u32s(&mut read, rows)?;
    let timestamps = read.array(rows, 8)?.chunks_exact(8).map(|bytes| le_u64(bytes).cast_signed()).collect();
    let (body_ends, metadata_ends) = (u32s(&mut read, rows)?, u32s(&mut read, rows)?);
    let bodies = read.text()?.to_owned();
    let metadata = read.bytes()?.to_owned();
    read.end()?;
    let batch =
        LogBatch { streams, stream, timestamps, bodies, body_ends, metadata, metadata_ends, position: None };
    let bad =
        |what| Error::corrupt("a WAL record with log lines that do not fit together").with("what", what);
    batch.check().map_err(bad)?;
    for row in 0..rows {
        let start = if row == 0 { 0 } else { batch.metadata_ends[row - 1] as usize };
        LabelsRef::parse(&batch.metadata[start..batch.metadata_ends[row] as usize])?;
    }
    Ok(LogsBody { tenant, batch })
}

fn u32s(read: &mut Reader<'_>, count: usize) -> Result<Vec<u32>> {
    Ok(read.array(count, 4)?.chunks_exact(4).map(le_u32).collect())
}
