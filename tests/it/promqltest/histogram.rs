//! Native histograms of the test language: `{{schema:1 sum:5 count:4 buckets:[1 2 1]}}`.
//!
//! Always float histograms. Buckets are kept by index and only where they are not empty, so that two spellings
//! of one histogram are equal; arithmetic is what the points grammar needs (`+{{…}}xN`) and no more.

use std::collections::BTreeMap;

/// The schema of histograms with custom bounds.
pub(super) const CUSTOM_SCHEMA: i64 = -53;

/// What is known about resets of the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ResetHint {
    #[default]
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

/// A native histogram.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Histogram {
    pub(super) schema: i64,
    pub(super) sum: f64,
    pub(super) count: f64,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: f64,
    /// Index to count, without empty buckets.
    pub(super) positive: BTreeMap<i64, f64>,
    pub(super) negative: BTreeMap<i64, f64>,
    /// The upper bounds of custom buckets, without +Inf.
    pub(super) bounds: Vec<f64>,
    pub(super) hint: ResetHint,
    /// Whether the hint was written; only then it is compared.
    pub(super) hint_written: bool,
}

impl Histogram {
    /// Reads what stands between `{{` and `}}`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut histogram = Self::default();
        let (mut positive, mut negative) = ((0, Vec::new()), (0, Vec::new()));
        let mut seen = Vec::new();
        for field in fields(text)? {
            let (key, value) = field.split_once(':').ok_or_else(|| format!("missing `:` in {field:?}"))?;
            if seen.contains(&key) {
                return Err(format!("duplicate key {key:?} in histogram"));
            }
            seen.push(key);
            match key {
                "schema" => histogram.schema = integer(value)?,
                "sum" => histogram.sum = number(value)?,
                "count" => histogram.count = number(value)?,
                "z_bucket" => histogram.zero_count = number(value)?,
                "z_bucket_w" => histogram.zero_threshold = number(value)?,
                "custom_values" => histogram.bounds = numbers(value)?,
                "buckets" => positive.1 = numbers(value)?,
                "n_buckets" => negative.1 = numbers(value)?,
                "offset" => positive.0 = integer(value)?,
                "n_offset" => negative.0 = integer(value)?,
                "counter_reset_hint" => {
                    histogram.hint_written = true;
                    histogram.hint = match value {
                        "unknown" => ResetHint::Unknown,
                        "reset" => ResetHint::Reset,
                        "not_reset" => ResetHint::NotReset,
                        "gauge" => ResetHint::Gauge,
                        _ => return Err(format!("unknown counter_reset_hint {value:?}")),
                    };
                }
                _ => return Err(format!("bad histogram descriptor found: {key:?}")),
            }
        }
        histogram.positive = indexed(positive.0, &positive.1);
        histogram.negative = indexed(negative.0, &negative.1);
        Ok(histogram)
    }

    /// `self + sign * other`, in `self`'s resolution.
    pub(super) fn add(&self, other: &Self, sign: f64) -> Result<Self, String> {
        let (custom, other_custom) = (self.schema == CUSTOM_SCHEMA, other.schema == CUSTOM_SCHEMA);
        if self.schema > other.schema || custom != other_custom || self.bounds != other.bounds {
            let (from, to) = (other.schema, self.schema);
            return Err(format!("error combining histograms: cannot merge from schema {from} to {to}"));
        }
        if self.zero_threshold.to_bits() != other.zero_threshold.to_bits() {
            return Err("error combining histograms: zero thresholds differ".to_owned());
        }
        let mut sum = self.clone();
        sum.sum += sign * other.sum;
        sum.count += sign * other.count;
        sum.zero_count += sign * other.zero_count;
        let shift = if custom { 0 } else { other.schema - self.schema };
        merge(&mut sum.positive, &other.positive, shift, sign);
        merge(&mut sum.negative, &other.negative, shift, sign);
        Ok(sum)
    }
}

/// Adds buckets of a resolution that is `shift` doublings higher.
fn merge(into: &mut BTreeMap<i64, f64>, from: &BTreeMap<i64, f64>, shift: i64, sign: f64) {
    for (index, count) in from {
        let index = ((index - 1) >> shift) + 1;
        *into.entry(index).or_insert(0.0) += sign * count;
    }
    into.retain(|_, count| *count != 0.0);
}

fn indexed(offset: i64, counts: &[f64]) -> BTreeMap<i64, f64> {
    (offset..).zip(counts.iter().copied()).filter(|(_, count)| *count != 0.0).collect()
}

/// `key:value` pieces; a value in brackets may hold blanks.
fn fields(text: &str) -> Result<Vec<&str>, String> {
    let mut fields = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let blank = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let end = match rest.find('[') {
            Some(open) if open < blank => rest.find(']').ok_or("a bucket list is not closed")? + 1,
            _ => blank,
        };
        fields.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    Ok(fields)
}

fn numbers(text: &str) -> Result<Vec<f64>, String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let inner = inner.ok_or_else(|| format!("{text:?} is no list"))?;
    inner.split_whitespace().map(number).collect()
}

fn integer(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("{text:?} is no integer"))
}

/// A float as the language writes it: underscores allowed, `Inf` and `NaN` in any case.
pub(super) fn number(text: &str) -> Result<f64, String> {
    let plain = text.replace('_', "");
    plain.parse().map_err(|_| format!("{text:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_histogram_are_equal() {
        let a = Histogram::parse("schema:1 count:3 sum:-2.5 buckets:[0 1 0 2 0] offset:-1").expect("a");
        let b = Histogram::parse(" sum:-2.5 offset:0 buckets:[1 0 2] schema:1 count:3 ").expect("b");
        assert_eq!(a, b);
        assert_eq!(a.positive, BTreeMap::from([(0, 1.0), (2, 2.0)]));
        for bad in ["schema", "schema:x", "nope:1", "buckets:[1", "buckets:1", "sum:1 sum:2"] {
            assert!(Histogram::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_finer_histogram_is_added_in_the_coarser_resolution() {
        let coarse = Histogram::parse("schema:0 count:1 buckets:[1] offset:1").expect("coarse");
        let fine = Histogram::parse("schema:1 count:4 buckets:[1 1 1 1] offset:0").expect("fine");
        let sum = coarse.add(&fine, 1.0).expect("a sum");
        // Fine 0 falls into coarse 0; fine 1 and 2 into 1; fine 3 into 2.
        assert_eq!(sum.positive, BTreeMap::from([(0, 1.0), (1, 3.0), (2, 1.0)]));
        assert!(fine.add(&coarse, 1.0).is_err(), "never to a finer one");
        assert_eq!(sum.add(&sum, -1.0).expect("a difference").positive, BTreeMap::new());
    }
}
