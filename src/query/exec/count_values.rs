//! `count_values`: how often each value occurs. The value becomes a label before series are grouped.

use arrow::array::RecordBatch;
use datafusion::execution::memory_pool::MemoryReservation;
use hashbrown::HashMap;

use super::batch::View;
use super::error::inward;
use super::groups::{Groups, Output};
use super::kernel::bits;
use super::labels::{push_group, push_visible, push_with};
use super::native::text;
use super::operator::Yielder;
use crate::error::Result;
use crate::model::{LabelsRef, push_go_float_fixed};
use crate::query::plan::{CountValues, GridSchema};

/// The counts of the values of all rows. Every value makes an output row, so they are counted in `memory` as they come.
pub(crate) async fn count_values(
    batches: &[RecordBatch],
    count: &CountValues,
    (immediate_names, schema): (bool, &GridSchema),
    memory: &MemoryReservation,
    yielder: &mut Yielder,
) -> Result<Vec<RecordBatch>> {
    let steps = schema.grid().steps();
    let mut groups = Groups::default();
    let mut counts: Vec<f64> = Vec::new();
    let (mut words, mut visible, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for batch in batches {
        let view = View::of(batch);
        for row in 0..view.len() {
            visible.clear();
            push_visible(&mut visible, (view.labels(row), view.drop_name(row)), immediate_names);
            // The groups of the values of this row, by their bits.
            let mut known: HashMap<u64, usize> = HashMap::new();
            let cells = view.row(row, &mut words);
            for (step, value) in cells.values.iter().enumerate().filter(|(step, _)| cells.is_valid(*step)) {
                let key = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
                let group = *known.entry(key).or_insert_with(|| {
                    group_of(&float_text(*value), LabelsRef::trusted(&visible), count, &mut bytes);
                    groups.id(&bytes, false)
                });
                if counts.len() < groups.len() * steps {
                    // Here and as a row of the result.
                    memory.try_grow(2 * steps * 8 + 2 * bytes.len() + 64).map_err(inward)?;
                    counts.resize(groups.len() * steps, 0.0);
                }
                counts[group * steps + step] += 1.0;
            }
            for (step, histogram) in view.histograms(row)? {
                group_of(&text(&histogram), LabelsRef::trusted(&visible), count, &mut bytes);
                let group = groups.id(&bytes, false);
                if counts.len() < groups.len() * steps {
                    memory.try_grow(2 * steps * 8 + 2 * bytes.len() + 64).map_err(inward)?;
                    counts.resize(groups.len() * steps, 0.0);
                }
                counts[group * steps + step as usize] += 1.0;
            }
            yielder.check().await;
        }
    }
    let mut out = Output::new(schema);
    let mut valid = vec![0; bits::word_count(steps)];
    for (group, counts) in counts.chunks(steps).enumerate() {
        bits::fill(&mut valid, steps, |step| counts[step] > 0.0);
        out.push(groups.get(group).0, false, counts, &valid)?;
    }
    out.finish()
}

fn float_text(value: f64) -> String {
    let mut text = Vec::new();
    push_go_float_fixed(&mut text, value);
    String::from_utf8(text).expect("a number is written in ASCII")
}

/// The labels of the group of a series' value.
fn group_of(value: &str, labels: LabelsRef<'_>, count: &CountValues, bytes: &mut Vec<u8>) {
    let mut with = Vec::new();
    push_with(&mut with, labels, &count.label, value);
    bytes.clear();
    push_group(bytes, LabelsRef::trusted(&with), &count.grouping, false);
}
