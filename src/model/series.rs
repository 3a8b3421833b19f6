//! A series' identity: the metric and the canonical labels, and the id that orders files.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::labels::{Labels, LabelsRef};

/// A series: metric name and canonical labels (without `__name__`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// The metric's name; empty for a series without one.
    pub metric: Arc<str>,
    /// All other labels.
    pub labels: Labels,
}

impl SeriesKey {
    /// The id of the label set; see [`series_id`].
    pub fn id(&self) -> i64 {
        series_id(self.labels.as_ref())
    }
}

const PREFIX_BITS: u32 = 10;
const LABEL_BITS: u32 = 44;

/// The 64-bit id of a label set: 10 bits XXH3-64 of `job`, 10 bits of `instance`, 44 bits of the canonical
/// labels, so that one target's series of a metric lie together. It is the label set's and not the metric's.
/// Two label sets may share an id; readers compare labels, never ids alone. Frozen in `docs/format.md`.
pub fn series_id(labels: LabelsRef<'_>) -> i64 {
    let prefix = |name| low_bits(xxh3_64(labels.get(name).unwrap_or("").as_bytes()), PREFIX_BITS);
    let tail = low_bits(xxh3_64(labels.as_bytes()), LABEL_BITS);
    let id = prefix("job") << (PREFIX_BITS + LABEL_BITS) | prefix("instance") << LABEL_BITS | tail;
    id.cast_signed()
}

fn low_bits(hash: u64, bits: u32) -> u64 {
    hash & ((1 << bits) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_target_s_series_share_twenty_bits() -> crate::error::Result<()> {
        let a = Labels::from_pairs([("job", "api"), ("instance", "a:1"), ("code", "200")])?;
        let b = Labels::from_pairs([("job", "api"), ("instance", "a:1"), ("code", "500")])?;
        let (a, b) = (series_id(a.as_ref()), series_id(b.as_ref()));
        assert_ne!(a, b);
        assert_eq!(a >> LABEL_BITS, b >> LABEL_BITS);
        Ok(())
    }

    #[test]
    fn the_id_is_frozen() {
        // From docs/format.md. If this fails, every stored file becomes unreadable: do not change the numbers.
        assert_eq!(series_id(Labels::empty().as_ref()), FROZEN_EMPTY);
    }

    /// From XXH3-64 of no bytes, 0x2D06800538D394C2: its low 10, 10 and 44 bits one behind the other.
    const FROZEN_EMPTY: i64 = 3_498_206_217_360_348_354;
}
