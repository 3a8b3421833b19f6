//! Native histograms of one series: parts of files and layers put together, of two with one timestamp the one of
//! the higher rank. At one timestamp a histogram wins over a float and over a stale marker, whatever their ranks.

use std::sync::Arc;

use super::assemble::{Stores, inside, push_timeline};
use super::pages::histograms_between;
use super::selection::Source;
use crate::error::Result;
use crate::model::Histogram;
use crate::store::block::{Column, FileRun, RowSort};
use crate::store::buffer::last_of_each;

/// The histograms of the series that is assembled.
#[derive(Debug, Default)]
pub(super) struct Histograms {
    /// ms, ascending and unique.
    pub(super) times: Vec<i64>,
    /// One per time.
    pub(super) rows: Vec<Arc<Histogram>>,
    /// The last one in front of the range and its time, as far as the parts know.
    before: Option<(i64, Arc<Histogram>)>,
}

impl Histograms {
    pub(super) fn clear(&mut self) {
        self.times.clear();
        self.rows.clear();
        self.before = None;
    }

    /// The last one in front of the range that the parts of the range know: none, or an older one, where the last one
    /// lies in a file that the range does not touch. Only warnings depend on it.
    pub(super) fn before(&self) -> Option<&Arc<Histogram>> {
        self.before.as_ref().map(|(_, histogram)| histogram)
    }

    /// Another part's last one in front of the range; parts come in rank order.
    fn take_before(&mut self, row: (i64, Arc<Histogram>)) {
        if self.before.as_ref().is_none_or(|(time, _)| *time <= row.0) {
            self.before = Some(row);
        }
    }

    /// Puts the parts, in rank order, together; `masks` are deleted times.
    pub(super) fn assemble(
        &mut self,
        stores: Stores<'_>,
        sources: &[Source],
        masks: &[(i64, i64)],
    ) -> Result<()> {
        for source in sources {
            match source {
                Source::File(file, run) if stores.files[*file].sort() == RowSort::Histograms => {
                    self.append_file(stores, *file, run)?;
                }
                Source::File(..) => {}
                Source::Layer(layer, run) => {
                    let run = &stores.layers[*layer].runs[*run];
                    let rows = inside(&run.histogram_times, stores.range);
                    if let Some(before) = rows.start.checked_sub(1).filter(|_| !rows.is_empty()) {
                        self.take_before((run.histogram_times[before], Arc::clone(&run.histograms[before])));
                    }
                    self.times.extend_from_slice(&run.histogram_times[rows.clone()]);
                    self.rows.extend_from_slice(&run.histograms[rows]);
                }
            }
        }
        let kept = |time: &i64| !masks.iter().any(|(from, to)| (*from..=*to).contains(time));
        self.before.take_if(|(time, _)| !kept(time));
        if !self.times.is_sorted_by(|a, b| a < b) || !masks.is_empty() {
            let rows = self.times.drain(..).zip(self.rows.drain(..));
            (self.times, self.rows) = last_of_each(rows.filter(|row| kept(&row.0)).collect());
        }
        Ok(())
    }

    fn append_file(&mut self, stores: Stores<'_>, file: usize, run: &FileRun) -> Result<()> {
        let rows = histograms_between(run, stores.range.0, stores.range.1);
        let block = &stores.files[file];
        let before = self.times.len();
        if let (Some(step), Some((first, _))) = (run.step(), run.row_times()) {
            let skipped = i64::try_from(rows.start - run.rows().start).expect("rows fit");
            let count = usize::try_from(rows.end - rows.start).expect("quipu runs on 64-bit machines");
            push_timeline(&mut self.times, first + step * skipped, step, count);
        } else {
            for part in block.page_parts(rows.clone()) {
                let page = stores.pages.times(file, Column::Timestamp, &part)?;
                self.times.extend_from_slice(&page[part.rows]);
            }
        }
        for part in block.page_parts(rows) {
            let page = stores.pages.histograms(file, &part)?;
            self.rows.extend_from_slice(&page[part.rows]);
        }
        let cut = inside(&self.times[before..], stores.range);
        if let Some(last) = cut.start.checked_sub(1).filter(|_| !cut.is_empty()) {
            self.take_before((self.times[before + last], Arc::clone(&self.rows[before + last])));
        }
        self.times.truncate(before + cut.end);
        self.rows.truncate(before + cut.end);
        self.times.drain(before..before + cut.start);
        self.rows.drain(before..before + cut.start);
        debug_assert_eq!(self.times.len(), self.rows.len(), "columns of one series");
        Ok(())
    }
}
