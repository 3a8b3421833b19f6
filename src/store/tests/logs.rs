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
