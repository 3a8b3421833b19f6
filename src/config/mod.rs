//! The configuration file: a `prometheus.yml` with one more section, `quipu:`.
//!
//! Two steps: serde reads exactly what the user wrote (unknown keys and wrong values are errors that name file
//! and line), then each room's settings are built and checked from it. What Prometheus knows and quipu does not
//! do yet is accepted and listed by [`Config::inactive`]; no key is read and ignored.

mod quipu;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use quipu::{QuipuSection, StoreSection};

use crate::error::{Error, Kind, Result};
use crate::model::setting::Millis;
use crate::source::discovery::{FilePattern, Group};
use crate::source::settings::{
    At, GlobalSettings, Inactive, Inert, RawGlobal, RawScrape, ScrapeSettings, inert, wrong,
};

/// The largest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// How often an instance without a configuration scrapes itself.
const OWN_INTERVAL: Millis = Millis::seconds(15);

/// The whole file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    global: Option<RawGlobal>,
    scrape_configs: Option<Vec<Option<At<RawScrape>>>>,
    scrape_config_files: Option<Vec<At<String>>>,
    quipu: Option<At<QuipuSection>>,
    // Without effect yet.
    runtime: Option<Inert>,
    rule_files: Option<Inert>,
    alerting: Option<Inert>,
    remote_write: Option<Inert>,
    remote_read: Option<Inert>,
    otlp: Option<Inert>,
    storage: Option<Inert>,
    tracing: Option<Inert>,
}

/// A file of `scrape_config_files`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawScrapeFile {
    scrape_configs: Option<Vec<Option<At<RawScrape>>>>,
}

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The text of the main file, for `/api/v1/status/config`.
    pub text: String,
    /// Defaults of all jobs.
    pub global: GlobalSettings,
    /// The scrape jobs, in the order of the file; names are unique.
    pub scrapes: Vec<ScrapeSettings>,
    /// Our own section.
    pub quipu: QuipuSection,
    inactive: Vec<Inactive>,
}

impl Config {
    /// Reads a file and those it refers to. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// `Config` with `file` and `line` in its context.
    pub fn load(path: &Path) -> Result<Self> {
        let text = read(path)?;
        Self::parse(&text, path, &environment)
    }

    /// Checks a text that stands for the file at `path`; `variable` reads the environment, which
    /// `external_labels` may refer to.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let in_file = |e: Error| e.with("file", path.display());
        let raw: Option<RawConfig> = from_yaml(text).map_err(in_file)?;
        let raw = raw.unwrap_or_default();
        let dir = folder(path);
        let raw_global = raw.global.unwrap_or_default();
        let global = GlobalSettings::new(&raw_global, variable).map_err(in_file)?;

        let mut inactive = inert!(
            raw,
            "",
            runtime,
            rule_files,
            alerting,
            remote_write,
            remote_read,
            otlp,
            storage,
            tracing,
        );
        inactive.extend(raw_global.inactive());
        let mut jobs =
            Jobs { main: path, global: &global, found: Vec::new(), seen: BTreeMap::new(), inactive };
        jobs.add(raw.scrape_configs.as_deref(), path, dir).map_err(in_file)?;
        for pattern in raw.scrape_config_files.iter().flatten() {
            jobs.add_files(pattern, dir).map_err(|e| if e.get("file").is_some() { e } else { in_file(e) })?;
        }
        let (scrapes, inactive) = (jobs.found, jobs.inactive);
        let mut quipu = raw.quipu.map(|at| at.value).unwrap_or_default();
        quipu.query.evaluation_interval = global.evaluation_interval;
        quipu.log_files.iter_mut().for_each(|files| files.resolve(dir));
        Ok(Self { text: text.to_owned(), global, scrapes, quipu, inactive })
    }

    /// What an instance does without a configuration file: it scrapes itself, at once and then every 15 s.
    pub fn embedded_default(http_port: u16) -> Self {
        let global = GlobalSettings { scrape_interval: OWN_INTERVAL, ..GlobalSettings::default() };
        let own = ScrapeSettings {
            at_once: true,
            static_groups: vec![Group {
                source: "quipu/static/0".to_owned(),
                targets: vec![format!("127.0.0.1:{http_port}")],
                labels: Vec::new(),
            }],
            ..ScrapeSettings::new("quipu", &global)
        };
        Self {
            text: String::new(),
            global,
            scrapes: vec![own],
            quipu: QuipuSection::default(),
            inactive: Vec::new(),
        }
    }

    /// What the file says and quipu does not do yet, in the order of the file's sections.
    pub fn inactive(&self) -> &[Inactive] {
        &self.inactive
    }
}

/// The scrape jobs that were found so far.
struct Jobs<'a> {
    main: &'a Path,
    global: &'a GlobalSettings,
    found: Vec<ScrapeSettings>,
    /// The file in which each name was seen first.
    seen: BTreeMap<String, PathBuf>,
    inactive: Vec<Inactive>,
}

impl Jobs<'_> {
    fn add(&mut self, raw: Option<&[Option<At<RawScrape>>]>, file: &Path, dir: &Path) -> Result<()> {
        for at in raw.into_iter().flatten() {
            let at =
                at.as_ref().ok_or_else(|| Error::new(Kind::Config, "empty or null scrape config section"))?;
            let settings = ScrapeSettings::from_raw(at, self.global, dir)?;
            if let Some(first) = self.seen.insert(settings.job.clone(), file.to_owned()) {
                let line = at.value.job_name.as_ref().map_or(0, |job| job.referenced.line());
                let message = format!("found multiple scrape configs with job name {:?}", settings.job);
                return Err(wrong(message, line).with("first found in", first.display()));
            }
            let inactive = at.value.inactive().into_iter();
            // The main file needs no name: it is the one that the list is about.
            self.inactive.extend(inactive.map(|entry| {
                if file == self.main {
                    entry
                } else {
                    Inactive { section: format!("{}: {}", file.display(), entry.section), ..entry }
                }
            }));
            self.found.push(settings);
        }
        Ok(())
    }

    fn add_files(&mut self, pattern: &At<String>, dir: &Path) -> Result<()> {
        let at_line = |e: Error| e.with("line", pattern.referenced.line());
        for path in FilePattern::any(&dir.join(&pattern.value)).and_then(|p| p.files()).map_err(at_line)? {
            let in_file = |e: Error| e.with("file", path.display());
            let raw: Option<RawScrapeFile> = from_yaml(&read(&path)?).map_err(in_file)?;
            let own_dir = folder(&path);
            self.add(raw.unwrap_or_default().scrape_configs.as_deref(), &path, own_dir).map_err(in_file)?;
        }
        Ok(())
    }
}

/// The folder that relative paths in a file are relative to.
fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or_else(|| Path::new(""))
}

fn read(path: &Path) -> Result<String> {
    let failed = |e: std::io::Error| {
        Error::new(Kind::Config, "cannot read the configuration").with("file", path.display()).caused_by(e)
    };
    let len = std::fs::metadata(path).map_err(failed)?.len();
    if len > MAX_FILE_BYTES {
        let message = format!("a configuration file is larger than {MAX_FILE_BYTES} bytes");
        return Err(Error::new(Kind::Config, message).with("file", path.display()));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn from_yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_saphyr::from_str(text).map_err(|e| {
        let bare = e.without_snippet();
        let line = bare.location().map_or(0, |at| at.line());
        wrong(describe(bare), line)
    })
}

/// The message without the position, which stands in the error's context.
fn describe(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error as E;
    match error {
        E::SerdeUnknownField { field, .. } => format!("unknown key {field:?}"),
        E::DuplicateMappingKey { key: Some(key), .. } => format!("key {key:?} occurs twice"),
        E::Message { msg, .. } => msg.clone(),
        E::SerdeInvalidType { unexpected, expected, .. }
        | E::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("{unexpected} where {expected} is expected")
        }
        other => other.to_string(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "external_labels may name variables; this is where settings come in"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests;
