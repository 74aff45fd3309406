//! A number read out of a text by a pattern.

use super::pattern::{Mark, Part, Pattern, SignAt};
use crate::{error::Result, sql::function::fault};

/// What was read.
pub(super) struct Read {
    /// A blank or a sign, then digits.
    pub(super) number: String,
    /// Digits behind the point.
    pub(super) scale: usize,
}

struct Reader<'a> {
    pattern: &'a Pattern,
    text: &'a [u8],
    position: usize,
    sign: u8,
    digits: String,
    count: usize,
    count_after: usize,
    has_point: bool,
}

/// Reads as far as text and pattern go.
pub(super) fn read(pattern: &Pattern, text: &str) -> Result<Read> {
    if pattern.has(Mark::Exponent) {
        return Err(fault("0A000", "\"EEEE\" not supported for input"));
    }
    if pattern.has(Mark::Roman) {
        return Err(fault("0A000", "\"RN\" not supported for input"));
    }
    let text = text.as_bytes();
    let mut reader = Reader {
        pattern,
        text,
        position: 0,
        sign: b' ',
        digits: String::new(),
        count: 0,
        count_after: 0,
        has_point: false,
    };
    for part in &pattern.parts {
        if reader.peek().is_none() {
            break;
        }
        reader.part(part);
    }
    let digits = reader.digits.strip_suffix('.').unwrap_or(&reader.digits);
    Ok(Read { number: format!("{}{digits}", char::from(reader.sign)), scale: reader.count_after })
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.position).copied()
    }

    fn part(&mut self, part: &Part) {
        let next = self.peek().unwrap_or(0);
        match part {
            Part::Nine | Part::Zero | Part::Point | Part::LocalePoint => {
                let is_digit = matches!(part, Part::Nine | Part::Zero);
                self.digit(is_digit);
                self.position += 1;
            }
            Part::Comma | Part::Group if !self.pattern.has(Mark::Fill) && next == b',' => self.position += 1,
            Part::Ordinal { .. } if !self.pattern.has(Mark::Point) => self.skip(2),
            Part::Minus if next == b'-' => self.take_sign(next),
            Part::Plus if next == b'+' => self.take_sign(next),
            Part::PlusOrMinus if matches!(next, b'-' | b'+') => self.take_sign(next),
            Part::Minus | Part::Plus | Part::PlusOrMinus | Part::Currency => self.skip(1),
            Part::Literal(_) => self.position += self.width(),
            _ => {}
        }
    }

    fn take_sign(&mut self, sign: u8) {
        self.sign = sign;
        self.position += 1;
    }

    /// Bytes of the character here.
    fn width(&self) -> usize {
        let after = self.text.get(self.position + 1..).unwrap_or_default();
        1 + after.iter().take_while(|byte| **byte & 0xc0 == 0x80).count()
    }

    /// Over characters that can not belong to a number.
    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            match self.peek() {
                Some(byte) if !b"0123456789.,+-".contains(&byte) => self.position += self.width(),
                _ => return,
            }
        }
    }

    /// Stops on the last byte that it takes.
    fn digit(&mut self, is_digit: bool) {
        if self.peek() == Some(b' ') {
            self.position += 1;
        }
        let pattern = self.pattern;
        if self.sign == b' ' && is_digit && self.count + self.count_after == 0 {
            let is_locale = pattern.has(Mark::Sign) && pattern.sign == SignAt::Before;
            match self.peek() {
                Some(sign @ (b'-' | b'+')) => self.take_sign(sign),
                Some(b'<') if pattern.has(Mark::Brackets) && !is_locale => self.take_sign(b'-'),
                _ => {}
            }
        }
        let Some(next) = self.peek() else { return };
        let mut is_read = false;
        if next.is_ascii_digit() {
            if self.has_point && self.count_after == pattern.after {
                return;
            }
            self.digits.push(char::from(next));
            *(if self.has_point { &mut self.count_after } else { &mut self.count }) += 1;
            is_read = true;
        } else if pattern.has(Mark::Point) && !self.has_point && next == b'.' {
            self.digits.push('.');
            self.has_point = true;
            is_read = true;
        }
        if self.sign == b' ' && self.count + self.count_after > 0 {
            self.sign_behind(next, is_read);
        }
    }

    /// A sign behind the last digit: where that is, a pattern does not say exactly.
    fn sign_behind(&mut self, next: u8, is_read: bool) {
        let pattern = self.pattern;
        let after = self.text.get(self.position + 1).copied();
        if pattern.has(Mark::Sign) && is_read && after.is_some_and(|after| !after.is_ascii_digit()) {
            if let Some(sign @ (b'-' | b'+')) = after {
                self.take_sign(sign);
            }
        } else if !is_read
            && !pattern.has(Mark::Sign)
            && (pattern.has(Mark::Plus) || pattern.has(Mark::Minus))
            && matches!(next, b'-' | b'+')
        {
            self.sign = next;
        }
    }
}
