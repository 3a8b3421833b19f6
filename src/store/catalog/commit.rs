//! Extending the log by one commit, whatever happens to the answers.
//!
//! The number is the lock: who creates `N.json` first has committed N. An answer that was lost is found again by
//! the UUID in the commit; an attempt that outlived the log's clean-up undoes itself.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Field;
use bytes::Bytes;
use uuid::Uuid;

use super::action::{Action, CommitInfo, MetaData, Txn, render};
use super::file::DataFile;
use super::log::{FILES_WAIT_MS, FRESH_MS, Moment, Shared, State, TableLog};
use super::replay;
use super::schema::with_columns;
use super::version::{Removed, Version};
use crate::error::{Error, Kind, Result};
use crate::runtime::{FaultPoint, PutOutcome};

/// Puts of one number whose answer may be lost, before the caller is told that the store does not answer.
const TRIES_PER_NUMBER: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What shall change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commit {
    /// New files. Their rank must be made from the version that is being tried.
    pub(crate) adds: Vec<DataFile>,
    /// Paths of files that these replace or that expired; all must be live.
    pub(crate) removes: Vec<String>,
    /// How far streams got: application id and last sequence.
    pub(crate) txns: Vec<(String, i64)>,
    /// Columns that the table must have; those that it lacks are added to its schema, and old files read as null.
    pub(crate) columns: Vec<Field>,
    /// Whether rows appear or disappear; false for a compaction.
    pub(crate) data_change: bool,
    /// When the first of the new files was begun, ms since 1970; `None` without new files.
    pub(crate) begun_ms: Option<i64>,
}

/// The bytes of one try.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) actions: Vec<Action>,
    id: String,
}

impl Body {
    pub(super) fn new(operation: &str, writer: &str, now_ms: i64, actions: Vec<Action>) -> Result<Self> {
        let id = Uuid::new_v4().to_string();
        let info = CommitInfo {
            timestamp: now_ms,
            operation: operation.to_owned(),
            operation_parameters: std::collections::BTreeMap::new(),
            engine_info: concat!("quipu/", env!("CARGO_PKG_VERSION")).to_owned(),
            quipu_commit: id.clone(),
            quipu_writer: writer.to_owned(),
        };
        let mut all = vec![Action::CommitInfo(info)];
        all.extend(actions);
        Ok(Self { bytes: render(&all)?.into(), actions: all, id })
    }

    fn is(&self, actions: &[Action]) -> bool {
        actions
            .iter()
            .any(|action| matches!(action, Action::CommitInfo(info) if info.quipu_commit == self.id))
    }
}

/// How one number ended.
enum Outcome {
    /// It is ours.
    Ours(Body),
    /// Somebody else has it; this is theirs.
    Theirs(Vec<Action>),
}

impl TableLog {
    /// Commits what `make` says, given the version it extends and the number that is being tried; it is asked
    /// again for every number. Returns the version that contains it.
    ///
    /// When all of the commit's streams already stand at the wanted sequence by an earlier commit of this process
    /// whose answer was lost, nothing is written and the known version is the answer.
    ///
    /// # Errors
    /// `Conflict` when a file to remove is gone, and when a stream of ours was moved by somebody else (a copied
    /// WAL directory: the node must halt); `Internal` for a commit that breaks the rules. After any other error
    /// (`Unavailable`, `Timeout`, `Io` …) the commit may have happened: files that it names must not be deleted;
    /// commit again.
    pub(crate) async fn commit(
        &self,
        mut make: impl FnMut(&Version, u64) -> Result<Commit> + Send,
    ) -> Result<Arc<Version>> {
        let shared = &*self.shared;
        let clock = shared.ground.clock;
        let mut state = shared.state.lock().await;
        let begun = Moment::now(&clock);
        let give_up = i64::try_from(shared.options.give_up.as_millis()).unwrap_or(i64::MAX);
        loop {
            if state.checked.age_ms(&clock) > FRESH_MS {
                shared.catch_up(&mut state).await?;
            }
            if begun.age_ms(&clock) > give_up {
                return Err(Error::new(Kind::Timeout, "the commit took too long and was given up")
                    .during("commit")
                    .with("table", &shared.folder)
                    .with("limit_ms", give_up));
            }
            let number = state.version.number + 1;
            let commit = make(&state.version, number)?;
            if shared.is_done(&state, &commit)? {
                return Ok(Arc::clone(&state.version));
            }
            let body = shared.body(&state.version, number, commit)?;
            shared.ground.faults.at(FaultPoint::CommitBegun).await;
            match shared.put(&mut state, number, body).await? {
                Outcome::Ours(body) => {
                    shared.ground.faults.at(FaultPoint::CommitWritten).await;
                    shared.advance(&mut state, body.actions)?;
                    debug_assert_eq!(state.version.number, number, "our commit is the newest");
                    break;
                }
                Outcome::Theirs(actions) => shared.advance(&mut state, actions)?,
            }
        }
        let version = Arc::clone(&state.version);
        self.checkpoint_if_due(&mut state).await;
        Ok(version)
    }
}

impl Shared {
    /// Whether an earlier commit of ours, whose answer was lost, did this already.
    fn is_done(&self, state: &State, commit: &Commit) -> Result<bool> {
        let mut done = !commit.txns.is_empty();
        for (app_id, version) in &commit.txns {
            let found = state.version.txn(app_id);
            let expected = state.expected.get(app_id).copied();
            if found != expected || found.is_some_and(|found| found > *version) {
                let message = "a stream of this node was committed by somebody else: its WAL directory was \
                               copied, and this node must not go on";
                let show = |n: Option<i64>| n.map_or_else(|| "none".to_owned(), |n| n.to_string());
                return Err(Error::new(Kind::Conflict, message)
                    .during("commit")
                    .with("table", &self.folder)
                    .with("app_id", app_id)
                    .with("found", show(found))
                    .with("expected", show(expected))
                    .with("committing", version));
            }
            done &= found == Some(*version);
        }
        Ok(done)
    }

    fn body(&self, base: &Version, number: u64, commit: Commit) -> Result<Body> {
        let now = self.ground.clock.now_ms();
        if commit.begun_ms.is_some_and(|begun| now.saturating_sub(begun) > FILES_WAIT_MS) {
            let message = "data files waited so long for their commit that they may have been cleared away";
            return Err(Error::new(Kind::Timeout, message)
                .during("commit")
                .with("table", &self.folder)
                .with("limit_ms", FILES_WAIT_MS));
        }
        check(base, number, &commit).map_err(|e| e.during("commit").with("table", &self.folder))?;
        let mut actions = Vec::new();
        if let Some(schema_string) = with_columns(base.schema_string(), &commit.columns)? {
            actions.push(Action::MetaData(MetaData { schema_string, ..(*base.meta).clone() }));
        }
        for (app_id, version) in commit.txns {
            actions.push(Action::Txn(Txn { app_id, version, last_updated: Some(now) }));
        }
        for path in &commit.removes {
            let size = base.file(path).map_or(0, |file| file.size);
            let removed = Removed { path: path.as_str().into(), at_ms: now, size };
            actions.push(Action::Remove(removed.to_line(commit.data_change)));
        }
        for file in &commit.adds {
            actions.push(Action::Add(file.to_line(commit.data_change)?));
        }
        let operation = match (commit.data_change, commit.removes.is_empty()) {
            (false, _) => "OPTIMIZE",
            (true, true) => "WRITE",
            (true, false) => "DELETE",
        };
        Body::new(operation, &self.writer, now, actions)
    }

    /// Puts one number until its fate is known.
    async fn put(&self, state: &mut State, number: u64, body: Body) -> Result<Outcome> {
        let (clock, objects) = (self.ground.clock, &self.ground.objects);
        let path = replay::commit_path(&self.folder, number);
        let mut pause = FIRST_PAUSE;
        for left in (0..TRIES_PER_NUMBER).rev() {
            let asked = Moment::now(&clock);
            match objects.put_create(&path, body.bytes.clone()).await {
                Ok(PutOutcome::Created) => {
                    if state.checked.age_ms(&clock) > FRESH_MS {
                        self.must_follow(number).await?;
                    }
                    state.checked = asked;
                    return Ok(Outcome::Ours(body));
                }
                Ok(PutOutcome::AlreadyExists) => {
                    let found = replay::read_commit(objects, &self.folder, number).await?;
                    let gone = || Error::corrupt("a commit exists and cannot be read").with("path", &path);
                    let found = found.ok_or_else(gone)?;
                    state.checked = asked;
                    return Ok(if body.is(&found) { Outcome::Ours(body) } else { Outcome::Theirs(found) });
                }
                // The put may have happened. The same bytes again tell: they are then "already there", and a
                // local store makes that durable before it says so, which a read would not.
                Err(error) if left > 0 && may_pass(error.kind()) => {
                    tracing::warn!(%error, number, "a commit got no answer and is tried again");
                    clock.sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => return Err(error.during("commit")),
            }
        }
        Err(Error::internal("the last try returns"))
    }

    /// After a put that took very long (a suspended machine): the number may have been committed by somebody
    /// else and cleaned away, and then ours is in nobody's history. Clean-up goes upwards, so that a commit
    /// whose predecessor is there was not cleaned away before.
    async fn must_follow(&self, number: u64) -> Result<()> {
        let objects = &self.ground.objects;
        match objects.head(&replay::commit_path(&self.folder, number - 1)).await {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == Kind::NotFound => {
                objects.delete(&replay::commit_path(&self.folder, number)).await?;
                let message =
                    "the commit came so late that its place in the log was cleaned away; it is undone";
                Err(Error::new(Kind::Unavailable, message)
                    .with("table", &self.folder)
                    .with("version", number))
            }
            Err(e) => Err(e),
        }
    }
}

/// What must hold of a commit on top of `base`.
fn check(base: &Version, number: u64, commit: &Commit) -> Result<()> {
    for path in &commit.removes {
        if base.file(path).is_none() {
            let message = "a file to be replaced is no longer part of the table";
            return Err(Error::new(Kind::Conflict, message).with("data_file", path));
        }
    }
    for file in &commit.adds {
        let named = |message: &str| Error::internal(message).with("data_file", &file.path);
        if base.file(&file.path).is_some() || base.removed.contains_key(file.path.as_str()) {
            return Err(named("a data file is added twice"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if file.path.is_empty() || !file.path.chars().all(plain) {
            return Err(named("a data file's path has characters that a URL escapes"));
        }
        if file.tags.rank.lo > file.tags.rank.hi || file.tags.rank.hi > number {
            return Err(named("a data file's rank is not from the past").with("version", number));
        }
        let rows: u64 = file.tags.row_groups.iter().sum();
        if rows != file.stats.num_records {
            return Err(named("the rows of the row groups are not the rows of the file").with("rows", rows));
        }
    }
    Ok(())
}

fn may_pass(kind: Kind) -> bool {
    matches!(kind, Kind::Unavailable | Kind::Timeout | Kind::Io)
}
