//! Damaged, foreign and later logs are refused, and the message names the file.

use bytes::Bytes;

use super::*;
use crate::error::Error;
use crate::runtime::Clock;
use crate::runtime::fuzz::fuzz;

const FIRST: &str = "default/samples/_delta_log/00000000000000000000.json";
const SECOND: &str = "default/samples/_delta_log/00000000000000000001.json";

async fn refused(objects: &Objects) -> Error {
    open(objects).await.expect_err("the log is not ours or damaged")
}

#[tokio::test(start_paused = true)]
async fn a_damaged_commit_is_named() -> Result<()> {
    let objects = Objects::memory();
    let log = open(&objects).await?;
    add(&log, "a", None).await?;
    let whole = objects.get(SECOND).await?;
    for len in [0, 1, whole.len() / 2, whole.len() - 3] {
        objects.put(SECOND, whole.slice(..len)).await?;
        let error = refused(&objects).await;
        assert_eq!((error.kind(), error.get("path")), (Kind::Corrupt, Some(SECOND)), "{len}: {error}");
    }
    let torn = String::from_utf8(whole.to_vec()).expect("JSON is UTF-8");
    for (from, to, tag) in [
        ("\"quipu.rank\":\"1-1\"", "\"quipu.rank\":\"2-1\"", "quipu.rank"),
        ("\"quipu.rank\":\"1-1\",", "", "quipu.rank"),
        ("deadbeef", "deadbeeg", "quipu.index_crc"),
        ("\"quipu.row_groups\":\"5\"", "\"quipu.row_groups\":\"5,x\"", "quipu.row_groups"),
    ] {
        let body = torn.replace(from, to);
        assert_ne!(body, torn);
        objects.put(SECOND, body.into()).await?;
        let error = refused(&objects).await;
        assert_eq!(
            (error.kind(), error.get("tag"), error.get("data_file")),
            (Kind::Corrupt, Some(tag), Some("a"))
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_log_is_named() -> Result<()> {
    let objects = Objects::memory();
    let log = open(&objects).await?;
    add(&log, "a", None).await?;
    add(&log, "b", None).await?;
    objects.delete(SECOND).await?;
    let error = refused(&objects).await;
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains(SECOND), "{error}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_damaged_checkpoint_is_passed_over_while_the_commits_are_there() -> Result<()> {
    let objects = Objects::memory();
    let log = open(&objects).await?;
    add(&log, "a", None).await?;
    log.checkpoint().await?;
    let path = "default/samples/_delta_log/00000000000000000001.checkpoint.parquet";
    let bytes = objects.get(path).await?;
    for damaged in [bytes.slice(..bytes.len() / 2), Bytes::new(), Bytes::from_static(b"PAR1PAR1")] {
        objects.put(path, damaged).await?;
        assert_eq!(*open(&objects).await?.snapshot(), *log.snapshot());
    }
    objects.delete(FIRST).await?;
    let error = refused(&objects).await;
    assert_eq!((error.kind(), error.get("path")), (Kind::Corrupt, Some(path)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_another_program_wrote_is_refused_by_name() -> Result<()> {
    let objects = Objects::memory();
    open(&objects).await?;
    let foreign = [
        r#"{"cdc":{"path":"x"}}"#,
        r#"{"add":{"path":"x","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}"#,
        r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}"#,
        r#"{"metaData":{"id":"1","format":{"provider":"parquet"},"schemaString":"{}","configuration":{"quipu.format":"2"}}}"#,
    ];
    for line in foreign {
        objects.put(SECOND, Bytes::from_static(line.as_bytes())).await?;
        let error = refused(&objects).await;
        assert_eq!((error.kind(), error.get("path")), (Kind::Unsupported, Some(SECOND)), "{line}: {error}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn other_columns_are_refused() -> Result<()> {
    let objects = Objects::memory();
    open(&objects).await?;
    let schema = crate::model::series_schema();
    let ground = Ground { clock: Clock::manual(0), ..ground(&objects) };
    let other = TableLog::open(ground, LogOptions::default(), &Tenant::default(), "samples", &schema).await;
    assert_eq!(other.expect_err("other columns").kind(), Kind::Unsupported);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_breaks_the_rules_is_not_written() -> Result<()> {
    let objects = Objects::memory();
    let log = open(&objects).await?;
    add(&log, "a", None).await?;
    let mut wrong_rows = data_file("x", Rank::fresh(1), 5);
    wrong_rows.tags.row_groups = vec![4];
    let bad = [
        data_file("a", Rank::fresh(1), 5),
        data_file("x y", Rank::fresh(1), 5),
        data_file("", Rank::fresh(1), 5),
        data_file("x", Rank::fresh(99), 5),
        data_file("x", Rank { lo: 2, hi: 1 }, 5),
        wrong_rows,
    ];
    for file in bad {
        let commit = Commit { adds: vec![file], data_change: true, ..Commit::default() };
        let error = log.commit(|_, _| Ok(commit.clone())).await.expect_err("refused");
        assert_eq!(error.kind(), Kind::Internal, "{error}");
    }
    assert_eq!(log.snapshot().number(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn hostile_commits_are_errors_and_no_panics() -> Result<()> {
    const WORDS: [&str; 12] =
        ["{", "}", "\"", ":", "\n", "null", "-1", "1e99", "{\"add\":", "{\"remove\":", "\\u0000", "[]"];
    let objects = Objects::memory();
    let log = open(&objects).await?;
    add(&log, "a", Some(("w-live", 7))).await?;
    let (first, second) = (objects.get(FIRST).await?, objects.get(SECOND).await?);
    let both = [first.as_ref(), second.as_ref()].concat();
    fuzz("delta_log", &[&first, &both], &WORDS, |bytes| {
        let read = action::parse(bytes).and_then(|actions| Version::from_actions(1, actions));
        if let Err(error) = &read {
            assert!(matches!(error.kind(), Kind::Corrupt | Kind::Unsupported), "{error}");
        }
        read.is_ok()
    });
    Ok(())
}
