//! Blocks of native histograms and exemplars: a stranger reads them, and no flipped byte goes unseen.

use super::*;
use crate::model::{Exemplar, Histogram, Span};
use arrow::array::{Array as _, ListArray};
use arrow::datatypes::Int8Type;

fn histogram(at: i32) -> Arc<Histogram> {
    let length = u32::try_from(at % 5).expect("small");
    Arc::new(Histogram {
        schema: 3,
        count: f64::from(at),
        sum: f64::from(at) / 4.0,
        zero_threshold: 0.001,
        positive_spans: vec![Span { offset: -2, length }, Span { offset: at, length: 1 }],
        positive: (0..=length).map(|i| f64::from(i) + 0.5).collect(),
        custom_bounds: if at % 7 == 0 { vec![1.0, 2.5] } else { Vec::new() },
        ..Histogram::default()
    })
}

fn histograms(rows: i32) -> Result<(FinishedBlock, Bytes)> {
    let mut writer = BlockWriter::of(RowSort::Histograms, Vec::new(), WriterSetting::Fresh)?;
    for pod in ["a", "b"] {
        let key = key("h", &[("pod", pod)]);
        let timestamps: Vec<i64> = (0..rows).map(|i| i64::from(i) * 15_000 + i64::from(i % 3)).collect();
        let values: Vec<_> = (0..rows).map(histogram).collect();
        let rows = RowValues::Histograms(&values);
        let id = if pod == "a" { 1 } else { 2 };
        writer.push_run(RunRows { key: &key, id, timestamps: &timestamps, rows, stale_at: &[] })?;
    }
    let (block, bytes) = writer.finish()?;
    Ok((block, bytes.into()))
}

fn exemplars() -> Result<(FinishedBlock, Bytes)> {
    let mut writer = BlockWriter::of(RowSort::Exemplars, Vec::new(), WriterSetting::Fresh)?;
    let one = |timestamp, trace: &str| {
        let labels = if trace.is_empty() { vec![] } else { vec![("trace_id", trace), ("zone", "é")] };
        Exemplar { timestamp, value: 0.5, labels: Labels::from_pairs(labels).expect("good labels") }
    };
    let values = [one(1, "a"), one(1, "b"), one(2, ""), one(9, "c")];
    let timestamps = values.each_ref().map(|one| one.timestamp);
    let (key, rows) = (key("e", &[("pod", "a")]), RowValues::Exemplars(&values));
    writer.push_run(RunRows { key: &key, id: 1, timestamps: &timestamps, rows, stale_at: &[] })?;
    let (block, bytes) = writer.finish()?;
    Ok((block, bytes.into()))
}

#[tokio::test]
async fn a_stranger_reads_histograms_and_exemplars() -> Result<()> {
    let (block, bytes) = histograms(3_000)?;
    assert_eq!((block.rows, block.runs, block.group_rows.len()), (6_000, 2, 3));
    let mut at = 0;
    for batch in read_as_a_stranger(&bytes)? {
        let count = batch.column_by_name("count").expect("there").as_primitive::<Float64Type>().clone();
        let schema = batch.column_by_name("schema").expect("there").as_primitive::<Int8Type>().clone();
        let list = |name: &str| -> ListArray { batch.column_by_name(name).expect("there").as_list().clone() };
        let (spans, counts, bounds) =
            (list("positive_spans"), list("positive_counts"), list("custom_bounds"));
        for row in 0..batch.num_rows() {
            let expected = histogram(at % 3_000);
            assert_eq!((count.value(row), schema.value(row)), (expected.count, 3));
            let floats = |list: &ListArray| list.value(row).as_primitive::<Float64Type>().values().to_vec();
            assert_eq!(
                (floats(&counts), floats(&bounds)),
                (expected.positive.clone(), expected.custom_bounds.clone())
            );
            assert_eq!(spans.value(row).len(), 2);
            at += 1;
        }
    }
    assert_eq!(at, 6_000);
    let (_, file) = open(&block, &bytes).await?;
    let all = everything(&file).await?;
    assert!(all.iter().any(|line| line.contains("custom_bounds: [1.0, 2.5]")), "they come back");
    let (block, bytes) = exemplars()?;
    let rows: usize = read_as_a_stranger(&bytes)?.iter().map(RecordBatch::num_rows).sum();
    let (_, file) = open(&block, &bytes).await?;
    let all = everything(&file).await?.join("\n");
    assert_eq!((rows, all.matches("value: 0.5").count(), all.matches("zone=\"é\"").count()), (4, 4, 0));
    assert_eq!(all.matches("\"zone\": \"é\"").count(), 3, "{all}");
    Ok(())
}

#[tokio::test]
async fn no_flipped_byte_changes_a_row() -> Result<()> {
    for (block, bytes) in [histograms(40)?, exemplars()?] {
        let (_, file) = open(&block, &bytes).await?;
        let good = everything(&file).await?;
        let mut seen = 0;
        for at in 0..bytes.len() {
            let mut bad = bytes.to_vec();
            bad[at] ^= 0x41;
            let read = match open(&block, &bad.into()).await {
                Ok((_, file)) => everything(&file).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(read) => assert_eq!(read, good, "byte {at}"),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Corrupt, "byte {at}: {error}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 500, "only {seen} of {} bytes matter", bytes.len());
    }
    Ok(())
}
