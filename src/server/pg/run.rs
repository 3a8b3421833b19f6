//! A running statement: planned, read and encoded on the cpu runtime; its rows wait in a bounded channel until
//! the socket takes them. Dropping it stops the work.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use pgwire::api::portal::Format;
use pgwire::api::results::FieldInfo;
use pgwire::messages::data::DataRow;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::encode::{RowWriter, Style, describe};
use crate::error::{Error, Kind, Result};
use crate::query::sql::{SqlSession, SqlStatement, stream_error};
use crate::runtime::Pools;

/// Rows that are encoded at once.
const CHUNK_ROWS: usize = 1_024;
/// Chunks that wait for the socket.
const WAITING_CHUNKS: usize = 2;

/// What is to run.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) session: Arc<SqlSession>,
    pub(super) statement: SqlStatement,
    pub(super) parameters: Vec<ScalarValue>,
    pub(super) format: Format,
    /// The columns that the client was told, if it was.
    pub(super) promised: Option<Arc<[FieldRef]>>,
}

/// A statement that runs, or has run.
#[derive(Debug)]
pub(super) struct Running {
    /// What its columns are.
    pub(super) fields: Vec<FieldInfo>,
    chunks: mpsc::Receiver<Result<Vec<DataRow>>>,
    chunk: std::vec::IntoIter<DataRow>,
    ended: bool,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Stops a task that nobody waits for any more.
struct Abort(Option<AbortHandle>);

impl Drop for Abort {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Running {
    /// Starts a statement and waits until it is planned.
    ///
    /// # Errors
    /// Those of [`SqlSession::execute`].
    pub(super) async fn start(pools: &Pools, order: Order) -> Result<Self> {
        let (told, planned) = oneshot::channel();
        let (sender, chunks) = mpsc::channel(WAITING_CHUNKS);
        let task = pools.spawn_cpu(work(order, told, sender));
        let mut abort = Abort(Some(task.abort_handle()));
        let fields = planned.await.map_err(|_| Error::internal("a statement ended without an answer"))??;
        let task = abort.0.take().expect("it was put there above");
        Ok(Self { fields, chunks, chunk: Vec::new().into_iter(), ended: false, task })
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// What the plan failed with.
    pub(super) async fn next(&mut self) -> Result<Option<DataRow>> {
        loop {
            if let Some(row) = self.chunk.next() {
                return Ok(Some(row));
            }
            if self.ended {
                return Ok(None);
            }
            // An empty chunk is the end; a channel that closes without it lost its task.
            let chunk =
                self.chunks.recv().await.ok_or_else(|| Error::internal("the statement's task broke off"))?;
            let chunk = chunk.inspect_err(|_| self.ended = true)?;
            self.ended = chunk.is_empty();
            self.chunk = chunk.into_iter();
        }
    }
}

async fn work(
    order: Order,
    told: oneshot::Sender<Result<Vec<FieldInfo>>>,
    sender: mpsc::Sender<Result<Vec<DataRow>>>,
) {
    let (fields, mut writer, mut rows) = match begin(&order).await {
        Ok(begun) => begun,
        Err(error) => {
            // Nobody waits: the client went away.
            drop(told.send(Err(error)));
            return;
        }
    };
    if told.send(Ok(fields)).is_err() {
        return;
    }
    while let Some(batch) = rows.next().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                drop(sender.send(Err(stream_error(error, &order.statement))).await);
                return;
            }
        };
        for from in (0..batch.num_rows()).step_by(CHUNK_ROWS) {
            let part = batch.slice(from, CHUNK_ROWS.min(batch.num_rows() - from));
            let chunk = writer.rows(&part);
            let failed = chunk.is_err();
            if sender.send(chunk).await.is_err() || failed {
                return;
            }
        }
    }
    drop(sender.send(Ok(Vec::new())).await);
}

type Begun = (Vec<FieldInfo>, RowWriter, datafusion::execution::SendableRecordBatchStream);

async fn begin(order: &Order) -> Result<Begun> {
    let answer = order.session.execute(&order.statement, order.parameters.clone()).await?;
    if let Some(promised) = &order.promised {
        let same = |(a, b): (&FieldRef, &FieldRef)| a.data_type() == b.data_type();
        if promised.len() != answer.columns.len() || !promised.iter().zip(answer.columns.iter()).all(same) {
            // A metric got a label between Parse and Execute. PostgreSQL's own words.
            return Err(Error::new(Kind::Unsupported, "cached plan must not change result type"));
        }
    }
    let fields = describe(&answer.columns, &order.format)?;
    let writer = RowWriter::new(fields.clone(), Style::of(order.session.settings())?);
    Ok((fields, writer, answer.rows))
}
