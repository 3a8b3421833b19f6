//! Substring search over a column of lines: one pass over all its bytes, hits mapped to rows by the offsets.

use arrow::array::StringArray;
use arrow::buffer::BooleanBuffer;
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

    /// Which rows match.
    pub(super) fn rows(&self, lines: &StringArray) -> BooleanBuffer {
        let mut all: Option<BooleanBuffer> = None;
        for finder in &self.0 {
            let found = hits(finder, lines);
            all = Some(all.map_or_else(|| found.clone(), |before| &before & &found));
        }
        all.unwrap_or_else(|| BooleanBuffer::new_set(arrow::array::Array::len(lines)))
    }
}

fn hits(finder: &Finder<'_>, lines: &StringArray) -> BooleanBuffer {
    let offsets = lines.value_offsets();
    let rows = offsets.len() - 1;
    let end_of = |row: usize| usize::try_from(offsets[row + 1]).expect("offsets are not negative");
    let mut found = arrow::array::BooleanBufferBuilder::new(rows);
    found.append_n(rows, false);
    let needle = finder.needle().len();
    let bytes = &lines.values()[..rows.checked_sub(1).map_or(0, end_of)];
    let mut at = usize::try_from(offsets[0]).expect("offsets are not negative");
    let mut row = 0;
    while row < rows
        && let Some(hit) = finder.find(&bytes[at..])
    {
        let hit = at + hit;
        row += offsets[row + 1..].partition_point(|end| usize::try_from(*end).expect("not negative") <= hit);
        if row >= rows {
            // Only an empty needle is found behind the last byte.
            row = rows - 1;
        }
        if hit + needle <= end_of(row) {
            found.set_bit(row, true);
            at = end_of(row);
            row += 1;
        } else {
            // It begins in one line and ends in the next: not in either.
            at = hit + 1;
        }
    }
    found.finish()
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
            cut in 0..4usize,
        ) {
            let array = StringArray::from_iter_values(&lines);
            let cut = cut.min(lines.len());
            let array = array.slice(cut, lines.len() - cut);
            let search = Search::new(&needles);
            let found: Vec<bool> = search.rows(&array).iter().collect();
            let expected: Vec<bool> =
                lines[cut..].iter().map(|line| needles.iter().all(|needle| line.contains(needle))).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
