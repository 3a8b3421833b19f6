//! `/targets/metadata`: what is known about the metric families of each target.
//!
//! Prometheus keeps what each target said. quipu keeps one entry a family, so a target has the families of which
//! it has series: of the family's name, or with one of the suffixes that types add.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;

use super::Door;
use super::params::{Form, atoi};
use super::reply::{ApiError, Reply, invalid_parameter, success};
use super::targets::LabelObject;
use crate::model::{METRIC_NAME, Matcher, MetricMetadata};
use crate::source::TargetStatus;

/// How long after its last sample a series still counts as the target's, ms.
const RECENT_MS: i64 = 60 * 60 * 1_000;
const SUFFIXES: [&str; 7] = ["", "_bucket", "_count", "_created", "_info", "_sum", "_total"];

#[derive(Serialize)]
struct TargetMetadata {
    target: LabelObject,
    /// Left out where the question names it.
    #[serde(skip_serializing_if = "str::is_empty")]
    metric: Arc<str>,
    #[serde(rename = "type")]
    kind: &'static str,
    help: Arc<str>,
    unit: Arc<str>,
}

/// GET: `match_target` selects targets by their labels, `metric` one family. As in Prometheus `limit` ends the
/// list after the target with which it is reached.
pub(super) async fn target_metadata(State(door): State<Arc<Door>>, form: Form) -> Reply {
    let rooms = door.rooms()?;
    let limit = match form.value("limit") {
        "" => -1,
        text => atoi(text).map_err(|_| ApiError::bad_data("limit must be a number"))?,
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let matchers = match form.value("match_target") {
        "" => Vec::new(),
        text => crate::query::parse_selector(text).map_err(|e| invalid_parameter("match_target", e))?,
    };
    let metric = form.value("metric");
    let (snapshot, now_ms) = (rooms.snapshot(), door.clock.now_ms());
    let families: Vec<_> = snapshot.catalogue().families().cloned().collect();
    let wanted = |family: &&Arc<MetricMetadata>| metric.is_empty() || *family.metric == *metric;
    let mut found = Vec::new();
    for target in rooms.scraper.targets().active {
        if found.len() >= limit {
            break;
        }
        if !matches(&target, &matchers) {
            continue;
        }
        let own = target.labels.iter().map(|(name, value)| Matcher::equal(name.as_str(), value.as_str()));
        let from_ms = now_ms.saturating_sub(RECENT_MS);
        let names = snapshot.label_values(METRIC_NAME, own.collect(), from_ms, now_ms).await?;
        let there = families.iter().filter(wanted).filter(|family| exposes(&names, family));
        found.extend(there.map(|family| TargetMetadata {
            target: LabelObject(target.labels.clone()),
            metric: if metric.is_empty() { Arc::clone(&family.metric) } else { "".into() },
            kind: family.kind.as_str(),
            help: Arc::clone(&family.help),
            unit: Arc::clone(&family.unit),
        }));
    }
    success(found)
}

fn matches(target: &TargetStatus, matchers: &[Matcher]) -> bool {
    let value = |name: &str| target.labels.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value);
    matchers.iter().all(|matcher| matcher.matches(value(matcher.name())))
}

fn exposes(names: &BTreeSet<String>, family: &MetricMetadata) -> bool {
    SUFFIXES.iter().any(|suffix| names.contains(&format!("{}{suffix}", family.metric)))
}
