//! Substring search over the lines of a page: one pass over all its bytes, hits mapped to rows by the offsets.

use memchr::memmem::Finder;

/// Finds lines that contain all of some texts.
#[derive(Debug)]
pub(super) struct Search(Vec<Finder<'static>>);

impl Search {
    pub(super) fn new(needles: &[String]) -> Self {
        Self(needles.iter().map(|needle| Finder::new(needle.as_bytes()).into_owned()).collect())
    }

    /// Whether everything matches.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one line matches.
    pub(super) fn matches(&self, line: &str) -> bool {
        self.0.iter().all(|finder| finder.find(line.as_bytes()).is_some())
    }

    /// The rows that match, ascending: row `k` is `text[offsets[k]..offsets[k + 1]]`.
    pub(super) fn rows(&self, offsets: &[i32], text: &[u8]) -> Vec<usize> {
        let place = |at: usize| usize::try_from(offsets[at]).expect("offsets are not negative");
        let Some((first, others)) = self.0.split_first() else { return (0..offsets.len() - 1).collect() };
        let mut rows = hits(first, offsets, text);
        rows.retain(|row| {
            let line = &text[place(*row)..place(row + 1)];
            others.iter().all(|finder| finder.find(line).is_some())
        });
        rows
    }
}

fn hits(finder: &Finder<'_>, offsets: &[i32], text: &[u8]) -> Vec<usize> {
    let end_of = |row: usize| usize::try_from(offsets[row + 1]).expect("offsets are not negative");
    let (rows, needle) = (offsets.len() - 1, finder.needle().len());
    let mut found = Vec::new();
    let (mut at, mut row) = (0, 0);
    while row < rows
        && let Some(hit) = finder.find(&text[at..])
    {
        let hit = at + hit;
        row += offsets[row + 1..].partition_point(|end| usize::try_from(*end).expect("not negative") <= hit);
        if row >= rows {
            // Only an empty needle is found behind the last byte.
            row = rows - 1;
        }
        if hit + needle <= end_of(row) {
            found.push(row);
            at = end_of(row);
            row += 1;
        } else {
            // It begins in one line and ends in the next: not in either.
            at = hit + 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_those_that_contain_the_needle(
            lines in prop::collection::vec("[abé]{0,6}", 0..20),
            needles in prop::collection::vec("[abé]{1,3}", 0..3),
        ) {
            let array = arrow::array::StringArray::from_iter_values(&lines);
            let found = Search::new(&needles).rows(array.value_offsets(), array.value_data());
            let matches = |row: &usize| needles.iter().all(|needle| lines[*row].contains(needle));
            let expected: Vec<usize> = (0..lines.len()).filter(matches).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
