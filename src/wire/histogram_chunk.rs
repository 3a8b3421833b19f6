//! Prometheus' chunks of native histograms, as remote read sends them. It only writes.
//!
//! Source: prometheus `tsdb/docs/format/chunks.md`, `tsdb/chunkenc/histogram.go`, `float_histogram.go`,
//! `histogram_meta.go`. All histograms of a chunk have one layout, and none lies below the one before it:
//!
//! ```text
//!   count:2 │ flags:1 │ zero threshold, schema, positive spans, negative spans, custom bounds │ sample │ …
//!
//!   integers  time, count, zero count: number, then change, then change of the change
//!             sum: float, then the bits that change
//!             buckets: as count, of the difference to the bucket before
//!   floats    time as above, everything else as sum
//! ```
//!
//! So histograms are collected until one does not fit, and written when their layout is known: the buckets that any
//! of them has. Prometheus begins with the buckets of the first and writes the chunk anew for each new one.

use std::collections::BTreeSet;

use super::bits::{Bits, Changing};
use crate::model::{CUSTOM_BUCKETS, Histogram, INTEGERS_END, ResetHint, Span};

/// Histograms of a full chunk.
const CHUNK_HISTOGRAMS: usize = 120;

/// A chunk: first and last ms, Prometheus' number of its encoding, and its bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chunk {
    pub(super) times: (i64, i64),
    pub(super) encoding: u64,
    pub(super) bytes: Vec<u8>,
}

/// Chunks of histograms with ascending times.
pub(super) fn chunks<'a>(histograms: impl Iterator<Item = (i64, &'a Histogram)>) -> Vec<Chunk> {
    let (mut chunks, mut open) = (Vec::new(), Vec::<(i64, &Histogram)>::new());
    for (time, histogram) in histograms {
        let begins = open.last().is_some_and(|(_, before)| !continues(before, histogram));
        if begins || open.len() == CHUNK_HISTOGRAMS {
            chunks.extend(chunk(&std::mem::take(&mut open)));
        }
        open.push((time, histogram));
    }
    chunks.extend(chunk(&open));
    chunks
}

/// Whether a histogram can stand behind another one: of one kind and layout and, where it is a counter, with no fewer
/// observations in any bucket.
fn continues(before: &Histogram, now: &Histogram) -> bool {
    let is_gauge = |histogram: &Histogram| histogram.reset_hint == ResetHint::Gauge;
    let is_alike = before.is_float == now.is_float
        && is_gauge(before) == is_gauge(now)
        && before.schema == now.schema
        && before.zero_threshold.to_bits() == now.zero_threshold.to_bits()
        && before.custom_bounds == now.custom_bounds;
    let lost = now.reset_hint == ResetHint::Reset
        || now.count < before.count
        || now.zero_count < before.zero_count
        || lost_any((&before.positive_spans, &before.positive), (&now.positive_spans, &now.positive))
        || lost_any((&before.negative_spans, &before.negative), (&now.negative_spans, &now.negative));
    is_alike && (is_gauge(now) || !lost)
}

fn lost_any(before: (&[Span], &[f64]), now: (&[Span], &[f64])) -> bool {
    let mut now = indexed(now.0, now.1).peekable();
    indexed(before.0, before.1).any(|(index, count)| {
        while now.next_if(|(at, _)| *at < index).is_some() {}
        let left = now.peek().filter(|(at, _)| *at == index).map_or(0.0, |(_, count)| *count);
        left < count
    })
}

/// Index and count of each bucket.
fn indexed<'a>(spans: &'a [Span], counts: &'a [f64]) -> impl Iterator<Item = (i64, f64)> + 'a {
    let mut next = 0;
    let indices = spans.iter().flat_map(move |span| {
        let first = next + i64::from(span.offset);
        next = first + i64::from(span.length);
        first..next
    });
    indices.zip(counts.iter().copied())
}

/// One side of all histograms of a chunk: the buckets that any of them has.
struct Side {
    spans: Vec<Span>,
    indices: Vec<i64>,
}

impl Side {
    fn of<'a>(parts: impl Iterator<Item = (&'a [Span], &'a [f64])>) -> Self {
        let all: BTreeSet<i64> =
            parts.flat_map(|(spans, counts)| indexed(spans, counts).map(|(index, _)| index)).collect();
        let (mut spans, mut next) = (Vec::<Span>::new(), 0);
        for index in &all {
            match spans.last_mut() {
                Some(span) if *index == next => span.length += 1,
                _ => {
                    let mut gap = index - next;
                    // Two histograms may lie further apart than one span tells.
                    while gap > i64::from(i32::MAX) {
                        spans.push(Span { offset: i32::MAX, length: 0 });
                        gap -= i64::from(i32::MAX);
                    }
                    let offset = i32::try_from(gap).expect("no bucket is below the first one's 32 bits");
                    spans.push(Span { offset, length: 1 });
                }
            }
            next = index + 1;
        }
        Self { spans, indices: all.into_iter().collect() }
    }

    /// The counts of one histogram in these buckets.
    fn counts(&self, (spans, counts): (&[Span], &[f64])) -> Vec<f64> {
        let mut own = indexed(spans, counts).peekable();
        let count = |index: &i64| own.next_if(|(at, _)| at == index).map_or(0.0, |(_, count)| count);
        self.indices.iter().map(count).collect()
    }
}

fn chunk(histograms: &[(i64, &Histogram)]) -> Option<Chunk> {
    let ((first_ms, first), (last_ms, _)) = histograms.first().zip(histograms.last())?;
    let all = || histograms.iter().map(|(_, histogram)| *histogram);
    let positive = Side::of(all().map(|h| (h.positive_spans.as_slice(), h.positive.as_slice())));
    let negative = Side::of(all().map(|h| (h.negative_spans.as_slice(), h.negative.as_slice())));
    let mut out = Bits::behind(3);
    put_layout(&mut out, first, [&positive, &negative]);
    let buckets = |histogram: &Histogram| {
        [
            positive.counts((&histogram.positive_spans, &histogram.positive)),
            negative.counts((&histogram.negative_spans, &histogram.negative)),
        ]
    };
    let is_float = first.is_float || all().any(|histogram| histogram.count >= INTEGERS_END);
    if is_float {
        put_floats(&mut out, histograms, buckets);
    } else {
        put_integers(&mut out, histograms, buckets);
    }
    let count = u16::try_from(histograms.len()).expect("a chunk is full before that");
    out.bytes[..2].copy_from_slice(&count.to_be_bytes());
    out.bytes[2] = match first.reset_hint {
        ResetHint::Unknown | ResetHint::NotReset => 0,
        ResetHint::Reset => 0b1000_0000,
        ResetHint::Gauge => 0b1100_0000,
    };
    let encoding = if is_float { 3 } else { 2 };
    Some(Chunk { times: (*first_ms, *last_ms), encoding, bytes: out.bytes })
}

fn put_layout(out: &mut Bits, first: &Histogram, sides: [&Side; 2]) {
    put_zero_threshold(out, first.zero_threshold);
    out.put_signed_varbit(i64::from(first.schema));
    for side in sides {
        out.put_varbit(side.spans.len() as u64);
        for span in &side.spans {
            out.put_varbit(u64::from(span.length));
            out.put_signed_varbit(i64::from(span.offset));
        }
    }
    if first.schema == CUSTOM_BUCKETS {
        out.put_varbit(first.custom_bounds.len() as u64);
        for bound in &first.custom_bounds {
            put_bound(out, *bound);
        }
    }
}

/// One byte for zero and for powers of two from 2^-243 to 2^10, nine for others.
fn put_zero_threshold(out: &mut Bits, threshold: f64) {
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = threshold.to_bits();
    // As 0.5·2^exponent: the stored exponent counts from 1·2^-1023.
    let exponent = i64::from(u16::try_from(bits >> 52).expect("12 bits")) - 1022;
    match (threshold == 0.0, u64::try_from(exponent + 243)) {
        (true, _) => out.put(0, 8),
        (_, Ok(byte)) if bits & FRACTION == 0 && (-242..=11).contains(&exponent) => out.put(byte, 8),
        _ => out.put_marked((255, 8), bits, 64),
    }
}

/// Thousandths up to 33,554.43 in a few bits, anything else whole.
fn put_bound(out: &mut Bits, bound: f64) {
    const LARGEST: f64 = 33_554_430.0;
    let thousandths = bound * 1000.0;
    let rounded = thousandths.round();
    let comes_back = (rounded / 1000.0).to_bits() == (bound + 0.0).to_bits();
    if !(0.0..=LARGEST).contains(&thousandths) || !comes_back {
        return out.put_marked((0, 1), bound.to_bits(), 64);
    }
    out.put_varbit(whole(rounded).cast_unsigned() + 1);
}

/// A time: its distance to the one before, and how that changed.
#[derive(Default)]
struct Changes {
    value: i64,
    change: i64,
}

impl Changes {
    /// Takes the first value, which is written elsewhere.
    fn begin(&mut self, value: i64) {
        self.value = value;
    }

    fn put(&mut self, out: &mut Bits, value: i64) {
        let change = value.wrapping_sub(self.value);
        out.put_signed_varbit(change.wrapping_sub(self.change));
        (self.value, self.change) = (value, change);
    }
}

fn put_integers(out: &mut Bits, all: &[(i64, &Histogram)], buckets: impl Fn(&Histogram) -> [Vec<f64>; 2]) {
    let [mut time, mut count, mut zero] = [(); 3].map(|()| Changes::default());
    let (mut sum, mut counts) = (Changing::from(0.0), Vec::<Changes>::new());
    for (at, (time_ms, histogram)) in all.iter().enumerate() {
        let numbers = [whole(histogram.count), whole(histogram.zero_count)];
        let differences = buckets(histogram).into_iter().flat_map(|side| {
            let mut before = 0;
            side.into_iter().map(move |count| {
                let count = whole(count);
                count - std::mem::replace(&mut before, count)
            })
        });
        if at == 0 {
            out.put_signed_varbit(*time_ms);
            time.begin(*time_ms);
            for (changes, number) in [&mut count, &mut zero].into_iter().zip(numbers) {
                out.put_varbit(number.cast_unsigned());
                changes.begin(number);
            }
            out.put(histogram.sum.to_bits(), 64);
            sum = Changing::from(histogram.sum);
            for difference in differences {
                out.put_signed_varbit(difference);
                counts.push(Changes { value: difference, change: 0 });
            }
            continue;
        }
        time.put(out, *time_ms);
        count.put(out, numbers[0]);
        zero.put(out, numbers[1]);
        sum.put(out, histogram.sum);
        for (changes, difference) in counts.iter_mut().zip(differences) {
            changes.put(out, difference);
        }
    }
}

fn put_floats(out: &mut Bits, all: &[(i64, &Histogram)], buckets: impl Fn(&Histogram) -> [Vec<f64>; 2]) {
    let (mut time, mut numbers) = (Changes::default(), Vec::<Changing>::new());
    for (at, (time_ms, histogram)) in all.iter().enumerate() {
        let head = [histogram.count, histogram.zero_count, histogram.sum];
        let values = head.into_iter().chain(buckets(histogram).into_iter().flatten());
        if at == 0 {
            out.put_signed_varbit(*time_ms);
            time.begin(*time_ms);
            for value in values {
                out.put(value.to_bits(), 64);
                numbers.push(Changing::from(value));
            }
            continue;
        }
        time.put(out, *time_ms);
        for (changing, value) in numbers.iter_mut().zip(values) {
            changing.put(out, value);
        }
    }
}

/// A count of an integer histogram, or thousandths.
#[expect(clippy::cast_possible_truncation, reason = "below INTEGERS_END, as the chunk was asked")]
fn whole(count: f64) -> i64 {
    count as i64
}

#[cfg(test)]
mod tests;
