//! The lines of a commit: Delta's actions as JSON, one a line.
//!
//! Only what quipu writes is read. An action of a later Delta feature is refused by name instead of skipped,
//! as skipping one (a deletion vector, a column mapping) would answer with wrong rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::schema::{FORMAT_KEY, FORMAT_VERSION};
use crate::error::{Error, Result};

pub(super) const MIN_READER: i32 = 1;
pub(super) const MIN_WRITER: i32 = 7;
/// `quipu` is no feature that other writers know, so that they refuse to write: their rewrite would drop our
/// index. The other two are what writer version 2 meant.
pub(super) const WRITER_FEATURES: [&str; 3] = ["appendOnly", "invariants", "quipu"];

/// One line of a commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Action {
    CommitInfo(CommitInfo),
    Protocol(Protocol),
    MetaData(MetaData),
    Txn(Txn),
    Remove(RemoveLine),
    Add(AddLine),
}

/// Who committed what. Two ids find lost answers again: one a commit, one a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommitInfo {
    pub(super) timestamp: i64,
    pub(super) operation: String,
    #[serde(default)]
    pub(super) operation_parameters: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) engine_info: String,
    /// UUID of the commit, the same at every try.
    #[serde(default)]
    pub(super) quipu_commit: String,
    /// UUID of the process that wrote it.
    #[serde(default)]
    pub(super) quipu_writer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub(super) min_reader_version: i32,
    pub(super) min_writer_version: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reader_features: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) writer_features: Option<Vec<String>>,
}

impl Protocol {
    pub(super) fn ours() -> Self {
        Self {
            min_reader_version: MIN_READER,
            min_writer_version: MIN_WRITER,
            reader_features: None,
            writer_features: Some(WRITER_FEATURES.map(str::to_owned).to_vec()),
        }
    }

    /// Refuses a table that a later quipu or another engine changed.
    pub(super) fn check(&self) -> Result<()> {
        if *self == Self::ours() {
            return Ok(());
        }
        Err(Error::unsupported("a Delta protocol other than quipu's").with("protocol", format!("{self:?}")))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaData {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) format: Format,
    pub(super) schema_string: String,
    #[serde(default)]
    pub(super) partition_columns: Vec<String>,
    #[serde(default)]
    pub(super) configuration: BTreeMap<String, String>,
    pub(super) created_time: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Format {
    pub(super) provider: String,
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
}

impl MetaData {
    pub(super) fn new(name: &str, schema_string: String, created_ms: i64) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            name: Some(name.to_owned()),
            format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
            schema_string,
            partition_columns: Vec::new(),
            configuration: BTreeMap::from([(FORMAT_KEY.to_owned(), FORMAT_VERSION.to_owned())]),
            created_time: Some(created_ms),
        }
    }

    /// Refuses a format that this version does not know.
    pub(super) fn check(&self) -> Result<()> {
        match self.configuration.get(FORMAT_KEY).map(String::as_str) {
            Some(FORMAT_VERSION) => Ok(()),
            other => {
                let found = other.unwrap_or("none");
                Err(Error::unsupported(format!("table format {FORMAT_KEY} = {found}")))
            }
        }
    }
}

/// How far a stream of changes got: makes a flush that is tried twice count once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Txn {
    /// The stream: UUID of the WAL directory and a class.
    pub(crate) app_id: String,
    /// The last sequence number that is part of the table.
    pub(crate) version: i64,
    /// When, ms since 1970 UTC.
    pub(crate) last_updated: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RemoveLine {
    pub(super) path: String,
    pub(super) deletion_timestamp: Option<i64>,
    pub(super) data_change: bool,
    #[serde(default)]
    pub(super) extended_file_metadata: bool,
    #[serde(default)]
    pub(super) partition_values: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AddLine {
    pub(super) path: String,
    #[serde(default)]
    pub(super) partition_values: BTreeMap<String, String>,
    pub(super) size: u64,
    pub(super) modification_time: i64,
    pub(super) data_change: bool,
    pub(super) stats: Option<String>,
    pub(super) tags: Option<BTreeMap<String, String>>,
}

/// The bytes of a commit.
pub(super) fn render(actions: &[Action]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for action in actions {
        let line = serde_json::to_writer(&mut out, action);
        line.map_err(|e| Error::internal("a log action is not JSON").caused_by(e))?;
        out.push(b'\n');
    }
    Ok(out)
}

/// The actions of a commit, or of a checkpoint turned into lines.
///
/// # Errors
/// `Corrupt` for what is not JSON, `Unsupported` for an action that quipu does not write; both name the line.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Action>> {
    let lines = bytes.split(|b| *b == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let parsed = lines.map(|(number, line)| parse_line(line).map_err(|e| e.with("line", number + 1)));
    let actions: Vec<Action> = parsed.collect::<Result<_>>()?;
    if actions.is_empty() {
        return Err(Error::corrupt("the file has no actions"));
    }
    Ok(actions)
}

fn parse_line(line: &[u8]) -> Result<Action> {
    serde_json::from_slice(line).map_err(|e| {
        if e.is_data() {
            return Error::unsupported("an action of the Delta log").caused_by(e);
        }
        Error::corrupt("a line of the Delta log is not JSON").caused_by(e)
    })
}

impl Action {
    pub(super) fn as_txn(&self) -> Option<&Txn> {
        match self {
            Self::Txn(txn) => Some(txn),
            _ => None,
        }
    }
}
