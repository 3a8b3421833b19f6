//! A label set under construction: what relabelling reads and writes. An empty value is an absent label.

use crate::model::{METRIC_NAME, push_pair};

/// Names and values in no order until [`LabelSet::sort`]; names are unique.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSet {
    pairs: Vec<(String, String)>,
}

impl LabelSet {
    /// No labels.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a label; empty when absent.
    pub fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) {
        let at = self.pairs.iter().position(|(n, _)| n == name);
        match at {
            Some(at) if value.is_empty() => {
                self.pairs.swap_remove(at);
            }
            Some(at) => value.clone_into(&mut self.pairs[at].1),
            None if value.is_empty() => {}
            None => self.pairs.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Sets a label that is not there yet.
    pub fn set_missing(&mut self, name: &str, value: &str) {
        if self.get(name).is_empty() {
            self.set(name, value);
        }
    }

    /// Keeps the labels whose name passes.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.pairs.retain(|(name, _)| keep(name));
    }

    /// Brings the labels into name order.
    pub fn sort(&mut self) {
        self.pairs.sort_unstable();
    }

    /// The pairs in their present order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Writes the canonical bytes without the metric's name into `bytes`, which is cleared first.
    pub fn canonical(&mut self, bytes: &mut Vec<u8>) {
        self.sort();
        bytes.clear();
        for (name, value) in self.iter().filter(|(name, _)| *name != METRIC_NAME) {
            push_pair(bytes, name, value);
        }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for LabelSet {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut labels = Self::new();
        for (name, value) in pairs {
            labels.set(name, value);
        }
        labels
    }
}
