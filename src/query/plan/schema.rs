//! The one schema of every PromQL relation: a row is a series.
//!
//! ```text
//!   labels     Dictionary<Int32, Binary>        PromQL's form: `__name__` first, then the canonical labels
//!   drop_name  Boolean                          the name is removed at the end (delayed name removal)
//!   grid       FixedSizeList<Float64, steps>    null: no float at this step (never NaN); a null holds 0.0
//!   hist       LargeBinary                      the row's native histograms, each with its step; null: none
//!
//! A batch has the last column only when one of its rows has a histogram, which is not known while planning:
//! plans and streams declare the first three, and whoever reads batches looks. Where a histogram stands there is
//! no float.
//! ```

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef};

use super::grid::Grid;
use crate::error::{Error, Result};

/// Column of the label sets.
pub(crate) const LABELS: usize = 0;
/// Column that says whether the name goes.
pub(crate) const DROP_NAME: usize = 1;
/// Column of the values.
pub(crate) const GRID: usize = 2;
/// Column of the native histograms, in batches that have any.
pub(crate) const HISTOGRAMS: usize = 3;

/// The schema in both of `DataFusion`'s forms, made once a query.
#[derive(Debug, Clone)]
pub(crate) struct GridSchema {
    grid: Grid,
    arrow: SchemaRef,
    with_histograms: SchemaRef,
    datafusion: DFSchemaRef,
    item: FieldRef,
}

impl GridSchema {
    /// The schema for a grid of evaluation times.
    ///
    /// # Errors
    /// `Internal` when `DataFusion` refuses the three column names.
    pub(crate) fn new(grid: Grid) -> Result<Self> {
        let item = Arc::new(Field::new("item", DataType::Float64, true));
        let steps = i32::try_from(grid.steps()).expect("a grid's steps fit 31 bits");
        let labels = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Binary));
        let mut fields = vec![
            Field::new("labels", labels, false),
            Field::new("drop_name", DataType::Boolean, false),
            Field::new("grid", DataType::FixedSizeList(Arc::clone(&item), steps), false),
        ];
        let arrow = Arc::new(Schema::new(fields.clone()));
        fields.push(Field::new("hist", DataType::LargeBinary, true));
        let datafusion = DFSchema::try_from(Arc::clone(&arrow))
            .map_err(|e| Error::internal("the grid schema was refused").caused_by(e))?;
        let with_histograms = Arc::new(Schema::new(fields));
        Ok(Self { grid, arrow, with_histograms, datafusion: Arc::new(datafusion), item })
    }

    /// The evaluation times of the `grid` column.
    pub(crate) fn grid(&self) -> &Grid {
        &self.grid
    }

    /// For record batches and operators.
    pub(crate) fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// For record batches with native histograms.
    pub(crate) fn with_histograms(&self) -> &SchemaRef {
        &self.with_histograms
    }

    /// For logical nodes.
    pub(crate) fn datafusion(&self) -> &DFSchemaRef {
        &self.datafusion
    }

    /// The list's item, which a list array must carry exactly.
    pub(crate) fn item(&self) -> &FieldRef {
        &self.item
    }
}
