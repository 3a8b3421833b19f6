//! Functions and aggregations with rules of their own: each of them is asked.
//!
//! Not asked, because 3.5 has not got them: `first_over_time`, `ts_of_first_over_time`, `histogram_quantiles`, `max_of`,
//! `min_of`, `start`, `end`, `range`, `step`. And what 3.5 does otherwise: `mad_over_time` of NaN (3.14: NaN), a NaN
//! ratio of `limit_ratio` (3.14 refuses it), `histogram_fraction` inside of the first bucket (3.14 lets it begin at 0).
//! Which series `limitk` takes is not defined: they are counted.

use super::{Grammar, LOOSE, MANY_SERIES, Order, Term, bound_of, parenthesized};

const MATHS: [&str; 19] = [
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "deg", "exp", "ln", "log10", "log2",
    "rad", "sin", "sinh", "sqrt", "tan", "tanh",
];

const DATES: [&str; 8] =
    ["day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"];

impl Grammar<'_> {
    /// A call with rules of its own.
    pub(super) fn function(&mut self, depth: usize) -> Term {
        match self.dice.below(16) {
            0 => self.maths(depth),
            1 => self.bounded(depth),
            2 => self.stepped(depth),
            3 => self.date(depth),
            4..=6 => self.labelled(depth),
            7 => self.absent(depth),
            8..=10 => self.over_range(),
            11 => self.histogram(),
            12 => self.count_values(),
            13 => self.deviation(depth),
            _ => self.limited(depth),
        }
    }

    /// `sort_by_label`: a whole query, because only there its order is seen.
    pub(super) fn sorted_by_label(&mut self) -> Term {
        let function = *self.dice.pick(&["sort_by_label", "sort_by_label_desc"]);
        // All series of these have the label, and no two numbers are the same.
        let (selector, label) = *self.dice.pick(&[
            ("level", "tank"),
            ("requests_total", "instance"),
            ("queue", "none"),
            ("wide", "id"),
        ]);
        let second = *self.dice.pick(&["", ", \"code\"", ", \"job\""]);
        let text = format!("{function}({selector}{}, \"{label}\"{second})", self.modifiers());
        Term { order: Order::Whole, ..Term::new(text, 1e6) }
    }

    fn maths(&mut self, depth: usize) -> Term {
        let function = *self.dice.pick(&MATHS);
        let inner = self.exact_vector(depth);
        let text = format!("{function}({})", inner.text);
        // Argument reduction and the last bits of a power: both are right.
        Term { exact: false, distinct: false, bound: f64::MAX, ..inner.with_text(text) }
    }

    fn bounded(&mut self, depth: usize) -> Term {
        let inner = self.vector(depth);
        let (low, high) = (self.exact_scalar(1).text, self.exact_scalar(1).text);
        let text = match self.dice.below(3) {
            0 => format!("clamp({}, {low}, {high})", inner.text),
            1 => format!("clamp_max({}, {high})", inner.text),
            _ => format!("clamp_min({}, {low})", inner.text),
        };
        Term { bound: 1e300, distinct: false, ..inner.with_text(text) }
    }

    /// What jumps: only of values that are settled.
    fn stepped(&mut self, depth: usize) -> Term {
        let inner = self.exact_vector(depth);
        let text = match self.dice.below(3) {
            0 => format!("sgn({})", inner.text),
            1 => format!("round({})", inner.text),
            _ => format!("round({}, {})", inner.text, self.exact_scalar(1).text),
        };
        Term { bound: 1e300, distinct: false, ..inner.with_text(text) }
    }

    fn date(&mut self, depth: usize) -> Term {
        let function = *self.dice.pick(&DATES);
        if self.dice.percent(25) {
            return Term::new(format!("{function}()"), 3e3);
        }
        let inner = self.exact_vector(depth);
        let scale = *self.dice.pick(&["", " * 86400", " * 1e7", " * 1e18"]);
        let text = format!("{function}({}{scale})", parenthesized(&inner.text));
        Term { distinct: false, ..Term::new(text, 1e12) }
    }

    fn labelled(&mut self, depth: usize) -> Term {
        const SOURCES: [&str; 8] = ["job", "instance", "tank", "x", "__name__", "none", "room", "code"];
        const TARGETS: [&str; 7] = ["to", "job", "__name__", "instance", "x", "Ünï.côde", "tank"];
        const PATTERNS: [&str; 8] = ["(.*)", "(.)(.*)", "a.*|b", "(?P<first>.).*", "web", ".+", "", "(a"];
        const VALUES: [&str; 7] = ["$1", "x-${1}y", "", "$first", "$2$1", "constant", "$1x$$"];
        let inner = self.vector(depth);
        let (source, target) = (*self.dice.pick(&SOURCES), *self.dice.pick(&TARGETS));
        let text = if self.dice.percent(60) {
            let (value, pattern) = (*self.dice.pick(&VALUES), *self.dice.pick(&PATTERNS));
            format!("label_replace({}, \"{target}\", \"{value}\", \"{source}\", \"{pattern}\")", inner.text)
        } else {
            let second = *self.dice.pick(&SOURCES);
            let separator = *self.dice.pick(&["-", "", ", "]);
            format!("label_join({}, \"{target}\", \"{separator}\", \"{source}\", \"{second}\")", inner.text)
        };
        inner.with_text(text)
    }

    fn absent(&mut self, depth: usize) -> Term {
        const NOTHING: [&str; 3] = [
            "absent_metric{a=\"1\",b=~\"2\",a!=\"\"}",
            "level{tank=\"99\",x=\"y\"}",
            "{job=\"none\",job=\"x\",a=\"b\"}",
        ];
        if self.dice.percent(40) {
            let nothing = *self.dice.pick(&NOTHING);
            let selector = if self.dice.percent(50) { nothing.to_owned() } else { self.selector() };
            let text = format!("absent_over_time({selector}{})", self.range().0);
            return Term::new(text, 1.0);
        }
        let inner = match self.dice.below(3) {
            0 => (*self.dice.pick(&NOTHING)).to_owned(),
            1 => self.instant_selector().text,
            _ => self.vector(depth).text,
        };
        Term::new(format!("absent({inner})"), 1.0)
    }

    fn over_range(&mut self) -> Term {
        const FUNCTIONS: [&str; 9] = [
            "idelta",
            "deriv",
            "predict_linear",
            "double_exponential_smoothing",
            "stdvar_over_time",
            "mad_over_time",
            "ts_of_last_over_time",
            "ts_of_max_over_time",
            "ts_of_min_over_time",
        ];
        let function = *self.dice.pick(&FUNCTIONS);
        let (mut selector, mut metrics) = self.name_and_matchers();
        while function == "mad_over_time" && metrics.iter().any(|metric| metric.name == "temperature") {
            (selector, metrics) = self.name_and_matchers();
        }
        let bound = bound_of(&metrics);
        let range = format!("{selector}{}", self.range().0);
        let term = Term::new(String::new(), bound);
        match function {
            "predict_linear" => {
                let seconds = self.scalar(1).text;
                let text = format!("predict_linear({range}, {seconds})");
                Term { relative: LOOSE, exact: false, bound: 1e300, ..term.with_text(text) }
            }
            "double_exponential_smoothing" => {
                const FACTORS: [&str; 7] =
                    ["0.5", "0.1", "0.999", "0.3", "NaN", "1", "time() % 5 / 10 + 0.1"];
                let (smoothing, trend) = (*self.dice.pick(&FACTORS), *self.dice.pick(&FACTORS));
                let text = format!("double_exponential_smoothing({range}, {smoothing}, {trend})");
                Term { bound: 1e300, ..term.with_text(text) }
            }
            "deriv" => {
                let text = format!("deriv({range})");
                Term { relative: LOOSE, exact: false, bound: 1e300, ..term.with_text(text) }
            }
            "stdvar_over_time" => {
                let text = format!("stdvar_over_time({range})");
                Term { relative: LOOSE, ..term }.summed(text, bound * bound, bound * bound)
            }
            "mad_over_time" => {
                let text = format!("mad_over_time({range})");
                term.summed(text, bound, bound)
            }
            "idelta" => term.with_text(format!("idelta({range})")),
            _ => Term::new(format!("{function}({range})"), 2e9),
        }
    }

    fn histogram(&mut self) -> Term {
        const HISTOGRAMS: [&str; 10] = [
            "latency_bucket",
            "latency_bucket{job=\"api\"}",
            "rate(latency_bucket[5m])",
            "increase(latency_bucket{job=\"web\"}[90s] offset 1m)",
            "sum by (le) (rate(latency_bucket[2m]))",
            "sum without (job) (latency_bucket)",
            "sum by (job, le, __name__) (latency_bucket)",
            "odd_bucket",
            "{__name__=~\"latency_bucket|odd_bucket\"}",
            "level",
        ];
        let vector = *self.dice.pick(&HISTOGRAMS);
        let text = if self.dice.percent(70) {
            format!("histogram_quantile({}, {vector})", self.quantile())
        } else {
            let lower = *self.dice.pick(&["-Inf", "0.5", "0.75", "1", "NaN", "time() % 2 + 0.5"]);
            let upper = *self.dice.pick(&["1", "2", "5", "Inf", "0.3", "NaN"]);
            format!("histogram_fraction({lower}, {upper}, {vector})")
        };
        Term { exact: false, absolute: 1e-9, ..Term::new(text, 10.0) }
    }

    /// Of few values: each makes a series.
    fn count_values(&mut self) -> Term {
        const VALUES: [&str; 5] = [
            "switch",
            "sgn(temperature)",
            "changes(ended[2m])",
            "count by (job) (requests_total)",
            "switch{host=\"b\"} / 0",
        ];
        let values = *self.dice.pick(&VALUES);
        let label = *self.dice.pick(&["value", "host", "job", "__name__", "ü"]);
        let (before, after, _) = self.grouping();
        Term::new(format!("count_values{before}(\"{label}\", {values}){after}"), MANY_SERIES)
    }

    fn deviation(&mut self, depth: usize) -> Term {
        let op = *self.dice.pick(&["stddev", "stdvar"]);
        let inner = self.vector(depth);
        let (before, after, _) = self.grouping();
        let bound = if op == "stdvar" { inner.bound * inner.bound } else { inner.bound };
        // What was lost before counts as much as it can.
        let lost = if op == "stdvar" { inner.absolute * inner.bound } else { inner.absolute };
        let text = format!("{op}{before}({}){after}", inner.text);
        let summed = Term { relative: LOOSE, ..inner }.summed(text, bound, bound);
        Term { absolute: summed.absolute + lost * MANY_SERIES, ..summed }
    }

    fn limited(&mut self, depth: usize) -> Term {
        let inner = self.vector(depth);
        let (before, after, _) = self.grouping();
        if self.dice.percent(50) {
            const RATIOS: [&str; 10] = [
                "0",
                "0.3",
                "-0.7",
                "0.5",
                "-0.5",
                "1",
                "-1",
                "1.5",
                "-2",
                "scalar(switch{host=\"b\"}) - time() % 2",
            ];
            let ratio = *self.dice.pick(&RATIOS);
            let text = format!("limit_ratio{before}({ratio}, {}){after}", inner.text);
            return inner.with_text(text);
        }
        let k = *self.dice.pick(&["1", "2", "0", "-3", "2.9", "100", "time() % 3", "1e30"]);
        // Over the same groups again: how many were taken of each.
        let text = format!("count{before}(limitk{before}({k}, {}){after}){after}", inner.text);
        Term::new(text, MANY_SERIES)
    }
}
