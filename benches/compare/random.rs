//! Numbers that look random and are the same in every run.

use quipu::runtime::Dice;

/// The generator.
#[derive(Debug)]
pub(crate) struct Random(Dice);

impl Random {
    /// Another seed, other numbers.
    pub(crate) fn new(seed: usize) -> Self {
        let seed = u64::try_from(seed).expect("usize fits u64");
        Self(Dice::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03))
    }

    /// A number in `0..n`; 0 where n is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).expect("usize fits u64");
        usize::try_from(self.0.below(n)).expect("below a usize")
    }
}
