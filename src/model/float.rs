//! Floats as Prometheus writes and marks them.

/// The bit pattern of Prometheus' stale marker: "this series ended here". Every other NaN is a sample.
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;
/// The bit pattern of the NaN that Prometheus makes itself.
pub const NORMAL_NAN: u64 = 0x7ff8_0000_0000_0001;

/// Whether a value is the stale marker.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN
}

/// Appends a value as Go's `strconv.FormatFloat(v, 'f', -1, 64)` writes it, with the exponent form that
/// Prometheus' JSON uses below 1e-6 and from 1e21: shortest digits that read back to the same bits.
pub fn push_go_float(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    push_plain(out, text, value.abs());
}

/// Rewrites shortest digits (`1.5e-7`, `123.0`, `1e30`) in Go's spelling.
fn push_plain(out: &mut Vec<u8>, text: &str, magnitude: f64) {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().expect("the formatter writes a decimal exponent");
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = if fraction == "0" { "" } else { fraction };
    out.extend_from_slice(sign.as_bytes());
    if magnitude != 0.0 && (magnitude < 1e-6 || magnitude >= 1e21) {
        return push_exponent(out, whole, fraction, exponent);
    }
    if exponent == 0 {
        out.extend_from_slice(whole.as_bytes());
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction.as_bytes());
        }
        return;
    }
    push_shifted(out, whole, fraction, exponent);
}

fn push_exponent(out: &mut Vec<u8>, whole: &str, fraction: &str, exponent: i32) {
    let digits = [whole.trim_start_matches('0'), fraction].concat();
    let zeros = digits.len() - digits.trim_start_matches('0').len();
    let digits = digits[zeros..].trim_end_matches('0');
    let shift = if whole.trim_start_matches('0').is_empty() {
        -1 - i32::try_from(zeros).expect("a float has few digits")
    } else {
        i32::try_from(whole.len()).expect("a float has few digits") - 1
    };
    let exponent = exponent + shift;
    out.extend_from_slice(&digits.as_bytes()[..1]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits.as_bytes()[1..]);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    out.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
}

fn push_shifted(out: &mut Vec<u8>, whole: &str, fraction: &str, exponent: i32) {
    let digits = [whole, fraction].concat();
    let point = i32::try_from(whole.len()).expect("a float has few digits") + exponent;
    let zeros = |n: i32| std::iter::repeat_n(b'0', usize::try_from(n).unwrap_or(0));
    let length = i32::try_from(digits.len()).expect("a float has few digits");
    if point <= 0 {
        out.extend_from_slice(b"0.");
        out.extend(zeros(-point));
        out.extend_from_slice(digits.as_bytes());
    } else if point >= length {
        out.extend_from_slice(digits.as_bytes());
        out.extend(zeros(point - length));
    } else {
        let (left, right) = digits.split_at(usize::try_from(point).expect("positive here"));
        out.extend_from_slice(left.as_bytes());
        out.push(b'.');
        out.extend_from_slice(right.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(value: f64) -> String {
        let mut out = Vec::new();
        push_go_float(&mut out, value);
        String::from_utf8(out).expect("ASCII")
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
}
