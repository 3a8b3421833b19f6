//! How much a sender may ask for. Every decoder takes them as an argument.

use crate::error::{Error, Kind, Result};

/// Limits of one request or scrape. A limit that is passed becomes an error of kind `Limit` that names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body after decompression. Default: 64 MiB.
    pub body_bytes: usize,
    /// Labels of a series, the metric's name among them. Default: 256.
    pub labels_per_series: usize,
    /// Bytes of a label's or metric's name. Default: 1,024.
    pub label_name_bytes: usize,
    /// Bytes of a label's value. Default: 16 KiB.
    pub label_value_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 << 20,
            labels_per_series: 256,
            label_name_bytes: 1024,
            label_value_bytes: 16 << 10,
        }
    }
}

impl Limits {
    /// Refuses a label that is too long. The error shows the start of what it refuses, never all of it.
    pub(super) fn check_label(&self, name: &str, value: &str) -> Result<()> {
        if name.len() > self.label_name_bytes {
            let error = passed("label_name_bytes", self.label_name_bytes, name.len());
            return Err(error.with("label", abridge(name)));
        }
        if value.len() > self.label_value_bytes {
            let error = passed("label_value_bytes", self.label_value_bytes, value.len());
            return Err(error.with("label", name).with("value", abridge(value)));
        }
        Ok(())
    }

    /// Refuses a series with too many labels.
    pub(super) fn check_count(&self, labels: usize) -> Result<()> {
        if labels > self.labels_per_series {
            return Err(passed("labels_per_series", self.labels_per_series, labels));
        }
        Ok(())
    }

    /// Refuses a body of `bytes` after decompression.
    pub(super) fn check_body(&self, bytes: usize) -> Result<()> {
        if bytes > self.body_bytes {
            return Err(passed("body_bytes", self.body_bytes, bytes));
        }
        Ok(())
    }
}

fn passed(limit: &'static str, allowed: usize, found: usize) -> Error {
    let message = format!("{found} is more than the limit {limit} of {allowed} allows");
    Error::new(Kind::Limit, message).with("limit", limit)
}

/// The start of a text from outside, fit for a message: bounded, and without control characters.
pub(super) fn abridge(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
