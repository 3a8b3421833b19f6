//! What one question sees: file versions and buffer watermarks of one tenant, for one principal.
//!
//! It takes its buffers first and its file versions second. A flush commits first and lets go of its buffer
//! second, so around a flush a row may be seen in both, which the merge by rank makes one, and is never missed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::block::{BlockFile, IndexTag, ScanCache};
use super::catalog::{Ground, Version};
use super::catalogue::Catalogue;
use super::logs::open_log_file;
use super::scan::{
    self, ExemplarInput, LogInput, LogQuery, LogSelection, RankedFile, Selection, SelectionInput,
    SeriesExemplars, Tombstone,
};
use super::tenants::{Layer, TenantState, read};
use crate::error::{Error, Result};
use crate::model::{
    Labels, MAX_LABEL_COLUMNS, Matcher, Principal, Table, Tenant, label_column, label_of_column,
};

/// Nanoseconds of a millisecond.
const NS: i64 = 1_000_000;

/// An unchanging view of one tenant's data. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tenant: Tenant,
    principal: Principal,
    layers: Vec<Layer>,
    samples: Option<(String, Arc<Version>)>,
    histograms: Option<(String, Arc<Version>)>,
    exemplars: Option<(String, Arc<Version>)>,
    logs: Option<(String, Arc<Version>)>,
    catalogue: Arc<Catalogue>,
    tombstones: Arc<[Tombstone]>,
    ground: Ground,
    cache: ScanCache,
}

/// What a snapshot is made of beside the tenant's state.
#[derive(Debug, Clone)]
pub(in crate::store) struct SnapshotGround {
    pub(in crate::store) ground: Ground,
    pub(in crate::store) cache: ScanCache,
}

impl Snapshot {
    /// Takes the state of now.
    pub(in crate::store) fn take(
        from: &SnapshotGround,
        tenant: &Tenant,
        state: Option<&TenantState>,
        principal: &Principal,
        tombstones: Arc<[Tombstone]>,
    ) -> Self {
        // The order matters: see the module's head.
        let layers = state.map(TenantState::layers).unwrap_or_default();
        let tables = state.and_then(TenantState::tables);
        let [samples, histograms, exemplars, logs] =
            [Table::Samples, Table::Histograms, Table::Exemplars, Table::Logs].map(|table| {
                let log = tables.as_ref()?.log(table);
                Some((log.folder().to_owned(), log.snapshot()))
            });
        let catalogue = state.map(TenantState::catalogue).unwrap_or_default();
        let inner = Inner {
            tenant: tenant.clone(),
            principal: principal.clone(),
            layers,
            samples,
            histograms,
            exemplars,
            logs,
            catalogue,
            tombstones,
            ground: from.ground.clone(),
            cache: from.cache.clone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whose data it is.
    pub fn tenant(&self) -> &Tenant {
        &self.inner.tenant
    }

    /// The metric catalogue.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.inner.catalogue
    }

    /// Number of live files of samples.
    pub fn files(&self) -> usize {
        self.inner.samples.as_ref().map_or(0, |(_, version)| version.files().len())
    }

    /// The series that match all matchers and may have samples or stale markers in `from_ms..=to_ms`.
    ///
    /// # Errors
    /// `Corrupt` naming a file; what the object store says.
    pub async fn select(&self, matchers: Vec<Matcher>, from_ms: i64, to_ms: i64) -> Result<Arc<Selection>> {
        Selection::new(self.input(matchers, from_ms, to_ms).await?).await.map(Arc::new)
    }

    /// The label names of the matching series, sorted.
    ///
    /// # Errors
    /// As [`Snapshot::select`].
    pub async fn label_names(
        &self,
        matchers: Vec<Matcher>,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<BTreeSet<String>> {
        scan::label_names(self.input(matchers, from_ms, to_ms).await?).await
    }

    /// The values of one label among the matching series, sorted.
    ///
    /// # Errors
    /// As [`Snapshot::select`].
    pub async fn label_values(
        &self,
        name: &str,
        matchers: Vec<Matcher>,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<BTreeSet<String>> {
        scan::label_values(name, self.input(matchers, from_ms, to_ms).await?).await
    }

    /// The exemplars of the matching series in `from_ms..=to_ms`.
    ///
    /// # Errors
    /// As [`Snapshot::select`].
    pub async fn exemplars(
        &self,
        mut matchers: Vec<Matcher>,
        from: i64,
        to: i64,
    ) -> Result<Vec<SeriesExemplars>> {
        let inner = &self.inner;
        matchers.extend(inner.principal.visible.iter().cloned());
        let layers = inner.layers.iter();
        let layers =
            layers.map(|layer| read(&layer.buffer).exemplars(&matchers, layer.watermark, from, to)).collect();
        let files = self.open_files(inner.exemplars.as_ref(), from, to).await?;
        let tombstones = inner.tombstones.to_vec();
        scan::exemplars(ExemplarInput { files, layers, matchers, from, to, tombstones }).await
    }

    /// The log lines that match and lie in the query's time range.
    ///
    /// # Errors
    /// `Corrupt` naming a file; what the object store says.
    pub async fn logs(&self, mut query: LogQuery) -> Result<Arc<LogSelection>> {
        let inner = &self.inner;
        query.matchers.extend(inner.principal.visible.iter().cloned());
        let mut input = LogInput { tombstones: inner.tombstones.to_vec(), ..LogInput::default() };
        for layer in &inner.layers {
            let view = read(&layer.buffer).log_view(layer.watermark);
            input.views.extend((!view.streams().is_empty()).then_some(view));
        }
        let Some((folder, version)) = &inner.logs else {
            return LogSelection::new(input, query).await.map(Arc::new);
        };
        for file in version.files() {
            let tags = &file.tags;
            input.all = (input.all.0 + 1, input.all.1 + tags.row_groups.len());
            let (first, last) = (tags.min_time.saturating_mul(NS), tags.max_time.saturating_mul(NS));
            if last < query.from || first > query.to {
                continue;
            }
            input.files.push(open_log_file(&inner.ground, folder, file, &inner.cache).await?);
        }
        LogSelection::new(input, query).await.map(Arc::new)
    }

    /// The stream labels that are columns: those of the table, in its order, then those that only buffers have.
    /// Labels with other names are found in the label sets.
    pub fn log_labels(&self) -> Vec<String> {
        let inner = &self.inner;
        let columns = inner.logs.as_ref().map(|(_, version)| version.column_names()).unwrap_or_default();
        let mut names: Vec<String> =
            columns.iter().filter_map(|column| label_of_column(column)).map(str::to_owned).collect();
        let known: BTreeSet<String> = names.iter().cloned().collect();
        let mut fresh: BTreeSet<String> = BTreeSet::new();
        for layer in &inner.layers {
            let view = read(&layer.buffer).log_view(layer.watermark);
            for (name, _) in view.streams().iter().flat_map(Labels::iter) {
                if !fresh.contains(name) && !known.contains(name) && label_column(name).is_some() {
                    fresh.insert(name.to_owned());
                }
            }
        }
        let room = MAX_LABEL_COLUMNS.saturating_sub(names.len());
        names.extend(fresh.into_iter().take(room));
        names
    }

    async fn input(&self, mut matchers: Vec<Matcher>, from: i64, to: i64) -> Result<SelectionInput> {
        let inner = &self.inner;
        matchers.extend(inner.principal.visible.iter().cloned());
        let layers = inner
            .layers
            .iter()
            .map(|layer| {
                let runs = read(&layer.buffer).select(&matchers, layer.watermark, from, to);
                scan::Layer { runs }
            })
            .filter(|layer| !layer.runs.is_empty())
            .collect();
        let mut files = self.open_files(inner.samples.as_ref(), from, to).await?;
        files.extend(self.open_files(inner.histograms.as_ref(), from, to).await?);
        Ok(SelectionInput { files, layers, matchers, from, to, tombstones: inner.tombstones.to_vec() })
    }

    async fn open_files(
        &self,
        table: Option<&(String, Arc<Version>)>,
        from: i64,
        to: i64,
    ) -> Result<Vec<RankedFile>> {
        let Some((folder, version)) = table else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        for file in version.files() {
            let tags = &file.tags;
            if tags.max_time < from || tags.min_time > to {
                continue;
            }
            let path = format!("{folder}/{}", file.path);
            let Some(place) = tags.index else {
                let text = "a file without quipu's index; it was rewritten by another program";
                return Err(Error::corrupt(text).with("file", path));
            };
            let tag = IndexTag { offset: place.offset, length: place.len, crc: place.crc };
            let opened = BlockFile::open(&self.inner.ground.objects, &path, tag, &self.inner.cache).await?;
            files.push(RankedFile { file: opened, rank: (tags.rank.lo, tags.rank.hi) });
        }
        Ok(files)
    }
}
