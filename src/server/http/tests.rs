//! The API through a real socket: shapes, statuses and texts that Prometheus' clients match on.

mod client;
mod data;
mod hostile;
mod logs;

use std::path::Path;
use std::sync::Arc;

use client::Server;
use tokio::sync::mpsc;

use super::*;
use crate::model::{Batch, Labels, Timestamps};
use crate::query::{EngineGround, QuerySettings};
use crate::source::Sink;
use crate::store::{StoreGround, StoreSettings};

/// Lifecycle and admin API open or closed.
fn web(open: bool) -> WebSettings {
    WebSettings {
        enable_lifecycle: open,
        enable_admin_api: open,
        cors: Cors::new(".*").expect("a regular expression"),
        max_connections: 8,
        flags: vec![("web.enable-lifecycle".to_owned(), open.to_string())],
        retention: "15d".to_owned(),
        pg_address: "127.0.0.1:5433".to_owned(),
    }
}

fn reload_of(yaml: &str) -> Reload {
    Reload { success: true, loaded_ms: 1_000, yaml: Arc::from(yaml) }
}

fn door(web: WebSettings) -> (Arc<Door>, mpsc::Receiver<Ask>) {
    let (asks, asked) = mpsc::channel(1);
    let door = Door::new(web, Clock::manual(60_000), Registry::new(), asks, reload_of("global: {}\n"));
    (door, asked)
}

/// Rooms on a store in memory, with the clock and the registry of the door.
async fn rooms(door: &Door) -> Rooms {
    let (clock, pools, registry) = (door.clock, Pools::current(), Arc::clone(&door.registry));
    let ground =
        StoreGround { registry: Arc::clone(&registry), ..StoreGround::in_memory(clock, pools.clone()) };
    let store =
        Store::open(StoreSettings::default(), ground, Path::new("/wal")).await.expect("an empty store");
    let ground = EngineGround { pools: pools.clone(), clock, registry };
    let engine = Arc::new(Engine::new(QuerySettings::default(), ground).expect("an engine"));
    let write_memory = MemoryBudget::new("test", 1 << 30);
    let sink = Sink::new(|_, _| unreachable!("nothing is scraped"), |_| unreachable!("nothing is scraped"));
    let scraper = Arc::new(Scraper::new(sink, clock, pools.clone(), &Registry::new(), 0));
    let log_rules = Arc::new(LogRules::default());
    Rooms { tenant: Tenant::default(), store, engine, scraper, pools, write_memory, log_rules }
}

async fn ready_server() -> Server {
    let (door, _asked) = door(web(false));
    door.open(rooms(&door).await);
    Server::start(door).await
}

#[tokio::test]
async fn until_recovery_is_done_only_health_and_metrics_answer() {
    let (door, _asked) = door(web(false));
    let server = Server::start(Arc::clone(&door)).await;
    let ready = server.get("/-/ready").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "Service Unavailable"));
    assert_eq!(ready.header("x-prometheus-stopping"), Some("false"));
    assert_eq!(server.get("/api/v1/targets").await.status, 503);
    let healthy = server.get("/-/healthy").await;
    assert_eq!((healthy.status, healthy.body.as_str()), (200, "quipu is Healthy.\n"));
    assert_eq!(server.get("/metrics").await.status, 200);
    assert!(server.get("/").await.body.contains("recovery is not done"));
    door.open(rooms(&door).await);
    let ready = server.get("/-/ready").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, "quipu is Ready.\n"));
    door.close();
    let stopping = server.get("/-/ready").await;
    assert_eq!((stopping.status, stopping.header("x-prometheus-stopping")), (503, Some("true")));
}

#[tokio::test]
async fn the_lifecycle_is_closed_unless_it_was_enabled() {
    let server = ready_server().await;
    for path in ["/-/reload", "/-/quit", "/-/flush"] {
        let refused = server.post(path, "", "").await;
        assert_eq!((refused.status, refused.body.as_str()), (403, "Lifecycle API is not enabled."), "{path}");
        let get = server.get(path).await;
        assert_eq!((get.status, get.body.as_str()), (405, "Only POST or PUT requests allowed"), "{path}");
    }
    for what in ["snapshot", "merge"] {
        let refused = server.post(&format!("/api/v1/admin/tsdb/{what}"), "", "").await;
        assert_eq!(refused.status, 500, "{what}");
        let text = r#"{"status":"error","errorType":"unavailable","error":"admin APIs disabled"}"#;
        assert_eq!(refused.body, text, "{what}");
    }
}

#[tokio::test]
async fn a_reload_tells_what_the_node_says() {
    let (door, mut asked) = door(web(true));
    door.open(rooms(&door).await);
    let server = Server::start(door).await;
    let node = async {
        for outcome in [Ok(()), Err(crate::error::Error::new(crate::error::Kind::Config, "line 3: no"))] {
            let Some(Ask::Reload(answer)) = asked.recv().await else { panic!("a reload was asked for") };
            answer.send(outcome).expect("the handler waits");
        }
        assert!(matches!(asked.recv().await, Some(Ask::Quit)));
    };
    let client = async {
        assert_eq!(server.post("/-/reload", "", "").await.status, 200);
        let bad = server.post("/-/reload", "", "").await;
        assert_eq!((bad.status, bad.body.as_str()), (500, "failed to reload config: line 3: no\n"));
        let quit = server.post("/-/quit", "", "").await;
        assert_eq!((quit.status, quit.body.as_str()), (200, "Requesting termination... Goodbye!"));
        let delete = server.post("/api/v1/admin/tsdb/delete_series", "", "").await;
        assert_eq!(delete.status, 422);
        assert!(
            delete.body.contains("not supported yet: /api/v1/admin/tsdb/delete_series"),
            "{}",
            delete.body
        );
    };
    tokio::join!(node, client);
}

#[tokio::test]
async fn a_day_is_merged_when_asked_for() {
    let (door, _asked) = door(web(true));
    let rooms = rooms(&door).await;
    let (store, tenant) = (rooms.store.clone(), rooms.tenant.clone());
    door.open(rooms);
    let server = Server::start(door).await;
    let series = store.resolve(&tenant, "m", Labels::empty().as_ref()).expect("a series");
    // Two files on each of two days: the day before 1970 and the first one of it.
    for time in [-2, -1, 1, 2] {
        let timestamps = Timestamps::Shared(time);
        let batch = Batch { series: vec![series], timestamps, values: vec![1.0], metadata: Vec::new() };
        store.append(&tenant, batch).await.expect("stored");
        store.flush().await.expect("flushed");
    }
    assert_eq!(store.days(&tenant), [-1, 0].into());
    let path = "/api/v1/admin/tsdb/merge";
    let files = || store.snapshot(&tenant, &Principal::default()).files();
    assert_eq!(files(), 4);
    for (query, left) in [("?day=2026-11-21", 4), ("?day=1969-12-31", 3), ("", 2), ("?day=1970-01-01", 2)] {
        let merged = server.post(&format!("{path}{query}"), "", "").await;
        assert_eq!((merged.status, merged.body.as_str(), files()), (204, "", left), "{query}");
    }
    let count = server.get("/api/v1/query?query=sum_over_time(m%5B1m%5D)&time=30").await.json();
    assert_eq!(count["data"]["result"][0]["value"][1], "4");
    let bad = server.post(&format!("{path}?day=yesterday"), "", "").await;
    assert_eq!(bad.status, 400);
    let text = r#"invalid parameter \"day\": cannot parse \"yesterday\" to a day (YYYY-MM-DD)"#;
    assert!(bad.body.contains(text), "{}", bad.body);
    assert_eq!(server.get(path).await.status, 405);
}

#[tokio::test]
async fn what_is_not_there_answers_as_go_does() {
    let server = ready_server().await;
    for path in ["/api/v1/nothing", "/nothing", "/api/v2/query"] {
        let missing = server.get(path).await;
        assert_eq!((missing.status, missing.body.as_str()), (404, "404 page not found\n"), "{path}");
    }
    assert_eq!(server.post("/api/v1/targets", "", "").await.status, 405);
    let read = server.post("/api/v1/read", "", "").await;
    assert_eq!(read.status, 422);
    let text = r#"{"status":"error","errorType":"execution","error":"not supported yet: /api/v1/read"}"#;
    assert_eq!(read.body, text);
}

#[tokio::test]
async fn status_pages_have_prometheus_shapes() {
    let server = ready_server().await;
    let cases = [
        ("/api/v1/rules", r#"{"status":"success","data":{"groups":[]}}"#),
        ("/api/v1/rules?type=Alert&exclude_alerts=true", r#"{"status":"success","data":{"groups":[]}}"#),
        ("/api/v1/alerts", r#"{"status":"success","data":{"alerts":[]}}"#),
        ("/api/v1/status/flags", r#"{"status":"success","data":{"web.enable-lifecycle":"false"}}"#),
        ("/api/v1/status/config", r#"{"status":"success","data":{"yaml":"global: {}\n"}}"#),
    ];
    for (path, body) in cases {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let bad = server.get("/api/v1/rules?type=x").await;
    let text = r#"invalid parameter \"type\": not supported value \"x\""#;
    assert_eq!(bad.status, 400);
    assert!(bad.body.contains(text), "{}", bad.body);
    let info = server.get("/api/v1/status/buildinfo").await.json();
    assert!(info["data"]["version"].as_str().is_some_and(|v| v.starts_with("3.14.0+quipu-")), "{info}");
    let info = server.get("/api/v1/status/runtimeinfo").await.json();
    assert_eq!(info["data"]["startTime"], "1970-01-01T00:01:00Z");
    assert_eq!(
        (&info["data"]["storageRetention"], &info["data"]["reloadConfigSuccess"]),
        (&"15d".into(), &true.into())
    );
}

#[tokio::test]
async fn browsers_from_elsewhere_are_answered_as_prometheus_answers_them() {
    let server = ready_server().await;
    let plain = server.get("/api/v1/alerts").await;
    assert_eq!((plain.header("vary"), plain.header("access-control-allow-origin")), (Some("Origin"), None));
    let asked = server.send("OPTIONS", "/api/v1/query", "Origin: http://g\r\n", "").await;
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (204, Some("*")));
    assert_eq!(asked.header("access-control-allow-methods"), Some("GET, POST, OPTIONS"));
    let narrow = Cors::new("https://(a|b)").expect("a regular expression");
    let (door, _asked) = door(WebSettings { cors: narrow, ..web(false) });
    let server = Server::start(door).await;
    for (origin, allowed) in [("https://a", Some("https://a")), ("https://ab", None)] {
        let header = format!("Origin: {origin}\r\n");
        let answer = server.send("GET", "/api/v1/alerts", &header, "").await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{origin}");
    }
}

#[tokio::test]
async fn answers_are_packed_when_the_client_can_unpack_and_requests_are_counted() {
    let server = ready_server().await;
    let packed = server.send("GET", "/metrics", "Accept-Encoding: gzip\r\n", "").await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let counted = "quipu_http_requests_total{handler=\"/metrics\",code=\"200\"} 1\n";
    assert!(metrics.body.contains(counted), "{}", metrics.body);
    assert!(metrics.body.contains("process_resident_memory_bytes"));
}

#[test]
fn a_client_cannot_make_names_up() {
    assert_eq!(route_name("/api/v1/label/a%2Fb/values"), "/api/v1/label/:name/values");
    assert_eq!(route_name("/api/v1/query"), "/api/v1/query");
    assert_eq!(route_name("/api/v1/anything"), "other");
}
