//! `format('%-10s %1$I %L', …)`.

use std::num::IntErrorKind;

use super::{
    text::{BYTES_MAX, too_large},
    text_more::{quote_ident, quote_literal},
    text_output::output,
};
use crate::{
    error::{Error, Result},
    sql::function::{Call, Entry, Value, fault, rows},
};

/// With and without arguments.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("format(text) -> text", format).takes_null(),
    rows("format(text, VARIADIC any) -> text", format).takes_null(),
];

/// What stands between `%` and the letter.
#[derive(Default)]
struct Specifier {
    /// The argument's number, where it is said.
    argument: Option<i32>,
    is_left: bool,
    width: Width,
}

enum Width {
    Fixed(i32),
    /// The value of the next argument.
    Next,
    /// That of the argument with this number.
    Of(i32),
}

impl Default for Width {
    fn default() -> Self {
        Self::Fixed(0)
    }
}

fn format(call: &Call<'_>, a: &[Value<'_>]) -> Result<Value<'static>> {
    let Value::Text(pattern) = &a[0] else { return Ok(Value::Null) };
    let mut result = String::new();
    let mut next = 1;
    let mut reader = Reader { rest: pattern };
    while let Some(character) = reader.rest.chars().next() {
        if character != '%' {
            result.push(character);
            reader.rest = &reader.rest[character.len_utf8()..];
            continue;
        }
        reader.advance()?;
        if reader.peek() == '%' {
            result.push('%');
            reader.rest = &reader.rest[1..];
            continue;
        }
        let specifier = reader.specifier()?;
        let letter = reader.peek();
        if !matches!(letter, 's' | 'I' | 'L') {
            return Err(hinted(fault("22023", format!("unrecognized format() type specifier \"{letter}\""))));
        }
        reader.rest = &reader.rest[1..];
        let mut take = |number: Option<i32>| {
            let index = number.and_then(|number| usize::try_from(number).ok()).unwrap_or(next);
            if index >= a.len() {
                return Err(fault("22023", "too few arguments for format()"));
            }
            next = index + 1;
            Ok(index)
        };
        let width = match specifier.width {
            Width::Fixed(width) => width,
            Width::Next => width_of(call, a, take(None)?)?,
            Width::Of(number) => width_of(call, a, take(Some(number))?)?,
        };
        let index = take(specifier.argument)?;
        let text = converted(call, a, index, letter)?;
        push_padded(&text, width, specifier.is_left, &mut result)?;
    }
    Ok(Value::owned(result))
}

fn width_of(call: &Call<'_>, a: &[Value<'_>], index: usize) -> Result<i32> {
    if a[index].is_null() {
        return Ok(0);
    }
    let text = output(call, a, index)?;
    let number = text.trim();
    let digits = number.trim_start_matches(['-', '+']);
    let length = number.len() - digits.trim_start_matches(|next: char| next.is_ascii_digit()).len();
    match (number.get(..length).unwrap_or_default().parse(), length == number.len()) {
        (Ok(width), true) => Ok(width),
        // Postgres reads digits until there are too many, whatever follows.
        (Err(error), _) if matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) => {
            Err(fault("22003", format!("value \"{text}\" is out of range for type integer")))
        }
        _ => Err(fault("22P02", format!("invalid input syntax for type integer: \"{text}\""))),
    }
}

fn converted(call: &Call<'_>, a: &[Value<'_>], index: usize, letter: char) -> Result<String> {
    match (letter, a[index].is_null()) {
        ('I', true) => Err(fault("22004", "null values cannot be formatted as an SQL identifier")),
        ('L', true) => Ok("NULL".to_owned()),
        ('I', false) => Ok(quote_ident(&output(call, a, index)?)),
        ('L', false) => Ok(quote_literal(&output(call, a, index)?)),
        _ => output(call, a, index),
    }
}

fn push_padded(text: &str, width: i32, is_left: bool, result: &mut String) -> Result<()> {
    if width == i32::MIN {
        return Err(out_of_range());
    }
    let wanted = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
    let missing = wanted.saturating_sub(text.chars().count());
    if result.len().saturating_add(text.len()).saturating_add(missing) > BYTES_MAX {
        return Err(too_large());
    }
    let padding = std::iter::repeat_n(' ', missing);
    if is_left || width < 0 {
        result.push_str(text);
        result.extend(padding);
    } else {
        result.extend(padding);
        result.push_str(text);
    }
    Ok(())
}

fn hinted(error: Error) -> Error {
    error.with_hint("For a single \"%\" use \"%%\".")
}

fn out_of_range() -> Error {
    fault("22003", "number is out of range")
}

/// What is left of the pattern.
struct Reader<'p> {
    rest: &'p str,
}

impl Reader<'_> {
    /// Behind a `%` there is always something: [`Self::advance`] sees to that.
    fn peek(&self) -> char {
        self.rest.chars().next().unwrap_or_default()
    }

    fn advance(&mut self) -> Result<()> {
        self.rest = self.rest.get(self.peek().len_utf8()..).unwrap_or_default();
        if self.rest.is_empty() {
            return Err(hinted(fault("22023", "unterminated format() type specifier")));
        }
        Ok(())
    }

    fn specifier(&mut self) -> Result<Specifier> {
        let mut specifier = Specifier::default();
        if let Some(number) = self.number()? {
            if self.peek() != '$' {
                return Ok(Specifier { width: Width::Fixed(number), ..specifier });
            }
            specifier.argument = Some(numbered(number)?);
            self.advance()?;
        }
        while self.peek() == '-' {
            specifier.is_left = true;
            self.advance()?;
        }
        if self.peek() != '*' {
            specifier.width = Width::Fixed(self.number()?.unwrap_or_default());
            return Ok(specifier);
        }
        self.advance()?;
        specifier.width = Width::Next;
        if let Some(number) = self.number()? {
            if self.peek() != '$' {
                return Err(fault("22023", "width argument position must be ended by \"$\""));
            }
            specifier.width = Width::Of(numbered(number)?);
            self.advance()?;
        }
        Ok(specifier)
    }

    fn number(&mut self) -> Result<Option<i32>> {
        let mut number = None;
        while let Some(digit) = self.peek().to_digit(10).and_then(|digit| i32::try_from(digit).ok()) {
            let longer = number.unwrap_or(0_i32).checked_mul(10).and_then(|tens| tens.checked_add(digit));
            number = Some(longer.ok_or_else(out_of_range)?);
            self.advance()?;
        }
        Ok(number)
    }
}

fn numbered(number: i32) -> Result<i32> {
    match number {
        0 => Err(fault("22023", "format specifies argument 0, but arguments are numbered from 1")),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::{Value, format};
    use crate::sql::function::{Call, Kind};

    #[test]
    fn formats() {
        let check = |pattern: &str, expected: &str| {
            let a = [Value::owned(pattern), Value::owned("a'b"), Value::Null, Value::Int(-7)];
            let kinds = [Kind::Text, Kind::Text, Kind::Text, Kind::Int4];
            let found = format(&Call::new(Tz::UTC, &kinds), &a);
            let found = found.map_or_else(|error| error.message().to_owned(), |text| text.text().unwrap().to_owned());
            assert_eq!(found, expected);
        };
        check("%s|%L|%5s%%", "a'b|NULL|   -7%");
        check("%1$-5s|%1$I|%3$L", "a'b  |\"a'b\"|'-7'");
        check("%*3s", "width argument position must be ended by \"$\"");
        check("%2$I", "null values cannot be formatted as an SQL identifier");
        check("%9$s", "too few arguments for format()");
        check("%", "unterminated format() type specifier");
        check("%d", "unrecognized format() type specifier \"d\"");
    }
}
