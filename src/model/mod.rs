//! The nouns that every room speaks. Plain data and pure functions; no I/O, no clock, no async.

mod batch;
mod float;
mod histogram;
mod labels;
mod log;
mod matcher;
mod principal;
mod re2;
mod schema;
mod series;
pub mod setting;
pub mod time;

pub use batch::{Batch, Exemplar, ExemplarRow, Handle, HistogramRow, MetricMetadata, MetricType, Timestamps};
pub use float::{
    NORMAL_NAN, STALE_NAN, is_stale, push_go_float, push_go_float_fixed, push_go_float_general,
    push_openmetrics_float,
};
pub use histogram::{
    CUSTOM_BUCKETS, EXPONENTIAL_SCHEMAS, Histogram, INTEGERS_END, MAX_BUCKETS, ResetHint, Span,
    coarser_bucket,
};
pub use labels::{Labels, LabelsIter, LabelsRef, METRIC_NAME, NAME_END, VALUE_END, push_pair};
pub use log::{FilePosition, LogBatch, LogLine};
pub use matcher::{MatchOp, Matcher};
pub use principal::{Principal, Tenant};
pub use re2::Regex;
pub use schema::{
    MAX_LABEL_COLUMNS, Table, exemplars_schema, histograms_schema, label_column, label_of_column,
    logs_schema, logs_schema_with, metadata_schema, samples_schema, series_schema, staleness_schema,
};
pub use series::{SeriesKey, series_id};
