//! The order of the rows of an instant query.

use std::cmp::Ordering;

use arrow::array::RecordBatch;

use super::aggregate::Row;
use super::batch::{Rows, View};
use super::labels::compare;
use crate::error::Result;
use crate::model::LabelsRef;
use crate::query::plan::{GridSchema, Sort};

/// One row: its value, labels and place.
struct Entry<'a> {
    value: f64,
    labels: LabelsRef<'a>,
    place: (usize, usize),
}

/// The rows that have a value at the only step, in order.
pub(crate) fn sorted(views: &[View<'_>], sort: &Sort, schema: &GridSchema) -> Result<RecordBatch> {
    let mut order = Vec::new();
    let mut words = Vec::new();
    for (at, view) in views.iter().enumerate() {
        for row in 0..view.len() {
            let cells = view.row(row, &mut words);
            // By value only floats can be ordered; by labels everything.
            let has_histogram = sort.labels.is_some() && !view.histograms(row)?.is_empty();
            if cells.is_valid(0) || has_histogram {
                order.push(Entry { value: cells.values[0], labels: view.labels(row), place: (at, row) });
            }
        }
    }
    match &sort.labels {
        None => order.sort_by(|a, b| by_value(a.value, b.value, sort.descending)),
        Some(names) => order.sort_by(|a, b| {
            let order = by_labels(a.labels, b.labels, names);
            if sort.descending { order.reverse() } else { order }
        }),
    }
    let mut rows = Rows::new(schema, order.len());
    for Entry { place: (at, row), .. } in order {
        let view = &views[at];
        let Row { values, valid } = view.row(row, &mut words);
        rows.push(view.labels(row).as_bytes(), view.drop_name(row), values, valid);
        if sort.labels.is_some() {
            rows.attach(&view.histograms(row)?);
        }
    }
    rows.finish()
}

/// NaN comes last in both directions.
fn by_value(a: f64, b: f64, descending: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) if descending => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (a, b) => a.cmp(&b),
    }
}

/// The labels one after the other, and all of them where those are the same.
fn by_labels(a: LabelsRef<'_>, b: LabelsRef<'_>, names: &[String]) -> Ordering {
    let value = |labels: LabelsRef<'_>, name: &str| labels.get(name).unwrap_or_default().to_owned();
    let differ = names.iter().map(|name| (value(a, name), value(b, name))).find(|(a, b)| a != b);
    differ.map_or_else(|| compare(a, b), |(a, b)| natural(&a, &b))
}

/// Runs of digits as numbers, everything between them as text; what is still equal, as text.
///
/// Prometheus uses a package (facette/natsort) whose answer is no order for an empty text, for `1` against `01` and for
/// numbers beyond 64 bits; it is followed where it is one.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (chunks(a), chunks(b));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return a.cmp(b),
            (left, right) => match (left, right) {
                (Some(left), Some(right)) => match (digits(left), digits(right)) {
                    (Some(left), Some(right)) => (left.len(), left).cmp(&(right.len(), right)),
                    _ => left.cmp(right),
                },
                (left, right) => left.cmp(&right),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// A run of digits without leading zeros; `None` for text.
fn digits(chunk: &str) -> Option<&str> {
    chunk.starts_with(|c: char| c.is_ascii_digit()).then(|| chunk.trim_start_matches('0'))
}

fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_digit = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (chunk, after) = rest.split_at(end);
        rest = after;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_as_numbers() {
        let mut all = ["b", "a10", "a9", "10", "9", "a", "", "a9b", "100000000000000000000", "a09", "é", "1"];
        all.sort_by(|a, b| natural(a, b));
        assert_eq!(
            all,
            ["", "1", "9", "10", "100000000000000000000", "a", "a09", "a9", "a9b", "a10", "b", "é"]
        );
    }
}
