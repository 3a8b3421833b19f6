//! Functions of one histogram, and operators between a histogram and a scalar.

use std::sync::Arc;

use super::variance::variance;
use super::{Cell, compact, divided, scaled};
use crate::model::Histogram;
use crate::query::plan::{
    HistogramNote, InstantFunction, SampleType, ScalarBinary, ScalarOp, Statistic, StepScalar,
};

/// What a row's histograms become.
#[derive(Debug, Default)]
pub(crate) struct Mapped {
    pub(crate) cells: Vec<Cell>,
    /// Steps that get a float.
    pub(crate) floats: Vec<(usize, f64)>,
    pub(crate) note: Option<HistogramNote>,
}

/// A function of one value. `times` are the evaluation times in seconds.
pub(crate) fn function_of(function: InstantFunction, cells: Vec<Cell>, times: &[f64]) -> Mapped {
    match function {
        InstantFunction::Negate => {
            let negated = |(step, histogram): Cell| (step, Arc::new(scaled(&histogram, -1.0)));
            Mapped { cells: cells.into_iter().map(negated).collect(), ..Mapped::default() }
        }
        InstantFunction::EvaluationTime => {
            let time = |(step, _): Cell| (step as usize, times[step as usize]);
            Mapped { floats: cells.into_iter().map(time).collect(), ..Mapped::default() }
        }
        InstantFunction::Statistic(function) => {
            let value = |(step, histogram): Cell| (step as usize, value_of(function, &histogram));
            Mapped { floats: cells.into_iter().map(value).collect(), ..Mapped::default() }
        }
        // The others are of floats.
        InstantFunction::Abs | InstantFunction::Ceil | InstantFunction::Floor => Mapped::default(),
    }
}

fn value_of(function: Statistic, histogram: &Histogram) -> f64 {
    match function {
        Statistic::Count => histogram.count,
        Statistic::Sum => histogram.sum,
        Statistic::Avg => histogram.sum / histogram.count,
        Statistic::Stddev => variance(histogram).sqrt(),
        Statistic::Stdvar => variance(histogram),
    }
}

/// An operator with a scalar. Only products and a histogram divided by a scalar are defined.
pub(crate) fn scalar_of(binary: &ScalarBinary, cells: Vec<Cell>, scalar: &StepScalar) -> Mapped {
    let mapped: Option<fn(&Histogram, f64) -> Histogram> = match (binary.op, binary.scalar_left) {
        (ScalarOp::Mul, _) => Some(scaled),
        (ScalarOp::Div, false) => Some(divided),
        _ => None,
    };
    let Some(mapped) = mapped else {
        let (left, right) = if binary.scalar_left {
            (SampleType::Float, SampleType::Histogram)
        } else {
            (SampleType::Histogram, SampleType::Float)
        };
        let note = (!cells.is_empty()).then_some(HistogramNote::Types(left, binary.op.as_str(), right));
        return Mapped { note, ..Mapped::default() };
    };
    let one =
        |(step, histogram): Cell| (step, Arc::new(compact(mapped(&histogram, scalar.at(step as usize)))));
    Mapped { cells: cells.into_iter().map(one).collect(), ..Mapped::default() }
}
