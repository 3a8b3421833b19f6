//! A histogram as a text, as `count_values` makes a label of it.

use std::fmt;

use super::buckets::{Bucket, buckets, negative, zero};
use crate::model::Histogram;
use crate::query::plan::go_general;

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = (if self.has_lower { '[' } else { '(' }, if self.has_upper { ']' } else { ')' });
        let (lower, upper) = (go_general(self.lower), go_general(self.upper));
        write!(f, "{open}{lower},{upper}{close}:{}", go_general(self.count))
    }
}

/// `{count:4, sum:5, (1,2]:4}`. Empty buckets are left out.
pub(crate) fn text(histogram: &Histogram) -> String {
    let mut text = format!("{{count:{}, sum:{}", go_general(histogram.count), go_general(histogram.sum));
    let mut push = |bucket: Bucket| {
        if bucket.count != 0.0 {
            text.push_str(", ");
            text.push_str(&bucket.to_string());
        }
    };
    let mut below: Vec<Bucket> = negative(histogram).collect();
    below.reverse();
    below.into_iter().for_each(&mut push);
    zero(histogram).into_iter().for_each(&mut push);
    // Here the zero bucket cuts nothing off.
    let whole = Histogram { zero_threshold: 0.0, zero_count: 0.0, negative: Vec::new(), ..histogram.clone() };
    buckets(&whole).into_iter().for_each(&mut push);
    text.push('}');
    text
}
