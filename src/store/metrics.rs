//! What the store says about itself at `/metrics`.

use crate::model::time::count_to_f64;
use crate::runtime::{Counter, Gauge, Histogram, Registry};

/// The store's counters and gauges.
#[derive(Debug, Clone)]
pub(in crate::store) struct StoreMetrics {
    appended_rows: Counter,
    pub(in crate::store) appended_lines: Counter,
    appended_requests: Counter,
    pub(in crate::store) append_failures: Counter,
    pub(in crate::store) wal_bytes: Gauge,
    pub(in crate::store) wal_quarantined: Counter,
    pub(in crate::store) flushes: Counter,
    pub(in crate::store) flush_failures: Counter,
    pub(in crate::store) flush_seconds: Histogram,
    pub(in crate::store) flushed_rows: Counter,
    pub(in crate::store) flushed_bytes: Counter,
    merges: Counter,
    merged_rows: Counter,
    merged_bytes: Counter,
    buffered_rows: Gauge,
    buffered_lines: Gauge,
    buffered_bytes: Gauge,
    frozen_buffers: Gauge,
    pub(in crate::store) files: Gauge,
    pub(in crate::store) file_bytes: Gauge,
}

impl StoreMetrics {
    /// Registers them.
    pub(in crate::store) fn new(registry: &Registry) -> Self {
        let counter = |name, help| registry.counter(name, help, &[]);
        let gauge = |name, help| registry.gauge(name, help, &[]);
        Self {
            appended_rows: counter("quipu_appended_samples_total", "Samples acknowledged."),
            appended_lines: counter("quipu_appended_log_lines_total", "Log lines acknowledged."),
            appended_requests: counter("quipu_appends_total", "Batches acknowledged."),
            append_failures: counter(
                "quipu_append_failures_total",
                "Groups of batches that the WAL refused.",
            ),
            wal_bytes: gauge("quipu_wal_bytes", "Bytes of all WAL segments."),
            wal_quarantined: counter("quipu_wal_quarantined_records_total", "Damaged WAL records skipped."),
            flushes: counter("quipu_flushes_total", "Flushes that reached a commit."),
            flush_failures: counter(
                "quipu_flush_failures_total",
                "Flushes that failed and will be tried again.",
            ),
            flush_seconds: registry.histogram(
                "quipu_flush_duration_seconds",
                "Time from freezing a buffer to its commit.",
                &[],
                &Histogram::SECONDS,
            ),
            flushed_rows: counter("quipu_flushed_samples_total", "Samples written to files by flushes."),
            flushed_bytes: counter("quipu_flushed_bytes_total", "Bytes of files written by flushes."),
            merges: counter("quipu_merges_total", "Merges that reached a commit."),
            merged_rows: counter("quipu_merged_samples_total", "Rows written to files by merges."),
            merged_bytes: counter("quipu_merged_bytes_total", "Bytes of files written by merges."),
            buffered_rows: gauge("quipu_buffered_samples", "Samples in memory that are in no file yet."),
            buffered_lines: gauge("quipu_buffered_log_lines", "Log lines in memory that are in no file yet."),
            buffered_bytes: gauge(
                "quipu_buffered_bytes",
                "Estimated bytes of buffered samples and log lines.",
            ),
            frozen_buffers: gauge("quipu_frozen_buffers", "Buffers that wait for their commit."),
            files: gauge("quipu_files", "Live files of the samples tables."),
            file_bytes: gauge("quipu_file_bytes", "Bytes of the live files of the samples tables."),
        }
    }

    /// Counts an acknowledged batch.
    pub(in crate::store) fn appended(&self, rows: usize) {
        self.appended_requests.inc();
        self.appended_rows.add(rows as u64);
    }

    /// Counts a merge.
    pub(in crate::store) fn merged(&self, rows: u64, bytes: u64) {
        self.merges.inc();
        self.merged_rows.add(rows);
        self.merged_bytes.add(bytes);
    }

    /// Publishes what waits in memory.
    pub(in crate::store) fn buffered(&self, buffered: super::tenants::Buffered) {
        self.buffered_rows.set(count_to_f64(buffered.rows));
        self.buffered_lines.set(count_to_f64(buffered.lines));
        self.buffered_bytes.set(count_to_f64(buffered.bytes));
        self.frozen_buffers.set(count_to_f64(buffered.frozen));
    }
}
