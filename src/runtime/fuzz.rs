//! Seeded fuzz of a decoder on stable Rust, for the unit tests of every room. It knows no decoder.
//!
//! ```text
//!   tests/data/fuzz/<decoder>/* ─► the seeds ─► every prefix of a seed ─► mutants, until the time is over
//! ```
//!
//! An input on which the decoder panics, or takes more memory than [`MAX_BYTES_TAKEN`], is written to a file
//! whose path is printed: that file belongs into `tests/data/fuzz/<decoder>/`, where it is read first from then
//! on. `QUIPU_FUZZ_SECONDS` is how long each decoder is tried (1), `QUIPU_FUZZ_SEED` which mutants it gets: the
//! same ones in every ordinary run, others in every run that says for how long. What ends the whole process (a
//! stack overflow) leaves its input behind when `QUIPU_FUZZ_TRACE` is set.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::dice::Dice;

/// However little time there is.
const MIN_MUTANTS: u64 = 300;
/// Bytes of an input: mutants do not grow beyond it.
const MAX_INPUT: usize = 64 << 10;
/// Bytes that a decoder may hold at a time for any input.
const MAX_BYTES_TAKEN: u64 = 128 << 20;
/// Prefixes of a seed that are tried.
const MAX_PREFIXES: usize = 1_000;
/// Mutants that were read and are changed further.
const MAX_BRED: usize = 200;

/// One decoder under test.
#[derive(Debug)]
pub(crate) struct Fuzz {
    decoder: &'static str,
    dice: Dice,
    seed: u64,
    length: Duration,
    traces: bool,
    words: &'static [&'static str],
    /// What mutants are made of: the seeds, the corpus and mutants that were read.
    parents: Vec<Vec<u8>>,
    bred: usize,
}

/// Feeds `read` with damaged forms of `seeds`. It answers whether it could read the input, and panics where
/// something is wrong. `words` are what the format is made of, for text formats.
///
/// # Panics
/// Where `read` does, where it takes too much memory, and where a seed cannot be read.
pub(crate) fn fuzz(
    decoder: &'static str,
    seeds: &[&[u8]],
    words: &'static [&'static str],
    mut read: impl FnMut(&[u8]) -> bool,
) {
    let mut fuzz = Fuzz::new(decoder, words);
    eprintln!("fuzz of {decoder}: QUIPU_FUZZ_SEED={} for {:?}", fuzz.seed, fuzz.length);
    for (path, input) in corpus(decoder) {
        eprintln!("{}", path.display());
        fuzz.run(&input, &mut read);
        fuzz.parents.push(input);
    }
    for seed in seeds {
        assert!(fuzz.run(seed, &mut read), "a seed is not read: {:?}", String::from_utf8_lossy(seed));
        fuzz.parents.push(seed.to_vec());
        let stride = seed.len().div_ceil(MAX_PREFIXES).max(1);
        for end in (0..seed.len()).step_by(stride) {
            fuzz.run(&seed[..end], &mut read);
        }
    }
    let started = now();
    let (mut mutants, mut good) = (0, 0);
    while mutants < MIN_MUTANTS || started.elapsed() < fuzz.length {
        let mutant = fuzz.mutant();
        mutants += 1;
        if fuzz.run(&mutant, &mut read) {
            good += 1;
            fuzz.breed(mutant);
        }
    }
    eprintln!("fuzz of {decoder}: {good} of {mutants} mutants were read");
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's clock may stand still, the time that it may take does not"
)]
fn now() -> Instant {
    Instant::now()
}

fn variable(name: &str) -> Option<String> {
    std::env::vars().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The inputs that were found before, by path.
fn corpus(decoder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz").join(decoder);
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort_unstable();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("a readable file"))).collect()
}

impl Fuzz {
    fn new(decoder: &'static str, words: &'static [&'static str]) -> Self {
        let number = |name| variable(name).and_then(|text| text.parse::<u64>().ok());
        let seconds = number("QUIPU_FUZZ_SECONDS");
        let fresh = if seconds.is_some() { Clock::real().now_ms().unsigned_abs() } else { 20_261_121 };
        let seed = number("QUIPU_FUZZ_SEED").unwrap_or(fresh);
        Self {
            decoder,
            dice: Dice::new(seed),
            seed,
            length: Duration::from_secs(seconds.unwrap_or(1)),
            traces: variable("QUIPU_FUZZ_TRACE").is_some(),
            words,
            parents: Vec::new(),
            bred: 0,
        }
    }

    /// Runs one input; says where it lies when that fails.
    fn run(&self, input: &[u8], read: &mut impl FnMut(&[u8]) -> bool) -> bool {
        if self.traces {
            self.keep(input);
        }
        let mut outcome = Ok(false);
        let taken = allocation_counter::measure(|| {
            outcome = catch_unwind(AssertUnwindSafe(|| read(input)));
        });
        match outcome {
            Ok(good) if taken.bytes_max <= MAX_BYTES_TAKEN => good,
            Ok(_) => panic!("{} takes {} bytes for {}", self.decoder, taken.bytes_max, self.complaint(input)),
            Err(panic) => {
                eprintln!("{} panics on {}", self.decoder, self.complaint(input));
                resume_unwind(panic)
            }
        }
    }

    fn keep(&self, input: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("quipu-fuzz-{}-{}", self.decoder, self.seed));
        std::fs::write(&path, input).expect("a temporary file can be written");
        path
    }

    fn complaint(&self, input: &[u8]) -> String {
        let (path, decoder, bytes) = (self.keep(input), self.decoder, input.len());
        let text = String::from_utf8_lossy(&input[..bytes.min(200)]).into_owned();
        format!("{} ({bytes} bytes, {text:?}): add it to tests/data/fuzz/{decoder}/", path.display())
    }

    fn breed(&mut self, mutant: Vec<u8>) {
        if self.bred < MAX_BRED {
            self.parents.push(mutant);
        } else {
            let at = self.parents.len() - 1 - self.below(MAX_BRED);
            self.parents[at] = mutant;
        }
        self.bred = (self.bred + 1).min(MAX_BRED);
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.dice.below(end as u64)).expect("below a usize")
    }

    fn mutant(&mut self) -> Vec<u8> {
        let parent = self.below(self.parents.len());
        let mut input = self.parents[parent].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut input);
        }
        input.truncate(MAX_INPUT);
        input
    }

    /// One change: a bit, a byte, a number, a word, a cut, a copy, a piece of another input.
    fn change(&mut self, input: &mut Vec<u8>) {
        const BYTES: &[u8] = b"\0\x01\x7F\x80\xFF\n \"\\{}";
        const NUMBERS: [u64; 8] = [0, 1, 0x7F, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 63, u64::MAX];
        let at = self.below(input.len() + 1);
        let until = (at + self.below(16)).min(input.len());
        match self.below(if self.words.is_empty() { 7 } else { 10 }) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = BYTES[self.below(BYTES.len())],
            2 => drop(input.drain(at..until)),
            3 => {
                let copy = input[at..until].to_vec();
                input.splice(at..at, copy);
            }
            4 => {
                let width = [1, 2, 4, 8][self.below(4)].min(input.len() - at);
                let number = NUMBERS[self.below(NUMBERS.len())].to_le_bytes();
                input[at..at + width].copy_from_slice(&number[..width]);
            }
            5 => {
                let other = self.below(self.parents.len());
                let other = &self.parents[other];
                let from = usize::try_from(self.dice.below(other.len() as u64)).expect("below a length");
                let piece = other[from..other.len().min(from + 64)].to_vec();
                input.splice(at..until, piece);
            }
            6 if self.dice.one_in(8) => input.truncate(at),
            7.. => {
                let word = self.words[self.below(self.words.len())];
                input.splice(at..at, word.bytes());
            }
            _ => {
                let byte = self.dice.roll().to_le_bytes()[0];
                input.insert(at, byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_deep_in_a_decoder_is_found_and_its_input_kept() {
        let found = catch_unwind(|| {
            fuzz("fuzz_itself", &[b"let x = 1"], &["boom", ";"], |input| {
                assert!(!String::from_utf8_lossy(input).contains("xboom"), "found");
                true
            });
        });
        assert!(found.is_err(), "a word at one place is found among so many mutants");
        let path = std::env::temp_dir().join("quipu-fuzz-fuzz_itself-20261121");
        if variable("QUIPU_FUZZ_SECONDS").is_none() && variable("QUIPU_FUZZ_SEED").is_none() {
            let kept = std::fs::read(&path).expect("the failing input was written");
            assert!(String::from_utf8_lossy(&kept).contains("xboom"));
        }
    }

    #[test]
    fn memory_that_an_input_takes_is_limited() {
        let taken = catch_unwind(|| {
            fuzz("fuzz_memory", &[b"a"], &[], |input| {
                let claimed = if input.is_empty() { 129 << 20 } else { 1 };
                !std::hint::black_box(vec![1_u8; claimed]).is_empty()
            });
        });
        assert!(taken.is_err(), "the empty prefix takes more than the limit");
    }
}
