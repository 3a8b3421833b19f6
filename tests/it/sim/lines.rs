//! Log lines in the simulator: what stands in the line with a number, and reading lines back whole.

use std::collections::BTreeMap;

use arrow::array::{Array, FixedSizeBinaryArray};
use quipu::error::Result;
use quipu::model::{Labels, LabelsRef, LogBatch, time};
use quipu::store::{LogColumns, LogQuery, LogRows, Snapshot};

use super::model::{Row, Rows};
use super::rows::Of;
use super::tailed::{Place, Tailed};

const NS: i64 = 1_000_000;

/// Names and values.
pub(super) type Pairs = BTreeMap<String, String>;

/// A line as it was sent and is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) stream: Pairs,
    pub(super) ns: i64,
    pub(super) body: String,
    pub(super) metadata: Pairs,
}

/// Which row a line is.
#[derive(Debug)]
pub(super) enum Known {
    /// One that a client sent.
    Sent(Row),
    /// One of a followed file.
    Tailed(Place),
}

fn pairs(of: &[(&str, &str)]) -> Pairs {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Everything of the line with a number at a time (ms).
pub(super) fn line(number: u32, at: i64) -> Line {
    let stream = match number % 5 {
        0 => pairs(&[("app", "web"), ("job", "sim")]),
        1 => pairs(&[("app", "web"), ("zone", "a")]),
        // No column: capital letters, dots.
        2 => pairs(&[("app", "db"), ("Zone", "B")]),
        3 => pairs(&[("app", "db"), ("level", "error")]),
        _ => pairs(&[("app", "db"), ("service.name", "x")]),
    };
    let (trace, span) = (trace_of(number), format!("{number:016x}"));
    let metadata = match number % 7 {
        0 | 1 => pairs(&[("span_id", &span), ("trace_id", &trace)]),
        2 => pairs(&[("trace_id", "no trace"), ("k", "v")]),
        3 => pairs(&[("level", "warn")]),
        4 => pairs(&[("trace_id", &trace.to_uppercase()), ("n", &number.to_string())]),
        5 => pairs(&[("detected_level", "info"), ("trace_id", &trace)]),
        _ => Pairs::new(),
    };
    // Two of three lines of a stream and slot have one time with others.
    let ns = at * NS + i64::from(number % 3 / 2) * 333_333;
    Line { stream, ns, body: format!("line {number} {}", needle_of(number)), metadata }
}

fn trace_of(number: u32) -> String {
    format!("feedfacecafebeef{number:016x}")
}

/// The trace of a line where it is one.
pub(super) fn trace_bytes(line: &Line) -> Option<[u8; 16]> {
    let trace = line.metadata.get("trace_id").filter(|trace| trace.starts_with("feedface"))?;
    u128::from_str_radix(trace, 16).ok().map(u128::to_be_bytes)
}

/// What only the line with this number contains.
pub(super) fn needle_of(number: u32) -> String {
    format!("id={number:08x}-0000-4000-8000-{number:012x}")
}

/// The times of a line in ms that it may have been sent at, and its number, from what was read.
pub(super) fn known(found: &Line) -> Known {
    if let Some(place) = Place::of(found) {
        return Known::Tailed(place);
    }
    let number = found.body.split(' ').nth(1).and_then(|number| number.parse().ok());
    let number = number.unwrap_or_else(|| panic!("a line that nobody sent: {found:?}"));
    let at = time::ns_to_ms(found.ns);
    assert_eq!(*found, line(number, at), "line {number} is not what was sent");
    Known::Sent((Of::Line(number), at))
}

/// Adds a line to a batch; some are in it twice.
pub(super) fn push(batch: &mut LogBatch, line: &Line, times: u32) {
    let labels = |pairs: &Pairs| {
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Labels::from_pairs(pairs).expect("good labels")
    };
    let (stream, metadata) = (labels(&line.stream), labels(&line.metadata));
    let known = batch.streams.iter().position(|known| *known == stream);
    let at = known.unwrap_or_else(|| {
        batch.streams.push(stream);
        batch.streams.len() - 1
    });
    let at = u32::try_from(at).expect("few streams");
    for _ in 0..times {
        assert!(batch.push(at, line.ns, &line.body, metadata.as_ref()), "a small batch");
    }
}

/// What a snapshot shows of some lines. Panics when one is there twice.
pub(super) async fn read(snapshot: &Snapshot, query: LogQuery) -> Result<(Rows, Tailed)> {
    let selection = snapshot.logs(query).await?;
    let (mut rows, mut tailed) = (Rows::new(), Tailed::new());
    for units in selection.partitions(2) {
        let mut reader = selection.scan(units, LogColumns::ALL);
        while let Some(found) = reader.next().await? {
            for row in 0..found.len() {
                let line = line_of(&found, row, selection.streams());
                let twice = match known(&line) {
                    Known::Sent(key) => rows.insert(key, 0).is_some(),
                    Known::Tailed(place) => tailed.insert(place, line.ns).is_some(),
                };
                assert!(!twice, "a line is there twice: {line:?}");
            }
        }
    }
    Ok((rows, tailed))
}

fn line_of(rows: &LogRows, row: usize, streams: &[Labels]) -> Line {
    let of = |labels: LabelsRef<'_>| -> Pairs {
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let attributes = rows.attributes.as_ref().expect("all columns were asked for").value(row);
    let mut metadata = of(LabelsRef::parse(attributes).expect("good labels"));
    for (name, ids) in [("trace_id", &rows.trace_id), ("span_id", &rows.span_id)] {
        let id = ids.as_ref().filter(|ids| ids.is_valid(row));
        metadata.extend(id.map(|ids| (name.to_owned(), hex(ids, row))));
    }
    Line {
        stream: of(streams[usize::try_from(rows.streams[row]).expect("few streams")].as_ref()),
        ns: rows.timestamps[row],
        body: rows.body.as_ref().expect("all columns were asked for").value(row).to_owned(),
        metadata,
    }
}

fn hex(ids: &FixedSizeBinaryArray, row: usize) -> String {
    let digit = |byte: u32| char::from_digit(byte, 16).expect("half a byte");
    ids.value(row)
        .iter()
        .flat_map(|byte| [digit(u32::from(byte >> 4)), digit(u32::from(byte & 15))])
        .collect()
}
