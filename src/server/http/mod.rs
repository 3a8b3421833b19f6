//! The HTTP door: Prometheus' API, remote write, health, lifecycle, `/metrics` and the landing page.
//!
//! A handler decodes the request, calls one façade and encodes the answer. What it refuses to do: evaluate,
//! store or decide about a status code (that is [`super::errors`]).
//!
//! ```text
//!   socket ─► Bounded (connections) ─► count ─► gzip ─► /api/v1 ─► cross_origin ─► handler
//!                                                  └──► /-/…, /metrics, /
//! ```

mod admission;
mod answer;
mod catalogue;
mod landing;
mod layers;
mod lifecycle;
mod logs;
mod names;
mod params;
mod query;
mod reply;
mod status;
mod targets;
mod telemetry;
mod write;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;

pub(crate) use layers::Cors;
pub(crate) use lifecycle::{Ask, Asks};
pub(crate) use targets::host_name;

use crate::model::{Principal, Tenant};
use crate::query::{Data, Engine};
use crate::runtime::{Clock, MemoryBudget, Pools, Registry, Shutdown};
use crate::source::Scraper;
use crate::store::{Snapshot, Store};
use crate::wire::logs::LogRules;

/// Settings of this door; they do not change while the node runs.
#[derive(Debug)]
pub(crate) struct WebSettings {
    /// `--web.enable-lifecycle`.
    pub(crate) enable_lifecycle: bool,
    /// `--web.enable-admin-api`.
    pub(crate) enable_admin_api: bool,
    /// `--web.cors.origin`.
    pub(crate) cors: Cors,
    /// `--web.max-connections`, over all listeners.
    pub(crate) max_connections: usize,
    /// Every flag and its value.
    pub(crate) flags: Vec<(String, String)>,
    /// The retention as Prometheus writes it; empty when everything is kept.
    pub(crate) retention: String,
    /// Where SQL is spoken, for the landing page.
    pub(crate) pg_address: String,
}

/// What the handlers call, once recovery is done.
#[derive(Debug, Clone)]
pub(crate) struct Rooms {
    /// Who writes and reads: there is one tenant so far.
    pub(crate) tenant: Tenant,
    /// The write house.
    pub(crate) store: Store,
    /// PromQL.
    pub(crate) engine: Arc<Engine>,
    /// What is scraped.
    pub(crate) scraper: Arc<Scraper>,
    /// Where large answers are written.
    pub(crate) pools: Pools,
    /// What requests that write may hold together.
    pub(crate) write_memory: MemoryBudget,
    /// What log lines may be.
    pub(crate) log_rules: Arc<LogRules>,
}

impl Rooms {
    /// What one request sees.
    fn snapshot(&self) -> Snapshot {
        self.store.snapshot(&self.tenant, &Principal::default())
    }

    /// The same for PromQL.
    fn data(&self) -> Data {
        Data::from(self.snapshot())
    }
}

/// The last attempt to read the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Reload {
    /// Whether the last attempt was taken.
    pub(crate) success: bool,
    /// When the configuration in force was read, in ms.
    pub(crate) loaded_ms: i64,
    /// The configuration in force.
    pub(crate) yaml: Arc<str>,
}

/// Everything that the handlers share.
#[derive(Debug)]
pub(crate) struct Door {
    web: WebSettings,
    clock: Clock,
    registry: Arc<Registry>,
    asks: Asks,
    started_ms: i64,
    rooms: OnceLock<Rooms>,
    reload: ArcSwap<Reload>,
    stopping: AtomicBool,
}

impl Door {
    /// A door behind which nobody is at home yet: it answers health and metrics, and 503 to everything else.
    pub(crate) fn new(
        web: WebSettings,
        clock: Clock,
        registry: Arc<Registry>,
        asks: Asks,
        reload: Reload,
    ) -> Arc<Self> {
        telemetry::register(&registry);
        telemetry::report_reload(&registry, &reload);
        Arc::new(Self {
            web,
            clock,
            registry,
            asks,
            started_ms: clock.now_ms(),
            rooms: OnceLock::new(),
            reload: ArcSwap::from_pointee(reload),
            stopping: AtomicBool::new(false),
        })
    }

    /// Recovery is done. The second call changes nothing.
    pub(crate) fn open(&self, rooms: Rooms) {
        drop(self.rooms.set(rooms));
    }

    /// The end has begun: everything but health and metrics is refused.
    pub(crate) fn close(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The configuration was read, or could not be.
    pub(crate) fn set_reload(&self, reload: Reload) {
        telemetry::report_reload(&self.registry, &reload);
        self.reload.store(Arc::new(reload));
    }

    /// What was read last.
    pub(crate) fn last_reload(&self) -> Arc<Reload> {
        self.reload.load_full()
    }

    /// The rooms, or Prometheus' 503.
    fn rooms(&self) -> Result<&Rooms, NotReady> {
        let stopping = self.stopping.load(Ordering::Acquire);
        match self.rooms.get() {
            Some(rooms) if !stopping => Ok(rooms),
            _ => Err(NotReady { stopping }),
        }
    }
}

/// Prometheus' answer before and after its time.
#[derive(Debug, Clone, Copy)]
struct NotReady {
    stopping: bool,
}

impl IntoResponse for NotReady {
    fn into_response(self) -> Response {
        let mut response = reply::text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
        let stopping = HeaderValue::from_static(if self.stopping { "true" } else { "false" });
        response.headers_mut().insert("X-Prometheus-Stopping", stopping);
        response
    }
}

/// All routes.
pub(crate) fn router(door: &Arc<Door>) -> Router {
    Router::new()
        .route("/", get(landing::page))
        .route("/metrics", get(telemetry::metrics))
        .route("/-/healthy", get(lifecycle::healthy))
        .route("/-/ready", get(lifecycle::ready))
        .route("/-/reload", post(lifecycle::reload).put(lifecycle::reload).get(lifecycle::only_post))
        .route("/-/quit", post(lifecycle::quit).put(lifecycle::quit).get(lifecycle::only_post))
        .route("/-/flush", post(lifecycle::flush).put(lifecycle::flush).get(lifecycle::only_post))
        .route("/loki/api/v1/push", post(logs::push))
        .route("/loki/{*rest}", any(logs::not_yet))
        .route("/insert/jsonline", post(logs::json_line))
        .route("/insert/{*rest}", any(logs::not_yet))
        .nest("/api/v1", api(door))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(CompressionLayer::new())
        .layer(from_fn_with_state(Arc::clone(door), layers::count))
        .with_state(Arc::clone(door))
}

fn api(door: &Arc<Door>) -> Router<Arc<Door>> {
    Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/query_exemplars", get(query::exemplars).post(query::exemplars))
        .route("/write", post(write::write))
        .route("/labels", get(catalogue::labels).post(catalogue::labels))
        .route("/label/{name}/values", get(catalogue::label_values))
        .route("/series", get(catalogue::series).post(catalogue::series))
        .route("/metadata", get(catalogue::metadata))
        .route("/scrape_pools", get(targets::scrape_pools))
        .route("/targets", get(targets::targets))
        .route("/rules", get(status::rules))
        .route("/alerts", get(status::alerts))
        .route("/alertmanagers", get(status::alertmanagers))
        .route("/status/buildinfo", get(status::build_info))
        .route("/status/runtimeinfo", get(status::runtime_info))
        .route("/status/flags", get(status::flags))
        .route("/status/config", get(status::config))
        .route("/admin/tsdb/merge", post(lifecycle::merge).put(lifecycle::merge))
        .route("/admin/tsdb/{what}", post(lifecycle::admin).put(lifecycle::admin))
        .route("/format_query", any(status::not_yet))
        .route("/parse_query", any(status::not_yet))
        .route("/read", any(status::not_yet))
        .route("/otlp/v1/metrics", any(status::not_yet))
        .route("/status/tsdb", any(status::not_yet))
        .route("/targets/metadata", any(status::not_yet))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(door), layers::cross_origin))
}

/// Go's `http.NotFound`.
async fn not_found() -> Response {
    reply::text_error(StatusCode::NOT_FOUND, "404 page not found")
}

async fn wrong_method() -> Response {
    reply::text_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}

/// The name under which a path is counted: few names whatever clients ask for.
fn route_name(path: &str) -> &'static str {
    const NAMES: [&str; 27] = [
        "/",
        "/metrics",
        "/-/healthy",
        "/-/ready",
        "/-/reload",
        "/-/quit",
        "/-/flush",
        "/api/v1/query",
        "/api/v1/query_range",
        "/api/v1/query_exemplars",
        "/api/v1/format_query",
        "/api/v1/parse_query",
        "/api/v1/labels",
        "/api/v1/series",
        "/api/v1/metadata",
        "/api/v1/targets",
        "/api/v1/scrape_pools",
        "/api/v1/rules",
        "/api/v1/alerts",
        "/api/v1/write",
        "/loki/api/v1/push",
        "/insert/jsonline",
        "/api/v1/admin/tsdb/merge",
        "/api/v1/status/buildinfo",
        "/api/v1/status/runtimeinfo",
        "/api/v1/status/flags",
        "/api/v1/status/config",
    ];
    if path.starts_with("/api/v1/label/") && path.ends_with("/values") {
        return "/api/v1/label/:name/values";
    }
    NAMES.into_iter().find(|name| *name == path).unwrap_or("other")
}

/// Serves until the shutdown, then waits for the requests under way. The caller bounds that wait.
pub(crate) async fn serve(
    listener: TcpListener,
    door: Arc<Door>,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
) {
    let address: Option<SocketAddr> = listener.local_addr().ok();
    let bounded = layers::Bounded::new(listener, places, door.clock);
    let stop = async move { shutdown.stopped().await };
    let served = axum::serve(bounded, router(&door)).with_graceful_shutdown(stop).await;
    if let Err(error) = served {
        tracing::error!(%error, ?address, "the HTTP server ended");
    }
}

#[cfg(test)]
mod tests;
