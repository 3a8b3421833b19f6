//! Which series are being scraped, over all jobs: asked before the series of a removed target are marked stale.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::round::Memory;
use crate::model::Handle;
use crate::runtime::Clock;

/// The memories of all running loops.
#[derive(Debug, Default)]
pub(super) struct Live {
    memories: Mutex<Vec<Weak<Mutex<Memory>>>>,
    /// The last answer and its monotonic time: a thousand targets that go together ask the same thing.
    answer: Mutex<Option<(Duration, Arc<HashSet<Handle>>)>>,
}

/// The longest that an answer is used again.
const MAX_AGE: Duration = Duration::from_secs(1);

impl Live {
    /// Adds a running loop. It leaves when its memory is dropped or [`Self::remove`]d.
    pub(super) fn add(&self, memory: &Arc<Mutex<Memory>>) {
        let mut memories = lock(&self.memories);
        memories
            .retain(|known| known.strong_count() > 0 && !std::ptr::eq(known.as_ptr(), Arc::as_ptr(memory)));
        memories.push(Arc::downgrade(memory));
    }

    pub(super) fn remove(&self, memory: &Arc<Mutex<Memory>>) {
        lock(&self.memories).retain(|known| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(memory)));
    }

    /// The series that the last scrapes of all running loops stored; up to `age` old.
    pub(super) fn handles(&self, clock: &Clock, age: Duration) -> Arc<HashSet<Handle>> {
        let mut answer = lock(&self.answer);
        let now = clock.monotonic();
        if let Some((at, handles)) = &*answer
            && now.saturating_sub(*at) <= age.min(MAX_AGE)
        {
            return Arc::clone(handles);
        }
        let memories: Vec<_> = lock(&self.memories).iter().filter_map(Weak::upgrade).collect();
        let mut handles = HashSet::new();
        for memory in memories {
            handles.extend(memory.lock().expect("no holder of this lock panics").current());
        }
        let handles = Arc::new(handles);
        *answer = Some((now, Arc::clone(&handles)));
        handles
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
