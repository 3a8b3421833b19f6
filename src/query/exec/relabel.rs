//! `label_replace` and `label_join`: every row has its label set changed once, and the values stay where they are. Only
//! where equal label sets come about rows are copied.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder, BooleanArray, DictionaryArray, Int32Array, RecordBatch};
use arrow::datatypes::Int32Type;
use hashbrown::HashSet;

use super::batch::{View, too_many_labels};
use super::groups::Output;
use super::labels::{push_visible, push_with};
use super::small::Merged;
use crate::error::{Error, Result};
use crate::model::{LabelsRef, METRIC_NAME, Regex};
use crate::query::plan::{GRID, GridSchema, HISTOGRAMS, Relabel};

/// Changes label sets.
struct Change<'a> {
    relabel: &'a Relabel,
    /// The pattern of `label_replace`.
    pattern: Option<Regex>,
    immediate_names: bool,
    before: Vec<u8>,
}

impl Change<'_> {
    /// Appends the labels of a row after the change; whether its name still goes at the end.
    fn push(&mut self, out: &mut Vec<u8>, labels: LabelsRef<'_>, drop_name: bool) -> bool {
        self.before.clear();
        push_visible(&mut self.before, (labels, drop_name), self.immediate_names);
        let drop_name = drop_name && !self.immediate_names;
        let labels = LabelsRef::trusted(&self.before);
        let value = match self.relabel {
            Relabel::Replace { template, source, .. } => {
                let pattern = self.pattern.as_ref().expect("label_replace has its pattern");
                match pattern.expand(labels.get(source).unwrap_or_default(), template) {
                    Some(value) => value,
                    None => {
                        out.extend_from_slice(labels.as_bytes());
                        return drop_name;
                    }
                }
            }
            Relabel::Join { separator, sources, .. } => {
                let values: Vec<&str> =
                    sources.iter().map(|source| labels.get(source).unwrap_or_default()).collect();
                values.join(separator)
            }
        };
        push_with(out, labels, self.relabel.target(), &value);
        // A name that was set stays.
        drop_name && self.relabel.target() != METRIC_NAME
    }
}

/// The rows with their labels changed; equal label sets become one row.
///
/// # Errors
/// `Execution` in Prometheus' words when two equal ones have a value at one step.
pub(crate) fn relabel(
    batches: &[RecordBatch],
    relabel: &Relabel,
    immediate_names: bool,
    schema: &GridSchema,
) -> Result<Vec<RecordBatch>> {
    let pattern = match relabel {
        Relabel::Replace { pattern, .. } => Some(Regex::new(pattern)?),
        Relabel::Join { .. } => None,
    };
    let mut change = Change { relabel, pattern, immediate_names, before: Vec::new() };
    let mut seen: HashSet<Box<[u8]>> = HashSet::new();
    let (mut changed, mut are_unique, mut bytes) = (Vec::with_capacity(batches.len()), true, Vec::new());
    for batch in batches {
        let view = View::of(batch);
        let mut labels = BinaryBuilder::new();
        let mut total = 0;
        let mut drop_name = Vec::with_capacity(view.len());
        for row in 0..view.len() {
            bytes.clear();
            drop_name.push(change.push(&mut bytes, view.labels(row), view.drop_name(row)));
            total += bytes.len();
            i32::try_from(total).map_err(|_| too_many_labels())?;
            are_unique &= seen.insert(bytes.as_slice().into());
            labels.append_value(&bytes);
        }
        changed.push(replaced(batch, labels, drop_name, schema)?);
    }
    if are_unique { Ok(changed) } else { merge(&changed, schema) }
}

/// A batch with other labels over the same values.
fn replaced(
    batch: &RecordBatch,
    mut labels: BinaryBuilder,
    drop_name: Vec<bool>,
    schema: &GridSchema,
) -> Result<RecordBatch> {
    let values = Arc::new(labels.finish());
    let build = || {
        let keys = Int32Array::from_iter_values((0..).take(values.len()));
        let labels: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?);
        let drop_name = Arc::new(BooleanArray::from(drop_name));
        let mut columns = vec![labels, drop_name, Arc::clone(batch.column(GRID))];
        let histograms = batch.columns().get(HISTOGRAMS).map(Arc::clone);
        let schema = if histograms.is_some() { schema.with_histograms() } else { schema.arrow() };
        columns.extend(histograms);
        RecordBatch::try_new(Arc::clone(schema), columns)
    };
    build().map_err(|e| Error::internal("a batch with other labels").caused_by(e))
}

fn merge(batches: &[RecordBatch], schema: &GridSchema) -> Result<Vec<RecordBatch>> {
    let mut merged = Merged::new(schema.grid().steps());
    let mut words = Vec::new();
    // Of equal rows the first decides whether the name goes.
    let mut drops = Vec::new();
    let mut seen: HashSet<&[u8]> = HashSet::new();
    let views: Vec<View<'_>> = batches.iter().map(View::of).collect();
    for view in &views {
        for row in 0..view.len() {
            let (labels, cells) = (view.labels(row), view.row(row, &mut words));
            merged.add((labels, false), (&cells, view.histograms(row)?), false)?;
            if seen.insert(labels.as_bytes()) {
                drops.push(view.drop_name(row));
            }
        }
    }
    let mut out = Output::new(schema);
    for (row, drop_name) in merged.into_rows().iter().zip(drops) {
        out.push_mixed((&row.labels, drop_name), (&row.values, &row.valid), &row.histograms)?;
    }
    out.finish()
}
