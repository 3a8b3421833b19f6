//! Clean-up of the log folder: commits that a checkpoint covers and that nobody can still be reading.
//!
//! Also data files that no commit ever named. Files that were removed from the table are not touched here: that
//! is a job that reads `Version::removed`.

use std::sync::Arc;

use super::checkpoint::put_hint;
use super::log::{Moment, TableLog};
use super::replay::{self, LOG_FOLDER, LogFile, classify};
use crate::error::Result;

/// Between two listings for one checkpoint.
const PAUSE_MS: i64 = 3_600_000;
/// Between two searches for orphans, and how old one is at least.
const ORPHAN_MS: i64 = 24 * 3_600_000;

impl TableLog {
    /// Deletes commits and checkpoints that are older than the newest checkpoint and than `keep_log_ms`, oldest
    /// first. Returns how many files went. Lists the log folder once, and within an hour only again when there
    /// is another checkpoint, so that it may be called at any pace.
    ///
    /// # Errors
    /// What the store says; what was deleted until then stays deleted, and nothing else is lost.
    pub(crate) async fn clean(&self) -> Result<usize> {
        let shared = &self.shared;
        let (clock, objects) = (&shared.ground.clock, &shared.ground.objects);
        let newest = {
            let mut state = shared.state.lock().await;
            let Some(newest) = state.checkpoint.clone() else { return Ok(0) };
            let done = |(number, at): (u64, Moment)| number == newest.version && at.age_ms(clock) < PAUSE_MS;
            if state.cleaned.is_some_and(done) {
                return Ok(0);
            }
            state.cleaned = Some((newest.version, Moment::now(clock)));
            newest
        };
        // A slower process may have set the hint back to a checkpoint that goes now.
        if replay::read_hint(objects, &shared.folder).await?.is_none_or(|hint| hint.version < newest.version)
        {
            put_hint(self, &newest).await?;
        }
        let oldest_kept = shared.ground.clock.now_ms().saturating_sub(shared.options.keep_log_ms);
        let mut deleted = 0;
        // Sorted by path: numbers ascend, so that a commit whose predecessor is there was never deleted.
        for entry in objects.list(&format!("{}/{LOG_FOLDER}", shared.folder)).await? {
            let Some(LogFile::Commit(number) | LogFile::Checkpoint(number)) = classify(&entry.path) else {
                continue;
            };
            if number >= newest.version || entry.modified_ms > oldest_kept {
                break;
            }
            objects.delete(&entry.path).await?;
            deleted += 1;
        }
        Ok(deleted)
    }

    /// Deletes data files that no commit names and that are older than a day and than `min_age_ms`: what a crash
    /// or a lost race left behind. Returns how many. Lists the table's folder, at most once a day.
    ///
    /// # Errors
    /// What the store and the log say; the rest is found the next time.
    pub(crate) async fn remove_orphans(&self, min_age_ms: i64) -> Result<usize> {
        let shared = &self.shared;
        let (clock, objects) = (&shared.ground.clock, &shared.ground.objects);
        // Held to the end: a commit of this process is over or has not begun, and one that begins later does not
        // take files as old as these.
        let mut state = shared.state.lock().await;
        if state.swept.is_some_and(|at| at.age_ms(clock) < ORPHAN_MS) {
            return Ok(0);
        }
        // Another process may have committed what this one does not know.
        shared.catch_up(&mut state).await?;
        state.swept = Some(Moment::now(clock));
        // Listed after the log was read, so a file must also be old: a commit gives up long before a day.
        let version = Arc::clone(&state.version);
        let known = |path: &str| version.files.contains_key(path) || version.removed.contains_key(path);
        let oldest_kept = clock.now_ms().saturating_sub(min_age_ms.max(ORPHAN_MS));
        let mut deleted = 0;
        for entry in objects.list(&shared.folder).await? {
            let Some(path) = entry.path.strip_prefix(&shared.folder).and_then(|p| p.strip_prefix('/')) else {
                continue;
            };
            let data = path.ends_with(".parquet") && !path.starts_with(LOG_FOLDER);
            if !data || known(path) || entry.modified_ms > oldest_kept {
                continue;
            }
            tracing::info!(table = shared.folder, path, "a file that no commit names is deleted");
            objects.delete(&entry.path).await?;
            deleted += 1;
        }
        Ok(deleted)
    }
}
