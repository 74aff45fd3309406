//! Dates, times, time zones and intervals as Postgres prints them.
//!
//! Owns: ISO 8601 in Postgres's two spellings (its text output and its `to_json`), and the `postgres` interval style.
//! Must not know: columns, quotes, formats.
//!
//! The calendar is the proleptic Gregorian one, as in Postgres. Years before 1 are `BC`, years above 9999 are plain.

use arrow::datatypes::TimeUnit;
use chrono::{DateTime, Offset, TimeZone};

use super::number::{append_short, pair, write_i64, write_u64};
use crate::error::{Code, Error, Result};

const SECONDS_PER_DAY: i64 = 86_400;
const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// Which of Postgres's spellings to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    /// The text output: `2026-01-31 12:34:56+00`.
    Text,
    /// What `to_json` prints: `2026-01-31T12:34:56+00:00`.
    Json,
}

/// The zone in which the instants of a column are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Zone {
    /// Not instants but readings of some wall clock: `timestamp`.
    Local,
    /// Seconds east of UTC.
    Fixed(i32),
    Named(chrono_tz::Tz),
}

impl Zone {
    /// Reads the zone of an Arrow type: `UTC`, `+02:00`, `Europe/Berlin`.
    ///
    /// # Errors
    /// `invalid_value` when there is no such zone.
    pub(super) fn parse(name: &str) -> Result<Self> {
        if ["UTC", "Etc/UTC", "GMT", "Zulu", "Z"].iter().any(|utc| utc.eq_ignore_ascii_case(name)) {
            return Ok(Self::Fixed(0));
        }
        if let Some(seconds) = parse_offset(name) {
            return Ok(Self::Fixed(seconds));
        }
        let zone = chrono_tz::Tz::from_str_insensitive(name).map_err(|cause| {
            Error::new(Code::InvalidValue, format!("time zone \"{name}\" not recognized"))
                .with_hint("use an IANA name such as Europe/Berlin, or an offset such as +02:00")
                .with_sqlstate("22023")
                .with_cause(cause)
        })?;
        Ok(Self::Named(zone))
    }

    /// Seconds east of UTC at the instant; `None` for a wall clock.
    #[inline]
    fn offset_at(self, seconds: i64) -> Option<i32> {
        match self {
            Self::Local => None,
            Self::Fixed(offset) => Some(offset),
            Self::Named(zone) => Some(named_offset(zone, seconds)),
        }
    }
}

/// Reads `+02`, `-0330`, `+05:30`, `-00:44:30`.
fn parse_offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits: Vec<i32> = rest.bytes().filter(|byte| *byte != b':').map(digit).collect::<Option<_>>()?;
    let field = |at: usize| digits.get(at..at + 2).map_or(0, |pair| pair[0] * 10 + pair[1]);
    let (hours, minutes, seconds) = (field(0), field(2), field(4));
    let valid = matches!(digits.len(), 2 | 4 | 6) && hours < 24 && minutes < 60 && seconds < 60;
    valid.then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

fn digit(byte: u8) -> Option<i32> {
    byte.is_ascii_digit().then(|| i32::from(byte - b'0'))
}

fn named_offset(zone: chrono_tz::Tz, seconds: i64) -> i32 {
    let instant = DateTime::from_timestamp(tabulated_instant(seconds), 0).expect("the years 1 to 2100 are in range");
    zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc()
}

/// An instant at which zones have the same offset as at the given one, and which chrono-tz's tables cover.
///
/// The tables end with 2099, while Postgres goes on applying each zone's last rule. Rules go by weekdays and months, so
/// the year with the same calendar out of 28 known ones gives the same answer. Before the year 1 all zones are at mean
/// solar time.
fn tabulated_instant(seconds: i64) -> i64 {
    const YEAR_1: i64 = -62_135_596_800;
    const YEAR_2100: i64 = 4_102_444_800;
    if seconds < YEAR_2100 {
        return seconds.max(YEAR_1);
    }
    let (year, ..) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    let calendar = |year: i64| {
        let first = january_first(year);
        (first.rem_euclid(7), january_first(year + 1) - first)
    };
    let same = (2060..2088).find(|known| calendar(*known) == calendar(year)).expect("28 years show every calendar");
    seconds - (january_first(year) - january_first(same)) * SECONDS_PER_DAY
}

/// Days from 1970-01-01 to January 1st of a year.
fn january_first(year: i64) -> i64 {
    let before = year - 1;
    before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162
}

/// Year, month and day of a day counted from 1970-01-01. Year 0 is 1 BC.
///
/// The algorithm is Neri's and Schneider's ("Euclidean affine functions and their application to calendar algorithms",
/// 2022): years start in March, and divisions become multiplications of 32 bits.
#[inline]
fn civil_from_days(days: i64) -> (i64, u64, u64) {
    const DAYS_PER_ERA: i64 = 146_097;
    let since_year_0 = days + 719_468;
    // Eras of 400 years are alike; only days outside the first 700,000 years need to be brought near.
    let (era, day) = match u32::try_from(since_year_0) {
        Ok(day) if day < 1 << 28 => (0, day),
        // The cast is exact: the remainder is below the divisor.
        _ => (since_year_0.div_euclid(DAYS_PER_ERA), since_year_0.rem_euclid(DAYS_PER_ERA) as u32),
    };
    let quarters = 4 * day + 3;
    let (century, day_of_century) = (quarters / 146_097, quarters % 146_097 / 4);
    let product = 2_939_745 * u64::from(4 * day_of_century + 3);
    // The high half is the year of the century, the low half the part of the year that has gone.
    let (year_of_century, gone) = ((product >> 32) as u32, product as u32);
    let day_of_year = gone / 2_939_745 / 4;
    let month_and_day = 2141 * day_of_year + 197_913;
    let (month, day) = (month_and_day >> 16, (month_and_day & 0xffff) / 2141 + 1);
    let next_year = day_of_year >= 306;
    let year = i64::from(100 * century + year_of_century) + era * 400 + i64::from(next_year);
    (year, (if next_year { month - 12 } else { month }).into(), day.into())
}

/// Whole seconds, rounded down, and the nanoseconds after them.
#[inline]
fn split(ticks: i64, unit: TimeUnit) -> (i64, u32) {
    // Each cast is exact: the remainder is below the number of ticks in a second.
    match unit {
        TimeUnit::Second => (ticks, 0),
        TimeUnit::Millisecond => (ticks.div_euclid(1000), ticks.rem_euclid(1000) as u32 * 1_000_000),
        TimeUnit::Microsecond => (ticks.div_euclid(1_000_000), ticks.rem_euclid(1_000_000) as u32 * 1000),
        TimeUnit::Nanosecond => (ticks.div_euclid(1_000_000_000), ticks.rem_euclid(1_000_000_000) as u32),
    }
}

/// A day counted from 1970-01-01.
pub(super) fn write_date(days: i64, out: &mut Vec<u8>) {
    if write_day(days, out) {
        out.extend_from_slice(b" BC");
    }
}

/// A time of day counted from midnight. 24:00:00 is one, as in Postgres.
pub(super) fn write_time(ticks: i64, unit: TimeUnit, out: &mut Vec<u8>) {
    let (seconds, nanos) = split(ticks, unit);
    if seconds < 0 {
        out.push(b'-');
    }
    write_clock(seconds.unsigned_abs(), nanos, out);
}

/// An instant (or wall clock reading) counted from 1970-01-01 00:00.
pub(super) fn write_timestamp(ticks: i64, unit: TimeUnit, zone: Zone, style: Style, out: &mut Vec<u8>) {
    let (seconds, nanos) = split(ticks, unit);
    let offset = zone.offset_at(seconds);
    // The day is split off first, so that adding the offset cannot overflow.
    let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY) + i64::from(offset.unwrap_or(0));
    let days = seconds.div_euclid(SECONDS_PER_DAY) + second_of_day.div_euclid(SECONDS_PER_DAY);
    let before_christ = write_day(days, out);
    out.push(if style == Style::Json { b'T' } else { b' ' });
    write_clock(second_of_day.rem_euclid(SECONDS_PER_DAY).cast_unsigned(), nanos, out);
    if let Some(offset) = offset {
        write_offset(offset, style, out);
    }
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

/// Writes `YYYY-MM-DD` and returns whether `BC` has to follow at the end.
#[inline]
fn write_day(days: i64, out: &mut Vec<u8>) -> bool {
    let (year, month, day) = civil_from_days(days);
    let before_christ = year <= 0;
    let shown = if before_christ { 1 - year } else { year }.cast_unsigned();
    let mut short = [b'-'; 32];
    short[5..7].copy_from_slice(&pair(month));
    short[8..10].copy_from_slice(&pair(day));
    if shown <= 9999 {
        short[0..2].copy_from_slice(&pair(shown / 100));
        short[2..4].copy_from_slice(&pair(shown % 100));
        append_short(&short, 10, out);
    } else {
        write_u64(shown, out);
        out.extend_from_slice(&short[4..10]);
    }
    before_christ
}

/// `HH:MM:SS[.fraction]`; hours have as many digits as they need, and at least two.
#[inline]
fn write_clock(seconds: u64, nanos: u32, out: &mut Vec<u8>) {
    let hours = seconds / 3600;
    // Below an hour's seconds, 32 bits divide faster.
    let rest = (seconds % 3600) as u32;
    let mut text = *b"00:00:00";
    text[3..5].copy_from_slice(&pair((rest / 60).into()));
    text[6..8].copy_from_slice(&pair((rest % 60).into()));
    if hours < 100 {
        text[0..2].copy_from_slice(&pair(hours));
        out.extend_from_slice(&text);
    } else {
        write_u64(hours, out);
        out.extend_from_slice(&text[2..]);
    }
    if nanos != 0 {
        write_fraction(nanos, out);
    }
}

/// The point and up to nine digits, without zeros at the end.
fn write_fraction(nanos: u32, out: &mut Vec<u8>) {
    let mut short = [b'0'; 32];
    short[0] = b'.';
    let (high, low) = (u64::from(nanos / 1000), u64::from(nanos % 1000));
    short[1..3].copy_from_slice(&pair(high / 10_000));
    short[3..5].copy_from_slice(&pair(high / 100 % 100));
    short[5..7].copy_from_slice(&pair(high % 100));
    if low != 0 {
        short[7..9].copy_from_slice(&pair(low / 10));
        short[9] = b'0' + (low % 10) as u8;
    }
    let length = short[..10].iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1);
    append_short(&short, length, out);
}

/// `+HH[:MM[:SS]]`; in JSON the minutes are always there (`EncodeTimezone` in Postgres's `datetime.c`).
fn write_offset(offset: i32, style: Style, out: &mut Vec<u8>) {
    let magnitude = u64::from(offset.unsigned_abs());
    let (minutes, seconds) = (magnitude / 60 % 60, magnitude % 60);
    out.push(if offset < 0 { b'-' } else { b'+' });
    out.extend_from_slice(&pair(magnitude / 3600));
    if minutes != 0 || seconds != 0 || style == Style::Json {
        out.push(b':');
        out.extend_from_slice(&pair(minutes));
    }
    if seconds != 0 {
        out.push(b':');
        out.extend_from_slice(&pair(seconds));
    }
}

/// An interval in the style `postgres` (`EncodeInterval` in Postgres's `datetime.c`): `1 mon -2 days +03:04:05`.
pub(super) fn write_interval(months: i32, days: i32, ticks: i64, unit: TimeUnit, out: &mut Vec<u8>) {
    let mut empty = true;
    let mut after_negative = false;
    for (value, name) in [(months / 12, " year"), (months % 12, " mon"), (days, " day")] {
        if value == 0 {
            continue;
        }
        if !empty {
            out.push(b' ');
        }
        if after_negative && value > 0 {
            out.push(b'+');
        }
        write_i64(value.into(), out);
        out.extend_from_slice(name.as_bytes());
        if value != 1 {
            out.push(b's');
        }
        empty = false;
        after_negative = value < 0;
    }
    if empty || ticks != 0 {
        if !empty {
            out.push(b' ');
        }
        if ticks < 0 {
            out.push(b'-');
        } else if after_negative {
            out.push(b'+');
        }
        let (seconds, nanos) = split_magnitude(ticks.unsigned_abs(), unit);
        write_clock(seconds, nanos, out);
    }
}

/// Whole seconds, and the nanoseconds after them.
fn split_magnitude(ticks: u64, unit: TimeUnit) -> (u64, u32) {
    let per_second: u32 = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => NANOS_PER_SECOND,
    };
    // The cast is exact: the remainder is below the divisor.
    (ticks / u64::from(per_second), (ticks % u64::from(per_second)) as u32 * (NANOS_PER_SECOND / per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// The expected texts are those of PostgreSQL 15.
    #[test]
    fn intervals_are_printed_as_postgres_does() {
        let cases = [
            ((1, 2, 11_045_000_000), "1 mon 2 days 03:04:05"),
            ((0, 0, -1_000_000), "-00:00:01"),
            ((0, 0, 0), "00:00:00"),
            ((13, -1, 0), "1 year 1 mon -1 days"),
            ((-1, 1, 0), "-1 mons +1 day"),
            ((-1, 1, -1_000_000), "-1 mons +1 day -00:00:01"),
            ((-14, 0, 0), "-1 years -2 mons"),
            ((12, 0, 0), "1 year"),
            ((0, 1, -500_000), "1 day -00:00:00.5"),
            ((0, -1, 500_000), "-1 days +00:00:00.5"),
            ((0, 0, 360_000_000_001), "100:00:00.000001"),
            ((25, 0, 1_000_000), "2 years 1 mon 00:00:01"),
            ((-1, 0, 10_800_000_000), "-1 mons +03:00:00"),
        ];
        for ((months, days, micros), expect) in cases {
            assert_eq!(text(|out| write_interval(months, days, micros, TimeUnit::Microsecond, out)), expect);
        }
        for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
            assert!(
                text(|out| write_interval(i32::MIN, i32::MIN, i64::MIN, unit, out)).starts_with("-178956970 years")
            );
        }
    }

    /// The expected texts are those of PostgreSQL 15, in text and in JSON.
    #[test]
    fn instants_are_shown_in_their_zone() {
        let cases = [
            ("UTC", -63_517_824_000, "0044-03-15 00:00:00+00 BC", "0044-03-15T00:00:00+00:00 BC"),
            ("+05:30", 1_769_862_896, "2026-01-31 18:04:56+05:30", "2026-01-31T18:04:56+05:30"),
            ("-03", 1_769_862_896, "2026-01-31 09:34:56-03", "2026-01-31T09:34:56-03:00"),
            ("Europe/Berlin", -2_524_521_600, "1890-01-01 00:53:28+00:53:28", "1890-01-01T00:53:28+00:53:28"),
            ("Europe/Berlin", 1_769_862_896, "2026-01-31 13:34:56+01", "2026-01-31T13:34:56+01:00"),
            ("Europe/Berlin", 1_785_501_296, "2026-07-31 14:34:56+02", "2026-07-31T14:34:56+02:00"),
            ("europe/berlin", 5_695_963_200, "2150-07-01 14:00:00+02", "2150-07-01T14:00:00+02:00"),
            ("Europe/Berlin", 5_680_324_800, "2150-01-01 13:00:00+01", "2150-01-01T13:00:00+01:00"),
            ("Europe/Berlin", 4_141_328_399, "2101-03-27 01:59:59+01", "2101-03-27T01:59:59+01:00"),
            ("Europe/Berlin", 4_141_328_400, "2101-03-27 03:00:00+02", "2101-03-27T03:00:00+02:00"),
            ("Europe/Berlin", 253_418_025_600, "10000-07-01 02:00:00+02", "10000-07-01T02:00:00+02:00"),
            ("Europe/Berlin", 7_827_086_505_600, "250000-07-01 02:00:00+02", "250000-07-01T02:00:00+02:00"),
            ("America/New_York", -5_362_025_104, "1800-01-31 07:38:54-04:56:02", "1800-01-31T07:38:54-04:56:02"),
            ("America/New_York", 7_242_525_296, "2199-07-04 08:34:56-04", "2199-07-04T08:34:56-04:00"),
            ("America/New_York", -63_517_824_000, "0044-03-14 19:03:58-04:56:02 BC", "0044-03-14T19:03:58-04:56:02 BC"),
        ];
        for (zone, seconds, expect_text, expect_json) in cases {
            let zone = Zone::parse(zone).unwrap();
            let show = |style| text(|out| write_timestamp(seconds, TimeUnit::Second, zone, style, out));
            assert_eq!((show(Style::Text), show(Style::Json)), (expect_text.into(), expect_json.into()));
        }
        for wrong in ["", "Mars/Olympus", "+24:00", "+1", "+01:60", "02:00", "+0x"] {
            assert_eq!(Zone::parse(wrong).map_err(|error| error.code()), Err(Code::InvalidValue), "{wrong}");
        }
    }

    #[test]
    fn the_calendar_agrees_with_chrono() {
        for days in (-800_000..2_900_000_i64).step_by(37).chain([-719_163, -719_162, -1, 0, 1, 11_016, 11_017]) {
            let date = DateTime::from_timestamp(days * SECONDS_PER_DAY, 0).unwrap().date_naive();
            let (year, month, day) = civil_from_days(days);
            assert_eq!(chrono::NaiveDate::from_ymd_opt(year as i32, month as u32, day as u32), Some(date));
            assert_eq!(
                date - chrono::NaiveDate::from_ymd_opt(year as i32, 1, 1).unwrap(),
                chrono::Duration::days(days - january_first(year))
            );
        }
    }

    #[test]
    fn the_extremes_do_not_overflow() {
        for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
            for ticks in [i64::MIN, i64::MAX] {
                for zone in
                    [Zone::Local, Zone::Fixed(86_399), Zone::Fixed(-86_399), Zone::Named(chrono_tz::Asia::Tokyo)]
                {
                    assert!(text(|out| write_timestamp(ticks, unit, zone, Style::Json, out)).contains('T'));
                }
                assert!(text(|out| write_time(ticks, unit, out)).contains(':'));
            }
        }
        assert_eq!(text(|out| write_date(i64::from(i32::MAX), out)), "5881580-07-11");
        assert_eq!(text(|out| write_time(86_400, TimeUnit::Second, out)), "24:00:00");
    }
}
