//! Where a scan's series come from: a store's snapshot, or memory in tests.

#[cfg(test)]
mod memory;

use std::ops::Range;
use std::sync::Arc;

use super::labels::push_series;
use crate::error::Result;
use crate::model::SeriesKey;
use crate::query::plan::Selected;
use crate::store::{Selection, SeriesReader, SeriesRows, Snapshot};

#[cfg(test)]
pub(crate) use memory::MemorySeries;

/// What a question is asked of.
#[derive(Debug, Clone)]
pub struct Data(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Store(Snapshot),
    #[cfg(test)]
    Memory(memory::Memory),
}

impl From<Snapshot> for Data {
    fn from(snapshot: Snapshot) -> Self {
        Self(Kind::Store(snapshot))
    }
}

impl Data {
    /// Series in memory.
    #[cfg(test)]
    pub(crate) fn memory(series: Vec<MemorySeries>) -> Self {
        Self(Kind::Memory(memory::Memory::new(series)))
    }

    /// The series that match and may have samples in the span.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn select(&self, selected: &Selected) -> Result<Source> {
        let (from, to) = selected.span_ms;
        match &self.0 {
            Kind::Store(snapshot) => {
                Ok(Source::Store(snapshot.select(selected.matchers.clone(), from, to).await?))
            }
            #[cfg(test)]
            Kind::Memory(memory) => Ok(Source::Memory(memory.select(&selected.matchers))),
        }
    }
}

/// The series that a selector has selected, in key order.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Store(Arc<Selection>),
    #[cfg(test)]
    Memory(memory::Memory),
}

impl Source {
    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Store(selection) => selection.series().len(),
            #[cfg(test)]
            Self::Memory(memory) => memory.len(),
        }
    }

    /// The key of one series.
    pub(crate) fn key(&self, at: usize) -> &SeriesKey {
        match self {
            Self::Store(selection) => &selection.series()[at].key,
            #[cfg(test)]
            Self::Memory(memory) => memory.key(at),
        }
    }

    /// The labels of one series in PromQL's form.
    pub(crate) fn labels(&self, at: usize) -> Box<[u8]> {
        let mut bytes = Vec::new();
        push_series(&mut bytes, self.key(at));
        bytes.into()
    }

    /// How much there is to do: samples to read and values to compute.
    pub(crate) fn work(&self, steps: u64) -> u64 {
        let rows = match self {
            Self::Store(selection) => {
                selection.series().iter().map(|series| series.max_rows).fold(0, u64::saturating_add)
            }
            #[cfg(test)]
            Self::Memory(memory) => memory.rows(),
        };
        let series = u64::try_from(self.len()).unwrap_or(u64::MAX);
        rows.saturating_add(series.saturating_mul(steps))
    }

    /// At most `n` contiguous ranges of series of about the same work.
    pub(crate) fn partitions(&self, n: usize) -> Vec<Range<usize>> {
        match self {
            Self::Store(selection) => selection.partitions(n),
            #[cfg(test)]
            Self::Memory(memory) => memory.partitions(n),
        }
    }

    /// Reads a range of series in order.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) fn scan(&self, range: Range<usize>) -> Result<Reader> {
        match self {
            Self::Store(selection) => Ok(Reader::Store(Box::new(selection.scan(range)?))),
            #[cfg(test)]
            Self::Memory(memory) => Ok(Reader::Memory(memory.clone(), range)),
        }
    }
}

/// Reads series one after the other.
#[derive(Debug)]
pub(crate) enum Reader {
    Store(Box<SeriesReader>),
    #[cfg(test)]
    Memory(memory::Memory, Range<usize>),
}

impl Reader {
    /// The next series, or `None` after the last.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn next(&mut self) -> Result<Option<SeriesRows<'_>>> {
        match self {
            Self::Store(reader) => reader.next().await,
            #[cfg(test)]
            Self::Memory(memory, range) => Ok(range.next().map(|index| memory.rows_of(index))),
        }
    }
}
