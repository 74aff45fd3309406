//! Dates and times from text: everything that Postgres takes where `DateStyle` is `ISO, MDY`.

use super::{
    time_reading::{Reading, Sort},
    time_text::{Wrong, fields},
    zone::Zone,
};
use crate::{
    error::{Error, Result},
    sql::function::fault,
};

/// Timestamps before 4713 BC are out of Postgres's range; in microseconds since 1970.
pub(super) const MOMENT_MIN: i64 = -210_866_803_200_000_000;
/// Days since 1970 of Postgres's last date, in the year 5874897.
const DATE_MAX: i64 = 2_145_042_905;
/// Days since 1970 of its first one, in the year 4714 BC.
const DATE_MIN: i64 = -2_440_588;
const MICROS_PER_DAY: i128 = 86_400_000_000;
const MICROS_PER_SECOND: i64 = 1_000_000;
/// How long a text may be without what divides its fields.
const DATE_BYTES_MAX: usize = 128;
const TIMESTAMP_BYTES_MAX: usize = 152;

/// The `date` that a text is, in days since 1970.
pub(in crate::sql) fn parse_date(text: &str) -> Result<i32> {
    let wrong = |wrong: Wrong| wrong.error(text, "date");
    let reading = Reading::of_moment(&fields(text, DATE_BYTES_MAX).map_err(wrong)?).map_err(wrong)?;
    let days = match sort(&reading, text)? {
        Sort::Epoch => 0,
        _ => reading.date.days(),
    };
    let days = i32::try_from(days).ok().filter(|days| (DATE_MIN..=DATE_MAX).contains(&i64::from(*days)));
    days.ok_or_else(|| fault("22008", format!("date out of range: \"{text}\"")))
}

/// The `time` that a text is, in microseconds since midnight.
pub(in crate::sql) fn parse_time(text: &str) -> Result<i64> {
    let wrong = |wrong: Wrong| wrong.error(text, "time");
    let reading = Reading::of_time(&fields(text, DATE_BYTES_MAX).map_err(wrong)?).map_err(wrong)?;
    sort(&reading, text)?;
    Ok(reading.time())
}

/// The `timestamp` that a text is, in microseconds since 1970; a zone in it does not count.
pub(in crate::sql) fn parse_timestamp(text: &str) -> Result<i64> {
    let reading = read_timestamp(text, "timestamp")?;
    match sort(&reading, text)? {
        Sort::Epoch => Ok(0),
        _ => in_range(local(&reading), text),
    }
}

/// The `timestamptz` that a text is, in microseconds since 1970; without a zone in it, as clocks show in `session`.
pub(in crate::sql) fn parse_timestamptz(text: &str, session: &Zone) -> Result<i64> {
    let reading = read_timestamp(text, "timestamp with time zone")?;
    if sort(&reading, text)? == Sort::Epoch {
        return Ok(0);
    }
    let local = local(&reading);
    let whole = i64::try_from(local).map_err(|_| out_of_range(text))?;
    let offset = match (&reading.zone, reading.has_zone()) {
        (Some(zone), _) => zone.offset_of_local(whole),
        (None, true) => reading.offset,
        (None, false) => session.offset_of_local(whole),
    };
    in_range(local - i128::from(offset * MICROS_PER_SECOND), text)
}

fn read_timestamp(text: &str, kind: &str) -> Result<Reading> {
    let wrong = |wrong: Wrong| wrong.error(text, kind);
    Reading::of_moment(&fields(text, TIMESTAMP_BYTES_MAX).map_err(wrong)?).map_err(wrong)
}

/// What sort of value was read, if it is one that the engine has.
fn sort(reading: &Reading, text: &str) -> Result<Sort> {
    if reading.sort == Sort::Infinity {
        return Err(fault("0A000", format!("infinite dates and times are not supported: \"{text}\"")));
    }
    if reading.needs_clock {
        let message = format!("dates and times that depend on the clock are not supported as text: \"{text}\"");
        return Err(fault("0A000", message).with_hint("Use now() or CURRENT_DATE."));
    }
    Ok(reading.sort)
}

/// What clocks show, in microseconds since 1970.
fn local(reading: &Reading) -> i128 {
    i128::from(reading.date.days()) * MICROS_PER_DAY + i128::from(reading.time())
}

fn in_range(micros: i128, text: &str) -> Result<i64> {
    let micros = i64::try_from(micros).ok().filter(|micros| *micros >= MOMENT_MIN);
    micros.ok_or_else(|| out_of_range(text))
}

fn out_of_range(text: &str) -> Error {
    fault("22008", format!("timestamp out of range: \"{text}\""))
}

impl Reading {
    /// Microseconds since midnight.
    fn time(&self) -> i64 {
        ((self.hour * 60 + self.minute) * 60 + self.second) * MICROS_PER_SECOND + self.micros
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::{super::calendar::Civil, *};

    #[test]
    fn texts_are_read() {
        let error = |error: Error| format!("{} {error}", error.sqlstate().unwrap_or_default());
        let date = |text: &str, year, month, day| {
            assert_eq!(parse_date(text).map(i64::from).map_err(error), Ok(Civil { year, month, day }.days()), "{text}");
        };
        date("January 8, 1999", 1999, 1, 8);
        date("1/8/1999", 1999, 1, 8);
        date("Jan-08-99", 1999, 1, 8);
        date("19990108", 1999, 1, 8);
        date("1999.008", 1999, 1, 8);
        date("J2451187", 1999, 1, 8);
        date("y1999m01d08", 1999, 1, 8);
        date("0044-03-15 BC", -43, 3, 15);

        let moment = |text: &str, expect: Result<i64, &str>| {
            let found = parse_timestamptz(text, &Zone::from(Tz::Europe__Berlin)).map_err(error);
            assert_eq!(found, expect.map_err(ToOwned::to_owned), "{text}");
        };
        moment("2024-01-01 10:00", Ok(1_704_099_600_000_000));
        moment("2024-01-01 10:00:00.5 pm -05", Ok(1_704_164_400_500_000));
        moment("2024-07-01T12:00:00Z", Ok(1_719_835_200_000_000));
        moment("2024-07-01 12:00 america/new_york", Ok(1_719_849_600_000_000));
        moment(
            "2024-07-01 12:00 X5Y,M3.2.0",
            Err("22007 invalid input syntax for type timestamp with time zone: \"2024-07-01 12:00 X5Y,M3.2.0\""),
        );
        moment("epoch", Ok(0));
        moment("13/13/2024", Err("22008 date/time field value out of range: \"13/13/2024\""));
        moment("2024-01-01 00:00+99", Err("22009 time zone displacement out of range: \"2024-01-01 00:00+99\""));
        moment("2024-01-01 a/b", Err("22023 time zone \"a/b\" not recognized"));
        moment("infinity", Err("0A000 infinite dates and times are not supported: \"infinity\""));

        assert_eq!(parse_time("04:05 PM").map_err(error), Ok(57_900_000_000));
        assert_eq!(parse_time("24:00:00").map_err(error), Ok(86_400_000_000));
        assert_eq!(parse_time("040506.789").map_err(error), Ok(14_706_789_000));
    }
}
