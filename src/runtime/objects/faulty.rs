//! A store in memory whose puts fail, lose their answers or take long, for tests of whoever must cope.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};

use super::Objects;
use crate::runtime::clock::Clock;

/// How one put goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutFault {
    /// As it should.
    Works,
    /// An error, and nothing was written.
    Fails,
    /// An error, and it was written.
    LosesAnswer,
    /// It is written after this long.
    Late(Duration),
}

/// Plans the next puts; those after the plan work.
#[derive(Debug, Clone)]
pub(crate) struct FaultyStore {
    inner: Arc<InMemory>,
    plan: Arc<Mutex<VecDeque<PutFault>>>,
}

impl FaultyStore {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::new(InMemory::new()), plan: Arc::default() }
    }

    /// Objects on this store.
    pub(crate) fn objects(&self) -> Objects {
        Objects::from_store(Arc::new(self.clone()), "", "faulty")
    }

    /// What the next puts of all handles do.
    pub(crate) fn plan(&self, faults: impl IntoIterator<Item = PutFault>) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).extend(faults);
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

fn no_answer() -> StoreError {
    StoreError::Generic { store: "faulty", source: "no answer".into() }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, at: &StorePath, body: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        let fault = self.plan.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        match fault.unwrap_or(PutFault::Works) {
            PutFault::Works => self.inner.put_opts(at, body, opts).await,
            PutFault::Fails => Err(no_answer()),
            PutFault::LosesAnswer => {
                self.inner.put_opts(at, body, opts).await?;
                Err(no_answer())
            }
            PutFault::Late(wait) => {
                Clock::manual(0).sleep(wait).await;
                self.inner.put_opts(at, body, opts).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &StorePath,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &StorePath, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        all: BoxStream<'static, StoreResult<StorePath>>,
    ) -> BoxStream<'static, StoreResult<StorePath>> {
        self.inner.delete_stream(all)
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &StorePath, to: &StorePath, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
