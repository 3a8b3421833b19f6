//! `/-/…` and `/api/v1/admin/…`: health, readiness, reload, quit, flush, merge.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::{mpsc, oneshot};

use super::Door;
use super::params::Form;
use super::reply::{ApiError, Reply, text, text_error, text_from};
use crate::error::{Error, Kind, Result};

/// What a client may ask of the whole node.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Read the configuration again; the answer says whether it was taken.
    Reload(oneshot::Sender<Result<()>>),
    /// Stop, as SIGTERM does.
    Quit,
}

/// Where asks go. It holds one waiting ask: who comes second waits.
pub(crate) type Asks = mpsc::Sender<Ask>;

/// GET: the process runs.
pub(super) async fn healthy() -> Response {
    text(StatusCode::OK, "quipu is Healthy.\n")
}

/// GET: recovery is done and the end has not begun.
pub(super) async fn ready(State(door): State<Arc<Door>>) -> Response {
    match door.rooms() {
        Ok(_) => text(StatusCode::OK, "quipu is Ready.\n"),
        Err(not_ready) => not_ready.into_response(),
    }
}

/// POST or PUT: reads the configuration again; 500 and the reason when it is not taken.
pub(super) async fn reload(State(door): State<Arc<Door>>) -> Response {
    if !door.web.enable_lifecycle {
        return disabled();
    }
    let (answer, done) = oneshot::channel();
    let gone = || Error::new(Kind::Unavailable, "the server is shutting down");
    let outcome = match door.asks.send(Ask::Reload(answer)).await {
        Ok(()) => done.await.unwrap_or_else(|_| Err(gone())),
        Err(_) => Err(gone()),
    };
    match outcome {
        Ok(()) => text(StatusCode::OK, ""),
        Err(error) => {
            let message = format!("failed to reload config: {error}");
            text_error(StatusCode::INTERNAL_SERVER_ERROR, &message)
        }
    }
}

/// POST or PUT: stops the node.
pub(super) async fn quit(State(door): State<Arc<Door>>) -> Response {
    if !door.web.enable_lifecycle {
        return disabled();
    }
    // A full or closed channel means that the end has begun already.
    drop(door.asks.try_send(Ask::Quit));
    text(StatusCode::OK, "Requesting termination... Goodbye!")
}

/// POST or PUT: everything that was acknowledged lies in Parquet files when it answers.
pub(super) async fn flush(State(door): State<Arc<Door>>) -> Response {
    if !door.web.enable_lifecycle {
        return disabled();
    }
    let rooms = match door.rooms() {
        Ok(rooms) => rooms,
        Err(not_ready) => return not_ready.into_response(),
    };
    match rooms.store.flush().await {
        Ok(()) => text(StatusCode::OK, "Flushed.\n"),
        Err(error) => text_from(&error),
    }
}

/// GET on what changes something.
pub(super) async fn only_post() -> Response {
    text(StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed")
}

/// POST or PUT `/api/v1/admin/tsdb/<what>`: what is not supported yet.
pub(super) async fn admin(
    State(door): State<Arc<Door>>,
    axum::extract::Path(what): axum::extract::Path<String>,
) -> Reply {
    if !door.web.enable_admin_api {
        return Err(ApiError::admin_disabled());
    }
    Err(Error::unsupported(format_args!("/api/v1/admin/tsdb/{what}")).into())
}

/// POST or PUT `/api/v1/admin/tsdb/merge`: the files of one UTC day, or of every day, become one per table.
///
/// The work goes on when the client goes away: it is not begun again from the start by an impatient caller.
pub(super) async fn merge(State(door): State<Arc<Door>>, form: Form) -> Reply {
    if !door.web.enable_admin_api {
        return Err(ApiError::admin_disabled());
    }
    let rooms = door.rooms()?;
    let (store, tenant) = (rooms.store.clone(), rooms.tenant.clone());
    let days = match form.day("day")? {
        Some(day) => BTreeSet::from([day]),
        None => store.days(&tenant),
    };
    let work = rooms.pools.spawn_io(async move {
        for day in days {
            store.merge_day(&tenant, day).await?;
        }
        Ok::<(), Error>(())
    });
    work.await.map_err(|e| Error::internal("a merge did not end").caused_by(e))??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn disabled() -> Response {
    text(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.")
}
