//! Where log lines go, and what is counted of them: functions, so that the tailer knows no store.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::error::Result;
use crate::model::{FilePosition, LogBatch, Tenant};
use crate::runtime::Registry;
use crate::store::Store;
use crate::wire::logs::Refused;

type Append = dyn Fn(LogBatch) -> BoxFuture<'static, Result<()>> + Send + Sync;
type Positions = dyn Fn() -> Vec<FilePosition> + Send + Sync;

/// Takes log lines. Cheap to clone.
#[derive(Clone)]
pub struct LogSink {
    append: Arc<Append>,
    positions: Arc<Positions>,
}

impl fmt::Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogSink")
    }
}

impl LogSink {
    /// `append` takes a batch whole or not at all; `positions` says how far files were read in durable batches.
    pub fn new(
        append: impl Fn(LogBatch) -> BoxFuture<'static, Result<()>> + Send + Sync + 'static,
        positions: impl Fn() -> Vec<FilePosition> + Send + Sync + 'static,
    ) -> Self {
        Self { append: Arc::new(append), positions: Arc::new(positions) }
    }

    /// One tenant of a store.
    pub fn store(store: &Store, tenant: &Tenant) -> Self {
        let (appender, reader) = (store.clone(), store.clone());
        let (of_append, of_read) = (tenant.clone(), tenant.clone());
        Self::new(
            move |batch| {
                let (store, tenant) = (appender.clone(), of_append.clone());
                async move { store.append_logs(&tenant, batch).await }.boxed()
            },
            move || reader.positions(&of_read),
        )
    }

    pub(super) async fn append(&self, batch: LogBatch) -> Result<()> {
        (self.append)(batch).await
    }

    pub(super) fn positions(&self) -> Vec<FilePosition> {
        (self.positions)()
    }
}

/// Counts lines that are stored. `door` is where they came in.
pub fn count_lines(registry: &Registry, door: &str, lines: usize, bytes: usize) {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let labels = [("door", door)];
    registry.counter("quipu_logs_lines_total", "Log lines stored.", &labels).add(number(lines));
    registry
        .counter("quipu_logs_bytes_total", "Bytes of the text of stored log lines.", &labels)
        .add(number(bytes));
}

/// Counts lines that are refused, by reason.
pub fn count_refused(registry: &Registry, door: &str, refused: &Refused) {
    for (reason, lines, bytes) in refused.reasons() {
        let labels = [("door", door), ("reason", reason)];
        registry.counter("quipu_logs_refused_lines_total", "Log lines refused.", &labels).add(lines);
        let help = "Bytes of refused log lines and their metadata.";
        registry.counter("quipu_logs_refused_bytes_total", help, &labels).add(bytes);
    }
}

/// Counts byte sequences that were no text.
pub fn count_replaced(registry: &Registry, door: &str, sequences: u64) {
    let help = "Byte sequences of log lines that were not UTF-8 and became U+FFFD.";
    registry.counter("quipu_logs_not_utf8_total", help, &[("door", door)]).add(sequences);
}
