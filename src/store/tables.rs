//! The stored tables of one tenant: a Delta log each.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::{DataFile, Ground, LogOptions, TableLog, Version};
use super::catalogue::Catalogue;
use super::wal::Class;
use crate::error::Result;
use crate::model::{Table, Tenant};
use uuid::Uuid;

/// The logs of one tenant's tables, by table.
#[derive(Debug, Clone)]
pub(in crate::store) struct Tables {
    logs: BTreeMap<Table, TableLog>,
}

impl Tables {
    /// Opens every table, making those that do not exist.
    ///
    /// # Errors
    /// `Corrupt` naming a damaged log file; what the object store says.
    pub(in crate::store) async fn open(
        ground: &Ground,
        options: LogOptions,
        tenant: &Tenant,
    ) -> Result<Self> {
        let mut logs = BTreeMap::new();
        for table in Table::COMMIT_ORDER {
            let log =
                TableLog::open(ground.clone(), options, tenant, table.as_str(), &table.schema()).await?;
            logs.insert(table, log);
        }
        Ok(Self { logs })
    }

    /// One table's log.
    pub(in crate::store) fn log(&self, table: Table) -> &TableLog {
        &self.logs[&table]
    }

    /// The newest known version of a table.
    pub(in crate::store) fn version(&self, table: Table) -> Arc<Version> {
        self.log(table).snapshot()
    }

    /// The last sequence of a class whose rows of a table are in committed files.
    pub(in crate::store) fn committed(&self, directory: Uuid, class: Class, table: Table) -> u64 {
        let txn = self.version(table).txn(&app_id(directory, class));
        txn.and_then(|version| u64::try_from(version).ok()).unwrap_or(0)
    }

    /// The largest sequence that any table has of this WAL directory.
    pub(in crate::store) fn largest_sequence(&self, directory: Uuid) -> u64 {
        let of_table = |log: &TableLog| {
            let version = log.snapshot();
            Class::ALL.into_iter().filter_map(|class| version.txn(&app_id(directory, class))).max()
        };
        self.logs.values().filter_map(of_table).max().and_then(|v| u64::try_from(v).ok()).unwrap_or(0)
    }

    /// Reads the `metadata` table into a catalogue, oldest commit first.
    ///
    /// # Errors
    /// `Corrupt` naming the file; what the object store says.
    pub(in crate::store) async fn read_catalogue(
        &self,
        ground: &Ground,
        catalogue: &mut Catalogue,
    ) -> Result<()> {
        let log = self.log(Table::Metadata);
        let version = log.snapshot();
        let mut files: Vec<&Arc<DataFile>> = version.files().collect();
        files.sort_by_key(|file| (file.tags.rank.hi, file.tags.rank.lo));
        for file in files {
            let path = format!("{}/{}", log.folder(), file.path);
            let bytes = ground.objects.get(&path).await?;
            let rows = super::block::read_metadata(&bytes).map_err(|e| e.with("file", &path))?;
            for row in rows {
                catalogue.restore(&row);
            }
        }
        Ok(())
    }
}

/// The `appId` under which this WAL directory's rows of a class are committed.
pub(in crate::store) fn app_id(directory: Uuid, class: Class) -> String {
    format!("{directory}-{}", class.as_str())
}
