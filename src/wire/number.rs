//! Numbers of the text formats, read as Go's `strconv.ParseFloat` reads them for Prometheus.

use crate::model::NORMAL_NAN;
use crate::model::time::seconds_to_ms;

/// Powers of ten that a float holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
const MAX_EXACT: u64 = 1 << 53;

/// `[sign] digits [. digits] [e exponent]` as mantissa · 10^exponent, where the mantissa fits 19 digits.
struct Decimal {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// A sample's value. Any NaN becomes Prometheus' own, so that no target can write a stale marker.
///
/// `None` for what Prometheus refuses: hexadecimal floats, underscores, a signed NaN, numbers beyond the range.
pub(super) fn parse_float(text: &[u8]) -> Option<f64> {
    if let Some(decimal) = decimal(text)
        && let Some(value) = exact(&decimal)
    {
        return Some(value);
    }
    slow(text)
}

/// A timestamp in seconds, as ms since 1970, rounded; exact for up to three decimals.
pub(super) fn parse_seconds(text: &[u8]) -> Option<i64> {
    let Some(Decimal { negative, mantissa, exponent: exponent @ -3..=0 }) = decimal(text) else {
        return parse_float(text).filter(|seconds| seconds.is_finite()).map(seconds_to_ms);
    };
    let scale = 10_i64.pow((3 + exponent).unsigned_abs());
    let ms = i64::try_from(mantissa).ok()?.checked_mul(scale)?;
    Some(if negative { -ms } else { ms })
}

/// A timestamp in ms since 1970.
pub(super) fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |digits| (true, digits));
    let mut value: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    (!digits.is_empty()).then_some(if negative { -value } else { value })
}

fn decimal(text: &[u8]) -> Option<Decimal> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mut mantissa = 0;
    let whole = digits(text, &mut mantissa);
    let mut rest = &text[whole..];
    let mut fraction = 0;
    if let [b'.', after @ ..] = rest {
        fraction = digits(after, &mut mantissa);
        rest = &after[fraction..];
    }
    // 19 digits always fit 64 bits; leading zeros beyond that are left to the slow path.
    if whole + fraction == 0 || whole + fraction > 19 {
        return None;
    }
    let written = match rest {
        [] => 0,
        [b'e' | b'E', exponent @ ..] => small_exponent(exponent)?,
        _ => return None,
    };
    Some(Decimal { negative, mantissa, exponent: written - i32::try_from(fraction).ok()? })
}

/// Adds the digits at the start of `text` to a mantissa and counts them.
fn digits(text: &[u8], mantissa: &mut u64) -> usize {
    let mut count = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        count += 1;
    }
    count
}

fn small_exponent(text: &[u8]) -> Option<i32> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    let plain = (1..=3).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| sign * digits.iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0')))
}

/// Clinger's fast path: both factors are exact, so one rounding gives the nearest float.
fn exact(decimal: &Decimal) -> Option<f64> {
    if decimal.mantissa > MAX_EXACT {
        return None;
    }
    let power = POWERS.get(usize::try_from(decimal.exponent.unsigned_abs()).ok()?)?;
    let mantissa = small_to_f64(decimal.mantissa);
    let value = if decimal.exponent < 0 { mantissa / power } else { mantissa * power };
    Some(if decimal.negative { -value } else { value })
}

#[expect(clippy::cast_precision_loss, reason = "the caller has checked that the number is at most 2^53")]
fn small_to_f64(number: u64) -> f64 {
    number as f64
}

fn slow(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value: f64 = text.parse().ok()?;
    if value.is_nan() {
        return (unsigned.len() == text.len()).then_some(f64::from_bits(NORMAL_NAN));
    }
    // Beyond the range Rust says infinity and Go an error.
    let named = unsigned.starts_with(['i', 'I']);
    (value.is_finite() || named).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(text: &str) -> Option<u64> {
        parse_float(text.as_bytes()).map(f64::to_bits)
    }

    #[test]
    fn values_as_prometheus_takes_them() {
        for (text, value) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("1", 1.0),
            ("+1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E-07", 1e-7),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("123456789012345678901234567890", 1.234_567_890_123_456_8e29),
            ("1.7976931348623157e308", f64::MAX),
            ("5e-324", 5e-324),
            ("1e-400", 0.0),
            ("Inf", f64::INFINITY),
            ("+inf", f64::INFINITY),
            ("-INFINITY", f64::NEG_INFINITY),
        ] {
            assert_eq!(bits(text), Some(value.to_bits()), "{text}");
        }
        assert_eq!(bits("NaN"), Some(NORMAL_NAN));
        for refused in [
            "", "+", ".", "e5", "1e", "1e+", "0x1p3", "0x10", "1_000", "+NaN", "-nan", "1e400", "infin",
            "1 ", "१",
        ] {
            assert_eq!(bits(refused), None, "{refused}");
        }
    }

    #[test]
    fn seconds_become_milliseconds_without_a_float_between() {
        for (text, ms) in [
            ("1795233848.224", 1_795_233_848_224),
            ("1.5", 1_500),
            ("-1.001", -1_001),
            ("0", 0),
            ("1e3", 1_000_000),
            ("1.0005", 1_001),
            ("1.7e-3", 2),
            ("1520879607.789", 1_520_879_607_789),
        ] {
            assert_eq!(parse_seconds(text.as_bytes()), Some(ms), "{text}");
        }
        for refused in ["NaN", "Inf", "", "x", "99999999999999999"] {
            assert_eq!(parse_seconds(refused.as_bytes()), None, "{refused}");
        }
    }

    #[test]
    fn integers_are_checked() {
        assert_eq!(parse_integer(b"1435781451781"), Some(1_435_781_451_781));
        assert_eq!(parse_integer(b"-1"), Some(-1));
        for refused in ["", "-", "1.5", "+1", "9223372036854775808", "1e3"] {
            assert_eq!(parse_integer(refused.as_bytes()), None, "{refused}");
        }
    }

    proptest! {
        #[test]
        fn the_fast_path_is_exact(whole in 0..u64::MAX, scale in 0_usize..25, exponent in -330..330_i32, form in 0..4) {
            let digits = whole.to_string();
            let (left, right) = digits.split_at(digits.len().min(scale));
            let text = match form {
                0 => digits.clone(),
                1 => format!("{left}.{right}"),
                2 => format!("-{left}.{right}e{exponent}"),
                _ => format!("{digits}e{exponent}"),
            };
            let expected: Option<f64> = text.parse().ok().filter(|value: &f64| value.is_finite());
            prop_assert_eq!(bits(&text), expected.map(f64::to_bits), "{}", text);
        }

        #[test]
        fn what_is_printed_reads_back(raw: u64) {
            let value = f64::from_bits(raw);
            prop_assume!(value.is_finite());
            prop_assert_eq!(bits(&format!("{value}")), Some(raw));
            prop_assert_eq!(bits(&format!("{value:e}")), Some(raw));
        }
    }
}
