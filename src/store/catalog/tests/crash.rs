//! Power cuts at every single disk operation.

use super::*;
use crate::runtime::{Disk, Fault, ObjectsOptions};

async fn open_on(disk: &Disk) -> Result<TableLog> {
    let objects = Objects::open("/d", &ObjectsOptions::default(), disk, &Pools::inline()).await?;
    open_with(ground(&objects), LogOptions { checkpoint_every: 2, ..LogOptions::default() }).await
}

/// Commits until the power goes; returns what was promised.
async fn work(disk: &Disk) -> (i64, Vec<&'static str>, Result<()>) {
    let (mut sequence, mut live) = (0, vec![]);
    let steps = async {
        let log = open_on(disk).await?;
        for path in ["a", "b", "c"] {
            add(&log, path, Some(("wal", sequence + 1))).await?;
            sequence += 1;
            live.push(path);
        }
        compact(&log, &["a", "b"], "ab").await?;
        live = vec!["ab", "c"];
        Ok(())
    };
    let result = steps.await;
    (sequence, live, result)
}

#[tokio::test(start_paused = true)]
async fn a_promised_commit_survives_a_power_cut_at_any_operation() -> Result<()> {
    let whole = Disk::simulated(0, Clock::manual(START_MS));
    work(&whole).await.2?;
    let operations = whole.sim().expect("simulated").operations();
    assert!(operations > 30);
    for nth in 0..operations {
        for seed in 0..4 {
            let disk = Disk::simulated(seed * 1_000 + nth, Clock::manual(START_MS));
            let sim = disk.sim().expect("simulated");
            sim.set_fault(Some(Fault::PowerCut { nth }));
            let (sequence, live, _) = work(&disk).await;
            sim.crash();
            let log = open_on(&disk).await?;
            let version = log.snapshot();
            let found = version.txn("wal").unwrap_or(0);
            assert!(found == sequence || found == sequence + 1, "{found} after {sequence} at {nth}");
            let compacted = version.file("ab").is_some();
            if !compacted {
                let expected = &["a", "b", "c"][..usize::try_from(found).expect("small")];
                assert_eq!(paths(&version), expected, "at {nth}");
            }
            assert!(compacted || live != ["ab", "c"], "the compaction is lost at {nth}");
            add(&log, "next", Some(("wal", found + 1))).await?;
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failed_operation_leaves_a_log_that_goes_on() -> Result<()> {
    let whole = Disk::simulated(0, Clock::manual(START_MS));
    work(&whole).await.2?;
    for nth in 0..whole.sim().expect("simulated").operations() {
        let disk = Disk::simulated(nth, Clock::manual(START_MS));
        let sim = disk.sim().expect("simulated");
        sim.set_fault(Some(Fault::FailOnce { nth }));
        let (sequence, _, result) = work(&disk).await;
        // One failure of a commit is tried again; opening the table is not.
        assert!(result.is_ok() || sequence == 0, "operation {nth}: {result:?}");
        sim.crash();
        let found = open_on(&disk).await?.snapshot().txn("wal").unwrap_or(0);
        assert_eq!(found, sequence, "what was promised is there, operation {nth}");
    }
    Ok(())
}
