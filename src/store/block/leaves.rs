//! Encodes the Parquet columns of one row group whose rows are in memory: flat ones, and those inside a required
//! list or map, whose levels are spelled out here. A required list has definition level 0 when empty and 1 per
//! entry; an entry that follows another one of its row has repetition level 1.

use std::sync::Arc;

use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, DataType};
use parquet::file::properties::WriterPropertiesPtr;
use parquet::schema::types::SchemaDescPtr;

use super::columns::ColumnEncoder;
use super::container::failed;
use super::page::ChunkBytes;
use crate::error::Result;

/// The columns of one row group, filled in schema order.
pub(super) struct Leaves {
    schema: SchemaDescPtr,
    /// How the next column is encoded.
    pub(super) properties: WriterPropertiesPtr,
    next: usize,
    pub(super) done: Vec<(ChunkBytes, ColumnCloseResult)>,
}

impl Leaves {
    /// Begins with the schema's column `first`.
    pub(super) fn new(schema: SchemaDescPtr, properties: WriterPropertiesPtr, first: usize) -> Self {
        Self { schema, properties, next: first, done: Vec::new() }
    }

    fn encoder<T: DataType>(&mut self) -> ColumnEncoder<T> {
        self.next += 1;
        ColumnEncoder::new(&self.schema.column(self.next - 1), Arc::clone(&self.properties))
    }

    /// A required column.
    pub(super) fn plain<T: DataType>(&mut self, values: impl Iterator<Item = T::T>) -> Result<()> {
        let mut encoder = self.encoder::<T>();
        let values: Vec<_> = values.collect();
        encoder.push(&values, None, None).map_err(failed)?;
        self.done.push(encoder.close().map_err(failed)?);
        Ok(())
    }

    /// A column inside a required list or map; `level` is the definition level of an entry.
    pub(super) fn nested<T: DataType, I: Iterator<Item = T::T>>(
        &mut self,
        rows: impl Iterator<Item = I>,
        level: i16,
    ) -> Result<()> {
        let mut encoder = self.encoder::<T>();
        let (mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let before = values.len();
            for value in row {
                repetition.push(i16::from(values.len() > before));
                definition.push(level);
                values.push(value);
            }
            if values.len() == before {
                repetition.push(0);
                definition.push(0);
            }
        }
        encoder.push(&values, Some(&definition), Some(&repetition)).map_err(failed)?;
        self.done.push(encoder.close().map_err(failed)?);
        Ok(())
    }
}

/// A text as the encoder takes it.
pub(super) fn text(value: &str) -> ByteArray {
    ByteArray::from(value.as_bytes().to_vec())
}
