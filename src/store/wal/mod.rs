//! The write-ahead log: what was acknowledged is on this disk until it is in a committed file.
//!
//! A directory of segments, written by one task. A segment stands alone: it defines every series that its
//! records refer to. A definition stands in the record that first uses it and again in the record after that,
//! so a damaged record takes only its own rows with it. The directory has an identity, a lock and an epoch.

mod extras;
mod logs;
mod positions;
mod read;
mod record;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use uuid::Uuid;

pub(in crate::store) use extras::{ExemplarsBody, HistogramsBody};
pub(in crate::store) use logs::{LogParts, LogsBody};
pub(in crate::store) use positions::Positions;
pub(in crate::store) use record::{Class, Definition, SamplesBody};
use record::{RecordKind, RecordStart};
use segment::Walk;

use super::buffer::{Part, Registry};
use crate::error::{Error, Kind, Result};
use crate::model::{Batch, FilePosition, Handle, LogBatch, MetricMetadata, Tenant};
use crate::runtime::{Disk, DiskFile, DiskLock};

/// Records of one request with their rows: what [`Wal::append`] takes.
#[derive(Debug)]
pub(in crate::store) struct Request<'a> {
    /// Whose rows.
    pub(in crate::store) tenant: &'a Tenant,
    /// The rows of each class and sort; those without rows are left out.
    pub(in crate::store) parts: Vec<(Class, Part<'a>)>,
    /// The batch, for its metadata.
    pub(in crate::store) batch: &'a Batch,
    /// What the handles mean.
    pub(in crate::store) registry: &'a RwLock<Registry>,
    /// Log lines.
    pub(in crate::store) logs: Option<&'a LogParts>,
}

/// One replayed record.
#[derive(Debug, PartialEq)]
pub(in crate::store) struct Replayed {
    /// Its sequence.
    pub(in crate::store) sequence: u64,
    /// Its class.
    pub(in crate::store) class: Class,
    /// What it holds.
    pub(in crate::store) body: ReplayedBody,
}

/// What a replayed record holds.
#[derive(Debug, PartialEq)]
pub(in crate::store) enum ReplayedBody {
    /// Rows; the definitions of all references in here have been seen by [`Replay::next_segment`]'s caller.
    Samples(SamplesBody),
    /// Type, help and unit of metrics.
    Metadata(Tenant, Vec<MetricMetadata>),
    /// Native histograms; definitions as for samples.
    Histograms(HistogramsBody),
    /// Exemplars; definitions as for samples.
    Exemplars(ExemplarsBody),
    /// Log lines.
    Logs(LogsBody),
    /// How far a tailed file was read with the lines of the same request.
    Position(Tenant, FilePosition),
}

/// What a segment held.
#[derive(Debug, Default)]
pub(in crate::store) struct ReplayedSegment {
    /// Complete requests in sequence order.
    pub(in crate::store) records: Vec<Replayed>,
    /// Every definition of the segment, also those of damaged or unfinished requests' neighbours.
    pub(in crate::store) definitions: Vec<(Tenant, u64, Definition)>,
    /// Damaged places with good records behind them.
    pub(in crate::store) quarantined: usize,
    /// Bytes of a torn tail that were cut.
    pub(in crate::store) cut: usize,
}

/// The open log.
#[derive(Debug)]
pub(in crate::store) struct Wal {
    disk: Disk,
    dir: PathBuf,
    identity: Identity,
    segment_size: usize,
    current: Option<Current>,
    closed: VecDeque<Closed>,
    next_segment: u64,
    next_sequence: u64,
    scratch: Vec<u8>,
    body: Vec<u8>,
    /// What the file of positions holds; empty without one.
    kept: Vec<u8>,
    _lock: DiskLock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    directory: Uuid,
    epoch: u64,
}

/// The segment being written.
#[derive(Debug)]
struct Current {
    file: DiskFile,
    number: u64,
    /// Bytes written.
    len: usize,
    /// Bytes known to be on disk.
    synced: usize,
    last: LastOf,
    /// Generation of the series that a (tenant, slot) stands for in this segment.
    defined: HashMap<Tenant, Vec<Option<u32>>>,
    /// What each tenant's last samples record defined, to be repeated in its next one.
    echo: HashMap<Tenant, Vec<Definition>>,
}

#[derive(Debug)]
struct Closed {
    number: u64,
    bytes: usize,
    last: LastOf,
}

/// The last sequence of each class in a segment.
type LastOf = HashMap<Class, u64>;

impl Wal {
    /// Opens or makes the directory, takes its lock and moves its epoch on. The caller replays before it
    /// appends and then calls [`Wal::resume`].
    ///
    /// # Errors
    /// `Conflict` when another process holds the directory, `Corrupt` when its identity is damaged, `Io`.
    pub(in crate::store) fn open(disk: Disk, dir: &Path, segment_size: usize) -> Result<(Self, Vec<u64>)> {
        let during = |e: Error| e.during("open WAL");
        disk.create_dir_all(dir).map_err(during)?;
        let lock = disk.lock(&dir.join("lock")).map_err(|e| {
            let hint = "the WAL directory is in use; is another quipu running on it?";
            Error::new(Kind::Conflict, hint).with("directory", dir.display()).caused_by(e)
        })?;
        let identity = next_identity(&disk, dir).map_err(during)?;
        let names = disk.list(dir).map_err(during)?;
        let mut segments: Vec<u64> =
            names.iter().filter_map(|entry| segment::number_of(&entry.name)).collect();
        segments.sort_unstable();
        let wal = Self {
            disk,
            dir: dir.to_owned(),
            identity,
            segment_size,
            current: None,
            closed: VecDeque::new(),
            next_segment: segments.last().map_or(1, |last| last + 1),
            next_sequence: 1,
            scratch: Vec::new(),
            body: Vec::new(),
            kept: Vec::new(),
            _lock: lock,
        };
        Ok((wal, segments))
    }

    /// The directory's identity: part of every commit's `appId`.
    pub(in crate::store) fn directory(&self) -> Uuid {
        self.identity.directory
    }

    /// Reads one segment whole; the caller asks in ascending order. A torn tail is cut off the last one. What is
    /// read is on the disk before anyone relies on it: a killed process may have written it and not synced it.
    ///
    /// # Errors
    /// `Corrupt` when the file is no segment of this directory; damage inside it is reported in the answer.
    pub(in crate::store) fn replay_segment(&mut self, number: u64, is_last: bool) -> Result<ReplayedSegment> {
        let path = segment::path_of(&self.dir, number);
        let named = |e: Error| e.during("replay WAL").with("file", path.display());
        let bytes = self.disk.read(&path)?;
        let mut out = ReplayedSegment::default();
        let mut last = LastOf::new();
        if segment::check_header(&bytes, self.identity.directory).map_err(named)? {
            let mut walk = Walk::new(&bytes);
            read::read_records(&mut walk, self.next_sequence, &mut out, &mut last).map_err(named)?;
            out.cut = bytes.len() - walk.good_end;
            let mut file = self.disk.open_append(&path)?;
            if out.cut > 0 && is_last {
                file.truncate(walk.good_end as u64)?;
            }
            file.sync_data()?;
        }
        let seen = last.values().copied().max().unwrap_or(0);
        self.next_sequence = self.next_sequence.max(seen + 1);
        self.closed.push_back(Closed { number, bytes: bytes.len(), last });
        Ok(out)
    }

    /// Ends the replay: sequences go on after `committed`, the largest one in any table.
    pub(in crate::store) fn resume(&mut self, committed: u64) {
        self.next_sequence = self.next_sequence.max(committed + 1);
    }

    /// The last sequence given out.
    pub(in crate::store) fn last_sequence(&self) -> u64 {
        self.next_sequence - 1
    }

    /// Bytes of all segments.
    pub(in crate::store) fn bytes(&self) -> usize {
        let current = self.current.as_ref().map_or(0, |current| current.len);
        self.closed.iter().map(|closed| closed.bytes).sum::<usize>() + current
    }

    /// Writes requests without waiting for the disk and returns each request's sequences, one per part.
    /// After an error nothing of these requests counts as written.
    ///
    /// # Errors
    /// `Unavailable` when the disk is full, `Limit` when a request is too large, `Io`.
    pub(in crate::store) fn append(&mut self, requests: &[Request<'_>]) -> Result<Vec<Vec<u64>>> {
        self.roll_if_full()?;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let mut sequences = Vec::with_capacity(requests.len());
        let mut written = Ok(());
        for request in requests {
            match self.encode(request, &mut scratch) {
                Ok(assigned) => sequences.push(assigned),
                Err(error) => {
                    written = Err(error);
                    break;
                }
            }
        }
        let written = written.and_then(|()| self.write(&scratch));
        self.scratch = scratch;
        written.map(|()| sequences).inspect_err(|_| self.abandon())
    }

    /// Waits until everything written is on the disk.
    ///
    /// # Errors
    /// `Io` or `Unavailable`; then nothing since the last good sync counts as written.
    pub(in crate::store) fn sync(&mut self) -> Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let synced = current.file.sync_data();
        if synced.is_ok() {
            current.synced = current.len;
        }
        synced.map_err(|e| e.during("sync WAL")).inspect_err(|_| self.abandon())
    }

    /// The positions that outlived their segments, as of the last [`Wal::keep_positions`].
    ///
    /// # Errors
    /// `Corrupt` naming the file, `Io`.
    pub(in crate::store) fn kept_positions(&mut self) -> Result<Vec<(Tenant, FilePosition)>> {
        let path = self.dir.join(positions::FILE);
        match self.disk.read(&path) {
            Ok(bytes) => {
                self.kept = bytes.to_vec();
                positions::decode(&bytes).map_err(|e| e.during("replay WAL").with("file", path.display()))
            }
            Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Makes positions outlive the segments that hold their records: durable before [`Wal::release`].
    ///
    /// # Errors
    /// `Io` or `Unavailable`; then what was kept before stays.
    pub(in crate::store) fn keep_positions(&mut self, all: &[(Tenant, Positions)]) -> Result<()> {
        let each = all.iter().flat_map(|(tenant, of)| of.iter().map(move |position| (tenant, position)));
        let bytes = positions::encode(each);
        if bytes == self.kept
            || (self.kept.is_empty() && all.iter().all(|(_, of)| of.iter().next().is_none()))
        {
            return Ok(());
        }
        replace_file(&self.disk, &self.dir, positions::FILE, &bytes)
            .map_err(|e| e.during("keep positions"))?;
        self.kept = bytes;
        Ok(())
    }

    /// Deletes the segments whose every record is in committed files: `committed` holds the last sequence of
    /// each class that all tables have. Returns the number of segments deleted.
    ///
    /// # Errors
    /// `Io`.
    pub(in crate::store) fn release(&mut self, committed: &dyn Fn(Class) -> u64) -> Result<usize> {
        let mut released = 0;
        while let Some(oldest) = self.closed.front() {
            if oldest.last.iter().any(|(class, last)| *last > committed(*class)) {
                break;
            }
            self.disk.remove(&segment::path_of(&self.dir, oldest.number))?;
            self.closed.pop_front();
            released += 1;
        }
        if released > 0 {
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(released)
    }

    /// Closes the current segment so that [`Wal::release`] may delete it once it is committed.
    ///
    /// # Errors
    /// `Io`.
    pub(in crate::store) fn roll(&mut self) -> Result<()> {
        self.sync()?;
        if let Some(current) = self.current.take() {
            self.closed.push_back(Closed { number: current.number, bytes: current.len, last: current.last });
        }
        Ok(())
    }

    fn roll_if_full(&mut self) -> Result<()> {
        if self.current.as_ref().is_some_and(|current| current.len >= self.segment_size) {
            self.roll()?;
        }
        if self.current.is_none() {
            self.current = Some(self.begin_segment()?);
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<Current> {
        let number = self.next_segment;
        let path = segment::path_of(&self.dir, number);
        let mut file = self.disk.create_new(&path)?;
        self.next_segment += 1;
        let header = segment::header(number, self.identity.directory, self.next_sequence);
        let begun = file.write_all(&header).and_then(|()| file.sync_data());
        begun.and_then(|()| self.disk.sync_dir(&self.dir)).inspect_err(|_| self.remove_empty(number))?;
        Ok(Current {
            file,
            number,
            len: segment::SEGMENT_HEADER_LEN,
            synced: segment::SEGMENT_HEADER_LEN,
            last: LastOf::new(),
            defined: HashMap::new(),
            echo: HashMap::new(),
        })
    }

    /// Gives up on the current segment after a failure: what is after the last sync must not be replayed as
    /// if it had been acknowledged, nor be referred to by later records.
    fn abandon(&mut self) {
        let Some(mut current) = self.current.take() else { return };
        let cut = current.file.truncate(current.synced as u64).and_then(|()| current.file.sync_data());
        if let Err(error) = cut {
            tracing::warn!(%error, segment = current.number, "a WAL segment could not be cut after a failure");
        } else if current.synced == segment::SEGMENT_HEADER_LEN {
            self.remove_empty(current.number);
            return;
        }
        self.closed.push_back(Closed { number: current.number, bytes: current.synced, last: current.last });
    }

    /// Takes away a segment without a record: a disk that stays full would gather one with every refusal.
    fn remove_empty(&self, number: u64) {
        let path = segment::path_of(&self.dir, number);
        // One that stays, or comes back after a crash, is read as empty by the next start.
        if let Err(error) = self.disk.remove(&path).and_then(|()| self.disk.sync_dir(&self.dir)) {
            tracing::warn!(%error, segment = number, "an empty WAL segment stays until the next start");
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let current = self.current.as_mut().expect("a segment is begun before anything is written");
        current.file.write_all(bytes).map_err(|e| e.during("write WAL"))?;
        current.len += bytes.len();
        Ok(())
    }

    fn encode(&mut self, request: &Request<'_>, out: &mut Vec<u8>) -> Result<Vec<u64>> {
        let parts = request.records();
        let mut sequences = Vec::with_capacity(parts.len());
        let registry = request.registry.read().expect("no holder of this lock panics");
        for (index, part) in parts.iter().enumerate() {
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            let (first, last) = (index == 0, index + 1 == parts.len());
            let mut body = std::mem::take(&mut self.body);
            body.clear();
            let current = self.current.as_mut().expect("a segment is begun before anything is encoded");
            let (kind, class) = match part {
                Record::Rows(class, rows) => {
                    (current.write_rows(&mut body, request.tenant, *rows, &registry), *class)
                }
                Record::Metadata => {
                    record::write_metadata(&mut body, request.tenant, request.batch);
                    (RecordKind::Metadata, Class::Live)
                }
                Record::Logs(class, batch) => {
                    logs::write_logs(&mut body, request.tenant, batch);
                    (RecordKind::Logs, *class)
                }
                Record::Position(position) => {
                    positions::write_position(&mut body, request.tenant, position);
                    (RecordKind::Position, Class::Live)
                }
            };
            if part.has_rows() {
                sequences.push(sequence);
            }
            current.last.insert(class, sequence);
            let pushed = record::push_record(out, RecordStart { sequence, kind, class, first, last }, &body);
            self.body = body;
            pushed?;
        }
        Ok(sequences)
    }
}

/// One record of a request.
#[derive(Debug)]
enum Record<'a> {
    Rows(Class, Part<'a>),
    Metadata,
    Logs(Class, &'a LogBatch),
    Position(&'a FilePosition),
}

impl Record<'_> {
    /// Whether the record brings rows for a buffer, which then learn its sequence.
    fn has_rows(&self) -> bool {
        matches!(self, Self::Rows(..) | Self::Logs(..))
    }
}

impl Request<'_> {
    /// The records of the request in their order in the log. Those with rows come in the order in which
    /// [`Wal::append`] tells their sequences: samples, then logs.
    fn records(&self) -> Vec<Record<'_>> {
        let mut all: Vec<Record<'_>> =
            self.parts.iter().map(|(class, rows)| Record::Rows(*class, *rows)).collect();
        if !self.batch.metadata.is_empty() {
            all.push(Record::Metadata);
        }
        if let Some(logs) = self.logs {
            all.extend(logs.parts.iter().map(|(class, batch)| Record::Logs(*class, batch)));
            all.extend(logs.position.as_ref().map(Record::Position));
        }
        all
    }
}

impl Current {
    /// Writes the body of a record with rows.
    fn write_rows(
        &mut self,
        body: &mut Vec<u8>,
        tenant: &Tenant,
        part: Part<'_>,
        registry: &Registry,
    ) -> RecordKind {
        match part {
            Part::Samples(rows) => {
                let definitions = self.definitions(tenant, rows.iter().map(|row| row.0), registry);
                record::write_samples(body, tenant, &definitions, rows);
                RecordKind::Samples
            }
            Part::Histograms(rows) => {
                let definitions = self.definitions(tenant, rows.iter().map(|row| row.series), registry);
                extras::write_histograms(body, tenant, &definitions, rows);
                RecordKind::Histograms
            }
            Part::Exemplars(rows) => {
                let definitions = self.definitions(tenant, rows.iter().map(|row| row.series), registry);
                extras::write_exemplars(body, tenant, &definitions, rows);
                RecordKind::Exemplars
            }
        }
    }

    /// What a record must define: series used for the first time in this segment, and once more what the
    /// tenant's record before this one defined.
    fn definitions(
        &mut self,
        tenant: &Tenant,
        handles: impl Iterator<Item = Handle>,
        registry: &Registry,
    ) -> Vec<Definition> {
        let defined = self.defined.entry(tenant.clone()).or_default();
        let mut fresh = Vec::new();
        for handle in handles {
            let slot = handle.slot as usize;
            if defined.len() <= slot {
                defined.resize(slot + 1, None);
            }
            if defined[slot] != Some(handle.generation) {
                defined[slot] = Some(handle.generation);
                let (key, _) = registry.get(handle).expect("handles are checked before they are written");
                fresh.push(Definition { reference: handle.slot, key: key.clone() });
            }
        }
        let mut all = self.echo.remove(tenant).unwrap_or_default();
        // A slot that changed hands between the two records means only its new series from here on.
        all.retain(|old| fresh.iter().all(|new| new.reference != old.reference));
        if !fresh.is_empty() {
            self.echo.insert(tenant.clone(), fresh.clone());
        }
        all.extend(fresh);
        all
    }
}

/// Reads the directory's identity, or makes one, and moves its epoch on durably.
fn next_identity(disk: &Disk, dir: &Path) -> Result<Identity> {
    let path = dir.join("identity");
    let before = match disk.read(&path) {
        Ok(bytes) => Some(parse_identity(&bytes).map_err(|e| e.with("file", path.display()))?),
        Err(error) if error.kind() == Kind::NotFound => None,
        Err(error) => return Err(error),
    };
    let next = match before {
        Some(Identity { directory, epoch }) => Identity { directory, epoch: epoch + 1 },
        None => Identity { directory: Uuid::new_v4(), epoch: 1 },
    };
    replace_file(disk, dir, "identity", format!("{} {}\n", next.directory, next.epoch).as_bytes())?;
    Ok(next)
}

/// Writes a small file so that a crash leaves the old or the new one.
fn replace_file(disk: &Disk, dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    match disk.remove(&temporary) {
        Err(error) if error.kind() != Kind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = disk.create_new(&temporary)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    disk.rename(&temporary, &dir.join(name))?;
    disk.sync_dir(dir)
}

fn parse_identity(bytes: &[u8]) -> Result<Identity> {
    let bad = || Error::corrupt("the WAL directory's identity cannot be read");
    let text = std::str::from_utf8(bytes).map_err(|_| bad())?;
    let (directory, epoch) = text.trim().split_once(' ').ok_or_else(bad)?;
    let directory = directory.parse().map_err(|_| bad())?;
    Ok(Identity { directory, epoch: epoch.parse().map_err(|_| bad())? })
}
