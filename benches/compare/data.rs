//! What is loaded: series with their samples, and the remote-write bodies made of them.

use bytes::Bytes;
use quipu::model::time;
use quipu::wire::remote_write::{SeriesToWrite, encode};

use crate::random::Random;

/// The distance of two samples.
pub(crate) const INTERVAL_MS: i64 = 15_000;

/// One series.
#[derive(Debug)]
pub(crate) struct Series {
    /// Sorted by name, `__name__` among them.
    pub(crate) labels: Vec<(String, String)>,
    /// Timestamps in ms, ascending, and values.
    pub(crate) samples: Vec<(i64, f64)>,
}

/// A request as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    /// Protobuf in a snappy block.
    pub(crate) bytes: Bytes,
    /// How many samples are in it.
    pub(crate) samples: usize,
}

/// The time of sample `at` of a day.
pub(crate) fn time_of(start_ms: i64, at: usize) -> i64 {
    start_ms + i64::try_from(at).expect("a day has few samples") * INTERVAL_MS
}

/// A name and a value.
pub(crate) fn label(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// Counters with integer increments and a reset now and then, ten an instance.
pub(crate) fn counters(metric: &str, series: usize, samples: usize, start_ms: i64) -> Vec<Series> {
    (0..series)
        .map(|number| {
            let mut random = Random::new(number * 7_919);
            let (mut value, speed) = (random.below(10_000_000), random.below(3_000) + 1);
            let samples = (0..samples).map(|at| {
                value = if random.below(3_000) == 0 { 0 } else { value + random.below(speed * 2 + 1) };
                (time_of(start_ms, at), time::count_to_f64(value))
            });
            let labels = vec![
                label("__name__", metric),
                label("cpu", (number % 10).to_string()),
                label("instance", format!("host-{:03}:9100", number / 10)),
                label("job", "node"),
                label("mode", if number % 2 == 0 { "user" } else { "system" }),
            ];
            Series { labels, samples: samples.collect() }
        })
        .collect()
}

/// Moves the timestamps off the grid: each series by an offset of its own, each sample by up to 10 ms.
pub(crate) fn jitter(series: &mut [Series]) {
    for (number, one) in series.iter_mut().enumerate() {
        let mut random = Random::new(number * 104_729 + 1);
        let small = |n: usize| i64::try_from(n).expect("a few ms");
        let offset = small(random.below(14_000));
        for sample in &mut one.samples {
            sample.0 += offset + small(random.below(11));
        }
    }
}

/// Bodies of `width` series × `length` samples, in rounds: a round holds the same stretch of time of all series.
pub(crate) fn bodies(series: &[Series], width: usize, length: usize) -> Vec<Vec<Body>> {
    let most = series.iter().map(|one| one.samples.len()).max().unwrap_or(0);
    let stretch = |from: usize| {
        series.chunks(width).map(|some| body(some, from, length)).filter(|body| body.samples > 0).collect()
    };
    (0..most).step_by(length).map(stretch).collect()
}

fn body(series: &[Series], from: usize, length: usize) -> Body {
    let labels: Vec<Vec<(&str, &str)>> = series
        .iter()
        .map(|one| one.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
        .collect();
    let stretches = series.iter().map(|one| {
        let end = one.samples.len().min(from + length);
        &one.samples[from.min(end)..end]
    });
    let parts = labels.iter().zip(stretches);
    let to_write: Vec<_> = parts.map(|(labels, samples)| SeriesToWrite { labels, samples }).collect();
    let samples = to_write.iter().map(|one| one.samples.len()).sum();
    let bytes = encode(&to_write, &[]).expect("a body is far below snappy's limit");
    Body { bytes: Bytes::from(bytes), samples }
}
