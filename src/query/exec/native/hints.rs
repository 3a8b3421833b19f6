//! What each stored histogram says about resets, as Prometheus' storage would tell: it compares a counter's sample
//! with the one before when it stores it.

use std::sync::Arc;

use super::compare::is_reset;
use crate::model::{Histogram, ResetHint};

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
    pub(super) fn of(&mut self, all: &[Arc<Histogram>], at: usize) -> ResetHint {
        if let Some(hint) = self.found[at] {
            return hint;
        }
        let own = all[at].reset_hint;
        let before = at.checked_sub(1).map(|before| &all[before]);
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
    pub(super) fn histogram(&mut self, all: &[Arc<Histogram>], at: usize) -> Arc<Histogram> {
        let hint = self.of(all, at);
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
