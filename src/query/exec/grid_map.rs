//! `GridMap`: functions of one value, operators between a vector and a scalar, and `limit_ratio`: all that needs one row
//! at a time.

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
use super::instant;
use super::limit_ratio::{self, Ratio};
use super::native::{self, Cell, Mapped};
use super::operator::{ScalarInput, operator, partition_count, properties, stream};
use crate::error::Result;
use crate::query::plan::{
    Annotation, Annotations, DROP_NAME, GRID, GridSchema, Instant, LABELS, ScalarBinary, ScalarOp, StepScalar,
};

/// What is computed.
#[derive(Debug, Clone)]
pub(crate) enum Map {
    /// A function of the value and of scalars.
    Function(Instant, Vec<ScalarInput>),
    /// An operator with a scalar.
    Binary(ScalarBinary, ScalarInput),
    /// A choice of series.
    Ratio(Ratio, ScalarInput),
}

impl Map {
    /// The scalars that it needs.
    fn scalars(&self) -> &[ScalarInput] {
        match self {
            Self::Function(_, scalars) => scalars,
            Self::Binary(_, scalar) | Self::Ratio(_, scalar) => std::slice::from_ref(scalar),
        }
    }

    /// The same over other operators for the scalars that are computed.
    fn replace(&self, plans: &[Arc<dyn ExecutionPlan>]) -> Self {
        match self {
            Self::Function(function, scalars) => {
                Self::Function(function.clone(), ScalarInput::replace_all(scalars, plans))
            }
            Self::Binary(binary, scalar) => {
                Self::Binary(binary.clone(), scalar.replace(plans.first().cloned()))
            }
            Self::Ratio(ratio, scalar) => Self::Ratio(ratio.clone(), scalar.replace(plans.first().cloned())),
        }
    }
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
            Map::Function(function, _) => write!(f, "GridMapExec: {function}"),
            Map::Binary(binary, _) => write!(f, "GridMapExec: {binary}"),
            Map::Ratio(..) => f.write_str("GridMapExec: limit_ratio"),
        }
    }
}

impl ExecutionPlan for GridMapExec {
    operator!("GridMapExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        let scalars = self.map.scalars().iter().filter_map(ScalarInput::plan);
        std::iter::once(&self.input).chain(scalars).collect()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let map = self.map.replace(&children[1..]);
        Ok(Arc::new(Self::new(map, &children[0], &self.schema, &self.annotations)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let base = BaselineMetrics::new(&self.metrics, partition);
        let (map, schema) = (self.map.clone(), (self.schema.clone(), self.annotations.clone()));
        let state = (input, map, schema, context, base);
        let batches = futures::stream::try_unfold(state, async |(mut input, map, schema, context, base)| {
            let scalars = ScalarInput::get_all(map.scalars(), &context).await?;
            if let Map::Ratio(ratio, _) = &map {
                ratio.check(&scalars)?;
            }
            // A batch may lose all its rows to a comparison.
            while let Some(batch) = input.next().await {
                let batch = batch.map_err(inward)?;
                let timer = base.elapsed_compute().timer();
                let batch = apply(&map, &scalars, &batch, &schema)?;
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
    scalars: &[StepScalar],
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
        Map::Function(function, _) => {
            let out = instant::compute(function.function, scalars, values, schema.grid());
            let has_results = |at: usize| instant::has_results(function.function, scalars, at % steps);
            let nulls =
                if (0..steps).all(has_results) { nulls } else { Some(also(nulls, cells, has_results)) };
            (out, nulls, true)
        }
        Map::Binary(binary, _) => {
            let (out, nulls) = binary_of(binary, values, nulls, &scalars[0], steps);
            (out, nulls, binary.drops_name())
        }
        Map::Ratio(ratio, _) => {
            let places = ratio.places(batch);
            let kept = |at: usize| limit_ratio::keeps(scalars[0].at(at % steps), places[at / steps]);
            (values.to_vec(), Some(also(nulls, cells, kept)), false)
        }
    };
    let histograms = histograms_of(map, scalars, batch, (&mut out, &mut nulls), annotations)?;
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
    scalars: &[StepScalar],
    batch: &RecordBatch,
    (out, nulls): (&mut [f64], &mut Option<NullBuffer>),
    annotations: &Annotations,
) -> Result<Option<LargeBinaryArray>> {
    let view = View::of(batch);
    if !view.has_histograms() {
        return Ok(None);
    }
    // What does not depend on the value is the same in every row.
    let floats = out[..out.len() / view.len().max(1)].to_vec();
    let places = if let Map::Ratio(ratio, _) = map { ratio.places(batch) } else { Vec::new() };
    native::map_rows(&view, (out, nulls), |row, cells| match map {
        Map::Function(function, _) => native::function_of(function.function, cells, &floats),
        Map::Binary(binary, _) => {
            let mapped = native::scalar_of(binary, cells, &scalars[0]);
            if let Some(note) = mapped.note {
                annotations.add(Annotation::Histogram(note, ""), binary.position);
            }
            mapped
        }
        Map::Ratio(..) => {
            let keeps = |(step, _): &Cell| limit_ratio::keeps(scalars[0].at(*step as usize), places[row]);
            Mapped { cells: cells.into_iter().filter(keeps).collect(), ..Mapped::default() }
        }
    })
}

/// The cells that have a value and pass a condition too.
fn also(nulls: Option<NullBuffer>, cells: usize, passes: impl Fn(usize) -> bool) -> NullBuffer {
    let kept = BooleanBuffer::collect_bool(cells, passes);
    NullBuffer::new(match nulls {
        Some(nulls) => &kept & nulls.inner(),
        None => kept,
    })
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
    (values.to_vec(), Some(also(nulls, values.len(), holds)))
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
