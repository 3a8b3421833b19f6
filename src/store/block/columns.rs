//! The columns `timestamp`, `value` and `start_timestamp` of one row group, encoded page by page.

use std::sync::Arc;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::writer::{
    ColumnCloseResult, ColumnWriterImpl, get_column_writer, get_typed_column_writer,
};
use parquet::data_type::{DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::schema::types::ColumnDescPtr;

use super::format::{PageCodec, PageEncoding};
use super::page::{ChunkBytes, PageSink};

/// In a slice of start timestamps: this row has none.
pub(crate) const NO_START: i64 = i64::MIN;

/// More values than any page has.
const ONE_PAGE: usize = 1 << 30;

/// Encoding and compression of one column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codec {
    pub(super) encoding: PageEncoding,
    pub(super) compression: PageCodec,
    /// zstd level; not used by other codecs.
    pub(super) level: i32,
}

impl Codec {
    /// Properties under which the encoder makes one page of each call, however many values it brings.
    pub(super) fn properties(self) -> Result<WriterPropertiesPtr, ParquetError> {
        let encoding = match self.encoding {
            PageEncoding::Plain => Encoding::PLAIN,
            PageEncoding::DeltaBinaryPacked => Encoding::DELTA_BINARY_PACKED,
            PageEncoding::ByteStreamSplit => Encoding::BYTE_STREAM_SPLIT,
        };
        let compression = match self.compression {
            PageCodec::None => Compression::UNCOMPRESSED,
            PageCodec::Zstd => Compression::ZSTD(ZstdLevel::try_new(self.level)?),
        };
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_encoding(encoding)
            .set_compression(compression)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_write_batch_size(ONE_PAGE)
            .set_data_page_row_count_limit(1)
            .set_data_page_size_limit(usize::MAX);
        Ok(Arc::new(properties.build()))
    }
}

/// A column encoder and the sink behind it.
pub(super) struct ColumnEncoder<T: DataType> {
    writer: ColumnWriterImpl<'static, T>,
    sink: PageSink,
}

impl<T: DataType> std::fmt::Debug for ColumnEncoder<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ColumnEncoder").finish_non_exhaustive()
    }
}

impl<T: DataType> ColumnEncoder<T> {
    pub(super) fn new(column: &ColumnDescPtr, properties: WriterPropertiesPtr) -> Self {
        let sink = PageSink::default();
        let writer = get_column_writer(Arc::clone(column), properties, Box::new(sink.clone()));
        Self { writer: get_typed_column_writer(writer), sink }
    }

    /// Appends one page (under [`Codec::properties`]), or rows of a page (under the crate's own properties).
    pub(super) fn push(
        &mut self,
        values: &[T::T],
        definition: Option<&[i16]>,
        repetition: Option<&[i16]>,
    ) -> Result<(), ParquetError> {
        self.writer.write_batch(values, definition, repetition).map(drop)
    }

    pub(super) fn close(self) -> Result<(ChunkBytes, ColumnCloseResult), ParquetError> {
        let close = self.writer.close()?;
        Ok((self.sink.take(), close))
    }
}

/// The encoders of one row group.
#[derive(Debug)]
pub(super) struct SampleColumns {
    pub(super) timestamp_encoding: PageEncoding,
    timestamps: ColumnEncoder<Int64Type>,
    values: ColumnEncoder<DoubleType>,
    starts: ColumnEncoder<Int64Type>,
    levels: Vec<i16>,
}

/// The closed columns in file order, and how the timestamps are encoded.
pub(super) struct ClosedColumns {
    pub(super) timestamp_encoding: PageEncoding,
    pub(super) columns: [(ChunkBytes, ColumnCloseResult); 3],
}

impl SampleColumns {
    /// Encoders for `columns` (timestamp, value, start); the encoding of the timestamps is tried on `first_page`.
    pub(super) fn new(
        columns: &[ColumnDescPtr; 3],
        codec: Codec,
        first_page: &[i64],
    ) -> Result<Self, ParquetError> {
        let timestamp_encoding = best_encoding(&columns[0], codec, first_page)?;
        let delta = Codec { encoding: PageEncoding::DeltaBinaryPacked, ..codec };
        let timestamps = Codec { encoding: timestamp_encoding, ..codec };
        Ok(Self {
            timestamp_encoding,
            timestamps: ColumnEncoder::new(&columns[0], timestamps.properties()?),
            values: ColumnEncoder::new(&columns[1], codec.properties()?),
            starts: ColumnEncoder::new(&columns[2], delta.properties()?),
            levels: Vec::new(),
        })
    }

    /// Appends one page to each column. `starts` holds [`NO_START`] where a row has none.
    pub(super) fn page(
        &mut self,
        timestamps: &[i64],
        values: &[f64],
        starts: &mut Vec<i64>,
    ) -> Result<(), ParquetError> {
        debug_assert!(
            timestamps.len() == values.len() && starts.len() == values.len(),
            "columns of one page"
        );
        self.timestamps.push(timestamps, None, None)?;
        self.values.push(values, None, None)?;
        self.levels.clear();
        self.levels.extend(starts.iter().map(|start| i16::from(*start != NO_START)));
        starts.retain(|start| *start != NO_START);
        self.starts.push(starts, Some(&self.levels), None)
    }

    pub(super) fn close(self) -> Result<ClosedColumns, ParquetError> {
        let columns = [self.timestamps.close()?, self.values.close()?, self.starts.close()?];
        Ok(ClosedColumns { timestamp_encoding: self.timestamp_encoding, columns })
    }
}

/// Scrapes that are aligned to the millisecond are all but free as deltas; jittered ones are smaller split into
/// bytes. Deltas also decode faster, so they win unless they cost a tenth more.
fn best_encoding(column: &ColumnDescPtr, codec: Codec, page: &[i64]) -> Result<PageEncoding, ParquetError> {
    let size = |encoding| {
        let mut encoder = ColumnEncoder::<Int64Type>::new(column, Codec { encoding, ..codec }.properties()?);
        encoder.push(page, None, None)?;
        encoder.close().map(|(chunk, _)| chunk.bytes.len())
    };
    let (delta, split) = (size(PageEncoding::DeltaBinaryPacked)?, size(PageEncoding::ByteStreamSplit)?);
    let delta_wins = delta * 10 <= split * 11;
    Ok(if delta_wins { PageEncoding::DeltaBinaryPacked } else { PageEncoding::ByteStreamSplit })
}
