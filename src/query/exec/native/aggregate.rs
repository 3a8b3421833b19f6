//! Histograms in `sum` and `avg`: one sum for each group and step that has any.

use std::sync::Arc;

use super::total::{Incompatible, Mean, Notes, Total};
use super::{Cell, cell_step, compact};
use crate::model::{Histogram, ResetHint};
use crate::query::exec::kernel::bits;
use crate::query::plan::{HistogramNote, Operation};

/// What a group has at a step.
#[derive(Debug)]
struct Sum {
    state: State,
    reset_seen: bool,
    not_reset_seen: bool,
}

#[derive(Debug)]
enum State {
    Total(Total),
    Mean(Mean),
    /// Exponential and custom buckets came together: no result.
    Incompatible,
}

/// The histograms of all groups.
#[derive(Debug)]
pub(crate) struct Histograms {
    is_mean: bool,
    /// Group, then step; a group without histograms is empty.
    groups: Vec<Vec<Option<Box<Sum>>>>,
    bytes: usize,
}

impl Histograms {
    pub(crate) fn new(is_mean: bool) -> Self {
        Self { is_mean, groups: Vec::new(), bytes: 0 }
    }

    fn slot(&mut self, group: usize, step: usize) -> &mut Option<Box<Sum>> {
        if self.groups.len() <= group {
            self.groups.resize_with(group + 1, Vec::new);
        }
        let steps = &mut self.groups[group];
        if steps.len() <= step {
            self.bytes += (step + 1 - steps.len()) * size_of::<Option<Box<Sum>>>();
            steps.resize_with(step + 1, || None);
        }
        &mut steps[step]
    }

    /// Takes a row's histograms into a group.
    pub(crate) fn add(&mut self, group: usize, cells: &[Cell], note: &mut impl FnMut(HistogramNote)) {
        let is_mean = self.is_mean;
        for (step, histogram) in cells {
            match self.slot(group, *step as usize) {
                Some(own) => {
                    let before = own.bytes();
                    own.add(histogram, note);
                    let after = own.bytes();
                    self.bytes = (self.bytes + after).saturating_sub(before);
                }
                slot => {
                    let sum = slot.insert(Box::new(Sum::of(histogram, is_mean)));
                    self.bytes += sum.bytes();
                }
            }
        }
    }

    /// Takes the groups of another partition: its group g is `groups[g]` here.
    pub(crate) fn merge(&mut self, other: Self, groups: &[usize], note: &mut impl FnMut(HistogramNote)) {
        for (theirs, steps) in other.groups.into_iter().enumerate() {
            for (step, sum) in steps.into_iter().enumerate() {
                if let Some(sum) = sum {
                    self.take(groups[theirs], step, sum, note);
                }
            }
        }
    }

    fn take(&mut self, group: usize, step: usize, sum: Box<Sum>, note: &mut impl FnMut(HistogramNote)) {
        let bytes = sum.bytes();
        match self.slot(group, step) {
            Some(own) => own.merge(*sum, note),
            slot => {
                *slot = Some(sum);
                self.bytes += bytes;
            }
        }
    }

    /// A group's histograms. Where it has floats too it has no result: the step's bit in `valid` is cleared.
    pub(crate) fn finish(
        &mut self,
        group: usize,
        valid: &mut [u64],
        note: &mut impl FnMut(HistogramNote),
    ) -> Vec<Cell> {
        let mut cells = Vec::new();
        let steps = self.groups.get_mut(group).map(std::mem::take).unwrap_or_default();
        for (step, sum) in steps.into_iter().enumerate() {
            let Some(sum) = sum else { continue };
            if bits::get(valid, step) {
                note(HistogramNote::MixedGroup);
                bits::clear(valid, step);
                continue;
            }
            let histogram = match sum.state {
                State::Incompatible => continue,
                State::Total(total) => total.finish(),
                State::Mean(mean) => mean.finish(),
            };
            if sum.reset_seen && sum.not_reset_seen {
                note(HistogramNote::ResetsCollide(Operation::Aggregation));
            }
            cells.push((cell_step(step), Arc::new(compact(histogram))));
        }
        cells
    }

    /// Bytes held, for the memory pool.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Sum {
    fn of(histogram: &Histogram, is_mean: bool) -> Self {
        Self {
            state: if is_mean {
                State::Mean(Mean::from(Total::of(histogram)))
            } else {
                State::Total(Total::of(histogram))
            },
            reset_seen: histogram.reset_hint == ResetHint::Reset,
            not_reset_seen: histogram.reset_hint == ResetHint::NotReset,
        }
    }

    fn add(&mut self, histogram: &Histogram, note: &mut impl FnMut(HistogramNote)) {
        self.reset_seen |= histogram.reset_hint == ResetHint::Reset;
        self.not_reset_seen |= histogram.reset_hint == ResetHint::NotReset;
        let added = match &mut self.state {
            State::Incompatible => return,
            State::Total(own) => own.add(histogram),
            State::Mean(own) => own.merge(Mean::from(Total::of(histogram))),
        };
        self.settle(added, note);
    }

    fn merge(&mut self, other: Self, note: &mut impl FnMut(HistogramNote)) {
        self.reset_seen |= other.reset_seen;
        self.not_reset_seen |= other.not_reset_seen;
        let merged = match (&mut self.state, other.state) {
            (State::Incompatible, _) => return,
            (State::Total(own), State::Total(other)) => own.merge(other),
            (State::Mean(own), State::Mean(other)) => own.merge(other),
            (own, _) => {
                *own = State::Incompatible;
                return;
            }
        };
        self.settle(merged, note);
    }

    /// What an addition had to say.
    fn settle(&mut self, added: Result<Notes, Incompatible>, note: &mut impl FnMut(HistogramNote)) {
        match added {
            Ok(notes) if notes.bounds_reconciled => {
                note(HistogramNote::BoundsReconciled(Operation::Aggregation));
            }
            Ok(_) => {}
            Err(_) => {
                note(HistogramNote::MixedSchemas);
                self.state = State::Incompatible;
            }
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.state {
                State::Total(total) => total.bytes(),
                State::Mean(mean) => mean.bytes(),
                State::Incompatible => 0,
            }
    }
}
