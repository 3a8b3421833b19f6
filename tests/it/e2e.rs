//! What a user runs, run as a user runs it: the real binary, real exporters, real clients, other engines.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use quipu::model::time;
use quipu::wire::remote_write::SeriesToWrite;
use serde_json::Value;

use super::peers::{Prometheus, Quipu, have, node_exporter, psql, python, remote_write, venv_python};

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_goes_all_the_way_and_other_engines_read_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let exporter = node_exporter();
    let address = exporter.as_ref().map_or("127.0.0.1:9", |(_, address)| address);
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs: [{{job_name: node, static_configs: [{{targets: ['{address}']}}]}}]\n"
    );
    let data = folder.path().join("data");
    let quipu = Quipu::start(folder.path(), &config, &data.display().to_string()).await;

    let sum = remote_write(&quipu, "pushed_total", 100).await;
    assert_eq!(quipu.value("sum(sum_over_time(pushed_total[5m]))").await, Some(sum));
    if exporter.is_some() {
        quipu
            .wait_for("the exporter is up", || async { quipu.value("up{job=\"node\"}").await == Some(1.0) })
            .await;
        assert!(quipu.value("count({__name__=~\"node_.+\"})").await.is_some_and(|series| series > 100.0));
    } else {
        quipu
            .wait_for("the target is down", || async { quipu.value("up{job=\"node\"}").await == Some(0.0) })
            .await;
    }
    let count = "SELECT count(*), sum(value) FROM pushed_total";
    if have(Path::new("psql")) {
        assert_eq!(psql(quipu.pg_port, count), format!("200|{sum}"));
        assert!(psql(quipu.pg_port, "\\dt").contains("pushed_total"));
        psql(quipu.pg_port, "CHECKPOINT");
        assert_eq!(psql(quipu.pg_port, count), format!("200|{sum}"), "after the flush");
    } else {
        assert_eq!(quipu.post("/-/flush").await, 200);
    }
    let with_python = have(&venv_python());
    if with_python {
        let seen = python("clients.py", &[&quipu.pg_port.to_string(), "pushed_total"]);
        assert_eq!(seen["psycopg_text"], seen["psycopg_binary"], "{seen}");
        assert_eq!(seen["psycopg_text"], seen["asyncpg"], "{seen}");
        assert_eq!(
            (&seen["asyncpg_refused"], &seen["asyncpg_cursor"]),
            (&Value::from("22023"), &Value::from(200))
        );
        assert_eq!(seen["asyncpg_labels"], serde_json::json!({"host": "a", "job": "pushed"}));
        assert_eq!((&seen["parameter"], &seen["ddl"]), (&Value::from(200), &Value::from("25006")));
    }
    quipu.stop().await;

    if with_python {
        let tenant = data.join("default");
        let read = python("readers.py", &[&tenant.display().to_string(), "pushed_total"]);
        assert_eq!(read["duckdb"], serde_json::json!([200, sum]), "{read}");
        assert_eq!(read["polars"], serde_json::json!([200, sum]), "{read}");
        assert_eq!(read["joined"], Value::from(200), "a join through series must not multiply rows: {read}");
        assert!(read["optimize"].as_str().is_some_and(|text| text.starts_with("refused")), "{read}");
    }
    let quipu = Quipu::start(folder.path(), &config, &data.display().to_string()).await;
    assert_eq!(quipu.value("sum(sum_over_time(pushed_total[5m]))").await, Some(sum), "after a restart");
    quipu.stop().await;
}

/// Prometheus scrapes itself, an exporter and quipu, and writes all of it into quipu.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_quipu_and_writes_into_it() {
    if !Prometheus::is_there() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data").display().to_string();
    let quipu = Quipu::start(folder.path(), "global: {}\n", &data).await;
    let exporter = node_exporter();
    let (http, node) = (&quipu.http, exporter.as_ref().map_or("127.0.0.1:9", |(_, address)| address));
    let target = http.trim_start_matches("http://");
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs:\n\
         - {{job_name: quipu, static_configs: [{{targets: ['{target}']}}]}}\n\
         - {{job_name: prometheus, static_configs: [{{targets: ['$SELF']}}]}}\n\
         - {{job_name: node, static_configs: [{{targets: ['{node}']}}]}}\n\
         remote_write: [{{url: '{http}/api/v1/write', queue_config: {{batch_send_deadline: 1s}}}}]\n"
    );
    let prometheus = Prometheus::start(folder.path(), &config, &[]).await;
    let up = "sum_over_time(up{job=\"quipu\"}[1m])";
    let scraped = || async { prometheus.value(up).await.is_some_and(|times| times >= 5.0) };
    quipu.wait_for("Prometheus has scraped quipu five times", scraped).await;
    assert_eq!(prometheus.value("up{job=\"quipu\"}").await, Some(1.0));

    // What was scraped up to now is in both, as soon as Prometheus has sent it.
    let at = ("time", format!("{}", quipu.clock.now_ms() / 1_000));
    let newest_arrived =
        || async { quipu.value("timestamp(up{job=\"prometheus\"})").await > at.1.parse().ok() };
    quipu.wait_for("quipu has what was scraped before", newest_arrived).await;
    for (query, at_least) in [
        ("{job=\"quipu\"}[1m]", 100),
        ("{job=\"prometheus\"}[1m]", 300),
        ("{job=\"node\"}[1m]", if exporter.is_some() { 300 } else { 5 }),
        ("rate({job=\"prometheus\",__name__=\"prometheus_http_requests_total\"}[1m])", 1),
    ] {
        let parameters = [("query", query.to_owned()), at.clone()];
        let same = || async {
            let ours = data_of(&quipu.client, http, &parameters).await;
            let series = ours["result"].as_array().map_or(0, Vec::len);
            series >= at_least && ours == data_of(&quipu.client, &prometheus.http, &parameters).await
        };
        quipu.wait_for(query, same).await;
    }

    if have(Path::new("psql")) {
        let until = format!("timestamp <= to_timestamp({})", at.1);
        let seen = psql(
            quipu.pg_port,
            &format!("SELECT count(*), sum(value) FROM up WHERE job = 'quipu' AND {until}"),
        );
        let asked = ["count", "sum"].map(|what| format!("{what}_over_time(up{{job=\"quipu\"}}[5m])"));
        let mut expected = Vec::new();
        for query in asked {
            let data = data_of(&quipu.client, http, &[("query", query), at.clone()]).await;
            expected.push(data["result"][0]["value"][1].as_str().expect("a value").to_owned());
        }
        assert_eq!(seen, expected.join("|"));
    }
    quipu.stop().await;
}

/// The `data` of an answer, sorted by series.
async fn data_of(client: &reqwest::Client, server: &str, parameters: &[(&str, String)]) -> Value {
    let request = client.get(format!("{server}/api/v1/query")).query(parameters);
    let text = request.send().await.expect("it answers").text().await.expect("a body");
    let mut answer: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{server}: {e}: {text}"));
    let data = answer["data"].take();
    // Times are numbers of seconds, spelled with and without their last zeros.
    let mut data: Value = serde_json::from_str(&data.to_string().replace(".000,", ",")).expect("it was JSON");
    if let Some(series) = data["result"].as_array_mut() {
        series.sort_by_key(|series| series["metric"].to_string());
    }
    data
}

/// Three flushes whose files overlap, on a day that is yesterday and on one that comes as backfill.
#[tokio::test(flavor = "multi_thread")]
async fn a_merged_day_holds_what_was_sent_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let quipu = Quipu::start(folder.path(), "global: {}\n", &data.display().to_string()).await;
    let today = time::day_of(quipu.clock.now_ms());
    let mut sent = BTreeMap::new();
    for round in 0..3_i32 {
        for day in [today - 1, today - 3] {
            for host in ["a", "b", "c"] {
                let at = |i: i32| time::day_start(day) + 3_600_000 + i64::from(i) * 30_000;
                // Half of the samples are sent again by the next round, with another value.
                let first = round * 100;
                let samples: Vec<(i64, f64)> =
                    (first..first + 200).map(|i| (at(i), f64::from(i + round * 7) * 0.5)).collect();
                let labels = [("__name__", "day_total"), ("host", host)];
                quipu.write(&[SeriesToWrite { labels: &labels, samples: &samples }]).await;
                sent.extend(samples.into_iter().map(|(time, value)| ((host, time), value)));
            }
        }
        assert_eq!(quipu.post("/-/flush").await, 200);
    }
    let (count, sum) = (sent.len(), sent.values().sum::<f64>());
    assert_eq!(count, 2 * 3 * 400, "what this test means to send");
    let day =
        chrono::DateTime::from_timestamp_millis(time::day_start(today - 1)).expect("a day of this century");
    let files = || files_of(&data.join("default/samples"));
    assert_eq!(files().len(), 6);
    for (query, new) in [(format!("?day={}", day.format("%Y-%m-%d")), 1), (String::new(), 2)] {
        assert_eq!(quipu.post(&format!("/api/v1/admin/tsdb/merge{query}")).await, 204);
        assert_eq!(files().len(), 6 + new, "replaced files stay for a day");
    }
    if have(Path::new("psql")) {
        let totals = "SELECT count(*), sum(value) FROM day_total";
        assert_eq!(psql(quipu.pg_port, totals), format!("{count}|{sum}"));
        let joined = "SELECT count(*) FROM samples JOIN series USING (metric, series_id) WHERE samples.metric = 'day_total'";
        assert_eq!(psql(quipu.pg_port, joined), count.to_string());
    }
    quipu.stop().await;
    if have(&venv_python()) {
        let read = python("readers.py", &[&data.join("default").display().to_string(), "day_total"]);
        assert_eq!(read["files"], Value::from(2), "one a day: {read}");
        assert_eq!(read["duckdb"], serde_json::json!([count, sum]), "{read}");
        assert_eq!(read["polars"], serde_json::json!([count, sum]), "{read}");
        assert_eq!((&read["joined"], &read["joined_plainly"]), (&count.into(), &count.into()), "{read}");
        assert!(read["optimize"].as_str().is_some_and(|text| text.starts_with("refused")), "{read}");
    }
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the table has a folder").map_while(Result::ok);
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "parquet"))
        .collect()
}

#[test]
fn a_taken_port_names_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    let address = taken.local_addr().expect("a bound socket has an address").to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut process = Command::new(env!("CARGO_BIN_EXE_quipu"))
        .arg(format!("--web.listen-address={address}"))
        .arg("--pg.listen-address=127.0.0.1:0")
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let stderr = process.stderr.take().expect("it is piped");
    let lines: Vec<String> = BufReader::new(stderr).lines().map_while(Result::ok).collect();
    assert!(!process.wait().expect("it ends").success());
    assert!(lines.iter().any(|line| line.contains("--web.listen-address")), "{lines:?}");
}
