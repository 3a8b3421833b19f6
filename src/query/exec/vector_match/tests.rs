//! Matching against a naive model that goes step by step over maps of labels, as Prometheus does.

use std::collections::BTreeMap;

use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};

use super::*;
use crate::error::Kind;
use crate::model::push_pair;
use crate::query::exec::batch::Rows;
use crate::query::exec::kernel::bits;
use crate::query::plan::{Annotations, Cardinality, Grid, Grouping, Position, ScalarOp, StepScalar};
use crate::runtime::{Clock, Dice};

const STEPS: usize = 67;
const CASES: usize = 3_000;

type Labels = BTreeMap<String, String>;
/// Labels, whether the name goes, a value a step.
type Series = (Labels, bool, Vec<Option<f64>>);
/// A value at one step.
type Sample = (Labels, bool, f64);

fn without(labels: &Labels, names: &[String]) -> Labels {
    labels.iter().filter(|(name, _)| !names.contains(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn only(labels: &Labels, names: &[String]) -> Labels {
    labels.iter().filter(|(name, _)| names.contains(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn name() -> Vec<String> {
    vec!["__name__".to_owned()]
}

/// One step of one operator.
struct Model<'a> {
    node: &'a VectorMatch,
    immediate: bool,
}

impl Model<'_> {
    fn signature(&self, labels: &Labels) -> Labels {
        match &self.node.matching {
            Grouping::By(names) => only(labels, names),
            Grouping::Without(names) => without(&without(labels, names), &name()),
        }
    }

    fn set(&self, left: &[Sample], right: &[Sample]) -> Vec<Sample> {
        let has = |side: &[Sample], sample: &Sample| {
            side.iter().any(|other| self.signature(&other.0) == self.signature(&sample.0))
        };
        match self.node.op {
            PairOp::And => left.iter().filter(|sample| has(right, sample)).cloned().collect(),
            PairOp::Unless => left.iter().filter(|sample| !has(right, sample)).cloned().collect(),
            _ => left.iter().chain(right.iter().filter(|sample| !has(left, sample))).cloned().collect(),
        }
    }

    fn pairs(
        &self,
        (op, return_bool): (ScalarOp, bool),
        left: &[Sample],
        right: &[Sample],
    ) -> Result<Vec<Sample>, &'static str> {
        let fill = [0, 1].map(|side| self.node.fill[side].as_ref().map(|fill| fill.at(0)));
        let (swapped, include) = match &self.node.cardinality {
            Cardinality::OneToMany(include) => (true, include.clone()),
            Cardinality::ManyToOne(include) => (false, include.clone()),
            _ => (false, Vec::new()),
        };
        let one_to_one = self.node.cardinality == Cardinality::OneToOne;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        if (many.is_empty() || one.is_empty()) && fill == [None, None] {
            return Ok(Vec::new());
        }
        let mut ones: BTreeMap<Labels, &Sample> = BTreeMap::new();
        for sample in one {
            if ones.insert(self.signature(&sample.0), sample).is_some() {
                return Err("found duplicate series");
            }
        }
        let mut pairs: Vec<(Labels, Labels, Labels, f64, f64)> = Vec::new();
        for sample in many {
            let signature = self.signature(&sample.0);
            match (ones.get(&signature), fill[1]) {
                (Some(one), _) => pairs.push((signature, sample.0.clone(), one.0.clone(), sample.2, one.2)),
                (None, Some(fill)) => {
                    pairs.push((signature.clone(), sample.0.clone(), signature, sample.2, fill));
                }
                (None, None) => {}
            }
        }
        for (signature, sample) in &ones {
            let is_met = many.iter().any(|many| self.signature(&many.0) == *signature);
            if let (false, Some(fill)) = (is_met, fill[0]) {
                pairs.push((signature.clone(), signature.clone(), sample.0.clone(), fill, sample.2));
            }
        }
        let mut met: Vec<(Labels, Labels)> = Vec::new();
        let mut results = Vec::new();
        for (signature, many, one, many_value, one_value) in pairs {
            let (left, right) = if swapped { (one_value, many_value) } else { (many_value, one_value) };
            let mut labels = many;
            if !op.is_comparison() || return_bool && self.immediate {
                labels = without(&labels, &name());
            }
            if one_to_one {
                labels = match &self.node.matching {
                    Grouping::By(names) => only(&labels, names),
                    Grouping::Without(names) => without(&labels, names),
                };
            }
            labels = without(&labels, &include);
            labels.extend(only(&one, &include));
            if one_to_one && met.iter().any(|(other, _)| *other == signature) {
                return Err("many-to-one matching must be explicit");
            }
            if met.contains(&(signature.clone(), labels.clone())) {
                return Err("grouping labels must ensure unique matches");
            }
            met.push((signature, labels.clone()));
            let is_filter = op.is_comparison() && !return_bool;
            if !is_filter || op.holds(left, right) {
                let value = if is_filter { left } else { op.apply(left, right) };
                results.push((labels, return_bool && !self.immediate, value));
            }
        }
        Ok(results)
    }

    fn answer(&self, left: &[Series], right: &[Series]) -> Result<Vec<Series>, &'static str> {
        let mut rows: Vec<Series> = Vec::new();
        for step in 0..STEPS {
            let at = |side: &[Series]| -> Vec<Sample> {
                let effective = |(labels, drop_name, points): &Series| {
                    let gone = self.immediate && *drop_name;
                    let labels = if gone { without(labels, &name()) } else { labels.clone() };
                    Some((labels, *drop_name && !self.immediate, points[step]?))
                };
                side.iter().filter_map(effective).collect()
            };
            let (left, right) = (at(left), at(right));
            let results = match self.node.op {
                PairOp::Scalar { op, return_bool } => self.pairs((op, return_bool), &left, &right)?,
                _ => self.set(&left, &right),
            };
            let mut seen = Vec::new();
            for (labels, drop_name, value) in results {
                if seen.contains(&labels) {
                    return Err("vector cannot contain metrics with the same labelset");
                }
                seen.push(labels.clone());
                let row = rows.iter().position(|row| row.0 == labels).unwrap_or_else(|| {
                    rows.push((labels, drop_name, vec![None; STEPS]));
                    rows.len() - 1
                });
                rows[row].2[step] = Some(value);
            }
        }
        Ok(rows)
    }
}

fn side(dice: &mut Dice, names: &[&str]) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for _ in 0..dice.below(7) {
        let mut labels = Labels::new();
        labels.insert("__name__".into(), names[usize::try_from(dice.below(2)).expect("small")].into());
        for (label, values) in [("a", 3), ("b", 3), ("~ü\"", 2)] {
            match dice.below(values) {
                0 => {}
                value => drop(labels.insert(label.into(), value.to_string())),
            }
        }
        // A row without its name has no twin with another one.
        if series.iter().any(|other| without(&other.0, &name()) == without(&labels, &name())) {
            continue;
        }
        let rare = dice.below(4);
        let value = |step: usize, dice: &mut Dice| match rare {
            0 => true,
            1 => step.is_multiple_of(3),
            2 => step > 40,
            _ => dice.one_in(2),
        };
        let points = (0..STEPS).map(|step| {
            let is_there = value(step, dice);
            is_there.then(|| f64::from(u32::try_from(dice.below(4)).expect("small")))
        });
        let points: Vec<_> = points.collect();
        series.push((labels, dice.one_in(3), points));
    }
    series
}

fn node(dice: &mut Dice) -> VectorMatch {
    let labels = |dice: &mut Dice| -> Vec<String> {
        let all = ["__name__", "a", "b", "none", "~ü\""];
        let mut names: Vec<String> = all.into_iter().filter(|_| dice.one_in(3)).map(str::to_owned).collect();
        names.sort();
        names
    };
    let names = labels(dice);
    let matching = if dice.one_in(2) { Grouping::By(names) } else { Grouping::Without(names) };
    let op = match dice.below(9) {
        0 => PairOp::And,
        1 => PairOp::Or,
        2 => PairOp::Unless,
        3 => PairOp::Scalar { op: ScalarOp::Less, return_bool: true },
        4 | 5 => PairOp::Scalar { op: ScalarOp::GreaterOrEqual, return_bool: false },
        6 => PairOp::Scalar { op: ScalarOp::Sub, return_bool: false },
        _ => PairOp::Scalar { op: ScalarOp::Add, return_bool: false },
    };
    let is_set = !matches!(op, PairOp::Scalar { .. });
    let cardinality = match dice.below(3) {
        _ if is_set => Cardinality::ManyToMany,
        0 => Cardinality::OneToOne,
        1 => Cardinality::ManyToOne(labels(dice)),
        _ => Cardinality::OneToMany(labels(dice)),
    };
    let mut fill = || (!is_set && dice.one_in(6)).then_some(StepScalar::Constant(2.0));
    let fill = [fill(), fill()];
    VectorMatch { op, matching, cardinality, fill, at_one_time: false, position: Position(0) }
}

fn batches(side: &[Series], schema: &GridSchema, dice: &mut Dice) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let mut rows = Rows::new(schema, 4);
    for (labels, drop_name, points) in side {
        let mut bytes = Vec::new();
        let mut pairs: Vec<_> = labels.iter().collect();
        pairs.sort_by_key(|(name, _)| (name.as_str() != "__name__", name.as_str()));
        for (name, value) in pairs {
            push_pair(&mut bytes, name, value);
        }
        let values: Vec<f64> = points.iter().map(|value| value.unwrap_or(0.0)).collect();
        let mut words = vec![0; bits::word_count(STEPS)];
        let set = bits::fill(&mut words, STEPS, |step| points[step].is_some());
        rows.push(&bytes, *drop_name, &values, (set < STEPS).then_some(&words));
        if dice.one_in(2) {
            batches.push(std::mem::replace(&mut rows, Rows::new(schema, 4)).finish().expect("rows"));
        }
    }
    batches.push(rows.finish().expect("rows"));
    batches
}

fn found(batches: &[RecordBatch]) -> Vec<Series> {
    let (mut all, mut words) = (Vec::new(), Vec::new());
    for batch in batches {
        let view = View::of(batch);
        for at in 0..view.len() {
            let row = view.row(at, &mut words);
            let point = |step: usize| row.is_valid(step).then_some(row.values[step]);
            assert!(
                (0..STEPS).all(|step| row.is_valid(step) || row.values[step].to_bits() == 0),
                "0 where nothing is"
            );
            let points = (0..STEPS).map(point).collect();
            let labels = view.labels(at).iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            all.push((labels, view.drop_name(at), points));
        }
    }
    all
}

#[tokio::test]
async fn matching_is_that_of_a_naive_model() {
    let schema = GridSchema::new(Grid::range(0, 66, 1).expect("a grid")).expect("a schema");
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let memory = MemoryConsumer::new("test").register(&pool);
    let mut tally = BTreeMap::new();
    for seed in 0..CASES {
        let mut dice = Dice::new(u64::try_from(seed).expect("small"));
        let (left, right) = (side(&mut dice, &["x", "y"]), side(&mut dice, &["x", "z"]));
        let (node, immediate_names) = (node(&mut dice), dice.one_in(2));
        let expected = Model { node: &node, immediate: immediate_names }.answer(&left, &right);
        let sides = [batches(&left, &schema, &mut dice), batches(&right, &schema, &mut dice)];
        let settings =
            Settings { immediate_names, annotations: Annotations::new("", Vec::new()), clock: Clock::real() };
        let how = How { node: &node, schema: &schema, settings: &settings, memory: &memory };
        let answer = match_all(&sides, &how, Yielder::new(Clock::real())).await;
        let outcome = match (expected, answer) {
            (Ok(mut expected), Ok(batches)) => {
                let mut found = found(&batches);
                let order = |a: &Series, b: &Series| a.0.cmp(&b.0);
                expected.sort_by(order);
                found.sort_by(order);
                assert_eq!(found, expected, "seed {seed}: {node}");
                if found.is_empty() { "nothing" } else { "series" }
            }
            (Err(expected), Err(found)) => {
                assert!(
                    found.message().contains(expected),
                    "seed {seed}: {node}: {found} instead of {expected}"
                );
                assert_eq!(found.kind(), Kind::Execution);
                expected
            }
            (expected, found) => panic!("seed {seed}: {node}: {found:?} instead of {expected:?}"),
        };
        *tally.entry(outcome).or_insert(0) += 1;
    }
    assert_eq!(tally.len(), 6, "every outcome is seen: {tally:?}");
    assert!(tally["series"] > CASES / 4, "{tally:?}");
}
