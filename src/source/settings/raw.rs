//! One entry of `scrape_configs`, exactly as written: every key of Prometheus 3.x. `None` was not written.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::http::{RawAuthorization, RawBasicAuth, RawHeader, RawTls};
use super::scrape::Protocol;
use super::{At, EscapingScheme, Inactive, NameScheme};
use crate::model::setting::{ByteSize, Millis};
use crate::source::relabel::RawRule;

/// A key that is accepted and has no effect yet; any content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inert {
    line: u64,
}

impl<'de> Deserialize<'de> for Inert {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let at = At::<IgnoredAny>::deserialize(deserializer)?;
        Ok(Self { line: at.referenced.line() })
    }
}

/// Lists the inert keys of a struct by their names: `inert!(self, "prefix.", rule_files, alerting)`.
macro_rules! inert {
    ($raw:expr, $prefix:expr, $($key:ident),+ $(,)?) => {{
        let mut found: Vec<$crate::source::settings::Inactive> = Vec::new();
        $(if let Some(inert) = $raw.$key {
            found.push(inert.named(format!("{}{}", $prefix, stringify!($key))));
        })+
        found
    }};
}
pub(crate) use inert;

impl Inert {
    /// The entry of the list.
    pub(crate) fn named(self, section: String) -> Inactive {
        Inactive { section, line: self.line }
    }
}

/// Targets and their common labels, in `static_configs` and in discovered files.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawStaticGroup {
    pub(crate) targets: Option<Vec<At<String>>>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawFileSd {
    pub(crate) files: Option<Vec<At<String>>>,
    pub(crate) refresh_interval: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawScrape {
    pub(crate) job_name: Option<At<String>>,
    pub(crate) scrape_interval: Option<Millis>,
    pub(crate) scrape_timeout: Option<At<Millis>>,
    pub(crate) scrape_protocols: Option<At<Vec<Protocol>>>,
    pub(crate) fallback_scrape_protocol: Option<At<Protocol>>,
    pub(crate) metrics_path: Option<String>,
    pub(crate) honor_labels: Option<bool>,
    pub(crate) honor_timestamps: Option<bool>,
    pub(crate) track_timestamps_staleness: Option<bool>,
    pub(crate) scheme: Option<At<String>>,
    pub(crate) params: Option<BTreeMap<String, Vec<String>>>,
    pub(crate) enable_compression: Option<bool>,
    pub(crate) extra_scrape_metrics: Option<bool>,
    pub(crate) body_size_limit: Option<ByteSize>,
    pub(crate) sample_limit: Option<usize>,
    pub(crate) target_limit: Option<usize>,
    pub(crate) label_limit: Option<usize>,
    pub(crate) label_name_length_limit: Option<usize>,
    pub(crate) label_value_length_limit: Option<usize>,
    pub(crate) keep_dropped_targets: Option<usize>,
    pub(crate) metric_name_validation_scheme: Option<NameScheme>,
    pub(crate) metric_name_escaping_scheme: Option<At<EscapingScheme>>,
    pub(crate) relabel_configs: Option<Vec<Option<At<RawRule>>>>,
    pub(crate) metric_relabel_configs: Option<Vec<Option<At<RawRule>>>>,
    pub(crate) static_configs: Option<Vec<RawStaticGroup>>,
    pub(crate) file_sd_configs: Option<Vec<At<RawFileSd>>>,
    // Histograms.
    pub(crate) scrape_native_histograms: Option<bool>,
    #[serde(alias = "scrape_classic_histograms")]
    pub(crate) always_scrape_classic_histograms: Option<bool>,
    pub(crate) convert_classic_histograms_to_nhcb: Option<bool>,
    pub(crate) native_histogram_bucket_limit: Option<usize>,
    pub(crate) native_histogram_min_bucket_factor: Option<f64>,
    // How to reach the target.
    pub(crate) basic_auth: Option<At<RawBasicAuth>>,
    pub(crate) authorization: Option<At<RawAuthorization>>,
    pub(crate) bearer_token: Option<At<String>>,
    pub(crate) bearer_token_file: Option<At<String>>,
    pub(crate) tls_config: Option<At<RawTls>>,
    pub(crate) follow_redirects: Option<bool>,
    pub(crate) proxy_url: Option<At<String>>,
    pub(crate) no_proxy: Option<At<String>>,
    pub(crate) proxy_from_environment: Option<At<bool>>,
    pub(crate) http_headers: Option<BTreeMap<String, At<RawHeader>>>,
    // Without effect yet.
    pub(crate) oauth2: Option<Inert>,
    pub(crate) enable_http2: Option<Inert>,
    pub(crate) proxy_connect_header: Option<Inert>,
    pub(crate) scrape_failure_log_file: Option<Inert>,
    pub(crate) aws_sd_configs: Option<Inert>,
    pub(crate) azure_sd_configs: Option<Inert>,
    pub(crate) consul_sd_configs: Option<Inert>,
    pub(crate) digitalocean_sd_configs: Option<Inert>,
    pub(crate) dns_sd_configs: Option<Inert>,
    pub(crate) docker_sd_configs: Option<Inert>,
    pub(crate) dockerswarm_sd_configs: Option<Inert>,
    pub(crate) ec2_sd_configs: Option<Inert>,
    pub(crate) eureka_sd_configs: Option<Inert>,
    pub(crate) gce_sd_configs: Option<Inert>,
    pub(crate) hetzner_sd_configs: Option<Inert>,
    pub(crate) http_sd_configs: Option<Inert>,
    pub(crate) ionos_sd_configs: Option<Inert>,
    pub(crate) kubernetes_sd_configs: Option<Inert>,
    pub(crate) kuma_sd_configs: Option<Inert>,
    pub(crate) lightsail_sd_configs: Option<Inert>,
    pub(crate) linode_sd_configs: Option<Inert>,
    pub(crate) marathon_sd_configs: Option<Inert>,
    pub(crate) nerve_sd_configs: Option<Inert>,
    pub(crate) nomad_sd_configs: Option<Inert>,
    pub(crate) oci_sd_configs: Option<Inert>,
    pub(crate) openstack_sd_configs: Option<Inert>,
    pub(crate) outscale_sd_configs: Option<Inert>,
    pub(crate) ovhcloud_sd_configs: Option<Inert>,
    pub(crate) puppetdb_sd_configs: Option<Inert>,
    pub(crate) scaleway_sd_configs: Option<Inert>,
    pub(crate) serverset_sd_configs: Option<Inert>,
    pub(crate) stackit_sd_configs: Option<Inert>,
    pub(crate) triton_sd_configs: Option<Inert>,
    pub(crate) uyuni_sd_configs: Option<Inert>,
    pub(crate) vultr_sd_configs: Option<Inert>,
}

impl RawScrape {
    /// What has no effect in this entry.
    pub(crate) fn inactive(&self) -> Vec<Inactive> {
        let job = self.job_name.as_ref().map_or("", |job| job.value.as_str());
        let prefix = format!("scrape_configs[{job}].");
        let mut found = self.inactive_options(&prefix);
        found.extend(self.inactive_discoveries(&prefix));
        let server_name = self.tls_config.as_ref().and_then(|tls| tls.value.server_name);
        found.extend(server_name.map(|inert| inert.named(format!("{prefix}tls_config.server_name"))));
        found
    }

    fn inactive_options(&self, prefix: &str) -> Vec<Inactive> {
        inert!(self, prefix, oauth2, enable_http2, proxy_connect_header, scrape_failure_log_file,)
    }

    fn inactive_discoveries(&self, prefix: &str) -> Vec<Inactive> {
        inert!(
            self,
            prefix,
            aws_sd_configs,
            azure_sd_configs,
            consul_sd_configs,
            digitalocean_sd_configs,
            dns_sd_configs,
            docker_sd_configs,
            dockerswarm_sd_configs,
            ec2_sd_configs,
            eureka_sd_configs,
            gce_sd_configs,
            hetzner_sd_configs,
            http_sd_configs,
            ionos_sd_configs,
            kubernetes_sd_configs,
            kuma_sd_configs,
            lightsail_sd_configs,
            linode_sd_configs,
            marathon_sd_configs,
            nerve_sd_configs,
            nomad_sd_configs,
            oci_sd_configs,
            openstack_sd_configs,
            outscale_sd_configs,
            ovhcloud_sd_configs,
            puppetdb_sd_configs,
            scaleway_sd_configs,
            serverset_sd_configs,
            stackit_sd_configs,
            triton_sd_configs,
            uyuni_sd_configs,
            vultr_sd_configs,
        )
    }
}
