//! Values of settings in the spelling users know from Prometheus: `15s`, `512MB`. Plain data for serde; a
//! wrong spelling is an error of the deserializer, which knows the line.

use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::time::{format_duration, parse_duration};
use crate::error::{Error, Result};

/// A length of time in ms, written `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(u64);

impl Millis {
    /// A length of `ms` milliseconds.
    pub const fn new(ms: u64) -> Self {
        Self(ms)
    }

    /// A length of `seconds`.
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds * 1_000)
    }

    /// A length of `minutes`.
    pub const fn minutes(minutes: u64) -> Self {
        Self::seconds(minutes * 60)
    }

    /// The milliseconds.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// The milliseconds as timestamps count them.
    pub fn as_time(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// For sleeps and timeouts.
    pub const fn as_std(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Reads Prometheus' spelling.
    ///
    /// # Errors
    /// `Invalid` in Prometheus' words.
    pub fn parse(text: &str) -> Result<Self> {
        let ms = parse_duration(text)?;
        u64::try_from(ms).map(Self).map_err(|_| Error::invalid("a duration is negative").with("value", text))
    }
}

/// Prometheus' spelling.
impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format_duration(self.as_time()))
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_str(Text("a duration such as 15s or 1h30m", Self::parse))
    }
}

/// A number of bytes, written `512MB`; the units are powers of 1024, as in Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 1024 × 1024 bytes.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// The bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// Reads `0`, `512MB`, `1.5GiB`: a unit is required.
    ///
    /// # Errors
    /// `Invalid` for another spelling and from 16 EiB on.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!(
                "not a size: {text:?}; write a number and a unit of B, KB, MB, GB, TB, PB, EB"
            ))
        };
        if text == "0" {
            return Ok(Self(0));
        }
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let unit = match &text[digits..] {
            "B" => 0,
            "KB" | "KiB" => 10,
            "MB" | "MiB" => 20,
            "GB" | "GiB" => 30,
            "TB" | "TiB" => 40,
            "PB" | "PiB" => 50,
            "EB" | "EiB" => 60,
            _ => return Err(bad()),
        };
        let (whole, fraction) = text[..digits].split_once('.').unwrap_or((&text[..digits], ""));
        if whole.is_empty() || whole.len() > 19 || fraction.len() > 9 {
            return Err(bad());
        }
        // At most 28 digits and 60 bits of unit: 154 bits would not fit, so the product is checked.
        let number: u128 = [whole, fraction].concat().parse().map_err(|_| bad())?;
        let divisor = fraction.bytes().fold(1_u128, |divisor, _| divisor * 10);
        let bytes = number.checked_mul(1 << unit).ok_or_else(bad)? / divisor;
        u64::try_from(bytes).map(Self).map_err(|_| bad())
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_str(Text("a size such as 512MB", Self::parse))
    }
}

/// Reads a setting out of the text that stands for it.
struct Text<T>(&'static str, fn(&str) -> Result<T>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<T, E> {
        (self.1)(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_and_need_a_unit() -> Result<()> {
        let cases =
            [("0", 0), ("10B", 10), ("1KB", 1024), ("1KiB", 1024), ("1.5GB", 3 << 29), ("2EB", 2 << 60)];
        for (text, bytes) in cases {
            assert_eq!(ByteSize::parse(text)?.as_bytes(), bytes, "{text}");
        }
        for bad in ["", "10", "MB", ".5MB", "1.MBx", "1mb", "-1B", "16EB", "99999999999999999999B", "1..5KB"]
        {
            assert!(ByteSize::parse(bad).is_err(), "{bad}");
        }
        Ok(())
    }

    #[test]
    fn durations_read_and_print_as_prometheus_does() -> Result<()> {
        assert_eq!(Millis::parse("1m30s")?, Millis::seconds(90));
        assert_eq!(Millis::minutes(60).to_string(), "1h");
        assert!(Millis::parse("15").is_err(), "a unit is required");
        Ok(())
    }
}
