//! Prometheus' XOR chunks, as remote read sends them: up to 120 floats with their times, packed bit by bit.
//!
//! Source: prometheus `tsdb/chunkenc/xor.go`, after Pelkonen et al., "Gorilla" (VLDB 2015). A time is the change
//! of the distance to the time before it, a value is the bits in which it differs from the one before. It only
//! writes: quipu stores floats as Parquet and reads none of these.
//!
//! ```text
//!   count:2 │ time: varint, value: 64 │ distance: uvarint, value │ change of distance, value │ …
//! ```

/// Samples of a full chunk, as in Prometheus.
pub(super) const CHUNK_SAMPLES: u16 = 120;

/// No window of changed bits was written yet.
const NO_WINDOW: u32 = 0xFF;

/// A chunk in the making.
#[derive(Debug, Clone)]
pub(super) struct XorChunk {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not used yet.
    free: u32,
    count: u16,
    first_time: i64,
    time: i64,
    distance: u64,
    value: u64,
    leading: u32,
    trailing: u32,
}

impl Default for XorChunk {
    fn default() -> Self {
        Self {
            bytes: vec![0, 0],
            free: 0,
            count: 0,
            first_time: 0,
            time: 0,
            distance: 0,
            value: 0,
            leading: NO_WINDOW,
            trailing: 0,
        }
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
        self.bytes[..2].copy_from_slice(&self.count.to_be_bytes());
        self.bytes
    }

    /// Appends a sample whose time is after the last one's.
    pub(super) fn push(&mut self, time_ms: i64, value: f64) {
        let bits = value.to_bits();
        let distance = time_ms.wrapping_sub(self.time).cast_unsigned();
        match self.count {
            0 => {
                self.first_time = time_ms;
                self.varint((time_ms << 1 ^ time_ms >> 63).cast_unsigned());
                self.bits(bits, 64);
            }
            1 => {
                self.varint(distance);
                self.value(bits);
            }
            _ => {
                self.change(distance.wrapping_sub(self.distance).cast_signed());
                self.value(bits);
            }
        }
        // The first sample has no distance; the second one's replaces what stands here.
        (self.time, self.distance, self.value) = (time_ms, distance, bits);
        self.count += 1;
    }

    /// How the distance changed: 1, 16, 20, 24 or 68 bits.
    fn change(&mut self, change: i64) {
        let fits = |bits: u32| (1 - (1_i64 << (bits - 1))..=1_i64 << (bits - 1)).contains(&change);
        let bits = change.cast_unsigned();
        match change {
            0 => self.bits(0, 1),
            _ if fits(14) => self.marked(0b10, 2, bits, 14),
            _ if fits(17) => self.marked(0b110, 3, bits, 17),
            _ if fits(20) => self.marked(0b1110, 4, bits, 20),
            _ => self.marked(0b1111, 4, bits, 64),
        }
    }

    /// The bits that changed: none, those inside the last window, or a new window and its bits.
    fn value(&mut self, bits: u64) {
        let changed = bits ^ self.value;
        if changed == 0 {
            return self.bits(0, 1);
        }
        // Five bits hold the leading zeros.
        let (leading, trailing) = (changed.leading_zeros().min(31), changed.trailing_zeros());
        if self.leading != NO_WINDOW && leading >= self.leading && trailing >= self.trailing {
            let width = 64 - self.leading - self.trailing;
            return self.marked(0b10, 2, changed >> self.trailing, width);
        }
        (self.leading, self.trailing) = (leading, trailing);
        let width = 64 - leading - trailing;
        self.marked(0b11, 2, u64::from(leading), 5);
        // 64 bits are written as 0, which never occurs otherwise.
        self.bits(u64::from(width), 6);
        self.bits(changed >> trailing, width);
    }

    fn marked(&mut self, mark: u64, mark_width: u32, bits: u64, width: u32) {
        self.bits(mark, mark_width);
        self.bits(bits, width);
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bits(number & 0x7F | 0x80, 8);
            number >>= 7;
        }
        self.bits(number, 8);
    }

    /// Appends the lowest `width` bits of a number, the highest of them first.
    fn bits(&mut self, number: u64, width: u32) {
        let mut left = width;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let taken = left.min(self.free);
            let piece = number >> (left - taken) & ((1 << taken) - 1);
            let last = self.bytes.last_mut().expect("a byte was pushed where none was free");
            *last |= piece.to_le_bytes()[0] << (self.free - taken);
            self.free -= taken;
            left -= taken;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a chunk as its description says; written for these tests.
    struct Reader<'a> {
        bytes: &'a [u8],
        at: usize,
    }

    impl Reader<'_> {
        fn bits(&mut self, width: u32) -> u64 {
            (0..width).fold(0, |number, _| {
                let bit = self.bytes[self.at / 8] >> (7 - self.at % 8) & 1;
                self.at += 1;
                number << 1 | u64::from(bit)
            })
        }

        fn varint(&mut self) -> u64 {
            let (mut number, mut shift) = (0, 0);
            loop {
                let byte = self.bits(8);
                number |= (byte & 0x7F) << shift;
                if byte < 0x80 {
                    return number;
                }
                shift += 7;
            }
        }

        fn signed(&mut self, width: u32) -> i64 {
            let number = self.bits(width).cast_signed();
            if width < 64 && number > 1 << (width - 1) { number - (1 << width) } else { number }
        }

        fn all(mut self) -> Vec<(i64, u64)> {
            let count = self.bits(16);
            let (mut samples, mut distance, mut window) = (Vec::<(i64, u64)>::new(), 0_i64, (0, 0));
            for at in 0..count {
                let Some((time, value)) = samples.last().copied() else {
                    let zigzag = self.varint();
                    let time = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
                    samples.push((time, self.bits(64)));
                    continue;
                };
                if at == 1 {
                    distance = self.varint().cast_signed();
                } else {
                    let marks = (0..4).take_while(|_| self.bits(1) == 1).count();
                    let width = [0, 14, 17, 20, 64][marks];
                    distance = distance.wrapping_add(if width == 0 { 0 } else { self.signed(width) });
                }
                let mut changed = 0;
                if self.bits(1) == 1 {
                    if self.bits(1) == 1 {
                        let leading = self.bits(5);
                        let width = self.bits(6);
                        let width = if width == 0 { 64 } else { width };
                        window = (width, 64 - leading - width);
                    }
                    changed = self.bits(u32::try_from(window.0).expect("at most 64")) << window.1;
                }
                samples.push((time.wrapping_add(distance), value ^ changed));
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
        assert_eq!(Reader { bytes: &bytes, at: 0 }.all(), expected);
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
