//! `min` and `max`: NaN only where every value is NaN, which `f64::min` and `f64::max` give by themselves.

use super::super::kernel::bits;
use super::{Presence, Row, cells};

/// The best value so far.
#[derive(Debug)]
pub(crate) struct Extremes {
    best: Vec<f64>,
    present: Presence,
    steps: usize,
    largest: bool,
}

impl Extremes {
    pub(super) fn new(steps: usize, largest: bool) -> Self {
        Self { best: Vec::new(), present: Presence::new(steps), steps, largest }
    }

    pub(super) fn add(&mut self, group: usize, row: &Row<'_>) {
        self.fold(group, row);
        self.present.add(group, row.valid);
    }

    fn fold(&mut self, group: usize, row: &Row<'_>) {
        let best = cells(&mut self.best, group, self.steps, f64::NAN);
        if self.largest {
            fold(best, row, f64::max);
        } else {
            fold(best, row, f64::min);
        }
    }

    pub(super) fn merge(&mut self, other: &Self, groups: &[usize]) {
        for (theirs, own) in groups.iter().enumerate() {
            let values = &other.best[theirs * self.steps..(theirs + 1) * self.steps];
            // A cell without a value holds NaN, which never wins.
            self.fold(*own, &Row { values, valid: None });
        }
        self.present.merge(&other.present, groups);
    }

    pub(super) fn finish(&self, group: usize, out: &mut [f64], valid: &mut [u64]) {
        valid.copy_from_slice(self.present.of(group));
        let best = &self.best[group * self.steps..(group + 1) * self.steps];
        for (step, (out, best)) in out.iter_mut().zip(best).enumerate() {
            *out = if bits::get(valid, step) { *best } else { 0.0 };
        }
    }

    pub(super) fn bytes(&self) -> usize {
        (self.best.capacity() + self.present.words.capacity()) * 8
    }
}

#[inline]
fn fold(best: &mut [f64], row: &Row<'_>, pick: impl Fn(f64, f64) -> f64) {
    match row.valid {
        None => best.iter_mut().zip(row.values).for_each(|(best, value)| *best = pick(*best, *value)),
        Some(valid) => {
            for (step, (best, value)) in best.iter_mut().zip(row.values).enumerate() {
                let value = if bits::get(valid, step) { *value } else { f64::NAN };
                *best = pick(*best, value);
            }
        }
    }
}
