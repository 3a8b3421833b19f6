//! What happened over all seeds: the proof that the simulator goes where it should.

use std::collections::BTreeMap;
use std::fmt;

use quipu::runtime::FaultPoint;

/// Numbers by name, and per fault point its visits and crashes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    counts: BTreeMap<&'static str, u64>,
    visits: BTreeMap<&'static str, u64>,
    crashes: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub(super) fn add(&mut self, what: &'static str, n: u64) {
        *self.counts.entry(what).or_default() += n;
    }

    pub(super) fn visited(&mut self, point: FaultPoint, times: u64) {
        *self.visits.entry(point.name()).or_default() += times;
    }

    pub(super) fn crashed(&mut self, point: FaultPoint) {
        *self.crashes.entry(point.name()).or_default() += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let into = [&mut self.counts, &mut self.visits, &mut self.crashes];
        for (into, from) in into.into_iter().zip([&other.counts, &other.visits, &other.crashes]) {
            for (name, n) in from {
                *into.entry(name).or_default() += n;
            }
        }
    }

    pub(super) fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Fault points that were not visited, or at which no life ended.
    pub(super) fn missed_points(&self) -> Vec<&'static str> {
        let hit = |of: &BTreeMap<&'static str, u64>, name: &str| of.get(name).is_some_and(|n| *n > 0);
        let names = FaultPoint::ALL.iter().map(|(_, name)| *name);
        names.filter(|name| !(hit(&self.visits, name) && hit(&self.crashes, name))).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, n) in &self.counts {
            writeln!(f, "{n:>9}  {what}")?;
        }
        writeln!(f, "{:<18} {:>8} {:>8}", "fault point", "visits", "crashes")?;
        for (_, name) in FaultPoint::ALL {
            let of = |map: &BTreeMap<&'static str, u64>| map.get(name).copied().unwrap_or(0);
            writeln!(f, "{name:<18} {:>8} {:>8}", of(&self.visits), of(&self.crashes))?;
        }
        Ok(())
    }
}
