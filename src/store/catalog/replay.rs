//! Reading the log: commits, checkpoints and the hint where to start.
//!
//! Only `load` lists; everything else asks for names that it can compute.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::action::{Action, parse};
use super::checkpoint;
use super::log::{Ground, Moment};
use super::version::Version;
use crate::error::{Error, Kind, Result};
use crate::runtime::Objects;

/// Commit files on the way at once while a log is loaded.
const READS_IN_FLIGHT: usize = 16;

pub(super) const LOG_FOLDER: &str = "_delta_log";
const COMMIT_SUFFIX: &str = ".json";
const CHECKPOINT_SUFFIX: &str = ".checkpoint.parquet";

/// `_last_checkpoint`: where a reader starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hint {
    pub(super) version: u64,
    /// Actions in the checkpoint.
    pub(super) size: u64,
    pub(super) num_of_add_files: Option<u64>,
}

impl Hint {
    /// The hint for a checkpoint of this version.
    pub(super) fn of(version: &Version, actions: usize) -> Self {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Self {
            version: version.number,
            size: count(actions),
            num_of_add_files: Some(count(version.files.len())),
        }
    }
}

/// A log that was read from the store.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) version: Version,
    pub(super) checked: Moment,
    pub(super) checkpoint: Option<Hint>,
}

/// What a name in the log folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogFile {
    Commit(u64),
    Checkpoint(u64),
}

pub(super) fn commit_path(folder: &str, number: u64) -> String {
    format!("{folder}/{LOG_FOLDER}/{number:020}{COMMIT_SUFFIX}")
}

pub(super) fn checkpoint_path(folder: &str, number: u64) -> String {
    format!("{folder}/{LOG_FOLDER}/{number:020}{CHECKPOINT_SUFFIX}")
}

pub(super) fn hint_path(folder: &str) -> String {
    format!("{folder}/{LOG_FOLDER}/_last_checkpoint")
}

/// The kind of a log file by its path; `None` for anything else.
pub(super) fn classify(path: &str) -> Option<LogFile> {
    let name = path.rsplit('/').next()?;
    let number = |digits: &str| digits.parse().ok().filter(|_| digits.len() == 20);
    if let Some(digits) = name.strip_suffix(CHECKPOINT_SUFFIX) {
        return number(digits).map(LogFile::Checkpoint);
    }
    name.strip_suffix(COMMIT_SUFFIX).and_then(number).map(LogFile::Commit)
}

/// Listings while another process cleans the log up under us.
const LOAD_TRIES: usize = 3;

/// The whole log, or `None` where there is no table. Lists once, and again when files vanish meanwhile.
pub(super) async fn load(ground: &Ground, folder: &str) -> Result<Option<Loaded>> {
    let mut vanished = None;
    for _ in 0..LOAD_TRIES {
        match load_listed(ground, folder).await {
            Err(e) if e.kind() == Kind::NotFound => vanished = Some(e),
            other => return other,
        }
    }
    let error = Error::corrupt("the log has a gap").during("load log").with("table", folder);
    Err(vanished.map_or_else(|| Error::internal("no try was made"), |e| error.caused_by(e)))
}

async fn load_listed(ground: &Ground, folder: &str) -> Result<Option<Loaded>> {
    let entries = ground.objects.list(&format!("{folder}/{LOG_FOLDER}")).await?;
    let mut commits = BTreeSet::new();
    let mut checkpoints = BTreeSet::new();
    for file in entries.iter().filter_map(|entry| classify(&entry.path)) {
        match file {
            LogFile::Commit(number) => commits.insert(number),
            LogFile::Checkpoint(number) => checkpoints.insert(number),
        };
    }
    if commits.is_empty() && checkpoints.is_empty() {
        return Ok(None);
    }
    let mut version = start(ground, folder, &checkpoints).await?;
    // Protocol, metaData, streams, removals and files are the actions of a checkpoint.
    let actions = |v: &Version| 2 + v.txns.len() + v.removed.len() + v.files.len();
    let checkpoint = version.as_ref().map(|v| Hint::of(v, actions(v)));
    let newest = commits.last().copied().unwrap_or(0);
    let from = version.as_ref().map_or(0, |v| v.number + 1);
    let read = |number| async move {
        let actions = read_commit(&ground.objects, folder, number).await?;
        let gap =
            || Error::new(Kind::NotFound, "a commit is missing").with("path", commit_path(folder, number));
        Ok::<_, Error>((number, actions.ok_or_else(gap)?))
    };
    let mut reads = stream::iter(from..=newest).map(read).buffered(READS_IN_FLIGHT);
    while let Some((number, actions)) = reads.try_next().await? {
        version = Some(extend(version, folder, number, actions)?);
    }
    // What was committed while we read.
    loop {
        let checked = Moment::now(&ground.clock);
        let next = version.as_ref().map_or(0, |v| v.number + 1);
        match (read_commit(&ground.objects, folder, next).await?, version) {
            (Some(actions), known) => version = Some(extend(known, folder, next, actions)?),
            (None, Some(version)) => return Ok(Some(Loaded { version, checked, checkpoint })),
            (None, None) => return Ok(None),
        }
    }
}

/// The newest checkpoint that can be read. A damaged one is passed over while an older one is there; the commits
/// between are then needed and a missing one is an error.
async fn start(ground: &Ground, folder: &str, checkpoints: &BTreeSet<u64>) -> Result<Option<Version>> {
    let mut first_error = None;
    for number in checkpoints.iter().rev() {
        match read_checkpoint(ground, folder, *number).await {
            Ok(version) => return Ok(Some(version)),
            Err(error) if error.kind() == Kind::Corrupt => {
                tracing::warn!(%error, "a checkpoint is damaged; an older one is tried");
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    // Without any readable checkpoint the log must reach back to commit 0.
    match first_error {
        Some(error) if read_commit(&ground.objects, folder, 0).await?.is_none() => Err(error),
        _ => Ok(None),
    }
}

fn extend(version: Option<Version>, folder: &str, number: u64, actions: Vec<Action>) -> Result<Version> {
    let next = match version {
        Some(version) => version.next(actions),
        None => Version::from_actions(number, actions),
    };
    next.map_err(|e| e.with("path", commit_path(folder, number)))
}

/// One commit's actions; `None` when it does not exist.
pub(super) async fn read_commit(objects: &Objects, folder: &str, number: u64) -> Result<Option<Vec<Action>>> {
    let path = commit_path(folder, number);
    let Some(bytes) = read(objects, &path).await? else { return Ok(None) };
    parse(&bytes).map(Some).map_err(|e| e.during("read commit").with("path", path))
}

/// The state at a checkpoint.
pub(super) async fn read_checkpoint(ground: &Ground, folder: &str, number: u64) -> Result<Version> {
    let path = checkpoint_path(folder, number);
    let bytes = ground.objects.get(&path).await?;
    let decode = move || Version::from_actions(number, checkpoint::decode(bytes)?);
    let version = ground.pools.run_blocking(decode).await;
    version.map_err(|e| e.during("read checkpoint").with("path", path))
}

/// `_last_checkpoint`.
pub(super) async fn read_hint(objects: &Objects, folder: &str) -> Result<Option<Hint>> {
    let path = hint_path(folder);
    let Some(bytes) = read(objects, &path).await? else { return Ok(None) };
    let hint = serde_json::from_slice(&bytes);
    hint.map(Some).map_err(|e| Error::corrupt("the hint is not JSON").with("path", path).caused_by(e))
}

async fn read(objects: &Objects, path: &str) -> Result<Option<Bytes>> {
    match objects.get(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
