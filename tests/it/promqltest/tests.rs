//! The language itself: that all scripts are read, and that wrong answers do fail.

use std::collections::BTreeMap;
use std::path::Path;

use super::compare::{Answer, QueryResult};
use super::runner::{Engine, Failure, Tally, run};
use super::script::{CommandKind, When, parse};
use super::series::{Labels, Value, parse_series};
use super::stored::Stored;

/// The evals of each script of Prometheus 3.14.
const EVALS: [(&str, usize); 21] = [
    ("aggregators", 160),
    ("at_modifier", 78),
    ("collision", 2),
    ("duration_expression", 59),
    ("extended_vectors", 169),
    ("fill-modifier", 46),
    ("functions", 431),
    ("histograms", 185),
    ("info", 53),
    ("limit", 37),
    ("literals", 25),
    ("name_label_dropping", 30),
    ("native_histograms", 522),
    ("operators", 214),
    ("range_queries", 18),
    ("selectors", 31),
    ("staleness", 17),
    ("start_timestamps", 26),
    ("subquery", 34),
    ("trig_functions", 19),
    ("type_and_unit", 58),
];

#[test]
fn every_script_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/promql");
    if !folder.is_dir() {
        eprintln!("SKIPPED: no conformance scripts at {}", folder.display());
        return;
    }
    for (name, expected) in EVALS {
        let text = std::fs::read_to_string(folder.join(format!("{name}.test"))).expect(name);
        let commands = parse(&text).unwrap_or_else(|why| panic!("{name}: {why}"));
        let evals = commands.iter().filter(|command| matches!(command.kind, CommandKind::Eval(_))).count();
        assert_eq!(evals, expected, "{name}");
        // Also every load, with its conversions, and every expectation against an engine that knows nothing.
        let tally = run(&text, &mut silent()).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!((tally.passed + tally.failed, tally.unsupported), (0, expected), "{name}");
    }
}

/// How one script went.
struct Script {
    name: String,
    passed: usize,
    /// Notes of those that failed.
    failed: Vec<String>,
    /// How often something was missing, by what it is.
    unsupported: BTreeMap<String, usize>,
}

/// Runs the scripts of a folder against the store and the engine.
fn run_folder(folder: &Path) -> Option<Vec<Script>> {
    let files = std::fs::read_dir(folder).ok()?;
    let mut paths: Vec<_> = files.map(|file| file.expect("a readable folder").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "test"));
    paths.sort_unstable();
    let stored = Stored::new().expect("a store and an engine");
    let mut scripts = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a readable script");
        let tally = run(&text, &mut stored.engine()).unwrap_or_else(|why| panic!("{name}: {why}"));
        let mut script =
            Script { passed: tally.passed, failed: Vec::new(), unsupported: BTreeMap::new(), name };
        for note in tally.notes {
            match note.rsplit_once(": not supported: ") {
                Some((_, reason)) => {
                    let reason = reason.trim_start_matches("not supported yet: ").to_owned();
                    *script.unsupported.entry(reason).or_default() += 1;
                }
                None => script.failed.push(format!("{}: {note}", script.name)),
            }
        }
        scripts.push(script);
    }
    Some(scripts)
}

fn passed_and_failed(scripts: &[Script]) -> (usize, Vec<String>) {
    let failed = scripts.iter().flat_map(|script| script.failed.clone()).collect();
    (scripts.iter().map(|script| script.passed).sum(), failed)
}

#[test]
fn our_scripts_pass_through_the_store() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries/promql");
    let (passed, failed) = passed_and_failed(&run_folder(&folder).expect("our scripts are there"));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(passed > 0);
}

/// Evals of Prometheus' scripts that pass: only ever raised.
const PASSING: usize = 1892;

#[test]
fn prometheus_scripts_pass_through_the_store_or_are_not_supported() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("../shared/promql");
    let Some(scripts) = run_folder(&folder) else {
        eprintln!("SKIPPED: no conformance scripts at {}", folder.display());
        return;
    };
    let (passed, failed) = passed_and_failed(&scripts);
    eprintln!("{passed} evals of the conformance scripts passed");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(passed >= PASSING, "{passed} passed, {PASSING} did before");
    let (path, page) = (root.join("docs/conformance.md"), page(&scripts));
    if std::env::vars().any(|(name, value)| name == "QUIPU_WRITE_DOCS" && value == "1") {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/conformance.md is out of date: QUIPU_WRITE_DOCS=1 writes it\n{page}");
}

/// The conformance page of the documentation.
fn page(scripts: &[Script]) -> String {
    let missing = |script: &Script| script.unsupported.values().sum::<usize>();
    let mut page = String::from(
        "# PromQL conformance\n\nThe test scripts of Prometheus 3.14 (`promql/promqltest/testdata`), run by \
         `tests/it/promqltest` through a store\nand the engine, every instant query also as a range query. An eval \
         passes or is refused as \"not supported yet\".\nThis page is generated: \
         `QUIPU_WRITE_DOCS=1 cargo test --test it prometheus_scripts`.\n\n\
         | script | evals | passed | not supported |\n|---|--:|--:|--:|\n",
    );
    let row = |name: &str, passed: usize, missing: usize| {
        format!("| {name} | {} | {passed} | {missing} |\n", passed + missing)
    };
    for script in scripts {
        page += &row(&script.name, script.passed, missing(script));
    }
    page += &row("**all**", passed_and_failed(scripts).0, scripts.iter().map(missing).sum());
    page += "\nWhat is not supported, and how many evals need it:\n\n| reason | evals |\n|---|--:|\n";
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for (reason, count) in scripts.iter().flat_map(|script| &script.unsupported) {
        *reasons.entry(reason).or_default() += count;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    let rows = reasons.into_iter().map(|(reason, count)| format!("| `{reason}` | {count} |\n"));
    page + &rows.collect::<String>()
}

fn silent() -> Engine<'static> {
    Engine {
        clear: Box::new(|| {}),
        load: Box::new(|_| Ok(())),
        eval: Box::new(|_, _| Err(Failure::Unsupported("everything".to_owned()))),
    }
}

fn labels(text: &str) -> Labels {
    parse_series(&format!("{text} 1")).expect(text).0
}

/// An engine that answers each query from its text: `fail`, `one`, `drift`, `pair`, `matrix`, `warn`.
fn actor() -> Engine<'static> {
    let eval = |query: &str, when| {
        let float = |value| Value::Float(value);
        let pair = vec![(labels("a{x=\"1\"}"), float(1.0)), (labels("a{x=\"2\"}"), float(2.0))];
        let result = match (query, when) {
            ("fail", _) => return Err(Failure::Error("it broke".to_owned())),
            ("later", _) => return Err(Failure::Unsupported("later".to_owned())),
            ("one" | "drift", When::Instant(_)) => QueryResult::Scalar(1.0),
            ("text", _) => QueryResult::String("a\"b".to_owned()),
            ("one" | "drift", When::Range { start, step, .. }) => {
                let value = if query == "one" { 1.0 } else { 2.0 };
                QueryResult::Matrix(vec![(Labels::new(), vec![(start + step, float(value))])])
            }
            ("pair" | "warn", When::Range { start, step, .. }) => {
                let at_middle = |(labels, value)| (labels, vec![(start + step, value)]);
                QueryResult::Matrix(pair.into_iter().map(at_middle).collect())
            }
            (_, When::Instant(_)) => QueryResult::Vector(pair),
            (_, When::Range { start, step, .. }) => {
                let points = vec![(start, float(1.0)), (start + 2 * step, float(3.0))];
                QueryResult::Matrix(vec![(labels("a"), points)])
            }
        };
        let warnings = if query == "warn" { vec!["odd (1:1)".to_owned()] } else { Vec::new() };
        Ok(Answer { result, warnings, infos: Vec::new() })
    };
    Engine { clear: Box::new(|| {}), load: Box::new(|_| Ok(())), eval: Box::new(eval) }
}

fn tally(script: &str) -> Tally {
    run(script, &mut actor()).unwrap_or_else(|why| panic!("{script}: {why}"))
}

#[test]
fn right_answers_pass() {
    let right = "
        load 1m
            a{x=\"1\"} 1 2
        eval instant at 1m one
            1.0000001
        eval instant at 1m text
            expect string \"a\\\"b\"
        eval_ordered instant at 1m pair
            a{x=\"1\"} 1
            a{x=\"2\"} 2
        eval instant at 1m pair
            expect no_warn
            expect no_info
            a{x=\"2\"} 2
            a{x=\"1\"} 1
        eval range from 0 to 2m step 1m matrix
            a 1 _ 3
        eval instant at 0 warn
            expect warn regex: ^odd .*1\\)$
            a{x=\"1\"} 1
            a{x=\"2\"} 2
        eval instant at 0 fail
            expect fail msg: it broke
        eval_fail instant at 0 fail
            expected_fail_regexp b.oke
        eval instant at 0 later
            5
    ";
    // Each eval ends at a blank line.
    let tally = tally(&right.replace("        eval", "\n        eval"));
    assert_eq!((tally.passed, tally.failed, tally.unsupported), (8, 0, 1), "{:#?}", tally.notes);
}

#[test]
fn wrong_answers_fail() {
    let wrong = [
        "eval instant at 1m one\n 1.1",
        // The same at an instant, another value as a range query.
        "eval instant at 1m drift\n 1",
        "eval instant at 1m one\n a 1",
        "eval instant at 1m one",
        "eval instant at 1m text\n expect string \"x\"",
        "eval instant at 1m pair\n a{x=\"1\"} 1",
        "eval instant at 1m pair\n a{x=\"1\"} 1\n a{x=\"2\"} 3",
        "eval instant at 1m pair\n a{x=\"1\"} 1\n a{x=\"2\"} 2\n a{x=\"3\"} 3",
        "eval instant at 1m pair\n a{x=\"1\"} 1\n a{x=\"2\"} {{count:2}}",
        "eval instant at 1m pair\n expect ordered\n a{x=\"2\"} 2\n a{x=\"1\"} 1",
        "eval instant at 1m pair\n expect warn\n a{x=\"1\"} 1\n a{x=\"2\"} 2",
        "eval instant at 1m warn\n expect no_warn\n a{x=\"1\"} 1\n a{x=\"2\"} 2",
        "eval instant at 1m warn\n expect warn msg: odd\n a{x=\"1\"} 1\n a{x=\"2\"} 2",
        "eval range from 0 to 2m step 1m matrix\n a 1 3",
        "eval range from 0 to 2m step 1m matrix\n a 1 2 3",
        "eval range from 0 to 2m step 1m matrix\n a 1 _ 3 _",
        "eval instant at 1m fail\n 1",
        "eval instant at 1m fail\n expect fail msg: broke",
        "eval instant at 1m one\n expect fail",
        "eval_warn instant at 1m one\n 1",
    ];
    for script in wrong {
        assert_eq!(tally(script).failed, 1, "{script}");
    }
}

#[test]
fn bad_scripts_are_refused() {
    let bad = [
        "lod 1m",
        "load",
        "load 1x",
        "load 1m\n a{ 1",
        "load 1m\n a@st 0s\n b 1",
        "load 1m\n a@st 0s 0s\n a 1",
        "load 1m\n a@st 0s",
        "load_with_nhcb 1m\n a_bucket{le=\"1\"} 5\n a_bucket{le=\"+Inf\"} 4",
        "eval instant 1",
        "eval range from 1m to 0 step 1m x",
        "eval_what instant at 0 x",
        "eval instant at 0 x\n a 1 2",
        "eval instant at 0 x\n expect nothing",
        "eval instant at 0 x\n expect warn\n expect no_warn",
        "eval instant at 0 x\n expect fail regex: (",
    ];
    for script in bad {
        assert!(run(script, &mut actor()).is_err(), "{script}");
    }
}

#[test]
fn classic_histograms_are_loaded_as_native_ones_too() {
    let script =
        "load_with_nhcb 1m\n h_bucket{le=\"1\"} 2\n h_bucket{le=\"2\"} 2\n h_bucket{le=\"+Inf\"} 5\n h_sum 7";
    let mut stored = Vec::new();
    let mut engine = silent();
    engine.load = Box::new(|series| {
        stored.extend(series);
        Ok(())
    });
    run(script, &mut engine).expect("a good script");
    drop(engine);
    assert_eq!(stored.len(), 5);
    let (_, samples) = stored.iter().find(|(found, _)| *found == labels("h")).expect("the native one");
    let (_, expected) = parse_series("h {{schema:-53 count:5 sum:7 custom_values:[1 2] buckets:[2 0 3]}}")
        .expect("a histogram");
    assert_eq!(Some(&samples[0].value), expected[0].as_ref());
}
