//! `/api/v1/status/…`, `/rules`, `/alerts`, `/alertmanagers`: what the node says about itself.
//!
//! Rules and alerting do not exist yet; their answers are empty in Prometheus' shape, because Grafana asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use serde_json::json;

use super::Door;
use super::params::{Form, quote};
use super::reply::{ApiError, Reply, invalid_parameter, success};
use super::targets::{host_name, rfc3339};
use crate::error::Error;

/// The Prometheus whose API this is; clients choose features by it. Ours stands behind the `+`, which
/// semantic versioning ignores in comparisons.
const API_VERSION: &str = concat!("3.14.0+quipu-", env!("CARGO_PKG_VERSION"));

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo {
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
}

/// GET `/status/buildinfo`.
pub(super) async fn build_info() -> Reply {
    success(BuildInfo {
        version: API_VERSION,
        revision: "",
        branch: "",
        build_user: "",
        build_date: "",
        go_version: "",
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeInfo {
    start_time: String,
    #[serde(rename = "CWD")]
    working_directory: String,
    hostname: String,
    server_time: String,
    reload_config_success: bool,
    last_config_time: String,
    corruption_count: i64,
    goroutine_count: usize,
    #[serde(rename = "GOMAXPROCS")]
    processors: usize,
    #[serde(rename = "GOMEMLIMIT")]
    memory_limit: i64,
    #[serde(rename = "GOGC")]
    gogc: &'static str,
    #[serde(rename = "GODEBUG")]
    godebug: &'static str,
    storage_retention: String,
}

/// GET `/status/runtimeinfo`; tasks stand in for goroutines.
pub(super) async fn runtime_info(State(door): State<Arc<Door>>) -> Reply {
    let reload = door.last_reload();
    success(RuntimeInfo {
        start_time: rfc3339(Some(door.started_ms)),
        working_directory: std::env::current_dir().unwrap_or_default().display().to_string(),
        hostname: host_name(),
        server_time: rfc3339(Some(door.clock.now_ms())),
        reload_config_success: reload.success,
        last_config_time: rfc3339(Some(reload.loaded_ms)),
        corruption_count: 0,
        goroutine_count: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        memory_limit: i64::MAX,
        gogc: "",
        godebug: "",
        storage_retention: door.web.retention.clone(),
    })
}

/// GET `/status/flags`.
pub(super) async fn flags(State(door): State<Arc<Door>>) -> Reply {
    let flags: BTreeMap<_, _> = door.web.flags.iter().cloned().collect();
    success(flags)
}

/// GET `/status/config`: the file as it was read, or the embedded default.
pub(super) async fn config(State(door): State<Arc<Door>>) -> Reply {
    success(BTreeMap::from([("yaml", door.last_reload().yaml.as_ref())]))
}

/// GET `/rules`: there are no groups; wrong parameters are refused as Prometheus refuses them.
pub(super) async fn rules(form: Form) -> Reply {
    super::catalogue::matcher_sets(&form).map_err(ApiError::bad_data)?;
    let kind = form.url_value("type").to_ascii_lowercase();
    if !matches!(kind.as_str(), "" | "alert" | "record") {
        return Err(invalid_parameter("type", format!("not supported value {}", quote(&kind))));
    }
    let exclude = form.url_value("exclude_alerts").to_ascii_lowercase();
    if !matches!(exclude.as_str(), "" | "1" | "t" | "true" | "0" | "f" | "false") {
        let why = format!("strconv.ParseBool: parsing {}: invalid syntax", quote(&exclude));
        return Err(invalid_parameter("exclude_alerts", format!("error converting exclude_alerts: {why}")));
    }
    success(json!({"groups": []}))
}

/// GET `/alerts`: none.
pub(super) async fn alerts() -> Reply {
    success(json!({"alerts": []}))
}

/// GET `/alertmanagers`: none.
pub(super) async fn alertmanagers() -> Reply {
    success(json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}

/// What Prometheus has and quipu does not yet.
pub(super) async fn not_yet(uri: Uri) -> Reply {
    Err(Error::unsupported(format_args!("/api/v1{}", uri.path())).into())
}
