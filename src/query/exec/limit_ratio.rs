//! `limit_ratio`: a share of the series, by the hash of their labels. Groups make no difference.
//!
//! A series has a fixed place between 0 and 1: the same as in Prometheus, which hashes (XXH64) each name and value
//! behind its length: one byte, or 255 and three bytes from 255 on.

use arrow::array::RecordBatch;

use super::batch::View;
use super::labels::{in_output_order, push_visible};
use crate::error::{Error, Kind, Result};
use crate::model::LabelsRef;
use crate::query::plan::{Annotation, Annotations, Position, StepScalar};

/// What is not the ratio itself.
#[derive(Debug, Clone)]
pub(crate) struct Ratio {
    pub(crate) position: Position,
    pub(crate) annotations: Annotations,
    /// Names that go are gone already.
    pub(crate) immediate_names: bool,
}

impl Ratio {
    /// Refuses NaN, and warns of what lies outside of -1 to 1.
    ///
    /// # Errors
    /// `Execution` in Prometheus' words.
    pub(crate) fn check(&self, ratios: &[StepScalar]) -> Result<()> {
        let values = ratios.first().map(StepScalar::distinct).unwrap_or_default();
        if values.iter().any(|ratio| ratio.is_nan()) {
            return Err(Error::new(Kind::Execution, "Ratio value is NaN"));
        }
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        for (got, taken, wrong) in [(high, 1.0, high > 1.0), (low, -1.0, low < -1.0)] {
            if wrong {
                self.annotations.add(Annotation::RatioOutOfRange { got, taken }, self.position);
            }
        }
        Ok(())
    }
}

/// Whether a ratio takes the series at a place.
pub(crate) fn keeps(ratio: f64, place: f64) -> bool {
    let ratio = ratio.clamp(-1.0, 1.0);
    ratio != 0.0 && if ratio > 0.0 { place < ratio } else { place >= 1.0 + ratio }
}

impl Ratio {
    /// The place of each row's series.
    pub(crate) fn places(&self, batch: &RecordBatch) -> Vec<f64> {
        let view = View::of(batch);
        let (mut bytes, mut labels) = (Vec::new(), Vec::new());
        let place = |row| {
            labels.clear();
            push_visible(&mut labels, (view.labels(row), view.drop_name(row)), self.immediate_names);
            place(LabelsRef::trusted(&labels), &mut bytes)
        };
        (0..view.len()).map(place).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus divides rounded numbers too")]
fn place(labels: LabelsRef<'_>, bytes: &mut Vec<u8>) -> f64 {
    bytes.clear();
    for (name, value) in in_output_order(labels) {
        for text in [name, value] {
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
            match text.len() {
                0..255 => bytes.push(length[0]),
                _ => bytes.extend([255, length[0], length[1], length[2]]),
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    xxh64(bytes) as f64 / u64::MAX as f64
}

const PRIMES: [u64; 5] = [
    0x9E37_79B1_85EB_CA87,
    0xC2B2_AE3D_27D4_EB4F,
    0x1656_67B1_9E37_79F9,
    0x85EB_CA77_C2B2_AE63,
    0x27D4_EB2F_1656_67C5,
];

/// XXH64 with seed 0. Source: Y. Collet, "`xxHash` fast digest algorithm" (`doc/xxhash_spec.md`).
fn xxh64(bytes: &[u8]) -> u64 {
    let round = |lane: u64, word: u64| {
        lane.wrapping_add(word.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
    };
    let (stripes, mut rest) = bytes.as_chunks::<32>();
    let mut hash = PRIMES[4];
    if !stripes.is_empty() {
        let mut lanes = [PRIMES[0].wrapping_add(PRIMES[1]), PRIMES[1], 0, 0_u64.wrapping_sub(PRIMES[0])];
        for stripe in stripes {
            for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
                *lane = round(*lane, u64::from_le_bytes(*word));
            }
        }
        let turned = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, by)| lane.rotate_left(by));
        hash = turned.fold(0, u64::wrapping_add);
        for lane in lanes {
            hash = (hash ^ round(0, lane)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
        }
    }
    hash = hash.wrapping_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    let (words, tail) = rest.as_chunks::<8>();
    for word in words {
        hash ^= round(0, u64::from_le_bytes(*word));
        hash = hash.rotate_left(27).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
    }
    rest = tail;
    if let Some((half, tail)) = rest.split_first_chunk::<4>() {
        hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIMES[0]);
        hash = hash.rotate_left(23).wrapping_mul(PRIMES[1]).wrapping_add(PRIMES[2]);
        rest = tail;
    }
    for byte in rest {
        hash ^= u64::from(*byte).wrapping_mul(PRIMES[4]);
        hash = hash.rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(PRIMES[1]);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(PRIMES[2]);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_xxh64() {
        assert_eq!(xxh64(b""), 0xEF46_DB37_51D8_E999);
        assert_eq!(xxh64(b"a"), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(xxh64(b"abc"), 0x44BC_2CF5_AD77_0999);
        assert_eq!(xxh64(b"Nobody inspects the spammish repetition"), 0xFBCE_A83C_8A37_8BF1);
    }

    #[test]
    fn a_ratio_and_its_complement_take_every_series_once() {
        for place in [0.0, 0.2, 0.5, 0.999, 1.0] {
            for ratio in [0.2, 0.5, 0.8] {
                assert!(keeps(ratio, place) != keeps(ratio - 1.0, place), "{ratio} {place}");
            }
            assert!(!keeps(0.0, place) && keeps(-1.0, place) && keeps(-7.0, place));
        }
        assert!(keeps(1.5, 0.99));
    }
}
