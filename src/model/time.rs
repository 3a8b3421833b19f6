//! Times are `i64` milliseconds since 1970-01-01 UTC and may be negative. The casts between them and floats
//! live here and nowhere else.

use crate::error::{Error, Result};

/// Milliseconds of a UTC day.
pub const DAY_MS: i64 = 86_400_000;
/// The oldest accepted timestamp: 1900-01-01.
pub const OLDEST_MS: i64 = -2_208_988_800_000;
/// How far ahead of the clock a timestamp may lie.
pub const FUTURE_MS: i64 = DAY_MS;
/// What PromQL takes as the smallest and largest time, as Prometheus does (±292 million years in ms).
pub const MIN_TIME_MS: i64 = i64::MIN / 1_000 + 62_135_596_801 * 1_000;
/// See [`MIN_TIME_MS`].
pub const MAX_TIME_MS: i64 = i64::MAX / 1_000 - 62_135_596_801 * 1_000;

/// The UTC day of a time: days since 1970-01-01, floor division. Times that no day of 32 bits holds (a sender
/// may write any `i64`) fall on the first or last one.
pub fn day_of(ms: i64) -> i32 {
    let end = if ms < 0 { i32::MIN } else { i32::MAX };
    i32::try_from(ms.div_euclid(DAY_MS)).unwrap_or(end)
}

/// The first millisecond of a day.
pub fn day_start(day: i32) -> i64 {
    i64::from(day) * DAY_MS
}

/// The millisecond of a time in nanoseconds, rounded down.
pub fn ns_to_ms(ns: i64) -> i64 {
    ns.div_euclid(1_000_000)
}

/// Seconds as PromQL's numbers.
#[expect(clippy::cast_precision_loss, reason = "times of interest are far below 2^53 ms")]
pub fn ms_to_seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Milliseconds as a float, for slopes and interpolation.
#[expect(clippy::cast_precision_loss, reason = "times of interest are far below 2^53 ms")]
pub fn ms_to_f64(ms: i64) -> f64 {
    ms as f64
}

/// Seconds to milliseconds, rounded half away from zero, saturating; NaN is 0.
#[expect(clippy::cast_possible_truncation, reason = "float to int casts saturate, which is what is wanted")]
pub fn seconds_to_ms(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

/// A count as PromQL's number.
#[expect(clippy::cast_precision_loss, reason = "counts of interest are far below 2^53")]
pub fn count_to_f64(count: usize) -> f64 {
    count as f64
}

/// A Prometheus duration, `1h30m`, in ms: `0` or units `y w d h m s ms` in that order, each at most once.
///
/// # Errors
/// `Invalid` in Prometheus' words.
pub fn parse_duration(text: &str) -> Result<i64> {
    let bad = || Error::invalid(format!("not a valid duration string: {text:?}"));
    if text == "0" {
        return Ok(0);
    }
    if text.is_empty() {
        return Err(Error::invalid("empty duration string"));
    }
    let units: [(&str, i64); 7] = [
        ("y", 365 * DAY_MS),
        ("w", 7 * DAY_MS),
        ("d", DAY_MS),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let mut rest = text;
    let mut next_unit = 0;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: i64 = rest[..digits].parse().map_err(|_| bad())?;
        // As in Prometheus, everything up to the next digit is the unit.
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let unit = &rest[digits..digits + letters];
        let is_unit = |(name, _): &(&str, i64)| *name == unit;
        if !unit.is_empty() && !units.iter().any(is_unit) {
            return Err(Error::invalid(format!("unknown unit {unit:?} in duration {text:?}")));
        }
        let position = units[next_unit..].iter().position(is_unit).ok_or_else(bad)?;
        let out_of_range = || Error::invalid("duration out of range");
        let part = number.checked_mul(units[next_unit + position].1).ok_or_else(out_of_range)?;
        total = total.checked_add(part).filter(|ms| *ms <= i64::MAX / 1_000_000).ok_or_else(out_of_range)?;
        next_unit += position + 1;
        rest = &rest[digits + letters..];
    }
    Ok(total)
}

/// A duration as Prometheus writes it: `1h30m`, `0s`.
pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let sign = if ms < 0 { "-" } else { "" };
    let mut rest = ms.unsigned_abs();
    let mut out = sign.to_owned();
    // Years, weeks and days only where they come out even, as Prometheus prints them.
    let units: [(&str, u64, bool); 7] = [
        ("y", 31_536_000_000, true),
        ("w", 604_800_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1_000, false),
        ("ms", 1, false),
    ];
    for (unit, size, exact) in units {
        if exact && !rest.is_multiple_of(size) {
            continue;
        }
        if rest >= size {
            out.extend([&(rest / size).to_string(), unit]);
            rest %= size;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print() -> Result<()> {
        for (text, ms) in
            [("0", 0), ("1h30m", 5_400_000), ("15s", 15_000), ("1d", DAY_MS), ("5m10ms", 300_010)]
        {
            assert_eq!(parse_duration(text)?, ms);
        }
        for bad in ["", "1", "1m1h", "1x", "-1s", "1.5s", "99999999999y", "s", "1s1s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for (bad, text) in [
            ("45ss", r#"unknown unit "ss" in duration "45ss""#),
            ("1m5-s", r#"unknown unit "-s" in duration "1m5-s""#),
            ("1s1m", r#"not a valid duration string: "1s1m""#),
            ("5", r#"not a valid duration string: "5""#),
            ("m5", r#"not a valid duration string: "m5""#),
        ] {
            assert_eq!(parse_duration(bad).expect_err(bad).message(), text);
        }
        for (ms, text) in [(0, "0s"), (90_000, "1m30s"), (DAY_MS, "1d"), (7 * DAY_MS, "1w"), (-5_000, "-5s")]
        {
            assert_eq!(format_duration(ms), text);
        }
        Ok(())
    }

    #[test]
    fn days_before_1970_are_negative() {
        assert_eq!((day_of(-1), day_of(0), day_of(DAY_MS - 1)), (-1, 0, 0));
        assert_eq!(day_start(day_of(-1)), -DAY_MS);
        assert_eq!((day_of(i64::MIN), day_of(i64::MAX)), (i32::MIN, i32::MAX));
    }
}
