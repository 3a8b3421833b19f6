//! Our own telemetry: counters, gauges and histograms by name and labels, printed as text 0.0.4.
//!
//! No statics: one `Arc<Registry>` is handed down, so that two nodes in one test do not share numbers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::push_go_float;

/// A number that only grows. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down. Cheap to clone; clones are one gauge.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds, or takes away when negative.
    pub fn add(&self, delta: f64) {
        add_float(&self.0, delta);
    }

    /// The value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// A histogram with fixed upper bounds. Cheap to clone; clones are one histogram.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    /// Sorted upper bounds; `+Inf` is not among them.
    bounds: Box<[f64]>,
    /// One more than the bounds; not cumulative.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Upper bounds in seconds for waiting times from 1 ms to a minute.
    pub const SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

    fn with_bounds(bounds: &[f64]) -> Self {
        debug_assert!(bounds.is_sorted(), "bucket bounds ascend");
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets { bounds: bounds.into(), counts, sum: AtomicU64::new(0) }))
    }

    /// Counts one value.
    pub fn observe(&self, value: f64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        add_float(&self.0.sum, value);
    }

    /// Number of observed values.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|c| c.load(Ordering::Relaxed)).sum()
    }
}

fn add_float(cell: &AtomicU64, delta: f64) {
    let add = |bits| Some((f64::from_bits(bits) + delta).to_bits());
    let updated = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    debug_assert!(updated.is_ok(), "the update always gives a value");
}

#[derive(Debug, Clone)]
enum Cell {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Cell {
    fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

#[derive(Debug)]
struct Family {
    help: &'static str,
    /// By the label text `a="b",c="d"`, which is also the print order.
    cells: BTreeMap<String, Cell>,
}

/// All metrics of one node. Asking twice for the same name and labels gives the same metric.
#[derive(Debug, Default)]
pub struct Registry {
    families: Mutex<BTreeMap<&'static str, Family>>,
}

impl Registry {
    /// Without metrics.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The counter of that name (ends in `_total`) and labels.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Counter {
        match self.cell(name, help, labels, || Cell::Counter(Counter::default())) {
            Cell::Counter(counter) => counter,
            other => unlike(name, "counter", &other, Counter::default()),
        }
    }

    /// The gauge of that name and labels.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Gauge {
        match self.cell(name, help, labels, || Cell::Gauge(Gauge::default())) {
            Cell::Gauge(gauge) => gauge,
            other => unlike(name, "gauge", &other, Gauge::default()),
        }
    }

    /// The histogram of that name and labels; `bounds` ascend and count for the first who asks.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        bounds: &[f64],
    ) -> Histogram {
        match self.cell(name, help, labels, || Cell::Histogram(Histogram::with_bounds(bounds))) {
            Cell::Histogram(histogram) => histogram,
            other => unlike(name, "histogram", &other, Histogram::with_bounds(bounds)),
        }
    }

    fn cell(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        make: impl FnOnce() -> Cell,
    ) -> Cell {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(name).or_insert_with(|| Family { help, cells: BTreeMap::new() });
        family.cells.entry(label_text(labels)).or_insert_with(make).clone()
    }

    /// Everything in Prometheus' text format 0.0.4, sorted by name and labels.
    pub fn render(&self) -> String {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        for (name, family) in families.iter() {
            let Some(first) = family.cells.values().next() else { continue };
            let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
            write_line(&mut out, format_args!("# HELP {name} {help}"));
            write_line(&mut out, format_args!("# TYPE {name} {}", first.kind()));
            for (labels, cell) in &family.cells {
                render_cell(&mut out, name, labels, cell);
            }
        }
        out
    }
}

/// One name is one kind. A second kind under it is a defect that must not take the server down: the caller
/// gets a metric that nobody prints.
fn unlike<T>(name: &str, wanted: &str, found: &Cell, detached: T) -> T {
    tracing::error!(name, wanted, found = found.kind(), "a metric is registered as another kind");
    detached
}

fn label_text(labels: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in labels {
        let comma = if out.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(out, "{comma}{name}=\"{value}\"").expect("writing to a String cannot fail");
    }
    out
}

fn write_line(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("writing to a String cannot fail");
}

fn float_text(value: f64) -> String {
    let mut out = Vec::new();
    push_go_float(&mut out, value);
    String::from_utf8(out).expect("a float's digits are ASCII")
}

fn render_cell(out: &mut String, name: &str, labels: &str, cell: &Cell) {
    let braced = |text: &str| if text.is_empty() { String::new() } else { format!("{{{text}}}") };
    match cell {
        Cell::Counter(counter) => write_line(out, format_args!("{name}{} {}", braced(labels), counter.get())),
        Cell::Gauge(gauge) => {
            write_line(out, format_args!("{name}{} {}", braced(labels), float_text(gauge.get())));
        }
        Cell::Histogram(histogram) => {
            let comma = if labels.is_empty() { "" } else { "," };
            let mut total = 0;
            for (i, count) in histogram.0.counts.iter().enumerate() {
                total += count.load(Ordering::Relaxed);
                let bound = histogram.0.bounds.get(i).copied().unwrap_or(f64::INFINITY);
                let le = float_text(bound);
                write_line(out, format_args!("{name}_bucket{{{labels}{comma}le=\"{le}\"}} {total}"));
            }
            let sum = f64::from_bits(histogram.0.sum.load(Ordering::Relaxed));
            write_line(out, format_args!("{name}_sum{} {}", braced(labels), float_text(sum)));
            write_line(out, format_args!("{name}_count{} {total}", braced(labels)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_0_0_4() {
        let registry = Registry::new();
        registry.counter("b_total", "Things.", &[("job", "a\"b\\c\nd")]).add(3);
        registry.counter("b_total", "Things.", &[("job", "a\"b\\c\nd")]).inc();
        registry.gauge("a", "A level.", &[]).set(1.5);
        let histogram = registry.histogram("c_seconds", "Waits.", &[("op", "get")], &[0.5, 1.0]);
        for value in [0.5, 0.7, 9.0] {
            histogram.observe(value);
        }
        let expected = "\
# HELP a A level.
# TYPE a gauge
a 1.5
# HELP b_total Things.
# TYPE b_total counter
b_total{job=\"a\\\"b\\\\c\\nd\"} 4
# HELP c_seconds Waits.
# TYPE c_seconds histogram
c_seconds_bucket{op=\"get\",le=\"0.5\"} 1
c_seconds_bucket{op=\"get\",le=\"1\"} 2
c_seconds_bucket{op=\"get\",le=\"+Inf\"} 3
c_seconds_sum{op=\"get\"} 10.2
c_seconds_count{op=\"get\"} 3
";
        assert_eq!(registry.render(), expected);
        assert_eq!(histogram.count(), 3);
    }

    #[test]
    fn one_name_is_one_kind() {
        let registry = Registry::new();
        registry.gauge("x", "", &[]).add(2.0);
        registry.counter("x", "", &[]).add(7);
        assert!(registry.render().contains("\nx 2\n"), "the first kind stays");
    }
}
