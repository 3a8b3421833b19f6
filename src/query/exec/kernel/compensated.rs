//! Compensated sums: Neumaier's variant of Kahan's algorithm, as Prometheus uses it, and its branch-free form.
//!
//! Source: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", ZAMM 54 (1974);
//! `TwoSum`: D. Knuth, TAOCP 2, 4.2.2.

/// A sum and the rounding errors that it has lost so far.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Sum {
    pub(crate) high: f64,
    pub(crate) low: f64,
}

/// `a + b` and its exact rounding error, without a branch. The error is NaN when the sum is not finite.
#[inline]
pub(crate) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

impl Sum {
    /// One value.
    #[inline]
    pub(crate) fn of(value: f64) -> Self {
        Self { high: value, low: 0.0 }
    }

    /// Two sums together.
    #[inline]
    pub(crate) fn plus(self, other: Self) -> Self {
        let (high, error) = two_sum(self.high, other.high);
        Self { high, low: self.low + other.low + error }
    }

    /// Prometheus' step, `kahansum.Inc`: an infinite sum forgets the compensation.
    pub(crate) fn add_in_order(&mut self, value: f64) {
        let sum = self.high + value;
        if sum.is_infinite() {
            self.low = 0.0;
        } else if self.high.abs() >= value.abs() {
            self.low += (self.high - sum) + value;
        } else {
            self.low += (value - sum) + self.high;
        }
        self.high = sum;
    }

    /// The compensation, 0 where the sum overflowed or is not a number, so that it cannot spoil the sum.
    #[inline]
    pub(crate) fn correction(self) -> f64 {
        if self.low.is_finite() && self.high.is_finite() { self.low } else { 0.0 }
    }

    /// The value of the sum.
    #[inline]
    pub(crate) fn total(self) -> f64 {
        self.high + self.correction()
    }

    /// The sum divided by a count, in Prometheus' order of operations.
    #[inline]
    pub(crate) fn mean(self, count: f64) -> f64 {
        self.high / count + self.correction() / count
    }
}

/// Sum of a slice in four independent lanes, so that the additions do not wait for each other.
pub(crate) fn sum_of(values: &[f64]) -> Sum {
    let (chunks, rest) = values.as_chunks::<4>();
    let mut lanes = [Sum::default(); 4];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = lane.plus(Sum::of(*value));
        }
    }
    let total = lanes[0].plus(lanes[1]).plus(lanes[2].plus(lanes[3]));
    rest.iter().fold(total, |sum, value| sum.plus(Sum::of(*value)))
}

/// Sum of a slice exactly as Prometheus does it, from left to right.
pub(crate) fn sum_in_order(values: &[f64]) -> f64 {
    let mut sum = Sum::default();
    for value in values {
        sum.add_in_order(*value);
    }
    if sum.high.is_infinite() { sum.high } else { sum.high + sum.low }
}

/// Mean of a slice (not empty) exactly as Prometheus does it: a plain mean until the sum overflows, an
/// incremental one from there on.
pub(crate) fn mean_in_order(values: &[f64]) -> f64 {
    let mut mean = Mean::of(values[0]);
    values[1..].iter().for_each(|value| mean.add(*value));
    mean.value()
}

/// A running mean with Prometheus' two modes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mean {
    sum: Sum,
    count: f64,
    incremental: bool,
}

impl Mean {
    /// The mean of one value.
    pub(crate) fn of(value: f64) -> Self {
        Self { sum: Sum::of(value), count: 1.0, incremental: false }
    }

    /// The mean of what a plain compensated sum holds.
    pub(crate) fn from_sum(sum: Sum, count: f64) -> Self {
        Self { sum: Sum { high: sum.high, low: sum.correction() }, count, incremental: false }
    }

    /// How many values went in.
    pub(crate) fn count(self) -> f64 {
        self.count
    }

    /// One value more.
    pub(crate) fn add(&mut self, value: f64) {
        if self.count < 1.0 {
            *self = Self::of(value);
            return;
        }
        self.count += 1.0;
        if !self.incremental {
            let mut next = self.sum;
            next.add_in_order(value);
            if !next.high.is_infinite() {
                self.sum = next;
                return;
            }
            self.become_incremental(self.count - 1.0);
        }
        let weight = (self.count - 1.0) / self.count;
        self.sum.high *= weight;
        self.sum.low *= weight;
        self.sum.add_in_order(value / self.count);
    }

    fn become_incremental(&mut self, count: f64) {
        self.incremental = true;
        self.sum.high /= count;
        self.sum.low /= count;
    }

    /// The values of another mean too.
    pub(crate) fn merge(&mut self, other: Self) {
        if self.count < 1.0 || other.count < 1.0 {
            *self = if self.count < 1.0 { other } else { *self };
            return;
        }
        let together = self.sum.plus(other.sum);
        let count = self.count + other.count;
        if !self.incremental && !other.incremental && !together.high.is_infinite() {
            *self = Self::from_sum(together, count);
            return;
        }
        let mut other = other;
        if !self.incremental {
            self.become_incremental(self.count);
        }
        if !other.incremental {
            other.become_incremental(other.count);
        }
        let (own, theirs) = (self.count / count, other.count / count);
        self.sum.high *= own;
        self.sum.low *= own;
        self.sum.add_in_order(other.sum.high * theirs);
        self.sum.low += other.sum.low * theirs;
        self.count = count;
    }

    /// The mean.
    pub(crate) fn value(self) -> f64 {
        if self.incremental {
            self.sum.high + self.sum.low
        } else {
            self.sum.high / self.count + self.sum.low / self.count
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_sum_keeps_its_small_parts() {
        let values = [1.0, 1e100, 1.0, -1e100, 0.5];
        assert_eq!(sum_of(&values).total().to_bits(), 2.5_f64.to_bits());
        assert_eq!(sum_in_order(&values).to_bits(), 2.5_f64.to_bits());
    }

    #[test]
    fn infinities_and_overflow_do_not_become_nan() {
        let sum = sum_of(&[f64::INFINITY, 1.0, 2.0, 3.0, 4.0]).total();
        assert!(sum.is_infinite() && sum > 0.0);
        assert!(sum_of(&[f64::INFINITY, f64::NEG_INFINITY]).total().is_nan());
        let mean = mean_in_order(&[f64::MAX, f64::MAX, f64::MAX]);
        assert!((mean / f64::MAX - 1.0).abs() < 1e-15, "the incremental mode does not overflow: {mean}");
        let mut merged = Mean::of(f64::MAX);
        let mut other = Mean::of(f64::MAX);
        other.add(f64::MAX);
        merged.merge(other);
        assert!((merged.value() / f64::MAX - 1.0).abs() < 1e-15);
    }
}
