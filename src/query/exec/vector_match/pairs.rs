//! Arithmetic and comparisons: one row of the "many" side meets one of the "one" side, step by step.
//!
//! First the labels: every pair that ever meets gets the result row it belongs to. Then the values, one result row
//! after the other. Nearly always a result row is one pair, and then it is one loop over two grids.

use std::sync::Arc;

use hashbrown::HashMap;

use super::names::{ResultLabels, text_of};
use super::operand::Operand;
use super::refusal::{Rank, Refusals};
use super::{How, Sides, same_labels};
use crate::error::{Error, Kind, Result};
use crate::model::LabelsRef;
use crate::query::exec::groups::{Groups, Output};
use crate::query::exec::kernel::bits;
use crate::query::exec::native::{Between, Cell, Operand as Sample, between, cell_step};
use crate::query::exec::operator::Yielder;
use crate::query::plan::{Annotation, Cardinality, ScalarOp};

/// The operator and its `bool`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    pub(super) op: ScalarOp,
    pub(super) return_bool: bool,
}

/// Two rows of a group that meet at some step; one of them may be missing and filled in.
#[derive(Debug, Clone, Copy)]
struct Pair {
    group: usize,
    many: Option<usize>,
    one: Option<usize>,
}

/// A result row: its labels, and the pairs that give its values.
struct Target {
    labels: Box<[u8]>,
    pairs: Vec<Pair>,
}

/// Values of a missing "many" and a missing "one".
type Fill = [Option<f64>; 2];

pub(super) struct Pairs<'a> {
    many: &'a Operand<'a>,
    one: &'a Operand<'a>,
    /// The "many" side stands on the right.
    swapped: bool,
    operation: Operation,
    names: ResultLabels<'a>,
    fill: Fill,
    groups: &'a Groups,
    how: &'a How<'a>,
    steps: usize,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(sides: &'a Sides<'a>, operation: Operation, how: &'a How<'a>) -> Self {
        let (swapped, include) = match &how.node.cardinality {
            Cardinality::OneToMany(include) => (true, include.as_slice()),
            Cardinality::ManyToOne(include) => (false, include.as_slice()),
            Cardinality::OneToOne | Cardinality::ManyToMany => (false, [].as_slice()),
        };
        let is_arithmetic = !operation.op.is_comparison();
        let names = ResultLabels {
            drops_name: is_arithmetic || operation.return_bool && how.settings.immediate_names,
            reduced_by: (how.node.cardinality == Cardinality::OneToOne).then_some(&how.node.matching),
            include,
        };
        let [left, right] = &sides.operands;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        // As in Prometheus the left one is for the "many" side, wherever that stands.
        let fill = [0, 1].map(|side| how.node.fill[side].as_ref().map(|fill| fill.at(0)));
        let steps = how.schema.grid().steps();
        Self { many, one, swapped, operation, names, fill, groups: &sides.groups, how, steps }
    }

    /// Adds the result rows.
    ///
    /// # Errors
    /// `Execution` in Prometheus' words where series do not match as they must; `Limit` for memory.
    pub(super) async fn run(&self, out: &mut Output<'_>, yielder: &mut Yielder) -> Result<()> {
        let mut refusals = Refusals::default();
        for group in 0..self.groups.len() {
            self.look_for_duplicates(group, &mut refusals);
            self.look_for_many_to_one(group, &mut refusals);
        }
        yielder.check().await;
        let drop_name = self.operation.return_bool && !self.how.settings.immediate_names;
        let mut row = Row::new(self.steps);
        for target in self.targets(yielder).await {
            yielder.check().await;
            row.clear();
            for pair in &target.pairs {
                self.add(*pair, &mut row);
                if target.pairs.len() > 1 {
                    self.merge(*pair, &mut row, &mut refusals);
                }
            }
            if target.pairs.len() > 1 {
                row.take_merged();
            }
            self.how.grow(self.steps)?;
            out.push_mixed((&target.labels, drop_name), (&row.values, &row.valid), &row.cells)?;
        }
        refusals.into_result()
    }

    /// Two series of the "one" side at one step are refused even if nothing matches them.
    fn look_for_duplicates(&self, group: usize, refusals: &mut Refusals) {
        if self.one.in_group(group).len() < 2 {
            return;
        }
        let is_filled = self.fill.iter().any(Option::is_some);
        let matters =
            if is_filled { bits::all(self.steps) } else { self.many.any(0..self.many.len(), self.steps) };
        let Some(step) = self.first_overlap(self.one, group, &matters) else { return };
        let mut words = Vec::new();
        let mut twins = self.one.in_group(group).filter(|at| {
            self.one.valid(*at, self.steps, &mut words);
            bits::get(&words, step)
        });
        if let (Some(first), Some(second)) = (twins.next(), twins.next()) {
            refusals.add(step, Rank::Duplicate, || self.duplicates(group, first, second));
        }
    }

    /// The first of these steps at which two rows of a group have a value.
    fn first_overlap(&self, side: &Operand<'_>, group: usize, steps: &[u64]) -> Option<usize> {
        let (mut any, mut twice, mut valid) = (vec![0; steps.len()], vec![0; steps.len()], Vec::new());
        for at in side.in_group(group) {
            side.valid(at, self.steps, &mut valid);
            for ((any, twice), valid) in any.iter_mut().zip(&mut twice).zip(&valid) {
                *twice |= *any & valid;
                *any |= valid;
            }
        }
        first_common(&twice, steps)
    }

    fn duplicates(&self, group: usize, first: usize, second: usize) -> Error {
        let mut texts = [first, second].map(|at| text_of(&self.one.labels(at)));
        texts.sort_unstable();
        let (group, side) = (text_of(self.groups.get(group).0), if self.swapped { "left" } else { "right" });
        let message = format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{}];\
             many-to-many matching not allowed: matching labels must be unique on one side",
            texts.join(", ")
        );
        Error::new(Kind::Execution, message)
    }

    /// Without `group_left` or `group_right` two series of the left side must not meet one of the right.
    fn look_for_many_to_one(&self, group: usize, refusals: &mut Refusals) {
        if self.how.node.cardinality != Cardinality::OneToOne || self.many.in_group(group).len() < 2 {
            return;
        }
        let partners = match self.fill[1] {
            Some(_) => bits::all(self.steps),
            None => self.one.any(self.one.in_group(group), self.steps),
        };
        if let Some(step) = self.first_overlap(self.many, group, &partners) {
            let text = "multiple matches for labels: many-to-one matching must be explicit \
                        (group_left/group_right)";
            refusals.add(step, Rank::Pair, || Error::new(Kind::Execution, text));
        }
    }

    /// All pairs that meet, by the row they give.
    async fn targets(&self, yielder: &mut Yielder) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        let mut ids: HashMap<(Box<[u8]>, usize), usize> = HashMap::new();
        let (mut steps, mut labels) = (Vec::new(), Vec::new());
        let mut take = |pair: Pair| {
            self.meet(pair, &mut steps);
            if bits::count(&steps) == 0 {
                return;
            }
            labels.clear();
            self.push_labels(pair, &mut labels);
            // Where equal label sets of different groups stay apart, the group belongs to the key.
            let apart = if self.how.keeps_equal_apart() { pair.group } else { 0 };
            let key = (labels.as_slice().into(), apart);
            let id = *ids.entry(key).or_insert_with(|| {
                targets.push(Target { labels: labels.as_slice().into(), pairs: Vec::new() });
                targets.len() - 1
            });
            targets[id].pairs.push(pair);
        };
        for many in 0..self.many.len() {
            let group = self.many.group(many);
            for one in self.one.in_group(group) {
                take(Pair { group, many: Some(many), one: Some(one) });
            }
            if self.fill[1].is_some() {
                take(Pair { group, many: Some(many), one: None });
            }
            yielder.check().await;
        }
        if self.fill[0].is_some() {
            for one in 0..self.one.len() {
                take(Pair { group: self.one.group(one), many: None, one: Some(one) });
            }
        }
        targets
    }

    /// A missing series has the labels of the group.
    fn push_labels(&self, pair: Pair, labels: &mut Vec<u8>) {
        let group = self.groups.get(pair.group).0;
        let many = pair.many.map(|at| self.many.labels(at));
        let one = pair.one.map(|at| self.one.labels(at));
        let many = LabelsRef::trusted(many.as_deref().unwrap_or(group));
        let one = LabelsRef::trusted(one.as_deref().unwrap_or(group));
        self.names.push(labels, many, one);
    }

    /// The steps at which the two of a pair meet.
    fn meet(&self, pair: Pair, steps: &mut Vec<u64>) {
        let and = |steps: &mut Vec<u64>, with: &[u64]| steps.iter_mut().zip(with).for_each(|(s, w)| *s &= w);
        let without =
            |steps: &mut Vec<u64>, with: &[u64]| steps.iter_mut().zip(with).for_each(|(s, w)| *s &= !w);
        match (pair.many, pair.one) {
            (Some(many), Some(one)) => {
                self.many.valid(many, self.steps, steps);
                let mut words = Vec::new();
                self.one.valid(one, self.steps, &mut words);
                and(steps, &words);
            }
            (Some(many), None) => {
                self.many.valid(many, self.steps, steps);
                without(steps, &self.one.any(self.one.in_group(pair.group), self.steps));
            }
            (None, Some(one)) => {
                self.one.valid(one, self.steps, steps);
                without(steps, &self.many.any(self.many.in_group(pair.group), self.steps));
            }
            (None, None) => steps.clear(),
        }
    }

    /// Computes a pair into the row's scratch.
    fn add(&self, pair: Pair, row: &mut Row) {
        self.meet(pair, &mut row.met);
        let filled = |value: Option<f64>| vec![value.unwrap_or(f64::NAN); self.steps];
        let (mut many_words, mut one_words) = (Vec::new(), Vec::new());
        let (many_filled, one_filled);
        let many = if let Some(at) = pair.many {
            self.many.row(at, &mut many_words).values
        } else {
            many_filled = filled(self.fill[0]);
            &many_filled
        };
        let one = if let Some(at) = pair.one {
            self.one.row(at, &mut one_words).values
        } else {
            one_filled = filled(self.fill[1]);
            &one_filled
        };
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        let Operation { op, return_bool } = self.operation;
        row.valid.clone_from(&row.met);
        if op.is_comparison() && !return_bool {
            let steps = self.steps;
            let mut holds = vec![0; row.met.len()];
            bits::fill(&mut holds, steps, |step| op.holds(left[step], right[step]));
            row.valid.iter_mut().zip(&holds).for_each(|(valid, holds)| *valid &= holds);
            row.values.copy_from_slice(left);
        } else {
            combine(op, left, right, &mut row.values);
        }
        clear_invalid(&mut row.values, &row.valid);
        row.cells.clear();
        if self.many.has_histograms() || self.one.has_histograms() {
            self.add_histograms(pair, (left, right), row);
        }
    }

    /// The steps of a pair at which either side has a native histogram.
    fn add_histograms(&self, pair: Pair, (left, right): (&[f64], &[f64]), row: &mut Row) {
        let of =
            |side: &'a Operand<'a>, at: Option<usize>| at.map_or([].as_slice(), |at| side.histograms(at));
        let (many, one) = (of(self.many, pair.many), of(self.one, pair.one));
        let cells = if self.swapped { [one, many] } else { [many, one] };
        let at_step = |cells: &'a [Cell], step: usize, float: f64| {
            let found = cells.binary_search_by_key(&step, |(step, _)| *step as usize);
            found.map_or(Sample::Float(float), |at| Sample::Histogram(&cells[at].1))
        };
        let Operation { op, return_bool } = self.operation;
        for step in bits::ones(&row.met) {
            let [left, right] = [(cells[0], left), (cells[1], right)]
                .map(|(cells, floats)| at_step(cells, step, floats[step]));
            if let (Sample::Float(_), Sample::Float(_)) = (left, right) {
                continue;
            }
            bits::clear(&mut row.valid, step);
            row.values[step] = 0.0;
            let (value, note) = match between(op, left, right) {
                Between::Value(value, note) => (Some(value), note),
                Between::Nothing(note) => (None, Some(note)),
                Between::Holds(holds) if return_bool => {
                    bits::set(&mut row.valid, step);
                    row.values[step] = f64::from(u8::from(holds));
                    (None, None)
                }
                // A comparison that holds gives its left side.
                Between::Holds(holds) => match left {
                    Sample::Histogram(left) if holds => (Some(Arc::clone(left)), None),
                    _ => (None, None),
                },
            };
            row.cells.extend(value.map(|value| (cell_step(step), value)));
            if let Some(note) = note {
                let annotation = Annotation::Histogram(note, "");
                self.how.settings.annotations.add(annotation, self.how.node.position);
            }
        }
    }

    /// Adds a pair to what other pairs gave to the same row.
    fn merge(&self, pair: Pair, row: &mut Row, refusals: &mut Refusals) {
        let is_grouped = self.how.node.cardinality != Cardinality::OneToOne;
        let same_group = row.met_before.iter().filter(|(group, _)| is_grouped && *group == pair.group);
        if let Some(step) = same_group.filter_map(|(_, met)| first_common(met, &row.met)).min() {
            let text = "multiple matches for labels: grouping labels must ensure unique matches";
            refusals.add(step, Rank::Pair, || Error::new(Kind::Execution, text));
        }
        let mut present = row.valid.clone();
        row.cells.iter().for_each(|(step, _)| bits::set(&mut present, *step as usize));
        if let Some(step) = first_common(&row.merged_present, &present) {
            refusals.add(step, Rank::Result, same_labels);
        }
        for step in bits::ones(&row.valid) {
            row.merged[step] = row.values[step];
        }
        row.merged_valid.iter_mut().zip(&row.valid).for_each(|(merged, valid)| *merged |= valid);
        row.merged_present.iter_mut().zip(&present).for_each(|(merged, present)| *merged |= present);
        row.merged_cells.append(&mut row.cells);
        row.met_before.push((pair.group, row.met.clone()));
    }
}

/// A result row in the making.
struct Row {
    values: Vec<f64>,
    valid: Vec<u64>,
    /// Native histograms, where there is no float.
    cells: Vec<Cell>,
    /// The steps at which the pair met, before a comparison filtered.
    met: Vec<u64>,
    /// Only of rows that come from several pairs.
    merged: Vec<f64>,
    merged_valid: Vec<u64>,
    /// With the steps of histograms.
    merged_present: Vec<u64>,
    merged_cells: Vec<Cell>,
    met_before: Vec<(usize, Vec<u64>)>,
}

impl Row {
    fn new(steps: usize) -> Self {
        let words = vec![0; bits::word_count(steps)];
        Self {
            values: vec![0.0; steps],
            valid: words.clone(),
            cells: Vec::new(),
            met: words.clone(),
            merged: vec![0.0; steps],
            merged_valid: words.clone(),
            merged_present: words,
            merged_cells: Vec::new(),
            met_before: Vec::new(),
        }
    }

    fn clear(&mut self) {
        if !self.met_before.is_empty() {
            self.merged.fill(0.0);
            self.merged_valid.fill(0);
            self.merged_present.fill(0);
            self.merged_cells.clear();
            self.met_before.clear();
        }
    }

    fn take_merged(&mut self) {
        self.values.copy_from_slice(&self.merged);
        self.valid.copy_from_slice(&self.merged_valid);
        self.cells.append(&mut self.merged_cells);
        self.cells.sort_by_key(|(step, _)| *step);
    }
}

fn first_common(a: &[u64], b: &[u64]) -> Option<usize> {
    let at = a.iter().zip(b).position(|(a, b)| a & b != 0)?;
    Some(at * 64 + (a[at] & b[at]).trailing_zeros() as usize)
}

/// A step without a value holds 0.0: sums count on it.
pub(super) fn clear_invalid(values: &mut [f64], valid: &[u64]) {
    for (values, word) in values.chunks_mut(64).zip(valid) {
        if *word == u64::MAX {
            continue;
        }
        for (step, value) in values.iter_mut().enumerate() {
            *value = if word >> step & 1 == 1 { *value } else { 0.0 };
        }
    }
}

/// The common operators in their own loops, so that they are vectorised.
fn combine(op: ScalarOp, left: &[f64], right: &[f64], out: &mut [f64]) {
    match op {
        ScalarOp::Add => each(left, right, out, |left, right| left + right),
        ScalarOp::Sub => each(left, right, out, |left, right| left - right),
        ScalarOp::Mul => each(left, right, out, |left, right| left * right),
        ScalarOp::Div => each(left, right, out, |left, right| left / right),
        _ => each(left, right, out, |left, right| op.apply(left, right)),
    }
}

fn each(left: &[f64], right: &[f64], out: &mut [f64], apply: impl Fn(f64, f64) -> f64) {
    for ((out, left), right) in out.iter_mut().zip(left).zip(right) {
        *out = apply(*left, *right);
    }
}
