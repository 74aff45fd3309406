//! The words that Postgres knows in the text of dates, times and intervals.

use super::zone_abbreviations::{Abbreviation, abbreviation};

/// Words are compared up to this length, so that `microseconds` is `microsecon`.
const WORD_BYTES_MAX: usize = 10;

/// A word in a date or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Month(i64),
    Weekday,
    /// Whether it is BC.
    Era(bool),
    /// Whether it is the afternoon.
    HalfDay(bool),
    /// Names what the next number is.
    Label(Label),
    /// `T`: a time follows.
    Time,
    /// `DST` after a zone.
    SummerTime,
    /// `allballs`: midnight in UTC.
    Midnight,
    Epoch,
    /// `infinity` and `-infinity`.
    Infinity,
    /// `now`: with a time.
    Now,
    /// `today`, `tomorrow` and `yesterday`.
    Today,
    Ignored,
    Zone(Abbreviation),
}

/// What a number is, in dates such as `y2001m02d04`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Julian,
    Time,
    /// Known, but of no use where a value is read.
    Other,
}

/// A word in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntervalWord {
    Unit(Unit),
    Ago,
    /// Known, but not as a length.
    Other,
}

/// A length of time.
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
    Year,
    Decade,
    Century,
    Millennium,
}

/// A word of a date or a time, in lower case: an abbreviation of a zone, or else one of Postgres's own.
pub(super) fn word(word: &str) -> Option<Word> {
    abbreviation(word).map(Word::Zone).or_else(|| own_word(word))
}

/// As [`word`], without zones.
pub(super) fn own_word(word: &str) -> Option<Word> {
    Some(match word {
        "jan" | "january" => Word::Month(1),
        "feb" | "february" => Word::Month(2),
        "mar" | "march" => Word::Month(3),
        "apr" | "april" => Word::Month(4),
        "may" => Word::Month(5),
        "jun" | "june" => Word::Month(6),
        "jul" | "july" => Word::Month(7),
        "aug" | "august" => Word::Month(8),
        "sep" | "sept" | "september" => Word::Month(9),
        "oct" | "october" => Word::Month(10),
        "nov" | "november" => Word::Month(11),
        "dec" | "december" => Word::Month(12),
        "sun" | "sunday" | "mon" | "monday" | "tue" | "tues" | "tuesday" | "wed" | "wednesday" | "weds" | "thu"
        | "thur" | "thurs" | "thursday" | "fri" | "friday" | "sat" | "saturday" => Word::Weekday,
        "ad" => Word::Era(false),
        "bc" => Word::Era(true),
        "am" => Word::HalfDay(false),
        "pm" => Word::HalfDay(true),
        "y" => Word::Label(Label::Year),
        "m" => Word::Label(Label::Month),
        "d" => Word::Label(Label::Day),
        "h" => Word::Label(Label::Hour),
        "mm" => Word::Label(Label::Minute),
        "s" => Word::Label(Label::Second),
        "j" | "jd" | "julian" => Word::Label(Label::Julian),
        "dow" | "doy" | "isodow" | "isoyear" => Word::Label(Label::Other),
        "t" => Word::Time,
        "dst" => Word::SummerTime,
        "allballs" => Word::Midnight,
        "epoch" => Word::Epoch,
        "infinity" | "-infinity" => Word::Infinity,
        "now" => Word::Now,
        "today" | "tomorrow" | "yesterday" => Word::Today,
        "at" | "on" => Word::Ignored,
        _ => return None,
    })
}

/// A word of an interval, in lower case.
pub(super) fn interval_word(word: &str) -> Option<IntervalWord> {
    use IntervalWord::{Ago, Other, Unit as Of};
    Some(match word.get(..WORD_BYTES_MAX).unwrap_or(word) {
        "us" | "usec" | "usecond" | "useconds" | "usecs" | "microsecon" => Of(Unit::Microsecond),
        "ms" | "msec" | "msecond" | "mseconds" | "msecs" | "millisecon" => Of(Unit::Millisecond),
        "s" | "sec" | "second" | "seconds" | "secs" => Of(Unit::Second),
        "m" | "min" | "mins" | "minute" | "minutes" => Of(Unit::Minute),
        "h" | "hour" | "hours" | "hr" | "hrs" => Of(Unit::Hour),
        "d" | "day" | "days" => Of(Unit::Day),
        "w" | "week" | "weeks" => Of(Unit::Week),
        "mon" | "mons" | "month" | "months" => Of(Unit::Month),
        "y" | "year" | "years" | "yr" | "yrs" => Of(Unit::Year),
        "dec" | "decade" | "decades" | "decs" => Of(Unit::Decade),
        "c" | "cent" | "centuries" | "century" => Of(Unit::Century),
        "mil" | "millennia" | "millennium" | "mils" => Of(Unit::Millennium),
        "ago" => Ago,
        "qtr" | "quarter" | "timezone" | "timezone_h" | "timezone_m" => Other,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    #[test]
    fn words_are_known() {
        assert_eq!(word("sept"), Some(Word::Month(9)));
        assert_eq!(word("est"), Some(Word::Zone(Abbreviation::Standard(-18_000))));
        assert_eq!(own_word("est"), None);
        assert_eq!(word("msk"), Some(Word::Zone(Abbreviation::Dynamic(Tz::Europe__Moscow))));
        assert_eq!(interval_word("microseconds"), Some(IntervalWord::Unit(Unit::Microsecond)));
        assert_eq!(interval_word("fortnight"), None);
    }
}
