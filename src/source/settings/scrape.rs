//! One scrape job as meant: defaults filled in from `global`, checked, ready to run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::http::HttpSettings;
use super::raw::{RawFileSd, RawScrape};
use super::{At, EscapingScheme, GlobalSettings, NameScheme, wrong};
use crate::error::Result;
use crate::model::setting::{ByteSize, Millis};
use crate::source::discovery::{FilePattern, Group};
use crate::source::relabel::{RawRule, Rule};

/// An exposition format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    /// Protobuf: the only one with native histograms.
    PrometheusProto,
    /// Text 0.0.4.
    #[serde(rename = "PrometheusText0.0.4")]
    PrometheusText004,
    /// Text 1.0.0: 0.0.4 with quoted names.
    #[serde(rename = "PrometheusText1.0.0")]
    PrometheusText100,
    /// OpenMetrics 0.0.1.
    #[serde(rename = "OpenMetricsText0.0.1")]
    OpenMetricsText001,
    /// OpenMetrics 1.0.0.
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetricsText100,
}

impl Protocol {
    /// What is asked for when the user does not say.
    pub const DEFAULT: [Self; 4] = [
        Self::OpenMetricsText100,
        Self::OpenMetricsText001,
        Self::PrometheusText100,
        Self::PrometheusText004,
    ];

    /// What is asked for when the user does not say but wants native histograms.
    pub const WITH_HISTOGRAMS: [Self; 5] = [
        Self::PrometheusProto,
        Self::OpenMetricsText100,
        Self::OpenMetricsText001,
        Self::PrometheusText100,
        Self::PrometheusText004,
    ];

    /// The media type of the `Accept` header.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Self::PrometheusText004 => "text/plain;version=0.0.4",
            Self::PrometheusText100 => "text/plain;version=1.0.0",
            Self::OpenMetricsText001 => "application/openmetrics-text;version=0.0.1",
            Self::OpenMetricsText100 => "application/openmetrics-text;version=1.0.0",
        }
    }
}

/// How the target is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The spelling in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Limits of one job; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of a decompressed body.
    pub body_size: ByteSize,
    /// Samples after relabelling.
    pub samples: usize,
    /// Targets of the job.
    pub targets: usize,
    /// Labels of a sample, its name included.
    pub labels: usize,
    /// Bytes of a label name.
    pub label_name_length: usize,
    /// Bytes of a label value.
    pub label_value_length: usize,
    /// How many dropped targets are remembered for the targets page.
    pub dropped_targets: usize,
}

/// What happens to the labels and timestamps that a target exposes.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeLabels {
    /// Whether a label of the sample wins over one of the target; else it is renamed to `exported_…`.
    pub honor_labels: bool,
    /// Whether a timestamp in the body counts.
    pub honor_timestamps: bool,
    /// Whether series with their own timestamps get stale markers.
    pub track_timestamps_staleness: bool,
    /// Rules for samples.
    pub metric_relabel: Vec<Rule>,
    /// Which names are valid.
    pub name_scheme: NameScheme,
}

/// What happens to the histograms that a target exposes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HistogramSettings {
    /// Native histograms are asked for and stored.
    pub native: bool,
    /// The classic buckets of what is stored as a native histogram are stored too.
    pub classic: bool,
    /// Classic histograms are stored as native ones with custom buckets.
    pub convert: bool,
    /// More buckets than this are made wider; 0 is no limit.
    pub bucket_limit: usize,
    /// Buckets that grow by less are made wider; 0 is no limit.
    pub min_bucket_factor: f64,
}

/// One `file_sd_configs` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSdSettings {
    /// Files, the last component perhaps with wildcards.
    pub patterns: Vec<FilePattern>,
    /// How often all of them are read again, changed or not.
    pub refresh_interval: Millis,
}

/// One scrape job.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapeSettings {
    /// The job's name; also the pool's.
    pub job: String,
    /// How often.
    pub interval: Millis,
    /// How long it may take; never more than `interval`.
    pub timeout: Millis,
    /// Formats to ask for, the most wanted first.
    pub protocols: Vec<Protocol>,
    /// The format of a body whose content type says nothing.
    pub fallback: Option<Protocol>,
    /// What targets do with names that are not valid.
    pub escaping: EscapingScheme,
    /// The path of the URL.
    pub metrics_path: String,
    /// The scheme of the URL.
    pub scheme: Scheme,
    /// The query of the URL.
    pub params: BTreeMap<String, Vec<String>>,
    /// Whether gzip is asked for.
    pub compression: bool,
    /// Whether three more `scrape_*` series are written.
    pub extra_metrics: bool,
    /// Whether the first scrape comes at once instead of at its place in the interval.
    pub at_once: bool,
    /// Limits.
    pub limits: Limits,
    /// What happens to samples.
    pub labels: ProbeLabels,
    /// What happens to histograms.
    pub histograms: HistogramSettings,
    /// Rules for targets.
    pub relabel: Vec<Rule>,
    /// Targets that are written down.
    pub static_groups: Vec<Group>,
    /// Targets in files.
    pub file_sd: Vec<FileSdSettings>,
    /// How targets are reached.
    pub http: HttpSettings,
}

impl ScrapeSettings {
    /// A job with Prometheus' defaults and no targets.
    pub fn new(job: impl Into<String>, global: &GlobalSettings) -> Self {
        Self {
            job: job.into(),
            interval: global.scrape_interval,
            timeout: global.scrape_timeout,
            protocols: default_protocols(global, global.histograms.native),
            fallback: None,
            escaping: global.escaping_scheme.unwrap_or_else(|| fitting(global.name_scheme)),
            metrics_path: "/metrics".to_owned(),
            scheme: Scheme::Http,
            params: BTreeMap::new(),
            compression: true,
            extra_metrics: global.extra_scrape_metrics,
            at_once: false,
            limits: global.limits,
            labels: ProbeLabels {
                honor_labels: false,
                honor_timestamps: true,
                track_timestamps_staleness: false,
                metric_relabel: Vec::new(),
                name_scheme: global.name_scheme,
            },
            histograms: global.histograms(),
            relabel: Vec::new(),
            static_groups: Vec::new(),
            file_sd: Vec::new(),
            http: HttpSettings { follow_redirects: true, ..HttpSettings::default() },
        }
    }

    /// Checks what the user wrote; relative files stand in `dir`.
    ///
    /// # Errors
    /// `Config` with the line.
    pub(crate) fn from_raw(at: &At<RawScrape>, global: &GlobalSettings, dir: &Path) -> Result<Self> {
        let (raw, line) = (&at.value, at.referenced.line());
        let job = raw.job_name.as_ref().map_or("", |job| job.value.as_str());
        if job.is_empty() {
            return Err(wrong("job_name is empty", line));
        }
        let (interval, timeout) = interval_and_timeout(raw, global, job)?;
        let names = raw.metric_name_validation_scheme.unwrap_or(global.name_scheme);
        let relabel = rules(raw.relabel_configs.as_deref(), names, "target", line)?;
        let defaults = Self::new(job, global);
        let histograms = histograms(raw, defaults.histograms);
        Ok(Self {
            interval,
            timeout,
            protocols: protocols(raw, global, histograms.native)?,
            histograms,
            fallback: raw.fallback_scrape_protocol.as_ref().map(|at| at.value),
            escaping: escaping(at, global, names)?,
            metrics_path: raw.metrics_path.clone().unwrap_or(defaults.metrics_path),
            scheme: raw.scheme.as_ref().map_or(Ok(Scheme::Http), scheme)?,
            params: raw.params.clone().unwrap_or_default(),
            compression: raw.enable_compression.unwrap_or(true),
            extra_metrics: raw.extra_scrape_metrics.unwrap_or(global.extra_scrape_metrics),
            limits: limits(raw, &global.limits),
            labels: ProbeLabels {
                honor_labels: raw.honor_labels.unwrap_or(false),
                honor_timestamps: raw.honor_timestamps.unwrap_or(true),
                track_timestamps_staleness: raw.track_timestamps_staleness.unwrap_or(false),
                metric_relabel: rules(raw.metric_relabel_configs.as_deref(), names, "metric", line)?,
                name_scheme: names,
            },
            static_groups: static_groups(raw, !relabel.is_empty(), names)?,
            file_sd: raw
                .file_sd_configs
                .iter()
                .flatten()
                .map(|sd| file_sd(sd, dir))
                .collect::<Result<_>>()?,
            http: HttpSettings::new(raw, dir)?,
            relabel,
            ..defaults
        })
    }

    /// Whether the series caches of targets stay valid when `other` replaces this: nothing that shapes samples
    /// changed.
    pub fn keeps_caches_of(&self, other: &Self) -> bool {
        let label_limits =
            |limits: &Limits| (limits.labels, limits.label_name_length, limits.label_value_length);
        self.labels == other.labels
            && label_limits(&self.limits) == label_limits(&other.limits)
            && self.extra_metrics == other.extra_metrics
    }
}

fn default_protocols(global: &GlobalSettings, native: bool) -> Vec<Protocol> {
    match &global.scrape_protocols[..] {
        [] if native => Protocol::WITH_HISTOGRAMS.to_vec(),
        [] => Protocol::DEFAULT.to_vec(),
        own => own.to_vec(),
    }
}

fn histograms(raw: &RawScrape, global: HistogramSettings) -> HistogramSettings {
    HistogramSettings {
        native: raw.scrape_native_histograms.unwrap_or(global.native),
        classic: raw.always_scrape_classic_histograms.unwrap_or(global.classic),
        convert: raw.convert_classic_histograms_to_nhcb.unwrap_or(global.convert),
        bucket_limit: raw.native_histogram_bucket_limit.unwrap_or(0),
        min_bucket_factor: raw.native_histogram_min_bucket_factor.unwrap_or(0.0),
    }
}

fn interval_and_timeout(raw: &RawScrape, global: &GlobalSettings, job: &str) -> Result<(Millis, Millis)> {
    let interval = raw.scrape_interval.filter(|ms| !ms.is_zero()).unwrap_or(global.scrape_interval);
    let timeout = raw.scrape_timeout.as_ref().filter(|at| !at.value.is_zero());
    if let Some(at) = timeout.filter(|at| at.value > interval) {
        let message = "scrape timeout greater than scrape interval for scrape config with job name";
        return Err(wrong(format!("{message} {job:?}"), at.referenced.line()));
    }
    Ok((interval, timeout.map_or_else(|| global.scrape_timeout.min(interval), |at| at.value)))
}

fn protocols(raw: &RawScrape, global: &GlobalSettings, native: bool) -> Result<Vec<Protocol>> {
    let Some(at) = &raw.scrape_protocols else { return Ok(default_protocols(global, native)) };
    check_protocols(at)?;
    Ok(at.value.clone())
}

/// At least one, none twice.
pub(super) fn check_protocols(at: &At<Vec<Protocol>>) -> Result<()> {
    let line = at.referenced.line();
    if at.value.is_empty() {
        return Err(wrong("scrape_protocols cannot be empty", line));
    }
    let twice = at.value.iter().enumerate().any(|(i, protocol)| at.value[..i].contains(protocol));
    if twice {
        return Err(wrong(format!("duplicated protocol in scrape_protocols, got {:?}", at.value), line));
    }
    Ok(())
}

fn fitting(names: NameScheme) -> EscapingScheme {
    match names {
        NameScheme::Utf8 => EscapingScheme::AllowUtf8,
        NameScheme::Legacy => EscapingScheme::Underscores,
    }
}

/// The job's own scheme; else what fits the job's own validation; else the global one.
fn escaping(job: &At<RawScrape>, global: &GlobalSettings, names: NameScheme) -> Result<EscapingScheme> {
    let raw = &job.value;
    let written = raw.metric_name_escaping_scheme.as_ref();
    let inherited = match raw.metric_name_validation_scheme {
        Some(own) => fitting(own),
        None => global.escaping_scheme.unwrap_or_else(|| fitting(global.name_scheme)),
    };
    let scheme = written.map_or(inherited, |at| at.value);
    if scheme == EscapingScheme::AllowUtf8 && names != NameScheme::Utf8 {
        let line = written.map_or_else(|| job.referenced.line(), |at| at.referenced.line());
        return Err(wrong("utf8 metric names requested but validation scheme is not set to UTF8", line));
    }
    Ok(scheme)
}

fn scheme(at: &At<String>) -> Result<Scheme> {
    match at.value.as_str() {
        "http" | "" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        other => Err(wrong(format!("unknown scheme {other:?}, must be http or https"), at.referenced.line())),
    }
}

/// A limit of 0 means the global one, as in Prometheus.
fn limits(raw: &RawScrape, global: &Limits) -> Limits {
    let or = |own: Option<usize>, global: usize| own.filter(|limit| *limit > 0).unwrap_or(global);
    Limits {
        body_size: raw.body_size_limit.filter(|size| size.as_bytes() > 0).unwrap_or(global.body_size),
        samples: or(raw.sample_limit, global.samples),
        targets: or(raw.target_limit, global.targets),
        labels: or(raw.label_limit, global.labels),
        label_name_length: or(raw.label_name_length_limit, global.label_name_length),
        label_value_length: or(raw.label_value_length_limit, global.label_value_length),
        dropped_targets: or(raw.keep_dropped_targets, global.dropped_targets),
    }
}

fn rules(raw: Option<&[Option<At<RawRule>>]>, names: NameScheme, what: &str, line: u64) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for at in raw.into_iter().flatten() {
        let empty = || wrong(format!("empty or null {what} relabeling rule in scrape config"), line);
        let at = at.as_ref().ok_or_else(empty)?;
        rules.push(Rule::new(&at.value, names).map_err(|e| e.with("line", at.referenced.line()))?);
    }
    Ok(rules)
}

/// A URL in place of `host:port` is refused here, unless rules may make an address of it.
fn static_groups(raw: &RawScrape, relabelled: bool, names: NameScheme) -> Result<Vec<Group>> {
    let job = raw.job_name.as_ref().map_or("", |job| job.value.as_str());
    let mut groups = Vec::new();
    for (i, group) in raw.static_configs.iter().flatten().enumerate() {
        let targets = group.targets.as_deref().unwrap_or_default();
        let line = targets.first().map_or(0, |target| target.referenced.line());
        if let Some(bad) = targets.iter().find(|target| !relabelled && target.value.contains('/')) {
            return Err(wrong(format!("{:?} is not a valid hostname", bad.value), bad.referenced.line()));
        }
        let labels = group.labels.clone().unwrap_or_default();
        if let Some(name) = labels.keys().find(|name| !names.is_label_name(name)) {
            return Err(wrong(format!("{name:?} is not a valid label name"), line));
        }
        groups.push(Group {
            source: format!("{job}/static/{i}"),
            targets: targets.iter().map(|target| target.value.clone()).collect(),
            labels: labels.into_iter().collect(),
        });
    }
    Ok(groups)
}

fn file_sd(at: &At<RawFileSd>, dir: &Path) -> Result<FileSdSettings> {
    let files = at.value.files.as_deref().unwrap_or_default();
    if files.is_empty() {
        let message = "file service discovery config must contain at least one path name";
        return Err(wrong(message, at.referenced.line()));
    }
    let pattern = |file: &At<String>| {
        FilePattern::new(&dir.join(PathBuf::from(&file.value)))
            .map_err(|e| e.with("line", file.referenced.line()))
    };
    let interval = at.value.refresh_interval.filter(|ms| !ms.is_zero()).unwrap_or(Millis::minutes(5));
    Ok(FileSdSettings {
        patterns: files.iter().map(pattern).collect::<Result<_>>()?,
        refresh_interval: interval,
    })
}
