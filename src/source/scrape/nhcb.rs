//! `convert_classic_histograms_to_nhcb`: classic histograms become native ones with custom buckets.
//!
//! A target shows a classic histogram as neighbouring floats: the buckets, `_sum` and `_count`. They are collected
//! until something else comes, and stored as one sample of the family's name. What does not add up is left out, as
//! Prometheus does. Source: prometheus `model/textparse/nhcbparse.go`, `util/convertnhcb`.

use std::cmp::Ordering;

use super::families::Said;
use super::round::Reading;
use crate::error::Result;
use crate::model::{CUSTOM_BUCKETS, Histogram, INTEGERS_END, MetricType, Span};
use crate::wire::Limits;
use crate::wire::exposition::protobuf::{HistogramLine, OwnedExemplar};
use crate::wire::exposition::{Event, LabelScratch, NameEscaping, SampleLine, push_series};

/// The label with a bucket's bound.
const BOUND: &str = "le";

/// What is collected while a body is read.
#[derive(Debug, Default)]
pub(super) struct Converter {
    /// The family that the last `# TYPE` named, if it is a histogram.
    family: Option<String>,
    collected: Option<Collected>,
    /// The series of the last native histogram: its classic side is not converted.
    native: Option<Vec<u8>>,
}

/// One classic histogram as far as it was read.
#[derive(Debug)]
struct Collected {
    /// The series' text: name and labels without the bound.
    series: Vec<u8>,
    buckets: Buckets,
    exemplars: Vec<OwnedExemplar>,
    timestamp_ms: Option<i64>,
    line: usize,
}

/// Which number of a classic histogram a float is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Bucket(f64),
    Count,
    Sum,
}

impl Converter {
    /// Which part of which histogram a float is: the text of the histogram's series.
    fn part(&self, scratch: &LabelScratch) -> Option<(Part, Vec<u8>)> {
        let family = self.family.as_deref()?;
        let part = match scratch.metric().strip_prefix(family)? {
            "_bucket" => {
                let bound = scratch.pairs().find(|(name, _)| *name == BOUND)?.1;
                Part::Bucket(bound.parse().ok().filter(|bound: &f64| !bound.is_nan())?)
            }
            "_count" => Part::Count,
            "_sum" => Part::Sum,
            _ => return None,
        };
        Some((part, series_text(family, scratch)))
    }

    fn begin(&mut self, series: Vec<u8>, line: &SampleLine<'_>) -> &mut Collected {
        self.collected.get_or_insert_with(|| Collected {
            series,
            buckets: Buckets::default(),
            exemplars: Vec::new(),
            timestamp_ms: line.timestamp_ms,
            line: line.line,
        })
    }
}

/// The labels in one order, however the target writes them.
fn series_text(family: &str, scratch: &LabelScratch) -> Vec<u8> {
    let mut labels: Vec<_> = scratch.pairs().filter(|(name, _)| *name != BOUND).collect();
    labels.sort_unstable();
    let mut text = Vec::new();
    push_series(&mut text, family, labels.into_iter(), NameEscaping::Utf8);
    text
}

impl Reading<'_> {
    /// Takes a line about a family: the histogram before it is complete.
    pub(super) fn convert_about(&mut self, event: &Event<'_>, said: &Said<'_>) -> Result<()> {
        self.convert_rest(said)?;
        if let Event::Type { metric, kind } = event {
            let family = (*kind == MetricType::Histogram).then(|| metric.to_string());
            self.converter.family = family;
        }
        Ok(())
    }

    /// Takes a float, and stores it unless it is only wanted converted.
    pub(super) fn convert_sample(&mut self, line: &SampleLine<'_>, said: &Said<'_>) -> Result<()> {
        if self.converter.family.is_none() {
            return self.sample(line, said);
        }
        line.labels(&mut self.memory.scratch)?;
        let part = self.converter.part(&self.memory.scratch);
        let same = match (&part, &self.converter.collected) {
            (Some((_, series)), Some(collected)) => *series == collected.series,
            (_, collected) => collected.is_none(),
        };
        if !same {
            self.convert_rest(said)?;
        }
        let is_native = |(_, series): &(Part, Vec<u8>)| self.converter.native.as_ref() == Some(series);
        let Some((part, series)) = part.filter(|part| !is_native(part)) else {
            return self.sample(line, said);
        };
        let collected = self.converter.begin(series, line);
        match part {
            Part::Bucket(bound) => collected.buckets.bucket(bound, line.value),
            Part::Count => collected.buckets.count(line.value),
            Part::Sum => collected.buckets.sum = line.value,
        }
        collected.exemplars.extend(line.exemplar.map(OwnedExemplar::from));
        if self.probe.job.histograms.classic {
            return self.sample(&line.without_exemplar(), said);
        }
        Ok(())
    }

    /// A native histogram is to be stored; its classic side may follow.
    pub(super) fn convert_native(&mut self, line: &SampleLine<'_>, said: &Said<'_>) -> Result<()> {
        self.convert_rest(said)?;
        line.labels(&mut self.memory.scratch)?;
        let scratch = &self.memory.scratch;
        self.converter.native = Some(series_text(scratch.metric(), scratch));
        Ok(())
    }

    /// Stores what was collected.
    pub(super) fn convert_rest(&mut self, said: &Said<'_>) -> Result<()> {
        let Some(collected) = self.converter.collected.take() else { return Ok(()) };
        let Some(histogram) = collected.buckets.histogram() else { return Ok(()) };
        let limits = Limits::default();
        let Collected { series, exemplars, timestamp_ms, line, .. } = &collected;
        let line = SampleLine::of_series(series, *timestamp_ms, *line, &limits);
        let place = self.place(&line, said)?;
        self.histogram(HistogramLine { line, histogram, exemplars }, place)
    }
}

/// The numbers of a classic histogram.
#[derive(Debug, Default)]
struct Buckets {
    /// Bound and observations up to it, by ascending bound.
    cumulative: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
    /// Something was negative, or a bucket had more than one above it.
    is_wrong: bool,
}

impl Buckets {
    fn bucket(&mut self, bound: f64, count: f64) {
        let at = self.cumulative.partition_point(|(other, _)| *other < bound);
        if self.cumulative.get(at).is_some_and(|(other, _)| other.total_cmp(&bound).is_eq()) {
            return;
        }
        let below = at.checked_sub(1).map_or(0.0, |below| self.cumulative[below].1);
        let above = self.cumulative.get(at).map_or(f64::INFINITY, |above| above.1);
        self.is_wrong |= count < below || count > above;
        self.cumulative.insert(at, (bound, count));
    }

    fn count(&mut self, count: f64) {
        self.is_wrong |= count < 0.0;
        self.count = Some(count);
    }

    /// The native histogram; `None` where the numbers contradict each other.
    fn histogram(&self) -> Option<Histogram> {
        let mut cumulative = self.cumulative.clone();
        let highest = cumulative.last().map(|(_, count)| *count);
        let count = self.count.or(highest).unwrap_or(0.0);
        if cumulative.last().is_none_or(|(bound, _)| *bound < f64::INFINITY) {
            cumulative.push((f64::INFINITY, count));
        }
        let all = cumulative.last().map_or(0.0, |(_, count)| *count);
        // NaN is no count and equal to none.
        if self.is_wrong || all.partial_cmp(&count) != Some(Ordering::Equal) {
            return None;
        }
        let is_integer = |count: f64| count.fract() == 0.0 && count < INTEGERS_END;
        let is_float = !cumulative.iter().all(|(_, count)| is_integer(*count));
        let mut histogram = Histogram {
            schema: CUSTOM_BUCKETS,
            is_float,
            count,
            sum: self.sum,
            custom_bounds: cumulative[..cumulative.len() - 1].iter().map(|(bound, _)| *bound).collect(),
            ..Histogram::default()
        };
        let (mut before, mut next) = (0.0, 0_i32);
        for (index, (_, count)) in (0..).zip(&cumulative) {
            let observed = count - std::mem::replace(&mut before, *count);
            if observed <= 0.0 {
                continue;
            }
            match histogram.positive_spans.last_mut() {
                Some(span) if next == index => span.length += 1,
                _ => histogram.positive_spans.push(Span { offset: index - next, length: 1 }),
            }
            histogram.positive.push(observed);
            next = index + 1;
        }
        histogram.check().is_ok().then_some(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[(f64, f64)], count: Option<f64>) -> Option<Histogram> {
        let mut all = Buckets { sum: 1.5, ..Buckets::default() };
        for (bound, observed) in buckets {
            all.bucket(*bound, *observed);
        }
        if let Some(count) = count {
            all.count(count);
        }
        all.histogram()
    }

    #[test]
    fn classic_buckets_become_custom_ones() {
        let inf = f64::INFINITY;
        let found = histogram(&[(0.1, 1.0), (1.0, 1.0), (5.0, 3.0), (inf, 4.0)], Some(4.0)).expect("good");
        assert_eq!(found.custom_bounds, [0.1, 1.0, 5.0]);
        assert_eq!(found.positive_spans, [Span { offset: 0, length: 1 }, Span { offset: 1, length: 2 }]);
        assert_eq!((found.positive.as_slice(), found.count, found.sum), (&[1.0, 2.0, 1.0][..], 4.0, 1.5));
        assert!(!found.is_float);
        assert_eq!(
            histogram(&[(inf, 4.0), (1.0, 1.0), (1.0, 2.0), (0.1, 0.5)], None).map(|h| h.positive),
            Some(vec![0.5, 0.5, 3.0])
        );
        assert_eq!(
            histogram(&[(1.0, 1.0)], Some(3.0)).map(|h| h.positive),
            Some(vec![1.0, 2.0]),
            "+Inf is added"
        );
        assert_eq!(histogram(&[], Some(0.0)).map(|h| (h.count, h.custom_bounds.len())), Some((0.0, 0)));
    }

    #[test]
    fn numbers_that_contradict_each_other_are_left_out() {
        let inf = f64::INFINITY;
        assert_eq!(histogram(&[(1.0, 2.0), (2.0, 1.0), (inf, 2.0)], None), None, "not cumulative");
        assert_eq!(
            histogram(&[(2.0, 1.0), (1.0, 2.0), (inf, 2.0)], None),
            None,
            "not cumulative, out of order"
        );
        assert_eq!(histogram(&[(1.0, -1.0)], None), None, "negative");
        assert_eq!(histogram(&[(1.0, 1.0)], Some(-1.0)), None, "negative");
        assert_eq!(histogram(&[(inf, 3.0)], Some(4.0)), None, "another count");
        assert_eq!(histogram(&[(inf, f64::NAN)], Some(f64::NAN)), None, "no count");
        assert!(histogram(&[(inf, 1e19)], None).is_some_and(|h| h.is_float), "too many for an integer");
    }
}
