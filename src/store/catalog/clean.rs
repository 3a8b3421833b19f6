//! Clean-up of the log folder: commits that a checkpoint covers and that nobody can still be reading.
//!
//! Data files are not touched here; garbage collection of those is a job that reads `Version::removed`.

use super::checkpoint::put_hint;
use super::log::{Moment, TableLog};
use super::replay::{self, LOG_FOLDER, LogFile, classify};
use crate::error::Result;

/// Between two listings for one checkpoint.
const PAUSE_MS: i64 = 3_600_000;

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
}
