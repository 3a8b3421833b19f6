//! What the columns of `samples` and of a metric's table hold, and their Arrow schema.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{jsonb, names};

/// What a column shows of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// The metric's name.
    Metric,
    /// The label set's id.
    SeriesId,
    /// The label set as jsonb.
    Labels,
    /// When.
    Timestamp,
    /// How much.
    Value,
    /// The value of one label; NULL where absent.
    Label(Arc<str>),
    /// The series' first timestamp.
    First,
    /// The series' last timestamp.
    Last,
}

/// The columns of a table of samples.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    contents: Arc<[Content]>,
    schema: SchemaRef,
    by_name: Arc<HashMap<String, usize>>,
}

/// `timestamptz` in milliseconds.
pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

impl Columns {
    /// `public.samples`.
    pub(super) fn samples() -> Self {
        let mut all = Self::of_series_and_time();
        all.push((Content::Value, Field::new("value", DataType::Float64, false)));
        Self::new(all)
    }

    /// `public.series`.
    pub(super) fn series() -> Self {
        Self::new(vec![
            (Content::Metric, Field::new("metric", DataType::Utf8View, false)),
            (Content::SeriesId, Field::new("series_id", DataType::Int64, false)),
            (Content::Labels, jsonb::field("labels", false)),
            (Content::First, Field::new("first_timestamp", timestamp(), false)),
            (Content::Last, Field::new("last_timestamp", timestamp(), false)),
        ])
    }

    /// `public.histograms`.
    pub(super) fn histograms() -> Self {
        let number = |name: &str| (Content::Value, Field::new(name, DataType::Float64, false));
        let small = |name: &str| (Content::Value, Field::new(name, DataType::Int16, false));
        let spans = |name: &str| (Content::Value, jsonb::field(name, false));
        let numbers = |name: &str| {
            let item = Arc::new(Field::new_list_field(DataType::Float64, true));
            (Content::Value, Field::new(name, DataType::List(item), false))
        };
        let mut all = Self::of_series_and_time();
        all.extend(["count", "sum", "zero_count", "zero_threshold"].map(number));
        all.extend(["schema", "reset_hint"].map(small));
        all.push((Content::Value, Field::new("is_float", DataType::Boolean, false)));
        for side in ["positive", "negative"] {
            all.extend([spans(&format!("{side}_spans")), numbers(&format!("{side}_counts"))]);
        }
        all.push(numbers("custom_bounds"));
        Self::new(all)
    }

    /// `public.exemplars`: `labels` are the series'.
    pub(super) fn exemplars() -> Self {
        let mut all = Self::of_series_and_time();
        all.push((Content::Value, Field::new("value", DataType::Float64, false)));
        all.push((Content::Value, jsonb::field("exemplar_labels", false)));
        Self::new(all)
    }

    fn of_series_and_time() -> Vec<(Content, Field)> {
        vec![
            (Content::Metric, Field::new("metric", DataType::Utf8View, false)),
            (Content::SeriesId, Field::new("series_id", DataType::Int64, false)),
            (Content::Labels, jsonb::field("labels", false)),
            (Content::Timestamp, Field::new("timestamp", timestamp(), false)),
        ]
    }

    /// `metrics.<metric>`. Labels beyond `PostgreSQL`'s widest table have no column; `samples.labels` has them.
    pub(super) fn of_metric(label_names: &[Arc<str>]) -> Self {
        let mut all = vec![
            (Content::Timestamp, Field::new("timestamp", timestamp(), false)),
            (Content::Value, Field::new("value", DataType::Float64, false)),
        ];
        for label in label_names.iter().take(names::MAX_COLUMNS - all.len()) {
            let field = Field::new(names::column(label), DataType::Utf8View, true);
            all.push((Content::Label(Arc::clone(label)), field));
        }
        Self::new(all)
    }

    /// The columns of `public.logs` that say something about labels; what is pushed down of the others is not
    /// this type's matter.
    pub(super) fn of_log_labels(label_names: &[Arc<str>]) -> Self {
        let label = |name: &Arc<str>| {
            (Content::Label(Arc::clone(name)), Field::new(names::log_column(name), DataType::Utf8View, true))
        };
        let labels = (Content::Labels, jsonb::field("labels", false));
        Self::new(std::iter::once(labels).chain(label_names.iter().map(label)).collect())
    }

    fn new(all: Vec<(Content, Field)>) -> Self {
        let by_name = all.iter().enumerate().map(|(i, (_, field))| (field.name().clone(), i)).collect();
        let (contents, fields): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        Self { contents: contents.into(), schema: Arc::new(Schema::new(fields)), by_name: Arc::new(by_name) }
    }

    /// Only these columns, in this order.
    pub(super) fn project(&self, indices: &[usize]) -> Self {
        let field = |i: &usize| (self.contents[*i].clone(), self.schema.field(*i).clone());
        Self::new(indices.iter().map(field).collect())
    }

    /// The Arrow schema.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// In column order.
    pub(super) fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// What a column holds.
    pub(super) fn content(&self, name: &str) -> Option<&Content> {
        self.by_name.get(name).map(|i| &self.contents[*i])
    }
}
