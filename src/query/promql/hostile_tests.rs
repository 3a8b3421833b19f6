//! Texts that nobody writes: deep, long, broken. None may panic, overflow the stack or take long.

use super::corpus_tests::corpus;
use super::{MAX_DEPTH, MAX_QUERY_BYTES, parse, parse_selector};
use crate::error::Kind;
use crate::runtime::fuzz::fuzz;

/// On a stack of 2 MiB, as the threads of the runtime have.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(work);
    thread.expect("a thread").join().expect("no panic");
}

fn is_refused_for_depth(query: &str) -> bool {
    let error = parse(query).expect_err("a limit");
    error.kind() == Kind::Syntax && error.message().contains(&MAX_DEPTH.to_string())
}

#[test]
fn deep_nesting_is_refused_and_never_overflows() {
    on_a_small_stack(|| {
        for n in [300, 10_000, 32_000] {
            assert!(is_refused_for_depth(&format!("{}1{}", "(".repeat(n), ")".repeat(n))));
            assert!(is_refused_for_depth(&format!("{}foo", "- ".repeat(n))));
            assert!(is_refused_for_depth(&format!("foo[{}1]", "- ".repeat(n))));
            assert!(is_refused_for_depth(&format!("foo[{}5m{}]", "(".repeat(n), ")".repeat(n))));
        }
        for n in [300, 10_000, 20_000] {
            assert!(is_refused_for_depth(&format!("1{}", "^1".repeat(n))));
            assert!(is_refused_for_depth(&format!("{}foo{}", "-(".repeat(n), ")".repeat(n))));
        }
        for n in [300, 5_000] {
            assert!(is_refused_for_depth(&format!("{}foo{}", "sum(".repeat(n), ")".repeat(n))));
            assert!(is_refused_for_depth(&format!("foo{}", "[5m:1m]".repeat(n))));
            assert!(is_refused_for_depth(&format!("foo[1{}]", "+1".repeat(n))));
        }
    });
}

#[test]
fn a_chain_is_as_deep_as_it_is_long() {
    on_a_small_stack(|| {
        let chain = |n: usize| format!("a{}", " + a".repeat(n));
        for n in [257, 10_000, 16_000] {
            assert!(is_refused_for_depth(&chain(n)));
        }
        let longest = usize::try_from(MAX_DEPTH).expect("small") - 1;
        let expr = parse(&chain(longest)).expect("the limit itself is allowed");
        assert_eq!(expr.to_string(), chain(longest));
        assert!(is_refused_for_depth(&chain(longest + 1)));
        // A list is wide, not deep.
        parse(&format!("label_join(a{})", ",'b'".repeat(10_000))).expect("many arguments");
    });
}

#[test]
fn what_is_allowed_is_parsed_checked_printed_and_dropped_on_a_small_stack() {
    on_a_small_stack(|| {
        let n = usize::try_from(MAX_DEPTH).expect("small") - 1;
        for (open, close) in [("(", ")"), ("abs(", ")"), ("sum(", ")"), ("-(", "")] {
            let n = if close.is_empty() { n / 2 } else { n };
            let close = if close.is_empty() { ")" } else { close };
            let query = format!("{}foo{}", open.repeat(n), close.repeat(n));
            let mut expr = parse(&query).expect("below the limit");
            assert_eq!(expr.to_string(), query);
            super::resolve_durations(&mut expr, &query, 0, 0).expect("no durations");
        }
    });
}

#[test]
fn a_query_beyond_the_limit_names_it() {
    let long = format!("\"{}\"", "x".repeat(MAX_QUERY_BYTES));
    let error = parse(&long).expect_err("too long");
    assert!(error.message().contains(&MAX_QUERY_BYTES.to_string()), "{error}");
    assert!(parse(&long[3..]).is_err() && parse(&format!("\"{}\"", &long[3..])).is_err());
    parse(&format!("\"{}\"", "x".repeat(MAX_QUERY_BYTES - 2))).expect("the limit itself");
}

const WORDS: [&str; 44] = [
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "@",
    "=",
    "!=",
    "=~",
    "!~",
    "</",
    ">/",
    "+",
    "-",
    "^",
    "\"",
    "'",
    "`",
    "\\",
    "\\x",
    "#",
    "\n",
    " offset ",
    " by ",
    " on ",
    "fill(",
    "sum(",
    "start()",
    "step()",
    "5m",
    "0x",
    "1_0",
    "1e",
    "é",
    "\u{fffd}",
    "bool",
    "Inf",
    "{{",
    "le=\"1\"",
    " anchored",
    "rate(",
];

#[test]
fn broken_queries_never_panic_and_good_ones_print_what_reads_back() {
    let mut seeds: Vec<String> = corpus().into_iter().step_by(40).map(|(_, query)| query).collect();
    seeds.push(
        "sum by (a) (rate(b{c=~\"d\"}[5m:1m] @ end() offset -5m)) / on(x) group_left(y) -z ^ 2".to_owned(),
    );
    let seeds: Vec<&[u8]> = seeds.iter().map(String::as_bytes).collect();
    fuzz("promql", &seeds, &WORDS, |input| {
        let query = String::from_utf8_lossy(input);
        if let Err(error) = parse_selector(&query) {
            assert_eq!(error.kind(), Kind::Syntax);
        }
        match parse(&query) {
            Ok(expr) => {
                let printed = expr.to_string();
                let again = parse(&printed).unwrap_or_else(|e| panic!("{query:?} as {printed:?}: {e}"));
                assert_eq!(again.to_string(), printed, "{query:?}");
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Syntax, "{query:?}: {error}");
                false
            }
        }
    });
}

/// Where the other parser reads a query, both must mean the same; what it is known to misread is left out.
#[test]
fn the_crate_promql_parser_agrees() {
    let (mut compared, mut unreadable) = (0, 0);
    for (place, query) in corpus() {
        // Raw strings and byte escapes (read wrongly), `@` before 1970 and durations as numbers (printed in
        // another way), a leading plus (dropped).
        let other = ["`", "\\x", "@ -", "predict_linear"].iter().any(|what| query.contains(what));
        if other || query.starts_with('+') {
            continue;
        }
        let Ok(theirs) = promql_parser::parser::parse(&query) else {
            unreadable += 1;
            continue;
        };
        let theirs = theirs.to_string();
        let reread = parse(&theirs).unwrap_or_else(|e| panic!("{place}: {query}: {theirs}: {e}"));
        let ours = parse(&query).unwrap_or_else(|e| panic!("{place}: {query}: {e}"));
        assert_eq!(reread.to_string(), ours.to_string(), "{place}: {query}");
        compared += 1;
    }
    eprintln!("{compared} queries agree with promql-parser, {unreadable} it cannot read");
}
