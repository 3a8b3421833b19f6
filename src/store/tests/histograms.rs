//! Native histograms and exemplars through buffer, file, merge and restart, against a map of what was sent.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::{Exemplar, ExemplarRow, Histogram, HistogramRow, ResetHint, Span};
use crate::runtime::Dice;

/// What a series has at a time; the text has every bit of a histogram.
#[derive(Debug, Clone, PartialEq)]
enum Event {
    Float(u64),
    Stale,
    Histogram(String),
}

type Rows = BTreeMap<String, BTreeMap<i64, Event>>;

fn text(histogram: &Histogram) -> String {
    let sum = histogram.sum.to_bits();
    format!("{sum} {:?}", Histogram { sum: 0.0, ..histogram.clone() })
}

fn number(dice: &mut Dice, n: u64) -> u32 {
    u32::try_from(dice.below(n)).expect("small")
}

fn random(dice: &mut Dice) -> Histogram {
    let side = |dice: &mut Dice| {
        let spans: Vec<Span> = (0..dice.below(4))
            .map(|at| {
                let offset = number(dice, 50).cast_signed() - if at == 0 { 25 } else { 0 };
                Span { offset, length: number(dice, 6) }
            })
            .collect();
        let buckets = spans.iter().map(|span| span.length).sum();
        let counts: Vec<f64> = (0..buckets).map(|_| f64::from(number(dice, 1_000))).collect();
        (spans, counts)
    };
    let (positive_spans, positive) = side(dice);
    let (negative_spans, negative) = side(dice);
    let custom = dice.one_in(5);
    let hints = [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge];
    Histogram {
        schema: if custom { -53 } else { i8::try_from(dice.below(13)).expect("small") - 4 },
        is_float: dice.one_in(2),
        reset_hint: hints[number(dice, 4) as usize],
        zero_threshold: f64::from(number(dice, 3)) / 8.0,
        zero_count: f64::from(number(dice, 9)),
        count: f64::from(number(dice, 100_000)) + if dice.one_in(3) { 0.5 } else { 0.0 },
        sum: if dice.one_in(9) { f64::NAN } else { f64::from(number(dice, 1_000)) - 500.25 },
        positive_spans,
        negative_spans,
        positive,
        negative,
        custom_bounds: if custom {
            (0..number(dice, 9)).map(|i| f64::from(i) + 0.1).collect()
        } else {
            Vec::new()
        },
    }
}

/// One batch with a few rows of everything, and what it changes.
fn batch(store: &Store, dice: &mut Dice, rows: &mut Rows, exemplars: &mut BTreeSet<String>) -> Batch {
    let mut batch = Batch::default();
    let mut times = Vec::new();
    let mut later = Vec::new();
    for _ in 0..=dice.below(12) {
        let metric = ["requests", "sizes", "other"][number(dice, 3) as usize];
        let n = dice.below(3).to_string();
        let labels = Labels::from_pairs([("job", "j"), ("n", &*n)]).unwrap();
        let series = store.resolve(&Tenant::default(), metric, labels.as_ref()).unwrap();
        let name = format!("{metric}{}", labels.as_ref());
        let days = if dice.one_in(6) { 10 } else { 0 };
        let timestamp = NOW - days * time::DAY_MS - i64::from(number(dice, 40)) * 1_000;
        match dice.below(4) {
            0 | 1 => {
                let histogram = Arc::new(random(dice));
                later.push((name, timestamp, Event::Histogram(text(&histogram))));
                batch.histograms.push(HistogramRow { series, timestamp, histogram });
            }
            2 => {
                let stale = dice.one_in(4);
                let value = if stale { f64::from_bits(STALE_NAN) } else { f64::from(number(dice, 99)) };
                let event = if stale { Event::Stale } else { Event::Float(value.to_bits()) };
                let known = rows.entry(name).or_default();
                // A histogram that is there already wins.
                if !matches!(known.get(&timestamp), Some(Event::Histogram(_))) {
                    known.insert(timestamp, event);
                }
                batch.series.push(series);
                times.push(timestamp);
                batch.values.push(value);
            }
            _ => {
                let trace = dice.below(50).to_string();
                let labels = Labels::from_pairs([("trace_id", &*trace), ("zone", "é")]).unwrap();
                let exemplar = Exemplar { timestamp, value: f64::from(number(dice, 3)), labels };
                exemplars.insert(format!("{name} {exemplar:?}"));
                batch.exemplars.push(ExemplarRow { series, exemplar });
            }
        }
    }
    for (name, timestamp, event) in later {
        rows.entry(name).or_default().insert(timestamp, event);
    }
    batch.timestamps = Timestamps::Each(times);
    batch
}

async fn all_rows(store: &Store) -> Rows {
    let snapshot = store.snapshot(&Tenant::default(), &Principal::default());
    let selection = snapshot.select(Vec::new(), i64::MIN, i64::MAX).await.unwrap();
    let mut out = Rows::new();
    let mut reader = selection.scan(0..selection.series().len()).unwrap();
    while let Some(rows) = reader.next().await.unwrap() {
        let key = &selection.series()[rows.index].key;
        let floats = rows.timestamps.iter().zip(rows.values).map(|(at, v)| (*at, Event::Float(v.to_bits())));
        let stale = rows.stale_at.iter().map(|at| (*at, Event::Stale));
        assert_eq!(rows.histogram_times.len(), rows.histograms.len());
        let histograms = rows.histogram_times.iter().zip(rows.histograms);
        let histograms = histograms.map(|(at, histogram)| (*at, Event::Histogram(text(histogram))));
        let events: BTreeMap<_, _> = floats.chain(stale).chain(histograms).collect();
        let kinds = rows.timestamps.len() + rows.stale_at.len() + rows.histogram_times.len();
        assert_eq!(events.len(), kinds, "one event at a time");
        let inside = selection.series()[rows.index].max_rows;
        let most = usize::try_from(inside).unwrap();
        assert!(most >= rows.timestamps.len() + rows.histograms.len(), "max_rows is a bound");
        out.insert(format!("{}{}", key.metric, key.labels.as_ref()), events);
    }
    out.retain(|_, events| !events.is_empty());
    out
}

async fn all_exemplars(store: &Store) -> BTreeSet<String> {
    let snapshot = store.snapshot(&Tenant::default(), &Principal::default());
    let mut out = BTreeSet::new();
    for series in snapshot.exemplars(Vec::new(), i64::MIN, i64::MAX).await.unwrap() {
        let name = format!("{}{}", series.key.metric, series.key.labels.as_ref());
        assert!(series.exemplars.is_sorted_by(|a, b| a.order(b).is_lt()));
        out.extend(series.exemplars.iter().map(|one| format!("{name} {one:?}")));
    }
    out
}

#[tokio::test(start_paused = true)]
async fn histograms_and_exemplars_come_back_from_everywhere() {
    for seed in 0..12 {
        let (bench, mut dice) = (Bench::new(), Dice::new(seed));
        let mut store = bench.open().await;
        let (mut rows, mut exemplars) = (Rows::new(), BTreeSet::new());
        for step in 0..25 {
            let batch = batch(&store, &mut dice, &mut rows, &mut exemplars);
            let appended = store.append(&Tenant::default(), batch).await.unwrap();
            assert_eq!(appended, Appended::Stored);
            match dice.below(6) {
                0 => store.flush().await.unwrap(),
                1 => {
                    for day in store.days(&Tenant::default()) {
                        store.merge_day(&Tenant::default(), day).await.unwrap();
                    }
                }
                2 => {
                    store.close().await.unwrap();
                    store = bench.open().await;
                }
                _ => {}
            }
            assert_eq!(all_rows(&store).await, rows, "seed {seed} step {step}");
            assert_eq!(all_exemplars(&store).await, exemplars, "seed {seed} step {step}");
        }
        let snapshot = store.snapshot(&Tenant::default(), &Principal::default());
        let histograms = |metric: &str| {
            let of_metric = rows.iter().filter(|(name, _)| name.starts_with(metric));
            of_metric.flat_map(|(_, events)| events.values()).any(|e| matches!(e, Event::Histogram(_)))
        };
        for metric in ["requests", "sizes", "other"] {
            let has = snapshot.catalogue().get(metric).is_some_and(|entry| entry.has_histograms);
            assert_eq!(has, histograms(metric), "seed {seed}: {metric}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_series_of_histograms_only_is_found_and_bounded() {
    let bench = Bench::new();
    let store = bench.open().await;
    let tenant = Tenant::default();
    let labels = Labels::from_pairs([("job", "j"), ("n", "1")]).unwrap();
    let series = store.resolve(&tenant, "h", labels.as_ref()).unwrap();
    let mut dice = Dice::new(3);
    let histograms: Vec<HistogramRow> = (0..5_000)
        .map(|i| HistogramRow { series, timestamp: NOW - i * 1_000, histogram: Arc::new(random(&mut dice)) })
        .collect();
    let expected: Vec<String> = histograms[100..=200].iter().rev().map(|row| text(&row.histogram)).collect();
    store.append(&tenant, Batch { histograms, ..Batch::default() }).await.unwrap();
    for flushed in [false, true] {
        if flushed {
            store.flush().await.unwrap();
        }
        let snapshot = store.snapshot(&tenant, &Principal::default());
        let names = snapshot.label_names(Vec::new(), i64::MIN, i64::MAX).await.unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["__name__", "job", "n"]);
        let matchers = vec![Matcher::equal("__name__", "h"), Matcher::equal("n", "1")];
        let selection = snapshot.select(matchers, NOW - 200_000, NOW - 100_000).await.unwrap();
        let mut reader = selection.scan(0..1).unwrap();
        let rows = reader.next().await.unwrap().unwrap();
        let found: Vec<String> = rows.histograms.iter().map(|one| text(one)).collect();
        assert_eq!((found, rows.timestamps.len()), (expected.clone(), 0));
        if flushed {
            assert!(selection.counts().pages < selection.counts().file_pages, "only the pages of the range");
        }
    }
    let tables = store.inner.tenants.get(&tenant).unwrap().tables().unwrap();
    assert_eq!(tables.version(Table::Samples).files().len(), 0);
    assert_eq!(tables.version(Table::Series).rows(), 1);
}

#[tokio::test(start_paused = true)]
async fn stale_handles_of_every_sort_are_named() {
    let bench = Bench::new();
    let store = bench.open().await;
    let gone = Handle { slot: 77, generation: 1 };
    let exemplar = Exemplar { timestamp: NOW, value: 1.0, labels: Labels::empty() };
    let mut batch = Batch {
        series: vec![gone],
        timestamps: Timestamps::Shared(NOW),
        values: vec![1.0],
        histograms: vec![HistogramRow { series: gone, timestamp: NOW, histogram: Arc::default() }],
        exemplars: vec![ExemplarRow { series: gone, exemplar }],
        metadata: Vec::new(),
    };
    let tenant = Tenant::default();
    let refused = store.append(&tenant, batch.clone()).await.unwrap();
    assert_eq!(refused, Appended::Resolve(vec![0, 1, 2]));
    let handle = store.resolve(&tenant, "m", Labels::empty().as_ref()).unwrap();
    (0..3).for_each(|row| batch.rebind(row, handle));
    assert_eq!(store.append(&tenant, batch).await.unwrap(), Appended::Stored);
    assert!(matches!(all_rows(&store).await["m{}"][&NOW], Event::Histogram(_)), "a histogram wins");
}

#[tokio::test]
#[ignore = "writes target/histograms-interop for tests/e2e/delta_readers.sh"]
async fn write_histograms_for_other_readers() {
    let bench = Bench::in_target("histograms-interop").await;
    let store = bench.open().await;
    let tenant = Tenant::default();
    for (at, job) in (0_u32..).zip(["api", "web"]) {
        let labels = Labels::from_pairs([("job", job)]).unwrap();
        let series = store.resolve(&tenant, "latency", labels.as_ref()).unwrap();
        let mut batch = Batch::default();
        for n in 0..3_000_u32 {
            let timestamp = NOW - i64::from(n) * 1_000;
            let histogram = Histogram {
                schema: 3,
                count: f64::from(n + 1),
                sum: f64::from(n) / 2.0,
                positive_spans: vec![Span { offset: -4, length: 1 }, Span { offset: 2, length: 2 }],
                positive: vec![f64::from(n), 0.0, 1.0],
                ..Histogram::default()
            };
            batch.histograms.push(HistogramRow { series, timestamp, histogram: Arc::new(histogram) });
            if n % 100 == 0 {
                let trace = format!("{:032x}", at * 10_000 + n);
                let labels = Labels::from_pairs([("trace_id", trace.as_str())]).unwrap();
                let exemplar = Exemplar { timestamp, value: f64::from(n), labels };
                batch.exemplars.push(ExemplarRow { series, exemplar });
            }
        }
        store.append(&tenant, batch).await.unwrap();
        store.flush().await.unwrap();
    }
}
