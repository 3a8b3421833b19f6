//! Date functions: seconds since 1970 as a day of the proleptic Gregorian calendar, in UTC.
//!
//! Source of the calendar: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013), in 128 bits, because a
//! value may be any float. Seconds that 64 bits cannot hold become the smallest `i64` as on Go's amd64, and wrap around
//! as its `time.Unix` does: NaN has a year too.

use crate::query::plan::InstantFunction;

/// A date function of one value. `year` for what is no date function.
pub(crate) fn of(function: InstantFunction) -> fn(f64) -> f64 {
    match function {
        InstantFunction::DayOfMonth => |value| small(Date::of(value).day),
        InstantFunction::DayOfWeek => |value| small((days(value) + 4).rem_euclid(7)),
        InstantFunction::DayOfYear => |value| {
            let date = Date::of(value);
            small(days(value) - Date { month: 1, day: 1, ..date }.days() + 1)
        },
        InstantFunction::DaysInMonth => |value| {
            let date = Date { day: 1, ..Date::of(value) };
            let next = Date { year: date.year + date.month / 12, month: date.month % 12 + 1, ..date };
            small(next.days() - date.days())
        },
        InstantFunction::Hour => |value| small(seconds(value).rem_euclid(86_400) / 3_600),
        InstantFunction::Minute => |value| small(seconds(value).rem_euclid(3_600) / 60),
        InstantFunction::Month => |value| small(Date::of(value).month),
        _ => |value| small(Date::of(value).year),
    }
}

/// Between Go's zero of absolute time and 1970, seconds.
const TO_ABSOLUTE: i128 = 9_223_371_966_579_724_800 + 62_135_596_800;

/// The value as whole seconds since 1970, cut towards zero.
#[expect(clippy::cast_possible_truncation, reason = "what does not fit is taken out before")]
fn seconds(value: f64) -> i128 {
    let limit = 2_f64.powi(63);
    let seconds = if value >= -limit && value < limit { value as i64 } else { i64::MIN };
    // Absolute time is unsigned: what lies before its zero comes out at its end.
    (i128::from(seconds) + TO_ABSOLUTE).rem_euclid(1 << 64) - TO_ABSOLUTE
}

fn days(value: f64) -> i128 {
    seconds(value).div_euclid(86_400)
}

#[expect(clippy::cast_precision_loss, reason = "a year has 12 digits at most")]
fn small(value: i128) -> f64 {
    value as f64
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Date {
    year: i128,
    /// From 1.
    month: i128,
    /// From 1.
    day: i128,
}

impl Date {
    fn of(value: f64) -> Self {
        // Years that begin in March have their leap day at the end; 400 of them are an era.
        let days = days(value) + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        Self { year: year + era * 400 + i128::from(month <= 2), month, day }
    }

    /// Days since 1970-01-01.
    fn days(self) -> i128 {
        let year = self.year - i128::from(self.month <= 2);
        let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
        let from_march = (self.month + 9) % 12;
        let day_of_year = (153 * from_march + 2) / 5 + self.day - 1;
        era * 146_097 + 365 * year + year / 4 - year / 100 + day_of_year - 719_468
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let ask = |function, value| of(function)(value);
        let year_and_day =
            |value| (ask(InstantFunction::Year, value), ask(InstantFunction::DayOfYear, value));
        // 2000-02-29T23:59:59.9Z, 1900-03-01, 1969-12-31T23:59:59Z.
        assert_eq!(year_and_day(951_868_799.9), (2000.0, 60.0));
        assert_eq!(year_and_day(-2_203_891_200.0), (1900.0, 60.0));
        assert_eq!(year_and_day(-1.0), (1969.0, 365.0));
        assert_eq!(year_and_day(-0.9), (1970.0, 1.0), "cut towards zero");
        let length = |value| ask(InstantFunction::DaysInMonth, value);
        assert_eq!((length(951_868_799.0), length(978_220_800.0)), (29.0, 31.0), "February and December");
        assert_eq!((ask(InstantFunction::Hour, -1.0), ask(InstantFunction::Minute, -1.0)), (23.0, 59.0));
        assert_eq!((ask(InstantFunction::DayOfWeek, 0.0), ask(InstantFunction::DayOfWeek, -1.0)), (4.0, 3.0));
        assert_eq!(
            (ask(InstantFunction::Month, 0.0), ask(InstantFunction::DayOfMonth, 86_400.0)),
            (1.0, 2.0)
        );
    }

    #[test]
    fn every_day_of_five_centuries_comes_after_the_one_before() {
        let mut before = Date::of(-250.0 * 365.0 * 86_400.0);
        for day in -250 * 365 + 1..250 * 365 {
            let date = Date::of(f64::from(day) * 86_400.0);
            assert_eq!(date.days(), i128::from(day));
            let follows = date == Date { day: before.day + 1, ..before }
                || date.day == 1
                    && (date.month == before.month + 1 || date.month == 1 && date.year == before.year + 1);
            assert!(follows, "{before:?} {date:?}");
            before = date;
        }
    }

    #[test]
    fn any_float_has_a_year() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300] {
            let year = of(InstantFunction::Year);
            assert_eq!(year(value).to_bits(), year(f64::NAN).to_bits());
        }
    }
}
