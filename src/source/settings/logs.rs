//! `quipu.logs` and `quipu.log_files`: what log lines may be, and which files of this host are followed. Loki's
//! names and defaults where Loki has the setting.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer, de};

use crate::model::Regex;
use crate::model::setting::{ByteSize, Millis};
use crate::wire::logs::{LogRules, is_label_name};

/// The label that holds a tailed file's path.
pub(crate) const FILENAME: &str = "filename";

/// The `logs` section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Older lines are refused. Default: any age is taken.
    pub reject_old_samples_max_age: Option<Millis>,
    /// How far ahead of the clock a line may be; at most a day. Default 10 min.
    pub creation_grace_period: Millis,
    /// Bytes of a line. Default 256 KiB.
    #[serde(deserialize_with = "line_size")]
    pub max_line_size: ByteSize,
    /// Label names of a stream. Default 15.
    pub max_label_names_per_series: usize,
    /// Bytes of a label's name. Default 1,024.
    pub max_label_name_length: usize,
    /// Bytes of a label's value. Default 2,048.
    pub max_label_value_length: usize,
    /// Bytes of a line's structured metadata. Default 64 KiB.
    pub max_structured_metadata_size: ByteSize,
    /// Entries of a line's structured metadata. Default 128.
    pub max_structured_metadata_entries_count: usize,
    /// Labels that give `service_name`; an empty list adds none.
    pub discover_service_name: Vec<String>,
    /// Whether `detected_level` is added. Default true.
    pub discover_log_levels: bool,
    /// Whether quipu's own log is a stream. Default true.
    pub own_log: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        let rules = LogRules::default();
        let size = |bytes: usize| ByteSize::new(u64::try_from(bytes).unwrap_or(u64::MAX));
        Self {
            reject_old_samples_max_age: None,
            creation_grace_period: Millis::new(rules.grace_ms.unsigned_abs()),
            max_line_size: size(rules.line_bytes),
            max_label_names_per_series: rules.label_names,
            max_label_name_length: rules.label_name_bytes,
            max_label_value_length: rules.label_value_bytes,
            max_structured_metadata_size: size(rules.metadata_bytes),
            max_structured_metadata_entries_count: rules.metadata_entries,
            discover_service_name: rules.service_name_from,
            discover_log_levels: rules.detect_levels,
            own_log: true,
        }
    }
}

impl LogSettings {
    /// What the codecs obey.
    pub fn rules(&self) -> LogRules {
        let bytes = |size: ByteSize| usize::try_from(size.as_bytes()).unwrap_or(usize::MAX);
        LogRules {
            line_bytes: bytes(self.max_line_size),
            label_names: self.max_label_names_per_series,
            label_name_bytes: self.max_label_name_length,
            label_value_bytes: self.max_label_value_length,
            metadata_bytes: bytes(self.max_structured_metadata_size),
            metadata_entries: self.max_structured_metadata_entries_count,
            max_age_ms: self.reject_old_samples_max_age.map(Millis::as_time),
            grace_ms: self.creation_grace_period.as_time(),
            service_name_from: self.discover_service_name.clone(),
            detect_levels: self.discover_log_levels,
        }
    }
}

/// Files to follow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFileSettings {
    /// Shell patterns of paths; `**` stands for any folders.
    #[serde(deserialize_with = "patterns")]
    pub paths: Vec<String>,
    /// Labels of the lines; `filename` is added.
    #[serde(default, deserialize_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Where one entry has several lines.
    #[serde(default)]
    pub multiline: Option<Multiline>,
}

impl LogFileSettings {
    /// Relative patterns become relative to the configuration's folder.
    pub(crate) fn resolve(&mut self, dir: &Path) {
        for pattern in &mut self.paths {
            *pattern = dir.join(&*pattern).to_string_lossy().into_owned();
        }
    }
}

/// How entries of several lines are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multiline {
    /// An entry begins with a line in which this is found.
    pub start: StartPattern,
    /// How long the next line of an entry may take. Default 3 s.
    #[serde(default = "three_seconds")]
    pub max_wait_time: Millis,
}

fn three_seconds() -> Millis {
    Millis::seconds(3)
}

/// An RE2 expression that is searched for in a line.
#[derive(Debug, Clone)]
pub struct StartPattern {
    text: String,
    regex: Regex,
}

impl StartPattern {
    /// Whether a line begins an entry.
    pub fn is_start(&self, line: &str) -> bool {
        self.regex.is_match(line)
    }
}

impl PartialEq for StartPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for StartPattern {}

impl<'de> Deserialize<'de> for StartPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |e| de::Error::custom(format!("'start' is not a regular expression: {e}"));
        Regex::new(&text).map_err(wrong)?;
        let regex = Regex::new(&format!("(?s:.*)(?:{text})(?s:.*)")).map_err(wrong)?;
        Ok(Self { text, regex })
    }
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let patterns = Vec::<String>::deserialize(deserializer)?;
    for pattern in &patterns {
        glob::Pattern::new(pattern)
            .map_err(|e| de::Error::custom(format!("{pattern:?} is not a pattern of paths: {e}")))?;
    }
    if patterns.is_empty() {
        return Err(de::Error::custom("'paths' names no files"));
    }
    Ok(patterns)
}

fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let labels = BTreeMap::<String, String>::deserialize(deserializer)?;
    if let Some(name) = labels.keys().find(|name| !is_label_name(name) || *name == FILENAME) {
        return Err(de::Error::custom(format!("{name:?} cannot be a label of log files")));
    }
    if labels.len() >= LogRules::default().label_names {
        return Err(de::Error::custom("log files have at most 14 labels"));
    }
    Ok(labels)
}

fn line_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = ByteSize::deserialize(deserializer)?;
    let (least, most) = (ByteSize::new(1 << 10), ByteSize::mebibytes(8));
    if (least..=most).contains(&size) { Ok(size) } else { Err(de::Error::custom("must be from 1KB to 8MB")) }
}
