//! Rows of series in record batches: writing them one series after the other, and reading them back as slices.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, BooleanBufferBuilder,
    DictionaryArray, FixedSizeListArray, Float64Array, Int32Array, LargeBinaryArray, LargeBinaryBuilder,
    RecordBatch,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{Float64Type, Int32Type};

use super::aggregate::Row;
use super::kernel::bits;
use super::native::{Cell, push_cells, read_cells};
use crate::error::{Error, Kind, Result};
use crate::model::LabelsRef;
use crate::query::plan::{DROP_NAME, GRID, GridSchema, HISTOGRAMS, LABELS};

/// About how many bytes of values a batch holds.
const BATCH_BYTES: usize = 1 << 20;
/// How many bytes of histograms end a batch.
const HISTOGRAM_BYTES: usize = 8 << 20;

/// How many rows a batch of this many steps should have.
pub(crate) fn batch_rows(steps: usize) -> usize {
    (BATCH_BYTES / (8 * steps)).clamp(16, 8192)
}

/// Collects rows with their labels into one batch.
#[derive(Debug)]
pub(crate) struct Rows {
    schema: GridSchema,
    labels: Labels,
    drop_name: BooleanBufferBuilder,
    values: Vec<f64>,
    valid: BooleanBufferBuilder,
    nulls: usize,
    len: usize,
    histograms: Option<HistogramColumn>,
}

/// Where a batch's label sets come from.
#[derive(Debug)]
enum Labels {
    /// Each row brings its own.
    Own(BinaryBuilder),
    /// Keys into a dictionary that many batches share.
    Shared(Arc<BinaryArray>, Vec<i32>),
}

impl Rows {
    /// Rows that bring their labels.
    pub(crate) fn new(schema: &GridSchema, capacity: usize) -> Self {
        Self::with(schema, capacity, Labels::Own(BinaryBuilder::new()))
    }

    /// Rows whose labels are keys into a dictionary.
    pub(crate) fn shared(schema: &GridSchema, capacity: usize, dictionary: &Arc<BinaryArray>) -> Self {
        Self::with(schema, capacity, Labels::Shared(Arc::clone(dictionary), Vec::with_capacity(capacity)))
    }

    fn with(schema: &GridSchema, capacity: usize, labels: Labels) -> Self {
        let cells = capacity * schema.grid().steps();
        Self {
            schema: schema.clone(),
            labels,
            drop_name: BooleanBufferBuilder::new(capacity),
            values: Vec::with_capacity(cells),
            valid: BooleanBufferBuilder::new(cells),
            nulls: 0,
            len: 0,
            histograms: None,
        }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a row with its own labels.
    pub(crate) fn push(&mut self, labels: &[u8], drop_name: bool, values: &[f64], valid: Option<&[u64]>) {
        self.values.extend_from_slice(values);
        self.finish_row(drop_name, valid);
        match &mut self.labels {
            Labels::Own(builder) => builder.append_value(labels),
            Labels::Shared(..) => unreachable!("these rows have a dictionary"),
        }
    }

    /// Lets `fill` write a row in place; it returns how many values it set, and a row without any is left out.
    ///
    /// # Errors
    /// What `fill` says.
    pub(crate) fn push_with(
        &mut self,
        key: i32,
        drop_name: bool,
        words: &mut [u64],
        fill: impl FnOnce(&mut [f64], &mut [u64]) -> Result<usize>,
    ) -> Result<bool> {
        let steps = self.schema.grid().steps();
        let from = self.values.len();
        self.values.resize(from + steps, 0.0);
        let set = fill(&mut self.values[from..], words)?;
        if set == 0 {
            self.values.truncate(from);
            return Ok(false);
        }
        self.finish_row(drop_name, (set < steps).then_some(&*words));
        match &mut self.labels {
            Labels::Shared(_, keys) => keys.push(key),
            Labels::Own(_) => unreachable!("these rows bring their labels"),
        }
        Ok(true)
    }

    /// Adds a row whose labels are a key, with floats and histograms.
    pub(crate) fn push_mixed(
        &mut self,
        key: i32,
        drop_name: bool,
        (values, valid): (&[f64], &[u64]),
        cells: &[Cell],
    ) {
        self.values.extend_from_slice(values);
        self.finish_row(drop_name, (bits::count(valid) < values.len()).then_some(valid));
        self.attach(cells);
        match &mut self.labels {
            Labels::Shared(_, keys) => keys.push(key),
            Labels::Own(_) => unreachable!("these rows bring their labels"),
        }
    }

    /// Gives the newest row its histograms.
    pub(crate) fn attach(&mut self, cells: &[Cell]) {
        if !cells.is_empty() {
            self.histograms.get_or_insert_default().push(self.len - 1, cells);
        }
    }

    /// Whether the histograms are so many that the batch should end.
    pub(crate) fn is_heavy(&self) -> bool {
        self.histograms.as_ref().is_some_and(|column| column.bytes > HISTOGRAM_BYTES)
    }

    fn finish_row(&mut self, drop_name: bool, valid: Option<&[u64]>) {
        let steps = self.schema.grid().steps();
        self.len += 1;
        self.drop_name.append(drop_name);
        match valid {
            None => self.valid.append_n(steps, true),
            Some(words) => {
                self.nulls += steps - bits::count(words);
                let mut left = steps;
                for word in words {
                    let width = left.min(64);
                    self.valid.append_packed_range(0..width, &word.to_le_bytes());
                    left -= width;
                }
            }
        }
    }

    /// The batch.
    ///
    /// # Errors
    /// `Limit` when the labels pass 2 GiB; `Internal` when Arrow refuses the columns.
    pub(crate) fn finish(mut self) -> Result<RecordBatch> {
        let labels: ArrayRef = match self.labels {
            Labels::Own(mut builder) => {
                let values = builder.finish();
                let keys = i32::try_from(values.len()).map_err(|_| too_many_labels())?;
                dictionary(Int32Array::from_iter_values(0..keys), Arc::new(values))?
            }
            Labels::Shared(dictionary_values, keys) => dictionary(Int32Array::from(keys), dictionary_values)?,
        };
        let valid = self.valid.finish();
        let nulls = (self.nulls > 0).then(|| NullBuffer::new(valid));
        let drop_name = BooleanArray::new(self.drop_name.finish(), None);
        let values = ScalarBuffer::from(self.values);
        let histograms = self.histograms.map(|column| column.finish(self.len));
        assemble(&self.schema, labels, drop_name, (values, nulls), histograms)
    }
}

/// Histograms of rows, in row order; rows without any are nulls.
#[derive(Debug, Default)]
pub(crate) struct HistogramColumn {
    rows: LargeBinaryBuilder,
    bytes: usize,
    buffer: Vec<u8>,
}

impl HistogramColumn {
    /// The histograms of a row; those of the rows before are known.
    pub(crate) fn push(&mut self, row: usize, cells: &[Cell]) {
        if cells.is_empty() {
            return;
        }
        self.pad(row);
        self.buffer.clear();
        push_cells(&mut self.buffer, cells);
        self.bytes += self.buffer.len();
        self.rows.append_value(&self.buffer);
    }

    fn pad(&mut self, rows: usize) {
        self.rows.append_nulls(rows - self.rows.len());
    }

    /// The column of so many rows, if any has histograms.
    pub(crate) fn into_some(self, rows: usize) -> Option<LargeBinaryArray> {
        (self.bytes > 0).then(|| self.finish(rows))
    }

    /// The column of so many rows.
    fn finish(mut self, rows: usize) -> LargeBinaryArray {
        self.pad(rows);
        self.rows.finish()
    }
}

fn dictionary(keys: Int32Array, values: Arc<BinaryArray>) -> Result<ArrayRef> {
    let array = DictionaryArray::<Int32Type>::try_new(keys, values);
    Ok(Arc::new(array.map_err(|e| Error::internal("labels").caused_by(e))?))
}

/// Label sets beyond what one dictionary can hold.
pub(crate) fn too_many_labels() -> Error {
    Error::new(Kind::Limit, "the label sets of one part of a query pass 2 GiB")
}

/// A batch of columns that are ready.
///
/// # Errors
/// `Internal` when Arrow refuses them.
pub(crate) fn assemble(
    schema: &GridSchema,
    labels: ArrayRef,
    drop_name: BooleanArray,
    (values, nulls): (ScalarBuffer<f64>, Option<NullBuffer>),
    histograms: Option<LargeBinaryArray>,
) -> Result<RecordBatch> {
    let steps = i32::try_from(schema.grid().steps()).expect("a grid's steps fit 31 bits");
    let build = || {
        let values = Arc::new(Float64Array::try_new(values, nulls)?);
        // The item must be the schema's own: Arrow compares its name and nullability.
        let grid = FixedSizeListArray::try_new(Arc::clone(schema.item()), steps, values, None)?;
        let mut columns: Vec<ArrayRef> = vec![labels, Arc::new(drop_name), Arc::new(grid)];
        let Some(histograms) = histograms else {
            return RecordBatch::try_new(Arc::clone(schema.arrow()), columns);
        };
        columns.push(Arc::new(histograms));
        RecordBatch::try_new(Arc::clone(schema.with_histograms()), columns)
    };
    build().map_err(|e| Error::internal("a batch of series").caused_by(e))
}

/// A batch read as rows.
#[derive(Debug)]
pub(crate) struct View<'a> {
    dictionary: &'a BinaryArray,
    keys: &'a [i32],
    drop_name: &'a BooleanArray,
    values: &'a [f64],
    valid: Option<BooleanBuffer>,
    steps: usize,
    histograms: Option<&'a LargeBinaryArray>,
}

impl<'a> View<'a> {
    /// The rows of a batch of ours.
    pub(crate) fn of(batch: &'a RecordBatch) -> Self {
        let labels = batch.column(LABELS).as_dictionary::<Int32Type>();
        let grid = batch.column(GRID).as_fixed_size_list();
        let floats = grid.values().as_primitive::<Float64Type>();
        let steps = usize::try_from(grid.value_length()).expect("a list length is not negative");
        // A sliced list keeps its parent's values.
        let from = usize::try_from(grid.value_offset(0)).expect("an offset is not negative");
        let cells = grid.len() * steps;
        let valid = floats.nulls().map(|nulls| nulls.inner().slice(from, cells));
        Self {
            dictionary: labels.values().as_binary(),
            keys: labels.keys().values(),
            drop_name: batch.column(DROP_NAME).as_boolean(),
            values: &floats.values()[from..from + cells],
            valid,
            steps,
            histograms: batch.columns().get(HISTOGRAMS).map(AsArray::as_binary),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether any row may have histograms.
    pub(crate) fn has_histograms(&self) -> bool {
        self.histograms.is_some()
    }

    /// The row's histograms.
    ///
    /// # Errors
    /// `Internal` for bytes that are not ours.
    pub(crate) fn histograms(&self, row: usize) -> Result<Vec<Cell>> {
        match self.histograms.filter(|column| column.is_valid(row)) {
            Some(column) => read_cells(column.value(row)),
            None => Ok(Vec::new()),
        }
    }

    /// The label sets that the keys point into: the same array for all batches of a scan.
    pub(crate) fn dictionary(&self) -> &'a BinaryArray {
        self.dictionary
    }

    /// The row's key.
    pub(crate) fn key(&self, row: usize) -> usize {
        usize::try_from(self.keys[row]).expect("a dictionary key is not negative")
    }

    /// The row's labels in PromQL's form.
    pub(crate) fn labels(&self, row: usize) -> LabelsRef<'a> {
        LabelsRef::trusted(self.dictionary.value(self.key(row)))
    }

    /// Whether the name goes at the end.
    pub(crate) fn drop_name(&self, row: usize) -> bool {
        self.drop_name.value(row)
    }

    /// The row's values; `words` holds its validity where not all steps have a value.
    pub(crate) fn row<'b>(&'b self, row: usize, words: &'b mut Vec<u64>) -> Row<'b> {
        let from = row * self.steps;
        let values = &self.values[from..from + self.steps];
        let valid = self.valid.as_ref().and_then(|valid| {
            let slice = valid.slice(from, self.steps);
            words.clear();
            words.extend(slice.bit_chunks().iter_padded().take(bits::word_count(self.steps)));
            (bits::count(words) < self.steps).then_some(&**words)
        });
        Row { values, valid }
    }
}
