//! Names and values of one line, collected without an allocation per line.

use crate::model::push_pair;

/// Pairs in the order added; emptied and filled again for each line.
#[derive(Debug, Default)]
pub struct Pairs {
    text: String,
    /// Where name and value of each pair end in `text`; a pair begins where the one before ends.
    ends: Vec<(usize, usize)>,
}

impl Pairs {
    /// Forgets all pairs and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// Adds a pair. An empty name becomes `_`.
    pub fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(if name.is_empty() { "_" } else { name });
        let name_end = self.text.len();
        self.text.push_str(value);
        self.ends.push((name_end, self.text.len()));
    }

    /// Adds a pair under a name that [`super::push_label_name`] makes of `name`.
    pub fn push_named(&mut self, name: &str, value: &str) {
        if super::is_label_name(name) {
            return self.push(name, value);
        }
        let start = self.text.len();
        super::push_label_name(&mut self.text, name);
        if self.text.len() == start {
            self.text.push('_');
        }
        let name_end = self.text.len();
        self.text.push_str(value);
        self.ends.push((name_end, self.text.len()));
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of names and values.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// One pair.
    ///
    /// # Panics
    /// When there is no such pair.
    pub fn at(&self, index: usize) -> (&str, &str) {
        let start = if index == 0 { 0 } else { self.ends[index - 1].1 };
        let (name_end, end) = self.ends[index];
        (&self.text[start..name_end], &self.text[name_end..end])
    }

    /// All pairs in the order added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.len()).map(|index| self.at(index))
    }

    /// The first value under a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Replaces `out` by the canonical bytes: sorted by name, of equal names the first, without empty values.
    /// `extra` is among them in place of what has its name. `order` is scratch.
    pub(super) fn canonical(&self, extra: Option<(&str, &str)>, order: &mut Vec<usize>, out: &mut Vec<u8>) {
        out.clear();
        order.clear();
        order.extend(0..self.len());
        order.sort_unstable_by_key(|index| (self.at(*index).0, *index));
        let mut extra = extra.map(|(name, value)| (name, value, true));
        let mut before = None;
        for index in &*order {
            let (name, value) = self.at(*index);
            if let Some((own, level, due)) = &mut extra {
                if *due && *own <= name {
                    push_pair(out, own, level);
                    *due = false;
                }
                if *own == name {
                    continue;
                }
            }
            if before != Some(name) {
                push_pair(out, name, value);
            }
            before = Some(name);
        }
        if let Some((name, value, true)) = extra {
            push_pair(out, name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LabelsRef;

    #[test]
    fn pairs_become_canonical() {
        let (mut pairs, mut order, mut out) = (Pairs::default(), vec![7], vec![1]);
        for (name, value) in [("b", "1"), ("a", ""), ("", "x"), ("b", "2"), ("A", "é")] {
            pairs.push(name, value);
        }
        assert_eq!((pairs.len(), pairs.get("b"), pairs.bytes()), (5, Some("1"), 10));
        let expected = [("A", "é"), ("_", "x"), ("b", "1"), ("z", "")];
        for (extra, expected) in [
            (None, vec![expected[0], expected[1], expected[2]]),
            (Some(("b", "x")), vec![expected[0], expected[1], ("b", "x")]),
            (Some(("a", "x")), vec![expected[0], expected[1], ("a", "x"), expected[2]]),
            (Some(("A", "x")), vec![("A", "x"), expected[1], expected[2]]),
            (Some(("z", "x")), vec![expected[0], expected[1], expected[2], ("z", "x")]),
        ] {
            pairs.canonical(extra, &mut order, &mut out);
            let labels = LabelsRef::parse(&out).expect("canonical");
            assert_eq!(labels.iter().collect::<Vec<_>>(), expected);
        }
        pairs.clear();
        pairs.canonical(None, &mut order, &mut out);
        assert!(pairs.is_empty() && out.is_empty());
    }
}
