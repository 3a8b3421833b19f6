//! Log lines in the kill loop: a shipper that pushes, and a program whose file is tailed. Every line exactly once.
//!
//! Request `r` of the shipper has [`LINES`] lines with texts and times of their own: sending it again changes
//! nothing. The program writes numbered lines, now and then one that it has written before, and half a line before
//! the other half; its file is renamed and begun anew, in life and between lives.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quipu::runtime::{Pools, Shutdown};
use serde_json::json;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::load::{Fate, Server};
use crate::peers::Quipu;

/// Lines of one push.
const LINES: usize = 20;
const PERIOD: Duration = Duration::from_millis(80);
/// A line that is written again and again.
const TICK: &str = "tick";
/// Lines of the file between two renames of it.
const ROTATION: u64 = 400;

/// Pushes lines and remembers how that was answered.
pub(super) struct Shipper {
    base_ms: i64,
    fates: Mutex<Vec<Fate>>,
}

impl Shipper {
    pub(super) fn new(base_ms: i64) -> Arc<Self> {
        Arc::new(Self { base_ms, fates: Mutex::default() })
    }

    fn fates(&self) -> MutexGuard<'_, Vec<Fate>> {
        self.fates.lock().expect("no holder of this lock panics")
    }

    pub(super) fn sent(&self) -> usize {
        self.fates().len()
    }

    /// When the lines of a request begin, ms.
    fn begins_ms(&self, request: usize) -> i64 {
        self.base_ms + i64::try_from(request * LINES).expect("few requests")
    }

    fn body(&self, request: usize) -> String {
        let value = |line: usize| {
            let ns = (self.begins_ms(request) + i64::try_from(line).expect("few lines")) * 1_000_000;
            let metadata =
                json!({"trace_id": format!("{:032x}", request * LINES + line), "line": line.to_string()});
            json!([ns.to_string(), format!("ship {request} {line}"), metadata])
        };
        let values: Vec<_> = (0..LINES).map(value).collect();
        json!({"streams": [{"stream": {"app": "ship"}, "values": values}]}).to_string()
    }

    /// Sends a request; `None` when no answer came.
    async fn push(&self, server: &Server, request: usize) -> Option<u16> {
        let before = {
            let mut fates = self.fates();
            if request == fates.len() {
                fates.push(Fate::Absent);
            }
            let before = fates[request];
            if before == Fate::Absent {
                fates[request] = Fate::Open;
            }
            before
        };
        let push = server.client.post(format!("{}/loki/api/v1/push", server.http));
        let push = push.header("content-type", "application/json").body(self.body(request));
        let status = push.send().await.ok()?.status().as_u16();
        match status {
            204 => self.fates()[request] = Fate::Stored,
            500..=599 => self.fates()[request] = before,
            other => panic!("a good push was answered with {other}"),
        }
        Some(status)
    }

    /// Pushes until it is stopped or the server is gone. What was not acknowledged is sent again first, and now and
    /// then something that was.
    pub(super) async fn run(self: Arc<Self>, server: Server, stop: Shutdown) {
        let open = self.fates().iter().rposition(|fate| *fate != Fate::Stored);
        let mut request = open.unwrap_or_else(|| self.sent());
        while !stop.is_stopped() {
            let Some(status) = self.push(&server, request).await else { return };
            if status == 204 {
                let sent = self.sent();
                request =
                    if request % 7 == 3 && request + 1 == sent { request.saturating_sub(2) } else { sent };
            }
            server.clock.sleep(PERIOD).await;
        }
    }

    /// Holds some requests against what is there: whole or not at all, each line once, what was acknowledged whole.
    pub(super) async fn check(&self, sql: &Client, requests: Range<usize>) -> Option<()> {
        let at = |ms: i64| {
            let at = chrono::DateTime::from_timestamp_millis(ms).expect("a time of today");
            at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
        };
        let (from, to) = (at(self.begins_ms(requests.start)), at(self.begins_ms(requests.end)));
        let found = counted(
            sql,
            &format!(
                "SELECT body, count(*) FROM logs WHERE app = 'ship' AND timestamp >= '{from}' \
                 AND timestamp < '{to}' GROUP BY body"
            ),
        )
        .await?;
        for request in requests {
            let lines =
                (0..LINES).map(|line| found.get(&format!("ship {request} {line}")).copied().unwrap_or(0));
            let lines: Vec<u64> = lines.collect();
            let fate = self.fates()[request];
            let (all, none) = (lines.iter().all(|n| *n == 1), lines.iter().all(|n| *n == 0));
            match fate {
                Fate::Stored if all => {}
                Fate::Absent if none => {}
                Fate::Open if all => self.fates()[request] = Fate::Stored,
                Fate::Open if none => self.fates()[request] = Fate::Absent,
                _ => panic!("push {request} is {fate:?} and its lines are there {lines:?} times"),
            }
        }
        Some(())
    }

    /// Lines that are stored.
    fn lines(&self) -> u64 {
        let stored = self.fates().iter().filter(|fate| **fate == Fate::Stored).count();
        u64::try_from(stored * LINES).expect("few lines")
    }
}

/// Writes a file that is tailed.
pub(super) struct Program {
    path: PathBuf,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    numbered: u64,
    ticks: u64,
    rotations: u64,
}

impl Program {
    pub(super) fn new(folder: &Path) -> Arc<Self> {
        let folder = folder.join("logs");
        fs::create_dir_all(&folder).expect("a folder in a temporary folder");
        Arc::new(Self { path: folder.join("app.log"), written: Mutex::default() })
    }

    /// quipu's settings for it.
    pub(super) fn setting(&self) -> String {
        format!("log_files: [{{paths: ['{}*'], labels: {{app: file}}}}]", self.path.display())
    }

    /// One more line, in two writes now and then, and perhaps a rename.
    fn write(&self, pause: &dyn Fn()) {
        let mut written = self.written.lock().expect("no holder of this lock panics");
        let mut file =
            File::options().create(true).append(true).open(&self.path).expect("the file can be opened");
        let mut put = |text: &str| file.write_all(text.as_bytes()).expect("the file can be written");
        if written.numbered % 10 == 9 {
            put(&format!("{TICK}\n"));
            written.ticks += 1;
        }
        let line = format!("file {}\n", written.numbered);
        if written.numbered.is_multiple_of(25) {
            let (half, rest) = line.split_at(line.len() / 2);
            put(half);
            pause();
            put(rest);
        } else {
            put(&line);
        }
        written.numbered += 1;
        if written.numbered.is_multiple_of(ROTATION) {
            written.rotations += 1;
            let old = format!("{}.{}", self.path.display(), written.rotations);
            fs::rename(&self.path, old).expect("the file can be renamed");
        }
    }

    /// A few lines at once, with nobody looking.
    pub(super) fn write_some(&self, lines: u64) {
        (0..lines).for_each(|_| self.write(&|| {}));
    }

    /// Writes until it is stopped.
    pub(super) async fn run(self: Arc<Self>, server: Server, stop: Shutdown) {
        while !stop.is_stopped() {
            self.write(&std::thread::yield_now);
            server.clock.sleep(Duration::from_millis(4)).await;
        }
    }

    /// No line is there twice.
    pub(super) async fn check_none_twice(&self, sql: &Client) -> Option<()> {
        let twice = "SELECT body, count(*) FROM logs WHERE app = 'file' AND body <> 'tick' GROUP BY body \
                     HAVING count(*) > 1";
        let found = counted(sql, twice).await?;
        assert!(found.is_empty(), "lines of the file are there more than once: {found:?}");
        Some(())
    }

    /// Waits until every line is there, each once.
    pub(super) async fn check_all(&self, quipu: &Quipu, sql: &Client) {
        let (numbered, ticks, rotations) = {
            let written = self.written.lock().expect("no holder of this lock panics");
            (written.numbered, written.ticks, written.rotations)
        };
        let all = "SELECT app, count(*) FROM logs WHERE app = 'file' GROUP BY app";
        let expected = numbered + ticks;
        let there = || async {
            let found = counted(sql, all).await.expect("nobody kills it").get("file").copied().unwrap_or(0);
            found >= expected
        };
        quipu.wait_for("every line of the file was read", there).await;
        let found = counted(sql, "SELECT body, count(*) FROM logs WHERE app = 'file' GROUP BY body").await;
        let found = found.expect("nobody kills it");
        assert_eq!(found.get(TICK).copied().unwrap_or(0), ticks, "equal lines are rows of their own");
        for line in 0..numbered {
            let count = found.get(&format!("file {line}")).copied().unwrap_or(0);
            assert_eq!(count, 1, "line {line} of {numbered} is there {count} times");
        }
        assert_eq!(found.values().sum::<u64>(), expected, "there is a line that nobody wrote");
        eprintln!("{expected} lines of a file that was renamed {rotations} times, each once");
    }
}

/// A connection to the Postgres door; `None` when nobody is there any more.
pub(super) async fn connect(quipu: &Quipu) -> Option<Client> {
    let config = format!("host=127.0.0.1 port={} user=quipu dbname=quipu", quipu.pg_port);
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.ok()?;
    drop(Pools::current().spawn_io(connection));
    Some(client)
}

/// Texts and how often they are there; `None` when the process went away meanwhile.
async fn counted(sql: &Client, query: &str) -> Option<BTreeMap<String, u64>> {
    let messages = match sql.simple_query(query).await {
        Ok(messages) => messages,
        Err(error) if error.as_db_error().is_none() => return None,
        // No line with such a label has been stored yet.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => return Some(BTreeMap::new()),
        Err(error) => panic!("{query}: {error:?}"),
    };
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let text = row.get(0).unwrap_or_default().to_owned();
            Some((text, row.get(1).and_then(|n| n.parse().ok()).expect("a count")))
        }
        _ => None,
    });
    Some(rows.collect())
}

/// Everything that was pushed, each line once.
pub(super) async fn check_all(quipu: &Quipu, shipper: &Shipper, program: &Program) {
    let sql = connect(quipu).await.expect("nobody kills it");
    shipper.check(&sql, 0..shipper.sent()).await.expect("nobody kills it");
    let all = counted(&sql, "SELECT app, count(*) FROM logs WHERE app = 'ship' GROUP BY app").await;
    let all = all.expect("nobody kills it").get("ship").copied().unwrap_or(0);
    assert_eq!(all, shipper.lines(), "lines that were pushed");
    program.check_all(quipu, &sql).await;
    eprintln!("{all} lines pushed, each once");
}
