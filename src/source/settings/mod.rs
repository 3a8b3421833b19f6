//! The `global` and `scrape_configs` sections, in two steps: `raw` is exactly what the user wrote, this file
//! is what was meant, with Prometheus' defaults filled in and checked. `config` reads the file; this room
//! never does.
//!
//! No key is read and ignored: it acts, it is refused, or it is on the list of [`Inactive`] keys.

mod global;
mod http;
mod logs;
mod names;
mod raw;
mod scrape;

pub use global::GlobalSettings;
pub(crate) use global::RawGlobal;
pub use http::{Credentials, HttpSettings, ProxySettings, Secret, TlsSettings, TlsVersion};
pub(crate) use logs::FILENAME;
pub use logs::{LogFileSettings, LogSettings, Multiline, StartPattern};
pub use names::{EscapingScheme, NameScheme};
pub(crate) use raw::{Inert, RawScrape, inert};
pub use scrape::{FileSdSettings, Limits, ProbeLabels, Protocol, Scheme, ScrapeSettings};

use crate::error::{Error, Kind};

/// A key that Prometheus knows and quipu accepts, but that has no effect yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inactive {
    /// The key with its section: `alerting`, `scrape_configs[api].oauth2`.
    pub section: String,
    /// The line in the file, from 1.
    pub line: u64,
}

/// A value and where it stands.
pub(crate) type At<T> = serde_saphyr::Spanned<T>;

/// A mistake in the file at a known line.
pub(crate) fn wrong(message: impl Into<String>, line: u64) -> Error {
    let error = Error::new(Kind::Config, message);
    // The YAML reader knows no position for some mistakes.
    if line == 0 { error } else { error.with("line", line) }
}

#[cfg(test)]
mod tests;
