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
    /// Native histograms.
    Histograms,
    /// Exemplars.
    Exemplars,
    /// Log lines.
    Logs,
}

impl Table {
    /// All of them in commit order: `samples` last, so that what it refers to is already there.
    pub const COMMIT_ORDER: [Self; 7] = [
        Self::Metadata,
        Self::Series,
        Self::Staleness,
        Self::Exemplars,
        Self::Histograms,
        Self::Logs,
        Self::Samples,
    ];

    /// The columns.
    pub fn schema(self) -> SchemaRef {
        match self {
            Self::Samples => samples_schema(),
            Self::Series => series_schema(),
            Self::Metadata => metadata_schema(),
            Self::Staleness => staleness_schema(),
            Self::Histograms => histograms_schema(),
            Self::Exemplars => exemplars_schema(),
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
            Self::Histograms => "histograms",
            Self::Exemplars => "exemplars",
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

/// `metric, series_id, timestamp`, then one native histogram: its counts, where its buckets are, and what is in
/// them. Counts are absolute and of one bucket each.
pub fn histograms_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let list = |name: &str, item: DataType| {
            let item = Arc::new(Field::new("element", item, false));
            Field::new(name, DataType::List(item), false)
        };
        let span = || {
            let int = |name: &str| Field::new(name, DataType::Int32, false);
            DataType::Struct(vec![int("offset"), int("length")].into())
        };
        let float = |name: &str| Field::new(name, DataType::Float64, false);
        Arc::new(Schema::new(vec![
            Field::new("metric", DataType::Utf8, false),
            Field::new("series_id", DataType::Int64, false),
            Field::new("timestamp", millis(), false),
            float("count"),
            float("sum"),
            float("zero_count"),
            float("zero_threshold"),
            Field::new("schema", DataType::Int8, false),
            Field::new("reset_hint", DataType::Int8, false),
            Field::new("is_float", DataType::Boolean, false),
            list("positive_spans", span()),
            list("positive_counts", DataType::Float64),
            list("negative_spans", span()),
            list("negative_counts", DataType::Float64),
            list("custom_bounds", DataType::Float64),
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

/// `metric, series_id, timestamp, value, labels`: one exemplar a row.
pub fn exemplars_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let text = |name: &str| Field::new(name, DataType::Utf8, false);
        let pair = DataType::Struct(vec![text("key"), text("value")].into());
        let entries = Field::new("key_value", pair, false);
        Arc::new(Schema::new(vec![
            text("metric"),
            Field::new("series_id", DataType::Int64, false),
            Field::new("timestamp", millis(), false),
            Field::new("value", DataType::Float64, false),
            Field::new("labels", DataType::Map(Arc::new(entries), false), false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The prefix of the columns of labels in `logs`.
const LABEL_COLUMN: &str = "label_";
/// Labels of a table of logs that are columns; later ones are in the map `labels` only.
pub const MAX_LABEL_COLUMNS: usize = 200;
/// The longest name of a label that is a column, in bytes.
const MAX_COLUMN_LABEL: usize = 128;

/// The column of a label in the files of `logs`; `None` for a name that other engines might read as another one
/// (capital letters: their columns ignore case) or not at all: such labels are in the map `labels` only.
pub fn label_column(label: &str) -> Option<String> {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let fits = label.len() <= MAX_COLUMN_LABEL && label.bytes().all(is_plain) && !label.is_empty();
    fits.then(|| format!("{LABEL_COLUMN}{label}"))
}

/// The label whose column this is; the inverse of [`label_column`].
pub fn label_of_column(column: &str) -> Option<&str> {
    column.strip_prefix(LABEL_COLUMN)
}

/// The columns of a file of log lines in which these labels are columns.
pub fn logs_schema_with(labels: &[Arc<str>]) -> SchemaRef {
    let mut fields: Vec<Field> = logs_schema().fields().iter().map(|field| Field::clone(field)).collect();
    fields.extend(labels.iter().filter_map(|l| label_column(l)).map(|c| Field::new(c, DataType::Utf8, true)));
    Arc::new(Schema::new(fields))
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
