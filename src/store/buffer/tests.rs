//! The buffer against a naive list of rows.

use proptest::prelude::*;

use super::*;
use crate::model::{Labels, LabelsRef, STALE_NAN};

fn registry(series: usize) -> (Registry, Vec<Handle>) {
    let mut registry = Registry::new(1_000);
    let handles = (0..series)
        .map(|i| {
            let labels = Labels::from_pairs([("job", "j"), ("n", i.to_string().as_str())]).unwrap();
            registry.resolve("m", labels.as_ref()).unwrap().0
        })
        .collect();
    (registry, handles)
}

fn batch(handles: &[Handle], series: &[usize], timestamps: Timestamps, values: &[f64]) -> Batch {
    let series = series.iter().map(|i| handles[*i]).collect();
    Batch { series, timestamps, values: values.to_vec(), ..Batch::default() }
}

fn all(batch: &Batch) -> Rows<'_> {
    Rows { batch, only: None }
}

#[test]
fn a_steady_scrape_shares_its_times() {
    let (mut registry, handles) = registry(100);
    let mut buffer = Buffer::default();
    let everyone: Vec<usize> = (0..100).collect();
    for scrape in 0u32..50 {
        let values = vec![f64::from(scrape); 100];
        let batch = batch(&handles, &everyone, Timestamps::Shared(i64::from(scrape) * 15_000), &values);
        buffer.apply(u64::from(scrape) + 1, all(&batch), &mut registry);
    }
    assert_eq!(buffer.timelines.len(), 1);
    assert_eq!(buffer.timelines[0].times.len(), 50);
    assert_eq!(buffer.rows(), 5_000);
    let runs = buffer.select(&[Matcher::equal("n", "7")], 30, 0, i64::MAX);
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].timestamps.len(), 30, "the watermark hides later scrapes");
}

#[test]
fn the_last_arrival_wins_and_markers_stand_apart() {
    let (mut registry, handles) = registry(1);
    let mut buffer = Buffer::default();
    let stale = f64::from_bits(STALE_NAN);
    let values = [1.0, 2.0, 3.0, stale, 5.0];
    let first = batch(&handles, &[0; 5], Timestamps::Each(vec![30, 10, 20, 40, 10]), &values);
    buffer.apply(11, all(&first), &mut registry);
    let second = batch(&handles, &[0], Timestamps::Shared(30), &[9.0]);
    buffer.apply(12, all(&second), &mut registry);
    let run = &buffer.select(&[], 12, i64::MIN, i64::MAX)[0];
    assert_eq!((&run.timestamps[..], &run.values[..]), (&[10, 20, 30][..], &[5.0, 3.0, 9.0][..]));
    assert_eq!(run.stale_at, [40]);
    let run = &buffer.select(&[], 11, 15, 35)[0];
    assert_eq!(run.values, [3.0, 1.0], "an older watermark, a smaller range");
    assert!(buffer.select(&[], 10, i64::MIN, i64::MAX).is_empty());
}

#[test]
fn a_slot_that_changes_hands_makes_old_handles_stale() {
    let (mut registry, handles) = registry(2);
    assert_eq!(registry.next_epoch(), 0, "used in the epoch that ended");
    registry.touch(handles[1]);
    assert_eq!(registry.next_epoch(), 1);
    assert!(registry.get(handles[0]).is_none() && registry.get(handles[1]).is_some());
    let (other, new) = registry.resolve("m", LabelsRef::trusted(b"x\xFE1\xFF")).unwrap();
    assert!(new && other.slot == handles[0].slot && other.generation != handles[0].generation);
    assert!(registry.get(handles[0]).is_none());
    assert_eq!(registry.len(), 2);
}

#[test]
fn the_series_limit_is_named() {
    let mut registry = Registry::new(1);
    registry.resolve("a", LabelsRef::trusted(b"")).unwrap();
    let error = registry.resolve("b", LabelsRef::trusted(b"")).unwrap_err();
    assert!(error.to_string().contains("max_active_series"), "{error}");
}

type Step = (bool, i64, Vec<(usize, i64, bool)>);

proptest! {
    #[test]
    fn any_arrivals_read_back_as_a_map(
        steps in proptest::collection::vec(
            (any::<bool>(), 0i64..20, proptest::collection::vec((0usize..4, 0i64..20, any::<bool>()), 1..6)), 1..30),
        watermark in 0u64..32, from in 0i64..10, to in 10i64..20,
    ) {
        let (mut registry, handles) = registry(4);
        let mut buffer = Buffer::default();
        let mut model: std::collections::BTreeMap<(usize, i64), u64> = std::collections::BTreeMap::new();
        let mut next = 0.0;
        for (sequence, (shared, time, rows)) in (1u64..).zip(steps as Vec<Step>) {
            let values: Vec<f64> = rows.iter().map(|(_, _, stale)| {
                next += 1.0;
                if *stale { f64::from_bits(STALE_NAN) } else { next }
            }).collect();
            let times: Vec<i64> = rows.iter().map(|row| if shared { time } else { row.1 }).collect();
            let series: Vec<usize> = rows.iter().map(|row| row.0).collect();
            if sequence <= watermark {
                for ((series, time), value) in series.iter().zip(&times).zip(&values) {
                    if (from..=to).contains(time) {
                        model.insert((*series, *time), value.to_bits());
                    }
                }
            }
            let timestamps = if shared { Timestamps::Shared(time) } else { Timestamps::Each(times) };
            let batch = batch(&handles, &series, timestamps, &values);
            buffer.apply(sequence, all(&batch), &mut registry);
        }
        let mut read = std::collections::BTreeMap::new();
        for run in buffer.select(&[], watermark, from, to) {
            let series: usize = run.key.labels.get("n").unwrap().parse().unwrap();
            prop_assert!(run.timestamps.is_sorted_by(|a, b| a < b) && run.stale_at.is_sorted_by(|a, b| a < b));
            read.extend(run.timestamps.iter().zip(&run.values).map(|(t, v)| ((series, *t), v.to_bits())));
            read.extend(run.stale_at.iter().map(|t| ((series, *t), STALE_NAN)));
        }
        prop_assert_eq!(read, model);
    }
}
