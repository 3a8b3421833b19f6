//! `quantile_over_time`: short windows are selected from directly; long ones keep a bitset over the ranks of all
//! samples, in which the n-th set bit is found through two levels of counts.

use super::edges::{Edges, scratch};
use super::order::{interpolate, key, outside, quantile_of_keys, rank};
use crate::query::plan::StepScalar;

/// Windows up to this long are copied and selected from at every step.
const SELECT_UP_TO: usize = 48;

/// Words of one entry of the upper level of counts.
const GROUP: usize = 16;

/// Reused memory.
#[derive(Debug, Default)]
pub(super) struct Quantile {
    keys: Vec<u64>,
    order: Vec<(u64, u32)>,
    ranks: Vec<u32>,
    present: Vec<u64>,
    per_word: Vec<u32>,
    per_group: Vec<u32>,
}

impl Quantile {
    /// The quantile of one window (not empty).
    pub(super) fn of(&mut self, quantile: f64, window: &[f64]) -> f64 {
        let keys = scratch(&mut self.keys, window.len());
        keys.iter_mut().zip(window).for_each(|(slot, value)| *slot = key(*value));
        quantile_of_keys(quantile, keys)
    }

    /// `mad_over_time` of one window (not empty): NaN where a sample is.
    pub(super) fn deviation(&mut self, window: &[f64]) -> f64 {
        if window.iter().any(|value| value.is_nan()) {
            return f64::NAN;
        }
        let median = self.of(0.5, window);
        let keys = scratch(&mut self.keys, window.len());
        keys.iter_mut().zip(window).for_each(|(slot, value)| *slot = key((value - median).abs()));
        quantile_of_keys(0.5, keys)
    }

    /// The quantile of every window; empty ones give 0.
    pub(super) fn slide(&mut self, parameter: &StepScalar, edges: &Edges, values: &[f64], out: &mut [f64]) {
        let longest = (0..out.len()).map(|step| edges.range(step).len()).max().unwrap_or(0);
        if longest <= SELECT_UP_TO || out.len() == 1 {
            for (step, out) in out.iter_mut().enumerate() {
                let window = &values[edges.range(step)];
                *out = if window.is_empty() { 0.0 } else { self.of(parameter.at(step), window) };
            }
            return;
        }
        let span = edges.range(0).start..edges.range(out.len() - 1).end;
        self.rank_all(&values[span.clone()]);
        let (mut from, mut to) = (span.start, span.start);
        for (step, out) in out.iter_mut().enumerate() {
            let window = edges.range(step);
            while to < window.end {
                self.put(to - span.start);
                to += 1;
            }
            while from < window.start {
                self.remove(from - span.start);
                from += 1;
            }
            *out = if window.is_empty() { 0.0 } else { self.current(parameter.at(step), window.len()) };
        }
    }

    fn rank_all(&mut self, values: &[f64]) {
        self.order.clear();
        let ids = 0..u32::try_from(values.len()).expect("checked with the timeline");
        self.order.extend(values.iter().map(|value| key(*value)).zip(ids));
        self.order.sort_unstable();
        self.ranks.resize(values.len(), 0);
        for (rank, (_, id)) in (0..).zip(&self.order) {
            self.ranks[*id as usize] = rank;
        }
        let words = values.len().div_ceil(64);
        for (counts, len) in [(&mut self.per_word, words), (&mut self.per_group, words.div_ceil(GROUP))] {
            counts.clear();
            counts.resize(len, 0);
        }
        self.present.clear();
        self.present.resize(words, 0);
    }

    fn put(&mut self, sample: usize) {
        let rank = self.ranks[sample] as usize;
        self.present[rank / 64] |= 1 << (rank % 64);
        self.per_word[rank / 64] += 1;
        self.per_group[rank / 64 / GROUP] += 1;
    }

    fn remove(&mut self, sample: usize) {
        let rank = self.ranks[sample] as usize;
        self.present[rank / 64] &= !(1 << (rank % 64));
        self.per_word[rank / 64] -= 1;
        self.per_group[rank / 64 / GROUP] -= 1;
    }

    fn current(&self, quantile: f64, count: usize) -> f64 {
        if let Some(value) = outside(quantile) {
            return value;
        }
        let (lower, weight) = rank(quantile, count);
        let (word, bit) = self.nth(u32::try_from(lower).expect("checked with the timeline"));
        let low = self.value_at(word * 64 + bit);
        let high = if lower + 1 < count { self.value_at(self.next(word, bit)) } else { low };
        interpolate(low, high, weight)
    }

    fn value_at(&self, rank: usize) -> f64 {
        super::order::value(self.order[rank].0)
    }

    /// Word and bit of the n-th present rank.
    fn nth(&self, mut left: u32) -> (usize, usize) {
        let mut group = 0;
        while left >= self.per_group[group] {
            left -= self.per_group[group];
            group += 1;
        }
        let mut word = group * GROUP;
        while left >= self.per_word[word] {
            left -= self.per_word[word];
            word += 1;
        }
        let mut bits = self.present[word];
        for _ in 0..left {
            bits &= bits - 1;
        }
        (word, bits.trailing_zeros() as usize)
    }

    /// The next present rank; the caller knows that there is one.
    fn next(&self, word: usize, bit: usize) -> usize {
        let rest = self.present[word] & !(u64::MAX >> (63 - bit));
        if rest != 0 {
            return word * 64 + rest.trailing_zeros() as usize;
        }
        let word = (word + 1..self.present.len())
            .find(|word| self.present[*word] != 0)
            .expect("there are more samples");
        word * 64 + self.present[word].trailing_zeros() as usize
    }
}
