//! The composition root: starts the rooms bottom-up, hands reload, quit and signals to them, stops in reverse.

mod listen;
mod settings;
mod welcome;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::args::ServeArgs;
use crate::config::Config;
use crate::error::Result;
use crate::runtime::{Clock, Pools, Registry, Runtimes, Shutdown, start_logs};
use crate::server::http::{self, Ask, Door, Reload, Rooms};
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
    start_logs(level, lines, clock)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtimes = Runtimes::start(cores, cores)?;
    let outcome = runtimes.block_on(async {
        let mut node = Node::start(args, clock, runtimes.pools()).await?;
        node.until_asked_to_stop().await;
        node.stop().await
    });
    runtimes.shutdown(LAST_WORK);
    outcome
}

/// A running node.
struct Node<'a> {
    args: &'a ServeArgs,
    clock: Clock,
    registry: Arc<Registry>,
    config: Config,
    http_port: u16,
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
}

impl<'a> Node<'a> {
    async fn start(args: &'a ServeArgs, clock: Clock, pools: Pools) -> Result<Self> {
        // Sockets first: a taken port must be known before recovery has begun.
        let mut listeners = Vec::new();
        for address in &args.web_listen_address {
            listeners.push(listen::bind("web.listen-address", address, args.insecure).await?);
        }
        let pg = listen::bind("pg.listen-address", &args.pg_listen_address, args.insecure).await?;
        let http_address = listeners[0].local_addr()?;
        let signals = Signals::listen()?;
        let config = current_config(args, http_address.port())?;

        let registry = Registry::new();
        settings::report_inactive(&registry, None, &config);
        let shutdown = Shutdown::new();
        let (asks, asked) = mpsc::channel(1);
        let web = settings::web(args, &config, pg.local_addr()?)?;
        let places = Arc::new(Semaphore::new(web.max_connections));
        let reload = settings::reload_of(&config, clock.now_ms());
        let door = Door::new(web, clock, Arc::clone(&registry), asks, reload);
        let serve = |listener: TcpListener| {
            let (door, places) = (Arc::clone(&door), Arc::clone(&places));
            pools.spawn_io(http::serve(listener, door, places, shutdown.clone()))
        };
        let tasks = listeners.into_iter().map(serve).collect();

        door.open(Rooms {});
        let places =
            welcome::Places { http: http_address, pg: pg.local_addr()?, storage: &args.storage_path };
        // A closed terminal is no reason to stop.
        drop(std::io::stdout().write_all(places.text().as_bytes()));
        tracing::info!(http = %http_address, storage = args.storage_path, "quipu is ready");
        let http_port = http_address.port();
        Ok(Self { args, clock, registry, config, http_port, door, shutdown, tasks, signals, asked })
    }

    async fn until_asked_to_stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.signals.terminate.recv() => return,
                _ = self.signals.interrupt.recv() => return,
                _ = self.signals.hang_up.recv() => drop(self.reload().await),
                ask = self.asked.recv() => match ask {
                    Some(Ask::Reload(answer)) => {
                        let outcome = self.reload().await;
                        // Who asked may have gone away.
                        drop(answer.send(outcome));
                    }
                    Some(Ask::Quit) | None => return,
                },
            }
        }
    }

    /// Reads the configuration again. A bad file keeps the old one.
    async fn reload(&mut self) -> Result<()> {
        match current_config(self.args, self.http_port) {
            Ok(config) => {
                settings::warn_about_restart(&self.config, &config);
                settings::report_inactive(&self.registry, Some(&self.config), &config);
                self.door.set_reload(settings::reload_of(&config, self.clock.now_ms()));
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

    /// Stops in reverse: doors, pulls, store.
    async fn stop(self) -> Result<()> {
        tracing::info!("stopping");
        self.door.close();
        self.shutdown.stop();
        let drained = futures::future::join_all(self.tasks);
        if self.clock.within(DRAIN, drained).await.is_none() {
            tracing::warn!("some requests did not end in time and were cut off");
        }
        tracing::info!("stopped");
        Ok(())
    }
}
