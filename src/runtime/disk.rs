//! The local disk, real or simulated. Every call blocks: use `Pools::run_blocking` from async code.
//!
//! What is durable is exactly what POSIX promises and no more: bytes after `sync_data`, a name after
//! `sync_dir` of its directory. The simulated disk forgets everything else in a crash. No buffering here.

mod sim;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

pub use sim::{Fault, Lie, SimDisk};

use super::clock::{Clock, to_ms};
use crate::error::{Error, Kind, Result};

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The last part of the path.
    pub name: String,
    /// Bytes of a file; 0 for a directory.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// When the file was last written, ms since 1970 UTC.
    pub modified_ms: i64,
}

/// A disk. Cheap to clone. All paths are as the operating system takes them.
#[derive(Debug, Clone)]
pub struct Disk(Inner);

#[derive(Debug, Clone)]
enum Inner {
    Real,
    Sim(SimDisk),
}

impl Disk {
    /// The machine's file systems.
    pub fn real() -> Self {
        Self(Inner::Real)
    }

    /// An empty disk in memory; `seed` decides what a crash keeps, `clock` gives the file times.
    pub fn simulated(seed: u64, clock: Clock) -> Self {
        Self(Inner::Sim(SimDisk::new(seed, clock)))
    }

    /// The controls of a simulated disk.
    pub fn sim(&self) -> Option<&SimDisk> {
        match &self.0 {
            Inner::Real => None,
            Inner::Sim(sim) => Some(sim),
        }
    }

    /// Makes a directory and its parents, and makes their names durable. Existing ones are fine.
    ///
    /// # Errors
    /// `Io`, or `Unavailable` when the disk is full.
    pub fn create_dir_all(&self, path: &Path) -> Result<()> {
        let mut missing = Vec::new();
        let mut at = path;
        while !at.as_os_str().is_empty() && !self.is_dir(at)? {
            missing.push(at);
            let Some(parent) = at.parent() else { break };
            at = parent;
        }
        for dir in missing.into_iter().rev() {
            match &self.0 {
                Inner::Real => match std::fs::create_dir(dir) {
                    Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                    other => other,
                }
                .map_err(|e| at_path(e, "create directory", dir))?,
                Inner::Sim(sim) => sim.create_dir(dir).map_err(|e| named(e, "create directory", dir))?,
            }
            let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
            self.sync_dir(parent)?;
        }
        Ok(())
    }

    /// Whether there is a directory of that name.
    ///
    /// # Errors
    /// `Io` when the disk does not answer.
    pub fn is_dir(&self, path: &Path) -> Result<bool> {
        match &self.0 {
            Inner::Sim(sim) => Ok(sim.is_dir(path)),
            Inner::Real => match std::fs::metadata(path) {
                Ok(meta) => Ok(meta.is_dir()),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
                Err(e) => Err(at_path(e, "look up", path)),
            },
        }
    }

    /// The names in a directory, sorted. A file that is neither file nor directory is left out.
    ///
    /// # Errors
    /// `NotFound` when there is no such directory.
    pub fn list(&self, dir: &Path) -> Result<Vec<DirEntry>> {
        let mut entries = match &self.0 {
            Inner::Real => real_list(dir).map_err(|e| at_path(e, "list directory", dir))?,
            Inner::Sim(sim) => sim.list(dir).map_err(|e| named(e, "list directory", dir))?,
        };
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// One file's entry.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn stat(&self, path: &Path) -> Result<DirEntry> {
        match &self.0 {
            Inner::Real => std::fs::metadata(path)
                .and_then(|meta| real_entry(path.file_name().unwrap_or_default(), &meta))
                .map_err(|e| at_path(e, "look up", path)),
            Inner::Sim(sim) => sim.stat(path).map_err(|e| named(e, "look up", path)),
        }
    }

    /// A whole file.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn read(&self, path: &Path) -> Result<Bytes> {
        match &self.0 {
            Inner::Real => std::fs::read(path).map(Bytes::from).map_err(|e| at_path(e, "read", path)),
            Inner::Sim(sim) => sim.read_at(path, 0, None).map_err(|e| named(e, "read", path)),
        }
    }

    /// Exactly `len` bytes from `offset`.
    ///
    /// # Errors
    /// `NotFound`, and `Io` when the file ends before.
    pub fn read_at(&self, path: &Path, offset: u64, len: usize) -> Result<Bytes> {
        let end = u64::try_from(len).ok().and_then(|len| offset.checked_add(len));
        let end = end.ok_or_else(|| named(Error::invalid("not a range of bytes"), "read", path))?;
        let mut bytes = self.read_ranges(path, std::slice::from_ref(&(offset..end)))?;
        Ok(bytes.pop().unwrap_or_default())
    }

    /// Exactly the bytes of each range, from one opened file.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` for a range that ends before it starts, and `Io` when the file ends before.
    pub fn read_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let file = match &self.0 {
            Inner::Real => Some(File::open(path).map_err(|e| at_path(e, "read", path))?),
            Inner::Sim(_) => None,
        };
        let one = |range: &Range<u64>| {
            let len = range.end.checked_sub(range.start).and_then(|len| usize::try_from(len).ok());
            let len = len.ok_or_else(|| Error::invalid("not a range of bytes"))?;
            match (&self.0, &file) {
                (Inner::Sim(sim), _) => sim.read_at(path, range.start, Some(len)),
                (Inner::Real, Some(file)) => Ok(read_exact_at(file, range.start, len)?),
                (Inner::Real, None) => Err(Error::internal("the file was not opened")),
            }
        };
        let named_range = |r: &Range<u64>, e: Error| named(e, "read", path).with("range", format!("{r:?}"));
        ranges.iter().map(|range| one(range).map_err(|e| named_range(range, e))).collect()
    }

    /// A new, empty file to append to.
    ///
    /// # Errors
    /// `Conflict` when the name is taken.
    pub fn create_new(&self, path: &Path) -> Result<DiskFile> {
        let inner = match &self.0 {
            Inner::Real => OpenOptions::new()
                .append(true)
                .create_new(true)
                .open(path)
                .map(FileInner::Real)
                .map_err(|e| at_path(e, "create", path))?,
            Inner::Sim(sim) => FileInner::Sim(sim.create_new(path).map_err(|e| named(e, "create", path))?),
        };
        Ok(DiskFile { inner, path: path.to_owned() })
    }

    /// An existing file to append to.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn open_append(&self, path: &Path) -> Result<DiskFile> {
        let inner = match &self.0 {
            Inner::Real => OpenOptions::new()
                .append(true)
                .open(path)
                .map(FileInner::Real)
                .map_err(|e| at_path(e, "open", path))?,
            Inner::Sim(sim) => FileInner::Sim(sim.open(path).map_err(|e| named(e, "open", path))?),
        };
        Ok(DiskFile { inner, path: path.to_owned() })
    }

    /// Takes a file's name away. Durable after `sync_dir`.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn remove(&self, path: &Path) -> Result<()> {
        match &self.0 {
            Inner::Real => std::fs::remove_file(path).map_err(|e| at_path(e, "remove", path)),
            Inner::Sim(sim) => sim.remove(path).map_err(|e| named(e, "remove", path)),
        }
    }

    /// Renames a file, over an existing one too. Durable after `sync_dir`.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        match &self.0 {
            Inner::Real => std::fs::rename(from, to).map_err(|e| at_path(e, "rename", from)),
            Inner::Sim(sim) => sim.rename(from, to).map_err(|e| named(e, "rename", from)),
        }
        .map_err(|e| e.with("to", to.display()))
    }

    /// Gives a file a second name. Durable after `sync_dir`.
    ///
    /// # Errors
    /// `Conflict` when the second name is taken.
    pub fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        match &self.0 {
            Inner::Real => std::fs::hard_link(from, to).map_err(|e| at_path(e, "link", to)),
            Inner::Sim(sim) => sim.hard_link(from, to).map_err(|e| named(e, "link", to)),
        }
        .map_err(|e| e.with("from", from.display()))
    }

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub fn sync_dir(&self, dir: &Path) -> Result<()> {
        match &self.0 {
            Inner::Real => {
                File::open(dir).and_then(|f| f.sync_all()).map_err(|e| at_path(e, "sync directory", dir))
            }
            Inner::Sim(sim) => sim.sync_dir(dir).map_err(|e| named(e, "sync directory", dir)),
        }
    }

    /// Takes an exclusive lock on a file, which is made when missing, until the guard is dropped or the
    /// process ends.
    ///
    /// # Errors
    /// `Conflict` at once when another holds it.
    pub fn lock(&self, path: &Path) -> Result<DiskLock> {
        let taken = || Error::new(Kind::Conflict, "another process holds the lock");
        let inner = match &self.0 {
            Inner::Real => {
                let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
                let file = file.map_err(|e| at_path(e, "lock", path))?;
                match file.try_lock() {
                    Ok(()) => LockInner::Real(file),
                    Err(TryLockError::WouldBlock) => return Err(named(taken(), "lock", path)),
                    Err(TryLockError::Error(e)) => return Err(at_path(e, "lock", path)),
                }
            }
            Inner::Sim(sim) => LockInner::Sim(sim.lock(path).map_err(|e| named(e, "lock", path))?),
        };
        Ok(DiskLock { _inner: inner })
    }

    /// Bytes that may still be written under a directory.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub fn free_bytes(&self, dir: &Path) -> Result<u64> {
        match &self.0 {
            Inner::Sim(sim) => Ok(sim.free_bytes()),
            Inner::Real => {
                let stat = rustix::fs::statvfs(dir).map_err(|e| at_path(e.into(), "free space", dir))?;
                Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
            }
        }
    }
}

/// A file open for appending.
#[derive(Debug)]
pub struct DiskFile {
    inner: FileInner,
    path: PathBuf,
}

#[derive(Debug)]
enum FileInner {
    Real(File),
    Sim(sim::SimFile),
}

impl DiskFile {
    /// Appends all bytes. After an error a part of them may have been written.
    ///
    /// # Errors
    /// `Unavailable` when the disk is full, `Io`.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.inner {
            FileInner::Real(file) => file.write_all(bytes).map_err(|e| at_path(e, "write", &self.path)),
            FileInner::Sim(file) => file.write_all(bytes).map_err(|e| named(e, "write", &self.path)),
        }
    }

    /// Makes the bytes and the length durable. After an error the file's state is unknown: do not go on
    /// writing to it (fsync does not report an error twice).
    ///
    /// # Errors
    /// `Io`, `Unavailable`.
    pub fn sync_data(&mut self) -> Result<()> {
        match &self.inner {
            FileInner::Real(file) => file.sync_data().map_err(|e| at_path(e, "sync", &self.path)),
            FileInner::Sim(file) => file.sync_data().map_err(|e| named(e, "sync", &self.path)),
        }
    }

    /// Bytes of the file.
    ///
    /// # Errors
    /// `Io`.
    pub fn len(&self) -> Result<u64> {
        match &self.inner {
            FileInner::Real(file) => {
                file.metadata().map(|m| m.len()).map_err(|e| at_path(e, "look up", &self.path))
            }
            FileInner::Sim(file) => file.len().map_err(|e| named(e, "look up", &self.path)),
        }
    }

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// `Io`.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file to `len` bytes. Durable after `sync_data`.
    ///
    /// # Errors
    /// `Io`.
    pub fn truncate(&mut self, len: u64) -> Result<()> {
        match &self.inner {
            FileInner::Real(file) => file.set_len(len).map_err(|e| at_path(e, "truncate", &self.path)),
            FileInner::Sim(file) => file.truncate(len).map_err(|e| named(e, "truncate", &self.path)),
        }
    }

    /// The name it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// An exclusive lock, held until dropped.
#[derive(Debug)]
pub struct DiskLock {
    _inner: LockInner,
}

#[derive(Debug)]
#[expect(dead_code, reason = "the fields are held for their Drop")]
enum LockInner {
    Real(File),
    Sim(sim::SimLock),
}

fn real_list(dir: &Path) -> std::io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(meta) if meta.is_file() || meta.is_dir() => {
                entries.push(real_entry(&entry.file_name(), &meta)?);
            }
            Ok(_) => {}
            // Somebody removed it between the two calls.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(entries)
}

fn real_entry(name: &std::ffi::OsStr, meta: &std::fs::Metadata) -> std::io::Result<DirEntry> {
    let name = name.to_string_lossy().into_owned();
    let len = if meta.is_dir() { 0 } else { meta.len() };
    Ok(DirEntry { name, len, is_dir: meta.is_dir(), modified_ms: to_ms(meta.modified()?) })
}

fn read_exact_at(file: &File, offset: u64, len: usize) -> std::io::Result<Bytes> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.into())
}

fn at_path(error: std::io::Error, operation: &'static str, path: &Path) -> Error {
    if error.kind() == std::io::ErrorKind::AlreadyExists {
        return named(Error::new(Kind::Conflict, "the name is taken"), operation, path);
    }
    named(error.into(), operation, path)
}

fn named(error: Error, operation: &'static str, path: &Path) -> Error {
    error.during(operation).with("path", path.display())
}
