//! What a target says about its metric families, and whether it said so before. Only fingerprints are kept, so
//! that ten thousand targets do not hold ten thousand copies of one help text.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::model::{MetricMetadata, MetricType};
use crate::wire::exposition::Event;

/// More families than this are forgotten and sent again.
const MAX_FAMILIES: usize = 1 << 16;

/// Fingerprints of what the store knows already: family and kinds of lines → content.
#[derive(Debug, Default)]
pub(super) struct Families {
    sent: HashMap<u64, u64>,
}

/// What one body says, in the making.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    current: Option<Family<'a>>,
    /// New or changed families.
    pub(super) news: Vec<MetricMetadata>,
    prints: Vec<(u64, u64)>,
}

#[derive(Debug)]
struct Family<'a> {
    metric: Cow<'a, str>,
    kind: Option<MetricType>,
    help: Option<Cow<'a, str>>,
    unit: Option<&'a str>,
}

impl Families {
    /// Takes a line about a family. Lines about one family follow each other; others are families of their own.
    pub(super) fn note<'a>(&self, said: &mut Said<'a>, event: Event<'a>) {
        let (metric, kind, help, unit) = match event {
            Event::Type { metric, kind } => (metric, Some(kind), None, None),
            Event::Help { metric, text } => (metric, None, Some(text), None),
            Event::Unit { metric, unit } => (metric, None, None, Some(unit)),
            Event::Sample(_) => return,
        };
        match &mut said.current {
            Some(family) if family.metric == metric => {
                family.kind = kind.or(family.kind);
                family.help = help.or_else(|| family.help.take());
                family.unit = unit.or(family.unit);
            }
            _ => {
                self.finish(said);
                said.current = Some(Family { metric, kind, help, unit });
            }
        }
    }

    /// Ends the family that is being read.
    pub(super) fn finish(&self, said: &mut Said<'_>) {
        let Some(family) = said.current.take() else { return };
        let print = family.print();
        if self.sent.get(&print.0) != Some(&print.1) {
            said.prints.push(print);
            said.news.push(family.metadata());
        }
    }

    /// Remembers what the store has taken.
    pub(super) fn sent(&mut self, prints: Vec<(u64, u64)>) {
        if self.sent.len() + prints.len() > MAX_FAMILIES {
            self.sent.clear();
        }
        self.sent.extend(prints);
    }
}

impl Said<'_> {
    /// Takes the news and their fingerprints out.
    pub(super) fn take(self) -> (Vec<MetricMetadata>, Vec<(u64, u64)>) {
        (self.news, self.prints)
    }

    /// The type of the family that comes before a sample of `metric`, when the sample belongs to it.
    pub(super) fn kind_for(&self, metric: &str) -> MetricType {
        let family = self.current.as_ref().filter(|family| metric.starts_with(&*family.metric));
        family.and_then(|family| family.kind).unwrap_or_default()
    }
}

impl Family<'_> {
    fn print(&self) -> (u64, u64) {
        let text = |text: Option<&str>| xxh3_64(text.unwrap_or("").as_bytes());
        let lines = u64::from(self.kind.is_some())
            | u64::from(self.help.is_some()) << 1
            | u64::from(self.unit.is_some()) << 2;
        let kind = self.kind.map_or(0, |kind| kind as u64);
        let content = text(self.help.as_deref()).rotate_left(8) ^ text(self.unit) ^ kind;
        (xxh3_64(self.metric.as_bytes()) ^ lines, content)
    }

    fn metadata(&self) -> MetricMetadata {
        MetricMetadata {
            metric: Arc::from(&*self.metric),
            kind: self.kind.unwrap_or_default(),
            help: Arc::from(self.help.as_deref().unwrap_or("")),
            unit: Arc::from(self.unit.unwrap_or("")),
        }
    }
}
