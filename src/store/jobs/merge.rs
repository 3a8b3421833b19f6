//! Merge: many small files of a day become one, so that a day of ten-minute flushes stays about a dozen files.
//!
//! Files of a UTC day are tiers. As soon as [`FAN_IN`] rank-adjacent files of one level lie together they become
//! one file of the next level; a file of the [`TOP_LEVEL`] is left alone until somebody asks for the whole day.
//! So a row is written three times at most: by its flush, at level 1 and at level 2.
//!
//! Ranks keep their meaning because only neighbours are merged: no live file of the day has a rank between
//! those of a group. A row never lies in a file of another day.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::files::{Output, SideRows};
use super::logs::LabelColumns;
use crate::error::{Error, Kind, Result};
use crate::model::{Labels, Table};
use crate::runtime::{Bug, FaultPoint};
use crate::store::block::{BlockFile, IndexTag, ScanCache, WriterSetting};
use crate::store::catalog::{Commit, DataFile, Ground, Rank, Version};
use crate::store::logs::open_log_file;
use crate::store::metrics::StoreMetrics;
use crate::store::scan::{LogMerge, Merge};
use crate::store::tables::Tables;

/// Files of one level that become one file of the next. 6 × 6 × 4 covers a day of ten-minute flushes.
const FAN_IN: usize = 6;
/// Files of this level are merged only when a whole day is asked for.
const TOP_LEVEL: u32 = 2;
/// A file of a merge ends after the series that passes this size: stores take 10,000 parts of 8 MiB an object.
const MAX_FILE_BYTES: u64 = 64 << 30;

/// What a merge works with.
#[derive(Debug, Clone)]
pub(in crate::store) struct Merger {
    pub(in crate::store) ground: Ground,
    pub(in crate::store) cache: ScanCache,
    pub(in crate::store) metrics: StoreMetrics,
}

/// Files that become one.
#[derive(Debug, Clone)]
struct Group {
    day: i32,
    level: u32,
    /// In rank order.
    files: Vec<Arc<DataFile>>,
}

impl Merger {
    /// Merges what the tiers ask for in every table, one group after the other. Returns the number of merges.
    ///
    /// # Errors
    /// What the object store says, `Corrupt` naming a file; what was committed before stays.
    pub(in crate::store) async fn merge_tiers(&self, tables: &Tables) -> Result<usize> {
        let mut merges = 0;
        for table in Table::COMMIT_ORDER {
            while let Some(group) = next_group(&tables.version(table)) {
                self.merge(tables, table, group).await?;
                merges += 1;
            }
        }
        Ok(merges)
    }

    /// Merges all files of a UTC day in every table, so that each has one, or as many as [`MAX_FILE_BYTES`] asks for.
    ///
    /// # Errors
    /// As [`Merger::merge_tiers`].
    pub(in crate::store) async fn merge_day(&self, tables: &Tables, day: i32) -> Result<()> {
        for table in Table::COMMIT_ORDER {
            let files = by_day(&tables.version(table)).remove(&day).unwrap_or_default();
            if files.len() > 1 {
                self.merge(tables, table, Group { day, level: TOP_LEVEL + 1, files }).await?;
            }
        }
        Ok(())
    }

    async fn merge(&self, tables: &Tables, table: Table, group: Group) -> Result<()> {
        let begun = self.ground.clock.monotonic();
        let begun_ms = Some(self.ground.clock.now_ms());
        let outputs = match table {
            Table::Samples | Table::Histograms | Table::Exemplars => {
                self.merge_blocks(tables, table, &group).await?
            }
            Table::Logs => vec![self.merge_logs(tables, &group).await?],
            Table::Series | Table::Metadata | Table::Staleness => {
                vec![self.merge_side(tables, table, &group).await?]
            }
        };
        self.ground.faults.at(FaultPoint::MergeFile).await;
        let rows = outputs.iter().map(Output::rows).sum();
        let bytes = outputs.iter().map(Output::size).sum();
        let rank = group.files.iter().map(|file| file.tags.rank).reduce(Rank::join);
        let rank = rank.ok_or_else(|| Error::internal("a merge of no files"))?;
        let (level, modified_ms) = (group.level, self.ground.clock.now_ms());
        let committed = tables.log(table).commit(|_, _| {
            let removes = group.files.iter().map(|file| file.path.clone()).collect();
            let adds = outputs.iter().map(|file| file.to_data_file(rank, level, modified_ms)).collect();
            let columns = outputs.iter().flat_map(Output::columns).collect();
            Ok(Commit { adds, removes, txns: Vec::new(), columns, data_change: false, begun_ms })
        });
        if let Err(error) = committed.await {
            // Only a refusal says that nothing names the new file. After a lost answer the commit may stand,
            // and deleting the file would delete rows.
            if error.kind() == Kind::Conflict {
                for output in &outputs {
                    let path = format!("{}/{}", tables.log(table).folder(), output.path());
                    drop(self.ground.objects.delete(&path).await);
                }
            }
            return Err(error);
        }
        self.ground.faults.at(FaultPoint::MergeCommitted).await;
        self.metrics.merged(rows, bytes);
        let took = self.ground.clock.monotonic().saturating_sub(begun);
        tracing::info!(
            table = table.as_str(),
            day = group.day,
            level,
            files = group.files.len(),
            rows,
            bytes,
            ms = took.as_millis(),
            "merged"
        );
        Ok(())
    }

    /// Streams the rows of all files into new ones; what is in memory does not grow with them.
    async fn merge_blocks(&self, tables: &Tables, table: Table, group: &Group) -> Result<Vec<Output>> {
        let folder = tables.log(table).folder().to_owned();
        let mut files = Vec::with_capacity(group.files.len());
        for file in &group.files {
            let path = format!("{folder}/{}", file.path);
            let place = file
                .tags
                .index
                .ok_or_else(|| Error::corrupt("a file without quipu's index").with("file", &path))?;
            let tag = IndexTag { offset: place.offset, length: place.len, crc: place.crc };
            files.push(BlockFile::open(&self.ground.objects, &path, tag, &self.cache).await?);
        }
        if table == Table::Histograms && self.ground.faults.has(Bug::MergeLosesHistograms) {
            files.pop();
        }
        let (day, ground) = (group.day, self.ground.clone());
        let merged = self.ground.pools.spawn_cpu(async move {
            let mut merge = Merge::new(files, Vec::new())?;
            let mut outputs = Vec::new();
            while let Some(output) = write_next(&ground, &folder, day, &mut merge).await? {
                outputs.push(output);
            }
            Ok(outputs)
        });
        merged.await.map_err(|e| Error::internal("a merge did not end").caused_by(e))?
    }

    /// Streams the lines of all files into a new one, equal ones once.
    async fn merge_logs(&self, tables: &Tables, group: &Group) -> Result<Output> {
        let log = tables.log(Table::Logs);
        let mut files = Vec::with_capacity(group.files.len());
        for file in &group.files {
            files.push(open_log_file(&self.ground, log.folder(), file, &self.cache).await?);
        }
        let names = files.iter().flat_map(|file| file.streams()).flat_map(Labels::iter).map(|(name, _)| name);
        let labels = LabelColumns::of(&log.snapshot()).choose(names);
        let (day, ground) = (group.day, self.ground.clone());
        let path = DataFile::new_path(day);
        let mut out = ground.objects.writer(&format!("{}/{path}", log.folder()));
        let merged = self.ground.pools.spawn_cpu(async move {
            match LogMerge::new(files, labels).write(&mut out).await {
                Ok(logs) => {
                    ground.faults.at(FaultPoint::MergeRead).await;
                    out.finish().await?;
                    Ok(Output::of_uploaded_logs(day, &logs, path))
                }
                Err(error) => {
                    drop(out.abort().await);
                    Err(error)
                }
            }
        });
        merged.await.map_err(|e| Error::internal("a merge did not end").caused_by(e))?
    }

    async fn merge_side(&self, tables: &Tables, table: Table, group: &Group) -> Result<Output> {
        let folder = tables.log(table).folder();
        let mut rows = SideRows::new(table);
        for file in &group.files {
            let path = format!("{folder}/{}", file.path);
            let bytes = self.ground.objects.get(&path).await?;
            rows.read(&bytes).map_err(|e| e.with("file", path))?;
        }
        let times = group.files.iter().map(|file| (file.tags.min_time, file.tags.max_time));
        let times = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default();
        let output = Output::of_table(group.day, &rows.write()?, times);
        self.ground.faults.at(FaultPoint::MergeRead).await;
        self.ground.objects.put(&format!("{folder}/{}", output.path()), output.bytes()).await?;
        Ok(output)
    }
}

/// Writes the next file of a merge; `None` when nothing is left.
async fn write_next(ground: &Ground, folder: &str, day: i32, merge: &mut Merge) -> Result<Option<Output>> {
    let path = DataFile::new_path(day);
    let mut out = ground.objects.writer(&format!("{folder}/{path}"));
    match merge.write_file(&mut out, WriterSetting::Merged, MAX_FILE_BYTES).await {
        Ok(Some(block)) => {
            ground.faults.at(FaultPoint::MergeRead).await;
            out.finish().await?;
            Ok(Some(Output::of_uploaded(day, &block, path)))
        }
        Ok(None) => out.abort().await.map(|()| None),
        Err(error) => {
            // What was sent is no object yet; the store clears it away if this does not.
            drop(out.abort().await);
            Err(error)
        }
    }
}

/// The live files of each UTC day in rank order.
fn by_day(version: &Version) -> BTreeMap<i32, Vec<Arc<DataFile>>> {
    let mut days: BTreeMap<i32, Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in version.files() {
        days.entry(file.tags.day).or_default().push(Arc::clone(file));
    }
    for files in days.values_mut() {
        files.sort_by_key(|file| (file.tags.rank.hi, file.tags.rank.lo));
    }
    days
}

/// The oldest neighbours of one level that fill a tier.
fn next_group(version: &Version) -> Option<Group> {
    by_day(version).into_iter().find_map(|(day, files)| {
        (0..TOP_LEVEL).find_map(|level| {
            let same = |group: &&[Arc<DataFile>]| group.iter().all(|file| file.tags.level == level);
            let files = files.windows(FAN_IN).find(same)?.to_vec();
            Some(Group { day, level: level + 1, files })
        })
    })
}
