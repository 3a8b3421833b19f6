//! Log files of this host, followed as they grow.
//!
//! ```text
//!   patterns ─ scan ─▶ files (device, inode, fingerprint) ─ look ─▶ entries ─▶ LogBatch + position ─▶ sink
//!                         ▲ renamed, truncated, copied, deleted            one append: both or neither
//! ```
//! A file is read from its start, or from where its stored position says, and each line once: the position is part
//! of the batch with its lines. What cannot be stored waits in the file. One loop follows everything and holds the
//! bytes of a few files at a time. It refuses to read compressed files and what is no regular file.

mod file;
mod lines;
mod round;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::run::Follower;
use super::log_sink::LogSink;
use super::settings::LogFileSettings;
use crate::runtime::{Clock, Pools, Registry, Shutdown};
use crate::wire::logs::LogRules;

/// How long [`Tailer::stop`] waits for a batch that is being stored.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Follows files.
#[derive(Debug)]
pub struct Tailer {
    settings: watch::Sender<Arc<[LogFileSettings]>>,
    shutdown: Shutdown,
    ended: watch::Receiver<bool>,
    clock: Clock,
}

impl Tailer {
    /// Starts without files.
    pub fn start(
        sink: LogSink,
        rules: &LogRules,
        clock: Clock,
        pools: &Pools,
        registry: &Arc<Registry>,
    ) -> Self {
        let (settings, changes) = watch::channel(Arc::<[LogFileSettings]>::from([]));
        let (ending, ended) = watch::channel(false);
        let shutdown = Shutdown::new();
        let ground = round::Ground {
            sink,
            rules: round::rules_of_files(rules),
            entry_bytes: rules.line_bytes,
            clock,
            pools: pools.clone(),
            registry: Arc::clone(registry),
            shutdown: shutdown.clone(),
        };
        pools.spawn_io(async move {
            Follower::new(ground).run(changes).await;
            ending.send_replace(true);
        });
        Self { settings, shutdown, ended, clock }
    }

    /// Follows these files and no others. Files that stay under equal settings do not notice.
    pub fn apply(&self, settings: &[LogFileSettings]) {
        self.settings.send_if_modified(|before| {
            let changed = **before != *settings;
            if changed {
                *before = Arc::from(settings);
            }
            changed
        });
    }

    /// Ends. Waits for the batch that is being stored, at most 5 s.
    pub async fn stop(&self) {
        self.shutdown.stop();
        let mut ended = self.ended.clone();
        let waited = self.clock.within(STOP_LIMIT, ended.wait_for(|ended| *ended)).await;
        if waited.is_none() {
            tracing::warn!("log files: a batch was not stored in time; it is read again at the next start");
        }
    }
}
