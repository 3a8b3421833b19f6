//! The metric catalogue: which metrics there are, their labels in first-seen order, their type, help and unit.
//!
//! It is what start-up reads instead of data files, and what makes a table per metric in SQL free of index I/O.
//! A label name is only ever added, at the end, so a column never shifts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::block::MetadataRow;
use crate::model::{LabelsRef, MetricMetadata, MetricType};

/// What is known about one metric.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatalogueEntry {
    /// Label names in the order in which they were first seen.
    pub label_names: Vec<Arc<str>>,
    /// Type, `Unknown` until somebody says it.
    pub kind: MetricType,
    /// Help text; may be empty.
    pub help: Arc<str>,
    /// Unit; may be empty.
    pub unit: Arc<str>,
    /// Whether some series of it has native histograms.
    pub has_histograms: bool,
    /// The first and the last UTC day with samples, in days since 1970.
    pub days: Option<(i32, i32)>,
}

/// The metrics of one tenant by name. Cheap to clone, immutable once published.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    entries: BTreeMap<Arc<str>, Arc<CatalogueEntry>>,
    /// Metadata of families that have no series of exactly their name (`http_request` of `http_request_total`).
    families: BTreeMap<Arc<str>, Arc<MetricMetadata>>,
}

impl Catalogue {
    /// The metrics in name order.
    pub fn metrics(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Arc<CatalogueEntry>)> {
        self.entries.iter()
    }

    /// One metric.
    pub fn get(&self, metric: &str) -> Option<&Arc<CatalogueEntry>> {
        self.entries.get(metric)
    }

    /// What was said about metric families, in name order: the answer of Prometheus' `/api/v1/metadata`.
    pub fn families(&self) -> impl ExactSizeIterator<Item = &Arc<MetricMetadata>> {
        self.families.values()
    }

    /// Adds a metric with its label names. Returns whether anything was new.
    pub(in crate::store) fn observe(&mut self, metric: &Arc<str>, labels: LabelsRef<'_>) -> bool {
        let known = self.entries.get(metric);
        let is_new = |name: &str| known.is_none_or(|entry| entry.label_names.iter().all(|n| **n != *name));
        let fresh: Vec<Arc<str>> =
            labels.iter().map(|(name, _)| name).filter(|name| is_new(name)).map(Arc::from).collect();
        if known.is_some() && fresh.is_empty() {
            return false;
        }
        let entry = self.entry(metric);
        entry.label_names.extend(fresh);
        true
    }

    /// Takes a stored row; rows come in commit order, so a later description wins.
    pub(in crate::store) fn restore(&mut self, row: &MetadataRow) {
        if row.kind != MetricType::Unknown || !row.help.is_empty() || !row.unit.is_empty() {
            self.describe(&MetricMetadata {
                metric: family_name(&row.metric, row.kind),
                kind: row.kind,
                help: Arc::clone(&row.help),
                unit: Arc::clone(&row.unit),
            });
        }
        let entry = self.entry(&row.metric);
        for name in &row.label_names {
            if !entry.label_names.contains(name) {
                entry.label_names.push(Arc::clone(name));
            }
        }
        entry.has_histograms |= row.has_histograms;
        self.saw_day(&row.metric, row.day);
    }

    /// Notes that a metric has native histograms.
    pub(in crate::store) fn saw_histograms(&mut self, metric: &Arc<str>) {
        if self.entries.get(metric).is_none_or(|entry| !entry.has_histograms) {
            self.entry(metric).has_histograms = true;
        }
    }

    /// Widens a metric's days. Returns whether the day was outside what was known.
    pub(in crate::store) fn saw_day(&mut self, metric: &Arc<str>, day: i32) -> bool {
        let days = self.entries.get(metric).and_then(|entry| entry.days);
        let wider = days.map_or((day, day), |(first, last)| (first.min(day), last.max(day)));
        let changed = days != Some(wider);
        if changed {
            self.entry(metric).days = Some(wider);
        }
        changed
    }

    /// Takes type, help and unit. Returns whether anything changed.
    pub(in crate::store) fn describe(&mut self, metadata: &MetricMetadata) -> bool {
        if self.families.get(&metadata.metric).is_some_and(|known| **known == *metadata) {
            return false;
        }
        self.families.insert(Arc::clone(&metadata.metric), Arc::new(metadata.clone()));
        if self.entries.contains_key(&metadata.metric) {
            self.apply_family(&metadata.metric, metadata);
        }
        true
    }

    /// What was said about the family that a metric belongs to: its own name, or without `_total`, `_bucket`,
    /// `_sum`, `_count`.
    pub fn family_of(&self, metric: &str) -> Option<&Arc<MetricMetadata>> {
        self.families.get(metric).or_else(|| {
            let base = ["_total", "_bucket", "_sum", "_count", "_info", "_created"]
                .into_iter()
                .find_map(|suffix| metric.strip_suffix(suffix))?;
            self.families.get(base)
        })
    }

    fn apply_family(&mut self, metric: &Arc<str>, metadata: &MetricMetadata) {
        let entry = self.entry(metric);
        entry.kind = metadata.kind;
        entry.help = Arc::clone(&metadata.help);
        entry.unit = Arc::clone(&metadata.unit);
    }

    fn entry(&mut self, metric: &Arc<str>) -> &mut CatalogueEntry {
        if !self.entries.contains_key(metric) {
            let said = self.family_of(metric).cloned();
            self.entries.insert(Arc::clone(metric), Arc::default());
            if let Some(metadata) = said {
                self.apply_family(metric, &metadata);
            }
        }
        Arc::make_mut(self.entries.get_mut(metric).expect("inserted above"))
    }
}

/// The family of a stored metric: the parts of histograms and summaries were described by their common name.
fn family_name(metric: &Arc<str>, kind: MetricType) -> Arc<str> {
    let in_parts = matches!(kind, MetricType::Histogram | MetricType::GaugeHistogram | MetricType::Summary);
    let base = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| metric.strip_suffix(suffix));
    match base {
        Some(base) if in_parts => Arc::from(base),
        _ => Arc::clone(metric),
    }
}
