//! Who is writing: label sets to handles. A handle is an index with a generation, so that a door that writes
//! the same series again and again looks nothing up and allocates nothing.

use std::sync::Arc;

use hashbrown::{HashMap, HashTable};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::error::{Error, Kind, Result};
use crate::model::{Handle, LabelsRef, SeriesKey};

/// The series of one tenant that are being written or were a short while ago.
#[derive(Debug)]
pub(in crate::store) struct Registry {
    table: HashTable<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    metrics: HashMap<Arc<str>, ()>,
    limit: usize,
    epoch: u32,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    /// The flush epoch in which the series was last written or resolved; `None` in a free slot.
    epoch: Option<u32>,
    key: SeriesKey,
    id: i64,
}

impl Registry {
    /// An empty registry that refuses more than `limit` series at a time.
    pub(in crate::store) fn new(limit: usize) -> Self {
        Self {
            table: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            metrics: HashMap::new(),
            limit: limit.min(u32::MAX as usize),
            epoch: 0,
        }
    }

    /// Number of series known.
    pub(in crate::store) fn len(&self) -> usize {
        self.table.len()
    }

    /// The handle of a known series.
    pub(in crate::store) fn find(&self, metric: &str, labels: LabelsRef<'_>) -> Option<Handle> {
        let same = |slot: &u32| self.entries[*slot as usize].is(metric, labels);
        let slot = *self.table.find(hash(metric, labels), same)?;
        Some(Handle { slot, generation: self.entries[slot as usize].generation })
    }

    /// The handle of a series and whether it is new here.
    ///
    /// # Errors
    /// `Limit` when the tenant writes too many series at a time.
    pub(in crate::store) fn resolve(
        &mut self,
        metric: &str,
        labels: LabelsRef<'_>,
    ) -> Result<(Handle, bool)> {
        let epoch = self.epoch;
        if let Some(handle) = self.find(metric, labels) {
            self.entries[handle.slot as usize].epoch = Some(epoch);
            return Ok((handle, false));
        }
        if self.len() >= self.limit {
            let hint = "too many active series; raise quipu.store.max_active_series or send fewer";
            return Err(Error::new(Kind::Limit, hint).with("limit", self.limit));
        }
        let key = SeriesKey { metric: self.intern(metric), labels: labels.to_owned() };
        let id = key.id();
        let slot = self.place(key, id, epoch);
        let entries = &self.entries;
        let rehash = |slot: &u32| {
            let key = &entries[*slot as usize].key;
            hash(&key.metric, key.labels.as_ref())
        };
        self.table.insert_unique(hash(metric, labels), slot, rehash);
        Ok((Handle { slot, generation: self.entries[slot as usize].generation }, true))
    }

    /// The identity behind a handle; `None` when the slot has been given away.
    pub(in crate::store) fn get(&self, handle: Handle) -> Option<(&SeriesKey, i64)> {
        let entry = self.entries.get(handle.slot as usize)?;
        let live = entry.generation == handle.generation && entry.epoch.is_some();
        live.then_some((&entry.key, entry.id))
    }

    /// Remembers that a series was written in this epoch.
    pub(in crate::store) fn touch(&mut self, handle: Handle) {
        let epoch = self.epoch;
        let entry = &mut self.entries[handle.slot as usize];
        debug_assert_eq!(entry.generation, handle.generation, "touched through a stale handle");
        entry.epoch = Some(epoch);
    }

    /// Begins the next epoch and forgets every series that was not used in the one that ends. Their handles
    /// become stale.
    pub(in crate::store) fn next_epoch(&mut self) -> usize {
        let ending = self.epoch;
        self.epoch += 1;
        let old: Vec<u32> = (0u32..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.epoch.is_some_and(|last| last < ending))
            .map(|(slot, _)| slot)
            .collect();
        for slot in &old {
            self.forget(*slot);
        }
        self.metrics.retain(|name, ()| Arc::strong_count(name) > 1);
        old.len()
    }

    fn forget(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        let hash = hash(&entry.key.metric, entry.key.labels.as_ref());
        if let Ok(found) = self.table.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        entry.epoch = None;
        entry.generation = entry.generation.wrapping_add(1);
        entry.key = SeriesKey { metric: Arc::from(""), labels: crate::model::Labels::empty() };
        self.free.push(slot);
    }

    fn intern(&mut self, metric: &str) -> Arc<str> {
        if let Some((name, ())) = self.metrics.get_key_value(metric) {
            return Arc::clone(name);
        }
        let name: Arc<str> = Arc::from(metric);
        self.metrics.insert(Arc::clone(&name), ());
        name
    }

    fn place(&mut self, key: SeriesKey, id: i64, epoch: u32) -> u32 {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.entries[slot as usize];
            (entry.key, entry.id, entry.epoch) = (key, id, Some(epoch));
            return slot;
        }
        let slot = u32::try_from(self.entries.len()).expect("the limit keeps slots in 32 bits");
        self.entries.push(Entry { generation: 0, epoch: Some(epoch), key, id });
        slot
    }
}

impl Entry {
    fn is(&self, metric: &str, labels: LabelsRef<'_>) -> bool {
        self.key.labels.as_bytes() == labels.as_bytes() && &*self.key.metric == metric
    }
}

fn hash(metric: &str, labels: LabelsRef<'_>) -> u64 {
    xxh3_64_with_seed(labels.as_bytes(), xxh3_64(metric.as_bytes()))
}
