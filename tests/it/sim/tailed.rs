//! Files of the host that are followed: what stands in them outlives the lives, and how far they were read is in the
//! store.
//!
//! The tailer proper reads the host's disk; here it is its rules that are followed: a batch of lines has the position
//! behind them, one that was not taken is sent again as it is, a start goes on from the stored position, times only
//! ascend, and a deleted file's position is done. What holds: the lines that are stored of a file are those before its
//! position, each once.

use std::collections::{BTreeMap, BTreeSet};

use quipu::model::{FilePosition, LogBatch, time};

use super::lines::{self, Line, Pairs};

const NS: i64 = 1_000_000;
pub(super) const FILES: u64 = 2;
const DEVICE: u64 = 7;

/// A line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    file: u64,
    /// How many files with its name and inode were deleted before it.
    generation: u64,
    number: u64,
}

impl Place {
    /// Where a line stood, when it stood in a file.
    pub(super) fn of(line: &Line) -> Option<Self> {
        let mut words = line.body.strip_prefix("tail ")?.split(' ').map(|word| word.parse().ok());
        let mut next = || words.next().flatten();
        let place = Self { file: next()?, generation: next()?, number: next()? };
        assert_eq!(*line, place.line(line.ns), "a line of a file is not what stood there");
        Some(place)
    }

    fn line(self, ns: i64) -> Line {
        let Self { file, generation, number } = self;
        let names = [("app", "tail".to_owned()), ("filename", file.to_string())];
        let stream: Pairs = names.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let body = format!("tail {file} {generation} {number}");
        Line { stream, ns, body, metadata: Pairs::new() }
    }
}

/// Lines of files that were read from a snapshot, with their times in ns.
pub(super) type Tailed = BTreeMap<Place, i64>;

/// All files.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    /// Lines that files had when they were deleted, by file and generation.
    deleted: BTreeMap<u64, Vec<u64>>,
    /// Lines of each file that were acknowledged.
    acknowledged: BTreeMap<u64, u64>,
    /// The times under which lines were sent.
    sent: BTreeMap<Place, BTreeSet<i64>>,
}

impl Files {
    fn generation(&self, file: u64) -> u64 {
        u64::try_from(self.deleted.get(&file).map_or(0, Vec::len)).expect("few files")
    }

    /// The UTC days of the lines.
    pub(super) fn days(&self) -> impl Iterator<Item = i32> + '_ {
        self.sent.values().flatten().map(|ns| time::day_of(time::ns_to_ms(*ns)))
    }

    /// Holds lines and positions of one moment against each other and against what was known then (`self`).
    pub(super) fn check(&self, read: &Tailed, positions: &[FilePosition], kept_from: i64, what: &str) {
        let mut expected = BTreeSet::new();
        for file in 0..FILES {
            let generation = self.generation(file);
            let deleted = self.deleted.get(&file).map(Vec::as_slice).unwrap_or_default();
            let position = positions.iter().find(|position| position.inode == file);
            let offset = match position.map(|position| (position.fingerprint, position.offset)) {
                Some((of, offset)) if of == generation => offset,
                Some((of, offset)) => {
                    // Of a deleted file, as long as nothing is stored of its successors.
                    let since = usize::try_from(of).ok().and_then(|of| deleted.get(of..));
                    let fits = since.is_some_and(|lines| {
                        lines.iter().enumerate().all(|(at, lines)| *lines == if at == 0 { offset } else { 0 })
                    });
                    assert!(fits, "{what}: file {file} has a foreign position: {position:?} of {deleted:?}");
                    0
                }
                None => 0,
            };
            let least = self.acknowledged.get(&file).copied().unwrap_or(0);
            assert!(offset >= least, "{what}: file {file}: {position:?}, {least} lines were acknowledged");
            for (generation, lines) in (0..).zip(deleted.iter().chain([&offset])) {
                expected.extend((0..*lines).map(|number| Place { file, generation, number }));
            }
        }
        for (place, ns) in read {
            assert!(expected.contains(place), "{what}: {place:?} is there, positions are {positions:?}");
            let sent = self.sent.get(place).is_some_and(|times| times.contains(ns));
            assert!(sent, "{what}: {place:?} was not sent as of {ns}");
        }
        for place in expected.iter().filter(|place| !read.contains_key(place)) {
            let gone = |ns: &i64| time::ns_to_ms(*ns) < kept_from;
            let retained = self.sent.get(place).is_some_and(|times| times.iter().all(gone));
            assert!(retained, "{what}: {place:?} is gone, positions are {positions:?}");
        }
    }
}

/// Follows one file in one life.
#[derive(Debug)]
pub(super) struct Follower {
    file: u64,
    generation: u64,
    offset: u64,
    last_ns: i64,
}

impl Follower {
    /// Goes on where the stored positions say.
    pub(super) fn new(file: u64, files: &Files, positions: &[FilePosition]) -> Self {
        let generation = files.generation(file);
        let last_ns = positions.iter().map(|position| position.last_ns).max().unwrap_or(i64::MIN);
        let own = positions.iter().find(|position| position.inode == file);
        let offset = own.filter(|own| own.fingerprint == generation).map_or(0, |own| own.offset);
        Self { file, generation, offset, last_ns }
    }

    fn position(&self) -> FilePosition {
        FilePosition {
            path: format!("/var/log/{}", self.file),
            device: DEVICE,
            inode: self.file,
            fingerprint: self.generation,
            fingerprint_len: 1_024,
            offset: self.offset,
            last_ns: self.last_ns,
            is_done: false,
        }
    }

    /// The next lines with the position behind them.
    pub(super) fn batch(&mut self, lines: u64, now_ms: i64, files: &mut Files) -> LogBatch {
        // Just after midnight: no time of any row is near five o'clock.
        let now = time::day_start(time::day_of(now_ms)) * NS;
        let mut batch = LogBatch::default();
        for number in self.offset..self.offset + lines {
            self.last_ns = now.max(self.last_ns.saturating_add(1));
            let place = Place { file: self.file, generation: self.generation, number };
            files.sent.entry(place).or_default().insert(self.last_ns);
            lines::push(&mut batch, &place.line(self.last_ns), 1);
        }
        self.offset += lines;
        batch.position = Some(self.position());
        batch
    }

    /// The batch was taken.
    pub(super) fn taken(&self, files: &mut Files) {
        files.acknowledged.insert(self.file, self.offset);
    }

    /// The position by itself.
    pub(super) fn saved(&self) -> LogBatch {
        LogBatch { position: Some(self.position()), ..LogBatch::default() }
    }

    /// The file is deleted, and another one with its name and inode is begun. Everything was read and taken.
    pub(super) fn delete(&mut self, files: &mut Files) -> LogBatch {
        let position = FilePosition { is_done: true, ..self.position() };
        files.deleted.entry(self.file).or_default().push(self.offset);
        files.acknowledged.insert(self.file, 0);
        (self.generation, self.offset) = (self.generation + 1, 0);
        LogBatch { position: Some(position), ..LogBatch::default() }
    }
}
