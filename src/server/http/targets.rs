//! `/targets` and `/scrape_pools`: what is scraped and how it went.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use chrono::{DateTime, SecondsFormat};
use serde::{Serialize, Serializer};

use super::params::Form;
use super::reply::{Reply, success};
use super::{Door, Rooms};
use crate::model::{Labels, METRIC_NAME, SeriesKey};

/// One target as Prometheus' API shows it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActiveTarget {
    pub(super) discovered_labels: LabelObject,
    pub(super) labels: LabelObject,
    pub(super) scrape_pool: String,
    pub(super) scrape_url: String,
    pub(super) global_url: String,
    pub(super) last_error: String,
    pub(super) last_scrape: String,
    /// Seconds.
    pub(super) last_scrape_duration: f64,
    pub(super) health: String,
    pub(super) scrape_interval: String,
    pub(super) scrape_timeout: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DroppedTarget {
    discovered_labels: LabelObject,
    scrape_pool: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<ActiveTarget>,
    dropped_targets: Vec<DroppedTarget>,
    /// `null` where dropped targets were not asked for.
    dropped_target_counts: Option<BTreeMap<String, usize>>,
}

/// Labels as a JSON object.
#[derive(Debug, Default)]
pub(super) struct LabelObject(pub(super) Vec<(String, String)>);

impl From<&Labels> for LabelObject {
    fn from(labels: &Labels) -> Self {
        Self(labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl From<&SeriesKey> for LabelObject {
    fn from(key: &SeriesKey) -> Self {
        let name = Some((METRIC_NAME.to_owned(), key.metric.to_string())).filter(|_| !key.metric.is_empty());
        let labels = key.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self(name.into_iter().chain(labels).collect())
    }
}

impl Serialize for LabelObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// A time in ms as Go writes it in JSON; `None` is Go's zero time.
pub(super) fn rfc3339(ms: Option<i64>) -> String {
    let time = ms.and_then(DateTime::from_timestamp_millis);
    time.map_or_else(
        || "0001-01-01T00:00:00Z".to_owned(),
        |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    )
}

/// GET `/targets`: `state` is `active`, `dropped` or `any`; `scrapePool` names one job.
pub(super) async fn targets(State(door): State<Arc<Door>>, form: Form) -> Reply {
    let rooms = door.rooms()?;
    let state = form.url_value("state").to_ascii_lowercase();
    let any = matches!(state.as_str(), "" | "any");
    let pool = form.url_value("scrapePool");
    let mut active = if any || state == "active" { active_targets(rooms) } else { Vec::new() };
    active.retain(|target| pool.is_empty() || target.scrape_pool == pool);
    success(Targets {
        active_targets: active,
        dropped_targets: Vec::new(),
        dropped_target_counts: (any || state == "dropped").then(BTreeMap::new),
    })
}

/// GET `/scrape_pools`.
pub(super) async fn scrape_pools(State(door): State<Arc<Door>>) -> Reply {
    door.rooms()?;
    success(BTreeMap::from([("scrapePools", Vec::<String>::new())]))
}

/// All that is scraped, sorted by job.
pub(super) fn active_targets(_rooms: &Rooms) -> Vec<ActiveTarget> {
    Vec::new()
}
