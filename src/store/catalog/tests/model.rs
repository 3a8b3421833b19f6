//! Random histories of three processes against a list of paths and a number.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::runtime::{FaultyStore, RequestFault};

#[derive(Debug, Clone)]
enum Step {
    /// Process, and whether its put fails or loses its answer at first.
    Add(usize, Option<bool>),
    /// Process, and which two live files.
    Compact(usize, usize, usize),
    /// Process, and which live file expires.
    Expire(usize, usize),
    Checkpoint(usize),
    Refresh(usize),
    Reopen(usize),
}

const PROCESSES: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let who = 0..PROCESSES;
    prop_oneof![
        5 => (who.clone(), any::<Option<bool>>()).prop_map(|(p, fault)| Step::Add(p, fault)),
        2 => (who.clone(), any::<usize>(), any::<usize>()).prop_map(|(p, a, b)| Step::Compact(p, a, b)),
        1 => (who.clone(), any::<usize>()).prop_map(|(p, a)| Step::Expire(p, a)),
        1 => who.clone().prop_map(Step::Checkpoint),
        1 => who.clone().prop_map(Step::Refresh),
        1 => who.prop_map(Step::Reopen),
    ]
}

/// The naive table.
#[derive(Default)]
struct Naive {
    live: BTreeSet<String>,
    streams: BTreeMap<String, i64>,
    commits: u64,
}

impl Naive {
    fn pick(&self, index: usize) -> Option<String> {
        let at = index.checked_rem(self.live.len())?;
        self.live.iter().nth(at).cloned()
    }
}

async fn run(steps: Vec<Step>) -> Result<()> {
    let store = FaultyStore::new(0, Clock::manual(0));
    let objects = store.objects();
    let options = LogOptions { checkpoint_every: 7, ..LogOptions::default() };
    let mut logs = Vec::new();
    for _ in 0..PROCESSES {
        logs.push(open_with(ground(&objects), options).await?);
    }
    let mut naive = Naive::default();
    for (i, step) in steps.into_iter().enumerate() {
        match step {
            Step::Add(process, fault) => {
                store.plan(
                    fault.map(|lost| if lost { RequestFault::LosesAnswer } else { RequestFault::Fails }),
                );
                let (app, path) = (format!("wal{process}"), format!("f{i}"));
                let sequence = naive.streams.get(&app).copied().unwrap_or(0) + 1;
                add(&logs[process], &path, Some((&app, sequence))).await?;
                naive.streams.insert(app, sequence);
                naive.live.insert(path);
                naive.commits += 1;
            }
            Step::Compact(process, a, b) => {
                let (Some(a), Some(b)) = (naive.pick(a), naive.pick(b)) else { continue };
                if a == b {
                    continue;
                }
                let path = format!("c{i}");
                // A process that does not know the files yet is refused and must look again.
                if compact(&logs[process], &[&a, &b], &path).await.is_err() {
                    logs[process].refresh().await?;
                    compact(&logs[process], &[&a, &b], &path).await?;
                }
                naive.live.remove(&a);
                naive.live.remove(&b);
                naive.live.insert(path);
                naive.commits += 1;
            }
            Step::Expire(process, a) => {
                let Some(path) = naive.pick(a) else { continue };
                logs[process].refresh().await?;
                let commit = Commit { removes: vec![path.clone()], data_change: true, ..Commit::default() };
                logs[process].commit(|_, _| Ok(commit.clone())).await?;
                naive.live.remove(&path);
                naive.commits += 1;
            }
            Step::Checkpoint(process) => drop(logs[process].checkpoint().await?),
            Step::Refresh(process) => drop(logs[process].refresh().await?),
            Step::Reopen(process) => logs[process] = open_with(ground(&objects), options).await?,
        }
    }
    let fresh = open(&objects).await?.snapshot();
    for log in &logs {
        assert_eq!(*log.refresh().await?, *fresh, "all processes agree");
    }
    let live: BTreeSet<String> = fresh.files().map(|file| file.path.clone()).collect();
    let streams: BTreeMap<String, i64> = fresh.txns().map(|txn| (txn.app_id.clone(), txn.version)).collect();
    assert_eq!((live, streams, fresh.number()), (naive.live, naive.streams, naive.commits));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_histories_agree_with_the_naive_table(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime starts").block_on(run(steps)).expect("no step fails");
    }
}
