//! The patterns of `to_char`, `to_date` and `to_timestamp` for dates and times.
//!
//! Source: the template patterns of Postgres's manual (9.8, Data Type Formatting Functions) and the keywords of `formatting.c`.

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Item(Item),
    /// White space.
    Space(char),
    /// Of ASCII, neither a letter nor a digit.
    Separator(char),
    /// As it stands; also whatever is in quotes.
    Text(char),
}

/// A keyword with what stands around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) field: Field,
    /// As it is written, for messages.
    pub(super) name: &'static str,
    pub(super) case: Case,
    /// `FM`: neither blanks nor zeros fill it.
    pub(super) is_short: bool,
    /// `TM`: in the language of the server, which fills nothing either.
    pub(super) is_translated: bool,
    /// `TH` or `th` after it.
    pub(super) ordinal: Option<Case>,
    /// Whether it is written in digits.
    pub(super) is_digits: bool,
    pub(super) convention: Option<Convention>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Capital,
    Lower,
}

/// The ways to name a date, which cannot be mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Convention {
    Gregorian,
    IsoWeek,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Hour24,
    Hour12,
    Minute,
    Second,
    SecondOfDay,
    Millisecond,
    Microsecond,
    /// So many digits behind the second's point.
    Fraction(u8),
    HalfDay,
    HalfDayDotted,
    YearComma,
    /// So many digits.
    Year(u8),
    IsoYear(u8),
    Era,
    EraDotted,
    MonthName,
    MonthShort,
    Month,
    MonthRoman,
    DayName,
    DayShort,
    DayOfYear,
    IsoDayOfYear,
    DayOfMonth,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Century,
    Julian,
    Quarter,
    ZoneName,
    ZoneHours,
    ZoneMinutes,
    ZoneOffset,
    /// `FX`: from here the text has exactly the pattern's blanks.
    Fixed,
}

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const MONTHS_SHORT: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// From December, so that none begins one after it.
pub(super) const MONTHS_ROMAN: [&str; 12] = ["XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"];
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
pub(super) const DAYS_SHORT: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

const GREGORIAN: Option<Convention> = Some(Convention::Gregorian);
const ISO_WEEK: Option<Convention> = Some(Convention::IsoWeek);

/// In capitals and in small letters; longer keywords before those that begin them.
#[rustfmt::skip]
const KEYWORDS: &[(&str, &str, Field, bool, Option<Convention>)] = &[
    ("A.D.", "a.d.", Field::EraDotted, false, None),
    ("A.M.", "a.m.", Field::HalfDayDotted, false, None),
    ("AD", "ad", Field::Era, false, None),
    ("AM", "am", Field::HalfDay, false, None),
    ("B.C.", "b.c.", Field::EraDotted, false, None),
    ("BC", "bc", Field::Era, false, None),
    ("CC", "cc", Field::Century, true, None),
    ("DAY", "day", Field::DayName, false, None),
    ("DDD", "ddd", Field::DayOfYear, true, GREGORIAN),
    ("DD", "dd", Field::DayOfMonth, true, GREGORIAN),
    ("DY", "dy", Field::DayShort, false, None),
    ("D", "d", Field::DayOfWeek, true, GREGORIAN),
    ("FF1", "ff1", Field::Fraction(1), true, None),
    ("FF2", "ff2", Field::Fraction(2), true, None),
    ("FF3", "ff3", Field::Fraction(3), true, None),
    ("FF4", "ff4", Field::Fraction(4), true, None),
    ("FF5", "ff5", Field::Fraction(5), true, None),
    ("FF6", "ff6", Field::Fraction(6), true, None),
    ("FX", "fx", Field::Fixed, false, None),
    ("HH24", "hh24", Field::Hour24, true, None),
    ("HH12", "hh12", Field::Hour12, true, None),
    ("HH", "hh", Field::Hour12, true, None),
    ("IDDD", "iddd", Field::IsoDayOfYear, true, ISO_WEEK),
    ("ID", "id", Field::IsoDayOfWeek, true, ISO_WEEK),
    ("IW", "iw", Field::IsoWeek, true, ISO_WEEK),
    ("IYYY", "iyyy", Field::IsoYear(4), true, ISO_WEEK),
    ("IYY", "iyy", Field::IsoYear(3), true, ISO_WEEK),
    ("IY", "iy", Field::IsoYear(2), true, ISO_WEEK),
    ("I", "i", Field::IsoYear(1), true, ISO_WEEK),
    ("J", "j", Field::Julian, true, None),
    ("MI", "mi", Field::Minute, true, None),
    ("MM", "mm", Field::Month, true, GREGORIAN),
    ("MONTH", "month", Field::MonthName, false, GREGORIAN),
    ("MON", "mon", Field::MonthShort, false, GREGORIAN),
    ("MS", "ms", Field::Millisecond, true, None),
    ("OF", "of", Field::ZoneOffset, false, None),
    ("P.M.", "p.m.", Field::HalfDayDotted, false, None),
    ("PM", "pm", Field::HalfDay, false, None),
    ("Q", "q", Field::Quarter, true, None),
    ("RM", "rm", Field::MonthRoman, false, GREGORIAN),
    ("SSSSS", "sssss", Field::SecondOfDay, true, None),
    ("SSSS", "ssss", Field::SecondOfDay, true, None),
    ("SS", "ss", Field::Second, true, None),
    ("TZH", "tzh", Field::ZoneHours, false, None),
    ("TZM", "tzm", Field::ZoneMinutes, true, None),
    ("TZ", "tz", Field::ZoneName, false, None),
    ("US", "us", Field::Microsecond, true, None),
    ("WW", "ww", Field::WeekOfYear, true, GREGORIAN),
    ("W", "w", Field::WeekOfMonth, true, GREGORIAN),
    ("Y,YYY", "y,yyy", Field::YearComma, true, GREGORIAN),
    ("YYYY", "yyyy", Field::Year(4), true, GREGORIAN),
    ("YYY", "yyy", Field::Year(3), true, GREGORIAN),
    ("YY", "yy", Field::Year(2), true, GREGORIAN),
    ("Y", "y", Field::Year(1), true, GREGORIAN),
];
/// Names with a capital. They are tried before a single letter of theirs is.
const CAPITALS: &[(&str, Field, Option<Convention>)] = &[
    ("Day", Field::DayName, None),
    ("Dy", Field::DayShort, None),
    ("Month", Field::MonthName, GREGORIAN),
    ("Mon", Field::MonthShort, GREGORIAN),
];

/// The pieces of a pattern. What is no keyword stands for itself.
pub(super) fn parse(pattern: &str) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let prefix = ["FM", "fm", "TM", "tm"].into_iter().find(|prefix| rest.starts_with(prefix));
        rest = &rest[prefix.map_or(0, str::len)..];
        if let Some(mut item) = keyword(rest) {
            rest = &rest[item.name.len()..];
            item.is_short = matches!(prefix, Some("FM" | "fm"));
            item.is_translated = matches!(prefix, Some("TM" | "tm"));
            let suffix = ["TH", "th", "SP"].into_iter().find(|suffix| rest.starts_with(suffix));
            rest = &rest[suffix.map_or(0, str::len)..];
            item.ordinal = match suffix {
                Some("TH") => Some(Case::Upper),
                Some("th") => Some(Case::Lower),
                _ => None,
            };
            nodes.push(Node::Item(item));
        } else if let Some(quoted) = rest.strip_prefix('"') {
            rest = read_quoted(quoted, &mut nodes);
        } else {
            // A backslash means itself, except before a quote.
            let mut letters = rest.strip_prefix('\\').filter(|after| after.starts_with('"')).unwrap_or(rest).chars();
            nodes.extend(letters.next().map(|letter| match letter {
                letter if is_separator(letter) => Node::Separator(letter),
                letter if is_space(letter) => Node::Space(letter),
                letter => Node::Text(letter),
            }));
            rest = letters.as_str();
        }
    }
    nodes
}

/// Up to the closing quote; gives what is after it.
fn read_quoted<'a>(quoted: &'a str, nodes: &mut Vec<Node>) -> &'a str {
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        let letter = match letter {
            '"' => break,
            '\\' => letters.next().unwrap_or('\\'),
            letter => letter,
        };
        nodes.push(Node::Text(letter));
    }
    letters.as_str()
}

fn keyword(rest: &str) -> Option<Item> {
    let item = |name, field, case, is_digits, convention| Item {
        field,
        name,
        case,
        is_short: false,
        is_translated: false,
        ordinal: None,
        is_digits,
        convention,
    };
    if let Some((name, field, convention)) = CAPITALS.iter().find(|(name, ..)| rest.starts_with(name)) {
        return Some(item(name, *field, Case::Capital, false, *convention));
    }
    KEYWORDS.iter().find_map(|(upper, lower, field, is_digits, convention)| {
        if rest.starts_with(upper) {
            return Some(item(upper, *field, Case::Upper, *is_digits, *convention));
        }
        rest.starts_with(lower).then(|| item(lower, *field, Case::Lower, *is_digits, *convention))
    })
}

/// White space of ASCII, as C's `isspace` has it.
pub(super) const fn is_space(letter: char) -> bool {
    letter.is_ascii_whitespace() || letter == '\u{b}'
}

/// Printed, and neither a letter nor a digit.
pub(super) const fn is_separator(letter: char) -> bool {
    letter.is_ascii_punctuation()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_cut_at_keywords() {
        let check = |pattern: &str, expect: &str| {
            let shown = parse(pattern).into_iter().map(|node| match node {
                Node::Item(item) if item.is_short => format!("<FM{}>", item.name),
                Node::Item(item) => format!("<{}>", item.name),
                Node::Space(letter) | Node::Separator(letter) => format!("{letter}"),
                Node::Text(letter) => format!("'{letter}"),
            });
            assert_eq!(shown.collect::<String>(), expect, "{pattern}");
        };
        check("YYYY-MM-DD", "<YYYY>-<MM>-<DD>");
        check("FMMonth DDth", "<FMMonth> <DD>");
        check("FMTMMonth", "'T<MM>'o'n't'h");
        check("Dyx\"T\\\"\"\\\"", "<Dy>'x'T'\"\"");
        check("yYyY", "<y><Y><y><Y>");
        check("FM", "");
    }
}
