//! `GridMap`: functions of one value, and operators between a vector and a scalar.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, LargeBinaryArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::Float64Type;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::BaselineMetrics;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use super::batch::{View, assemble};
use super::error::inward;
use super::native;
use super::operator::{ScalarInput, operator, partition_count, properties, stream};
use crate::error::Result;
use crate::model::time::ms_to_seconds;
use crate::query::plan::{
    Annotation, Annotations, DROP_NAME, GRID, GridSchema, InstantFunction, LABELS, ScalarBinary, ScalarOp,
    StepScalar,
};

/// What is computed.
#[derive(Debug, Clone)]
pub(crate) enum Map {
    /// A function of the value.
    Function(InstantFunction),
    /// An operator with a scalar.
    Binary(ScalarBinary, ScalarInput),
}

/// The operator; as many partitions as its input.
#[derive(Debug)]
pub(crate) struct GridMapExec {
    map: Map,
    input: Arc<dyn ExecutionPlan>,
    schema: GridSchema,
    annotations: Annotations,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl GridMapExec {
    pub(crate) fn new(
        map: Map,
        input: &Arc<dyn ExecutionPlan>,
        schema: &GridSchema,
        annotations: &Annotations,
    ) -> Self {
        Self {
            map,
            input: Arc::clone(input),
            schema: schema.clone(),
            annotations: annotations.clone(),
            properties: properties(schema, partition_count(input)),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for GridMapExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.map {
            Map::Function(function) => write!(f, "GridMapExec: {}", function.name()),
            Map::Binary(binary, _) => write!(f, "GridMapExec: {binary}"),
        }
    }
}

impl ExecutionPlan for GridMapExec {
    operator!("GridMapExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        let scalar = match &self.map {
            Map::Function(_) => None,
            Map::Binary(_, scalar) => scalar.plan(),
        };
        std::iter::once(&self.input).chain(scalar).collect()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let map = match &self.map {
            Map::Function(function) => Map::Function(*function),
            Map::Binary(binary, scalar) => {
                Map::Binary(binary.clone(), scalar.replace(children.get(1).cloned()))
            }
        };
        Ok(Arc::new(Self::new(map, &children[0], &self.schema, &self.annotations)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let base = BaselineMetrics::new(&self.metrics, partition);
        let (map, schema) = (self.map.clone(), (self.schema.clone(), self.annotations.clone()));
        let state = (input, map, schema, context, base);
        let batches = futures::stream::try_unfold(state, async |(mut input, map, schema, context, base)| {
            let scalar = match &map {
                Map::Function(_) => None,
                Map::Binary(_, scalar) => scalar.get(&context).await?,
            };
            // A batch may lose all its rows to a comparison.
            while let Some(batch) = input.next().await {
                let batch = batch.map_err(inward)?;
                let timer = base.elapsed_compute().timer();
                let batch = apply(&map, scalar.as_ref(), &batch, &schema)?;
                drop(timer);
                if batch.num_rows() > 0 {
                    base.record_output(batch.num_rows());
                    return Ok(Some((batch, (input, map, schema, context, base))));
                }
            }
            base.done();
            Ok(None)
        });
        Ok(stream(&self.schema, batches))
    }
}

fn apply(
    map: &Map,
    scalar: Option<&StepScalar>,
    batch: &RecordBatch,
    (schema, annotations): &(GridSchema, Annotations),
) -> Result<RecordBatch> {
    let grid = batch.column(GRID).as_fixed_size_list();
    let floats = grid.values().as_primitive::<Float64Type>();
    let steps = schema.grid().steps();
    let from = usize::try_from(grid.value_offset(0)).expect("an offset is not negative");
    let cells = grid.len() * steps;
    let values = &floats.values()[from..from + cells];
    let nulls = floats.nulls().map(|nulls| nulls.slice(from, cells));
    let (mut out, mut nulls, drops_name) = match map {
        Map::Function(InstantFunction::Statistic(_)) => {
            (vec![0.0; cells], Some(NullBuffer::new_null(cells)), true)
        }
        Map::Function(function) => (function_of(*function, values, schema), nulls, true),
        Map::Binary(binary, _) => {
            let scalar = scalar.cloned().unwrap_or(StepScalar::Constant(f64::NAN));
            let (out, nulls) = binary_of(binary, values, nulls, &scalar, steps);
            (out, nulls, binary.drops_name())
        }
    };
    let histograms = histograms_of(map, scalar, &View::of(batch), (&mut out, &mut nulls), annotations)?;
    if let Some(nulls) = &nulls {
        // A step without a value holds 0.0: sums count on it.
        for (value, valid) in out.iter_mut().zip(nulls.iter()) {
            *value = if valid { *value } else { 0.0 };
        }
    }
    let drop_name = if drops_name {
        BooleanArray::new(BooleanBuffer::new_set(batch.num_rows()), None)
    } else {
        batch.column(DROP_NAME).as_boolean().clone()
    };
    let labels = Arc::clone(batch.column(LABELS));
    assemble(schema, labels, drop_name, (ScalarBuffer::from(out), nulls), histograms)
}

/// The rows' native histograms, if they stay some; those that become floats go into the grid.
fn histograms_of(
    map: &Map,
    scalar: Option<&StepScalar>,
    view: &View<'_>,
    (out, nulls): (&mut [f64], &mut Option<NullBuffer>),
    annotations: &Annotations,
) -> Result<Option<LargeBinaryArray>> {
    if !view.has_histograms() {
        return Ok(None);
    }
    // What does not depend on the value is the same in every row.
    let floats = out[..out.len() / view.len().max(1)].to_vec();
    native::map_rows(view, (out, nulls), |cells| match map {
        Map::Function(function) => native::function_of(*function, cells, &floats),
        Map::Binary(binary, _) => {
            let scalar = scalar.unwrap_or(&StepScalar::Constant(f64::NAN));
            let mapped = native::scalar_of(binary, cells, scalar);
            if let Some(note) = mapped.note {
                annotations.add(Annotation::Histogram(note, ""), binary.position);
            }
            mapped
        }
    })
}

fn function_of(function: InstantFunction, values: &[f64], schema: &GridSchema) -> Vec<f64> {
    let each = |f: fn(f64) -> f64| values.iter().map(|value| f(*value)).collect();
    match function {
        InstantFunction::Abs => each(f64::abs),
        InstantFunction::Ceil => each(f64::ceil),
        InstantFunction::Floor => each(f64::floor),
        InstantFunction::Negate => each(|value| -value),
        InstantFunction::EvaluationTime => {
            let times: Vec<f64> = schema.grid().times().map(ms_to_seconds).collect();
            times.iter().copied().cycle().take(values.len()).collect()
        }
        InstantFunction::Statistic(_) => vec![f64::NAN; values.len()],
    }
}

fn binary_of(
    binary: &ScalarBinary,
    values: &[f64],
    nulls: Option<NullBuffer>,
    scalar: &StepScalar,
    steps: usize,
) -> (Vec<f64>, Option<NullBuffer>) {
    let op = binary.op;
    if !op.is_comparison() || binary.return_bool {
        return (arithmetic(op, values, scalar, (steps, binary.scalar_left)), nulls);
    }
    // A filter keeps the vector's value wherever it stands.
    let holds = |at: usize| {
        let (vector, scalar) = (values[at], scalar.at(at % steps));
        if binary.scalar_left { op.holds(scalar, vector) } else { op.holds(vector, scalar) }
    };
    let kept = BooleanBuffer::collect_bool(values.len(), holds);
    let kept = match &nulls {
        Some(nulls) => &kept & nulls.inner(),
        None => kept,
    };
    (values.to_vec(), Some(NullBuffer::new(kept)))
}

fn arithmetic(
    op: ScalarOp,
    values: &[f64],
    scalar: &StepScalar,
    (steps, scalar_left): (usize, bool),
) -> Vec<f64> {
    let each = |f: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
        values.iter().enumerate().map(|(at, value)| f(*value, scalar.at(at % steps))).collect()
    };
    match (op, scalar, scalar_left) {
        // The common ones in their own loops, so that they are vectorised.
        (ScalarOp::Mul, StepScalar::Constant(by), _) => values.iter().map(|value| value * by).collect(),
        (ScalarOp::Add, StepScalar::Constant(by), _) => values.iter().map(|value| value + by).collect(),
        (ScalarOp::Sub, StepScalar::Constant(by), false) => values.iter().map(|value| value - by).collect(),
        (ScalarOp::Div, StepScalar::Constant(by), false) => values.iter().map(|value| value / by).collect(),
        (_, _, true) => each(&|value, scalar| op.apply(scalar, value)),
        (_, _, false) => each(&|value, scalar| op.apply(value, scalar)),
    }
}
