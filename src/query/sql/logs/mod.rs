//! `public.logs`: the log lines of a snapshot, one row a line.

mod filters;
mod scan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;

use super::columns::Columns;
use super::errors::external;
use super::filters::Pushed;
use super::{jsonb, names};
use crate::store::{LogColumns, LogQuery, Snapshot};
use filters::narrow;
use scan::LogScan;

/// What a column shows of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    Timestamp,
    Severity,
    Body,
    TraceId,
    SpanId,
    Labels,
    Attributes,
    Label(Arc<str>),
}

impl Shown {
    /// What must be read for it.
    fn needs(&self) -> LogColumns {
        match self {
            Self::Timestamp => LogColumns::TIMESTAMP,
            Self::Severity => LogColumns::SEVERITY,
            Self::Body => LogColumns::BODY,
            Self::TraceId => LogColumns::TRACE_ID,
            Self::SpanId => LogColumns::SPAN_ID,
            Self::Attributes => LogColumns::ATTRIBUTES,
            Self::Labels | Self::Label(_) => LogColumns::NONE,
        }
    }

    fn field(&self) -> Field {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        match self {
            Self::Timestamp => {
                Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false)
            }
            Self::Severity => text("severity"),
            Self::Body => Field::new("body", DataType::Utf8, false),
            Self::TraceId => text("trace_id"),
            Self::SpanId => text("span_id"),
            Self::Labels => jsonb::field("labels", false),
            Self::Attributes => jsonb::field("attributes", false),
            Self::Label(name) => Field::new(names::log_column(name), DataType::Utf8View, true),
        }
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Logs {
    snapshot: Snapshot,
    shown: Vec<Shown>,
    schema: SchemaRef,
    labels: Columns,
}

impl Logs {
    /// The lines of a snapshot.
    pub(super) fn new(snapshot: Snapshot) -> Self {
        let labels: Vec<Arc<str>> = snapshot.log_labels().into_iter().map(Arc::from).collect();
        let mut shown = vec![
            Shown::Timestamp,
            Shown::Severity,
            Shown::Body,
            Shown::TraceId,
            Shown::SpanId,
            Shown::Labels,
            Shown::Attributes,
        ];
        debug_assert!(shown.iter().zip(names::LOG_COLUMNS).all(|(one, name)| one.field().name() == name));
        shown.extend(labels.iter().cloned().map(Shown::Label));
        let schema = schema_of(&shown);
        Self { snapshot, shown, schema, labels: Columns::of_log_labels(&labels) }
    }

    /// The columns.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// What all of some predicates ask of the store. Never less than they select.
    fn query(&self, filters: &[Expr]) -> LogQuery {
        let (mut query, mut pushed) = (LogQuery::default(), Pushed::all());
        for filter in filters {
            if !pushed.add(filter, &self.labels) {
                narrow(&mut query, filter);
            }
        }
        query.matchers = pushed.matchers;
        query
    }

    /// Whether the store answers a predicate.
    pub(super) fn support(&self, filter: &Expr) -> TableProviderFilterPushDown {
        if Pushed::all().add(filter, &self.labels) {
            TableProviderFilterPushDown::Exact
        } else {
            // What the store leaves out cannot match; what it gives is looked at again.
            TableProviderFilterPushDown::Inexact
        }
    }

    /// The plan that reads the lines of `filters`, in `partitions` streams.
    pub(super) fn scan(
        &self,
        partitions: usize,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> BoxFuture<'_, Result<Arc<dyn ExecutionPlan>>> {
        let shown: Vec<Shown> = match projection {
            Some(indices) => indices.iter().map(|index| self.shown[*index].clone()).collect(),
            None => self.shown.clone(),
        };
        let query = self.query(filters);
        Box::pin(async move {
            let selection = self.snapshot.logs(query).await.map_err(external)?;
            Ok(Arc::new(LogScan::new(shown, selection, partitions)) as _)
        })
    }
}

fn schema_of(shown: &[Shown]) -> SchemaRef {
    Arc::new(Schema::new(shown.iter().map(Shown::field).collect::<Vec<_>>()))
}
