//! What a question means: evaluation times, functions and the logical nodes. No text, no data.

mod function;
mod grid;
mod scalar;

pub(crate) use function::{AggregateOp, InstantFunction, ScalarOp, WindowFunction};
pub(crate) use grid::{Grid, Windows};
pub(crate) use scalar::StepScalar;
