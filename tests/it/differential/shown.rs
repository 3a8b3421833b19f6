//! A native histogram as the HTTP API shows it.

use std::collections::BTreeMap;

use quipu::model::time::seconds_to_ms;
use serde_json::Value;

use super::answer::{Tally, compare_values};
use super::grammar::Term;

/// Count, sum, and the buckets that are not empty.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    count: f64,
    sum: f64,
    /// Which borders belong to the bucket and the bits of both, as shown; then the observations.
    buckets: BTreeMap<(u64, String, String), f64>,
}

fn number(json: &Value) -> f64 {
    json.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number: {json}"))
}

/// A timestamp in ms and a histogram.
pub(super) fn shown(pair: &Value) -> (i64, Shown) {
    let (seconds, json) = (pair[0].as_f64().expect("seconds"), &pair[1]);
    let text = |json: &Value| json.as_str().expect("a text").to_owned();
    let buckets = json["buckets"].as_array().into_iter().flatten().map(|bucket| {
        let borders = bucket[0].as_u64().expect("a rule");
        ((borders, text(&bucket[1]), text(&bucket[2])), number(&bucket[3]))
    });
    let shown =
        Shown { count: number(&json["count"]), sum: number(&json["sum"]), buckets: buckets.collect() };
    (seconds_to_ms(seconds), shown)
}

impl Shown {
    /// Compares two; a bucket that is not there is empty.
    pub(super) fn compare(&self, term: &Term, found: &Self, tally: &mut Tally) -> Result<(), String> {
        let named = |what: String| move |why: String| format!("{what}: {why}");
        compare_values(term, self.count, found.count, tally).map_err(named("count".to_owned()))?;
        compare_values(term, self.sum, found.sum, tally).map_err(named("sum".to_owned()))?;
        for border in self.buckets.keys().chain(found.buckets.keys()) {
            let count = |shown: &Self| shown.buckets.get(border).copied().unwrap_or_default();
            let compared = compare_values(term, count(self), count(found), tally);
            compared.map_err(named(format!("bucket {border:?}")))?;
        }
        Ok(())
    }
}
