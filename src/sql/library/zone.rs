//! Time zones as Postgres finds and applies them: abbreviations, names of the IANA database in any case, rules of POSIX
//! and plain offsets.

use chrono::{DateTime, Datelike, Days, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, Tz};

use super::{
    zone_abbreviations::{Abbreviation, abbreviation},
    zone_posix::PosixZone,
};
use crate::{
    error::{Error, Result},
    sql::function::{Interval, fault},
};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// Longer names are none.
const NAME_BYTES_MAX: usize = 255;
/// The last year whose changes the database lists one by one; a rule that holds then holds for ever.
const LISTED_YEAR_MAX: i32 = 2099;
/// After so many years all days fall on the same weekdays again.
const CYCLE_YEARS: i32 = 28;
/// How long MSK was not in use between, in steps of [`STEP_DAYS`].
const STEPS_MAX: i64 = 110;
const STEP_DAYS: i64 = 28;
/// Seconds from 1970 to 1920, when MSK had come into use.
const MSK_FIRST: i64 = -1_577_923_200;

/// A time zone.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::sql) enum Zone {
    /// Always so many seconds east of UTC.
    Fixed(i64),
    /// Of the IANA database.
    Named(Tz),
    /// With rules that its name spells out: `CET-1CEST,M3.5.0,M10.5.0/3`.
    Posix(PosixZone),
    /// MSK: the one among Postgres's abbreviations that the database knows to have stood for several offsets.
    Msk,
}

impl Zone {
    /// The zone of `x AT TIME ZONE 'name'`: an abbreviation first, then a name.
    pub(in crate::sql) fn parse(name: &str) -> Result<Self> {
        let abbreviated = abbreviation(&name.to_ascii_lowercase()).map(Self::from);
        abbreviated.or_else(|| Self::of_name(name)).ok_or_else(|| not_recognized(name))
    }

    /// The zone of this name, which is not an abbreviation: the database's in any case, or one of POSIX.
    pub(in crate::sql) fn of_name(name: &str) -> Option<Self> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.is_ascii() {
            return None;
        }
        let upper = name.to_ascii_uppercase();
        let listed = upper.strip_prefix(':').unwrap_or(&upper);
        let listed = listed.strip_prefix("POSIX/").unwrap_or(listed);
        match Tz::from_str_insensitive(listed) {
            Ok(zone) => Some(Self::Named(zone)),
            Err(_) => PosixZone::parse(&upper).map(Self::Posix),
        }
    }

    /// The zone of `x AT TIME ZONE interval '…'`.
    pub(in crate::sql) fn of_interval(interval: Interval, text: impl FnOnce() -> String) -> Result<Self> {
        if interval.months != 0 || interval.days != 0 {
            return Err(fault("22023", format!("interval time zone \"{}\" must not include months or days", text())));
        }
        Ok(Self::Fixed(interval.micros / MICROS_PER_SECOND))
    }

    /// Seconds east of UTC at a moment, which is in microseconds since 1970 in UTC.
    pub(in crate::sql) fn offset_at(&self, moment: i64) -> i64 {
        let seconds = moment.div_euclid(MICROS_PER_SECOND);
        match self {
            Self::Fixed(offset) => *offset,
            Self::Named(zone) => offset_in(*zone, seconds),
            Self::Posix(zone) => zone.offset_at(seconds),
            Self::Msk => msk_offset(seconds),
        }
    }

    /// Seconds east of UTC when clocks show `local`, in microseconds since 1970.
    ///
    /// A time that clocks skip counts with the offset before the jump, one that they show twice with that after it.
    pub(in crate::sql) fn offset_of_local(&self, local: i64) -> i64 {
        let seconds = local.div_euclid(MICROS_PER_SECOND);
        match self {
            Self::Fixed(offset) => *offset,
            Self::Named(zone) => resolve(seconds, |moment| offset_in(*zone, moment)),
            Self::Posix(zone) => resolve(seconds, |moment| zone.offset_at(moment)),
            Self::Msk => msk_offset(seconds - resolve(seconds, |moment| offset_in(Tz::Europe__Moscow, moment))),
        }
    }

    /// What clocks show at a moment; both in microseconds since 1970.
    pub(in crate::sql) fn local_of(&self, moment: i64) -> Result<i64> {
        moment.checked_add(self.offset_at(moment) * MICROS_PER_SECOND).ok_or_else(out_of_range)
    }

    /// The moment when clocks show `local`; both in microseconds since 1970.
    pub(in crate::sql) fn moment_of(&self, local: i64) -> Result<i64> {
        local.checked_sub(self.offset_of_local(local) * MICROS_PER_SECOND).ok_or_else(out_of_range)
    }

    /// The offset of a zone that never changes it.
    pub(in crate::sql) fn constant_offset(&self) -> Option<i64> {
        match self {
            Self::Fixed(offset) => Some(*offset),
            Self::Named(zone) => {
                let first = offset_in(*zone, i64::from(i32::MIN));
                // Half a year is a step that summer time cannot hide from.
                let mut rest = (0..800).map(|step| offset_in(*zone, -5_000_000_000 + step * 91 * SECONDS_PER_DAY));
                rest.all(|offset| offset == first).then_some(first)
            }
            Self::Posix(zone) => zone.constant_offset(),
            Self::Msk => None,
        }
    }
}

impl From<Tz> for Zone {
    fn from(zone: Tz) -> Self {
        Self::Named(zone)
    }
}

impl From<Abbreviation> for Zone {
    fn from(abbreviation: Abbreviation) -> Self {
        match abbreviation {
            Abbreviation::Standard(offset) | Abbreviation::Summer(offset) => Self::Fixed(offset),
            Abbreviation::Dynamic(Tz::Europe__Moscow) => Self::Msk,
            Abbreviation::Dynamic(zone) => Self::Named(zone),
        }
    }
}

/// The error of a name that is no zone.
pub(in crate::sql) fn not_recognized(name: &str) -> Error {
    fault("22023", format!("time zone \"{name}\" not recognized"))
}

/// Seconds east of UTC of a zone at a moment, which is in seconds since 1970.
fn offset_in(zone: Tz, moment: i64) -> i64 {
    at(zone, moment, |offset| i64::from(offset.fix().local_minus_utc()))
}

fn at<T>(zone: Tz, moment: i64, read: impl FnOnce(&<Tz as TimeZone>::Offset) -> T) -> T {
    read(&zone.offset_from_utc_datetime(&listed(zone, moment)))
}

/// The moment, or one that the database lists and at which the zone's rules give the same.
fn listed(zone: Tz, moment: i64) -> NaiveDateTime {
    // The last second of 2099.
    const LAST: i64 = 4_102_444_799;
    let Some(time) = DateTime::from_timestamp(moment.min(LAST), 0).map(|time| time.naive_utc()) else {
        return NaiveDateTime::MIN;
    };
    if moment <= LAST || !changes_for_ever(zone) {
        return time;
    }
    // Years repeat after 400 of them, so that any year has its like among those that chrono knows.
    let far = DateTime::from_timestamp((moment - LAST) % (146_097 * SECONDS_PER_DAY) + LAST, 0);
    let Some(time) = far.map(|time| time.naive_utc()) else { return time };
    let (first_day, is_leap) = (time.date().with_ordinal(1).map(|day| day.weekday()), time.date().leap_year());
    let like = (LISTED_YEAR_MAX - CYCLE_YEARS..LISTED_YEAR_MAX).find_map(|year| {
        let day = time.date().with_day(1)?.with_year(year)?;
        let is_like = day.with_ordinal(1).map(|day| day.weekday()) == first_day && day.leap_year() == is_leap;
        is_like.then(|| day.checked_add_days(Days::new(u64::from(time.day0())))).flatten()
    });
    like.map_or(time, |day| day.and_time(time.time()))
}

/// Whether the zone still changed its clocks in the last year that the database lists.
fn changes_for_ever(zone: Tz) -> bool {
    // The first days of January, April, July and October 2099.
    const QUARTERS: [i64; 4] = [4_070_908_800, 4_078_684_800, 4_086_547_200, 4_094_496_000];
    let offsets = QUARTERS.map(|moment| {
        let time = DateTime::from_timestamp(moment, 0).unwrap_or_default().naive_utc();
        zone.offset_from_utc_datetime(&time).fix().local_minus_utc()
    });
    offsets.iter().any(|offset| *offset != offsets[0])
}

/// The offset when clocks show `local`, in seconds since 1970, by what the offset is at a moment.
fn resolve(local: i64, offset_at: impl Fn(i64) -> i64) -> i64 {
    let (before, after) = (offset_at(local - SECONDS_PER_DAY), offset_at(local + SECONDS_PER_DAY));
    if before == after {
        return before;
    }
    let holds = |offset: i64| offset_at(local - offset) == offset;
    match (holds(before), holds(after)) {
        (false | true, false) => before,
        (true | false, true) => after,
    }
}

/// What MSK stood for at a moment or last before it, and at first for moments before it was used.
fn msk_offset(moment: i64) -> i64 {
    let used = |moment| {
        at(Tz::Europe__Moscow, moment, |offset| {
            (offset.abbreviation() == Some("MSK")).then(|| i64::from(offset.fix().local_minus_utc()))
        })
    };
    let steps = (0..STEPS_MAX).map(|step| moment - step * STEP_DAYS * SECONDS_PER_DAY);
    steps.chain([MSK_FIRST]).find_map(used).unwrap_or_default()
}

fn out_of_range() -> Error {
    fault("22008", "timestamp out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_and_applied() {
        let check = |name: &str, summer: Option<i64>, winter: Option<i64>| {
            let zone = Zone::parse(name);
            let offset_at = |moment: i64| zone.as_ref().ok().map(|zone| zone.offset_at(moment * MICROS_PER_SECOND));
            assert_eq!((offset_at(1_721_001_600), offset_at(16_752_000_000)), (summer, winter), "{name}");
        };
        // July 2024 and November 2500.
        check("europe/BERLIN", Some(7_200), Some(3_600));
        check("EST", Some(-18_000), Some(-18_000));
        check("MSK", Some(10_800), Some(10_800));
        check("posix/Asia/Kolkata", Some(19_800), Some(19_800));
        check("UTC+3", Some(-10_800), Some(-10_800));
        check("Europe/Atlantis", None, None);
        check("", None, None);
    }

    #[test]
    fn clocks_jump_and_are_put_back() {
        let zone = Zone::Named(Tz::Europe__Berlin);
        let check = |local: i64, offset| assert_eq!(zone.offset_of_local(local * MICROS_PER_SECOND), offset, "{local}");
        // 01:59:59, 02:30 and 03:00 on 31 March 2024.
        check(1_711_850_399, 3_600);
        check(1_711_852_200, 3_600);
        check(1_711_854_000, 7_200);
        // 01:59:59, 02:30 and 03:00 on 27 October 2024.
        check(1_729_994_399, 7_200);
        check(1_729_996_200, 3_600);
        check(1_729_998_000, 3_600);
    }
}
