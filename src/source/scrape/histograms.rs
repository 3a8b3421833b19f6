//! Native histograms and exemplars of one body on their way into the batch: limits on buckets, what Prometheus
//! refuses, and exemplars that were seen before.

use std::collections::HashMap;

use super::round::{Place, Reading};
use crate::error::{Error, Kind, Result};
use crate::model::{EXPONENTIAL_SCHEMAS, Exemplar, ExemplarRow, Handle, Histogram, HistogramRow, Labels};
use crate::source::settings::HistogramSettings;
use crate::wire::exposition::SampleLine;
use crate::wire::exposition::protobuf::HistogramLine;

/// Series whose newest exemplar is remembered; more are forgotten together.
const MAX_REMEMBERED: usize = 1 << 16;

/// The newest exemplar of each series: a target shows it again and again.
#[derive(Debug, Default)]
pub(super) struct SeenExemplars {
    newest: HashMap<Handle, (Exemplar, bool)>,
}

impl SeenExemplars {
    /// Whether an exemplar is to be stored, by Prometheus' rule: not the newest one again, and nothing in front
    /// of it. One that came without a timestamp is the same whatever time it was given.
    pub(super) fn is_new(&mut self, series: Handle, exemplar: &Exemplar, own_time: bool) -> bool {
        if let Some((newest, newest_own)) = self.newest.get(&series) {
            let timeless = !own_time && !newest_own;
            let time = if timeless { newest.timestamp } else { exemplar.timestamp };
            let same = Exemplar { timestamp: time, ..exemplar.clone() }.order(newest).is_eq();
            if same || exemplar.order(newest).is_lt() {
                return false;
            }
        }
        if self.newest.len() >= MAX_REMEMBERED && !self.newest.contains_key(&series) {
            self.newest.clear();
        }
        self.newest.insert(series, (exemplar.clone(), own_time));
        true
    }
}

/// Fits a histogram to the job's limits.
///
/// # Errors
/// `Limit` when it has too many buckets whatever its resolution.
pub(super) fn fit(histogram: Histogram, settings: &HistogramSettings) -> Result<Histogram> {
    let mut histogram = histogram;
    let exponential = EXPONENTIAL_SCHEMAS.contains(&histogram.schema);
    if settings.min_bucket_factor > 0.0 && exponential {
        let finest = finest_schema(settings.min_bucket_factor);
        if histogram.schema > finest {
            histogram = histogram.at_schema(finest);
        }
    }
    let limit = settings.bucket_limit;
    while limit > 0 && histogram.positive.len() + histogram.negative.len() > limit {
        if !exponential || histogram.schema <= *EXPONENTIAL_SCHEMAS.start() {
            let error = Error::new(Kind::Limit, "histogram bucket limit exceeded");
            return Err(error.with("native_histogram_bucket_limit", limit));
        }
        histogram = histogram.at_schema(histogram.schema - 1);
    }
    Ok(histogram)
}

/// The finest schema whose buckets grow by at least `factor`.
fn finest_schema(factor: f64) -> i8 {
    /// The growth of schema 8; nothing finer exists.
    const FINEST: f64 = 1.002_71;
    let factor = if factor <= 1.0 { FINEST } else { factor };
    let wanted = -factor.log2().log2();
    EXPONENTIAL_SCHEMAS
        .rev()
        .find(|schema| f64::from(*schema) <= wanted)
        .unwrap_or(*EXPONENTIAL_SCHEMAS.start())
}

impl Reading<'_> {
    /// A native histogram.
    pub(super) fn histogram(&mut self, event: HistogramLine<'_>, place: Option<Place>) -> Result<()> {
        self.draft.counts.scraped += 1;
        let Some(place) = place else { return Ok(()) };
        let histogram = match fit(event.histogram, &self.probe.job.histograms) {
            Ok(histogram) => histogram,
            Err(error) => {
                self.draft.over_limit.get_or_insert(error);
                return Ok(());
            }
        };
        histogram.check().map_err(|e| e.with("sample", event.line.line))?;
        let timestamp = place.own.unwrap_or(self.at_ms);
        let row = HistogramRow { series: place.handle, timestamp, histogram: histogram.into() };
        self.draft.push_histogram(row, place.row);
        let mut exemplars = Vec::with_capacity(event.exemplars.len());
        for one in event.exemplars {
            let mut line = event.line;
            line.exemplar = Some(one.as_ref());
            // Without a time of their own they could not be told apart.
            if one.as_ref().timestamp_ms.is_some() {
                exemplars.extend(self.decode_exemplar(&line, place)?);
            }
        }
        exemplars.sort_by(Exemplar::order);
        for exemplar in exemplars {
            self.push_exemplar(place, exemplar, true);
        }
        Ok(())
    }

    /// The exemplar of a float, if it has one.
    pub(super) fn exemplar(&mut self, line: &SampleLine<'_>, place: Place) -> Result<()> {
        let own_time = line.exemplar.is_some_and(|exemplar| exemplar.timestamp_ms.is_some());
        if let Some(exemplar) = self.decode_exemplar(line, place)? {
            self.push_exemplar(place, exemplar, own_time);
        }
        Ok(())
    }

    /// `None` when it is not to be stored: too long, or out of all time.
    fn decode_exemplar(&mut self, line: &SampleLine<'_>, place: Place) -> Result<Option<Exemplar>> {
        let Some(exemplar) = line.exemplar else { return Ok(None) };
        let timestamp = exemplar.timestamp_ms.or(place.own).unwrap_or(self.at_ms);
        let in_bounds = self.is_in_bounds(timestamp);
        let scratch = &mut self.memory.scratch;
        line.exemplar_labels(scratch)?;
        let chars: usize =
            scratch.pairs().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
        if chars > Exemplar::MAX_LABEL_CHARS || !in_bounds {
            self.probe.stats.exemplar();
            return Ok(None);
        }
        let labels = Labels::from_pairs(scratch.pairs())?;
        Ok(Some(Exemplar { timestamp, value: exemplar.value, labels }))
    }

    fn push_exemplar(&mut self, place: Place, exemplar: Exemplar, own_time: bool) {
        if self.memory.exemplars.is_new(place.handle, &exemplar, own_time) {
            let row = ExemplarRow { series: place.handle, exemplar };
            self.draft.push_exemplar(row, place.row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Span;

    #[test]
    fn the_finest_schema_is_prometheus_own() {
        for (factor, schema) in
            [(1.0, 8), (1.002_71, 8), (1.003, 7), (1.1, 2), (2.0, 0), (4.0, -1), (1e9, -4)]
        {
            assert_eq!(finest_schema(factor), schema, "{factor}");
        }
    }

    #[test]
    fn too_many_buckets_become_wider_ones() -> Result<()> {
        let histogram = Histogram {
            schema: 2,
            count: 8.0,
            positive_spans: vec![Span { offset: 1, length: 8 }],
            positive: vec![1.0; 8],
            ..Histogram::default()
        };
        let settings = |bucket_limit, min_bucket_factor| HistogramSettings {
            bucket_limit,
            min_bucket_factor,
            ..HistogramSettings::default()
        };
        let fitted = fit(histogram.clone(), &settings(3, 0.0))?;
        assert_eq!((fitted.schema, fitted.positive.clone()), (0, vec![4.0, 4.0]));
        assert!(fitted.check().is_ok());
        assert_eq!(fit(histogram.clone(), &settings(0, 1.4))?.schema, 1);
        assert_eq!(fit(histogram.clone(), &settings(8, 0.0))?, histogram);
        let custom = Histogram { schema: -53, ..histogram };
        assert!(fit(custom, &settings(3, 0.0)).is_err_and(|e| e.kind() == Kind::Limit));
        Ok(())
    }

    #[test]
    fn an_exemplar_is_taken_once() -> Result<()> {
        let series = Handle { slot: 0, generation: 0 };
        let one = |timestamp, value, trace: &str| -> Result<Exemplar> {
            Ok(Exemplar { timestamp, value, labels: Labels::from_pairs([("trace_id", trace)])? })
        };
        let mut seen = SeenExemplars::default();
        assert!(seen.is_new(series, &one(5, 1.0, "a")?, false));
        assert!(!seen.is_new(series, &one(9, 1.0, "a")?, false), "it had no time of its own");
        assert!(seen.is_new(series, &one(9, 1.0, "b")?, true));
        assert!(!seen.is_new(series, &one(9, 1.0, "b")?, true));
        assert!(!seen.is_new(series, &one(8, 2.0, "c")?, true), "out of order");
        assert!(seen.is_new(series, &one(9, 2.0, "c")?, true), "another bucket's");
        Ok(())
    }
}
