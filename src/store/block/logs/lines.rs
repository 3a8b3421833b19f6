//! The lines of a row group as a search reads them: page by page, each unpacked into the same buffer and looked at
//! where it lies. A scan for a text that no index knows costs the decompression and little else.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType};

use super::reader::LogFile;
use crate::error::{Error, Result};
use crate::store::block::decode::delta_binary_packed;
use crate::store::block::format::{Input, damaged};
use crate::store::block::page::read_header;

/// Unpacks pages of lines; keeps its decompression context and buffers.
pub(crate) struct LineDecoder {
    zstd: zstd::bulk::Decompressor<'static>,
    raw: Vec<u8>,
    offsets: Vec<i32>,
}

impl std::fmt::Debug for LineDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineDecoder").field("scratch", &self.raw.capacity()).finish_non_exhaustive()
    }
}

/// The lines of one page, one behind the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinePage<'a> {
    /// The number of its first line in the row group.
    pub(crate) first: u32,
    /// Where each line begins in `text`, and where the last one ends.
    pub(crate) offsets: &'a [i32],
    /// The bytes of all lines.
    pub(crate) text: &'a [u8],
}

impl LinePage<'_> {
    /// A line, by its position in the page.
    ///
    /// # Errors
    /// `Corrupt` when it is no UTF-8.
    pub(crate) fn line(&self, at: usize) -> Result<&str> {
        let place = |at: usize| usize::try_from(self.offsets[at]).expect("offsets are not negative");
        std::str::from_utf8(&self.text[place(at)..place(at + 1)]).map_err(|_| damaged("a line is not UTF-8"))
    }
}

/// What hostile page headers may ask for, one or all of a row group: it ends with the line that passes 64 MiB.
const GROUP_RAW_LIMIT: usize = 512 << 20;

/// Some pages of a row group, fetched.
#[derive(Debug)]
pub(crate) struct LinePages {
    file: Arc<LogFile>,
    pages: std::vec::IntoIter<(Range<u32>, Bytes)>,
    unpacked: usize,
}

impl LinePages {
    /// Fetches the pages that hold some lines of a row group: `rows` ascend.
    ///
    /// # Errors
    /// What the object store says; `Corrupt` when the footer does not say where pages are.
    pub(crate) async fn fetch(file: &Arc<LogFile>, group: usize, rows: &[Range<u32>]) -> Result<Self> {
        let (chunk, pages) = file.line_pages(group).map_err(|e| e.with("file", file.path()))?;
        if !matches!(chunk, Compression::ZSTD(_)) {
            return Err(
                Error::unsupported(format!("log lines packed with {chunk}")).with("file", file.path())
            );
        }
        let is_wanted = |page: &Range<u32>| {
            let behind = rows.partition_point(|wanted| wanted.end <= page.start);
            rows.get(behind).is_some_and(|wanted| wanted.start < page.end)
        };
        let wanted: Vec<_> = pages.into_iter().filter(|(lines, _)| is_wanted(lines)).collect();
        let (lines, places): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
        let bytes = file.fetch(&places).await?;
        let pages: Vec<_> = lines.into_iter().zip(bytes).collect();
        Ok(Self { file: Arc::clone(file), pages: pages.into_iter(), unpacked: 0 })
    }

    /// The next page.
    ///
    /// # Errors
    /// `Corrupt` naming the file.
    pub(crate) fn next<'a>(&mut self, decoder: &'a mut LineDecoder) -> Option<Result<LinePage<'a>>> {
        let (rows, bytes) = self.pages.next()?;
        let page = decoder.unpack(rows, &bytes).and_then(|page| {
            self.unpacked += page.text.len();
            let fits = self.unpacked <= GROUP_RAW_LIMIT;
            if fits { Ok(page) } else { Err(damaged("a row group has more text than any that is written")) }
        });
        Some(page.map_err(|e| e.with("file", self.file.path())))
    }
}

impl LineDecoder {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { zstd: zstd::bulk::Decompressor::new()?, raw: Vec::new(), offsets: Vec::new() })
    }

    fn unpack(&mut self, rows: Range<u32>, page: &[u8]) -> Result<LinePage<'_>> {
        let (head, body) = read_header(page)?;
        let count = rows.end - rows.start;
        let fits = head.kind == PageType::DATA_PAGE
            && head.encoding == Encoding::DELTA_LENGTH_BYTE_ARRAY
            && head.values == count
            && head.raw <= GROUP_RAW_LIMIT;
        if !fits {
            return Err(damaged("a page of log lines is of another kind than its column"));
        }
        self.raw.clear();
        self.raw.reserve(head.raw);
        let unpacked = self.zstd.decompress_to_buffer(body, &mut self.raw);
        unpacked.map_err(|e| damaged("a page does not decompress").caused_by(e))?;
        let mut input = Input { rest: &self.raw };
        let lengths = delta_binary_packed(&mut input, count as usize)?;
        let text = input.rest;
        self.offsets.clear();
        self.offsets.push(0);
        let mut end = 0_i64;
        for length in lengths {
            end = end.saturating_add(length);
            let offset = i32::try_from(end).ok().filter(|_| length >= 0);
            self.offsets.push(offset.ok_or_else(|| damaged("a log line has an odd length"))?);
        }
        if usize::try_from(end) != Ok(text.len()) {
            return Err(damaged("a page of log lines has another length than its lines"));
        }
        Ok(LinePage { first: rows.start, offsets: &self.offsets, text })
    }
}
