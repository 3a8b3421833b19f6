//! The Postgres door: `PostgreSQL`'s protocol 3 over TCP, simple and extended, text and binary.
//!
//! ```text
//!   socket ─► pgwire (messages) ─► handler ─► utility (SET, SHOW, BEGIN …)
//!                                     └─────► run: query::sql on the cpu runtime ─► rows ─► socket
//! ```
//!
//! It refuses: writes (25006), COPY, cursors by SQL, TLS (answers `N`, as `PostgreSQL` without SSL does).

mod connection;
mod encode;
mod extended;
mod parameters;
mod refusal;
mod run;
mod simple;
mod utility;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use pgwire::api::ConnectionManager;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use crate::error::{Error, Result};
use crate::query::sql::SqlEngine;
use crate::runtime::{Clock, Pools, Shutdown};
use connection::{Connection, Handlers};

/// How long a running statement may go on after the server was asked to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait before accepting again when the system refuses to.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Flushes the store; what CHECKPOINT calls.
pub type Checkpoint = Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// What the door needs.
#[derive(Clone)]
pub struct PgState {
    engine: Arc<SqlEngine>,
    checkpoint: Checkpoint,
    pools: Pools,
    clock: Clock,
    manager: Arc<ConnectionManager>,
    seats: Arc<Semaphore>,
    next_pid: Arc<AtomicI32>,
}

impl std::fmt::Debug for PgState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgState").field("free_seats", &self.seats.available_permits()).finish_non_exhaustive()
    }
}

impl PgState {
    /// A door to `engine` for at most `max_connections` clients at once; queries run on the cpu runtime of
    /// `pools`.
    pub fn new(engine: Arc<SqlEngine>, checkpoint: Checkpoint, pools: Pools, max_connections: usize) -> Self {
        Self {
            engine,
            checkpoint,
            pools,
            clock: Clock::real(),
            manager: Arc::new(ConnectionManager::new()),
            seats: Arc::new(Semaphore::new(max_connections)),
            next_pid: Arc::new(AtomicI32::new(1)),
        }
    }

    fn pid(&self) -> i32 {
        // Wraps after two thousand million connections; the secret keeps old requests apart.
        self.next_pid.fetch_add(1, Ordering::Relaxed) & i32::MAX
    }
}

/// Serves connections until `shutdown`; then running statements get some seconds, and all connections end.
///
/// # Errors
/// `Io` when the listener has no address.
pub async fn serve(listener: TcpListener, state: PgState, shutdown: Shutdown) -> Result<()> {
    let address = listener.local_addr().map_err(|e| Error::from(e).during("listen for Postgres"))?;
    tracing::info!(%address, "listening for Postgres connections");
    // Every connection holds a sender: the receiver ends when the last of them does.
    let (alive, mut gone) = mpsc::channel::<()>(1);
    loop {
        let accepted = tokio::select! {
            () = shutdown.stopped() => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a Postgres connection could not be accepted");
                state.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = Arc::new(Connection::new(state.clone(), shutdown.clone()));
        let (alive, clock, shutdown) = (alive.clone(), state.clock, shutdown.clone());
        drop(state.pools.spawn_io(async move {
            let served = pgwire::tokio::process_socket(socket, None, Handlers(Arc::clone(&connection)));
            let ended = async {
                shutdown.stopped().await;
                clock.within(GRACE, connection.idle()).await;
            };
            tokio::select! {
                served = served => if let Err(error) = served {
                    tracing::debug!(%peer, %error, "a Postgres connection broke");
                },
                () = ended => {}
            }
            drop(alive);
        }));
    }
    drop(alive);
    // Nothing is ever sent: this waits for the last sender to be dropped.
    gone.recv().await;
    Ok(())
}
