//! What is asked next is a matter of seeded chance.

use quipu::runtime;

/// A seeded source of choices.
pub(super) struct Dice(runtime::Dice);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(runtime::Dice::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D)))
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).expect("a small number");
        usize::try_from(self.0.below(n)).expect("below a usize")
    }

    /// A number in `from..=to`.
    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        let width = u64::try_from(to - from + 1).expect("from <= to");
        from + i64::try_from(self.0.roll() % width).expect("below an i64")
    }

    /// Whether something that happens so often in a hundred does.
    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A float in 0..1 with 32 random bits.
    pub(super) fn unit(&mut self) -> f64 {
        f64::from(u32::try_from(self.0.roll() >> 32).expect("32 bits")) / 4_294_967_296.0
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
