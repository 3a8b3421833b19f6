//! What of files and buffers a question about log lines needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::contested::{Contested, Interval};
use super::reader::LogReader;
use super::search::Search;
use crate::error::Result;
use crate::model::{Labels, Matcher, series_id};
use crate::store::block::{Identifier, LogColumns, LogFile, Segment};
use crate::store::buffer::{LineAt, LogView};
use crate::store::scan::selection::{Buried, Tombstone};

/// Lines of a buffer after which a new interval is begun, and the gap in ns that begins one before that: one late
/// line must not make all lines between it and now look contested.
const INTERVAL_LINES: usize = 1_024;
const INTERVAL_GAP: i64 = 10_000_000_000;
/// Nanoseconds of a millisecond.
const MS: i64 = 1_000_000;

/// Which lines are wanted.
#[derive(Debug, Clone)]
pub struct LogQuery {
    /// All must match the labels of the stream.
    pub matchers: Vec<Matcher>,
    /// The first time, ns.
    pub from: i64,
    /// The last time, ns.
    pub to: i64,
    /// Texts that the line must contain, all of them.
    pub needles: Vec<String>,
    /// The trace of the line. Row groups without it are left out; what is given may have others.
    pub trace_id: Option<[u8; 16]>,
    /// The span of the line, as `trace_id`.
    pub span_id: Option<[u8; 8]>,
}

impl Default for LogQuery {
    /// Everything.
    fn default() -> Self {
        let (trace_id, span_id) = (None, None);
        Self { matchers: Vec::new(), from: i64::MIN, to: i64::MAX, needles: Vec::new(), trace_id, span_id }
    }
}

/// What is read and what is there: the figures of EXPLAIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogCounts {
    /// Files with a row group that is read.
    pub files: usize,
    /// Live files, those outside of the time range too.
    pub all_files: usize,
    /// Row groups that are read.
    pub groups: usize,
    /// Row groups of all live files.
    pub all_groups: usize,
    /// Row groups with contested times, of those that are read.
    pub contested_groups: usize,
    /// Lines of buffers.
    pub buffered: usize,
}

/// What a snapshot has for a selection.
#[derive(Debug, Default)]
pub(in crate::store) struct LogInput {
    pub(in crate::store) files: Vec<Arc<LogFile>>,
    pub(in crate::store) views: Vec<LogView>,
    /// Live files and row groups of the table.
    pub(in crate::store) all: (usize, usize),
    /// What was deleted.
    pub(in crate::store) tombstones: Vec<Tombstone>,
}

/// The times of each selected stream that were deleted: from and to, ns.
#[derive(Debug)]
pub(super) struct Masks(Vec<Vec<(i64, i64)>>);

impl Masks {
    fn new(tombstones: &[Tombstone], streams: &[Labels]) -> Self {
        let of_lines = || tombstones.iter().filter(|tombstone| tombstone.of == Buried::Lines);
        let of_stream = |labels: &Labels| {
            let matches = |one: &&Tombstone| one.matchers.iter().all(|m| m.matches_labels(labels.as_ref()));
            let ns = |one: &Tombstone| {
                let end = one.to.saturating_mul(MS).saturating_add(MS - 1);
                (one.from.saturating_mul(MS), end)
            };
            of_lines().filter(matches).map(ns).collect()
        };
        Self(streams.iter().map(of_stream).collect())
    }

    /// Whether a line was deleted.
    pub(super) fn hide(&self, stream: u32, time: i64) -> bool {
        self.0[stream as usize].iter().any(|(from, to)| (*from..=*to).contains(&time))
    }

    /// Whether some of the times `first..=last` may have been deleted.
    fn meet(&self, stream: u32, first: i64, last: i64) -> bool {
        self.0[stream as usize].iter().any(|(from, to)| *from <= last && first <= *to)
    }

    /// Whether all of them were.
    fn cover(&self, stream: u32, first: i64, last: i64) -> bool {
        self.0[stream as usize].iter().any(|(from, to)| *from <= first && last <= *to)
    }
}

/// Some rows of a row group that belong to one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) rows: Range<u32>,
    /// Position in the selection's streams.
    pub(super) stream: u32,
}

/// What is read in one go.
#[derive(Debug)]
pub(super) enum Unit {
    Group {
        file: usize,
        group: usize,
        parts: Vec<Part>,
        /// Some lines lie outside of the time range, or were deleted.
        is_cut: bool,
        is_contested: bool,
    },
    Lines {
        view: usize,
        lines: Vec<LineAt>,
        is_contested: bool,
    },
}

impl Unit {
    fn is_contested(&self) -> bool {
        match self {
            Self::Group { is_contested, .. } | Self::Lines { is_contested, .. } => *is_contested,
        }
    }
}

/// The lines that a question may need. Never changes.
#[derive(Debug)]
pub struct LogSelection {
    pub(super) query: LogQuery,
    pub(super) search: Search,
    pub(super) streams: Vec<Labels>,
    pub(super) files: Vec<Arc<LogFile>>,
    pub(super) views: Vec<LogView>,
    /// For each view, the position of its streams in `streams`.
    pub(super) of_views: Vec<Vec<Option<u32>>>,
    pub(super) units: Vec<Unit>,
    pub(super) contested: Contested,
    pub(super) masks: Masks,
    counts: LogCounts,
}

/// The streams that match, numbered in the order of files.
struct Streams {
    all: Vec<Labels>,
    numbers: HashMap<Labels, u32>,
}

impl Streams {
    fn new<'a>(candidates: impl Iterator<Item = &'a Labels>, matchers: &[Matcher]) -> Self {
        let mut seen = HashMap::new();
        for labels in candidates {
            if !seen.contains_key(labels) {
                let matches = matchers.iter().all(|matcher| matcher.matches_labels(labels.as_ref()));
                seen.insert(labels, matches);
            }
        }
        let matching: BTreeSet<(i64, &Labels)> = seen
            .into_iter()
            .filter(|(_, m)| *m)
            .map(|(labels, _)| (series_id(labels.as_ref()), labels))
            .collect();
        let all: Vec<Labels> = matching.into_iter().map(|(_, labels)| labels.clone()).collect();
        let numbers = all.iter().cloned().zip(0u32..).collect();
        Self { all, numbers }
    }

    fn numbers_of(&self, streams: &[Labels]) -> Vec<Option<u32>> {
        streams.iter().map(|labels| self.numbers.get(labels).copied()).collect()
    }
}

impl LogSelection {
    pub(in crate::store) async fn new(input: LogInput, query: LogQuery) -> Result<Self> {
        let LogInput { files, views, all, tombstones } = input;
        let of_files = files.iter().flat_map(|file| file.streams());
        let of_views = views.iter().flat_map(LogView::streams);
        let streams = Streams::new(of_files.chain(of_views), &query.matchers);
        let of_views: Vec<_> = views.iter().map(|view| streams.numbers_of(view.streams())).collect();
        let masks = Masks::new(&tombstones, &streams.all);
        let mut intervals: BTreeMap<u32, Vec<Interval>> = BTreeMap::new();
        let mut units = Vec::new();
        for (file, opened) in files.iter().enumerate() {
            for unit in groups_of(file, opened, &streams, &masks, &query).await? {
                push_segments(&unit, opened, &mut intervals);
                units.push(unit);
            }
        }
        for (view, (lines, numbers)) in views.iter().zip(&of_views).enumerate() {
            let wanted = |stream: u32| numbers[stream as usize].is_some();
            let mut lines = lines.sorted(wanted, query.from, query.to);
            lines.retain(|at| {
                let number = numbers[views[view].line(*at).stream as usize];
                number.is_some_and(|stream| !masks.hide(stream, at.timestamp))
            });
            push_intervals(files.len() + view, &views[view], numbers, &lines, &mut intervals);
            units.push(Unit::Lines { view, lines, is_contested: false });
        }
        let contested = Contested::new(intervals);
        let mut selection = Self {
            search: Search::new(&query.needles),
            query,
            streams: streams.all,
            files,
            views,
            of_views,
            units: Vec::new(),
            contested,
            masks,
            counts: LogCounts { all_files: all.0, all_groups: all.1, ..LogCounts::default() },
        };
        for unit in units {
            selection.push(unit);
        }
        selection.count();
        Ok(selection)
    }

    /// Takes a unit, cut in two where only some of its lines are contested and that costs nothing.
    fn push(&mut self, unit: Unit) {
        match unit {
            Unit::Group { file, group, parts, is_cut, .. } => {
                let is_contested = parts.iter().any(|part| {
                    let segments = self.files[file].segments(group);
                    let at = segments.partition_point(|segment| segment.start < part.rows.start);
                    segments.get(at).is_some_and(|s| self.contested.meets(part.stream, s.first, s.last))
                });
                self.units.push(Unit::Group { file, group, parts, is_cut, is_contested });
            }
            Unit::Lines { view, lines, .. } => {
                let numbers = &self.of_views[view];
                let (contested, clear): (Vec<LineAt>, Vec<LineAt>) = lines.into_iter().partition(|at| {
                    let stream = numbers[self.views[view].line(*at).stream as usize];
                    stream.is_some_and(|stream| self.contested.has(stream, at.timestamp))
                });
                for (lines, is_contested) in [(clear, false), (contested, true)] {
                    if !lines.is_empty() {
                        self.units.push(Unit::Lines { view, lines, is_contested });
                    }
                }
            }
        }
    }

    fn count(&mut self) {
        let mut files = BTreeSet::new();
        for unit in &self.units {
            match unit {
                Unit::Group { file, is_contested, .. } => {
                    files.insert(*file);
                    self.counts.groups += 1;
                    self.counts.contested_groups += usize::from(*is_contested);
                }
                Unit::Lines { lines, .. } => self.counts.buffered += lines.len(),
            }
        }
        self.counts.files = files.len();
    }

    /// The streams of the selection, by id and labels. Some may have no line in the time range.
    pub fn streams(&self) -> &[Labels] {
        &self.streams
    }

    /// How much of the files and buffers is read.
    pub fn counts(&self) -> LogCounts {
        self.counts
    }

    /// What was asked.
    pub fn query(&self) -> &LogQuery {
        &self.query
    }

    /// At most `count` parts that are read independently; together they give every line once. Contested lines are
    /// all in the first one, because only who sees them all can tell which are the same.
    pub fn partitions(&self, count: usize) -> Vec<Vec<usize>> {
        let (contested, clear): (Vec<usize>, Vec<usize>) =
            (0..self.units.len()).partition(|unit| self.units[*unit].is_contested());
        let share = clear.len().div_ceil(count.max(1)).max(1);
        let mut all: Vec<Vec<usize>> = clear.chunks(share).map(<[usize]>::to_vec).collect();
        match all.first_mut() {
            Some(first) => first.splice(0..0, contested).for_each(drop),
            None => all.push(contested),
        }
        all
    }

    /// Reads some units of [`Self::partitions`].
    pub fn scan(self: &Arc<Self>, units: Vec<usize>, columns: LogColumns) -> LogReader {
        LogReader::new(Arc::clone(self), units, columns)
    }
}

/// The row groups of one file that may have a wanted line.
async fn groups_of(
    file: usize,
    opened: &Arc<LogFile>,
    streams: &Streams,
    masks: &Masks,
    query: &LogQuery,
) -> Result<Vec<Unit>> {
    let numbers = streams.numbers_of(opened.streams());
    let wanted = |segment: &Segment| {
        let number = wanted(segment, &numbers, query)?;
        (!masks.cover(number, segment.first, segment.last)).then_some(number)
    };
    let has = |group: &usize| opened.segments(*group).iter().any(|segment| wanted(segment).is_some());
    let candidates: Vec<usize> = (0..opened.groups()).filter(has).collect();
    let mut found = opened.may_contain(&candidates, &query.needles).await?;
    if let Some(id) = &query.trace_id {
        found = opened.may_have(&found, Identifier::Trace, id).await?;
    }
    if let Some(id) = &query.span_id {
        found = opened.may_have(&found, Identifier::Span, id).await?;
    }
    let unit = |group: usize| {
        let (mut parts, mut is_cut) = (Vec::new(), false);
        for segment in opened.segments(group) {
            let Some(stream) = wanted(segment) else { continue };
            is_cut |= segment.first < query.from || query.to < segment.last;
            is_cut |= masks.meet(stream, segment.first, segment.last);
            parts.push(Part { rows: segment.range(), stream });
        }
        Unit::Group { file, group, parts, is_cut, is_contested: false }
    };
    Ok(found.into_iter().map(unit).collect())
}

/// The number of a segment's stream when it is selected and has times in the range.
fn wanted(segment: &Segment, numbers: &[Option<u32>], query: &LogQuery) -> Option<u32> {
    let number = numbers[segment.stream as usize]?;
    (segment.first <= query.to && query.from <= segment.last).then_some(number)
}

/// The intervals of a row group's lines.
fn push_segments(unit: &Unit, file: &LogFile, intervals: &mut BTreeMap<u32, Vec<Interval>>) {
    let Unit::Group { file: source, group, parts, .. } = unit else { return };
    let segments = file.segments(*group);
    for part in parts {
        let at = segments.partition_point(|segment| segment.start < part.rows.start);
        let Segment { first, last, .. } = segments[at];
        intervals.entry(part.stream).or_default().push(Interval { first, last, source: *source });
    }
}

/// The intervals of a buffer's lines.
fn push_intervals(
    source: usize,
    view: &LogView,
    numbers: &[Option<u32>],
    lines: &[LineAt],
    intervals: &mut BTreeMap<u32, Vec<Interval>>,
) {
    let stream_of = |at: &LineAt| view.line(*at).stream;
    for of_stream in lines.chunk_by(|a, b| stream_of(a) == stream_of(b)) {
        let Some(number) = numbers[stream_of(&of_stream[0]) as usize] else { continue };
        let all = intervals.entry(number).or_default();
        let near = |a: &LineAt, b: &LineAt| b.timestamp.saturating_sub(a.timestamp) < INTERVAL_GAP;
        for lines in of_stream.chunk_by(near).flat_map(|lines| lines.chunks(INTERVAL_LINES)) {
            let (first, last) = (lines[0].timestamp, lines[lines.len() - 1].timestamp);
            all.push(Interval { first, last, source });
        }
    }
}
