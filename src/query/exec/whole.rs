//! Operators that need all rows of their input at once: `absent`, label functions, `count_values` and functions over
//! classic histograms. One partition each.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use super::batch::View;
use super::count_values::count_values;
use super::error::inward;
use super::grid_aggregate::Settings;
use super::groups::Output;
use super::histogram::Classic;
use super::kernel::bits;
use super::operator::{
    ScalarInput, Yielder, all_batches, gather, operator, properties, read_all, start_all, stream,
};
use super::relabel::relabel;
use crate::error::{Error, Result};
use crate::query::plan::{Absent, CountValues, GridSchema, Histogram, Relabel, StepScalar};

/// What the operator does with the rows of its input.
#[derive(Debug, Clone)]
pub(crate) enum Whole {
    Absent(Absent),
    CountValues(CountValues),
    Histogram(Histogram),
    Relabel(Relabel),
}

/// The operator.
#[derive(Debug)]
pub(crate) struct WholeExec {
    what: Whole,
    input: Arc<dyn ExecutionPlan>,
    scalars: Vec<ScalarInput>,
    schema: GridSchema,
    settings: Settings,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl WholeExec {
    pub(crate) fn new(
        what: Whole,
        input: &Arc<dyn ExecutionPlan>,
        scalars: Vec<ScalarInput>,
        schema: &GridSchema,
        settings: Settings,
    ) -> Self {
        Self {
            what,
            input: Arc::clone(input),
            scalars,
            schema: schema.clone(),
            settings,
            properties: properties(schema, 1),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for WholeExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Whole::Absent(absent) => write!(f, "AbsentExec: {absent}"),
            Whole::CountValues(count) => write!(f, "CountValuesExec: {count}"),
            Whole::Histogram(histogram) => write!(f, "HistogramExec: {histogram}"),
            Whole::Relabel(relabel) => write!(f, "RelabelExec: {relabel}"),
        }
    }
}

impl ExecutionPlan for WholeExec {
    operator!("WholeExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        std::iter::once(&self.input).chain(self.scalars.iter().filter_map(ScalarInput::plan)).collect()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let scalars = ScalarInput::replace_all(&self.scalars, &children[1..]);
        let (what, settings) = (self.what.clone(), self.settings.clone());
        Ok(Arc::new(Self::new(what, &children[0], scalars, &self.schema, settings)))
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let run = Run {
            what: self.what.clone(),
            input: Arc::clone(&self.input),
            scalars: self.scalars.clone(),
            schema: self.schema.clone(),
            settings: self.settings.clone(),
        };
        Ok(stream(&self.schema, all_batches(run.all(context))))
    }
}

/// One execution.
struct Run {
    what: Whole,
    input: Arc<dyn ExecutionPlan>,
    scalars: Vec<ScalarInput>,
    schema: GridSchema,
    settings: Settings,
}

impl Run {
    async fn all(self, context: Arc<TaskContext>) -> Result<Vec<RecordBatch>> {
        if let Whole::Absent(absent) = &self.what {
            return missing(&self.input, absent, &self.schema, &context).await;
        }
        let scalars = ScalarInput::get_all(&self.scalars, &context).await?;
        let memory = Arc::new(MemoryConsumer::new("WholeExec").register(context.memory_pool()));
        let batches = read_all(&self.input, &context, &memory).await?.into_iter().flatten().collect();
        self.rows(batches, &scalars, &memory).await
    }

    async fn rows(
        &self,
        batches: Vec<RecordBatch>,
        scalars: &[StepScalar],
        memory: &MemoryReservation,
    ) -> Result<Vec<RecordBatch>> {
        let (schema, immediate) = (&self.schema, self.settings.immediate_names);
        let mut yielder = Yielder::new(self.settings.clock);
        match &self.what {
            // It reads no rows into memory.
            Whole::Absent(_) => Err(Error::internal("absent was given all rows")),
            Whole::Relabel(change) => relabel(&batches, change, immediate, schema),
            Whole::CountValues(count) => {
                count_values(&batches, count, (immediate, schema), memory, &mut yielder).await
            }
            Whole::Histogram(histogram) => {
                let classic = Classic::new(histogram, scalars, &self.settings);
                classic.evaluate(&batches, schema, &mut yielder).await
            }
        }
    }
}

/// One series with 1 at the steps where no row has a value.
async fn missing(
    input: &Arc<dyn ExecutionPlan>,
    absent: &Absent,
    schema: &GridSchema,
    context: &Arc<TaskContext>,
) -> Result<Vec<RecordBatch>> {
    let steps = schema.grid().steps();
    let fold = |mut input: SendableRecordBatchStream| async move {
        let (mut empty, mut words) = (bits::all(steps), Vec::new());
        while let Some(batch) = input.next().await {
            let batch = batch.map_err(inward)?;
            let view = View::of(&batch);
            for row in 0..view.len() {
                for (step, _) in view.histograms(row)? {
                    bits::clear(&mut empty, step as usize);
                }
                match view.row(row, &mut words).valid {
                    None => empty.fill(0),
                    Some(valid) => empty.iter_mut().zip(valid).for_each(|(empty, valid)| *empty &= !valid),
                }
            }
        }
        Ok(empty)
    };
    let inputs = start_all(input, context).map_err(inward)?;
    let mut empty = bits::all(steps);
    for part in gather(inputs.into_iter().map(fold).collect()).await? {
        empty.iter_mut().zip(part).for_each(|(empty, part)| *empty &= part);
    }
    let values: Vec<f64> = (0..steps).map(|step| f64::from(u8::from(bits::get(&empty, step)))).collect();
    let mut out = Output::new(schema);
    out.push(&absent.labels, false, &values, &empty)?;
    out.finish()
}
