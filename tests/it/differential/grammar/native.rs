//! Expressions over native histograms.
//!
//! A histogram that was computed is nowhere settled to the last bit (3.14 compensates where 3.5 adds), so that nothing
//! that jumps comes after it: it is compared and filtered only as it was stored.
//!
//! Not asked, because 3.5 does otherwise: subqueries of histograms (3.6 mended them; those of floats that came of
//! histograms are asked), and `sort` of histograms (3.12 leaves them in range queries). Nor what Prometheus' chunks
//! decide: a product with NaN, which shows the empty buckets that a chunk has. Fractions begin above the first bucket,
//! as in `functions`.

use super::super::data::Metric;
use super::super::histograms::NATIVES;
use super::{Grammar, LOOSE, Order, Term, parenthesized};

/// What may be lost of a count or a sum: 1e-12 of more observations than there ever are.
const LOST: f64 = 1e-8;

impl Term {
    /// The same without an order that means something.
    pub(in super::super) fn unordered(self) -> Self {
        Self { order: Order::None, ..self }
    }

    /// The same with a distance that is allowed whatever the value.
    pub(in super::super) fn within(self, absolute: f64) -> Self {
        Self { absolute, ..self }
    }
}

impl Grammar<'_> {
    pub(super) fn native_metric(&mut self) -> &'static Metric {
        self.dice.pick(&NATIVES)
    }

    /// A whole query.
    pub(super) fn native_query(&mut self) -> Term {
        match self.dice.below(12) {
            0..=4 => self.histograms(2),
            5 => {
                let term = self.histograms(1);
                let function = *self.dice.pick(&["timestamp", "scalar", "abs", "round", "exp", "hour"]);
                Term::new(format!("{function}({})", term.text), 2e9)
            }
            _ => self.native_vector(2),
        }
    }

    /// Floats that came of histograms, mostly.
    pub(super) fn native_vector(&mut self, depth: usize) -> Term {
        match self.dice.below(12) {
            0..=4 => self.statistic(depth),
            5 | 6 => self.counted(depth),
            7 | 8 => self.counted_range(),
            9 => self.compared(),
            _ => self.histograms(depth),
        }
    }

    fn computed(text: String) -> Term {
        Term { absolute: LOST, exact: false, ..Term::new(text, 1e5) }
    }

    /// Histograms, and the floats beside them.
    fn histograms(&mut self, depth: usize) -> Term {
        if depth == 0 {
            return self.instant_selector();
        }
        match self.dice.below(16) {
            0 | 1 => self.instant_selector(),
            2..=5 => {
                const FUNCTIONS: [&str; 9] = [
                    "rate",
                    "rate",
                    "increase",
                    "irate",
                    "delta",
                    "idelta",
                    "sum_over_time",
                    "avg_over_time",
                    "last_over_time",
                ];
                let function = *self.dice.pick(&FUNCTIONS);
                let selector = self.name_and_matchers().0;
                // Gauges lose so much that their increase would be extrapolated below zero.
                let is_extrapolated =
                    ["rate", "increase"].contains(&function) && selector.contains("nh_gauge");
                let function = if is_extrapolated { "irate" } else { function };
                Self::computed(format!("{function}({selector}{})", self.range().0))
            }
            6..=8 => {
                let (op, inner) = (*self.dice.pick(&["sum", "sum", "avg"]), self.histograms(depth - 1));
                let (before, after, _) = self.grouping();
                Self::computed(format!("{op}{before}({}){after}", inner.text))
            }
            9 => {
                const SCALED: [&str; 9] =
                    ["-X", "X * 2.5", "3 * X", "X / 4", "X * -1", "X / 0", "2 / X", "X + 1", "X ^ 2"];
                let (scaled, inner) = (*self.dice.pick(&SCALED), self.histograms(depth - 1));
                Self::computed(scaled.replace('X', &parenthesized(&inner.text)))
            }
            10 | 11 => self.added(depth),
            12 => {
                let inner = self.histograms(depth - 1);
                let text = format!("label_replace({}, \"to\", \"$1\", \"job\", \"(.).*\")", inner.text);
                inner.with_text(text)
            }
            13 => {
                let inner = self.histograms(depth - 1);
                let (before, after, _) = self.grouping();
                let ratio = *self.dice.pick(&["0.5", "-0.5", "1"]);
                let text = format!("limit_ratio{before}({ratio}, {}){after}", inner.text);
                inner.with_text(text)
            }
            _ => {
                let inner = self.histograms(depth - 1);
                let text = format!("{} and on () vector(1)", parenthesized(&inner.text));
                inner.with_text(text)
            }
        }
    }

    fn added(&mut self, depth: usize) -> Term {
        let left = self.histograms(depth - 1);
        let right = if self.dice.percent(50) { left.clone() } else { self.histograms(depth - 1) };
        let op = *self.dice.pick(&["+", "-", "+", "-", "and", "or", "unless", "*", "/"]);
        let on = *self.dice.pick(&["", "", " on (job)", " ignoring (x)"]);
        Self::computed(format!("{} {op}{on} {}", parenthesized(&left.text), parenthesized(&right.text)))
    }

    /// A number about each histogram.
    pub(in super::super) fn statistic(&mut self, depth: usize) -> Term {
        const QUANTILES: [&str; 8] = ["0.513", "0.917", "0.123", "0.777", "0", "1", "1.5", "NaN"];
        let inner = self.histograms(depth).text;
        let text = match self.dice.below(8) {
            0 => format!("histogram_count({inner})"),
            1 => format!("histogram_sum({inner})"),
            2 => format!("histogram_avg({inner})"),
            3 => format!("histogram_stddev({inner})"),
            4 => format!("histogram_stdvar({inner})"),
            5 | 6 => format!("histogram_quantile({}, {inner})", self.dice.pick(&QUANTILES)),
            _ => {
                let lower = *self.dice.pick(&["-Inf", "0.3", "NaN", "2"]);
                let upper = *self.dice.pick(&["Inf", "1", "0.4", "5.5", "-0.2"]);
                format!("histogram_fraction({lower}, {upper}, {inner})")
            }
        };
        Term { relative: LOOSE, ..Self::computed(text) }
    }

    /// Aggregations that count histograms or leave them out.
    fn counted(&mut self, depth: usize) -> Term {
        const OPERATORS: [&str; 10] = [
            "count",
            "group",
            "min",
            "max",
            "stddev",
            "stdvar",
            "quantile",
            "topk",
            "bottomk",
            "count_values",
        ];
        let (op, inner) = (*self.dice.pick(&OPERATORS), self.histograms(depth.min(1)));
        let inner = if op == "count_values" { self.instant_selector() } else { inner };
        let (before, after, _) = self.grouping();
        let parameter = match op {
            "quantile" => "0.4, ",
            "topk" | "bottomk" => "100, ",
            "count_values" => "\"value\", ",
            _ => "",
        };
        Self::computed(format!("{op}{before}({parameter}{}){after}", inner.text))
    }

    fn counted_range(&mut self) -> Term {
        const FUNCTIONS: [&str; 15] = [
            "resets",
            "changes",
            "count_over_time",
            "present_over_time",
            "min_over_time",
            "max_over_time",
            "stddev_over_time",
            "stdvar_over_time",
            "deriv",
            "ts_of_last_over_time",
            "ts_of_max_over_time",
            "mad_over_time",
            "absent_over_time",
            "predict_linear",
            "quantile_over_time",
        ];
        let (function, selector, range) =
            (*self.dice.pick(&FUNCTIONS), self.name_and_matchers().0, self.range().0);
        let text = match function {
            "predict_linear" => format!("predict_linear({selector}{range}, 60)"),
            "quantile_over_time" => format!("quantile_over_time(0.4, {selector}{range})"),
            _ => format!("{function}({selector}{range})"),
        };
        Term { relative: LOOSE, ..Self::computed(text) }
    }

    /// Of what was stored only.
    fn compared(&mut self) -> Term {
        let left = self.instant_selector();
        let right = match self.dice.below(4) {
            0 | 1 => left.text.clone(),
            2 => self.instant_selector().text,
            _ => "100".to_owned(),
        };
        let op = *self.dice.pick(&["==", "!=", "== bool", "!= bool", ">", "<= bool"]);
        Term::new(format!("{} {op} {right}", left.text), 1e5)
    }
}
