//! Against the real store, on a simulated disk.

use std::path::Path;

use super::*;
use crate::model::{Matcher, Principal, Tenant};
use crate::source::discovery::Group;
use crate::source::scrape::round::{Memory, Probe};
use crate::source::settings::GlobalSettings;
use crate::source::target::{Populated, Target};
use crate::store::{Store, StoreGround, StoreSettings};
use crate::wire::exposition::Format;

pub(super) const AT: i64 = 1_800_000_000_000;

pub(super) async fn open() -> Result<Store> {
    let clock = Clock::manual(AT);
    let ground = StoreGround::in_memory(clock, Pools::inline());
    Store::open(StoreSettings::default(), ground, Path::new("/wal")).await
}

fn probe(store: &Store) -> Result<Probe> {
    probe_of(store, ScrapeSettings::new("j", &GlobalSettings::default()))
}

pub(super) fn probe_of(store: &Store, job: ScrapeSettings) -> Result<Probe> {
    let Populated::Active(target) = Target::populate("h:1", &Group::default(), &job)? else {
        unreachable!("there are no target rules")
    };
    Ok(Probe {
        target: Arc::from(target),
        job: Arc::new(job),
        sink: Sink::store(store, &Tenant::default()),
        memory: Arc::new(Mutex::new(Memory::new())),
        stats: Stats::new(&Registry::new()),
    })
}

#[tokio::test(start_paused = true)]
async fn samples_markers_and_metadata_reach_the_store() -> Result<()> {
    let store = open().await?;
    let probe = probe(&store)?;
    let bodies = ["# TYPE a gauge\n# HELP a Help.\na{x=\"1\"} 1\nb 2\n", "a{x=\"1\"} 3\n"];
    for (body, at) in bodies.into_iter().zip([AT, AT + 1_000]) {
        probe.round(Ok((Format::Text, body.as_bytes())), at, || 0.5).await?;
    }
    let snapshot = store.snapshot(&Tenant::default(), &Principal::default());
    let selection = snapshot.select(vec![Matcher::equal("job", "j")], i64::MIN, i64::MAX).await?;
    let mut reader = selection.scan(0..selection.series().len())?;
    let mut found = Vec::new();
    while let Some(rows) = reader.next().await? {
        let key = &selection.series()[rows.index].key;
        if !key.metric.starts_with("scrape_") {
            let name = format!("{}{}", key.metric, key.labels.as_ref());
            found.push((name, rows.timestamps.to_vec(), rows.values.to_vec(), rows.stale_at.to_vec()));
        }
    }
    let both = vec![AT, AT + 1_000];
    let expected = [
        (r#"a{instance="h:1", job="j", x="1"}"#, both.clone(), vec![1.0, 3.0], vec![]),
        (r#"b{instance="h:1", job="j"}"#, vec![AT], vec![2.0], vec![AT + 1_000]),
        (r#"up{instance="h:1", job="j"}"#, both, vec![1.0, 1.0], vec![]),
    ];
    assert_eq!(found, expected.map(|(name, at, values, stale)| (name.to_owned(), at, values, stale)));
    assert_eq!(snapshot.catalogue().get("a").map(|entry| entry.help.to_string()), Some("Help.".to_owned()));
    Ok(())
}

/// From the body to the synced WAL and the buffer, all on this thread: what a round allocates does not grow with
/// its samples. Every round has new values; a column's growth by doubling is what is left.
#[test]
fn a_steady_scrape_allocates_nothing_per_sample() -> Result<()> {
    const LINES: usize = 20_000;
    const ROUNDS: i64 = 24;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let store = runtime.block_on(open())?;
    let probe = probe(&store)?;
    let mut allocations = Vec::new();
    for round in 0..ROUNDS {
        let lines = (0_i64..)
            .take(LINES)
            .map(|n| format!("m_total{{path=\"/{n}\",code=\"200\"}} {}\n", round.wrapping_mul(n)));
        let body: String = lines.collect();
        let fetched = Ok((Format::Text, body.as_bytes()));
        let at = AT + round * 15_000;
        let mut outcome = Ok(());
        let counted = allocation_counter::measure(|| {
            outcome = runtime.block_on(probe.round(fetched, at, || 0.5)).map(drop);
        });
        outcome?;
        allocations.push(counted.count_total);
    }
    println!("allocations in each round of {LINES} samples: {allocations:?}");
    let steady = &mut allocations[4..];
    steady.sort_unstable();
    let median = steady[steady.len() / 2];
    assert!(median < 200, "{median} allocations in a round of {LINES} samples: {allocations:?}");
    Ok(())
}
