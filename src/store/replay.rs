//! Start-up: what the WAL holds and no file does goes back into the buffers.

use std::collections::HashMap;
use std::sync::Arc;

use super::buffer::Rows;
use super::metrics::StoreMetrics;
use super::tenants::{TenantState, Tenants};
use super::wal::{Class, Definition, Replayed, ReplayedBody, ReplayedSegment, SamplesBody, Wal};
use crate::error::{Error, Result};
use crate::model::{Batch, Handle, LabelsRef, Table, Tenant};

/// What a replay found.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::store) struct Recovery {
    /// Rows put back into buffers.
    pub(in crate::store) rows: usize,
    /// Log lines put back into buffers.
    pub(in crate::store) lines: usize,
    /// Records skipped because their rows are in files.
    pub(in crate::store) already_stored: usize,
    /// Damaged places.
    pub(in crate::store) quarantined: usize,
}

/// Reads every segment and applies what is above the committed sequence of each tenant, class and table.
///
/// # Errors
/// `Corrupt` naming the segment that is not one of ours; damage inside a segment is counted, not an error.
pub(in crate::store) fn replay(
    wal: &mut Wal,
    segments: &[u64],
    tenants: &Tenants,
    committed: &dyn Fn(&Tenant, Class, Table) -> u64,
    metrics: &StoreMetrics,
) -> Result<Recovery> {
    let mut recovery = Recovery::default();
    for (tenant, position) in wal.kept_positions()? {
        tenants.get_or_create(&tenant).keep_position(position);
    }
    for (index, number) in segments.iter().enumerate() {
        let segment = wal.replay_segment(*number, index + 1 == segments.len())?;
        recovery.quarantined += segment.quarantined;
        metrics.wal_quarantined.add(segment.quarantined as u64);
        if segment.cut > 0 {
            tracing::warn!(segment = number, bytes = segment.cut, "a torn tail was cut off the WAL");
        }
        replay_segment(segment, tenants, committed, &mut recovery)?;
        tracing::info!(segment = number, of = segments.len(), rows = recovery.rows, "replayed a WAL segment");
    }
    Ok(recovery)
}

fn replay_segment(
    segment: ReplayedSegment,
    tenants: &Tenants,
    committed: &dyn Fn(&Tenant, Class, Table) -> u64,
    recovery: &mut Recovery,
) -> Result<()> {
    let mut references = References::new(segment.definitions);
    for record in segment.records {
        let Replayed { sequence, class, body } = record;
        match body {
            ReplayedBody::Samples(body) => {
                if sequence <= committed(&body.tenant, class, Table::Samples) {
                    recovery.already_stored += 1;
                    continue;
                }
                let tenant = tenants.get_or_create(&body.tenant);
                recovery.rows += body.values.len();
                let batch = references.batch(&tenant, sequence, body)?;
                let mut registry = tenant.registry.write().expect("no holder of this lock panics");
                let active = tenant.active(class);
                let mut buffer = active.write().expect("no holder of this lock panics");
                buffer.apply(sequence, Rows { batch: &batch, only: None }, &mut registry);
            }
            ReplayedBody::Logs(body) => {
                if sequence <= committed(&body.tenant, class, Table::Logs) {
                    recovery.already_stored += 1;
                    continue;
                }
                recovery.lines += body.batch.len();
                let active = tenants.get_or_create(&body.tenant).active(class);
                active.write().expect("no holder of this lock panics").apply_logs(sequence, &body.batch);
            }
            ReplayedBody::Position(tenant, position) => {
                tenants.get_or_create(&tenant).keep_position(position);
            }
            ReplayedBody::Metadata(tenant, metadata) => {
                tenants.get_or_create(&tenant).update_catalogue(|catalogue| {
                    for one in &metadata {
                        catalogue.describe(one);
                    }
                });
            }
        }
    }
    Ok(())
}

/// What references mean while a segment is walked: the last definition at or before a record, or, when the
/// record that held it is damaged, its repetition in the record after.
struct References {
    by_tenant: HashMap<Tenant, HashMap<u32, Vec<(u64, Definition)>>>,
    resolved: HashMap<(Tenant, u32), (u64, Handle)>,
}

impl References {
    fn new(definitions: Vec<(Tenant, u64, Definition)>) -> Self {
        let mut by_tenant: HashMap<Tenant, HashMap<u32, Vec<(u64, Definition)>>> = HashMap::new();
        for (tenant, sequence, definition) in definitions {
            let of_tenant = by_tenant.entry(tenant).or_default();
            of_tenant.entry(definition.reference).or_default().push((sequence, definition));
        }
        Self { by_tenant, resolved: HashMap::new() }
    }

    fn batch(&mut self, tenant: &Arc<TenantState>, sequence: u64, body: SamplesBody) -> Result<Batch> {
        let mut series = Vec::with_capacity(body.references.len());
        for reference in &body.references {
            series.push(self.handle(tenant, sequence, *reference)?);
        }
        Ok(Batch { series, timestamps: body.timestamps, values: body.values, metadata: Vec::new() })
    }

    fn handle(&mut self, tenant: &Arc<TenantState>, sequence: u64, reference: u32) -> Result<Handle> {
        let undefined = || Error::corrupt("a WAL record refers to a series that the segment does not define");
        let all = self.by_tenant.get(&tenant.name).and_then(|of| of.get(&reference)).ok_or_else(undefined)?;
        let before = all.partition_point(|(at, _)| *at <= sequence);
        let (at, definition) = all.get(before.saturating_sub(1)).ok_or_else(undefined)?;
        let name = (tenant.name.clone(), reference);
        if let Some((known_at, handle)) = self.resolved.get(&name)
            && known_at == at
        {
            return Ok(*handle);
        }
        let handle = resolve(tenant, &definition.key.metric, definition.key.labels.as_ref())?;
        self.resolved.insert(name, (*at, handle));
        Ok(handle)
    }
}

/// Finds or makes the handle of a series and tells the catalogue of a new one.
///
/// # Errors
/// `Limit` when the tenant writes too many series at a time.
pub(in crate::store) fn resolve(tenant: &TenantState, metric: &str, labels: LabelsRef<'_>) -> Result<Handle> {
    if let Some(handle) = super::tenants::read(&tenant.registry).find(metric, labels) {
        return Ok(handle);
    }
    let mut registry = tenant.registry.write().expect("no holder of this lock panics");
    let (handle, new) = registry.resolve(metric, labels)?;
    let name = new.then(|| registry.get(handle).map(|(key, _)| Arc::clone(&key.metric))).flatten();
    drop(registry);
    if let Some(name) = name {
        tenant.update_catalogue(|catalogue| {
            catalogue.observe(&name, labels);
        });
    }
    Ok(handle)
}
