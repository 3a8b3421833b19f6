//! Groups of label sets as dense integers, found once per dictionary entry, and the rows that come out of them.

use arrow::array::{Array, BinaryArray, RecordBatch};
use hashbrown::HashMap;

use super::batch::{Rows, View, batch_rows};
use super::kernel::bits;
use super::labels::push_group;
use super::native::Cell;
use crate::error::Result;
use crate::query::plan::{GridSchema, Grouping};

/// Group keys (labels) with their ids, and whether a group's name goes at the end.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    ids: HashMap<Box<[u8]>, usize>,
    keys: Vec<Box<[u8]>>,
    drop_name: Vec<bool>,
    bytes: usize,
}

impl Groups {
    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The id of a key, a new one if it is new: ids are dense.
    pub(crate) fn id(&mut self, key: &[u8], drop_name: bool) -> usize {
        if let Some(id) = self.ids.get(key) {
            self.drop_name[*id] |= drop_name;
            return *id;
        }
        let id = self.keys.len();
        self.ids.insert(key.into(), id);
        self.keys.push(key.into());
        self.drop_name.push(drop_name);
        self.bytes += 2 * key.len() + 64;
        id
    }
    /// The key of a group, and whether its name goes at the end.
    pub(crate) fn get(&self, id: usize) -> (&[u8], bool) {
        (&self.keys[id], self.drop_name[id])
    }

    /// All groups in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], bool)> {
        (0..self.len()).map(|id| self.get(id))
    }

    /// Bytes held, for the memory pool.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Dictionary key (and whether the name goes) → group, for as long as batches share their dictionary.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    groups: Vec<usize>,
    /// Kept, so that no other dictionary can come to lie at its address.
    dictionary: Option<BinaryArray>,
    key: Vec<u8>,
}

impl Cache {
    /// Must be called with every batch before its rows are asked for.
    pub(crate) fn follow(&mut self, view: &View<'_>) {
        let dictionary = view.dictionary();
        let place = |of: &BinaryArray| (of.value_data().as_ptr(), of.value_offsets().as_ptr(), of.len());
        if self.dictionary.as_ref().map(place) != Some(place(dictionary)) {
            self.dictionary = Some(dictionary.clone());
            self.groups.clear();
            self.groups.resize(dictionary.len() * 2, usize::MAX);
        }
    }
    /// The group of a row. `nameless`: the series' name is already gone.
    pub(crate) fn group(
        &mut self,
        view: &View<'_>,
        row: usize,
        (grouping, nameless): (&Grouping, bool),
        groups: &mut Groups,
    ) -> usize {
        let drop_name = view.drop_name(row);
        let slot = &mut self.groups[view.key(row) * 2 + usize::from(drop_name)];
        if *slot == usize::MAX {
            self.key.clear();
            push_group(&mut self.key, view.labels(row), grouping, nameless);
            *slot = groups.id(&self.key, drop_name);
        }
        *slot
    }
}

/// Output rows in batches of the usual size.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    batches: Vec<RecordBatch>,
    rows: Option<Rows>,
    schema: &'a GridSchema,
}

impl<'a> Output<'a> {
    pub(crate) fn new(schema: &'a GridSchema) -> Self {
        Self { batches: Vec::new(), rows: None, schema }
    }

    /// Adds a row, unless it has no value at all.
    pub(crate) fn push(
        &mut self,
        labels: &[u8],
        drop_name: bool,
        values: &[f64],
        valid: &[u64],
    ) -> Result<()> {
        self.push_mixed((labels, drop_name), (values, valid), &[])
    }

    /// Adds a row with floats and histograms, unless it has neither.
    pub(crate) fn push_mixed(
        &mut self,
        (labels, drop_name): (&[u8], bool),
        (values, valid): (&[f64], &[u64]),
        cells: &[Cell],
    ) -> Result<()> {
        let set = bits::count(valid);
        if set == 0 && cells.is_empty() {
            return Ok(());
        }
        let rows = self.rows.get_or_insert_with(|| Rows::new(self.schema, 1));
        rows.push(labels, drop_name, values, (set < values.len()).then_some(valid));
        rows.attach(cells);
        if rows.len() >= batch_rows(values.len()) || rows.is_heavy() {
            self.batches.extend(self.rows.take().map(Rows::finish).transpose()?);
        }
        Ok(())
    }

    /// The batches.
    pub(crate) fn finish(mut self) -> Result<Vec<RecordBatch>> {
        self.batches.extend(self.rows.take().map(Rows::finish).transpose()?);
        Ok(self.batches)
    }
}
