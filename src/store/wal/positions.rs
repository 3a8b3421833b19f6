//! How far tailed files have been read: WAL records of kind 6, and the file `positions` that outlives segments.
//!
//! A position stands in the same request as its lines, so a crash keeps both or neither. Before a segment goes,
//! the positions of all tenants are in `positions`; a replay reads that file first and the records after it.

use std::collections::BTreeMap;

use super::record::{Reader, le_u32, le_u64, push_bytes, push_len};
use crate::error::{Error, Result};
use crate::model::{FilePosition, Tenant};

/// The file's name in the WAL directory.
pub(super) const FILE: &str = "positions";
const MAGIC: &[u8; 8] = b"QUIPUPOS";
const VERSION: u32 = 1;
const HEAD: usize = 16;

/// The positions of one tenant, by device and inode: a renamed file keeps its entry, a reused inode replaces it.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Positions(BTreeMap<(u64, u64), FilePosition>);

impl Positions {
    /// Files whose position one tenant may have kept at a time.
    pub(in crate::store) const LIMIT: usize = 100_000;

    /// Remembers a position; one that is done is forgotten.
    pub(in crate::store) fn put(&mut self, position: FilePosition) {
        let key = (position.device, position.inode);
        if position.is_done {
            self.0.remove(&key);
        } else {
            self.0.insert(key, position);
        }
    }

    /// Whether a position may be put.
    pub(in crate::store) fn has_room(&self, position: &FilePosition) -> bool {
        self.0.len() < Self::LIMIT || self.0.contains_key(&(position.device, position.inode))
    }

    /// All of them.
    pub(in crate::store) fn iter(&self) -> impl Iterator<Item = &FilePosition> {
        self.0.values()
    }
}

/// Writes the body of a position record.
pub(super) fn write_position(out: &mut Vec<u8>, tenant: &Tenant, position: &FilePosition) {
    push_bytes(out, tenant.as_str().as_bytes());
    push_bytes(out, position.path.as_bytes());
    out.extend_from_slice(&position.device.to_le_bytes());
    out.extend_from_slice(&position.inode.to_le_bytes());
    out.extend_from_slice(&position.fingerprint.to_le_bytes());
    out.extend_from_slice(&position.fingerprint_len.to_le_bytes());
    out.extend_from_slice(&position.offset.to_le_bytes());
    out.extend_from_slice(&position.last_ns.to_le_bytes());
    out.push(u8::from(position.is_done));
}

/// Reads the body of a position record.
///
/// # Errors
/// `Corrupt` when it ends early or breaks a rule.
pub(super) fn read_position(bytes: &[u8]) -> Result<(Tenant, FilePosition)> {
    let mut read = Reader(bytes);
    let tenant = read.tenant()?;
    let path = read.text()?.to_owned();
    let (device, inode) = (le_u64(read.take(8)?), le_u64(read.take(8)?));
    let (fingerprint, fingerprint_len) = (le_u64(read.take(8)?), read.u32()?);
    let (offset, last_ns) = (le_u64(read.take(8)?), le_u64(read.take(8)?).cast_signed());
    let is_done = read.take(1)?[0] != 0;
    read.end()?;
    let position =
        FilePosition { path, device, inode, fingerprint, fingerprint_len, offset, last_ns, is_done };
    Ok((tenant, position))
}

/// The file `positions`.
pub(super) fn encode<'a>(all: impl Iterator<Item = (&'a Tenant, &'a FilePosition)>) -> Vec<u8> {
    let mut out = vec![0; HEAD];
    out[0..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let (mut count, mut entries, mut body) = (0usize, Vec::new(), Vec::new());
    for (tenant, position) in all {
        body.clear();
        write_position(&mut body, tenant, position);
        push_bytes(&mut entries, &body);
        count += 1;
    }
    push_len(&mut out, count);
    out.extend_from_slice(&entries);
    let crc = crc32c::crc32c(&out[HEAD..]);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Reads the file `positions`.
///
/// # Errors
/// `Corrupt` when it is damaged or of a later version.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<(Tenant, FilePosition)>> {
    let bad = |what: &'static str| {
        Error::corrupt("the positions of tailed files cannot be read").with("what", what)
    };
    let head = bytes.get(..HEAD).ok_or_else(|| bad("it ends early"))?;
    if &head[..8] != MAGIC || le_u32(&head[8..12]) != VERSION {
        return Err(bad("no magic number, or a later version"));
    }
    if le_u32(&head[12..16]) != crc32c::crc32c(&bytes[HEAD..]) {
        return Err(bad("bad checksum"));
    }
    let mut read = Reader(&bytes[HEAD..]);
    let mut all = Vec::new();
    for _ in 0..read.u32()? {
        all.push(read_position(read.bytes()?)?);
    }
    read.end()?;
    Ok(all)
}
