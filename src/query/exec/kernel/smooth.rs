//! `double_exponential_smoothing`: Holt's linear method.
//!
//! Source: C. C. Holt, "Forecasting Seasonals and Trends by Exponentially Weighted Moving Averages" (1957), with
//! Prometheus' starting values.

use crate::error::{Error, Kind, Result};

/// The smoothed value at the last sample, where there are two; of at least one sample.
///
/// # Errors
/// `Execution` in Prometheus' words when a factor is not between 0 and 1 (NaN passes there).
pub(super) fn smooth(values: &[f64], smoothing: f64, trend: f64) -> Result<Option<f64>> {
    check("smoothing", "sf", smoothing)?;
    check("trend", "tf", trend)?;
    let [first, second, ..] = values else { return Ok(None) };
    let (mut before, mut level) = (0.0, *first);
    let mut slope = second - first;
    for (at, value) in values.iter().enumerate().skip(1) {
        let observed = smoothing * value;
        if at > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let expected = (1.0 - smoothing) * (level + slope);
        (before, level) = (level, observed + expected);
    }
    Ok(Some(level))
}

fn check(what: &str, short: &str, factor: f64) -> Result<()> {
    if factor > 0.0 && factor < 1.0 || factor.is_nan() {
        return Ok(());
    }
    let got = match factor {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        factor => format!("{factor:.6}"),
    };
    let message = format!("invalid {what} factor. Expected: 0 < {short} < 1, got: {got}");
    Err(Error::new(Kind::Execution, message))
}
