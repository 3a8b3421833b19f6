//! Label names and values over files and layers. Without matchers they come from the postings alone.
//!
//! Answers speak of the whole files and layers that were handed in, not of the rows inside a time range, and
//! tombstones do not hide a name: as in Prometheus, both lists may hold a little more than the rows show.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::selection::{Layer, RankedFile, Selection, SelectionInput};
use crate::error::Result;
use crate::model::METRIC_NAME;

/// The label names of the matching series, sorted; all of them without matchers.
///
/// # Errors
/// `Corrupt` naming a file; what the object store says.
pub(in crate::store) async fn label_names(input: SelectionInput) -> Result<BTreeSet<String>> {
    if !input.matchers.is_empty() {
        let selection = Selection::new(input).await?;
        let keys = selection.series().iter().map(|series| &series.key);
        let mut names: BTreeSet<&str> =
            keys.clone().flat_map(|key| key.labels.iter().map(|(name, _)| name)).collect();
        if keys.clone().any(|key| !key.metric.is_empty()) {
            names.insert(METRIC_NAME);
        }
        return Ok(names.into_iter().map(str::to_owned).collect());
    }
    let mut names = BTreeSet::new();
    for ranked in &input.files {
        extend(&mut names, ranked.file.label_names());
    }
    for_each_layer_label(&input.layers, |name, _| extend(&mut names, [name]));
    Ok(names)
}

/// The values of one label among the matching series, sorted; all of them without matchers.
///
/// # Errors
/// `Corrupt` naming a file; what the object store says.
pub(in crate::store) async fn label_values(name: &str, input: SelectionInput) -> Result<BTreeSet<String>> {
    let mut values = BTreeSet::new();
    if !input.matchers.is_empty() {
        let selection = Selection::new(input).await?;
        for series in selection.series() {
            let value =
                if name == METRIC_NAME { Some(&*series.key.metric) } else { series.key.labels.get(name) };
            extend(&mut values, value.filter(|value| !value.is_empty()));
        }
        return Ok(values);
    }
    for RankedFile { file, .. } in &input.files {
        values.extend(file.label_values(name).await?);
    }
    for_each_layer_label(&input.layers, |label, value| {
        if label == name {
            extend(&mut values, [value]);
        }
    });
    Ok(values)
}

fn for_each_layer_label(layers: &[Layer], mut f: impl FnMut(&str, &str)) {
    let mut last_metric: Option<&Arc<str>> = None;
    for run in layers.iter().flat_map(|layer| &layer.runs) {
        if last_metric != Some(&run.key.metric) && !run.key.metric.is_empty() {
            f(METRIC_NAME, &run.key.metric);
        }
        last_metric = Some(&run.key.metric);
        run.key.labels.iter().for_each(|(name, value)| f(name, value));
    }
}

/// Inserts without owning what is there already.
fn extend<'a>(set: &mut BTreeSet<String>, texts: impl IntoIterator<Item = &'a str>) {
    for text in texts {
        if !set.contains(text) {
            set.insert(text.to_owned());
        }
    }
}
