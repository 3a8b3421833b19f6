//! Decoded log lines, from a file or from a buffer.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, FixedSizeBinaryArray, MapArray,
    RecordBatch, StringArray,
};
use arrow::compute::filter;
use arrow::datatypes::{Int16Type, TimestampMicrosecondType};

use crate::error::{Error, Result};
use crate::model::{LabelsRef, push_pair};
use crate::store::block::LogColumns;

/// Some log lines; the columns that were not asked for may be missing.
#[derive(Debug, Default, Clone)]
pub struct LogRows {
    /// The stream of each line, as position in [`super::LogSelection::streams`].
    pub streams: Vec<u32>,
    /// ns since 1970 UTC, one per line; empty when not asked for.
    pub timestamps: Vec<i64>,
    /// What the line or its stream says about its severity.
    pub severity: Option<StringArray>,
    /// The lines, contiguous.
    pub body: Option<StringArray>,
    /// 16 bytes each.
    pub trace_id: Option<FixedSizeBinaryArray>,
    /// 8 bytes each.
    pub span_id: Option<FixedSizeBinaryArray>,
    /// The rest of each line's metadata, canonical bytes of `Labels`.
    pub attributes: Option<BinaryArray>,
}

impl LogRows {
    /// Number of lines.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// The lines of a batch of a file.
    ///
    /// # Errors
    /// `Corrupt` when a column has another type.
    pub(super) fn from_file(batch: &RecordBatch, streams: Vec<u32>) -> Result<Self> {
        let column = |name: &'static str| batch.column_by_name(name);
        let mut rows = Self { streams, ..Self::default() };
        if let Some(micros) = column("timestamp") {
            let micros =
                micros.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| wrong("timestamp"))?;
            let rest = column("timestamp_ns_rest").and_then(|c| c.as_primitive_opt::<Int16Type>());
            let rest = rest.ok_or_else(|| wrong("timestamp_ns_rest"))?;
            let times = micros.values().iter().zip(rest.values());
            let ns = times.map(|(us, rest)| us.wrapping_mul(1_000).wrapping_add(i64::from(*rest)));
            rows.timestamps = ns.collect();
        }
        rows.severity = column("severity").map(|c| text(c, "severity")).transpose()?;
        rows.body = column("body").map(|c| text(c, "body")).transpose()?;
        rows.trace_id = column("trace_id").map(|c| fixed(c, "trace_id")).transpose()?;
        rows.span_id = column("span_id").map(|c| fixed(c, "span_id")).transpose()?;
        rows.attributes = column("attributes")
            .map(|c| c.as_map_opt().ok_or_else(|| wrong("attributes")).and_then(canonical))
            .transpose()?;
        Ok(rows)
    }

    /// Only the lines of which `keep` is true.
    ///
    /// # Errors
    /// `Internal` when the lengths differ.
    pub(super) fn filter(self, keep: &BooleanArray) -> Result<Self> {
        if keep.true_count() == self.len() {
            return Ok(self);
        }
        let kept = |values: ArrayRef| {
            filter(&values, keep).map_err(|e| Error::internal("a filter of log lines").caused_by(e))
        };
        let numbers = |row: usize| keep.value(row);
        Ok(Self {
            streams: only(self.streams, numbers),
            timestamps: only(self.timestamps, numbers),
            severity: self.severity.map(|a| kept(Arc::new(a))).transpose()?.map(|a| a.as_string().clone()),
            body: self.body.map(|a| kept(Arc::new(a))).transpose()?.map(|a| a.as_string().clone()),
            trace_id: self
                .trace_id
                .map(|a| kept(Arc::new(a)))
                .transpose()?
                .map(|a| a.as_fixed_size_binary().clone()),
            span_id: self
                .span_id
                .map(|a| kept(Arc::new(a)))
                .transpose()?
                .map(|a| a.as_fixed_size_binary().clone()),
            attributes: self
                .attributes
                .map(|a| kept(Arc::new(a)))
                .transpose()?
                .map(|a| a.as_binary().clone()),
        })
    }

    /// The whole metadata of a line as it was written, trace and span among them.
    pub(super) fn metadata<'a>(&'a self, row: usize, scratch: &'a mut Vec<u8>) -> LabelsRef<'a> {
        let rest = self.attributes.as_ref().map_or(&[][..], |all| all.value(row));
        let id = |ids: &Option<FixedSizeBinaryArray>| {
            ids.as_ref().filter(|ids| ids.is_valid(row)).map(|ids| hex(ids.value(row)))
        };
        let (trace, span) = (id(&self.trace_id), id(&self.span_id));
        if trace.is_none() && span.is_none() {
            return LabelsRef::trusted(rest);
        }
        let ids = [("span_id", &span), ("trace_id", &trace)];
        let ids = ids.into_iter().filter_map(|(name, id)| id.as_deref().map(|id| (name, id)));
        let mut pairs: Vec<(&str, &str)> = LabelsRef::trusted(rest).iter().chain(ids).collect();
        pairs.sort_unstable();
        scratch.clear();
        for (name, value) in pairs {
            push_pair(scratch, name, value);
        }
        LabelsRef::trusted(scratch)
    }

    /// Every column that makes a line what it is.
    pub(super) fn identity() -> LogColumns {
        let ids = LogColumns::TRACE_ID.with(LogColumns::SPAN_ID);
        ids.with(LogColumns::TIMESTAMP).with(LogColumns::BODY).with(LogColumns::ATTRIBUTES)
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn only<T>(values: Vec<T>, keep: impl Fn(usize) -> bool) -> Vec<T> {
    values.into_iter().enumerate().filter(|(row, _)| keep(*row)).map(|(_, value)| value).collect()
}

fn text(column: &ArrayRef, name: &'static str) -> Result<StringArray> {
    column.as_string_opt::<i32>().cloned().ok_or_else(|| wrong(name))
}

fn fixed(column: &ArrayRef, name: &'static str) -> Result<FixedSizeBinaryArray> {
    column.as_fixed_size_binary_opt().cloned().ok_or_else(|| wrong(name))
}

/// A map column as the canonical bytes of each row.
fn canonical(map: &MapArray) -> Result<BinaryArray> {
    let (names, values) = (text(map.keys(), "attributes")?, text(map.values(), "attributes")?);
    let offsets = map.value_offsets();
    let mut out = BinaryBuilder::with_capacity(
        map.len(),
        names.values().len() + values.values().len() + 2 * names.len(),
    );
    let mut bytes = Vec::new();
    for pair in offsets.windows(2) {
        bytes.clear();
        let range = |end: i32| usize::try_from(end).map_err(|_| wrong("attributes"));
        for at in range(pair[0])?..range(pair[1])? {
            push_pair(&mut bytes, names.value(at), values.value(at));
        }
        out.append_value(LabelsRef::parse(&bytes)?.as_bytes());
    }
    Ok(out.finish())
}

fn wrong(column: &'static str) -> Error {
    Error::corrupt("a column of log lines is missing or has another type").with("column", column)
}
