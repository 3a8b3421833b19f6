//! The labels of what two series give together, and label sets in errors.

use crate::model::{LabelsRef, METRIC_NAME, push_pair};
use crate::query::exec::labels::{in_output_order, is_metadata};
use crate::query::plan::{Grouping, go_quoted};

/// Which labels a result has.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResultLabels<'a> {
    /// The result is no longer the metric.
    pub(super) drops_name: bool,
    /// One-to-one: only what was matched on, or all but what was ignored. Else all labels of the "many" side.
    pub(super) reduced_by: Option<&'a Grouping>,
    /// Copied from the "one" side, or removed where it has none.
    pub(super) include: &'a [String],
}

impl ResultLabels<'_> {
    /// Appends the labels of the result of two series.
    pub(super) fn push(&self, bytes: &mut Vec<u8>, many: LabelsRef<'_>, one: LabelsRef<'_>) {
        let is_kept = |name: &str| {
            let listed = |names: &[String]| names.iter().any(|listed| listed == name);
            let stays = match self.reduced_by {
                Some(Grouping::By(names)) => listed(names),
                Some(Grouping::Without(names)) => !listed(names),
                None => true,
            };
            stays && !listed(self.include) && !(self.drops_name && is_metadata(name))
        };
        let kept = many.iter().filter(|(name, _)| is_kept(name));
        if self.include.is_empty() {
            kept.for_each(|(name, value)| push_pair(bytes, name, value));
            return;
        }
        let included = self.include.iter().filter_map(|name| Some((name.as_str(), one.get(name)?)));
        let mut pairs: Vec<(&str, &str)> = kept.chain(included).collect();
        // The name stands in front of the sorted others.
        pairs.sort_unstable_by_key(|(name, _)| (*name != METRIC_NAME, *name));
        pairs.dedup();
        for (name, value) in pairs {
            push_pair(bytes, name, value);
        }
    }
}

/// A label set as Prometheus writes it: `{__name__="up", job="x"}`.
pub(super) fn text_of(labels: &[u8]) -> String {
    let pair = |(name, value): (&str, &str)| {
        let name = if is_plain(name) { name.to_owned() } else { go_quoted(name) };
        format!("{name}={}", go_quoted(value))
    };
    let pairs: Vec<String> = in_output_order(LabelsRef::trusted(labels)).map(pair).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Whether a label name needs no quotes.
fn is_plain(name: &str) -> bool {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_start) && name.chars().all(|c| is_start(c) || c.is_ascii_digit())
}
