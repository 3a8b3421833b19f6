//! The ground: clock, disk, object storage, pools, limits and our own telemetry. Concrete types only.
//!
//! Nothing above this room reads the wall clock, sleeps, spawns or touches a file except through here, so that
//! the real store runs in a simulator on a paused clock and a disk that loses what was not synced.

mod clock;
mod dice;
mod disk;
mod fault;
#[cfg(test)]
pub(crate) mod fuzz;
mod limits;
mod logs;
mod metrics;
mod objects;
mod pools;

pub use clock::Clock;
pub use dice::Dice;
pub use disk::{DirEntry, Disk, DiskFile, DiskLock, Fault, Lie, SimDisk};
pub use fault::{Armed, Bug, FaultPoint, Faults};
pub use limits::{MemoryBudget, MemoryGuard};
pub use logs::{LogLines, OwnLine, OwnLines, OwnTap, own_lines, start_logs};
pub use metrics::{Counter, Gauge, Histogram, Registry};
pub use objects::{
    FaultCounts, FaultOdds, FaultyStore, ObjectEntry, ObjectWriter, Objects, ObjectsOptions, ObjectsSnapshot,
    ObjectsStats, PutOutcome, RequestFault,
};
pub use pools::{Pools, Runtimes, Shutdown};
