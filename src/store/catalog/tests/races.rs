//! Lost answers, late answers, two writers, and copies of one writer.

use std::time::Duration;

use super::*;
use crate::runtime::{FaultyStore, RequestFault};

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_one_commit() -> Result<()> {
    let store = FaultyStore::new(0, Clock::manual(0));
    let log = open(&store.objects()).await?;
    for faults in [
        vec![RequestFault::LosesAnswer],
        vec![RequestFault::Fails],
        vec![RequestFault::Fails, RequestFault::LosesAnswer, RequestFault::Fails],
    ] {
        let number = log.snapshot().number();
        store.plan(faults);
        let version = add(&log, &format!("f{number}"), None).await?;
        assert_eq!(version.number(), number + 1);
    }
    assert_eq!(*open(&store.objects()).await?.snapshot(), *log.snapshot());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_commit_in_doubt_is_not_made_twice() -> Result<()> {
    let store = FaultyStore::new(0, Clock::manual(0));
    let log = open(&store.objects()).await?;
    add(&log, "a", Some(("wal", 1))).await?;
    // It is written, and no answer ever comes.
    store.plan([
        RequestFault::LosesAnswer,
        RequestFault::Fails,
        RequestFault::Fails,
        RequestFault::Fails,
        RequestFault::Fails,
    ]);
    let error = add(&log, "b", Some(("wal", 2))).await.expect_err("no answer");
    assert_eq!(error.kind(), Kind::Unavailable);
    let version = add(&log, "b-again", Some(("wal", 2))).await?;
    assert_eq!((version.number(), paths(&version)), (2, vec!["a", "b"]));
    add(&log, "c", Some(("wal", 3))).await?;
    // It is not written, and no answer ever comes.
    store.plan([RequestFault::Fails; 5]);
    assert!(add(&log, "d", Some(("wal", 4))).await.is_err());
    assert_eq!(paths(&*add(&log, "d", Some(("wal", 4))).await?), ["a", "b", "c", "d"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn two_writers_lose_nothing_and_make_the_body_anew() -> Result<()> {
    let objects = Objects::memory();
    let (one, two) = (open(&objects).await?, open(&objects).await?);
    let many = async |log: &TableLog, name: &str| -> Result<()> {
        for i in 0..40_u32 {
            let txn = (name.to_owned(), i64::from(i));
            log.commit(|base, number| {
                assert_eq!(base.number() + 1, number);
                let adds = vec![data_file(&format!("{name}{i}"), Rank::fresh(number), 1)];
                Ok(Commit { adds, txns: vec![txn.clone()], data_change: true, ..Commit::default() })
            })
            .await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    let (a, b) = tokio::join!(many(&one, "a"), many(&two, "b"));
    a.and(b)?;
    let end = open(&objects).await?.snapshot();
    assert_eq!((end.number(), end.files().len()), (80, 80));
    assert_eq!((end.txn("a"), end.txn("b")), (Some(39), Some(39)));
    let mut ranks: Vec<_> = end.files().map(|file| file.tags.rank).collect();
    ranks.sort_unstable();
    assert_eq!(ranks, (1..=80).map(Rank::fresh).collect::<Vec<_>>(), "a rank is the commit's number");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_compaction_of_files_that_are_gone_is_refused() -> Result<()> {
    let objects = Objects::memory();
    let (one, two) = (open(&objects).await?, open(&objects).await?);
    add(&one, "a", None).await?;
    add(&one, "b", None).await?;
    two.refresh().await?;
    compact(&one, &["a", "b"], "ab").await?;
    let error = compact(&two, &["a", "b"], "ba").await.expect_err("a and b are replaced");
    assert_eq!((error.kind(), error.get("data_file")), (Kind::Conflict, Some("a")));
    assert_eq!(paths(&two.snapshot()), ["ab"], "it knows better now");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_writer_is_stopped() -> Result<()> {
    let objects = Objects::memory();
    let (one, copy) = (open(&objects).await?, open(&objects).await?);
    add(&one, "a", Some(("wal", 1))).await?;
    let error = add(&copy, "b", Some(("wal", 1))).await.expect_err("the stream moved without it");
    assert_eq!((error.kind(), error.get("app_id")), (Kind::Conflict, Some("wal")));
    assert!(error.message().contains("copied"), "{error}");
    assert_eq!((error.get("found"), error.get("expected")), (Some("1"), Some("none")));
    assert!(add(&copy, "b", Some(("wal", 5))).await.is_err(), "also later");
    add(&copy, "c", Some(("another", 1))).await?;
    add(&one, "d", Some(("wal", 2))).await?;
    let backwards = add(&one, "e", Some(("wal", 1))).await.expect_err("backwards");
    assert_eq!(backwards.kind(), Kind::Conflict);
    // A restart takes over where the log stands.
    add(&open(&objects).await?, "f", Some(("wal", 3))).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_slept_for_days_goes_on_from_the_checkpoint() -> Result<()> {
    let objects = Objects::memory();
    // Objects in memory carry the real time: whatever it is, everything counts as old.
    let options = LogOptions { checkpoint_every: 10, keep_log_ms: i64::MIN / 2, ..LogOptions::default() };
    let (awake, asleep) = (open_with(ground(&objects), options).await?, open(&objects).await?);
    for i in 0..25 {
        add(&awake, &format!("f{i}"), None).await?;
    }
    assert!(awake.clean().await? > 0, "the commits after the sleeper's version are gone");
    tokio::time::advance(Duration::from_hours(72)).await;
    let version = add(&asleep, "late", None).await?;
    assert_eq!(version.number(), 26);
    assert_eq!(*open(&objects).await?.snapshot(), *version);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_put_that_arrives_after_the_clean_up_is_undone() -> Result<()> {
    let store = FaultyStore::new(0, Clock::manual(0));
    let objects = store.objects();
    let options = LogOptions { checkpoint_every: 10, keep_log_ms: i64::MIN / 2, ..LogOptions::default() };
    let (awake, slow) = (open_with(ground(&objects), options).await?, open(&objects).await?);
    store.plan([RequestFault::Late(Duration::from_hours(25))]);
    let late = async { add(&slow, "late", None).await };
    let others = async {
        tokio::task::yield_now().await;
        for i in 0..25 {
            add(&awake, &format!("f{i}"), None).await?;
        }
        awake.clean().await
    };
    let (late, others) = tokio::join!(late, others);
    assert!(others? > 0);
    let error = late.expect_err("its number is in nobody's history");
    assert_eq!((error.kind(), error.get("version")), (Kind::Unavailable, Some("1")));
    let first = objects.get("default/samples/_delta_log/00000000000000000001.json").await;
    assert_eq!(first.expect_err("undone").kind(), Kind::NotFound);
    assert_eq!(add(&slow, "again", None).await?.number(), 26);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_given_up_after_ten_minutes() -> Result<()> {
    let store = FaultyStore::new(0, Clock::manual(0));
    let objects = store.objects();
    let (quick, slow) = (open(&objects).await?, open(&objects).await?);
    let losing = async {
        store.plan([RequestFault::Late(Duration::from_secs(700))]);
        add(&slow, "slow", None).await
    };
    let winning = async {
        tokio::task::yield_now().await;
        add(&quick, "quick", None).await
    };
    let (slow, quick) = tokio::join!(losing, winning);
    quick?;
    assert_eq!(slow.expect_err("it lost its number after 700 s").kind(), Kind::Timeout);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn two_creators_make_one_table() -> Result<()> {
    let objects = Objects::memory();
    let (one, two) = tokio::join!(open(&objects), open(&objects));
    assert_eq!(*one?.snapshot(), *two?.snapshot());
    Ok(())
}
