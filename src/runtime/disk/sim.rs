//! A disk in memory that forgets in a crash what was not synced, gets full and fails on demand.
//!
//! ```text
//!   names now ──sync_dir──▶ durable names        a crash keeps of every directory a prefix of its
//!   bytes now ──sync_data─▶ durable bytes        pending name changes, of every file a prefix of its tail
//! ```
//! Not modelled: reordered sectors inside one write, and permissions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::DirEntry;
use crate::error::{Error, Kind, Result};
use crate::runtime::clock::Clock;
use crate::runtime::dice::Dice;

/// What shall go wrong. Mutating operations are counted: create, write, truncate, sync, link, rename, remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The `nth` mutating operation from now (0 is the next) fails without effect, later ones work.
    FailOnce {
        /// How many succeed before.
        nth: u64,
    },
    /// The `nth` mutating operation from now and everything after it fails until [`SimDisk::crash`].
    PowerCut {
        /// How many succeed before.
        nth: u64,
    },
}

/// What a disk with a planted bug calls durable although it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// The bytes of files: `sync_data` does nothing.
    Files,
    /// The names in folders: `sync_dir` does nothing.
    Folders,
}

/// A simulated disk. Cheap to clone; clones are one disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

type FileId = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(FileId),
}

/// One change of one directory's names; a rename inside a directory is one change.
#[derive(Debug, Clone)]
struct Change {
    gone: Option<PathBuf>,
    new: Option<(PathBuf, Node)>,
}

#[derive(Debug, Default)]
struct Inode {
    data: Vec<u8>,
    /// How much of `data` survives a crash for certain.
    synced: usize,
    /// Durable bytes after `synced` that an unsynced truncate cut off; they may come back.
    cut: Vec<u8>,
    modified_ms: i64,
}

#[derive(Debug)]
struct State {
    clock: Clock,
    dice: Dice,
    names: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    pending: BTreeMap<PathBuf, Vec<Change>>,
    inodes: HashMap<FileId, Inode>,
    next_file: FileId,
    locks: BTreeSet<PathBuf>,
    /// Counts crashes: handles of an earlier life are dead.
    life: u64,
    free: u64,
    operations: u64,
    fault: Option<(Fault, u64)>,
    /// A planted bug, and under which folder.
    lie: Option<(Lie, PathBuf)>,
}

impl SimDisk {
    pub(super) fn new(seed: u64, clock: Clock) -> Self {
        let state = State {
            clock,
            dice: Dice::new(seed),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: BTreeMap::new(),
            inodes: HashMap::new(),
            next_file: 0,
            locks: BTreeSet::new(),
            life: 0,
            free: u64::MAX / 2,
            operations: 0,
            fault: None,
            lie: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Power loss and restart: drops what was not synced (the seed decides how much of it), frees locks, ends
    /// open files and any fault.
    pub fn crash(&self) {
        self.state().crash();
    }

    /// `kill -9` and restart: what was written is there, what was not synced is still not; the rest as in
    /// [`SimDisk::crash`].
    pub fn kill(&self) {
        self.state().end_life();
    }

    /// The clock of the next life; it gives the files their times.
    pub fn set_clock(&self, clock: Clock) {
        self.state().clock = clock;
    }

    /// Plants a bug for everything under a folder: a test shows with it that it would find one.
    pub fn set_lie(&self, lie: Lie, under: &Path) {
        self.state().lie = Some((lie, tidy(under)));
    }

    /// Sets how many bytes may still be written.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.state().free = bytes;
    }

    /// Bytes that may still be written.
    pub fn free_bytes(&self) -> u64 {
        self.state().free
    }

    /// Sets what shall go wrong, or nothing.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.state();
        state.fault = fault.map(|f| (f, state.operations));
    }

    /// Mutating operations so far: a test runs once, reads this, then fails every one of them in turn.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Overwrites one byte of a file in place, as a bad sector would.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when the file is shorter.
    pub fn flip_byte(&self, path: &Path, offset: usize) -> Result<()> {
        let mut state = self.state();
        let id = state.file(path)?;
        let byte = state.inode(id)?.data.get_mut(offset);
        *byte.ok_or_else(|| Error::invalid("no such offset").with("offset", offset))? ^= 0xff;
        Ok(())
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        is_root(path) || self.state().names.get(&tidy(path)) == Some(&Node::Dir)
    }

    pub(super) fn create_dir(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        state.step()?;
        match state.names.get(&tidy(path)) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(Error::new(Kind::Conflict, "the name is taken")),
            None => state.change(None, Some((tidy(path), Node::Dir))),
        }
    }

    pub(super) fn list(&self, dir: &Path) -> Result<Vec<DirEntry>> {
        let state = self.state();
        state.need_dir(&tidy(dir))?;
        let dir = tidy(dir);
        // Paths are ordered by component: what is under a directory follows it.
        let under = state.names.range(dir.clone()..).take_while(|(path, _)| path.starts_with(&dir));
        let inside = under.filter(|(path, _)| **path != dir && parent(path) == dir);
        Ok(inside.map(|(path, node)| state.entry(path, *node)).collect())
    }

    pub(super) fn stat(&self, path: &Path) -> Result<DirEntry> {
        let state = self.state();
        let node = state.names.get(&tidy(path)).copied().ok_or_else(not_found)?;
        Ok(state.entry(path, node))
    }

    pub(super) fn read_at(&self, path: &Path, offset: u64, len: Option<usize>) -> Result<Bytes> {
        let mut state = self.state();
        let id = state.file(path)?;
        let data = &state.inode(id)?.data;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = len.map_or(data.len(), |len| start.saturating_add(len));
        let bytes = data.get(start..end).ok_or_else(|| {
            Error::new(Kind::Io, "the file ends before the bytes asked for").with("file_length", data.len())
        })?;
        Ok(Bytes::copy_from_slice(bytes))
    }

    pub(super) fn create_new(&self, path: &Path) -> Result<SimFile> {
        let mut state = self.state();
        state.step()?;
        if state.names.contains_key(&tidy(path)) {
            return Err(Error::new(Kind::Conflict, "the name is taken"));
        }
        let id = state.next_file;
        state.change(None, Some((tidy(path), Node::File(id))))?;
        state.next_file += 1;
        let modified_ms = state.clock.now_ms();
        state.inodes.insert(id, Inode { modified_ms, ..Inode::default() });
        Ok(SimFile { disk: self.clone(), path: tidy(path), id, life: state.life })
    }

    pub(super) fn open(&self, path: &Path) -> Result<SimFile> {
        let state = self.state();
        Ok(SimFile { disk: self.clone(), path: tidy(path), id: state.file(path)?, life: state.life })
    }

    pub(super) fn remove(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        state.step()?;
        let id = state.file(path)?;
        state.change(Some(tidy(path)), None)?;
        // The bytes are free with the last name; the inode stays, as the name may come back in a crash.
        if !state.names.values().any(|node| node.file() == Some(id)) {
            let len = u64::try_from(state.inode(id)?.data.len()).unwrap_or(u64::MAX);
            state.free = state.free.saturating_add(len);
        }
        Ok(())
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.state();
        state.step()?;
        let node = Node::File(state.file(from)?);
        if state.names.get(&tidy(to)) == Some(&Node::Dir) {
            return Err(Error::new(Kind::Conflict, "the name is taken"));
        }
        state.change(Some(tidy(from)), Some((tidy(to), node)))
    }

    pub(super) fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.state();
        state.step()?;
        let node = Node::File(state.file(from)?);
        if state.names.contains_key(&tidy(to)) {
            return Err(Error::new(Kind::Conflict, "the name is taken"));
        }
        state.change(None, Some((tidy(to), node)))
    }

    pub(super) fn sync_dir(&self, dir: &Path) -> Result<()> {
        let mut state = self.state();
        state.step()?;
        let dir = tidy(dir);
        state.need_dir(&dir)?;
        if state.lies(Lie::Folders, &dir) {
            return Ok(());
        }
        for change in state.pending.remove(&dir).unwrap_or_default() {
            apply(&mut state.durable, change);
        }
        Ok(())
    }

    pub(super) fn lock(&self, path: &Path) -> Result<SimLock> {
        if let Err(e) = self.create_new(path)
            && e.kind() != Kind::Conflict
        {
            return Err(e);
        }
        let mut state = self.state();
        if !state.locks.insert(tidy(path)) {
            return Err(Error::new(Kind::Conflict, "another process holds the lock"));
        }
        Ok(SimLock { disk: self.clone(), path: tidy(path), life: state.life })
    }
}

impl State {
    /// Counts a mutating operation and fails it when its turn has come.
    fn step(&mut self) -> Result<()> {
        let now = self.operations;
        self.operations += 1;
        match self.fault {
            Some((Fault::FailOnce { nth }, since)) if now == since + nth => {
                self.fault = None;
                Err(Error::new(Kind::Io, "injected fault"))
            }
            Some((Fault::PowerCut { nth }, since)) if now >= since + nth => {
                Err(Error::new(Kind::Io, "the power is cut"))
            }
            _ => Ok(()),
        }
    }

    fn need_dir(&self, dir: &Path) -> Result<()> {
        let exists = is_root(dir) || self.names.get(dir) == Some(&Node::Dir);
        if exists { Ok(()) } else { Err(not_found()) }
    }

    fn file(&self, path: &Path) -> Result<FileId> {
        match self.names.get(&tidy(path)) {
            Some(Node::File(id)) => Ok(*id),
            Some(Node::Dir) => Err(Error::new(Kind::Io, "it is a directory")),
            None => Err(not_found()),
        }
    }

    fn inode(&mut self, id: FileId) -> Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(not_found)
    }

    fn entry(&self, path: &Path, node: Node) -> DirEntry {
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let inode = match node {
            Node::Dir => None,
            Node::File(id) => self.inodes.get(&id),
        };
        let len = inode.map_or(0, |i| u64::try_from(i.data.len()).unwrap_or(u64::MAX));
        DirEntry { name, len, is_dir: node == Node::Dir, modified_ms: inode.map_or(0, |i| i.modified_ms) }
    }

    /// Changes the names now and remembers the change for `sync_dir`.
    fn change(&mut self, gone: Option<PathBuf>, new: Option<(PathBuf, Node)>) -> Result<()> {
        if let Some((path, _)) = &new {
            self.need_dir(&parent(path))?;
        }
        let home = |path: &Option<PathBuf>| path.as_deref().map(parent);
        let (left, entered) = (home(&gone), home(&new.as_ref().map(|(path, _)| path.clone())));
        apply(&mut self.names, Change { gone: gone.clone(), new: new.clone() });
        if left == entered || left.is_none() || entered.is_none() {
            let dir = entered.or(left).expect("a change takes or gives a name");
            self.pending.entry(dir).or_default().push(Change { gone, new });
        } else if let (Some(left), Some(entered)) = (left, entered) {
            // Between two directories: the new name first, as journalling file systems keep the file reachable.
            self.pending.entry(entered).or_default().push(Change { gone: None, new });
            self.pending.entry(left).or_default().push(Change { gone, new: None });
        }
        Ok(())
    }

    fn crash(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for changes in pending.into_values() {
            let kept = self.below(changes.len() + 1);
            for change in changes.into_iter().take(kept) {
                apply(&mut self.durable, change);
            }
        }
        // A name whose directory is gone is gone.
        let durable = std::mem::take(&mut self.durable);
        for (path, node) in durable {
            let dir = parent(&path);
            if is_root(&dir) || self.durable.contains_key(&dir) {
                self.durable.insert(path, node);
            }
        }
        self.names = self.durable.clone();
        let mut ids: Vec<FileId> = self.inodes.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let coin = self.below(2);
            let tail = self.inodes.get(&id).map_or(0, |i| i.data.len() - i.synced);
            let kept = self.below(tail + 1);
            if let Some(inode) = self.inodes.get_mut(&id) {
                inode.crash(coin == 0, kept);
            }
        }
        let live: BTreeSet<FileId> = self.names.values().filter_map(Node::file).collect();
        self.inodes.retain(|id, _| live.contains(id));
        self.end_life();
    }

    fn end_life(&mut self) {
        self.locks.clear();
        self.fault = None;
        self.life += 1;
    }

    fn lies(&self, lie: Lie, path: &Path) -> bool {
        self.lie.as_ref().is_some_and(|(told, under)| *told == lie && path.starts_with(under))
    }

    fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        usize::try_from(self.dice.below(n)).unwrap_or(0)
    }
}

impl Node {
    fn file(&self) -> Option<FileId> {
        match self {
            Self::Dir => None,
            Self::File(id) => Some(*id),
        }
    }
}

impl Inode {
    fn crash(&mut self, cut_comes_back: bool, tail: usize) {
        if cut_comes_back && !self.cut.is_empty() {
            self.data.truncate(self.synced);
            self.data.append(&mut self.cut);
        } else {
            self.data.truncate(self.synced + tail);
        }
        self.cut.clear();
        self.synced = self.data.len();
    }
}

/// An open file of a simulated disk.
#[derive(Debug)]
pub(super) struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    id: FileId,
    life: u64,
}

impl SimFile {
    fn with<T>(&self, step: bool, work: impl FnOnce(&mut State, FileId) -> Result<T>) -> Result<T> {
        let mut state = self.disk.state();
        if state.life != self.life {
            return Err(Error::new(Kind::Io, "the file was open when the power was cut"));
        }
        if step {
            state.step()?;
        }
        work(&mut state, self.id)
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.with(true, |state, id| {
            let room = usize::try_from(state.free).unwrap_or(usize::MAX);
            let written = bytes.len().min(room);
            state.free -= u64::try_from(written).unwrap_or(u64::MAX);
            let now = state.clock.now_ms();
            let inode = state.inode(id)?;
            inode.data.extend_from_slice(&bytes[..written]);
            inode.modified_ms = now;
            if written < bytes.len() {
                return Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into());
            }
            Ok(())
        })
    }

    pub(super) fn sync_data(&self) -> Result<()> {
        self.with(true, |state, id| {
            if state.lies(Lie::Files, &self.path) {
                return Ok(());
            }
            let inode = state.inode(id)?;
            inode.synced = inode.data.len();
            inode.cut.clear();
            Ok(())
        })
    }

    pub(super) fn len(&self) -> Result<u64> {
        self.with(false, |state, id| Ok(u64::try_from(state.inode(id)?.data.len()).unwrap_or(u64::MAX)))
    }

    pub(super) fn truncate(&self, len: u64) -> Result<()> {
        self.with(true, |state, id| {
            let inode = state.inode(id)?;
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if len > inode.data.len() {
                return Err(Error::unsupported("growing a file by truncate"));
            }
            let freed = inode.data.len() - len;
            if len < inode.synced {
                let mut cut = inode.data[len..inode.synced].to_vec();
                cut.append(&mut inode.cut);
                inode.cut = cut;
                inode.synced = len;
            }
            inode.data.truncate(len);
            state.free = state.free.saturating_add(u64::try_from(freed).unwrap_or(u64::MAX));
            Ok(())
        })
    }
}

/// A held lock of a simulated disk.
#[derive(Debug)]
pub(super) struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, change: Change) {
    if let Some(gone) = change.gone {
        names.remove(&gone);
    }
    if let Some((path, node)) = change.new {
        names.insert(path, node);
    }
}

fn not_found() -> Error {
    Error::new(Kind::NotFound, "no such file or directory")
}

/// Without `.` and the root slash, so that one file has one key.
fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|c| matches!(c, Component::Normal(_))).collect()
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

fn is_root(path: &Path) -> bool {
    tidy(path).as_os_str().is_empty()
}
