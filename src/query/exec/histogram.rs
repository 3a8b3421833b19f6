//! Functions over histograms, classic and native: the rows that are buckets of one histogram are brought together, and what
//! [`buckets`](super::buckets) says of them is laid out again as rows.

use arrow::array::RecordBatch;
use hashbrown::HashMap;

use super::batch::View;
use super::buckets::{self, Bucket, by_bound, parse_bound};
use super::grid_aggregate::Settings;
use super::groups::{Groups, Output};
use super::kernel::bits;
use super::labels::{push_visible, push_with, push_without_name};
use super::native::{self, Cell};
use super::operator::Yielder;
use super::small::same_labels;
use crate::error::Result;
use crate::model::{Histogram as NativeHistogram, LabelsRef, METRIC_NAME, push_openmetrics_float};
use crate::query::plan::{
    Annotation, GridSchema, Histogram, HistogramFunction, HistogramNote, Mended, StepScalar,
};

/// The label of a bucket's upper bound.
const BOUND: &str = "le";

/// A function over the histograms of one query.
pub(crate) struct Classic<'a> {
    histogram: &'a Histogram,
    scalars: &'a [StepScalar],
    settings: &'a Settings,
}

/// A row that is a bucket.
#[derive(Debug, Clone, Copy)]
struct Member {
    bound: f64,
    batch: usize,
    row: usize,
}

/// The rows of one label set.
#[derive(Debug, Default)]
struct Members {
    /// Buckets, by their bound.
    classic: Vec<Member>,
    /// Native histograms, by step.
    native: Vec<Cell>,
}

/// The values of one histogram at every step: a row, or one for each quantile in use.
struct Results {
    /// Keys are the bits of the quantile that a label names.
    ids: HashMap<u64, usize>,
    rows: Vec<ResultRow>,
}

struct ResultRow {
    labels: Vec<u8>,
    values: Vec<f64>,
    valid: Vec<u64>,
}

impl<'a> Classic<'a> {
    pub(crate) fn new(histogram: &'a Histogram, scalars: &'a [StepScalar], settings: &'a Settings) -> Self {
        Self { histogram, scalars, settings }
    }

    /// The function of all histograms.
    ///
    /// # Errors
    /// `Execution` where two quantiles of one step have the same label; `Limit` for too many labels.
    pub(crate) async fn evaluate(
        &self,
        batches: &[RecordBatch],
        schema: &GridSchema,
        yielder: &mut Yielder,
    ) -> Result<Vec<RecordBatch>> {
        self.warn();
        let views: Vec<View<'_>> = batches.iter().map(View::of).collect();
        let (groups, members) = self.group(&views)?;
        let mut out = Output::new(schema);
        for (group, members) in members.iter().enumerate() {
            yielder.check().await;
            let labels = LabelsRef::trusted(groups.get(group).0);
            let results = self.of_group(labels, members, &views, schema)?;
            for row in results.rows {
                // Where names go at once this one is gone.
                out.push(&row.labels, !self.settings.immediate_names, &row.values, &row.valid)?;
            }
        }
        out.finish()
    }

    fn warn(&self) {
        if self.histogram.function == HistogramFunction::Fraction {
            return;
        }
        for (quantiles, position) in self.scalars.iter().zip(&self.histogram.positions) {
            for quantile in quantiles.distinct().iter().filter(|q| !(0.0..=1.0).contains(*q)) {
                self.settings.annotations.add(Annotation::QuantileOutOfRange(*quantile), *position);
            }
        }
    }

    /// The metric that warnings name: none where names are already gone.
    fn metric<'l>(&self, labels: LabelsRef<'l>) -> &'l str {
        if self.settings.immediate_names { "" } else { labels.get(METRIC_NAME).unwrap_or_default() }
    }

    /// The histograms by their labels without `le`, with their buckets sorted by bound.
    fn group(&self, views: &[View<'_>]) -> Result<(Groups, Vec<Members>)> {
        let (mut groups, mut members): (_, Vec<Members>) = (Groups::default(), Vec::new());
        let (mut visible, mut key, mut words) = (Vec::new(), Vec::new(), Vec::new());
        for (batch, view) in views.iter().enumerate() {
            for row in 0..view.len() {
                visible.clear();
                push_visible(
                    &mut visible,
                    (view.labels(row), view.drop_name(row)),
                    self.settings.immediate_names,
                );
                let labels = LabelsRef::trusted(&visible);
                let cells = view.histograms(row)?;
                if !cells.is_empty() {
                    let group = groups.id(&visible, false);
                    members.resize_with(groups.len(), Members::default);
                    members[group].native.extend(cells);
                }
                if view.row(row, &mut words).valid.is_some_and(|valid| bits::count(valid) == 0) {
                    continue;
                }
                let le = labels.get(BOUND).unwrap_or_default();
                let Some(bound) = parse_bound(le) else {
                    let annotation = Annotation::BadBucket { metric: self.metric(labels), le };
                    self.settings.annotations.add(annotation, self.histogram.position);
                    continue;
                };
                key.clear();
                push_with(&mut key, labels, BOUND, "");
                let group = groups.id(&key, false);
                members.resize_with(groups.len(), Members::default);
                members[group].classic.push(Member { bound, batch, row });
            }
        }
        for members in &mut members {
            members.classic.sort_by(|a, b| by_bound(a.bound, b.bound));
            members.native.sort_by_key(|(step, _)| *step);
        }
        Ok((groups, members))
    }

    /// One histogram at all steps.
    fn of_group(
        &self,
        labels: LabelsRef<'_>,
        members: &Members,
        views: &[View<'_>],
        schema: &GridSchema,
    ) -> Result<Results> {
        let steps = schema.grid().steps();
        let mut words = vec![Vec::new(); members.classic.len()];
        let rows: Vec<_> = members
            .classic
            .iter()
            .zip(&mut words)
            .map(|(member, words)| (member.bound, views[member.batch].row(member.row, words)))
            .collect();
        let mut results = Results { ids: HashMap::new(), rows: Vec::new() };
        let (mut present, mut buckets) = (Vec::new(), Vec::new());
        for step in 0..steps {
            present.clear();
            let here = rows.iter().filter(|(_, cells)| cells.is_valid(step));
            present.extend(here.map(|(bound, cells)| Bucket { bound: *bound, count: cells.values[step] }));
            let native = members.native.partition_point(|(at, _)| (*at as usize) < step);
            let native = members.native.get(native).filter(|(at, _)| *at as usize == step);
            if native.is_some() && !present.is_empty() {
                self.note(HistogramNote::ClassicAndNative, labels);
            }
            // Of two there is none.
            if native.is_some() != present.is_empty() {
                continue;
            }
            let questions = match self.histogram.function {
                HistogramFunction::Fraction => &self.scalars[..1],
                _ => self.scalars,
            };
            for quantile in questions {
                buckets.clone_from(&present);
                let value = match native {
                    Some((_, histogram)) => self.native_value(quantile.at(step), (labels, step), histogram),
                    None => self.value(quantile.at(step), (labels, step), &mut buckets, schema),
                };
                let row = self.row(&mut results, quantile.at(step), labels, steps);
                if bits::get(&row.valid, step) {
                    return Err(same_labels());
                }
                row.values[step] = value;
                bits::set(&mut row.valid, step);
            }
        }
        Ok(results)
    }

    fn native_value(
        &self,
        quantile: f64,
        (labels, step): (LabelsRef<'_>, usize),
        histogram: &NativeHistogram,
    ) -> f64 {
        let (value, note) = if self.histogram.function == HistogramFunction::Fraction {
            native::fraction(self.scalars[0].at(step), self.scalars[1].at(step), histogram)
        } else {
            native::quantile(quantile, histogram)
        };
        if let Some(note) = note {
            self.note(note, labels);
        }
        value
    }

    fn note(&self, note: HistogramNote, labels: LabelsRef<'_>) {
        let annotation = Annotation::Histogram(note, self.metric(labels));
        self.settings.annotations.add(annotation, self.histogram.position);
    }

    fn value(
        &self,
        quantile: f64,
        (labels, step): (LabelsRef<'_>, usize),
        buckets: &mut Vec<Bucket>,
        schema: &GridSchema,
    ) -> f64 {
        if self.histogram.function == HistogramFunction::Fraction {
            return buckets::fraction(self.scalars[0].at(step), self.scalars[1].at(step), buckets);
        }
        let (value, raised) = buckets::quantile(quantile, buckets);
        if let Some(raised) = raised {
            let time = schema.grid().time(step);
            let mended = Mended {
                time_ms: (time, time),
                bounds: raised.bounds,
                difference: raised.difference,
                samples: 1,
            };
            self.settings.annotations.add_mended(self.metric(labels), mended, self.histogram.position);
        }
        value
    }

    /// The output row for a quantile.
    fn row<'r>(
        &self,
        results: &'r mut Results,
        quantile: f64,
        labels: LabelsRef<'_>,
        steps: usize,
    ) -> &'r mut ResultRow {
        let label = match &self.histogram.function {
            HistogramFunction::Quantiles { label } => Some(label),
            HistogramFunction::Quantile | HistogramFunction::Fraction => None,
        };
        // 0 and -0 are one quantile, and so are all NaN.
        let key = match label {
            Some(_) if quantile.is_nan() => f64::NAN.to_bits(),
            Some(_) => (quantile + 0.0).to_bits(),
            None => 0,
        };
        let Results { ids, rows } = results;
        let id = *ids.entry(key).or_insert_with(|| {
            let labels = self.labels(labels, label.map(|label| (label.as_str(), quantile)));
            rows.push(ResultRow {
                labels,
                values: vec![0.0; steps],
                valid: vec![0; bits::word_count(steps)],
            });
            rows.len() - 1
        });
        &mut rows[id]
    }

    fn labels(&self, labels: LabelsRef<'_>, quantile: Option<(&str, f64)>) -> Vec<u8> {
        let mut own = Vec::new();
        if self.settings.immediate_names {
            push_without_name(&mut own, labels);
        } else {
            own.extend_from_slice(labels.as_bytes());
        }
        let Some((label, quantile)) = quantile else { return own };
        let mut text = Vec::new();
        push_openmetrics_float(&mut text, quantile);
        let text = String::from_utf8(text).expect("a number is written in ASCII");
        let mut with = Vec::new();
        push_with(&mut with, LabelsRef::trusted(&own), label, &text);
        with
    }
}
