//! The series about a scrape itself.

use super::round::Counts;
use crate::model::time::count_to_f64;
use crate::source::settings::ScrapeSettings;
use crate::source::target::Target;

/// How many there are at most.
pub(super) const REPORTS: usize = 8;
/// How many there are without `extra_scrape_metrics`.
const PLAIN: usize = 5;

/// What one round reports.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) up: bool,
    pub(super) seconds: f64,
    pub(super) counts: Counts,
    pub(super) target: &'a Target,
    pub(super) job: &'a ScrapeSettings,
}

impl Report<'_> {
    pub(super) const METRICS: [&'static str; REPORTS] = [
        "up",
        "scrape_duration_seconds",
        "scrape_samples_scraped",
        "scrape_samples_post_metric_relabeling",
        "scrape_series_added",
        "scrape_timeout_seconds",
        "scrape_sample_limit",
        "scrape_body_size_bytes",
    ];

    /// Metrics and values, in the order of [`Self::METRICS`].
    pub(super) fn samples(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let counts = self.counts;
        let bytes = usize::try_from(counts.bytes).map_or(-1.0, count_to_f64);
        let values = [
            f64::from(u8::from(self.up)),
            self.seconds,
            count_to_f64(counts.scraped),
            count_to_f64(counts.kept),
            count_to_f64(counts.added),
            self.target.timeout.as_std().as_secs_f64(),
            count_to_f64(self.job.limits.samples),
            bytes,
        ];
        let shown = if self.job.extra_metrics { REPORTS } else { PLAIN };
        Self::METRICS.into_iter().zip(values).take(shown)
    }
}
