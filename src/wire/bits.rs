//! Bits one after the other, and what Prometheus' chunks write with them: floats by the bits that changed, and numbers
//! of which small ones take few bits. It only writes.
//!
//! Source: prometheus `tsdb/chunkenc/bstream.go`, `xor.go`, `varbit.go`.

/// Bytes that grow bit by bit, the highest bit of each byte first.
#[derive(Debug, Clone)]
pub(super) struct Bits {
    pub(super) bytes: Vec<u8>,
    /// Bits of the last byte that are not used yet.
    free: u32,
}

impl Bits {
    /// Behind a head of whole bytes, all 0.
    pub(super) fn behind(head: usize) -> Self {
        Self { bytes: vec![0; head], free: 0 }
    }

    /// Appends the lowest `width` bits of a number, the highest of them first.
    pub(super) fn put(&mut self, number: u64, width: u32) {
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

    /// A mark and then a number.
    pub(super) fn put_marked(&mut self, (mark, mark_width): (u64, u32), bits: u64, width: u32) {
        self.put(mark, mark_width);
        self.put(bits, width);
    }

    /// LEB128.
    pub(super) fn put_varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.put(number & 0x7F | 0x80, 8);
            number >>= 7;
        }
        self.put(number, 8);
    }

    /// A number in 1 to 72 bits: zero is one bit, others have a mark that tells their width.
    pub(super) fn put_varbit(&mut self, number: u64) {
        self.put_sized(number, |width| number < 1 << width);
    }

    /// The same of a signed number; one of n bits may be −2^(n−1)+1 to 2^(n−1).
    pub(super) fn put_signed_varbit(&mut self, number: i64) {
        let fits = |width: u32| (1 - (1_i64 << (width - 1))..=1_i64 << (width - 1)).contains(&number);
        self.put_sized(number.cast_unsigned(), fits);
    }

    fn put_sized(&mut self, bits: u64, fits: impl Fn(u32) -> bool) {
        /// What a mark of so many ones (one more each) and a zero announces.
        const WIDTHS: [u32; 7] = [3, 6, 9, 12, 18, 25, 56];
        if bits == 0 {
            return self.put(0, 1);
        }
        match WIDTHS.into_iter().zip(1..).find(|(width, _)| fits(*width)) {
            Some((width, ones)) => self.put_marked(((1 << (ones + 1)) - 2, ones + 1), bits, width),
            None => self.put_marked((0xFF, 8), bits, 64),
        }
    }
}

/// No window of changed bits was written yet.
const NO_WINDOW: u32 = 0xFF;

/// A float that is written as the bits in which it differs from the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changing {
    value: u64,
    leading: u32,
    trailing: u32,
}

impl Changing {
    /// The first value, which is written whole elsewhere.
    pub(super) fn from(value: f64) -> Self {
        Self { value: value.to_bits(), leading: NO_WINDOW, trailing: 0 }
    }

    /// Appends the next value: nothing, the bits inside the last window, or a new window and its bits.
    pub(super) fn put(&mut self, out: &mut Bits, value: f64) {
        let changed = value.to_bits() ^ self.value;
        self.value = value.to_bits();
        if changed == 0 {
            return out.put(0, 1);
        }
        // Five bits hold the leading zeros.
        let (leading, trailing) = (changed.leading_zeros().min(31), changed.trailing_zeros());
        if self.leading != NO_WINDOW && leading >= self.leading && trailing >= self.trailing {
            let width = 64 - self.leading - self.trailing;
            return out.put_marked((0b10, 2), changed >> self.trailing, width);
        }
        (self.leading, self.trailing) = (leading, trailing);
        let width = 64 - leading - trailing;
        out.put_marked((0b11, 2), u64::from(leading), 5);
        // 64 bits are written as 0, which never occurs otherwise.
        out.put(u64::from(width), 6);
        out.put(changed >> trailing, width);
    }
}

/// Reads what is written here; for the tests of the chunks.
#[cfg(test)]
pub(super) mod reading {
    /// The bits that are left.
    pub(in crate::wire) struct Reader<'a> {
        pub(in crate::wire) bytes: &'a [u8],
        pub(in crate::wire) at: usize,
    }

    impl Reader<'_> {
        pub(in crate::wire) fn bits(&mut self, width: u32) -> u64 {
            (0..width).fold(0, |number, _| {
                let bit = self.bytes[self.at / 8] >> (7 - self.at % 8) & 1;
                self.at += 1;
                number << 1 | u64::from(bit)
            })
        }

        pub(in crate::wire) fn varbit(&mut self) -> u64 {
            let ones = (0..8).take_while(|_| self.bits(1) == 1).count();
            match ones {
                0 => 0,
                8 => self.bits(64),
                ones => self.bits([3, 6, 9, 12, 18, 25, 56][ones - 1]),
            }
        }

        pub(in crate::wire) fn signed_varbit(&mut self) -> i64 {
            let ones = (0..8).take_while(|_| self.bits(1) == 1).count();
            let width = match ones {
                0 => return 0,
                8 => return self.bits(64).cast_signed(),
                ones => [3, 6, 9, 12, 18, 25, 56][ones - 1],
            };
            let bits = self.bits(width);
            let is_negative = bits > 1 << (width - 1);
            bits.cast_signed() - if is_negative { 1 << width } else { 0 }
        }

        /// The value after `value`, with the window of changed bits.
        pub(in crate::wire) fn changed(&mut self, value: f64, window: &mut (u32, u32)) -> f64 {
            if self.bits(1) == 0 {
                return value;
            }
            if self.bits(1) == 1 {
                let leading = u32::try_from(self.bits(5)).expect("5 bits");
                let width = u32::try_from(self.bits(6)).expect("6 bits");
                *window = (leading, 64 - leading - if width == 0 { 64 } else { width });
            }
            let changed = self.bits(64 - window.0 - window.1) << window.1;
            f64::from_bits(value.to_bits() ^ changed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::reading::Reader;
    use super::*;

    #[test]
    fn numbers_of_every_width_come_back() {
        let edges = [3_u32, 6, 9, 12, 18, 25, 56].map(|width| 1_i64 << (width - 1));
        let numbers: Vec<i64> = edges
            .into_iter()
            .flat_map(|edge| [edge - 1, edge, edge + 1, 1 - edge, -edge, -edge - 1])
            .chain([0, 1, -1, i64::MAX, i64::MIN])
            .collect();
        let mut bits = Bits::behind(0);
        for number in &numbers {
            bits.put_signed_varbit(*number);
            bits.put_varbit(number.cast_unsigned());
        }
        let mut reader = Reader { bytes: &bits.bytes, at: 0 };
        for number in numbers {
            assert_eq!((reader.signed_varbit(), reader.varbit()), (number, number.cast_unsigned()));
        }
    }

    #[test]
    fn small_numbers_take_the_bits_of_the_description() {
        for (number, width) in
            [(0, 1), (4, 5), (-3, 5), (5, 9), (-4, 9), (33, 13), (1 << 55, 64), (1 << 60, 72)]
        {
            let mut bits = Bits::behind(0);
            bits.put_signed_varbit(number);
            assert_eq!(bits.bytes.len(), usize::div_ceil(width, 8), "{number}");
        }
    }
}
