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

const AT: i64 = 1_800_000_000_000;

async fn open() -> Result<Store> {
    let clock = Clock::manual(AT);
    let ground = StoreGround::in_memory(clock, Pools::inline());
    Store::open(StoreSettings::default(), ground, Path::new("/wal")).await
}

#[tokio::test(start_paused = true)]
async fn samples_markers_and_metadata_reach_the_store() -> Result<()> {
    let store = open().await?;
    let job = ScrapeSettings::new("j", &GlobalSettings::default());
    let Populated::Active(target) = Target::populate("h:1", &Group::default(), &job)? else {
        unreachable!("there are no target rules")
    };
    let probe = Probe {
        target: Arc::from(target),
        job: Arc::new(job),
        sink: Sink::store(&store, &Tenant::default()),
        memory: Arc::new(Mutex::new(Memory::new())),
        stats: Stats::new(&Registry::new()),
    };
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
