//! Days and the dates that they are, in the proleptic Gregorian calendar, over the whole range that Postgres has.

/// Days of 400 years, after which the calendar repeats.
const CYCLE_DAYS: i64 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// A date. The year before 1 is 0, which is 1 BC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sql) struct Civil {
    pub(in crate::sql) year: i64,
    pub(in crate::sql) month: i64,
    pub(in crate::sql) day: i64,
}

impl Civil {
    /// The date that is so many days after 1970-01-01.
    pub(in crate::sql) const fn of_days(days: i64) -> Self {
        // Years begin in March here, so that a leap day is the last one; see Hinnant, "chrono-compatible low-level date
        // algorithms".
        let days = days + EPOCH_DAYS;
        let (cycle, day) = (days.div_euclid(CYCLE_DAYS), days.rem_euclid(CYCLE_DAYS));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        Self { year: year + cycle * 400 + later, month, day }
    }

    /// Days since 1970-01-01. The month must be one, the day may be any.
    pub(in crate::sql) const fn days(self) -> i64 {
        let year = if self.month > 2 { self.year } else { self.year - 1 };
        let month = (self.month + 9) % 12;
        let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
        let day = (153 * month + 2) / 5 + self.day - 1;
        cycle * CYCLE_DAYS + year * 365 + year / 4 - year / 100 + day - EPOCH_DAYS
    }
}

/// How many days the month has.
pub(in crate::sql) const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates_and_back() {
        let check = |days, (year, month, day)| {
            let civil = Civil { year, month, day };
            assert_eq!((Civil::of_days(days), civil.days()), (civil, days));
        };
        check(0, (1970, 1, 1));
        check(11_016, (2000, 2, 29));
        check(-719_162, (1, 1, 1));
        check(-2_440_588, (-4713, 11, 24));
        check(2_145_042_905, (5_874_897, 12, 31));
        for days in (-3_000_000..3_000_000).step_by(97) {
            assert_eq!(Civil::of_days(days).days(), days);
        }
    }
}
