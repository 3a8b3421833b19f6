//! What of PromQL acts: found by asking the translator, so that the list cannot lag behind it.

use std::collections::BTreeMap;

use super::answer::{Question, Times};
use super::engine::Engine;
use super::promql::ast::AggregateOp;
use super::promql::functions::{FUNCTIONS, Function, ValueType};

/// Names of functions or operators, and whether they act.
pub type Supported = BTreeMap<&'static str, bool>;

const BINARY: [&str; 18] = [
    "!=", "%", "*", "+", "-", "/", "</", "<", "<=", "==", ">", ">/", ">=", "^", "and", "atan2", "or",
    "unless",
];

impl Engine {
    /// The functions.
    pub fn functions(&self) -> Supported {
        FUNCTIONS.iter().map(|function| (function.name, self.acts(&call(function)))).collect()
    }

    /// The operators between vectors and those that aggregate them.
    pub fn operators(&self) -> Supported {
        let binary = BINARY.into_iter().map(|op| (op, self.acts(&format!("a {op} b"))));
        let aggregate = AggregateOp::ALL.into_iter().map(|op| {
            let parameter = op.param_type().map_or(String::new(), |kind| format!("{},", argument(kind)));
            (op.as_str(), self.acts(&format!("{}({parameter}a)", op.as_str())))
        });
        binary.chain(aggregate).collect()
    }

    fn acts(&self, text: &str) -> bool {
        let times = Times::Range { start_ms: 0, end_ms: 60_000, step_ms: 60_000 };
        self.check(&Question { text: text.to_owned(), times, lookback_ms: None, timeout: None }).is_ok()
    }
}

/// A call with the fewest arguments.
fn call(function: &Function) -> String {
    let optional = usize::from(function.variadic != 0);
    let arguments: Vec<_> =
        function.args[..function.args.len() - optional].iter().map(|k| argument(*k)).collect();
    format!("{}({})", function.name, arguments.join(","))
}

fn argument(kind: ValueType) -> &'static str {
    match kind {
        ValueType::Scalar => "1",
        ValueType::Vector => "a",
        ValueType::Matrix => "a[5m]",
        ValueType::String => "\"a\"",
    }
}
