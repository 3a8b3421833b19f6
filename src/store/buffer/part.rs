//! Rows of a batch on their way to the WAL and into a buffer: one sort of rows, of one class.

use super::Rows;
use crate::model::{ExemplarRow, HistogramRow};

/// Some rows of one sort: all of them, or those of one class.
#[derive(Debug)]
pub(in crate::store) struct Picked<'a, T> {
    /// The batch's.
    pub(in crate::store) all: &'a [T],
    /// The rows' indices; `None` for all.
    pub(in crate::store) only: Option<&'a [u32]>,
}

impl<T> Clone for Picked<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Picked<'_, T> {}

impl<'a, T> Picked<'a, T> {
    /// Number of rows.
    pub(in crate::store) fn len(&self) -> usize {
        self.only.map_or(self.all.len(), <[u32]>::len)
    }

    /// The rows in batch order.
    pub(in crate::store) fn iter(&self) -> impl Iterator<Item = &'a T> + use<'a, T> {
        let Self { all, only } = *self;
        (0..self.len()).map(move |i| &all[only.map_or(i, |only| only[i] as usize)])
    }
}

/// What one WAL record holds.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum Part<'a> {
    /// Float rows and stale markers.
    Samples(Rows<'a>),
    /// Native histograms.
    Histograms(Picked<'a, HistogramRow>),
    /// Exemplars.
    Exemplars(Picked<'a, ExemplarRow>),
}

impl Part<'_> {
    /// Number of rows.
    pub(in crate::store) fn len(&self) -> usize {
        match self {
            Self::Samples(rows) => rows.len(),
            Self::Histograms(rows) => rows.len(),
            Self::Exemplars(rows) => rows.len(),
        }
    }
}

/// Indices of the backfill rows and of the others, of one sort; `None` when all rows are live.
pub(in crate::store) type Classes = Option<(Vec<u32>, Vec<u32>)>;

/// Which rows of a batch belong to which class.
#[derive(Debug, Default)]
pub(in crate::store) struct Split {
    /// Float rows.
    pub(in crate::store) samples: Classes,
    /// Native histograms.
    pub(in crate::store) histograms: Classes,
    /// Exemplars.
    pub(in crate::store) exemplars: Classes,
}
