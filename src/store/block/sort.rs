//! The three sorts of rows that a block can hold. They share runs, chunks, postings and page sections; they differ
//! in the columns behind `timestamp`.

use arrow::datatypes::SchemaRef;

use crate::model::{exemplars_schema, histograms_schema, samples_schema};

/// Flag of a directory: the rows are native histograms.
const FLAG_HISTOGRAMS: u16 = 4;
/// Flag of a directory: the rows are exemplars.
const FLAG_EXEMPLARS: u16 = 8;

/// What the rows of a block are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RowSort {
    /// Float samples.
    Samples,
    /// Native histograms.
    Histograms,
    /// Exemplars.
    Exemplars,
}

impl RowSort {
    /// The flag in the directory.
    pub(super) fn flag(self) -> u16 {
        match self {
            Self::Samples => 0,
            Self::Histograms => FLAG_HISTOGRAMS,
            Self::Exemplars => FLAG_EXEMPLARS,
        }
    }

    /// The sort that a directory's flags name.
    pub(super) fn of_flags(flags: u16) -> Self {
        if flags & FLAG_HISTOGRAMS != 0 {
            Self::Histograms
        } else if flags & FLAG_EXEMPLARS != 0 {
            Self::Exemplars
        } else {
            Self::Samples
        }
    }

    /// The columns of the table.
    pub(super) fn schema(self) -> SchemaRef {
        match self {
            Self::Samples => samples_schema(),
            Self::Histograms => histograms_schema(),
            Self::Exemplars => exemplars_schema(),
        }
    }

    /// Columns of a page section: all Parquet columns behind `series_id`.
    pub(super) fn section_columns(self) -> usize {
        match self {
            Self::Samples => 3,
            Self::Histograms => 15,
            Self::Exemplars => 4,
        }
    }
}
