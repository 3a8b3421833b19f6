//! Where work runs: an io runtime for sockets and waiting, a cpu runtime for queries, threads for blocking calls.
//!
//! Nothing else in the crate spawns. In the simulator blocking closures run inline, so that one seed is one
//! order of events.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};

/// Handles of the runtimes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pools {
    io: Handle,
    cpu: Handle,
    inline: bool,
}

impl Pools {
    /// Two given runtimes.
    pub fn new(io: Handle, cpu: Handle) -> Self {
        Self { io, cpu, inline: false }
    }

    /// The runtime this is called on, for both kinds of work.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn current() -> Self {
        Self::new(Handle::current(), Handle::current())
    }

    /// As [`Pools::current`], with blocking closures run inline, after others had their turn: for the simulator.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn inline() -> Self {
        Self { inline: true, ..Self::current() }
    }

    /// Runs a task that mostly waits.
    pub fn spawn_io<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.io.spawn(future)
    }

    /// Runs a task that mostly computes.
    pub fn spawn_cpu<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.cpu.spawn(future)
    }

    /// Runs a closure that may block on the disk, and waits for it. It runs to its end even when the caller
    /// goes away.
    ///
    /// # Errors
    /// The closure's own, and `Internal` when it panicked.
    pub async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.inline {
            // Where a thread would work the caller waits: others go on, and a crash may come.
            tokio::task::yield_now().await;
            return work();
        }
        let joined = self.io.spawn_blocking(work).await;
        joined.unwrap_or_else(|e| Err(Error::internal("a blocking task did not end").caused_by(e)))
    }
}

/// The two runtimes of a process, kept by the one who started them.
#[derive(Debug)]
pub struct Runtimes {
    io: Runtime,
    cpu: Runtime,
}

impl Runtimes {
    /// Starts both. Threads are counted, not bounded by what the machine has.
    ///
    /// # Errors
    /// `Io` when the threads cannot be started.
    pub fn start(io_threads: usize, cpu_threads: usize) -> Result<Self> {
        let io = Builder::new_multi_thread()
            .worker_threads(io_threads.max(1))
            .thread_name("quipu-io")
            .enable_all()
            .build()?;
        let cpu = Builder::new_multi_thread()
            .worker_threads(cpu_threads.max(1))
            .thread_name("quipu-cpu")
            .enable_all()
            .build()?;
        Ok(Self { io, cpu })
    }

    /// Handles for everyone else.
    pub fn pools(&self) -> Pools {
        Pools::new(self.io.handle().clone(), self.cpu.handle().clone())
    }

    /// Ends both. Blocking work that is under way has `limit` to end; what is left then dies with the process.
    pub fn shutdown(self, limit: Duration) {
        self.cpu.shutdown_timeout(limit);
        self.io.shutdown_timeout(limit);
    }

    /// Runs the main future on the io runtime.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.io.block_on(future)
    }
}

/// Tells tasks to end. Clones share one state; the first stop is final.
#[derive(Debug, Clone)]
pub struct Shutdown {
    sender: Arc<watch::Sender<bool>>,
}

impl Shutdown {
    /// Not stopped.
    pub fn new() -> Self {
        Self { sender: Arc::new(watch::Sender::new(false)) }
    }

    /// Asks all holders to end.
    pub fn stop(&self) {
        self.sender.send_replace(true);
    }

    /// Whether the end was asked for.
    pub fn is_stopped(&self) -> bool {
        *self.sender.borrow()
    }

    /// Waits until the end is asked for.
    pub async fn stopped(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        drop(receiver.wait_for(|stopped| *stopped).await);
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn blocking_work_answers_and_a_panic_is_an_error() {
        for pools in [Pools::current(), Pools::inline()] {
            assert_eq!(pools.run_blocking(|| Ok(7)).await.expect("no failure"), 7);
        }
        let broken = Pools::current().run_blocking(|| -> Result<()> { panic!("boom") }).await;
        assert_eq!(broken.expect_err("panicked").kind(), crate::error::Kind::Internal);
    }

    #[tokio::test]
    async fn a_shutdown_reaches_those_who_wait_and_those_who_come_later() {
        let shutdown = Shutdown::new();
        let waiting = shutdown.clone();
        let task = Pools::current().spawn_io(async move { waiting.stopped().await });
        assert!(!shutdown.is_stopped());
        shutdown.stop();
        task.await.expect("the task ends");
        shutdown.stopped().await;
        assert!(shutdown.is_stopped());
    }
}
