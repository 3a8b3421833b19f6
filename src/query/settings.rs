//! The query house's part of the `quipu:` section.
//!
//! ```yaml
//! quipu:
//!   query:
//!     timeout: 2m                 # a query that runs longer is ended
//!     lookback_delta: 5m          # how far an instant selector looks back
//!     max_samples: 50000000       # samples that one query may hold
//!     max_concurrency: 20         # queries that run at one time; others wait
//!     delayed_name_removal: false # keep __name__ until the end of the query
//! ```

use serde::Deserialize;

use crate::model::setting::Millis;

/// Settings of the query house; what is not written has the default of the module's example, which are those
/// of Prometheus' `--query.*` flags.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuerySettings {
    /// How long a query may run. Default 2 min.
    pub timeout: Millis,
    /// How far an instant selector looks back. Default 5 min.
    pub lookback_delta: Millis,
    /// How many samples a query may hold in memory. Default 50 million.
    pub max_samples: u64,
    /// How many queries run at one time. Default 20.
    pub max_concurrency: usize,
    /// The step of subqueries that have none: `global.evaluation_interval`, which is not written here.
    #[serde(skip)]
    pub evaluation_interval: Millis,
    /// Whether the metric's name is removed at the end of the query instead of by each function.
    pub delayed_name_removal: bool,
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self {
            timeout: Millis::minutes(2),
            lookback_delta: Millis::minutes(5),
            max_samples: 50_000_000,
            max_concurrency: 20,
            evaluation_interval: Millis::minutes(1),
            delayed_name_removal: false,
        }
    }
}
