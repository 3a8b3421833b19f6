//! Postings: label name → sorted values → the chunks that hold a series with that pair.
//!
//! One compressed part per name, so that a matcher on one label reads one part. The metric is the name
//! `__name__`. A value's chunks are a superset filter: runs are matched exactly afterwards.
//!
//! ```text
//!  part = zstd( values, then per value:  shared prefix · suffix length · suffix · chunks · deltas … )
//!                                        all numbers LEB128; 0 chunks means "all of them"
//! ```

use std::collections::{BTreeMap, HashMap};

use super::chunk::{INDEX_ZSTD_LEVEL, decompress};
use super::format::{Input, PostingsEntry, damaged, push_varint};
use super::index::extent;
use crate::error::{Error, Result};
use crate::model::{LabelsRef, METRIC_NAME, Matcher};

/// A part holds every value of one name; the text of values is bounded by the request size limits.
const PART_RAW_LIMIT: usize = 1 << 30;

/// Collects the pairs of a file. Memory grows with distinct pairs, not with runs.
#[derive(Debug, Default)]
pub(super) struct PostingsBuilder {
    names: BTreeMap<Box<str>, Name>,
}

#[derive(Debug, Default)]
struct Name {
    values: HashMap<Box<str>, Vec<u32>>,
    /// Neighbouring runs share most values: the last pair is remembered.
    last: Option<(Box<str>, u32)>,
}

impl PostingsBuilder {
    /// Notes one run of a chunk; chunks come in ascending order.
    pub(super) fn push(&mut self, metric: &str, labels: LabelsRef<'_>, chunk: u32) {
        if !metric.is_empty() {
            self.push_pair(METRIC_NAME, metric, chunk);
        }
        for (name, value) in labels {
            self.push_pair(name, value, chunk);
        }
    }

    fn push_pair(&mut self, name: &str, value: &str, chunk: u32) {
        if !self.names.contains_key(name) {
            self.names.insert(Box::from(name), Name::default());
        }
        let entry = self.names.get_mut(name).expect("inserted above");
        if entry.last.as_ref().is_some_and(|(v, c)| **v == *value && *c == chunk) {
            return;
        }
        match entry.values.get_mut(value) {
            Some(chunks) if chunks.last() == Some(&chunk) => {}
            Some(chunks) => chunks.push(chunk),
            None => {
                entry.values.insert(Box::from(value), vec![chunk]);
            }
        }
        entry.last = Some((Box::from(value), chunk));
    }

    /// Appends the parts to the block so far and returns their places.
    pub(super) fn finish(self, chunks: u32, block: &mut Vec<u8>) -> Result<Vec<PostingsEntry>> {
        let mut entries = Vec::with_capacity(self.names.len());
        for (name, postings) in self.names {
            let values = u32::try_from(postings.values.len())
                .map_err(|_| Error::internal("a label has 2^32 values").with("label", &name))?;
            let part = zstd::bulk::compress(&encode_part(postings, chunks), INDEX_ZSTD_LEVEL)?;
            let extent = extent(block.len(), &part).map_err(|e| e.with("label", &name))?;
            entries.push(PostingsEntry { name: name.into_string(), values, extent });
            block.extend_from_slice(&part);
        }
        Ok(entries)
    }
}

fn encode_part(name: Name, chunks: u32) -> Vec<u8> {
    let mut values: Vec<_> = name.values.into_iter().collect();
    values.sort_unstable();
    let mut raw = Vec::new();
    let number = |n: usize| u64::try_from(n).expect("usize fits u64");
    push_varint(&mut raw, number(values.len()));
    let mut before: Box<str> = Box::from("");
    for (value, at) in values {
        let shared = value.bytes().zip(before.bytes()).take_while(|(a, b)| a == b).count();
        push_varint(&mut raw, number(shared));
        push_varint(&mut raw, number(value.len() - shared));
        raw.extend_from_slice(&value.as_bytes()[shared..]);
        if u32::try_from(at.len()) == Ok(chunks) {
            push_varint(&mut raw, 0);
        } else {
            push_varint(&mut raw, number(at.len()));
            let mut last = 0;
            for chunk in at {
                push_varint(&mut raw, u64::from(chunk - last));
                last = chunk;
            }
        }
        before = value;
    }
    raw
}

/// The decompressed postings of one name.
#[derive(Debug)]
pub(super) struct Postings {
    raw: Vec<u8>,
    chunks: usize,
    /// Every so many values: the value and where the entry after it begins.
    restarts: Vec<(String, usize)>,
}

/// Values between two restarts: a literal is found by walking at most so many.
const RESTART: usize = 128;

impl Postings {
    /// Decompresses a part whose CRC was checked, and walks it once so that later walks cannot fail.
    ///
    /// # Errors
    /// `Corrupt` when it is not what [`PostingsBuilder`] writes.
    pub(super) fn decode(bytes: &[u8], chunks: usize) -> Result<Self> {
        let mut postings = Self { raw: decompress(bytes, PART_RAW_LIMIT)?, chunks, restarts: Vec::new() };
        let mut values = postings.walk()?;
        let (mut restarts, mut count) = (Vec::new(), 0usize);
        while let Some((value, _)) = values.next()? {
            count += 1;
            if count.is_multiple_of(RESTART) {
                restarts.push((value.to_owned(), postings.raw.len() - values.input.rest.len()));
            }
        }
        postings.restarts = restarts;
        Ok(postings)
    }

    /// Memory, bytes.
    pub(super) fn weight(&self) -> usize {
        self.raw.len() + self.restarts.len() * 64 + 64
    }

    /// All values in order.
    pub(super) fn values(&self) -> Result<Vec<String>> {
        let (mut values, mut walk) = (Vec::new(), self.walk()?);
        while let Some((value, _)) = walk.next()? {
            values.push(value.to_owned());
        }
        Ok(values)
    }

    /// The chunks that hold a series whose value matches. A matcher that names its values is looked up, any
    /// other one is tried on every value.
    pub(super) fn select(&self, matcher: &Matcher) -> Result<ChunkSet> {
        let mut set = ChunkSet::empty(self.chunks);
        if let Some(literals) = matcher.literals() {
            for literal in literals {
                self.find(literal, &mut set)?;
            }
            return Ok(set);
        }
        let mut walk = self.walk()?;
        while let Some((value, chunks)) = walk.next()? {
            if matcher.matches(value) {
                set.insert_all(chunks);
            }
        }
        Ok(set)
    }

    /// Adds the chunks of one value.
    fn find(&self, literal: &str, set: &mut ChunkSet) -> Result<()> {
        let after = self.restarts.partition_point(|(value, _)| **value < *literal);
        let mut walk = self.walk()?;
        if let Some((value, offset)) = after.checked_sub(1).map(|at| &self.restarts[at]) {
            walk.left -= u64::try_from(after * RESTART).expect("usize fits u64");
            walk.value = value.as_bytes().to_vec();
            walk.input.rest = &self.raw[*offset..];
        }
        while let Some((value, chunks)) = walk.next()? {
            if value >= literal {
                if value == literal {
                    set.insert_all(chunks);
                }
                break;
            }
        }
        Ok(())
    }

    fn walk(&self) -> Result<Walk<'_>> {
        let mut input = Input { rest: &self.raw };
        let left = input.varint()?;
        Ok(Walk { input, left, count: self.chunks, value: Vec::new(), chunks: Vec::new() })
    }
}

/// A walk over values in order; each with its chunks, none of them meaning all.
#[derive(Debug)]
struct Walk<'a> {
    input: Input<'a>,
    left: u64,
    /// Chunks of the file.
    count: usize,
    value: Vec<u8>,
    chunks: Vec<usize>,
}

impl Walk<'_> {
    fn next(&mut self) -> Result<Option<(&str, &[usize])>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let (shared, length) = (small(self.input.varint()?)?, small(self.input.varint()?)?);
        if shared > self.value.len() {
            return Err(damaged("postings share more than there is"));
        }
        self.value.truncate(shared);
        self.value.extend_from_slice(self.input.take(length)?);
        self.chunks.clear();
        let mut chunk = 0usize;
        for _ in 0..self.input.varint()? {
            chunk = chunk.saturating_add(small(self.input.varint()?)?);
            if chunk >= self.count {
                return Err(damaged("postings name a chunk that is not there"));
            }
            self.chunks.push(chunk);
        }
        let text = std::str::from_utf8(&self.value)
            .map_err(|_| damaged("postings hold a value that is not UTF-8"))?;
        Ok(Some((text, &self.chunks)))
    }
}

fn small(number: u64) -> Result<usize> {
    usize::try_from(number).map_err(|_| damaged("postings hold a number that is too large"))
}

/// A set of chunk positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChunkSet {
    members: Vec<bool>,
}

impl ChunkSet {
    pub(super) fn empty(chunks: usize) -> Self {
        Self { members: vec![false; chunks] }
    }

    pub(super) fn all(chunks: usize) -> Self {
        Self { members: vec![true; chunks] }
    }

    pub(super) fn insert(&mut self, chunk: usize) {
        self.members[chunk] = true;
    }

    /// Drops the members for which `keep` is false.
    pub(super) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        for (at, member) in self.members.iter_mut().enumerate() {
            *member = *member && keep(at);
        }
    }

    /// Inserts the chunks of a value; none stands for all.
    fn insert_all(&mut self, chunks: &[usize]) {
        match chunks {
            [] => self.members.fill(true),
            chunks => chunks.iter().for_each(|chunk| self.insert(*chunk)),
        }
    }

    pub(super) fn intersect(&mut self, other: &Self) {
        debug_assert_eq!(self.members.len(), other.members.len(), "sets of one file");
        for (mine, theirs) in self.members.iter_mut().zip(&other.members) {
            *mine &= theirs;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.members.iter().enumerate().filter_map(|(at, member)| member.then_some(at))
    }

    pub(super) fn len(&self) -> usize {
        self.members.iter().filter(|member| **member).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, MatchOp};
    use crate::runtime::fuzz::fuzz;

    fn part(builder: PostingsBuilder, chunks: u32, name: &str) -> Result<Postings> {
        let mut out = b"chunks before".to_vec();
        let entries = builder.finish(chunks, &mut out)?;
        let entry = entries.iter().find(|e| e.name == name).expect("the name was pushed");
        let start = usize::try_from(entry.extent.offset).expect("small");
        let end = start + usize::try_from(entry.extent.length).expect("small");
        Postings::decode(&out[start..end], usize::try_from(chunks).expect("small"))
    }

    fn built() -> Result<PostingsBuilder> {
        let mut builder = PostingsBuilder::default();
        for (chunk, code) in [(0, "200"), (0, "404"), (1, "200"), (2, "500"), (2, "404")] {
            let labels = Labels::from_pairs([("code", code), ("job", "api")])?;
            builder.push("http", labels.as_ref(), chunk);
        }
        Ok(builder)
    }

    #[test]
    fn a_matcher_finds_the_chunks_of_its_values() -> Result<()> {
        let code = part(built()?, 3, "code")?;
        assert_eq!(code.values()?, ["200", "404", "500"]);
        let found = |matcher: &Matcher| code.select(matcher).map(|set| set.iter().collect::<Vec<_>>());
        assert_eq!(found(&Matcher::equal("code", "404"))?, [0, 2]);
        assert_eq!(found(&Matcher::new("code", MatchOp::Regex, "4..|5..")?)?, [0, 2]);
        assert_eq!(found(&Matcher::equal("code", "999"))?, [0usize; 0]);
        let metric = part(built()?, 3, METRIC_NAME)?;
        assert_eq!(metric.select(&Matcher::equal(METRIC_NAME, "http"))?.len(), 3);
        Ok(())
    }

    #[test]
    fn literals_are_found_among_many_values() -> Result<()> {
        let mut builder = PostingsBuilder::default();
        let chunk_of = |at: u32| at * 7 % 50;
        let mut runs: Vec<_> = (0..5_000u32).map(|at| (chunk_of(at), format!("pod-{at}"))).collect();
        runs.sort();
        for (chunk, pod) in &runs {
            builder.push("m", Labels::from_pairs([("pod", &**pod)])?.as_ref(), *chunk);
        }
        let pods = part(builder, 50, "pod")?;
        for at in 0..5_000u32 {
            let found = pods.select(&Matcher::equal("pod", format!("pod-{at}")))?;
            let expected = usize::try_from(chunk_of(at)).expect("small");
            assert_eq!(found.iter().collect::<Vec<_>>(), [expected], "pod-{at}");
        }
        for absent in ["", "a", "pod-", "pod-10000", "pod-49990", "z"] {
            assert_eq!(pods.select(&Matcher::equal("pod", absent))?.len(), 0, "{absent}");
        }
        Ok(())
    }

    #[test]
    fn damaged_postings_are_errors_and_no_panics() -> Result<()> {
        let raw = encode_part(built()?.names.remove("code").expect("pushed"), 3);
        let mut errors = 0;
        for at in 0..raw.len() * 8 {
            let mut bad = raw.clone();
            bad[at / 8] ^= 1 << (at % 8);
            let bytes = zstd::bulk::compress(&bad, 1)?;
            errors += usize::from(Postings::decode(&bytes, 3).is_err());
        }
        assert!(errors > 0, "lengths and chunks are checked");
        fuzz("index_postings", &[&raw, &encode_part(Name::default(), 1)], &[], |raw| {
            let bytes = zstd::bulk::compress(raw, 1).expect("small");
            let Ok(postings) = Postings::decode(&bytes, 3) else { return false };
            let matcher = Matcher::equal("code", "404");
            assert!(postings.values().is_ok() && postings.select(&matcher).is_ok(), "it was walked before");
            true
        });
        Ok(())
    }
}
