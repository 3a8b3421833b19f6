//! One HTTP GET: content negotiation, credentials, gzip, size and time limits.

use std::io::Read;
use std::sync::{Mutex, PoisonError};

use flate2::read::MultiGzDecoder;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::{
    Certificate, Client, ClientBuilder, Identity, NoProxy, Proxy, RequestBuilder, Response, redirect, tls,
};

use crate::error::{Error, Kind, Result};
use crate::source::settings::{
    Credentials, EscapingScheme, HttpSettings, Protocol, ProxySettings, ScrapeSettings, Secret, TlsSettings,
    TlsVersion,
};
use crate::source::target::Target;
use crate::wire::exposition::Format;

/// The bodies of targets without `body_size_limit` end here, in bytes after decompression.
const MAX_BODY_BYTES: u64 = 256 << 20;
const MAX_REDIRECTS: usize = 10;
const USER_AGENT: &str = concat!("quipu/", env!("CARGO_PKG_VERSION"));
const TIMEOUT_HEADER: &str = "X-Prometheus-Scrape-Timeout-Seconds";
/// How the message of a body that is too long begins; `scrape_body_size_bytes` is -1 then.
pub(super) const BODY_LIMIT: &str = "body size limit exceeded";

/// Fetches the targets of one job.
#[derive(Debug)]
pub(super) struct Fetcher {
    http: HttpSettings,
    accept: String,
    compression: bool,
    fallback: Option<Format>,
    body_limit: u64,
    /// Made at the first use, and again while a certificate file is missing.
    client: Mutex<Option<Client>>,
}

impl Fetcher {
    pub(super) fn new(job: &ScrapeSettings) -> Self {
        let own_limit = job.limits.body_size.as_bytes();
        Self {
            http: job.http.clone(),
            accept: accept(&job.protocols, job.escaping),
            compression: job.compression,
            fallback: job.fallback.and_then(|protocol| Format::from_content_type(protocol.media_type())),
            body_limit: if own_limit == 0 { MAX_BODY_BYTES } else { own_limit },
            client: Mutex::new(None),
        }
    }

    /// Reads a target's body into `body`, decompressed; gives its format.
    ///
    /// # Errors
    /// `Timeout`, `Io` or `Limit`, in words for the targets page.
    pub(super) async fn get(&self, target: &Target, body: &mut Vec<u8>) -> Result<Format> {
        body.clear();
        let response = self.request(target).await?.send().await.map_err(|e| failed(target, &e))?;
        let status = response.status();
        if status != reqwest::StatusCode::OK {
            return Err(Error::new(Kind::Io, format!("server returned HTTP status {status}")));
        }
        let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let gzip = header(CONTENT_ENCODING).is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        let content_type = header(CONTENT_TYPE).unwrap_or("").to_owned();
        if gzip {
            let mut compressed = Vec::new();
            self.read(response, target, &mut compressed).await?;
            self.decompress(&compressed, body)?;
        } else {
            self.read(response, target, body).await?;
        }
        Format::from_content_type(&content_type).or(self.fallback).ok_or_else(|| {
            let message = "the body is neither text nor OpenMetrics nor protobuf and no fallback_scrape_protocol is set";
            Error::new(Kind::Unsupported, message).with("content type", content_type.escape_debug())
        })
    }

    async fn request(&self, target: &Target) -> Result<RequestBuilder> {
        let seconds = target.timeout.as_std().as_secs_f64().to_string();
        let mut request = self
            .client()?
            .get(&target.url)
            .timeout(target.timeout.as_std())
            .header(ACCEPT, &self.accept)
            .header(ACCEPT_ENCODING, if self.compression { "gzip" } else { "identity" })
            .header(TIMEOUT_HEADER, seconds);
        for (name, values) in &self.http.headers {
            for value in values {
                request = request.header(name, secret(value).await?);
            }
        }
        match &self.http.credentials {
            None => Ok(request),
            Some(Credentials::Basic { username, password }) => {
                let (name, word) = (optional(username.as_ref()).await?, optional(password.as_ref()).await?);
                Ok(request.basic_auth(name, Some(word)))
            }
            Some(Credentials::Header { kind, credentials }) => {
                let value = format!("{kind} {}", optional(credentials.as_ref()).await?);
                let mut value = HeaderValue::try_from(value)
                    .map_err(|_| Error::new(Kind::Config, "the credentials are no header value"))?;
                value.set_sensitive(true);
                Ok(request.header(AUTHORIZATION, value))
            }
        }
    }

    async fn read(&self, mut response: Response, target: &Target, into: &mut Vec<u8>) -> Result<()> {
        while let Some(chunk) = response.chunk().await.map_err(|e| failed(target, &e))? {
            into.extend_from_slice(&chunk);
            self.check_size(into.len())?;
        }
        Ok(())
    }

    fn decompress(&self, compressed: &[u8], into: &mut Vec<u8>) -> Result<()> {
        let mut decoder = MultiGzDecoder::new(compressed).take(self.body_limit);
        decoder.read_to_end(into).map_err(|e| Error::new(Kind::Io, "the body is not gzip").caused_by(e))?;
        self.check_size(into.len())
    }

    /// As Prometheus: the limit itself is already too much.
    fn check_size(&self, len: usize) -> Result<()> {
        if u64::try_from(len).is_ok_and(|len| len < self.body_limit) {
            return Ok(());
        }
        Err(Error::new(Kind::Limit, BODY_LIMIT).with("body_size_limit", self.body_limit))
    }

    fn client(&self) -> Result<Client> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made = build(&self.http)?;
        *client = Some(made.clone());
        Ok(made)
    }
}

/// The `Accept` header in Prometheus' words: falling weights, anything at last.
fn accept(protocols: &[Protocol], escaping: EscapingScheme) -> String {
    const HIGHEST: usize = 6;
    let mut parts = Vec::new();
    let mut weight = HIGHEST;
    for protocol in protocols {
        let escaping = match protocol {
            Protocol::PrometheusText100 | Protocol::OpenMetricsText100 => {
                format!(";escaping={}", escaping.as_str())
            }
            _ => String::new(),
        };
        parts.push(format!("{}{escaping};q=0.{weight}", protocol.media_type()));
        weight -= 1;
    }
    parts.push(format!("*/*;q=0.{weight}"));
    parts.join(",")
}

fn build(http: &HttpSettings) -> Result<Client> {
    // The provider is the process'; whoever was first has installed the same one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let redirects = if http.follow_redirects {
        redirect::Policy::limited(MAX_REDIRECTS)
    } else {
        redirect::Policy::none()
    };
    let builder = Client::builder().user_agent(USER_AGENT).redirect(redirects).pool_max_idle_per_host(1);
    let builder = with_tls(with_proxy(builder, &http.proxy)?, &http.tls)?;
    builder.build().map_err(|e| bad_client(&e))
}

fn with_proxy(builder: ClientBuilder, proxy: &ProxySettings) -> Result<ClientBuilder> {
    match proxy {
        ProxySettings::Direct => Ok(builder.no_proxy()),
        ProxySettings::Environment => Ok(builder),
        ProxySettings::Url { url, except } => {
            let proxy = Proxy::all(url).map_err(|e| bad_client(&e))?;
            let except = except.as_deref().and_then(NoProxy::from_string);
            Ok(builder.proxy(proxy.no_proxy(except)))
        }
    }
}

fn with_tls(mut builder: ClientBuilder, tls: &TlsSettings) -> Result<ClientBuilder> {
    let version = |version| match version {
        TlsVersion::V1_2 => tls::Version::TLS_1_2,
        TlsVersion::V1_3 => tls::Version::TLS_1_3,
    };
    builder = builder.danger_accept_invalid_certs(tls.insecure_skip_verify);
    if let Some(lowest) = tls.min_version {
        builder = builder.min_tls_version(version(lowest));
    }
    if let Some(highest) = tls.max_version {
        builder = builder.max_tls_version(version(highest));
    }
    if let Some(ca) = &tls.ca {
        builder = builder.tls_built_in_root_certs(false);
        for certificate in
            Certificate::from_pem_bundle(read_secret(ca)?.as_bytes()).map_err(|e| bad_client(&e))?
        {
            builder = builder.add_root_certificate(certificate);
        }
    }
    if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
        let pem = format!("{}\n{}", read_secret(cert)?, read_secret(key)?);
        builder = builder.identity(Identity::from_pem(pem.as_bytes()).map_err(|e| bad_client(&e))?);
    }
    Ok(builder)
}

fn bad_client(error: &reqwest::Error) -> Error {
    Error::new(Kind::Config, format!("cannot make the HTTP client: {}", chain(error)))
}

fn failed(target: &Target, error: &reqwest::Error) -> Error {
    if error.is_timeout() {
        let message = format!("Get {:?}: scrape_timeout of {} passed", target.url, target.timeout);
        return Error::new(Kind::Timeout, message);
    }
    Error::new(Kind::Io, format!("Get {:?}: {}", target.url, chain(error)))
}

/// The causes only: reqwest's own text repeats the URL.
fn chain(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

/// A secret's text now.
async fn secret(secret: &Secret) -> Result<String> {
    match secret {
        Secret::Inline(text) => Ok(text.clone()),
        Secret::File(path) => {
            let text = tokio::fs::read_to_string(path).await;
            text.map(|text| text.trim().to_owned()).map_err(|e| Error::from(e).with("file", path.display()))
        }
    }
}

async fn optional(value: Option<&Secret>) -> Result<String> {
    match value {
        Some(value) => secret(value).await,
        None => Ok(String::new()),
    }
}

fn read_secret(secret: &Secret) -> Result<String> {
    match secret {
        Secret::Inline(text) => Ok(text.clone()),
        Secret::File(path) => {
            std::fs::read_to_string(path).map_err(|e| Error::from(e).with("file", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_is_prometheus_own() {
        let header = accept(&Protocol::DEFAULT, EscapingScheme::AllowUtf8);
        assert_eq!(
            header,
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
        let only = accept(&[Protocol::PrometheusProto, Protocol::PrometheusText004], EscapingScheme::Dots);
        let protobuf = Protocol::PrometheusProto.media_type();
        assert_eq!(only, format!("{protobuf};q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.4"));
    }
}
