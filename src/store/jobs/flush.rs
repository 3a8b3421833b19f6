//! Flush: frozen buffers become files, files become commits, WAL segments go.
//!
//! ```text
//!   freeze ─▶ per tenant: per UTC day one file per table ─▶ commit metadata, series, staleness, exemplars,
//!          histograms, samples ─▶ let go of the buffer ─▶ release WAL segments
//! ```
//! A flush that fails leaves the frozen buffers where they are, readable and in the WAL; the next one takes them
//! up again, oldest first. Rows of one buffer are committed under one `txn`, so a crash at any point repeats the
//! work and not the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::files::Output;
use super::logs::{self, LabelColumns};
use crate::error::Result;
use crate::model::{Table, time};
use crate::runtime::FaultPoint;
use crate::store::block::{
    BlockWriter, FinishedBlock, FinishedTable, MetadataRow, RowSort, RowValues, RunRows, SeriesRow, StaleRow,
    WriterSetting, write_metadata, write_series, write_staleness,
};
use crate::store::buffer::{Buffer, BufferRun, ExemplarRun};
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
    lines: u64,
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
    let files = write_files(flusher, tenant, tables, buffer).await?;
    for table in Table::COMMIT_ORDER {
        commit(flusher, tables, table, class, sequence, &files).await?;
        flusher.ground.faults.at(FaultPoint::FlushTable).await;
    }
    flusher.ground.faults.at(FaultPoint::FlushCommitted).await;
    let metrics = &flusher.metrics;
    metrics.flushes.inc();
    metrics.flushed_rows.add(files.rows);
    metrics.flushed_lines.add(files.lines);
    metrics.flushed_bytes.add(files.bytes);
    let took = flusher.ground.clock.monotonic().saturating_sub(begun);
    metrics.flush_seconds.observe(took.as_secs_f64());
    tracing::info!(
        tenant = tenant.name.as_str(),
        class = class.as_str(),
        rows = files.rows,
        lines = files.lines,
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
    if written.is_empty() && matches!(table, Table::Histograms | Table::Exemplars | Table::Logs) {
        // Most flushes have none of them. No record in between has such rows, so a replay from the sequence before
        // finds none.
        return Ok(());
    }
    let begun_ms = (!written.is_empty()).then_some(files.begun_ms);
    let modified_ms = flusher.ground.clock.now_ms();
    log.commit(|_, number| {
        let adds =
            written.iter().map(|file| file.to_data_file(Rank::fresh(number), 0, modified_ms)).collect();
        let txns = vec![(app_id.clone(), version)];
        let columns = written.iter().flat_map(Output::columns).collect();
        Ok(Commit { adds, removes: Vec::new(), txns, columns, data_change: true, begun_ms })
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
    write_logs(flusher, tables, buffer, &mut files).await?;
    Ok(files)
}

/// Writes the log lines of a buffer, one file a day, one after the other.
async fn write_logs(
    flusher: &Flusher,
    tables: &Tables,
    buffer: &SharedBuffer,
    files: &mut Files,
) -> Result<()> {
    let pools = &flusher.ground.pools;
    let view = Arc::new(read(buffer).log_view(u64::MAX));
    let sorted = Arc::clone(&view);
    let days = pools.run_blocking(move || Ok(logs::lines_by_day(&sorted))).await?;
    let mut columns = LabelColumns::of(&tables.version(Table::Logs));
    for (day, lines) in days {
        files.lines += lines.len() as u64;
        let view = Arc::clone(&view);
        let encode = move || logs::encode_day(&view, day, &lines, &mut columns).map(|file| (file, columns));
        let (file, with_new) = pools.run_blocking(encode).await?;
        columns = with_new;
        files.put(flusher, tables, Table::Logs, file).await?;
    }
    Ok(())
}

/// The UTC days with rows, in order.
fn days_of(buffer: &Buffer) -> Vec<i32> {
    let mut days = BTreeSet::new();
    for run in buffer.runs_in_order() {
        let times = run.timestamps.iter().chain(&run.stale_at).chain(&run.histogram_times);
        days.extend(times.map(|time| time::day_of(*time)));
    }
    for run in all_exemplars(buffer) {
        days.extend(run.exemplars.iter().map(|one| time::day_of(one.timestamp)));
    }
    days.into_iter().collect()
}

fn all_exemplars(buffer: &Buffer) -> Vec<ExemplarRun> {
    buffer.exemplars(&[], buffer.last(), i64::MIN, i64::MAX)
}

/// A finished block and its bytes.
type Encoded = (FinishedBlock, Vec<u8>);

/// What one UTC day of a buffer becomes.
struct EncodedDay {
    day: i32,
    samples: Option<Encoded>,
    histograms: Option<Encoded>,
    exemplars: Option<Encoded>,
    series: Option<FinishedTable>,
    staleness: Option<FinishedTable>,
    metadata: Option<FinishedTable>,
}

/// A block that is begun with its first run.
type Lazy = Option<BlockWriter<Vec<u8>>>;

/// The files of one day while they are being filled.
#[derive(Default)]
struct DayWriter {
    samples: Lazy,
    histograms: Lazy,
    exemplars: Lazy,
    series: Vec<SeriesRow>,
    stale: Vec<StaleRow>,
    /// Whether each has native histograms.
    metrics: BTreeMap<Arc<str>, bool>,
}

fn encode_days(buffer: &Buffer, days: &[i32], catalogue: &Catalogue) -> Result<Vec<EncodedDay>> {
    let mut writers: BTreeMap<i32, DayWriter> = days.iter().map(|day| (*day, DayWriter::default())).collect();
    for run in buffer.runs_in_order() {
        for (day, writer) in &mut writers {
            writer.push(*day, &run)?;
        }
    }
    for run in all_exemplars(buffer) {
        for (day, writer) in &mut writers {
            writer.push_exemplars(*day, &run)?;
        }
    }
    writers.into_iter().map(|(day, writer)| writer.finish(day, catalogue)).collect()
}

fn push_run(block: &mut Lazy, sort: RowSort, run: RunRows<'_>) -> Result<()> {
    let writer = match block {
        Some(writer) => writer,
        none => none.insert(BlockWriter::of(sort, Vec::new(), WriterSetting::Fresh)?),
    };
    writer.push_run(run)
}

fn finish_block(block: Lazy) -> Result<Option<Encoded>> {
    block.map(BlockWriter::finish).transpose()
}

/// The positions of ascending times that lie on a day.
fn on_day(day: i32, times: &[i64]) -> std::ops::Range<usize> {
    let (start, end) = (time::day_start(day), time::day_start(day + 1));
    times.partition_point(|time| *time < start)..times.partition_point(|time| *time < end)
}

impl DayWriter {
    /// Adds the part of a run that lies on the day.
    fn push(&mut self, day: i32, run: &BufferRun) -> Result<()> {
        let (rows, stale) = (on_day(day, &run.timestamps), on_day(day, &run.stale_at));
        let histograms = on_day(day, &run.histogram_times);
        let (key, id) = (&run.key, run.id);
        if !rows.is_empty() || !histograms.is_empty() {
            self.series.push(SeriesRow { day, key: key.clone(), id });
            match self.metrics.get_mut(&key.metric) {
                Some(has_histograms) => *has_histograms |= !histograms.is_empty(),
                None => {
                    self.metrics.insert(Arc::clone(&key.metric), !histograms.is_empty());
                }
            }
        }
        if !histograms.is_empty() {
            let timestamps = &run.histogram_times[histograms.clone()];
            let rows = RowValues::Histograms(&run.histograms[histograms]);
            let run = RunRows { key, id, timestamps, rows, stale_at: &[] };
            push_run(&mut self.histograms, RowSort::Histograms, run)?;
        }
        if rows.is_empty() && stale.is_empty() {
            return Ok(());
        }
        let stale_at = &run.stale_at[stale];
        self.stale.extend(stale_at.iter().map(|timestamp| StaleRow {
            metric: Arc::clone(&key.metric),
            id,
            timestamp: *timestamp,
        }));
        let timestamps = &run.timestamps[rows.clone()];
        let rows = RowValues::Floats { values: &run.values[rows], starts: None };
        push_run(&mut self.samples, RowSort::Samples, RunRows { key, id, timestamps, rows, stale_at })
    }

    /// Adds the exemplars of a series that lie on the day.
    fn push_exemplars(&mut self, day: i32, run: &ExemplarRun) -> Result<()> {
        let times: Vec<i64> = run.exemplars.iter().map(|one| one.timestamp).collect();
        let rows = on_day(day, &times);
        if rows.is_empty() {
            return Ok(());
        }
        let (key, id, timestamps) = (&run.key, run.id, &times[rows.clone()]);
        let rows = RowValues::Exemplars(&run.exemplars[rows]);
        let run = RunRows { key, id, timestamps, rows, stale_at: &[] };
        push_run(&mut self.exemplars, RowSort::Exemplars, run)
    }

    fn finish(self, day: i32, catalogue: &Catalogue) -> Result<EncodedDay> {
        let row = |(metric, histograms)| metadata_row(metric, histograms, day, catalogue);
        let metadata = self.metrics.into_iter().map(row).collect();
        Ok(EncodedDay {
            day,
            samples: finish_block(self.samples)?,
            histograms: finish_block(self.histograms)?,
            exemplars: finish_block(self.exemplars)?,
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

fn metadata_row(metric: Arc<str>, has_histograms: bool, day: i32, catalogue: &Catalogue) -> MetadataRow {
    let known = catalogue.get(&metric);
    MetadataRow {
        metric,
        label_names: known.map(|entry| entry.label_names.clone()).unwrap_or_default(),
        kind: known.map(|entry| entry.kind).unwrap_or_default(),
        help: known.map(|entry| Arc::clone(&entry.help)).unwrap_or_default(),
        unit: known.map(|entry| Arc::clone(&entry.unit)).unwrap_or_default(),
        has_histograms,
        day,
    }
}

impl EncodedDay {
    async fn upload(self, flusher: &Flusher, tables: &Tables, files: &mut Files) -> Result<()> {
        let blocks = [
            (Table::Exemplars, self.exemplars),
            (Table::Histograms, self.histograms),
            (Table::Samples, self.samples),
        ];
        let all = blocks.iter().filter_map(|(_, block)| block.as_ref().map(|(block, _)| block));
        let times = all.map(|block| (block.min_time, block.max_time));
        let times = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default();
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
        for (table, block) in blocks {
            let Some((block, bytes)) = block else { continue };
            files.rows += block.rows;
            files.put(flusher, tables, table, Output::of_block(self.day, &block, bytes)).await?;
        }
        Ok(())
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
