//! The ground: clock, disk, object storage, pools, limits and our own telemetry. Concrete types only.
//!
//! Nothing above this room reads the wall clock, sleeps, spawns or touches a file except through here, so that
//! the real store runs in a simulator on a paused clock and a disk that loses what was not synced.

mod clock;
mod disk;
mod fault;
mod limits;
mod logs;
mod metrics;
mod objects;
mod pools;

pub use clock::Clock;
pub use disk::{DirEntry, Disk, DiskFile, DiskLock, Fault, SimDisk};
pub use fault::{Armed, FaultPoint, Faults};
pub use limits::{MemoryBudget, MemoryGuard};
pub use logs::{LogLines, start_logs};
pub use metrics::{Counter, Gauge, Histogram, Registry};
#[cfg(test)]
pub(crate) use objects::{FaultyStore, PutFault};
pub use objects::{
    ObjectEntry, ObjectWriter, Objects, ObjectsOptions, ObjectsSnapshot, ObjectsStats, PutOutcome,
};
pub use pools::{Pools, Runtimes, Shutdown};
