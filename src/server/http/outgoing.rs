//! Bodies that are written while they are sent: a large answer never stands in memory as text.
//!
//! ```text
//!   writer (cpu) ─► buffer ─► [QUEUE chunks of CHUNK bytes] ─► socket (io)
//! ```
//!
//! A slow client makes the writer wait; one that goes away ends it.

use std::mem;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use tokio::sync::mpsc;

use crate::error::{Error, Kind, Result};
use crate::runtime::Pools;

/// Bytes that are handed on together.
const CHUNK: usize = 256 << 10;
/// Chunks that wait for the socket.
const QUEUE: usize = 2;

/// A body in the making.
#[derive(Debug)]
pub(super) struct Outgoing {
    buffer: Vec<u8>,
    /// `None` collects the body whole.
    sender: Option<mpsc::Sender<Result<Bytes>>>,
}

impl Outgoing {
    /// One that stays in one buffer: for small answers.
    pub(super) fn whole(capacity: usize) -> Self {
        Self { buffer: Vec::with_capacity(capacity), sender: None }
    }

    /// Where to write.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Whether [`Outgoing::pass`] has something to do.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= CHUNK && self.sender.is_some()
    }

    /// Hands on what was written, when that is enough for a chunk.
    ///
    /// # Errors
    /// `Cancelled` when the client went away.
    pub(super) async fn pass(&mut self) -> Result<()> {
        if self.is_full() { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<()> {
        let Some(sender) = &self.sender else { return Ok(()) };
        let chunk = mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK + CHUNK / 8));
        let gone = |_| Error::new(Kind::Cancelled, "the client went away");
        sender.send(Ok(chunk.into())).await.map_err(gone)
    }

    /// What was collected.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.buffer
    }
}

/// A body that `write` writes while it is sent. An error in the middle breaks the connection, which is all that
/// HTTP has for it.
pub(super) fn streamed<W, F>(pools: &Pools, write: W) -> Body
where
    W: FnOnce(Outgoing) -> F,
    F: Future<Output = Result<Outgoing>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    let written = write(Outgoing { buffer: Vec::new(), sender: Some(sender.clone()) });
    pools.spawn_cpu(async move {
        let ended = match written.await {
            Ok(mut rest) => rest.send().await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an answer broke off");
            // Nobody is there to read it when the client went away.
            drop(sender.send(Err(error)).await);
        }
    });
    Body::from_stream(stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|item| (item, receiver))
    }))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[test]
    fn a_large_body_takes_the_memory_of_a_few_chunks() {
        const LINES: usize = 200_000;
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut sizes = Vec::new();
        let taken = allocation_counter::measure(|| {
            runtime.block_on(async {
                let body = streamed(&Pools::current(), |mut out| async move {
                    for line in 0..LINES {
                        out.buffer().extend_from_slice(format!("{line:0>99}\n").as_bytes());
                        out.pass().await?;
                    }
                    Ok(out)
                });
                let mut chunks = body.into_data_stream();
                while let Some(chunk) = chunks.next().await {
                    sizes.push(chunk.expect("it does not break off").len());
                }
            });
        });
        assert_eq!(sizes.iter().sum::<usize>(), LINES * 100);
        assert!(sizes.iter().all(|size| *size <= CHUNK + 100), "{sizes:?}");
        let limit = u64::try_from(CHUNK * (QUEUE + 6)).expect("small");
        assert!(taken.bytes_max < limit, "20 MB were sent with {} bytes", taken.bytes_max);
    }

    #[tokio::test]
    async fn who_goes_away_ends_the_writer_and_an_error_breaks_the_body() {
        let (told, ended) = tokio::sync::oneshot::channel();
        let body = streamed(&Pools::current(), |mut out| async move {
            let error = loop {
                out.buffer().extend_from_slice(&vec![0; CHUNK]);
                if let Err(error) = out.pass().await {
                    break error;
                }
            };
            told.send(error.kind()).expect("the test waits");
            Err(error)
        });
        let mut chunks = body.into_data_stream();
        assert!(chunks.next().await.is_some_and(|chunk| chunk.is_ok()));
        drop(chunks);
        assert_eq!(ended.await, Ok(Kind::Cancelled));
        let body = streamed(&Pools::current(), |_| async { Err(Error::corrupt("half of it")) });
        assert!(axum::body::to_bytes(body, CHUNK).await.is_err());
    }
}
