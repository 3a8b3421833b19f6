//! A store in memory whose requests fail, lose their answers or take long: what a remote store does at its worst.
//!
//! It is honest about what it keeps: an object is written whole or not at all, and create-if-absent holds,
//! whatever becomes of the answer. What happens is planned one by one, or comes from a seed. Not modelled: a
//! request that arrives after the process that sent it has died, and failing parts of a large upload.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result as StoreResult,
};

use super::Objects;
use crate::runtime::clock::Clock;
use crate::runtime::dice::Dice;

/// How one request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFault {
    /// As it should.
    Works,
    /// An error, and nothing was done.
    Fails,
    /// An error, and it was done.
    LosesAnswer,
    /// It is done after this long.
    Late(Duration),
    /// It is done at once, and the answer takes this long.
    LateAnswer(Duration),
}

/// How often requests that no plan speaks of go wrong, in 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultOdds {
    /// Requests that fail before anything is done.
    pub fails: u64,
    /// Requests that are done and whose answer is lost.
    pub loses_answer: u64,
    /// Requests that take long, one half before and one half after they are done.
    pub late: u64,
    /// The longest that one takes.
    pub longest: Duration,
}

/// Counts of what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultCounts {
    /// Errors with nothing done.
    pub failed: u64,
    /// Errors with the request done.
    pub lost_answers: u64,
    /// Requests or answers that took long.
    pub late: u64,
}

/// A remote store with faults. Cheap to clone; clones are one store.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    inner: Arc<InMemory>,
    state: Arc<Mutex<State>>,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    plan: VecDeque<RequestFault>,
    odds: FaultOdds,
    dice: Dice,
    counts: FaultCounts,
    /// When each object was written, ms since 1970: the store in memory asks the machine's clock instead.
    written: BTreeMap<StorePath, i64>,
}

impl FaultyStore {
    /// An empty store without faults; `seed` decides what goes wrong once there are odds, `clock` gives the
    /// objects their times.
    pub fn new(seed: u64, clock: Clock) -> Self {
        let state = State {
            plan: VecDeque::new(),
            odds: FaultOdds::default(),
            dice: Dice::new(seed),
            counts: FaultCounts::default(),
            written: BTreeMap::new(),
        };
        Self { inner: Arc::new(InMemory::new()), state: Arc::new(Mutex::new(state)), clock }
    }

    /// The same store seen from another life, whose clock is another one.
    #[must_use]
    pub fn with_clock(&self, clock: Clock) -> Self {
        Self { clock, ..self.clone() }
    }

    /// Objects on this store.
    pub fn objects(&self) -> Objects {
        Objects::from_store(Arc::new(self.clone()), "", "faulty")
    }

    /// What the next puts of all handles do, whatever the odds.
    pub fn plan(&self, faults: impl IntoIterator<Item = RequestFault>) {
        self.state().plan.extend(faults);
    }

    /// How often all other requests go wrong from here.
    pub fn set_odds(&self, odds: FaultOdds) {
        self.state().odds = odds;
    }

    /// What went wrong so far.
    pub fn counts(&self) -> FaultCounts {
        self.state().counts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a request and does to it what its turn says.
    async fn ask<T>(
        &self,
        fault: RequestFault,
        request: impl Future<Output = StoreResult<T>>,
    ) -> StoreResult<T> {
        match fault {
            RequestFault::Works => request.await,
            RequestFault::Fails => Err(no_answer()),
            RequestFault::LosesAnswer => {
                drop(request.await);
                Err(no_answer())
            }
            RequestFault::Late(wait) => {
                self.clock.sleep(wait).await;
                request.await
            }
            RequestFault::LateAnswer(wait) => {
                let answer = request.await;
                self.clock.sleep(wait).await;
                answer
            }
        }
    }

    fn fault(&self) -> RequestFault {
        self.state().by_odds()
    }

    /// With the time of this store's clock.
    fn dated(&self, meta: ObjectMeta) -> ObjectMeta {
        let written = self.state().written.get(&meta.location).copied();
        let last_modified = written.and_then(DateTime::from_timestamp_millis).unwrap_or(meta.last_modified);
        ObjectMeta { last_modified, ..meta }
    }
}

impl State {
    fn by_odds(&mut self) -> RequestFault {
        let FaultOdds { fails, loses_answer, late, longest } = self.odds;
        if fails + loses_answer + late == 0 {
            return RequestFault::Works;
        }
        let at = self.dice.below(1_000);
        if at < fails {
            self.counts.failed += 1;
            RequestFault::Fails
        } else if at < fails + loses_answer {
            self.counts.lost_answers += 1;
            RequestFault::LosesAnswer
        } else if at < fails + loses_answer + late {
            self.counts.late += 1;
            let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
            let wait = Duration::from_millis(self.dice.below(longest));
            if self.dice.one_in(2) { RequestFault::Late(wait) } else { RequestFault::LateAnswer(wait) }
        } else {
            RequestFault::Works
        }
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
        let planned = self.state().plan.pop_front();
        let fault = planned.unwrap_or_else(|| self.fault());
        let put = async {
            let done = self.inner.put_opts(at, body, opts).await?;
            self.state().written.insert(at.clone(), self.clock.now_ms());
            Ok(done)
        };
        self.ask(fault, put).await
    }

    async fn put_multipart_opts(
        &self,
        at: &StorePath,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &StorePath, options: GetOptions) -> StoreResult<GetResult> {
        let found = self.ask(self.fault(), self.inner.get_opts(at, options)).await?;
        let meta = self.dated(found.meta.clone());
        Ok(GetResult { meta, ..found })
    }

    fn delete_stream(
        &self,
        all: BoxStream<'static, StoreResult<StorePath>>,
    ) -> BoxStream<'static, StoreResult<StorePath>> {
        let store = self.clone();
        let delete = move |location: StoreResult<StorePath>| {
            let store = store.clone();
            async move {
                let location = location?;
                store.ask(store.fault(), store.inner.delete(&location)).await?;
                Ok(location)
            }
        };
        all.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let found = async move {
            let all = store.inner.list(prefix.as_ref()).try_collect::<Vec<_>>();
            let all = store.ask(store.fault(), all).await?;
            Ok::<_, StoreError>(stream::iter(all.into_iter().map(move |meta| Ok(store.dated(meta)))))
        };
        stream::once(found).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> StoreResult<ListResult> {
        self.ask(self.fault(), self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &StorePath, to: &StorePath, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
