//! The composition root: starts the rooms bottom-up, hands reload, quit and signals to them, stops in reverse.

mod listen;
mod rooms;
mod settings;
mod shown;
mod welcome;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::args::ServeArgs;
use crate::config::Config;
use crate::error::Result;
use crate::runtime::{Clock, OwnLines, Pools, Registry, Runtimes, Shutdown, own_lines, start_logs};
use crate::server::http::{self, Ask, Door, Reload, Rooms};
use crate::server::pg;
use rooms::{Built, Ground, Pulls};
use settings::current_config;

/// How long requests under way may take to end, once the end has begun.
const DRAIN: Duration = Duration::from_secs(4);
/// How long blocking work may take after everything else has stopped.
const LAST_WORK: Duration = Duration::from_secs(2);

/// `quipu serve`: returns when the node has stopped in good order.
///
/// # Errors
/// What kept it from starting, or from stopping in order.
pub fn run(args: &ServeArgs) -> Result<()> {
    let clock = Clock::real();
    let (level, lines) = settings::logs(args);
    let (tap, own_log) = own_lines();
    start_logs(level, lines, clock, tap)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtimes = Runtimes::start(cores, cores)?;
    let outcome = runtimes.block_on(async {
        let mut node = Node::listen(args, clock, runtimes.pools()).await?;
        let Built { rooms, pulls } = tokio::select! {
            rooms = rooms::build(args, &node.config, &node.ground) => rooms?,
            () = node.signals.end() => return Ok(()),
        };
        node.open(&rooms, &pulls, own_log)?;
        node.until_asked_to_stop(&pulls).await;
        node.stop(&rooms, &pulls).await
    });
    runtimes.shutdown(LAST_WORK);
    outcome
}

/// A node whose sockets are open.
struct Node<'a> {
    args: &'a ServeArgs,
    ground: Ground,
    config: Config,
    http: SocketAddr,
    pg: Option<TcpListener>,
    door: Arc<Door>,
    shutdown: Shutdown,
    tasks: Vec<JoinHandle<()>>,
    signals: Signals,
    asked: mpsc::Receiver<Ask>,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl<'a> Node<'a> {
    /// Opens the sockets and answers "not ready" on them: a taken port must be known before recovery begins.
    async fn listen(args: &'a ServeArgs, clock: Clock, pools: Pools) -> Result<Self> {
        let mut listeners = Vec::new();
        for address in &args.web_listen_address {
            listeners.push(listen::bind("web.listen-address", address, args.insecure).await?);
        }
        let pg = listen::bind("pg.listen-address", &args.pg_listen_address, args.insecure).await?;
        let http = listeners[0].local_addr()?;
        let signals = Signals::listen()?;
        let config = current_config(args, http.port())?;

        let registry = Registry::new();
        settings::report_inactive(&registry, None, &config);
        let shutdown = Shutdown::new();
        let (asks, asked) = mpsc::channel(1);
        let web = settings::web(args, &config, pg.local_addr()?)?;
        let places = Arc::new(Semaphore::new(web.max_connections));
        let reload = settings::reload_of(&config, http, clock.now_ms())?;
        let door = Door::new(web, clock, Arc::clone(&registry), asks, reload);
        let serve = |listener: TcpListener| {
            let (door, places) = (Arc::clone(&door), Arc::clone(&places));
            pools.spawn_io(http::serve(listener, door, places, shutdown.clone()))
        };
        let tasks = listeners.into_iter().map(serve).collect();
        let ground = Ground { clock, pools, registry };
        Ok(Self { args, ground, config, http, pg: Some(pg), door, shutdown, tasks, signals, asked })
    }

    /// Recovery is done: opens the doors, begins to scrape and says so.
    fn open(&mut self, rooms: &Rooms, pulls: &Pulls, own_log: OwnLines) -> Result<()> {
        let pg = self.pg.take().expect("a node is opened once");
        let places =
            welcome::Places { http: self.http, pg: pg.local_addr()?, storage: &self.args.storage_path };
        let state = rooms::pg_door(rooms, &self.config)?;
        let serving = pg::serve(pg, state, self.shutdown.clone());
        self.tasks.push(self.ground.pools.spawn_io(async {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the Postgres door is closed");
            }
        }));
        self.door.open(rooms.clone());
        pulls.apply(&self.config);
        if self.config.quipu.logs.own_log {
            self.tasks.push(pulls.store_own_log(own_log, &self.ground, &self.config, &self.shutdown));
        }
        // A closed terminal is no reason to stop.
        drop(std::io::stdout().write_all(places.text().as_bytes()));
        tracing::info!(http = %self.http, storage = self.args.storage_path, "quipu is ready");
        Ok(())
    }

    async fn until_asked_to_stop(&mut self, pulls: &Pulls) {
        loop {
            tokio::select! {
                _ = self.signals.terminate.recv() => return,
                _ = self.signals.interrupt.recv() => return,
                _ = self.signals.hang_up.recv() => drop(self.reload(pulls)),
                ask = self.asked.recv() => match ask {
                    // Who asked may have gone away.
                    Some(Ask::Reload(answer)) => drop(answer.send(self.reload(pulls))),
                    Some(Ask::Quit) | None => return,
                },
            }
        }
    }

    /// Reads the configuration again. A bad file keeps the old one.
    fn reload(&mut self, pulls: &Pulls) -> Result<()> {
        let now_ms = self.ground.clock.now_ms();
        let fresh = current_config(self.args, self.http.port())
            .and_then(|config| Ok((settings::reload_of(&config, self.http, now_ms)?, config)));
        match fresh {
            Ok((reload, config)) => {
                settings::warn_about_restart(&self.config, &config);
                settings::report_inactive(&self.ground.registry, Some(&self.config), &config);
                self.door.set_reload(reload);
                pulls.apply(&config);
                self.config = config;
                tracing::info!("the configuration was read again");
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the configuration was not taken, the old one stays");
                let before = self.door.last_reload();
                self.door.set_reload(Reload { success: false, ..Reload::clone(&before) });
                Err(error)
            }
        }
    }

    /// Stops in reverse: doors and pulls, then the store, all within ten seconds.
    async fn stop(self, rooms: &Rooms, pulls: &Pulls) -> Result<()> {
        tracing::info!("stopping");
        self.door.close();
        self.shutdown.stop();
        let drained = self.ground.clock.within(DRAIN, futures::future::join_all(self.tasks));
        let (drained, ()) = tokio::join!(drained, pulls.stop());
        if drained.is_none() {
            tracing::warn!("some requests did not end in time and were cut off");
        }
        rooms.store.close().await?;
        tracing::info!("stopped");
        Ok(())
    }
}
