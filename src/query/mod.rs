//! The read house: a question in, record batches out. Its inner rooms are private.
//!
//! [`Engine::promql`] → `promql` (text → tree) → `translate` (tree → `plan`) → `exec` (operators) → [`Answer`].

mod answer;
mod engine;
mod exec;
mod features;
#[cfg(test)]
mod histogram_tests;
mod plan;
mod promql;
mod run;
mod settings;
pub mod sql;
#[cfg(test)]
mod tests;
mod translate;

pub use answer::{Answer, AnswerSeries, QueryStats, Question, Shape, Times};
pub use engine::{Engine, EngineGround};
#[cfg(test)]
pub(crate) use exec::MemorySeries;
pub use exec::{Bucket, Data, buckets};
pub use features::Supported;
pub use settings::QuerySettings;

use crate::error::Result;
use crate::model::Matcher;

/// Reads a selector alone, as in `match[]=up{job="x"}`: its matchers, the name's among them.
///
/// # Errors
/// `Syntax` with its place, in Prometheus' words.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>> {
    promql::parse_selector(text)
}

/// A query in Prometheus' own form, over several lines where it is long.
///
/// # Errors
/// `Syntax` with its place, in Prometheus' words.
pub fn format_promql(text: &str) -> Result<String> {
    promql::parse(text).map(|expr| promql::pretty(&expr))
}

/// The tree of a query, as Prometheus' `parse_query` shows it.
///
/// # Errors
/// `Syntax` with its place, in Prometheus' words.
pub fn promql_tree(text: &str) -> Result<serde_json::Value> {
    promql::parse(text).map(|expr| promql::to_json(&expr))
}

/// The matchers of each selector in a query, wherever it stands.
///
/// # Errors
/// `Syntax` with its place, in Prometheus' words.
pub fn selectors(text: &str) -> Result<Vec<Vec<Matcher>>> {
    Ok(promql::selectors(&promql::parse(text)?))
}
