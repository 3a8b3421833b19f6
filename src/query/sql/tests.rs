//! Whole statements against a small snapshot.

use std::path::Path;
use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;

use super::{SqlEngine, SqlSession, SqlStatement};
use crate::error::{Error, Kind};
use crate::model::{Batch, Labels, Principal, Tenant, Timestamps};
use crate::runtime::{Clock, Pools};
use crate::store::{Store, StoreGround, StoreSettings};

type Rows = &'static [(i64, f64)];
type LabelList = &'static [(&'static str, &'static str)];

const SERIES: [(&str, LabelList, Rows); 4] = [
    ("temp", &[("room", "a"), ("value", "odd")], &[(1_000, 20.5), (2_000, 21.0)]),
    ("up", &[("instance", "a:1"), ("job", "api")], &[(0, 1.0), (1_000, 1.0), (2_000, 0.0)]),
    ("up", &[("instance", "b:1"), ("job", "web")], &[(1_000, 1.0)]),
    ("up", &[("instance", "c:1")], &[(1_000, f64::NAN)]),
];

async fn append(store: &Store, metric: &str, labels: &[(&str, &str)], rows: Rows) {
    let tenant = Tenant::default();
    let labels = Labels::from_pairs(labels.iter().copied()).expect("labels of a test");
    let handle = store.resolve(&tenant, metric, labels.as_ref()).expect("a handle");
    let batch = Batch {
        series: vec![handle; rows.len()],
        timestamps: Timestamps::Each(rows.iter().map(|row| row.0).collect()),
        values: rows.iter().map(|row| row.1).collect(),
        ..Batch::default()
    };
    store.append(&tenant, batch).await.expect("room");
}

async fn store() -> Store {
    let clock = Clock::manual(1_000_000);
    let ground = StoreGround::in_memory(clock, Pools::inline());
    let store = Store::open(StoreSettings::default(), ground, Path::new("/wal")).await.expect("a store");
    for (metric, labels, rows) in SERIES {
        append(&store, metric, labels, rows).await;
    }
    store
}

async fn session() -> SqlSession {
    session_of(&store().await)
}

fn session_of(store: &Store) -> SqlSession {
    let store = store.clone();
    let source = Arc::new(move |who: &Principal| Ok(store.snapshot(&Tenant::default(), who)));
    let engine = SqlEngine::new(source, Arc::new(RuntimeEnv::default()), 2).expect("engine");
    let principal = Principal { name: Some("ann".into()), ..Principal::default() };
    SqlSession::new(Arc::new(engine), principal, 7).expect("session")
}

async fn rows_of(session: &SqlSession, sql: &str, params: Vec<ScalarValue>) -> Result<Vec<String>, Error> {
    let statement = SqlStatement::split(sql)?.remove(0);
    let answer = session.execute(&statement, params).await?;
    let batches: Vec<_> =
        answer.rows.try_collect().await.map_err(|e| super::errors::from_datafusion(e, sql))?;
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
    Ok(out)
}

async fn rows(sql: &str) -> Vec<String> {
    rows_of(&session().await, sql, Vec::new()).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

async fn failure(sql: &str) -> Error {
    rows_of(&session().await, sql, Vec::new()).await.expect_err(sql)
}

#[tokio::test]
async fn samples_series_and_metric_tables() {
    assert_eq!(rows("SELECT count(*), min(value) FROM samples WHERE metric = 'up'").await, ["5|0.0"]);
    let sql = "SELECT job, instance, value FROM up WHERE timestamp >= '1970-01-01 00:00:01Z' ORDER BY instance, timestamp";
    assert_eq!(rows(sql).await, ["api|a:1|1.0", "api|a:1|0.0", "web|b:1|1.0", "NULL|c:1|NaN"]);
    assert_eq!(rows("SELECT count(*) FROM metrics.up WHERE job <> 'api'").await, ["1"], "NULL is not <>");
    let sql = "SELECT metric, labels->>'job', first_timestamp, last_timestamp FROM series WHERE labels->>'job' = 'api'";
    assert_eq!(rows(sql).await, ["up|api|1970-01-01T00:00:00Z|1970-01-01T00:00:02Z"]);
    assert_eq!(rows("SELECT count(*) FROM series").await, ["4"]);
    assert_eq!(rows("SELECT count(*) FROM series WHERE labels ? 'job'").await, ["2"]);
    assert_eq!(
        rows("SELECT labels FROM series WHERE metric = 'temp'").await,
        [r#"{"room": "a", "value": "odd"}"#]
    );
    assert_eq!(
        rows("SELECT room, value_, value FROM temp ORDER BY value").await,
        ["a|odd|20.5", "a|odd|21.0"]
    );
    assert_eq!(rows("SELECT metric, type FROM metadata ORDER BY 1").await, ["temp|unknown", "up|unknown"]);
    let join = "SELECT count(*) FROM samples JOIN series USING (metric, series_id)";
    assert_eq!(rows(join).await, ["7"]);
}

#[tokio::test]
async fn predicates_reach_the_scan() {
    let sql =
        "EXPLAIN SELECT value FROM up WHERE job = 'api' AND timestamp > '1970-01-01T00:00:01Z' AND value > 0";
    let plan = rows(sql).await.join("\n");
    assert!(
        plan.contains(r#"SampleScan: {__name__="up", job="api"} from 1970-01-01T00:00:01.001+00:00"#),
        "{plan}"
    );
    assert!(plan.contains("columns=[value]"), "{plan}");
    let sql = "EXPLAIN SELECT count(*) FROM samples WHERE labels->>'job' = 'api' AND timestamp <= now()";
    let plan = rows(sql).await.join("\n");
    assert!(plan.contains(r#"{job="api"} to "#), "{plan}");
}

#[tokio::test]
async fn a_repeatable_transaction_sees_one_state() {
    let store = store().await;
    let session = session_of(&store);
    let count = async || rows_of(&session, "SELECT count(*) FROM temp", Vec::new()).await.expect("a count");
    for (level, inside) in [("repeatable read", "2"), ("read committed", "4")] {
        session.begin();
        session.settings().set("transaction_isolation", Some(level), true).expect("settable");
        let before = count().await;
        append(&store, "temp", &[("room", level)], &[(3_000, 1.0)]).await;
        let expected = if level == "repeatable read" { before } else { vec![inside.to_owned()] };
        assert_eq!(count().await, expected, "{level}");
        session.end(true);
    }
    assert_eq!(count().await, ["4"], "a later transaction sees what came meanwhile");
}

#[tokio::test]
async fn the_search_path_finds_names() {
    let session = session().await;
    session.settings().set("search_path", Some("public"), false).expect("settable");
    let missing = rows_of(&session, "SELECT 1 FROM up", Vec::new()).await.expect_err("not on the path");
    assert_eq!((missing.kind(), missing.message()), (Kind::UnknownTable, "relation \"up\" does not exist"));
    assert_eq!(
        rows_of(&session, "SELECT count(*) FROM metrics.up", Vec::new()).await.expect("qualified"),
        ["5"]
    );
    assert_eq!(
        rows("SELECT current_schema(), current_schemas(true)").await,
        ["public|[pg_catalog, public, metrics]"]
    );
}

#[tokio::test]
async fn errors_speak_postgres() {
    let cases = [
        ("SELECT * FROM nope", Kind::UnknownTable, "relation \"nope\" does not exist", "15"),
        ("SELECT nope FROM up", Kind::UnknownColumn, "column \"nope\" does not exist", "8"),
        ("SELECT u.nope FROM up u", Kind::UnknownColumn, "column u.nope does not exist", "8"),
        ("SELECT 1 FRM up", Kind::Syntax, "syntax error at or near \"up\"", "14"),
        ("SELECT nofun(1)", Kind::UnknownFunction, "function nofun does not exist", "8"),
    ];
    for (sql, kind, message, position) in cases {
        let error = failure(sql).await;
        assert_eq!((error.kind(), error.message()), (kind, message), "{sql}");
        assert_eq!(error.get(super::POSITION), Some(position), "{sql}");
    }
    assert_eq!(failure("INSERT INTO up VALUES (1)").await.kind(), Kind::ReadOnly);
    assert_eq!(failure("SELECT current_setting('nope')").await.kind(), Kind::NotFound);
    assert_eq!(failure("SELECT 1/0").await.kind(), Kind::Execution);
}

#[tokio::test]
async fn parameters_are_typed_and_bound() {
    let session = session().await;
    let sql = "SELECT value FROM up WHERE job = $1 AND timestamp >= $2 LIMIT $3";
    let statement = SqlStatement::split(sql).expect("tokens").remove(0);
    let prepared = session.prepare(&statement).await.expect("plans");
    let kinds: Vec<String> = prepared.parameters.iter().map(|k| format!("{:?}", k.as_ref())).collect();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    assert!(kinds[2].contains("Int64"), "{kinds:?}");
    let text = |t: &str| ScalarValue::Utf8(Some(t.to_owned()));
    let params = vec![text("api"), text("1970-01-01 00:00:01Z"), ScalarValue::Int64(Some(1))];
    assert_eq!(rows_of(&session, sql, params).await.expect("runs"), ["1.0"]);
}

#[tokio::test]
async fn catalogs_describe_the_tables() {
    let sql = "SELECT table_schema, table_name FROM information_schema.tables \
               WHERE table_schema IN ('public', 'metrics') ORDER BY 1, 2";
    let public = ["exemplars", "histograms", "logs", "metadata", "samples", "series"];
    let wanted: Vec<String> = ["metrics|temp", "metrics|up"]
        .map(str::to_owned)
        .into_iter()
        .chain(public.map(|name| format!("public|{name}")))
        .collect();
    assert_eq!(rows(sql).await, wanted);
    let sql = "SELECT column_name, data_type, is_nullable FROM information_schema.columns \
               WHERE table_name = 'up' ORDER BY ordinal_position";
    let wanted = [
        "timestamp|timestamp with time zone|NO",
        "value|double precision|NO",
        "instance|text|YES",
        "job|text|YES",
    ];
    assert_eq!(rows(sql).await, wanted);
    let sql = "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.oid = 'metrics.up'::regclass";
    assert_eq!(rows(sql).await, ["metrics|up"]);
    let sql = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute a JOIN pg_class c ON a.attrelid = c.oid \
               WHERE relname = 'temp' AND attnum > 0 ORDER BY attnum";
    let wanted = ["timestamp|timestamp with time zone", "value|double precision", "room|text", "value_|text"];
    assert_eq!(rows(sql).await, wanted);
    let version = rows("SELECT version()").await.remove(0);
    assert!(version.starts_with("PostgreSQL 16.6 (quipu "), "{version}");
}

#[tokio::test]
async fn explain_says_what_of_the_files_is_read() {
    let store = store().await;
    store.flush().await.expect("flushes");
    let session = session_of(&store);
    let sql = "EXPLAIN SELECT value FROM up WHERE job = 'api'";
    let plan = rows_of(&session, sql, Vec::new()).await.expect("plans").join("\n");
    assert!(
        plan.contains("series=1, partitions=1, files=1 of 1, runs=1 of 4, pages=1 of 1, buffer_runs=0"),
        "{plan}"
    );
    let sql = "EXPLAIN SELECT value FROM up WHERE timestamp > '2000-01-01T00:00:00Z'";
    let plan = rows_of(&session, sql, Vec::new()).await.expect("plans").join("\n");
    assert!(plan.contains("files=0 of 1"), "{plan}");
    let rows = rows_of(&session, "SELECT count(*), count(job) FROM up", Vec::new()).await.expect("reads");
    assert_eq!(rows, ["5|4"]);
}
