//! Time zones whose rules are in their name, as POSIX has them: `EST5EDT,M3.2.0,M11.1.0`, `<+0330>-3:30`, `-08`.
//!
//! The sign is that of POSIX: west is positive.

use chrono::{DateTime, Datelike, NaiveDate};

const SECONDS_PER_DAY: i64 = 86_400;
const SECONDS_PER_HOUR: i64 = 3_600;
/// Offsets and times of a change may count more hours than a day has, up to a week.
const HOURS_MAX: i64 = 167;
/// When it is summer where the name does not say it: as in the United States.
const USUAL_SPAN: &str = ",M3.2.0,M11.1.0";

/// A zone of POSIX; offsets are seconds east of UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sql) struct PosixZone {
    standard: i64,
    summer: Option<Summer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Summer {
    offset: i64,
    start: Change,
    end: Change,
}

/// When clocks change: a day of the year, and seconds after its midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    day: Day,
    time: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    /// From 1, without 29 February.
    Julian(u16),
    /// From 0, with it.
    Ordinal(u16),
    /// The `week`th of a weekday (Sunday is 0) in a month; the fifth is the last.
    Weekday { month: u32, week: u32, weekday: u32 },
}

impl PosixZone {
    /// The zone of this name, in upper case.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut rest = Cursor(name);
        rest.name()?;
        let standard = -rest.offset()?;
        if rest.0.is_empty() {
            return Some(Self { standard, summer: None });
        }
        if rest.name()?.is_empty() {
            return None;
        }
        let offset = match rest.0.chars().next() {
            None | Some(',' | ';') => standard + SECONDS_PER_HOUR,
            Some(_) => -rest.offset()?,
        };
        if rest.0.is_empty() {
            rest = Cursor(USUAL_SPAN);
        }
        rest.take(|symbol| symbol == ',' || symbol == ';')?;
        let start = rest.change()?;
        rest.take(|symbol| symbol == ',')?;
        let end = rest.change()?;
        rest.0.is_empty().then_some(Self { standard, summer: Some(Summer { offset, start, end }) })
    }

    /// Seconds east of UTC at a moment, in seconds since 1970.
    pub(super) fn offset_at(&self, moment: i64) -> i64 {
        match &self.summer {
            Some(summer) if summer.has(moment, self.standard) => summer.offset,
            _ => self.standard,
        }
    }

    /// The offset of a zone without summer time.
    pub(super) fn constant_offset(&self) -> Option<i64> {
        self.summer.is_none().then_some(self.standard)
    }
}

impl Summer {
    fn has(&self, moment: i64, standard: i64) -> bool {
        let Some(local) = DateTime::from_timestamp(moment + standard, 0) else { return false };
        let Some((start, end)) = self.start.at(local.year()).zip(self.end.at(local.year())) else { return false };
        let (start, end) = (start - standard, end - self.offset);
        if start < end { (start..end).contains(&moment) } else { !(end..start).contains(&moment) }
    }
}

impl Change {
    /// What clocks show then, in seconds since 1970.
    fn at(self, year: i32) -> Option<i64> {
        let first = NaiveDate::from_yo_opt(year, 1)?;
        let day = match self.day {
            Day::Ordinal(days) => days_of(first) + i64::from(days),
            Day::Julian(day) => days_of(first) + i64::from(day) - i64::from(!(first.leap_year() && day >= 60)),
            Day::Weekday { month, week, weekday } => {
                let first = NaiveDate::from_ymd_opt(year, month, 1)?;
                let to_weekday = (weekday + 7 - first.weekday().num_days_from_sunday()) % 7;
                let days = (0..week).rev().map(|weeks| to_weekday + 7 * weeks);
                let day = days.into_iter().find(|day| first.with_day(day + 1).is_some())?;
                days_of(first) + i64::from(day)
            }
        };
        Some(day * SECONDS_PER_DAY + self.time)
    }
}

fn days_of(date: NaiveDate) -> i64 {
    i64::from(date.to_epoch_days())
}

/// What is left of the name.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn take(&mut self, is_it: impl Fn(char) -> bool) -> Option<()> {
        self.0 = self.0.strip_prefix(is_it)?;
        Some(())
    }

    fn name(&mut self) -> Option<&'a str> {
        let (name, rest) = if let Some(quoted) = self.0.strip_prefix('<') {
            quoted.split_once('>')?
        } else {
            let ends = |symbol: char| symbol.is_ascii_digit() || matches!(symbol, ',' | '-' | '+');
            self.0.split_at(self.0.find(ends).unwrap_or(self.0.len()))
        };
        self.0 = rest;
        Some(name)
    }

    fn number(&mut self, least: i64, most: i64) -> Option<i64> {
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.0.split_at(digits);
        let number = number.parse().ok().filter(|number| (least..=most).contains(number))?;
        self.0 = rest;
        Some(number)
    }

    /// `[+-]hh[:mm[:ss]]` in seconds.
    fn offset(&mut self) -> Option<i64> {
        let is_negative = self.take(|symbol| symbol == '-').is_some();
        if !is_negative {
            self.take(|symbol| symbol == '+');
        }
        let mut seconds = self.number(0, HOURS_MAX)? * SECONDS_PER_HOUR;
        if self.take(|symbol| symbol == ':').is_some() {
            seconds += self.number(0, 59)? * 60;
            if self.take(|symbol| symbol == ':').is_some() {
                seconds += self.number(0, 60)?;
            }
        }
        Some(if is_negative { -seconds } else { seconds })
    }

    fn change(&mut self) -> Option<Change> {
        let day = if self.take(|symbol| symbol == 'J').is_some() {
            Day::Julian(u16::try_from(self.number(1, 365)?).ok()?)
        } else if self.take(|symbol| symbol == 'M').is_some() {
            let mut part = |least, most| u32::try_from(self.number(least, most)?).ok();
            let month = part(1, 12)?;
            self.take(|symbol| symbol == '.')?;
            let mut part = |least, most| u32::try_from(self.number(least, most)?).ok();
            let week = part(1, 5)?;
            self.take(|symbol| symbol == '.')?;
            Day::Weekday { month, week, weekday: u32::try_from(self.number(0, 6)?).ok()? }
        } else {
            Day::Ordinal(u16::try_from(self.number(0, 365)?).ok()?)
        };
        let has_time = self.take(|symbol| symbol == '/').is_some();
        let time = if has_time { self.offset()? } else { 2 * SECONDS_PER_HOUR };
        Some(Change { day, time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_rules_hold() {
        let check = |name: &str, offsets: Option<(i64, i64)>| {
            let zone = PosixZone::parse(name);
            // The middles of January and July 2024.
            let found = zone.map(|zone| (zone.offset_at(1_705_276_800), zone.offset_at(1_721_001_600)));
            assert_eq!(found, offsets, "{name}");
        };
        check("UTC+3", Some((-10_800, -10_800)));
        check("-08", Some((28_800, 28_800)));
        check("<+0330>-3:30", Some((12_600, 12_600)));
        check("FOO5BAR", Some((-18_000, -14_400)));
        check("CET-1CEST,M3.5.0,M10.5.0/3", Some((3_600, 7_200)));
        check("AEST-10AEDT,M10.1.0,M4.1.0/3", Some((39_600, 36_000)));
        check("-0330", None);
        check("UTC", None);
        check("X3Y,M13.1.1,M4.1.1", None);
    }
}
