//! Our own telemetry about scraping.

use crate::runtime::{Counter, Gauge, Registry};

/// Counters of all jobs together. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Stats {
    good: Counter,
    bad: Counter,
    samples: Counter,
    stale: Counter,
    duplicates: Counter,
    out_of_bounds: Counter,
    exemplars: Counter,
    pub(super) active: Gauge,
    pub(super) dropped: Gauge,
}

impl Stats {
    pub(super) fn new(registry: &Registry) -> Self {
        let scrapes = |result| {
            registry.counter("quipu_scrapes_total", "Scrapes by how they ended.", &[("result", result)])
        };
        let refused = |reason| {
            let help = "Samples of good scrapes that were not stored.";
            registry.counter("quipu_scrape_samples_dropped_total", help, &[("reason", reason)])
        };
        let targets = |state| {
            registry.gauge("quipu_scrape_targets", "Targets by what became of them.", &[("state", state)])
        };
        Self {
            good: scrapes("ok"),
            bad: scrapes("failed"),
            samples: registry.counter("quipu_scrape_samples_total", "Rows that scrapes stored.", &[]),
            stale: registry.counter(
                "quipu_scrape_stale_markers_total",
                "Stale markers that scrapes made.",
                &[],
            ),
            duplicates: refused("duplicate"),
            out_of_bounds: refused("out_of_bounds"),
            exemplars: registry.counter(
                "quipu_scrape_exemplars_dropped_total",
                "Exemplars with too long labels or a time out of bounds.",
                &[],
            ),
            active: targets("active"),
            dropped: targets("dropped"),
        }
    }

    pub(super) fn round(&self, good: bool) {
        if good { self.good.inc() } else { self.bad.inc() }
    }

    pub(super) fn stored(&self, rows: usize) {
        self.samples.add(u64::try_from(rows).unwrap_or(u64::MAX));
    }

    pub(super) fn stale(&self, rows: usize) {
        self.stale.add(u64::try_from(rows).unwrap_or(u64::MAX));
    }

    pub(super) fn exemplar(&self) {
        self.exemplars.inc();
    }

    pub(super) fn duplicate(&self) {
        self.duplicates.inc();
    }

    pub(super) fn out_of_bounds(&self) {
        self.out_of_bounds.inc();
    }
}
