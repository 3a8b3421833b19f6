//! Object storage: one handle for a local folder, S3 and memory, with counted requests and named errors.
//!
//! Only whole-object writes and create-if-absent are used, because that is what every store can do; nothing
//! here updates in place, and nothing lists except at a start and in clean-up jobs.

mod faulty;
mod local;
mod options;
mod probe;
mod stats;
#[cfg(test)]
mod tests;
mod writer;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

pub use faulty::{FaultCounts, FaultOdds, FaultyStore, RequestFault};
pub use options::ObjectsOptions;
pub use stats::{ObjectsSnapshot, ObjectsStats};
pub use writer::ObjectWriter;

use self::local::LocalStore;
use super::disk::Disk;
use super::pools::Pools;
use crate::error::{Error, Kind, Result};

/// Whether a create-if-absent put was the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is ours.
    Created,
    /// Somebody was first (or an earlier try of ours whose answer was lost).
    AlreadyExists,
}

/// One object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Path under the root of the [`Objects`].
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// When it was written, ms since 1970 UTC by the store's clock.
    pub modified_ms: i64,
}

/// The objects under one root. Cheap to clone; clones share the counters. All paths are relative to the root,
/// `/` between the parts.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Arc<str>,
    description: Arc<str>,
    stats: Arc<ObjectsStats>,
}

impl Objects {
    /// Opens `s3://bucket/prefix`, `memory://` or a local folder (a path or `file:///path`; made when missing).
    ///
    /// # Errors
    /// `Config` for a location or options that make no sense, `Unsupported` for another scheme, `Io`.
    pub async fn open(location: &str, options: &ObjectsOptions, disk: &Disk, pools: &Pools) -> Result<Self> {
        match location.split_once("://") {
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let store = options.s3(bucket).map_err(|e| e.with("storage.url", location))?;
                Ok(Self::from_store(Arc::new(store), prefix, location))
            }
            Some(("memory", _)) => Ok(Self::memory()),
            Some(("file", path)) => Self::open_local(path, disk, pools).await,
            Some((scheme, _)) => {
                Err(Error::unsupported(format!("object store {scheme}://")).with("storage.url", location))
            }
            None => Self::open_local(location, disk, pools).await,
        }
    }

    async fn open_local(path: &str, disk: &Disk, pools: &Pools) -> Result<Self> {
        if path.is_empty() {
            return Err(Error::new(Kind::Config, "the path of the storage is empty"));
        }
        let store = LocalStore::open(path.into(), disk.clone(), pools.clone()).await?;
        Ok(Self::from_store(Arc::new(store), "", path))
    }

    /// An empty store in memory.
    pub fn memory() -> Self {
        Self::from_store(Arc::new(InMemory::new()), "", "memory://")
    }

    /// Any store: a test puts a faulty one here. `description` is what error messages call it.
    pub fn from_store(store: Arc<dyn ObjectStore>, prefix: &str, description: &str) -> Self {
        Self {
            store,
            prefix: prefix.trim_matches('/').into(),
            description: description.into(),
            stats: Arc::new(ObjectsStats::default()),
        }
    }

    /// What the user called the store.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Requests and bytes so far.
    pub fn stats(&self) -> &ObjectsStats {
        &self.stats
    }

    /// Refuses a store that does not keep the promise of create-if-absent.
    ///
    /// # Errors
    /// `Config` naming the store, and what the store says when it cannot be written at all.
    pub async fn probe(&self) -> Result<()> {
        probe::probe(self).await
    }

    /// Writes an object unless one is there.
    ///
    /// # Errors
    /// After any error the object may or may not be there: ask again with the same bytes.
    pub async fn put_create(&self, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        self.stats.put(bytes.len());
        let at = self.at(path)?;
        match self.store.put_opts(&at, bytes.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(PutOutcome::Created),
            // S3 answers 412; a store that says "precondition failed" means the same here.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(PutOutcome::AlreadyExists)
            }
            Err(e) => Err(self.failed("create object", path, e)),
        }
    }

    /// Writes an object, over an existing one too.
    ///
    /// # Errors
    /// `Unavailable` and the like; the object is then the old or the new one, never a mixture.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.stats.put(bytes.len());
        let put = self.store.put(&self.at(path)?, bytes.into()).await;
        put.map(drop).map_err(|e| self.failed("put object", path, e))
    }

    /// A whole object.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, path: &str) -> Result<Bytes> {
        self.stats.get();
        let at = self.at(path)?;
        let read = async { self.store.get(&at).await?.bytes().await };
        let bytes = read.await.map_err(|e| self.failed("get object", path, e))?;
        self.stats.read(bytes.len());
        Ok(bytes)
    }

    /// Exactly the bytes of one range.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` when the object ends before.
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.stats.get();
        let bytes = self.store.get_range(&self.at(path)?, range.clone()).await;
        let bytes = bytes.map_err(|e| self.failed("get range", path, e).with("range", show(&range)))?;
        self.stats.read(bytes.len());
        self.whole(path, &range, bytes)
    }

    /// Exactly the bytes of each range; near ones are fetched together.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` when the object ends before.
    pub async fn get_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.stats.get();
        let parts = self.store.get_ranges(&self.at(path)?, ranges).await;
        let parts = parts.map_err(|e| self.failed("get ranges", path, e))?;
        self.stats.read(parts.iter().map(Bytes::len).sum());
        ranges.iter().zip(parts).map(|(range, bytes)| self.whole(path, range, bytes)).collect()
    }

    /// Size and time of one object.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn head(&self, path: &str) -> Result<ObjectEntry> {
        self.stats.head();
        let meta = self.store.head(&self.at(path)?).await;
        let meta = meta.map_err(|e| self.failed("head object", path, e))?;
        Ok(self.entry(&meta))
    }

    /// All objects under a folder (`""`: all), sorted by path.
    ///
    /// # Errors
    /// What the store says; a folder without objects is empty and no error.
    pub async fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>> {
        self.stats.list();
        let at = self.at(folder)?;
        let metas: Vec<_> = self
            .store
            .list(Some(&at))
            .try_collect()
            .await
            .map_err(|e| self.failed("list objects", folder, e))?;
        let mut entries: Vec<_> = metas.iter().map(|meta| self.entry(meta)).collect();
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// The names of the folders directly inside a folder, sorted.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list_folders(&self, folder: &str) -> Result<Vec<String>> {
        self.stats.list();
        let found = self.store.list_with_delimiter(Some(&self.at(folder)?)).await;
        let found = found.map_err(|e| self.failed("list folders", folder, e))?;
        let name = |path: &StorePath| path.filename().unwrap_or_default().to_owned();
        let mut names: Vec<String> = found.common_prefixes.iter().map(name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// What the store says.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.stats.delete();
        match self.store.delete(&self.at(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.failed("delete object", path, e)),
        }
    }

    /// A streaming write. Nothing is visible before `finish`.
    pub fn writer(&self, path: &str) -> ObjectWriter {
        ObjectWriter::new(self.clone(), path.to_owned())
    }

    fn at(&self, path: &str) -> Result<StorePath> {
        let full = if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) };
        StorePath::parse(full.trim_end_matches('/'))
            .map_err(|e| Error::invalid("not an object path").with("path", path).caused_by(e))
    }

    fn entry(&self, meta: &object_store::ObjectMeta) -> ObjectEntry {
        let full = meta.location.as_ref();
        let path = full.strip_prefix(&*self.prefix).unwrap_or(full).trim_start_matches('/').to_owned();
        ObjectEntry { path, size: meta.size, modified_ms: meta.last_modified.timestamp_millis() }
    }

    fn whole(&self, path: &str, range: &Range<u64>, bytes: Bytes) -> Result<Bytes> {
        if u64::try_from(bytes.len()).ok() == range.end.checked_sub(range.start) {
            return Ok(bytes);
        }
        let error = Error::corrupt("the object ends before the bytes asked for").during("get range");
        Err(error
            .with("path", path)
            .with("range", show(range))
            .with("got_bytes", bytes.len())
            .with("store", &self.description))
    }

    fn failed(&self, operation: &'static str, path: &str, error: object_store::Error) -> Error {
        from_store(error).during(operation).with("path", path).with("store", &self.description)
    }
}

fn show(range: &Range<u64>) -> String {
    format!("{}..{}", range.start, range.end)
}

/// Our kinds for the store's errors. An error of our own inside (the local store) keeps its kind.
fn from_store(error: object_store::Error) -> Error {
    use object_store::Error as E;
    let (kind, message) = match &error {
        E::NotFound { .. } => (Kind::NotFound, "no such object"),
        E::AlreadyExists { .. } | E::Precondition { .. } => (Kind::Conflict, "the object is already there"),
        E::NotSupported { .. } | E::NotImplemented { .. } => {
            (Kind::Unsupported, "the object store cannot do this")
        }
        // Not `Denied`: that is about who asks quipu, and this is about how quipu was set up.
        E::PermissionDenied { .. } | E::Unauthenticated { .. } | E::UnknownConfigurationKey { .. } => {
            (Kind::Config, "the object store refuses our credentials or rights")
        }
        E::InvalidPath { .. } => (Kind::Invalid, "not an object path"),
        E::JoinError { .. } => (Kind::Internal, "a task of the object store did not end"),
        E::Generic { source, .. } => match source.downcast_ref::<Error>() {
            Some(ours) => (ours.kind(), "the local store failed"),
            None => (Kind::Unavailable, "the object store failed"),
        },
        _ => (Kind::Unavailable, "the object store failed"),
    };
    Error::new(kind, message).caused_by(error)
}
