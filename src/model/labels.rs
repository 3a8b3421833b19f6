//! Label sets as *canonical bytes*: the hash input, the merge key and the index entry.
//!
//! ```text
//!   job=api, instance=a:1   →   "instance" FE "a:1" FF "job" FE "api" FF
//! ```
//!
//! Names are sorted bytewise, an empty value is an absent label, and `FE`/`FF` never occur in UTF-8, so the
//! bytes need no escaping and no lengths. `__name__` is not part of a series' identity bytes (the metric is a
//! column of its own); PromQL carries it in front of them. Byte order is never output order.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use memchr::memchr;

use crate::error::{Error, Result};

/// The label that holds the metric's name in every Prometheus protocol.
pub const METRIC_NAME: &str = "__name__";
/// Ends a label name.
pub const NAME_END: u8 = 0xFE;
/// Ends a label value.
pub const VALUE_END: u8 = 0xFF;

/// An owned label set, cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[u8]>);

/// A borrowed label set: canonical bytes that are known to be well formed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelsRef<'a>(&'a [u8]);

impl Labels {
    /// No labels at all.
    pub fn empty() -> Self {
        Self(Arc::from([]))
    }

    /// Sorts the pairs and drops those with an empty value.
    ///
    /// # Errors
    /// `Invalid` when a name is empty or occurs twice.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_unstable();
        let mut bytes = Vec::with_capacity(pairs.iter().map(|(n, v)| n.len() + v.len() + 2).sum());
        let mut before = None;
        for (name, value) in pairs {
            if name.is_empty() {
                return Err(Error::invalid("a label name is empty"));
            }
            if before == Some(name) {
                return Err(Error::invalid("a label name occurs twice").with("label", name));
            }
            before = Some(name);
            push_pair(&mut bytes, name, value);
        }
        Ok(Self(bytes.into()))
    }

    /// Takes bytes that came from storage.
    ///
    /// # Errors
    /// `Corrupt` when they are not canonical.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self> {
        LabelsRef::parse(bytes).map(LabelsRef::to_owned)
    }

    /// The canonical bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The borrowed form, which holds the reading functions.
    pub fn as_ref(&self) -> LabelsRef<'_> {
        LabelsRef(&self.0)
    }

    /// The pairs in name order.
    pub fn iter(&self) -> LabelsIter<'_> {
        self.as_ref().iter()
    }

    /// The value of a label; `None` when absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.as_ref().get(name)
    }
}

impl<'a> LabelsRef<'a> {
    /// Trusts bytes that this process made or has checked before.
    pub fn trusted(bytes: &'a [u8]) -> Self {
        debug_assert!(Self::parse(bytes).is_ok(), "not canonical: {bytes:?}");
        Self(bytes)
    }

    /// Checks bytes: pairs complete, UTF-8, names sorted and unique, no empty value. A leading `__name__`
    /// (PromQL's form) is accepted in front of the sorted names.
    ///
    /// # Errors
    /// `Corrupt` when they are not canonical.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let bad = |what: &str| Error::corrupt(format!("labels are not canonical: {what}"));
        let mut rest = bytes;
        let mut before: &[u8] = b"";
        let mut first = true;
        while !rest.is_empty() {
            let (name, value, tail) = split_pair(rest).ok_or_else(|| bad("a pair is cut off"))?;
            if name.is_empty() || value.is_empty() {
                return Err(bad("an empty name or value"));
            }
            if name <= before {
                return Err(bad("names are not in order"));
            }
            if std::str::from_utf8(name).is_err() || std::str::from_utf8(value).is_err() {
                return Err(bad("not UTF-8"));
            }
            before = if first && name == METRIC_NAME.as_bytes() { b"" } else { name };
            first = false;
            rest = tail;
        }
        Ok(Self(bytes))
    }

    /// The canonical bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// An owned copy.
    pub fn to_owned(self) -> Labels {
        Labels(Arc::from(self.0))
    }

    /// The pairs in storage order.
    pub fn iter(self) -> LabelsIter<'a> {
        LabelsIter { rest: self.0 }
    }

    /// The value of a label; `None` when absent.
    pub fn get(self, name: &str) -> Option<&'a str> {
        let mut rest = self.0;
        while let Some((n, value, tail)) = split_pair(rest) {
            if n == name.as_bytes() {
                return std::str::from_utf8(value).ok();
            }
            rest = tail;
        }
        None
    }
}

/// Appends one pair in canonical form; an empty value appends nothing. The caller keeps the names in order.
pub fn push_pair(bytes: &mut Vec<u8>, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(NAME_END);
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(VALUE_END);
}

fn split_pair(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let name_end = memchr(NAME_END, bytes)?;
    let value_end = name_end + 1 + memchr(VALUE_END, &bytes[name_end + 1..])?;
    Some((&bytes[..name_end], &bytes[name_end + 1..value_end], &bytes[value_end + 1..]))
}

/// The pairs of a label set.
#[derive(Debug, Clone)]
pub struct LabelsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for LabelsIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value, tail) = split_pair(self.rest)?;
        self.rest = tail;
        let text = |bytes| std::str::from_utf8(bytes).expect("canonical labels were checked to be UTF-8");
        Some((text(name), text(value)))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = LabelsIter<'a>;

    fn into_iter(self) -> LabelsIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for LabelsRef<'a> {
    type Item = (&'a str, &'a str);
    type IntoIter = LabelsIter<'a>;

    fn into_iter(self) -> LabelsIter<'a> {
        self.iter()
    }
}

impl Borrow<[u8]> for Labels {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Debug for LabelsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// `{a="b", c="d"}`, for messages.
impl fmt::Display for LabelsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            let lead = if i == 0 { "" } else { ", " };
            write!(f, "{lead}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_sorted_and_empty_values_are_absent() -> Result<()> {
        let labels = Labels::from_pairs([("job", "api"), ("zone", ""), ("instance", "a:1")])?;
        assert_eq!(labels.as_bytes(), b"instance\xFEa:1\xFFjob\xFEapi\xFF");
        assert_eq!(labels.get("job"), Some("api"));
        assert_eq!(labels.get("zone"), None);
        assert_eq!(labels.as_ref().to_string(), r#"{instance="a:1", job="api"}"#);
        assert_eq!(Labels::from_canonical(labels.as_bytes())?, labels);
        Ok(())
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        assert!(Labels::from_pairs([("a", "1"), ("a", "2")]).is_err());
        for bad in [&b"b\xFE1\xFFa\xFE1\xFF"[..], b"a\xFE1", b"a\xFE\xFF", b"a\xFE1\xFFa\xFE2\xFF"] {
            assert!(Labels::from_canonical(bad).is_err(), "{bad:?}");
        }
        assert!(LabelsRef::parse(b"__name__\xFEup\xFFA\xFE1\xFF").is_ok(), "PromQL's form");
    }
}
