//! `topk` and `bottomk`: the best k series of every group at every step, with a threshold per step, so that most
//! values are refused by one comparison. NaN is worse than every number and fills spare places only.

use super::super::kernel::bits;
use super::super::kernel::order::key;
use super::{Row, cells};
use crate::query::plan::StepScalar;

/// A series in the answer, and its values where it was among the best.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chosen {
    /// The id that it was added with.
    pub(crate) series: u32,
    /// One value a step; 0.0 where it was not chosen.
    pub(crate) values: Vec<f64>,
    /// The steps at which it was chosen.
    pub(crate) valid: Vec<u64>,
}

/// One place of one cell: how good (0: empty), the value and whose.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    rank: u64,
    value: f64,
    series: u32,
}

/// The places of one group: `width` per step, best first.
#[derive(Debug, Default)]
struct Group {
    width: usize,
    places: Vec<Place>,
}

/// The state of `topk` or `bottomk`.
#[derive(Debug)]
pub(crate) struct Top {
    steps: usize,
    /// k at each step.
    wanted: Vec<usize>,
    largest: bool,
    groups: Vec<Group>,
    /// Per group and step the rank that a newcomer must exceed.
    thresholds: Vec<u64>,
    ranks: Vec<u64>,
}

impl Top {
    pub(super) fn new(steps: usize, k: &StepScalar, largest: bool) -> Self {
        let wanted = (0..steps).map(|step| whole(k.at(step))).collect();
        let (groups, thresholds, ranks) = (Vec::new(), Vec::new(), vec![0; steps]);
        Self { steps, wanted, largest, groups, thresholds, ranks }
    }

    /// How good a value is, above 0; NaN is 1.
    #[inline]
    fn rank(value: f64, largest: bool) -> u64 {
        let key = key(value);
        if largest || key == 0 { key + 1 } else { !key }
    }

    pub(super) fn add(&mut self, group: usize, series: u32, row: &Row<'_>) -> bool {
        let largest = self.largest;
        match row.valid {
            None => {
                for (rank, value) in self.ranks.iter_mut().zip(row.values) {
                    *rank = Self::rank(*value, largest);
                }
            }
            Some(valid) => {
                for (step, (rank, value)) in self.ranks.iter_mut().zip(row.values).enumerate() {
                    *rank = if bits::get(valid, step) { Self::rank(*value, largest) } else { 0 };
                }
            }
        }
        self.room(group);
        let mut entered = false;
        for from in (0..self.steps).step_by(TILE) {
            let to = (from + TILE).min(self.steps);
            let limits = &self.thresholds[group * self.steps + from..group * self.steps + to];
            let better = |(rank, limit): (&u64, &u64)| rank > limit;
            if !self.ranks[from..to].iter().zip(limits).map(better).fold(false, |any, is| any | is) {
                continue;
            }
            for step in from..to {
                let place = Place { rank: self.ranks[step], value: row.values[step], series };
                entered |= self.enter(group, step, place);
            }
        }
        entered
    }

    fn room(&mut self, group: usize) {
        if self.groups.len() <= group {
            self.groups.resize_with(group + 1, Group::default);
            let (steps, wanted) = (self.steps, &self.wanted);
            while self.thresholds.len() < (group + 1) * steps {
                // Where k is 0 nothing is good enough.
                self.thresholds.extend(wanted.iter().map(|k| if *k == 0 { u64::MAX } else { 0 }));
            }
        }
    }

    fn enter(&mut self, group: usize, step: usize, place: Place) -> bool {
        let threshold = &mut self.thresholds[group * self.steps + step];
        if place.rank <= *threshold {
            return false;
        }
        let group = &mut self.groups[group];
        let wanted = self.wanted[step];
        let mut used = group.used(step);
        if used == group.width && used < wanted {
            group.widen(self.steps);
        }
        let places = &mut group.places[step * group.width..(step + 1) * group.width];
        if used == wanted {
            used -= 1; // The worst leaves.
        }
        let at = places[..used].partition_point(|other| other.rank >= place.rank);
        places.copy_within(at..used, at + 1);
        places[at] = place;
        if used + 1 == wanted {
            *threshold = places[used].rank;
        }
        true
    }

    pub(super) fn merge(&mut self, other: &Self, groups: &[usize], series: u32) {
        for (theirs, own) in groups.iter().copied().enumerate() {
            self.room(own);
            let group = &other.groups[theirs];
            for step in 0..self.steps {
                for place in group.at(step) {
                    self.enter(own, step, Place { series: place.series + series, ..*place });
                }
            }
        }
    }

    pub(super) fn chosen(&self) -> Vec<Chosen> {
        let mut all = Vec::new();
        let mut index = hashbrown::HashMap::new();
        for group in &self.groups {
            for step in 0..self.steps {
                for place in group.at(step) {
                    let slot = *index.entry(place.series).or_insert_with(|| {
                        let (values, valid) = (vec![0.0; self.steps], vec![0; bits::word_count(self.steps)]);
                        all.push(Chosen { series: place.series, values, valid });
                        all.len() - 1
                    });
                    let chosen = &mut all[slot];
                    chosen.values[step] = place.value;
                    bits::set(&mut chosen.valid, step);
                }
            }
        }
        all
    }

    pub(super) fn bytes(&self) -> usize {
        let places: usize = self.groups.iter().map(|group| group.places.capacity()).sum();
        places * size_of::<Place>() + self.thresholds.capacity() * 8
    }
}

/// Steps that are compared with their thresholds at once.
const TILE: usize = 16;

impl Group {
    fn at(&self, step: usize) -> &[Place] {
        let used = self.used(step);
        &self.places[step * self.width..step * self.width + used]
    }

    fn used(&self, step: usize) -> usize {
        let places = &self.places[step * self.width..(step + 1) * self.width];
        places.partition_point(|place| place.rank > 0)
    }

    /// Doubles the places, so that k may be far larger than the number of series.
    fn widen(&mut self, steps: usize) {
        let width = (self.width * 2).max(4);
        let mut places = Vec::new();
        cells(&mut places, steps - 1, width, Place::default());
        for (new, old) in places.chunks_mut(width).zip(self.places.chunks(self.width.max(1))) {
            new[..old.len()].copy_from_slice(old);
        }
        (self.width, self.places) = (width, places);
    }
}

/// k as Go converts it: truncated, at least 0. NaN and what leaves 64 bits were refused before.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "negative k is 0, too large saturates"
)]
pub(super) fn whole(k: f64) -> usize {
    k.max(0.0) as usize
}
