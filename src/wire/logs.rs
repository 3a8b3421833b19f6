//! What every codec of log lines shares: the rules, the labels and levels that are added, and the batch that
//! grows. What is wrong with one line or one stream is refused and remembered in Loki's words, so that its
//! neighbours can be stored.
//!
//! ```text
//!   codec ── stream(labels) ─▶ number ── metadata.push(…), line(number, ns, text) ─▶ LogBatch
//!                    └─ Refusal ─ refuse(lines) ─────────────────────┴─▶ Refused
//! ```
//! Nothing is allocated per line beyond the batch. No clock: the caller says what time it is.

mod level;
mod pairs;
mod refused;
mod rules;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

pub use pairs::Pairs;
pub use refused::{Refusal, Refused};
pub use rules::LogRules;

use super::limits::abridge;
use crate::model::time::{FUTURE_MS, OLDEST_MS};
use crate::model::{Labels, LabelsRef, LogBatch, push_pair};

/// The label that is added to streams without it.
const SERVICE_NAME: &str = "service_name";
/// Its value where no label gives one.
const UNKNOWN_SERVICE: &str = "unknown_service";
const NS_PER_MS: i64 = 1_000_000;

/// A batch that grows under the rules.
#[derive(Debug)]
pub struct Intake<'r> {
    rules: &'r LogRules,
    oldest_ns: i64,
    newest_ns: i64,
    batch: LogBatch,
    /// Positions in `batch.streams` by canonical labels.
    known: HashTable<u32>,
    /// The level that a stream's labels name, as canonical metadata.
    levels: Vec<Vec<u8>>,
    /// Structured metadata of the next line; [`Intake::line`] takes it.
    pub metadata: Pairs,
    /// Scratch.
    canonical: Vec<u8>,
    /// Scratch.
    order: Vec<usize>,
    refused: Refused,
    replaced: u64,
}

/// What came out of a body.
#[derive(Debug)]
pub struct Taken {
    /// The good lines.
    pub batch: LogBatch,
    /// The others.
    pub refused: Refused,
    /// Byte sequences that were not UTF-8 and became U+FFFD.
    pub replaced: u64,
}

impl<'r> Intake<'r> {
    /// An empty batch at a time in ms since 1970.
    pub fn new(rules: &'r LogRules, now_ms: i64) -> Self {
        let ns = |ms: i64| ms.saturating_mul(NS_PER_MS);
        let oldest_ms = rules.max_age_ms.map_or(OLDEST_MS, |age| now_ms.saturating_sub(age).max(OLDEST_MS));
        Self {
            rules,
            oldest_ns: ns(oldest_ms),
            newest_ns: ns(now_ms.saturating_add(rules.grace_ms.min(FUTURE_MS))),
            batch: LogBatch::default(),
            known: HashTable::new(),
            levels: Vec::new(),
            metadata: Pairs::default(),
            canonical: Vec::new(),
            order: Vec::new(),
            refused: Refused::default(),
            replaced: 0,
        }
    }

    /// The lines so far.
    pub fn batch(&self) -> &LogBatch {
        &self.batch
    }

    /// What was collected.
    pub fn finish(self) -> Taken {
        Taken { batch: self.batch, refused: self.refused, replaced: self.replaced }
    }

    /// The number of a stream, by its labels in any order. `pairs` is sorted and gets `service_name`; an empty value
    /// is no label.
    ///
    /// # Errors
    /// A refusal that holds for each of its lines.
    pub fn stream<'a>(&mut self, pairs: &mut Vec<(&'a str, &'a str)>) -> Result<u32, Refusal>
    where
        'r: 'a,
    {
        pairs.retain(|(_, value)| !value.is_empty());
        self.add_service_name(pairs);
        pairs.sort_unstable();
        pairs.dedup();
        self.canonical.clear();
        for (name, value) in &*pairs {
            push_pair(&mut self.canonical, name, value);
        }
        let streams = &self.batch.streams;
        let hash = xxh3_64(&self.canonical);
        let same = |number: &u32| streams[*number as usize].as_bytes() == self.canonical;
        if let Some(number) = self.known.find(hash, same) {
            return Ok(*number);
        }
        self.check_stream(pairs)?;
        let labels = LabelsRef::trusted(&self.canonical).to_owned();
        self.insert(labels, hash)
    }

    /// The number of a stream whose labels were made here and need no check.
    ///
    /// # Errors
    /// As [`Intake::stream`].
    pub fn own_stream(&mut self, labels: &Labels) -> Result<u32, Refusal> {
        self.insert(labels.clone(), xxh3_64(labels.as_bytes()))
    }

    fn insert(&mut self, labels: Labels, hash: u64) -> Result<u32, Refusal> {
        let streams = &mut self.batch.streams;
        let number = u32::try_from(streams.len())
            .map_err(|_| Refusal::new("stream_limit", || "too many streams in one request".to_owned()))?;
        let mut level = Vec::new();
        if let Some(found) = level::of_labels(|name| labels.get(name)).filter(|_| self.rules.detect_levels) {
            push_pair(&mut level, level::DETECTED_LEVEL, found);
        }
        streams.push(labels);
        self.levels.push(level);
        self.known.insert_unique(hash, number, |number| xxh3_64(streams[*number as usize].as_bytes()));
        Ok(number)
    }

    fn add_service_name<'a>(&self, pairs: &mut Vec<(&'a str, &'a str)>)
    where
        'r: 'a,
    {
        let rules: &'r LogRules = self.rules;
        let get = |pairs: &[(&'a str, &'a str)], name: &str| {
            pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
        };
        if rules.service_name_from.is_empty() || get(pairs, SERVICE_NAME).is_some() {
            return;
        }
        let found = rules.service_name_from.iter().find_map(|name| get(pairs, name));
        pairs.push((SERVICE_NAME, found.unwrap_or(UNKNOWN_SERVICE)));
    }

    fn check_stream(&self, pairs: &[(&str, &str)]) -> Result<(), Refusal> {
        let rules = self.rules;
        let shown = || shown(pairs);
        let full = pairs.iter().filter(|(_, value)| !value.is_empty());
        let names =
            full.filter(|(name, _)| *name != SERVICE_NAME || rules.service_name_from.is_empty()).count();
        if pairs.is_empty() {
            let text = "error at least one label pair is required per stream";
            return Err(Refusal::new("missing_labels", || text.to_owned()));
        }
        if names > rules.label_names {
            let text = || {
                format!("entry for stream '{}' has {names} label names; limit {}", shown(), rules.label_names)
            };
            return Err(Refusal::new("max_label_names_per_series", text));
        }
        for (at, (name, value)) in pairs.iter().enumerate() {
            let why =
                |text: &str, what: &str| format!("stream '{}' has {text}: '{}'", shown(), abridge(what));
            if !is_label_name(name) {
                let text = || {
                    format!(
                        "Error parsing labels '{}' with error: not a label name: '{}'",
                        shown(),
                        abridge(name)
                    )
                };
                return Err(Refusal::new("invalid_labels", text));
            }
            if name.len() > rules.label_name_bytes {
                return Err(Refusal::new("label_name_too_long", || why("label name too long", name)));
            }
            if value.len() > rules.label_value_bytes {
                return Err(Refusal::new("label_value_too_long", || why("label value too long", value)));
            }
            if at > 0 && pairs[at - 1].0 == *name {
                return Err(Refusal::new("duplicate_label_names", || why("duplicate label name", name)));
            }
        }
        Ok(())
    }

    /// Adds a line with the metadata that was pushed, or refuses it. The time is in ns since 1970.
    pub fn line(&mut self, stream: u32, timestamp: i64, body: &str) {
        if let Err(refusal) = self.check_line(stream, timestamp, body) {
            self.refuse(1, body.len() + self.metadata.bytes(), &refusal);
            self.metadata.clear();
            return;
        }
        self.canonical_metadata(stream, body);
        self.metadata.clear();
        if !self.batch.push(stream, timestamp, body, LabelsRef::trusted(&self.canonical)) {
            let refusal = Refusal::new("request_too_large", || "more than 4 GiB in one request".to_owned());
            self.refuse(1, body.len(), &refusal);
        }
    }

    fn check_line(&self, stream: u32, timestamp: i64, body: &str) -> Result<(), Refusal> {
        let rules = self.rules;
        let (bytes, entries) = (self.metadata.bytes(), self.metadata.len());
        let fine = (self.oldest_ns..=self.newest_ns).contains(&timestamp)
            && body.len() <= rules.line_bytes
            && bytes <= rules.metadata_bytes
            && entries <= rules.metadata_entries;
        if fine {
            return Ok(());
        }
        let labels = shown(&self.batch.streams[stream as usize].iter().collect::<Vec<_>>());
        if timestamp < self.oldest_ns {
            let (at, oldest) = (rfc3339(timestamp), rfc3339(self.oldest_ns));
            let text = format!(
                "entry for stream '{labels}' has timestamp too old: {at}, oldest acceptable timestamp is: {oldest}"
            );
            return Err(Refusal::new("greater_than_max_sample_age", || text));
        }
        if timestamp > self.newest_ns {
            let text = format!("entry for stream '{labels}' has timestamp too new: {}", rfc3339(timestamp));
            return Err(Refusal::new("too_far_in_future", || text));
        }
        if body.len() > rules.line_bytes {
            let text = format!(
                "Max entry size '{}' bytes exceeded for stream '{labels}' while adding an entry with length '{}' bytes",
                rules.line_bytes,
                body.len()
            );
            return Err(Refusal::new("line_too_long", || text));
        }
        if bytes > rules.metadata_bytes {
            let limit = rules.metadata_bytes;
            let text = format!(
                "stream '{labels}' has structured metadata too large: '{bytes}' bytes, limit: '{limit}' bytes. \
                 Please see `quipu.logs.max_structured_metadata_size`"
            );
            return Err(Refusal::new("structured_metadata_too_large", || text));
        }
        let limit = rules.metadata_entries;
        let text = format!(
            "stream '{labels}' has too many structured metadata labels: '{entries}', limit: '{limit}'. \
             Please see `quipu.logs.max_structured_metadata_entries_count`"
        );
        Err(Refusal::new("structured_metadata_too_many", || text))
    }

    /// Makes the canonical metadata of the next line, its level among it.
    fn canonical_metadata(&mut self, stream: u32, body: &str) {
        let Self { metadata, order, canonical, .. } = self;
        if !self.rules.detect_levels {
            return metadata.canonical(None, order, canonical);
        }
        let by_labels = &self.levels[stream as usize];
        if metadata.is_empty() {
            canonical.clear();
            if by_labels.is_empty() {
                push_pair(canonical, level::DETECTED_LEVEL, level::of_line(metadata, body));
            } else {
                canonical.extend_from_slice(by_labels);
            }
            return;
        }
        let written = metadata.get(level::DETECTED_LEVEL).map(level::normal);
        let of_labels = || LabelsRef::trusted(by_labels).iter().next().map(|(_, level)| level);
        let of_metadata = || level::of_labels(|name| metadata.get(name));
        let found = written.or_else(of_labels).or_else(of_metadata);
        let found = found.unwrap_or_else(|| level::of_line(metadata, body));
        metadata.canonical(Some((level::DETECTED_LEVEL, found)), order, canonical);
    }

    /// Counts lines that are not taken.
    pub fn refuse(&mut self, lines: usize, bytes: usize, refusal: &Refusal) {
        self.refused.add(lines, bytes, refusal);
    }

    /// A text from outside; what is not UTF-8 in it becomes U+FFFD and is counted.
    pub fn text<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, str> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => {
                let chunks = bytes.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty());
                self.replaced += u64::try_from(chunks.count()).unwrap_or(u64::MAX);
                String::from_utf8_lossy(bytes)
            }
        }
    }
}

/// A name that every query language of logs can spell: letters, digits and `_`, no digit first.
pub fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Appends such a name made of another one: what may not stand in it becomes `_`.
pub fn push_label_name(out: &mut String, name: &str) {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        out.push_str("key_");
    }
    out.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }));
}

/// Labels for a message: bounded.
fn shown(pairs: &[(&str, &str)]) -> String {
    const SHOWN: usize = 20;
    let mut text = String::from("{");
    for (at, (name, value)) in pairs.iter().take(SHOWN).enumerate() {
        let lead = if at > 0 { ", " } else { "" };
        text.extend([lead, &abridge(name), "=\"", &abridge(value), "\""]);
    }
    text.push_str(if pairs.len() > SHOWN { ", …}" } else { "}" });
    text
}

fn rfc3339(ns: i64) -> String {
    chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
