//! From flags and configuration to the settings that the rooms take.

use std::net::SocketAddr;
use std::sync::Arc;

use tracing::Level;

use crate::args::{LogFormat, LogLevel, ServeArgs};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::model::setting::Millis;
use crate::runtime::{LogLines, Registry};
use crate::server::http::{Cors, Reload, WebSettings};

/// Level and format of the log.
pub(super) fn logs(args: &ServeArgs) -> (Level, LogLines) {
    let level = match args.log_level {
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    };
    let lines = match args.log_format {
        LogFormat::Logfmt => LogLines::Logfmt,
        LogFormat::Json => LogLines::Json,
    };
    (level, lines)
}

/// The configuration that the flags ask for: the file, or the embedded default; flags win over its sections.
pub(super) fn current_config(args: &ServeArgs, http_port: u16) -> Result<Config> {
    let mut config = match &args.config_file {
        Some(file) => Config::load(file)?,
        None => Config::embedded_default(http_port),
    };
    if let Some(retention) = args.retention {
        config.quipu.store.retention = (!retention.is_zero()).then_some(retention);
    }
    let query = &mut config.quipu.query;
    query.lookback_delta = args.query_lookback_delta.unwrap_or(query.lookback_delta);
    query.timeout = args.query_timeout.unwrap_or(query.timeout);
    query.max_samples = args.query_max_samples.unwrap_or(query.max_samples);
    if let Some(concurrency) = args.query_max_concurrency {
        query.max_concurrency = usize::try_from(concurrency).unwrap_or(usize::MAX);
    }
    Ok(config)
}

/// The HTTP door's settings.
pub(super) fn web(args: &ServeArgs, config: &Config, pg: SocketAddr) -> Result<WebSettings> {
    let cors = Cors::new(&args.web_cors_origin).map_err(|e| {
        Error::new(Kind::Config, "--web.cors.origin is not a regular expression").caused_by(e)
    })?;
    Ok(WebSettings {
        enable_lifecycle: args.web_enable_lifecycle,
        enable_admin_api: args.web_enable_admin_api,
        cors,
        max_connections: usize::try_from(args.web_max_connections).unwrap_or(usize::MAX),
        flags: args.flags.clone(),
        retention: config.quipu.store.retention.map(|time: Millis| time.to_string()).unwrap_or_default(),
        pg_address: pg.to_string(),
    })
}

/// A configuration that was just read.
///
/// # Errors
/// As [`super::shown::yaml`].
pub(super) fn reload_of(config: &Config, http: SocketAddr, now_ms: i64) -> Result<Reload> {
    let yaml = Arc::from(super::shown::yaml(config, &http.to_string())?);
    Ok(Reload { success: true, loaded_ms: now_ms, yaml })
}

/// Says by name what the configuration has and quipu does not do yet, in the log and in a metric.
pub(super) fn report_inactive(registry: &Registry, before: Option<&Config>, after: &Config) {
    let help = "Sections of the configuration that have no effect yet.";
    let gauge =
        |section: &str| registry.gauge("quipu_config_inactive_section", help, &[("section", section)]);
    for gone in before.iter().flat_map(|config| config.inactive()) {
        gauge(&gone.section).set(0.0);
    }
    for inactive in after.inactive() {
        tracing::warn!(section = inactive.section, line = inactive.line, "this section has no effect yet");
        gauge(&inactive.section).set(1.0);
    }
}

/// Of the `quipu:` section all but `log_files` is read at the start only.
pub(super) fn warn_about_restart(before: &Config, after: &Config) {
    let mut fresh = after.quipu.clone();
    fresh.log_files.clone_from(&before.quipu.log_files);
    if before.quipu != fresh {
        tracing::warn!("the section quipu: has changed; it takes effect at the next start");
    }
}
