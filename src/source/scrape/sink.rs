//! Where samples go: two functions, so that the scrape loop knows no store and a test can stand in for one.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::error::Result;
use crate::model::{Batch, Handle, LabelsRef, Tenant};
use crate::store::{Appended, Store};

type Resolve = dyn Fn(&str, LabelsRef<'_>) -> Result<Handle> + Send + Sync;
type Append = dyn Fn(Batch) -> BoxFuture<'static, Result<Accepted>> + Send + Sync;

/// How an append ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// The rows are durable and visible.
    Stored,
    /// Nothing was written: the handles of these rows are stale. They are resolved again.
    Resolve(Vec<usize>),
}

/// Takes samples. Cheap to clone.
#[derive(Clone)]
pub struct Sink {
    resolve: Arc<Resolve>,
    append: Arc<Append>,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

impl Sink {
    /// `resolve` gives the handle of a metric and its canonical labels; `append` takes a batch whole or not at
    /// all.
    pub fn new(
        resolve: impl Fn(&str, LabelsRef<'_>) -> Result<Handle> + Send + Sync + 'static,
        append: impl Fn(Batch) -> BoxFuture<'static, Result<Accepted>> + Send + Sync + 'static,
    ) -> Self {
        Self { resolve: Arc::new(resolve), append: Arc::new(append) }
    }

    /// One tenant of a store.
    pub fn store(store: &Store, tenant: &Tenant) -> Self {
        let (resolver, appender) = (store.clone(), store.clone());
        let (resolved, appended) = (tenant.clone(), tenant.clone());
        Self::new(
            move |metric, labels| resolver.resolve(&resolved, metric, labels),
            move |batch| {
                let (store, tenant) = (appender.clone(), appended.clone());
                async move {
                    Ok(match store.append(&tenant, batch).await? {
                        Appended::Stored => Accepted::Stored,
                        Appended::Resolve(rows) => Accepted::Resolve(rows),
                    })
                }
                .boxed()
            },
        )
    }

    pub(super) fn resolve(&self, metric: &str, labels: LabelsRef<'_>) -> Result<Handle> {
        (self.resolve)(metric, labels)
    }

    pub(super) async fn append(&self, batch: Batch) -> Result<Accepted> {
        (self.append)(batch).await
    }
}
