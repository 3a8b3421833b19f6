//! One WAL record, bytes ↔ rows. `docs/format.md` draws it; this file is the only place that knows the offsets.

use crate::error::{Error, Result};
use crate::model::{Batch, LabelsRef, MetricMetadata, MetricType, SeriesKey, Tenant, Timestamps};
use crate::store::buffer::Rows;

/// Length of a record's header in bytes.
pub(super) const HEADER_LEN: usize = 40;
/// The largest body, unpacked, in bytes. A request that needs more is refused before it is written.
pub(super) const MAX_BODY: usize = 256 << 20;
const MAGIC: u32 = u32::from_le_bytes(*b"QREC");
/// Bodies below this many bytes do not gain from compression.
const SMALL_BODY: usize = 200;
const ZSTD_LEVEL: i32 = 1;

const FLAG_ZSTD: u8 = 1;
const FLAG_FIRST: u8 = 2;
const FLAG_LAST: u8 = 4;

/// Which buffer and which table transaction a record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(in crate::store) enum Class {
    /// Rows of the current and the previous UTC day.
    Live = 0,
    /// Older rows.
    Backfill = 1,
}

impl Class {
    /// Both.
    pub(in crate::store) const ALL: [Self; 2] = [Self::Live, Self::Backfill];

    /// The suffix of a Delta `appId`.
    pub(in crate::store) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Backfill => "backfill",
        }
    }
}

/// What a record's body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum RecordKind {
    /// Float samples and stale markers.
    Samples = 1,
    /// Type, help and unit of metrics.
    Metadata = 2,
    /// Log lines.
    Logs = 5,
    /// How far a tailed file was read.
    Position = 6,
}

/// The fixed part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) sequence: u64,
    pub(super) kind: RecordKind,
    pub(super) class: Class,
    /// First record of its request.
    pub(super) first: bool,
    /// Last record of its request.
    pub(super) last: bool,
    zstd: bool,
    body_crc: u32,
    /// Length of the body as stored.
    pub(super) body_len: usize,
    raw_len: usize,
}

impl Header {
    /// Reads a header; `None` when the bytes are not one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_LEN)?;
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if u32_at(0) != MAGIC || u32_at(4) != crc32c::crc32c(&bytes[8..]) {
            return None;
        }
        let flags = bytes[22];
        let kind = match bytes[20] {
            1 => RecordKind::Samples,
            2 => RecordKind::Metadata,
            5 => RecordKind::Logs,
            6 => RecordKind::Position,
            _ => return None,
        };
        let class = if bytes[21] == 0 { Class::Live } else { Class::Backfill };
        Some(Self {
            sequence: u64::from_le_bytes(bytes[24..32].try_into().expect("eight bytes")),
            kind,
            class,
            first: flags & FLAG_FIRST != 0,
            last: flags & FLAG_LAST != 0,
            zstd: flags & FLAG_ZSTD != 0,
            body_crc: u32_at(8),
            body_len: u32_at(12) as usize,
            raw_len: u32_at(16) as usize,
        })
    }

    fn write(&self, out: &mut [u8]) {
        let len = |n: usize| u32::try_from(n).expect("bodies are limited").to_le_bytes();
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..12].copy_from_slice(&self.body_crc.to_le_bytes());
        out[12..16].copy_from_slice(&len(self.body_len));
        out[16..20].copy_from_slice(&len(self.raw_len));
        out[20] = self.kind as u8;
        out[21] = self.class as u8;
        out[22] = flag(self.zstd, FLAG_ZSTD) | flag(self.first, FLAG_FIRST) | flag(self.last, FLAG_LAST);
        out[23] = 0;
        out[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        out[32..40].fill(0);
        let crc = crc32c::crc32c(&out[8..HEADER_LEN]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Checks and unpacks the stored body.
    ///
    /// # Errors
    /// `Corrupt` when the checksum, the packing or the length is wrong.
    pub(super) fn unpack(&self, stored: &[u8]) -> Result<Vec<u8>> {
        if crc32c::crc32c(stored) != self.body_crc {
            return Err(Error::corrupt("bad checksum"));
        }
        if self.raw_len > MAX_BODY {
            return Err(Error::corrupt("a body longer than the limit").with("limit", MAX_BODY));
        }
        if !self.zstd {
            return Ok(stored.to_vec());
        }
        let raw = zstd::bulk::decompress(stored, self.raw_len)
            .map_err(|e| Error::corrupt("cannot be unpacked").caused_by(e))?;
        if raw.len() == self.raw_len { Ok(raw) } else { Err(Error::corrupt("unpacks to another length")) }
    }
}

/// Appends one record to `out`: header and body.
///
/// # Errors
/// `Limit` when the body is longer than [`MAX_BODY`].
pub(super) fn push_record(out: &mut Vec<u8>, start: RecordStart, raw: &[u8]) -> Result<()> {
    if raw.len() > MAX_BODY {
        let error = Error::new(crate::error::Kind::Limit, "the request is too large for one WAL record");
        return Err(error.with("bytes", raw.len()).with("limit", MAX_BODY));
    }
    let packed = if raw.len() < SMALL_BODY { None } else { zstd::bulk::compress(raw, ZSTD_LEVEL).ok() };
    let packed = packed.filter(|packed| packed.len() < raw.len());
    let body = packed.as_deref().unwrap_or(raw);
    let header = Header {
        sequence: start.sequence,
        kind: start.kind,
        class: start.class,
        first: start.first,
        last: start.last,
        zstd: packed.is_some(),
        body_crc: crc32c::crc32c(body),
        body_len: body.len(),
        raw_len: raw.len(),
    };
    let at = out.len();
    out.resize(at + HEADER_LEN, 0);
    header.write(&mut out[at..]);
    out.extend_from_slice(body);
    Ok(())
}

/// What a record is, before its body is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordStart {
    pub(super) sequence: u64,
    pub(super) kind: RecordKind,
    pub(super) class: Class,
    pub(super) first: bool,
    pub(super) last: bool,
}

/// The meaning of a reference inside one segment.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) struct Definition {
    /// What rows call the series: its slot when it was written.
    pub(in crate::store) reference: u32,
    /// The series.
    pub(in crate::store) key: SeriesKey,
}

/// A decoded samples body.
#[derive(Debug, PartialEq)]
pub(in crate::store) struct SamplesBody {
    /// Whose rows.
    pub(in crate::store) tenant: Tenant,
    /// References that are new, or repeated from the record before.
    pub(in crate::store) definitions: Vec<Definition>,
    /// One per row.
    pub(in crate::store) references: Vec<u32>,
    /// Shared or one per row, ms.
    pub(in crate::store) timestamps: Timestamps,
    /// One per row; stale markers by their bits.
    pub(in crate::store) values: Vec<f64>,
}

/// Writes a samples body.
pub(super) fn write_samples(out: &mut Vec<u8>, tenant: &Tenant, definitions: &[Definition], rows: Rows<'_>) {
    push_bytes(out, tenant.as_str().as_bytes());
    push_len(out, definitions.len());
    for definition in definitions {
        out.extend_from_slice(&definition.reference.to_le_bytes());
        push_bytes(out, definition.key.metric.as_bytes());
        push_bytes(out, definition.key.labels.as_bytes());
    }
    push_len(out, rows.len());
    for (handle, _, _) in rows.iter() {
        out.extend_from_slice(&handle.slot.to_le_bytes());
    }
    match rows.batch.timestamps {
        Timestamps::Shared(time) => {
            out.push(0);
            out.extend_from_slice(&time.to_le_bytes());
        }
        Timestamps::Each(_) => {
            out.push(1);
            for (_, time, _) in rows.iter() {
                out.extend_from_slice(&time.to_le_bytes());
            }
        }
    }
    for (_, _, value) in rows.iter() {
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

/// Reads a samples body.
///
/// # Errors
/// `Corrupt` when it ends early or breaks a rule.
pub(super) fn read_samples(bytes: &[u8]) -> Result<SamplesBody> {
    let mut read = Reader(bytes);
    let tenant = read.tenant()?;
    let mut definitions = Vec::new();
    for _ in 0..read.u32()? {
        let reference = read.u32()?;
        let metric = read.text()?;
        let labels = LabelsRef::parse(read.bytes()?)?.to_owned();
        definitions.push(Definition { reference, key: SeriesKey { metric: metric.into(), labels } });
    }
    let rows = read.u32()? as usize;
    let references = read.array(rows, 4)?.chunks_exact(4).map(le_u32).collect();
    let timestamps = match read.take(1)?[0] {
        0 => Timestamps::Shared(le_u64(read.take(8)?).cast_signed()),
        1 => Timestamps::Each(
            read.array(rows, 8)?.chunks_exact(8).map(|bytes| le_u64(bytes).cast_signed()).collect(),
        ),
        other => return Err(Error::corrupt("unknown form of timestamps").with("form", other)),
    };
    let values = read.array(rows, 8)?.chunks_exact(8).map(|bytes| f64::from_bits(le_u64(bytes))).collect();
    read.end()?;
    Ok(SamplesBody { tenant, definitions, references, timestamps, values })
}

/// Writes a metadata body.
pub(super) fn write_metadata(out: &mut Vec<u8>, tenant: &Tenant, batch: &Batch) {
    push_bytes(out, tenant.as_str().as_bytes());
    push_len(out, batch.metadata.len());
    for metadata in &batch.metadata {
        out.push(metadata.kind as u8);
        for text in [&metadata.metric, &metadata.help, &metadata.unit] {
            push_bytes(out, text.as_bytes());
        }
    }
}

/// Reads a metadata body.
///
/// # Errors
/// `Corrupt` when it ends early or breaks a rule.
pub(super) fn read_metadata(bytes: &[u8]) -> Result<(Tenant, Vec<MetricMetadata>)> {
    let mut read = Reader(bytes);
    let tenant = read.tenant()?;
    let mut all = Vec::new();
    for _ in 0..read.u32()? {
        let number = read.take(1)?[0];
        let kind = MetricType::from_number(number)
            .ok_or_else(|| Error::corrupt("unknown metric type").with("number", number))?;
        let (metric, help, unit) = (read.text()?.into(), read.text()?.into(), read.text()?.into());
        all.push(MetricMetadata { metric, kind, help, unit });
    }
    read.end()?;
    Ok((tenant, all))
}

pub(super) fn push_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&u32::try_from(len).expect("requests are limited far below 2^32").to_le_bytes());
}

pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

pub(super) fn le_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

pub(super) fn le_u64(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// Reads little-endian fields and refuses to run past the end.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len).ok_or_else(|| Error::corrupt("a body ends early"))?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn array(&mut self, count: usize, width: usize) -> Result<&'a [u8]> {
        let len = count.checked_mul(width).ok_or_else(|| Error::corrupt("a body ends early"))?;
        self.take(len)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.take(4).map(le_u32)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|e| Error::corrupt("not UTF-8").caused_by(e))
    }

    pub(super) fn tenant(&mut self) -> Result<Tenant> {
        Tenant::new(self.text()?).map_err(|e| Error::corrupt("not a tenant").caused_by(e))
    }

    pub(super) fn end(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::corrupt("a body has bytes left over")) }
    }
}
