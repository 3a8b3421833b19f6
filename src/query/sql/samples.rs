//! `public.samples`, `public.series` and one table per metric, over the store's scan.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;

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

    /// The columns.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(self.columns.schema())
    }

    /// Whether the store answers a predicate.
    pub(super) fn support(&self, filter: &Expr) -> TableProviderFilterPushDown {
        if Pushed::all().add(filter, &self.columns) {
            TableProviderFilterPushDown::Exact
        } else {
            TableProviderFilterPushDown::Unsupported
        }
    }

    /// The plan that reads the rows of `filters`, in `partitions` streams.
    pub(super) fn scan(
        &self,
        partitions: usize,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> BoxFuture<'_, Result<Arc<dyn ExecutionPlan>>> {
        let mut pushed = self.pushed();
        for filter in filters {
            let done = pushed.add(filter, &self.columns);
            debug_assert!(done, "only what was accepted as exact arrives: {filter}");
        }
        let columns = match projection {
            Some(indices) => self.columns.project(indices),
            None => self.columns.clone(),
        };
        Box::pin(async move {
            let select = self.snapshot.select(pushed.matchers.clone(), pushed.from, pushed.to);
            let source = (select.await.map_err(external)?, self.snapshot.files(), partitions);
            Ok(Arc::new(SampleScan::new(columns, self.rows, &pushed, source)) as _)
        })
    }
}
