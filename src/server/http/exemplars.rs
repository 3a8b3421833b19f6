//! `/query_exemplars`: the exemplars of every selector in a query.
//!
//! Source: prometheus `web/api/v1/api.go` (`queryExemplars`) and `json_codec.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;

use super::Door;
use super::params::Form;
use super::reply::{ApiError, Reply, json_bytes};
use crate::model::time::{MAX_TIME_MS, MIN_TIME_MS};
use crate::model::{Exemplar, LabelsRef, METRIC_NAME, SeriesKey, push_pair};
use crate::store::SeriesExemplars;
use crate::wire::json::{push_labels, push_timestamp, push_value};

/// GET or POST. Grafana sends milliseconds here where seconds are meant: they are clamped.
pub(super) async fn exemplars(State(door): State<Arc<Door>>, form: Form) -> Reply {
    let rooms = door.rooms()?;
    let start = form.time_or("start", MIN_TIME_MS)?;
    let end = form.time_or("end", MAX_TIME_MS)?;
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let selectors = crate::query::selectors(form.value("query"));
    let selectors = selectors.map_err(|e| ApiError::bad_data(e.to_string()))?;
    let snapshot = rooms.snapshot();
    let mut found = BTreeMap::new();
    for matchers in selectors {
        for series in snapshot.exemplars(matchers, start, end).await? {
            // Another selector may have found the series already, with the same exemplars.
            found.insert(sorted_labels(&series.key), series);
        }
    }
    Ok(json_bytes(to_json(found.values())))
}

/// All labels, the metric's name among them, by name: answers are sorted by them.
fn sorted_labels(key: &SeriesKey) -> Vec<(String, String)> {
    let labels = key.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut all: Vec<_> = labels.chain([(METRIC_NAME.to_owned(), key.metric.to_string())]).collect();
    all.sort_unstable();
    all
}

fn to_json<'a>(found: impl Iterator<Item = &'a SeriesExemplars>) -> Vec<u8> {
    let mut out = b"{\"status\":\"success\",\"data\":[".to_vec();
    for (at, SeriesExemplars { key, exemplars }) in found.enumerate() {
        let mut labels = Vec::new();
        push_pair(&mut labels, METRIC_NAME, &key.metric);
        labels.extend_from_slice(key.labels.as_bytes());
        let lead: &[u8] = if at > 0 { b"," } else { b"" };
        out.extend_from_slice(lead);
        out.extend_from_slice(b"{\"seriesLabels\":");
        push_labels(&mut out, LabelsRef::trusted(&labels));
        out.extend_from_slice(b",\"exemplars\":[");
        for (at, exemplar) in exemplars.iter().enumerate() {
            let lead: &[u8] = if at > 0 { b"," } else { b"" };
            out.extend_from_slice(lead);
            push_exemplar(&mut out, exemplar);
        }
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(b"]}");
    out
}

fn push_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    out.extend_from_slice(b"{\"labels\":");
    push_labels(out, exemplar.labels.as_ref());
    out.extend_from_slice(b",\"value\":");
    push_value(out, exemplar.value);
    out.extend_from_slice(b",\"timestamp\":");
    push_timestamp(out, exemplar.timestamp);
    out.push(b'}');
}
