//! The WAL bodies of native histograms and exemplars; `docs/format.md` draws them.

use std::sync::Arc;

use super::record::{Definition, Reader, push_bytes, push_definitions, push_len, read_definitions};
use crate::error::{Error, Result};
use crate::model::{Exemplar, ExemplarRow, Histogram, HistogramRow, LabelsRef, ResetHint, Span, Tenant};
use crate::store::buffer::Picked;

const FLOAT: u8 = 1;

/// A decoded histograms body.
#[derive(Debug, PartialEq)]
pub(in crate::store) struct HistogramsBody {
    /// Whose rows.
    pub(in crate::store) tenant: Tenant,
    /// References that are new, or repeated from the record before.
    pub(in crate::store) definitions: Vec<Definition>,
    /// Reference, ms, and what was counted.
    pub(in crate::store) rows: Vec<(u32, i64, Arc<Histogram>)>,
}

/// A decoded exemplars body.
#[derive(Debug, PartialEq)]
pub(in crate::store) struct ExemplarsBody {
    /// Whose rows.
    pub(in crate::store) tenant: Tenant,
    /// References that are new, or repeated from the record before.
    pub(in crate::store) definitions: Vec<Definition>,
    /// Reference and exemplar.
    pub(in crate::store) rows: Vec<(u32, Exemplar)>,
}

/// Writes a histograms body.
pub(super) fn write_histograms(
    out: &mut Vec<u8>,
    tenant: &Tenant,
    definitions: &[Definition],
    rows: Picked<'_, HistogramRow>,
) {
    push_bytes(out, tenant.as_str().as_bytes());
    push_definitions(out, definitions);
    push_len(out, rows.len());
    for row in rows.iter() {
        out.extend_from_slice(&row.series.slot.to_le_bytes());
        out.extend_from_slice(&row.timestamp.to_le_bytes());
        push_histogram(out, &row.histogram);
    }
}

fn push_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    out.extend_from_slice(&histogram.schema.to_le_bytes());
    out.push(if histogram.is_float { FLOAT } else { 0 });
    out.push(histogram.reset_hint as u8);
    for number in [histogram.zero_threshold, histogram.zero_count, histogram.count, histogram.sum] {
        out.extend_from_slice(&number.to_bits().to_le_bytes());
    }
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        push_len(out, spans.len());
        for span in spans {
            out.extend_from_slice(&span.offset.to_le_bytes());
            out.extend_from_slice(&span.length.to_le_bytes());
        }
    }
    for numbers in [&histogram.positive, &histogram.negative, &histogram.custom_bounds] {
        push_len(out, numbers.len());
        for number in numbers {
            out.extend_from_slice(&number.to_bits().to_le_bytes());
        }
    }
}

/// Reads a histograms body.
///
/// # Errors
/// `Corrupt` when it ends early or breaks a rule.
pub(super) fn read_histograms(bytes: &[u8]) -> Result<HistogramsBody> {
    let mut read = Reader(bytes);
    let (tenant, definitions) = (read.tenant()?, read_definitions(&mut read)?);
    let mut rows = Vec::new();
    for _ in 0..read.u32()? {
        let (reference, timestamp) = (read.u32()?, read.i64()?);
        rows.push((reference, timestamp, Arc::new(read_histogram(&mut read)?)));
    }
    read.end()?;
    Ok(HistogramsBody { tenant, definitions, rows })
}

fn read_histogram(read: &mut Reader<'_>) -> Result<Histogram> {
    let [schema, flags, hint] = read.bytes_of::<3>()?;
    let reset_hint = ResetHint::from_number(hint)
        .ok_or_else(|| Error::corrupt("unknown counter reset hint").with("number", hint))?;
    let (zero_threshold, zero_count) = (read.f64()?, read.f64()?);
    let (count, sum) = (read.f64()?, read.f64()?);
    Ok(Histogram {
        schema: schema.cast_signed(),
        is_float: flags & FLOAT != 0,
        reset_hint,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive_spans: read_spans(read)?,
        negative_spans: read_spans(read)?,
        positive: read_floats(read)?,
        negative: read_floats(read)?,
        custom_bounds: read_floats(read)?,
    })
}

fn read_spans(read: &mut Reader<'_>) -> Result<Vec<Span>> {
    let count = read.u32()? as usize;
    let span = |bytes: &[u8; 8]| {
        let (offset, length) = bytes.split_at(4);
        let part = |bytes: &[u8]| *bytes.first_chunk::<4>().expect("half of eight");
        Span { offset: i32::from_le_bytes(part(offset)), length: u32::from_le_bytes(part(length)) }
    };
    Ok(read.array(count, 8)?.as_chunks::<8>().0.iter().map(span).collect())
}

fn read_floats(read: &mut Reader<'_>) -> Result<Vec<f64>> {
    let count = read.u32()? as usize;
    Ok(read.array(count, 8)?.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
}

/// Writes an exemplars body.
pub(super) fn write_exemplars(
    out: &mut Vec<u8>,
    tenant: &Tenant,
    definitions: &[Definition],
    rows: Picked<'_, ExemplarRow>,
) {
    push_bytes(out, tenant.as_str().as_bytes());
    push_definitions(out, definitions);
    push_len(out, rows.len());
    for row in rows.iter() {
        out.extend_from_slice(&row.series.slot.to_le_bytes());
        out.extend_from_slice(&row.exemplar.timestamp.to_le_bytes());
        out.extend_from_slice(&row.exemplar.value.to_bits().to_le_bytes());
        push_bytes(out, row.exemplar.labels.as_bytes());
    }
}

/// Reads an exemplars body.
///
/// # Errors
/// `Corrupt` when it ends early or breaks a rule.
pub(super) fn read_exemplars(bytes: &[u8]) -> Result<ExemplarsBody> {
    let mut read = Reader(bytes);
    let (tenant, definitions) = (read.tenant()?, read_definitions(&mut read)?);
    let mut rows = Vec::new();
    for _ in 0..read.u32()? {
        let (reference, timestamp, value) = (read.u32()?, read.i64()?, read.f64()?);
        let labels = LabelsRef::parse(read.bytes()?)?.to_owned();
        rows.push((reference, Exemplar { timestamp, value, labels }));
    }
    read.end()?;
    Ok(ExemplarsBody { tenant, definitions, rows })
}
