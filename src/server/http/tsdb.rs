//! `/status/tsdb` and `/status/walreplay`: how many series there are, and which labels make them many.
//!
//! Prometheus shows its head, which is what came in during the last hours; here it is the series of the last
//! [`HEAD_MS`], whether they lie in buffers or in files. Sources: prometheus `web/api/v1/api.go`,
//! `tsdb/index/postings.go` (`Stats`).

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use serde_json::json;

use super::Door;
use super::full_labels::full_labels;
use super::params::{Form, atoi};
use super::reply::{ApiError, Reply, success};
use crate::error::{Error, Result};
use crate::model::METRIC_NAME;
use crate::store::{Selection, Snapshot};

/// What counts as recent: Prometheus cuts its head every two hours.
const HEAD_MS: i64 = 2 * 60 * 60 * 1_000;
const MAX_LIMIT: i64 = 10_000;
/// Samples of one of Prometheus' chunks.
const CHUNK_SAMPLES: u64 = 120;

#[derive(Debug, PartialEq, Serialize)]
struct Stat {
    name: String,
    value: u64,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadStats {
    num_series: usize,
    num_label_pairs: usize,
    chunk_count: u64,
    min_time: i64,
    max_time: i64,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct TsdbStatus {
    head_stats: HeadStats,
    series_count_by_metric_name: Vec<Stat>,
    label_value_count_by_label_name: Vec<Stat>,
    memory_in_bytes_by_label_name: Vec<Stat>,
    series_count_by_label_value_pair: Vec<Stat>,
}

/// GET `/status/tsdb`: `limit` entries in each list, 10 where nothing is said.
pub(super) async fn tsdb(State(door): State<Arc<Door>>, form: Form) -> Reply {
    let rooms = door.rooms()?;
    let limit = match form.value("limit") {
        "" => 10,
        text => atoi(text).ok().filter(|limit| *limit >= 1).ok_or_else(wrong_limit)?,
    };
    if limit > MAX_LIMIT {
        return Err(ApiError::bad_data(format!("limit must not exceed {MAX_LIMIT}")));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (snapshot, now_ms) = (rooms.snapshot(), door.clock.now_ms());
    let counted = rooms.pools.spawn_cpu(async move { count(&snapshot, now_ms, limit).await }).await;
    success(counted.map_err(|e| Error::internal("series were not counted").caused_by(e))??)
}

fn wrong_limit() -> ApiError {
    ApiError::bad_data("limit must be a positive number")
}

async fn count(snapshot: &Snapshot, now_ms: i64, limit: usize) -> Result<TsdbStatus> {
    let selection = snapshot.select(Vec::new(), now_ms.saturating_sub(HEAD_MS), now_ms).await?;
    let mut pairs: HashMap<(&str, &str), u64> = HashMap::new();
    for series in selection.series() {
        for pair in full_labels(&series.key, &[]) {
            *pairs.entry(pair).or_default() += 1;
        }
    }
    let (mut metrics, mut values, mut bytes) = (HashMap::new(), HashMap::new(), HashMap::new());
    for ((name, value), count) in &pairs {
        *values.entry(*name).or_default() += 1;
        *bytes.entry(*name).or_default() += count * (stored(name) + stored(value));
        if *name == METRIC_NAME {
            metrics.insert(*value, *count);
        }
    }
    Ok(TsdbStatus {
        head_stats: head(&selection, pairs.len()),
        series_count_by_metric_name: most(metrics.into_iter(), limit),
        label_value_count_by_label_name: most(values.into_iter(), limit),
        memory_in_bytes_by_label_name: most(bytes.into_iter(), limit),
        series_count_by_label_value_pair: {
            let named = pairs.iter().map(|((name, value), count)| (format!("{name}={value}"), *count));
            most(named, limit)
        },
    })
}

/// Without samples Prometheus' times are the ends of the other side.
fn head(selection: &Selection, num_label_pairs: usize) -> HeadStats {
    let (min_time, max_time) = selection.times().unwrap_or((i64::MAX, i64::MIN));
    let chunks = selection.series().iter().map(|series| series.max_rows.div_ceil(CHUNK_SAMPLES));
    HeadStats {
        num_series: selection.series().len(),
        num_label_pairs,
        chunk_count: chunks.sum(),
        min_time,
        max_time,
    }
}

/// Bytes of a text in Prometheus' label sets: it stands behind its length, in one byte or in four.
fn stored(text: &str) -> u64 {
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    length + if length < 255 { 1 } else { 4 }
}

/// The `limit` largest, the largest first, equal ones by name.
fn most<N: Into<String>>(all: impl Iterator<Item = (N, u64)>, limit: usize) -> Vec<Stat> {
    let mut stats: Vec<Stat> = all.map(|(name, value)| Stat { name: name.into(), value }).collect();
    stats.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.name.cmp(&b.name)));
    stats.truncate(limit);
    stats
}

/// GET `/status/walreplay`: there are no segments to count, recovery is done or is not.
pub(super) async fn wal_replay() -> Reply {
    success(json!({"min": 0, "max": 0, "current": 0}))
}
