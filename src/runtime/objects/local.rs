//! Objects in a local folder, durable when the call returns. `object_store`'s own local store never syncs.
//!
//! ```text
//!   put        _tmp/x ─ write ─ fsync ─ rename ─▶ name ─ fsync folder
//!   create     _tmp/x ─ write ─ fsync ─ link ───▶ name ─ fsync folder ─ remove _tmp/x
//! ```
//! One process's temporary files share a prefix and a lock; a start removes those whose lock is free.
//! `PutMode::Update`, attributes and tags are refused or ignored: nothing of ours uses them.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path as StorePath;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result as StoreResult, UploadPart,
};
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::runtime::disk::{DirEntry, Disk, DiskFile, DiskLock};
use crate::runtime::pools::Pools;

const STORE: &str = "local";
/// Temporary files; names with `_` in front are ours and no tenant's.
const TEMP_FOLDER: &str = "_tmp";
const LOCK_SUFFIX: &str = ".lock";
/// Folders remembered as durable; beyond, all are made durable again.
const DURABLE_FOLDERS: usize = 10_000;
/// Removals on the way at once.
const DELETES_IN_FLIGHT: usize = 8;

/// A folder as an object store. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct LocalStore {
    folder: Arc<Folder>,
    pools: Pools,
}

/// The blocking half.
#[derive(Debug)]
struct Folder {
    root: PathBuf,
    /// Prefix of this process's temporary files.
    instance: String,
    disk: Disk,
    /// Folders whose own names this process has made durable.
    durable: Mutex<HashSet<PathBuf>>,
    _lock: DiskLock,
}

impl LocalStore {
    /// Opens a folder, made when missing, and removes what dead processes left behind.
    pub(super) async fn open(root: PathBuf, disk: Disk, pools: Pools) -> Result<Self> {
        let folder = pools.run_blocking(move || Folder::open(root, disk)).await?;
        Ok(Self { folder: Arc::new(folder), pools })
    }

    async fn run<T: Send + 'static>(
        &self,
        location: &StorePath,
        work: impl FnOnce(&Folder, &StorePath) -> Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        let (folder, at) = (Arc::clone(&self.folder), location.clone());
        let done = self.pools.run_blocking(move || work(&folder, &at)).await;
        done.map_err(|e| to_store(e, location))
    }
}

impl Folder {
    fn open(root: PathBuf, disk: Disk) -> Result<Self> {
        let temp = root.join(TEMP_FOLDER);
        disk.create_dir_all(&temp)?;
        let instance = Uuid::new_v4().simple().to_string();
        let lock = disk.lock(&temp.join(format!("{instance}{LOCK_SUFFIX}")))?;
        clear_leftovers(&disk, &temp, &instance)?;
        Ok(Self { root, instance, disk, durable: Mutex::default(), _lock: lock })
    }

    fn path(&self, location: &StorePath) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(location.parts().map(|part| part.as_ref().to_owned()));
        path
    }

    fn new_temp(&self) -> Result<DiskFile> {
        let name = format!("{}-{}", self.instance, Uuid::new_v4().simple());
        self.disk.create_new(&self.root.join(TEMP_FOLDER).join(name))
    }

    fn put(&self, location: &StorePath, payload: &PutPayload, create: bool) -> Result<()> {
        let mut temp = self.new_temp()?;
        let temp_path = temp.path().to_owned();
        let written = payload.iter().try_for_each(|bytes| temp.write_all(bytes));
        let placed = written.and_then(|()| temp.sync_data()).and_then(|()| {
            if create { self.link(&temp_path, location) } else { self.place(&temp_path, location) }
        });
        if create || placed.is_err() {
            // A leftover costs space until the next start and nothing else; the put's own answer matters more.
            if let Err(error) = self.disk.remove(&temp_path) {
                tracing::debug!(%error, "a temporary file stays until the next start");
            }
        }
        placed
    }

    /// Puts a synced temporary file under its name, over an existing one.
    fn place(&self, temp: &Path, location: &StorePath) -> Result<()> {
        let (target, dir) = self.make_room(location)?;
        self.disk.rename(temp, &target).inspect_err(|_| self.forget(&dir))?;
        self.disk.sync_dir(&dir)
    }

    /// Gives a synced temporary file its name unless the name is taken.
    fn link(&self, temp: &Path, location: &StorePath) -> Result<()> {
        let (target, dir) = self.make_room(location)?;
        let linked = self.disk.hard_link(temp, &target);
        // Also when the name is taken: whoever reads the winner next must be able to rely on it, and the
        // winner may be our own earlier try whose sync failed.
        self.disk.sync_dir(&dir).inspect_err(|_| self.forget(&dir))?;
        linked
    }

    fn make_room(&self, location: &StorePath) -> Result<(PathBuf, PathBuf)> {
        let target = self.path(location);
        let dir = target.parent().unwrap_or(&self.root).to_owned();
        if !self.durable().contains(&dir) {
            self.disk.create_dir_all(&dir)?;
            // Also where nothing was missing: an earlier try may have made a folder and failed to sync it.
            for at in dir.ancestors().take_while(|at| *at != self.root) {
                self.disk.sync_dir(at.parent().unwrap_or(&self.root))?;
            }
            let mut durable = self.durable();
            if durable.len() >= DURABLE_FOLDERS {
                durable.clear();
            }
            durable.insert(dir.clone());
        }
        Ok((target, dir))
    }

    /// Somebody may have taken the folder away.
    fn forget(&self, dir: &Path) {
        self.durable().remove(dir);
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stat(&self, location: &StorePath) -> Result<ObjectMeta> {
        let entry = self.disk.stat(&self.path(location))?;
        if entry.is_dir {
            return Err(Error::new(Kind::NotFound, "it is a folder"));
        }
        Ok(meta(location.clone(), &entry))
    }

    /// All files under a folder.
    fn walk(&self, prefix: &StorePath) -> Result<Vec<ObjectMeta>> {
        let mut files = Vec::new();
        let mut folders = vec![prefix.clone()];
        while let Some(folder) = folders.pop() {
            let level = self.level(&folder)?;
            files.extend(level.objects);
            folders.extend(level.common_prefixes);
        }
        Ok(files)
    }

    fn level(&self, folder: &StorePath) -> Result<ListResult> {
        let path = self.path(folder);
        // A killed process may have given a name and not made it durable: whoever lists builds on what it sees.
        let entries = match self.disk.sync_dir(&path).and_then(|()| self.disk.list(&path)) {
            Err(e) if e.kind() == Kind::NotFound => Vec::new(),
            other => other?,
        };
        let mut level = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
        let at_root = folder.as_ref().is_empty();
        for entry in entries.into_iter().filter(|e| !(at_root && e.name == TEMP_FOLDER)) {
            // A name that no object can have was not written by us.
            let full = if at_root { entry.name.clone() } else { format!("{folder}/{}", entry.name) };
            let Ok(location) = StorePath::parse(&full) else { continue };
            if entry.is_dir {
                level.common_prefixes.push(location);
            } else {
                level.objects.push(meta(location, &entry));
            }
        }
        Ok(level)
    }
}

/// Removes temporary files whose process is dead: its lock is free, or is gone.
fn clear_leftovers(disk: &Disk, temp: &Path, own: &str) -> Result<()> {
    let entries = disk.list(temp)?;
    let owner = |name: &str| name.split(['-', '.']).next().unwrap_or_default().to_owned();
    let mut alive = vec![own.to_owned()];
    let mut dead_locks = Vec::new();
    for entry in entries.iter().filter(|e| e.name.ends_with(LOCK_SUFFIX) && owner(&e.name) != own) {
        match disk.lock(&temp.join(&entry.name)) {
            Ok(lock) => dead_locks.push((lock, &entry.name)),
            Err(e) if e.kind() == Kind::Conflict => alive.push(owner(&entry.name)),
            Err(e) => return Err(e),
        }
    }
    for entry in entries.iter().filter(|e| !alive.contains(&owner(&e.name))) {
        match disk.remove(&temp.join(&entry.name)) {
            // Another process that starts now clears as well.
            Err(e) if e.kind() == Kind::NotFound => {}
            other => other?,
        }
    }
    drop(dead_locks);
    Ok(())
}

fn meta(location: StorePath, entry: &DirEntry) -> ObjectMeta {
    let last_modified =
        DateTime::from_timestamp_millis(entry.modified_ms).unwrap_or(DateTime::<Utc>::MIN_UTC);
    ObjectMeta { location, last_modified, size: entry.len, e_tag: None, version: None }
}

fn to_store(error: Error, location: &StorePath) -> StoreError {
    let path = location.to_string();
    match error.kind() {
        Kind::NotFound => StoreError::NotFound { path, source: Box::new(error) },
        Kind::Conflict => StoreError::AlreadyExists { path, source: Box::new(error) },
        _ => StoreError::Generic { store: STORE, source: Box::new(error) },
    }
}

fn refused(operation: &str) -> StoreError {
    StoreError::NotImplemented { operation: operation.to_owned(), implementer: STORE.to_owned() }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE}({})", self.folder.root.display())
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(
        &self,
        location: &StorePath,
        payload: PutPayload,
        opts: PutOptions,
    ) -> StoreResult<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return Err(refused("conditional update")),
        };
        self.run(location, move |folder, at| folder.put(at, &payload, create)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        _opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        let temp = self.run(location, |folder, _| folder.new_temp()).await?;
        let state = Parts { path: temp.path().to_owned(), temp: Some(temp), next: 0, early: BTreeMap::new() };
        Ok(Box::new(LocalUpload {
            store: self.clone(),
            location: location.clone(),
            given: 0,
            state: Arc::new(Mutex::new(state)),
        }))
    }

    async fn get_opts(&self, location: &StorePath, options: GetOptions) -> StoreResult<GetResult> {
        let meta = self.run(location, Folder::stat).await?;
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(wanted) => wanted.as_range(meta.size).map_err(|e| {
                let error = Error::invalid("the range is not inside the object").caused_by(e);
                StoreError::Generic { store: STORE, source: Box::new(error) }
            })?,
            None => 0..meta.size,
        };
        let bytes = if options.head {
            Bytes::new()
        } else {
            let one = range.clone();
            let read = move |folder: &Folder, at: &StorePath| {
                folder.disk.read_ranges(&folder.path(at), std::slice::from_ref(&one))
            };
            self.run(location, read).await?.pop().unwrap_or_default()
        };
        let payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    async fn get_ranges(&self, location: &StorePath, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        let ranges = ranges.to_vec();
        self.run(location, move |folder, at| folder.disk.read_ranges(&folder.path(at), &ranges)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<StorePath>>,
    ) -> BoxStream<'static, StoreResult<StorePath>> {
        let store = self.clone();
        let remove = move |location: StoreResult<StorePath>| {
            let store = store.clone();
            async move {
                let location = location?;
                // Not synced: what comes back after a crash is removed by the next clean-up.
                store.run(&location, |folder, at| folder.disk.remove(&folder.path(at))).await?;
                Ok(location)
            }
        };
        locations.map(remove).buffered(DELETES_IN_FLIGHT).boxed()
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let found = async move { store.run(&prefix, Folder::walk).await };
        stream::once(found).map_ok(|files| stream::iter(files.into_iter().map(Ok))).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> StoreResult<ListResult> {
        self.run(&prefix.cloned().unwrap_or_default(), Folder::level).await
    }

    async fn copy_opts(&self, from: &StorePath, to: &StorePath, options: CopyOptions) -> StoreResult<()> {
        let bytes = self.run(from, |folder, at| folder.disk.read(&folder.path(at))).await?;
        let create = matches!(options.mode, CopyMode::Create);
        self.run(to, move |folder, at| folder.put(at, &bytes.into(), create)).await
    }
}

/// A multipart upload: parts are appended to one temporary file in their order.
#[derive(Debug)]
struct LocalUpload {
    store: LocalStore,
    location: StorePath,
    /// Parts handed out.
    given: usize,
    state: Arc<Mutex<Parts>>,
}

#[derive(Debug)]
struct Parts {
    path: PathBuf,
    /// Gone once a write failed or the upload ended.
    temp: Option<DiskFile>,
    next: usize,
    /// Parts that came before their turn.
    early: BTreeMap<usize, PutPayload>,
}

impl Parts {
    fn add(&mut self, index: usize, payload: PutPayload) -> Result<()> {
        self.early.insert(index, payload);
        while let Some(payload) = self.early.remove(&self.next) {
            let temp = self.temp.as_mut().ok_or_else(|| Error::new(Kind::Io, "an earlier part failed"))?;
            if let Err(e) = payload.iter().try_for_each(|bytes| temp.write_all(bytes)) {
                self.temp = None;
                return Err(e);
            }
            self.next += 1;
        }
        Ok(())
    }

    fn finish(&mut self, folder: &Folder, location: &StorePath, given: usize) -> Result<()> {
        if self.next != given {
            return Err(Error::internal("an upload was completed before all its parts"));
        }
        let mut temp = self.temp.take().ok_or_else(|| Error::new(Kind::Io, "an earlier part failed"))?;
        temp.sync_data()?;
        folder.place(&self.path, location)
    }
}

#[async_trait]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (store, at, state) = (self.store.clone(), self.location.clone(), Arc::clone(&self.state));
        let index = self.given;
        self.given += 1;
        Box::pin(async move {
            let add = move |_: &Folder, _: &StorePath| {
                state.lock().unwrap_or_else(PoisonError::into_inner).add(index, data)
            };
            store.run(&at, add).await
        })
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let (state, given) = (Arc::clone(&self.state), self.given);
        let finish = move |folder: &Folder, at: &StorePath| {
            state.lock().unwrap_or_else(PoisonError::into_inner).finish(folder, at, given)
        };
        self.store.run(&self.location, finish).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> StoreResult<()> {
        let state = Arc::clone(&self.state);
        let remove = move |folder: &Folder, _: &StorePath| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.temp = None;
            folder.disk.remove(&state.path)
        };
        self.store.run(&self.location, remove).await
    }
}
