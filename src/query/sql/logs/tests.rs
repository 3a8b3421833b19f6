//! SQL over log lines, in the buffer and in files.

use std::path::Path;
use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::TryStreamExt;

use crate::model::{Labels, LogBatch, Principal, Tenant};
use crate::query::sql::{SqlEngine, SqlSession, SqlStatement};
use crate::runtime::{Clock, Pools};
use crate::store::{Store, StoreGround, StoreSettings};

const TRACE: &str = "0123456789abcdef0123456789abcdef";

async fn store() -> Store {
    let ground = StoreGround::in_memory(Clock::manual(100_000_000_000), Pools::inline());
    Store::open(StoreSettings::default(), ground, Path::new("/wal")).await.expect("a store")
}

/// µs, text, metadata.
type Line<'a> = (i64, &'a str, &'a [(&'a str, &'a str)]);

async fn push(store: &Store, labels: &[(&str, &str)], lines: &[Line<'_>]) {
    let labels = Labels::from_pairs(labels.iter().copied()).expect("labels of a test");
    let mut batch = LogBatch { streams: vec![labels], ..LogBatch::default() };
    for (us, body, metadata) in lines {
        let metadata = Labels::from_pairs(metadata.iter().copied()).expect("metadata of a test");
        assert!(batch.push(0, 100_000_000_000_000_000 + us * 1_000 + 7, body, metadata.as_ref()));
    }
    store.append_logs(&Tenant::default(), batch).await.expect("room");
}

fn session(store: &Store) -> SqlSession {
    let store = store.clone();
    let source = Arc::new(move |who: &Principal| Ok(store.snapshot(&Tenant::default(), who)));
    let engine = SqlEngine::new(source, Arc::new(RuntimeEnv::default()), 2).expect("engine");
    SqlSession::new(Arc::new(engine), Principal::default(), 7).expect("session")
}

async fn rows(store: &Store, sql: &str) -> Vec<String> {
    let session = session(store);
    let statement = SqlStatement::split(sql).expect("a statement").remove(0);
    let answer = session.execute(&statement, Vec::new()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let batches: Vec<_> = answer.rows.try_collect().await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let options = FormatOptions::new().with_null("NULL");
    let mut out = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c, &options).expect("printable"))
            .collect();
        for row in 0..batch.num_rows() {
            out.push(columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    out
}

#[tokio::test]
async fn lines_are_rows_before_and_after_a_flush() {
    let store = store().await;
    let error = [("level", "error"), ("trace_id", TRACE), ("user", "ann")];
    push(
        &store,
        &[("app", "api"), ("body", "odd"), ("Zone", "eu")],
        &[(0, "GET /a 200", &[]), (1, "GET /b 500", &error)],
    )
    .await;
    push(&store, &[("app", "web")], &[(2, "100% of GET", &[("span_id", "0000000000000001")])]).await;
    for flushed in [false, true, true] {
        let all =
            "SELECT app, body, severity, trace_id, span_id, attributes, labels FROM logs ORDER BY timestamp";
        let labels = r#"{"Zone": "eu", "app": "api", "body": "odd"}"#;
        let expected = [
            format!("api|GET /a 200|NULL|NULL|NULL|{{}}|{labels}"),
            format!(r#"api|GET /b 500|error|{TRACE}|NULL|{{"level": "error", "user": "ann"}}|{labels}"#),
            r#"web|100% of GET|NULL|NULL|0000000000000001|{}|{"app": "web"}"#.to_owned(),
        ];
        assert_eq!(rows(&store, all).await, expected, "flushed: {flushed}");
        let counts = [
            ("", 3),
            ("WHERE app = 'api'", 2),
            ("WHERE body_ = 'odd' AND severity IS NULL", 1),
            ("WHERE labels->>'Zone' = 'eu'", 2),
            ("WHERE body LIKE '%GET /%'", 2),
            (r"WHERE body LIKE '100\% of%'", 1),
            ("WHERE body LIKE '%GET_/b%'", 1),
            ("WHERE body NOT LIKE '%GET /%'", 1),
            ("WHERE body ILIKE '%get%'", 3),
            ("WHERE body ~ '^GET /[ab] 5'", 1),
            ("WHERE strpos(body, '/b') > 0", 1),
            ("WHERE body = 'GET /a 200'", 1),
            ("WHERE body LIKE '%a%' OR app = 'web'", 2),
            ("WHERE timestamp > '1973-03-03 09:46:40Z'", 2),
            (
                "WHERE timestamp >= '1973-03-03 09:46:40.000001Z' AND timestamp < '1973-03-03 09:46:40.000002Z'",
                1,
            ),
            ("WHERE timestamp BETWEEN '1973-03-03 09:46:40Z' AND '1973-03-03 09:46:40.000001Z'", 2),
            ("WHERE timestamp = '1973-03-03 09:46:40.000002Z'", 1),
            ("WHERE attributes->>'user' = 'ann'", 1),
            ("WHERE trace_id = '0123456789abcdef0123456789abcdef'", 1),
            ("WHERE trace_id = '0123456789abcdef0123456789abcdef' AND span_id = '0000000000000001'", 0),
            ("WHERE '0000000000000001' = span_id", 1),
            ("WHERE trace_id = '0123456789ABCDEF0123456789ABCDEF'", 0),
            ("WHERE trace_id = '0123456789abcdef0123456789abcdef' OR app = 'web'", 2),
            ("WHERE trace_id <> '0123456789abcdef0123456789abcdef'", 0),
        ];
        for (filter, count) in counts {
            let sql = format!("SELECT count(*) FROM logs {filter}");
            assert_eq!(rows(&store, &sql).await, [count.to_string()], "{sql}, flushed: {flushed}");
        }
        store.flush().await.expect("a flush");
    }
    let columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'logs' ORDER BY ordinal_position";
    let expected =
        ["timestamp", "severity", "body", "trace_id", "span_id", "labels", "attributes", "app", "body_"];
    assert_eq!(rows(&store, columns).await, expected);
}

#[tokio::test]
async fn a_needle_reads_few_row_groups() {
    let store = store().await;
    let labels = Labels::from_pairs([("app", "api")]).expect("labels");
    let uuid = |n: i64| {
        format!(
            "{n:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            n * 7 % 65_536,
            n * 13 % 4_096,
            n * 31 % 4_096,
            n * 1_000_003
        )
    };
    for part in 0..25i64 {
        let mut batch = LogBatch { streams: vec![labels.clone()], ..LogBatch::default() };
        for n in part * 1_000..(part + 1) * 1_000 {
            let body = format!("request id={} took {} ms", uuid(n), n % 100);
            let trace = format!("{:032x}", n * 1_000_003);
            let metadata = Labels::from_pairs([("trace_id", trace.as_str())]).expect("labels");
            assert!(batch.push(0, 100_000_000_000_000_000 - n, &body, metadata.as_ref()));
        }
        store.append_logs(&Tenant::default(), batch).await.expect("room");
        store.flush().await.expect("a flush");
    }
    let sql = format!("SELECT count(*) FROM logs WHERE body LIKE '%{}%'", uuid(7_777));
    assert_eq!(rows(&store, &sql).await, ["1"]);
    let plan = rows(&store, &format!("EXPLAIN {sql}")).await.join("\n");
    assert!(plan.contains("row_groups=1 of 25"), "{plan}");
    assert!(plan.contains("columns=[body]"), "{plan}");
    let sql = format!("SELECT body FROM logs WHERE trace_id = '{:032x}'", 7_777 * 1_000_003u64);
    assert_eq!(rows(&store, &sql).await, [format!("request id={} took 77 ms", uuid(7_777))]);
    let plan = rows(&store, &format!("EXPLAIN {sql}")).await.join("\n");
    assert!(plan.contains(" by trace_id,"), "{plan}");
    // A filter is wrong once in twenty times.
    assert!((1..6).any(|read| plan.contains(&format!("row_groups={read} of 25"))), "{plan}");
    let whole = rows(&store, "EXPLAIN SELECT count(*) FROM logs WHERE body LIKE '%took%'").await.join("\n");
    assert!(whole.contains("row_groups=25 of 25"), "{whole}");
}
