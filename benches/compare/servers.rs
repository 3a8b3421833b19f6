//! The three servers: where they are, how they start, what they cost, how they are asked to put data into files.
//!
//! Flags and endpoints: Prometheus 3.5, `VictoriaMetrics` 1.79. Each runs in a folder of its own on loopback ports
//! that were free, and ends with its [`Server`]. Linux only: costs are read from `/proc`.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quipu::model::time;
use quipu::runtime::Clock;

/// `/proc` counts CPU time in these; Linux has had 100 a second on all architectures that matter.
const TICK: Duration = Duration::from_millis(10);

/// What can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Prometheus,
    Victoria,
    Quipu,
}

impl Program {
    pub(crate) const ALL: [Self; 3] = [Self::Prometheus, Self::Victoria, Self::Quipu];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "Prometheus",
            Self::Victoria => "VictoriaMetrics",
            Self::Quipu => "quipu",
        }
    }

    fn ready_path(self) -> &'static str {
        match self {
            Self::Victoria => "/health",
            Self::Prometheus | Self::Quipu => "/-/ready",
        }
    }
}

/// The programs that are installed.
#[derive(Debug)]
pub(crate) struct Peers {
    found: Vec<(Program, PathBuf)>,
}

impl Peers {
    /// Prometheus from the test peers, else from the path; `VictoriaMetrics` from the path; quipu as cargo built it,
    /// or the one that `QUIPU_BENCH_BINARY` names.
    pub(crate) fn find() -> Self {
        let peers = installed("QUIPU_TEST_PEERS", "peers");
        let ours = peers.join("prometheus-sid/usr/bin/prometheus");
        let found = Program::ALL.into_iter().filter_map(|program| {
            let path = match program {
                Program::Prometheus if ours.exists() => ours.clone(),
                Program::Prometheus => in_path("prometheus")?,
                Program::Victoria => in_path("victoria-metrics")?,
                Program::Quipu => PathBuf::from(
                    variable("QUIPU_BENCH_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_quipu").to_owned()),
                ),
            };
            Some((program, path))
        });
        Self { found: found.collect() }
    }

    /// What is there, in the order of [`Program::ALL`].
    pub(crate) fn programs(&self) -> Vec<Program> {
        self.found.iter().map(|(program, _)| *program).collect()
    }

    pub(crate) fn path(&self, program: Program) -> Option<&Path> {
        self.found.iter().find(|(found, _)| *found == program).map(|(_, path)| path.as_path())
    }

    /// The version that a program says it has.
    pub(crate) fn version(&self, program: Program) -> String {
        let Some(path) = self.path(program) else { return "(not installed)".to_owned() };
        let flag = if program == Program::Quipu { "version" } else { "--version" };
        let Ok(output) = Command::new(path).arg(flag).output() else { return String::new() };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let starts_with_digit = |word: &&str| {
            let word = word.trim_start_matches('v');
            word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')
        };
        // `victoria-metrics-20221006-…-v1.79.5`, `prometheus, version 3.5.3+ds1 (branch: …`, `quipu 0.1.0`
        let words = text.split(|c: char| c.is_whitespace() || c == '-' || c == '+' || c == '~');
        let version =
            words.filter(starts_with_digit).map(|word| word.trim_start_matches('v').to_owned()).next();
        version.or_else(|| package_version(path)).unwrap_or_default()
    }

    /// Starts a program in a folder of its own under `parent`, with what it scrapes as Prometheus' YAML.
    pub(crate) async fn start(&self, program: Program, parent: &Path, scrape: &str) -> Server {
        let path = self.path(program).expect("only what was found is started").to_owned();
        let folder = parent.join(program.name());
        fs::create_dir_all(&folder).expect("a folder in a temporary folder");
        fs::write(folder.join("config.yml"), configuration(program, scrape, "")).expect("a file in it");
        let ports = [free_port(), free_port()];
        let process = spawn(program, &path, &folder, ports);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client without TLS settings");
        let mut server = Server { program, path, folder, ports, process, client, clock: Clock::real() };
        server.wait_until_ready().await;
        server
    }
}

/// What a program reads at its start: what it scrapes, and for quipu more `store` settings, each with a comma in front.
fn configuration(program: Program, scrape: &str, settings: &str) -> String {
    match program {
        // A first flush after a minute would fall into some measurements and not into others.
        Program::Quipu => format!("{scrape}quipu: {{store: {{first_flush: 10m{settings}}}}}\n"),
        Program::Prometheus | Program::Victoria => scrape.to_owned(),
    }
}

/// The version of the Debian package that a program came with: Debian's `victoria-metrics` does not know its own.
fn package_version(path: &Path) -> Option<String> {
    let package = path.file_name()?.to_str()?;
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    let end = version.find(['+', '-', '~']).unwrap_or(version.len());
    Some(version[..end].to_owned()).filter(|version| !version.is_empty())
}

fn variable(wanted: &str) -> Option<String> {
    std::env::vars().find(|(name, _)| name == wanted).map(|(_, value)| value)
}

/// Where `tests/install` puts things, unless a variable says otherwise.
fn installed(name: &str, folder: &str) -> PathBuf {
    let home = || PathBuf::from(variable("HOME").unwrap_or_default()).join(".cache/quipu-tests").join(folder);
    variable(name).map_or_else(home, PathBuf::from)
}

/// The Python with `DuckDB`, if it is installed.
pub(crate) fn venv_python() -> Option<PathBuf> {
    Some(installed("QUIPU_TEST_VENV", "venv").join("bin/python")).filter(|path| path.exists())
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::vars_os().find(|(variable, _)| variable == "PATH")?.1;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn spawn(program: Program, path: &Path, folder: &Path, [http, postgres]: [u16; 2]) -> Child {
    let (config, data) = (folder.join("config.yml"), folder.join("data"));
    let (config, data) = (config.display(), data.display());
    let flags = match program {
        Program::Prometheus => vec![
            format!("--config.file={config}"),
            format!("--storage.tsdb.path={data}"),
            format!("--web.listen-address=127.0.0.1:{http}"),
            "--web.enable-remote-write-receiver".to_owned(),
            "--web.enable-admin-api".to_owned(),
            "--enable-feature=native-histograms".to_owned(),
            "--storage.tsdb.retention.time=100y".to_owned(),
            "--web.console.templates=/nonexistent".to_owned(),
            "--web.console.libraries=/nonexistent".to_owned(),
        ],
        Program::Victoria => vec![
            format!("-promscrape.config={config}"),
            format!("-storageDataPath={data}"),
            format!("-httpListenAddr=127.0.0.1:{http}"),
            "-retentionPeriod=100y".to_owned(),
        ],
        Program::Quipu => vec![
            format!("--config.file={config}"),
            format!("--storage.path={data}"),
            format!("--web.listen-address=127.0.0.1:{http}"),
            format!("--pg.listen-address=127.0.0.1:{postgres}"),
            "--web.enable-lifecycle".to_owned(),
            "--web.enable-admin-api".to_owned(),
        ],
    };
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("a log file");
    let mut command = Command::new(path);
    command.args(flags).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::from(log));
    command.spawn().expect("the program starts")
}

/// A program that runs. It ends with this.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) client: reqwest::Client,
    path: PathBuf,
    folder: PathBuf,
    ports: [u16; 2],
    process: Child,
    clock: Clock,
}

impl Drop for Server {
    fn drop(&mut self) {
        // A program that has ended by itself needs no killing.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports[0])
    }

    pub(crate) fn postgres_port(&self) -> u16 {
        self.ports[1]
    }

    /// The live files of one of quipu's tables and their bytes.
    pub(crate) fn table_files(&self, table: &str) -> Vec<(PathBuf, u64)> {
        live_files(&self.folder.join("data/default").join(table))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// User and system time of the process so far.
    pub(crate) fn cpu(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap_or_default();
        // The name of the program, in parentheses, may hold spaces; user and system time are fields 14 and 15.
        let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum::<u32>();
        TICK * ticks
    }

    /// Resident memory, KB.
    pub(crate) fn resident_kilobytes(&self) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse().ok());
        number.expect("a running process has resident memory")
    }

    /// A restart with other settings, and without anything to scrape.
    pub(crate) async fn restart_with(&mut self, settings: &str) {
        let yaml = configuration(self.program, "", settings);
        fs::write(self.folder.join("config.yml"), yaml).expect("the folder is there");
        self.restart().await;
    }

    /// SIGTERM, then the same program on the same folder and ports.
    pub(crate) async fn restart(&mut self) {
        let pid = self.process.id().to_string();
        drop(Command::new("kill").arg(pid).status());
        for _ in 0..600 {
            if self.process.try_wait().expect("a child can be waited for").is_some() {
                break;
            }
            self.clock.sleep(Duration::from_millis(20)).await;
        }
        drop(self.process.kill());
        drop(self.process.wait());
        self.process = spawn(self.program, &self.path, &self.folder, self.ports);
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&mut self) {
        for _ in 0..3_000 {
            let answer = self.client.get(self.url(self.program.ready_path())).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            self.clock.sleep(Duration::from_millis(20)).await;
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        unreachable!("{} is not ready after a minute: {log}", self.program.name());
    }

    /// Acknowledged samples go to files.
    pub(crate) async fn flush(&self) {
        match self.program {
            Program::Prometheus => {}
            Program::Victoria => drop(self.get("/internal/force_flush").await),
            Program::Quipu => drop(self.post("/-/flush").await),
        }
    }

    /// Brings files into the shape they have a day later. For Prometheus, which does that by itself, it waits up
    /// to `patience`, until only the head's three hours are left in memory.
    pub(crate) async fn finish(&mut self, day: i32, patience: Duration) {
        self.flush().await;
        match self.program {
            Program::Prometheus => self.wait_for_blocks(patience).await,
            Program::Victoria => {
                // What is in memory becomes files at a restart; only files are merged.
                self.restart().await;
                drop(self.get("/internal/force_merge").await);
                self.wait_for_merges().await;
            }
            Program::Quipu => {
                let date =
                    chrono::DateTime::from_timestamp_millis(time::day_start(day)).expect("a day of today");
                let day = date.format("%Y-%m-%d");
                drop(self.post(&format!("/api/v1/admin/tsdb/merge?day={day}")).await);
            }
        }
    }

    async fn wait_for_blocks(&self, patience: Duration) {
        let end = self.clock.monotonic() + patience;
        while self.clock.monotonic() < end {
            let metrics = self.get("/metrics").await;
            let gauge = |name| metric(&metrics, name).unwrap_or(0.0);
            let span_ms = gauge("prometheus_tsdb_head_max_time") - gauge("prometheus_tsdb_head_min_time");
            if span_ms <= 3.0 * 3_600_000.0 {
                break;
            }
            self.clock.sleep(Duration::from_millis(500)).await;
        }
    }

    async fn wait_for_merges(&self) {
        for _ in 0..300 {
            self.clock.sleep(Duration::from_millis(200)).await;
            let metrics = self.get("/metrics").await;
            if metric(&metrics, "vm_active_force_merges").is_none_or(|running| running < 1.0) {
                return;
            }
        }
    }

    /// Bytes of what is needed to answer: samples and index, without WAL and without what waits for deletion.
    pub(crate) async fn disk_bytes(&self) -> u64 {
        let data = self.folder.join("data");
        match self.program {
            Program::Prometheus => {
                let answer = self.post("/api/v1/admin/tsdb/snapshot").await;
                let answer: serde_json::Value = serde_json::from_str(&answer).expect("the answer is JSON");
                let name = answer["data"]["name"].as_str().expect("a snapshot has a name");
                folder_bytes(&data.join("snapshots").join(name))
            }
            Program::Victoria => folder_bytes(&data.join("data")) + folder_bytes(&data.join("indexdb")),
            Program::Quipu => live_bytes(&data.join("default")),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        let answer = self.client.get(self.url(path)).send().await.expect("the server answers");
        self.body(path, answer).await
    }

    async fn post(&self, path: &str) -> String {
        let answer = self.client.post(self.url(path)).send().await.expect("the server answers");
        self.body(path, answer).await
    }

    async fn body(&self, path: &str, answer: reqwest::Response) -> String {
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{} {path}: {status} {text}", self.program.name());
        text
    }
}

/// The value of a metric without labels in an exposition.
fn metric(exposition: &str, name: &str) -> Option<f64> {
    let line = exposition.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let entries = entries.filter_map(Result::ok);
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

/// The files that the Delta logs of a tenant name and have not removed.
fn live_bytes(tenant: &Path) -> u64 {
    let tables = fs::read_dir(tenant).expect("a flush made tables").filter_map(Result::ok);
    tables.flat_map(|table| live_files(&table.path())).map(|(_, bytes)| bytes).sum()
}

fn live_files(table: &Path) -> Vec<(PathBuf, u64)> {
    let Ok(log) = fs::read_dir(table.join("_delta_log")) else { return Vec::new() };
    let mut commits: Vec<PathBuf> = log.filter_map(Result::ok).map(|entry| entry.path()).collect();
    commits.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    commits.sort();
    let mut live: Vec<String> = Vec::new();
    for commit in commits {
        let text = fs::read_to_string(commit).expect("a commit can be read");
        for action in text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
            if let Some(path) = action["add"]["path"].as_str() {
                live.push(path.to_owned());
            }
            if let Some(path) = action["remove"]["path"].as_str() {
                live.retain(|live| live != path);
            }
        }
    }
    let sized = |path: String| {
        let path = table.join(path);
        let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        (path, bytes)
    };
    live.into_iter().map(sized).collect()
}
