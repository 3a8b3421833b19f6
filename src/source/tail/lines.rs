//! Where entries begin and end in the bytes of a file. Pure, and without memory: what is not taken is read again
//! with what follows it, so that a cut between two reads changes nothing.

use memchr::memchr;

use crate::source::settings::StartPattern;

/// What may be taken of an end that is not certain yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// Nothing: it waits.
    No,
    /// Whole lines whose entry may go on.
    Lines,
    /// Everything: nothing will follow.
    All,
}

/// How a file is split.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split<'s> {
    /// Bytes of an entry; a longer one becomes several.
    pub(super) limit: usize,
    /// What begins an entry of several lines.
    pub(super) start: Option<&'s StartPattern>,
}

/// What came of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Consumed {
    /// Bytes that are taken.
    pub(super) bytes: usize,
    /// How often an entry was cut because of its length.
    pub(super) cuts: u64,
}

impl Split<'_> {
    /// Gives each entry, without the end of its last line, to `visit`.
    pub(super) fn entries(&self, bytes: &[u8], flush: Flush, mut visit: impl FnMut(&[u8])) -> Consumed {
        let mut consumed = Consumed::default();
        // The end of the whole lines that belong to the entry under way.
        let mut open = 0;
        loop {
            let rest = &bytes[open..];
            let Some(length) = memchr(b'\n', rest) else { break };
            let (begun, end) = (consumed.bytes, open + length + 1);
            let starts = self.start.is_none_or(|start| {
                start.is_start(&String::from_utf8_lossy(without_return(&rest[..length])))
            });
            if open > begun && (starts || end - 1 - begun > self.limit) {
                consumed.cuts += u64::from(!starts);
                self.pieces(&bytes[begun..open - 1], &mut consumed, &mut visit);
                consumed.bytes = open;
            }
            open = end;
            if self.start.is_none() || open - 1 - consumed.bytes > self.limit {
                self.pieces(&bytes[consumed.bytes..open - 1], &mut consumed, &mut visit);
                consumed.bytes = open;
            }
        }
        if open > consumed.bytes && flush != Flush::No {
            self.pieces(&bytes[consumed.bytes..open - 1], &mut consumed, &mut visit);
            consumed.bytes = open;
        }
        self.unfinished(bytes, flush, &mut consumed, &mut visit);
        consumed
    }

    /// The last line, whose end is not written yet. What is longer than an entry may be is taken at once.
    fn unfinished(&self, bytes: &[u8], flush: Flush, consumed: &mut Consumed, visit: &mut impl FnMut(&[u8])) {
        while bytes.len() - consumed.bytes > self.limit {
            let end = consumed.bytes + boundary(&bytes[consumed.bytes..], self.limit);
            visit(&bytes[consumed.bytes..end]);
            *consumed = Consumed { bytes: end, cuts: consumed.cuts + 1 };
        }
        if flush == Flush::All && consumed.bytes < bytes.len() {
            visit(&bytes[consumed.bytes..]);
            consumed.bytes = bytes.len();
        }
    }

    /// One entry, in as many pieces as it needs.
    fn pieces(&self, entry: &[u8], consumed: &mut Consumed, visit: &mut impl FnMut(&[u8])) {
        let mut rest = without_return(entry);
        while rest.len() > self.limit {
            let end = boundary(rest, self.limit);
            visit(&rest[..end]);
            rest = &rest[end..];
            consumed.cuts += 1;
        }
        visit(rest);
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The last place up to `limit` at which no character is cut.
fn boundary(text: &[u8], limit: usize) -> usize {
    let is_inside = |at: usize| text[at] & 0xC0 == 0x80;
    let back = (0..4).find(|back| !is_inside(limit - back));
    limit - back.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Dice;

    fn split(text: &str, limit: usize, start: Option<&str>, flush: Flush) -> (Vec<String>, Consumed) {
        let start: Option<StartPattern> =
            start.map(|text| serde_json::from_value(text.into()).expect("an expression"));
        let split = Split { limit, start: start.as_ref() };
        let mut entries = Vec::new();
        let consumed = split.entries(text.as_bytes(), flush, |entry| {
            entries.push(String::from_utf8(entry.to_vec()).expect("no character is cut"));
        });
        (entries, consumed)
    }

    #[test]
    fn lines_end_with_their_line_feed() {
        let of = |text, flush| {
            let (entries, consumed) = split(text, 8, None, flush);
            (entries.join("|"), consumed.bytes, consumed.cuts)
        };
        assert_eq!(of("", Flush::All), (String::new(), 0, 0));
        assert_eq!(of("a\n\nb\r\nc", Flush::No), ("a||b".to_owned(), 6, 0));
        assert_eq!(of("a\nc", Flush::Lines), ("a".to_owned(), 2, 0));
        assert_eq!(of("a\nc", Flush::All), ("a|c".to_owned(), 3, 0));
        assert_eq!(of("12345678\n", Flush::No), ("12345678".to_owned(), 9, 0));
        assert_eq!(of("1234567890\nx\n", Flush::No), ("12345678|90|x".to_owned(), 13, 1));
        assert_eq!(of("12345678", Flush::No), (String::new(), 0, 0));
        assert_eq!(of("1234567é9", Flush::No), ("1234567".to_owned(), 7, 1));
    }

    #[test]
    fn an_entry_of_several_lines_ends_where_the_next_begins() {
        let text = "[1] a\n at b\n[2] c\n at d\n at e";
        let of = |flush| {
            let (entries, consumed) = split(text, 100, Some(r"^\["), flush);
            (entries, consumed.bytes)
        };
        let first = "[1] a\n at b".to_owned();
        assert_eq!(of(Flush::No), (vec![first.clone()], 12));
        assert_eq!(of(Flush::Lines), (vec![first.clone(), "[2] c\n at d".to_owned()], 24));
        let all = vec![first, "[2] c\n at d".to_owned(), " at e".to_owned()];
        assert_eq!(of(Flush::All), (all, 29));
        let (entries, consumed) = split("[1] a\n b\n c\n d\n[2]\n", 8, Some(r"^\["), Flush::No);
        assert_eq!(entries, ["[1] a\n b", " c\n d"]);
        assert_eq!(consumed, Consumed { bytes: 15, cuts: 1 });
    }

    /// Reading in any pieces gives the same entries, and no byte is lost.
    #[test]
    fn a_cut_between_two_reads_changes_nothing() {
        let mut dice = Dice::new(3);
        let mut below = |bound: u64| usize::try_from(dice.below(bound)).expect("an index");
        let parts = ["a", "é", "\n", "\n[", "xyz", "😀", "\r\n"];
        for round in 0..3_000 {
            let text: String = (0..below(40)).map(|_| parts[below(7)]).collect();
            let start = (round % 2 == 0).then_some(r"^\[");
            let limit = 4 + below(12);
            let (whole, _) = split(&text, limit, start, Flush::All);
            let (mut at, mut end, mut pieces) = (0, 0, Vec::new());
            while end < text.len() {
                end = text.ceil_char_boundary((end + 1 + below(9)).min(text.len()));
                let (entries, consumed) = split(&text[at..end], limit, start, Flush::No);
                pieces.extend(entries);
                at += consumed.bytes;
            }
            pieces.extend(split(&text[at..], limit, start, Flush::All).0);
            let strip = |all: &[String]| all.concat().replace(['\r', '\n'], "");
            assert_eq!(strip(&pieces), strip(&whole), "{text:?}");
            assert_eq!(strip(&whole), text.replace(['\r', '\n'], ""), "{text:?}");
            assert!(whole.iter().all(|entry| entry.len() <= limit), "{text:?} {limit}");
            if start.is_none() && !text.contains('\r') {
                assert_eq!(pieces, whole, "{text:?} {limit}");
            }
        }
    }
}
