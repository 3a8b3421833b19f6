//! Writes real tables for other Delta readers: `tests/e2e/delta_readers.sh` runs this and reads them with
//! delta-rs and Polars.

use std::path::Path;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, MapBuilder, MapFieldNames, RecordBatch, StringArray,
    StringBuilder, TimestampMillisecondArray,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;

use super::*;
use crate::model::series_schema;
use crate::runtime::{Disk, Faults, ObjectsOptions};

const ROWS: i64 = 10;

fn samples(metric: &str, first_ms: i64) -> RecordBatch {
    let times = || TimestampMillisecondArray::from_iter_values((0..ROWS).map(|i| first_ms + i * 1_000));
    let values = (0_i32..10).map(f64::from);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values((0..ROWS).map(|_| metric))),
        Arc::new(Int64Array::from_iter_values((0..ROWS).map(|i| i - 5))),
        Arc::new(times().with_timezone("UTC")),
        Arc::new(Float64Array::from_iter_values(values)),
        Arc::new(TimestampMillisecondArray::new_null(10).with_timezone("UTC")),
    ];
    RecordBatch::try_new(samples_schema(), columns).expect("the columns are the schema's")
}

fn series() -> RecordBatch {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut labels = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for job in ["api", "db"] {
        labels.keys().append_value("job");
        labels.values().append_value(job);
        labels.append(true).expect("keys and values are as many");
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from(vec![19_675, 19_675])),
        Arc::new(StringArray::from(vec!["up", "up"])),
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(labels.finish()),
    ];
    RecordBatch::try_new(series_schema(), columns).expect("the columns are the schema's")
}

fn parquet(batch: &RecordBatch) -> bytes::Bytes {
    let options = ArrowWriterOptions::new().with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options)
        .expect("the schema is Parquet's");
    writer.write(batch).expect("the rows are written");
    writer.into_inner().expect("the file is closed").into()
}

/// Puts a Parquet file and says what a commit must add.
async fn put(log: &TableLog, objects: &Objects, batch: &RecordBatch, path: &str) -> Result<DataFile> {
    let bytes = parquet(batch);
    let mut file = data_file(path, Rank::fresh(0), u64::try_from(batch.num_rows()).expect("few"));
    file.size = u64::try_from(bytes.len()).expect("small");
    file.stats = Stats::rows(file.stats.num_records);
    objects.put(&format!("{}/{path}", log.folder()), bytes).await?;
    Ok(file)
}

async fn append(log: &TableLog, mut file: DataFile, txn: (&str, i64)) -> Result<Arc<Version>> {
    log.commit(|_, number| {
        file.tags.rank = Rank::fresh(number);
        let txns = vec![(txn.0.to_owned(), txn.1)];
        Ok(Commit { adds: vec![file.clone()], txns, data_change: true, ..Commit::default() })
    })
    .await
}

#[tokio::test]
#[ignore = "writes target/delta-interop for tests/e2e/delta_readers.sh"]
async fn write_tables_for_other_readers() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/delta-interop");
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    let pools = Pools::current();
    let location = root.to_string_lossy().into_owned();
    let objects = Objects::open(&location, &ObjectsOptions::default(), &Disk::real(), &pools).await?;
    let ground = Ground { objects: objects.clone(), clock: Clock::real(), pools, faults: Faults::default() };

    let log = open_with(ground.clone(), LogOptions::default()).await?;
    for (i, metric) in [(0, "a"), (1, "b"), (2, "c")] {
        let first_ms = START_MS + i * 60_000;
        let path = format!("2023-11-14-{metric}.parquet");
        let mut file = put(&log, &objects, &samples(metric, first_ms), &path).await?;
        file.stats = file.stats.with_text("metric", metric, metric).with_int("series_id", -5, 4);
        file.stats = file.stats.with_time("timestamp", first_ms, first_ms + (ROWS - 1) * 1_000);
        append(&log, file, ("11111111-wal/live", i + 1)).await?;
    }
    // The rows of a and b in one file.
    let both = [samples("a", START_MS), samples("b", START_MS + 60_000)];
    let both = arrow::compute::concat_batches(&samples_schema(), &both).expect("one schema");
    let mut merged = put(&log, &objects, &both, "2023-11-14-ab.parquet").await?;
    merged.tags.rank = Rank { lo: 1, hi: 2 };
    let removes = vec!["2023-11-14-a.parquet".to_owned(), "2023-11-14-b.parquet".to_owned()];
    let commit = Commit { adds: vec![merged], removes, ..Commit::default() };
    log.commit(|_, _| Ok(commit.clone())).await?;
    log.checkpoint().await?;
    let last = put(&log, &objects, &samples("d", START_MS + 180_000), "2023-11-14-d.parquet").await?;
    append(&log, last, ("11111111-wal/live", 4)).await?;

    let options = LogOptions::default();
    let log = TableLog::open(ground, options, &Tenant::default(), "series", &series_schema()).await?;
    let file = put(&log, &objects, &series(), "2023-11-14-s.parquet").await?;
    append(&log, file, ("11111111-wal/live", 1)).await?;
    log.checkpoint().await?;
    Ok(())
}

#[tokio::test]
#[ignore = "reads what tests/e2e/delta_readers.py left in target/delta-interop"]
async fn read_a_checkpoint_of_delta_rs() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/delta-interop");
    let location = root.to_string_lossy().into_owned();
    let objects =
        Objects::open(&location, &ObjectsOptions::default(), &Disk::real(), &Pools::current()).await?;
    let reopen = async |table| {
        let ground = ground(&objects);
        TableLog::open(ground, LogOptions::default(), &Tenant::default(), table, &samples_schema()).await
    };
    let (ours, theirs) = (reopen("samples").await?.snapshot(), reopen("copied").await?.snapshot());
    assert!(objects.head("default/copied/_delta_log/00000000000000000005.checkpoint.parquet").await.is_ok());
    assert_eq!(*ours, *theirs, "ranks, tags, streams and removals come back");
    Ok(())
}
