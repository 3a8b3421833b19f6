//! Operators between vectors, set operators and subqueries at random.

use super::grammar::{Grammar, Term, parenthesized};

/// Pairs of expressions that have something to do with each other, with the labels that they share.
const PAIRS: [(&str, &str, &str); 12] = [
    ("requests_total", "queue", "job"),
    ("requests_total", "requests_total{code=\"200\"}", "instance, job"),
    ("requests_total", "requests_total", "code, instance, job"),
    ("max by (job) (requests_total)", "bytes_sum{dc=\"a\"}", "job"),
    ("twin_a", "twin_b", "x"),
    ("{__name__=~\"twin_.\"}", "twin_a", "x"),
    ("{__name__=~\"twin_.\"}", "{__name__=~\"twin_.\"}", "__name__, x"),
    ("level", "ended", ""),
    ("ended", "switch", "none"),
    ("near", "near{b=\"1\"}", "a"),
    ("temperature", "temperature{room!=\"\"}", "room"),
    ("wide", "single", "id"),
];

const FUNCTIONS: [&str; 14] = [
    "rate",
    "irate",
    "increase",
    "delta",
    "resets",
    "changes",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "present_over_time",
    "sum_over_time",
    "avg_over_time",
    "stddev_over_time",
    "last_over_time",
];

/// Functions that do not jump where values differ in the last bit come from here on.
const SMOOTH: usize = 6;

/// Range, step, and how many steps a window has at most.
const SUBQUERIES: [(&str, &str, f64); 10] = [
    ("5m", "1m", 6.0),
    ("10m", "", 11.0),
    ("2m30s", "15s", 11.0),
    ("1h", "5m", 13.0),
    ("12m", "47s", 17.0),
    ("1m", "7s1ms", 10.0),
    ("30s", "1m", 1.0),
    ("7m", "13m", 1.0),
    ("20m", "30s", 41.0),
    ("3m", "2s500ms", 73.0),
];

impl Grammar<'_> {
    /// Two vectors and an operator between them.
    pub(super) fn matched(&mut self, depth: usize) -> Term {
        let (left, right, shared) = self.operands(depth);
        match self.dice.below(10) {
            0..=2 => self.set(&left, &right, &shared),
            3 | 4 => self.filtered(&left, &right, &shared),
            _ => self.combined(&left, &right, &shared),
        }
    }

    fn operands(&mut self, depth: usize) -> (Term, Term, String) {
        let nested = depth > 0 && self.dice.percent(45);
        if nested {
            let left = self.vector(depth - 1);
            // Often the same labels: something with one partner each.
            let right = if self.dice.percent(40) { left.clone() } else { self.vector(depth - 1) };
            let labels = *self.dice.pick(&["job", "instance, job", "", "a", "x", "id", "__name__, job"]);
            return (left, right, labels.to_owned());
        }
        let (left, right, shared) = *self.dice.pick(&PAIRS);
        let with_modifiers = |grammar: &mut Self, text: &str| {
            let modifiers = if text.ends_with(')') { String::new() } else { grammar.modifiers() };
            Term::of_selector(format!("{text}{modifiers}"))
        };
        let (left, right) = (with_modifiers(self, left), with_modifiers(self, right));
        if self.dice.percent(25) {
            (right, left, shared.to_owned())
        } else {
            (left, right, shared.to_owned())
        }
    }

    /// `on` or `ignoring`, or nothing.
    fn on(&mut self, shared: &str) -> String {
        match self.dice.below(10) {
            0..=4 => format!(" on ({shared})"),
            5 => " on ()".to_owned(),
            6 => format!(" ignoring ({shared})"),
            7 => " ignoring (code, dc, b, k, tank, host, z)".to_owned(),
            _ => String::new(),
        }
    }

    fn grouped(&mut self, on: &str) -> String {
        const INCLUDED: [&str; 8] =
            ["()", "()", "(dc)", "(code, instance)", "(b)", "(__name__)", "(none)", "(k, z)"];
        if on.is_empty() || self.dice.percent(35) {
            return String::new();
        }
        let side = *self.dice.pick(&["group_left", "group_left", "group_right"]);
        let mut included = *self.dice.pick(&INCLUDED);
        // A label cannot be both matched on and copied.
        if on.contains("__name__") && included.contains("__name__") {
            included = "()";
        }
        let is_matched = on.split(|c: char| !c.is_ascii_alphanumeric()).any(|label| {
            label.len() > 1
                && label != "on"
                && included.split(|c: char| !c.is_ascii_alphanumeric()).any(|l| l == label)
        });
        format!(" {side} {}", if is_matched { "()" } else { included })
    }

    fn written(&mut self, left: &Term, op: &str, right: &Term, shared: &str) -> String {
        let on = self.on(shared);
        let group = self.grouped(&on);
        // 3.5 removes the name after it was copied, 3.14 before.
        let group = if op.ends_with("bool") { group.replace("__name__", "none") } else { group };
        format!("{} {op}{on}{group} {}", parenthesized(&left.text), parenthesized(&right.text))
    }

    fn set(&mut self, left: &Term, right: &Term, shared: &str) -> Term {
        let (op, on) = (*self.dice.pick(&["and", "or", "unless"]), self.on(shared));
        let text = format!("{} {op}{on} {}", parenthesized(&left.text), parenthesized(&right.text));
        if op == "or" { left.either(right, text) } else { left.clone().with_text(text) }
    }

    fn filtered(&mut self, left: &Term, right: &Term, shared: &str) -> Term {
        if !(left.is_exact() && right.is_exact()) {
            return self.combined(left, right, shared);
        }
        let op = *self.dice.pick(&["==", "!=", ">", "<", ">=", "<="]);
        if self.dice.percent(40) {
            let text = self.written(left, &format!("{op} bool"), right, shared);
            return Term::new(text, 1.0);
        }
        let text = self.written(left, op, right, shared);
        left.clone().indistinct().with_text(text)
    }

    fn combined(&mut self, left: &Term, right: &Term, shared: &str) -> Term {
        let settled = left.is_exact() && right.is_exact();
        let op = if settled {
            *self.dice.pick(&["+", "-", "*", "/", "/", "%", "^", "atan2"])
        } else {
            *self.dice.pick(&["+", "-", "*"])
        };
        let text = self.written(left, op, right, shared);
        left.with(op, right, text)
    }

    /// A window function over a subquery.
    pub(super) fn over_subquery(&mut self, depth: usize) -> Term {
        let is_selector = !self.native && self.dice.percent(30);
        let inner = match is_selector {
            _ if self.native => self.statistic(depth),
            true => self.instant_selector(),
            false => self.vector(depth),
        };
        let (range, samples) = self.subquery_range();
        let from = if inner.is_exact() { 0 } else { SMOOTH };
        let at = from + self.dice.below(FUNCTIONS.len() - from);
        // 3.5 forgets under `last_over_time` that the name should go at the end.
        let at = if FUNCTIONS[at] == "last_over_time" && !is_selector { SMOOTH } else { at };
        let text = format!("{}({}{range})", FUNCTIONS[at], parenthesized(&inner.text));
        inner.over_time(FUNCTIONS[at], text, samples)
    }

    /// A subquery alone.
    pub(super) fn bare_subquery(&mut self) -> Term {
        let inner = if self.native { self.statistic(1) } else { self.vector(2) };
        let text = format!("{}{}", parenthesized(&inner.text), self.subquery_range().0);
        inner.with_text(text)
    }

    fn subquery_range(&mut self) -> (String, f64) {
        let (range, step, samples) = *self.dice.pick(&SUBQUERIES);
        (format!("[{range}:{step}]{}", self.modifiers()), samples)
    }
}
