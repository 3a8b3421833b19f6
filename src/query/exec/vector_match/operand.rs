//! One side of a match: its rows, each with the number of its match group.

use std::borrow::Cow;

use crate::error::{Error, Kind, Result};
use crate::model::LabelsRef;
use crate::query::exec::aggregate::Row;
use crate::query::exec::batch::View;
use crate::query::exec::groups::{Cache, Groups};
use crate::query::exec::kernel::bits;
use crate::query::exec::labels::push_without_name;
use crate::query::exec::native::Cell;
use crate::query::exec::operator::Yielder;
use crate::query::plan::Grouping;

/// The rows of one side, by their number, and by their group.
pub(super) struct Operand<'a> {
    views: &'a [View<'a>],
    rows: Vec<Place>,
    /// Where the rows of a group begin in `order`; one more than there are groups.
    starts: Vec<u32>,
    order: Vec<u32>,
    immediate_names: bool,
    /// The native histograms of each row; empty where no row has any.
    histograms: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    view: u32,
    row: u32,
    group: u32,
}

impl<'a> Operand<'a> {
    /// Finds the group of every row; [`Operand::index`] must follow once all sides have theirs.
    ///
    /// # Errors
    /// `Limit` with more than 2^32 rows.
    pub(super) async fn new(
        views: &'a [View<'a>],
        (matching, immediate_names): (&Grouping, bool),
        groups: &mut Groups,
        yielder: &mut Yielder,
    ) -> Result<Self> {
        let mut rows = Vec::with_capacity(views.iter().map(View::len).sum());
        let mut cache = Cache::default();
        let has_histograms = views.iter().any(View::has_histograms);
        let mut histograms = Vec::new();
        for (number, view) in views.iter().enumerate() {
            cache.follow(view);
            for row in 0..view.len() {
                let nameless = immediate_names && view.drop_name(row);
                let group = cache.group(view, row, (matching, nameless), groups);
                if has_histograms {
                    histograms.push(view.histograms(row)?);
                }
                rows.push(Place { view: small(number)?, row: small(row)?, group: small(group)? });
            }
            yielder.check().await;
        }
        small(rows.len())?;
        Ok(Self { views, rows, starts: Vec::new(), order: Vec::new(), immediate_names, histograms })
    }

    /// Orders the rows by group.
    pub(super) fn index(&mut self, groups: usize) {
        let mut starts = vec![0_u32; groups + 1];
        for place in &self.rows {
            starts[place.group as usize + 1] += 1;
        }
        for group in 0..groups {
            starts[group + 1] += starts[group];
        }
        let mut next = starts.clone();
        let mut order = vec![0; self.rows.len()];
        for (number, place) in (0_u32..).zip(&self.rows) {
            let at = &mut next[place.group as usize];
            order[*at as usize] = number;
            *at += 1;
        }
        (self.starts, self.order) = (starts, order);
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The group of a row.
    pub(super) fn group(&self, at: usize) -> usize {
        self.rows[at].group as usize
    }

    /// The rows of a group.
    pub(super) fn in_group(&self, group: usize) -> impl ExactSizeIterator<Item = usize> + '_ {
        let range = self.starts[group] as usize..self.starts[group + 1] as usize;
        self.order[range].iter().map(|at| *at as usize)
    }

    /// A row's native histograms.
    pub(super) fn histograms(&self, at: usize) -> &[Cell] {
        self.histograms.get(at).map_or(&[], Vec::as_slice)
    }

    /// Whether any row has native histograms.
    pub(super) fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// A row's floats; `words` holds its validity where not all steps have a value.
    pub(super) fn row<'b>(&'b self, at: usize, words: &'b mut Vec<u64>) -> Row<'b> {
        let place = self.rows[at];
        self.views[place.view as usize].row(place.row as usize, words)
    }

    /// Puts the steps at which a row has a float or a histogram into `valid`.
    pub(super) fn valid(&self, at: usize, steps: usize, valid: &mut Vec<u64>) {
        if self.row(at, valid).valid.is_none() {
            valid.clear();
            valid.resize(bits::word_count(steps), 0);
            bits::set_all(valid, steps);
        }
        for (step, _) in self.histograms(at) {
            bits::set(valid, *step as usize);
        }
    }

    /// The steps at which any of these rows has a value.
    pub(super) fn any(&self, rows: impl Iterator<Item = usize>, steps: usize) -> Vec<u64> {
        let (mut any, mut valid) = (vec![0; bits::word_count(steps)], Vec::new());
        for at in rows {
            self.valid(at, steps, &mut valid);
            any.iter_mut().zip(&valid).for_each(|(any, valid)| *any |= valid);
        }
        any
    }

    /// A row's labels as they count here: without the name where names go at once and this one's has gone.
    pub(super) fn labels(&self, at: usize) -> Cow<'a, [u8]> {
        let place = self.rows[at];
        let view = &self.views[place.view as usize];
        let labels: LabelsRef<'a> = view.labels(place.row as usize);
        if !(self.immediate_names && view.drop_name(place.row as usize)) {
            return Cow::Borrowed(labels.as_bytes());
        }
        let mut bytes = Vec::with_capacity(labels.as_bytes().len());
        push_without_name(&mut bytes, labels);
        Cow::Owned(bytes)
    }

    /// Whether the name is still to go.
    pub(super) fn drop_name(&self, at: usize) -> bool {
        let place = self.rows[at];
        !self.immediate_names && self.views[place.view as usize].drop_name(place.row as usize)
    }
}

fn small(number: usize) -> Result<u32> {
    u32::try_from(number)
        .map_err(|_| Error::new(Kind::Limit, "more than 2^32 series on one side of an operator"))
}
