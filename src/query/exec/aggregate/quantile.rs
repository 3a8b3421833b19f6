//! `quantile`: keeps every value of a group as its sort key and selects at the end.

use super::super::kernel::bits;
use super::super::kernel::order::{key, quantile_of_keys};
use super::Row;
use crate::query::plan::StepScalar;

/// Steps whose values are gathered together, so that a row's cache line is read once.
const TILE: usize = 16;

/// Per group all rows as keys, one after the other; 0 where a row has no value.
#[derive(Debug)]
pub(crate) struct Quantiles {
    groups: Vec<Vec<u64>>,
    steps: usize,
    quantile: StepScalar,
}

/// A key that leaves 0 for "no value"; the largest key is +∞'s, so the addition cannot overflow.
#[inline]
pub(super) fn present_key(value: f64) -> u64 {
    key(value) + 1
}

impl Quantiles {
    pub(super) fn new(steps: usize, quantile: StepScalar) -> Self {
        Self { groups: Vec::new(), steps, quantile }
    }

    fn room(&mut self, group: usize) -> &mut Vec<u64> {
        if self.groups.len() <= group {
            self.groups.resize_with(group + 1, Vec::new);
        }
        &mut self.groups[group]
    }

    pub(super) fn add(&mut self, group: usize, row: &Row<'_>) {
        let keys = self.room(group);
        match row.valid {
            None => keys.extend(row.values.iter().map(|value| present_key(*value))),
            Some(valid) => keys.extend(
                row.values
                    .iter()
                    .enumerate()
                    .map(|(step, value)| if bits::get(valid, step) { present_key(*value) } else { 0 }),
            ),
        }
    }

    pub(super) fn merge(&mut self, other: Self, groups: &[usize]) {
        for (theirs, own) in other.groups.into_iter().zip(groups) {
            let keys = self.room(*own);
            if keys.is_empty() {
                *keys = theirs;
            } else {
                keys.extend_from_slice(&theirs);
            }
        }
    }

    pub(super) fn finish(&mut self, group: usize, out: &mut [f64], valid: &mut [u64]) {
        let keys = &self.groups[group];
        let steps = self.steps;
        let mut columns: [Vec<u64>; TILE] = Default::default();
        valid.fill(0);
        for from in (0..steps).step_by(TILE) {
            let width = TILE.min(steps - from);
            columns.iter_mut().for_each(Vec::clear);
            for row in keys.chunks_exact(steps) {
                for (column, key) in columns.iter_mut().zip(&row[from..from + width]) {
                    if *key > 0 {
                        column.push(*key - 1);
                    }
                }
            }
            for (step, column) in (from..from + width).zip(&mut columns) {
                out[step] = 0.0;
                if !column.is_empty() {
                    out[step] = quantile_of_keys(self.quantile.at(step), column);
                    bits::set(valid, step);
                }
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.groups.iter().map(|keys| keys.capacity() * 8).sum()
    }
}
