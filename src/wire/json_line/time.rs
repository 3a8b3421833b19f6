//! Times as `VictoriaLogs` takes them: RFC 3339 with liberties, and Unix time in whatever unit fits its size.

use chrono::DateTime;

/// Below this a Unix time is in seconds, below a thousand times this in milliseconds, and so on.
const SECONDS_BOUND: u64 = 1 << 31;

/// ns since 1970. A time of day without a zone is in UTC. `None` when it is no time, or beyond the years 1677 to 2262.
pub(super) fn parse(text: &str) -> Option<i64> {
    if text.len() > 4 && text.as_bytes()[4] == b'-' { date(text) } else { unix(text) }
}

fn date(text: &str) -> Option<i64> {
    let mut full = text.replacen(' ', "T", 1);
    match full.len() {
        10 => full.push_str("T00:00:00Z"),
        length if length > 10 => {
            let clock = &full.as_bytes()[10..];
            if !clock.iter().any(|byte| matches!(byte, b'Z' | b'z' | b'+' | b'-')) {
                full.push('Z');
            }
        }
        _ => return None,
    }
    DateTime::parse_from_rfc3339(&full).ok()?.timestamp_nanos_opt()
}

/// Whole digits decide about the unit; a fraction is of that unit.
fn unix(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || digits.ends_with('.') {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let mut scale: u32 = 9;
    let mut bound = SECONDS_BOUND;
    while scale > 0 && whole >= bound {
        scale -= 3;
        bound = bound.saturating_mul(1_000);
    }
    let ns = i64::try_from(whole).ok()?.checked_mul(10_i64.pow(scale))?;
    // Digits beyond a nanosecond are cut off.
    let width = usize::try_from(scale).ok()?;
    let part: i64 = match fraction.get(..width.min(fraction.len())) {
        None | Some("") => 0,
        Some(part) => part.parse::<i64>().ok()? * 10_i64.pow(scale - u32::try_from(part.len()).ok()?),
    };
    let ns = ns.checked_add(part)?;
    Some(if negative { -ns } else { ns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_in_many_forms() {
        let at = 1_686_026_893_000_000_000;
        for (text, ns) in [
            ("2023-06-06T04:48:13Z", at),
            ("2023-06-06 04:48:13.5Z", at + 500_000_000),
            ("2023-06-06T06:48:13.123456789+02:00", at + 123_456_789),
            ("2023-06-06 04:48:13", at),
            ("2023-06-06", at - 4 * 3_600_000_000_000 - 48 * 60_000_000_000 - 13_000_000_000),
            ("1686026893", at),
            ("1686026893.25", at + 250_000_000),
            ("1686026893735", at + 735_000_000),
            ("1686026893735.5", at + 735_500_000),
            ("1686026893735321", at + 735_321_000),
            ("1686026893735321098", at + 735_321_098),
            ("1686026893735321098.9", at + 735_321_098),
            ("-5", -5_000_000_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Some(ns), "{text}");
        }
        for text in
            ["", "x", "-", "1.", "1e9", "2023-06-06T", "2023-13-06", "99999999999999999999", "+5", "2023-"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
