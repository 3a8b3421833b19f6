//! Flush: frozen buffers become files, files become commits, WAL segments go.
//!
//! ```text
//!   freeze ─▶ per tenant: per UTC day one file per table ─▶ commit metadata, series, staleness, samples
//!          ─▶ let go of the buffer ─▶ release WAL segments
//! ```
//! A flush that fails leaves the frozen buffers where they are, readable and in the WAL; the next one takes them
//! up again, oldest first. Rows of one buffer are committed under one `txn`, so a crash at any point repeats the
//! work and not the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::files::Output;
use crate::error::{Error, Result};
use crate::model::{Table, time};
use crate::runtime::FaultPoint;
use crate::store::block::{
    BlockWriter, FinishedBlock, FinishedTable, MetadataRow, RunRows, SeriesRow, StaleRow, WriterSetting,
    write_metadata, write_series, write_staleness,
};
use crate::store::buffer::{Buffer, BufferRun};
use crate::store::catalog::{Commit, Ground, LogOptions, Rank};
use crate::store::catalogue::Catalogue;
use crate::store::tables::{Tables, app_id};
use crate::store::tenants::{SharedBuffer, TenantState, read};
use crate::store::wal::Class;

/// Days that one pass over a buffer writes; a year of backfill takes several passes instead of much memory.
const DAYS_PER_PASS: usize = 8;

/// What a flush works with.
#[derive(Debug, Clone)]
pub(in crate::store) struct Flusher {
    pub(in crate::store) ground: Ground,
    pub(in crate::store) log_options: LogOptions,
    pub(in crate::store) directory: Uuid,
    pub(in crate::store) metrics: crate::store::metrics::StoreMetrics,
}

/// Files of one tenant that wait for their commit.
#[derive(Debug, Default)]
struct Files {
    /// When the first was begun, ms since 1970.
    begun_ms: i64,
    by_table: BTreeMap<Table, Vec<Output>>,
    rows: u64,
    bytes: u64,
}

/// Writes and commits every frozen buffer of a class of one tenant, oldest first.
///
/// # Errors
/// What the object store or the log says; the buffers stay frozen.
pub(in crate::store) async fn flush_class(
    flusher: &Flusher,
    tenant: &Arc<TenantState>,
    class: Class,
) -> Result<()> {
    let frozen = tenant.frozen(class);
    if frozen.is_empty() {
        return Ok(());
    }
    let tables = match tenant.tables() {
        Some(tables) => tables,
        None => {
            let tables = Tables::open(&flusher.ground, flusher.log_options, &tenant.name).await?;
            tenant.set_tables(tables.clone());
            tables
        }
    };
    for buffer in frozen {
        flush_buffer(flusher, tenant, &tables, class, &buffer).await?;
        tenant.release(class, &buffer);
    }
    Ok(())
}

async fn flush_buffer(
    flusher: &Flusher,
    tenant: &Arc<TenantState>,
    tables: &Tables,
    class: Class,
    buffer: &SharedBuffer,
) -> Result<()> {
    let sequence = read(buffer).last();
    let begun = flusher.ground.clock.monotonic();
    let committed = tables.committed(flusher.directory, class, Table::Samples);
    if sequence <= committed {
        // The commit of an earlier try went through although its answer was lost.
        return Ok(());
    }
    if read(buffer).logs().lines() > 0 {
        return Err(Error::unsupported("log lines in files: they stay in memory and in the WAL"));
    }
    let files = write_files(flusher, tenant, tables, buffer).await?;
    for table in Table::COMMIT_ORDER {
        commit(flusher, tables, table, class, sequence, &files).await?;
        flusher.ground.faults.at(FaultPoint::FlushTable).await;
    }
    flusher.ground.faults.at(FaultPoint::FlushCommitted).await;
    let metrics = &flusher.metrics;
    metrics.flushes.inc();
    metrics.flushed_rows.add(files.rows);
    metrics.flushed_bytes.add(files.bytes);
    let took = flusher.ground.clock.monotonic().saturating_sub(begun);
    metrics.flush_seconds.observe(took.as_secs_f64());
    tracing::info!(
        tenant = tenant.name.as_str(),
        class = class.as_str(),
        rows = files.rows,
        bytes = files.bytes,
        sequence,
        ms = took.as_millis(),
        "flushed"
    );
    Ok(())
}

async fn commit(
    flusher: &Flusher,
    tables: &Tables,
    table: Table,
    class: Class,
    sequence: u64,
    files: &Files,
) -> Result<()> {
    let app_id = app_id(flusher.directory, class);
    let log = tables.log(table);
    let version = i64::try_from(sequence).expect("sequences stay below 2^63");
    if log.snapshot().txn(&app_id).is_some_and(|done| done >= version) {
        return Ok(());
    }
    let written = files.by_table.get(&table).map(Vec::as_slice).unwrap_or_default();
    let begun_ms = (!written.is_empty()).then_some(files.begun_ms);
    let modified_ms = flusher.ground.clock.now_ms();
    log.commit(|_, number| {
        let adds =
            written.iter().map(|file| file.to_data_file(Rank::fresh(number), 0, modified_ms)).collect();
        let txns = vec![(app_id.clone(), version)];
        Ok(Commit { adds, removes: Vec::new(), txns, data_change: true, begun_ms })
    })
    .await?;
    Ok(())
}

async fn write_files(
    flusher: &Flusher,
    tenant: &Arc<TenantState>,
    tables: &Tables,
    buffer: &SharedBuffer,
) -> Result<Files> {
    let pools = &flusher.ground.pools;
    let frozen = Arc::clone(buffer);
    let days = pools.run_blocking(move || Ok(days_of(&read(&frozen)))).await?;
    let mut files = Files { begun_ms: flusher.ground.clock.now_ms(), ..Files::default() };
    for pass in days.chunks(DAYS_PER_PASS) {
        let (frozen, pass) = (Arc::clone(buffer), pass.to_vec());
        let catalogue = tenant.catalogue();
        let encoded = pools.run_blocking(move || encode_days(&read(&frozen), &pass, &catalogue)).await?;
        for day in encoded {
            day.upload(flusher, tables, &mut files).await?;
        }
    }
    Ok(files)
}

/// The UTC days with rows, in order.
fn days_of(buffer: &Buffer) -> Vec<i32> {
    let mut days = BTreeSet::new();
    for run in buffer.runs_in_order() {
        days.extend(run.timestamps.iter().chain(&run.stale_at).map(|time| time::day_of(*time)));
    }
    days.into_iter().collect()
}

/// What one UTC day of a buffer becomes.
struct EncodedDay {
    day: i32,
    samples: (FinishedBlock, Vec<u8>),
    series: Option<FinishedTable>,
    staleness: Option<FinishedTable>,
    metadata: Option<FinishedTable>,
}

/// The files of one day while they are being filled.
struct DayWriter {
    samples: BlockWriter<Vec<u8>>,
    series: Vec<SeriesRow>,
    stale: Vec<StaleRow>,
    metrics: BTreeSet<Arc<str>>,
}

fn encode_days(buffer: &Buffer, days: &[i32], catalogue: &Catalogue) -> Result<Vec<EncodedDay>> {
    let mut writers = BTreeMap::new();
    for day in days {
        let samples = BlockWriter::new(Vec::new(), WriterSetting::Fresh)?;
        let (series, stale, metrics) = (Vec::new(), Vec::new(), BTreeSet::new());
        writers.insert(*day, DayWriter { samples, series, stale, metrics });
    }
    for run in buffer.runs_in_order() {
        for (day, writer) in &mut writers {
            writer.push(*day, &run)?;
        }
    }
    writers.into_iter().map(|(day, writer)| writer.finish(day, catalogue)).collect()
}

impl DayWriter {
    /// Adds the part of a run that lies on the day.
    fn push(&mut self, day: i32, run: &BufferRun) -> Result<()> {
        let (start, end) = (time::day_start(day), time::day_start(day + 1));
        let part = |times: &[i64]| {
            times.partition_point(|time| *time < start)..times.partition_point(|time| *time < end)
        };
        let (rows, stale) = (part(&run.timestamps), part(&run.stale_at));
        if rows.is_empty() && stale.is_empty() {
            return Ok(());
        }
        let metric = &run.key.metric;
        let markers = &run.stale_at[stale];
        self.stale.extend(markers.iter().map(|timestamp| StaleRow {
            metric: Arc::clone(metric),
            id: run.id,
            timestamp: *timestamp,
        }));
        if !rows.is_empty() {
            self.series.push(SeriesRow { day, key: run.key.clone(), id: run.id });
            if !self.metrics.contains(metric) {
                self.metrics.insert(Arc::clone(metric));
            }
        }
        self.samples.push_run(RunRows {
            key: &run.key,
            id: run.id,
            timestamps: &run.timestamps[rows.clone()],
            values: &run.values[rows],
            starts: None,
            stale_at: markers,
        })
    }

    fn finish(self, day: i32, catalogue: &Catalogue) -> Result<EncodedDay> {
        let metadata = self.metrics.iter().map(|metric| metadata_row(metric, day, catalogue)).collect();
        Ok(EncodedDay {
            day,
            samples: self.samples.finish()?,
            series: non_empty(self.series, write_series)?,
            staleness: non_empty(self.stale, write_staleness)?,
            metadata: non_empty(metadata, write_metadata)?,
        })
    }
}

fn non_empty<R>(
    rows: Vec<R>,
    write: impl FnOnce(Vec<R>) -> Result<FinishedTable>,
) -> Result<Option<FinishedTable>> {
    if rows.is_empty() { Ok(None) } else { write(rows).map(Some) }
}

fn metadata_row(metric: &Arc<str>, day: i32, catalogue: &Catalogue) -> MetadataRow {
    let known = catalogue.get(metric);
    MetadataRow {
        metric: Arc::clone(metric),
        label_names: known.map(|entry| entry.label_names.clone()).unwrap_or_default(),
        kind: known.map(|entry| entry.kind).unwrap_or_default(),
        help: known.map(|entry| Arc::clone(&entry.help)).unwrap_or_default(),
        unit: known.map(|entry| Arc::clone(&entry.unit)).unwrap_or_default(),
        has_histograms: false,
        day,
    }
}

impl EncodedDay {
    async fn upload(self, flusher: &Flusher, tables: &Tables, files: &mut Files) -> Result<()> {
        let (block, bytes) = self.samples;
        let times = (block.min_time, block.max_time);
        files.rows += block.rows;
        let side = [
            (Table::Metadata, self.metadata),
            (Table::Series, self.series),
            (Table::Staleness, self.staleness),
        ];
        for (table, finished) in side {
            if let Some(finished) = finished {
                files.put(flusher, tables, table, Output::of_table(self.day, &finished, times)).await?;
            }
        }
        files.put(flusher, tables, Table::Samples, Output::of_block(self.day, &block, bytes)).await
    }
}

impl Files {
    async fn put(&mut self, flusher: &Flusher, tables: &Tables, table: Table, output: Output) -> Result<()> {
        let path = format!("{}/{}", tables.log(table).folder(), output.path());
        flusher.ground.objects.put(&path, output.bytes()).await?;
        flusher.ground.faults.at(FaultPoint::FlushFile).await;
        self.bytes += output.size();
        self.by_table.entry(table).or_default().push(output.without_bytes());
        Ok(())
    }
}
