//! `/targets` and `/scrape_pools`: what is scraped and how it went.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use chrono::{DateTime, SecondsFormat};
use serde::{Serialize, Serializer};

use super::params::Form;
use super::reply::{Reply, success};
use super::{Door, Rooms};
use crate::model::Labels;
use crate::source::{self, TargetStatus};

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

#[derive(Debug, Default, Serialize)]
struct Targets {
    #[serde(rename = "activeTargets")]
    active: Vec<ActiveTarget>,
    #[serde(rename = "droppedTargets")]
    dropped: Vec<DroppedTarget>,
    /// `null` where dropped targets were not asked for.
    #[serde(rename = "droppedTargetCounts")]
    dropped_counts: Option<BTreeMap<String, usize>>,
}

/// Labels as a JSON object.
#[derive(Debug, Default)]
pub(super) struct LabelObject(pub(super) Vec<(String, String)>);

impl From<&Labels> for LabelObject {
    fn from(labels: &Labels) -> Self {
        Self(labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
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
    let wanted = |of: &str| pool.is_empty() || pool == of;
    let mut answer = Targets::default();
    let found = rooms.scraper.targets();
    if any || state == "active" {
        let active = found.active.iter().filter(|target| wanted(&target.pool));
        answer.active = active.map(ActiveTarget::from).collect();
    }
    if any || state == "dropped" {
        let dropped = found.dropped.into_iter().filter(|target| wanted(&target.pool));
        answer.dropped = dropped.map(DroppedTarget::from).collect();
        answer.dropped_counts = Some(found.dropped_counts);
    }
    success(answer)
}

/// GET `/scrape_pools`.
pub(super) async fn scrape_pools(State(door): State<Arc<Door>>) -> Reply {
    let mut pools = door.rooms()?.scraper.scrape_pools();
    pools.sort();
    success(BTreeMap::from([("scrapePools", pools)]))
}

/// All that is scraped, sorted by job.
pub(super) fn active_targets(rooms: &Rooms) -> Vec<ActiveTarget> {
    rooms.scraper.targets().active.iter().map(ActiveTarget::from).collect()
}

impl From<&TargetStatus> for ActiveTarget {
    fn from(target: &TargetStatus) -> Self {
        Self {
            discovered_labels: LabelObject::from(&target.discovered),
            labels: LabelObject(target.labels.clone()),
            scrape_pool: target.pool.clone(),
            scrape_url: target.url.clone(),
            global_url: target.global_url(&host_name()),
            last_error: target.last.error.clone(),
            last_scrape: rfc3339(target.last.at_ms),
            last_scrape_duration: target.last.seconds,
            health: target.last.health.as_str().to_owned(),
            scrape_interval: target.interval.to_string(),
            scrape_timeout: target.timeout.to_string(),
        }
    }
}

impl From<source::DroppedTarget> for DroppedTarget {
    fn from(target: source::DroppedTarget) -> Self {
        Self { discovered_labels: LabelObject::from(&target.discovered), scrape_pool: target.pool }
    }
}

/// What this machine calls itself.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}
