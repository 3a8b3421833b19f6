//! How a target is reached: credentials, TLS, proxy, headers. Files are named here and read at each use, so
//! that a rotated secret needs no reload.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::raw::{Inert, RawScrape};
use super::{At, wrong};
use crate::error::Result;

/// Headers that quipu sets itself; Prometheus refuses the same ones.
const RESERVED_HEADERS: [&str; 18] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

/// A value that is not shown, or the file that holds it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Written in the configuration.
    Inline(String),
    /// Read at each use; white space around it does not count.
    File(PathBuf),
}

/// Without the value.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("<secret>"),
            Self::File(path) => write!(f, "<secret in {}>", path.display()),
        }
    }
}

/// What a target asks for before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// `basic_auth`.
    Basic {
        /// Default empty.
        username: Option<Secret>,
        /// Default empty.
        password: Option<Secret>,
    },
    /// `authorization`.
    Header {
        /// The scheme before the credentials: `Bearer`.
        kind: String,
        /// What follows it.
        credentials: Option<Secret>,
    },
}

/// `tls_config`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// PEM of the authorities; default: those of the operating system.
    pub ca: Option<Secret>,
    /// PEM of the client's certificate.
    pub cert: Option<Secret>,
    /// PEM of its key.
    pub key: Option<Secret>,
    /// Whether any certificate of the target will do.
    pub insecure_skip_verify: bool,
    /// The lowest protocol version.
    pub min_version: Option<TlsVersion>,
    /// The highest protocol version.
    pub max_version: Option<TlsVersion>,
}

/// The versions that the TLS library speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2
    V1_2,
    /// TLS 1.3
    V1_3,
}

/// Which proxy is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProxySettings {
    /// None.
    #[default]
    Direct,
    /// That of `HTTP_PROXY` and the like.
    Environment,
    /// A given one.
    Url {
        /// Its address.
        url: String,
        /// Hosts that are reached without it, separated by commas.
        except: Option<String>,
    },
}

/// How a target is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpSettings {
    /// Sent with each request.
    pub credentials: Option<Credentials>,
    /// For `https`.
    pub tls: TlsSettings,
    /// The proxy.
    pub proxy: ProxySettings,
    /// Whether redirects are followed. Prometheus' default is yes.
    pub follow_redirects: bool,
    /// More headers.
    pub headers: Vec<(String, Vec<Secret>)>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawBasicAuth {
    username: Option<String>,
    username_file: Option<PathBuf>,
    password: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawAuthorization {
    #[serde(rename = "type")]
    kind: Option<String>,
    credentials: Option<String>,
    credentials_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawTls {
    ca: Option<String>,
    ca_file: Option<PathBuf>,
    cert: Option<String>,
    cert_file: Option<PathBuf>,
    key: Option<String>,
    key_file: Option<PathBuf>,
    pub(super) server_name: Option<Inert>,
    insecure_skip_verify: Option<bool>,
    min_version: Option<String>,
    max_version: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawHeader {
    values: Vec<String>,
    secrets: Vec<String>,
    files: Vec<PathBuf>,
}

impl HttpSettings {
    /// Checks what the user wrote; relative files stand beside the configuration file, in `dir`.
    ///
    /// # Errors
    /// `Config` with the line.
    pub(super) fn new(raw: &RawScrape, dir: &Path) -> Result<Self> {
        Ok(Self {
            credentials: credentials(raw, dir)?,
            tls: raw.tls_config.as_ref().map(|tls| tls_settings(tls, dir)).transpose()?.unwrap_or_default(),
            proxy: proxy(raw)?,
            follow_redirects: raw.follow_redirects.unwrap_or(true),
            headers: headers(raw, dir)?,
        })
    }
}

/// One of a value and a file.
fn secret(
    value: Option<&String>,
    file: Option<&PathBuf>,
    what: &str,
    (dir, line): (&Path, u64),
) -> Result<Option<Secret>> {
    match (value, file) {
        (Some(_), Some(_)) => {
            Err(wrong(format!("at most one of {what} & {what}_file must be configured"), line))
        }
        (Some(value), None) => Ok(Some(Secret::Inline(value.clone()))),
        (None, Some(file)) => Ok(Some(Secret::File(dir.join(file)))),
        (None, None) => Ok(None),
    }
}

fn credentials(raw: &RawScrape, dir: &Path) -> Result<Option<Credentials>> {
    let bearer = raw.bearer_token.as_ref().or(raw.bearer_token_file.as_ref());
    let lines = [
        raw.basic_auth.as_ref().map(|at| at.referenced.line()),
        raw.authorization.as_ref().map(|at| at.referenced.line()),
        bearer.map(|at| at.referenced.line()),
    ];
    let mut lines = lines.into_iter().flatten();
    if let (Some(_), Some(second)) = (lines.next(), lines.next()) {
        return Err(wrong(
            "at most one of basic_auth, authorization & bearer_token must be configured",
            second,
        ));
    }
    if let Some(at) = &raw.basic_auth {
        let (auth, place) = (&at.value, (dir, at.referenced.line()));
        let username = secret(auth.username.as_ref(), auth.username_file.as_ref(), "username", place)?;
        let password = secret(auth.password.as_ref(), auth.password_file.as_ref(), "password", place)?;
        return Ok(Some(Credentials::Basic { username, password }));
    }
    if let Some(at) = &raw.authorization {
        return authorization(at, dir).map(Some);
    }
    let Some(at) = bearer else { return Ok(None) };
    let value = raw.bearer_token.as_ref().map(|token| token.value.clone());
    let file = raw.bearer_token_file.as_ref().map(|file| PathBuf::from(&file.value));
    let credentials = secret(value.as_ref(), file.as_ref(), "bearer_token", (dir, at.referenced.line()))?;
    Ok(Some(Credentials::Header { kind: "Bearer".to_owned(), credentials }))
}

fn authorization(at: &At<RawAuthorization>, dir: &Path) -> Result<Credentials> {
    let (auth, line) = (&at.value, at.referenced.line());
    let kind = auth.kind.as_deref().map_or("Bearer", str::trim);
    if kind.eq_ignore_ascii_case("basic") {
        return Err(wrong("authorization type cannot be set to \"basic\", use \"basic_auth\" instead", line));
    }
    let place = (dir, line);
    let credentials =
        secret(auth.credentials.as_ref(), auth.credentials_file.as_ref(), "credentials", place)?;
    Ok(Credentials::Header { kind: if kind.is_empty() { "Bearer" } else { kind }.to_owned(), credentials })
}

fn tls_settings(at: &At<RawTls>, dir: &Path) -> Result<TlsSettings> {
    let (tls, line) = (&at.value, at.referenced.line());
    let place = (dir, line);
    let settings = TlsSettings {
        ca: secret(tls.ca.as_ref(), tls.ca_file.as_ref(), "ca", place)?,
        cert: secret(tls.cert.as_ref(), tls.cert_file.as_ref(), "cert", place)?,
        key: secret(tls.key.as_ref(), tls.key_file.as_ref(), "key", place)?,
        insecure_skip_verify: tls.insecure_skip_verify.unwrap_or(false),
        min_version: tls.min_version.as_deref().map(|v| tls_version(v, true, line)).transpose()?,
        max_version: tls.max_version.as_deref().map(|v| tls_version(v, false, line)).transpose()?,
    };
    if settings.cert.is_some() != settings.key.is_some() {
        let missing = if settings.cert.is_none() { "cert" } else { "key" };
        return Err(wrong(format!("tls_config: {missing} or {missing}_file must be configured too"), line));
    }
    Ok(settings)
}

/// A lower bound below TLS 1.2 is met by TLS 1.2; an upper bound below it cannot be kept.
fn tls_version(text: &str, lowest: bool, line: u64) -> Result<TlsVersion> {
    match text {
        "TLS13" => Ok(TlsVersion::V1_3),
        "TLS12" => Ok(TlsVersion::V1_2),
        "TLS10" | "TLS11" if lowest => Ok(TlsVersion::V1_2),
        "TLS10" | "TLS11" => {
            Err(wrong(format!("tls_config: max_version {text}: quipu speaks TLS12 and TLS13"), line))
        }
        _ => Err(wrong(format!("unknown TLS version: {text}"), line)),
    }
}

fn proxy(raw: &RawScrape) -> Result<ProxySettings> {
    let environment = raw.proxy_from_environment.as_ref().filter(|at| at.value);
    let url = raw.proxy_url.as_ref().filter(|at| !at.value.is_empty());
    match (url, environment, &raw.no_proxy) {
        (Some(_), Some(at), _) => Err(wrong(
            "if proxy_from_environment is configured, proxy_url must not be configured",
            at.referenced.line(),
        )),
        (None, Some(at), Some(_)) => Err(wrong(
            "if proxy_from_environment is configured, no_proxy must not be configured",
            at.referenced.line(),
        )),
        (Some(at), None, except) => {
            let url = at.value.clone();
            if reqwest::Proxy::all(&url).is_err() {
                return Err(wrong(format!("proxy_url {url:?} is not a URL"), at.referenced.line()));
            }
            Ok(ProxySettings::Url { url, except: except.as_ref().map(|at| at.value.clone()) })
        }
        (None, Some(_), None) => Ok(ProxySettings::Environment),
        (None, None, Some(at)) => {
            Err(wrong("if no_proxy is configured, proxy_url must also be configured", at.referenced.line()))
        }
        (None, None, None) => Ok(ProxySettings::Direct),
    }
}

fn headers(raw: &RawScrape, dir: &Path) -> Result<Vec<(String, Vec<Secret>)>> {
    let mut headers = Vec::new();
    for (name, at) in raw.http_headers.iter().flatten() {
        let line = at.referenced.line();
        if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(wrong(format!("setting header {name:?} is not allowed"), line));
        }
        if reqwest::header::HeaderName::try_from(name.as_str()).is_err() {
            return Err(wrong(format!("http_headers: {name:?} is not a header name"), line));
        }
        let written = at.value.values.iter().chain(&at.value.secrets).cloned().map(Secret::Inline);
        let files = at.value.files.iter().map(|file| Secret::File(dir.join(file)));
        headers.push((name.clone(), written.chain(files).collect()));
    }
    Ok(headers)
}
