//! Small tables that are made row by row when they are read: the catalogs of `PostgreSQL`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float32Builder, Int16Builder, Int32Builder, Int64Builder, ListBuilder,
    RecordBatch, RecordBatchOptions, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::common::{Column, Result, ScalarValue, internal_err};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_pg_catalog::pg_catalog::oid_field;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Oid,
    Text,
    Texts,
}

/// One value.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Text(Arc<str>),
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Cell {
    fn from(value: i32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<&Arc<str>> for Cell {
    fn from(value: &Arc<str>) -> Self {
        Self::Text(Arc::clone(value))
    }
}

/// The columns of a sheet, in order.
pub(super) type Header = &'static [(&'static str, Kind)];

/// Gives the rows. It may leave out rows in which the first column of the filter differs from its number.
pub(super) type Fill = Arc<dyn Fn(&mut Sheet, Option<i64>) + Send + Sync>;

/// Rows in the making.
#[derive(Debug)]
pub(super) struct Sheet {
    columns: Vec<Builder>,
    rows: usize,
}

#[derive(Debug)]
enum Builder {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Text(StringBuilder),
    Texts(ListBuilder<StringBuilder>),
}

impl Sheet {
    fn new(header: Header) -> Self {
        let builder = |(_, kind): &(&str, Kind)| match kind {
            Kind::Bool => Builder::Bool(BooleanBuilder::new()),
            Kind::Int2 => Builder::Int2(Int16Builder::new()),
            Kind::Int4 | Kind::Oid => Builder::Int4(Int32Builder::new()),
            Kind::Int8 => Builder::Int8(Int64Builder::new()),
            Kind::Float4 => Builder::Float4(Float32Builder::new()),
            Kind::Text => Builder::Text(StringBuilder::new()),
            Kind::Texts => Builder::Texts(ListBuilder::new(StringBuilder::new())),
        };
        Self { columns: header.iter().map(builder).collect(), rows: 0 }
    }

    /// Adds a row. Columns that are not given are NULL.
    ///
    /// # Panics
    /// When a value is not of its column's type: a defect of the table's maker.
    pub(super) fn row(&mut self, cells: &[Cell]) {
        assert!(cells.len() <= self.columns.len(), "a row has at most the sheet's columns");
        for (i, column) in self.columns.iter_mut().enumerate() {
            column.push(cells.get(i).unwrap_or(&Cell::Null));
        }
        self.rows += 1;
    }
}

impl Builder {
    fn push(&mut self, cell: &Cell) {
        match (self, cell) {
            (Self::Bool(b), Cell::Bool(v)) => b.append_value(*v),
            (Self::Int2(b), Cell::Int(v)) => b.append_option(i16::try_from(*v).ok()),
            (Self::Int4(b), Cell::Int(v)) => b.append_option(i32::try_from(*v).ok()),
            (Self::Int8(b), Cell::Int(v)) => b.append_value(*v),
            (Self::Text(b), Cell::Text(v)) => b.append_value(v),
            (Self::Bool(b), Cell::Null) => b.append_null(),
            (Self::Int2(b), Cell::Null) => b.append_null(),
            (Self::Int4(b), Cell::Null) => b.append_null(),
            (Self::Int8(b), Cell::Null) => b.append_null(),
            (Self::Text(b), Cell::Null) => b.append_null(),
            (Self::Texts(b), Cell::Null) => b.append_null(),
            (Self::Float4(b), Cell::Null) => b.append_null(),
            (Self::Float4(b), Cell::Int(v)) => b.append_value(if *v < 0 { -1.0 } else { 0.0 }),
            (column, cell) => unreachable!("a column {column:?} cannot hold {cell:?}"),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Bool(mut b) => Arc::new(b.finish()),
            Self::Int2(mut b) => Arc::new(b.finish()),
            Self::Int4(mut b) => Arc::new(b.finish()),
            Self::Int8(mut b) => Arc::new(b.finish()),
            Self::Float4(mut b) => Arc::new(b.finish()),
            Self::Text(mut b) => Arc::new(b.finish()),
            Self::Texts(mut b) => Arc::new(b.finish()),
        }
    }
}

/// The Arrow schema of a header.
pub(super) fn schema(header: Header) -> SchemaRef {
    let field = |(name, kind): &(&str, Kind)| match kind {
        Kind::Bool => Field::new(*name, DataType::Boolean, true),
        Kind::Int2 => Field::new(*name, DataType::Int16, true),
        Kind::Int4 => Field::new(*name, DataType::Int32, true),
        Kind::Int8 => Field::new(*name, DataType::Int64, true),
        Kind::Float4 => Field::new(*name, DataType::Float32, true),
        Kind::Oid => oid_field::oid_field(*name, oid_field::kind::OID, true),
        Kind::Text => Field::new(*name, DataType::Utf8, true),
        Kind::Texts => Field::new_list(*name, Field::new_list_field(DataType::Utf8, true), true),
    };
    Arc::new(Schema::new(header.iter().map(field).collect::<Vec<_>>()))
}

/// A table whose rows are made by a closure.
pub(super) struct SheetTable {
    header: Header,
    schema: SchemaRef,
    /// The column by which the closure can leave out rows.
    key: Option<&'static str>,
    fill: Fill,
}

impl std::fmt::Debug for SheetTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SheetTable").field("header", &self.header).finish_non_exhaustive()
    }
}

impl SheetTable {
    /// A table of `header`, with rows from `fill`; `key` names the column whose wanted value it is told.
    pub(super) fn new(header: Header, key: Option<&'static str>, fill: Fill) -> Self {
        Self { header, schema: schema(header), key, fill }
    }

    fn wanted(&self, filters: &[Expr]) -> Option<i64> {
        let key = self.key?;
        filters.iter().find_map(|filter| {
            let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
            match (left.as_ref(), right.as_ref()) {
                (Expr::Column(Column { name, .. }), Expr::Literal(ScalarValue::Int32(Some(value)), _))
                    if name == key =>
                {
                    Some(i64::from(*value))
                }
                _ => None,
            }
        })
    }

    /// The columns.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The plan over its rows, made now.
    pub(super) fn scan(
        &self,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut sheet = Sheet::new(self.header);
        (self.fill)(&mut sheet, self.wanted(filters));
        let options = RecordBatchOptions::new().with_row_count(Some(sheet.rows));
        let arrays = sheet.columns.into_iter().map(Builder::finish).collect();
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        if batch.num_columns() != self.header.len() {
            return internal_err!("a sheet lost a column");
        }
        let schema = Arc::clone(&self.schema);
        Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], schema, projection.cloned())?)
    }
}
