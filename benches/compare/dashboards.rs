//! What dashboards ask beside plain rates: a join of two metrics and a quantile of classic histograms.

use quipu::model::time;

use crate::Bench;
use crate::data::{self, Series, label};
use crate::day;
use crate::queries::{self, Question};
use crate::random::Random;

/// Upper bounds of a classic histogram: 19 and `+Inf`.
const BOUNDS: [&str; 20] = [
    "0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.15", "0.2", "0.3", "0.5", "0.75", "1.0", "1.5",
    "2.0", "3.0", "5.0", "7.5", "10.0", "30.0", "+Inf",
];

const QUESTIONS: [(&str, &str); 2] = [
    ("a / on(instance) group_left b", "a / on(instance) group_left b"),
    (
        "histogram_quantile(0.99, sum by (le)(rate))",
        "histogram_quantile(0.99, sum by (le)(rate(h_bucket[5m])))",
    ),
];

pub(crate) async fn run(bench: &mut Bench<'_>) {
    let (series, samples) = (bench.size.series, bench.size.samples);
    let start_ms = day::start_ms(bench);
    let mut all = data::counters("a", series, samples, start_ms);
    all.extend(totals(&all, samples, start_ms));
    all.extend(buckets(series * 4 / BOUNDS.len(), samples, start_ms));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut servers = day::all_loaded(bench, folder.path(), &all).await;
    for (name, text) in QUESTIONS {
        let question = Question::of_day(text, start_ms, samples);
        queries::run(bench, &mut servers, name, &question).await;
    }
}

/// `b`: one gauge for each instance of `a`.
fn totals(counters: &[Series], samples: usize, start_ms: i64) -> Vec<Series> {
    let mut instances: Vec<&str> = counters.iter().map(|series| series.labels[2].1.as_str()).collect();
    instances.dedup();
    let one = |(number, instance): (usize, &str)| {
        let mut random = Random::new(number * 15_485_863 + 3);
        let value = |at| (data::time_of(start_ms, at), time::count_to_f64(1 + random.below(1_000)));
        let labels = vec![label("__name__", "b"), label("instance", instance), label("job", "node")];
        Series { labels, samples: (0..samples).map(value).collect() }
    };
    instances.into_iter().enumerate().map(one).collect()
}

/// `h_bucket`: cumulative counters of request durations, one histogram an instance.
fn buckets(instances: usize, samples: usize, start_ms: i64) -> Vec<Series> {
    (0..instances.max(1)).flat_map(|instance| histogram(instance, samples, start_ms)).collect()
}

fn histogram(instance: usize, samples: usize, start_ms: i64) -> Vec<Series> {
    let mut random = Random::new(instance * 32_452_843 + 5);
    let mut counts = [0_usize; BOUNDS.len()];
    let mut rows: Vec<Vec<(i64, f64)>> = vec![Vec::with_capacity(samples); BOUNDS.len()];
    for at in 0..samples {
        // Most requests are fast: each bucket gets about two thirds of the one below it.
        let mut requests = 200 + random.below(200);
        let mut below = 0;
        for (bucket, count) in counts.iter_mut().enumerate() {
            let here = if bucket + 1 == BOUNDS.len() { requests } else { random.below(requests * 2 / 3 + 1) };
            requests -= here;
            below += here;
            *count += below;
            rows[bucket].push((data::time_of(start_ms, at), time::count_to_f64(*count)));
        }
    }
    let series = BOUNDS.iter().zip(rows).map(|(bound, samples)| {
        let labels = vec![
            label("__name__", "h_bucket"),
            label("instance", format!("host-{instance:03}:9100")),
            label("job", "api"),
            label("le", *bound),
        ];
        Series { labels, samples }
    });
    series.collect()
}
