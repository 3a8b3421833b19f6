//! `and`, `or`, `unless`: which series each side has, step by step.

use hashbrown::HashMap;

use super::operand::Operand;
use super::pairs::clear_invalid;
use super::refusal::{Rank, Refusals};
use super::{How, Sides, same_labels};
use crate::error::Result;
use crate::query::exec::groups::Output;
use crate::query::exec::kernel::bits;
use crate::query::exec::native::Cell;
use crate::query::exec::operator::Yielder;

/// What some steps of a row hold.
struct Taken {
    values: Vec<f64>,
    valid: Vec<u64>,
    /// Native histograms, where there is no float.
    cells: Vec<Cell>,
}

impl Taken {
    fn of(side: &Operand<'_>, at: usize, steps: &[u64], words: &mut Vec<u64>) -> Self {
        let row = side.row(at, words);
        let mut valid = steps.to_vec();
        if let Some(floats) = row.valid {
            valid.iter_mut().zip(floats).for_each(|(valid, floats)| *valid &= floats);
        }
        let mut values = row.values.to_vec();
        clear_invalid(&mut values, &valid);
        let cells = side.histograms(at).iter().filter(|(step, _)| bits::get(steps, *step as usize));
        Self { values, valid, cells: cells.cloned().collect() }
    }

    /// Takes another row's samples, which stand at other steps.
    fn extend(&mut self, other: Self) {
        for step in bits::ones(&other.valid) {
            self.values[step] = other.values[step];
            bits::set(&mut self.valid, step);
        }
        self.cells.extend(other.cells);
        self.cells.sort_by_key(|(step, _)| *step);
    }
}

/// The steps at which each group has any series.
struct Presence {
    words: Vec<u64>,
    width: usize,
}

impl Presence {
    async fn of(side: &Operand<'_>, (groups, steps): (usize, usize), yielder: &mut Yielder) -> Self {
        let width = bits::word_count(steps);
        let mut words = vec![0; groups * width];
        let mut valid = Vec::new();
        for at in 0..side.len() {
            side.valid(at, steps, &mut valid);
            let from = side.group(at) * width;
            words[from..from + width].iter_mut().zip(&valid).for_each(|(word, valid)| *word |= valid);
            yielder.check().await;
        }
        Self { words, width }
    }

    fn get(&self, group: usize) -> &[u64] {
        &self.words[group * self.width..(group + 1) * self.width]
    }
}

/// `and` (`wanted`) or `unless`: the left side where the right one has the group, or has not.
///
/// # Errors
/// `Limit` for memory.
pub(super) async fn filter(
    sides: &Sides<'_>,
    wanted: bool,
    how: &How<'_>,
    out: &mut Output<'_>,
    yielder: &mut Yielder,
) -> Result<()> {
    let [left, right] = &sides.operands;
    let steps = how.schema.grid().steps();
    let there = Presence::of(right, (sides.groups.len(), steps), yielder).await;
    let (mut valid, mut words) = (Vec::new(), Vec::new());
    for at in 0..left.len() {
        left.valid(at, steps, &mut valid);
        let there = there.get(left.group(at)).iter();
        valid.iter_mut().zip(there).for_each(|(valid, there)| *valid &= if wanted { *there } else { !there });
        let row = Taken::of(left, at, &valid, &mut words);
        how.grow(steps)?;
        out.push_mixed((&left.labels(at), left.drop_name(at)), (&row.values, &row.valid), &row.cells)?;
        yielder.check().await;
    }
    Ok(())
}

/// `or`: the left side, and what the right one has where the left has nothing of the group.
///
/// # Errors
/// `Execution` where two equal label sets meet; `Limit` for memory.
pub(super) async fn union(
    sides: &Sides<'_>,
    how: &How<'_>,
    out: &mut Output<'_>,
    yielder: &mut Yielder,
) -> Result<()> {
    let [left, right] = &sides.operands;
    let steps = how.schema.grid().steps();
    let there = Presence::of(left, (sides.groups.len(), steps), yielder).await;
    let mut refusals = Refusals::default();
    // Series of both sides that are one in the answer.
    let mut twins: HashMap<Box<[u8]>, usize> = HashMap::new();
    if !how.keeps_equal_apart() {
        twins.extend((0..right.len()).map(|at| (right.labels(at).into(), at)));
    }
    let (mut words, mut rest) = (Vec::new(), Vec::new());
    let remaining = |at: usize, rest: &mut Vec<u64>| {
        right.valid(at, steps, rest);
        rest.iter_mut().zip(there.get(right.group(at))).for_each(|(rest, there)| *rest &= !there);
    };
    for at in 0..left.len() {
        let labels = left.labels(at);
        let mut valid = Vec::new();
        left.valid(at, steps, &mut valid);
        let mut row = Taken::of(left, at, &valid, &mut words);
        let mut drop_name = left.drop_name(at);
        if let Some(twin) = twins.get(labels.as_ref()) {
            remaining(*twin, &mut rest);
            if let Some(step) = bits::ones(&rest).find(|step| bits::get(&valid, *step)) {
                refusals.add(step, Rank::Result, same_labels);
            }
            // The earlier one says whether the name goes.
            if bits::ones(&rest).next() < bits::ones(&valid).next() && bits::count(&rest) > 0 {
                drop_name = right.drop_name(*twin);
            }
            row.extend(Taken::of(right, *twin, &rest, &mut words));
            twins.remove(labels.as_ref());
        }
        how.grow(steps)?;
        out.push_mixed((&labels, drop_name), (&row.values, &row.valid), &row.cells)?;
        yielder.check().await;
    }
    let apart = how.keeps_equal_apart();
    for at in (0..right.len()).filter(|at| apart || twins.contains_key(right.labels(*at).as_ref())) {
        remaining(at, &mut rest);
        let row = Taken::of(right, at, &rest, &mut words);
        how.grow(steps)?;
        out.push_mixed((&right.labels(at), right.drop_name(at)), (&row.values, &row.valid), &row.cells)?;
        yielder.check().await;
    }
    refusals.into_result()
}
