//! SQL names of metrics and labels: injective, stable, and within `PostgreSQL`'s 63 bytes. Drawn in
//! `docs/format.md`, section "SQL names"; the rule may never change for a name that has been shown.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_128;

/// `PostgreSQL`'s longest identifier, in bytes.
pub(super) const MAX_NAME: usize = 63;
/// `PostgreSQL`'s widest table.
pub(super) const MAX_COLUMNS: usize = 1_600;
/// The columns in front of a metric table's labels.
pub(super) const FIXED_COLUMNS: [&str; 2] = ["timestamp", "value"];

/// The columns of `public.logs` in front of the labels'.
pub(super) const LOG_COLUMNS: [&str; 7] =
    ["timestamp", "severity", "body", "trace_id", "span_id", "labels", "attributes"];

const MARK: char = '~';
const DIGITS: usize = 32;

/// The column of a label in its metric's table.
pub(super) fn column(label: &str) -> Cow<'_, str> {
    beside(label, &FIXED_COLUMNS)
}

/// The column of a label in `public.logs`.
pub(super) fn log_column(label: &str) -> Cow<'_, str> {
    beside(label, &LOG_COLUMNS)
}

fn beside<'a>(label: &'a str, fixed: &[&str]) -> Cow<'a, str> {
    // `timestamp`, `timestamp_`, … all move one underscore on, so none of them can meet a fixed column or
    // another label.
    let stem = label.trim_end_matches('_');
    if fixed.contains(&stem) {
        return shorten(Cow::Owned(format!("{label}_")));
    }
    shorten(Cow::Borrowed(label))
}

/// The table of a metric.
pub(super) fn table(metric: &str) -> Cow<'_, str> {
    shorten(Cow::Borrowed(metric))
}

/// What is too long keeps its head and ends in `~` and the 128-bit hash of the whole; so does a short name
/// that looks like the result of this rule, or the rule would not be injective.
fn shorten(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.len() <= MAX_NAME && !looks_shortened(&name) {
        return name;
    }
    let mut cut = (MAX_NAME - DIGITS - MARK.len_utf8()).min(name.len());
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    let short = format!("{}{MARK}{:032x}", &name[..cut], xxh3_128(name.as_bytes()));
    assert!(short.len() <= MAX_NAME, "a shortened name fits an identifier");
    Cow::Owned(short)
}

fn looks_shortened(name: &str) -> bool {
    let Some((_, tail)) = name.rsplit_once(MARK) else { return false };
    tail.len() == DIGITS && tail.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn plain_names_stay() {
        for name in ["job", "le", "__address__", "Timestamp", "a~b", "温度"] {
            assert_eq!(column(name), name);
        }
        assert_eq!(table("timestamp"), "timestamp", "a table may be called timestamp");
    }

    #[test]
    fn names_of_the_fixed_columns_move_on() {
        assert_eq!(column("timestamp"), "timestamp_");
        assert_eq!(column("timestamp_"), "timestamp__");
        assert_eq!(column("value"), "value_");
    }

    #[test]
    fn nothing_meets_and_everything_fits() {
        let long = "x".repeat(100);
        let mut names =
            vec![long.clone(), format!("{long}y"), "é".repeat(40), "x".repeat(63), "x".repeat(64)];
        names.push(column(&long).into_owned());
        names.push(format!("{}_", "value".to_owned() + &"_".repeat(58)));
        for stem in FIXED_COLUMNS {
            names.extend((0..70).map(|n| format!("{stem}{}", "_".repeat(n))));
        }
        let columns: HashSet<String> = names.iter().map(|n| column(n).into_owned()).collect();
        assert_eq!(columns.len(), names.iter().collect::<HashSet<_>>().len());
        assert!(columns.iter().all(|c| c.len() <= MAX_NAME && !FIXED_COLUMNS.contains(&c.as_str())));
    }
}
