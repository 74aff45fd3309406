//! The names of units and fields that `extract`, `date_part` and `date_trunc` know.

/// A part of a date, a time or an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Zone,
    ZoneHour,
    ZoneMinute,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
    Julian,
    Epoch,
    /// A name of a moment, such as `now`, which is no unit.
    Moment,
}

/// Names are known by so many bytes.
const NAME_BYTES: usize = 10;
/// Longer identifiers are cut.
const IDENTIFIER_BYTES: usize = 63;

/// The units of spans of time.
const UNITS: &[(&str, Unit)] = &[
    ("c", Unit::Century),
    ("cent", Unit::Century),
    ("centuries", Unit::Century),
    ("century", Unit::Century),
    ("d", Unit::Day),
    ("day", Unit::Day),
    ("days", Unit::Day),
    ("dec", Unit::Decade),
    ("decade", Unit::Decade),
    ("decades", Unit::Decade),
    ("decs", Unit::Decade),
    ("h", Unit::Hour),
    ("hour", Unit::Hour),
    ("hours", Unit::Hour),
    ("hr", Unit::Hour),
    ("hrs", Unit::Hour),
    ("m", Unit::Minute),
    ("microsecon", Unit::Microsecond),
    ("mil", Unit::Millennium),
    ("millennia", Unit::Millennium),
    ("millennium", Unit::Millennium),
    ("millisecon", Unit::Millisecond),
    ("mils", Unit::Millennium),
    ("min", Unit::Minute),
    ("mins", Unit::Minute),
    ("minute", Unit::Minute),
    ("minutes", Unit::Minute),
    ("mon", Unit::Month),
    ("mons", Unit::Month),
    ("month", Unit::Month),
    ("months", Unit::Month),
    ("ms", Unit::Millisecond),
    ("msec", Unit::Millisecond),
    ("mseconds", Unit::Millisecond),
    ("msecs", Unit::Millisecond),
    ("qtr", Unit::Quarter),
    ("quarter", Unit::Quarter),
    ("s", Unit::Second),
    ("sec", Unit::Second),
    ("second", Unit::Second),
    ("seconds", Unit::Second),
    ("secs", Unit::Second),
    ("timezone", Unit::Zone),
    ("timezone_h", Unit::ZoneHour),
    ("timezone_m", Unit::ZoneMinute),
    ("us", Unit::Microsecond),
    ("usec", Unit::Microsecond),
    ("useconds", Unit::Microsecond),
    ("usecs", Unit::Microsecond),
    ("w", Unit::Week),
    ("week", Unit::Week),
    ("weeks", Unit::Week),
    ("y", Unit::Year),
    ("year", Unit::Year),
    ("years", Unit::Year),
    ("yr", Unit::Year),
    ("yrs", Unit::Year),
];

/// What only moments have.
const FIELDS: &[(&str, Unit)] = &[
    ("-infinity", Unit::Moment),
    ("allballs", Unit::Moment),
    ("dow", Unit::DayOfWeek),
    ("doy", Unit::DayOfYear),
    ("epoch", Unit::Epoch),
    ("infinity", Unit::Moment),
    ("isodow", Unit::IsoDayOfWeek),
    ("isoyear", Unit::IsoYear),
    ("j", Unit::Julian),
    ("jd", Unit::Julian),
    ("julian", Unit::Julian),
    ("mm", Unit::Minute),
    ("now", Unit::Moment),
    ("today", Unit::Moment),
    ("tomorrow", Unit::Moment),
    ("yesterday", Unit::Moment),
];

/// The name as messages have it: in small letters, and cut as identifiers are.
pub(super) fn lowered(name: &str) -> String {
    name[..name.floor_char_boundary(IDENTIFIER_BYTES)].to_ascii_lowercase()
}

/// The unit of a name in small letters.
pub(super) fn unit(name: &str) -> Option<Unit> {
    find(UNITS, name)
}

/// The unit or field of a name in small letters.
pub(super) fn field(name: &str) -> Option<Unit> {
    unit(name).or_else(|| find(FIELDS, name))
}

fn find(table: &[(&str, Unit)], name: &str) -> Option<Unit> {
    let name = name.as_bytes();
    let known = &name[..name.len().min(NAME_BYTES)];
    table.iter().find(|(name, _)| name.as_bytes() == known).map(|(_, unit)| *unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_by_ten_letters() {
        let check = |name: &str, expect| assert_eq!(field(&lowered(name)), expect, "{name}");
        check("MicroSeconds", Some(Unit::Microsecond));
        check("timezone_hour", Some(Unit::ZoneHour));
        check("M", Some(Unit::Minute));
        check("julian", Some(Unit::Julian));
        check("fortnight", None);
        check("", None);
        assert_eq!(unit("dow"), None);
    }
}
