//! Times of a stream in which two sources may have the same line.

use std::collections::BTreeMap;

/// The time range of some lines of a stream in one source, both ends included, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Interval {
    pub(super) first: i64,
    pub(super) last: i64,
    /// A file or a buffer. Inside one there are no equal lines.
    pub(super) source: usize,
}

/// The contested times of each stream: ranges that ascend and do not touch.
#[derive(Debug, Default)]
pub(super) struct Contested(BTreeMap<u32, Vec<(i64, i64)>>);

impl Contested {
    /// Finds them; `intervals` holds those of each stream in any order.
    pub(super) fn new(intervals: BTreeMap<u32, Vec<Interval>>) -> Self {
        let of_streams = intervals.into_iter().map(|(stream, of)| (stream, overlaps(of)));
        Self(of_streams.filter(|(_, ranges)| !ranges.is_empty()).collect())
    }

    /// Whether a line may be in another source too.
    pub(super) fn has(&self, stream: u32, time: i64) -> bool {
        self.meets(stream, time, time)
    }

    /// Whether some of the times `first..=last` are contested.
    pub(super) fn meets(&self, stream: u32, first: i64, last: i64) -> bool {
        let Some(ranges) = self.0.get(&stream) else { return false };
        let at = ranges.partition_point(|range| range.1 < first);
        ranges.get(at).is_some_and(|range| range.0 <= last)
    }
}

fn overlaps(mut intervals: Vec<Interval>) -> Vec<(i64, i64)> {
    intervals.sort_unstable();
    let mut found: Vec<(i64, i64)> = Vec::new();
    // The intervals that reach farthest so far, of two different sources.
    let (mut far, mut second): (Option<Interval>, Option<Interval>) = (None, None);
    for now in intervals {
        let other = [far, second].into_iter().flatten().find(|one| one.source != now.source);
        if let Some(other) = other.filter(|other| other.last >= now.first) {
            push(&mut found, (now.first, now.last.min(other.last)));
        }
        match far {
            Some(best) if best.source == now.source => {
                if now.last > best.last {
                    far = Some(now);
                }
            }
            Some(best) if now.last <= best.last => {
                if second.is_none_or(|known| now.last > known.last) {
                    second = Some(now);
                }
            }
            _ => (far, second) = (Some(now), far),
        }
    }
    found
}

/// Adds a range; ranges come in the order of their starts.
fn push(found: &mut Vec<(i64, i64)>, range: (i64, i64)) {
    match found.last_mut().filter(|last| last.1 >= range.0) {
        Some(last) => last.1 = last.1.max(range.1),
        None => found.push(range),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_overlap_of_two_sources_is_found(
            raw in prop::collection::vec((0..60i64, 0..20i64, 0..4usize), 0..12),
        ) {
            let of: Vec<Interval> =
                raw.iter().map(|(first, len, source)| Interval { first: *first, last: first + len, source: *source }).collect();
            let contested = Contested::new(BTreeMap::from([(7, of.clone())]));
            for time in -1..90 {
                let mut sources: Vec<usize> =
                    of.iter().filter(|i| i.first <= time && time <= i.last).map(|i| i.source).collect();
                sources.sort_unstable();
                sources.dedup();
                prop_assert_eq!(contested.has(7, time), sources.len() > 1, "at {}: {:?}", time, of);
            }
            prop_assert!(!contested.has(8, 5));
        }
    }
}
