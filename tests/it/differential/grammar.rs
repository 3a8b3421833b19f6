//! Expressions at random, from the grammar that is evaluated today, with what a comparison may forgive.
//!
//! A term knows how far its values may lie apart where IEEE 754 does not settle them: relative to the value, and,
//! where sums may cancel, relative to the sum of what went in. Operators that jump (`ceil`, `%`, a comparison, the
//! choice of `topk`) get only operands that are settled to the last bit.

mod functions;
mod native;

use super::data::{LENGTH_MS, METRICS, Metric, START_MS};
use super::dice::Dice;

/// An expression and how its answer is compared.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub(super) text: String,
    /// Allowed distance relative to the value.
    pub(super) relative: f64,
    /// Allowed distance beside that: 1e-12 (1e-9 for standard deviations) of the sum of what went in.
    pub(super) absolute: f64,
    /// Whether the order of an instant answer means something.
    pub(super) order: Order,
    /// Finite values are not further from zero.
    bound: f64,
    /// Both sides must have the same bits.
    exact: bool,
    /// No two series have the same value, and none is NaN.
    distinct: bool,
}

/// Which order of an instant answer means something.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    None,
    /// By value over all series.
    Whole,
    /// By value within the groups of these labels.
    By(Vec<String>),
    /// By value within the groups of all but these labels and the name.
    Without(Vec<String>),
}

/// 1e-12 as the issue wants it, 1e-9 where a standard deviation is inside.
const CLOSE: f64 = 1e-12;
const LOOSE: f64 = 1e-9;
/// More series than one selector ever finds.
const MANY_SERIES: f64 = 80.0;

impl Term {
    /// Any text, of whose answer only the kind is compared.
    pub(super) fn unknown(text: String) -> Self {
        Self::new(text, 0.0)
    }

    pub(super) fn new(text: String, bound: f64) -> Self {
        let (exact, distinct, order) = (true, false, Order::None);
        Self { text, relative: CLOSE, absolute: 0.0, order, bound, exact, distinct }
    }

    pub(super) fn with_text(self, text: String) -> Self {
        Self { text, order: Order::None, ..self }
    }

    /// Selectors of any metric that is not huge.
    pub(super) fn of_selector(text: String) -> Self {
        Self::new(text, 2e16)
    }

    pub(super) fn is_exact(&self) -> bool {
        self.exact
    }

    /// How many subqueries there are: nothing else has a colon.
    pub(super) fn subqueries(&self) -> usize {
        self.text.matches(':').count()
    }

    pub(super) fn indistinct(self) -> Self {
        Self { distinct: false, ..self }
    }

    /// Values of one side or the other.
    pub(super) fn either(&self, other: &Self, text: String) -> Self {
        Self {
            relative: self.relative.max(other.relative),
            absolute: self.absolute.max(other.absolute),
            bound: self.bound.max(other.bound),
            exact: self.exact && other.exact,
            ..self.clone().indistinct().with_text(text)
        }
    }

    /// Arithmetic between two vectors.
    pub(super) fn with(&self, op: &str, other: &Self, text: String) -> Self {
        let either = self.either(other, text);
        let (left, right) = (self.bound, other.bound);
        match op {
            "+" | "-" if either.exact => Self { bound: left + right, ..either },
            "+" | "-" => {
                let absolute =
                    self.absolute + other.absolute + either.relative * (left + right).min(f64::MAX);
                Self { bound: left + right, absolute, ..either }
            }
            "*" => Self {
                relative: self.relative + other.relative,
                absolute: self.absolute * right + other.absolute * left,
                bound: left * right,
                ..either
            },
            _ => Self { bound: 1e300, exact: either.exact && op != "^" && op != "atan2", ..either },
        }
    }

    /// A function over at most so many samples.
    pub(super) fn over_time(self, function: &str, text: String, samples: f64) -> Self {
        let (bound, allowed) = (self.bound, self.absolute);
        match function {
            "sum_over_time" => {
                let summed = self.summed(text, bound * samples, bound * samples);
                Self { absolute: summed.absolute + allowed * samples, ..summed }
            }
            "avg_over_time" => self.summed(text, bound, bound),
            "stddev_over_time" => Self { relative: LOOSE, ..self }.summed(text, bound, bound),
            "count_over_time" | "changes" | "resets" | "present_over_time" => Self::new(text, samples),
            "increase" | "delta" => Self { bound: bound * 4.0, ..self.indistinct().with_text(text) },
            _ => self.indistinct().with_text(text),
        }
    }

    /// After something that adds up: `total` is the largest sum of what went in.
    fn summed(self, text: String, bound: f64, total: f64) -> Self {
        let absolute = self.absolute + self.relative * total.min(f64::MAX);
        Self { text, absolute, bound, exact: false, distinct: false, order: Order::None, ..self }
    }
}

/// Writes expressions.
pub(super) struct Grammar<'a> {
    pub(super) dice: &'a mut Dice,
    /// Mostly of native histograms.
    pub(super) native: bool,
}

const RANGES: [(&str, f64); 9] = [
    ("5m", 300.0),
    ("1m", 60.0),
    ("2m30s", 150.0),
    ("12m", 720.0),
    ("15s", 15.0),
    ("1h", 3600.0),
    ("45s", 45.0),
    ("7s1ms", 7.0),
    ("10m", 600.0),
];

impl Grammar<'_> {
    /// A whole query.
    pub(super) fn query(&mut self) -> Term {
        if self.native && self.dice.percent(80) {
            return self.native_query();
        }
        match self.dice.below(60) {
            40..=47 => self.matched(3),
            48..=57 => self.over_subquery(2),
            58 => self.bare_subquery(),
            0 => Term::new(format!("{}{}", self.name_and_matchers().0, self.range().0), 0.0),
            1 => Term::new("\"a text\"".to_owned(), 0.0),
            2..=4 => self.scalar(3),
            5 | 6 => self.sorted(),
            7 => self.sorted_by_label(),
            8..=11 => self.top(2),
            _ => self.vector(3),
        }
    }

    /// A selector without modifiers.
    pub(super) fn selector(&mut self) -> String {
        self.name_and_matchers().0
    }

    /// A query with a slip of the finger: most are refused.
    pub(super) fn mangled(&mut self) -> String {
        const PIECES: [&str; 34] = [
            "(", ")", "{", "}", "[", "]", ",", " by ", " bool ", "=~", "\"", "'", "offset ", "@ ", "5", "-",
            "sum", "+", "#", "x", " ", "without ", ":", "=", "!", "e", "[5m]", "rate", "5m", ".", "\\",
            "start()", "é", "_",
        ];
        let text = self.query().text;
        let mut chars: Vec<String> = text.chars().map(String::from).collect();
        for _ in 0..=self.dice.below(2) {
            let at = self.dice.below(chars.len());
            match self.dice.below(4) {
                0 => chars[at].clear(),
                1 => chars[at] = chars[at].repeat(2),
                2 => chars[at] = String::from(*self.dice.pick(&PIECES)),
                _ => chars.insert(at, String::from(*self.dice.pick(&PIECES))),
            }
        }
        chars.concat()
    }

    pub(super) fn vector(&mut self, depth: usize) -> Term {
        if depth == 0 {
            return self.instant_selector();
        }
        if self.native && self.dice.percent(40) {
            return self.native_vector(depth);
        }
        match self.dice.below(46) {
            34.. => self.function(depth - 1),
            26..=29 => self.matched(depth - 1),
            30..=32 => self.over_subquery(depth - 1),
            0..=2 => self.instant_selector(),
            3..=9 => self.window(),
            10..=15 => self.aggregation(depth - 1),
            16 => self.top(depth - 1),
            17 => {
                let inner = self.vector(depth - 1);
                let text = format!("-{}", parenthesized(&inner.text));
                inner.with_text(text)
            }
            18 | 19 => self.arithmetic(depth - 1),
            20 | 21 => self.comparison(depth - 1),
            22 => self.rounded(depth - 1),
            23 => self.timestamp(depth - 1),
            24 => {
                let inner = self.scalar(depth - 1);
                let text = format!("vector({})", inner.text);
                inner.with_text(text)
            }
            _ => {
                let sorted = self.sorted();
                Term { order: Order::None, ..sorted }
            }
        }
    }

    fn sorted(&mut self) -> Term {
        let function = *self.dice.pick(&["sort", "sort_desc"]);
        let inner = if self.native { self.statistic(1) } else { self.vector(1) };
        let text = format!("{function}({})", inner.text);
        Term { order: Order::Whole, ..inner.with_text(text) }
    }

    fn rounded(&mut self, depth: usize) -> Term {
        let function = *self.dice.pick(&["abs", "ceil", "floor"]);
        let inner = if function == "abs" { self.vector(depth) } else { self.exact_vector(depth) };
        let text = format!("{function}({})", inner.text);
        Term { distinct: false, ..inner.with_text(text) }
    }

    fn timestamp(&mut self, depth: usize) -> Term {
        let depth = if self.dice.percent(60) { 0 } else { depth };
        let inner = self.vector(depth);
        let parentheses = self.dice.percent(20);
        let inner = if parentheses { parenthesized(&inner.text) } else { inner.text };
        Term::new(format!("timestamp({inner})"), 2e9)
    }

    /// A vector whose values both sides must have to the last bit.
    fn exact_vector(&mut self, depth: usize) -> Term {
        for _ in 0..20 {
            let term = self.vector(depth);
            if term.exact {
                return term;
            }
        }
        self.instant_selector()
    }

    pub(super) fn instant_selector(&mut self) -> Term {
        let (selector, metrics) = self.name_and_matchers();
        let text = selector + &self.modifiers();
        let distinct = metrics.len() == 1 && metrics[0].distinct;
        Term { distinct, ..Term::new(text, bound_of(&metrics)) }
    }

    fn range(&mut self) -> (String, f64) {
        let (range, seconds) = *self.dice.pick(&RANGES);
        let modifiers = self.modifiers();
        (format!("[{range}]{modifiers}"), seconds)
    }

    fn window(&mut self) -> Term {
        const FUNCTIONS: [&str; 15] = [
            "rate",
            "rate",
            "irate",
            "increase",
            "delta",
            "resets",
            "changes",
            "sum_over_time",
            "avg_over_time",
            "min_over_time",
            "max_over_time",
            "count_over_time",
            "last_over_time",
            "stddev_over_time",
            "present_over_time",
        ];
        let (selector, metrics) = self.name_and_matchers();
        let (range, seconds) = self.range();
        let (bound, samples) = (bound_of(&metrics), seconds / 2.0 + 2.0);
        let term = Term::new(String::new(), bound);
        let one = metrics.len() == 1 && metrics[0].distinct;
        if self.dice.percent(8) {
            let quantile = self.quantile();
            let text = format!("quantile_over_time({quantile}, {selector}{range})");
            return term.summed(text, bound, bound);
        }
        let function = *self.dice.pick(&FUNCTIONS);
        let text = format!("{function}({selector}{range})");
        match function {
            "sum_over_time" => term.summed(text, bound * samples, bound * samples),
            "avg_over_time" => term.summed(text, bound, bound),
            "stddev_over_time" => Term { relative: LOOSE, ..term }.summed(text, bound, bound),
            "count_over_time" | "changes" | "resets" | "present_over_time" => Term::new(text, samples),
            "increase" | "delta" => Term { bound: bound * 4.0, ..term.with_text(text) },
            "last_over_time" => Term { distinct: one, ..term.with_text(text) },
            _ => term.with_text(text),
        }
    }

    fn aggregation(&mut self, depth: usize) -> Term {
        let op =
            *self.dice.pick(&["sum", "sum", "sum", "avg", "avg", "min", "max", "count", "group", "quantile"]);
        let inner = self.vector(depth);
        let (before, after, _) = self.grouping();
        let (bound, body) = (inner.bound, &inner.text);
        if op == "quantile" {
            let quantile = if self.dice.percent(70) { self.quantile() } else { self.fixed_quantile() };
            let text = format!("quantile{before}({quantile}, {body}){after}");
            return inner.summed(text, bound, bound);
        }
        let text = format!("{op}{before}({body}){after}");
        let allowed = inner.absolute;
        match op {
            "sum" => {
                let summed = inner.summed(text, bound * MANY_SERIES, bound * MANY_SERIES);
                Term { absolute: summed.absolute + allowed * MANY_SERIES, ..summed }
            }
            "avg" => inner.summed(text, bound, bound),
            "count" | "group" => Term::new(text, MANY_SERIES),
            _ => Term { distinct: false, ..inner.with_text(text) },
        }
    }

    /// `topk` and `bottomk` of values that have no ties: which of equals is chosen is not defined.
    fn top(&mut self, depth: usize) -> Term {
        let op = *self.dice.pick(&["topk", "bottomk"]);
        let mut inner = self.distinct_selector();
        if depth > 1 && self.dice.percent(30) {
            let scalar = *self.dice.pick(&["1", "-17.25", "1e-3"]);
            let text = format!("{} + {scalar}", inner.text);
            inner = inner.with_text(text);
        }
        let k =
            *self.dice.pick(&["1", "2", "3", "5", "0", "-1", "2.7", "100", "scalar(count(level))", "1e30"]);
        let (before, after, order) = self.grouping();
        let text = format!("{op}{before}({k}, {}){after}", inner.text);
        Term { order, ..inner.with_text(text) }
    }

    fn distinct_selector(&mut self) -> Term {
        loop {
            let term = self.instant_selector();
            if term.distinct {
                return term;
            }
        }
    }

    /// Before or after the operand; the order within groups that goes with it.
    fn grouping(&mut self) -> (String, String, Order) {
        const LABELS: [&str; 10] =
            ["job", "instance", "code", "room", "a", "b", "x", "none", "tank", "__name__"];
        let mut names: Vec<&str> = (0..self.dice.below(4)).map(|_| *self.dice.pick(&LABELS)).collect();
        names.dedup();
        let owned: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (clause, order) = match self.dice.below(5) {
            0 | 1 => return (String::new(), String::new(), Order::Whole),
            2 | 3 => (format!(" by ({}) ", names.join(", ")), Order::By(owned)),
            _ => (format!(" without ({}) ", names.join(",")), Order::Without(owned)),
        };
        if self.dice.percent(50) { (clause, String::new(), order) } else { (String::new(), clause, order) }
    }

    fn arithmetic(&mut self, depth: usize) -> Term {
        let inner = self.vector(depth);
        let (text, bound) = (parenthesized(&inner.text), inner.bound);
        let number = self.number();
        let settled = inner.exact;
        let (scalar, size) = if settled && self.dice.percent(30) {
            let scalar = self.scalar(1);
            (parenthesized(&scalar.text), scalar.bound.max(1.0))
        } else {
            (number.0.to_owned(), number.1)
        };
        let op = if settled {
            *self.dice.pick(&["+", "-", "*", "/", "%", "^"])
        } else {
            *self.dice.pick(&["+", "-", "*"])
        };
        let text = if self.dice.percent(50) {
            format!("{text} {op} {scalar}")
        } else {
            format!("{scalar} {op} {text}")
        };
        let exact = settled && op != "^";
        let inner = Term { exact, distinct: false, ..inner.with_text(text) };
        match op {
            "+" | "-" if settled => Term { bound: bound + size, ..inner },
            "+" | "-" => Term {
                absolute: inner.absolute + inner.relative * (bound + size),
                bound: bound + size,
                ..inner
            },
            "*" => Term { absolute: inner.absolute * size, bound: bound * size, ..inner },
            _ => Term { bound: 1e300, ..inner },
        }
    }

    fn comparison(&mut self, depth: usize) -> Term {
        let op = *self.dice.pick(&["==", "!=", ">", "<", ">=", "<="]);
        let inner = self.exact_vector(depth);
        let scalar = match self.dice.below(4) {
            0 => parenthesized(&self.exact_scalar(1).text),
            _ => self.literal(),
        };
        let (text, is_bool) = (parenthesized(&inner.text), self.dice.percent(40));
        let op = if is_bool { format!("{op} bool") } else { op.to_owned() };
        let text = if self.dice.percent(50) {
            format!("{text} {op} {scalar}")
        } else {
            format!("{scalar} {op} {text}")
        };
        if is_bool { Term::new(text, 1.0) } else { inner.with_text(text) }
    }

    fn literal(&mut self) -> String {
        self.number().0.to_owned()
    }

    fn number(&mut self) -> (&'static str, f64) {
        const NUMBERS: [(&str, f64); 14] = [
            ("0", 1.0),
            ("1", 1.0),
            ("-1", 1.0),
            ("2.5", 2.5),
            ("-17.25", 17.25),
            ("100", 100.0),
            ("1e3", 1e3),
            ("0x1F", 31.0),
            ("5m", 300.0),
            ("1e-3", 1.0),
            ("Inf", 1.0),
            ("-Inf", 1.0),
            ("NaN", 1.0),
            ("3", 3.0),
        ];
        *self.dice.pick(&NUMBERS)
    }

    fn exact_scalar(&mut self, depth: usize) -> Term {
        for _ in 0..20 {
            let term = self.scalar(depth);
            if term.exact {
                return term;
            }
        }
        Term::new(self.literal(), 1e3)
    }

    fn scalar(&mut self, depth: usize) -> Term {
        let number = self.number();
        match self.dice.below(if depth == 0 { 4 } else { 8 }) {
            0..=2 => Term::new(number.0.to_owned(), number.1),
            3 => Term::new("time()".to_owned(), 2e9),
            4 => {
                let inner = self.vector(depth - 1);
                let text = format!("scalar({})", inner.text);
                Term { distinct: false, ..inner.with_text(text) }
            }
            5 => {
                let inner = self.scalar(depth - 1);
                let text = format!("-{}", parenthesized(&inner.text));
                inner.with_text(text)
            }
            6 => {
                let (left, right) = (self.exact_scalar(depth - 1), self.exact_scalar(depth - 1));
                let op = *self.dice.pick(&["+", "-", "*", "/", "%"]);
                Term::new(format!("({} {op} {})", left.text, right.text), 1e300)
            }
            _ => {
                let (left, right) = (self.exact_scalar(depth - 1), self.exact_scalar(depth - 1));
                let op = *self.dice.pick(&["==", "!=", ">", "<", ">=", "<="]);
                Term::new(format!("({} {op} bool {})", left.text, right.text), 1.0)
            }
        }
    }

    fn quantile(&mut self) -> &'static str {
        const QUANTILES: [&str; 10] = [
            "0.5",
            "0.9",
            "0",
            "1",
            "0.123",
            "1.5",
            "-0.5",
            "NaN",
            "scalar(switch{host=\"b\"})",
            "time() % 2 / 2",
        ];
        self.dice.pick::<&str>(&QUANTILES)
    }

    /// A parameter with `@`, which Prometheus does not look through as it does elsewhere.
    fn fixed_quantile(&mut self) -> &'static str {
        const QUANTILES: [&str; 4] = [
            "scalar(switch{host=\"b\"} @ start())",
            "scalar(switch{host=\"c\"} @ 1700001500)",
            "scalar(switch{host=\"d\"} @ 1700000900 offset 2m)",
            "scalar(avg_over_time(switch{host=\"b\"}[5m] @ end()))",
        ];
        self.dice.pick::<&str>(&QUANTILES)
    }

    pub(super) fn modifiers(&mut self) -> String {
        let middle = START_MS + self.dice.between(-120_000, LENGTH_MS + 300_000);
        let offset = match self.dice.below(10) {
            0 => " offset 5m",
            1 => " offset -3m",
            2 => " offset 1m30s",
            3 => " offset -90s5ms",
            _ => "",
        };
        let at = match self.dice.below(14) {
            0 => format!(" @ {}.{:03}", middle / 1_000, middle % 1_000),
            1 => " @ start()".to_owned(),
            2 => " @ end()".to_owned(),
            _ => String::new(),
        };
        if self.dice.percent(50) { format!("{offset}{at}") } else { format!("{at}{offset}") }
    }

    /// A selector without modifiers, and the metrics that it may find.
    fn name_and_matchers(&mut self) -> (String, Vec<&'static Metric>) {
        if !self.native && self.dice.percent(8) {
            let (text, names): (&str, &[&str]) = *self.dice.pick(&[
                ("{__name__=~\"twin_.\"}", ["twin_a", "twin_b"].as_slice()),
                ("{__name__=~\"twin_a|near\"}", &["twin_a", "near"]),
                ("{job=\"api\"}", &["requests_total", "bytes_sum", "queue"]),
                ("{x!=\"\",__name__!~\".*_b\"}", &["twin_a"]),
                ("{__name__=~\".*_(total|sum)\",job!=\"web\"}", &["requests_total", "bytes_sum"]),
                ("{\"level\"}", &["level"]),
                ("absent_metric", &[]),
            ]);
            let found = METRICS.iter().filter(|metric| names.contains(&metric.name));
            return (text.to_owned(), found.collect());
        }
        let native = self.native && self.dice.percent(85);
        let metric = if native { self.native_metric() } else { self.dice.pick(&METRICS) };
        let matchers: Vec<String> = (0..self.dice.below(3)).map(|_| self.matcher(metric)).collect();
        let braces = if matchers.is_empty() { String::new() } else { format!("{{{}}}", matchers.join(", ")) };
        (format!("{}{braces}", metric.name), vec![metric])
    }

    fn matcher(&mut self, metric: &Metric) -> String {
        let (label, values) = *self.dice.pick(metric.labels);
        let value = *self.dice.pick(values);
        match self.dice.below(10) {
            0..=2 => format!("{label}=\"{value}\""),
            3 | 4 => format!("{label}!=\"{value}\""),
            5 => format!("{label}=~\"{value}|none\""),
            6 => format!("{label}!~'{value}.*'"),
            7 => format!("{label}=~\".+\""),
            8 => format!("{label}=~`.?`"),
            _ => format!("none{}\"\"", self.dice.pick(&["=", "=~"])),
        }
    }
}

fn bound_of(metrics: &[&Metric]) -> f64 {
    metrics.iter().map(|metric| metric.bound).fold(0.0, f64::max)
}

/// In parentheses, unless it cannot be torn apart anyway.
pub(super) fn parenthesized(text: &str) -> String {
    if text.chars().all(|c| c.is_ascii_alphanumeric()) { text.to_owned() } else { format!("({text})") }
}
