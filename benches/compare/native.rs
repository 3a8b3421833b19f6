//! Native histograms: a day of them by remote write, and a quantile over all. `VictoriaMetrics` has none.

use bytes::Bytes;
use quipu::model::time;

use crate::data::{self, Body};
use crate::protobuf::{push_bytes, push_double, push_number, push_signed, push_varint};
use crate::queries::{self, Question};
use crate::random::Random;
use crate::servers::Program;
use crate::{Bench, day};

/// Populated buckets of each histogram, from 1.4 ms to 1.4 s at two buckets a doubling.
const BUCKETS: usize = 20;
const SCHEMA: i64 = 1;
const FIRST_BUCKET: i64 = -19;

pub(crate) async fn run(bench: &mut Bench<'_>) {
    let (series, samples) = (bench.size.series / 5, bench.size.samples);
    let start_ms = day::start_ms(bench);
    let rounds = rounds(series, samples, start_ms);
    let programs = [Program::Prometheus, Program::Quipu];
    let programs = programs.into_iter().filter(|program| bench.peers.path(*program).is_some()).collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut servers = day::loaded(bench, folder.path(), programs, &rounds).await;
    let text = "histogram_quantile(0.99, sum(rate(native[5m])))";
    let question = Question::of_day(text, start_ms, samples);
    let name = format!("histogram_quantile(0.99, sum(rate)) of {series} native histograms");
    queries::run(bench, &mut servers, &name, &question).await;
}

/// Half an hour of all series a request.
fn rounds(series: usize, samples: usize, start_ms: i64) -> Vec<Vec<Body>> {
    let mut counts: Vec<[i64; BUCKETS]> = vec![[0; BUCKETS]; series];
    let mut random = Random::new(67_867_979);
    let mut round = |from: usize| {
        let length = day::LENGTH.min(samples - from);
        let mut request = Vec::new();
        for (number, counts) in counts.iter_mut().enumerate() {
            let mut one = labels(number);
            for at in from..from + length {
                for (bucket, count) in counts.iter_mut().enumerate() {
                    let most = 40 - 3 * bucket.abs_diff(BUCKETS / 2);
                    *count += i64::try_from(random.below(most)).expect("below forty");
                }
                push_bytes(&mut one, 4, &histogram(counts, data::time_of(start_ms, at)));
            }
            push_bytes(&mut request, 1, &one);
        }
        let bytes = snap::raw::Encoder::new().compress_vec(&request).expect("a body is below snappy's limit");
        vec![Body { bytes: Bytes::from(bytes), samples: series * length }]
    };
    (0..samples).step_by(day::LENGTH).map(&mut round).collect()
}

fn labels(number: usize) -> Vec<u8> {
    let mut series = Vec::new();
    let instance = format!("host-{number:03}:9100");
    for (name, value) in [("__name__", "native"), ("instance", instance.as_str()), ("job", "api")] {
        let mut label = Vec::new();
        push_bytes(&mut label, 1, name.as_bytes());
        push_bytes(&mut label, 2, value.as_bytes());
        push_bytes(&mut series, 1, &label);
    }
    series
}

/// `prometheus.Histogram` of remote write 1.0, with integer counts.
fn histogram(counts: &[i64; BUCKETS], timestamp_ms: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let total: i64 = counts.iter().sum();
    push_number(&mut out, 1, total);
    push_double(&mut out, 3, time::ms_to_f64(total) * 0.05);
    push_varint(&mut out, 4 << 3);
    push_signed(&mut out, SCHEMA);
    push_double(&mut out, 5, 1e-128);
    push_number(&mut out, 6, 0);
    let mut span = Vec::new();
    push_varint(&mut span, 1 << 3);
    push_signed(&mut span, FIRST_BUCKET);
    push_number(&mut span, 2, i64::try_from(BUCKETS).expect("few"));
    push_bytes(&mut out, 11, &span);
    let (mut deltas, mut before) = (Vec::new(), 0);
    for count in counts {
        push_signed(&mut deltas, count - before);
        before = *count;
    }
    push_bytes(&mut out, 12, &deltas);
    push_number(&mut out, 15, timestamp_ms);
    out
}
