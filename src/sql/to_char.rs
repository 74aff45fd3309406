//! `to_char` of dates and times, by Postgres's patterns.
//!
//! Source: the table of template patterns in PostgreSQL's manual (9.8, Data Type Formatting Functions) and the keywords of
//! `formatting.c`. What is no pattern stands for itself.

use std::{fmt::Write, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, StringViewBuilder},
    compute::cast,
    datatypes::{DataType, TimeUnit, TimestampMicrosecondType},
};
use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeZone, Timelike};
use chrono_tz::{OffsetName, Tz};
use datafusion::{
    common::{Result, exec_err, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
    scalar::ScalarValue,
};

const MONTHS: [&str; 12] = [
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
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
/// The longest names, to which others are padded.
const NAME_WIDTH: usize = 9;
/// Julian days before the first of the common era, which the calendar counts from 1.
const JULIAN_BEFORE_ERA: i64 = 1_721_425;

pub(super) fn to_char() -> ScalarUDF {
    ScalarUDF::from(ToChar { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToChar {
    signature: Signature,
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &'static str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [value, pattern] = types else { return plan_err!("to_char takes a value and a pattern") };
        if !matches!(pattern, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null) {
            return plan_err!("to_char takes a pattern of type text");
        }
        let value = match value {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            DataType::Date32 | DataType::Null => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => return plan_err!("to_char takes dates and times only, so far"),
        };
        Ok(vec![value, DataType::Utf8View])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, pattern] = arguments.args.as_slice() else { return exec_err!("to_char takes two arguments") };
        let is_scalar = matches!((value, pattern), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { arguments.number_rows };
        let values = value.clone().into_array(rows)?;
        let written = match pattern {
            ColumnarValue::Scalar(pattern) => {
                let parts = pattern.try_as_str().flatten().map(parse);
                write_all(&values, |_| parts.as_deref())?
            }
            ColumnarValue::Array(patterns) => {
                let patterns = cast(patterns, &DataType::Utf8View)?;
                let patterns: Vec<Option<Vec<Part>>> =
                    patterns.as_string_view().iter().map(|pattern| pattern.map(parse)).collect();
                write_all(&values, |row| patterns[row].as_deref())?
            }
        };
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&written, 0)?));
        }
        Ok(ColumnarValue::Array(written))
    }
}

fn write_all<'a>(values: &ArrayRef, pattern: impl Fn(usize) -> Option<&'a [Part]>) -> Result<ArrayRef> {
    let zone: Option<Tz> = match values.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => match zone.as_deref() {
            Some(zone) => match zone.parse() {
                Ok(zone) => Some(zone),
                Err(_) => return exec_err!("time zone {zone} is not known"),
            },
            None => None,
        },
        other => return exec_err!("to_char does not take {other}"),
    };
    let values = values.as_primitive::<TimestampMicrosecondType>();
    let mut builder = StringViewBuilder::with_capacity(values.len());
    let mut text = String::new();
    for row in 0..values.len() {
        // Postgres gives NULL for an empty pattern.
        let (Some(parts), true) = (pattern(row).filter(|parts| !parts.is_empty()), values.is_valid(row)) else {
            builder.append_null();
            continue;
        };
        let Some(moment) = DateTime::from_timestamp_micros(values.value(row)) else {
            return exec_err!("timestamp out of range");
        };
        text.clear();
        let moment = match zone {
            Some(zone) => {
                let offset = zone.offset_from_utc_datetime(&moment.naive_utc());
                let seconds = offset.fix().local_minus_utc();
                let name = offset.abbreviation().unwrap_or_default().to_owned();
                Moment { local: moment.with_timezone(&zone).naive_local(), zone: Some((name, seconds)) }
            }
            None => Moment { local: moment.naive_utc(), zone: None },
        };
        moment.write(parts, &mut text);
        builder.append_value(&text);
    }
    Ok(Arc::new(builder.finish()))
}

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// As it stands.
    Text(String),
    Field {
        field: Field,
        case: Case,
        fills: bool,
        ordinal: Option<Case>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Upper,
    Capital,
    Lower,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Hour24,
    Hour12,
    Minute,
    Second,
    SecondOfDay,
    /// Digits behind the second's point.
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
}

/// Longer keywords before those that begin them. All are known in capitals and in small letters.
const KEYWORDS: &[(&str, Field)] = &[
    ("A.M.", Field::HalfDayDotted),
    ("P.M.", Field::HalfDayDotted),
    ("A.D.", Field::EraDotted),
    ("B.C.", Field::EraDotted),
    ("AD", Field::Era),
    ("AM", Field::HalfDay),
    ("BC", Field::Era),
    ("PM", Field::HalfDay),
    ("CC", Field::Century),
    ("DAY", Field::DayName),
    ("DDD", Field::DayOfYear),
    ("DD", Field::DayOfMonth),
    ("DY", Field::DayShort),
    ("D", Field::DayOfWeek),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("IDDD", Field::IsoDayOfYear),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("I", Field::IsoYear(1)),
    ("J", Field::Julian),
    ("MI", Field::Minute),
    ("MM", Field::Month),
    ("MONTH", Field::MonthName),
    ("MON", Field::MonthShort),
    ("MS", Field::Fraction(3)),
    ("OF", Field::ZoneOffset),
    ("Q", Field::Quarter),
    ("RM", Field::MonthRoman),
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("SS", Field::Second),
    ("TZH", Field::ZoneHours),
    ("TZM", Field::ZoneMinutes),
    ("TZ", Field::ZoneName),
    ("US", Field::Fraction(6)),
    ("WW", Field::WeekOfYear),
    ("W", Field::WeekOfMonth),
    ("Y,YYY", Field::YearComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
];

fn parse(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        let after_prefix = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm"));
        let (fills, candidate) = after_prefix.map_or((false, rest), |after| (true, after));
        if let Some((field, case, length)) = keyword(candidate) {
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            rest = &candidate[length..];
            let ordinal = match rest.get(..2) {
                Some("TH") => Some(Case::Upper),
                Some("th") => Some(Case::Lower),
                _ => None,
            };
            if ordinal.is_some() {
                rest = &rest[2..];
            }
            parts.push(Part::Field { field, case, fills, ordinal });
        } else if fills {
            rest = candidate;
        } else if letter == '"' {
            let mut escaped = false;
            let mut end = rest.len();
            for (index, letter) in rest.char_indices().skip(1) {
                match letter {
                    '\\' if !escaped => escaped = true,
                    '"' if !escaped => {
                        end = index + 1;
                        break;
                    }
                    letter => {
                        escaped = false;
                        text.push(letter);
                    }
                }
            }
            rest = &rest[end..];
        } else if let Some(after) = rest.strip_prefix("\\\"") {
            text.push('"');
            rest = after;
        } else {
            text.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    parts
}

fn keyword(rest: &str) -> Option<(Field, Case, usize)> {
    KEYWORDS.iter().find_map(|(keyword, field)| {
        let written = rest.get(..keyword.len())?;
        let case = if written == *keyword {
            Case::Upper
        } else if written == keyword.to_lowercase() {
            Case::Lower
        } else {
            let is_name = matches!(field, Field::MonthName | Field::MonthShort | Field::DayName | Field::DayShort);
            let mut letters = written.chars();
            let is_capital = letters.next().is_some_and(char::is_uppercase) && letters.all(char::is_lowercase);
            if !(is_name && is_capital && written.eq_ignore_ascii_case(keyword)) {
                return None;
            }
            Case::Capital
        };
        Some((*field, case, keyword.len()))
    })
}

struct Moment {
    local: NaiveDateTime,
    /// Its name, and seconds east of Greenwich.
    zone: Option<(String, i32)>,
}

impl Moment {
    fn write(&self, parts: &[Part], out: &mut String) {
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { field, case, fills, ordinal } => {
                    let start = out.len();
                    self.write_field(*field, *case, *fills, out);
                    if let (Some(case), Ok(number)) = (ordinal, out[start..].trim().replace(',', "").parse::<i64>()) {
                        let suffix = ordinal_of(number);
                        out.push_str(&if *case == Case::Upper { suffix.to_uppercase() } else { suffix.to_owned() });
                    }
                }
            }
        }
    }

    fn write_field(&self, field: Field, case: Case, fills: bool, out: &mut String) {
        let (date, time) = (self.local.date(), self.local.time());
        let mut number = |value: i64, width: usize| {
            let width = if fills { 0 } else { width };
            let sign = if value < 0 { "-" } else { "" };
            let _ = write!(out, "{sign}{:0width$}", value.unsigned_abs());
        };
        // Years before the common era are counted from 1 backwards.
        let era_year = if date.year() <= 0 { 1 - date.year() } else { date.year() };
        let last = |year: i32, digits: u8| i64::from(year) % 10_i64.pow(u32::from(digits));
        let week = date.iso_week();
        match field {
            Field::Hour24 => number(i64::from(time.hour()), 2),
            Field::Hour12 => number(i64::from(time.hour12().1), 2),
            Field::Minute => number(i64::from(time.minute()), 2),
            Field::Second => number(i64::from(time.second()), 2),
            Field::SecondOfDay => number(i64::from(time.num_seconds_from_midnight()), 0),
            Field::Fraction(digits) => {
                let microseconds = i64::from(time.nanosecond() / 1_000);
                let value = microseconds / 10_i64.pow(6 - u32::from(digits));
                // Not shortened by FM: these digits stand behind a point.
                let _ = write!(out, "{value:0width$}", width = usize::from(digits));
            }
            Field::YearComma => {
                let _ = write!(out, "{},{:03}", era_year / 1_000, era_year % 1_000);
            }
            Field::Year(4) => number(i64::from(era_year), 4),
            Field::Year(digits) => number(last(era_year, digits), usize::from(digits)),
            Field::IsoYear(4) => number(i64::from(week.year()), 4),
            Field::IsoYear(digits) => number(last(week.year(), digits), usize::from(digits)),
            Field::Month => number(i64::from(date.month()), 2),
            Field::DayOfYear => number(i64::from(date.ordinal()), 3),
            Field::IsoDayOfYear => {
                let day = i64::from(week.week() - 1) * 7 + i64::from(date.weekday().number_from_monday());
                number(day, 3);
            }
            Field::DayOfMonth => number(i64::from(date.day()), 2),
            Field::DayOfWeek => number(i64::from(date.weekday().number_from_sunday()), 0),
            Field::IsoDayOfWeek => number(i64::from(date.weekday().number_from_monday()), 0),
            Field::WeekOfMonth => number(i64::from((date.day() - 1) / 7 + 1), 0),
            Field::WeekOfYear => number(i64::from((date.ordinal() - 1) / 7 + 1), 2),
            Field::IsoWeek => number(i64::from(week.week()), 2),
            Field::Century => {
                let year = date.year();
                number(i64::from(if year > 0 { (year - 1) / 100 + 1 } else { year / 100 - 1 }), 2);
            }
            Field::Julian => number(i64::from(date.num_days_from_ce()) + JULIAN_BEFORE_ERA, 0),
            Field::Quarter => number(i64::from(date.month0() / 3 + 1), 0),
            Field::HalfDay => out.push_str(cased(if time.hour() < 12 { "AM" } else { "PM" }, case).as_str()),
            Field::HalfDayDotted => out.push_str(cased(if time.hour() < 12 { "A.M." } else { "P.M." }, case).as_str()),
            Field::Era => out.push_str(cased(if date.year() > 0 { "AD" } else { "BC" }, case).as_str()),
            Field::EraDotted => out.push_str(cased(if date.year() > 0 { "A.D." } else { "B.C." }, case).as_str()),
            Field::MonthName => padded(MONTHS[date.month0() as usize], case, fills, NAME_WIDTH, out),
            Field::MonthShort => out.push_str(&cased(&MONTHS[date.month0() as usize][..3], case)),
            Field::MonthRoman => padded(ROMAN[date.month0() as usize], case, fills, 4, out),
            Field::DayName => {
                padded(DAYS[date.weekday().num_days_from_sunday() as usize], case, fills, NAME_WIDTH, out);
            }
            Field::DayShort => {
                out.push_str(&cased(&DAYS[date.weekday().num_days_from_sunday() as usize][..3], case));
            }
            Field::ZoneName => {
                if let Some((name, _)) = &self.zone {
                    out.push_str(&cased(name, case));
                }
            }
            Field::ZoneHours | Field::ZoneMinutes | Field::ZoneOffset => {
                let seconds = self.zone.as_ref().map_or(0, |(_, seconds)| *seconds);
                let (hours, minutes) = (seconds.abs() / 3_600, seconds.abs() / 60 % 60);
                let sign = if seconds < 0 { '-' } else { '+' };
                let _ = match field {
                    Field::ZoneMinutes => write!(out, "{minutes:02}"),
                    Field::ZoneOffset if minutes != 0 => write!(out, "{sign}{hours:02}:{minutes:02}"),
                    _ => write!(out, "{sign}{hours:02}"),
                };
            }
        }
    }
}

fn cased(word: &str, case: Case) -> String {
    match case {
        Case::Upper => word.to_uppercase(),
        Case::Capital => word.to_owned(),
        Case::Lower => word.to_lowercase(),
    }
}

fn padded(word: &str, case: Case, fills: bool, width: usize, out: &mut String) {
    let width = if fills { 0 } else { width };
    let _ = write!(out, "{:width$}", cased(word, case));
}

fn ordinal_of(number: i64) -> &'static str {
    match (number.abs() % 100, number.abs() % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_postgress() {
        let local = chrono::NaiveDate::from_ymd_opt(2024, 2, 9).unwrap().and_hms_micro_opt(14, 5, 6, 78_900).unwrap();
        let moment = Moment { local, zone: Some(("CET".to_owned(), 3_600)) };
        let check = |pattern: &str, expect: &str| {
            let mut text = String::new();
            moment.write(&parse(pattern), &mut text);
            assert_eq!(text, expect, "{pattern}");
        };
        check("YYYY-MM-DD HH24:MI:SS", "2024-02-09 14:05:06");
        check("yyyy-mm", "2024-02");
        check("Mon DD, YYYY", "Feb 09, 2024");
        check("FMMonth FMDD, YYYY", "February 9, 2024");
        check("Month|MONTH|month|", "February |FEBRUARY |february |");
        check("Day|FMDay|DY|dy", "Friday   |Friday|FRI|fri");
        check("DDth FMDDth D ID DDD", "09th 9th 6 5 040");
        check("HH12:MI am|PM|P.M.", "02:05 pm|PM|P.M.");
        check("MS US FF1 SSSS", "078 078900 0 50706");
        check("IYYY-IW-ID \"Week\" WW W Q CC J", "2024-06-5 Week 06 2 1 21 2460350");
        check("Y,YYY YYY YY Y", "2,024 024 24 4");
        check("TZ OF TZH:TZM", "CET +01 +01:00");
        check("\"Q\"Q \\\"x\\\"", "Q1 \"x\"");
        check("RM|FMrm", "II  |ii");
    }
}
