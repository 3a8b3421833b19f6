//! One live data file as the log knows it: size, statistics for every Delta reader, tags for quipu.
//!
//! The typed form is the only one the rest of the store sees; text is parsed here once, and a tag that does not
//! parse is damage, named with its file.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::action::AddLine;
use crate::error::{Error, Result};

/// The commit versions that a file's rows came from, both ends included. Of two rows of one series and
/// timestamp the one from the higher rank wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rank {
    /// The oldest version.
    pub(crate) lo: u64,
    /// The newest version.
    pub(crate) hi: u64,
}

impl Rank {
    /// A fresh file: all rows from the commit that is being tried.
    pub(crate) fn fresh(version: u64) -> Self {
        Self { lo: version, hi: version }
    }

    /// The smallest rank that covers both.
    #[must_use]
    pub(crate) fn join(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }
}

/// Where a file's own series index lies, so that one range read finds it without the footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexPlace {
    /// Bytes from the start of the file.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) len: u64,
    /// CRC32C of these bytes.
    pub(crate) crc: u32,
}

/// What quipu knows about a file without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tags {
    /// Whose rows win.
    pub(crate) rank: Rank,
    /// Compactions behind the file: 0 is fresh.
    pub(crate) level: u32,
    /// The UTC day of the oldest row, days since 1970.
    pub(crate) day: i32,
    /// The oldest timestamp, ms since 1970.
    pub(crate) min_time: i64,
    /// The newest timestamp, ms since 1970.
    pub(crate) max_time: i64,
    /// Rows of each row group, in order.
    pub(crate) row_groups: Vec<u64>,
    /// The series index; tables without one have none.
    pub(crate) index: Option<IndexPlace>,
    /// Other tags by full name; kept through compaction of the log as they are.
    pub(crate) other: BTreeMap<String, String>,
}

/// Delta's statistics, which other engines prune by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Stats {
    /// Rows.
    pub(crate) num_records: u64,
    /// Smallest value by column.
    pub(crate) min_values: BTreeMap<String, Value>,
    /// Largest value by column.
    pub(crate) max_values: BTreeMap<String, Value>,
    /// Nulls by column.
    pub(crate) null_count: BTreeMap<String, u64>,
}

/// Delta readers want string statistics of at most this many characters.
const STRING_STAT_CHARS: usize = 32;

impl Stats {
    /// Statistics of `rows` rows, without columns yet.
    pub(crate) fn rows(rows: u64) -> Self {
        Self { num_records: rows, ..Self::default() }
    }

    /// Adds an integer column without nulls.
    #[must_use]
    pub(crate) fn with_int(self, column: &str, min: i64, max: i64) -> Self {
        self.with(column, Some(min.into()), Some(max.into()))
    }

    /// Adds a timestamp column in ms since 1970 without nulls.
    #[must_use]
    pub(crate) fn with_time(self, column: &str, min_ms: i64, max_ms: i64) -> Self {
        self.with(column, time_text(min_ms), time_text(max_ms))
    }

    /// Adds a date column in days since 1970 without nulls.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn with_day(self, column: &str, min: i32, max: i32) -> Self {
        let text = |day: i32| Some(Value::from(day_text(day)));
        self.with(column, text(min), text(max))
    }

    /// Adds a string column without nulls. Long values are cut: the smallest down, the largest up.
    #[must_use]
    pub(crate) fn with_text(self, column: &str, min: &str, max: &str) -> Self {
        let cut = |text: &str| text.chars().take(STRING_STAT_CHARS).collect::<String>();
        let mut upper = cut(max);
        if upper.len() < max.len() {
            upper.push(char::MAX);
        }
        self.with(column, Some(cut(min).into()), Some(upper.into()))
    }

    fn with(mut self, column: &str, min: Option<Value>, max: Option<Value>) -> Self {
        self.min_values.extend(min.map(|v| (column.to_owned(), v)));
        self.max_values.extend(max.map(|v| (column.to_owned(), v)));
        self.null_count.insert(column.to_owned(), 0);
        self
    }
}

/// `None` outside the years that RFC 3339 can write; the column then has no bounds.
fn time_text(ms: i64) -> Option<Value> {
    let time = DateTime::from_timestamp_millis(ms)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true).into())
}

fn day_text(day: i32) -> String {
    let date = DateTime::from_timestamp(i64::from(day) * 86_400, 0).map(|time| time.date_naive());
    date.map_or_else(|| day.to_string(), |date| date.to_string())
}

/// A data file that is part of the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DataFile {
    /// Path under the table's folder: `<day>-<uuid>.parquet`.
    pub(crate) path: String,
    /// Bytes.
    pub(crate) size: u64,
    /// When it was written, ms since 1970 UTC.
    pub(crate) modified_ms: i64,
    /// For every reader.
    pub(crate) stats: Stats,
    /// For quipu.
    pub(crate) tags: Tags,
}

impl DataFile {
    /// A new path for a file of a day: `2026-11-21-<uuid>.parquet`.
    pub(crate) fn new_path(day: i32) -> String {
        format!("{}-{}.parquet", day_text(day), uuid::Uuid::new_v4())
    }

    pub(super) fn to_line(&self, data_change: bool) -> Result<AddLine> {
        let stats = serde_json::to_string(&self.stats);
        let stats = stats.map_err(|e| Error::internal("statistics are not JSON").caused_by(e))?;
        Ok(AddLine {
            path: self.path.clone(),
            partition_values: BTreeMap::new(),
            size: self.size,
            modification_time: self.modified_ms,
            data_change,
            stats: Some(stats),
            tags: Some(self.tags.to_map()),
        })
    }

    pub(super) fn from_line(line: AddLine) -> Result<Self> {
        let path = line.path;
        let named = |e: Error| e.with("data_file", &path);
        let Some(tags) = line.tags else {
            return Err(named(Error::unsupported("a data file that another program added to the log")));
        };
        let stats = line.stats.as_deref().unwrap_or("{}");
        let stats = serde_json::from_str(stats)
            .map_err(|e| named(Error::corrupt("the statistics of a data file are not JSON").caused_by(e)))?;
        let tags = Tags::from_map(tags).map_err(named)?;
        Ok(Self { size: line.size, modified_ms: line.modification_time, stats, tags, path })
    }
}

const RANK: &str = "quipu.rank";
const LEVEL: &str = "quipu.level";
const DAY: &str = "quipu.day";
const MIN_TIME: &str = "quipu.min_time";
const MAX_TIME: &str = "quipu.max_time";
const ROW_GROUPS: &str = "quipu.row_groups";
const INDEX_OFFSET: &str = "quipu.index_offset";
const INDEX_LEN: &str = "quipu.index_len";
const INDEX_CRC: &str = "quipu.index_crc";

impl Tags {
    fn to_map(&self) -> BTreeMap<String, String> {
        let mut map = self.other.clone();
        let mut put = |name: &str, value: String| map.insert(name.to_owned(), value);
        put(RANK, format!("{}-{}", self.rank.lo, self.rank.hi));
        put(LEVEL, self.level.to_string());
        put(DAY, self.day.to_string());
        put(MIN_TIME, self.min_time.to_string());
        put(MAX_TIME, self.max_time.to_string());
        put(ROW_GROUPS, self.row_groups.iter().map(u64::to_string).collect::<Vec<_>>().join(","));
        if let Some(index) = self.index {
            put(INDEX_OFFSET, index.offset.to_string());
            put(INDEX_LEN, index.len.to_string());
            put(INDEX_CRC, format!("{:08x}", index.crc));
        }
        map
    }

    fn from_map(mut map: BTreeMap<String, String>) -> Result<Self> {
        let rank = take(&mut map, RANK)?;
        let (lo, hi) = rank.split_once('-').ok_or_else(|| bad(RANK, &rank))?;
        let rank = Rank { lo: number(RANK, lo)?, hi: number(RANK, hi)? };
        if rank.lo > rank.hi {
            return Err(bad(RANK, "the ends are exchanged"));
        }
        let mut get = |name| take(&mut map, name);
        let (level, day) = (number(LEVEL, &get(LEVEL)?)?, number(DAY, &get(DAY)?)?);
        let (min_time, max_time) = (number(MIN_TIME, &get(MIN_TIME)?)?, number(MAX_TIME, &get(MAX_TIME)?)?);
        let row_groups = get(ROW_GROUPS)?;
        let groups = row_groups.split(',').filter(|text| !text.is_empty());
        let row_groups = groups.map(|text| number(ROW_GROUPS, text)).collect::<Result<_>>()?;
        let index = if map.contains_key(INDEX_OFFSET) {
            let crc = take(&mut map, INDEX_CRC)?;
            Some(IndexPlace {
                offset: number(INDEX_OFFSET, &take(&mut map, INDEX_OFFSET)?)?,
                len: number(INDEX_LEN, &take(&mut map, INDEX_LEN)?)?,
                crc: u32::from_str_radix(&crc, 16).map_err(|_| bad(INDEX_CRC, &crc))?,
            })
        } else {
            None
        };
        Ok(Self { rank, level, day, min_time, max_time, row_groups, index, other: map })
    }
}

fn take(map: &mut BTreeMap<String, String>, name: &'static str) -> Result<String> {
    map.remove(name).ok_or_else(|| Error::corrupt("a data file lacks a tag").with("tag", name))
}

fn number<T: std::str::FromStr>(name: &'static str, text: &str) -> Result<T> {
    text.parse().map_err(|_| bad(name, text))
}

fn bad(name: &'static str, value: &str) -> Error {
    Error::corrupt("a tag of a data file cannot be read").with("tag", name).with("value", value)
}
