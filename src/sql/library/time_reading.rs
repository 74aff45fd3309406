//! What the fields of a text say of a date and a time.
//!
//! What a number is depends on those before it: the rules are Postgres's, with the order month, day, year.

use super::{
    calendar::{Civil, days_in_month},
    time_text::{
        Clock, Field, Form, Wrong, date_parts, fraction, fraction_micros, leading, whole, wrapped, zone_offset,
    },
    time_words::{Label, Word, own_word, word},
    zone::Zone,
    zone_abbreviations::Abbreviation,
};

/// What has been seen, as a set of bits.
type Seen = u32;
const YEAR: Seen = 1;
const MONTH: Seen = 1 << 1;
const DAY: Seen = 1 << 2;
const HOUR: Seen = 1 << 3;
const MINUTE: Seen = 1 << 4;
const SECOND: Seen = 1 << 5;
const SUBSECOND: Seen = 1 << 6;
const DAY_OF_YEAR: Seen = 1 << 7;
const WEEKDAY: Seen = 1 << 8;
const HALF_DAY: Seen = 1 << 9;
const ERA: Seen = 1 << 10;
const RESERVED: Seen = 1 << 11;
const ZONE: Seen = 1 << 12;
const SUMMER_ZONE: Seen = 1 << 13;
const DYNAMIC_ZONE: Seen = 1 << 14;
const SUMMER_WORD: Seen = 1 << 15;
const DATE: Seen = YEAR | MONTH | DAY;
const TIME: Seen = HOUR | MINUTE | SECOND | SUBSECOND;

const SECONDS_PER_HOUR: i64 = 3_600;
const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400_000_000;
const MICROS_PER_DAY_FLOAT: f64 = 86_400e6;
/// From day 0 of Julian dates to 1970-01-01.
const JULIAN_EPOCH_DAYS: i64 = 2_440_588;

/// A date and a time, as they were read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) sort: Sort,
    /// `now` and its like were read.
    pub(super) needs_clock: bool,
    pub(super) date: Civil,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) micros: i64,
    /// Seconds east of UTC, where a zone was given as an offset.
    pub(super) offset: i64,
    /// The zone that was given by its name, or by an abbreviation that stood for several offsets.
    pub(super) zone: Option<Zone>,
    day_of_year: i64,
    seen: Seen,
    /// What the next number is.
    label: Option<Label>,
    year_form: YearForm,
    is_bc: bool,
    has_text_month: bool,
    is_afternoon: Option<bool>,
}

/// What sort of value was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Finite,
    Epoch,
    Infinity,
}

/// How the year was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum YearForm {
    Full,
    /// In two digits or one, for one from 1970 to 2069.
    Short,
    /// As part of a Julian date: it is right as it is.
    Julian,
}

impl Reading {
    fn new() -> Self {
        Self {
            sort: Sort::Finite,
            needs_clock: false,
            date: Civil { year: 0, month: 0, day: 0 },
            hour: 0,
            minute: 0,
            second: 0,
            micros: 0,
            offset: 0,
            zone: None,
            day_of_year: 0,
            seen: 0,
            label: None,
            year_form: YearForm::Full,
            is_bc: false,
            has_text_month: false,
            is_afternoon: None,
        }
    }

    /// A date, perhaps with a time and a zone.
    pub(super) fn of_moment(fields: &[Field]) -> Result<Self, Wrong> {
        let mut reading = Self::new();
        for (at, field) in fields.iter().enumerate() {
            let text = field.text.as_str();
            let seen = match field.form {
                Form::Date => reading.date_field(text)?,
                Form::Time => {
                    if reading.label.take().is_some_and(|label| label != Label::Time) {
                        return Err(Wrong::Format);
                    }
                    let seen = reading.clock(text)?;
                    reading.check_time()?;
                    seen
                }
                Form::Signed => reading.signed(text)?,
                Form::Number => match reading.label.take() {
                    Some(label) => reading.labelled(label, text)?,
                    None => reading.number_field(text)?,
                },
                Form::Word | Form::SignedWord => reading.word(text, fields.get(at + 1))?,
            };
            reading.see(seen)?;
        }
        reading.settle_date()?;
        reading.settle_half_day()?;
        if reading.sort == Sort::Finite && !reading.has(DATE) {
            return Err(Wrong::Format);
        }
        // `DST` stands behind an offset or a fixed abbreviation.
        let needs_fixed = reading.sort == Sort::Finite && (reading.zone.is_some() || !reading.has_zone());
        if needs_fixed && reading.has(SUMMER_WORD) {
            return Err(Wrong::Format);
        }
        Ok(reading)
    }

    /// A time, perhaps with a zone and with a date, which settles the zone's offset.
    pub(super) fn of_time(fields: &[Field]) -> Result<Self, Wrong> {
        let mut reading = Self::new();
        for (at, field) in fields.iter().enumerate() {
            let text = field.text.as_str();
            let seen = match field.form {
                Form::Date => reading.date_field_of_time(text, at, fields)?,
                Form::Time => reading.clock(text)?,
                Form::Signed => reading.signed(text)?,
                Form::Number => match reading.label.take() {
                    Some(label) => reading.labelled(label, text)?,
                    None => reading.number_field_of_time(text, at, fields)?,
                },
                Form::Word | Form::SignedWord => reading.word_of_time(text, fields.get(at + 1))?,
            };
            reading.see(seen)?;
        }
        reading.settle_date()?;
        reading.settle_half_day()?;
        reading.check_time()?;
        if !reading.has(TIME) {
            return Err(Wrong::Format);
        }
        let needs_date = match &reading.zone {
            // That of today would do.
            _ if reading.has(DYNAMIC_ZONE) => reading.seen & DATE != 0,
            Some(zone) => zone.constant_offset().is_none(),
            None => !reading.has_zone() && reading.seen & DATE != 0,
        };
        let needs_fixed = reading.zone.is_some() || !reading.has_zone();
        if needs_date && !reading.has(DATE) || needs_fixed && reading.has(SUMMER_WORD) {
            return Err(Wrong::Format);
        }
        Ok(reading)
    }

    /// Whether a zone was given in any way.
    pub(super) fn has_zone(&self) -> bool {
        self.has(ZONE)
    }

    fn has(&self, all: Seen) -> bool {
        self.seen & all == all
    }

    fn see(&mut self, seen: Seen) -> Result<(), Wrong> {
        if self.seen & seen != 0 {
            return Err(Wrong::Format);
        }
        self.seen |= seen;
        Ok(())
    }

    fn date_field(&mut self, text: &str) -> Result<Seen, Wrong> {
        if self.label == Some(Label::Julian) {
            self.label = None;
            let (day, rest) = leading::<i32>(text).ok_or(Wrong::Field)?;
            self.set_julian(day.into());
            self.offset = zone_offset(rest)?;
            return Ok(DATE | TIME | ZONE);
        }
        // After month and day this is a zone, or a time that ends in one.
        if self.label.is_none() && !self.has(MONTH | DAY) {
            return self.date(text);
        }
        match self.label.take() {
            None if !text.starts_with(|symbol: char| symbol.is_ascii_digit()) => self.named_zone(text),
            None | Some(Label::Time) => self.time_with_zone(text, self.seen),
            Some(_) => Err(Wrong::Format),
        }
    }

    fn date_field_of_time(&mut self, text: &str, at: usize, fields: &[Field]) -> Result<Seen, Wrong> {
        let form_at = |at: usize| fields.get(at).map(|field| field.form);
        let is_time = form_at(fields.len() - 1) == Some(Form::Date) || form_at(1) == Some(Form::Time);
        if at == 0 && fields.len() >= 2 && is_time {
            self.date(text)
        } else if text.starts_with(|symbol: char| symbol.is_ascii_digit()) {
            self.time_with_zone(text, self.seen | DATE)
        } else {
            self.named_zone(text)
        }
    }

    fn named_zone(&mut self, name: &str) -> Result<Seen, Wrong> {
        self.zone = Some(Zone::of_name(name).ok_or_else(|| Wrong::Zone(name.to_owned()))?);
        Ok(ZONE)
    }

    /// `hhmmss-zz`
    fn time_with_zone(&mut self, text: &str, seen: Seen) -> Result<Seen, Wrong> {
        if self.has(TIME) {
            return Err(Wrong::Format);
        }
        let (time, zone) = text.split_at(text.find('-').ok_or(Wrong::Format)?);
        self.offset = zone_offset(zone)?;
        Ok(self.digits(time, seen)? | ZONE)
    }

    fn signed(&mut self, text: &str) -> Result<Seen, Wrong> {
        self.offset = zone_offset(text)?;
        Ok(ZONE)
    }

    fn number_field(&mut self, text: &str) -> Result<Seen, Wrong> {
        match text.find('.') {
            Some(_) if self.seen & DATE == 0 => self.date(text),
            Some(point) if point > 2 => self.digits(text, self.seen),
            _ if text.len() >= 6 && (self.seen & DATE == 0 || self.seen & TIME == 0) => self.digits(text, self.seen),
            _ => self.number(text, self.has_text_month, self.seen),
        }
    }

    fn number_field_of_time(&mut self, text: &str, at: usize, fields: &[Field]) -> Result<Seen, Wrong> {
        let is_dated = || at == 0 && fields.len() >= 2 && fields.last().is_some_and(|last| last.form == Form::Date);
        match text.find('.') {
            Some(_) if is_dated() => self.date(text),
            Some(point) if point > 2 => self.digits(text, self.seen | DATE),
            Some(_) => Err(Wrong::Format),
            None if text.len() > 4 => self.digits(text, self.seen | DATE),
            None => self.number(text, false, self.seen | DATE),
        }
    }

    fn word(&mut self, text: &str, next: Option<&Field>) -> Result<Seen, Wrong> {
        Ok(match word(text) {
            Some(Word::Now) => {
                self.needs_clock = true;
                (self.date, self.sort) = (Civil { year: 2000, month: 1, day: 1 }, Sort::Finite);
                DATE | TIME | ZONE
            }
            Some(Word::Today) => {
                self.needs_clock = true;
                (self.date, self.sort) = (Civil { year: 2000, month: 1, day: 1 }, Sort::Finite);
                DATE
            }
            Some(Word::Midnight) => {
                self.sort = Sort::Finite;
                self.midnight()
            }
            Some(Word::Epoch) => {
                self.sort = Sort::Epoch;
                RESERVED
            }
            Some(Word::Infinity) => {
                self.sort = Sort::Infinity;
                RESERVED
            }
            Some(Word::Month(month)) => {
                let is_first = !self.has_text_month && self.seen & (MONTH | DAY) == MONTH;
                let is_day = is_first && (1..=31).contains(&self.date.month);
                if is_day {
                    // What was taken for the month is the day.
                    self.date.day = self.date.month;
                }
                self.has_text_month = true;
                self.date.month = month;
                if is_day { DAY } else { MONTH }
            }
            Some(Word::Weekday) => WEEKDAY,
            Some(Word::Time) if !self.has(DATE) => return Err(Wrong::Format),
            other => self.common_word(text, other, next)?,
        })
    }

    fn word_of_time(&mut self, text: &str, next: Option<&Field>) -> Result<Seen, Wrong> {
        Ok(match word(text) {
            Some(Word::Now) => {
                self.needs_clock = true;
                TIME
            }
            Some(Word::Midnight) => self.midnight(),
            Some(Word::Today | Word::Epoch | Word::Infinity | Word::Month(_) | Word::Weekday) => {
                return Err(Wrong::Format);
            }
            other => self.common_word(text, other, next)?,
        })
    }

    fn midnight(&mut self) -> Seen {
        (self.hour, self.minute, self.second, self.offset) = (0, 0, 0, 0);
        TIME | ZONE
    }

    fn common_word(&mut self, text: &str, word: Option<Word>, next: Option<&Field>) -> Result<Seen, Wrong> {
        Ok(match word {
            Some(Word::SummerTime) => {
                self.offset += SECONDS_PER_HOUR;
                SUMMER_WORD | SUMMER_ZONE
            }
            Some(Word::Zone(Abbreviation::Standard(offset))) => {
                self.offset = offset;
                ZONE
            }
            Some(Word::Zone(Abbreviation::Summer(offset))) => {
                self.offset = offset;
                SUMMER_ZONE | ZONE
            }
            Some(Word::Zone(abbreviation @ Abbreviation::Dynamic(..))) => {
                self.zone = Some(abbreviation.into());
                DYNAMIC_ZONE | ZONE
            }
            Some(Word::HalfDay(is_afternoon)) => {
                self.is_afternoon = Some(is_afternoon);
                HALF_DAY
            }
            Some(Word::Era(is_bc)) => {
                self.is_bc = is_bc;
                ERA
            }
            Some(Word::Label(label)) => {
                self.label = Some(label);
                0
            }
            Some(Word::Time) => {
                let is_time = |field: &Field| matches!(field.form, Form::Number | Form::Time | Form::Date);
                if !next.is_some_and(is_time) {
                    return Err(Wrong::Format);
                }
                self.label = Some(Label::Time);
                0
            }
            Some(Word::Ignored) => 0,
            None => {
                self.zone = Some(Zone::of_name(text).ok_or(Wrong::Format)?);
                ZONE
            }
            Some(_) => return Err(Wrong::Format),
        })
    }

    /// The number behind a label: `y2001m02d04`.
    fn labelled(&mut self, label: Label, text: &str) -> Result<Seen, Wrong> {
        let (number, rest) = leading::<i32>(text).ok_or(Wrong::Field)?;
        let number = i64::from(number);
        let has_fraction = rest.starts_with('.') && matches!(label, Label::Julian | Label::Time | Label::Second);
        if !rest.is_empty() && !has_fraction {
            return Err(Wrong::Format);
        }
        let (place, seen) = match label {
            Label::Year => (&mut self.date.year, YEAR),
            // After month and hour, `m` is the minute.
            Label::Month if self.has(MONTH | HOUR) => (&mut self.minute, MINUTE),
            Label::Month => (&mut self.date.month, MONTH),
            Label::Day => (&mut self.date.day, DAY),
            Label::Hour => (&mut self.hour, HOUR),
            Label::Minute => (&mut self.minute, MINUTE),
            Label::Second if rest.is_empty() => (&mut self.second, SECOND),
            Label::Second => {
                self.micros = fraction_micros(rest)?;
                (&mut self.second, SECOND | SUBSECOND)
            }
            Label::Julian => {
                self.set_julian(number);
                self.sort = Sort::Finite;
                if rest.is_empty() {
                    return Ok(DATE);
                }
                self.set_time(whole(fraction(rest)? * MICROS_PER_DAY_FLOAT));
                return Ok(DATE | TIME);
            }
            Label::Time => {
                self.sort = Sort::Finite;
                let seen = self.digits(text, self.seen | DATE)?;
                return if seen == TIME { Ok(seen) } else { Err(Wrong::Format) };
            }
            Label::Other => return Err(Wrong::Format),
        };
        *place = number;
        self.sort = Sort::Finite;
        Ok(seen)
    }

    fn set_julian(&mut self, day: i64) {
        self.date = Civil::of_days(day - JULIAN_EPOCH_DAYS);
        self.year_form = YearForm::Julian;
    }

    fn set_time(&mut self, micros: i64) {
        let seconds = micros / MICROS_PER_SECOND;
        (self.hour, self.minute, self.second) = (seconds / SECONDS_PER_HOUR, seconds / 60 % 60, seconds % 60);
        self.micros = micros % MICROS_PER_SECOND;
    }

    /// A date with delimiters: `2001-02-04`, `4-Feb-2001`.
    fn date(&mut self, text: &str) -> Result<Seen, Wrong> {
        let parts = date_parts(text)?;
        let before = self.seen;
        let mut all = self.seen;
        let mut take = |seen: Seen| {
            let is_new = all & seen == 0;
            all |= seen;
            if is_new { Ok(all) } else { Err(Wrong::Format) }
        };
        let (words, numbers): (Vec<&str>, Vec<&str>) =
            parts.into_iter().partition(|part| part.starts_with(|symbol: char| symbol.is_ascii_alphabetic()));
        let mut seen = before;
        for word in &words {
            let Some(Word::Month(month)) = own_word(word) else { return Err(Wrong::Format) };
            self.date.month = month;
            seen = take(MONTH)?;
        }
        for number in numbers {
            seen = take(self.number(number, !words.is_empty(), seen)?)?;
        }
        if seen & !(DAY_OF_YEAR | ZONE) != DATE {
            return Err(Wrong::Format);
        }
        Ok(seen & !before)
    }

    /// One number, which is what is still missing.
    fn number(&mut self, text: &str, has_text_month: bool, seen: Seen) -> Result<Seen, Wrong> {
        let (number, rest) = leading::<i32>(text).ok_or(Wrong::Field)?;
        let number = i64::from(number);
        let width = text.len() - rest.len();
        if width == 0 || !rest.is_empty() && !rest.starts_with('.') {
            return Err(Wrong::Format);
        }
        if !rest.is_empty() {
            if width > 2 {
                return self.digits(text, seen | DATE);
            }
            self.micros = fraction_micros(rest)?;
        }
        if text.len() == 3 && seen & DATE == YEAR && (1..=366).contains(&number) {
            self.day_of_year = number;
            return Ok(DAY_OF_YEAR | MONTH | DAY);
        }
        let is_year = match seen & DATE {
            0 => text.len() >= 3,
            MONTH => has_text_month && text.len() >= 3,
            seen => seen == MONTH | DAY,
        };
        if is_year {
            self.date.year = number;
            self.year_form = if text.len() <= 2 { YearForm::Short } else { YearForm::Full };
            return Ok(YEAR);
        }
        match seen & DATE {
            0 | YEAR | DAY => {
                self.date.month = number;
                Ok(MONTH)
            }
            seen if seen == YEAR | MONTH && has_text_month && text.len() >= 3 && self.year_form == YearForm::Short => {
                // What was taken for the year is the day.
                self.date.day = self.date.year;
                self.date.year = number;
                self.year_form = YearForm::Full;
                Ok(DAY)
            }
            seen if seen == MONTH || seen == YEAR | MONTH => {
                self.date.day = number;
                Ok(DAY)
            }
            DATE => self.digits(text, seen),
            _ => Err(Wrong::Format),
        }
    }

    /// Digits run together: `20011225`, `040506.789`, `0405`.
    fn digits(&mut self, text: &str, seen: Seen) -> Result<Seen, Wrong> {
        let text = match text.find('.') {
            Some(point) => {
                let (digits, rest) = text.split_at(point);
                let places = rest.bytes().skip(1).take_while(u8::is_ascii_digit).count();
                self.micros = fraction_micros(rest.get(..=places).unwrap_or(rest))?;
                digits
            }
            None if seen & DATE != DATE && text.len() >= 6 => {
                let (rest, day) = text.split_at(text.len() - 2);
                let (year, month) = rest.split_at(rest.len() - 2);
                self.date = Civil { year: wrapped(year), month: wrapped(month), day: wrapped(day) };
                if year.len() == 2 {
                    self.year_form = YearForm::Short;
                }
                return Ok(DATE);
            }
            None => text,
        };
        if seen & TIME == TIME || text.len() != 4 && text.len() != 6 {
            return Err(Wrong::Format);
        }
        let (hour, rest) = text.split_at(2);
        let (minute, second) = rest.split_at(2);
        (self.hour, self.minute, self.second) = (wrapped(hour), wrapped(minute), wrapped(second));
        Ok(TIME)
    }

    /// `hh:mm`, `hh:mm:ss.sss`, or `mm:ss.sss`.
    fn clock(&mut self, text: &str) -> Result<Seen, Wrong> {
        let clock = Clock::parse(text, false)?;
        (self.hour, self.minute, self.second) = (clock.hours, clock.minutes, clock.seconds);
        self.micros = clock.micros;
        if self.hour > i64::from(i32::MAX) { Err(Wrong::Field) } else { Ok(TIME) }
    }

    fn check_time(&self) -> Result<(), Wrong> {
        let seconds = (self.hour * 60 + self.minute) * 60 + self.second;
        let is_right = (0..=24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..=60).contains(&self.second)
            && (0..=MICROS_PER_SECOND).contains(&self.micros)
            && seconds * MICROS_PER_SECOND + self.micros <= MICROS_PER_DAY;
        if is_right { Ok(()) } else { Err(Wrong::Field) }
    }

    /// The year that was meant, and whether the date is one.
    fn settle_date(&mut self) -> Result<(), Wrong> {
        let year = &mut self.date.year;
        if self.seen & YEAR != 0 {
            match (self.year_form, self.is_bc) {
                (YearForm::Julian, _) => {}
                // There is no year 0.
                (_, true) | (YearForm::Full, false) if *year <= 0 => return Err(Wrong::Field),
                (_, true) => *year = 1 - *year,
                (YearForm::Short, false) if *year < 70 => *year += 2_000,
                (YearForm::Short, false) if *year < 100 => *year += 1_900,
                (YearForm::Short | YearForm::Full, false) => {}
            }
        }
        if self.seen & DAY_OF_YEAR != 0 {
            let first = Civil { month: 1, day: 1, ..self.date };
            self.date = Civil::of_days(first.days() + self.day_of_year - 1);
        }
        let Civil { year, month, day } = self.date;
        let is_month = self.seen & MONTH == 0 || (1..=12).contains(&month);
        let is_day = self.seen & DAY == 0 || (1..=31).contains(&day);
        if !is_month || !is_day {
            return Err(Wrong::MonthOrDay);
        }
        if self.has(DATE) && day > days_in_month(year, month) { Err(Wrong::Field) } else { Ok(()) }
    }

    fn settle_half_day(&mut self) -> Result<(), Wrong> {
        match self.is_afternoon {
            Some(_) if self.hour > 12 => return Err(Wrong::Field),
            Some(false) if self.hour == 12 => self.hour = 0,
            Some(true) if self.hour != 12 => self.hour += 12,
            _ => {}
        }
        Ok(())
    }
}
