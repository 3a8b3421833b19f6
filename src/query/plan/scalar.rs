//! A scalar that is known when the query is planned: a number, or one number a step (`time()`).

use std::sync::Arc;

use super::grid::Grid;
use crate::model::time::ms_to_seconds;

/// One number, or one a step.
#[derive(Debug, Clone)]
pub(crate) enum StepScalar {
    /// The same at every step.
    Constant(f64),
    /// One value for every step of the query's grid.
    PerStep(Arc<[f64]>),
}

impl StepScalar {
    /// `time()`: the evaluation time in seconds.
    pub(crate) fn time(grid: &Grid) -> Self {
        if grid.steps() == 1 {
            return Self::Constant(ms_to_seconds(grid.start_ms()));
        }
        Self::PerStep(grid.times().map(ms_to_seconds).collect())
    }

    /// The value at one step.
    #[inline]
    pub(crate) fn at(&self, step: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::PerStep(values) => values[step],
        }
    }

    /// The value at the first step, at every step.
    #[must_use]
    pub(crate) fn at_start(&self) -> Self {
        Self::Constant(self.at(0))
    }

    /// Two scalars combined step by step.
    #[must_use]
    pub(crate) fn zip(&self, other: &Self, apply: impl Fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Self::Constant(left), Self::Constant(right)) => Self::Constant(apply(*left, *right)),
            (Self::PerStep(left), right) => {
                Self::PerStep(left.iter().enumerate().map(|(k, left)| apply(*left, right.at(k))).collect())
            }
            (Self::Constant(left), Self::PerStep(right)) => {
                Self::PerStep(right.iter().map(|right| apply(*left, *right)).collect())
            }
        }
    }

    /// One value for each of `steps` steps.
    pub(crate) fn values(&self, steps: usize) -> Vec<f64> {
        match self {
            Self::Constant(value) => vec![*value; steps],
            Self::PerStep(values) => values.to_vec(),
        }
    }

    /// The distinct values in use.
    pub(crate) fn distinct(&self) -> &[f64] {
        match self {
            Self::Constant(value) => std::slice::from_ref(value),
            Self::PerStep(values) => values,
        }
    }

    fn bits(&self) -> impl Iterator<Item = u64> + '_ {
        self.distinct().iter().map(|value| value.to_bits())
    }
}

/// Bit for bit, as plan nodes need it.
impl PartialEq for StepScalar {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.bits().eq(other.bits())
    }
}

impl Eq for StepScalar {}

impl std::hash::Hash for StepScalar {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bits().for_each(|bits| bits.hash(state));
    }
}

impl std::fmt::Display for StepScalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Constant(value) => {
                let mut text = Vec::new();
                crate::model::push_go_float(&mut text, *value);
                f.write_str(&String::from_utf8_lossy(&text))
            }
            Self::PerStep(values) => match (values.first(), values.last()) {
                (Some(first), Some(last)) => write!(f, "{first}..{last}"),
                _ => f.write_str("(none)"),
            },
        }
    }
}

/// A scalar argument of a node: none, known, or an input of the node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ScalarArgument {
    /// The construct has none.
    None,
    /// Known while planning.
    Known(StepScalar),
    /// One row of an input.
    Input,
    /// The first value of that row at every step: an argument of what is evaluated once for all steps.
    InputAtStart,
}

impl std::fmt::Display for ScalarArgument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Known(value) => write!(f, " {value}"),
            Self::Input => f.write_str(" scalar"),
            Self::InputAtStart => f.write_str(" scalar at the first step"),
        }
    }
}
