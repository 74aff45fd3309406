//! Patterns of `to_char` and `to_number`, read once: what they consist of, and what follows from all of it.

use crate::{
    error::{Error, Result},
    sql::function::fault,
};

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Comma,
    Point,
    Zero,
    Nine,
    Blank,
    LocalePoint,
    Exponent,
    Fill,
    Group,
    Currency,
    Minus,
    Plus,
    Brackets,
    Roman {
        is_upper: bool,
    },
    Sign,
    PlusOrMinus,
    Ordinal {
        is_upper: bool,
    },
    Shift,
    /// What Postgres knows by name and does not heed.
    Ignored,
    /// One character that stands for itself.
    Literal(char),
}

/// Longer names before those that they start with; the others of a letter stand in Postgres's order.
const NAMES: [(&str, Part); 19] = [
    (",", Part::Comma),
    (".", Part::Point),
    ("0", Part::Zero),
    ("9", Part::Nine),
    ("B", Part::Blank),
    ("C", Part::Ignored),
    ("D", Part::LocalePoint),
    ("EEEE", Part::Exponent),
    ("FM", Part::Fill),
    ("G", Part::Group),
    ("L", Part::Currency),
    ("MI", Part::Minus),
    ("PL", Part::Plus),
    ("PR", Part::Brackets),
    ("SG", Part::PlusOrMinus),
    ("SP", Part::Ignored),
    ("S", Part::Sign),
    ("V", Part::Shift),
    ("RN", Part::Roman { is_upper: true }),
];

/// Where an `S` puts the sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum SignAt {
    #[default]
    Nowhere,
    Before,
    After,
}

/// A pattern, and what its parts say together.
#[derive(Clone, Debug, Default)]
pub(super) struct Pattern {
    pub(super) parts: Vec<Part>,
    /// Digits in front of the point.
    pub(super) before: usize,
    /// Digits behind it.
    pub(super) after: usize,
    /// Digits behind `V`.
    pub(super) shift: usize,
    /// Digits in front of the first 0, and up to the last.
    pub(super) zero_start: usize,
    pub(super) zero_end: usize,
    pub(super) sign: SignAt,
    /// Digits in front of `S`.
    pub(super) before_sign: usize,
    marks: u16,
}

/// What is somewhere in a pattern.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    Point,
    /// A 0 in front of the point.
    Zero,
    Blank,
    Fill,
    Sign,
    Brackets,
    Minus,
    Plus,
    Shift,
    Exponent,
    Roman,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut pattern = Self::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some((length, part)) = named(rest) {
                pattern.note(&part)?;
                pattern.parts.push(part);
                rest = &rest[length..];
            } else if first == '"' {
                rest = pattern.quote(&rest[1..]);
            } else {
                // A backslash is itself, but in front of a quotation mark.
                let literal = rest.strip_prefix('\\').filter(|rest| rest.starts_with('"')).unwrap_or(rest);
                rest = pattern.literal(literal);
            }
        }
        Ok(pattern)
    }

    /// The text up to the quotation mark; without one, all of it.
    fn quote<'a>(&mut self, text: &'a str) -> &'a str {
        let mut rest = text;
        loop {
            if rest.is_empty() {
                return rest;
            }
            if let Some(after) = rest.strip_prefix('"') {
                return after;
            }
            rest = self.literal(rest.strip_prefix('\\').filter(|rest| !rest.is_empty()).unwrap_or(rest));
        }
    }

    fn literal<'a>(&mut self, text: &'a str) -> &'a str {
        let mut letters = text.chars();
        self.parts.extend(letters.next().map(Part::Literal));
        letters.as_str()
    }

    pub(super) const fn has(&self, mark: Mark) -> bool {
        self.marks & (1 << mark as u16) != 0
    }

    fn mark(&mut self, mark: Mark) {
        self.marks |= 1 << mark as u16;
    }

    fn note(&mut self, part: &Part) -> Result<()> {
        if self.has(Mark::Exponent) && *part != Part::Exponent {
            return Err(syntax("\"EEEE\" must be the last pattern used"));
        }
        match part {
            Part::Nine | Part::Zero => self.note_digit(*part == Part::Zero)?,
            Part::Blank if self.before == 0 && self.after == 0 && !self.has(Mark::Zero) => self.mark(Mark::Blank),
            Part::Point | Part::LocalePoint => {
                require(!self.has(Mark::Point), "multiple decimal points")?;
                require(!self.has(Mark::Shift), "cannot use \"V\" and decimal point together")?;
                self.mark(Mark::Point);
            }
            Part::Fill => self.mark(Mark::Fill),
            Part::Sign => self.note_sign()?,
            Part::Minus | Part::Plus | Part::PlusOrMinus => {
                require(
                    !self.has(Mark::Sign),
                    match part {
                        Part::Minus => "cannot use \"S\" and \"MI\" together",
                        Part::Plus => "cannot use \"S\" and \"PL\" together",
                        _ => "cannot use \"S\" and \"SG\" together",
                    },
                )?;
                if *part != Part::Plus {
                    self.mark(Mark::Minus);
                }
                if *part != Part::Minus {
                    self.mark(Mark::Plus);
                }
            }
            Part::Brackets => {
                let is_alone = !(self.has(Mark::Sign) || self.has(Mark::Plus) || self.has(Mark::Minus));
                require(is_alone, "cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together")?;
                self.mark(Mark::Brackets);
            }
            Part::Roman { .. } => self.mark(Mark::Roman),
            Part::Shift => {
                require(!self.has(Mark::Point), "cannot use \"V\" and decimal point together")?;
                self.mark(Mark::Shift);
            }
            Part::Exponent => self.note_exponent()?,
            _ => {}
        }
        Ok(())
    }

    fn note_digit(&mut self, is_zero: bool) -> Result<()> {
        let early = if is_zero { "\"0\" must be ahead of \"PR\"" } else { "\"9\" must be ahead of \"PR\"" };
        require(!self.has(Mark::Brackets), early)?;
        if self.has(Mark::Shift) && !is_zero {
            self.shift += 1;
            return Ok(());
        }
        if is_zero && !self.has(Mark::Zero) && !self.has(Mark::Point) {
            self.mark(Mark::Zero);
            self.zero_start = self.before;
        }
        *(if self.has(Mark::Point) { &mut self.after } else { &mut self.before }) += 1;
        if is_zero {
            self.zero_end = self.before + self.after;
        }
        Ok(())
    }

    fn note_sign(&mut self) -> Result<()> {
        require(!self.has(Mark::Sign), "cannot use \"S\" twice")?;
        let is_alone = !(self.has(Mark::Plus) || self.has(Mark::Minus) || self.has(Mark::Brackets));
        require(is_alone, "cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together")?;
        self.mark(Mark::Sign);
        self.sign = if self.has(Mark::Point) { SignAt::After } else { SignAt::Before };
        if !self.has(Mark::Point) {
            self.before_sign = self.before;
        }
        Ok(())
    }

    fn note_exponent(&mut self) -> Result<()> {
        require(!self.has(Mark::Exponent), "cannot use \"EEEE\" twice")?;
        let has_sign =
            self.has(Mark::Sign) || self.has(Mark::Brackets) || self.has(Mark::Minus) || self.has(Mark::Plus);
        if self.has(Mark::Blank) || self.has(Mark::Fill) || has_sign || self.has(Mark::Roman) || self.has(Mark::Shift) {
            return Err(syntax("\"EEEE\" is incompatible with other formats")
                .with_detail("\"EEEE\" may only be used together with digit and decimal point patterns."));
        }
        self.mark(Mark::Exponent);
        Ok(())
    }
}

/// The part that a text starts with, if it is a name, in capitals or small letters throughout.
fn named(text: &str) -> Option<(usize, Part)> {
    let ordinal = ["TH", "th"].into_iter().find(|name| text.starts_with(name));
    if let Some(name) = ordinal {
        return Some((2, Part::Ordinal { is_upper: name == "TH" }));
    }
    if text.starts_with("rn") {
        return Some((2, Part::Roman { is_upper: false }));
    }
    let found = NAMES.iter().find(|(name, _)| {
        text.get(..name.len()).is_some_and(|start| start == *name || start == name.to_ascii_lowercase())
    })?;
    Some((found.0.len(), found.1.clone()))
}

fn require(is_so: bool, message: &str) -> Result<()> {
    if is_so { Ok(()) } else { Err(syntax(message)) }
}

fn syntax(message: &str) -> Error {
    fault("42601", message)
}

#[cfg(test)]
mod tests {
    use super::{Part, Pattern};

    #[test]
    fn parts() {
        let check = |text: &str, expected: &[Part]| assert_eq!(Pattern::parse(text).unwrap().parts, expected, "{text}");
        check("SG9", &[Part::PlusOrMinus, Part::Nine]);
        check("fmRN", &[Part::Fill, Part::Roman { is_upper: true }]);
        check("\"a9\\\"\"x", &[Part::Literal('a'), Part::Literal('9'), Part::Literal('"'), Part::Literal('x')]);
        check(
            "\\\"eEEE",
            &[Part::Literal('"'), Part::Literal('e'), Part::Literal('E'), Part::Literal('E'), Part::Literal('E')],
        );
    }

    #[test]
    fn mistakes() {
        let check = |text: &str, expected: &str| {
            let error = Pattern::parse(text).unwrap_err();
            assert_eq!((error.message(), error.sqlstate()), (expected, Some("42601")), "{text}");
        };
        check("9.9.9", "multiple decimal points");
        check("9.9EEEE9", "\"EEEE\" must be the last pattern used");
        check("S9S", "cannot use \"S\" twice");
        check("9PR9", "\"9\" must be ahead of \"PR\"");
        check("9V.9", "cannot use \"V\" and decimal point together");
        check("FM9EEEE", "\"EEEE\" is incompatible with other formats");
    }
}
