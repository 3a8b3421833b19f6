//! The columns of one row group of log lines, encoded.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::SchemaDescPtr;

use super::index::Segment;
use super::line::{SPAN_ID, TRACE_ID, attributes, hex, severity};
use crate::error::Result;
use crate::model::{Labels, LabelsRef};
use crate::store::block::columns::ColumnEncoder;
use crate::store::block::container::failed;
use crate::store::block::page::ChunkBytes;

/// Rows of a page, at most.
const PAGE_ROWS: usize = 8_192;
/// Bytes of a page, about.
const PAGE_BYTES: usize = 1 << 20;
/// Lines between two looks at the size of a page: a line may have hundreds of kilobytes.
const LOOK_EVERY: usize = 64;
/// Lines of one row group in file order.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) segments: Vec<Segment>,
    /// ns.
    pub(super) timestamps: Vec<i64>,
    pub(super) bodies: Vec<u8>,
    pub(super) body_ends: Vec<usize>,
    pub(super) metadata: Vec<u8>,
    pub(super) metadata_ends: Vec<usize>,
}

impl Group {
    pub(super) fn rows(&self) -> usize {
        self.timestamps.len()
    }

    /// Bytes of the texts.
    pub(super) fn bytes(&self) -> usize {
        self.bodies.len() + self.metadata.len()
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        ranges(&self.body_ends).map(|range| &self.bodies[range])
    }

    fn metadata(&self) -> impl Iterator<Item = LabelsRef<'_>> {
        ranges(&self.metadata_ends).map(|range| LabelsRef::trusted(&self.metadata[range]))
    }

    /// One entry of `of_stream` for each row.
    fn per_row<'a, T: Clone + 'a>(
        &'a self,
        of_stream: impl Fn(u32) -> T + 'a,
    ) -> impl Iterator<Item = T> + 'a {
        self.segments
            .iter()
            .flat_map(move |segment| std::iter::repeat_n(of_stream(segment.stream), segment.rows as usize))
    }
}

fn ranges(ends: &[usize]) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    std::iter::once(0).chain(ends.iter().copied()).zip(ends.iter().copied()).map(|(start, end)| start..end)
}

/// Streams and columns of the file that a row group belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileColumns<'a> {
    pub(super) schema: &'a SchemaDescPtr,
    pub(super) streams: &'a [Labels],
    pub(super) ids: &'a [i64],
    /// The labels that are columns, in column order.
    pub(super) labels: &'a [Arc<str>],
}

/// Finished columns in file order.
type Closed = Vec<(ChunkBytes, ColumnCloseResult)>;

/// Encodes a row group.
pub(super) fn encode(group: &mut Group, file: FileColumns<'_>) -> Result<Closed> {
    let bodies = Bytes::from(std::mem::take(&mut group.bodies));
    let mut out = Encoder { file, done: Vec::new() };
    let encoded = out.all(group, &bodies);
    // The texts are still wanted for the tokens.
    group.bodies = bodies.try_into_mut().map_or_else(|shared| shared.to_vec(), Vec::from);
    encoded.map_err(failed)?;
    Ok(out.done)
}

struct Encoder<'a> {
    file: FileColumns<'a>,
    done: Closed,
}

impl Encoder<'_> {
    fn all(&mut self, group: &Group, bodies: &Bytes) -> Result<(), ParquetError> {
        let FileColumns { streams, ids, labels, .. } = self.file;
        let plain = |encoding| properties().map(|p| p.set_dictionary_enabled(false).set_encoding(encoding));
        let stream_ids: Vec<i64> = group.per_row(|stream| ids[stream as usize]).collect();
        self.required::<Int64Type>(&stream_ids, properties()?)?;
        let micros: Vec<i64> = group.timestamps.iter().map(|ns| ns.div_euclid(1_000)).collect();
        self.required::<Int64Type>(&micros, plain(Encoding::DELTA_BINARY_PACKED)?)?;
        let rest = |ns: &i64| i32::try_from(ns.rem_euclid(1_000)).expect("below 1,000");
        let rests: Vec<i32> = group.timestamps.iter().map(rest).collect();
        self.required::<Int32Type>(&rests, properties()?)?;
        self.severity(group)?;
        let lines: Vec<ByteArray> =
            ranges(&group.body_ends).map(|range| ByteArray::from(bodies.slice(range))).collect();
        let by_length = plain(Encoding::DELTA_LENGTH_BYTE_ARRAY)?;
        self.required::<ByteArrayType>(&lines, by_length.set_write_batch_size(LOOK_EVERY))?;
        self.identifier::<16>(group, TRACE_ID)?;
        self.identifier::<8>(group, SPAN_ID)?;
        let rest = |stream: &Labels| -> Vec<(String, String)> {
            let pairs = stream.iter().filter(|(name, _)| !labels.iter().any(|label| **label == **name));
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let rest: Vec<Vec<(String, String)>> = streams.iter().map(rest).collect();
        let rest_of = |stream: u32| rest[stream as usize].iter();
        self.nested(group.per_row(rest_of).map(|pairs| pairs.map(|(name, _)| name.as_str())), 1)?;
        self.nested(group.per_row(rest_of).map(|pairs| pairs.map(|(_, value)| value.as_str())), 2)?;
        self.nested(group.metadata().map(|all| attributes(all).map(|(name, _)| name)), 1)?;
        self.nested(group.metadata().map(|all| attributes(all).map(|(_, value)| value)), 2)?;
        for label in labels {
            let text = |stream: u32| streams[stream as usize].get(label).map(ByteArray::from);
            let per_segment =
                group.segments.iter().map(|segment| (text(segment.stream), segment.rows as usize));
            let rows = per_segment.flat_map(|(text, rows)| std::iter::repeat_n(text, rows));
            self.optional::<ByteArrayType>(rows, properties()?)?;
        }
        Ok(())
    }

    fn severity(&mut self, group: &Group) -> Result<(), ParquetError> {
        let find = |labels: LabelsRef<'_>| severity(labels).map(ByteArray::from);
        let streams = self.file.streams;
        let of_streams: Vec<Option<ByteArray>> = streams.iter().map(|labels| find(labels.as_ref())).collect();
        let of_row = group.per_row(|stream| &of_streams[stream as usize]);
        let rows =
            group.metadata().zip(of_row).map(|(own, of_stream)| find(own).or_else(|| of_stream.clone()));
        self.optional::<ByteArrayType>(rows, properties()?)
    }

    fn identifier<const N: usize>(&mut self, group: &Group, name: &str) -> Result<(), ParquetError> {
        let rows: Vec<Option<FixedLenByteArray>> = group
            .metadata()
            .map(|all| all.get(name).and_then(hex::<N>).map(|id| FixedLenByteArray::from(id.to_vec())))
            .collect();
        let mut properties = properties()?.set_dictionary_enabled(false).set_encoding(Encoding::PLAIN);
        let present = rows.iter().flatten().count();
        if present > 0 {
            properties = properties.set_bloom_filter_enabled(true).set_bloom_filter_max_ndv(present as u64);
        }
        self.optional::<FixedLenByteArrayType>(rows.into_iter(), properties)
    }

    fn encoder<T: DataType>(&self, properties: WriterPropertiesBuilder) -> ColumnEncoder<T> {
        ColumnEncoder::new(&self.file.schema.column(self.done.len()), Arc::new(properties.build()))
    }

    fn required<T: DataType>(
        &mut self,
        values: &[T::T],
        properties: WriterPropertiesBuilder,
    ) -> Result<(), ParquetError> {
        let mut encoder = self.encoder::<T>(properties);
        encoder.push(values, None, None)?;
        self.done.push(encoder.close()?);
        Ok(())
    }

    fn optional<T: DataType>(
        &mut self,
        rows: impl Iterator<Item = Option<T::T>>,
        properties: WriterPropertiesBuilder,
    ) -> Result<(), ParquetError> {
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        for row in rows {
            levels.push(i16::from(row.is_some()));
            values.extend(row);
        }
        let mut encoder = self.encoder::<T>(properties);
        encoder.push(&values, Some(&levels), None)?;
        self.done.push(encoder.close()?);
        Ok(())
    }

    /// The keys (`level` 1) or the values (2) of a required map.
    fn nested<'t, I: Iterator<Item = &'t str>>(
        &mut self,
        rows: impl Iterator<Item = I>,
        level: i16,
    ) -> Result<(), ParquetError> {
        let (mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let before = values.len();
            for value in row {
                repetition.push(i16::from(values.len() > before));
                definition.push(level);
                values.push(ByteArray::from(value));
            }
            if values.len() == before {
                repetition.push(0);
                definition.push(0);
            }
        }
        let mut encoder = self.encoder::<ByteArrayType>(properties()?);
        encoder.push(&values, Some(&definition), Some(&repetition))?;
        self.done.push(encoder.close()?);
        Ok(())
    }
}

fn properties() -> Result<WriterPropertiesBuilder, ParquetError> {
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_data_page_size_limit(PAGE_BYTES))
}
