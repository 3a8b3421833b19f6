//! Log lines through the whole store.

use super::*;
use crate::model::{FilePosition, LabelsRef, LogBatch};

const NOW_NS: i64 = NOW * 1_000_000;

/// Lines of one stream as (ns from now, text).
fn batch(app: &str, lines: &[(i64, &str)]) -> LogBatch {
    let labels = Labels::from_pairs([("app", app), ("job", "j")]).unwrap();
    let mut batch = LogBatch { streams: vec![labels], ..LogBatch::default() };
    for (time, body) in lines {
        let metadata = Labels::from_pairs([("len", body.len().to_string().as_str())]).unwrap();
        assert!(batch.push(0, NOW_NS + time, body, metadata.as_ref()));
    }
    batch
}

fn position(offset: u64, is_done: bool) -> FilePosition {
    FilePosition {
        path: "/var/log/a".into(),
        device: 1,
        inode: 2,
        fingerprint: 3,
        fingerprint_len: 1_024,
        offset,
        last_ns: NOW_NS,
        is_done,
    }
}

async fn push(store: &Store, batch: LogBatch) {
    store.append_logs(&Tenant::default(), batch).await.unwrap();
}

/// What is buffered, in the order of files.
fn buffered(store: &Store) -> Vec<(i64, String)> {
    let state = store.inner.tenants.get(&Tenant::default()).unwrap();
    let mut out = Vec::new();
    for layer in state.layers() {
        let view = tenants::read(&layer.buffer).log_view(layer.watermark);
        for at in view.sorted(|_| true, i64::MIN, i64::MAX) {
            let line = view.line(at);
            out.push((line.timestamp - NOW_NS, line.body.to_owned()));
        }
    }
    out
}

#[tokio::test(start_paused = true)]
async fn acknowledged_lines_and_positions_survive_a_crash() {
    let bench = Bench::new();
    let store = bench.open().await;
    let day = 86_400_000_000_000;
    push(&store, batch("a", &[(5, "second"), (-5, "first"), (-5, "once"), (-5, "first")])).await;
    let mut with_position = batch("b", &[(0, "b"), (-9 * day, "old")]);
    with_position.position = Some(position(10, false));
    push(&store, with_position).await;
    let expected = buffered(&store);
    assert_eq!(expected.len(), 5, "equal lines are one: {expected:?}");
    let at = expected.iter().position(|(_, body)| body == "first").unwrap();
    assert_eq!(expected[at + 1].1, "once", "lines of one time keep their order");
    assert_eq!(store.positions(&Tenant::default()), [position(10, false)]);
    drop(store);
    bench.disk.sim().unwrap().crash();
    let store = bench.open().await;
    assert_eq!(buffered(&store), expected);
    assert_eq!(store.positions(&Tenant::default()), [position(10, false)]);
    assert!(store.inner.tenants.buffered().backfill_bytes > 0, "old lines wait with the backfill");
}

/// Every line that a snapshot has, in no particular order of streams.
async fn lines(store: &Store) -> Vec<(i64, String)> {
    let snapshot = store.snapshot(&Tenant::default(), &Principal::default());
    let selection = snapshot.logs(LogQuery::default()).await.unwrap();
    let mut out = Vec::new();
    for units in selection.partitions(3) {
        let mut reader = selection.scan(units, LogColumns::TIMESTAMP.with(LogColumns::BODY));
        while let Some(rows) = reader.next().await.unwrap() {
            let body = rows.body.as_ref().unwrap();
            out.extend(
                (0..rows.len()).map(|row| (rows.timestamps[row] - NOW_NS, body.value(row).to_owned())),
            );
        }
    }
    out.sort();
    out
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_tried_again_changes_nothing() {
    let bench = Bench::new();
    let store = bench.open().await;
    let day = 86_400_000_000_000;
    let all = batch("a", &[(3, "c"), (1, "a"), (2, "b"), (-5 * day, "old")]);
    let expected: Vec<_> =
        [(-5 * day, "old"), (1, "a"), (2, "b"), (3, "c")].map(|(t, b)| (t, b.to_owned())).into();
    for _ in 0..3 {
        push(&store, all.clone()).await;
        assert_eq!(lines(&store).await, expected, "in buffers and files");
        store.flush().await.unwrap();
        assert_eq!(lines(&store).await, expected, "in files");
    }
    let tables = || store.inner.tenants.get(&Tenant::default()).unwrap().tables().unwrap();
    assert_eq!(tables().version(Table::Logs).files().len(), 6, "two days, three times");
    for day in store.days(&Tenant::default()) {
        store.merge_day(&Tenant::default(), day).await.unwrap();
    }
    assert_eq!(tables().version(Table::Logs).files().len(), 2);
    assert_eq!(tables().version(Table::Logs).rows(), 4, "the merge wrote each line once");
    assert_eq!(lines(&store).await, expected);
    let columns = tables().version(Table::Logs).column_names();
    assert_eq!(columns[9..], ["label_app".to_owned(), "label_job".to_owned()]);
    store.close().await.unwrap();
    drop(store);
    let store = bench.open().await;
    assert_eq!(lines(&store).await, expected, "a table that has grown is opened again");
    assert_eq!(store.inner.tenants.buffered().lines, 0, "only what is in no file is replayed");
    push(&store, batch("b", &[(9, "new")])).await;
    let ground = &store.inner.merger.ground;
    let tables = store.inner.tenants.get(&Tenant::default()).unwrap().tables().unwrap();
    jobs::Collector::retain(ground, &tables, Duration::from_hours(48)).await.unwrap();
    assert_eq!(lines(&store).await.len(), 4, "the old day is gone");
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_the_commits_of_a_flush_repeats_no_line() {
    for requests in 0..14 {
        let clock = Clock::manual(NOW);
        let remote = FaultyStore::new(1, clock);
        let bench = Bench { objects: remote.objects(), disk: Disk::simulated(1, clock), clock };
        let store = bench.open().await;
        push(&store, batch("a", &[(1, "a"), (2, "b")])).await;
        write(&store, &[("m", "1")], &[(NOW, 1.0)]).await;
        let works = std::iter::repeat_n(RequestFault::Works, requests);
        remote.plan(works.chain([RequestFault::Late(Duration::from_hours(1))]));
        let crash = async {
            clock.sleep(Duration::from_secs(10)).await;
        };
        tokio::select! {
            _ = store.flush() => {}
            () = crash => {}
        }
        // Its own jobs do not outlive it.
        store.inner.ground.shutdown.stop();
        drop(store);
        bench.disk.sim().unwrap().crash();
        let store = bench.open().await;
        let expected = [(1, "a".to_owned()), (2, "b".to_owned())];
        assert_eq!(lines(&store).await, expected, "after {requests} requests");
        store.flush().await.unwrap();
        assert_eq!(lines(&store).await, expected, "after {requests} requests and a flush");
    }
}

#[tokio::test(start_paused = true)]
async fn positions_outlive_the_segments() {
    let bench = Bench::new();
    let store = bench.open().await;
    push(&store, LogBatch { position: Some(position(7, false)), ..LogBatch::default() }).await;
    store.flush().await.unwrap();
    let wal = bench.disk.list(Path::new("/wal")).unwrap();
    assert!(wal.iter().all(|entry| !entry.name.contains(".wal")), "{wal:?}");
    store.close().await.unwrap();
    drop(store);
    bench.disk.sim().unwrap().crash();
    let store = bench.open().await;
    assert_eq!(store.positions(&Tenant::default()), [position(7, false)]);
    push(&store, LogBatch { position: Some(position(9, true)), ..LogBatch::default() }).await;
    assert!(store.positions(&Tenant::default()).is_empty(), "done is done");
    store.close().await.unwrap();
    drop(store);
    let store = bench.open().await;
    assert!(store.positions(&Tenant::default()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_refused_whole() {
    let bench = Bench::new();
    let store = bench.open().await;
    let tenant = Tenant::default();
    let far = 3 * 86_400_000_000_000;
    let error = store.append_logs(&tenant, batch("a", &[(0, "x"), (far, "y")])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    let mut broken = batch("a", &[(0, "é")]);
    broken.body_ends = vec![1];
    assert_eq!(store.append_logs(&tenant, broken).await.unwrap_err().kind(), Kind::Internal);
    let mut large = LogBatch { streams: vec![Labels::empty()], ..LogBatch::default() };
    let text = "x".repeat(1 << 20);
    for _ in 0..129 {
        assert!(large.push(0, NOW_NS, &text, LabelsRef::trusted(b"")));
    }
    assert_eq!(store.append_logs(&tenant, large).await.unwrap_err().kind(), Kind::Limit);
    assert_eq!(store.inner.tenants.buffered().lines, 0);
    bench.disk.sim().unwrap().set_free_bytes(0);
    let error = store.append_logs(&tenant, batch("a", &[(0, "x")])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    bench.disk.sim().unwrap().set_free_bytes(1 << 30);
    push(&store, batch("a", &[(0, "x")])).await;
    assert_eq!(buffered(&store).len(), 1);
}

#[tokio::test]
#[ignore = "writes target/logs-interop for tests/e2e/delta_readers.sh"]
async fn write_logs_for_other_readers() {
    let bench = Bench::in_target("logs-interop").await;
    let store = bench.open().await;
    // The second file has a label that the first one lacks.
    for (flush, extra) in [("1", ""), ("2", "eu")] {
        let labels = Labels::from_pairs([("app", "api"), ("Flush", flush), ("zone", extra)]).unwrap();
        let mut batch = LogBatch { streams: vec![labels], ..LogBatch::default() };
        for n in 0..1_000i64 {
            let trace = format!("{n:032x}");
            let metadata =
                Labels::from_pairs([("trace_id", trace.as_str()), ("user", "ann"), ("level", "info")]);
            assert!(batch.push(0, NOW_NS + n * 1_001, &format!("line {n}"), metadata.unwrap().as_ref()));
        }
        push(&store, batch).await;
        store.flush().await.unwrap();
    }
}
