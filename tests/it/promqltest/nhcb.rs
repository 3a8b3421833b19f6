//! Classic histograms as native ones with custom buckets, for `load_with_nhcb`.

use std::collections::BTreeMap;

use super::histogram::{CUSTOM_SCHEMA, Histogram};
use super::script::{Load, Sample};
use super::series::{Labels, Value};

/// The parts of one classic histogram at one time.
#[derive(Debug, Default)]
struct Classic {
    /// Upper bound and cumulative count, in the order of the series.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// The series of a load with those that its classic histograms convert to.
pub(super) fn with_native_histograms(load: &Load) -> Result<BTreeMap<Labels, Vec<Sample>>, String> {
    let mut all = load.series.clone();
    if !load.with_nhcb {
        return Ok(all);
    }
    let mut found: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for (labels, samples) in &load.series {
        collect(labels, samples, &mut found);
    }
    for (labels, by_time) in found {
        let mut samples = Vec::new();
        for (time, classic) in by_time {
            let native = classic.convert().map_err(|why| format!("{labels:?} at {time}: {why}"))?;
            samples.push(Sample { time, start_time: None, value: Value::Histogram(Box::new(native)) });
        }
        all.insert(labels, samples);
    }
    Ok(all)
}

fn collect(labels: &Labels, samples: &[Sample], found: &mut BTreeMap<Labels, BTreeMap<i64, Classic>>) {
    let name = labels.get("__name__").map(String::as_str).unwrap_or_default();
    let part =
        ["_bucket", "_count", "_sum"].into_iter().find_map(|part| Some((part, name.strip_suffix(part)?)));
    let Some((part, base)) = part else { return };
    let bound = labels.get("le").and_then(|le| le.parse::<f64>().ok()).filter(|le| !le.is_nan());
    if part == "_bucket" && bound.is_none() {
        return;
    }
    let mut of = labels.clone();
    of.remove("le");
    of.insert("__name__".to_owned(), base.to_owned());
    let by_time = found.entry(of).or_default();
    for sample in samples {
        let Value::Float(value) = sample.value else { continue };
        let classic = by_time.entry(sample.time).or_default();
        match (part, bound) {
            ("_bucket", Some(bound)) => classic.buckets.push((bound, value)),
            ("_count", _) => classic.count = Some(value),
            _ => classic.sum = value,
        }
    }
}

impl Classic {
    fn convert(mut self) -> Result<Histogram, String> {
        // A stable sort: of equal bounds the first one counts.
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|later, first| later.0.to_bits() == first.0.to_bits());
        let highest = self.buckets.last().map(|(_, count)| *count);
        let count = self.count.or(highest).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        if self.buckets.last().is_some_and(|(_, last)| last.to_bits() != count.to_bits()) {
            return Err("the count is not that of the highest bucket".to_owned());
        }
        let mut native = Histogram { schema: CUSTOM_SCHEMA, count, sum: self.sum, ..Histogram::default() };
        let mut before = 0.0;
        for (index, (bound, cumulative)) in (0i64..).zip(self.buckets) {
            if cumulative < before {
                return Err("the buckets are not cumulative".to_owned());
            }
            if cumulative > before {
                native.positive.insert(index, cumulative - before);
            }
            before = cumulative;
            if bound.is_finite() {
                native.bounds.push(bound);
            }
        }
        Ok(native)
    }
}
