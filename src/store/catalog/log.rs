//! The log of one table in this process: the newest known version, and who may extend it.
//!
//! Readers take the published version and never wait. Commits and refreshes of one process go one after the
//! other; between processes create-if-absent decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use arrow::datatypes::Schema;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::action::{Action, MetaData, Protocol, Txn};
use super::commit::Body;
use super::replay::{self, Hint};
use super::schema::{is_expected, schema_string};
use super::version::Version;
use crate::error::{Error, Result};
use crate::model::Tenant;
use crate::runtime::{Clock, Faults, Objects, Pools};

/// How long "version N is the newest" is believed without asking. Far below the 24 h for which log files are
/// kept, so that a missing N+1 means "not committed" and never "committed and cleaned away".
pub(super) const FRESH_MS: i64 = 3_600_000;

/// How long data files may wait for their commit. Half of the day after which a file that no commit names is
/// cleared away: a machine that slept in the middle of a flush must write its files again.
pub(super) const FILES_WAIT_MS: i64 = 12 * 3_600_000;

/// What the log stands on.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// Where the tables are.
    pub(crate) objects: Objects,
    /// Commit and removal times.
    pub(crate) clock: Clock,
    /// Where checkpoints are encoded.
    pub(crate) pools: Pools,
    /// Where a test ends it all.
    pub(crate) faults: Faults,
}

/// How the log is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogOptions {
    /// Commits between two checkpoints.
    pub(crate) checkpoint_every: u64,
    /// How long a commit file stays after a checkpoint covers it, ms. At least a day: see [`FRESH_MS`].
    pub(crate) keep_log_ms: i64,
    /// How long a removal is remembered, ms. Longer than garbage collection waits.
    pub(crate) keep_removed_ms: i64,
    /// An attempt older than this gives up.
    pub(crate) give_up: Duration,
    /// Whether the table may have more columns than this version's, all optional.
    pub(crate) may_grow: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            checkpoint_every: 100,
            keep_log_ms: 24 * 3_600_000,
            keep_removed_ms: 7 * 24 * 3_600_000,
            give_up: Duration::from_mins(10),
            may_grow: false,
        }
    }
}

/// The Delta log of one table. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct TableLog {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) ground: Ground,
    pub(super) options: LogOptions,
    /// `tenant/table`.
    pub(super) folder: String,
    /// UUID of this process's commits.
    pub(super) writer: String,
    pub(super) published: ArcSwap<Version>,
    pub(super) state: Mutex<State>,
}

/// What commits of this process rely on.
#[derive(Debug)]
pub(super) struct State {
    pub(super) version: Arc<Version>,
    /// What our own streams must stand at: their state at the start and what we committed since. Another value
    /// in the log means that somebody runs a copy of our WAL directory.
    pub(super) expected: BTreeMap<String, i64>,
    pub(super) checked: Moment,
    /// The newest checkpoint that is known to be complete.
    pub(super) checkpoint: Option<Hint>,
    /// The checkpoint that the last clean-up went by, and when it was.
    pub(super) cleaned: Option<(u64, Moment)>,
    /// The last search for files that no commit names.
    pub(super) swept: Option<Moment>,
}

/// A time on both clocks: the monotonic one stands still while a machine sleeps, the other one may be set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    wall_ms: i64,
    monotonic: Duration,
}

impl Moment {
    pub(super) fn now(clock: &Clock) -> Self {
        Self { wall_ms: clock.now_ms(), monotonic: clock.monotonic() }
    }

    /// Milliseconds since, by the clock that saw more.
    pub(super) fn age_ms(self, clock: &Clock) -> i64 {
        let ticks = clock.monotonic().saturating_sub(self.monotonic).as_millis();
        let ticks = i64::try_from(ticks).unwrap_or(i64::MAX);
        ticks.max(clock.now_ms().saturating_sub(self.wall_ms))
    }
}

impl TableLog {
    /// Opens the log of `tenant/table`, or creates the table with its first commit.
    ///
    /// # Errors
    /// `Corrupt` naming the damaged log file; `Unsupported` when a later quipu or another engine wrote the table,
    /// or when its columns are not `schema`; what the store says.
    pub(crate) async fn open(
        ground: Ground,
        options: LogOptions,
        tenant: &Tenant,
        table: &str,
        schema: &Schema,
    ) -> Result<Self> {
        let folder = format!("{}/{table}", tenant.as_str());
        let columns = schema_string(schema).map_err(|e| e.with("table", table))?;
        let writer = Uuid::new_v4().to_string();
        let loaded = match replay::load(&ground, &folder).await? {
            Some(loaded) => loaded,
            None => {
                create(&ground, &folder, table, columns.clone(), &writer).await?;
                let again = replay::load(&ground, &folder).await?;
                again.ok_or_else(|| {
                    Error::internal("the first commit cannot be read").with("table", &folder)
                })?
            }
        };
        if !is_expected(loaded.version.schema_string(), &columns, options.may_grow) {
            return Err(Error::unsupported("a table with other columns than this version writes")
                .with("table", folder)
                .with("found", loaded.version.schema_string())
                .with("expected", columns));
        }
        let version = Arc::new(loaded.version);
        let state = State {
            expected: version.txns().map(|txn| (txn.app_id.clone(), txn.version)).collect(),
            version: Arc::clone(&version),
            checked: loaded.checked,
            checkpoint: loaded.checkpoint,
            cleaned: None,
            swept: None,
        };
        let published = ArcSwap::new(version);
        let shared = Shared { ground, options, folder, writer, published, state: Mutex::new(state) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The newest version that this process knows.
    pub(crate) fn snapshot(&self) -> Arc<Version> {
        self.shared.published.load_full()
    }

    /// `tenant/table`: where the paths of the data files start.
    pub(crate) fn folder(&self) -> &str {
        &self.shared.folder
    }

    /// Looks for commits of other processes: one request when there are none.
    ///
    /// # Errors
    /// `Corrupt` naming the log file, or what the store says; the known version stays then.
    #[cfg(test)]
    pub(crate) async fn refresh(&self) -> Result<Arc<Version>> {
        let mut state = self.shared.state.lock().await;
        self.shared.catch_up(&mut state).await?;
        Ok(Arc::clone(&state.version))
    }
}

impl Shared {
    /// Reads commits until one is missing.
    pub(super) async fn catch_up(&self, state: &mut State) -> Result<()> {
        loop {
            let asked = Moment::now(&self.ground.clock);
            let number = state.version.number + 1;
            match replay::read_commit(&self.ground.objects, &self.folder, number).await? {
                Some(actions) => self.advance(state, actions)?,
                // After a long silence it may have been committed and cleaned away.
                None if state.checked.age_ms(&self.ground.clock) > FRESH_MS && self.jump(state).await? => {}
                None => {
                    state.checked = asked;
                    return Ok(());
                }
            }
        }
    }

    /// Goes on from the newest checkpoint when that is ahead of what is known.
    async fn jump(&self, state: &mut State) -> Result<bool> {
        let hint = replay::read_hint(&self.ground.objects, &self.folder).await?;
        let Some(hint) = hint.filter(|hint| hint.version > state.version.number) else { return Ok(false) };
        let jumped = replay::read_checkpoint(&self.ground, &self.folder, hint.version).await?;
        // The commits in between are not seen one by one. An own stream that moved in them was moved by somebody
        // else: `expected` keeps its value, and the next commit finds out.
        state.checkpoint = Some(hint);
        self.publish(state, jumped);
        Ok(true)
    }

    /// Takes one more commit into the state.
    pub(super) fn advance(&self, state: &mut State, actions: Vec<Action>) -> Result<()> {
        let ours = written_by(&actions, &self.writer);
        let txns: Vec<Txn> = actions.iter().filter_map(Action::as_txn).cloned().collect();
        let number = state.version.number + 1;
        let next = Version::clone(&state.version).next(actions);
        let next = next.map_err(|e| e.with("path", replay::commit_path(&self.folder, number)))?;
        // A stream that somebody else moved keeps its old expectation: the next commit to it is refused.
        if ours {
            state.expected.extend(txns.into_iter().map(|txn| (txn.app_id, txn.version)));
        }
        self.publish(state, next);
        Ok(())
    }

    fn publish(&self, state: &mut State, version: Version) {
        debug_assert!(version.number > state.version.number, "versions only grow");
        state.version = Arc::new(version);
        self.published.store(Arc::clone(&state.version));
    }
}

fn written_by(actions: &[Action], writer: &str) -> bool {
    actions.iter().any(|action| matches!(action, Action::CommitInfo(info) if info.quipu_writer == writer))
}

/// Writes commit 0. Losing the race against another process is fine: the table is there then.
async fn create(ground: &Ground, folder: &str, table: &str, columns: String, writer: &str) -> Result<()> {
    let now = ground.clock.now_ms();
    let actions =
        vec![Action::Protocol(Protocol::ours()), Action::MetaData(MetaData::new(table, columns, now))];
    let body = Body::new("CREATE TABLE", writer, now, actions)?;
    let path = replay::commit_path(folder, 0);
    ground.objects.put_create(&path, body.bytes).await.map(drop)
}
