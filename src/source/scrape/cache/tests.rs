//! What is known, what vanished, and how much is kept; also against sets.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn handle(slot: u32) -> Handle {
    Handle { slot, generation: 1 }
}

/// Shows lines to the cache as a scrape does; slots are the lines' numbers.
fn show(cache: &mut SeriesCache, lines: &[u32]) -> Vec<Index> {
    let mut shown = Vec::new();
    for line in lines {
        let raw = format!("m{{n=\"{line}\"}}");
        let index = match cache.look_up(raw.as_bytes()) {
            Some(hit) => {
                assert_eq!(hit.fate, Fate::Series(handle(*line)));
                hit.index
            }
            None => cache
                .insert(raw.as_bytes(), Fate::Series(handle(*line)), Bound::None)
                .expect("the text is short"),
        };
        assert_eq!(cache.raw(index), raw.as_bytes());
        shown.push(index);
    }
    shown
}

/// Ends a round as the scrape does: what it stored is watched.
fn end(cache: &mut SeriesCache, stored: &[Index]) {
    for index in stored {
        cache.watch(*index);
    }
    cache.end_round(true);
}

fn slots(handles: &[(Index, Handle)]) -> BTreeSet<u32> {
    handles.iter().map(|(_, handle)| handle.slot).collect()
}

#[test]
fn a_line_is_known_from_its_second_time_and_repeats_are_seen() {
    let mut cache = SeriesCache::new();
    assert_eq!(cache.look_up(b"up"), None);
    cache.insert(b"up", Fate::Dropped, Bound::None).expect("short");
    let hit = cache.look_up(b"up").expect("just inserted");
    assert!(hit.repeated && hit.fate == Fate::Dropped);
    cache.end_round(true);
    assert!(!cache.look_up(b"up").expect("known").repeated);
    assert_eq!(cache.look_up(b"u"), None, "a prefix is another line");
    assert!(cache.vanished(true).is_empty(), "a dropped line has no series");
}

#[test]
fn a_line_is_remembered_until_a_good_scrape_without_it() {
    let mut cache = SeriesCache::new();
    let stored = show(&mut cache, &[1, 2, 3]);
    assert!(cache.vanished(false).is_empty());
    end(&mut cache, &stored);
    // A failed scrape: all gone, nothing forgotten, and gone only once.
    assert_eq!(slots(&cache.vanished(true)), BTreeSet::from([1, 2, 3]));
    cache.end_round(false);
    assert!(cache.vanished(true).is_empty());
    cache.end_round(false);
    assert_eq!(cache.len(), 3);
    let stored = show(&mut cache, &[3]);
    assert!(cache.vanished(false).is_empty());
    end(&mut cache, &stored);
    assert_eq!(cache.len(), 1);
}

#[test]
fn what_failed_scrapes_pile_up_is_bounded() {
    let mut cache = SeriesCache::new();
    let stored = show(&mut cache, &[0]);
    end(&mut cache, &stored);
    for round in 0..100 {
        let lines: Vec<u32> = (round * 100..round * 100 + 100).collect();
        show(&mut cache, &lines);
        cache.end_round(false);
    }
    assert!(cache.len() <= 2 + SLACK + 100, "{}", cache.len());
}

#[test]
fn what_a_store_did_not_take_is_still_watched() {
    let mut cache = SeriesCache::new();
    let stored = show(&mut cache, &[1, 2]);
    end(&mut cache, &stored);
    cache.look_up(b"m{n=\"1\"}").expect("known");
    cache.carry_over();
    cache.end_round(false);
    show(&mut cache, &[1]);
    assert_eq!(slots(&cache.vanished(false)), BTreeSet::from([2]));
}

proptest! {
    /// Against sets: what vanishes is what the round before stored and this one does not show.
    #[test]
    fn vanished_is_the_difference_of_two_rounds(
        rounds in prop::collection::vec((prop::collection::vec(0_u32..12, 0..12), any::<bool>()), 1..12)
    ) {
        let mut cache = SeriesCache::new();
        let mut stored: BTreeSet<u32> = BTreeSet::new();
        let mut known: BTreeSet<u32> = BTreeSet::new();
        for (lines, good) in rounds {
            let indices = show(&mut cache, &lines);
            let shown: BTreeSet<u32> = lines.iter().copied().collect();
            known.extend(&shown);
            let expected: BTreeSet<u32> =
                if good { &stored - &shown } else { stored.clone() };
            prop_assert_eq!(slots(&cache.vanished(!good)), expected);
            if good {
                end(&mut cache, &indices);
                known.retain(|line| shown.contains(line));
                stored = shown;
            } else {
                cache.end_round(false);
                stored.clear();
            }
            prop_assert_eq!(cache.len(), known.len());
            let watched: BTreeSet<u32> = cache.watched().map(|handle| handle.slot).collect();
            prop_assert_eq!(&watched, &stored);
        }
    }
}
