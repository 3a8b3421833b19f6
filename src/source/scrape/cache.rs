//! What a target exposed before: the raw text of each series and the handle it resolved to.
//!
//! A target writes the same lines in the same order at every scrape. So an entry is first looked for right
//! after the one that was hit last, with one comparison of bytes and no hash; a hash table finds what moved.
//! A steady scrape allocates nothing here. The cache also knows which series a scrape no longer shows, which is
//! what stale markers are made from.
//!
//! ```text
//!   text     │ up{a="b"} │ x_total{code="200"} │ …
//!   entries  │ 0..9  h0  │ 9..28  h1           │ …    in the order of first sight
//!   table    hash(raw) → index of the entry
//! ```

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Kind, Result};
use crate::model::Handle;

/// More raw text than this in one target is refused: offsets are 32 bits wide.
const MAX_TEXT_BYTES: usize = 1 << 30;
/// How many entries more than twice those of the last good scrape may pile up from failed ones.
const SLACK: usize = 1_000;

/// What a raw line became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its samples go to this series.
    Series(Handle),
    /// Relabelling dropped it.
    Dropped,
}

/// How the bound label of a classic histogram or summary is spelled; part of what a raw line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Bound {
    #[default]
    None,
    Histogram,
    Summary,
}

/// A row number of the cache; valid until the next [`SeriesCache::end_round`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Index(u32);

#[derive(Debug)]
struct Entry {
    start: u32,
    len: u32,
    fate: Fate,
    bound: Bound,
    /// The last round in which a body showed the line.
    seen: u32,
    /// The last round in which its sample was stored and is watched for staleness.
    watched: u32,
}

/// The cache of one target.
#[derive(Debug)]
pub(super) struct SeriesCache {
    text: Vec<u8>,
    entries: Vec<Entry>,
    table: HashTable<u32>,
    /// The running round, from 2 on, so that 0 is never one or the one before.
    round: u32,
    /// Where the next line is expected.
    next: usize,
    /// Distinct lines of this round so far.
    hits: usize,
    /// Entries after the last good round.
    settled: usize,
}

/// What a look-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) index: Index,
    pub(super) fate: Fate,
    /// Whether the line occurred before in this round.
    pub(super) repeated: bool,
}

impl SeriesCache {
    pub(super) fn new() -> Self {
        Self {
            text: Vec::new(),
            entries: Vec::new(),
            table: HashTable::new(),
            round: 2,
            next: 0,
            hits: 0,
            settled: 0,
        }
    }

    /// Finds a line and notes that this round shows it.
    pub(super) fn look_up(&mut self, raw: &[u8]) -> Option<Hit> {
        let guess = self.next;
        let at = match self.entries.get(guess) {
            Some(entry) if raw_of(&self.text, entry) == raw => guess,
            _ => self.find(raw)?,
        };
        self.next = at + 1;
        let entry = &mut self.entries[at];
        let repeated = entry.seen == self.round;
        if !repeated {
            entry.seen = self.round;
            self.hits += 1;
        }
        Some(Hit { index: index(at), fate: entry.fate, repeated })
    }

    fn find(&self, raw: &[u8]) -> Option<usize> {
        let same = |at: &u32| raw_of(&self.text, &self.entries[*at as usize]) == raw;
        self.table.find(xxh3_64(raw), same).map(|at| *at as usize)
    }

    /// Adds a line that [`Self::look_up`] did not find.
    ///
    /// # Errors
    /// `Limit` when the target has shown more than 1 GiB of distinct series text.
    pub(super) fn insert(&mut self, raw: &[u8], fate: Fate, bound: Bound) -> Result<Index> {
        if self.text.len() + raw.len() > MAX_TEXT_BYTES {
            let message = "a target exposes more than 1 GiB of distinct series text";
            return Err(Error::new(Kind::Limit, message));
        }
        let short = |n: usize| u32::try_from(n).expect("the text is below 4 GiB");
        let at = self.entries.len();
        let (start, len) = (short(self.text.len()), short(raw.len()));
        self.text.extend_from_slice(raw);
        self.entries.push(Entry { start, len, fate, bound, seen: self.round, watched: 0 });
        let (text, entries) = (&self.text, &self.entries);
        let hash = |at: &u32| xxh3_64(raw_of(text, &entries[*at as usize]));
        self.table.insert_unique(xxh3_64(raw), index(at).0, hash);
        self.next = at + 1;
        self.hits += 1;
        Ok(index(at))
    }

    /// The raw text of an entry.
    pub(super) fn raw(&self, index: Index) -> &[u8] {
        raw_of(&self.text, &self.entries[index.0 as usize])
    }

    /// How the raw text of an entry is to be read.
    pub(super) fn bound(&self, index: Index) -> Bound {
        self.entries[index.0 as usize].bound
    }

    /// Gives an entry another handle: the store gave its slot away.
    pub(super) fn rebind(&mut self, index: Index, handle: Handle) {
        self.entries[index.0 as usize].fate = Fate::Series(handle);
    }

    /// Watches an entry for staleness: its sample of this round is stored.
    pub(super) fn watch(&mut self, index: Index) {
        self.entries[index.0 as usize].watched = self.round;
    }

    /// The series of the round before that this round does not show; all of them when the round `failed`,
    /// whatever its body began with.
    pub(super) fn vanished(&self, failed: bool) -> Vec<(Index, Handle)> {
        if !failed && self.hits == self.entries.len() {
            return Vec::new();
        }
        let gone = |entry: &Entry| entry.watched + 1 == self.round && (failed || entry.seen != self.round);
        let entries = self.entries.iter().enumerate().filter(|(_, entry)| gone(entry));
        entries.filter_map(|(at, entry)| series(entry).map(|handle| (index(at), handle))).collect()
    }

    /// The series that the last ended round stored and watches.
    pub(super) fn watched(&self) -> impl Iterator<Item = Handle> + '_ {
        let watched = |entry: &&Entry| entry.watched + 1 == self.round;
        self.entries.iter().filter(watched).filter_map(series)
    }

    /// Keeps watching what the round before stored: nothing of this round was stored.
    pub(super) fn carry_over(&mut self) {
        for entry in &mut self.entries {
            if entry.watched + 1 == self.round {
                entry.watched = self.round;
            }
        }
    }

    /// Ends a round. After a good one the lines that it did not show are forgotten; after failed ones only when
    /// too many have piled up. Rows keep their numbers only until here.
    pub(super) fn end_round(&mut self, good: bool) {
        let piled_up = self.entries.len() > self.settled * 2 + SLACK;
        if (good || piled_up) && self.hits < self.entries.len() {
            self.forget_unseen();
        }
        if good {
            self.settled = self.entries.len();
            self.give_back();
        }
        self.hits = 0;
        self.next = 0;
        // Four billion rounds: at one a second 136 years.
        self.round = self.round.saturating_add(1);
    }

    /// Gives back what growing by doubling took too much: there are many targets.
    fn give_back(&mut self) {
        let roomy = |len: usize| len + len / 8;
        if self.text.capacity() > roomy(self.text.len()) + self.text.len() / 8 {
            self.text.shrink_to(roomy(self.text.len()));
        }
        if self.entries.capacity() > roomy(self.entries.len()) + self.entries.len() / 8 {
            self.entries.shrink_to(roomy(self.entries.len()));
        }
    }

    fn forget_unseen(&mut self) {
        let (round, old) = (self.round, std::mem::take(&mut self.text));
        self.entries.retain_mut(|entry| {
            let keep = entry.seen == round || entry.watched == round;
            if keep {
                let raw = raw_of(&old, entry);
                entry.start = u32::try_from(self.text.len()).expect("the text only shrinks");
                self.text.extend_from_slice(raw);
            }
            keep
        });
        self.table.clear();
        let (text, entries) = (&self.text, &self.entries);
        let hash = |at: &u32| xxh3_64(raw_of(text, &entries[*at as usize]));
        for at in 0..entries.len() {
            self.table.insert_unique(hash(&index(at).0), index(at).0, hash);
        }
    }

    /// How many lines are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn raw_of<'a>(text: &'a [u8], entry: &Entry) -> &'a [u8] {
    &text[entry.start as usize..(entry.start + entry.len) as usize]
}

fn series(entry: &Entry) -> Option<Handle> {
    match entry.fate {
        Fate::Series(handle) => Some(handle),
        Fate::Dropped => None,
    }
}

fn index(at: usize) -> Index {
    Index(u32::try_from(at).expect("there are fewer entries than bytes of text"))
}

#[cfg(test)]
mod tests;
