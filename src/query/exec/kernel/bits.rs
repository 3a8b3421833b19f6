//! Validity of a row as 64-bit words, lowest bit first: bit k says that step k has a sample.

/// How many words `steps` bits need.
pub(crate) fn word_count(steps: usize) -> usize {
    steps.div_ceil(64)
}

/// Sets bit k to `valid(k)` for every step and returns how many are set.
#[inline]
pub(crate) fn fill(words: &mut [u64], steps: usize, mut valid: impl FnMut(usize) -> bool) -> usize {
    debug_assert_eq!(words.len(), word_count(steps));
    let mut set = 0;
    for (index, word) in words.iter_mut().enumerate() {
        let from = index * 64;
        let to = (from + 64).min(steps);
        let mut bits = 0;
        for step in from..to {
            bits |= u64::from(valid(step)) << (step - from);
        }
        *word = bits;
        set += bits.count_ones() as usize;
    }
    set
}

/// The words of a row that has all its steps.
pub(crate) fn all(steps: usize) -> Vec<u64> {
    let mut words = vec![0; word_count(steps)];
    set_all(&mut words, steps);
    words
}

/// Sets the bits of all steps.
pub(crate) fn set_all(words: &mut [u64], steps: usize) {
    words.fill(u64::MAX);
    if let (Some(last), rest @ 1..) = (words.last_mut(), steps % 64) {
        *last = (1 << rest) - 1;
    }
}

/// Whether bit k is set.
#[inline]
pub(crate) fn get(words: &[u64], step: usize) -> bool {
    words[step / 64] >> (step % 64) & 1 == 1
}

/// Sets bit k.
#[inline]
pub(crate) fn set(words: &mut [u64], step: usize) {
    words[step / 64] |= 1 << (step % 64);
}

/// Clears bit k.
#[inline]
pub(crate) fn clear(words: &mut [u64], step: usize) {
    words[step / 64] &= !(1 << (step % 64));
}

/// How many bits are set.
pub(crate) fn count(words: &[u64]) -> usize {
    words.iter().map(|word| word.count_ones() as usize).sum()
}

/// The set bits in order.
pub(crate) fn ones(words: &[u64]) -> impl Iterator<Item = usize> + '_ {
    words.iter().enumerate().flat_map(|(index, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = rest.trailing_zeros() as usize;
            (rest != 0).then(|| {
                rest &= rest - 1;
                index * 64 + bit
            })
        })
    })
}
