//! One followed file: which one it is, and reading on where the last read ended. Everything here blocks.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::model::FilePosition;
use crate::source::settings::LogFileSettings;

/// Bytes that tell a file from another one with its inode.
const FINGERPRINT_BYTES: u32 = 1_024;

/// What stays when a file is renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// A hash of the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) hash: u64,
    pub(super) len: u32,
}

impl Fingerprint {
    /// Of a file of which nothing is known.
    pub(super) fn of_nothing() -> Self {
        Self::of(&[])
    }

    pub(super) fn in_position(position: &FilePosition) -> Self {
        Self { hash: position.fingerprint, len: position.fingerprint_len }
    }

    fn of(bytes: &[u8]) -> Self {
        Self { hash: xxh3_64(bytes), len: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }
    }

    /// Whether a file begins with the bytes that were hashed.
    pub(super) fn is_of(self, start: &[u8]) -> bool {
        let len = usize::try_from(self.len).unwrap_or(usize::MAX);
        start.get(..len).is_some_and(|start| Self::of(start) == self)
    }
}

/// Size and time of the last write: what does not change while nothing is written.
pub(super) type Stamp = (u64, i64, i64);

/// Bytes at the end that are not taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// There are none.
    Nothing,
    /// They wait for what follows.
    Waits,
    /// Its whole lines were taken, what is left has no end.
    Unfinished,
}

/// A file that is open.
#[derive(Debug)]
pub(super) struct Tailed {
    pub(super) id: Id,
    /// Where it was found first; the label `filename`.
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    pub(super) settings: Arc<LogFileSettings>,
    pub(super) print: Fingerprint,
    /// Bytes whose lines are stored.
    pub(super) offset: u64,
    pub(super) last_ns: i64,
    /// What the last look saw.
    pub(super) seen: Option<Stamp>,
    /// While the file has it there is nothing new.
    pub(super) stamp: Option<Stamp>,
    /// When `seen` changed, on the monotonic clock.
    pub(super) changed: Duration,
    pub(super) rest: Rest,
    /// It was truncated or written anew: what follows is to be read from its start.
    pub(super) replaced: bool,
    /// No pattern finds it any more: it was renamed or deleted.
    pub(super) lost: bool,
    /// A copy of another followed file, made before that one is truncated: not read until then.
    pub(super) shadow_of: Option<Id>,
}

impl Tailed {
    /// Whether an entry of several lines has waited long enough for its next line.
    pub(super) fn is_overdue(&self, now: Duration) -> bool {
        let wait = self.settings.multiline.as_ref().map(|rule| rule.max_wait_time.as_std());
        let quiet = now.saturating_sub(self.changed);
        self.rest == Rest::Waits && wait.is_some_and(|wait| quiet >= wait)
    }

    /// How far it has been read.
    pub(super) fn position(&self) -> FilePosition {
        FilePosition {
            path: self.path.to_string_lossy().into_owned(),
            device: self.id.device,
            inode: self.id.inode,
            fingerprint: self.print.hash,
            fingerprint_len: self.print.len,
            offset: self.offset,
            last_ns: self.last_ns,
            is_done: false,
        }
    }
}

/// A file that was just opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) id: Id,
    pub(super) file: Arc<File>,
    pub(super) len: u64,
    /// The first bytes, as many as a fingerprint has.
    pub(super) start: Vec<u8>,
}

impl Opened {
    /// Opens a regular file; `None` when it is something else.
    pub(super) fn at(path: &Path) -> Result<Option<Self>> {
        let in_file = |e: std::io::Error| Error::from(e).with("file", path.display());
        // A pipe would wait for a writer.
        if !std::fs::metadata(path).map_err(in_file)?.is_file() {
            return Ok(None);
        }
        let file = File::open(path).map_err(in_file)?;
        let meta = file.metadata().map_err(in_file)?;
        let start = read_at(&file, 0, usize::try_from(FINGERPRINT_BYTES).unwrap_or(0)).map_err(in_file)?;
        Ok(Some(Self { id: id_of(&meta), len: meta.len(), file: Arc::new(file), start }))
    }

    /// Whether a position was taken in this file.
    pub(super) fn is_at(&self, position: &FilePosition) -> bool {
        position.offset <= self.len && Fingerprint::in_position(position).is_of(&self.start)
    }

    pub(super) fn print(&self) -> Fingerprint {
        Fingerprint::of(&self.start)
    }
}

pub(super) fn id_of(meta: &std::fs::Metadata) -> Id {
    Id { device: meta.dev(), inode: meta.ino() }
}

fn read_at(file: &File, offset: u64, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; limit];
    let mut filled = 0;
    while filled < limit {
        let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
        match file.read_at(&mut bytes[filled..], at) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// What a look at a file found.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing was written since the last look.
    Same,
    /// It does not begin as before, or is shorter than what was read.
    Replaced,
    /// Bytes from the offset on.
    Bytes {
        bytes: Vec<u8>,
        print: Fingerprint,
        stamp: Stamp,
        /// Nothing follows them so far.
        at_end: bool,
    },
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) file: Arc<File>,
    pub(super) print: Fingerprint,
    pub(super) offset: u64,
    /// The last look's stamp; `None` reads in any case.
    pub(super) stamp: Option<Stamp>,
    pub(super) limit: usize,
}

impl Ask {
    pub(super) fn look(self) -> Result<Look> {
        let meta = self.file.metadata()?;
        let stamp = (meta.len(), meta.mtime(), meta.mtime_nsec());
        if self.stamp == Some(stamp) {
            return Ok(Look::Same);
        }
        let wanted = u64::from(FINGERPRINT_BYTES).min(meta.len());
        let start = read_at(&self.file, 0, usize::try_from(wanted).unwrap_or(0))?;
        if meta.len() < self.offset || !self.print.is_of(&start) {
            return Ok(Look::Replaced);
        }
        let bytes = read_at(&self.file, self.offset, self.limit)?;
        let read_to = self.offset + u64::try_from(bytes.len()).unwrap_or(0);
        Ok(Look::Bytes { print: Fingerprint::of(&start), stamp, at_end: read_to >= meta.len(), bytes })
    }
}

/// Whether a name is what rotation makes of another one in its folder: `app.log.1`, `app.log-20261121`.
pub(super) fn is_rotated(path: &Path, original: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(name), Some(original_name)) = (name(path), name(original)) else { return false };
    let suffix = name.strip_prefix(&original_name).unwrap_or("");
    path.parent() == original.parent()
        && suffix.starts_with(['.', '-', '_'])
        && suffix.contains(|c: char| c.is_ascii_digit())
        && suffix.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | ':' | 'T' | 'Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotation_are_known() {
        let is = |name: &str| is_rotated(Path::new(name), Path::new("/l/app.log"));
        for name in ["/l/app.log.1", "/l/app.log-20261121", "/l/app.log.2026-11-21T20:00:00Z"] {
            assert!(is(name), "{name}");
        }
        for name in ["/l/app.log", "/l/app.log2", "/l/app.log.err", "/m/app.log.1", "/l/app.log.", "/l/x.1"] {
            assert!(!is(name), "{name}");
        }
    }
}
