//! Numbers and durations: where they end, and what they are worth.

use super::{Lexer, is_alphanumeric};
use crate::model::time;

const DECIMAL: &str = "0123456789";
const HEXADECIMAL: &str = "0123456789abcdefABCDEF";

impl Lexer<'_> {
    /// Reads as far as a number goes: `1_000`, `0x1F`, `1e3`, `.5`, `5.`. False where it is none or runs into a
    /// letter; what was read up to there stays read, as a duration may go on from it (or the error shows it).
    pub(super) fn scan_number(&mut self) -> bool {
        let from = self.pos;
        let mut digits = DECIMAL;
        if self.accept("0") && self.accept("xX") {
            self.accept("_");
            digits = HEXADECIMAL;
        }
        self.accept(".");
        self.accept(digits);
        let (mut dot, mut exponent) = (false, false);
        while let Some(c) = self.peek() {
            match c {
                '.' => {
                    self.next();
                    // Only decimal numbers have a fraction, and only one.
                    if dot || self.accept("_.") || digits == HEXADECIMAL {
                        return false;
                    }
                    dot = true;
                }
                'e' | 'E' => {
                    self.next();
                    if exponent {
                        return false;
                    }
                    exponent = true;
                    self.accept("+-");
                    if self.accept("._eE") || self.peek().is_none() {
                        return false;
                    }
                }
                '_' => {
                    self.next();
                    if self.accept("._eE") || self.peek().is_none() {
                        return false;
                    }
                }
                c if digits.contains(c) => self.skip_while(|c| digits.contains(c)),
                _ => break,
            }
        }
        self.pos > from && !self.peek().is_some_and(is_alphanumeric)
    }

    /// Reads the unit of a number that has just been read and further numbers with units: `m30s` of `1h30m`.
    /// Bad orders and units such as `hs` are found when the duration is parsed.
    pub(super) fn scan_rest_of_duration(&mut self) -> bool {
        if !self.accept("smhdwy") {
            return false;
        }
        self.accept("s");
        while self.accept(DECIMAL) {
            self.skip_while(|c| c.is_ascii_digit());
            if !self.accept("smhdw") {
                return false;
            }
            self.accept("s");
        }
        if self.peek().is_some_and(is_alphanumeric) {
            self.next(); // The error shows the offending character too.
            return false;
        }
        true
    }
}

/// The value of a number token: Go's integers in base 0 (`017` is 15) and else its floats.
///
/// # Errors
/// Go's text for what is no number or does not fit a float.
pub(in crate::query::promql) fn parse_number(text: &str) -> Result<f64, String> {
    let failure = |why: &str| Err(format!("strconv.ParseFloat: parsing {text:?}: {why}"));
    let Some(digits) = without_underscores(text) else { return failure("invalid syntax") };
    if let Some(hexadecimal) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return integer(hexadecimal, 16).map_or_else(|| failure("invalid syntax"), Ok);
    }
    if let Some(value) = digits.strip_prefix('0').and_then(|octal| integer(octal, 8)) {
        return Ok(value);
    }
    match digits.parse::<f64>() {
        Ok(value) if value.is_infinite() && !digits.eq_ignore_ascii_case("inf") => {
            failure("value out of range")
        }
        Ok(value) => Ok(value),
        Err(_) => failure("invalid syntax"),
    }
}

fn integer(digits: &str, radix: u32) -> Option<f64> {
    let value = i64::from_str_radix(digits, radix).ok()?;
    Some(time::ms_to_f64(value)) // Not a time: the named cast from 64 bits.
}

/// The text without underscores; `None` where one does not stand between digits or behind `0x`.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let is_digit = |at: Option<usize>| {
        let byte = at.and_then(|at| bytes.get(at));
        byte.is_some_and(|b| b.is_ascii_digit() || (hexadecimal && b.is_ascii_hexdigit()))
    };
    let good =
        |at: usize| (is_digit(at.checked_sub(1)) || (hexadecimal && at == 2)) && is_digit(at.checked_add(1));
    let all_good = bytes.iter().enumerate().all(|(at, byte)| *byte != b'_' || good(at));
    all_good.then(|| text.replace('_', ""))
}
