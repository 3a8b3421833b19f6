//! The configuration as anyone may see it at `/api/v1/status/config`: the file's content without its secrets.

use serde_json::Value;

use crate::config::Config;
use crate::error::{Error, Result};

/// What Prometheus writes in place of a secret.
const HIDDEN: &str = "<secret>";
/// Keys whose values are secrets wherever they stand. File names of secrets are none.
const SECRETS: [&str; 14] = [
    "password",
    "credentials",
    "bearer_token",
    "client_secret",
    "client_certificate_key",
    "secret_access_key",
    "secret_key",
    "secrets",
    "key",
    "token",
    "api_key",
    "auth_token",
    "service_key",
    "shared_secret",
];

/// The YAML text. Comments and the order of keys are those of a rewritten file, not of the original.
///
/// # Errors
/// `Internal` when a text that was just read as YAML is none.
pub(super) fn yaml(config: &Config, own_address: &str) -> Result<String> {
    if config.text.trim().is_empty() {
        let own = "# No configuration file: quipu scrapes itself.\nscrape_configs:\n  - job_name: quipu\n";
        let rest =
            format!("    scrape_interval: 15s\n    static_configs:\n      - targets: ['{own_address}']\n");
        return Ok(own.to_owned() + &rest);
    }
    let mut value: Value = serde_saphyr::from_str(&config.text)
        .map_err(|e| Error::internal(format!("the configuration is no plain YAML: {e}")))?;
    hide(&mut value);
    serde_saphyr::to_string(&value)
        .map_err(|e| Error::internal(format!("the configuration cannot be written: {e}")))
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries.iter_mut() {
                if SECRETS.contains(&key.as_str()) && !value.is_null() {
                    *value = Value::String(HIDDEN.to_owned());
                } else {
                    hide(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        Value::String(text) => *text = without_user(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `http://user:password@host` with the password hidden, as Go's `URL.Redacted`.
fn without_user(text: &str) -> String {
    let hidden = || {
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (user, _) = rest[..end].rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}://{name}:{HIDDEN}{}", &rest[user.len()..]))
    };
    hidden().unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_is_shown() -> Result<()> {
        let text = "
scrape_configs:
  - job_name: a
    basic_auth: {username: me, password: hunter2}
    proxy_url: http://me:hunter2@proxy:8080/x
  - job_name: b
    authorization: {credentials: hunter2}
quipu: {store: {s3: {access_key_id: id, secret_access_key: hunter2}}}
";
        let config = Config::parse(text, Path::new("p.yml"), &|_| None)?;
        let shown = yaml(&config, "127.0.0.1:9090")?;
        assert!(!shown.contains("hunter2"), "{shown}");
        for kept in ["job_name: a", "username: me", "http://me:<secret>@proxy:8080/x", "access_key_id: id"] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
        assert!(serde_saphyr::from_str::<Value>(&shown).is_ok(), "{shown}");
        Ok(())
    }

    #[test]
    fn without_a_file_it_says_what_is_done() -> Result<()> {
        let shown = yaml(&Config::embedded_default(7), "127.0.0.1:7")?;
        assert!(shown.contains("['127.0.0.1:7']"), "{shown}");
        Config::parse(&shown, Path::new("p.yml"), &|_| None).map(drop)
    }
}
