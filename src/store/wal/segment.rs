//! One WAL file: its header, and the walk over its records that survives damage.
//!
//! A record with a good header and a bad body is skipped by its length. After a bad header the walk looks for
//! the next good one. Damage with a good record behind it is *quarantined* (counted, warned about); damage with
//! nothing behind it is a torn tail.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::record::{HEADER_LEN, Header};
use crate::error::{Error, Result};

/// Length of a segment's header in bytes.
pub(super) const SEGMENT_HEADER_LEN: usize = 48;
const MAGIC: &[u8; 8] = b"QUIPUWAL";
const VERSION: u32 = 1;

/// Where segment `number` lies.
pub(super) fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.wal"))
}

/// The number in a segment's file name; `None` for other files.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// The first bytes of a segment.
pub(super) fn header(number: u64, directory: Uuid, next_sequence: u64) -> [u8; SEGMENT_HEADER_LEN] {
    let mut out = [0; SEGMENT_HEADER_LEN];
    out[0..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[16..32].copy_from_slice(directory.as_bytes());
    out[32..40].copy_from_slice(&number.to_le_bytes());
    out[40..48].copy_from_slice(&next_sequence.to_le_bytes());
    let crc = crc32c::crc32c(&out[16..]);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Checks a segment's header. `Ok(false)` means that the file is shorter than a header: a crash while making it.
///
/// # Errors
/// `Corrupt` when it is not a segment, is of a later version, or belongs to another directory.
pub(super) fn check_header(bytes: &[u8], directory: Uuid) -> Result<bool> {
    let Some(head) = bytes.get(..SEGMENT_HEADER_LEN) else { return Ok(false) };
    if head.iter().all(|byte| *byte == 0) {
        return Ok(false);
    }
    if &head[..8] != MAGIC {
        return Err(Error::corrupt("not a WAL segment"));
    }
    let version = u32::from_le_bytes(head[8..12].try_into().expect("four bytes"));
    if version != VERSION {
        return Err(Error::corrupt("a WAL segment of another version").with("version", version));
    }
    if head[12..16] != crc32c::crc32c(&head[16..]).to_le_bytes() {
        return Err(Error::corrupt("the header's checksum is wrong"));
    }
    if &head[16..32] != directory.as_bytes() {
        return Err(Error::corrupt("the segment belongs to another WAL directory"));
    }
    Ok(true)
}

/// One step of the walk.
#[derive(Debug)]
pub(super) enum Step {
    /// A record whose body passed its checks.
    Record { header: Header, body: Vec<u8> },
    /// Bytes that are not a good record but have one behind them.
    Damage { at: usize, len: usize },
}

/// Walks the records of a whole file's bytes, header included.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The end of the last good record: where a torn tail is cut.
    pub(super) good_end: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let start = SEGMENT_HEADER_LEN.min(bytes.len());
        Self { bytes, at: start, good_end: start }
    }

    /// The record at the current place, if it is good.
    fn record_here(&self, at: usize) -> Option<(Header, Vec<u8>, usize)> {
        let header = Header::parse(self.bytes.get(at..)?)?;
        let end = at.checked_add(HEADER_LEN)?.checked_add(header.body_len)?;
        let body = header.unpack(self.bytes.get(at + HEADER_LEN..end)?).ok()?;
        Some((header, body, end))
    }

    /// The next good record at or after a place.
    fn next_good(&self, from: usize) -> Option<usize> {
        let mut at = from;
        while at + HEADER_LEN <= self.bytes.len() {
            if let Some(header) = Header::parse(&self.bytes[at..]) {
                if self.record_here(at).is_some() {
                    return Some(at);
                }
                // A good header says how long its bad body is.
                at += HEADER_LEN + header.body_len.max(1);
            } else {
                at += 1;
            }
        }
        None
    }
}

impl Iterator for Walk<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some((header, body, end)) = self.record_here(self.at) {
            (self.at, self.good_end) = (end, end);
            return Some(Step::Record { header, body });
        }
        let next = self.next_good(self.at)?;
        let damage = Step::Damage { at: self.at, len: next - self.at };
        self.at = next;
        Some(damage)
    }
}
