//! `sum`, `avg`, `count` and `group`.

use super::super::kernel::bits;
use super::super::kernel::compensated::{Mean, Sum, two_sum};
use super::{Presence, Row, cells};

/// Compensated sums. Rows hold 0.0 where they have no value, so the additions need no mask.
#[derive(Debug)]
pub(crate) struct Sums {
    high: Vec<f64>,
    low: Vec<f64>,
    present: Presence,
    steps: usize,
}

impl Sums {
    pub(super) fn new(steps: usize) -> Self {
        Self { high: Vec::new(), low: Vec::new(), present: Presence::new(steps), steps }
    }

    pub(super) fn add(&mut self, group: usize, row: &Row<'_>) {
        self.add_values(group, row.values);
        self.present.add(group, row.valid);
    }

    fn add_values(&mut self, group: usize, values: &[f64]) {
        let steps = self.steps;
        let high = cells(&mut self.high, group, steps, 0.0);
        let low = cells(&mut self.low, group, steps, 0.0);
        for ((high, low), value) in high.iter_mut().zip(low).zip(values) {
            let (sum, error) = two_sum(*high, *value);
            *high = sum;
            *low += error;
        }
    }

    pub(super) fn merge(&mut self, other: &Self, groups: &[usize]) {
        let steps = self.steps;
        for (theirs, own) in groups.iter().enumerate() {
            self.add_values(*own, &other.high[theirs * steps..(theirs + 1) * steps]);
            let low = cells(&mut self.low, *own, steps, 0.0);
            let lost = &other.low[theirs * steps..(theirs + 1) * steps];
            low.iter_mut().zip(lost).for_each(|(low, lost)| *low += lost);
        }
        self.present.merge(&other.present, groups);
    }

    fn sum(&self, group: usize, step: usize) -> Sum {
        Sum { high: self.high[group * self.steps + step], low: self.low[group * self.steps + step] }
    }

    pub(super) fn finish(&self, group: usize, out: &mut [f64], valid: &mut [u64]) {
        valid.copy_from_slice(self.present.of(group));
        for (step, out) in out.iter_mut().enumerate() {
            *out = if bits::get(valid, step) { self.sum(group, step).total() } else { 0.0 };
        }
    }

    pub(super) fn bytes(&self) -> usize {
        (self.high.capacity() + self.low.capacity() + self.present.words.capacity()) * 8
    }
}

/// How many values there are, or only whether there are any.
#[derive(Debug)]
pub(crate) struct Counts {
    cells: Vec<u32>,
    steps: usize,
    count: bool,
}

impl Counts {
    /// `count` is false for `group`, whose result is 1.
    pub(super) fn new(steps: usize, count: bool) -> Self {
        Self { cells: Vec::new(), steps, count }
    }

    pub(super) fn add(&mut self, group: usize, row: &Row<'_>) {
        let counts = cells(&mut self.cells, group, self.steps, 0);
        match row.valid {
            None => counts.iter_mut().for_each(|count| *count += 1),
            Some(valid) => {
                for (step, count) in counts.iter_mut().enumerate() {
                    *count += u32::from(bits::get(valid, step));
                }
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self, groups: &[usize]) {
        for (theirs, own) in groups.iter().enumerate() {
            let counts = cells(&mut self.cells, *own, self.steps, 0);
            let other = &other.cells[theirs * self.steps..(theirs + 1) * self.steps];
            counts.iter_mut().zip(other).for_each(|(count, other)| *count += other);
        }
    }

    fn of(&self, group: usize) -> &[u32] {
        &self.cells[group * self.steps..(group + 1) * self.steps]
    }

    pub(super) fn finish(&self, group: usize, out: &mut [f64], valid: &mut [u64]) {
        let counts = self.of(group);
        for (out, count) in out.iter_mut().zip(counts) {
            *out = f64::from(if self.count { *count } else { (*count).min(1) });
        }
        bits::fill(valid, self.steps, |step| counts[step] > 0);
    }

    pub(super) fn bytes(&self) -> usize {
        self.cells.capacity() * 4
    }
}

/// Means: a sum and a count, until a sum overflows; from there on that group keeps Prometheus' incremental mean
/// in every cell.
#[derive(Debug)]
pub(crate) struct Means {
    sums: Sums,
    counts: Counts,
    /// The cells of the groups that overflowed.
    exact: Vec<Option<Box<[Mean]>>>,
}

impl Means {
    pub(super) fn new(steps: usize) -> Self {
        Self { sums: Sums::new(steps), counts: Counts::new(steps, true), exact: Vec::new() }
    }

    pub(super) fn add(&mut self, group: usize, row: &Row<'_>) {
        self.exact.resize_with(self.exact.len().max(group + 1), || None);
        let steps = self.sums.steps;
        let high = cells(&mut self.sums.high, group, steps, 0.0);
        let overflows =
            high.iter().zip(row.values).fold(false, |any, (high, value)| any | (high + value).is_infinite());
        if overflows || self.exact[group].is_some() {
            let cells = self.exact_cells(group);
            for (step, cell) in cells.iter_mut().enumerate().filter(|(step, _)| row.is_valid(*step)) {
                cell.add(row.values[step]);
            }
            return;
        }
        self.sums.add_values(group, row.values);
        self.counts.add(group, row);
    }

    /// Turns a group into exact cells, if it is not yet.
    fn exact_cells(&mut self, group: usize) -> &mut [Mean] {
        let steps = self.sums.steps;
        cells(&mut self.sums.high, group, steps, 0.0);
        cells(&mut self.sums.low, group, steps, 0.0);
        cells(&mut self.counts.cells, group, steps, 0);
        let (sums, counts) = (&self.sums, &self.counts);
        self.exact[group].get_or_insert_with(|| {
            let mean = |step| Mean::from_sum(sums.sum(group, step), f64::from(counts.of(group)[step]));
            (0..steps).map(mean).collect()
        })
    }

    pub(super) fn merge(&mut self, mut other: Self, groups: &[usize]) {
        let steps = self.sums.steps;
        for (theirs, own) in groups.iter().copied().enumerate() {
            self.exact.resize_with(self.exact.len().max(own + 1), || None);
            let high = cells(&mut self.sums.high, own, steps, 0.0);
            let more = &other.sums.high[theirs * steps..(theirs + 1) * steps];
            let overflows = high.iter().zip(more).any(|(high, more)| (high + more).is_infinite());
            if overflows || self.exact[own].is_some() || other.exact[theirs].is_some() {
                let more = other.exact_cells(theirs);
                let cells = self.exact_cells(own);
                cells.iter_mut().zip(more).for_each(|(cell, more)| cell.merge(*more));
                continue;
            }
            self.sums.add_values(own, more);
            let low = cells(&mut self.sums.low, own, steps, 0.0);
            let lost = &other.sums.low[theirs * steps..(theirs + 1) * steps];
            low.iter_mut().zip(lost).for_each(|(low, lost)| *low += lost);
            let counts = cells(&mut self.counts.cells, own, steps, 0);
            counts.iter_mut().zip(other.counts.of(theirs)).for_each(|(count, more)| *count += more);
        }
    }

    pub(super) fn finish(&self, group: usize, out: &mut [f64], valid: &mut [u64]) {
        if let Some(cells) = &self.exact[group] {
            bits::fill(valid, out.len(), |step| cells[step].count() > 0.0);
            for (out, cell) in out.iter_mut().zip(cells) {
                *out = if cell.count() > 0.0 { cell.value() } else { 0.0 };
            }
            return;
        }
        let counts = self.counts.of(group);
        bits::fill(valid, out.len(), |step| counts[step] > 0);
        for (step, out) in out.iter_mut().enumerate() {
            let count = counts[step];
            *out = if count > 0 { self.sums.sum(group, step).mean(f64::from(count)) } else { 0.0 };
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let exact = self.exact.iter().flatten().map(|cells| size_of_val::<[Mean]>(cells)).sum::<usize>();
        self.sums.bytes() + self.counts.bytes() + exact
    }
}
