//! Log lines become files: a frozen buffer's lines in the order of files, one file for each UTC day.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::files::Output;
use crate::error::Result;
use crate::model::{MAX_LABEL_COLUMNS, label_column, label_of_column, time};
use crate::store::block::LogWriter;
use crate::store::buffer::{LineAt, LogView};
use crate::store::catalog::Version;

/// The labels that are columns of a table of logs.
#[derive(Debug, Clone, Default)]
pub(super) struct LabelColumns(BTreeSet<Arc<str>>);

impl LabelColumns {
    /// Those of a version.
    pub(super) fn of(version: &Version) -> Self {
        let names = version.column_names();
        Self(names.iter().filter_map(|column| label_of_column(column)).map(Arc::from).collect())
    }

    /// Of the labels of some streams those that are columns, or become columns because there is room.
    pub(super) fn choose<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Arc<[Arc<str>]> {
        let mut chosen = BTreeSet::new();
        for name in names.collect::<BTreeSet<_>>() {
            if let Some(known) = self.0.get(name) {
                chosen.insert(Arc::clone(known));
            } else if self.0.len() < MAX_LABEL_COLUMNS && label_column(name).is_some() {
                let name: Arc<str> = name.into();
                self.0.insert(Arc::clone(&name));
                chosen.insert(name);
            }
        }
        chosen.into_iter().collect()
    }
}

/// The lines of each UTC day, in the order of files and without repetitions.
pub(super) fn lines_by_day(view: &LogView) -> BTreeMap<i32, Vec<LineAt>> {
    let mut days: BTreeMap<i32, Vec<LineAt>> = BTreeMap::new();
    for at in view.sorted(|_| true, i64::MIN, i64::MAX) {
        days.entry(time::day_of(time::ns_to_ms(at.timestamp))).or_default().push(at);
    }
    days
}

/// The file of one day.
pub(super) fn encode_day(
    view: &LogView,
    day: i32,
    lines: &[LineAt],
    columns: &mut LabelColumns,
) -> Result<Output> {
    let of_line = |at: &LineAt| &view.streams()[view.line(*at).stream as usize];
    let mut streams: Vec<_> = lines.iter().map(of_line).collect();
    streams.dedup();
    let labels = columns.choose(streams.iter().flat_map(|stream| stream.iter()).map(|(name, _)| name));
    let mut writer = LogWriter::new(Vec::new(), labels)?;
    for at in lines {
        writer.push(of_line(at), view.line(*at))?;
    }
    let (logs, bytes) = writer.finish()?;
    Ok(Output::of_logs(day, &logs, bytes))
}
