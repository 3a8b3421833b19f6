//! Functions of one histogram, and operators between a histogram and a scalar or another histogram.

use std::sync::Arc;

use arrow::array::{BooleanBufferBuilder, LargeBinaryArray};
use arrow::buffer::NullBuffer;

use super::super::batch::{HistogramColumn, View};
use super::compare::same;
use super::total::{Incompatible, Total};
use super::variance::variance;
use super::{Cell, compact, divided, scaled};
use crate::error::Result;
use crate::model::{Histogram, ResetHint};
use crate::query::plan::{
    HistogramNote, InstantFunction, Operation, SampleType, ScalarBinary, ScalarOp, StepScalar,
};

/// What a row's histograms become.
#[derive(Debug, Default)]
pub(crate) struct Mapped {
    pub(crate) cells: Vec<Cell>,
    /// Steps that get a float.
    pub(crate) floats: Vec<(usize, f64)>,
    pub(crate) note: Option<HistogramNote>,
}

/// Maps the histograms of all rows of a batch: the rows' histograms after that, if there are any. Those that become
/// floats go into the grid.
///
/// # Errors
/// `Internal` for bytes that are not ours.
pub(crate) fn map_rows(
    view: &View<'_>,
    (out, nulls): (&mut [f64], &mut Option<NullBuffer>),
    mut map: impl FnMut(usize, Vec<Cell>) -> Mapped,
) -> Result<Option<LargeBinaryArray>> {
    let steps = out.len() / view.len().max(1);
    let (mut column, mut set) = (HistogramColumn::default(), Vec::new());
    for row in 0..view.len() {
        let Mapped { cells, floats, .. } = map(row, view.histograms(row)?);
        column.push(row, &cells);
        set.extend(floats.into_iter().map(|(step, value)| (row * steps + step, value)));
    }
    if let Some(before) = nulls.take_if(|_| !set.is_empty()) {
        let mut valid = BooleanBufferBuilder::new(out.len());
        valid.append_buffer(before.inner());
        for (cell, value) in set {
            out[cell] = value;
            valid.set_bit(cell, true);
        }
        *nulls = Some(NullBuffer::new(valid.finish()));
    }
    Ok(column.into_some(view.len()))
}

/// A function of one value. `floats` are its results at all steps where it does not look at the value.
pub(crate) fn function_of(function: InstantFunction, cells: Vec<Cell>, floats: &[f64]) -> Mapped {
    match function {
        InstantFunction::Negate => {
            let negated =
                |(step, histogram): Cell| (step, Arc::new(scaled(Arc::unwrap_or_clone(histogram), -1.0)));
            Mapped { cells: cells.into_iter().map(negated).collect(), ..Mapped::default() }
        }
        InstantFunction::EvaluationTime => {
            let time = |(step, _): Cell| (step as usize, floats[step as usize]);
            Mapped { floats: cells.into_iter().map(time).collect(), ..Mapped::default() }
        }
        function => match statistic(function) {
            Some(statistic) => {
                let value = |(step, histogram): Cell| (step as usize, statistic(&histogram));
                Mapped { floats: cells.into_iter().map(value).collect(), ..Mapped::default() }
            }
            // The others are of floats.
            None => Mapped::default(),
        },
    }
}

/// The functions of histograms.
fn statistic(function: InstantFunction) -> Option<fn(&Histogram) -> f64> {
    Some(match function {
        InstantFunction::HistogramAvg => |histogram| histogram.sum / histogram.count,
        InstantFunction::HistogramCount => |histogram| histogram.count,
        InstantFunction::HistogramStddev => |histogram| variance(histogram).sqrt(),
        InstantFunction::HistogramStdvar => variance,
        InstantFunction::HistogramSum => |histogram| histogram.sum,
        _ => return None,
    })
}

/// An operator with a scalar. Only products and a histogram divided by a scalar are defined.
pub(crate) fn scalar_of(binary: &ScalarBinary, cells: Vec<Cell>, scalar: &StepScalar) -> Mapped {
    let mapped: Option<fn(Histogram, f64) -> Histogram> = match (binary.op, binary.scalar_left) {
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
    let one = |(step, histogram): Cell| {
        let histogram = Arc::unwrap_or_clone(histogram);
        (step, Arc::new(compact(mapped(histogram, scalar.at(step as usize)))))
    };
    Mapped { cells: cells.into_iter().map(one).collect(), ..Mapped::default() }
}
/// An operand of an operator between two vectors.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operand<'a> {
    /// A float.
    Float(f64),
    /// A histogram.
    Histogram(&'a Arc<Histogram>),
}

impl Operand<'_> {
    fn sample_type(self) -> SampleType {
        match self {
            Self::Float(_) => SampleType::Float,
            Self::Histogram(_) => SampleType::Histogram,
        }
    }
}

/// An operator between two samples of which at least one is a histogram.
pub(crate) fn between(op: ScalarOp, left: Operand<'_>, right: Operand<'_>) -> Between {
    match (op, left, right) {
        (ScalarOp::Mul, Operand::Histogram(histogram), Operand::Float(factor))
        | (ScalarOp::Mul, Operand::Float(factor), Operand::Histogram(histogram)) => {
            Between::value(compact(scaled(Histogram::clone(histogram), factor)))
        }
        (ScalarOp::Div, Operand::Histogram(histogram), Operand::Float(by)) => {
            Between::value(compact(divided(Histogram::clone(histogram), by)))
        }
        (ScalarOp::Add | ScalarOp::Sub, Operand::Histogram(left), Operand::Histogram(right)) => {
            added(op, left, right)
        }
        (ScalarOp::Equal, Operand::Histogram(left), Operand::Histogram(right)) => {
            Between::Holds(same(left, right))
        }
        (ScalarOp::NotEqual, Operand::Histogram(left), Operand::Histogram(right)) => {
            Between::Holds(!same(left, right))
        }
        _ => Between::Nothing(HistogramNote::Types(left.sample_type(), op.as_str(), right.sample_type())),
    }
}

/// What comes of an operator.
#[derive(Debug)]
pub(crate) enum Between {
    /// A histogram, and what is to be said about it.
    Value(Arc<Histogram>, Option<HistogramNote>),
    /// A comparison.
    Holds(bool),
    /// No sample.
    Nothing(HistogramNote),
}

impl Between {
    fn value(histogram: Histogram) -> Self {
        Self::Value(Arc::new(histogram), None)
    }
}

fn added(op: ScalarOp, left: &Histogram, right: &Histogram) -> Between {
    let mut total = Total::of(left);
    let is_sum = op == ScalarOp::Add;
    let how = if is_sum { Operation::Addition } else { Operation::Subtraction };
    match if is_sum { total.add(right) } else { total.subtract(right) } {
        Err(Incompatible) => Between::Nothing(HistogramNote::BucketLayouts(op.as_str())),
        // Prometheus takes this warning for a failure.
        Ok(notes) if notes.resets_collide => Between::Nothing(HistogramNote::ResetsCollide(how)),
        Ok(notes) => {
            if !is_sum {
                total.set_hint(ResetHint::Gauge);
            }
            let note = notes.bounds_reconciled.then_some(HistogramNote::BoundsReconciled(how));
            Between::Value(Arc::new(compact(total.finish())), note)
        }
    }
}
