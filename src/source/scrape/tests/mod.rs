//! A stand-in for the store, and the tests of rounds and loops against it.

mod histograms;
mod loops;
mod rounds;
mod store;

use std::collections::HashMap;

use futures::FutureExt;

use super::*;
use crate::error::{Error, Kind, Result};
use crate::model::{Batch, Handle, LabelsRef, MetricMetadata, is_stale};

/// A stored row: series as text, timestamp, value (`None`: a stale marker).
pub(super) type Row = (String, i64, Option<f64>);

#[derive(Debug, Default)]
struct Stored {
    handles: HashMap<String, Handle>,
    names: Vec<String>,
    rows: Vec<Row>,
    metadata: Vec<MetricMetadata>,
    batches: usize,
    down: bool,
}

/// Keeps what it is given.
#[derive(Debug, Clone, Default)]
pub(super) struct FakeStore(Arc<Mutex<Stored>>);

impl FakeStore {
    pub(super) fn sink(&self) -> Sink {
        let (resolver, appender) = (self.clone(), self.clone());
        Sink::new(
            move |metric, labels| Ok(resolver.resolve(metric, labels)),
            move |batch| {
                let result = appender.append(batch);
                async move { result }.boxed()
            },
        )
    }

    fn state(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().expect("no test panics inside")
    }

    fn resolve(&self, metric: &str, labels: LabelsRef<'_>) -> Handle {
        let state = &mut *self.state();
        let name = format!("{metric}{labels}");
        let next = Handle { slot: u32::try_from(state.names.len()).expect("few"), generation: 1 };
        let handle = *state.handles.entry(name.clone()).or_insert(next);
        if handle == next {
            state.names.push(name);
        }
        handle
    }

    fn append(&self, batch: Batch) -> Result<Accepted> {
        let state = &mut *self.state();
        if state.down {
            return Err(Error::new(Kind::Unavailable, "the disk is full"));
        }
        let known = |handle: &Handle| state.handles.values().any(|h| h == handle);
        let stale: Vec<usize> = (0..batch.len()).filter(|row| !known(&batch.series[*row])).collect();
        if !stale.is_empty() {
            return Ok(Accepted::Resolve(stale));
        }
        for row in 0..batch.len() {
            let name = state.names[batch.series[row].slot as usize].clone();
            let value = batch.values[row];
            state.rows.push((name, batch.timestamps.at(row), (!is_stale(value)).then_some(value)));
        }
        state.metadata.extend(batch.metadata);
        state.batches += 1;
        Ok(Accepted::Stored)
    }

    /// Gives every slot away: all handles are stale.
    pub(super) fn forget(&self) {
        let state = &mut *self.state();
        state.handles.clear();
    }

    pub(super) fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// Takes the rows out.
    pub(super) fn take(&self) -> Vec<Row> {
        std::mem::take(&mut self.state().rows)
    }

    /// Takes the metadata out.
    pub(super) fn take_metadata(&self) -> Vec<MetricMetadata> {
        std::mem::take(&mut self.state().metadata)
    }
}
