//! What was not taken of a request, and why.

use std::collections::BTreeMap;

/// How many refusals a message names.
const NAMED: usize = 5;

/// Why a line, or all lines of a stream, are not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Loki's name of the reason, a label of our metrics.
    pub reason: &'static str,
    /// The words for the sender.
    pub text: String,
}

impl Refusal {
    pub(in crate::wire) fn new(reason: &'static str, text: impl FnOnce() -> String) -> Self {
        Self { reason, text: text() }
    }
}

/// Lines that were not taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    lines: u64,
    /// Lines and bytes by reason.
    reasons: BTreeMap<&'static str, (u64, u64)>,
    /// The first texts that differ.
    first: Vec<String>,
    /// There were others.
    more: bool,
}

impl Refused {
    /// How many.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Whether every line was taken.
    pub fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// Reason, lines, bytes.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        self.reasons.iter().map(|(reason, (lines, bytes))| (*reason, *lines, *bytes))
    }

    pub(super) fn add(&mut self, lines: usize, bytes: usize, refusal: &Refusal) {
        if lines == 0 {
            return;
        }
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.lines += number(lines);
        let sums = self.reasons.entry(refusal.reason).or_default();
        *sums = (sums.0 + number(lines), sums.1 + number(bytes));
        if self.first.contains(&refusal.text) {
            return;
        }
        if self.first.len() < NAMED {
            self.first.push(refusal.text.clone());
        } else {
            self.more = true;
        }
    }

    /// For the sender of a request with so many good lines.
    pub fn message(&self, stored: usize) -> String {
        let more = if self.more { "; …" } else { "" };
        let total = self.lines + u64::try_from(stored).unwrap_or(0);
        let others = if stored > 0 { ", the others are stored" } else { "" };
        format!("{} of {total} lines refused{others}: {}{more}", self.lines, self.first.join("; "))
    }
}
