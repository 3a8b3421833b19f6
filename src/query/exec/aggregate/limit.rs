//! `limitk`: of every group the first k series that have a value, at every step anew.

use super::super::kernel::bits;
use super::top::whole;
use super::{Chosen, Row, cells};
use crate::query::plan::StepScalar;

/// The state of `limitk`.
#[derive(Debug)]
pub(crate) struct Limit {
    steps: usize,
    /// k at each step.
    wanted: Vec<usize>,
    /// How many series each group has taken at each step.
    taken: Vec<usize>,
    /// With the group of each.
    chosen: Vec<(usize, Chosen)>,
}

impl Limit {
    pub(super) fn new(steps: usize, k: &StepScalar) -> Self {
        let wanted = (0..steps).map(|step| whole(k.at(step))).collect();
        Self { steps, wanted, taken: Vec::new(), chosen: Vec::new() }
    }

    pub(super) fn add(&mut self, group: usize, series: u32, row: &Row<'_>) -> bool {
        let taken = cells(&mut self.taken, group, self.steps, 0);
        let free = |step: &usize| taken[*step] < self.wanted[*step] && row.is_valid(*step);
        let mut valid = vec![0; bits::word_count(self.steps)];
        (0..self.steps).filter(free).for_each(|step| bits::set(&mut valid, step));
        if bits::count(&valid) == 0 {
            return false;
        }
        let mut values = vec![0.0; self.steps];
        for step in bits::ones(&valid) {
            taken[step] += 1;
            values[step] = row.values[step];
        }
        self.chosen.push((group, Chosen { series, values, valid }));
        true
    }

    /// Theirs come after ours.
    pub(super) fn merge(&mut self, other: &Self, groups: &[usize], series: u32) {
        for (group, chosen) in &other.chosen {
            let row = Row { values: &chosen.values, valid: Some(&chosen.valid) };
            self.add(groups[*group], chosen.series + series, &row);
        }
    }

    pub(super) fn chosen(&self) -> Vec<Chosen> {
        self.chosen.iter().map(|(_, chosen)| chosen.clone()).collect()
    }

    pub(super) fn bytes(&self) -> usize {
        let row = self.steps * 8 + bits::word_count(self.steps) * 8 + size_of::<(usize, Chosen)>();
        self.chosen.len() * row + self.taken.capacity() * 8
    }
}
