//! Prometheus' XOR chunks, as remote read sends them: up to 120 floats with their times, packed bit by bit.
//!
//! Source: prometheus `tsdb/chunkenc/xor.go`, after Pelkonen et al., "Gorilla" (VLDB 2015). A time is the change
//! of the distance to the time before it, a value is the bits in which it differs from the one before. It only
//! writes: quipu stores floats as Parquet and reads none of these.
//!
//! ```text
//!   count:2 │ time: varint, value: 64 │ distance: uvarint, value │ change of distance, value │ …
//! ```

use super::bits::{Bits, Changing};

/// Samples of a full chunk, as in Prometheus.
pub(super) const CHUNK_SAMPLES: u16 = 120;

/// A chunk in the making.
#[derive(Debug, Clone)]
pub(super) struct XorChunk {
    bits: Bits,
    count: u16,
    first_time: i64,
    time: i64,
    distance: u64,
    value: Changing,
}

impl Default for XorChunk {
    fn default() -> Self {
        let (bits, value) = (Bits::behind(2), Changing::from(0.0));
        Self { bits, count: 0, first_time: 0, time: 0, distance: 0, value }
    }
}

impl XorChunk {
    /// Samples so far.
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// The first and the last time, ms.
    pub(super) fn times(&self) -> (i64, i64) {
        (self.first_time, self.time)
    }

    /// The bytes.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bits.bytes[..2].copy_from_slice(&self.count.to_be_bytes());
        self.bits.bytes
    }

    /// Appends a sample whose time is after the last one's.
    pub(super) fn push(&mut self, time_ms: i64, value: f64) {
        let distance = time_ms.wrapping_sub(self.time).cast_unsigned();
        match self.count {
            0 => {
                self.first_time = time_ms;
                self.bits.put_varint((time_ms << 1 ^ time_ms >> 63).cast_unsigned());
                self.bits.put(value.to_bits(), 64);
                self.value = Changing::from(value);
            }
            1 => {
                self.bits.put_varint(distance);
                self.value.put(&mut self.bits, value);
            }
            _ => {
                self.change(distance.wrapping_sub(self.distance).cast_signed());
                self.value.put(&mut self.bits, value);
            }
        }
        // The first sample has no distance; the second one's replaces what stands here.
        (self.time, self.distance) = (time_ms, distance);
        self.count += 1;
    }

    /// How the distance changed: 1, 16, 20, 24 or 68 bits.
    fn change(&mut self, change: i64) {
        let fits = |bits: u32| (1 - (1_i64 << (bits - 1))..=1_i64 << (bits - 1)).contains(&change);
        let (out, bits) = (&mut self.bits, change.cast_unsigned());
        match change {
            0 => out.put(0, 1),
            _ if fits(14) => out.put_marked((0b10, 2), bits, 14),
            _ if fits(17) => out.put_marked((0b110, 3), bits, 17),
            _ if fits(20) => out.put_marked((0b1110, 4), bits, 20),
            _ => out.put_marked((0b1111, 4), bits, 64),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::bits::reading::Reader;
    use super::*;

    /// Reads a chunk as its description says; written for these tests.
    struct Chunk<'a>(Reader<'a>);

    impl Chunk<'_> {
        fn varint(&mut self) -> u64 {
            let (mut number, mut shift) = (0, 0);
            loop {
                let byte = self.0.bits(8);
                number |= (byte & 0x7F) << shift;
                if byte < 0x80 {
                    return number;
                }
                shift += 7;
            }
        }

        fn signed(&mut self, width: u32) -> i64 {
            let number = self.0.bits(width).cast_signed();
            if width < 64 && number > 1 << (width - 1) { number - (1 << width) } else { number }
        }

        fn all(mut self) -> Vec<(i64, u64)> {
            let count = self.0.bits(16);
            let (mut samples, mut distance, mut window) = (Vec::<(i64, u64)>::new(), 0_i64, (0, 0));
            for at in 0..count {
                let Some((time, value)) = samples.last().copied() else {
                    let zigzag = self.varint();
                    let time = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
                    samples.push((time, self.0.bits(64)));
                    continue;
                };
                if at == 1 {
                    distance = self.varint().cast_signed();
                } else {
                    let marks = (0..4).take_while(|_| self.0.bits(1) == 1).count();
                    let width = [0, 14, 17, 20, 64][marks];
                    distance = distance.wrapping_add(if width == 0 { 0 } else { self.signed(width) });
                }
                let value = self.0.changed(f64::from_bits(value), &mut window);
                samples.push((time.wrapping_add(distance), value.to_bits()));
            }
            samples
        }
    }

    fn round(samples: &[(i64, f64)]) {
        let mut chunk = XorChunk::default();
        for (time, value) in samples {
            chunk.push(*time, *value);
        }
        assert_eq!(usize::from(chunk.count()), samples.len());
        if let (Some(first), Some(last)) = (samples.first(), samples.last()) {
            assert_eq!(chunk.times(), (first.0, last.0));
        }
        let bytes = chunk.finish();
        let expected: Vec<_> = samples.iter().map(|(time, value)| (*time, value.to_bits())).collect();
        assert_eq!(Chunk(Reader { bytes: &bytes, at: 0 }).all(), expected);
    }

    #[test]
    fn regular_samples_take_two_bits_each() {
        let mut chunk = XorChunk::default();
        for i in 0..120 {
            chunk.push(1_700_000_000_000 + i * 15_000, 1.0);
        }
        // Count 2, time 6, value 8, distance 2 bytes; then 1 bit for the second value and 2 for each other.
        assert_eq!(chunk.finish().len(), 2 + 6 + 8 + 2 + (1 + 118 * 2_usize).div_ceil(8));
    }

    #[test]
    fn changes_at_the_ends_of_each_width_come_back() {
        for step in
            [0, 8_191, 8_192, 8_193, -8_190, -8_191, -8_192, 65_536, 65_537, -65_535, -65_536, 524_288]
        {
            for step in [step, -step, step * 2, 1 << 40] {
                let times = [0, 10_000_000, 20_000_000 + step, 30_000_000 + step];
                round(&times.map(|time| (time, 1.5)));
            }
        }
        round(&[
            (0, f64::from_bits(crate::model::STALE_NAN)),
            (1, -0.0),
            (2, f64::INFINITY),
            (3, f64::MIN_POSITIVE),
        ]);
        round(&[]);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            start in -4_000_000_000_000_i64..4_000_000_000_000,
            steps in prop::collection::vec((1_i64..100_000_000, any::<f64>(), any::<bool>()), 0..120),
        ) {
            let (mut time, mut before) = (start, 0.0);
            let samples: Vec<_> = steps.into_iter().map(|(step, value, same)| {
                time += step;
                before = if same { before } else { value };
                (time, before)
            }).collect();
            round(&samples);
        }
    }
}
