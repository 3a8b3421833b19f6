//! The tables of our own as `DataFusion` sees them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;

use super::logs::Logs;
use super::samples::Samples;
use super::sheet::SheetTable;
use super::wide::Wide;

/// A table.
#[derive(Debug)]
pub(super) enum Table {
    /// Samples or series.
    Samples(Samples),
    /// Log lines.
    Logs(Logs),
    /// Native histograms or exemplars.
    Wide(Wide),
    /// Rows made when they are read.
    Sheet(SheetTable),
}

impl Table {
    /// As the catalogs hand it out.
    pub(super) fn provider(self) -> Arc<dyn TableProvider> {
        Arc::new(self)
    }

    fn support(&self, filter: &Expr) -> TableProviderFilterPushDown {
        match self {
            Self::Samples(samples) => samples.support(filter),
            Self::Logs(logs) => logs.support(filter),
            Self::Wide(wide) => wide.support(filter),
            Self::Sheet(_) => TableProviderFilterPushDown::Inexact,
        }
    }
}

impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        match self {
            Self::Samples(samples) => samples.schema(),
            Self::Logs(logs) => logs.schema(),
            Self::Wide(wide) => wide.schema(),
            Self::Sheet(sheet) => sheet.schema(),
        }
    }

    fn table_type(&self) -> TableType {
        if let Self::Sheet(_) = self { TableType::View } else { TableType::Base }
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters.iter().map(|filter| self.support(filter)).collect())
    }

    /// What `async_trait` would write, except that the future does not hold the predicates: to prove that it is
    /// `Send` with them costs the compiler seconds for each table.
    fn scan<'table, 'session, 'projection, 'filters, 'scan>(
        &'table self,
        session: &'session dyn Session,
        projection: Option<&'projection Vec<usize>>,
        filters: &'filters [Expr],
        _limit: Option<usize>,
    ) -> BoxFuture<'scan, Result<Arc<dyn ExecutionPlan>>>
    where
        'table: 'scan,
        'session: 'scan,
        'projection: 'scan,
        'filters: 'scan,
        Self: 'scan,
    {
        let partitions = session.config().target_partitions();
        match self {
            Self::Samples(samples) => samples.scan(partitions, projection, filters),
            Self::Logs(logs) => logs.scan(partitions, projection, filters),
            Self::Wide(wide) => wide.scan(projection, filters),
            Self::Sheet(sheet) => Box::pin(std::future::ready(sheet.scan(projection, filters))),
        }
    }
}
