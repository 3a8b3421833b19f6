//! Functions over label sets in PromQL's form: `__name__` in front of the canonical labels.

use std::cmp::Ordering;

use crate::model::{LabelsRef, METRIC_NAME, SeriesKey, push_pair};
use crate::query::plan::Grouping;

/// Labels that say what a metric is; they go when the name goes. In byte order.
const METADATA: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// Whether a label says what a metric is.
pub(crate) fn is_metadata(name: &str) -> bool {
    METADATA.contains(&name)
}

/// Appends a series' labels in PromQL's form.
pub(crate) fn push_series(bytes: &mut Vec<u8>, key: &SeriesKey) {
    push_pair(bytes, METRIC_NAME, &key.metric);
    bytes.extend_from_slice(key.labels.as_bytes());
}

/// Appends the labels without the name (and what belongs to it).
pub(crate) fn push_without_name(bytes: &mut Vec<u8>, labels: LabelsRef<'_>) {
    for (name, value) in labels.iter().filter(|(name, _)| !is_metadata(name)) {
        push_pair(bytes, name, value);
    }
}

/// Appends the labels that the node above sees: without the name where it goes and goes at once.
pub(crate) fn push_visible(
    bytes: &mut Vec<u8>,
    (labels, drop_name): (LabelsRef<'_>, bool),
    immediate_names: bool,
) {
    if drop_name && immediate_names {
        push_without_name(bytes, labels);
    } else {
        bytes.extend_from_slice(labels.as_bytes());
    }
}

/// Appends the labels with one of them set anew, or left out where its value is empty.
pub(crate) fn push_with(bytes: &mut Vec<u8>, labels: LabelsRef<'_>, name: &str, value: &str) {
    // The name stands in front of all others.
    let rank = |name: &str| name != METRIC_NAME;
    let mut set = false;
    for (own, own_value) in labels {
        if !set && (rank(own), own) >= (rank(name), name) {
            push_pair(bytes, name, value);
            set = true;
        }
        if own != name {
            push_pair(bytes, own, own_value);
        }
    }
    if !set {
        push_pair(bytes, name, value);
    }
}

/// Appends the labels of the group that a series belongs to. `nameless`: the series' name is already gone.
pub(crate) fn push_group(bytes: &mut Vec<u8>, labels: LabelsRef<'_>, grouping: &Grouping, nameless: bool) {
    for (name, value) in labels {
        let kept = match grouping {
            Grouping::By(names) => names.iter().any(|by| by == name),
            Grouping::Without(names) => name != METRIC_NAME && !names.iter().any(|gone| gone == name),
        };
        if kept && !(nameless && is_metadata(name)) {
            push_pair(bytes, name, value);
        }
    }
}

/// The pairs as they are shown and sorted: all names in byte order, `__name__` at its place among them.
pub(crate) fn in_output_order(labels: LabelsRef<'_>) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = labels.iter().peekable();
    let mut name = rest.next_if(|(name, _)| *name == METRIC_NAME);
    std::iter::from_fn(move || {
        let next_is_later = rest.peek().is_none_or(|(next, _)| *next > METRIC_NAME);
        if name.is_some() && next_is_later { name.take() } else { rest.next() }
    })
}

/// Prometheus' order of label sets: pair by pair, names before values, a prefix first.
pub(crate) fn compare(left: LabelsRef<'_>, right: LabelsRef<'_>) -> Ordering {
    in_output_order(left).cmp(in_output_order(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in pairs {
            push_pair(&mut bytes, name, value);
        }
        bytes
    }

    #[test]
    fn the_name_is_shown_at_its_place() {
        let bytes = canonical(&[("__name__", "up"), ("Zone", "a"), ("__address__", "b"), ("job", "c")]);
        let shown: Vec<_> = in_output_order(LabelsRef::trusted(&bytes)).map(|(name, _)| name).collect();
        assert_eq!(shown, ["Zone", "__address__", "__name__", "job"]);
        let bytes = canonical(&[("__name__", "up")]);
        assert_eq!(in_output_order(LabelsRef::trusted(&bytes)).count(), 1);
        assert_eq!(in_output_order(LabelsRef::trusted(b"")).count(), 0);
    }

    #[test]
    fn a_label_is_set_at_its_place() {
        let bytes = canonical(&[("__name__", "up"), ("b", "1"), ("d", "2")]);
        let set = |name, value| {
            let mut out = Vec::new();
            push_with(&mut out, LabelsRef::trusted(&bytes), name, value);
            LabelsRef::trusted(&out).to_string()
        };
        assert_eq!(set("a", "x"), r#"{__name__="up", a="x", b="1", d="2"}"#);
        assert_eq!(set("c", "x"), r#"{__name__="up", b="1", c="x", d="2"}"#);
        assert_eq!(set("e", "x"), r#"{__name__="up", b="1", d="2", e="x"}"#);
        assert_eq!(set("d", "x"), r#"{__name__="up", b="1", d="x"}"#);
        assert_eq!(set("d", ""), r#"{__name__="up", b="1"}"#);
        assert_eq!(set("__name__", ""), r#"{b="1", d="2"}"#);
        assert_eq!(set("__name__", "down"), r#"{__name__="down", b="1", d="2"}"#);
        assert_eq!(set("Z", "x"), r#"{__name__="up", Z="x", b="1", d="2"}"#);
        let mut out = Vec::new();
        push_with(&mut out, LabelsRef::trusted(b""), "__name__", "up");
        assert_eq!(LabelsRef::trusted(&out).to_string(), r#"{__name__="up"}"#);
    }

    #[test]
    fn groups_keep_what_the_grouping_says() {
        let bytes = canonical(&[("__name__", "up"), ("__unit__", "s"), ("a", "1"), ("b", "2")]);
        let labels = LabelsRef::trusted(&bytes);
        let group = |grouping: &Grouping, nameless| {
            let mut bytes = Vec::new();
            push_group(&mut bytes, labels, grouping, nameless);
            LabelsRef::trusted(&bytes).to_string()
        };
        let by = Grouping::By(vec!["__name__".into(), "b".into(), "missing".into()]);
        assert_eq!(group(&by, false), r#"{__name__="up", b="2"}"#);
        assert_eq!(group(&by, true), r#"{b="2"}"#, "a name that is gone makes no group");
        let without = Grouping::Without(vec!["a".into()]);
        assert_eq!(group(&without, false), r#"{__unit__="s", b="2"}"#);
        assert_eq!(group(&Grouping::By(vec![]), false), "{}");
    }
}
