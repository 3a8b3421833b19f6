//! Chunks are read back with a reader written from their description.

use super::super::bits::reading::Reader;
use super::*;
use crate::runtime::Dice;

type Sample = (i64, Histogram);

/// The samples of a chunk, with the buckets of the whole chunk.
fn read(chunk: &Chunk) -> Vec<Sample> {
    let mut from = Reader { bytes: &chunk.bytes, at: 0 };
    let count = from.bits(16);
    let reset_hint = match from.bits(8) {
        0 => ResetHint::Unknown,
        0b1000_0000 => ResetHint::Reset,
        0b1100_0000 => ResetHint::Gauge,
        other => panic!("flags {other:b}"),
    };
    let zero_threshold = match from.bits(8) {
        0 => 0.0,
        255 => f64::from_bits(from.bits(64)),
        exponent => 0.5 * (f64::from(u32::try_from(exponent).unwrap()) - 243.0).exp2(),
    };
    let schema = i8::try_from(from.signed_varbit()).unwrap();
    let [positive_spans, negative_spans] = [(); 2].map(|()| spans(&mut from));
    let bounds = if schema == CUSTOM_BUCKETS { from.varbit() } else { 0 };
    let custom_bounds = (0..bounds).map(|_| bound(&mut from)).collect();
    let is_float = chunk.encoding == 3;
    let layout = Histogram {
        schema,
        is_float,
        reset_hint,
        zero_threshold,
        positive_spans,
        negative_spans,
        custom_bounds,
        ..Histogram::default()
    };
    let mut numbers = Numbers::default();
    (0..count).map(|at| numbers.sample(&mut from, &layout, at == 0)).collect()
}

fn spans(from: &mut Reader<'_>) -> Vec<Span> {
    let count = from.varbit();
    let mut one = || Span {
        length: u32::try_from(from.varbit()).unwrap(),
        offset: i32::try_from(from.signed_varbit()).unwrap(),
    };
    (0..count).map(|_| one()).collect()
}

fn bound(from: &mut Reader<'_>) -> f64 {
    match from.varbit() {
        0 => f64::from_bits(from.bits(64)),
        thousandths => f64::from(u32::try_from(thousandths - 1).unwrap()) / 1000.0,
    }
}

/// What the next sample is a change to.
#[derive(Default)]
struct Numbers {
    time: (i64, i64),
    integers: Vec<(i64, i64)>,
    floats: Vec<(f64, (u32, u32))>,
}

fn next((value, change): &mut (i64, i64), from: &mut Reader<'_>) -> i64 {
    *change += from.signed_varbit();
    *value += *change;
    *value
}

fn float(value: i64) -> f64 {
    f64::from(i32::try_from(value).unwrap())
}

impl Numbers {
    fn sample(&mut self, from: &mut Reader<'_>, layout: &Histogram, is_first: bool) -> Sample {
        let time = if is_first {
            self.time = (from.signed_varbit(), 0);
            self.time.0
        } else {
            next(&mut self.time, from)
        };
        let mut out = layout.clone();
        let length = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
        let buckets = [length(&out.positive_spans), length(&out.negative_spans)];
        if layout.is_float {
            let mut all: Vec<f64> =
                (0..3 + buckets[0] + buckets[1]).map(|at| self.float(from, at, is_first)).collect();
            out.negative = all.split_off(3 + buckets[0]);
            out.positive = all.split_off(3);
            (out.count, out.zero_count, out.sum) = (all[0], all[1], all[2]);
            return (time, out);
        }
        let mut integer = |from: &mut Reader<'_>, at: usize, signed: bool| {
            if is_first {
                let value = if signed { from.signed_varbit() } else { from.varbit().cast_signed() };
                self.integers.push((value, 0));
                return value;
            }
            next(&mut self.integers[at], from)
        };
        (out.count, out.zero_count) = (float(integer(from, 0, false)), float(integer(from, 1, false)));
        if is_first {
            self.floats.push((f64::from_bits(from.bits(64)), (0, 0)));
        } else {
            let (sum, window) = &mut self.floats[0];
            *sum = from.changed(*sum, window);
        }
        out.sum = self.floats[0].0;
        let mut at = 2;
        for (side, buckets) in [&mut out.positive, &mut out.negative].into_iter().zip(buckets) {
            let mut count = 0;
            for _ in 0..buckets {
                count += integer(from, at, true);
                side.push(float(count));
                at += 1;
            }
        }
        (time, out)
    }

    fn float(&mut self, from: &mut Reader<'_>, at: usize, is_first: bool) -> f64 {
        if is_first {
            self.floats.push((f64::from_bits(from.bits(64)), (0, 0)));
        } else {
            let (value, window) = &mut self.floats[at];
            *value = from.changed(*value, window);
        }
        self.floats[at].0
    }
}

/// What a histogram counts, however its buckets are laid out.
fn counted(histogram: &Histogram) -> String {
    let full = |spans: &[Span], counts: &[f64]| -> Vec<(i64, f64)> {
        indexed(spans, counts).filter(|(_, count)| *count != 0.0).collect()
    };
    let sides = [
        full(&histogram.positive_spans, &histogram.positive),
        full(&histogram.negative_spans, &histogram.negative),
    ];
    let Histogram { schema, is_float, zero_threshold, zero_count, count, sum, custom_bounds, .. } = histogram;
    let sum = sum.to_bits();
    format!("{schema} {is_float} {zero_threshold} {zero_count} {count} {sum} {custom_bounds:?} {sides:?}")
}

fn series(dice: &mut Dice) -> Vec<Sample> {
    let small = |dice: &mut Dice, below: u64| f64::from(u32::try_from(dice.below(below)).unwrap());
    let (mut time, is_float) = (1_700_000_000_000_i64, dice.one_in(2));
    let custom = dice.one_in(3);
    let reset_hint = if dice.one_in(3) { ResetHint::Gauge } else { ResetHint::Unknown };
    let mut histogram = Histogram {
        schema: if custom { CUSTOM_BUCKETS } else { 2 },
        is_float,
        reset_hint,
        zero_threshold: if custom {
            0.0
        } else {
            [0.0, 0.001, 2.0_f64.powi(-128), 1024.0][usize::try_from(dice.below(4)).unwrap()]
        },
        custom_bounds: if custom { vec![-1.0, 0.005, 0.1, 7.123_456, 40_000.0] } else { Vec::new() },
        ..Histogram::default()
    };
    (0..dice.below(300))
        .map(|_| {
            time += i64::try_from(15_000 + dice.below(3) * 7).unwrap();
            let buckets = 1 + u32::try_from(dice.below(5)).unwrap();
            let spans = |length| vec![Span { offset: if custom { 0 } else { -2 }, length }];
            let grown = |side: &mut Vec<f64>, dice: &mut Dice, length: u32| {
                side.resize(side.len().max(length as usize), 0.0);
                for count in side.iter_mut() {
                    *count += small(dice, 3) * if is_float { 0.3 } else { 1.0 };
                }
            };
            if dice.one_in(20) {
                (histogram.positive, histogram.negative) = (Vec::new(), Vec::new());
            }
            grown(&mut histogram.positive, dice, buckets);
            histogram.positive_spans = spans(u32::try_from(histogram.positive.len()).unwrap());
            if !custom {
                grown(&mut histogram.negative, dice, buckets - 1);
                histogram.negative_spans = spans(u32::try_from(histogram.negative.len()).unwrap());
                histogram.zero_count += 1.0;
            }
            let all = histogram.positive.iter().chain(&histogram.negative).sum::<f64>();
            histogram.count = all + histogram.zero_count;
            histogram.sum = if dice.one_in(30) { f64::NAN } else { histogram.count * 1.5 - 3.0 };
            (time, histogram.clone())
        })
        .collect()
}

#[test]
fn what_is_written_reads_back() {
    for seed in 0..60 {
        let samples = series(&mut Dice::new(seed));
        let chunks = chunks(samples.iter().map(|(time, histogram)| (*time, histogram)));
        let mut found = Vec::new();
        for chunk in &chunks {
            let read = read(chunk);
            assert_eq!(chunk.times, (read[0].0, read[read.len() - 1].0), "seed {seed}");
            let is_gauge = read[0].1.reset_hint == ResetHint::Gauge;
            for two in read.windows(2) {
                assert!(
                    is_gauge || continues(&two[0].1, &two[1].1),
                    "seed {seed}: no reset inside of a chunk"
                );
            }
            found.extend(read);
        }
        let shown = |samples: &[Sample]| -> Vec<String> {
            samples.iter().map(|(time, histogram)| format!("{time} {}", counted(histogram))).collect()
        };
        assert_eq!(shown(&found), shown(&samples), "seed {seed}");
    }
}

#[test]
fn a_chunk_ends_where_the_next_histogram_does_not_fit() {
    let span = |offset, length| Span { offset, length };
    let first = Histogram {
        count: 3.0,
        zero_threshold: 0.001,
        positive_spans: vec![span(1, 2)],
        positive: vec![1.0, 2.0],
        ..Histogram::default()
    };
    let more = Histogram {
        positive: vec![1.0, 2.0, 1.0],
        positive_spans: vec![span(1, 3)],
        count: 4.0,
        ..first.clone()
    };
    let gauge = |histogram: &Histogram| Histogram { reset_hint: ResetHint::Gauge, ..histogram.clone() };
    for (before, now, together) in [
        (first.clone(), first.clone(), true),
        (first.clone(), more.clone(), true),
        (more.clone(), first.clone(), false),
        (gauge(&more), gauge(&first), true),
        (first.clone(), gauge(&more), false),
        (first.clone(), Histogram { reset_hint: ResetHint::Reset, ..more.clone() }, false),
        (first.clone(), Histogram { is_float: true, ..more.clone() }, false),
        (first.clone(), Histogram { zero_threshold: 0.5, ..more.clone() }, false),
        (first.clone(), Histogram { schema: 1, ..more.clone() }, false),
        (first.clone(), Histogram { positive: vec![0.0, 3.0, 1.0], ..more }, false),
    ] {
        let made = chunks([(1, &before), (2, &now)].into_iter());
        assert_eq!(made.len(), if together { 1 } else { 2 }, "{before:?} {now:?}");
    }
    assert!(chunks(std::iter::empty()).is_empty());
    assert_eq!(chunks((0..250).map(|time| (time, &first))).len(), 3, "120 a chunk");
}

#[test]
fn buckets_far_apart_and_huge_counts_are_told() {
    let far = |offset: i32| Histogram {
        is_float: true,
        reset_hint: ResetHint::Gauge,
        count: 1.0,
        positive_spans: vec![Span { offset, length: 1 }],
        positive: vec![1.0],
        ..Histogram::default()
    };
    let (low, high) = (far(i32::MIN), far(i32::MAX));
    let made = chunks([(1, &low), (2, &high)].into_iter());
    let spans = &read(&made[0])[0].1.positive_spans;
    let reach: i64 = spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
    assert_eq!((made.len(), reach), (1, i64::from(i32::MAX) + 1));
    let huge = Histogram { count: 1e19, zero_count: 1e19, ..Histogram::default() };
    let made = chunks(std::iter::once((1, &huge)));
    assert_eq!((made[0].encoding, read(&made[0])[0].1.count), (3, 1e19));
}
