//! The text of dates, times and intervals, where `DateStyle` is `ISO` and `IntervalStyle` is `postgres`.

use std::fmt::Write as _;

use super::{calendar::Civil, zone::Zone};
use crate::sql::function::Interval;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const MONTHS_PER_YEAR: i32 = 12;

/// `2024-02-29`, or `0044-03-15 BC`.
pub(in crate::sql) fn date_text(days: i32) -> String {
    let mut text = String::with_capacity(10);
    let is_bc = push_date(&mut text, days.into());
    push_era(&mut text, is_bc);
    text
}

/// `12:34:56.789`
pub(in crate::sql) fn time_text(micros: i64) -> String {
    let mut text = String::with_capacity(15);
    push_time(&mut text, micros.div_euclid(MICROS_PER_SECOND), micros.rem_euclid(MICROS_PER_SECOND));
    text
}

/// `2024-02-29 12:34:56.789`
pub(in crate::sql) fn timestamp_text(micros: i64) -> String {
    moment_text(micros.div_euclid(MICROS_PER_SECOND), micros.rem_euclid(MICROS_PER_SECOND), None)
}

/// `2024-02-29 12:34:56.789+01`: as clocks show it in `zone`.
pub(in crate::sql) fn timestamptz_text(micros: i64, zone: &Zone) -> String {
    let offset = zone.offset_at(micros);
    moment_text(micros.div_euclid(MICROS_PER_SECOND) + offset, micros.rem_euclid(MICROS_PER_SECOND), Some(offset))
}

/// `1 year 2 mons -3 days +04:05:06.7`
pub(in crate::sql) fn interval_text(interval: Interval) -> String {
    let Interval { months, days, micros } = interval;
    let mut text = String::with_capacity(24);
    // A positive count behind a negative one has its sign.
    let mut is_behind_negative = false;
    let counts = [(months / MONTHS_PER_YEAR, "year"), (months % MONTHS_PER_YEAR, "mon"), (days, "day")];
    for (count, unit) in counts.into_iter().filter(|(count, _)| *count != 0) {
        let space = if text.is_empty() { "" } else { " " };
        let sign = if is_behind_negative && count > 0 { "+" } else { "" };
        let plural = if count == 1 { "" } else { "s" };
        // Writing to a text does not fail.
        let _ = write!(text, "{space}{sign}{count} {unit}{plural}");
        is_behind_negative = count < 0;
    }
    if text.is_empty() || micros != 0 {
        if !text.is_empty() {
            text.push(' ');
        }
        match micros < 0 {
            true => text.push('-'),
            false if is_behind_negative => text.push('+'),
            false => {}
        }
        let (seconds, micros) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
        push_time(&mut text, seconds.abs(), micros.abs());
    }
    text
}

/// By the seconds that clocks show, and the offset where it is to be written.
fn moment_text(seconds: i64, micros: i64, offset: Option<i64>) -> String {
    let mut text = String::with_capacity(32);
    let is_bc = push_date(&mut text, seconds.div_euclid(SECONDS_PER_DAY));
    text.push(' ');
    push_time(&mut text, seconds.rem_euclid(SECONDS_PER_DAY), micros);
    if let Some(offset) = offset {
        push_offset(&mut text, offset);
    }
    push_era(&mut text, is_bc);
    text
}

/// Whether it is BC.
fn push_date(text: &mut String, days: i64) -> bool {
    let Civil { year, month, day } = Civil::of_days(days);
    let is_bc = year <= 0;
    push_padded(text, if is_bc { 1 - year } else { year }, 4);
    text.push('-');
    push_padded(text, month, 2);
    text.push('-');
    push_padded(text, day, 2);
    is_bc
}

fn push_era(text: &mut String, is_bc: bool) {
    if is_bc {
        text.push_str(" BC");
    }
}

fn push_time(text: &mut String, seconds: i64, micros: i64) {
    push_padded(text, seconds / 3_600, 2);
    text.push(':');
    push_padded(text, seconds / 60 % 60, 2);
    text.push(':');
    push_padded(text, seconds % 60, 2);
    if micros != 0 {
        text.push('.');
        push_padded(text, micros, 6);
        text.truncate(text.trim_end_matches('0').len());
    }
}

/// `+01`, `-03:30`, `+00:53:28`
fn push_offset(text: &mut String, offset: i64) {
    text.push(if offset < 0 { '-' } else { '+' });
    let offset = offset.abs();
    push_padded(text, offset / 3_600, 2);
    if offset % 3_600 != 0 {
        text.push(':');
        push_padded(text, offset / 60 % 60, 2);
    }
    if offset % 60 != 0 {
        text.push(':');
        push_padded(text, offset % 60, 2);
    }
}

/// A number with zeros in front, up to `width`. Formatting machinery would take most of the time here.
fn push_padded(text: &mut String, number: i64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut rest = number.unsigned_abs();
    let mut first = digits.len();
    while rest > 0 || digits.len() - first < width {
        first -= 1;
        if let (Some(digit), Ok(value)) = (digits.get_mut(first), u8::try_from(rest % 10)) {
            *digit += value;
        }
        rest /= 10;
    }
    text.extend(digits.get(first..).unwrap_or_default().iter().map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    #[test]
    fn values_are_written() {
        assert_eq!(date_text(19_782), "2024-02-29");
        assert_eq!(date_text(-735_160), "0044-03-15 BC");
        assert_eq!(date_text(2_145_042_905), "5874897-12-31");
        assert_eq!(time_text(45_296_789_000), "12:34:56.789");
        assert_eq!(time_text(86_400_000_000), "24:00:00");
        assert_eq!(timestamp_text(-1), "1969-12-31 23:59:59.999999");
        let check = |zone: Tz, micros, expect| assert_eq!(timestamptz_text(micros, &zone.into()), expect);
        check(Tz::Asia__Kolkata, 0, "1970-01-01 05:30:00+05:30");
        check(Tz::Europe__Berlin, -3_000_000_000_000_000, "1874-12-07 19:33:28+00:53:28");
        check(Tz::America__New_York, 1_720_000_000_000_000, "2024-07-03 05:46:40-04");
        let check = |months, days, micros, expect| assert_eq!(interval_text(Interval { months, days, micros }), expect);
        check(14, -3, 4_500_000, "1 year 2 mons -3 days +00:00:04.5");
        check(-1, 1, 0, "-1 mons +1 day");
        check(0, 0, -100, "-00:00:00.0001");
        check(0, 0, 0, "00:00:00");
        check(0, 1, i64::MIN, "1 day -2562047788:00:54.775808");
    }
}
