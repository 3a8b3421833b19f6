//! What scans keep in memory between queries: directories, index parts and decoded pages, each with a limit in
//! bytes and counters. Least recently used goes first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::chunk::Chunk;
use super::format::{Column, PageSection};
use super::logs::{LogFile, TokenPart};
use super::postings::Postings;
use super::reader::BlockFile;
use crate::model::{Exemplar, Histogram};

/// Limits of a [`ScanCache`], bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheLimits {
    /// Directories, index chunks, postings and page tables.
    pub index: usize,
    /// Decoded pages, and a quarter of it for indexes of log lines.
    pub pages: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { index: 128 << 20, pages: 256 << 20 }
    }
}

/// Counters of one part of the cache since the start, and what it holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Look-ups that found something.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Entries that made room.
    pub evicted: u64,
    /// Bytes held now.
    pub bytes: u64,
    /// Entries held now.
    pub entries: u64,
}

/// The cache of all scans. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct ScanCache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    next_file: AtomicU64,
    files: Lru<Arc<str>, Arc<BlockFile>>,
    chunks: Lru<(u64, usize), Arc<Chunk>>,
    postings: Lru<(u64, usize), Arc<Postings>>,
    sections: Lru<(u64, usize), Arc<PageSection>>,
    pages: Lru<(u64, Column, u64), Page>,
    logs: Lru<Arc<str>, Arc<LogFile>>,
    tokens: Lru<(u64, usize), Arc<TokenPart>>,
}

/// A decoded page.
#[derive(Debug, Clone)]
pub(crate) enum Page {
    /// Timestamps or start timestamps, ms.
    Times(Arc<Vec<i64>>),
    /// Values.
    Values(Arc<Vec<f64>>),
    /// Native histograms.
    Histograms(Arc<Vec<Arc<Histogram>>>),
    /// Exemplars.
    Exemplars(Arc<Vec<Exemplar>>),
}

impl Page {
    pub(super) fn weight(&self) -> usize {
        let label_bytes = |one: &Exemplar| size_of::<Exemplar>() + 16 + one.labels.as_bytes().len();
        let rows = match self {
            Self::Times(times) => times.len() * 8,
            Self::Values(values) => values.len() * 8,
            Self::Histograms(rows) => rows.iter().map(|row| row.weight()).sum(),
            Self::Exemplars(rows) => rows.iter().map(label_bytes).sum(),
        };
        rows + 64
    }
}

impl ScanCache {
    /// An empty cache.
    pub(crate) fn new(limits: CacheLimits) -> Self {
        let share = |eighths| limits.index / 8 * eighths;
        Self(Arc::new(Inner {
            next_file: AtomicU64::new(0),
            files: Lru::new(share(1)),
            chunks: Lru::new(share(4)),
            postings: Lru::new(share(2)),
            sections: Lru::new(share(1)),
            pages: Lru::new(limits.pages / 4 * 3),
            logs: Lru::new(limits.pages / 8),
            tokens: Lru::new(limits.pages / 8),
        }))
    }

    /// Counters by part: `directories`, `chunks`, `postings`, `page_tables`, `pages`, `log_files`, `log_tokens`.
    pub(crate) fn counts(&self) -> [(&'static str, CacheCounts); 7] {
        let inner = &self.0;
        [
            ("directories", inner.files.counts()),
            ("chunks", inner.chunks.counts()),
            ("postings", inner.postings.counts()),
            ("page_tables", inner.sections.counts()),
            ("pages", inner.pages.counts()),
            ("log_files", inner.logs.counts()),
            ("log_tokens", inner.tokens.counts()),
        ]
    }

    /// A number that no other opened file has.
    pub(super) fn file_number(&self) -> u64 {
        self.0.next_file.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn files(&self) -> &Lru<Arc<str>, Arc<BlockFile>> {
        &self.0.files
    }

    pub(super) fn chunks(&self) -> &Lru<(u64, usize), Arc<Chunk>> {
        &self.0.chunks
    }

    pub(super) fn postings(&self) -> &Lru<(u64, usize), Arc<Postings>> {
        &self.0.postings
    }

    pub(super) fn sections(&self) -> &Lru<(u64, usize), Arc<PageSection>> {
        &self.0.sections
    }

    pub(super) fn logs(&self) -> &Lru<Arc<str>, Arc<LogFile>> {
        &self.0.logs
    }

    pub(super) fn tokens(&self) -> &Lru<(u64, usize), Arc<TokenPart>> {
        &self.0.tokens
    }

    pub(super) fn pages(&self) -> &Lru<(u64, Column, u64), Page> {
        &self.0.pages
    }
}

/// A map that drops what was not used for longest when its weight passes the limit.
#[derive(Debug)]
pub(super) struct Lru<K, V> {
    limit: usize,
    inner: Mutex<LruInner<K, V>>,
}

#[derive(Debug)]
struct LruInner<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Last use → key; the first is the oldest.
    order: BTreeMap<u64, K>,
    clock: u64,
    bytes: usize,
    counts: CacheCounts,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Lru<K, V> {
    fn new(limit: usize) -> Self {
        let (entries, order) = (HashMap::new(), BTreeMap::new());
        let inner = LruInner { entries, order, clock: 0, bytes: 0, counts: CacheCounts::default() };
        Self { limit, inner: Mutex::new(inner) }
    }

    /// What is kept under a key.
    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let mut guard = self.lock();
        let inner = &mut *guard;
        inner.clock += 1;
        let Some(entry) = inner.entries.get_mut(key) else {
            inner.counts.misses += 1;
            return None;
        };
        inner.counts.hits += 1;
        if let Some(key) = inner.order.remove(&entry.used) {
            entry.used = inner.clock;
            inner.order.insert(inner.clock, key);
        }
        Some(entry.value.clone())
    }

    /// Keeps a value; one that is heavier than the whole limit is not kept.
    pub(super) fn insert(&self, key: K, value: V, weight: usize) {
        if weight > self.limit {
            return;
        }
        let mut guard = self.lock();
        let inner = &mut *guard;
        inner.drop_key(&key);
        inner.clock += 1;
        inner.bytes += weight;
        inner.order.insert(inner.clock, key.clone());
        inner.entries.insert(key, Entry { value, weight, used: inner.clock });
        while inner.bytes > self.limit
            && let Some((_, oldest)) = inner.order.pop_first()
            && let Some(entry) = inner.entries.remove(&oldest)
        {
            inner.bytes -= entry.weight;
            inner.counts.evicted += 1;
        }
        debug_assert_eq!(inner.entries.len(), inner.order.len(), "every entry has its place in the order");
    }

    fn counts(&self) -> CacheCounts {
        let inner = self.lock();
        let number = |n: usize| u64::try_from(n).expect("usize fits u64");
        CacheCounts { bytes: number(inner.bytes), entries: number(inner.entries.len()), ..inner.counts }
    }

    fn lock(&self) -> MutexGuard<'_, LruInner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, V> LruInner<K, V> {
    fn drop_key<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
    {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes -= entry.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_makes_room() {
        let cache = Lru::new(100);
        for key in 0..3 {
            cache.insert(key, key * 10, 40);
        }
        assert_eq!(cache.get(&0), None, "the oldest went");
        assert_eq!(cache.get(&1), Some(10));
        cache.insert(3, 30, 40);
        assert_eq!((cache.get(&2), cache.get(&1)), (None, Some(10)), "used entries stay");
        cache.insert(1, 11, 90);
        assert_eq!((cache.get(&1), cache.get(&3)), (Some(11), None));
        cache.insert(4, 40, 101);
        assert_eq!(cache.get(&4), None, "heavier than the limit");
        let counts = cache.counts();
        assert_eq!((counts.entries, counts.bytes, counts.hits), (1, 90, 3));
    }
}
