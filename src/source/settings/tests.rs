//! From what the user wrote to what is meant.

use std::path::Path;

use super::*;
use crate::config::Config;
use crate::error::Result;
use crate::model::setting::{ByteSize, Millis};

fn jobs(text: &str) -> Result<Vec<ScrapeSettings>> {
    Ok(Config::parse(text, Path::new("/etc/q/p.yml"), &|_| None)?.scrapes)
}

fn job(text: &str) -> Result<ScrapeSettings> {
    let text = format!("scrape_configs:\n- job_name: j\n  {}\n", text.replace('\n', "\n  "));
    Ok(jobs(&text)?.remove(0))
}

#[test]
fn a_job_inherits_what_it_does_not_say() -> Result<()> {
    let all = jobs(
        "global: {scrape_interval: 5s, sample_limit: 10, body_size_limit: 1KB, extra_scrape_metrics: true, label_limit: 3}\n\
         scrape_configs:\n- job_name: a\n- job_name: b\n  scrape_interval: 1m\n  scrape_timeout: 20s\n  sample_limit: 7\n  extra_scrape_metrics: false\n",
    )?;
    let (a, b) = (&all[0], &all[1]);
    assert_eq!(
        (a.interval, a.timeout),
        (Millis::seconds(5), Millis::seconds(5)),
        "10 s is cut to the interval"
    );
    assert_eq!((a.limits.samples, a.limits.body_size, a.limits.labels), (10, ByteSize::new(1024), 3));
    assert_eq!((b.interval, b.timeout), (Millis::minutes(1), Millis::seconds(20)));
    assert_eq!((b.limits.samples, b.limits.labels), (7, 3));
    assert!(a.extra_metrics && !b.extra_metrics);
    assert_eq!(a.protocols, Protocol::DEFAULT);
    assert!(a.labels.honor_timestamps && !a.labels.honor_labels && a.compression && a.http.follow_redirects);
    Ok(())
}

#[test]
fn names_and_escaping_fit_together() -> Result<()> {
    let legacy = job("metric_name_validation_scheme: legacy")?;
    assert_eq!(
        (legacy.labels.name_scheme, legacy.escaping),
        (NameScheme::Legacy, EscapingScheme::Underscores)
    );
    assert_eq!(job("metric_name_escaping_scheme: dots")?.escaping, EscapingScheme::Dots);
    assert!(job("metric_name_validation_scheme: legacy\nmetric_name_escaping_scheme: allow-utf-8").is_err());
    assert!(NameScheme::Legacy.is_metric_name("a:b_1") && !NameScheme::Legacy.is_label_name("a:b"));
    assert!(!NameScheme::Legacy.is_label_name("1a") && NameScheme::Utf8.is_label_name("1 ä"));
    Ok(())
}

#[test]
fn credentials_are_one_kind_and_secrets_are_not_shown() -> Result<()> {
    let basic = job("basic_auth: {username: u, password_file: pw}")?.http;
    let file = Secret::File("/etc/q/pw".into());
    let expected =
        Credentials::Basic { username: Some(Secret::Inline("u".to_owned())), password: Some(file) };
    assert_eq!(basic.credentials, Some(expected), "a file stands beside the configuration");
    let bearer = job("authorization: {credentials: hush}")?.http;
    assert!(!format!("{bearer:?}").contains("hush"));
    assert_eq!(bearer, job("bearer_token: hush")?.http);
    for bad in [
        "basic_auth: {password: a, password_file: b}",
        "authorization: {type: Basic, credentials: x}",
        "bearer_token: a\nauthorization: {credentials: b}",
        "tls_config: {cert_file: a.pem}",
        "tls_config: {max_version: TLS10}",
        "tls_config: {min_version: SSL3}",
        "no_proxy: a",
        "proxy_url: http://p:1\nproxy_from_environment: true",
    ] {
        assert!(job(bad).is_err(), "{bad}");
    }
    let tls =
        job("scheme: https\ntls_config: {min_version: TLS10, insecure_skip_verify: true, ca_file: /ca.pem}")?;
    assert_eq!(tls.scheme, Scheme::Https);
    assert_eq!(tls.http.tls.min_version, Some(TlsVersion::V1_2));
    Ok(())
}

#[test]
fn numbers_are_labels_too() -> Result<()> {
    let job =
        job("static_configs:\n- targets: ['a:1']\n  labels: {port: 9090, on: yes}\nparams: {x: [1, b]}")?;
    let labels = &job.static_groups[0].labels;
    assert_eq!(labels[1], ("port".to_owned(), "9090".to_owned()));
    assert_eq!(job.params["x"], ["1", "b"]);
    Ok(())
}

#[test]
fn caches_survive_what_does_not_shape_samples() -> Result<()> {
    let plain = job("scrape_interval: 15s")?;
    assert!(job("scrape_interval: 30s\nbearer_token: x\nsample_limit: 5")?.keeps_caches_of(&plain));
    for other in ["honor_labels: true", "metric_relabel_configs: [{action: keep}]", "label_limit: 9"] {
        assert!(!job(other)?.keeps_caches_of(&plain), "{other}");
    }
    Ok(())
}
