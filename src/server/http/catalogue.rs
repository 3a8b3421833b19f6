//! `/labels`, `/label/<name>/values`, `/series`, `/metadata`: what there is, without values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Serialize;

use super::full_labels::full_labels;
use super::outgoing::{Outgoing, streamed};
use super::params::{Form, atoi, quote};
use super::reply::{ApiError, Reply, invalid_parameter, json_body, json_bytes, success, success_with};
use super::{Door, names};
use crate::error;
use crate::model::time::{MAX_TIME_MS, MIN_TIME_MS};
use crate::model::{Matcher, MetricMetadata, SeriesKey};
use crate::wire::json::{push_object, push_string};

/// An answer with fewer series is written in one buffer.
const SMALL_SERIES: usize = 2_000;

/// What Prometheus says when `limit` cut an answer.
pub(super) const TRUNCATED: &str = "results truncated due to limit";

/// What the three look-ups have in common.
struct Lookup {
    limit: Option<usize>,
    /// ms, both inclusive.
    start: i64,
    end: i64,
    /// Any of the sets may match; none means everything.
    matchers: Vec<Vec<Matcher>>,
}

impl Lookup {
    fn new(form: &Form) -> Result<Self, ApiError> {
        let limit = form.limit()?;
        let start = form.time_or("start", MIN_TIME_MS)?;
        let end = form.time_or("end", MAX_TIME_MS)?;
        Ok(Self { limit, start, end, matchers: matcher_sets(form).map_err(ApiError::bad_data)? })
    }

    /// The sets, or one that matches everything.
    fn sets(&self) -> Vec<Vec<Matcher>> {
        if self.matchers.is_empty() { vec![Vec::new()] } else { self.matchers.clone() }
    }

    /// Cuts the answer and says so.
    fn answer<T: Serialize>(&self, mut found: Vec<T>) -> Reply {
        let limit = self.limit.unwrap_or(usize::MAX);
        if found.len() <= limit {
            return success(found);
        }
        found.truncate(limit);
        success_with(found, &[TRUNCATED.to_owned()])
    }
}

/// `match[]`: every set must have a matcher that refuses the empty value.
pub(super) fn matcher_sets(form: &Form) -> Result<Vec<Vec<Matcher>>, String> {
    let mut sets = Vec::new();
    for text in form.values("match[]") {
        let set = crate::query::parse_selector(text).map_err(|e| e.to_string())?;
        if set.iter().all(|matcher| matcher.matches("")) {
            return Err("match[] must contain at least one non-empty matcher".to_owned());
        }
        sets.push(set);
    }
    Ok(sets)
}

/// GET or POST `/labels`.
pub(super) async fn labels(State(door): State<Arc<Door>>, form: Form) -> Reply {
    let rooms = door.rooms()?;
    let lookup = Lookup::new(&form)?;
    let snapshot = rooms.snapshot();
    let mut found = BTreeSet::new();
    for set in lookup.sets() {
        found.extend(snapshot.label_names(set, lookup.start, lookup.end).await?);
    }
    lookup.answer(found.into_iter().collect())
}

/// GET `/label/<name>/values`; the name may be `U__`-escaped.
pub(super) async fn label_values(
    State(door): State<Arc<Door>>,
    Path(name): Path<String>,
    form: Form,
) -> Reply {
    let rooms = door.rooms()?;
    let name = names::unescape(&name);
    if name.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {}", quote(&name))));
    }
    let lookup = Lookup::new(&form)?;
    let snapshot = rooms.snapshot();
    let mut found = BTreeSet::new();
    for set in lookup.sets() {
        found.extend(snapshot.label_values(&name, set, lookup.start, lookup.end).await?);
    }
    lookup.answer(found.into_iter().collect())
}

/// GET or POST `/series`.
pub(super) async fn series(State(door): State<Arc<Door>>, form: Form) -> Reply {
    let rooms = door.rooms()?;
    if form.values("match[]").is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let limit = form.limit()?;
    let start = form.time_or("start", MIN_TIME_MS)?;
    let end = form.time_or("end", MAX_TIME_MS)?;
    let matchers = matcher_sets(&form).map_err(|e| invalid_parameter("match[]", e))?;
    let lookup = Lookup { limit, start, end, matchers };
    let snapshot = rooms.snapshot();
    let mut found = BTreeSet::new();
    for set in lookup.sets() {
        let selection = snapshot.select(set, start, end).await?;
        found.extend(selection.series().iter().map(|series| series.key.clone()));
    }
    let truncated = limit.is_some_and(|limit| found.len() > limit);
    let keys: Vec<_> = found.into_iter().take(limit.unwrap_or(usize::MAX)).collect();
    if keys.len() < SMALL_SERIES {
        let whole = Outgoing::whole(64 + keys.len() * 128);
        return Ok(json_bytes(write_series(keys, truncated, whole).await?.into_bytes()));
    }
    Ok(json_body(streamed(&rooms.pools, |out| write_series(keys, truncated, out))))
}

async fn write_series(keys: Vec<SeriesKey>, truncated: bool, mut out: Outgoing) -> error::Result<Outgoing> {
    out.buffer().extend_from_slice(b"{\"status\":\"success\",\"data\":[");
    for (at, key) in keys.iter().enumerate() {
        if at > 0 {
            out.buffer().push(b',');
        }
        push_object(out.buffer(), full_labels(key, &[]));
        out.pass().await?;
    }
    out.buffer().push(b']');
    if truncated {
        out.buffer().extend_from_slice(b",\"warnings\":[");
        push_string(out.buffer(), TRUNCATED);
        out.buffer().push(b']');
    }
    out.buffer().push(b'}');
    Ok(out)
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    help: &'a str,
    unit: &'a str,
}

impl<'a> From<&'a MetricMetadata> for Metadata<'a> {
    fn from(family: &'a MetricMetadata) -> Self {
        Self { kind: family.kind.as_str(), help: &family.help, unit: &family.unit }
    }
}

/// GET `/metadata`. A family has one entry here, so that `limit_per_metric` never cuts.
pub(super) async fn metadata(State(door): State<Arc<Door>>, form: Form) -> Reply {
    let rooms = door.rooms()?;
    let limit = optional_number(&form, "limit")?;
    optional_number(&form, "limit_per_metric")?;
    let metric = form.value("metric");
    let snapshot = rooms.snapshot();
    let catalogue = snapshot.catalogue();
    let wanted = catalogue.families().filter(|family| metric.is_empty() || *family.metric == *metric);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let found: BTreeMap<&str, [Metadata<'_>; 1]> =
        wanted.take(limit).map(|family| (&*family.metric, [Metadata::from(&**family)])).collect();
    success(found)
}

/// `None` when absent; negative means no limit.
fn optional_number(form: &Form, name: &str) -> Result<Option<i64>, ApiError> {
    match form.value(name) {
        "" => Ok(None),
        text => atoi(text).map(Some).map_err(|_| ApiError::bad_data(format!("{name} must be a number"))),
    }
}
