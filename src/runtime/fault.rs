//! Named places in the store's work at which a test ends the process or a simulated life.
//!
//! They are the moments between two durable steps: what was done before the point is on disk or in the object
//! store, what comes after is not. In normal service a point costs the test of one `Option`.

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::error::{Error, Kind, Result};
use crate::model::Table;

/// A moment between two durable steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultPoint {
    /// Rows are synced in the WAL and neither visible nor acknowledged.
    AppendLogged,
    /// Buffers are frozen, nothing is written.
    FlushFrozen,
    /// One more data file of a flush is in the object store and in no table.
    FlushFile,
    /// One more table of a flush is committed, the others are not.
    FlushTable,
    /// All tables are committed, the buffer is still there.
    FlushCommitted,
    /// The log is about to be extended.
    CommitBegun,
    /// The log is extended, and nobody in this process knows.
    CommitWritten,
    /// Segments may be deleted, and none is.
    WalRelease,
    /// The rows of a merge are in memory, no file is written.
    MergeRead,
    /// A merged file is in the object store and in no table.
    MergeFile,
    /// A merged file took the place of others.
    MergeCommitted,
    /// A file that left its table is about to be deleted.
    CollectDelete,
    /// A checkpoint of the log is about to be written.
    CheckpointBegun,
}

impl FaultPoint {
    /// Every point with its name, in the order of a row's life.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::AppendLogged, "append.logged"),
        (Self::FlushFrozen, "flush.frozen"),
        (Self::FlushFile, "flush.file"),
        (Self::FlushTable, "flush.table"),
        (Self::FlushCommitted, "flush.committed"),
        (Self::CommitBegun, "commit.begun"),
        (Self::CommitWritten, "commit.written"),
        (Self::WalRelease, "wal.release"),
        (Self::MergeRead, "merge.read"),
        (Self::MergeFile, "merge.file"),
        (Self::MergeCommitted, "merge.committed"),
        (Self::CollectDelete, "collect.delete"),
        (Self::CheckpointBegun, "checkpoint.begun"),
    ];

    /// The name by which a test asks for it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(point, _)| *point == self).map_or("", |(_, name)| name)
    }
}

/// Which visit of which point ends everything: `merge.file` or `merge.file:3` for the third one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Armed {
    /// Where.
    pub point: FaultPoint,
    /// Which visit, from 1.
    pub visit: u64,
}

impl FromStr for Armed {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, visit) = text.split_once(':').unwrap_or((text, "1"));
        let point = FaultPoint::ALL.iter().find(|(_, known)| *known == name).map(|(point, _)| *point);
        match (point, visit.parse()) {
            (Some(point), Ok(visit)) => Ok(Self { point, visit }),
            _ => Err(Error::new(Kind::Config, "not a fault point; it is written NAME or NAME:VISIT")
                .with("point", text)),
        }
    }
}

/// A bug that a test plants in the store, to see that it would find it. Only [`Faults::planting`] has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A start takes one sequence too many for stored.
    ReplaySkipsOne,
    /// A flush commits backfill rows before the live rows that they replace.
    BackfillFirst,
    /// A start takes all rows of a table for stored.
    ReplaySkips(Table),
    /// How far a file was read is written before the lines that were read.
    PositionFirst,
    /// A merge leaves the newest file of histograms out.
    MergeLosesHistograms,
}

/// What happens at the points. Cheap to clone; clones count together. The default does nothing.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Plan>>);

#[derive(Debug)]
struct Plan {
    armed: Mutex<Option<Armed>>,
    visits: Mutex<BTreeMap<FaultPoint, u64>>,
    /// End the process, or only never return.
    abort: bool,
    bug: Option<Bug>,
    reached: Notify,
}

impl Faults {
    /// The process ends without any clean-up at the armed visit.
    pub fn aborting(armed: Armed) -> Self {
        Self::new(Some(armed), true, None)
    }

    /// Visits are counted; the task that makes the armed one never goes on, and [`Faults::reached`] returns.
    pub fn halting() -> Self {
        Self::new(None, false, None)
    }

    /// As [`Faults::halting`], with a bug.
    pub fn planting(bug: Bug) -> Self {
        Self::new(None, false, Some(bug))
    }

    fn new(armed: Option<Armed>, abort: bool, bug: Option<Bug>) -> Self {
        let (armed, visits, reached) = (Mutex::new(armed), Mutex::default(), Notify::new());
        let plan = Plan { armed, visits, abort, bug, reached };
        Self(Some(Arc::new(plan)))
    }

    /// Chooses where the next life ends; visits are counted from here.
    pub fn arm(&self, armed: Option<Armed>) {
        let Some(plan) = &self.0 else { return };
        let now = armed.map(|armed| Armed { visit: armed.visit + self.visits(armed.point), ..armed });
        *plan.armed.lock().expect("no holder of this lock panics") = now;
    }

    /// How often a point was passed so far.
    pub fn visits(&self, point: FaultPoint) -> u64 {
        let Some(plan) = &self.0 else { return 0 };
        plan.visits.lock().expect("no holder of this lock panics").get(&point).copied().unwrap_or(0)
    }

    /// Waits until the armed visit is made.
    pub async fn reached(&self) {
        match &self.0 {
            Some(plan) => plan.reached.notified().await,
            None => pending().await,
        }
    }

    /// Whether a test planted this bug.
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.0.as_ref().is_some_and(|plan| plan.bug == Some(bug))
    }

    /// Passes a point.
    pub(crate) async fn at(&self, point: FaultPoint) {
        let Some(plan) = &self.0 else { return };
        if !plan.visit(point) {
            return;
        }
        if plan.abort {
            std::process::abort();
        }
        plan.reached.notify_one();
        pending::<()>().await;
    }
}

impl Plan {
    /// Counts a visit and says whether it is the armed one.
    fn visit(&self, point: FaultPoint) -> bool {
        let mut visits = self.visits.lock().expect("no holder of this lock panics");
        let visit = visits.entry(point).or_default();
        *visit += 1;
        let armed = *self.armed.lock().expect("no holder of this lock panics");
        armed == Some(Armed { point, visit: *visit })
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faults").field(&self.0.as_ref().map(|plan| &plan.armed)).finish()
    }
}
