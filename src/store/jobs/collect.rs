//! Retention and garbage: files that are too old leave the tables; files that left are deleted after a delay.

use std::collections::HashSet;
use std::time::Duration;

use crate::error::Result;
use crate::model::Table;
use crate::runtime::FaultPoint;
use crate::store::catalog::{Commit, Ground};
use crate::store::tables::Tables;

/// Remembers what was deleted, so that a removal that the log still tells of is not deleted again and again.
#[derive(Debug, Default)]
pub(in crate::store) struct Collector {
    deleted: HashSet<String>,
}

impl Collector {
    /// Drops the files whose newest row is older than `retention` from every table.
    ///
    /// # Errors
    /// What the log says.
    pub(in crate::store) async fn retain(
        ground: &Ground,
        tables: &Tables,
        retention: Duration,
    ) -> Result<usize> {
        let oldest = ground.clock.now_ms().saturating_sub(millis(retention));
        let mut dropped = 0;
        for table in Table::COMMIT_ORDER {
            let log = tables.log(table);
            let expired = |path: &mut Vec<String>| {
                let version = log.snapshot();
                let old = version.files().filter(|file| file.tags.max_time < oldest);
                path.extend(old.map(|file| file.path.clone()));
            };
            let mut removes = Vec::new();
            expired(&mut removes);
            if removes.is_empty() {
                continue;
            }
            dropped += removes.len();
            log.commit(|_, _| {
                let removes = removes.clone();
                Ok(Commit { removes, data_change: true, ..Commit::default() })
            })
            .await?;
            tracing::info!(table = table.as_str(), files = removes.len(), "files passed their retention");
        }
        Ok(dropped)
    }

    /// Deletes files that left a table longer than `delay` ago. Returns how many.
    ///
    /// # Errors
    /// What the object store says; the rest is tried again next time.
    pub(in crate::store) async fn collect(
        &mut self,
        ground: &Ground,
        tables: &Tables,
        delay: Duration,
    ) -> Result<usize> {
        let newest = ground.clock.now_ms().saturating_sub(millis(delay));
        let mut deleted = 0;
        for table in Table::COMMIT_ORDER {
            let log = tables.log(table);
            let version = log.snapshot();
            for removed in version.removed().filter(|removed| removed.at_ms <= newest) {
                let path = format!("{}/{}", log.folder(), removed.path);
                if self.deleted.contains(&path) {
                    continue;
                }
                ground.faults.at(FaultPoint::CollectDelete).await;
                ground.objects.delete(&path).await?;
                self.deleted.insert(path);
                deleted += 1;
            }
            deleted += log.remove_orphans(millis(delay)).await?;
        }
        Ok(deleted)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
