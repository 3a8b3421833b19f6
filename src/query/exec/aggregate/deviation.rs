//! `stddev` and `stdvar`: mean and sum of squared distances in every cell, of the whole population.
//!
//! Sources: B. P. Welford, Technometrics 4 (1962); for merging T. F. Chan, G. H. Golub, R. J. `LeVeque`, "Updating
//! Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979).

use super::super::kernel::bits;
use super::{Row, cells};

/// One cell. Empty while `count` is 0.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Cell {
    /// One value more. A value that is not finite makes NaN, also where it is the only one.
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += if value.is_finite() { delta * (value - self.mean) } else { f64::NAN };
    }

    fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        let (count, delta) = (self.count + other.count, other.mean - self.mean);
        self.squares += other.squares + delta * delta * (self.count * other.count / count);
        self.mean += delta * (other.count / count);
        self.count = count;
    }
}

/// The state of `stddev` or `stdvar`.
#[derive(Debug)]
pub(crate) struct Deviations {
    cells: Vec<Cell>,
    steps: usize,
    root: bool,
}

impl Deviations {
    /// `root` is true for `stddev`.
    pub(super) fn new(steps: usize, root: bool) -> Self {
        Self { cells: Vec::new(), steps, root }
    }

    pub(super) fn add(&mut self, group: usize, row: &Row<'_>) {
        let own = cells(&mut self.cells, group, self.steps, Cell::default());
        for (step, (cell, value)) in own.iter_mut().zip(row.values).enumerate() {
            if row.is_valid(step) {
                cell.add(*value);
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self, groups: &[usize]) {
        for (theirs, own) in groups.iter().enumerate() {
            let own = cells(&mut self.cells, *own, self.steps, Cell::default());
            own.iter_mut().zip(other.of(theirs)).for_each(|(cell, other)| cell.merge(other));
        }
    }

    fn of(&self, group: usize) -> &[Cell] {
        &self.cells[group * self.steps..(group + 1) * self.steps]
    }

    pub(super) fn finish(&self, group: usize, out: &mut [f64], valid: &mut [u64]) {
        let own = self.of(group);
        bits::fill(valid, self.steps, |step| own[step].count > 0.0);
        for (out, cell) in out.iter_mut().zip(own) {
            let variance = cell.squares / cell.count;
            *out = match cell.count > 0.0 {
                true if self.root => variance.sqrt(),
                true => variance,
                false => 0.0,
            };
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<Cell>()
    }
}
