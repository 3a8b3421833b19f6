//! What happens around every request: cross-origin headers, counting, the connection limit.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::io;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Door;
use crate::error::Result;
use crate::model::Regex;
use crate::runtime::{Clock, Histogram, Registry};

/// `--web.cors.origin`: which origins a browser may call the API from.
#[derive(Debug)]
pub(crate) struct Cors {
    /// `None` stands for `.*`, which is answered with `*`.
    origin: Option<Regex>,
}

impl Cors {
    /// A fully anchored RE2 expression.
    ///
    /// # Errors
    /// `Invalid` when it is none.
    pub(crate) fn new(pattern: &str) -> Result<Self> {
        let origin = if pattern == ".*" { None } else { Some(Regex::new(pattern)?) };
        Ok(Self { origin })
    }

    /// Prometheus' `SetCORS`.
    fn apply(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin else { return };
        let fixed = [
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let allowed = match &self.origin {
            None => HeaderValue::from_static("*"),
            Some(pattern) if origin.to_str().is_ok_and(|text| pattern.is_match(text)) => origin.clone(),
            Some(_) => return,
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    }
}

/// Cross-origin headers on every answer of the API, and the answer to OPTIONS.
pub(super) async fn cross_origin(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    door.web.cors.apply(origin.as_ref(), response.headers_mut());
    response
}

/// Counts and times every request by its route.
pub(super) async fn count(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let handler = super::route_name(request.uri().path());
    let method = request.method().clone();
    let begin = door.clock.monotonic();
    let response = next.run(request).await;
    let took = door.clock.monotonic().saturating_sub(begin);
    record(&door.registry, handler, response.status(), took);
    tracing::debug!(handler, %method, status = response.status().as_u16(), ?took, "request");
    response
}

fn record(registry: &Registry, handler: &'static str, status: StatusCode, took: Duration) {
    let code = status.as_str();
    let help = "HTTP requests answered.";
    registry.counter("quipu_http_requests_total", help, &[("handler", handler), ("code", code)]).inc();
    let help = "Time from a request's head to its answer's head.";
    let name = "quipu_http_request_duration_seconds";
    let seconds = registry.histogram(name, help, &[("handler", handler)], &Histogram::SECONDS);
    seconds.observe(took.as_secs_f64());
}

/// A listener that has a bounded number of connections open; who comes later waits in the kernel's queue.
#[derive(Debug)]
pub(super) struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    clock: Clock,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, places: Arc<Semaphore>, clock: Clock) -> Self {
        Self { listener, places, clock }
    }
}

impl axum::serve::Listener for Bounded {
    type Io = Connection;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Connection, std::net::SocketAddr) {
        loop {
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Small answers must not wait for an acknowledgement.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "set_nodelay failed");
                    }
                    return (Connection { stream, _place: place }, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    self.clock.sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that gives its place back when it ends.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl io::AsyncRead for Connection {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl io::AsyncWrite for Connection {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
