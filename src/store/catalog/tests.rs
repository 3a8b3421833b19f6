//! The log against lost answers, races, crashes, damage and a naive model.

mod crash;
mod damage;
mod interop;
mod model;
mod races;
mod state;

use std::sync::Arc;

use super::*;
use crate::error::{Kind, Result};
use crate::model::{Tenant, samples_schema};
use crate::runtime::{Clock, Faults, Objects, Pools};

const START_MS: i64 = 1_700_000_000_000;

fn ground(objects: &Objects) -> Ground {
    Ground {
        objects: objects.clone(),
        clock: Clock::manual(START_MS),
        pools: Pools::inline(),
        faults: Faults::default(),
    }
}

async fn open_with(ground: Ground, options: LogOptions) -> Result<TableLog> {
    TableLog::open(ground, options, &Tenant::default(), "samples", &samples_schema()).await
}

async fn open(objects: &Objects) -> Result<TableLog> {
    open_with(ground(objects), LogOptions::default()).await
}

fn data_file(path: &str, rank: Rank, rows: u64) -> DataFile {
    let (min, max) = (START_MS, START_MS + 60_000);
    DataFile {
        path: path.to_owned(),
        size: rows * 10,
        modified_ms: START_MS,
        stats: Stats::rows(rows).with_time("timestamp", min, max).with_text("metric", "a", "up"),
        tags: Tags {
            rank,
            level: 0,
            day: 19_675,
            min_time: min,
            max_time: max,
            row_groups: vec![rows],
            index: Some(IndexPlace { offset: 100, len: 20, crc: 0xdead_beef }),
            other: [("x.y".to_owned(), "z".to_owned())].into(),
        },
    }
}

/// Commits one fresh file and, where wanted, how far a stream got.
async fn add(log: &TableLog, path: &str, txn: Option<(&str, i64)>) -> Result<Arc<Version>> {
    log.commit(|_, number| {
        Ok(Commit {
            adds: vec![data_file(path, Rank::fresh(number), 5)],
            txns: txn.iter().map(|(app, version)| ((*app).to_owned(), *version)).collect(),
            data_change: true,
            ..Commit::default()
        })
    })
    .await
}

/// Replaces files by one.
async fn compact(log: &TableLog, old: &[&str], new: &str) -> Result<Arc<Version>> {
    log.commit(|base, number| {
        let ranks = old.iter().filter_map(|path| base.file(path)).map(|file| file.tags.rank);
        let rank = ranks.reduce(Rank::join).unwrap_or_else(|| Rank::fresh(number));
        Ok(Commit {
            adds: vec![data_file(new, rank, 5)],
            removes: old.iter().map(|path| (*path).to_owned()).collect(),
            ..Commit::default()
        })
    })
    .await
}

fn paths(version: &Version) -> Vec<&str> {
    version.files().map(|file| file.path.as_str()).collect()
}
