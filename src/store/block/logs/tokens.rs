//! Which words a row group has: a bloom filter of its tokens and a list of the long ones.
//!
//! A *token* is a run of letters, digits and `_`; every byte above 127 counts as a letter. A search is for a part
//! of a line, so the first and the last token of a needle may be parts of longer tokens; only the tokens between
//! them stand in a matching line as they are. The list of the tokens longer than T makes the outer ones count as
//! well when they have T bytes or more: they are equal to a token (bloom) or a part of a longer one (list).
//!
//! It only ever says "not here" of what is not here. `docs/format.md` draws the bytes.

use std::collections::BTreeSet;
use std::ops::Range;

use hashbrown::{HashSet, HashTable};
use memchr::memmem;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::store::block::format::damaged;

/// Bits of the bloom filter for each token.
const BITS_PER_TOKEN: usize = 16;
/// Bits that a token sets.
const HASHES: u32 = 6;
/// What T may be; the smallest whose list is small enough is taken.
const THRESHOLDS: [u16; 5] = [16, 24, 32, 48, 64];
/// No list.
const NO_LIST: u16 = u16::MAX;
/// The list may cost this share of the row group, in percent.
const LIST_PERCENT: usize = 5;
/// Bytes in front of the bloom filter: its length, T, length of the list unpacked.
const HEAD: usize = 12;
/// What a hostile file may ask for.
const LIST_LIMIT: usize = 256 << 20;

/// Which bytes make words.
const WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = u8::MAX;
    loop {
        table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        match byte.checked_sub(1) {
            Some(next) => byte = next,
            None => break,
        }
    }
    table
};

/// The tokens of a text as ranges of bytes.
fn tokens(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].iter().position(|byte| WORD[usize::from(*byte)])?;
        let len = text[start..].iter().position(|byte| !WORD[usize::from(*byte)]);
        at = len.map_or(text.len(), |len| start + len);
        Some(start..at)
    })
}

/// Finds three tokens of four bytes with one `-` between each: the middle of a UUID, which is one more entry of the
/// filter. Alone the four hexadecimal digits between two dashes are so few that a large row group has them all.
struct Triples {
    chain: usize,
    /// Where the token before ended.
    end: usize,
}

impl Triples {
    const BYTES: usize = 14;

    fn new() -> Self {
        Self { chain: 0, end: usize::MAX }
    }

    /// The triple that ends with this token of a text, if one does.
    fn ending(&mut self, text: &[u8], token: &Range<usize>) -> Option<Range<usize>> {
        let follows = self.end.checked_add(1) == Some(token.start) && text[token.start - 1] == b'-';
        self.chain = match (token.len() == 4, follows) {
            (true, true) => self.chain + 1,
            (true, false) => 1,
            (false, _) => 0,
        };
        self.end = token.end;
        (self.chain >= 3).then(|| token.end - Self::BYTES..token.end)
    }
}

/// Makes the token parts of a file's row groups; its tables are kept from one to the next.
#[derive(Debug)]
pub(super) struct TokenBuilder {
    hashes: HashTable<u64>,
    /// Hashes that came lately, by their low bits. Most tokens of a log are its few fixed words.
    recent: Box<[u64]>,
}

impl TokenBuilder {
    const RECENT: usize = 1 << 12;

    pub(super) fn new() -> Self {
        Self { hashes: HashTable::new(), recent: vec![0; Self::RECENT].into() }
    }

    fn insert(&mut self, entry: &[u8]) {
        let hash = xxh3_64(entry);
        let low = usize::try_from(hash & (Self::RECENT as u64 - 1)).expect("below the table's length");
        // Zero is what an empty place holds.
        if self.recent[low] != hash || hash == 0 {
            self.recent[low] = hash;
            self.hashes.entry(hash, |other| *other == hash, |other| *other).or_insert(hash);
        }
    }

    /// The token part of one row group, made from its lines. `group_bytes` is the size of the row group in the file.
    pub(super) fn build<'a>(
        &mut self,
        lines: impl Iterator<Item = &'a [u8]>,
        group_bytes: usize,
    ) -> Result<Vec<u8>> {
        self.hashes.clear();
        self.recent.fill(0);
        let mut long = HashSet::<&[u8]>::new();
        for text in lines {
            let mut triples = Triples::new();
            for token in tokens(text) {
                if let Some(triple) = triples.ending(text, &token) {
                    self.insert(&text[triple]);
                }
                let token = &text[token];
                self.insert(token);
                if token.len() > usize::from(THRESHOLDS[0]) {
                    long.insert(token);
                }
            }
        }
        let bits = (self.hashes.len() * BITS_PER_TOKEN).next_multiple_of(64);
        let bits32 = u32::try_from(bits).map_err(|_| Error::internal("a row group with 2^28 tokens"))?;
        let mut bloom = vec![0u8; bits / 8];
        for hash in &self.hashes {
            for bit in bits_of(*hash, bits32) {
                bloom[bit / 8] |= 1 << (bit % 8);
            }
        }
        let (threshold, raw, list) = list_of(&long, group_bytes * LIST_PERCENT / 100)?;
        let mut out = Vec::with_capacity(HEAD + bloom.len() + list.len());
        out.extend_from_slice(&bits32.to_le_bytes());
        out.extend_from_slice(&threshold.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        let raw = u32::try_from(raw).map_err(|_| Error::internal("a list of tokens passes 4 GiB"))?;
        out.extend_from_slice(&raw.to_le_bytes());
        out.extend_from_slice(&bloom);
        out.extend_from_slice(&list);
        Ok(out)
    }
}

/// T, the list's length and the list itself, packed: sorted tokens, each with a line feed behind it.
fn list_of(long: &HashSet<&[u8]>, budget: usize) -> Result<(u16, usize, Vec<u8>)> {
    let sorted: BTreeSet<&[u8]> = long.iter().copied().collect();
    for threshold in THRESHOLDS {
        let mut list = Vec::new();
        for token in sorted.iter().filter(|token| token.len() > usize::from(threshold)) {
            list.extend_from_slice(token);
            list.push(b'\n');
        }
        if list.len() > LIST_LIMIT {
            continue;
        }
        if list.is_empty() {
            return Ok((threshold, 0, Vec::new()));
        }
        let packed = zstd::bulk::compress(&list, 1)
            .map_err(|e| Error::internal("a list of tokens cannot be packed").caused_by(e))?;
        if packed.len() <= budget {
            return Ok((threshold, list.len(), packed));
        }
    }
    Ok((NO_LIST, 0, Vec::new()))
}

fn bits_of(hash: u64, bits: u32) -> impl Iterator<Item = usize> {
    let bytes = hash.to_le_bytes();
    let half = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (first, step) = (half(0), half(4) | 1);
    (0..HASHES).map(move |i| {
        let spread = u64::from(first.wrapping_add(step.wrapping_mul(i)));
        usize::try_from((spread * u64::from(bits)) >> 32).expect("below the number of bits")
    })
}

/// The token part of a row group, as read.
#[derive(Debug)]
pub(in crate::store::block) struct TokenPart {
    bits: u32,
    bloom: Vec<u8>,
    threshold: u16,
    list: Vec<u8>,
}

impl TokenPart {
    /// Reads the stored bytes, whose checksum was checked.
    ///
    /// # Errors
    /// `Corrupt` when the lengths do not fit.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let bad = || damaged("the tokens of a row group do not fit their lengths");
        let head = bytes.get(..HEAD).ok_or_else(bad)?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (bits, raw) = (number(0), number(8) as usize);
        let threshold = u16::from_le_bytes([head[4], head[5]]);
        let end = HEAD + (bits / 8) as usize;
        let bloom = bytes.get(HEAD..end).ok_or_else(bad)?.to_vec();
        let list = match raw {
            0 => Vec::new(),
            raw if raw > LIST_LIMIT => return Err(bad()),
            raw => zstd::bulk::decompress(&bytes[end..], raw).map_err(|e| bad().caused_by(e))?,
        };
        if bits % 64 != 0 || list.len() != raw {
            Err(bad())
        } else {
            Ok(Self { bits, bloom, threshold, list })
        }
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        self.bloom.len() + self.list.len() + 64
    }

    /// Whether some line of the row group may contain `needle`. Never false when one does.
    pub(super) fn may_contain(&self, needle: &str) -> bool {
        let text = needle.as_bytes();
        let is_inner = |token: &Range<usize>| token.start > 0 && token.end < text.len();
        let each = tokens(text).all(|token| {
            let word = &text[token.clone()];
            if is_inner(&token) {
                return self.has(word);
            }
            let is_long = self.threshold != NO_LIST && word.len() >= usize::from(self.threshold);
            !is_long || self.has(word) || memmem::find(&self.list, word).is_some()
        });
        let mut triples = Triples::new();
        let mut middle = tokens(text).filter(is_inner).filter_map(|token| triples.ending(text, &token));
        each && middle.all(|triple| self.has(&text[triple]))
    }

    fn has(&self, entry: &[u8]) -> bool {
        self.bits > 0
            && bits_of(xxh3_64(entry), self.bits).all(|bit| self.bloom[bit / 8] & 1 << (bit % 8) != 0)
    }
}
