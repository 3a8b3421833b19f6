//! `public.metadata`: what is known about each metric.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::Result;

use crate::store::{CatalogueEntry, Snapshot};

/// `metric, type, help, unit`.
pub(super) fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8View, false);
    Arc::new(Schema::new(vec![text("metric"), text("type"), text("help"), text("unit")]))
}

/// The table of a snapshot: one row per metric.
pub(super) fn table(snapshot: &Snapshot) -> Result<Arc<dyn TableProvider>> {
    let entries = || snapshot.catalogue().metrics();
    let column = |get: fn(&CatalogueEntry) -> &str| -> ArrayRef {
        Arc::new(entries().map(|(_, entry)| Some(get(entry))).collect::<StringViewArray>())
    };
    let metrics: ArrayRef =
        Arc::new(entries().map(|(metric, _)| Some(&**metric)).collect::<StringViewArray>());
    let arrays = vec![metrics, column(|e| e.kind.as_str()), column(|e| &e.help), column(|e| &e.unit)];
    let batch = RecordBatch::try_new(schema(), arrays)?;
    Ok(Arc::new(MemTable::try_new(schema(), vec![vec![batch]])?))
}
