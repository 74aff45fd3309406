//! What the date and time functions share: moments as the fields of a calendar and a clock, ISO weeks, the ranges that Postgres
//! allows, and the clock of a zone.
//!
//! Years are counted astronomically, as Postgres does inside: 0 is 1 BC. Infinite dates and timestamps are the ends of their integers.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, Tz};

use super::{
    calendar::{Civil, days_in_month},
    zone::Zone,
};
use crate::{
    error::{Error, Result},
    sql::function::fault,
};

pub(super) const SECOND_MICROS: i64 = 1_000_000;
pub(super) const MINUTE_MICROS: i64 = 60 * SECOND_MICROS;
pub(super) const HOUR_MICROS: i64 = 60 * MINUTE_MICROS;
pub(super) const DAY_MICROS: i64 = 24 * HOUR_MICROS;
/// The Julian day of 1970-01-01.
pub(super) const EPOCH_JULIAN: i64 = 2_440_588;
/// The first Julian day after the last date: 5874898-01-01.
const DATE_END_JULIAN: i64 = 2_147_483_494;
/// 4714-11-24 BC, Julian day 0.
const TIMESTAMP_MIN: i64 = -EPOCH_JULIAN * DAY_MICROS;
/// The end of 2099, after which the tables of the time zones list no changes.
const LISTED_UNTIL: i64 = 4_102_444_799 * SECOND_MICROS;

/// What a calendar and a clock on the wall show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) micros: i64,
}

impl Fields {
    /// Of microseconds since 1970-01-01 00:00 on that clock.
    pub(super) fn of(local: i64) -> Self {
        let Civil { year, month, day } = Civil::of_days(local.div_euclid(DAY_MICROS));
        let time = local.rem_euclid(DAY_MICROS);
        Self {
            year,
            month,
            day,
            hour: time / HOUR_MICROS,
            minute: time / MINUTE_MICROS % 60,
            second: time / SECOND_MICROS % 60,
            micros: time % SECOND_MICROS,
        }
    }

    /// Microseconds since 1970-01-01 00:00 on that clock, where such a timestamp may be.
    pub(super) fn local(&self) -> Result<i64> {
        if !is_julian(self.year, self.month) {
            return Err(timestamp_out_of_range());
        }
        let local = i128::from(self.julian() - EPOCH_JULIAN) * i128::from(DAY_MICROS) + i128::from(self.time());
        i64::try_from(local).ok().filter(|&local| local != i64::MAX).ok_or_else(timestamp_out_of_range)
    }

    pub(super) fn julian(&self) -> i64 {
        julian(self.year, self.month, self.day)
    }

    /// Microseconds since midnight.
    pub(super) fn time(&self) -> i64 {
        self.hour * HOUR_MICROS + self.minute * MINUTE_MICROS + self.second * SECOND_MICROS + self.micros
    }

    /// The same day and time of another month; its last day where it is shorter.
    pub(super) fn plus_months(&mut self, months: i64) {
        let month = self.year * 12 + self.month - 1 + months;
        (self.year, self.month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
        self.day = self.day.min(days_in_month(self.year, self.month));
    }
}

/// The Julian day. The month may be any from -11, the day any.
///
/// Source: `date2j` of Postgres; how it goes on before January shows in `to_char` of intervals.
pub(super) fn julian(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year + 4_800, month + 1) } else { (year + 4_799, month + 13) };
    let century = year / 100;
    year * 365 - 32_167 + year / 4 - century + century / 4 + 7_834 * month / 256 + day
}

/// Year, month and day of a Julian day.
pub(super) fn civil(julian: i64) -> (i64, i64, i64) {
    let Civil { year, month, day } = Civil::of_days(julian - EPOCH_JULIAN);
    (year, month, day)
}

/// From 0 for Sunday.
pub(super) fn day_of_week(julian: i64) -> i64 {
    (julian + 1).rem_euclid(7)
}

/// The Monday on which a week of an ISO year begins.
pub(super) fn iso_week_start(iso_year: i64, week: i64) -> i64 {
    let fourth = julian(iso_year, 1, 4);
    (week - 1) * 7 + fourth - day_of_week(fourth - 1)
}

/// ISO year and week of a day; the first week of a year is that of its first Thursday.
pub(super) fn iso_week(year: i64, month: i64, day: i64) -> (i64, i64) {
    let day = julian(year, month, day);
    let mut iso_year = if day < iso_week_start(year, 1) { year - 1 } else { year };
    let mut week = (day - iso_week_start(iso_year, 1)) / 7 + 1;
    if week >= 52 && day >= iso_week_start(year + 1, 1) {
        iso_year += 1;
        week = (day - iso_week_start(year + 1, 1)) / 7 + 1;
    }
    (iso_year, week)
}

/// Whether a month is near enough for Julian days, which begin in November of 4714 BC.
pub(super) fn is_julian(year: i64, month: i64) -> bool {
    (year, month) >= (-4713, 11) && (year, month) < (5_874_898, 6)
}

/// Days since 1970 of a Julian day, where it is in the range of dates.
pub(super) fn date_of(julian: i64) -> Option<i32> {
    (0..DATE_END_JULIAN).contains(&julian).then(|| i32::try_from(julian - EPOCH_JULIAN).ok()).flatten()
}

pub(super) fn is_finite_date(date: i32) -> bool {
    date != i32::MIN && date != i32::MAX
}

pub(super) fn is_finite(timestamp: i64) -> bool {
    timestamp != i64::MIN && timestamp != i64::MAX
}

/// The timestamp, where it is in range.
pub(super) fn in_range(timestamp: Option<i64>) -> Result<i64> {
    timestamp.filter(|micros| (TIMESTAMP_MIN..i64::MAX).contains(micros)).ok_or_else(timestamp_out_of_range)
}

pub(super) fn timestamp_out_of_range() -> Error {
    fault("22008", "timestamp out of range")
}

/// Midnight of a date; infinity stays what it is.
pub(super) fn midnight(date: i32) -> Result<i64> {
    match date {
        i32::MIN => Ok(i64::MIN),
        i32::MAX => Ok(i64::MAX),
        date => {
            let micros = i64::from(date).checked_mul(DAY_MICROS);
            micros.ok_or_else(|| fault("22008", "date out of range for timestamp"))
        }
    }
}

/// The instant at which the zone's clock shows this.
pub(super) fn instant_of(zone: &Zone, local: i64) -> Result<i64> {
    in_range(Some(zone.moment_of(local)?))
}

/// How the zone is called at an instant: `CET`, `-03`.
pub(super) fn abbreviation_at(zone: Tz, instant: i64) -> String {
    let seconds = Zone::Named(zone).offset_at(instant);
    // Where the tables end the name is that which had the same offset in their last year.
    let listed = (0..12).map(|month| LISTED_UNTIL - month * 30 * DAY_MICROS);
    let name = std::iter::once(instant.min(LISTED_UNTIL)).chain(listed).find_map(|instant| {
        let offset = zone.offset_from_utc_datetime(&DateTime::from_timestamp_micros(instant)?.naive_utc());
        (i64::from(offset.fix().local_minus_utc()) == seconds).then(|| offset.abbreviation().map(str::to_owned))
    });
    if let Some(name) = name.flatten() {
        return name;
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    match (seconds.abs() / 3_600, seconds.abs() / 60 % 60) {
        (hours, 0) => format!("{sign}{hours:02}"),
        (hours, minutes) => format!("{sign}{hours:02}{minutes:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_fields_are_each_others_inverse() {
        let check = |year, month, day, expect: i64| {
            assert_eq!(julian(year, month, day), expect);
            assert_eq!(civil(expect), (year, month, day));
        };
        check(1970, 1, 1, EPOCH_JULIAN);
        check(-4713, 11, 24, 0);
        check(0, 2, 29, 1_721_119);
        check(5_874_897, 12, 31, DATE_END_JULIAN - 1);
        let local = Fields { year: 1969, month: 12, day: 31, hour: 23, minute: 59, second: 59, micros: 1 };
        assert_eq!((Fields::of(-999_999), local.local().unwrap()), (local, -999_999));
    }

    #[test]
    fn iso_weeks() {
        let check = |(year, month, day), expect| assert_eq!(iso_week(year, month, day), expect, "{year}-{month}-{day}");
        check((2020, 12, 31), (2020, 53));
        check((2021, 1, 3), (2020, 53));
        check((2024, 12, 30), (2025, 1));
        check((2018, 1, 1), (2018, 1));
    }

    #[test]
    fn zones_are_called_as_then() {
        let check = |zone, day: i64, expect| assert_eq!(abbreviation_at(zone, day * DAY_MICROS), expect, "{day}");
        check(Tz::Europe__Berlin, 0, "CET");
        check(Tz::Europe__Berlin, 19_905, "CEST");
        check(Tz::Europe__Berlin, 60_095, "CEST");
        check(Tz::America__Sao_Paulo, 19_905, "-03");
        check(Tz::Asia__Kolkata, -60_000, "LMT");
        check(Tz::UTC, 19_905, "UTC");
    }
}
