//! `/features`: what this server can do, by category, for clients that ask before they offer it.
//!
//! The names are those of Prometheus 3.14 (`util/features`). Only what acts is true; a category of which nothing
//! acts is left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;

use super::Door;
use super::reply::{Reply, success};

type Features = BTreeMap<&'static str, bool>;

/// GET.
pub(super) async fn features(State(door): State<Arc<Door>>) -> Reply {
    let rooms = door.rooms()?;
    let api = [
        ("admin", door.web.enable_admin_api),
        ("exclude_alerts", true),
        ("label_values_match", true),
        ("lifecycle", door.web.enable_lifecycle),
        ("query_stats", true),
        ("query_warnings", true),
        ("remote_write_receiver", true),
        ("search", false),
        ("time_range_labels", true),
        ("time_range_series", true),
    ];
    let promql = on(&[
        "anchored",
        "at_modifier",
        "bool",
        "by",
        "duration_expr",
        "fill",
        "group_left",
        "group_right",
        "ignoring",
        "negative_offset",
        "offset",
        "on",
        "per_query_lookback_delta",
        "smoothed",
        "subqueries",
        "without",
    ]);
    let all: BTreeMap<&str, Features> = BTreeMap::from([
        ("api", Features::from(api)),
        ("prometheus", Features::from([("agent_mode", false), ("server_mode", true)])),
        ("promql", promql),
        ("promql_functions", rooms.engine.functions()),
        ("promql_operators", rooms.engine.operators()),
        ("scrape", on(&["extra_scrape_metrics"])),
        ("service_discovery_providers", on(&["file", "static"])),
    ]);
    success(all)
}

fn on(names: &[&'static str]) -> Features {
    names.iter().map(|name| (*name, true)).collect()
}
