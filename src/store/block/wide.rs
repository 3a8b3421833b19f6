//! Rows of more than one number: native histograms and exemplars. A row group of such a block is one page in every
//! column, so that what a page's rows need lies together in the file and is read with one range.
//!
//! ```text
//!   histograms: timestamp count sum zero_count zero_threshold schema reset_hint is_float
//!               positive_spans.{offset,length} positive_counts negative_spans.{…} negative_counts custom_bounds
//!   exemplars:  timestamp value labels.{key,value}
//! ```
//! This is the order of the page section too. Writing is here, reading in `wide_decode`.

use std::sync::Arc;

use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{BoolType, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::schema::types::SchemaDescPtr;

use super::columns::Codec;
use super::container::failed;
use super::format::PageEncoding;
use super::leaves::{Leaves, text};
use super::page::ChunkBytes;
use super::sort::RowSort;
use crate::error::Result;
use crate::model::{Exemplar, Histogram, Span};

/// Rows of a row group at most.
pub(super) const WIDE_ROWS: u32 = 2_048;
/// A row group ends before its rows pass about so many bytes in memory.
const WIDE_BYTES: usize = 1 << 20;

/// The rows of a row group in the making.
#[derive(Debug, Default)]
pub(super) struct WidePage {
    pub(super) timestamps: Vec<i64>,
    histograms: Vec<Arc<Histogram>>,
    exemplars: Vec<Exemplar>,
    bytes: usize,
}

/// A closed column with its encoding.
pub(super) type ClosedColumn = (ChunkBytes, ColumnCloseResult, PageEncoding);

impl WidePage {
    pub(super) fn is_full(&self) -> bool {
        self.timestamps.len() >= WIDE_ROWS as usize || self.bytes >= WIDE_BYTES
    }

    pub(super) fn push_histogram(&mut self, timestamp: i64, histogram: &Arc<Histogram>) {
        self.bytes += histogram.weight();
        self.timestamps.push(timestamp);
        self.histograms.push(Arc::clone(histogram));
    }

    pub(super) fn push_exemplar(&mut self, exemplar: &Exemplar) {
        self.bytes += size_of::<Exemplar>() + exemplar.labels.as_bytes().len();
        self.timestamps.push(exemplar.timestamp);
        self.exemplars.push(exemplar.clone());
    }

    /// The encoded columns behind `series_id`; the page is empty afterwards.
    pub(super) fn close(
        &mut self,
        sort: RowSort,
        schema: &SchemaDescPtr,
        codec: Codec,
    ) -> Result<Vec<ClosedColumn>> {
        let mut columns = Columns::new(schema, codec)?;
        columns.encoding(PageEncoding::DeltaBinaryPacked)?;
        columns.leaves.plain::<Int64Type>(self.timestamps.iter().copied())?;
        match sort {
            RowSort::Exemplars => columns.exemplars(&self.exemplars)?,
            RowSort::Histograms | RowSort::Samples => columns.histograms(&self.histograms)?,
        }
        *self = Self::default();
        Ok(columns.finish())
    }
}

struct Columns {
    leaves: Leaves,
    codec: Codec,
    /// One per column done, and that of the next.
    encodings: Vec<PageEncoding>,
}

impl Columns {
    fn new(schema: &SchemaDescPtr, codec: Codec) -> Result<Self> {
        let properties = codec.properties().map_err(failed)?;
        let leaves = Leaves::new(Arc::clone(schema), properties, 2);
        Ok(Self { leaves, codec, encodings: Vec::new() })
    }

    /// The encoding of the columns from here on.
    fn encoding(&mut self, encoding: PageEncoding) -> Result<()> {
        self.catch_up();
        self.codec.encoding = encoding;
        self.leaves.properties = self.codec.properties().map_err(failed)?;
        Ok(())
    }

    fn catch_up(&mut self) {
        self.encodings.resize(self.leaves.done.len(), self.codec.encoding);
    }

    fn histograms(&mut self, rows: &[Arc<Histogram>]) -> Result<()> {
        self.encoding(PageEncoding::ByteStreamSplit)?;
        let numbers: [fn(&Histogram) -> f64; 4] =
            [|row| row.count, |row| row.sum, |row| row.zero_count, |row| row.zero_threshold];
        for number in numbers {
            self.leaves.plain::<DoubleType>(rows.iter().map(|row| number(row)))?;
        }
        self.encoding(PageEncoding::Plain)?;
        self.leaves.plain::<Int32Type>(rows.iter().map(|row| i32::from(row.schema)))?;
        self.leaves.plain::<Int32Type>(rows.iter().map(|row| i32::from(row.reset_hint as u8)))?;
        self.leaves.plain::<BoolType>(rows.iter().map(|row| row.is_float))?;
        self.side(rows, |row| (&row.positive_spans, &row.positive))?;
        self.side(rows, |row| (&row.negative_spans, &row.negative))?;
        self.leaves.nested::<DoubleType, _>(rows.iter().map(|row| row.custom_bounds.iter().copied()), 1)
    }

    /// Spans and counts of one side; leaves the encoding of floats behind.
    fn side(
        &mut self,
        rows: &[Arc<Histogram>],
        side: impl Fn(&Histogram) -> (&[Span], &[f64]),
    ) -> Result<()> {
        self.encoding(PageEncoding::Plain)?;
        let spans =
            |part: fn(&Span) -> i32| rows.iter().map(|row| side(row).0.iter().map(part)).collect::<Vec<_>>();
        self.leaves.nested::<Int32Type, _>(spans(|span| span.offset).into_iter(), 1)?;
        self.leaves.nested::<Int32Type, _>(spans(|span| span.length.cast_signed()).into_iter(), 1)?;
        self.encoding(PageEncoding::ByteStreamSplit)?;
        self.leaves.nested::<DoubleType, _>(rows.iter().map(|row| side(row).1.iter().copied()), 1)
    }

    fn exemplars(&mut self, rows: &[Exemplar]) -> Result<()> {
        self.encoding(PageEncoding::ByteStreamSplit)?;
        self.leaves.plain::<DoubleType>(rows.iter().map(|row| row.value))?;
        self.encoding(PageEncoding::Plain)?;
        self.leaves.nested::<ByteArrayType, _>(
            rows.iter().map(|row| row.labels.iter().map(|pair| text(pair.0))),
            1,
        )?;
        self.leaves
            .nested::<ByteArrayType, _>(rows.iter().map(|row| row.labels.iter().map(|pair| text(pair.1))), 1)
    }

    fn finish(mut self) -> Vec<ClosedColumn> {
        self.catch_up();
        let columns = self.leaves.done.into_iter().zip(self.encodings);
        columns.map(|((chunk, close), encoding)| (chunk, close, encoding)).collect()
    }
}
