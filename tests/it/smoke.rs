//! The real binary as a user starts it: it scrapes itself, answers over HTTP, stops in order, and has its rows
//! again after the next start.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running quipu, killed when dropped.
struct Quipu {
    child: Child,
    http: String,
}

impl Drop for Quipu {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(storage: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quipu"));
    command.arg(format!("--storage.path={}", storage.display()));
    command.args(["--web.listen-address=127.0.0.1:0", "--pg.listen-address=127.0.0.1:0"]);
    command
}

impl Quipu {
    /// Starts it and waits until it has printed where it listens.
    fn start(storage: &Path, flags: &[&str]) -> Self {
        let mut child =
            command(storage).args(flags).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let http = lines.find_map(|line| Some(line.trim().strip_prefix("HTTP")?.trim().to_owned()));
        let http = http.expect("it prints its address");
        Self { child, http: http.trim_start_matches("http://").to_owned() }
    }

    /// Status and body.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.http).expect("it listens");
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    /// Asks until the answer is as wanted, for at most half a minute.
    fn until(&self, path: &str, wanted: impl Fn(&str) -> bool) -> String {
        for _ in 0..300 {
            let (_, body) = self.ask("GET", path);
            if wanted(&body) {
                return body;
            }
            pause();
        }
        panic!("not within 30 s: {path}: {}", self.ask("GET", path).1);
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// The exit code after SIGTERM.
    fn terminate(mut self) -> Option<i32> {
        self.signal("-TERM");
        for _ in 0..100 {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            pause();
        }
        panic!("it did not stop within 10 s");
    }
}

#[expect(clippy::disallowed_methods, reason = "a real process is watched from outside")]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

#[test]
fn it_scrapes_itself_stops_in_order_and_remembers() {
    let folder = tempfile::tempdir().expect("a folder");
    let quipu = Quipu::start(folder.path(), &["--web.enable-lifecycle"]);
    let up = quipu.until("/api/v1/query?query=up", |body| body.contains("\"__name__\":\"up\""));
    assert!(up.contains(r#""job":"quipu""#) && up.contains(",\"1\"]"), "{up}");
    let targets = quipu.ask("GET", "/api/v1/targets").1;
    assert!(targets.contains(r#""health":"up""#), "{targets}");
    assert!(quipu.ask("GET", "/").1.contains("class=\"up\""));
    assert_eq!(quipu.ask("POST", "/-/reload").0, 200);
    assert_eq!(quipu.ask("POST", "/-/flush").0, 200);
    let files = std::fs::read_dir(folder.path().join("default/samples")).expect("the table's folder");
    let parquet = |name: &std::ffi::OsStr| Path::new(name).extension().is_some_and(|e| e == "parquet");
    assert!(files.filter_map(Result::ok).any(|entry| parquet(&entry.file_name())), "a Parquet file");
    assert_eq!(quipu.terminate(), Some(0));

    let again = Quipu::start(folder.path(), &[]);
    // Each start has a port, and so an instance, of its own: both are there, the old one from its file.
    let count = "/api/v1/query?query=count(count_over_time(up[1h]))";
    again.until(count, |body| body.contains(",\"2\"]"));
    assert_eq!(again.ask("POST", "/-/flush").0, 403);
    assert_eq!(again.terminate(), Some(0));
}

#[test]
fn what_cannot_start_says_which_flag() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Quipu::start(folder.path(), &[]);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let taken = format!("--pg.listen-address={}", first.http);
    for (storage, flag, text) in [
        (elsewhere.path(), taken.as_str(), "--pg.listen-address=HOST:PORT"),
        (elsewhere.path(), "--pg.listen-address=0.0.0.0:0", "--insecure"),
        (elsewhere.path(), "--config.file=/nonexistent.yml", "/nonexistent.yml"),
        (elsewhere.path(), "--web.cors.origin=(", "--web.cors.origin"),
        (elsewhere.path(), "--no-such-flag", "--no-such-flag"),
        (folder.path(), "--log.level=error", "_wal"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quipu"));
        let output = command
            .arg(format!("--storage.path={}", storage.display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .args((!flag.starts_with("--pg")).then_some("--pg.listen-address=127.0.0.1:0"))
            .arg(flag)
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(text), "{flag}: {said}");
    }
}

#[test]
fn a_configuration_is_checked_without_a_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("p.yml");
    let check = |text: &str| {
        std::fs::write(&file, text).expect("the folder is ours");
        let mut command = Command::new(env!("CARGO_BIN_EXE_quipu"));
        let output = command.args(["check", "config"]).arg(&file).output().expect("the binary runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (good, said) = check("scrape_configs: [{job_name: a}]\nrule_files: [x.yml]\n");
    assert!(good && said.contains("SUCCESS") && said.contains("rule_files has no effect yet"), "{said}");
    let (good, said) = check("global:\n  scrape_intervall: 1m\n");
    assert!(!good && said.contains("p.yml") && said.contains("scrape_intervall"), "{said}");
}
