//! Parquet checkpoints: the whole state as one file, as Delta's protocol describes it ("Checkpoints", V1).
//!
//! One row is one action, one struct column a kind of action. The rows go through the same JSON as commits, so
//! that there is one codec for actions and a checkpoint cannot mean something else than the log.

use std::io::Cursor;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::json::ReaderBuilder;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::action::{Action, parse, render};
use super::log::{State, TableLog};
use super::replay::{Hint, checkpoint_path, hint_path};
use super::version::Version;
use crate::error::{Error, Result};
use crate::runtime::FaultPoint;

/// Actions encoded and decoded at once.
const BATCH_ROWS: usize = 8192;
const ROW_GROUP_ROWS: usize = 100_000;

impl TableLog {
    /// Writes a checkpoint of the newest version now.
    ///
    /// # Errors
    /// What the store says; the log is complete without it.
    #[cfg(test)]
    pub(crate) async fn checkpoint(&self) -> Result<u64> {
        let mut state = self.shared.state.lock().await;
        self.write_checkpoint(&mut state).await?;
        Ok(state.version.number)
    }

    /// Writes one when enough commits came since the last. A failure is told and tried again at the next commit.
    pub(super) async fn checkpoint_if_due(&self, state: &mut State) {
        let since = state.version.number - state.checkpoint.as_ref().map_or(0, |hint| hint.version);
        if since < self.shared.options.checkpoint_every {
            return;
        }
        if let Err(error) = self.write_checkpoint(state).await {
            tracing::warn!(%error, table = self.shared.folder, "a checkpoint was not written");
        }
    }

    async fn write_checkpoint(&self, state: &mut State) -> Result<()> {
        let shared = &self.shared;
        shared.ground.faults.at(FaultPoint::CheckpointBegun).await;
        let (folder, objects) = (&shared.folder, &shared.ground.objects);
        let forget = shared.ground.clock.now_ms().saturating_sub(shared.options.keep_removed_ms);
        let version = Arc::new(Version::clone(&state.version).forget(forget));
        let (number, kept) = (version.number, Arc::clone(&version));
        let (bytes, hint) = shared.ground.pools.run_blocking(move || encode(&version)).await?;
        objects.put(&checkpoint_path(folder, number), bytes).await?;
        // The hint comes second: it must never point to a checkpoint that is not there.
        put_hint(self, &hint).await?;
        state.checkpoint = Some(hint);
        // What the checkpoint does not know any more, this process does not either.
        state.version = Arc::clone(&kept);
        shared.published.store(kept);
        Ok(())
    }
}

pub(super) async fn put_hint(log: &TableLog, hint: &Hint) -> Result<()> {
    let json = serde_json::to_vec(hint);
    let json = json.map_err(|e| Error::internal("the checkpoint hint is not JSON").caused_by(e))?;
    log.shared.ground.objects.put(&hint_path(&log.shared.folder), json.into()).await
}

/// The file of a checkpoint and its hint.
fn encode(version: &Version) -> Result<(Bytes, Hint)> {
    let actions = version.to_actions()?;
    let schema = Arc::new(Schema::new(columns()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let options = parquet::arrow::arrow_writer::ArrowWriterOptions::new()
        .with_properties(properties)
        .with_skip_arrow_metadata(true);
    let failed = |e| Error::internal("a checkpoint cannot be encoded").caused_by(e);
    let mut writer =
        ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), options).map_err(failed)?;
    for chunk in actions.chunks(BATCH_ROWS) {
        let reader = ReaderBuilder::new(Arc::clone(&schema))
            .with_batch_size(BATCH_ROWS)
            // Every field of an action has a column; one that has not would be lost without a word.
            .with_strict_mode(true)
            .build(Cursor::new(render(chunk)?))
            .map_err(|e| failed(e.into()))?;
        for batch in reader {
            writer.write(&batch.map_err(|e| failed(e.into()))?).map_err(failed)?;
        }
    }
    let bytes = Bytes::from(writer.into_inner().map_err(failed)?);
    Ok((bytes, Hint::of(version, actions.len())))
}

/// The actions of a checkpoint file, ours or another Delta writer's.
pub(super) fn decode(bytes: Bytes) -> Result<Vec<Action>> {
    let damaged = |e: parquet::errors::ParquetError| {
        Error::corrupt("a checkpoint cannot be read as Parquet").caused_by(e)
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(damaged)?;
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(damaged)?;
    let mut actions = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|e| damaged(e.into()))?;
        let mut lines = WriterBuilder::new().build::<_, LineDelimited>(Vec::new());
        lines.write(&batch).and_then(|()| lines.finish()).map_err(|e| damaged(e.into()))?;
        actions.extend(parse(&lines.into_inner())?);
    }
    Ok(actions)
}

/// The columns of a checkpoint, in the protocol's names.
fn columns() -> Vec<Field> {
    let text = || DataType::Utf8;
    let (long, int, boolean) = (DataType::Int64, DataType::Int32, DataType::Boolean);
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let list = || DataType::List(Arc::new(field("element", text())));
    let action = |name: &str, fields: Vec<Field>| field(name, DataType::Struct(Fields::from(fields)));
    let format = DataType::Struct(vec![field("provider", text()), field("options", map())].into());
    vec![
        action(
            "txn",
            vec![field("appId", text()), field("version", long.clone()), field("lastUpdated", long.clone())],
        ),
        action(
            "add",
            vec![
                field("path", text()),
                field("partitionValues", map()),
                field("size", long.clone()),
                field("modificationTime", long.clone()),
                field("dataChange", boolean.clone()),
                field("stats", text()),
                field("tags", map()),
            ],
        ),
        action(
            "remove",
            vec![
                field("path", text()),
                field("deletionTimestamp", long.clone()),
                field("dataChange", boolean.clone()),
                field("extendedFileMetadata", boolean),
                field("partitionValues", map()),
                field("size", long.clone()),
            ],
        ),
        action(
            "metaData",
            vec![
                field("id", text()),
                field("name", text()),
                field("format", format),
                field("schemaString", text()),
                field("partitionColumns", list()),
                field("configuration", map()),
                field("createdTime", long),
            ],
        ),
        action(
            "protocol",
            vec![
                field("minReaderVersion", int.clone()),
                field("minWriterVersion", int),
                field("readerFeatures", list()),
                field("writerFeatures", list()),
            ],
        ),
    ]
}

fn map() -> DataType {
    let pair = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)];
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair.into()), false)), false)
}
