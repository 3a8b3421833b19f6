//! Series in memory, in the shape of a store's selection.

use std::ops::Range;
use std::sync::Arc;

use crate::model::{Histogram, METRIC_NAME, Matcher, SeriesKey};
use crate::store::SeriesRows;

/// One series: its samples and stale markers.
#[derive(Debug, Clone)]
pub(crate) struct MemorySeries {
    pub(crate) key: SeriesKey,
    pub(crate) timestamps: Vec<i64>,
    pub(crate) values: Vec<f64>,
    pub(crate) stale_at: Vec<i64>,
    pub(crate) histogram_times: Vec<i64>,
    pub(crate) histograms: Vec<Arc<Histogram>>,
}

/// Some series.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    series: Arc<[MemorySeries]>,
}

impl Memory {
    pub(super) fn new(series: Vec<MemorySeries>) -> Self {
        Self { series: series.into() }
    }

    pub(super) fn select(&self, matchers: &[Matcher]) -> Self {
        let matches = |series: &&MemorySeries| {
            matchers.iter().all(|matcher| {
                let key = &series.key;
                let value = if matcher.name() == METRIC_NAME {
                    &key.metric
                } else {
                    key.labels.get(matcher.name()).unwrap_or("")
                };
                matcher.matches(value)
            })
        };
        Self { series: self.series.iter().filter(matches).cloned().collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn key(&self, at: usize) -> &SeriesKey {
        &self.series[at].key
    }

    pub(super) fn rows(&self) -> u64 {
        self.series
            .iter()
            .map(|series| u64::try_from(series.timestamps.len() + series.histograms.len()).expect("a length"))
            .sum()
    }

    pub(super) fn partitions(&self, n: usize) -> Vec<Range<usize>> {
        let n = n.min(self.len()).max(1);
        (0..n).map(|part| self.len() * part / n..self.len() * (part + 1) / n).collect()
    }

    pub(super) fn rows_of(&self, index: usize) -> SeriesRows<'_> {
        let series = &self.series[index];
        SeriesRows {
            index,
            timestamps: &series.timestamps,
            values: &series.values,
            stale_at: &series.stale_at,
            histogram_times: &series.histogram_times,
            histograms: &series.histograms,
            histogram_before: None,
        }
    }
}
