//! Running a plan of operators to its end, and reading samples without one.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_plan::ExecutionPlan;
use tokio::task::JoinHandle;

use super::answer::AnswerSeries;
use super::exec::{Merged, Source, View, Yielder, hinted};
use super::plan::{GridSchema, too_many_samples};
use crate::error::{Error, Result};
use crate::runtime::Clock;

/// The rows of a plan as series: names removed where they go, equal label sets merged or refused.
pub(super) async fn collect(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    schema: GridSchema,
    clock: Clock,
) -> Result<Vec<AnswerSeries>> {
    let grid = *schema.grid();
    let memory = Arc::new(MemoryConsumer::new("answer").register(context.memory_pool()));
    let mut yielder = Yielder::new(clock);
    let mut merged = Merged::new(grid.steps());
    let mut words = Vec::new();
    for batches in super::exec::read_all(&plan, &context, &memory).await? {
        for batch in batches {
            let view = View::of(&batch);
            for row in 0..view.len() {
                let cells = view.row(row, &mut words);
                merged.add(
                    (view.labels(row), view.drop_name(row)),
                    (&cells, view.histograms(row)?),
                    false,
                )?;
            }
            yielder.check().await;
        }
    }
    Ok(merged.into_rows().into_iter().map(|row| AnswerSeries::steps(grid, row)).collect())
}

/// Waits for a task and ends it when the caller goes away.
pub(super) async fn to_the_end<T>(task: JoinHandle<Result<T>>) -> Result<T> {
    struct AbortOnDrop<T>(JoinHandle<T>);
    impl<T> Drop for AbortOnDrop<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let mut task = AbortOnDrop(task);
    let joined = (&mut task.0).await;
    joined.unwrap_or_else(|e| Err(Error::internal("a query did not end").caused_by(e)))
}

/// The samples of a selection inside a span, as stored; series without any are left out.
pub(super) async fn samples(
    source: &Source,
    (from, to): (i64, i64),
    max_samples: u64,
) -> Result<Vec<AnswerSeries>> {
    let mut series = Vec::new();
    let mut total = 0_u64;
    let mut reader = source.scan(0..source.len())?;
    while let Some(rows) = reader.next().await? {
        let first = rows.timestamps.partition_point(|t| *t < from);
        let end = rows.timestamps.partition_point(|t| *t <= to);
        let first_histogram = rows.histogram_times.partition_point(|t| *t < from);
        let end_histogram = rows.histogram_times.partition_point(|t| *t <= to);
        let count = end.saturating_sub(first) + end_histogram.saturating_sub(first_histogram);
        if count == 0 {
            continue;
        }
        total = total.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if total > max_samples {
            return Err(too_many_samples().with("limit", max_samples));
        }
        let floats = (rows.timestamps[first..end].to_vec(), rows.values[first..end].to_vec());
        let range = first_histogram..end_histogram;
        let histograms = (rows.histogram_times[range.clone()].to_vec(), hinted(&rows)[range].to_vec());
        series.push(AnswerSeries::samples(source.labels(rows.index), floats, histograms));
    }
    Ok(series)
}
