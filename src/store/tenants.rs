//! The state of each tenant: who is writing, what is buffered, what the tables hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use super::buffer::{Buffer, Registry};
use super::catalogue::Catalogue;
use super::tables::Tables;
use super::wal::{Class, Positions};
use crate::model::{FilePosition, Tenant};

/// One tenant.
#[derive(Debug)]
pub(in crate::store) struct TenantState {
    pub(in crate::store) name: Tenant,
    pub(in crate::store) registry: RwLock<Registry>,
    layers: RwLock<BTreeMap<Class, Layers>>,
    catalogue: Mutex<Arc<Catalogue>>,
    positions: Mutex<Positions>,
    /// Opened at the start, or at the first flush of a new tenant.
    tables: RwLock<Option<Tables>>,
}

/// The buffers of one class: frozen ones on their way to a file, oldest first, and the one being filled.
#[derive(Debug, Clone)]
struct Layers {
    frozen: Vec<SharedBuffer>,
    active: SharedBuffer,
}

/// A buffer that one task fills and many read.
pub(in crate::store) type SharedBuffer = Arc<RwLock<Buffer>>;

/// A buffer as one snapshot sees it: rows up to `watermark`.
#[derive(Debug, Clone)]
pub(in crate::store) struct Layer {
    pub(in crate::store) buffer: SharedBuffer,
    pub(in crate::store) watermark: u64,
}

impl TenantState {
    fn new(name: Tenant, max_series: usize) -> Self {
        let empty = || Layers { frozen: Vec::new(), active: SharedBuffer::default() };
        Self {
            name,
            registry: RwLock::new(Registry::new(max_series)),
            layers: RwLock::new(Class::ALL.into_iter().map(|class| (class, empty())).collect()),
            catalogue: Mutex::default(),
            positions: Mutex::default(),
            tables: RwLock::default(),
        }
    }

    /// The buffer being filled.
    pub(in crate::store) fn active(&self, class: Class) -> SharedBuffer {
        Arc::clone(&read(&self.layers)[&class].active)
    }

    /// Puts an empty buffer in place of the active one and keeps the old one among the frozen.
    pub(in crate::store) fn freeze(&self, class: Class) {
        let mut layers = self.layers.write().expect("no holder of this lock panics");
        let layers = layers.get_mut(&class).expect("every class has layers");
        if read(&layers.active).is_empty() {
            return;
        }
        layers.frozen.push(std::mem::take(&mut layers.active));
    }

    /// Lets go of a frozen buffer whose rows are in committed files.
    pub(in crate::store) fn release(&self, class: Class, buffer: &SharedBuffer) {
        let mut layers = self.layers.write().expect("no holder of this lock panics");
        let layers = layers.get_mut(&class).expect("every class has layers");
        layers.frozen.retain(|frozen| !Arc::ptr_eq(frozen, buffer));
    }

    /// The frozen buffers of a class, oldest first.
    pub(in crate::store) fn frozen(&self, class: Class) -> Vec<SharedBuffer> {
        read(&self.layers)[&class].frozen.clone()
    }

    /// All buffers in rank order, lowest first: live before backfill, because a row that is old enough for
    /// backfill came after the live row that it replaces.
    pub(in crate::store) fn layers(&self) -> Vec<Layer> {
        let layers = read(&self.layers);
        let all = layers.values().flat_map(|layers| layers.frozen.iter().chain([&layers.active]));
        all.map(|buffer| Layer { buffer: Arc::clone(buffer), watermark: read(buffer).last() })
            .filter(|layer| !read(&layer.buffer).is_empty())
            .collect()
    }

    /// Rows and bytes of all buffers and the number of frozen ones.
    pub(in crate::store) fn buffered(&self) -> Buffered {
        let layers = read(&self.layers);
        let mut sum = Buffered::default();
        for (class, layers) in layers.iter() {
            sum.frozen += layers.frozen.len();
            for buffer in layers.frozen.iter().chain([&layers.active]) {
                let buffer = read(buffer);
                sum.rows += buffer.rows();
                sum.lines += buffer.logs().lines();
                sum.bytes += buffer.bytes();
            }
            let active = read(&layers.active).bytes();
            match class {
                Class::Live => sum.live_bytes += active,
                Class::Backfill => sum.backfill_bytes += active,
            }
        }
        sum
    }

    /// The published catalogue.
    pub(in crate::store) fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.lock_catalogue())
    }

    /// Changes the catalogue; snapshots keep what they have.
    pub(in crate::store) fn update_catalogue(&self, change: impl FnOnce(&mut Catalogue)) {
        change(Arc::make_mut(&mut self.lock_catalogue()));
    }

    /// How far tailed files have been read.
    pub(in crate::store) fn positions(&self) -> Positions {
        self.lock_positions().clone()
    }

    /// Whether one more position may be kept.
    pub(in crate::store) fn has_room_for(&self, position: &FilePosition) -> bool {
        self.lock_positions().has_room(position)
    }

    /// Remembers a position.
    pub(in crate::store) fn keep_position(&self, position: FilePosition) {
        self.lock_positions().put(position);
    }

    fn lock_positions(&self) -> MutexGuard<'_, Positions> {
        self.positions.lock().expect("no holder of this lock panics")
    }

    /// The stored tables; `None` before the first flush of a new tenant.
    pub(in crate::store) fn tables(&self) -> Option<Tables> {
        read(&self.tables).clone()
    }

    /// Remembers the opened tables.
    pub(in crate::store) fn set_tables(&self, tables: Tables) {
        *self.tables.write().expect("no holder of this lock panics") = Some(tables);
    }

    fn lock_catalogue(&self) -> MutexGuard<'_, Arc<Catalogue>> {
        self.catalogue.lock().expect("no holder of this lock panics")
    }
}

/// What waits in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::store) struct Buffered {
    pub(in crate::store) rows: usize,
    pub(in crate::store) lines: usize,
    pub(in crate::store) bytes: usize,
    pub(in crate::store) frozen: usize,
    pub(in crate::store) live_bytes: usize,
    pub(in crate::store) backfill_bytes: usize,
}

/// All tenants by name.
#[derive(Debug)]
pub(in crate::store) struct Tenants {
    all: RwLock<BTreeMap<Tenant, Arc<TenantState>>>,
    max_series: usize,
}

impl Tenants {
    pub(in crate::store) fn new(max_series: usize) -> Self {
        Self { all: RwLock::default(), max_series }
    }

    /// A tenant that has been written to.
    pub(in crate::store) fn get(&self, tenant: &Tenant) -> Option<Arc<TenantState>> {
        read(&self.all).get(tenant).cloned()
    }

    /// A tenant, made on first use.
    pub(in crate::store) fn get_or_create(&self, tenant: &Tenant) -> Arc<TenantState> {
        if let Some(known) = self.get(tenant) {
            return known;
        }
        let mut all = self.all.write().expect("no holder of this lock panics");
        let make = || Arc::new(TenantState::new(tenant.clone(), self.max_series));
        Arc::clone(all.entry(tenant.clone()).or_insert_with(make))
    }

    /// Every tenant.
    pub(in crate::store) fn all(&self) -> Vec<Arc<TenantState>> {
        read(&self.all).values().cloned().collect()
    }

    /// What waits in memory for all tenants together.
    pub(in crate::store) fn buffered(&self) -> Buffered {
        self.all().iter().map(|tenant| tenant.buffered()).fold(Buffered::default(), |sum, one| Buffered {
            rows: sum.rows + one.rows,
            lines: sum.lines + one.lines,
            bytes: sum.bytes + one.bytes,
            frozen: sum.frozen + one.frozen,
            live_bytes: sum.live_bytes + one.live_bytes,
            backfill_bytes: sum.backfill_bytes + one.backfill_bytes,
        })
    }
}

/// Reads through a lock whose holders do not panic.
pub(in crate::store) fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().expect("no holder of this lock panics")
}
