//! The command line as users write it.

use super::*;

fn run(words: &[&str]) -> Result<Run, String> {
    let words = std::iter::once("quipu").chain(words.iter().copied()).map(OsString::from);
    parse(words).map_err(|e| e.to_string())
}

fn served(words: &[&str]) -> ServeArgs {
    match run(words) {
        Ok(Run::Serve(serve)) => *serve,
        other => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn nothing_means_serve_with_defaults() {
    let serve = served(&[]);
    assert_eq!(serve.storage_path, "./quipu-data");
    assert_eq!(serve.web_listen_address, ["127.0.0.1:9090"]);
    assert_eq!(serve.pg_listen_address, "127.0.0.1:5433");
    assert_eq!((serve.retention, serve.query_timeout, serve.query_max_samples), (None, None, None));
    assert!(!serve.insecure && !serve.web_enable_lifecycle);
}

#[test]
fn prometheus_flags_with_and_without_the_subcommand() {
    for lead in [&["serve"][..], &[]] {
        let flags = [
            "--config.file=/etc/p.yml",
            "--storage.tsdb.path",
            "memory://",
            "--storage.tsdb.retention.time=15d",
            "--web.listen-address=:9090",
            "--web.enable-lifecycle",
            "--web.enable-remote-write-receiver",
        ];
        let serve = served(&[lead, &flags].concat());
        assert_eq!(serve.config_file, Some(PathBuf::from("/etc/p.yml")));
        assert_eq!(serve.storage_path, "memory://");
        assert_eq!(serve.retention, Some(Millis::minutes(15 * 24 * 60)));
        assert!(serve.web_enable_lifecycle && serve.web_enable_remote_write_receiver);
        let flag = |name: &str| serve.flags.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(flag("web.enable-lifecycle"), Some("true"));
        assert_eq!(flag("web.enable-admin-api"), Some("false"));
        assert_eq!(flag("storage.tsdb.retention.time"), Some("15d"));
        assert_eq!(flag("storage.path"), Some("memory://"));
        assert_eq!(flag("wal.path"), Some(""));
    }
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let unknown = run(&["--web.console.templates=x"]).expect_err("not a flag of ours");
    assert!(unknown.contains("--web.console.templates"), "{unknown}");
    for bad in [
        &["--storage.tsdb.retention.time=1x"][..],
        &["--query.timeout=0"],
        &["--query.max-concurrency=0"],
        &["--log.level=loud"],
        &["check", "config"],
        &["--insecure", "check", "config", "x"],
        &["fly"],
    ] {
        assert!(run(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_other_commands() {
    assert!(matches!(run(&["version"]), Ok(Run::Version)));
    assert!(
        matches!(run(&["check", "config", "a.yml"]), Ok(Run::CheckConfig(file)) if file.as_os_str() == "a.yml")
    );
}
