//! Floats as Prometheus writes and marks them.

/// The bit pattern of Prometheus' stale marker: "this series ended here". Every other NaN is a sample.
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;
/// The bit pattern of the NaN that Prometheus makes itself.
pub const NORMAL_NAN: u64 = 0x7ff8_0000_0000_0001;

/// Whether a value is the stale marker.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN
}

/// Appends a value as Prometheus' JSON writes it: Go's `'f'` format with the shortest digits that read back to
/// the same bits, and the `'e'` format (`1e-07`, `1e+21`) below 1e-6 and from 1e21.
pub fn push_go_float(out: &mut Vec<u8>, value: f64) {
    let magnitude = value.abs();
    let scientific = magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude);
    push_formatted(out, value, Layout::scientific_if(scientific));
}

/// Appends a value as Go's `strconv.FormatFloat(v, 'f', -1, 64)`, which never has an exponent: what
/// `count_values` puts into labels. Up to 328 bytes.
pub fn push_go_float_fixed(out: &mut Vec<u8>, value: f64) {
    push_formatted(out, value, Layout::Fixed);
}

/// Appends a value as Go's `strconv.FormatFloat(v, 'g', -1, 64)`: what the text format has behind its names.
pub fn push_go_float_general(out: &mut Vec<u8>, value: f64) {
    let scientific = value != 0.0 && !(1e-4..1e6).contains(&value.abs());
    push_formatted(out, value, Layout::scientific_if(scientific));
}

/// Appends a value as OpenMetrics writes the bounds of buckets and quantiles: Go's `'g'` format, with `.0` where
/// it would look like an integer.
pub fn push_openmetrics_float(out: &mut Vec<u8>, value: f64) {
    if value == 0.0 {
        return out.extend_from_slice(b"0.0");
    }
    push_go_float_general(out, value);
    if exact_integer(value).is_some() && (1e-4..1e6).contains(&value.abs()) {
        out.extend_from_slice(b".0");
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Fixed,
    Scientific,
}

impl Layout {
    fn scientific_if(condition: bool) -> Self {
        if condition { Self::Scientific } else { Self::Fixed }
    }
}

fn push_formatted(out: &mut Vec<u8>, value: f64, layout: Layout) {
    if let Some(integer) = exact_integer(value).filter(|_| layout == Layout::Fixed) {
        if integer == 0 && value.is_sign_negative() {
            out.push(b'-');
        }
        return out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    }
    if !value.is_finite() {
        return out.extend_from_slice(named(value));
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    // The formatter has an exponent only far from 1.
    if layout == Layout::Fixed && !text.contains(&b'e') {
        return out.extend_from_slice(text.strip_suffix(b".0").unwrap_or(text));
    }
    push_digits(out, text, layout);
}

fn named(value: f64) -> &'static [u8] {
    match value {
        f64::INFINITY => b"+Inf",
        f64::NEG_INFINITY => b"-Inf",
        _ => b"NaN",
    }
}

/// Takes shortest digits (`1.5e-7`, `123.25`, `1e30`) apart and lays them out anew.
fn push_digits(out: &mut Vec<u8>, text: &[u8], layout: Layout) {
    let text = match text {
        [b'-', text @ ..] => {
            out.push(b'-');
            text
        }
        text => text,
    };
    // 17 significant digits, and a few zeros in front of or behind them.
    let mut digits = [0; 32];
    let (mut count, mut point, mut exponent) = (0, None, 0);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'.' => point = Some(count),
            b'e' => {
                let written = std::str::from_utf8(&text[at + 1..]).ok().and_then(|text| text.parse().ok());
                exponent = written.expect("the formatter writes a decimal exponent");
                break;
            }
            _ => {
                digits[count] = *byte;
                count += 1;
            }
        }
    }
    let leading = digits[..count].iter().take_while(|digit| **digit == b'0').count();
    let trailing = digits[leading..count].iter().rev().take_while(|digit| **digit == b'0').count();
    let point = small(point.unwrap_or(count)) - small(leading) + exponent;
    let digits = &digits[leading..count - trailing];
    match layout {
        Layout::Fixed => push_fixed(out, digits, point),
        Layout::Scientific => push_scientific(out, digits, point),
    }
}

/// Both take digits without zeros at the ends, and the decimal point after the first `point` of them.
fn push_scientific(out: &mut Vec<u8>, digits: &[u8], point: i32) {
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    let exponent = point - 1;
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    if exponent.abs() < 10 {
        out.push(b'0');
    }
    out.extend_from_slice(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
}

fn push_fixed(out: &mut Vec<u8>, digits: &[u8], point: i32) {
    let zeros = |n: i32| std::iter::repeat_n(b'0', usize::try_from(n).unwrap_or(0));
    let whole = usize::try_from(point).unwrap_or(0).min(digits.len());
    if whole == 0 {
        out.push(b'0');
    }
    out.extend_from_slice(&digits[..whole]);
    out.extend(zeros(point - small(digits.len())));
    if whole < digits.len() {
        out.push(b'.');
        out.extend(zeros(-point));
        out.extend_from_slice(&digits[whole..]);
    }
}

fn small(count: usize) -> i32 {
    i32::try_from(count).expect("a float has few digits")
}

/// The integer that a float is, below 2^53.
#[inline]
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the way back is compared")]
#[expect(clippy::float_cmp, reason = "only the very same value will do")]
fn exact_integer(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let integer = value as i64;
    (value.abs() < EXACT && integer as f64 == value).then_some(integer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(push: fn(&mut Vec<u8>, f64), value: f64) -> String {
        let mut out = Vec::new();
        push(&mut out, value);
        String::from_utf8(out).expect("ASCII")
    }

    fn go(value: f64) -> String {
        text(push_go_float, value)
    }

    #[test]
    fn floats_are_spelled_as_go_spells_them() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (1e20, "100000000000000000000"),
            (1.2345e20, "123450000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e-6, "0.000001"),
            (1.25e-6, "0.00000125"),
            (9e-7, "9e-07"),
            (1.5e-7, "1.5e-07"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (123_456_789.123, "123456789.123"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, text) in cases {
            assert_eq!(go(value), text);
        }
    }

    #[test]
    fn only_one_nan_is_stale() {
        assert!(is_stale(f64::from_bits(STALE_NAN)));
        assert!(!is_stale(f64::from_bits(NORMAL_NAN)) && !is_stale(f64::NAN) && !is_stale(1.0));
    }

    #[test]
    fn labels_have_no_exponent_and_bounds_look_like_floats() {
        assert_eq!(text(push_go_float_general, 0.0), "0");
        assert_eq!(text(push_go_float_general, 123_456_789.0), "1.23456789e+08");
        for (value, fixed, bound) in [
            (0.0, "0", "0.0"),
            (-0.0, "-0", "0.0"),
            (1.0, "1", "1.0"),
            (-250.0, "-250", "-250.0"),
            (999_999.0, "999999", "999999.0"),
            (1e6, "1000000", "1e+06"),
            (1_000_000.5, "1000000.5", "1.0000005e+06"),
            (0.0001, "0.0001", "0.0001"),
            (1e-5, "0.00001", "1e-05"),
            (1e21, "1000000000000000000000", "1e+21"),
            (9.99e-7, "0.000000999", "9.99e-07"),
            (9_007_199_254_740_992.0, "9007199254740992", "9.007199254740992e+15"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NAN, "NaN", "NaN"),
        ] {
            assert_eq!(text(push_go_float_fixed, value), fixed);
            assert_eq!(text(push_openmetrics_float, value), bound);
        }
    }

    /// The rules of Go's `strconv`, on the shortest digits that Rust's own formatter finds.
    fn naive(value: f64, scientific: bool) -> String {
        if !scientific {
            return format!("{value}");
        }
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').expect("it has one");
        let exponent: i32 = exponent.parse().expect("a number");
        format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    }

    /// Equal, or as short and the same number: of two shortest texts that are as near, Rust takes another than Go.
    fn alike(ours: &str, rust: &str) -> bool {
        let same =
            || ours.parse::<f64>().ok().map(f64::to_bits) == rust.parse::<f64>().ok().map(f64::to_bits);
        ours == rust || ours.len() == rust.len() && same()
    }

    proptest! {
        #[test]
        fn all_forms_follow_go_and_read_back(
            value in prop_oneof![
                any::<u64>().prop_map(f64::from_bits),
                any::<i64>().prop_map(|n| format!("{n}").parse().expect("a number")),
                (-1_000_000_i64..1_000_000, -30_i32..30)
                    .prop_map(|(n, e)| format!("{n}e{e}").parse().expect("a number")),
            ]
        ) {
            prop_assume!(value.is_finite() && value != 0.0);
            let magnitude = value.abs();
            let json = naive(value, !(1e-6..1e21).contains(&magnitude));
            prop_assert_eq!(go(value).parse::<f64>().map(f64::to_bits), Ok(value.to_bits()));
            prop_assert!(alike(&go(value), &json), "{} {json}", go(value));
            let (fixed, plain) = (text(push_go_float_fixed, value), naive(value, false));
            prop_assert!(alike(&fixed, &plain), "{fixed} {plain}");
            let bound = text(push_openmetrics_float, value);
            prop_assert_eq!(bound.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()));
            prop_assert!(bound.contains(['.', 'e']));
        }
    }
}
