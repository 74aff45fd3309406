//! `to_char` of numbers and `to_number`, in the C locale: point, comma, and no currency sign.

mod input;
mod output;
mod pattern;

use num_bigint::BigInt;

use super::{
    number_casts::{numeric_of, numeric_of_text},
    numbers::{
        decimal::{Rounding, SCALE_OPEN, decimal, divided, fit, literal_text, power_of_ten, rounded, too_wide, wide},
        float::whole,
        int8,
    },
};
use crate::{
    error::{Error, Result},
    sql::function::{Argument, Call, Decimal, Entry, Value, fault, rows},
};
use output::{Digits, Sign, lay_out, roman};
use pattern::{Mark, Pattern};

/// Texts of numbers by a pattern, and numbers of such texts.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("to_char(int4, text) -> text", |call, a| {
        formatted(call, a[1].text()?, |pattern| int4_digits(pattern, a[0].int()?))
    }),
    rows("to_char(int8, text) -> text", |call, a| {
        formatted(call, a[1].text()?, |pattern| int8_digits(pattern, a[0].int()?))
    }),
    rows("to_char(numeric, text) -> text", |call, a| {
        formatted(call, a[1].text()?, |pattern| numeric_digits(pattern, a[0].numeric()?))
    }),
    rows("to_char(float4, text) -> text", |call, a| {
        formatted(call, a[1].text()?, |pattern| float_digits(pattern, a[0].float()?, REAL))
    }),
    rows("to_char(float8, text) -> text", |call, a| {
        formatted(call, a[1].text()?, |pattern| float_digits(pattern, a[0].float()?, FLOAT))
    }),
    rows("to_number(text, text) -> numeric", |call, a| to_number(call, a[0].text()?, a[1].text()?)).scaled(scale),
];

/// Digits behind the point of a numeric in Postgres, at most.
const SCALE_MAX: usize = 16_383;

/// What a pattern is filled with.
enum Content {
    /// By the pattern's rules.
    Digits(Digits),
    /// As it is.
    Text(String),
}

fn formatted(
    call: &Call<'_>,
    format: &str,
    content: impl FnOnce(&Pattern) -> Result<Content>,
) -> Result<Value<'static>> {
    if format.is_empty() {
        return Ok(Value::owned(""));
    }
    let pattern = call.prepared(format, Pattern::parse)?;
    let content = content(&pattern)?;
    filled(&pattern, content).map(Value::owned)
}

fn filled(pattern: &Pattern, content: Content) -> Result<String> {
    match content {
        Content::Digits(digits) => lay_out(pattern, &digits),
        Content::Text(text) => Ok(text),
    }
}

fn roman_digits(number: i64) -> Content {
    Content::Digits(Digits { text: roman(number), sign: Sign::None, padding: 0, before: 0, after: 0 })
}

fn int4_digits(pattern: &Pattern, value: i64) -> Result<Content> {
    if pattern.has(Mark::Roman) {
        return Ok(roman_digits(value));
    }
    if pattern.has(Mark::Exponent) {
        return Ok(Content::Text(scientific_float(super::numbers::float::float_of(value), pattern)));
    }
    // Postgres lets it wrap, and a factor that is no integer becomes the smallest one.
    let factor = u32::try_from(pattern.shift).ok().and_then(|shift| 10_i32.checked_pow(shift)).unwrap_or(i32::MIN);
    let value = i32::try_from(value).map_err(|_| fault("22003", "integer out of range"))?;
    Ok(int_digits(pattern, i64::from(value.wrapping_mul(factor))))
}

fn int8_digits(pattern: &Pattern, value: i64) -> Result<Content> {
    if pattern.has(Mark::Roman) {
        return super::numbers::int4(value)?.int().map(roman_digits);
    }
    if pattern.has(Mark::Exponent) {
        return scientific(numeric_of(value), pattern);
    }
    let factor = u32::try_from(pattern.shift).ok().and_then(|shift| 10_i64.checked_pow(shift));
    let value = int8(factor.and_then(|factor| value.checked_mul(factor)))?.int()?;
    Ok(int_digits(pattern, value))
}

fn int_digits(pattern: &Pattern, value: i64) -> Content {
    let sign = if value < 0 { Sign::Minus } else { Sign::Plus };
    let mut text = value.unsigned_abs().to_string();
    if pattern.after > 0 {
        text.push('.');
        text.extend(std::iter::repeat_n('0', pattern.after));
    }
    fitted(text, sign, pattern.before + pattern.shift, pattern.after)
}

fn numeric_digits(pattern: &Pattern, value: Decimal) -> Result<Content> {
    if pattern.has(Mark::Roman) {
        let whole =
            rounded(value, 0, Rounding::HalfAway)?.unscaled.to_i128().and_then(|value| i64::try_from(value).ok());
        return super::numbers::int4(whole)?.int().map(roman_digits);
    }
    if pattern.has(Mark::Exponent) {
        return scientific(value, pattern);
    }
    let after = pattern.after.min(SCALE_MAX);
    let raised = pattern.shift + after;
    let raised = u32::try_from(raised).ok().filter(|_| pattern.shift <= SCALE_MAX).ok_or_else(too_wide)?;
    let unscaled = match raised.checked_sub(u32::from(value.scale)) {
        Some(more) => wide(value.unscaled) * power_of_ten(more),
        None => divided(&wide(value.unscaled), &power_of_ten(u32::from(value.scale) - raised)),
    };
    let (sign, text) = signed(&plain(&unscaled, after));
    Ok(fitted(text, sign, pattern.before + pattern.shift, pattern.after))
}

/// All digits, with the point in front of the last `scale` ones.
fn plain(unscaled: &BigInt, scale: usize) -> String {
    let digits = unscaled.to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

/// What is particular to a width of floats.
#[derive(Clone, Copy)]
struct Width {
    /// Digits that are sure.
    digits: usize,
    shifted: fn(f64, usize) -> f64,
}

const REAL: Width = Width { digits: 6, shifted: shifted_real };
const FLOAT: Width = Width { digits: 15, shifted: |value, places| value * tens(places) };

#[expect(clippy::cast_possible_truncation, reason = "it is a real, and multiplied as such")]
fn shifted_real(value: f64, places: usize) -> f64 {
    f64::from(value as f32 * tens(places) as f32)
}

fn tens(places: usize) -> f64 {
    10_f64.powf(f64::from(u32::try_from(places).unwrap_or(u32::MAX)))
}

#[expect(clippy::unnecessary_wraps, reason = "as its siblings")]
fn float_digits(pattern: &Pattern, value: f64, width: Width) -> Result<Content> {
    if pattern.has(Mark::Roman) {
        return Ok(roman_digits(if value.is_nan() { 0 } else { whole(value.round_ties_even()) }));
    }
    if pattern.has(Mark::Exponent) {
        let is_number = value.is_finite();
        return Ok(Content::Text(if is_number {
            scientific_float(value, pattern)
        } else {
            scientific_overflow(pattern)
        }));
    }
    let value = if pattern.has(Mark::Shift) { (width.shifted)(value, pattern.shift) } else { value };
    let fixed = |value: f64, places: usize| match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        value => format!("{value:.places$}"),
    };
    // No more digits than are sure.
    let after = pattern.after.min(width.digits.saturating_sub(fixed(value.abs(), 0).len()));
    let (sign, text) = signed(&fixed(value, after));
    Ok(fitted(text, sign, pattern.before + pattern.shift, after))
}

fn signed(text: &str) -> (Sign, String) {
    match text.strip_prefix('-') {
        Some(digits) => (Sign::Minus, digits.to_owned()),
        None => (Sign::Plus, text.to_owned()),
    }
}

/// Padded where the pattern has more digits in front of the point; where it has fewer, a row of #.
fn fitted(text: String, sign: Sign, before: usize, after: usize) -> Content {
    let length = text.find('.').unwrap_or(text.len());
    let padding = before.saturating_sub(length);
    let text = if length > before { format!("{}.{}", "#".repeat(before), "#".repeat(after)) } else { text };
    Content::Digits(Digits { text, sign, padding, before, after })
}

/// One digit in front of the point, and an exponent. A quotient that rounds up to ten stays so, as in Postgres.
fn scientific(value: Decimal, pattern: &Pattern) -> Result<Content> {
    let digits = wide(value.unscaled);
    let is_zero = digits.bits() == 0;
    let length = digits.magnitude().to_string().len();
    let exponent =
        if is_zero { 0 } else { i64::try_from(length).map_err(|_| too_wide())? - 1 - i64::from(value.scale) };
    let places = pattern.after.min(SCALE_MAX);
    let surplus = i64::from(value.scale) + exponent - i64::try_from(places).map_err(|_| too_wide())?;
    let power = power_of_ten(u32::try_from(surplus.unsigned_abs()).map_err(|_| too_wide())?);
    let mantissa = if surplus > 0 { divided(&digits, &power) } else { digits * power };
    let text = plain(&mantissa, places);
    let blank = if text.starts_with('-') { "" } else { " " };
    Ok(Content::Text(format!("{blank}{text}e{exponent:+03}")))
}

fn scientific_float(value: f64, pattern: &Pattern) -> String {
    /// Postgres computes no more digits, and writes zeros behind them.
    const DIGITS_MAX: usize = 350;

    let places = pattern.after.min(DIGITS_MAX);
    let text = format!("{value:.places$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let blank = if mantissa.starts_with('-') { "" } else { " " };
    let zeros = "0".repeat(pattern.after - places);
    format!("{blank}{mantissa}{zeros}e{exponent:+03}", exponent = exponent.parse::<i32>().unwrap_or(0))
}

/// A row of # as long as a number would be.
fn scientific_overflow(pattern: &Pattern) -> String {
    format!(" {}.{}", "#".repeat(pattern.before), "#".repeat(pattern.after + 4))
}

fn to_number(call: &Call<'_>, text: &str, format: &str) -> Result<Value<'static>> {
    if format.is_empty() {
        return Ok(Value::Null);
    }
    let pattern = call.prepared(format, Pattern::parse)?;
    number_of(&pattern, text).map(Value::Numeric)
}

fn number_of(pattern: &Pattern, text: &str) -> Result<Decimal> {
    let read = input::read(pattern, text)?;
    let value = numeric_of_text(&read.number)?;
    let precision = pattern.before + pattern.shift + read.scale;
    let length = wide(value.unscaled).magnitude().to_string().trim_start_matches('0').len();
    if length.saturating_sub(usize::from(value.scale)) > precision - read.scale {
        return Err(too_many_digits(precision, read.scale));
    }
    if !pattern.has(Mark::Shift) {
        return Ok(value);
    }
    let shift = u32::try_from(pattern.shift).map_err(|_| too_wide())?;
    decimal(&wide(value.unscaled), u32::from(value.scale) + shift)
}

fn too_many_digits(precision: usize, scale: usize) -> Error {
    let bound = match precision - scale {
        0 => "1".to_owned(),
        digits => format!("10^{digits}"),
    };
    fault("22003", "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {bound}."
    ))
}

/// Precision and scale of what is read by a pattern that is written in the statement.
fn scale(arguments: &[Argument<'_>]) -> (u8, i8) {
    let count = |digits: usize| i64::try_from(digits).unwrap_or(i64::MAX);
    match arguments.get(1).and_then(literal_text).map(Pattern::parse) {
        Some(Ok(pattern)) => fit(count(pattern.before + pattern.shift), count(pattern.after + pattern.shift)),
        _ => fit(46, i64::from(SCALE_OPEN)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, FLOAT, Pattern, filled, float_digits, int4_digits, int8_digits, number_of, numeric_digits};
    use crate::{error::Result, sql::library::number_casts::numeric_of_text};

    fn check(content: impl FnOnce(&Pattern) -> Result<Content>, pattern: &str, expected: &str) {
        let pattern = Pattern::parse(pattern).unwrap();
        assert_eq!(filled(&pattern, content(&pattern).unwrap()).unwrap(), expected);
    }

    #[test]
    fn integers_and_floats() {
        let check_int = |value: i64, pattern: &str, expected: &str| check(|p| int4_digits(p, value), pattern, expected);
        check_int(-7, "99PR", " <7>");
        check_int(123_456, "999,999,999", "     123,456");
        check_int(42, "999th", "  42nd");
        check_int(5, "9. \"lost\"", " 5");
        check(|p| int8_digits(p, 1994), "FMRN", "MCMXCIV");
        check(|p| float_digits(p, 0.0, FLOAT), "FM999999.999", "0.");
        check(|p| float_digits(p, f64::NEG_INFINITY, FLOAT), "999.9", "-###.#");
    }

    #[test]
    fn numerics() {
        let check = |value: &str, pattern: &str, expected: &str| {
            check(|p| numeric_digits(p, numeric_of_text(value)?), pattern, expected);
        };
        check("-0.1", "99.9", "  -.1");
        check("2.5", "S9990.9", "   +2.5");
        check("2.5", "9990.9S", "   2.5+");
        check("485.8", "\"<\"999\"> \"V9", "< 485> 8");
        check("12", "FM99.00", "12.00");
        check("1234.5", "999.9", " ###.#");
        check("12345678901234567890.5", "9.9999EEEE", " 1.2346e+19");
    }

    #[test]
    fn texts_to_numbers() {
        let check = |text: &str, pattern: &str, expected: &str| {
            let value = number_of(&Pattern::parse(pattern).unwrap(), text);
            let read = value.map_or_else(|error| error.message().to_owned(), |value| value.to_string());
            assert_eq!(read, expected, "{text} by {pattern}");
        };
        check("12,454.8-", "99G999D9S", "-12454.8");
        check("<123>", "999PR", "-123");
        check("1,234", "9999", "123");
        check("12.345", "99V9", "1.2");
        check("", "999", "invalid input syntax for type numeric: \" \"");
        check("12345", "99.9", "numeric field overflow");
    }
}
