//! Reads the units of a selection: row groups and lines of buffers become [`LogRows`].

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{BinaryArray, BooleanArray, FixedSizeBinaryBuilder, StringArray, StringBuilder};
use xxhash_rust::xxh3::Xxh3;

use super::rows::LogRows;
use super::selection::{LogSelection, Part, Unit};
use crate::error::{Error, Kind, Result};
use crate::model::{Labels, LogLine};
use crate::store::block::{LineDecoder, LinePage, LinePages, LogColumns, LogGroup, line_columns};
use crate::store::buffer::LineAt;

/// Lines of a batch.
const BATCH_ROWS: usize = 8_192;
/// Contested lines of one question: 32 bytes each are kept to know them again.
const MAX_CONTESTED: usize = 16 << 20;

/// Reads one part of a selection.
#[derive(Debug)]
pub struct LogReader {
    selection: Arc<LogSelection>,
    units: std::vec::IntoIter<usize>,
    columns: LogColumns,
    current: Option<Current>,
    /// The 128-bit hashes of the contested lines so far.
    seen: HashSet<u128>,
    scratch: Vec<u8>,
    decoder: Option<LineDecoder>,
}

/// The unit being read.
#[derive(Debug)]
enum Current {
    Group {
        unit: usize,
        /// The columns that are still to be read, if any.
        rows: Option<LogGroup>,
        streams: Streams,
        /// The lines themselves where a search has found them; those before `at` are given out.
        bodies: Option<StringArray>,
        at: usize,
    },
    /// Rows whose number is all that is asked for.
    Counted(Streams),
    Lines {
        unit: usize,
        from: usize,
    },
}

/// The stream of each row of a unit, in order.
#[derive(Debug)]
struct Streams {
    parts: Vec<Part>,
    at: usize,
    /// Rows taken of the part.
    taken: u32,
}

impl Streams {
    fn take(&mut self, rows: usize) -> Vec<u32> {
        let mut out = Vec::with_capacity(rows);
        while out.len() < rows
            && let Some(part) = self.parts.get(self.at)
        {
            let left = part.rows.end - part.rows.start - self.taken;
            let room = u32::try_from(rows - out.len()).unwrap_or(u32::MAX);
            let now = left.min(room);
            out.extend(std::iter::repeat_n(part.stream, now as usize));
            self.taken += now;
            if now == left {
                (self.at, self.taken) = (self.at + 1, 0);
            }
        }
        out
    }
}

impl LogReader {
    pub(super) fn new(selection: Arc<LogSelection>, units: Vec<usize>, columns: LogColumns) -> Self {
        let (units, seen, scratch) = (units.into_iter(), HashSet::new(), Vec::new());
        Self { selection, units, columns, current: None, seen, scratch, decoder: None }
    }

    /// The next lines; never none of them. In a unit they are ordered by stream and time.
    ///
    /// # Errors
    /// `Corrupt` naming a file; what the object store says; `Limit` when too many lines of the question lie in
    /// times of which two files or buffers have lines.
    pub async fn next(&mut self) -> Result<Option<LogRows>> {
        loop {
            let Some(current) = self.current.take() else {
                let Some(unit) = self.units.next() else { return Ok(None) };
                self.current = Some(self.begin(unit).await?);
                continue;
            };
            let (rows, next) = self.step(current).await?;
            self.current = next;
            if let Some(rows) = rows.filter(|rows| !rows.is_empty()) {
                return Ok(Some(rows));
            }
        }
    }

    async fn begin(&mut self, unit: usize) -> Result<Current> {
        let selection = Arc::clone(&self.selection);
        let Unit::Group { file, group, parts, is_cut, is_contested } = &selection.units[unit] else {
            return Ok(Current::Lines { unit, from: 0 });
        };
        let mut columns = self.columns;
        if *is_cut {
            columns = columns.with(LogColumns::TIMESTAMP);
        }
        if *is_contested {
            columns = columns.with(LogRows::identity());
        }
        let (file, mut parts, mut bodies) = (&selection.files[*file], parts.clone(), None);
        if !selection.search.is_empty() {
            let rows: Vec<_> = parts.iter().map(|part| part.rows.clone()).collect();
            let pages = LinePages::fetch(file, *group, &rows).await?;
            (parts, bodies) = self.search(pages, &parts, columns.has(LogColumns::BODY))?;
            columns = columns.without(LogColumns::BODY);
        }
        let ranges = parts.iter().map(|part| part.rows.start as usize..part.rows.end as usize);
        let rows = match columns {
            LogColumns::NONE => None,
            _ if parts.is_empty() => None,
            columns => Some(file.read(*group, ranges, columns, BATCH_ROWS)?),
        };
        let streams = Streams { parts, at: 0, taken: 0 };
        if rows.is_none() && bodies.is_none() {
            return Ok(Current::Counted(streams));
        }
        Ok(Current::Group { unit, rows, streams, bodies, at: 0 })
    }

    /// The rows of `parts` that match, again as parts, and their lines when they are wanted.
    fn search(
        &mut self,
        mut pages: LinePages,
        parts: &[Part],
        is_wanted: bool,
    ) -> Result<(Vec<Part>, Option<StringArray>)> {
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => LineDecoder::new()?,
        };
        let mut bodies = is_wanted.then(StringBuilder::new);
        let (mut found, mut ahead): (Vec<Part>, &[Part]) = (Vec::new(), parts);
        while let Some(page) = pages.next(&mut decoder) {
            let page: LinePage<'_> = page?;
            for at in self.selection.search.rows(page.offsets, page.text) {
                let row = page.first + u32::try_from(at).expect("a row group has few rows");
                ahead = &ahead[ahead.partition_point(|part| part.rows.end <= row)..];
                let Some(part) = ahead.first().filter(|part| part.rows.start <= row) else { continue };
                match found.last_mut().filter(|last| last.rows.end == row && last.stream == part.stream) {
                    Some(last) => last.rows.end += 1,
                    None => found.push(Part { rows: row..row + 1, stream: part.stream }),
                }
                if let Some(bodies) = &mut bodies {
                    bodies.append_value(page.line(at)?);
                }
            }
        }
        self.decoder = Some(decoder);
        Ok((found, bodies.map(|mut bodies| bodies.finish())))
    }

    async fn step(&mut self, current: Current) -> Result<(Option<LogRows>, Option<Current>)> {
        match current {
            Current::Counted(mut streams) => {
                let rows = LogRows { streams: streams.take(BATCH_ROWS), ..LogRows::default() };
                let next = (!rows.is_empty()).then_some(Current::Counted(streams));
                Ok((Some(rows), next))
            }
            Current::Group { unit, mut rows, mut streams, bodies, at } => {
                let mut next = match &mut rows {
                    Some(rows) => {
                        let Some(batch) = rows.next().await? else { return Ok((None, None)) };
                        LogRows::from_file(&batch, streams.take(batch.num_rows()))?
                    }
                    None => LogRows { streams: streams.take(BATCH_ROWS), ..LogRows::default() },
                };
                if next.is_empty() {
                    return Ok((None, None));
                }
                let end = at + next.len();
                if let Some(bodies) = &bodies {
                    next.body = Some(bodies.slice(at, next.len()));
                }
                let kept = self.keep(unit, next)?;
                Ok((Some(kept), Some(Current::Group { unit, rows, streams, bodies, at: end })))
            }
            Current::Lines { unit, from } => {
                let (rows, to) = self.lines(unit, from)?;
                Ok((Some(rows), to.map(|from| Current::Lines { unit, from })))
            }
        }
    }

    /// The wanted ones of some lines of a file that contain what is searched.
    fn keep(&mut self, unit: usize, rows: LogRows) -> Result<LogRows> {
        let selection = Arc::clone(&self.selection);
        let Unit::Group { is_cut, is_contested, .. } = &selection.units[unit] else { return Ok(rows) };
        let mut rows = rows;
        if *is_cut {
            let query = &selection.query;
            let inside = |(time, stream): (&i64, &u32)| {
                Some(query.from <= *time && *time <= query.to && !selection.masks.hide(*stream, *time))
            };
            let inside: BooleanArray = rows.timestamps.iter().zip(&rows.streams).map(inside).collect();
            rows = rows.filter(&inside)?;
        }
        if *is_contested {
            let mut scratch = std::mem::take(&mut self.scratch);
            let mut first = Vec::with_capacity(rows.len());
            for row in 0..rows.len() {
                let body = rows.body.as_ref().map_or("", |lines| lines.value(row));
                let metadata = rows.metadata(row, &mut scratch);
                let line =
                    LogLine { stream: rows.streams[row], timestamp: rows.timestamps[row], body, metadata };
                first.push(Some(self.is_first(&line)?));
            }
            self.scratch = scratch;
            rows = rows.filter(&first.into_iter().collect())?;
        }
        Ok(rows)
    }

    /// Whether a line was not seen before. `line.stream` counts in the selection.
    fn is_first(&mut self, line: &LogLine<'_>) -> Result<bool> {
        if !self.selection.contested.has(line.stream, line.timestamp) {
            return Ok(true);
        }
        if self.seen.len() >= MAX_CONTESTED {
            let text = "too many log lines at times of which several files have lines; merge the day or ask for less";
            return Err(Error::new(Kind::Limit, text).with("limit", MAX_CONTESTED));
        }
        let mut hash = Xxh3::new();
        hash.update(&line.stream.to_le_bytes());
        hash.update(&line.timestamp.to_le_bytes());
        hash.update(&(line.body.len() as u64).to_le_bytes());
        hash.update(line.body.as_bytes());
        hash.update(line.metadata.as_bytes());
        Ok(self.seen.insert(hash.digest128()))
    }

    /// The next lines of a buffer, and where to go on.
    fn lines(&mut self, unit: usize, from: usize) -> Result<(LogRows, Option<usize>)> {
        let selection = Arc::clone(&self.selection);
        let Unit::Lines { view, lines, is_contested } = &selection.units[unit] else {
            return Ok((LogRows::default(), None));
        };
        let to = lines.len().min(from + BATCH_ROWS);
        let (view, numbers) = (&selection.views[*view], &selection.of_views[*view]);
        let mut kept: Vec<(LogLine<'_>, &Labels)> = Vec::new();
        let in_selection = |at: &LineAt| {
            let line = view.line(*at);
            let stream = numbers[line.stream as usize].expect("only lines of wanted streams were taken");
            (LogLine { stream, ..line }, &view.streams()[line.stream as usize])
        };
        for (line, labels) in lines[from..to].iter().map(in_selection) {
            if selection.search.matches(line.body) && (!is_contested || self.is_first(&line)?) {
                kept.push((line, labels));
            }
        }
        Ok((arrays(&kept, self.columns)?, (to < lines.len()).then_some(to)))
    }
}

/// Lines of a buffer as columns.
fn arrays(lines: &[(LogLine<'_>, &Labels)], columns: LogColumns) -> Result<LogRows> {
    let mut rows =
        LogRows { streams: lines.iter().map(|(line, _)| line.stream).collect(), ..LogRows::default() };
    if columns.has(LogColumns::TIMESTAMP) {
        rows.timestamps = lines.iter().map(|(line, _)| line.timestamp).collect();
    }
    if columns.has(LogColumns::SEVERITY) {
        let severity = |(line, labels): &(LogLine<'_>, &Labels)| {
            line_columns::severity(line.metadata)
                .or_else(|| line_columns::severity(labels.as_ref()))
                .map(str::to_owned)
        };
        rows.severity = Some(lines.iter().map(severity).collect());
    }
    if columns.has(LogColumns::BODY) {
        let bytes = lines.iter().map(|(line, _)| line.body.len()).sum();
        let mut bodies = StringBuilder::with_capacity(lines.len(), bytes);
        for (line, _) in lines {
            bodies.append_value(line.body);
        }
        rows.body = Some(bodies.finish());
    }
    let ids = |name: &str, width: i32, parse: fn(&str) -> Option<Vec<u8>>| {
        let mut out = FixedSizeBinaryBuilder::with_capacity(lines.len(), width);
        for (line, _) in lines {
            match line.metadata.get(name).and_then(parse) {
                Some(id) => out
                    .append_value(id)
                    .map_err(|e| Error::internal("an id of another width").caused_by(e))?,
                None => out.append_null(),
            }
        }
        Ok::<_, Error>(out.finish())
    };
    if columns.has(LogColumns::TRACE_ID) {
        rows.trace_id =
            Some(ids(line_columns::TRACE_ID, 16, |text| line_columns::hex::<16>(text).map(Vec::from))?);
    }
    if columns.has(LogColumns::SPAN_ID) {
        rows.span_id =
            Some(ids(line_columns::SPAN_ID, 8, |text| line_columns::hex::<8>(text).map(Vec::from))?);
    }
    if columns.has(LogColumns::ATTRIBUTES) {
        let mut bytes = Vec::new();
        let attributes = lines.iter().map(|(line, _)| {
            bytes.clear();
            for (name, value) in line_columns::attributes(line.metadata) {
                crate::model::push_pair(&mut bytes, name, value);
            }
            bytes.clone()
        });
        rows.attributes = Some(BinaryArray::from_iter_values(attributes));
    }
    Ok(rows)
}
