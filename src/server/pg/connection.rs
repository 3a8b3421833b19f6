//! One connection: who it is, what it has prepared, and what can interrupt its statement.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{Sink, SinkExt};
use pgwire::api::auth::{
    ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::{
    ClientInfo, ConnectionGuard, ConnectionHandle, PgWireServerHandlers, PidSecretKeyGenerator,
    RandomPidSecretKeyGenerator,
};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::PgState;
use super::extended::Extended;
use super::refusal::{NO_DATABASE, SHUTDOWN, TOO_MANY, fatal, protocol, refuse};
use crate::error::{Error, Kind};
use crate::model::Principal;
use crate::query::sql::SqlSession;
use crate::runtime::Shutdown;

/// How many statements a connection may have prepared under names.
const MAX_PREPARED: usize = 10_000;

/// The state of one connection.
pub(super) struct Connection {
    pub(super) state: PgState,
    shutdown: Shutdown,
    session: OnceLock<Arc<SqlSession>>,
    handle: OnceLock<Arc<ConnectionHandle>>,
    held: Mutex<Vec<Box<dyn Send>>>,
    prepared: Mutex<HashSet<String>>,
    /// Whether a statement runs.
    busy: watch::Sender<bool>,
}

/// A statement runs as long as this lives.
pub(super) struct Busy<'a>(&'a watch::Sender<bool>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl Connection {
    /// A connection that has not said anything yet.
    pub(super) fn new(state: PgState, shutdown: Shutdown) -> Self {
        Self {
            state,
            shutdown,
            session: OnceLock::new(),
            handle: OnceLock::new(),
            held: Mutex::new(Vec::new()),
            prepared: Mutex::new(HashSet::new()),
            busy: watch::Sender::new(false),
        }
    }

    /// Keeps what must live as long as the connection.
    fn hold(&self, things: [Box<dyn Send>; 2]) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).extend(things);
    }

    /// Waits until no statement runs.
    pub(super) async fn idle(&self) {
        let mut receiver = self.busy.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        drop(receiver.wait_for(|busy| !*busy).await);
    }

    /// The session.
    ///
    /// # Errors
    /// 08P01 before the start-up.
    pub(super) fn session(&self) -> PgWireResult<&Arc<SqlSession>> {
        self.session.get().ok_or_else(|| protocol(super::refusal::PROTOCOL, "no start-up packet came"))
    }

    /// Marks the connection as busy.
    pub(super) fn busy(&self) -> Busy<'_> {
        self.busy.send_replace(true);
        Busy(&self.busy)
    }

    /// Runs a part of a statement unless a cancel request, the timeout (from its start `since`) or the end of
    /// the server comes first.
    ///
    /// # Errors
    /// The work's own, or 57014.
    pub(super) async fn interruptible<T>(
        &self,
        since: Duration,
        work: impl Future<Output = crate::error::Result<T>> + Send,
    ) -> PgWireResult<T> {
        let session = self.session()?;
        let handle =
            self.handle.get().ok_or_else(|| refuse(&Error::internal("a connection without a handle")))?;
        let cancelled = handle.start_query().await;
        let timeout = async {
            match session.settings().statement_timeout() {
                Some(ms) => {
                    let spent = self.state.clock.monotonic().saturating_sub(since);
                    self.state.clock.sleep(Duration::from_millis(ms).saturating_sub(spent)).await;
                }
                None => std::future::pending().await,
            }
        };
        let stopped = async {
            self.shutdown.stopped().await;
            self.state.clock.sleep(super::GRACE).await;
        };
        tokio::select! {
            done = work => done.map_err(|e| refuse(&e)),
            Ok(()) = cancelled => {
                Err(refuse(&Error::new(Kind::Cancelled, "canceling statement due to user request")))
            }
            () = timeout => {
                Err(refuse(&Error::new(Kind::Timeout, "canceling statement due to statement timeout")))
            }
            () = stopped => Err(fatal(SHUTDOWN, "terminating connection due to administrator command")),
        }
    }

    /// Remembers the name of a prepared statement.
    ///
    /// # Errors
    /// `Limit` when there are too many.
    pub(super) fn remember(&self, name: &str) -> PgWireResult<()> {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if prepared.len() >= MAX_PREPARED && !prepared.contains(name) {
            let message = format!("a connection can have at most {MAX_PREPARED} prepared statements");
            return Err(refuse(&Error::new(Kind::Limit, message)));
        }
        prepared.insert(name.to_owned());
        Ok(())
    }

    /// Forgets one prepared statement, and says whether there was one; or all of them.
    pub(super) fn forget(&self, name: Option<&str>) -> Vec<String> {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        match name {
            Some(name) => prepared.take(name).into_iter().collect(),
            None => prepared.drain().collect(),
        }
    }

    fn open(&self, pid: i32, parameters: &HashMap<String, String>) -> PgWireResult<SqlSession> {
        let user = parameters.get("user").filter(|user| !user.is_empty());
        let user = user.ok_or(PgWireError::UserNameRequired)?;
        let database = parameters.get("database").map_or(user.as_str(), String::as_str);
        // Tools connect to `postgres`, or to their user's own name, when nobody told them.
        if ![crate::query::sql::DATABASE, "postgres", user.as_str()].contains(&database) {
            return Err(fatal(NO_DATABASE, format!("database \"{database}\" does not exist")));
        }
        if parameters.get("replication").is_some_and(|value| !matches!(value.as_str(), "false" | "off" | "0"))
        {
            return Err(fatal("0A000", "not supported yet: replication connections"));
        }
        // Trust: the listener is on loopback, or the operator has allowed more by a flag.
        let principal = Principal { name: Some(user.as_str().into()), ..Principal::default() };
        let told = |e: Error| fatal(crate::server::errors::names(e.kind()).sqlstate, e.message());
        let session = SqlSession::new(Arc::clone(&self.state.engine), principal, pid).map_err(told)?;
        for (name, value) in parameters {
            match name.as_str() {
                "user" | "database" | "replication" => {}
                name if name.starts_with("_pq_.") => {}
                "options" => start_options(&session, value).map_err(told)?,
                name => session.settings().start(name, value).map_err(told)?,
            }
        }
        Ok(session)
    }
}

/// `-c name=value --name=value`, where a backslash keeps a space.
fn start_options(session: &SqlSession, options: &str) -> crate::error::Result<()> {
    let mut words: Vec<String> = vec![String::new()];
    let mut characters = options.chars();
    while let Some(c) = characters.next() {
        let last = words.last_mut().expect("there is always one word");
        match c {
            '\\' => last.extend(characters.next()),
            c if c.is_whitespace() => words.push(String::new()),
            c => last.push(c),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(setting) => setting.replacen('-', "_", setting.matches('-').count()),
            None if word == "-c" => words.next().unwrap_or_default(),
            None => word.strip_prefix("-c").map(str::to_owned).unwrap_or_default(),
        };
        let bad = || Error::invalid(format!("invalid command-line argument for server process: {word}"));
        let (name, value) = setting.split_once('=').ok_or_else(bad)?;
        session.settings().start(name, value)?;
    }
    Ok(())
}

#[async_trait]
impl StartupHandler for Connection {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let Err(error) = self.begin(client, message).await else { return Ok(()) };
        // PostgreSQL says why and hangs up. pgwire would add "ready for query", which asyncpg trips over.
        let info: ErrorInfo = error.into();
        client.send(PgWireBackendMessage::ErrorResponse(info.into())).await?;
        client.close().await?;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into())
    }
}

impl Connection {
    /// Opens the session that a start-up packet asks for and tells the client about it.
    async fn begin<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let PgWireFrontendMessage::Startup(startup) = message else {
            return Err(fatal(super::refusal::PROTOCOL, "expected a start-up packet"));
        };
        protocol_negotiation(client, &startup).await?;
        save_startup_parameters_to_metadata(client, &startup);
        let seat: OwnedSemaphorePermit = Arc::clone(&self.state.seats)
            .try_acquire_owned()
            .map_err(|_| fatal(TOO_MANY, "sorry, too many clients already"))?;
        let (_, secret) = RandomPidSecretKeyGenerator::default().generate(client);
        let pid = self.state.pid();
        client.set_pid_and_secret_key(pid, secret.clone());
        let session = Arc::new(self.open(pid, client.metadata())?);
        let (handle, guard): (_, ConnectionGuard) = self.state.manager.register(pid, secret);
        let fresh = self.session.set(Arc::clone(&session)).is_ok() && self.handle.set(handle).is_ok();
        if !fresh {
            return Err(fatal(super::refusal::PROTOCOL, "a second start-up packet came"));
        }
        self.hold([Box::new(seat), Box::new(guard)]);
        finish_authentication(client, &Told(session)).await
    }
}

/// What a client is told about the server at its start.
struct Told(Arc<SqlSession>);

impl ServerParameterProvider for Told {
    fn server_parameters<C: ClientInfo>(&self, _: &C) -> Option<HashMap<String, String>> {
        Some(self.0.settings().reported().into_iter().collect())
    }
}

/// pgwire asks for one handler per role; the connection is all of them.
pub(super) struct Handlers(pub(super) Arc<Connection>);

impl PgWireServerHandlers for Handlers {
    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::clone(&self.0)
    }

    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.0)
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::new(Extended::new(Arc::clone(&self.0)))
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(DefaultCancelHandler::new(Arc::clone(&self.0.state.manager)))
    }
}
