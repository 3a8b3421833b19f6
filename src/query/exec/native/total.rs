//! Sums of histograms: compensated in every count, whatever their resolutions, zero buckets and custom borders.
//!
//! Two histograms of different shape are brought to one shape first:
//!
//! ```text
//!   resolution      the coarser of the two: bucket i of schema s becomes ((i-1) >> (s-s')) + 1
//!   zero bucket     the wider one, widened further until it ends at no populated bucket's inside
//!   custom borders  those that both have
//! ```
//!
//! Exponential and custom buckets have no shape in common. Source: Prometheus 3.14,
//! `model/histogram/float_histogram.go` (`KahanAdd`, `reconcileZeroBuckets`, `addCustomBucketsWithMismatches`).

use std::cmp::Ordering;

use super::super::kernel::compensated::Sum;
use super::bounds::exponential;
use super::buckets::{in_spans, indexed};
use crate::model::{CUSTOM_BUCKETS, Histogram, ResetHint, coarser_bucket};

/// Two histograms of which only one has custom buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Incompatible;

/// What an addition had to do besides adding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Notes {
    /// One said that there was a counter reset and the other that there was none.
    pub(crate) resets_collide: bool,
    /// Custom borders were different.
    pub(crate) bounds_reconciled: bool,
}

impl std::ops::BitOrAssign for Notes {
    fn bitor_assign(&mut self, more: Self) {
        self.resets_collide |= more.resets_collide;
        self.bounds_reconciled |= more.bounds_reconciled;
    }
}

/// Buckets of one sign by ascending index.
type Side = Vec<(i32, Sum)>;

/// A sum of histograms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Total {
    schema: i8,
    hint: ResetHint,
    zero_threshold: f64,
    zero: Sum,
    count: Sum,
    sum: Sum,
    positive: Side,
    negative: Side,
    bounds: Vec<f64>,
}

impl Total {
    /// One histogram.
    pub(crate) fn of(histogram: &Histogram) -> Self {
        let side = |spans, counts| indexed(spans, counts).map(|(index, count)| (index, Sum::of(count)));
        Self {
            schema: histogram.schema,
            hint: histogram.reset_hint,
            zero_threshold: histogram.zero_threshold,
            zero: Sum::of(histogram.zero_count),
            count: Sum::of(histogram.count),
            sum: Sum::of(histogram.sum),
            positive: side(&histogram.positive_spans, &histogram.positive).collect(),
            negative: side(&histogram.negative_spans, &histogram.negative).collect(),
            bounds: histogram.custom_bounds.clone(),
        }
    }

    /// Nothing, in the shape of a histogram: what a counter was before its reset.
    pub(crate) fn nothing_like(histogram: &Histogram) -> Self {
        let empty = Histogram {
            schema: histogram.schema,
            custom_bounds: histogram.custom_bounds.clone(),
            ..Histogram::default()
        };
        Self::of(&empty)
    }

    /// The sum as a histogram.
    pub(crate) fn finish(self) -> Histogram {
        let counts = |side: Side| in_spans(side.into_iter().map(|(index, count)| (index, count.total())));
        let (positive_spans, positive) = counts(self.positive);
        let (negative_spans, negative) = counts(self.negative);
        Histogram {
            schema: self.schema,
            is_float: true,
            reset_hint: self.hint,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero.total(),
            count: self.count.total(),
            sum: self.sum.total(),
            positive_spans,
            negative_spans,
            positive,
            negative,
            custom_bounds: self.bounds,
        }
    }

    /// Adds a histogram.
    pub(crate) fn add(&mut self, other: &Histogram) -> Result<Notes, Incompatible> {
        if self.has_shape_of(other) {
            return Ok(self.add_in_place(other, |count| count));
        }
        self.merge(Self::of(other))
    }

    /// Subtracts a histogram.
    pub(crate) fn subtract(&mut self, other: &Histogram) -> Result<Notes, Incompatible> {
        if self.has_shape_of(other) {
            return Ok(self.add_in_place(other, |count| -count));
        }
        let mut other = Self::of(other);
        // The hints are compared as they are.
        other.each(|count| count.high = -count.high);
        self.merge(other)
    }

    /// Whether a histogram has exactly the own buckets, all outside of the zero bucket: nearly always so.
    fn has_shape_of(&self, other: &Histogram) -> bool {
        let same = |own: &Side, spans, counts| {
            let outside = own.first().is_none_or(|(index, _)| {
                self.schema == CUSTOM_BUCKETS || exponential(*index, self.schema) > self.zero_threshold
            });
            outside && own.iter().map(|(index, _)| *index).eq(indexed(spans, counts).map(|(index, _)| index))
        };
        self.schema == other.schema
            && self.zero_threshold.to_bits() == other.zero_threshold.to_bits()
            && self.bounds == other.custom_bounds
            && same(&self.positive, &other.positive_spans, &other.positive)
            && same(&self.negative, &other.negative_spans, &other.negative)
    }

    /// Adds a histogram of the same shape, its numbers changed.
    fn add_in_place(&mut self, other: &Histogram, change: impl Fn(f64) -> f64) -> Notes {
        self.zero.add_in_order(change(other.zero_count));
        self.count.add_in_order(change(other.count));
        self.sum.add_in_order(change(other.sum));
        let (positive, negative) = (self.positive.iter_mut(), self.negative.iter_mut());
        for ((_, own), more) in positive.zip(&other.positive).chain(negative.zip(&other.negative)) {
            own.add_in_order(change(*more));
        }
        Notes { resets_collide: self.meet(other.reset_hint), ..Notes::default() }
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, mut other: Self) -> Result<Notes, Incompatible> {
        let is_custom = self.schema == CUSTOM_BUCKETS;
        if is_custom != (other.schema == CUSTOM_BUCKETS) {
            return Err(Incompatible);
        }
        let mut notes = Notes { resets_collide: self.meet(other.hint), ..Notes::default() };
        if is_custom {
            notes.bounds_reconciled = self.share_bounds(&mut other);
        } else {
            self.share_zero_bucket(&mut other);
            let schema = self.schema.min(other.schema);
            self.reduce(schema);
            other.reduce(schema);
            // What lies in the zero bucket was counted with it.
            let threshold = self.zero_threshold;
            for side in [&mut other.positive, &mut other.negative] {
                let inside = side.partition_point(|(index, _)| exponential(*index, schema) <= threshold);
                side.drain(..inside);
            }
        }
        plus(&mut self.zero, other.zero);
        plus(&mut self.count, other.count);
        plus(&mut self.sum, other.sum);
        join(&mut self.positive, other.positive);
        join(&mut self.negative, other.negative);
        Ok(notes)
    }

    /// What is known about resets of the sum. Whether the two hints contradict each other.
    fn meet(&mut self, other: ResetHint) -> bool {
        use ResetHint::{Gauge, NotReset, Reset, Unknown};
        let (hint, collide) = match (self.hint, other) {
            (own, other) if own == other => (own, false),
            (Gauge, _) | (_, Gauge) => (Gauge, false),
            (Unknown, _) | (_, Unknown) => (Unknown, false),
            (Reset | NotReset, _) => (Unknown, true),
        };
        self.hint = hint;
        collide
    }

    /// Brings two sums to the zero bucket that both can have.
    fn share_zero_bucket(&mut self, other: &mut Self) {
        // Each turn widens one of them to a border of the other; borders end.
        loop {
            match self.zero_threshold.partial_cmp(&other.zero_threshold) {
                Some(Ordering::Greater) => other.widen_zero(self.zero_threshold),
                Some(Ordering::Less) => self.widen_zero(other.zero_threshold),
                Some(Ordering::Equal) | None => return,
            }
        }
    }

    /// Widens the zero bucket to at least `threshold` and takes the buckets inside out.
    pub(super) fn widen_zero(&mut self, threshold: f64) {
        let (zero, threshold) = self.zero_for(threshold);
        (self.zero, self.zero_threshold) = (zero, threshold);
        let schema = self.schema;
        for side in [&mut self.positive, &mut self.negative] {
            side.retain(|(index, count)| {
                exponential(index.saturating_sub(1), schema) >= threshold && !is_empty(*count)
            });
        }
    }

    /// What a zero bucket of at least this width would hold, and its width: it ends inside no populated bucket.
    fn zero_for(&self, threshold: f64) -> (Sum, f64) {
        let mut threshold = threshold;
        loop {
            let (mut zero, before) = (self.zero, threshold);
            // The negative side must not move the border after the positive one was counted: then all again.
            for side in [&self.positive, &self.negative] {
                for (index, count) in side {
                    if exponential(index.saturating_sub(1), self.schema) >= threshold {
                        break;
                    }
                    plus(&mut zero, *count);
                    let upper = exponential(*index, self.schema);
                    if upper > threshold {
                        threshold = if is_zero(count.high) { threshold } else { upper };
                        break;
                    }
                }
            }
            if threshold.to_bits() == before.to_bits() {
                return (zero, threshold);
            }
        }
    }

    /// Merges buckets down to a resolution that is not higher than the own one.
    pub(super) fn reduce(&mut self, schema: i8) {
        let by = self.schema.abs_diff(schema);
        self.schema = schema;
        if by == 0 {
            return;
        }
        for side in [&mut self.positive, &mut self.negative] {
            let mut merged: Side = Vec::with_capacity(side.len());
            for (index, count) in side.drain(..) {
                let index = coarser_bucket(index, by);
                match merged.last_mut() {
                    Some((last, total)) if *last == index => plus(total, count),
                    _ => merged.push((index, count)),
                }
            }
            *side = merged;
        }
    }

    /// Brings custom buckets to the borders that both have; whether they were different.
    fn share_bounds(&mut self, other: &mut Self) -> bool {
        if self.bounds == other.bounds {
            return false;
        }
        let shared = intersect(&self.bounds, &other.bounds);
        self.rebound(&shared);
        other.rebound(&shared);
        true
    }

    fn rebound(&mut self, shared: &[f64]) {
        let mut merged: Side = Vec::new();
        for (index, count) in &self.positive {
            let index = rebounded(*index, &self.bounds, shared);
            match merged.last_mut() {
                Some((last, total)) if *last == index => plus(total, *count),
                _ => merged.push((index, *count)),
            }
        }
        merged.retain(|(_, count)| !is_empty(*count));
        self.positive = merged;
        self.bounds = shared.to_vec();
    }

    /// Every number of it.
    fn each(&mut self, change: impl Fn(&mut Sum)) {
        change(&mut self.zero);
        change(&mut self.count);
        change(&mut self.sum);
        self.positive.iter_mut().chain(&mut self.negative).for_each(|(_, count)| change(count));
    }

    /// Multiplies every number.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.each(|count| {
            count.high *= factor;
            count.low *= factor;
        });
    }

    /// Divides every number.
    pub(crate) fn divide(&mut self, by: f64) {
        self.each(|count| {
            count.high /= by;
            count.low /= by;
        });
    }

    /// Whether any number is infinite.
    pub(crate) fn overflows(&self) -> bool {
        self.any(f64::is_infinite)
    }

    /// Whether adding another one that is not huge could overflow.
    pub(crate) fn is_huge(&self) -> bool {
        self.any(|count| count.abs() > f64::MAX / 4.0)
    }

    fn any(&self, is: impl Fn(f64) -> bool) -> bool {
        let sides = self.positive.iter().chain(&self.negative).map(|(_, count)| count.high);
        is(self.zero.high) || is(self.count.high) || is(self.sum.high) || sides.into_iter().any(is)
    }

    /// About how many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        let buckets = self.positive.capacity() + self.negative.capacity();
        size_of::<Self>() + buckets * size_of::<(i32, Sum)>() + self.bounds.capacity() * 8
    }

    /// Gives the sum another hint.
    pub(crate) fn set_hint(&mut self, hint: ResetHint) {
        self.hint = hint;
    }
}

/// The borders that both have.
pub(super) fn intersect(left: &[f64], right: &[f64]) -> Vec<f64> {
    let is_shared = |bound: &f64| right.binary_search_by(|other| other.total_cmp(bound)).is_ok();
    left.iter().copied().filter(is_shared).collect()
}

/// The bucket of the shared borders that holds a bucket of the own ones.
pub(super) fn rebounded(index: i32, own: &[f64], shared: &[f64]) -> i32 {
    let bound = usize::try_from(index).ok().and_then(|index| own.get(index));
    let at = bound.map_or(shared.len(), |bound| shared.partition_point(|shared| shared < bound));
    i32::try_from(at).unwrap_or(i32::MAX)
}

/// Prometheus' order of additions: the sum, then what it had lost.
fn plus(total: &mut Sum, more: Sum) {
    total.add_in_order(more.high);
    if !is_zero(more.low) {
        total.add_in_order(more.low);
    }
}

/// Adds buckets; what is not there yet comes in at its place.
fn join(own: &mut Side, more: Side) {
    let same = own.len() == more.len() && own.iter().zip(&more).all(|(own, more)| own.0 == more.0);
    if same {
        own.iter_mut().zip(more).for_each(|((_, own), (_, more))| plus(own, more));
        return;
    }
    let mut joined = Vec::with_capacity(own.len() + more.len());
    let (mut own_rest, mut more_rest) = (own.drain(..).peekable(), more.into_iter().peekable());
    loop {
        match (own_rest.peek(), more_rest.peek()) {
            (Some(left), Some(right)) if left.0 == right.0 => {
                let (index, mut total) = own_rest.next().expect("it was seen");
                let (_, count) = more_rest.next().expect("it was seen");
                plus(&mut total, count);
                joined.push((index, total));
            }
            (Some(left), Some(right)) if left.0 < right.0 => joined.extend(own_rest.next()),
            (_, Some(_)) => joined.extend(more_rest.next()),
            (Some(_), None) => joined.extend(own_rest.next()),
            (None, None) => break,
        }
    }
    drop(own_rest);
    *own = joined;
}

fn is_empty(count: Sum) -> bool {
    is_zero(count.high) && is_zero(count.low)
}

fn is_zero(value: f64) -> bool {
    value == 0.0
}

/// A running mean of histograms: a sum and a count until the sum overflows, an incremental mean from there on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mean {
    total: Total,
    count: f64,
    incremental: bool,
}

/// The mean of one histogram.
impl From<Total> for Mean {
    fn from(total: Total) -> Self {
        Self { total, count: 1.0, incremental: false }
    }
}

impl Mean {
    /// Takes the histograms of another mean.
    pub(crate) fn merge(&mut self, mut other: Self) -> Result<Notes, Incompatible> {
        let count = self.count + other.count;
        if !self.incremental && !other.incremental {
            if !self.total.is_huge() && !other.total.is_huge() {
                self.count = count;
                return self.total.merge(other.total);
            }
            let mut together = self.total.clone();
            let notes = together.merge(other.total.clone())?;
            if !together.overflows() {
                (self.total, self.count) = (together, count);
                return Ok(notes);
            }
        }
        for mean in [&mut *self, &mut other] {
            // One histogram is divided at once: a second rounding would leave what should cancel.
            match (mean.incremental, mean.count > 1.0) {
                (false, false) => mean.total.divide(count),
                (false, true) => {
                    mean.total.divide(mean.count);
                    mean.total.scale(mean.count / count);
                }
                (true, _) => mean.total.scale(mean.count / count),
            }
            mean.incremental = true;
        }
        self.count = count;
        self.total.merge(other.total)
    }

    /// The mean.
    pub(crate) fn finish(mut self) -> Histogram {
        if !self.incremental {
            self.total.divide(self.count);
        }
        self.total.finish()
    }

    /// About how many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.total.bytes() + 16
    }
}
