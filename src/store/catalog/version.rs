//! A snapshot of one table: the live files and how far each stream got, at one commit. Immutable.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::action::{Action, MetaData, Protocol, RemoveLine, Txn};
use super::file::DataFile;
use crate::error::{Error, Result};

/// A file that is no longer part of the table but still in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Path under the table's folder.
    pub(crate) path: Arc<str>,
    /// When it was removed from the table, ms since 1970 UTC.
    pub(crate) at_ms: i64,
    /// Bytes.
    pub(crate) size: u64,
}

/// A table at one commit. Share it by `Arc`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Version {
    pub(super) number: u64,
    pub(super) files: BTreeMap<Arc<str>, Arc<DataFile>>,
    pub(super) txns: BTreeMap<String, Txn>,
    pub(super) removed: BTreeMap<Arc<str>, Removed>,
    pub(super) protocol: Protocol,
    pub(super) meta: Arc<MetaData>,
}

impl Version {
    /// The number of the commit.
    #[cfg(test)]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The live files, by path (which begins with the day).
    pub(crate) fn files(&self) -> impl ExactSizeIterator<Item = &Arc<DataFile>> {
        self.files.values()
    }

    /// One live file.
    pub(crate) fn file(&self, path: &str) -> Option<&Arc<DataFile>> {
        self.files.get(path)
    }

    /// How far a stream got.
    pub(crate) fn txn(&self, app_id: &str) -> Option<i64> {
        self.txns.get(app_id).map(|txn| txn.version)
    }

    /// All streams.
    pub(crate) fn txns(&self) -> impl Iterator<Item = &Txn> {
        self.txns.values()
    }

    /// Files that were removed and whose removal is still remembered: garbage collection deletes those that
    /// were removed longer ago than any query runs.
    pub(crate) fn removed(&self) -> impl ExactSizeIterator<Item = &Removed> {
        self.removed.values()
    }

    /// Rows of all live files, duplicates across files counted twice.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> u64 {
        self.files().map(|file| file.stats.num_records).sum()
    }

    /// Bytes of all live files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files().map(|file| file.size).sum()
    }

    /// Columns as Delta's JSON.
    pub(crate) fn schema_string(&self) -> &str {
        &self.meta.schema_string
    }

    /// The names of the columns, in their order.
    pub(crate) fn column_names(&self) -> Vec<String> {
        super::schema::column_names(self.schema_string())
    }

    /// This version with one more commit.
    pub(super) fn next(mut self, actions: Vec<Action>) -> Result<Self> {
        self.number += 1;
        for action in actions {
            self.apply(action)?;
        }
        Ok(self)
    }

    /// The state that a first commit or a checkpoint describes.
    pub(super) fn from_actions(number: u64, actions: Vec<Action>) -> Result<Self> {
        let mut protocol = None;
        let mut meta = None;
        for action in &actions {
            match action {
                Action::Protocol(found) => protocol = Some(found.clone()),
                Action::MetaData(found) => meta = Some(found.clone()),
                _ => {}
            }
        }
        let protocol = protocol.ok_or_else(|| Error::corrupt("there is no protocol action"))?;
        let meta = Arc::new(meta.ok_or_else(|| Error::corrupt("there is no metaData action"))?);
        let empty = BTreeMap::new;
        let mut version =
            Self { number, files: BTreeMap::new(), txns: empty(), removed: BTreeMap::new(), protocol, meta };
        for action in actions {
            version.apply(action)?;
        }
        Ok(version)
    }

    fn apply(&mut self, action: Action) -> Result<()> {
        match action {
            Action::CommitInfo(_) => {}
            Action::Protocol(protocol) => {
                protocol.check()?;
                self.protocol = protocol;
            }
            Action::MetaData(meta) => {
                meta.check()?;
                self.meta = Arc::new(meta);
            }
            Action::Txn(txn) => {
                self.txns.insert(txn.app_id.clone(), txn);
            }
            Action::Add(line) => {
                let file = DataFile::from_line(line)?;
                let path: Arc<str> = file.path.as_str().into();
                self.removed.remove(&path);
                self.files.insert(path, Arc::new(file));
            }
            Action::Remove(line) => {
                let path: Arc<str> = line.path.into();
                self.files.remove(&path);
                let at_ms = line.deletion_timestamp.unwrap_or(0);
                let removed = Removed { path: Arc::clone(&path), at_ms, size: line.size };
                self.removed.insert(path, removed);
            }
        }
        Ok(())
    }

    /// This version without removals from before `before_ms`.
    pub(super) fn forget(mut self, before_ms: i64) -> Self {
        self.removed.retain(|_, removed| removed.at_ms >= before_ms);
        self
    }

    /// The whole state as actions.
    pub(super) fn to_actions(&self) -> Result<Vec<Action>> {
        let mut actions =
            vec![Action::Protocol(self.protocol.clone()), Action::MetaData((*self.meta).clone())];
        actions.extend(self.txns.values().cloned().map(Action::Txn));
        actions.extend(self.removed.values().map(|removed| Action::Remove(removed.to_line(false))));
        for file in self.files.values() {
            actions.push(Action::Add(file.to_line(false)?));
        }
        Ok(actions)
    }
}

impl Removed {
    pub(super) fn to_line(&self, data_change: bool) -> RemoveLine {
        RemoveLine {
            path: self.path.to_string(),
            deletion_timestamp: Some(self.at_ms),
            data_change,
            extended_file_metadata: true,
            partition_values: BTreeMap::new(),
            size: self.size,
        }
    }
}
