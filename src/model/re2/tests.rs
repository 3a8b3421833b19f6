//! What RE2 means, case by case. Expected values were made with Go's `regexp`.

use super::*;
use crate::runtime::fuzz::fuzz;

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}")).is_match(text)
}

/// Each pattern with texts that match (`Ok`) and that do not (`Err`).
fn check(pattern: &str, yes: &[&str], no: &[&str]) {
    for text in yes {
        assert!(matches(pattern, text), "{pattern:?} must match {text:?}");
    }
    for text in no {
        assert!(!matches(pattern, text), "{pattern:?} must not match {text:?}");
    }
}

#[test]
fn the_whole_text_must_match_and_the_dot_takes_a_newline() {
    check("foo|bar", &["foo", "bar"], &["foobar", "xfoo", "", "foo\n"]);
    check("a.b", &["a\nb", "aéb"], &["ab", "a..b"]);
    check("(?-s)a.b", &["axb"], &["a\nb"]);
    check("(?-s:a.)b.", &["axb\n"], &["a\nbx"]);
    check("^a$|^b$", &["a", "b"], &["ab", ""]);
    check("(?m)a$.^b", &["a\nb"], &["a b"]);
    check("", &[""], &["a"]);
}

#[test]
fn perl_and_posix_classes_are_ascii() {
    check(r"\d+", &["12"], &["١٢", ""]);
    check(r"\w+", &["aZ_9"], &["é", "a-b"]);
    check(r"\s", &[" ", "\t", "\n", "\x0C", "\r"], &["\x0B", "\u{A0}"]);
    check(r"[[:space:]]", &["\x0B", " "], &["\u{A0}"]);
    check(r"[^\d\s]", &["x", "é"], &["1", " "]);
    check(r"[\D]", &["a", "\n"], &["5"]);
    check(r"[[:^alpha:]x]", &["x", "1", "é"], &["a"]);
    check(r"é\b.", &["éx"], &["é "]);
    check(r"e\b.", &["e ", "eé"], &["ex"]);
    check(r"\Bé", &["é"], &[]);
}

#[test]
fn what_rust_takes_as_syntax_is_literal_in_re2() {
    check("a{,2}", &["a{,2}"], &["a", "aa"]);
    check("{", &["{"], &[""]);
    check("x{a}{01}", &["x{a}{01}"], &["xa"]);
    check("a{2}", &["aa"], &["a", "a{2}"]);
    check("[a&&b]", &["a", "&", "b"], &["a&&b"]);
    check("[+--]", &["+", ",", "-"], &["a"]);
    check("[~~a]", &["~", "a"], &["b"]);
    check("[[a]]", &["[]", "a]"], &["a", "["]);
    check("[[:alpha]", &["[", ":", "a", "h"], &["b"]);
    check("[]a]", &["]", "a"], &["b"]);
    check("[^]a]", &["b"], &["]", "a"]);
    check("[a-]", &["a", "-"], &["b"]);
    check(r"\<a\>", &["<a>"], &["a"]);
    check(r"\_\-\ \#", &["_- #"], &[]);
    check(r"a]b}", &["a]b}"], &[]);
    check("a #b", &["a #b"], &["a"]);
}

#[test]
fn escapes() {
    check(r"\x41\x{1F600}\101\a\f\n\r\t\v\0", &["A😀A\x07\x0C\n\r\t\x0B\0"], &[]);
    check(r"\07\12", &["\x07\n"], &[]);
    check(r"\Qa.b*\E+", &["a.b*", "a.b***"], &["aXb*", "a.b"]);
    check(r"\Q[a", &["[a"], &["a"]);
    check(r"\A\x61\z", &["a"], &[]);
    check(r"\x{D800}|b", &["b"], &["a"]);
    check(r"[^\x{D800}-\x{E000}]", &["a", "\u{D7FF}", "\u{E001}"], &["\u{E000}"]);
    check(r"[^\x{0}-\x{D7FF}\x{E000}-\x{FFFF}]", &["😀"], &["\u{D7FF}", "\u{E000}", "a"]);
    check(r"\pN\p{Greek}\P{Lu}\p{^Greek}\pL", &["1αaax"], &["1aaax", "1αAax"]);
    check(r"[\p{Greek}\d]+", &["α1"], &["a"]);
    check(r"\p{Any}", &["x"], &[""]);
}

#[test]
fn flags_end_with_their_group_and_go_on_over_a_bar() {
    check("(?i)abc", &["aBC", "abc"], &["ab"]);
    check("(?i:a)b", &["Ab", "ab"], &["AB"]);
    check("(a(?i)b|c)d", &["aBd", "Cd"], &["Abd", "aBD"]);
    check("(?i)k", &["k", "K", "\u{212A}"], &["x"]);
    check(r"(?i)[^k]", &["x"], &["K", "\u{212A}"]);
    check(r"(?i)\W", &["-"], &["\u{17F}", "\u{212A}"]);
    check("(?)(?ii)(?i-i)a", &["a"], &["A"]);
    let ungreedy = Regex::new("(?U)(a+)(a+?)(a*)").expect("it is valid");
    assert_eq!(ungreedy.expand("aaaa", "$1,$2,$3").as_deref(), Some("a,aaa,"));
}

#[test]
fn what_re2_refuses_is_refused_in_go_s_words() {
    let cases = [
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a++", "invalid nested repetition operator: `++`"),
        ("a*{2}", "invalid nested repetition operator: `*{2}`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{1,1001}", "invalid repeat count: `{1,1001}`"),
        ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("(a{100}){11}", "invalid repeat count: `{11}`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("a|+", "missing argument to repetition operator: `+`"),
        ("(?i)?", "missing argument to repetition operator: `?`"),
        ("a(b", "missing closing ): `a(b`"),
        ("a)b", "unexpected ): `a)b`"),
        ("a[b", "missing closing ]: `[b`"),
        ("[a--b]", "invalid character class range: `a--`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"[a-\d]", r"invalid escape sequence: `\d`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        (r"\p{Foo}", r"invalid character class range: `\p{Foo}`"),
        (r"\p{Alphabetic}", r"invalid character class range: `\p{Alphabetic}`"),
        (r"\p{sc=Greek}", r"invalid character class range: `\p{sc=Greek}`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        (r"\é", r"invalid escape sequence: `\é`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"\x4", r"invalid escape sequence: `\x4`"),
        (r"\x4z", r"invalid escape sequence: `\x4z`"),
        (r"\p{Gr", r"invalid character class range: `\p{Gr`"),
        (r"a\", "trailing backslash at end of expression: ``"),
        ("(?P<a-b>x)", "invalid named capture: `(?P<a-b>`"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        ("(?P<>x)", "invalid named capture: `(?P<>`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`"),
    ];
    for (pattern, message) in cases {
        let error = Regex::new(pattern).err().unwrap_or_else(|| panic!("{pattern} must be refused"));
        assert_eq!(error.kind(), Kind::Invalid, "{pattern}");
        let words = error.message().strip_prefix("error parsing regexp: ");
        assert_eq!(words, Some(message), "{pattern}");
        assert_eq!(error.get("regex"), Some(pattern));
    }
}

#[test]
fn hostile_expressions_name_the_limit() {
    let too_big = Regex::new(r"(?:\pL{30}){33}").expect_err("it compiles to many MiB");
    assert_eq!(too_big.kind(), Kind::Limit);
    assert!(too_big.message().contains("size limit of 10485760 bytes"), "{too_big}");
    let too_deep = Regex::new(&"(".repeat(100_000)).expect_err("it nests too deep");
    assert_eq!(too_deep.kind(), Kind::Limit);
    assert!(too_deep.message().contains("limit of 250 groups"), "{too_deep}");
    let nested = |depth: usize| format!("{}a{}", "((?:x|".repeat(depth), ")*)".repeat(depth));
    assert!(matches(&nested(MAX_NESTED / 2), "a"), "as deep as allowed");
    // Memory of the fast paths stays small: a long tail behind many alternatives goes to the engine.
    let tail = format!("({}){}", vec!["ab"; 20_000].join("|"), "x".repeat(60_000));
    assert!(Regex::new(&tail).is_ok_and(|regex| regex.literals().is_none()));
    let anchors = "^".repeat(60_000);
    assert!(matches(&anchors, ""));
}

const MAX_NESTED: usize = parse::MAX_NESTING;

#[test]
fn literals_are_found_where_there_are_only_literals() {
    let of = |pattern: &str| {
        let regex = Regex::new(pattern).expect("it is valid");
        regex.literals().map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let some = |all: &[&str]| Some(all.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(of("a|b|c"), some(&["a", "b", "c"]));
    assert_eq!(of("foo|bar|foo"), some(&["bar", "foo"]));
    assert_eq!(of("(foo|bar)"), some(&["bar", "foo"]));
    assert_eq!(of("api-(a|b)-(x|y)"), some(&["api-a-x", "api-a-y", "api-b-x", "api-b-y"]));
    assert_eq!(of("^(foo|bar)$"), some(&["bar", "foo"]));
    assert_eq!(of("^foo$|^bar$"), some(&["bar", "foo"]));
    assert_eq!(of("5[0-2]x?"), some(&["50", "50x", "51", "51x", "52", "52x"]));
    assert_eq!(of(r"10\.0\.0\.1:9100"), some(&["10.0.0.1:9100"]));
    assert_eq!(of("a|"), some(&["", "a"]));
    assert_eq!(of(""), some(&[""]));
    assert_eq!(of("(?i)ab"), some(&["AB", "Ab", "aB", "ab"]));
    assert_eq!(of(r"[^\x00-\x{10FFFF}]"), some(&[]));
    let many: Vec<_> = (0..3_000).map(|i| format!("host-{i:05}")).collect();
    assert_eq!(of(&many.join("|")), Some(many.clone()));
    for none in ["a.*", "a+", ".", "a{3,}", "[a-z][a-z][a-z]", r"\ba", "(?m)^a", "a^b"] {
        assert_eq!(of(none), None, "{none}");
    }
}

#[test]
fn globs_agree_with_the_engine() {
    let patterns = [
        ".*",
        ".+",
        "a.*",
        "a.+",
        ".*a",
        ".+a",
        ".*a.*",
        ".+a.+",
        "a.*b",
        "a.+b.*a",
        "(.*)a(.+)",
        "^a.*$",
        ".*aa.*aa",
        ".*é.+",
        "ab.*ba",
        "(?s:.*)a",
        ".*?a.*?",
    ];
    let alphabet = ["a", "b", "é", "\n"];
    let mut texts = vec![String::new()];
    for _ in 0..6 {
        let longer = texts.iter().flat_map(|t| alphabet.iter().map(move |c| format!("{t}{c}")));
        texts = std::iter::once(String::new()).chain(longer).collect();
    }
    for pattern in patterns {
        let regex = Regex::new(pattern).expect("it is valid");
        assert!(matches!(regex.program.shape, Shape::Glob(_)), "{pattern} is a glob");
        for text in &texts {
            assert_eq!(regex.is_match(text), regex.program.engine().is_match(text), "{pattern} {text:?}");
        }
    }
    for pattern in [".*.*", ".+.+", "(?-s).*", "a.{2,}", "[^a]*"] {
        let regex = Regex::new(pattern).expect("it is valid");
        assert!(matches!(regex.program.shape, Shape::Engine), "{pattern} is not a glob");
    }
}

#[test]
fn templates_follow_go() {
    let expand = |pattern: &str, text: &str, template: &str| {
        Regex::new(pattern).expect("it is valid").expand(text, template)
    };
    let go =
        |template: &str| expand("(?P<first>[^:]+):(\\d+)(x)?", "host:9100", template).expect("it matches");
    for (template, text) in [
        ("$1", "host"),
        ("${1}x", "hostx"),
        ("$1x", ""),
        ("$first-$2", "host-9100"),
        ("$first_$2", "9100"),
        ("${first}_$2", "host_9100"),
        ("$0", "host:9100"),
        ("$$1", "$1"),
        ("$3|$4|$nope|", "|||"),
        ("$", "$"),
        ("$-${}${1", "$-${}${1"),
        ("a$01b", "a"),
        ("${01}", ""),
        ("$99999999999", ""),
        ("é$1é", "é"),
        ("é${1}é", "éhosté"),
        ("no groups", "no groups"),
    ] {
        assert_eq!(go(template), text, "{template}");
    }
    assert_eq!(expand("(.*)", "x", "<$1>").as_deref(), Some("<x>"));
    assert_eq!(expand("a|(b)", "a", "<$1>").as_deref(), Some("<>"));
    assert_eq!(expand("a", "b", "x"), None);
    assert_eq!(expand("(?P<n>x)|(?P<n>y)", "y", "<$n>").as_deref(), Some("<y>"));
    assert_eq!(expand("(?P<1a>.)(?<b>.)", "xy", "$1a$b$2").as_deref(), Some("xyy"));
}

#[test]
fn hostile_patterns_do_not_panic_and_shortcuts_mean_the_same() {
    const WORDS: [&str; 35] = [
        "(", ")", "[", "]", "{", "}", "*", "+", "?", "|", "^", "$", ".", "\\", "-", ",", "1", "9", "a", "é",
        ":", "&&", "(?", "(?i", "P<", "<", ">", "\\p", "\\Q", "\\E", "\\x", "[:", ":]", "d", "\n",
    ];
    let seeds = ["(?i)a{2,9}|[[:alpha:]\\d-]+?", "foo-.*|bar|(x|y)z", "\\Q.*\\E\\x{e9}(?P<n>.)$"];
    let mut texts = ["", "a", "aé", "foo-1", "xz"].iter().cycle();
    fuzz("re2", &seeds.map(str::as_bytes), &WORDS, |input| {
        let pattern = String::from_utf8_lossy(input);
        match Regex::new(&pattern) {
            Ok(regex) => {
                let text = texts.next().expect("a cycle does not end");
                let engine = regex.program.engine().is_match(text);
                assert_eq!(regex.is_match(text), engine, "{pattern:?} {text:?}");
                true
            }
            Err(error) => {
                assert_ne!(error.kind(), Kind::Internal, "{pattern:?}: {error}");
                false
            }
        }
    });
}
