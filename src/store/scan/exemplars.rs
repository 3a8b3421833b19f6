//! Exemplars of the series that match: runs of files and layers, each exemplar once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::selection::{RankedFile, Tombstone, file_key, masks};
use crate::error::{Error, Kind, Result};
use crate::model::{Exemplar, Matcher, SeriesKey};
use crate::store::block::{BlockFile, Column, FileRun, Page, PageDecoder};
use crate::store::buffer::{ExemplarRun, tidy};

/// One series with its exemplars, by time.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesExemplars {
    /// Metric and labels.
    pub key: SeriesKey,
    /// At least one, sorted by [`Exemplar::order`], each once.
    pub exemplars: Vec<Exemplar>,
}

/// What exemplars are looked for.
#[derive(Debug)]
pub(in crate::store) struct ExemplarInput {
    pub(in crate::store) files: Vec<RankedFile>,
    pub(in crate::store) layers: Vec<Vec<ExemplarRun>>,
    pub(in crate::store) matchers: Vec<Matcher>,
    /// First ms.
    pub(in crate::store) from: i64,
    /// Last ms.
    pub(in crate::store) to: i64,
    pub(in crate::store) tombstones: Vec<Tombstone>,
}

/// Exemplars of one question: all stand in memory until they are sorted.
const MAX_EXEMPLARS: usize = 4_000_000;

/// The exemplars in the range, series in the order of metric and labels.
///
/// # Errors
/// `Corrupt` naming a file; what the object store says; `Limit` for too many.
pub(in crate::store) async fn exemplars(input: ExemplarInput) -> Result<Vec<SeriesExemplars>> {
    let mut found: BTreeMap<SeriesKey, Vec<Exemplar>> = BTreeMap::new();
    let mut decoder = PageDecoder::new()?;
    let mut count = 0;
    for ranked in &input.files {
        for run in ranked.file.lookup(&input.matchers, input.from, input.to).await? {
            let rows = read_run(&ranked.file, &run, &mut decoder).await?;
            count += rows.len();
            if count > MAX_EXEMPLARS {
                let text = "too many exemplars; name a metric or a shorter time";
                return Err(Error::new(Kind::Limit, text).with("limit", MAX_EXEMPLARS));
            }
            found.entry(file_key(&run)).or_default().extend(rows);
        }
    }
    for run in input.layers.into_iter().flatten() {
        found.entry(run.key).or_default().extend(run.exemplars);
    }
    let mut all = Vec::with_capacity(found.len());
    for (key, mut exemplars) in found {
        let masks = masks(&input.tombstones, &key.metric, key.labels.as_ref());
        let hidden = |time: i64| masks.iter().any(|(from, to)| (*from..=*to).contains(&time));
        let inside = |time: i64| (input.from..=input.to).contains(&time);
        exemplars.retain(|one| inside(one.timestamp) && !hidden(one.timestamp));
        tidy(&mut exemplars);
        if !exemplars.is_empty() {
            all.push(SeriesExemplars { key, exemplars });
        }
    }
    Ok(all)
}

/// All exemplars of a run.
pub(super) async fn read_run(
    file: &Arc<BlockFile>,
    run: &FileRun,
    decoder: &mut PageDecoder,
) -> Result<Vec<Exemplar>> {
    // Times may repeat, so that a run is read whole and not by its step.
    let parts: Vec<_> = file.page_parts(run.rows()).collect();
    let wanted: BTreeSet<_> = parts.iter().map(|part| (Column::Exemplar, part.page)).collect();
    let pages = file.pages(&wanted, decoder).await?;
    let mut out = Vec::new();
    for part in parts {
        if let Some(Page::Exemplars(rows)) = pages.get(&(Column::Exemplar, part.page)) {
            out.extend_from_slice(rows.get(part.rows).unwrap_or_default());
        }
    }
    Ok(out)
}
