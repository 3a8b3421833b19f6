//! What a user runs, run as a user runs it: the real binary, real exporters, real clients, other engines.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::peers::{Quipu, have, node_exporter, psql, python, remote_write, venv_python};

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

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_write_survives_kill() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data").display().to_string();
    let mut expected: f64 = 0.0;
    for round in 0..5 {
        let quipu = Quipu::start(folder.path(), "global: {}\n", &data).await;
        if round > 0 {
            let mut found = 0.0;
            for before in 0..round {
                let one = format!("sum(sum_over_time(killed_{before}[10m]))");
                found += quipu.value(&one).await.expect("an acknowledged write is there");
            }
            assert_eq!(found.to_bits(), expected.to_bits(), "round {round}: {found} of {expected}");
        }
        expected += remote_write(&quipu, &format!("killed_{round}"), 50).await;
        if round % 2 == 1 {
            assert_eq!(quipu.post("/-/flush").await, 200);
        }
        // Dropped without a word: SIGKILL.
    }
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
