//! The small operators: literals, `scalar()`, sorting, and the check for equal label sets. All have one partition.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use hashbrown::HashMap;

use super::aggregate::Row;
use super::batch::{Rows, View};
use super::kernel::bits;
use super::labels::push_without_name;
use super::native::Cell;
use super::operator::{operator, properties, read_all, stream};
use super::sort::sorted;
use crate::error::{Error, Kind, Result};
use crate::model::LabelsRef;
use crate::query::plan::{GridSchema, Literal, ScalarOf, Sort, Unique};

/// What the operator does with the rows of its input.
#[derive(Debug, Clone)]
pub(crate) enum Small {
    Literal(Literal),
    ScalarOf(ScalarOf),
    Sort(Sort),
    Unique(Unique),
}

/// The operator.
#[derive(Debug)]
pub(crate) struct SmallExec {
    what: Small,
    input: Option<Arc<dyn ExecutionPlan>>,
    schema: GridSchema,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SmallExec {
    pub(crate) fn new(what: Small, input: Option<&Arc<dyn ExecutionPlan>>, schema: &GridSchema) -> Self {
        Self {
            what,
            input: input.map(Arc::clone),
            schema: schema.clone(),
            properties: properties(schema, 1),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for SmallExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Small::Literal(literal) => write!(f, "LiteralExec: {literal}"),
            Small::ScalarOf(_) => f.write_str("ScalarExec"),
            Small::Sort(sort) => write!(f, "SeriesSortExec: {sort}"),
            Small::Unique(unique) => write!(f, "UniqueExec: {unique}"),
        }
    }
}

impl ExecutionPlan for SmallExec {
    operator!("SmallExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.input.iter().collect()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(self.what.clone(), children.first(), &self.schema)))
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let (what, schema, input) = (self.what.clone(), self.schema.clone(), self.input.clone());
        let work = async move {
            let memory = Arc::new(MemoryConsumer::new("SmallExec").register(context.memory_pool()));
            let mut batches = Vec::new();
            if let Some(input) = input {
                batches = read_all(&input, &context, &memory).await?.into_iter().flatten().collect();
            }
            run(&what, &batches, &schema)
        };
        Ok(stream(&self.schema, futures::stream::once(work)))
    }
}

fn run(what: &Small, batches: &[RecordBatch], schema: &GridSchema) -> Result<RecordBatch> {
    let views: Vec<View<'_>> = batches.iter().map(View::of).collect();
    match what {
        Small::Literal(literal) => {
            let mut rows = Rows::new(schema, 1);
            rows.push(b"", false, &literal.0.values(schema.grid().steps()), None);
            rows.finish()
        }
        Small::ScalarOf(_) => only_value(&views, schema),
        Small::Sort(sort) => sorted(&views, sort, schema),
        Small::Unique(unique) => merge_equal(&views, unique.strict, schema),
    }
}

/// The value of the only series that has one at a step, else NaN.
fn only_value(views: &[View<'_>], schema: &GridSchema) -> Result<RecordBatch> {
    let steps = schema.grid().steps();
    let (mut values, mut counts) = (vec![f64::NAN; steps], vec![0_u32; steps]);
    for_each_row(views, |view, row, words| {
        let row = view.row(row, words);
        for (step, value) in row.values.iter().enumerate().filter(|(step, _)| row.is_valid(*step)) {
            counts[step] = counts[step].saturating_add(1);
            values[step] = if counts[step] == 1 { *value } else { f64::NAN };
        }
        Ok(())
    })?;
    let mut rows = Rows::new(schema, 1);
    rows.push(b"", false, &values, None);
    rows.finish()
}

fn for_each_row(
    views: &[View<'_>],
    mut each: impl FnMut(&View<'_>, usize, &mut Vec<u64>) -> Result<()>,
) -> Result<()> {
    let mut words = Vec::new();
    for view in views {
        for row in 0..view.len() {
            each(view, row, &mut words)?;
        }
    }
    Ok(())
}

/// Removes the names of the rows that drop them and brings equal label sets together.
///
/// # Errors
/// `Execution` in Prometheus' words when two of them have a value at one step, or at all when `strict`.
pub(crate) fn merge_equal(views: &[View<'_>], strict: bool, schema: &GridSchema) -> Result<RecordBatch> {
    let mut merged = Merged::new(schema.grid().steps());
    let mut words = Vec::new();
    for view in views {
        for row in 0..view.len() {
            let series = (view.labels(row), view.drop_name(row));
            merged.add(series, (&view.row(row, &mut words), view.histograms(row)?), strict)?;
        }
    }
    let mut rows = Rows::new(schema, merged.rows.len());
    for row in &merged.rows {
        rows.push(&row.labels, false, &row.values, Some(&row.valid));
        rows.attach(&row.histograms);
    }
    rows.finish()
}

/// Two series of one vector are equal.
pub(crate) fn same_labels() -> Error {
    Error::new(Kind::Execution, "vector cannot contain metrics with the same labelset")
}

/// Series by their final label set.
#[derive(Debug)]
pub(crate) struct Merged {
    ids: HashMap<Box<[u8]>, usize>,
    rows: Vec<MergedRow>,
    steps: usize,
}

/// One series with its final labels.
#[derive(Debug)]
pub(crate) struct MergedRow {
    pub(crate) labels: Box<[u8]>,
    pub(crate) values: Vec<f64>,
    pub(crate) valid: Vec<u64>,
    /// Where there is no float.
    pub(crate) histograms: Vec<Cell>,
}

impl MergedRow {
    /// Whether another row has a sample at a step where this one has one.
    fn overlaps(&self, valid: &[u64], histograms: &[Cell]) -> bool {
        let is_set =
            |words: &[u64], cells: &[Cell]| cells.iter().any(|(step, _)| bits::get(words, *step as usize));
        let both = |cell: &Cell| self.histograms.binary_search_by_key(&cell.0, |(step, _)| *step).is_ok();
        self.valid.iter().zip(valid).any(|(own, more)| own & more != 0)
            || is_set(valid, &self.histograms)
            || is_set(&self.valid, histograms)
            || histograms.iter().any(both)
    }
}

impl Merged {
    pub(crate) fn new(steps: usize) -> Self {
        Self { ids: HashMap::new(), rows: Vec::new(), steps }
    }

    /// Takes a row, given its labels and whether the name goes; see [`merge_equal`].
    pub(crate) fn add(
        &mut self,
        (labels, drop_name): (LabelsRef<'_>, bool),
        (row, histograms): (&Row<'_>, Vec<Cell>),
        strict: bool,
    ) -> Result<()> {
        let labels: Box<[u8]> = if drop_name {
            let mut bytes = Vec::with_capacity(labels.as_bytes().len());
            push_without_name(&mut bytes, labels);
            bytes.into()
        } else {
            labels.as_bytes().into()
        };
        let valid = match row.valid {
            Some(words) => words.to_vec(),
            None => bits::all(self.steps),
        };
        if bits::count(&valid) == 0 && histograms.is_empty() {
            return Ok(());
        }
        let Some(id) = self.ids.get(&labels) else {
            self.ids.insert(labels.clone(), self.rows.len());
            self.rows.push(MergedRow { labels, values: row.values.to_vec(), valid, histograms });
            return Ok(());
        };
        let own = &mut self.rows[*id];
        if strict || own.overlaps(&valid, &histograms) {
            return Err(same_labels());
        }
        for step in bits::ones(&valid) {
            own.values[step] = row.values[step];
            bits::set(&mut own.valid, step);
        }
        if !histograms.is_empty() {
            own.histograms.extend(histograms);
            own.histograms.sort_by_key(|(step, _)| *step);
        }
        Ok(())
    }

    /// The series, in the order in which their label sets first came.
    pub(crate) fn into_rows(self) -> Vec<MergedRow> {
        self.rows
    }
}
