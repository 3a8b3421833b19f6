//! How to reach an object store, as the user wrote it. What is not given here comes from the environment
//! (`AWS_*`), as every S3 tool reads it.

use std::fmt;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::model::setting::Millis;

/// A connection is there within this or the try fails.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One try of one request, body included (at most 8 MiB up, a range down), where nothing else is asked for.
const REQUEST_TIMEOUT: Millis = Millis::seconds(30);
/// All tries of one request together, where nothing else is asked for.
const RETRY_TIMEOUT: Millis = Millis::seconds(90);
const MAX_RETRIES: usize = 6;

/// The object store's part of the configuration; all of it is optional.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectsOptions {
    /// URL of an S3-compatible server.
    pub endpoint: Option<String>,
    /// Region; S3-compatible servers often take any.
    pub region: Option<String>,
    /// Access key.
    pub access_key_id: Option<String>,
    /// Its secret.
    pub secret_access_key: Option<String>,
    /// Whether plain `http://` endpoints are allowed.
    pub allow_http: bool,
    /// How long one try of a request may take. Default 30 s.
    pub request_timeout: Option<Millis>,
    /// How long all tries of a request may take together. Default 90 s.
    pub retry_timeout: Option<Millis>,
}

impl fmt::Debug for ObjectsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectsOptions")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &self.secret_access_key.as_ref().map(|_| "<secret>"))
            .field("allow_http", &self.allow_http)
            .field("request_timeout", &self.request_timeout)
            .field("retry_timeout", &self.retry_timeout)
            .finish()
    }
}

impl ObjectsOptions {
    pub(super) fn s3(&self, bucket: &str) -> Result<AmazonS3> {
        if bucket.is_empty() {
            return Err(Error::new(Kind::Config, "an s3:// location names a bucket"));
        }
        if [self.request_timeout, self.retry_timeout].into_iter().flatten().any(Millis::is_zero) {
            return Err(Error::new(Kind::Config, "a timeout of the object store must be longer than 0s"));
        }
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_retry(self.retry())
            .with_client_options(self.client());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some(key) = &self.access_key_id {
            builder = builder.with_access_key_id(key);
        }
        if let Some(secret) = &self.secret_access_key {
            builder = builder.with_secret_access_key(secret);
        }
        builder.build().map_err(|e| Error::new(Kind::Config, "the S3 settings make no sense").caused_by(e))
    }

    fn client(&self) -> ClientOptions {
        ClientOptions::new()
            .with_allow_http(self.allow_http)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(self.request_timeout.unwrap_or(REQUEST_TIMEOUT).as_std())
    }

    fn retry(&self) -> RetryConfig {
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        };
        let retry_timeout = self.retry_timeout.unwrap_or(RETRY_TIMEOUT).as_std();
        RetryConfig { backoff, max_retries: MAX_RETRIES, retry_timeout }
    }
}
