//! What functions of one value compute. Values come as rows of `steps` cells, one after the other.
//!
//! Where Go's formulas lose digits they are followed: `log2` near 1, `acos` near 1.

use std::f64::consts::{LN_2, LN_10, PI};

use super::date;
use crate::model::time::ms_to_seconds;
use crate::query::plan::{Grid, InstantFunction, StepScalar, go_max, go_min};

/// The results, cell by cell. `arguments` are as many as the function has.
pub(crate) fn compute(
    function: InstantFunction,
    arguments: &[StepScalar],
    values: &[f64],
    grid: &Grid,
) -> Vec<f64> {
    let steps = grid.steps();
    let each = |f: fn(f64) -> f64| values.iter().map(|value| f(*value)).collect();
    let with = |f: &dyn Fn(f64, usize) -> f64| -> Vec<f64> {
        values.iter().enumerate().map(|(at, value)| f(*value, at % steps)).collect()
    };
    let argument = |at: usize, step: usize| arguments[at].at(step);
    match function {
        InstantFunction::EvaluationTime => {
            let times: Vec<f64> = grid.times().map(ms_to_seconds).collect();
            times.iter().copied().cycle().take(values.len()).collect()
        }
        InstantFunction::Round => with(&|value, step| round(value, argument(0, step))),
        InstantFunction::Clamp => {
            with(&|value, step| go_max(argument(0, step), go_min(argument(1, step), value)))
        }
        InstantFunction::ClampMax => {
            with(&|value, step| go_max(f64::NEG_INFINITY, go_min(argument(0, step), value)))
        }
        InstantFunction::ClampMin => {
            with(&|value, step| go_max(argument(0, step), go_min(f64::INFINITY, value)))
        }
        function if function.is_of_histograms() => vec![f64::NAN; values.len()],
        function => each(of_value(function)),
    }
}

/// Whether a step has results at all: `clamp` gives nothing where its bounds are the wrong way round.
pub(crate) fn has_results(function: InstantFunction, arguments: &[StepScalar], step: usize) -> bool {
    match (function, arguments) {
        (InstantFunction::Clamp, [low, high]) => {
            let (low, high) = (low.at(step), high.at(step));
            high >= low || low.is_nan() || high.is_nan()
        }
        (function, _) => !function.is_of_histograms(),
    }
}

/// The functions of the value alone.
fn of_value(function: InstantFunction) -> fn(f64) -> f64 {
    match function {
        InstantFunction::Abs => f64::abs,
        InstantFunction::Acos => |value| PI / 2.0 - asin(value),
        InstantFunction::Acosh => acosh,
        InstantFunction::Asin => asin,
        InstantFunction::Asinh => asinh,
        InstantFunction::Atan => f64::atan,
        InstantFunction::Atanh => atanh,
        InstantFunction::Ceil => f64::ceil,
        InstantFunction::Cos => f64::cos,
        InstantFunction::Cosh => cosh,
        InstantFunction::Deg => |value| value * 180.0 / PI,
        InstantFunction::Exp => f64::exp,
        InstantFunction::Floor => f64::floor,
        InstantFunction::Ln => f64::ln,
        InstantFunction::Log10 => |value| log2(value) * (LN_2 / LN_10),
        InstantFunction::Log2 => log2,
        InstantFunction::Negate => |value| -value,
        InstantFunction::Rad => |value| value * PI / 180.0,
        InstantFunction::Sgn => sgn,
        InstantFunction::Sin => f64::sin,
        InstantFunction::Sinh => sinh,
        InstantFunction::Sqrt => f64::sqrt,
        InstantFunction::Tan => f64::tan,
        InstantFunction::Tanh => f64::tanh,
        date => date::of(date),
    }
}

/// To the nearest multiple of a unit; ties go up.
fn round(value: f64, unit: f64) -> f64 {
    let inverse = 1.0 / unit;
    (value * inverse + 0.5).floor() / inverse
}

fn sgn(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value
    }
}

/// The binary logarithm, exact for powers of two.
#[expect(clippy::float_cmp, reason = "the mantissa of a power of two is exactly 1/2")]
fn log2(value: f64) -> f64 {
    if !(value > 0.0 && value < f64::INFINITY) {
        return value.ln();
    }
    let (mantissa, exponent) = split(value);
    if mantissa == 0.5 { exponent - 1.0 } else { mantissa.ln() * (1.0 / LN_2) + exponent }
}

/// A positive number as mantissa · 2^exponent, with the mantissa in 1/2..1.
fn split(value: f64) -> (f64, f64) {
    // A subnormal is made normal first.
    let (value, shift) = if value < f64::MIN_POSITIVE { (value * 2_f64.powi(54), 54) } else { (value, 0) };
    let bits = value.to_bits();
    let exponent = i32::try_from(bits >> 52).expect("the sign is 0, so these are 11 bits") - 1022 - shift;
    (f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52), f64::from(exponent))
}

fn asin(value: f64) -> f64 {
    if value == 0.0 || value.is_nan() {
        return value;
    }
    let magnitude = value.abs();
    // Beyond 1 the root is NaN.
    let root = (1.0 - magnitude * magnitude).sqrt();
    let angle =
        if magnitude > 0.7 { PI / 2.0 - (root / magnitude).atan() } else { (magnitude / root).atan() };
    angle.copysign(value)
}

/// 2^28: above it the 1 under the root is lost.
const LARGE: f64 = 268_435_456.0;

fn acosh(value: f64) -> f64 {
    if value < 1.0 || value.is_nan() {
        f64::NAN
    } else if value >= LARGE {
        value.ln() + LN_2
    } else if value > 2.0 {
        (2.0 * value - 1.0 / (value + (value * value - 1.0).sqrt())).ln()
    } else {
        let above = value - 1.0;
        (above + (2.0 * above + above * above).sqrt()).ln_1p()
    }
}

fn asinh(value: f64) -> f64 {
    let magnitude = value.abs();
    if magnitude > LARGE && magnitude.is_finite() {
        (magnitude.ln() + LN_2).copysign(value)
    } else {
        value.asinh()
    }
}

fn atanh(value: f64) -> f64 {
    let magnitude = value.abs();
    (0.5 * (2.0 * magnitude / (1.0 - magnitude)).ln_1p()).copysign(value)
}

/// From here on the smaller exponential does not count, and overflow comes where Go has it.
const FAR: f64 = 21.0;

fn sinh(value: f64) -> f64 {
    if value.abs() > FAR { (value.abs().exp() * 0.5).copysign(value) } else { value.sinh() }
}

fn cosh(value: f64) -> f64 {
    if value.abs() > FAR { value.abs().exp() * 0.5 } else { value.cosh() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(function: InstantFunction, arguments: &[f64], value: f64) -> f64 {
        let arguments: Vec<_> = arguments.iter().map(|argument| StepScalar::Constant(*argument)).collect();
        compute(function, &arguments, &[value], &Grid::instant(0))[0]
    }

    #[test]
    fn rounding_goes_up_and_bounds_may_be_no_numbers() {
        let round = |value, unit| one(InstantFunction::Round, &[unit], value);
        assert_eq!((round(2.5, 1.0), round(-2.5, 1.0), round(2.55, 0.1)), (3.0, -2.0, 2.6));
        assert!(round(f64::NAN, 1.0).is_nan() && round(1.0, 0.0).is_nan());
        let clamp = |low, high, value| one(InstantFunction::Clamp, &[low, high], value);
        assert_eq!((clamp(0.0, 1.0, 5.0), clamp(0.0, 1.0, -5.0), clamp(0.0, 1.0, 0.5)), (1.0, 0.0, 0.5));
        assert!(clamp(f64::NAN, 1.0, 0.0).is_nan() && clamp(0.0, 1.0, f64::NAN).is_nan());
        let results = |low, high| {
            let bounds = [StepScalar::Constant(low), StepScalar::Constant(high)];
            has_results(InstantFunction::Clamp, &bounds, 0)
        };
        assert!(results(1.0, 1.0) && results(f64::NAN, 1.0) && !results(2.0, 1.0));
    }

    #[test]
    fn logarithms_and_areas_are_as_exact_as_can_be() {
        assert_eq!((log2(8.0), log2(0.25), log2(5e-324)), (3.0, -2.0, -1074.0));
        assert!(
            log2(-1.0).is_nan() && log2(0.0) == f64::NEG_INFINITY && log2(f64::INFINITY) == f64::INFINITY
        );
        let close =
            |got: f64, wanted: f64| assert!((got - wanted).abs() <= 1e-14 * wanted.abs(), "{got} {wanted}");
        for value in [1e-9, 0.3, 0.8, 0.999, 1.5, 20.0, 1e300] {
            close(log2(value), value.log2());
            if value < 1.0 {
                close(asin(value), value.asin());
                close(-atanh(-value), value.atanh());
            }
        }
        close(asinh(0.5), 0.481_211_825_059_603_47);
        close(asinh(-1e300), -691.468_675_078_773_6);
        close(acosh(1.5), 0.962_423_650_119_206_9);
        close(acosh(1e300), 691.468_675_078_773_6);
        close(acosh(1.0 + 2_f64.powi(-40)), 2_f64.powi(-39).sqrt() * (1.0 - 2_f64.powi(-40) / 12.0));
        assert!(asin(1.1).is_nan() && acosh(0.9).is_nan() && asin(-0.0).is_sign_negative());
        assert_eq!((sinh(710.0), cosh(-710.0)), (f64::INFINITY, f64::INFINITY), "as Go has it");
        assert_eq!((sgn(-3.0), sgn(7.0)), (-1.0, 1.0));
        assert!(sgn(f64::NAN).is_nan() && sgn(-0.0).is_sign_negative());
    }
}
