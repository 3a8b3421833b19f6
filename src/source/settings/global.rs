//! `global`: defaults of every scrape.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::raw::{Inert, inert};
use super::scrape::{HistogramSettings, Limits, Protocol, check_protocols};
use super::{At, EscapingScheme, Inactive, NameScheme, wrong};
use crate::error::Result;
use crate::model::setting::{ByteSize, Millis};

const SCRAPE_INTERVAL: Millis = Millis::minutes(1);
const SCRAPE_TIMEOUT: Millis = Millis::seconds(10);
const EVALUATION_INTERVAL: Millis = Millis::minutes(1);

/// The section as written.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawGlobal {
    scrape_interval: Option<Millis>,
    scrape_timeout: Option<At<Millis>>,
    scrape_protocols: Option<At<Vec<Protocol>>>,
    body_size_limit: Option<ByteSize>,
    sample_limit: Option<usize>,
    target_limit: Option<usize>,
    label_limit: Option<usize>,
    label_name_length_limit: Option<usize>,
    label_value_length_limit: Option<usize>,
    keep_dropped_targets: Option<usize>,
    metric_name_validation_scheme: Option<NameScheme>,
    metric_name_escaping_scheme: Option<EscapingScheme>,
    extra_scrape_metrics: Option<bool>,
    scrape_native_histograms: Option<bool>,
    #[serde(alias = "scrape_classic_histograms")]
    always_scrape_classic_histograms: Option<bool>,
    convert_classic_histograms_to_nhcb: Option<bool>,
    /// Added to what leaves the server for other Prometheus servers.
    external_labels: Option<At<BTreeMap<String, String>>>,
    evaluation_interval: Option<Millis>,
    // Without effect yet.
    rule_query_offset: Option<Inert>,
    query_log_file: Option<Inert>,
    scrape_failure_log_file: Option<Inert>,
}

impl RawGlobal {
    /// What has no effect in this section.
    pub(crate) fn inactive(&self) -> Vec<Inactive> {
        inert!(self, "global.", rule_query_offset, query_log_file, scrape_failure_log_file,)
    }
}

/// The section as meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalSettings {
    /// How often targets are scraped.
    pub scrape_interval: Millis,
    /// How long a scrape may take.
    pub scrape_timeout: Millis,
    /// How often rules are evaluated (there are none yet), and the step of subqueries that have none.
    pub evaluation_interval: Millis,
    /// Formats to ask for, the most wanted first; empty: Prometheus' default.
    pub scrape_protocols: Vec<Protocol>,
    /// Limits of every scrape.
    pub limits: Limits,
    /// Which names are valid.
    pub name_scheme: NameScheme,
    /// What targets are asked to do with other names; `None`: what fits the scheme.
    pub escaping_scheme: Option<EscapingScheme>,
    /// Whether three more `scrape_*` series are written.
    pub extra_scrape_metrics: bool,
    /// Which histograms every scrape stores.
    pub histograms: GlobalHistograms,
    /// Labels of this server, `$VARIABLES` replaced.
    pub external_labels: BTreeMap<String, String>,
}

impl Default for GlobalSettings {
    fn default() -> Self {
        Self {
            scrape_interval: SCRAPE_INTERVAL,
            scrape_timeout: SCRAPE_TIMEOUT,
            evaluation_interval: EVALUATION_INTERVAL,
            scrape_protocols: Vec::new(),
            limits: Limits::default(),
            name_scheme: NameScheme::Utf8,
            escaping_scheme: None,
            extra_scrape_metrics: false,
            histograms: GlobalHistograms::default(),
            external_labels: BTreeMap::new(),
        }
    }
}

/// The part of [`HistogramSettings`] that can be said for all jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GlobalHistograms {
    /// As in [`HistogramSettings`].
    pub native: bool,
    /// As in [`HistogramSettings`].
    pub classic: bool,
    /// As in [`HistogramSettings`].
    pub convert: bool,
}

impl GlobalSettings {
    /// The settings of a job that says nothing about histograms.
    pub(super) fn histograms(&self) -> HistogramSettings {
        let GlobalHistograms { native, classic, convert } = self.histograms;
        HistogramSettings { native, classic, convert, ..HistogramSettings::default() }
    }

    /// Checks what the user wrote; `variable` reads the environment.
    ///
    /// # Errors
    /// `Config` with the line.
    pub(crate) fn new(raw: &RawGlobal, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let interval = raw.scrape_interval.filter(|ms| !ms.is_zero()).unwrap_or(SCRAPE_INTERVAL);
        let timeout = raw.scrape_timeout.as_ref().filter(|at| !at.value.is_zero());
        if let Some(at) = timeout.filter(|at| at.value > interval) {
            return Err(wrong("global scrape timeout greater than scrape interval", at.referenced.line()));
        }
        if let Some(at) = &raw.scrape_protocols {
            check_protocols(at)?;
        }
        let names = raw.metric_name_validation_scheme.unwrap_or_default();
        Ok(Self {
            scrape_interval: interval,
            scrape_timeout: timeout.map_or_else(|| SCRAPE_TIMEOUT.min(interval), |at| at.value),
            evaluation_interval: raw
                .evaluation_interval
                .filter(|ms| !ms.is_zero())
                .unwrap_or(EVALUATION_INTERVAL),
            scrape_protocols: raw.scrape_protocols.as_ref().map(|at| at.value.clone()).unwrap_or_default(),
            limits: Limits {
                body_size: raw.body_size_limit.unwrap_or_default(),
                samples: raw.sample_limit.unwrap_or(0),
                targets: raw.target_limit.unwrap_or(0),
                labels: raw.label_limit.unwrap_or(0),
                label_name_length: raw.label_name_length_limit.unwrap_or(0),
                label_value_length: raw.label_value_length_limit.unwrap_or(0),
                dropped_targets: raw.keep_dropped_targets.unwrap_or(0),
            },
            name_scheme: names,
            escaping_scheme: raw.metric_name_escaping_scheme,
            extra_scrape_metrics: raw.extra_scrape_metrics.unwrap_or(false),
            histograms: GlobalHistograms {
                native: raw.scrape_native_histograms.unwrap_or(false),
                classic: raw.always_scrape_classic_histograms.unwrap_or(false),
                convert: raw.convert_classic_histograms_to_nhcb.unwrap_or(false),
            },
            external_labels: external_labels(raw, names, variable)?,
        })
    }
}

fn external_labels(
    raw: &RawGlobal,
    names: NameScheme,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>> {
    let Some(at) = &raw.external_labels else { return Ok(BTreeMap::new()) };
    if let Some(name) = at.value.keys().find(|name| !names.is_label_name(name)) {
        return Err(wrong(format!("{name:?} is not a valid label name"), at.referenced.line()));
    }
    Ok(at.value.iter().map(|(name, value)| (name.clone(), expand(value, variable))).collect())
}

/// Go's `os.Expand`: `$name` and `${name}` become the variable's value, `$$` a dollar; what is not set is empty.
fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        let (name, tail) = variable_name(rest);
        match name {
            "" if tail.len() == rest.len() => out.push('$'),
            "$" => out.push('$'),
            name => out.push_str(&variable(name).unwrap_or_default()),
        }
        rest = tail;
    }
    out + rest
}

/// The name after a dollar and what follows it.
fn variable_name(text: &str) -> (&str, &str) {
    if let Some((name, tail)) = text.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
        return (name, tail);
    }
    // Go's one-character specials.
    if text.starts_with(|c: char| c.is_ascii_digit() || "*#$@!?-".contains(c)) {
        return text.split_at(1);
    }
    text.split_at(text.len() - text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len())
}
