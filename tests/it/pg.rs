//! The Postgres door as its clients see it: tokio-postgres, psql, and the corpora under `queries/`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use datafusion::execution::runtime_env::RuntimeEnv;
use futures::FutureExt;
use quipu::model::{
    Batch, CUSTOM_BUCKETS, Exemplar, ExemplarRow, Histogram, HistogramRow, Labels, Principal, ResetHint,
    Span, Tenant, Timestamps,
};
use quipu::query::sql::SqlEngine;
use quipu::runtime::{Clock, Pools, Shutdown};
use quipu::server::pg::{PgState, serve};
use quipu::store::{Store, StoreGround, StoreSettings};
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio_postgres::{Client, NoTls};

use super::slt;

/// 2026-01-01.
const START_MS: i64 = 1_767_225_600_000;

/// Queries run here, as in the real process: away from the sockets.
static CPU: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("threads")
});

async fn store() -> Store {
    let clock = Clock::real();
    let ground = StoreGround::in_memory(clock, Pools::current());
    let store = Store::open(StoreSettings::default(), ground, Path::new("/wal")).await.expect("a store");
    let minutes = |values: &[f64]| -> Vec<(i64, f64)> {
        values.iter().zip(0..).map(|(v, i)| (START_MS + i * 60_000, *v)).collect()
    };
    let many = (0..2_000).map(|i: i32| (START_MS + i64::from(i) * 15_000, f64::from(i) + 1.0)).collect();
    append(&store, "http_requests_total", &[("code", "200"), ("job", "api")], many).await;
    let odd = [("room", "a"), ("timestamp", "odd"), ("value", "odder")];
    append(&store, "temp", &odd, minutes(&[20.5, 1e20, f64::NAN])).await;
    append(&store, "up", &[("instance", "a:1"), ("job", "api")], minutes(&[1.0, 1.0, 0.0])).await;
    append(&store, "up", &[("instance", "b:1"), ("job", "web")], minutes(&[1.0])).await;
    append(&store, "up", &[("instance", "c:1"), ("note", "say \"hi\"")], minutes(&[f64::INFINITY])).await;
    append_histograms(&store).await;
    store
}

/// Two histograms and an exemplar of one series.
async fn append_histograms(store: &Store) {
    let labels = Labels::from_pairs([("job", "api")]).expect("labels of a test");
    let series = store.resolve(&Tenant::default(), "latency", labels.as_ref()).expect("a handle");
    let exponential = Histogram {
        schema: 3,
        count: 12.0,
        sum: 3.5,
        zero_count: 2.0,
        zero_threshold: 0.001,
        positive_spans: vec![Span { offset: -4, length: 2 }, Span { offset: 3, length: 1 }],
        positive: vec![1.0, 2.0, 3.0],
        negative_spans: vec![Span { offset: 1, length: 1 }],
        negative: vec![4.0],
        ..Histogram::default()
    };
    let custom = Histogram {
        schema: CUSTOM_BUCKETS,
        is_float: true,
        reset_hint: ResetHint::Gauge,
        count: 1.5,
        sum: -1.0,
        positive_spans: vec![Span { offset: 1, length: 1 }],
        positive: vec![1.5],
        custom_bounds: vec![0.5, 2.5],
        ..Histogram::default()
    };
    let row = |minute: i64, histogram: Histogram| HistogramRow {
        series,
        timestamp: START_MS + minute * 60_000,
        histogram: Arc::new(histogram),
    };
    let labels = Labels::from_pairs([("trace_id", "abc")]).expect("labels of a test");
    let exemplar = Exemplar { timestamp: START_MS + 500, value: 0.25, labels };
    let batch = Batch {
        histograms: vec![row(0, exponential), row(1, custom)],
        exemplars: vec![ExemplarRow { series, exemplar }],
        ..Batch::default()
    };
    store.append(&Tenant::default(), batch).await.expect("room");
}

async fn append(store: &Store, metric: &str, labels: &[(&str, &str)], rows: Vec<(i64, f64)>) {
    let labels = Labels::from_pairs(labels.iter().copied()).expect("labels of a test");
    let handle = store.resolve(&Tenant::default(), metric, labels.as_ref()).expect("a handle");
    let (timestamps, values): (Vec<i64>, Vec<f64>) = rows.into_iter().unzip();
    let series = vec![handle; values.len()];
    let batch = Batch { series, timestamps: Timestamps::Each(timestamps), values, ..Batch::default() };
    store.append(&Tenant::default(), batch).await.expect("room");
}

struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<quipu::error::Result<()>>,
}

impl Server {
    async fn start(max_connections: usize) -> Self {
        let store = store().await;
        let flushed = store.clone();
        let source = Arc::new(move |who: &Principal| Ok(store.snapshot(&Tenant::default(), who)));
        let engine = SqlEngine::new(source, Arc::new(RuntimeEnv::default()), 2).expect("engine");
        let pools = Pools::new(Handle::current(), CPU.handle().clone());
        let checkpoint = Arc::new(move || {
            let store = flushed.clone();
            async move { store.flush().await }.boxed()
        });
        let state = PgState::new(Arc::new(engine), checkpoint, pools.clone(), max_connections);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shutdown = Shutdown::new();
        let task = pools.spawn_io(serve(listener, state, shutdown.clone()));
        Self { address, shutdown, task }
    }

    async fn connect(&self, more: &str) -> Result<Client, tokio_postgres::Error> {
        let config = format!("host=127.0.0.1 port={} user=ann dbname=quipu {more}", self.address.port());
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
        drop(Pools::current().spawn_io(connection));
        Ok(client)
    }

    async fn stop(self) {
        self.shutdown.stop();
        self.task.await.expect("no panic").expect("a clean end");
    }
}

async fn corpus(folder: &str) {
    let server = Server::start(10).await;
    let mut failures = String::new();
    // Once from the buffers, once from files.
    for _ in 0..2 {
        for file in slt::files(folder) {
            let client = server.connect("").await.expect("connects");
            failures.push_str(&slt::run(&client, &file).await);
        }
        let client = server.connect("").await.expect("connects");
        client.simple_query("CHECKPOINT").await.expect("flushes");
    }
    assert!(failures.is_empty(), "{failures}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_corpus() {
    corpus("sql").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_corpus() {
    corpus("pg").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binary_results_and_parameters() {
    let server = Server::start(10).await;
    let client = server.connect("").await.expect("connects");
    let sql = "SELECT metric, series_id, labels, timestamp, value FROM samples \
               WHERE labels->>'job' = $1 AND timestamp >= $2 AND metric = 'up' ORDER BY timestamp LIMIT $3";
    let statement = client.prepare(sql).await.expect("prepares");
    let kinds: Vec<&str> = statement.params().iter().map(tokio_postgres::types::Type::name).collect();
    assert_eq!(kinds, ["text", "timestamptz", "int8"]);
    let kinds: Vec<&str> = statement.columns().iter().map(|c| c.type_().name()).collect();
    assert_eq!(kinds, ["text", "int8", "jsonb", "timestamptz", "float8"]);
    let from =
        std::time::UNIX_EPOCH + Duration::from_millis(u64::try_from(START_MS + 60_000).expect("positive"));
    let rows = client.query(&statement, &[&"api", &from, &10_i64]).await.expect("runs");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].get::<_, std::time::SystemTime>(3), from);
    assert_eq!((rows[0].get::<_, f64>(4), rows[1].get::<_, f64>(4)), (1.0, 0.0));
    assert_eq!(rows[0].get::<_, &str>(0), "up");
    let none = client.query("SELECT $1::text IS NULL, $2::int4", &[&None::<String>, &41_i32]).await;
    let none = none.expect("runs");
    assert_eq!((none[0].get::<_, bool>(0), none[0].get::<_, i32>(1)), (true, 41));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn portals_are_suspended_and_go_on() {
    let server = Server::start(10).await;
    let mut client = server.connect("").await.expect("connects");
    let transaction = client.transaction().await.expect("BEGIN");
    let portal = transaction.bind("SELECT value FROM http_requests_total", &[]).await.expect("binds");
    let mut values = Vec::new();
    loop {
        let part = transaction.query_portal(&portal, 700).await.expect("rows");
        values.extend(part.iter().map(|row| row.get::<_, f64>(0)));
        if part.len() < 700 {
            break;
        }
    }
    assert_eq!((values.len(), values[0], values[1_999]), (2_000, 1.0, 2_000.0));
    transaction.commit().await.expect("COMMIT");
    server.stop().await;
}

/// Rows without end, as far as a test can wait.
const ENDLESS: &str = "SELECT sum(a.value * b.value + c.value) FROM http_requests_total a, http_requests_total b, \
                       http_requests_total c";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_is_cancelled_by_request_and_by_timeout() {
    let server = Server::start(10).await;
    let client = server.connect("").await.expect("connects");
    let token = client.cancel_token();
    let begun = Clock::real().monotonic();
    let cancel = async {
        Clock::real().sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await.expect("the request is taken");
    };
    let (answer, ()) = tokio::join!(client.simple_query(ENDLESS), cancel);
    let error = answer.expect_err("cancelled");
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("57014"), "{error}");
    client.simple_query("SET statement_timeout = '200ms'").await.expect("settable");
    let error = client.query(ENDLESS, &[]).await.expect_err("timed out");
    let told = error.as_db_error().expect("an error of the server");
    assert_eq!(
        (told.code().code(), told.message()),
        ("57014", "canceling statement due to statement timeout")
    );
    let took = Clock::real().monotonic().saturating_sub(begun);
    assert!(took < Duration::from_secs(10), "{took:?}");
    client.simple_query("SELECT 1").await.expect("the connection lives on");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_apart_and_counted() {
    let server = Server::start(2).await;
    let one = server.connect("application_name=one").await.expect("connects");
    let two =
        server.connect("options='-c search_path=metrics -c TimeZone=Asia/Kolkata'").await.expect("connects");
    one.simple_query("SET search_path = public").await.expect("settable");
    assert!(one.simple_query("SELECT * FROM up").await.is_err());
    two.simple_query("SELECT * FROM up").await.expect("its own search path");
    let row = two.query_one("SELECT current_setting('TimeZone'), timestamp::text FROM up LIMIT 1", &[]).await;
    assert_eq!(row.expect("a row").get::<_, &str>(0), "Asia/Kolkata");
    let error = server.connect("").await.expect_err("full");
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("53300"), "{error}");
    drop(one);
    let wrong = server.connect("dbname=other").await.expect_err("refused");
    assert!(["3D000", "53300"].contains(&wrong.code().map_or("", |c| c.code())), "{wrong}");
    server.stop().await;
}

/// psql's own commands, where it is installed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psql_describes() {
    let server = Server::start(10).await;
    let port = server.address.port().to_string();
    let cases = [
        (r"\dn", vec!["metrics", "public"]),
        (r"\dt", vec!["metrics | up", "public  | samples", "public  | series"]),
        (r"\d up", vec!["timestamp | timestamp with time zone", "job       | text", "not null"]),
        (r"\d metrics.temp", vec!["timestamp_ | text"]),
        (r"\l", vec!["quipu"]),
        (r"\du", vec!["ann"]),
        (r"\df nothing", vec!["List of functions"]),
        (r"\conninfo", vec!["You are connected to database"]),
        (r"\d", vec!["samples"]),
        (r"\dt+", vec!["samples"]),
        (r"\d+ up", vec!["job"]),
        (r"\dv", vec![]),
        (r"\di", vec![]),
        (
            "SELECT labels FROM series WHERE metric = 'temp'",
            vec![r#"{"room": "a", "timestamp": "odd", "value": "odder"}"#],
        ),
        ("CHECKPOINT", vec!["CHECKPOINT"]),
    ];
    let mut failures = Vec::new();
    for (command, wanted) in cases {
        let args = ["-X", "-h", "127.0.0.1", "-p", &port, "-U", "ann", "-d", "quipu", "-c", command];
        let run = tokio::task::spawn_blocking({
            let args = args.map(str::to_owned);
            move || std::process::Command::new("psql").args(args).output()
        });
        let Ok(output) = run.await.expect("no panic") else {
            eprintln!("SKIPPED: psql is not installed (Debian: postgresql-client)");
            break;
        };
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() || !wanted.iter().all(|text| out.contains(text)) {
            failures.push(format!("{command}: wanted {wanted:?}\n{out}{err}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    server.stop().await;
}
