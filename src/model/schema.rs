//! The Arrow schemas of the stored tables. `docs/format.md` holds the full description.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// A stored table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Float samples.
    Samples,
    /// One row per series and UTC day.
    Series,
    /// The metric catalogue.
    Metadata,
    /// Stale markers.
    Staleness,
    /// Log lines.
    Logs,
}

impl Table {
    /// All of them in commit order: `samples` last, so that what it refers to is already there.
    pub const COMMIT_ORDER: [Self; 5] =
        [Self::Metadata, Self::Series, Self::Staleness, Self::Logs, Self::Samples];

    /// The columns.
    pub fn schema(self) -> SchemaRef {
        match self {
            Self::Samples => samples_schema(),
            Self::Series => series_schema(),
            Self::Metadata => metadata_schema(),
            Self::Staleness => staleness_schema(),
            Self::Logs => logs_schema(),
        }
    }

    /// The folder's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Series => "series",
            Self::Metadata => "metadata",
            Self::Staleness => "staleness",
            Self::Logs => "logs",
        }
    }
}

fn millis() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// `metric, series_id, timestamp, value, start_timestamp`.
pub fn samples_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("metric", DataType::Utf8, false),
            Field::new("series_id", DataType::Int64, false),
            Field::new("timestamp", millis(), false),
            Field::new("value", DataType::Float64, false),
            Field::new("start_timestamp", millis(), true),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// `day, metric, series_id, labels`.
pub fn series_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("day", DataType::Date32, false),
            Field::new("metric", DataType::Utf8, false),
            Field::new("series_id", DataType::Int64, false),
            Field::new("labels", DataType::Map(Arc::new(text_pairs()), false), false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// `metric, series_id, timestamp`: one stale marker a row.
pub fn staleness_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("metric", DataType::Utf8, false),
            Field::new("series_id", DataType::Int64, false),
            Field::new("timestamp", millis(), false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The columns that every file of log lines has; the table has one more, `label_<name>`, for each label that is a
/// column (`docs/format.md`, "Logs").
pub fn logs_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Arc::new(Schema::new(vec![
            Field::new("stream_id", DataType::Int64, false),
            Field::new("timestamp", micros, false),
            Field::new("timestamp_ns_rest", DataType::Int16, false),
            Field::new("severity", DataType::Utf8, true),
            Field::new("body", DataType::Utf8, false),
            Field::new("trace_id", DataType::FixedSizeBinary(16), true),
            Field::new("span_id", DataType::FixedSizeBinary(8), true),
            Field::new("labels", DataType::Map(Arc::new(text_pairs()), false), false),
            Field::new("attributes", DataType::Map(Arc::new(text_pairs()), false), false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The entries of a map from text to text.
fn text_pairs() -> Field {
    let pair = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)];
    Field::new("key_value", DataType::Struct(pair.into()), false)
}

/// `metric, label_names, type, help, unit, has_histograms, day`: one metric on one day a row.
pub fn metadata_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let name = Arc::new(Field::new("element", DataType::Utf8, false));
        Arc::new(Schema::new(vec![
            Field::new("metric", DataType::Utf8, false),
            Field::new("label_names", DataType::List(name), false),
            Field::new("type", DataType::Utf8, false),
            Field::new("help", DataType::Utf8, false),
            Field::new("unit", DataType::Utf8, false),
            Field::new("has_histograms", DataType::Boolean, false),
            Field::new("day", DataType::Date32, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}
