//! From the labels that a target exposes to those that are stored: target labels, `exported_` names, metric
//! relabelling, checks and limits. Runs once per new line, never for a known one.

use crate::error::{Error, Kind, Result};
use crate::model::METRIC_NAME;
use crate::source::label_set::LabelSet;
use crate::source::relabel;
use crate::source::settings::{Limits, ProbeLabels};

const EXPORTED: &str = "exported_";

/// The labels of one sample on their way into the store.
///
/// `None` when relabelling dropped it.
///
/// # Errors
/// `Invalid` without a metric name or with an invalid name, `Limit` beyond a label limit: the scrape fails.
pub(super) fn merge(
    mut labels: LabelSet,
    target: &LabelSet,
    probe: &ProbeLabels,
    limits: &Limits,
) -> Result<Option<LabelSet>> {
    if probe.honor_labels {
        for (name, value) in target.iter() {
            labels.set_missing(name, value);
        }
    } else {
        take_target_labels(&mut labels, target);
    }
    if !relabel::apply(&probe.metric_relabel, &mut labels) || labels.is_empty() {
        return Ok(None);
    }
    check(&labels, probe, limits)?;
    Ok(Some(labels))
}

/// The target's labels win; what they displace is kept under a longer name, shorter names first, as Prometheus
/// does.
fn take_target_labels(labels: &mut LabelSet, target: &LabelSet) {
    let mut displaced: Vec<(String, String)> = Vec::new();
    for (name, value) in target.iter() {
        let exposed = labels.get(name);
        if !exposed.is_empty() {
            displaced.push((name.to_owned(), exposed.to_owned()));
        }
        labels.set(name, value);
    }
    displaced.sort_by(|a, b| (a.0.len(), &a.0).cmp(&(b.0.len(), &b.0)));
    for (name, value) in displaced {
        let mut renamed = format!("{EXPORTED}{name}");
        while !labels.get(&renamed).is_empty() {
            renamed.insert_str(0, EXPORTED);
        }
        labels.set(&renamed, &value);
    }
}

/// The labels of a series about the scrape itself: the target's, and the metric's name.
pub(super) fn report(metric: &str, target: &LabelSet) -> LabelSet {
    let mut labels = target.clone();
    labels.set(METRIC_NAME, metric);
    labels
}

fn check(labels: &LabelSet, probe: &ProbeLabels, limits: &Limits) -> Result<()> {
    let metric = labels.get(METRIC_NAME);
    if metric.is_empty() {
        return Err(Error::invalid(format!("missing metric name ({METRIC_NAME} label)")));
    }
    let names = probe.name_scheme;
    let bad = labels.iter().find(|(name, _)| !names.is_label_name(name)).map(|(name, _)| name);
    if let Some(name) = bad.or_else(|| (!names.is_metric_name(metric)).then_some(metric)) {
        let message = "invalid metric name or label names";
        return Err(Error::invalid(message).with("metric", cut(metric)).with("name", cut(name)));
    }
    if limits.labels > 0 && labels.len() > limits.labels {
        return Err(over("label_limit", labels.len(), limits.labels, metric));
    }
    for (name, value) in labels.iter() {
        if limits.label_name_length > 0 && name.len() > limits.label_name_length {
            let error = over("label_name_length_limit", name.len(), limits.label_name_length, metric);
            return Err(error.with("label", cut(name)));
        }
        if limits.label_value_length > 0 && value.len() > limits.label_value_length {
            let error = over("label_value_length_limit", value.len(), limits.label_value_length, metric);
            return Err(error.with("label", cut(name)).with("value", cut(value)));
        }
    }
    Ok(())
}

fn over(limit: &str, found: usize, allowed: usize, metric: &str) -> Error {
    let message = format!("{limit} exceeded");
    Error::new(Kind::Limit, message).with("metric", cut(metric)).with("found", found).with("limit", allowed)
}

/// The first 50 characters, as Prometheus shows them.
fn cut(text: &str) -> String {
    text.chars().take(50).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::settings::{GlobalSettings, ScrapeSettings};

    fn set(pairs: &[(&str, &str)]) -> LabelSet {
        pairs.iter().copied().collect()
    }

    fn merged(sample: &[(&str, &str)], target: &[(&str, &str)], honor: bool) -> LabelSet {
        let job = ScrapeSettings::new("j", &GlobalSettings::default());
        let probe = ProbeLabels { honor_labels: honor, ..job.labels };
        let merged = merge(set(sample), &set(target), &probe, &job.limits).expect("no limit is set");
        let mut labels = merged.expect("nothing is dropped");
        labels.sort();
        labels
    }

    #[test]
    fn target_labels_win_and_displace_or_give_way() {
        let sample = [(METRIC_NAME, "m"), ("job", "own"), ("exported_job", "older"), ("x", "1")];
        let target = [("job", "api"), ("instance", "a:1")];
        let mut expected = set(&[
            (METRIC_NAME, "m"),
            ("exported_exported_job", "own"),
            ("exported_job", "older"),
            ("instance", "a:1"),
            ("job", "api"),
            ("x", "1"),
        ]);
        expected.sort();
        assert_eq!(merged(&sample, &target, false), expected);
        let honored = merged(&sample, &target, true);
        assert_eq!((honored.get("job"), honored.get("instance")), ("own", "a:1"));
        // An empty label of the sample is no label: the target's value is taken.
        assert_eq!(merged(&[(METRIC_NAME, "m"), ("job", "")], &target, true).get("job"), "api");
    }

    #[test]
    fn chained_conflicts_resolve_as_prometheus_resolves_them() {
        // From Prometheus' TestScrapeLoopAppend: foo, exported_foo and the target's both.
        let labels = merged(
            &[(METRIC_NAME, "metric"), ("foo", "1"), ("exported_foo", "2")],
            &[("foo", "3"), ("exported_foo", "4")],
            false,
        );
        assert_eq!((labels.get("foo"), labels.get("exported_foo")), ("3", "4"));
        assert_eq!(labels.get("exported_exported_foo"), "1");
        assert_eq!(labels.get("exported_exported_exported_foo"), "2");
    }

    #[test]
    fn a_limit_that_is_passed_is_named() {
        let job = ScrapeSettings::new("j", &GlobalSettings::default());
        let cases = [
            (Limits { labels: 2, ..Limits::default() }, "label_limit exceeded"),
            (Limits { label_name_length: 8, ..Limits::default() }, "label_name_length_limit exceeded"),
            (Limits { label_value_length: 3, ..Limits::default() }, "label_value_length_limit exceeded"),
        ];
        let sample = set(&[(METRIC_NAME, "m"), ("long_name", "x"), ("v", "long")]);
        for (limits, message) in cases {
            let error = merge(sample.clone(), &LabelSet::new(), &job.labels, &limits).expect_err(message);
            assert_eq!((error.kind(), error.message()), (Kind::Limit, message));
        }
        let nameless = merge(set(&[("a", "b")]), &LabelSet::new(), &job.labels, &job.limits);
        assert!(nameless.expect_err("no name").message().contains("missing metric name"));
    }
}
