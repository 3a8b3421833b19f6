//! Places in a query's text: byte ranges, and the `line:col` that Prometheus prints for them.
//!
//! A column counts bytes from 1, as Prometheus counts them, so that its clients find the same place.

use std::fmt;

/// A range of bytes of the query's text, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    /// The first byte.
    pub(crate) start: u32,
    /// One past the last byte.
    pub(crate) end: u32,
}

impl Span {
    /// From byte offsets; a query is far shorter than 4 GiB (`MAX_QUERY_BYTES`).
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end) }
    }

    /// From the start of `self` to the end of `last`.
    pub(crate) fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }

    /// The range as indices.
    pub(crate) fn range(self) -> std::ops::Range<usize> {
        let widen = |at: u32| usize::try_from(at).expect("32 bits fit an index");
        widen(self.start)..widen(self.end)
    }

    /// The place of the first byte in `text`.
    pub(crate) fn position(self, text: &str) -> Position {
        Position::of(text, self.range().start)
    }
}

/// A place as people count: line and column from 1, the column in bytes. Prints as `1:20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The line, from 1.
    pub(crate) line: usize,
    /// The byte in the line, from 1.
    pub(crate) column: usize,
}

impl Position {
    /// The place of byte `at`; past the end it is the end.
    pub(crate) fn of(text: &str, at: usize) -> Self {
        let before = &text.as_bytes()[..at.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let line = before.split(|byte| *byte == b'\n').count();
        Self { line, column: before.len() - line_start + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_bytes_from_one_and_restart_at_each_line() {
        let text = "é +\n  foo";
        for (at, place) in [(0, "1:1"), (3, "1:4"), (5, "2:1"), (7, "2:3"), (99, "2:6")] {
            assert_eq!(Position::of(text, at).to_string(), place);
        }
    }
}
