//! Mistakes name file and line; what has no effect is listed.

use super::*;
use crate::runtime::fuzz::fuzz;
use crate::store::{StoreSettings, WalSync};

fn parse(text: &str) -> Result<Config> {
    let variable = |name: &str| (name == "ZONE").then(|| "eu-1".to_owned());
    Config::parse(text, Path::new("/etc/quipu/prometheus.yml"), &variable)
}

fn refused(text: &str) -> Error {
    parse(text).expect_err("this configuration is wrong")
}

#[test]
fn a_mistake_names_file_and_line() {
    let cases = [
        ("global:\n  scrape_intervall: 15s\n", 2, "unknown key \"scrape_intervall\""),
        ("gloabl: {}\n", 1, "unknown key \"gloabl\""),
        ("global:\n  scrape_interval: 15\n", 2, "not a valid duration string: \"15\""),
        ("global:\n  scrape_interval: 10s\n  scrape_timeout: 1m\n", 3, "timeout greater"),
        ("scrape_configs:\n- job_name: a\n- job_name: b\n- job_name: a\n", 4, "multiple scrape configs"),
        ("scrape_configs:\n- metrics_path: /m\n", 2, "job_name is empty"),
        ("scrape_configs:\n- job_name: a\n  honor_label: true\n", 3, "unknown key \"honor_label\""),
        ("scrape_configs:\n- job_name: a\n  honor_labels: perhaps\n", 3, "bool"),
        ("scrape_configs:\n- job_name: a\n  scheme: gopher\n", 3, "unknown scheme"),
        ("scrape_configs:\n- job_name: a\n  body_size_limit: 10\n", 3, "not a size"),
        (
            "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - action: kep\n",
            4,
            "unknown relabel action",
        ),
        ("scrape_configs:\n- job_name: a\n  relabel_configs:\n  - regex: '('\n", 4, "target_label"),
        (
            "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - action: keep\n  - action: keep\n    regex: '('\n",
            5,
            "'regex' of a relabel rule",
        ),
        (
            "scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: [a:1]\n  - targets:\n    - http://b:1/m\n",
            6,
            "not a valid hostname",
        ),
        (
            "scrape_configs:\n- job_name: a\n  file_sd_configs:\n  - files: [a.txt]\n",
            4,
            "not valid for file discovery",
        ),
        ("scrape_configs:\n- job_name: a\n  scrape_protocols: [Morse]\n", 3, "Morse"),
        ("scrape_configs:\n- job_name: a\n  http_headers: {Host: {values: [x]}}\n", 3, "not allowed"),
        (
            "scrape_configs:\n- job_name: a\n  basic_auth: {username: u}\n  authorization: {credentials: c}\n",
            4,
            "at most one of",
        ),
        ("quipu:\n  store:\n    flush_intervall: 1m\n", 3, "unknown key \"flush_intervall\""),
        ("quipu:\n  store: {memory_limit: 1G}\n", 2, "not a size"),
        ("quipu:\n  query: {timeout: soon}\n", 2, "not a valid duration"),
        ("quipu:\n  store:\n    merge_interval: 0s\n", 3, "longer than 0"),
        ("quipu:\n  store:\n    wal_segment_size: 1KB\n", 3, "at least 1MB"),
        ("quipu:\n  store: {wal_sync: maybe}\n", 2, "sync or async"),
        ("quipu:\n  log_files:\n  - labels: {a: b}\n    paths: ['/x/[']\n", 4, "not a pattern of paths"),
        ("quipu:\n  log_files:\n  - paths: []\n", 3, "names no files"),
        ("quipu:\n  log_files:\n  - paths: [a]\n    labels: {filename: b}\n", 4, "cannot be a label"),
        (
            "quipu:\n  log_files:\n  - paths: [a]\n    multiline: {start: '('}\n",
            4,
            "not a regular expression",
        ),
        ("quipu:\n  logs: {max_line_size: 1B}\n", 2, "from 1KB to 8MB"),
        ("global: {}\nglobal: {}\n", 2, "occurs twice"),
        ("global: [\n", 1, "expected mapping"),
    ];
    for (text, line, message) in cases {
        let error = refused(text);
        assert_eq!(error.kind(), Kind::Config, "{text}");
        assert!(error.message().contains(message), "{text}: {error}");
        assert_eq!(error.get("line"), Some(line.to_string().as_str()), "{text}: {error}");
        assert_eq!(error.get("file"), Some("/etc/quipu/prometheus.yml"), "{text}: {error}");
    }
}

#[test]
fn what_is_not_active_is_listed_by_name_and_line() -> Result<()> {
    let config = parse(
        "global:\n  scrape_interval: 15s\n  evaluation_interval: 15s\n  external_labels: {zone: '$ZONE-${ZONE}$$', gone: '$GONE'}\n\
         rule_files: ['rules/*.yml']\nalerting:\n  alertmanagers:\n  - static_configs: [{targets: ['am:9093']}]\n\
         remote_write:\n- url: http://x/\nscrape_configs:\n- job_name: k8s\n  kubernetes_sd_configs: [{role: pod}]\n  oauth2: {client_id: x}\n\
        \x20 scrape_protocols: [PrometheusProto, PrometheusText0.0.4]\n- job_name: plain\n  static_configs: [{targets: ['a:1']}]\n",
    )?;
    let found: Vec<_> = config.inactive().iter().map(|entry| (entry.section.as_str(), entry.line)).collect();
    let expected = [
        ("rule_files", 5),
        ("alerting", 7),
        ("remote_write", 10),
        ("global.external_labels", 4),
        ("scrape_configs[k8s].oauth2", 14),
        ("scrape_configs[k8s].kubernetes_sd_configs", 13),
        ("scrape_configs[k8s].scrape_protocols: PrometheusProto", 15),
    ];
    let names = |list: &[(&str, u64)]| list.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected));
    assert!(found.iter().all(|(_, line)| *line > 0), "{found:?}");
    assert_eq!(config.quipu.query.evaluation_interval, Millis::seconds(15));
    assert_eq!(config.global.external_labels["zone"], "eu-1-eu-1$");
    assert_eq!(config.global.external_labels["gone"], "");
    Ok(())
}

#[test]
fn nothing_written_means_prometheus_defaults() -> Result<()> {
    for text in ["", "# nothing\n", "global:\nscrape_configs:\n", "quipu:\n"] {
        let config = parse(text)?;
        assert_eq!(config.global, GlobalSettings::default(), "{text:?}");
        assert_eq!(config.quipu, QuipuSection::default());
        assert!(config.scrapes.is_empty() && config.inactive().is_empty());
    }
    assert_eq!(GlobalSettings::default().scrape_interval, Millis::minutes(1));
    let store = parse("quipu: {store: {memory_limit: 4GB, wal_sync: async}}")?.quipu.store;
    assert_eq!((store.flush_bytes(), store.wal_sync), (1 << 30, WalSync::Async));
    assert_eq!(store.settings().buffer_limit, 2 << 30);
    assert_eq!(
        StoreSection::default().settings(),
        StoreSettings::default(),
        "the rooms agree on the defaults"
    );
    Ok(())
}

#[test]
fn the_embedded_default_scrapes_itself_at_once() {
    let config = Config::embedded_default(9090);
    let own = &config.scrapes[0];
    assert!(own.at_once);
    assert_eq!((own.interval, own.timeout), (Millis::seconds(15), Millis::seconds(10)));
    assert_eq!(own.static_groups[0].targets, ["127.0.0.1:9090"]);
}

#[test]
fn jobs_come_from_further_files_too() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let main = dir.path().join("prometheus.yml");
    std::fs::create_dir(dir.path().join("jobs"))?;
    std::fs::write(&main, "scrape_configs: [{job_name: a}]\nscrape_config_files: ['jobs/*.yml']\n")?;
    let more = dir.path().join("jobs/more.yml");
    std::fs::write(&more, "scrape_configs:\n- job_name: b\n  file_sd_configs: [{files: ['t.json']}]\n")?;
    let config = Config::load(&main)?;
    assert_eq!(config.scrapes.iter().map(|job| job.job.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let expected = FilePattern::new(&dir.path().join("jobs/t.json"))?;
    assert_eq!(config.scrapes[1].file_sd[0].patterns, [expected], "relative to the file that says it");

    std::fs::write(&more, "scrape_configs:\n- job_name: a\n")?;
    let error = Config::load(&main).expect_err("the name is taken");
    assert_eq!(
        (error.get("line"), error.get("file")),
        (Some("2"), Some(more.display().to_string().as_str()))
    );
    Ok(())
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nowhere/prometheus.yml")).expect_err("there is no such file");
    assert_eq!((error.kind(), error.get("file")), (Kind::Config, Some("/nowhere/prometheus.yml")));
}

#[test]
fn log_files_are_found_beside_the_configuration() -> Result<()> {
    let text = "quipu:\n  log_files:\n  - paths: [logs/*.log, /var/log/x]\n    labels: {job: a}\n    multiline: {start: '^\\['}\n";
    let config = parse(text)?;
    let [files] = config.quipu.log_files.as_slice() else { panic!("one entry: {config:?}") };
    assert_eq!(files.paths, ["/etc/quipu/logs/*.log", "/var/log/x"]);
    let multiline = files.multiline.as_ref().expect("it is written");
    assert!(multiline.start.is_start("[x] y") && !multiline.start.is_start(" [x]"));
    assert_eq!(multiline.max_wait_time, Millis::seconds(3));
    let logs = &config.quipu.logs;
    assert_eq!(logs.rules(), crate::source::settings::LogSettings::default().rules());
    assert_eq!(logs.rules(), crate::wire::logs::LogRules::default(), "the rooms agree on the defaults");
    Ok(())
}

/// Relabel rules are a part of it. Files are only named here: reading a text opens none.
#[test]
fn hostile_files_are_mistakes_and_no_panics() {
    const WORDS: [&str; 22] = [
        "\n", "\n  ", "- ", ": ", "{", "}", "[", "]", ", ", "'", "\"", "&a ", "*a", "|", "? ", "!!str ",
        "# ", "regex: ", "action: ", "'${1}'", "1m", "1GB",
    ];
    let seeds = [
        "quipu:\n  logs: {max_line_size: 64KB, discover_service_name: []}\n  log_files:\n  - paths: ['/l/*.log', 'a/**/b[0-9]']\n\
        \x20   labels: {a: b}\n    multiline: {start: '^\\[', max_wait_time: 1s}\n",
        "global:\n  scrape_interval: 15s\n  external_labels: {zone: '$ZONE'}\nquipu: {store: {memory_limit: 4GB}}\n",
        "scrape_configs:\n- job_name: a\n  basic_auth: {username: u, password: p}\n  params: {x: [y]}\n\
        \x20 static_configs: [{targets: ['a:1'], labels: {b: c}}]\n  file_sd_configs: [{files: [x.yml]}]\n",
        "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - source_labels: [b, c]\n    separator: '|'\n\
        \x20   regex: '(.+)\\|(.*)'\n    target_label: d\n    replacement: '$1-${2}'\n  - action: hashmod\n\
        \x20   source_labels: [d]\n    modulus: 8\n    target_label: e\n  metric_relabel_configs:\n\
        \x20 - {action: labeldrop, regex: 'x.*'}\n",
    ];
    fuzz("config", &seeds.map(str::as_bytes), &WORDS, |input| {
        let text = String::from_utf8_lossy(input);
        if text.contains("scrape_config_files") {
            return false;
        }
        match parse(&text) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), Kind::Config, "{error}");
                false
            }
        }
    });
}
