//! Printing: the canonical form, and that it reads back as the same tree.

use proptest::prelude::*;

use super::ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Cardinality, Edges, Expr, ExprKind, Matching,
    MatrixSelector, NumberLiteral, StringLiteral, Subquery, Unary, VectorSelector,
};
use super::duration::{Duration, DurationExpr, DurationKind, DurationOp};
use super::functions::Function;
use super::{Span, parse};
use crate::model::{METRIC_NAME, MatchOp, Matcher};

#[test]
fn the_canonical_form_is_that_of_prometheus() {
    let cases = [
        ("sum(foo)by(a,b)", "sum by (a, b) (foo)"),
        ("sum by () (foo)", "sum(foo)"),
        ("sum without () (foo)", "sum without () (foo)"),
        ("topk(5,foo)", "topk(5, foo)"),
        (r#"foo{b='x',a="y"}"#, r#"foo{a="y",b="x"}"#),
        (r#"{"my.metric","my.label"!~`\d`}"#, r#"{"my.label"!~"\\d",__name__="my.metric"}"#),
        (r#"sum by ("my.label", "plain") (foo)"#, r#"sum by ("my.label", plain) (foo)"#),
        ("foo offset 90s @ start()", "foo @ start() offset 1m30s"),
        ("foo @ 1.5 offset -1w", "foo @ 1.500 offset -1w"),
        ("foo[300] smoothed offset 5m", "foo[5m] smoothed offset 5m"),
        ("foo[1h:]", "foo[1h:]"),
        ("(foo+1)[1h:5m] @ end()", "(foo + 1)[1h:5m] @ end()"),
        ("foo[5m+4m]", "foo[9m]"),
        ("foo[step() *2 ]", "foo[step() * 2]"),
        ("foo[max_of(step(),(5s))]", "foo[max_of(step(), (5s))]"),
        ("foo offset -step()", "foo offset -step()"),
        ("a*on(x)group_left(y)b", "a * on (x) group_left (y) b"),
        ("a > bool ignoring(x) b", "a > bool ignoring (x) b"),
        ("a + fill_right(2) fill_left(1) b", "a + fill_left (1) fill_right (2) b"),
        ("a + fill(-Inf) b", "a + fill (-Inf) b"),
        ("a and on() b", "a and on () b"),
        ("- foo ^ -2", "-foo ^ -2"),
        ("1e3 + 0x1F + 017 + 1_000", "1000 + 31 + 15 + 1000"),
        ("1e21 + nan + -INF", "1000000000000000000000 + NaN + -Inf"),
        ("5m * 1h30m", "5m * 1h30m"),
        (r"count_values('\'\xFF\u00e9', foo)", r#"count_values("'\xffé", foo)"#),
        ("foo </ 2 >/ 1", "foo </ 2 >/ 1"),
    ];
    for (query, printed) in cases {
        assert_eq!(parse(query).expect(query).to_string(), printed);
    }
}

#[test]
fn operators_bind_as_in_prometheus() {
    // Each with the parentheses that change nothing.
    let cases = [
        ("a or b and c", "a or (b and c)"),
        ("a unless b and c", "(a unless b) and c"),
        ("a and b == c", "a and (b == c)"),
        ("a == b + c", "a == (b + c)"),
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a * b atan2 c", "(a * b) atan2 c"),
        ("a ^ b ^ c", "a ^ (b ^ c)"),
        ("-a ^ b", "-(a ^ b)"),
        ("-a * b", "(-a) * b"),
        ("a ^ -b * c", "(a ^ -b) * c"),
        ("a </ b + c", "a </ (b + c)"),
        ("a offset 1m ^ 2", "(a offset 1m) ^ 2"),
    ];
    for (query, explicit) in cases {
        let (bare, explicit) = (parse(query).expect(query), parse(explicit).expect(explicit));
        assert_eq!(without_parens(bare), without_parens(explicit), "{query}");
    }
}

#[test]
fn spans_cover_what_was_written() {
    let query = "sum(rate(foo{a=\"b\"}[5m] offset 1m)) by (x) + -bar";
    let expr = parse(query).expect(query);
    let ExprKind::Binary(binary) = &expr.kind else { panic!("{expr:?}") };
    let text = |span: Span| &query[span.range()];
    assert_eq!(text(expr.span), query);
    assert_eq!(text(binary.op_span), "+");
    assert_eq!(text(binary.left.span), "sum(rate(foo{a=\"b\"}[5m] offset 1m)) by (x)");
    assert_eq!(text(binary.right.span), "-bar");
    assert_eq!(binary.right.span.position(query).to_string(), "1:46");
    let ExprKind::Aggregate(aggregate) = &binary.left.kind else { panic!() };
    let ExprKind::Call(call) = &aggregate.expr.kind else { panic!() };
    assert_eq!(text(call.args[0].span), "foo{a=\"b\"}[5m] offset 1m");
}

/// The tree with all places at 0 and its matchers sorted.
fn plain(mut expr: Expr) -> Expr {
    let zero = Span::default();
    expr.span = zero;
    let each = |inner: Expr| plain(inner);
    expr.kind = match expr.kind {
        ExprKind::Vector(mut s) => {
            plain_selector(&mut s);
            ExprKind::Vector(s)
        }
        ExprKind::Matrix(mut m) => {
            plain_selector(&mut m.selector);
            plain_duration(&mut m.range);
            m.selector_span = zero;
            ExprKind::Matrix(m)
        }
        ExprKind::Subquery(s) => {
            let mut s = Subquery { expr: each(s.expr), ..*s };
            plain_duration(&mut s.range);
            s.step.iter_mut().chain(&mut s.offset).for_each(plain_duration);
            ExprKind::Subquery(Box::new(s))
        }
        ExprKind::Unary(u) => ExprKind::Unary(Box::new(Unary { expr: each(u.expr), ..*u })),
        ExprKind::Binary(b) => {
            let (left, right) = (each(b.left), each(b.right));
            ExprKind::Binary(Box::new(Binary { left, right, op_span: zero, ..*b }))
        }
        ExprKind::Aggregate(a) => {
            let (expr, param) = (each(a.expr), a.param.map(each));
            ExprKind::Aggregate(Box::new(Aggregate { expr, param, ..*a }))
        }
        ExprKind::Call(c) => {
            let args = c.args.into_iter().map(each).collect();
            ExprKind::Call(Box::new(Call { function: c.function, args }))
        }
        ExprKind::Paren(inner) => ExprKind::Paren(Box::new(each(*inner))),
        leaf @ (ExprKind::Number(_) | ExprKind::String(_)) => leaf,
    };
    expr
}

fn plain_selector(selector: &mut VectorSelector) {
    let others = selector.matchers.len() - usize::from(selector.name.is_some());
    selector.matchers[..others].sort();
    selector.offset.iter_mut().for_each(plain_duration);
}

fn plain_duration(duration: &mut Duration) {
    fn strip(expr: &mut DurationExpr) {
        expr.span = Span::default();
        match &mut expr.kind {
            DurationKind::Number(_) | DurationKind::Step | DurationKind::Range => {}
            DurationKind::Negative(inner) | DurationKind::Paren(inner) => strip(inner),
            DurationKind::Binary(_, left, right) => {
                strip(left);
                strip(right);
            }
        }
    }
    if let Duration::Open(expr) = duration {
        strip(expr);
    }
}

fn without_parens(expr: Expr) -> Expr {
    let mut expr = plain(expr);
    while let ExprKind::Paren(inner) = expr.kind {
        expr = *inner;
    }
    expr.kind = match expr.kind {
        ExprKind::Unary(u) => ExprKind::Unary(Box::new(Unary { expr: without_parens(u.expr), ..*u })),
        ExprKind::Binary(b) => {
            let (left, right) = (without_parens(b.left), without_parens(b.right));
            ExprKind::Binary(Box::new(Binary { left, right, ..*b }))
        }
        other => other,
    };
    expr
}

// Random trees: only those that the parser can make, so operands of operators stand in parentheses.

fn node(kind: ExprKind) -> Expr {
    Expr { kind, span: Span::default() }
}

fn paren(inner: Expr) -> Expr {
    node(ExprKind::Paren(Box::new(inner)))
}

fn text() -> BoxedStrategy<String> {
    prop_oneof!["[a-z]{1,4}", "\\PC{0,6}", Just("a\"b\\\n\t\u{1}".to_owned())].boxed()
}

fn label() -> BoxedStrategy<String> {
    let odd = ["my.label", "by", "without", "on", "inf", "1", "é", "a\"b"];
    prop_oneof![3 => "[a-zA-Z_][a-z0-9_]{0,4}", 1 => proptest::sample::select(odd.to_vec()).prop_map(str::to_owned)].boxed()
}

fn open_duration() -> BoxedStrategy<DurationExpr> {
    let bare = |kind| DurationExpr { kind, span: Span::default() };
    let number = (1u16..2_000, any::<bool>()).prop_map(move |(n, is_duration)| {
        bare(DurationKind::Number(NumberLiteral { value: f64::from(n), is_duration }))
    });
    let open = prop_oneof![Just(DurationKind::Step), Just(DurationKind::Range)].prop_map(bare);
    let ops = [DurationOp::Add, DurationOp::Mul, DurationOp::Mod, DurationOp::Pow, DurationOp::Max];
    let pair = (proptest::sample::select(ops.to_vec()), open.clone(), number)
        .prop_map(move |(op, a, b)| bare(DurationKind::Binary(op, Box::new(a), Box::new(b))));
    let wrapped =
        prop_oneof![open.clone(), pair.prop_map(move |pair| bare(DurationKind::Paren(Box::new(pair)))),];
    prop_oneof![wrapped.clone(), wrapped.prop_map(move |e| bare(DurationKind::Negative(Box::new(e))))].boxed()
}

fn duration() -> BoxedStrategy<Duration> {
    let fixed = prop_oneof![1i64..5_000, Just(86_400_000), Just(31_536_000_000)].prop_map(Duration::Fixed);
    prop_oneof![3 => fixed, 1 => open_duration().prop_map(|e| Duration::Open(Box::new(e)))].boxed()
}

fn offset() -> BoxedStrategy<Option<Duration>> {
    let negative = (1i64..9_999_999).prop_map(|ms| Duration::Fixed(-ms));
    proptest::option::of(prop_oneof![duration(), negative]).boxed()
}

fn at() -> BoxedStrategy<Option<At>> {
    let at = prop_oneof![(-9_999_999i64..9_999_999).prop_map(At::Time), Just(At::Start), Just(At::End)];
    proptest::option::of(at).boxed()
}

fn selector() -> BoxedStrategy<VectorSelector> {
    let name = proptest::option::of(prop_oneof!["[a-z_:][a-z0-9_:]{0,5}", Just("sum".to_owned())])
        .prop_filter("a reserved word", |name| {
            !["on", "bool", "inf", "nan"].contains(&name.as_deref().unwrap_or_default())
        });
    let op = prop_oneof![
        Just(MatchOp::Equal),
        Just(MatchOp::NotEqual),
        Just(MatchOp::Regex),
        Just(MatchOp::NotRegex)
    ];
    let matcher = (label(), op, text()).prop_map(|(label, op, text)| {
        Matcher::new(label.as_str(), op, text).unwrap_or_else(|_| Matcher::equal(label, "not a regex"))
    });
    let edges = proptest::option::of(prop_oneof![Just(Edges::Anchored), Just(Edges::Smoothed)]);
    let parts = (name, proptest::collection::vec(matcher, 0..3), offset(), at(), edges);
    parts
        .prop_map(|(name, mut matchers, offset, at, edges)| {
            // What is selected must not be everything.
            matchers.push(Matcher::equal("always", "there"));
            if let Some(name) = &name {
                matchers.push(Matcher::equal(METRIC_NAME, name.as_str()));
            }
            VectorSelector { name, matchers, offset, at, edges }
        })
        .boxed()
}

fn scalar() -> BoxedStrategy<Expr> {
    let value = prop_oneof![any::<f64>(), Just(0.0), Just(-1.0), Just(1e300)];
    let number = value.prop_map(|value| NumberLiteral { value, is_duration: false });
    let duration =
        (0u32..100_000).prop_map(|ms| NumberLiteral { value: f64::from(ms) / 1000.0, is_duration: true });
    prop_oneof![number, duration].prop_map(|number| node(ExprKind::Number(number))).boxed()
}

fn matching() -> BoxedStrategy<Matching> {
    let fill = || proptest::option::of(-9.0..9.0);
    let labels = proptest::collection::vec(label(), 1..3);
    (any::<bool>(), labels, any::<bool>(), 0..3_usize, fill(), fill())
        .prop_map(|(on, labels, include, cardinality, fill_left, fill_right)| {
            let cardinality =
                [Cardinality::OneToOne, Cardinality::ManyToOne, Cardinality::OneToMany][cardinality];
            let include = if include && cardinality != Cardinality::OneToOne {
                vec!["_included_".to_owned()]
            } else {
                Vec::new()
            };
            Matching { cardinality, on, labels, include, fill_left, fill_right }
        })
        .boxed()
}

fn calls(inner: BoxedStrategy<Expr>) -> BoxedStrategy<Expr> {
    let call = |name: &str, args| {
        let function = Function::find(name).expect("a function");
        node(ExprKind::Call(Box::new(Call { function, args })))
    };
    let matrix = (selector(), duration()).prop_map(move |(selector, range)| {
        let selector_span = Span::default();
        let matrix = MatrixSelector { selector, selector_span, range };
        call("rate", vec![node(ExprKind::Matrix(Box::new(matrix)))])
    });
    let subquery = (inner.clone(), duration(), proptest::option::of(duration()), offset(), at());
    let subquery = subquery.prop_map(move |(expr, range, step, offset, at)| {
        let subquery = Subquery { expr: paren(expr), range, step, offset, at };
        call("max_over_time", vec![node(ExprKind::Subquery(Box::new(subquery)))])
    });
    let string =
        |text: &str| node(ExprKind::String(StringLiteral { bytes: [text.as_bytes(), b"\xff"].concat() }));
    let join = (inner, text())
        .prop_map(move |(expr, text)| call("label_join", vec![expr, string(&text), string("x")]));
    prop_oneof![matrix, subquery, join].boxed()
}

fn vector() -> BoxedStrategy<Expr> {
    let leaf = selector().prop_map(|selector| node(ExprKind::Vector(Box::new(selector))));
    leaf.prop_recursive(4, 24, 3, |inner| {
        let unary = (any::<bool>(), inner.clone()).prop_map(|(negative, expr)| {
            node(ExprKind::Unary(Box::new(Unary { negative, expr: paren(expr) })))
        });
        let ops = [BinaryOp::Add, BinaryOp::Pow, BinaryOp::Less, BinaryOp::TrimLower, BinaryOp::Atan2];
        let op = proptest::sample::select(ops.to_vec());
        let binary = (op, inner.clone(), inner.clone(), any::<bool>(), matching()).prop_map(
            |(op, left, right, returns_bool, matching)| {
                let (left, right) = (paren(left), paren(right));
                let returns_bool = returns_bool && op.is_comparison();
                let (op_span, matching) = (Span::default(), Some(matching));
                node(ExprKind::Binary(Box::new(Binary { op, op_span, left, right, returns_bool, matching })))
            },
        );
        let op = proptest::sample::select(AggregateOp::ALL.to_vec());
        let grouping = proptest::collection::vec(label(), 0..3);
        let aggregate = (op, inner.clone(), scalar(), grouping, any::<bool>()).prop_map(
            |(op, expr, scalar, grouping, without)| {
                let param = op.param_type().map(|wanted| match wanted {
                    super::functions::ValueType::String => {
                        node(ExprKind::String(StringLiteral { bytes: b"l".to_vec() }))
                    }
                    _ => scalar,
                });
                let aggregate = Aggregate { op, expr, param, grouping, without };
                node(ExprKind::Aggregate(Box::new(aggregate)))
            },
        );
        prop_oneof![unary, binary, aggregate, calls(inner)]
    })
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]
    #[test]
    fn what_is_printed_reads_back_as_the_same_tree(expr in prop_oneof![vector(), scalar()]) {
        let printed = expr.to_string();
        let again = parse(&printed).map_err(|e| TestCaseError::fail(format!("{printed}: {e}")))?;
        prop_assert_eq!(plain(again), plain(expr), "{}", printed);
    }
}
