//! A number's digits laid out by a pattern.

use std::iter;

use super::pattern::{Mark, Part, Pattern, SignAt};
use crate::{error::Result, sql::function::fault};

/// A number before it is laid out.
pub(super) struct Digits {
    /// Without a sign: digits, perhaps a point and more digits, or what stands for them.
    pub(super) text: String,
    pub(super) sign: Sign,
    /// By how many the pattern has more digits in front of the point.
    pub(super) padding: usize,
    /// Digits of the pattern in front of the point and behind it, which depend on the number too.
    pub(super) before: usize,
    pub(super) after: usize,
}

/// A number's sign, which Roman numerals have none of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    None,
    Plus,
    Minus,
}

/// What ends a text in C, where a pattern runs beyond the digits.
const END: char = '\0';

struct Layout<'a> {
    pattern: &'a Pattern,
    digits: &'a Digits,
    sign_at: SignAt,
    has_brackets: bool,
    is_sign_written: bool,
    /// Digits of the pattern, and one for the sign.
    count: usize,
    /// Index of the last digit behind the point that `FM` keeps.
    last_kept: Option<usize>,
    is_inside: bool,
    /// Places of the pattern so far.
    place: usize,
    /// Digits of the number so far.
    position: usize,
    out: String,
}

/// The text.
pub(super) fn lay_out(pattern: &Pattern, digits: &Digits) -> Result<String> {
    if pattern.has(Mark::Roman) {
        return Ok(lay_out_roman(pattern, &digits.text));
    }
    let has_own_sign = pattern.has(Mark::Plus) || pattern.has(Mark::Minus);
    let is_plus = digits.sign == Sign::Plus;
    let has_brackets = pattern.has(Mark::Brackets) && (has_own_sign || !pattern.has(Mark::Fill) || !is_plus);
    let needs_no_sign = is_plus && pattern.has(Mark::Fill) && !pattern.has(Mark::Sign);
    let is_sign_written = if has_own_sign { pattern.has(Mark::Minus) } else { needs_no_sign };
    let sign_at = match pattern.sign {
        SignAt::Before if !has_own_sign && digits.before == pattern.before_sign => SignAt::After,
        sign => sign,
    };
    let mut layout = Layout {
        pattern,
        digits,
        sign_at,
        has_brackets,
        is_sign_written,
        count: digits.after + digits.before + usize::from(!is_sign_written && digits.padding == 0),
        last_kept: last_kept(pattern, digits),
        is_inside: false,
        place: 0,
        position: 0,
        out: String::new(),
    };
    for part in &pattern.parts {
        layout.part(part)?;
    }
    let Layout { mut out, .. } = layout;
    if let Some(end) = out.find(END) {
        out.truncate(end);
    }
    Ok(out)
}

/// With `FM` zeros at the end are left out, but for those that the pattern has a 0 for.
fn last_kept(pattern: &Pattern, digits: &Digits) -> Option<usize> {
    if !(pattern.has(Mark::Fill) && pattern.has(Mark::Point)) {
        return None;
    }
    let point = digits.text.find('.')?;
    let last = digits.text.rfind(|digit| digit != '0').unwrap_or(point).max(point);
    let zero = pattern.zero_end.checked_sub(digits.padding).filter(|zero| *zero > 0);
    Some(zero.map_or(last, |zero| last.max(zero.min(digits.text.len() - 1))))
}

impl Layout<'_> {
    fn part(&mut self, part: &Part) -> Result<()> {
        let has_fill = self.pattern.has(Mark::Fill);
        match part {
            Part::Nine | Part::Zero | Part::Point | Part::LocalePoint => self.digit(*part == Part::Zero),
            Part::Comma | Part::Group if self.is_inside => self.out.push(','),
            Part::Currency => self.out.push(' '),
            Part::Ordinal { is_upper } => {
                let is_whole = !self.digits.text.starts_with('#') && !self.pattern.has(Mark::Point);
                if is_whole && self.digits.sign != Sign::Minus {
                    self.out.push_str(ordinal(&self.digits.text, *is_upper)?);
                }
            }
            Part::Minus if self.digits.sign == Sign::Minus => self.out.push('-'),
            Part::Plus if self.digits.sign == Sign::Plus => self.out.push('+'),
            Part::Comma | Part::Group | Part::Minus | Part::Plus if !has_fill => self.out.push(' '),
            Part::PlusOrMinus => self.out.push(self.sign_character()),
            Part::Literal(letter) => self.out.push(*letter),
            _ => {}
        }
        Ok(())
    }

    fn sign_character(&self) -> char {
        if self.digits.sign == Sign::Minus { '-' } else { '+' }
    }

    fn current(&self) -> Option<char> {
        self.digits.text[self.position..].chars().next()
    }

    /// Whether the zero in front of the point is left blank: .5
    fn is_blank_zero(&self) -> bool {
        self.position == 0
            && !self.pattern.has(Mark::Zero)
            && self.digits.after != 0
            && self.digits.text.starts_with('0')
    }

    fn keeps_only_point(&self) -> bool {
        self.last_kept.is_some_and(|last| self.digits.text[last..].starts_with('.'))
    }

    fn digit(&mut self, is_zero: bool) {
        let (pattern, padding) = (self.pattern, self.digits.padding);
        self.is_inside = false;
        let is_padded_with_zeros = pattern.has(Mark::Zero) && pattern.zero_start <= self.place;
        let starts = self.place >= padding || (pattern.has(Mark::Zero) && pattern.zero_start == self.place);
        if !self.is_sign_written && starts && (!self.is_blank_zero() || self.keeps_only_point()) {
            self.leading_sign();
        }
        if self.place < padding && is_padded_with_zeros {
            self.out.push('0');
            self.is_inside = true;
        } else if self.place < padding {
            if !pattern.has(Mark::Fill) {
                self.out.push(' ');
            }
        } else {
            self.own_digit(is_zero);
        }
        let end = self.count + usize::from(padding > 0) + usize::from(pattern.has(Mark::Point));
        if self.place + 2 == end && self.last_kept != Some(self.position) {
            self.trailing_sign();
        }
        self.place += 1;
    }

    fn own_digit(&mut self, is_zero: bool) {
        match self.current() {
            Some('.') if !self.keeps_only_point() || self.pattern.has(Mark::Fill) => self.out.push('.'),
            Some('.') => {}
            _ if self.last_kept.is_some_and(|last| self.position > last) && !is_zero => {}
            _ if self.is_blank_zero() => {
                if !self.pattern.has(Mark::Fill) {
                    self.out.push(' ');
                } else if self.keeps_only_point() {
                    self.out.push('0');
                }
            }
            digit => {
                self.out.push(digit.unwrap_or(END));
                self.is_inside = true;
            }
        }
        self.position += self.current().map_or(0, char::len_utf8);
    }

    fn leading_sign(&mut self) {
        let is_plus = self.digits.sign == Sign::Plus;
        if self.pattern.has(Mark::Sign) {
            if self.sign_at == SignAt::Before {
                self.out.push(self.sign_character());
                self.is_sign_written = true;
            }
            return;
        }
        self.is_sign_written = true;
        match (is_plus, self.has_brackets) {
            (true, false) if self.pattern.has(Mark::Fill) => {}
            (true, _) => self.out.push(' '),
            (false, true) => self.out.push('<'),
            (false, false) => self.out.push('-'),
        }
    }

    fn trailing_sign(&mut self) {
        if self.is_sign_written && self.has_brackets {
            self.out.push(if self.digits.sign == Sign::Plus { ' ' } else { '>' });
        } else if self.pattern.has(Mark::Sign) && self.sign_at == SignAt::After {
            self.out.push(self.sign_character());
        }
    }
}

/// Digits and signs of the pattern mean nothing then.
fn lay_out_roman(pattern: &Pattern, numeral: &str) -> String {
    /// As many as the longest one has.
    const WIDTH: usize = 15;

    let mut out = String::new();
    for part in &pattern.parts {
        match part {
            Part::Roman { is_upper } => {
                let blanks = if pattern.has(Mark::Fill) { 0 } else { WIDTH.saturating_sub(numeral.len()) };
                out.extend(iter::repeat_n(' ', blanks));
                out.push_str(&if *is_upper { numeral.to_owned() } else { numeral.to_ascii_lowercase() });
            }
            Part::Currency => out.push(' '),
            Part::Comma | Part::Group | Part::Minus | Part::Plus if !pattern.has(Mark::Fill) => out.push(' '),
            // There is no sign, and nothing where it should be ends the text.
            Part::PlusOrMinus => return out,
            Part::Literal(letter) => out.push(*letter),
            _ => {}
        }
    }
    out
}

/// `st`, `nd`, `rd` or `th`.
fn ordinal(digits: &str, is_upper: bool) -> Result<&'static str> {
    let mut last = digits.bytes().rev();
    let one = last.next().filter(u8::is_ascii_digit);
    let one = one.ok_or_else(|| fault("22P02", format!("\"{digits}\" is not a number")))?;
    let endings = match (last.next(), one) {
        (Some(b'1'), _) => ["th", "TH"],
        (_, b'1') => ["st", "ST"],
        (_, b'2') => ["nd", "ND"],
        (_, b'3') => ["rd", "RD"],
        _ => ["th", "TH"],
    };
    Ok(endings[usize::from(is_upper)])
}

/// 1 to 3999.
pub(super) fn roman(number: i64) -> String {
    const STEPS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];

    if !(1..=3999).contains(&number) {
        return "#".repeat(15);
    }
    let mut rest = number;
    let mut numeral = String::new();
    for (value, letters) in STEPS {
        while rest >= value {
            numeral.push_str(letters);
            rest -= value;
        }
    }
    numeral
}
