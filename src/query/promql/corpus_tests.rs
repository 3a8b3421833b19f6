//! The queries of Prometheus' conformance scripts (`../shared/promql/*.test`, not part of the repository).

use std::path::Path;

use super::parse;

/// The query of each `eval` line, with its file and line.
pub(super) fn corpus() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/promql");
    let Ok(files) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: no conformance scripts at {}", folder.display());
        return Vec::new();
    };
    let mut paths: Vec<_> = files.map(|file| file.expect("a readable folder").path()).collect();
    paths.sort_unstable();
    let mut queries = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "test")) {
        let script = std::fs::read_to_string(path).expect("a readable script");
        for (number, line) in script.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            queries.extend(query_of(line.trim()).map(|query| (place, query.to_owned())));
        }
    }
    queries
}

/// `eval[_what] instant at T QUERY` or `eval[_what] range from A to B step C QUERY`.
fn query_of(line: &str) -> Option<&str> {
    let (command, rest) = line.split_once(' ')?;
    if !command.starts_with("eval") {
        return None;
    }
    let words = if rest.trim_start().starts_with("instant") { 3 } else { 7 };
    (0..words).try_fold(rest.trim_start(), |rest, _| {
        rest.split_once(char::is_whitespace).map(|(_, rest)| rest.trim_start())
    })
}

#[test]
fn every_query_of_the_scripts_is_read_and_printed_and_read_again() {
    let queries = corpus();
    let mut failed = 0;
    for (place, query) in &queries {
        let again = parse(query).and_then(|expr| {
            let printed = expr.to_string();
            let again = parse(&printed)?.to_string();
            assert_eq!(again, printed, "{place}: {query}");
            Ok(())
        });
        if let Err(error) = again {
            eprintln!("{place}: {query}\n    {error}");
            failed += 1;
        }
    }
    eprintln!("{} queries of the conformance scripts, {failed} not read", queries.len());
    assert_eq!(failed, 0);
    assert!(queries.is_empty() || queries.len() > 2_000, "the scripts hold 2,214 queries");
}
