//! Aggregation of rows into groups, step by step. Pure: integer group ids in, one row a group out.
//!
//! Every partition has its own [`Accumulator`]; they are merged afterwards, so an accumulator is something that
//! can be merged in any order: compensated sums, not running means of a fixed order.

mod deviation;
mod extreme;
mod limit;
mod quantile;
mod sums;
#[cfg(test)]
mod tests;
mod top;

pub(crate) use self::top::Chosen;
use super::kernel::bits;
use crate::query::plan::{AggregateOp, StepScalar};

/// One series: a value a step, and which steps have one (`None`: all). A step without a value holds 0.0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) values: &'a [f64],
    pub(crate) valid: Option<&'a [u64]>,
}

impl Row<'_> {
    pub(crate) fn is_valid(&self, step: usize) -> bool {
        self.valid.is_none_or(|words| bits::get(words, step))
    }
}

/// The state of one aggregation over all groups seen so far.
#[derive(Debug)]
pub(crate) enum Accumulator {
    /// `sum`
    Sum(sums::Sums),
    /// `avg`
    Avg(sums::Means),
    /// `count` and `group`
    Count(sums::Counts),
    /// `min` and `max`
    Extreme(extreme::Extremes),
    /// `quantile`
    Quantile(quantile::Quantiles),
    /// `topk` and `bottomk`
    Top(top::Top),
    /// `stddev` and `stdvar`
    Deviation(deviation::Deviations),
    /// `limitk`
    Limit(limit::Limit),
}

impl Accumulator {
    /// Empty, for rows of `steps` values. `parameter` is k or the quantile; the others ignore it.
    pub(crate) fn new(op: AggregateOp, steps: usize, parameter: &StepScalar) -> Self {
        match op {
            AggregateOp::Sum => Self::Sum(sums::Sums::new(steps)),
            AggregateOp::Avg => Self::Avg(sums::Means::new(steps)),
            AggregateOp::Count => Self::Count(sums::Counts::new(steps, true)),
            AggregateOp::Group => Self::Count(sums::Counts::new(steps, false)),
            AggregateOp::Min => Self::Extreme(extreme::Extremes::new(steps, false)),
            AggregateOp::Max => Self::Extreme(extreme::Extremes::new(steps, true)),
            AggregateOp::Quantile => Self::Quantile(quantile::Quantiles::new(steps, parameter.clone())),
            AggregateOp::TopK => Self::Top(top::Top::new(steps, parameter, true)),
            AggregateOp::BottomK => Self::Top(top::Top::new(steps, parameter, false)),
            AggregateOp::Stddev => Self::Deviation(deviation::Deviations::new(steps, true)),
            AggregateOp::Stdvar => Self::Deviation(deviation::Deviations::new(steps, false)),
            AggregateOp::LimitK => Self::Limit(limit::Limit::new(steps, parameter)),
        }
    }

    /// Takes a row into a group; group ids are dense, a new one is one more than the largest so far. Returns
    /// whether the row itself may be part of the answer (topk, bottomk, limitk), where `series` is its id.
    pub(crate) fn add(&mut self, group: usize, series: u32, row: &Row<'_>) -> bool {
        match self {
            Self::Sum(sums) => sums.add(group, row),
            Self::Avg(means) => means.add(group, row),
            Self::Count(counts) => counts.add(group, row),
            Self::Extreme(extremes) => extremes.add(group, row),
            Self::Quantile(quantiles) => quantiles.add(group, row),
            Self::Deviation(deviations) => deviations.add(group, row),
            Self::Top(top) => return top.add(group, series, row),
            Self::Limit(limit) => return limit.add(group, series, row),
        }
        false
    }

    /// Takes the groups of another partition: its group g is `groups[g]` here, its series s is `s + series`.
    pub(crate) fn merge(&mut self, other: Self, groups: &[usize], series: u32) {
        match (self, other) {
            (Self::Sum(own), Self::Sum(other)) => own.merge(&other, groups),
            (Self::Avg(own), Self::Avg(other)) => own.merge(other, groups),
            (Self::Count(own), Self::Count(other)) => own.merge(&other, groups),
            (Self::Extreme(own), Self::Extreme(other)) => own.merge(&other, groups),
            (Self::Quantile(own), Self::Quantile(other)) => own.merge(other, groups),
            (Self::Top(own), Self::Top(other)) => own.merge(&other, groups, series),
            (Self::Deviation(own), Self::Deviation(other)) => own.merge(&other, groups),
            (Self::Limit(own), Self::Limit(other)) => own.merge(&other, groups, series),
            _ => unreachable!("all partitions of one aggregation have the same operation"),
        }
    }

    /// Writes one group's result; a step without a value gets 0.0 and a clear bit. Not for topk, bottomk and limitk.
    pub(crate) fn finish(&mut self, group: usize, out: &mut [f64], valid: &mut [u64]) {
        match self {
            Self::Sum(sums) => sums.finish(group, out, valid),
            Self::Avg(means) => means.finish(group, out, valid),
            Self::Count(counts) => counts.finish(group, out, valid),
            Self::Extreme(extremes) => extremes.finish(group, out, valid),
            Self::Quantile(quantiles) => quantiles.finish(group, out, valid),
            Self::Deviation(deviations) => deviations.finish(group, out, valid),
            Self::Top(_) | Self::Limit(_) => unreachable!("these give back series, not groups"),
        }
    }

    /// The chosen series of topk and bottomk (groups in order, in each the best first) and of limitk.
    pub(crate) fn chosen(&self) -> Vec<Chosen> {
        match self {
            Self::Top(top) => top.chosen(),
            Self::Limit(limit) => limit.chosen(),
            _ => Vec::new(),
        }
    }

    /// Bytes held, for the memory pool.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Sum(sums) => sums.bytes(),
            Self::Avg(means) => means.bytes(),
            Self::Count(counts) => counts.bytes(),
            Self::Extreme(extremes) => extremes.bytes(),
            Self::Quantile(quantiles) => quantiles.bytes(),
            Self::Top(top) => top.bytes(),
            Self::Deviation(deviations) => deviations.bytes(),
            Self::Limit(limit) => limit.bytes(),
        }
    }
}

/// Which steps of which group have any value: one bitmap a group.
#[derive(Debug)]
struct Presence {
    words: Vec<u64>,
    steps: usize,
}

impl Presence {
    fn new(steps: usize) -> Self {
        Self { words: Vec::new(), steps }
    }

    fn of(&self, group: usize) -> &[u64] {
        let width = bits::word_count(self.steps);
        &self.words[group * width..(group + 1) * width]
    }

    /// Makes room for a group and returns its bitmap.
    fn room(&mut self, group: usize) -> &mut [u64] {
        let width = bits::word_count(self.steps);
        if self.words.len() < (group + 1) * width {
            self.words.resize((group + 1) * width, 0);
        }
        &mut self.words[group * width..(group + 1) * width]
    }

    fn add(&mut self, group: usize, valid: Option<&[u64]>) {
        let steps = self.steps;
        let words = self.room(group);
        match valid {
            Some(valid) => words.iter_mut().zip(valid).for_each(|(word, valid)| *word |= valid),
            None => bits::set_all(words, steps),
        }
    }

    fn merge(&mut self, other: &Self, groups: &[usize]) {
        for (theirs, own) in groups.iter().enumerate() {
            self.add(*own, Some(other.of(theirs)));
        }
    }
}

/// Makes room for a group of `steps` cells and returns them.
fn cells<T: Copy>(all: &mut Vec<T>, group: usize, steps: usize, empty: T) -> &mut [T] {
    if all.len() < (group + 1) * steps {
        all.resize((group + 1) * steps, empty);
    }
    &mut all[group * steps..(group + 1) * steps]
}
