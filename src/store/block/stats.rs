//! The bounds that a file's `add` action carries.

use std::sync::Arc;

use super::writer::RunRows;

/// Bounds over a file's rows of samples, both ends included: what other engines prune by. Values have none: NaN
/// and infinities are samples, and JSON knows neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowBounds {
    /// Metrics.
    pub metric: (Arc<str>, Arc<str>),
    /// Series ids.
    pub id: (i64, i64),
    /// ms.
    pub time: (i64, i64),
}

/// Collects bounds while runs go by.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    rows: Option<RowBounds>,
    any_time: Option<(i64, i64)>,
}

impl Bounds {
    pub(super) fn push(&mut self, run: &RunRows<'_>) {
        for times in [run.timestamps, run.stale_at] {
            if let (Some(first), Some(last)) = (times.first(), times.last()) {
                let all = self.any_time.get_or_insert((*first, *last));
                widen(all, *first, *last);
            }
        }
        let (Some(first), Some(last)) = (run.timestamps.first(), run.timestamps.last()) else { return };
        let metric = &run.key.metric;
        let rows = self.rows.get_or_insert_with(|| RowBounds {
            metric: (Arc::clone(metric), Arc::clone(metric)),
            id: (run.id, run.id),
            time: (*first, *last),
        });
        // Runs come in metric order: the first stays, the last moves.
        rows.metric.1 = Arc::clone(metric);
        widen(&mut rows.id, run.id, run.id);
        widen(&mut rows.time, *first, *last);
    }

    /// ms, over samples and stale markers, so that pruning by time does not lose the markers.
    pub(super) fn times(&self) -> (i64, i64) {
        self.any_time.unwrap_or((0, 0))
    }

    /// `None` without rows.
    pub(super) fn into_rows(self) -> Option<RowBounds> {
        self.rows
    }
}

fn widen(bounds: &mut (i64, i64), first: i64, last: i64) {
    *bounds = (bounds.0.min(first), bounds.1.max(last));
}
