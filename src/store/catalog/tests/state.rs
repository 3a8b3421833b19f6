//! What a commit writes, and that checkpoint, clean-up and reopening change nothing.

use std::time::Duration;

use super::*;
use crate::runtime::Disk;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test(start_paused = true)]
async fn the_first_commits_are_the_documented_bytes() -> Result<()> {
    let objects = Objects::memory();
    let log = open(&objects).await?;
    add(&log, "a.parquet", Some(("wal/live", 7))).await?;
    let lines = |bytes: bytes::Bytes| -> Vec<serde_json::Value> {
        let text = String::from_utf8(bytes.to_vec()).expect("JSON is UTF-8");
        assert!(text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    };
    let first = lines(objects.get("default/samples/_delta_log/00000000000000000000.json").await?);
    assert_eq!(first.len(), 3);
    assert_eq!(first[0]["commitInfo"]["operation"], "CREATE TABLE");
    let protocol = serde_json::json!({ "protocol": {
        "minReaderVersion": 1, "minWriterVersion": 7,
        "writerFeatures": ["appendOnly", "invariants", "quipu"] } });
    assert_eq!(first[1], protocol);
    let meta = &first[2]["metaData"];
    assert_eq!(meta["configuration"], serde_json::json!({ "quipu.format": "1" }));
    let schema: serde_json::Value =
        serde_json::from_str(meta["schemaString"].as_str().expect("a text")).expect("JSON");
    assert_eq!(schema["fields"][2]["type"], "timestamp");
    assert_eq!(
        schema["fields"][3],
        serde_json::json!(
        { "name": "value", "type": "double", "nullable": false, "metadata": {} })
    );

    let second = lines(objects.get("default/samples/_delta_log/00000000000000000001.json").await?);
    assert_eq!(second[0]["commitInfo"]["operation"], "WRITE");
    assert_eq!(
        second[1],
        serde_json::json!({ "txn": {
        "appId": "wal/live", "version": 7, "lastUpdated": START_MS } })
    );
    let add = &second[2]["add"];
    assert_eq!(
        add["tags"],
        serde_json::json!({
        "quipu.rank": "1-1", "quipu.level": "0", "quipu.day": "19675",
        "quipu.min_time": "1700000000000", "quipu.max_time": "1700000060000", "quipu.row_groups": "5",
        "quipu.index_offset": "100", "quipu.index_len": "20", "quipu.index_crc": "deadbeef", "x.y": "z" })
    );
    assert_eq!(
        add["stats"],
        "{\"numRecords\":5,\
        \"minValues\":{\"metric\":\"a\",\"timestamp\":\"2023-11-14T22:13:20.000Z\"},\
        \"maxValues\":{\"metric\":\"up\",\"timestamp\":\"2023-11-14T22:14:20.000Z\"},\
        \"nullCount\":{\"metric\":0,\"timestamp\":0}}"
    );
    assert_eq!((&add["dataChange"], &add["partitionValues"]), (&true.into(), &serde_json::json!({})));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_version_is_the_same_from_commits_and_from_a_checkpoint() -> Result<()> {
    let objects = Objects::memory();
    let log = open(&objects).await?;
    for i in 0..5 {
        add(&log, &format!("f{i}"), Some(("wal", i))).await?;
    }
    let held = log.snapshot();
    compact(&log, &["f0", "f1"], "g").await?;
    assert_eq!(paths(&held).len(), 5, "a held version does not change");
    let before = log.snapshot();
    assert_eq!(paths(&before), ["f2", "f3", "f4", "g"]);
    assert_eq!(before.file("g").map(|f| f.tags.rank), Some(Rank { lo: 1, hi: 2 }));
    assert_eq!((before.txn("wal"), before.txn("other")), (Some(4), None));
    assert_eq!(
        before.removed().map(|r| (&*r.path, r.at_ms)).collect::<Vec<_>>(),
        [("f0", START_MS), ("f1", START_MS)]
    );
    assert_eq!((before.rows(), before.bytes()), (20, 200));
    assert_eq!(*open(&objects).await?.snapshot(), *before, "from commits");
    assert_eq!(log.checkpoint().await?, 6);
    let reopened = open(&objects).await?;
    assert_eq!(*reopened.snapshot(), *before, "from the checkpoint");
    add(&reopened, "h", None).await?;
    log.refresh().await?;
    assert_eq!(*log.snapshot(), *reopened.snapshot());
    assert_eq!(*open(&objects).await?.snapshot(), *log.snapshot(), "from the checkpoint and a commit");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_start_after_a_thousand_commits_reads_only_the_tail_of_the_log() -> Result<()> {
    let objects = Objects::memory();
    let log = open(&objects).await?;
    for i in 0..1_030 {
        add(&log, &format!("f{i}"), Some(("wal", i))).await?;
    }
    let before = objects.stats().snapshot();
    let reopened = open(&objects).await?;
    assert_eq!(*reopened.snapshot(), *log.snapshot());
    let after = objects.stats().snapshot();
    // The checkpoint of version 1000, commits 1001 to 1030, and the question for 1031.
    assert_eq!((after.lists - before.lists, after.gets - before.gets), (1, 32));
    assert_eq!((after.heads, after.puts), (before.heads, before.puts));
    log.refresh().await?;
    let idle = objects.stats().snapshot();
    assert_eq!((idle.lists, idle.gets), (after.lists, after.gets + 1), "an idle refresh is one request");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn clean_up_keeps_a_day_and_everything_after_the_checkpoint() -> Result<()> {
    let clock = Clock::manual(START_MS);
    let disk = Disk::simulated(1, clock);
    let objects =
        Objects::open("/d", &crate::runtime::ObjectsOptions::default(), &disk, &Pools::inline()).await?;
    let options = LogOptions { checkpoint_every: 4, ..LogOptions::default() };
    let log = open_with(Ground { clock, ..ground(&objects) }, options).await?;
    for i in 0..6 {
        add(&log, &format!("f{i}"), None).await?;
    }
    assert_eq!(log.clean().await?, 0, "nothing is old");
    let before = objects.stats().snapshot();
    log.clean().await?;
    assert_eq!(objects.stats().snapshot(), before, "an idle clean-up asks nothing");
    tokio::time::advance(DAY + Duration::from_secs(1)).await;
    assert_eq!(log.clean().await?, 4, "commits 0 to 3; checkpoint 4 covers them");
    add(&log, "g", None).await?;
    add(&log, "h", None).await?;
    assert_eq!(log.clean().await?, 4, "commits 4 to 7 but 7, and checkpoint 4");
    assert_eq!(*open(&objects).await?.snapshot(), *log.snapshot());
    let left = objects.list("default/samples/_delta_log").await?;
    let names: Vec<_> = left.iter().filter_map(|e| e.path.rsplit('/').next()).collect();
    assert_eq!(
        names,
        [
            "00000000000000000007.json",
            "00000000000000000008.checkpoint.parquet",
            "00000000000000000008.json",
            "_last_checkpoint"
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn files_that_no_commit_names_go_after_a_day() -> Result<()> {
    let clock = Clock::manual(START_MS);
    let disk = Disk::simulated(1, clock);
    let options = crate::runtime::ObjectsOptions::default();
    let objects = Objects::open("/d", &options, &disk, &Pools::inline()).await?;
    let log = open_with(Ground { clock, ..ground(&objects) }, LogOptions::default()).await?;
    let other = open_with(Ground { clock, ..ground(&objects) }, LogOptions::default()).await?;
    let put = async |path: &str| objects.put(&format!("default/samples/{path}"), bytes::Bytes::new()).await;
    for path in ["a.parquet", "b.parquet", "theirs.parquet", "lost.parquet"] {
        put(path).await?;
    }
    add(&log, "a.parquet", None).await?;
    compact(&log, &["a.parquet"], "b.parquet").await?;
    add(&other, "theirs.parquet", None).await?;
    tokio::time::advance(DAY + Duration::from_secs(1)).await;
    put("new.parquet").await?;
    assert_eq!(log.remove_orphans(0).await?, 1, "only the lost one is nobody's and old");
    let left = objects.list("default/samples").await?;
    let left: Vec<_> = left.iter().filter_map(|e| e.path.strip_prefix("default/samples/")).collect();
    let data: Vec<_> = left.into_iter().filter(|path| !path.starts_with('_')).collect();
    assert_eq!(data, ["a.parquet", "b.parquet", "new.parquet", "theirs.parquet"]);
    let before = objects.stats().snapshot();
    assert_eq!(log.remove_orphans(0).await?, 0);
    assert_eq!(objects.stats().snapshot(), before, "once a day");
    tokio::time::advance(DAY + Duration::from_secs(1)).await;
    assert_eq!(log.remove_orphans(10 * 86_400_000).await?, 0, "younger than asked");
    tokio::time::advance(DAY + Duration::from_secs(1)).await;
    assert_eq!(log.remove_orphans(0).await?, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn removals_are_forgotten_after_their_time() -> Result<()> {
    let objects = Objects::memory();
    let log = open(&objects).await?;
    add(&log, "a", None).await?;
    compact(&log, &["a"], "b").await?;
    tokio::time::advance(8 * DAY).await;
    assert_eq!(log.snapshot().removed().len(), 1);
    log.checkpoint().await?;
    assert_eq!(log.snapshot().removed().len(), 0);
    assert_eq!(*open(&objects).await?.snapshot(), *log.snapshot());
    Ok(())
}

#[test]
fn statistics_bound_what_they_cut() {
    let long = "x".repeat(40);
    let stats = Stats::rows(1).with_text("m", &long, &long).with_int("i", -5, 7).with_day("d", -1, 0);
    let bound = |map: &std::collections::BTreeMap<String, serde_json::Value>, column: &str| {
        map[column].as_str().expect("a text").to_owned()
    };
    assert!(bound(&stats.min_values, "m") < long && bound(&stats.max_values, "m") > long);
    assert_eq!(
        (bound(&stats.min_values, "d"), bound(&stats.max_values, "d")),
        ("1969-12-31".into(), "1970-01-01".into())
    );
    assert_eq!(stats.min_values["i"], -5);
    let far = Stats::rows(1).with_time("t", i64::MIN, 0);
    assert!(!far.min_values.contains_key("t") && far.max_values.contains_key("t"), "no false bound");
    assert!(DataFile::new_path(0).starts_with("1970-01-01-"));
}

#[tokio::test(start_paused = true)]
async fn a_log_of_format_1_opens_for_ever() -> Result<()> {
    macro_rules! fixture {
        ($($name:literal),*) => {
            [$(($name, include_bytes!(concat!("../../../../tests/data/format-1/delta-log/", $name)).as_slice())),*]
        };
    }
    let files: [(&str, &[u8]); 8] = fixture![
        "00000000000000000000.json",
        "00000000000000000001.json",
        "00000000000000000002.json",
        "00000000000000000003.json",
        "00000000000000000004.json",
        "00000000000000000004.checkpoint.parquet",
        "00000000000000000005.json",
        "_last_checkpoint"
    ];
    let mut versions = Vec::new();
    for without in ["none", "checkpoint.parquet", "00000000000000000003.json"] {
        let objects = Objects::memory();
        for (name, bytes) in files.iter().filter(|(name, _)| !name.ends_with(without)) {
            let path = format!("default/samples/_delta_log/{name}");
            objects.put(&path, bytes::Bytes::from_static(bytes)).await?;
        }
        versions.push(open(&objects).await?.snapshot());
    }
    assert!(versions.iter().all(|version| **version == *versions[0]), "with and without the checkpoint");
    let version = &versions[0];
    assert_eq!((version.number(), version.rows(), version.txn("11111111-wal/live")), (5, 40, Some(4)));
    assert_eq!(paths(version), ["2023-11-14-ab.parquet", "2023-11-14-c.parquet", "2023-11-14-d.parquet"]);
    let merged = version.file("2023-11-14-ab.parquet").expect("it is live");
    assert_eq!((merged.tags.rank, merged.size), (Rank { lo: 1, hi: 2 }, 1_426));
    assert_eq!(merged.tags.index, Some(IndexPlace { offset: 100, len: 20, crc: 0xdead_beef }));
    assert_eq!(merged.tags.other.get("x.y").map(String::as_str), Some("z"));
    let removed: Vec<_> =
        version.removed().map(|removed| (&*removed.path, removed.at_ms, removed.size)).collect();
    assert_eq!(removed.len(), 2);
    assert_eq!((removed[0].0, removed[0].2), ("2023-11-14-a.parquet", 1_323));
    Ok(())
}
