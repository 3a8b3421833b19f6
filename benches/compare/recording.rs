//! A day redrawn in blocks from the deltas of a recording: real values and real increments, without the cycle that
//! a recording played again and again has. Blocks are short: what comes back whole is a gift to who packs deltas.
//! `benches/data/README.md` tells the format and how the recording was made.
//!
//! ```text
//!   recording  ──┬─[ block ]──┬──[ block ]──   per series, at random places, 4 to 15 deltas long
//!   day        first value + block + block + block …
//! ```
//!
//! Decimals are moved as whole numbers of their last digit, so that 0.1 + 0.2 stays 0.3. A gauge may not leave
//! the range that it had: a block that would take it outside is entered at its own recorded value instead.

use quipu::model::time;

use crate::data::{self, Series, label};
use crate::random::Random;

const RECORDING: &[u8] = include_bytes!("../data/node.txt.zst");

/// Deltas of a block: at least this many, and up to [`BLOCK_MORE`] more.
const BLOCK_LEAST: usize = 4;
const BLOCK_MORE: usize = 12;
/// Places that are tried for a block that keeps a gauge in its range.
const TRIES: usize = 8;
/// More decimals than this do not fit whole numbers: the recording has floats with all their digits there.
const MOST_DECIMALS: usize = 12;

/// One recorded series: its values as whole numbers of 10^-decimals, or as they are.
#[derive(Debug)]
struct Recorded {
    labels: Vec<(String, String)>,
    is_counter: bool,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Decimal { numbers: Vec<i64>, decimals: usize },
    Float(Vec<f64>),
}

/// The recorded series with `samples` samples each, from `start_ms` on.
pub(crate) fn redraw(samples: usize, start_ms: i64) -> Vec<Series> {
    let text = zstd::decode_all(RECORDING).expect("the recording is a zstd frame");
    let text = String::from_utf8(text).expect("the recording is text");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let redrawn = lines.enumerate().map(|(number, line)| {
        let recorded = parse(line);
        let mut random = Random::new(number * 31 + 7);
        let values = recorded.redraw(&mut random, samples);
        let at = |(at, value)| (data::time_of(start_ms, at), value);
        Series { labels: recorded.labels, samples: values.into_iter().enumerate().map(at).collect() }
    });
    redrawn.collect()
}

impl Recorded {
    fn redraw(&self, random: &mut Random, samples: usize) -> Vec<f64> {
        match &self.values {
            Values::Decimal { numbers, decimals } => {
                let power = i32::try_from(*decimals).expect("a few decimals");
                // Whole numbers below 2^53 divided by a power of ten: the same float as the text gives.
                let float = |number: i64| time::ms_to_f64(number) / 10_f64.powi(power);
                self.walk(random, numbers, samples, |a, b| a - b, |a, b| a + b)
                    .into_iter()
                    .map(float)
                    .collect()
            }
            Values::Float(values) => self.walk(random, values, samples, |a, b| a - b, |a, b| a + b),
        }
    }

    fn walk<T: Copy + PartialOrd>(
        &self,
        random: &mut Random,
        recorded: &[T],
        samples: usize,
        minus: impl Fn(T, T) -> T,
        plus: impl Fn(T, T) -> T,
    ) -> Vec<T> {
        let first = recorded[0];
        let (mut low, mut high) = (first, first);
        for value in recorded {
            low = if *value < low { *value } else { low };
            high = if *value > high { *value } else { high };
        }
        let mut out = vec![recorded[random.below(recorded.len())]];
        while out.len() < samples {
            let last = out[out.len() - 1];
            let length = (BLOCK_LEAST + random.below(BLOCK_MORE)).min(recorded.len() - 1);
            let block = |from: usize| &recorded[from..=from + length];
            let place = |random: &mut Random| random.below(recorded.len() - length);
            let end = |from: usize| plus(last, minus(recorded[from + length], recorded[from]));
            let stays = |from: &usize| self.is_counter || (low..=high).contains(&end(*from));
            let from = (0..TRIES).map(|_| place(random)).find(stays);
            let (base, block) = match from {
                Some(from) => (last, block(from)),
                None => {
                    let from = place(random);
                    (recorded[from], block(from))
                }
            };
            out.extend(block[1..].iter().map(|value| plus(base, minus(*value, block[0]))));
        }
        out.truncate(samples);
        out
    }
}

/// `kind TAB series TAB tokens`.
fn parse(line: &str) -> Recorded {
    let mut fields = line.splitn(3, '\t');
    let mut field = || fields.next().expect("a line of the recording has three fields");
    let (kind, series, tokens) = (field(), field(), field());
    let values = spell_out(tokens);
    let mut labels = labels_of(series);
    labels.push(label("instance", "host-000:9100"));
    labels.push(label("job", "node"));
    labels.sort();
    Recorded { labels, is_counter: kind == "counter", values: Values::of(&values) }
}

/// The values as texts: an empty token is the value before, a sign in front makes it a step from there.
fn spell_out(tokens: &str) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    for token in tokens.split(' ') {
        let before = values.last().map_or("", String::as_str);
        let value = match token.as_bytes() {
            [] => before.to_owned(),
            [b'+' | b'-', ..] if !before.is_empty() => {
                let number = |text: &str| text.parse::<f64>().expect("a number of the recording");
                (number(before) + number(token)).to_string()
            }
            _ => token.to_owned(),
        };
        values.push(value);
    }
    values
}

impl Values {
    fn of(texts: &[String]) -> Self {
        let plain: Vec<String> = texts.iter().map(|text| number(text).to_string()).collect();
        let decimals = plain.iter().map(|text| text.split_once('.').map_or(0, |(_, after)| after.len()));
        let decimals = decimals.max().unwrap_or(0);
        let whole = |text: &String| {
            let (before, after) = text.split_once('.').unwrap_or((text, ""));
            format!("{before}{after:0<decimals$}").parse::<i64>().ok().filter(|n| n.abs() < 1 << 53)
        };
        let numbers: Option<Vec<i64>> = plain.iter().map(whole).collect();
        match numbers {
            Some(numbers) if decimals <= MOST_DECIMALS => Self::Decimal { numbers, decimals },
            _ => Self::Float(texts.iter().map(|text| number(text)).collect()),
        }
    }
}

fn number(text: &str) -> f64 {
    text.parse().expect("a value of the recording is a number")
}

/// `name{a="b",c="d"}` as pairs, the name first.
fn labels_of(series: &str) -> Vec<(String, String)> {
    let (name, mut rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut labels = vec![label("__name__", name)];
    while let Some((name, behind)) = rest.split_once("=\"") {
        let (mut value, mut end, mut escaped) = (String::new(), behind.len(), false);
        for (at, c) in behind.char_indices() {
            match c {
                '"' if !escaped => {
                    end = at;
                    break;
                }
                '\\' if !escaped => escaped = true,
                'n' if escaped => {
                    value.push('\n');
                    escaped = false;
                }
                _ => {
                    value.push(c);
                    escaped = false;
                }
            }
        }
        labels.push(label(name.trim_start_matches(','), value));
        rest = behind.get(end + 1..).unwrap_or("");
    }
    labels
}
