//! One round of a target: a fetched body, or the failure to get one, becomes one batch and one answer.
//!
//! ```text
//!   body ─ parser ─▶ line ─ cache hit ──────────────▶ row          (no allocation)
//!                     └─ miss: labels, merge, relabel,
//!                        limits, resolve ─▶ cache ───▶ row
//!   vanished series ─▶ stale rows ┐
//!   up, scrape_…    ─▶ report rows┴─▶ one batch ─▶ sink: whole or not at all
//! ```
//! A failed scrape is an empty one: everything the target showed before goes stale, and `up` is 0.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use super::cache::{Bound, Fate, Hit, Index, SeriesCache};
use super::families::{Families, Said};
use super::histograms::SeenExemplars;
use super::nhcb::Converter;
use super::report::{REPORTS, Report};
use super::sample_labels;
use super::sink::{Accepted, Sink};
use super::stats::Stats;
use crate::error::{Error, Kind, Result};
use crate::model::time::OLDEST_MS;
use crate::model::{
    Batch, ExemplarRow, Handle, HistogramRow, LabelsRef, METRIC_NAME, MetricMetadata, MetricType, STALE_NAN,
    Timestamps,
};
use crate::source::label_set::LabelSet;
use crate::source::settings::ScrapeSettings;
use crate::source::target::Target;
use crate::wire::Limits;
use crate::wire::exposition::protobuf::{self, HistogramOptions, ProtobufEvent};
use crate::wire::exposition::{Event, Format, LabelScratch, Parser, SampleLine};

/// How far ahead of the scrape a timestamp in a body may lie; Prometheus' `maxAheadTime`.
const AHEAD_MS: i64 = 10 * 60_000;
/// How often a batch is resolved again because series were given away meanwhile.
const MAX_TRIES: usize = 4;

/// What is known about a target between rounds. It is handed over when the job is reloaded.
#[derive(Debug)]
pub(super) struct Memory {
    cache: SeriesCache,
    families: Families,
    pub(super) exemplars: SeenExemplars,
    report: [Option<Handle>; REPORTS],
    pub(super) scratch: LabelScratch,
    canonical: Vec<u8>,
    /// The rows of the last batch; kept for their memory.
    rows: Vec<Row>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            cache: SeriesCache::new(),
            families: Families::default(),
            exemplars: SeenExemplars::default(),
            report: [None; REPORTS],
            scratch: LabelScratch::default(),
            canonical: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Every series that the last round stored.
    pub(super) fn current(&self) -> impl Iterator<Item = Handle> + '_ {
        self.cache.watched().chain(self.report.iter().copied().flatten())
    }
}

/// What a row of the batch stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Row {
    Watched(Index),
    Unwatched(Index),
    Stale(Index),
    Report(u8),
}

/// A batch in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    series: Vec<Handle>,
    values: Vec<f64>,
    /// Only where a row has a timestamp of its own.
    timestamps: Option<Vec<i64>>,
    rows: Vec<Row>,
    histograms: Vec<HistogramRow>,
    exemplars: Vec<ExemplarRow>,
    /// What each histogram, and then each exemplar, stands for.
    histogram_rows: Vec<Row>,
    exemplar_rows: Vec<Row>,
    metadata: Vec<MetricMetadata>,
    prints: Vec<(u64, u64)>,
    /// The limit that was passed first: nothing of the body is stored.
    pub(super) over_limit: Option<Error>,
    pub(super) counts: Counts,
}

/// Where a sample goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) handle: Handle,
    /// The timestamp in the body, if it counts.
    pub(super) own: Option<i64>,
    pub(super) row: Row,
}

/// What the report says about a body.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Samples in the body.
    pub(super) scraped: usize,
    /// Those that relabelling kept.
    pub(super) kept: usize,
    /// Series that were not there before.
    pub(super) added: usize,
    /// Bytes of the body; -1 when it was too long.
    pub(super) bytes: i64,
}

/// What a fetch brought.
pub(super) type Fetched<'a> = Result<(Format, &'a [u8])>;

/// Turns the bodies of one target into batches.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) target: Arc<Target>,
    pub(super) job: Arc<ScrapeSettings>,
    pub(super) sink: Sink,
    pub(super) memory: Arc<Mutex<Memory>>,
    pub(super) stats: Stats,
}

impl Probe {
    /// Stores one round with the timestamp `at_ms`. `seconds` tells how long it has taken until it is asked.
    ///
    /// # Errors
    /// Why the target is down: the fetch's error, a body that is malformed or over a limit, a store that does
    /// not take it. In all but the last case `up` 0 and the stale markers are stored.
    pub(super) async fn round(
        &self,
        fetched: Fetched<'_>,
        at_ms: i64,
        seconds: impl Fn() -> f64,
    ) -> Result<()> {
        let (mut draft, health) = self.draft(fetched, at_ms);
        let report = Report {
            up: health.is_ok(),
            seconds: seconds(),
            counts: draft.counts,
            target: &self.target,
            job: &self.job,
        };
        let stored = match self.add_report(&mut draft, &report, at_ms) {
            Ok(()) => self.store(&mut draft, at_ms).await,
            Err(e) => Err(e),
        };
        match stored {
            Ok(()) => self.remember(&mut draft),
            Err(_) => self.memory().cache.carry_over(),
        }
        self.end(draft, health.is_ok() && stored.is_ok());
        self.stats.round(health.is_ok() && stored.is_ok());
        stored.and(health)
    }

    /// Marks everything of the last round stale, except what `goes_on` elsewhere: the target is gone.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn farewell(&self, at_ms: i64, goes_on: &HashSet<Handle>) -> Result<()> {
        let series: Vec<_> = self.memory().current().filter(|handle| !goes_on.contains(handle)).collect();
        if series.is_empty() {
            return Ok(());
        }
        let values = vec![f64::from_bits(STALE_NAN); series.len()];
        self.stats.stale(series.len());
        let batch = Batch { series, timestamps: Timestamps::Shared(at_ms), values, ..Batch::default() };
        // Rows whose series the store has let go of since have no reader to tell.
        match self.sink.append(batch.clone()).await? {
            Accepted::Stored => Ok(()),
            Accepted::Resolve(stale) => {
                let keep = |row: usize| stale.binary_search(&row).is_err();
                let series: Vec<_> =
                    batch.series.iter().enumerate().filter(|(row, _)| keep(*row)).map(|(_, h)| *h).collect();
                let values = vec![f64::from_bits(STALE_NAN); series.len()];
                self.sink.append(Batch { series, values, ..batch }).await.map(drop)
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no holder of this lock panics")
    }

    /// The rows of a body and whether it was good; a bad one leaves stale rows only.
    fn draft(&self, fetched: Fetched<'_>, at_ms: i64) -> (Draft, Result<()>) {
        let memory = &mut *self.memory();
        let mut draft = Draft { rows: std::mem::take(&mut memory.rows), ..Draft::default() };
        draft.rows.clear();
        let health = match fetched {
            Ok((format, body)) => {
                draft.series.reserve(draft.rows.capacity());
                draft.values.reserve(draft.rows.capacity());
                draft.counts.bytes = i64::try_from(body.len()).unwrap_or(i64::MAX);
                let converter = Converter::default();
                Reading { probe: self, memory, draft: &mut draft, converter, at_ms }.body(format, body)
            }
            Err(error) => {
                let too_long = error.message().starts_with(super::fetch::BODY_LIMIT);
                draft.counts.bytes = if too_long { -1 } else { 0 };
                Err(error)
            }
        };
        if health.is_err() {
            draft.clear_rows();
        }
        let mut gone = memory.cache.vanished(health.is_err());
        if !gone.is_empty() {
            // The same series may have come under another spelling of its line.
            let histograms = draft.histograms.iter().map(|row| row.series);
            let present: HashSet<Handle> = draft.series.iter().copied().chain(histograms).collect();
            gone.retain(|(_, handle)| !present.contains(handle));
            self.stats.stale(gone.len());
        }
        for (index, handle) in gone {
            draft.push(handle, f64::from_bits(STALE_NAN), (None, at_ms), Row::Stale(index));
        }
        (draft, health)
    }

    fn add_report(&self, draft: &mut Draft, report: &Report<'_>, at_ms: i64) -> Result<()> {
        let memory = &mut *self.memory();
        for (number, (metric, value)) in (0_u8..).zip(report.samples()) {
            let known = &mut memory.report[usize::from(number)];
            let handle = match *known {
                Some(handle) => handle,
                None => {
                    let mut labels = sample_labels::report(metric, &report.target.labels);
                    let handle = resolve(&self.sink, &mut labels, &mut memory.canonical)?;
                    *known.insert(handle)
                }
            };
            draft.push(handle, value, (None, at_ms), Row::Report(number));
        }
        Ok(())
    }

    async fn store(&self, draft: &mut Draft, at_ms: i64) -> Result<()> {
        for _ in 0..MAX_TRIES {
            match self.sink.append(draft.batch(at_ms)).await? {
                Accepted::Stored => return Ok(()),
                Accepted::Resolve(rows) => self.resolve_again(draft, &rows)?,
            }
        }
        let message = "the store gives series away faster than they can be resolved";
        Err(Error::new(Kind::Unavailable, message).with("tries", MAX_TRIES))
    }

    fn resolve_again(&self, draft: &mut Draft, rows: &[usize]) -> Result<()> {
        let memory = &mut *self.memory();
        for row in rows {
            let handle = match draft.row(*row) {
                Row::Watched(index) | Row::Unwatched(index) | Row::Stale(index) => {
                    let mut labels = self.labels_of(memory, index)?;
                    let handle = resolve(&self.sink, &mut labels, &mut memory.canonical)?;
                    memory.cache.rebind(index, handle);
                    handle
                }
                Row::Report(number) => {
                    let number = usize::from(number);
                    let metric = Report::METRICS[number];
                    let mut labels = sample_labels::report(metric, &self.target.labels);
                    let handle = resolve(&self.sink, &mut labels, &mut memory.canonical)?;
                    *memory.report[number].insert(handle)
                }
            };
            draft.rebind(*row, handle);
        }
        Ok(())
    }

    /// The stored labels of a known line, read anew from its raw text.
    fn labels_of(&self, memory: &mut Memory, index: Index) -> Result<LabelSet> {
        let raw = memory.cache.raw(index).to_vec();
        let limits = Limits::default();
        decode(&[&raw[..], b" 0\n"].concat(), &limits, &mut memory.scratch)?;
        let kind = match memory.cache.bound(index) {
            Bound::None => None,
            Bound::Histogram => Some("histogram"),
            Bound::Summary => Some("summary"),
        };
        if let Some(kind) = kind {
            // The type line gives the bounds their spelling again.
            let line = format!("# TYPE {} {kind}\n", memory.scratch.metric());
            decode(&[line.as_bytes(), &raw, b" 0\n"].concat(), &limits, &mut memory.scratch)?;
        }
        let exposed = exposed_labels(&memory.scratch);
        let merged = sample_labels::merge(exposed, &self.target.labels, &self.job.labels, &self.job.limits)?;
        merged.ok_or_else(|| Error::internal("a line that was kept is dropped when it is read again"))
    }

    /// The draft is stored.
    fn remember(&self, draft: &mut Draft) {
        let memory = &mut *self.memory();
        for row in draft.rows.iter().chain(&draft.histogram_rows) {
            if let Row::Watched(index) = row {
                memory.cache.watch(*index);
            }
        }
        memory.families.sent(std::mem::take(&mut draft.prints));
        self.stats.stored(draft.values.len() + draft.histograms.len());
    }

    fn end(&self, draft: Draft, good: bool) {
        let memory = &mut *self.memory();
        memory.cache.end_round(good);
        memory.rows = draft.rows;
    }
}

impl Draft {
    /// Adds a row; `times` are its own timestamp and the scrape's.
    fn push(&mut self, handle: Handle, value: f64, times: (Option<i64>, i64), row: Row) {
        let (own, at_ms) = times;
        if own.is_some() && self.timestamps.is_none() {
            self.timestamps = Some(vec![at_ms; self.values.len()]);
        }
        if let Some(timestamps) = &mut self.timestamps {
            timestamps.push(own.unwrap_or(at_ms));
        }
        self.series.push(handle);
        self.values.push(value);
        self.rows.push(row);
    }

    pub(super) fn push_histogram(&mut self, histogram: HistogramRow, row: Row) {
        self.histograms.push(histogram);
        self.histogram_rows.push(row);
    }

    pub(super) fn push_exemplar(&mut self, exemplar: ExemplarRow, row: Row) {
        self.exemplars.push(exemplar);
        self.exemplar_rows.push(row);
    }

    /// What a row of the batch stands for, numbered as [`Batch::handles`] does.
    fn row(&self, number: usize) -> Row {
        let mut rows = self.rows.iter().chain(&self.histogram_rows).chain(&self.exemplar_rows);
        *rows.nth(number).expect("the store numbers the rows of the batch")
    }

    fn rebind(&mut self, number: usize, handle: Handle) {
        let (floats, histograms) = (self.series.len(), self.histograms.len());
        match number.checked_sub(floats) {
            None => self.series[number] = handle,
            Some(at) if at < histograms => self.histograms[at].series = handle,
            Some(at) => self.exemplars[at - histograms].series = handle,
        }
    }

    fn clear_rows(&mut self) {
        self.series.clear();
        self.values.clear();
        self.rows.clear();
        self.histograms.clear();
        self.histogram_rows.clear();
        self.exemplars.clear();
        self.exemplar_rows.clear();
        self.timestamps = None;
        self.metadata.clear();
        self.prints.clear();
    }

    /// A copy for the sink, which may send it back to be resolved again.
    fn batch(&self, at_ms: i64) -> Batch {
        assert_eq!(self.series.len(), self.values.len(), "a row has a series and a value");
        Batch {
            series: self.series.clone(),
            timestamps: self.timestamps.clone().map_or(Timestamps::Shared(at_ms), Timestamps::Each),
            values: self.values.clone(),
            histograms: self.histograms.clone(),
            exemplars: self.exemplars.clone(),
            metadata: self.metadata.clone(),
        }
    }
}

/// The reading of one body.
pub(super) struct Reading<'a> {
    pub(super) probe: &'a Probe,
    pub(super) memory: &'a mut Memory,
    pub(super) draft: &'a mut Draft,
    pub(super) converter: Converter,
    pub(super) at_ms: i64,
}

impl Reading<'_> {
    fn body(&mut self, format: Format, body: &[u8]) -> Result<()> {
        let limits = Limits::default();
        let (mut said, convert) = (Said::default(), self.probe.job.histograms.convert);
        if format == Format::Protobuf {
            self.protobuf(body, &limits, &mut said)?;
        } else {
            let mut parser = Parser::new(body, format, &limits);
            while let Some(event) = parser.next_event()? {
                match event {
                    Event::Sample(line) if convert => self.convert_sample(&line, &said)?,
                    Event::Sample(line) => self.sample(&line, &said)?,
                    about => self.about(about, &mut said)?,
                }
            }
        }
        self.convert_rest(&said)?;
        self.memory.families.finish(&mut said);
        (self.draft.metadata, self.draft.prints) = said.take();
        self.draft.over_limit.take().map_or(Ok(()), Err)
    }

    fn protobuf<'a>(&mut self, body: &'a [u8], limits: &Limits, said: &mut Said<'a>) -> Result<()> {
        let histograms = &self.probe.job.histograms;
        let convert = histograms.convert;
        let options = HistogramOptions { native: histograms.native, classic: histograms.classic };
        protobuf::for_each(body, limits, options, |event| match event {
            ProtobufEvent::Sample(line) if convert => self.convert_sample(&line, said),
            ProtobufEvent::Sample(line) => self.sample(&line, said),
            ProtobufEvent::Histogram(event) => {
                if convert {
                    self.convert_native(&event.line, said)?;
                }
                let place = self.place(&event.line, said)?;
                self.histogram(event, place)
            }
            ProtobufEvent::About(about) => self.about(about, said),
        })
    }

    fn about<'a>(&mut self, event: Event<'a>, said: &mut Said<'a>) -> Result<()> {
        if self.probe.job.histograms.convert {
            self.convert_about(&event, said)?;
        }
        self.memory.families.note(said, event);
        Ok(())
    }

    pub(super) fn sample(&mut self, line: &SampleLine<'_>, said: &Said<'_>) -> Result<()> {
        self.draft.counts.scraped += 1;
        let Some(place) = self.place(line, said)? else { return Ok(()) };
        self.draft.push(place.handle, line.value, (place.own, self.at_ms), place.row);
        if line.exemplar.is_some() { self.exemplar(line, place) } else { Ok(()) }
    }

    /// Where the sample of a line goes; `None` when it is not stored.
    pub(super) fn place(&mut self, line: &SampleLine<'_>, said: &Said<'_>) -> Result<Option<Place>> {
        let probe = &self.probe.job.labels;
        let own = line.timestamp_ms.filter(|_| probe.honor_timestamps);
        let known = self.memory.cache.look_up(line.series);
        let Some(hit) = known.map_or_else(|| self.new_line(line, said), |hit| Ok(Some(hit)))? else {
            return Ok(None);
        };
        let Fate::Series(handle) = hit.fate else { return Ok(None) };
        if known.is_some() {
            self.draft.counts.kept += 1;
        }
        if hit.repeated && own.is_none() {
            self.probe.stats.duplicate();
            return Ok(None);
        }
        if self.at_limit() {
            self.pass_limit();
            return Ok(None);
        }
        if own.is_some_and(|own| !self.is_in_bounds(own)) {
            self.probe.stats.out_of_bounds();
            return Ok(None);
        }
        let watch = own.is_none() || probe.track_timestamps_staleness;
        let row = if watch { Row::Watched(hit.index) } else { Row::Unwatched(hit.index) };
        self.draft.counts.added += usize::from(known.is_none());
        Ok(Some(Place { handle, own, row }))
    }

    pub(super) fn is_in_bounds(&self, timestamp: i64) -> bool {
        (OLDEST_MS..=self.at_ms.saturating_add(AHEAD_MS)).contains(&timestamp)
    }

    fn pass_limit(&mut self) {
        let limit = self.probe.job.limits.samples;
        let error = || Error::new(Kind::Limit, "sample limit exceeded").with("sample_limit", limit);
        self.draft.over_limit.get_or_insert_with(error);
    }

    fn at_limit(&self) -> bool {
        let limit = self.probe.job.limits.samples;
        limit > 0 && self.draft.values.len() + self.draft.histograms.len() >= limit
    }

    /// A line that was never seen. `None` when it is dropped or over the limit, which must not fill the store's
    /// registry.
    fn new_line(&mut self, line: &SampleLine<'_>, said: &Said<'_>) -> Result<Option<Hit>> {
        let (probe, memory) = (self.probe, &mut *self.memory);
        line.labels(&mut memory.scratch)?;
        let bound = match said.kind_for(memory.scratch.metric()) {
            MetricType::Histogram => Bound::Histogram,
            MetricType::Summary => Bound::Summary,
            _ => Bound::None,
        };
        let exposed = exposed_labels(&memory.scratch);
        let merged =
            sample_labels::merge(exposed, &probe.target.labels, &probe.job.labels, &probe.job.limits);
        let Some(mut labels) = merged.map_err(|e| e.with("line", line.line))? else {
            memory.cache.insert(line.series, Fate::Dropped, bound)?;
            return Ok(None);
        };
        self.draft.counts.kept += 1;
        if self.at_limit() {
            self.pass_limit();
            return Ok(None);
        }
        let memory = &mut *self.memory;
        let handle = resolve(&probe.sink, &mut labels, &mut memory.canonical)?;
        let fate = Fate::Series(handle);
        let index = memory.cache.insert(line.series, fate, bound)?;
        Ok(Some(Hit { index, fate, repeated: false }))
    }
}

fn exposed_labels(scratch: &LabelScratch) -> LabelSet {
    std::iter::once((METRIC_NAME, scratch.metric())).chain(scratch.pairs()).collect()
}

/// Decodes the labels of the only sample of a body in the text format.
fn decode(body: &[u8], limits: &Limits, scratch: &mut LabelScratch) -> Result<()> {
    let mut parser = Parser::new(body, Format::Text, limits);
    while let Some(event) = parser.next_event()? {
        if let Event::Sample(line) = event {
            return line.labels(scratch);
        }
    }
    Err(Error::internal("a known line is no sample when it is read again"))
}

fn resolve(sink: &Sink, labels: &mut LabelSet, canonical: &mut Vec<u8>) -> Result<Handle> {
    labels.canonical(canonical);
    let metric = labels.get(METRIC_NAME).to_owned();
    sink.resolve(&metric, LabelsRef::trusted(canonical))
}
