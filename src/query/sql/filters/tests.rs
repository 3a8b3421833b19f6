//! Which filters are pushed down, and as what.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, and, col, in_list, lit};

use super::super::columns::Columns;
use super::*;

fn columns() -> Columns {
    let labels: Vec<Arc<str>> = vec!["job".into(), "timestamp".into()];
    Columns::of_metric(&labels)
}

fn pushed(expr: &Expr) -> Option<String> {
    let mut all = Pushed::all();
    all.add(expr, &columns()).then(|| all.to_string())
}

fn time(ns: i64) -> Expr {
    Expr::Literal(ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into())), None)
}

#[test]
fn labels_become_matchers_that_keep_null_out() {
    assert_eq!(pushed(&col("job").eq(lit("api"))).as_deref(), Some(r#"{job="api"}"#));
    assert_eq!(pushed(&lit("api").eq(col("job"))).as_deref(), Some(r#"{job="api"}"#));
    assert_eq!(pushed(&col("job").not_eq(lit("api"))).as_deref(), Some(r#"{job!="", job!="api"}"#));
    assert_eq!(pushed(&col("job").is_null()).as_deref(), Some(r#"{job=""}"#));
    assert_eq!(pushed(&col("job").is_not_null()).as_deref(), Some(r#"{job!=""}"#));
    let list = in_list(col("job"), vec![lit("a.b"), lit("c")], false);
    assert_eq!(pushed(&list).as_deref(), Some(r#"{job=~"a\\.b|c"}"#));
    assert_eq!(pushed(&col("job").like(lit("a%_"))).as_deref(), Some(r#"{job!="", job=~"a.*."}"#));
    assert_eq!(pushed(&col("timestamp_").eq(lit("x"))).as_deref(), Some(r#"{timestamp="x"}"#), "renamed");
}

#[test]
fn what_would_change_the_meaning_stays_above() {
    for expr in [
        col("job").eq(lit("")),
        col("job").gt(lit("a")),
        col("job").ilike(lit("a%")),
        col("job").like(lit("a\\%")),
        col("value").eq(lit(1.0)),
        col("job").eq(lit("a")).or(col("job").eq(lit("b"))),
        in_list(col("job"), vec![lit("a"), lit("")], false),
    ] {
        assert_eq!(pushed(&expr), None, "{expr}");
    }
    let mut all = Pushed::all();
    let half = and(col("job").eq(lit("a")), col("value").gt(lit(1.0)));
    assert!(!all.add(&half, &columns()));
    assert_eq!(all, Pushed::all(), "a refused predicate leaves nothing behind");
}

#[test]
fn time_bounds_are_exact_between_milliseconds() {
    let bounds = |expr: &Expr| {
        let mut all = Pushed::all();
        all.add(expr, &columns()).then_some((all.from, all.to))
    };
    let (min, max) = (i64::MIN, i64::MAX);
    assert_eq!(bounds(&col("timestamp").gt_eq(time(5_000_000))), Some((5, max)));
    assert_eq!(bounds(&col("timestamp").gt_eq(time(5_000_001))), Some((6, max)));
    assert_eq!(bounds(&col("timestamp").gt(time(5_000_001))), Some((6, max)));
    assert_eq!(bounds(&col("timestamp").gt(time(5_000_000))), Some((6, max)));
    assert_eq!(bounds(&col("timestamp").lt(time(5_000_000))), Some((min, 4)));
    assert_eq!(bounds(&col("timestamp").lt(time(5_000_001))), Some((min, 5)));
    assert_eq!(bounds(&col("timestamp").lt_eq(time(-1))), Some((min, -1)), "before 1970");
    assert_eq!(bounds(&col("timestamp").eq(time(7_000_000))), Some((7, 7)));
    assert_eq!(bounds(&col("timestamp").eq(time(7_000_001))), None);
    assert_eq!(bounds(&time(5_000_000).lt_eq(col("timestamp"))), Some((5, max)), "swapped");
}
