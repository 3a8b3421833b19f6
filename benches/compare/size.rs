//! How much is measured: the full size, or the smallest one that still goes through everything.

use std::time::Duration;

/// One part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// What the machine can do at all.
    Machine,
    /// The query rows, on 500 counters.
    Queries,
    /// A join and a quantile of classic histograms.
    Dashboards,
    /// A quantile of native histograms.
    Native,
    /// Bytes on disk, on a day redrawn from a recording.
    Real,
    /// Remote write, samples per second and core.
    Ingest,
    /// Scraping, samples per second and core.
    Scrape,
    /// Log lines: taking them, their size, searching them.
    Logs,
    /// Resident memory per active series.
    Growth,
    /// Where quipu's time goes; only when asked for.
    Profile,
}

impl Part {
    const ALL: [Self; 10] = [
        Self::Machine,
        Self::Queries,
        Self::Dashboards,
        Self::Native,
        Self::Real,
        Self::Ingest,
        Self::Scrape,
        Self::Logs,
        Self::Growth,
        Self::Profile,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Queries => "queries",
            Self::Dashboards => "dashboards",
            Self::Native => "native",
            Self::Real => "real",
            Self::Ingest => "ingest",
            Self::Scrape => "scrape",
            Self::Logs => "logs",
            Self::Growth => "growth",
            Self::Profile => "profile",
        }
    }
}

/// The sizes of all parts.
#[derive(Debug)]
pub(crate) struct Size {
    /// What to run.
    pub(crate) parts: Vec<Part>,
    /// Series of the query rows.
    pub(crate) series: usize,
    /// Samples of a series in a day; the day gets shorter with them, their distance stays 15 s.
    pub(crate) samples: usize,
    /// Runs of a question; a server that is slow gets fewer, at least two.
    pub(crate) runs: usize,
    /// What the runs of one question may take on one server.
    pub(crate) patience: Duration,
    /// Restarts of quipu for each question's run from the page cache.
    pub(crate) cold_runs: usize,
    /// How long Prometheus gets to make blocks of what was loaded.
    pub(crate) settle: Duration,
    /// Series of a remote write.
    pub(crate) ingest_series: usize,
    /// Samples of each that are measured.
    pub(crate) ingest_rounds: usize,
    /// Targets that are scraped each second.
    pub(crate) targets: usize,
    /// Series of a target.
    pub(crate) target_series: usize,
    /// How long scraping is measured.
    pub(crate) scrape: Duration,
    /// Lines of the log that is searched, about 200 bytes each.
    pub(crate) log_lines: usize,
    /// Series of the first half; the second half brings as many.
    pub(crate) growth_series: usize,
    /// Samples of each of them.
    pub(crate) growth_samples: usize,
}

impl Size {
    /// What the arguments ask for: `--bench` (cargo passes it) is the full size, words are names of parts.
    /// `None` when nothing is to be run: for `--list`, and when the words name tests of other binaries.
    pub(crate) fn from_arguments(arguments: impl Iterator<Item = String>) -> Option<Self> {
        let arguments: Vec<String> = arguments.collect();
        if arguments.iter().any(|argument| argument == "--list") {
            return None;
        }
        let is_full = arguments.iter().any(|argument| argument == "--bench");
        let words: Vec<&str> = arguments.iter().filter(|a| !a.starts_with('-')).map(String::as_str).collect();
        let wanted = |part: &Part| words.contains(&part.name()) || words.is_empty() && *part != Part::Profile;
        let parts: Vec<Part> = Part::ALL.into_iter().filter(wanted).collect();
        let size = if is_full { Self::full(parts) } else { Self::smallest(parts) };
        (!size.parts.is_empty()).then_some(size)
    }

    fn full(parts: Vec<Part>) -> Self {
        Self {
            parts,
            series: 500,
            samples: 5_760,
            runs: 15,
            patience: Duration::from_secs(12),
            cold_runs: 5,
            settle: Duration::from_secs(100),
            ingest_series: 50_000,
            ingest_rounds: 20,
            targets: 50,
            target_series: 1_000,
            scrape: Duration::from_secs(20),
            log_lines: 5_200_000,
            growth_series: 200_000,
            growth_samples: 20,
        }
    }

    fn smallest(parts: Vec<Part>) -> Self {
        Self {
            parts,
            series: 20,
            samples: 80,
            runs: 2,
            patience: Duration::from_secs(1),
            cold_runs: 1,
            settle: Duration::ZERO,
            ingest_series: 200,
            ingest_rounds: 2,
            targets: 2,
            target_series: 20,
            scrape: Duration::from_secs(1),
            log_lines: 400,
            growth_series: 200,
            growth_samples: 4,
        }
    }
}
