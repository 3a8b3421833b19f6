//! A target: from a discovered address to labels, a URL and a place in the interval, as Prometheus'
//! `PopulateLabels` does it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use xxhash_rust::xxh3::xxh3_64;

use super::discovery::Group;
use super::label_set::LabelSet;
use super::relabel;
use super::settings::ScrapeSettings;
use crate::error::{Error, Result};
use crate::model::Labels;
use crate::model::setting::Millis;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM_PREFIX: &str = "__param_";
const META_PREFIX: &str = "__meta_";
const RESERVED_PREFIX: &str = "__";

/// What Go's `url.URL` leaves as it is in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An endpoint that is scraped.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    /// The labels that its samples get: none that begins with `__`.
    pub(super) labels: LabelSet,
    /// The labels before relabelling.
    pub(super) discovered: Labels,
    pub(super) url: String,
    pub(super) interval: Millis,
    pub(super) timeout: Millis,
    /// Identifies the target in its job: labels and URL, but neither interval nor timeout.
    pub(super) hash: u64,
}

/// What became of a discovered address.
#[derive(Debug, PartialEq)]
pub(super) enum Populated {
    Active(Box<Target>),
    /// Dropped by relabelling; its labels before.
    Dropped(Labels),
}

impl Target {
    /// Builds the target of one address of a group.
    ///
    /// # Errors
    /// `Invalid` when what relabelling left is no target: no address, a bad interval, a URL as address.
    pub(super) fn populate(address: &str, group: &Group, job: &ScrapeSettings) -> Result<Populated> {
        let mut labels = discovered_labels(address, group, job);
        let discovered = canonical(&mut labels)?;
        if !relabel::apply(&job.relabel, &mut labels) {
            return Ok(Populated::Dropped(discovered));
        }
        let (interval, timeout) = check(&labels)?;
        let url = url(&labels, job);
        let address = labels.get(ADDRESS).to_owned();
        labels.set_missing("instance", &address);
        labels.retain(|name| !name.starts_with(META_PREFIX) && name != INTERVAL && name != TIMEOUT);
        let identity = canonical(&mut labels)?;
        labels.retain(|name| !name.starts_with(RESERVED_PREFIX));
        labels.sort();
        let hash = xxh3_64(&[identity.as_bytes(), url.as_bytes()].concat());
        Ok(Populated::Active(Box::new(Self { labels, discovered, url, interval, timeout, hash })))
    }

    /// How long to wait from `now_ms` until the target's place in its interval, in ms. The place depends on the
    /// target and the seed alone, so that targets are spread and a restart changes nothing.
    pub(super) fn offset_ms(&self, now_ms: i64, seed: u64) -> u64 {
        let interval = self.interval.as_ms();
        let place = (self.hash ^ seed) % interval;
        let now = now_ms.rem_euclid(self.interval.as_time()).unsigned_abs();
        (place + interval - now) % interval
    }
}

/// The labels before relabelling: the target's own, the group's, then the job's defaults.
fn discovered_labels(address: &str, group: &Group, job: &ScrapeSettings) -> LabelSet {
    let mut labels = LabelSet::new();
    labels.set(ADDRESS, address);
    for (name, value) in &group.labels {
        labels.set_missing(name, value);
    }
    labels.set_missing("job", &job.job);
    labels.set_missing(INTERVAL, &job.interval.to_string());
    labels.set_missing(TIMEOUT, &job.timeout.to_string());
    labels.set_missing(METRICS_PATH, &job.metrics_path);
    labels.set_missing(SCHEME, job.scheme.as_str());
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            labels.set_missing(&format!("{PARAM_PREFIX}{name}"), first);
        }
    }
    labels
}

/// Refuses what cannot be scraped; gives interval and timeout.
fn check(labels: &LabelSet) -> Result<(Millis, Millis)> {
    let address = labels.get(ADDRESS);
    if address.is_empty() {
        return Err(Error::invalid("no address"));
    }
    if address.contains('/') {
        return Err(Error::invalid(format!("{address:?} is not a valid hostname")));
    }
    let scheme = labels.get(SCHEME);
    if !matches!(scheme, "http" | "https") {
        return Err(Error::invalid(format!("unsupported protocol scheme {scheme:?}")));
    }
    let duration = |name, what: &str| {
        let parsed = Millis::parse(labels.get(name));
        let parsed =
            parsed.map_err(|e| Error::invalid(format!("error parsing scrape {what}")).caused_by(e))?;
        if parsed.is_zero() { Err(Error::invalid(format!("scrape {what} cannot be 0"))) } else { Ok(parsed) }
    };
    let (interval, timeout) = (duration(INTERVAL, "interval")?, duration(TIMEOUT, "timeout")?);
    if timeout > interval {
        let message = "scrape timeout cannot be greater than scrape interval";
        return Err(Error::invalid(format!("{message} ({timeout:?} > {interval:?})")));
    }
    Ok((interval, timeout))
}

fn url(labels: &LabelSet, job: &ScrapeSettings) -> String {
    let path = labels.get(METRICS_PATH);
    let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
    let path = utf8_percent_encode(path, PATH);
    let mut url = format!("{}://{}{slash}{path}", labels.get(SCHEME), labels.get(ADDRESS));
    let mut params = job.params.clone();
    for (name, value) in labels.iter() {
        let Some(name) = name.strip_prefix(PARAM_PREFIX) else { continue };
        let values = params.entry(name.to_owned()).or_default();
        match values.first_mut() {
            Some(first) => value.clone_into(first),
            None => values.push(value.to_owned()),
        }
    }
    let pairs = params.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    for (i, (name, value)) in pairs.enumerate() {
        url.push(if i == 0 { '?' } else { '&' });
        url.push_str(&query_text(name));
        url.push('=');
        url.push_str(&query_text(value));
    }
    url
}

fn query_text(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string().replace("%20", "+")
}

fn canonical(labels: &mut LabelSet) -> Result<Labels> {
    labels.sort();
    Labels::from_pairs(labels.iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::relabel::{RawRule, Rule};
    use crate::source::settings::{GlobalSettings, NameScheme, Scheme};

    fn job() -> ScrapeSettings {
        ScrapeSettings::new("api", &GlobalSettings::default())
    }

    fn with_rules(yaml: &str) -> ScrapeSettings {
        let raw: Vec<RawRule> = serde_saphyr::from_str(yaml).expect("the test's YAML is well formed");
        let rules = raw.iter().map(|raw| Rule::new(raw, NameScheme::Utf8)).collect::<Result<_>>();
        ScrapeSettings { relabel: rules.expect("the test's rules are right"), ..job() }
    }

    fn group(labels: &[(&str, &str)]) -> Group {
        let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Group { labels, ..Group::default() }
    }

    fn active(populated: Populated) -> Target {
        match populated {
            Populated::Active(target) => *target,
            Populated::Dropped(labels) => unreachable!("{labels:?} was dropped"),
        }
    }

    #[test]
    fn labels_are_populated_as_in_prometheus() -> Result<()> {
        let group = group(&[("zone", "eu"), ("__meta_x", "y"), ("__param_p", "v 1"), ("__tmp", "t")]);
        let mut job = job();
        job.params.insert("p".to_owned(), vec!["old".to_owned(), "second".to_owned()]);
        job.params.insert("q".to_owned(), vec!["a&b".to_owned()]);
        let target = active(Target::populate("a.example:1", &group, &job)?);
        let labels: Vec<_> = target.labels.iter().collect();
        assert_eq!(labels, [("instance", "a.example:1"), ("job", "api"), ("zone", "eu")]);
        assert_eq!(target.url, "http://a.example:1/metrics?p=v+1&p=second&q=a%26b");
        assert_eq!((target.interval, target.timeout), (Millis::minutes(1), Millis::seconds(10)));
        assert_eq!(target.discovered.get("__meta_x"), Some("y"));
        assert_eq!(target.discovered.get("__scrape_interval__"), Some("1m"));
        assert_eq!(target.discovered.get("__param_q"), Some("a&b"));
        assert_eq!(target.discovered.get("instance"), None, "instance is set after relabelling");
        Ok(())
    }

    #[test]
    fn relabelling_decides_about_address_url_and_interval() -> Result<()> {
        let job = with_rules(
            "[{source_labels: [__address__], regex: '([^:]+):.*', target_label: __address__, replacement: '${1}:99'},
              {target_label: __metrics_path__, replacement: 'my metrics?'},
              {target_label: __scheme__, replacement: https},
              {target_label: __scrape_interval__, replacement: 5s}, {target_label: __scrape_timeout__, replacement: 2s},
              {target_label: instance, replacement: named}]",
        );
        let target = active(Target::populate("h:1", &Group::default(), &job)?);
        assert_eq!(target.url, "https://h:99/my%20metrics%3F");
        assert_eq!((target.interval, target.timeout), (Millis::seconds(5), Millis::seconds(2)));
        assert_eq!(target.labels.get("instance"), "named");
        let plain = ScrapeSettings { scheme: Scheme::Https, ..self::job() };
        assert_eq!(
            active(Target::populate("[::1]", &Group::default(), &plain)?).url,
            "https://[::1]/metrics"
        );
        Ok(())
    }

    #[test]
    fn what_is_no_target_is_refused_or_dropped() -> Result<()> {
        let dropped = Target::populate("a:1", &Group::default(), &with_rules("[{action: keep, regex: x}]"))?;
        assert!(matches!(dropped, Populated::Dropped(labels) if labels.get("job") == Some("api")));
        let cases = [
            ("{target_label: __address__, replacement: ''}", "no address"),
            ("{target_label: __address__, replacement: 'http://x'}", "not a valid hostname"),
            ("{target_label: __scrape_interval__, replacement: never}", "error parsing scrape interval"),
            ("{target_label: __scrape_timeout__, replacement: 0s}", "scrape timeout cannot be 0"),
            ("{target_label: __scrape_interval__, replacement: 5s}", "cannot be greater"),
            ("{target_label: __scheme__, replacement: ftp}", "unsupported protocol scheme"),
        ];
        for (rule, message) in cases {
            let result = Target::populate("a:1", &Group::default(), &with_rules(&format!("[{rule}]")));
            assert!(result.expect_err(rule).message().contains(message), "{rule}");
        }
        Ok(())
    }

    #[test]
    fn places_are_fixed_and_spread_over_the_interval() -> Result<()> {
        let mut places = Vec::new();
        for port in 0..1_000 {
            let target = active(Target::populate(&format!("a:{port}"), &Group::default(), &job())?);
            let offset = target.offset_ms(1_700_000_000_123, 7);
            assert!(offset < 60_000);
            let later = target.offset_ms(1_700_000_000_123 + 500, 7);
            assert_eq!((later + 500) % 60_000, offset, "the place does not depend on the time of asking");
            places.push(offset);
        }
        let early = places.iter().filter(|place| **place < 15_000).count();
        assert!((150..350).contains(&early), "{early} of 1,000 in the first quarter");
        Ok(())
    }
}
