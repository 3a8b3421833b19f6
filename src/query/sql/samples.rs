//! `public.samples`, `public.series` and one table per metric, over the store's scan.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::columns::Columns;
use super::errors::external;
use super::filters::Pushed;
use super::scan::{RowIs, SampleScan};
use crate::model::{METRIC_NAME, Matcher};
use crate::store::Snapshot;

/// A table of merged samples of one snapshot.
#[derive(Debug)]
pub(super) struct Samples {
    snapshot: Snapshot,
    metric: Option<Arc<str>>,
    columns: Columns,
    rows: RowIs,
}

impl Samples {
    /// `public.samples`: every metric.
    pub(super) fn all(snapshot: Snapshot) -> Self {
        Self { snapshot, metric: None, columns: Columns::samples(), rows: RowIs::Sample }
    }

    /// `metrics.<metric>`.
    pub(super) fn of_metric(snapshot: Snapshot, metric: &Arc<str>, label_names: &[Arc<str>]) -> Self {
        let columns = Columns::of_metric(label_names);
        Self { snapshot, metric: Some(Arc::clone(metric)), columns, rows: RowIs::Sample }
    }

    /// `public.series`.
    pub(super) fn series(snapshot: Snapshot) -> Self {
        Self { snapshot, metric: None, columns: Columns::series(), rows: RowIs::Series }
    }

    fn pushed(&self) -> Pushed {
        let mut pushed = Pushed::all();
        if let Some(metric) = &self.metric {
            pushed.matchers.push(Matcher::equal(METRIC_NAME, &**metric));
        }
        pushed
    }
}

#[async_trait]
impl TableProvider for Samples {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.columns.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| {
            if Pushed::all().add(filter, &self.columns) {
                TableProviderFilterPushDown::Exact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut pushed = self.pushed();
        for filter in filters {
            let done = pushed.add(filter, &self.columns);
            debug_assert!(done, "only what was accepted as exact arrives: {filter}");
        }
        let columns = match projection {
            Some(indices) => self.columns.project(indices),
            None => self.columns.clone(),
        };
        let select = self.snapshot.select(pushed.matchers.clone(), pushed.from, pushed.to);
        let selection = select.await.map_err(external)?;
        let partitions = session.config().target_partitions();
        Ok(Arc::new(SampleScan::new(
            columns,
            self.rows,
            &pushed,
            (selection, self.snapshot.files(), partitions),
        )))
    }
}
