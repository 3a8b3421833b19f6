//! What a log line may be, and what is added to it. Loki's names and defaults, except that any age is taken.

/// Limits of lines and streams, and the two things that are added. A door takes them as they are configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRules {
    /// Bytes of a line. Default 256 KiB.
    pub line_bytes: usize,
    /// Label names of a stream, `service_name` not counted. Default 15.
    pub label_names: usize,
    /// Bytes of a label's name. Default 1,024.
    pub label_name_bytes: usize,
    /// Bytes of a label's value. Default 2,048.
    pub label_value_bytes: usize,
    /// Bytes of names and values of a line's structured metadata. Default 64 KiB.
    pub metadata_bytes: usize,
    /// Entries of a line's structured metadata. Default 128.
    pub metadata_entries: usize,
    /// Lines older than this many ms are refused. Default: any age is taken.
    pub max_age_ms: Option<i64>,
    /// Lines more than this many ms ahead of the clock are refused. Default 10 min.
    pub grace_ms: i64,
    /// The labels that give `service_name` to a stream without it, the first that is there; none: nothing is added.
    pub service_name_from: Vec<String>,
    /// Whether `detected_level` is added to a line's metadata.
    pub detect_levels: bool,
}

/// Loki's `discover_service_name`.
const SERVICE_NAME_FROM: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

impl Default for LogRules {
    fn default() -> Self {
        Self {
            line_bytes: 256 << 10,
            label_names: 15,
            label_name_bytes: 1_024,
            label_value_bytes: 2_048,
            metadata_bytes: 64 << 10,
            metadata_entries: 128,
            max_age_ms: None,
            grace_ms: 10 * 60_000,
            service_name_from: SERVICE_NAME_FROM.map(str::to_owned).to_vec(),
            detect_levels: true,
        }
    }
}

impl LogRules {
    /// The rules for senders of events with many fields: as many fields as `VictoriaLogs` takes, together as long
    /// as a line may be.
    #[must_use]
    pub fn for_wide_events(&self) -> Self {
        Self {
            metadata_entries: 1_000,
            metadata_bytes: self.metadata_bytes.max(self.line_bytes),
            ..self.clone()
        }
    }
}
