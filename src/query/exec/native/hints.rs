//! What each stored histogram says about resets, as Prometheus' storage would tell: it compares a counter's sample
//! with the one before when it stores it.

use std::sync::Arc;

use super::super::kernel::Samples;
use super::compare::is_reset;
use super::window::Points;
use crate::model::{Histogram, ResetHint};
use crate::store::SeriesRows;

/// All histograms of a series with what is known about each.
pub(crate) fn hinted(rows: &SeriesRows<'_>) -> Vec<Arc<Histogram>> {
    let floats = Samples { timestamps: &[], values: &[], stale_at: &[] };
    let (times, histograms) = (rows.histogram_times, rows.histograms);
    let points = Points { floats, times, histograms, before: rows.histogram_before };
    let mut hints = Hints::default();
    hints.clear(histograms.len());
    (0..histograms.len()).map(|at| hints.histogram(&points, at)).collect()
}

/// The hints of one series' histograms, found when they are asked for.
#[derive(Debug, Default)]
pub(super) struct Hints {
    found: Vec<Option<ResetHint>>,
    /// The newest histogram that was given another hint, and its place.
    given: Option<(usize, Arc<Histogram>)>,
    /// Resets are named. Prometheus' storage only knows that it does not know, but for queries that need no
    /// buckets it looks again.
    names_resets: bool,
}

impl Hints {
    pub(super) fn new(names_resets: bool) -> Self {
        Self { names_resets, ..Self::default() }
    }

    /// Begins another series.
    pub(super) fn clear(&mut self, histograms: usize) {
        self.found.clear();
        self.found.resize(histograms, None);
        self.given = None;
    }

    /// What is known about a reset before this histogram.
    pub(super) fn of(&mut self, points: &Points<'_>, at: usize) -> ResetHint {
        if let Some(hint) = self.found[at] {
            return hint;
        }
        let all = points.histograms;
        let own = all[at].reset_hint;
        let before = at.checked_sub(1).map_or(points.before, |before| all.get(before));
        let hint = match before {
            Some(before) if own == ResetHint::Unknown => {
                let was_gauge = before.reset_hint == ResetHint::Gauge;
                match is_reset(&all[at], before) {
                    true if self.names_resets => ResetHint::Reset,
                    true => ResetHint::Unknown,
                    false if was_gauge && !self.names_resets => ResetHint::Unknown,
                    false => ResetHint::NotReset,
                }
            }
            _ => own,
        };
        self.found[at] = Some(hint);
        hint
    }

    /// The histogram with what is known about it.
    pub(super) fn histogram(&mut self, points: &Points<'_>, at: usize) -> Arc<Histogram> {
        let (hint, all) = (self.of(points, at), points.histograms);
        if all[at].reset_hint == hint {
            return Arc::clone(&all[at]);
        }
        if let Some((given, histogram)) = &self.given
            && *given == at
        {
            return Arc::clone(histogram);
        }
        let histogram = Arc::new(Histogram { reset_hint: hint, ..all[at].as_ref().clone() });
        self.given = Some((at, Arc::clone(&histogram)));
        histogram
    }
}
