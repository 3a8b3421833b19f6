//! The façade's part for logs: lines in, and how far tailed files were read.

use std::sync::Arc;

use super::block::{IndexTag, LogFile, LogPlace, ScanCache};
use super::buffer::Split;
use super::catalog::{DataFile, Ground};
use super::sequencer::{Append, Message};
use super::tenants::TenantState;
use super::wal::{Class, LogParts, Positions};
use super::{Appended, Store};
use crate::error::{Error, Kind, Result};
use crate::model::{Batch, FilePosition, LogBatch, Tenant, time};
use crate::runtime::Bug;

/// The tag of a file of log lines that guards what lies behind its index: page indexes and footer.
pub(in crate::store) const FOOTER_CRC: &str = "quipu.footer_crc";

/// Bytes of one batch of lines. Far below what a WAL record holds.
const MAX_BATCH_BYTES: usize = 128 << 20;

impl Store {
    /// Stores log lines, and the position of the file that they were read from, whole or not at all, and answers
    /// when they are durable and visible. Lines that are there already change nothing.
    ///
    /// # Errors
    /// `Invalid` for a time out of bounds or labels of a stream that are empty, `Limit` for too many lines or bytes,
    /// `Unavailable` when the disk is full or too much waits for the object store: then nothing was stored and the
    /// same batch may be sent again. `Internal` for columns that do not fit together.
    pub async fn append_logs(&self, tenant: &Tenant, mut batch: LogBatch) -> Result<()> {
        batch
            .check()
            .map_err(|what| Error::internal("a batch of log lines is not well formed").with("what", what))?;
        let position = batch.position.take();
        if batch.is_empty() && position.is_none() {
            return Ok(());
        }
        self.check_size(&batch)?;
        self.check_room()?;
        let parts = self.split_lines(batch)?;
        let tenant = self.inner.tenants.get_or_create(tenant);
        if position.as_ref().is_some_and(|position| !tenant.has_room_for(position)) {
            let error = Error::new(Kind::Limit, "the positions of too many files are kept");
            return Err(error.with("limit", Positions::LIMIT));
        }
        if position.is_some() && self.inner.ground.faults.has(Bug::PositionFirst) {
            let alone = LogParts { parts: Vec::new(), position: position.clone() };
            self.append_parts(Arc::clone(&tenant), alone).await?;
        }
        self.append_parts(tenant, LogParts { parts, position }).await
    }

    async fn append_parts(&self, tenant: Arc<TenantState>, parts: LogParts) -> Result<()> {
        let logs = Some(Box::new(parts));
        let (batch, split) = (Batch::default(), Split::default());
        let ask = |reply| Message::Append(Box::new(Append { tenant, batch, split, logs, reply }));
        match self.inner.sequencer.ask(ask).await?? {
            Appended::Stored => Ok(()),
            Appended::Resolve(_) => Err(Error::internal("log lines have no handles to resolve")),
        }
    }

    /// How far tailed files have been read: what is durable of them is durable with their lines.
    pub fn positions(&self, tenant: &Tenant) -> Vec<FilePosition> {
        let state = self.inner.tenants.get(tenant);
        state.map(|state| state.positions().iter().cloned().collect()).unwrap_or_default()
    }

    fn check_size(&self, batch: &LogBatch) -> Result<()> {
        let limit = self.inner.settings.max_batch_rows;
        if batch.len() > limit {
            let error = Error::new(Kind::Limit, "too many log lines in one request");
            return Err(error.with("lines", batch.len()).with("limit", limit));
        }
        let labels: usize = batch.streams.iter().map(|labels| labels.as_bytes().len()).sum();
        let bytes = batch.bodies.len() + batch.metadata.len() + labels;
        if bytes > MAX_BATCH_BYTES {
            let error = Error::new(Kind::Limit, "too many bytes of log lines in one request");
            return Err(error.with("bytes", bytes).with("limit", MAX_BATCH_BYTES));
        }
        Ok(())
    }

    /// The lines by class, live first. Nearly always all are live, and nothing is copied.
    fn split_lines(&self, batch: LogBatch) -> Result<Vec<(Class, LogBatch)>> {
        let today = time::day_of(self.inner.ground.clock.now_ms());
        let is_old = |ns: &i64| time::day_of(time::ns_to_ms(*ns)) < today - 1;
        for bound in [batch.timestamps.iter().min(), batch.timestamps.iter().max()].into_iter().flatten() {
            self.accepts(time::ns_to_ms(*bound))?;
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if !batch.timestamps.iter().any(is_old) {
            return Ok(vec![(Class::Live, batch)]);
        }
        let mut parts = Class::ALL
            .map(|class| (class, LogBatch { streams: batch.streams.clone(), ..LogBatch::default() }));
        for row in 0..batch.len() {
            let line = batch.line(row);
            let part = &mut parts[usize::from(is_old(&line.timestamp))].1;
            let pushed = part.push(line.stream, line.timestamp, line.body, line.metadata);
            assert!(pushed, "a part is no larger than the whole");
        }
        Ok(parts.into_iter().filter(|(_, part)| !part.is_empty()).collect())
    }
}

/// Opens a live file of log lines.
///
/// # Errors
/// `Corrupt` naming the file, and when another program rewrote it; what the object store says.
pub(in crate::store) async fn open_log_file(
    ground: &Ground,
    folder: &str,
    file: &DataFile,
    cache: &ScanCache,
) -> Result<Arc<LogFile>> {
    let path = format!("{folder}/{}", file.path);
    let footer = file.tags.other.get(FOOTER_CRC).and_then(|text| u32::from_str_radix(text, 16).ok());
    let (Some(index), Some(footer_crc)) = (file.tags.index, footer) else {
        let text = "a file of log lines without quipu's index; it was rewritten by another program";
        return Err(Error::corrupt(text).with("file", path));
    };
    let index = IndexTag { offset: index.offset, length: index.len, crc: index.crc };
    LogFile::open(&ground.objects, &path, LogPlace { index, footer_crc, size: file.size }, cache).await
}
