//! A window function inside of the operator that reads its samples, and what it has to say about them.

use super::kernel::bits;
use super::operator::ScalarInput;
use crate::query::plan::{Annotation, Annotations, HistogramNote, Position, StepScalar, WindowFunction};

/// The function that is fused into a scan or a subquery.
#[derive(Debug, Clone)]
pub(crate) struct Fused {
    pub(crate) function: WindowFunction,
    pub(crate) arguments: Vec<ScalarInput>,
    pub(crate) position: Position,
}

impl Fused {
    /// Says what is odd about a row that has a value at these steps.
    pub(crate) fn warn(
        &self,
        metric: &str,
        arguments: &[StepScalar],
        valid: &[u64],
        annotations: &Annotations,
    ) {
        let counts = ["_total", "_sum", "_count", "_bucket"].iter().any(|end| metric.ends_with(end));
        if self.function.wants_counter() && !metric.is_empty() && !counts {
            annotations.add(Annotation::NotACounter(metric), self.position);
        }
        if let Some(argument) = arguments.first().filter(|_| self.function == WindowFunction::Quantile) {
            self.warn_quantile(argument, valid, annotations);
        }
    }

    /// Says what was found about the native histograms of a row.
    pub(crate) fn note(
        &self,
        metric: &str,
        notes: impl Iterator<Item = HistogramNote>,
        annotations: &Annotations,
    ) {
        for note in notes {
            annotations.add(Annotation::Histogram(note, metric), self.position);
        }
    }

    /// `quantile_over_time` says so when its quantile is none, once there is a value.
    fn warn_quantile(&self, argument: &StepScalar, valid: &[u64], annotations: &Annotations) {
        let is_bad = |q: f64| !(0.0..=1.0).contains(&q);
        let warn = |got| annotations.add(Annotation::QuantileOutOfRange(got), self.position);
        match argument {
            StepScalar::Constant(quantile) if is_bad(*quantile) => warn(*quantile),
            StepScalar::Constant(_) => {}
            StepScalar::PerStep(quantiles) => {
                bits::ones(valid).map(|step| quantiles[step]).filter(|q| is_bad(*q)).for_each(warn);
            }
        }
    }
}
