//! PostgreSQL's dates and times as Arrow's.
//!
//! Owns: the shift from 2000-01-01 to 1970-01-01, and which days and instants can be formatted. Must not know: columns.
//!
//! Source: `date.c` and `timestamp.c` of PostgreSQL; `chrono`'s range, in which Arrow formats and computes.

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const EPOCH_DAYS: i32 = 10_957;
const DAY_MICROS: i64 = 86_400_000_000;
/// chrono's first and last day: -262143-01-01 and 262142-12-31.
const DAYS_MIN: i32 = -96_465_292;
const DAYS_MAX: i32 = 95_026_236;
const MICROS_MIN: i64 = DAYS_MIN as i64 * DAY_MICROS;
const MICROS_MAX: i64 = (DAYS_MAX as i64 + 1) * DAY_MICROS - 1;

/// A value that Arrow cannot hold: its nearest neighbour, and how PostgreSQL writes it, of a timestamp the day.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Beyond<T> {
    pub(super) nearest: T,
    pub(super) text: String,
}

/// Days since 2000 to days since 1970.
#[inline]
pub(super) fn date(days: i32) -> Result<i32, Beyond<i32>> {
    match days.checked_add(EPOCH_DAYS) {
        Some(days @ DAYS_MIN..=DAYS_MAX) => Ok(days),
        _ => Err(date_beyond(days)),
    }
}

#[cold]
fn date_beyond(days: i32) -> Beyond<i32> {
    match days {
        i32::MAX => Beyond { nearest: DAYS_MAX, text: "infinity".to_owned() },
        i32::MIN => Beyond { nearest: DAYS_MIN, text: "-infinity".to_owned() },
        days => Beyond { nearest: if days < 0 { DAYS_MIN } else { DAYS_MAX }, text: day_text(i64::from(days)) },
    }
}

/// Microseconds since 2000 to microseconds since 1970.
#[inline]
pub(super) fn timestamp(micros: i64) -> Result<i64, Beyond<i64>> {
    match micros.checked_add(EPOCH_DAYS as i64 * DAY_MICROS) {
        Some(micros @ MICROS_MIN..=MICROS_MAX) => Ok(micros),
        _ => Err(timestamp_beyond(micros)),
    }
}

#[cold]
fn timestamp_beyond(micros: i64) -> Beyond<i64> {
    match micros {
        i64::MAX => Beyond { nearest: MICROS_MAX, text: "infinity".to_owned() },
        i64::MIN => Beyond { nearest: MICROS_MIN, text: "-infinity".to_owned() },
        micros => Beyond {
            nearest: if micros < 0 { MICROS_MIN } else { MICROS_MAX },
            text: day_text(micros.div_euclid(DAY_MICROS)),
        },
    }
}

/// A day since 2000-01-01 as PostgreSQL writes it, also where chrono ends.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn day_text(days_since_2000: i64) -> String {
    let days = days_since_2000 + i64::from(EPOCH_DAYS) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    if year > 0 { format!("{year:04}-{month:02}-{day:02}") } else { format!("{:04}-{month:02}-{day:02} BC", 1 - year) }
}

/// Microseconds since midnight; only 24:00:00 is beyond. None when it is no time at all.
#[inline]
pub(super) fn time(micros: i64) -> Option<Result<i64, Beyond<i64>>> {
    match micros {
        0..DAY_MICROS => Some(Ok(micros)),
        DAY_MICROS => Some(Err(Beyond { nearest: DAY_MICROS - 1, text: "24:00:00".to_owned() })),
        _ => None,
    }
}

/// Months, days, microseconds.
pub(super) type Interval = (i32, i32, i64);

/// The parts of an interval, unless they mean infinity (PostgreSQL 17), whose nearest neighbour is itself.
#[inline]
pub(super) fn interval(parts: Interval) -> Result<Interval, Beyond<Interval>> {
    match parts {
        (i32::MAX, i32::MAX, i64::MAX) => Err(Beyond { nearest: parts, text: "infinity".to_owned() }),
        (i32::MIN, i32::MIN, i64::MIN) => Err(Beyond { nearest: parts, text: "-infinity".to_owned() }),
        finite => Ok(finite),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike as _, NaiveDate, NaiveDateTime};

    use super::*;

    #[test]
    fn the_limits_are_those_of_chrono() {
        let days = |date: NaiveDate| date.num_days_from_ce() - NaiveDate::default().num_days_from_ce();
        assert_eq!((days(NaiveDate::MIN), days(NaiveDate::MAX)), (DAYS_MIN, DAYS_MAX));
        assert_eq!(NaiveDateTime::MIN.and_utc().timestamp_micros(), MICROS_MIN);
        assert_eq!(NaiveDateTime::MAX.and_utc().timestamp_micros(), MICROS_MAX);
    }

    #[test]
    fn beyond_is_never_wrapped() {
        assert_eq!(date(0), Ok(EPOCH_DAYS));
        assert_eq!(date(-EPOCH_DAYS), Ok(0));
        assert_eq!(date(DAYS_MAX - EPOCH_DAYS), Ok(DAYS_MAX));
        // PostgreSQL's last day, 5874897-12-31.
        let last = date(2_145_031_948).unwrap_err();
        assert_eq!((last.nearest, last.text.as_str()), (DAYS_MAX, "5874897-12-31"));
        assert_eq!(date(i32::MIN).unwrap_err().text, "-infinity");
        assert_eq!((day_text(-1), day_text(59)), ("1999-12-31".to_owned(), "2000-02-29".to_owned()));
        assert_eq!(day_text(-2_451_507), "4713-01-01 BC");
        assert_eq!(timestamp(0), Ok(946_684_800_000_000));
        // PostgreSQL's first and last instants, 4713-11-24 BC and 294276-12-31.
        assert!(timestamp(-211_813_488_000_000_000).is_ok());
        assert_eq!(timestamp(9_223_371_331_199_999_999).unwrap_err().nearest, MICROS_MAX);
        for micros in [i64::MAX, i64::MAX - 1, i64::MIN, i64::MIN + 1] {
            assert!(timestamp(micros).is_err(), "{micros}");
        }
        assert_eq!(time(DAY_MICROS - 1), Some(Ok(DAY_MICROS - 1)));
        assert_eq!(time(DAY_MICROS).unwrap().unwrap_err().nearest, DAY_MICROS - 1);
        assert_eq!((time(-1), time(DAY_MICROS + 1)), (None, None));
    }
}
