//! A streaming write of one object: small ones in one put, large ones in parts of equal size.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use object_store::{MultipartUpload, PutMultipartOptions, PutPayload, UploadPart};

use super::Objects;
use crate::error::{Error, Result};

/// S3 wants at least 5 MiB; R2 wants all parts equal. 10,000 parts make 78 GiB.
const PART_BYTES: usize = 8 << 20;
/// Parts on the way at once: with the one being filled, 40 MiB a writer at most.
const PARTS_IN_FLIGHT: usize = 4;

/// Writes one object. Nothing is visible before [`ObjectWriter::finish`]; one that is dropped instead leaves at
/// most unfinished parts, which the store (or the next start of a local one) clears away.
#[derive(Debug)]
pub struct ObjectWriter {
    objects: Objects,
    path: String,
    /// Less than a part.
    pending: VecDeque<Bytes>,
    pending_bytes: usize,
    written: u64,
    upload: Option<Upload>,
}

struct Upload {
    parts: Box<dyn MultipartUpload>,
    in_flight: FuturesUnordered<UploadPart>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("in_flight", &self.in_flight.len()).finish_non_exhaustive()
    }
}

impl ObjectWriter {
    pub(super) fn new(objects: Objects, path: String) -> Self {
        Self { objects, path, pending: VecDeque::new(), pending_bytes: 0, written: 0, upload: None }
    }

    /// Bytes taken so far.
    pub fn bytes_written(&self) -> u64 {
        self.written
    }

    /// Appends bytes; waits while too many parts are on the way.
    ///
    /// # Errors
    /// What the store says. The writer is then of no use any more.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.written += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.pending_bytes += bytes.len();
        self.pending.push_back(bytes);
        while self.pending_bytes >= PART_BYTES {
            let part = self.take(PART_BYTES);
            self.send(part).await?;
        }
        Ok(())
    }

    /// Makes the object visible and, on a local store, durable. Returns its size in bytes.
    ///
    /// # Errors
    /// What the store says; the object may be there or not.
    pub async fn finish(mut self) -> Result<u64> {
        if self.upload.is_none() {
            let bytes = self.take(self.pending_bytes);
            self.objects.put(&self.path, bytes).await?;
            return Ok(self.written);
        }
        if self.pending_bytes > 0 {
            let part = self.take(self.pending_bytes);
            self.send(part).await?;
        }
        if let Some(mut upload) = self.upload.take() {
            while let Some(part) = upload.in_flight.next().await {
                part.map_err(|e| self.failed(e))?;
            }
            upload.parts.complete().await.map_err(|e| self.failed(e))?;
        }
        Ok(self.written)
    }

    /// Gives up; what was sent is removed.
    ///
    /// # Errors
    /// What the store says; the object is not there in any case.
    pub async fn abort(mut self) -> Result<()> {
        match self.upload.take() {
            Some(mut upload) => {
                drop(upload.in_flight);
                upload.parts.abort().await.map_err(|e| self.failed(e))
            }
            None => Ok(()),
        }
    }

    /// The first `len` of the pending bytes, without a copy where one piece holds them.
    fn take(&mut self, len: usize) -> Bytes {
        debug_assert!(len <= self.pending_bytes, "only what is pending can be taken");
        self.pending_bytes -= len;
        if let Some(first) = self.pending.front_mut()
            && first.len() > len
        {
            return first.split_to(len);
        }
        let mut out = BytesMut::with_capacity(len);
        while out.len() < len
            && let Some(mut piece) = self.pending.pop_front()
        {
            if out.is_empty() && piece.len() == len {
                return piece;
            }
            let rest = piece.split_off(piece.len().min(len - out.len()));
            out.extend_from_slice(&piece);
            if !rest.is_empty() {
                self.pending.push_front(rest);
            }
        }
        out.freeze()
    }

    async fn send(&mut self, part: Bytes) -> Result<()> {
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => {
                let at = self.objects.at(&self.path)?;
                let parts = self.objects.store.put_multipart_opts(&at, PutMultipartOptions::default()).await;
                let parts = parts.map_err(|e| self.failed(e))?;
                Upload { parts, in_flight: FuturesUnordered::new() }
            }
        };
        self.objects.stats.put(part.len());
        upload.in_flight.push(upload.parts.put_part(PutPayload::from_bytes(part)));
        while upload.in_flight.len() >= PARTS_IN_FLIGHT
            && let Some(done) = upload.in_flight.next().await
        {
            done.map_err(|e| self.failed(e))?;
        }
        self.upload = Some(upload);
        Ok(())
    }

    fn failed(&self, error: object_store::Error) -> Error {
        self.objects.failed("upload object", &self.path, error)
    }
}
