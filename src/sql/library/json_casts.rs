//! Casts from and to `json` and `jsonb`.

use super::{
    json_text::{canonical, read, validate},
    json_value::Json,
    number_casts::{float_of_text, numeric_of_text, real_of_text},
    numbers::decimal::{DIGITS_MAX, SCALE_OPEN, fit},
};
use crate::{
    error::{Error, Result},
    sql::function::{Entry, Value, cast, fault, rows},
};

/// Casts; those to `json` keep the text.
pub(in crate::sql) const ENTRIES: &[Entry] = &[
    rows("::json (text) -> json", |_, a| {
        validate(a[0].text()?)?;
        Ok(a[0].clone().into_static())
    }),
    rows("::jsonb (text) -> jsonb", |_, a| Ok(Value::owned(canonical(a[0].text()?)?))),
    rows("::jsonb (json) -> jsonb", |_, a| Ok(Value::owned(canonical(a[0].text()?)?))),
    cast("::json (jsonb) -> json"),
    cast("::text (json) -> text"),
    cast("::text (jsonb) -> text"),
    rows("::bool (jsonb) -> bool", |_, a| match read(a[0].text()?)? {
        Json::Bool(value) => Ok(Value::Bool(value)),
        other => Err(cannot_cast(&other, "boolean")),
    }),
    rows("::int2 (jsonb) -> int2", |_, a| integer(a, "smallint", i64::from(i16::MIN), i64::from(i16::MAX))),
    rows("::int4 (jsonb) -> int4", |_, a| integer(a, "integer", i64::from(i32::MIN), i64::from(i32::MAX))),
    rows("::int8 (jsonb) -> int8", |_, a| integer(a, "bigint", i64::MIN, i64::MAX)),
    rows("::float4 (jsonb) -> float4", |_, a| Ok(Value::Real(real_of_text(&number(a, "real")?)?))),
    rows("::float8 (jsonb) -> float8", |_, a| Ok(Value::Float(float_of_text(&number(a, "double precision")?)?))),
    rows("::numeric (jsonb) -> numeric", |_, a| Ok(Value::Numeric(numeric_of_text(&number(a, "numeric")?)?)))
        .scaled(|_| fit(i64::from(DIGITS_MAX - SCALE_OPEN), i64::from(SCALE_OPEN))),
];

fn cannot_cast(value: &Json<'_>, target: &str) -> Error {
    let kind = match value {
        Json::Number(_) => "numeric",
        other => other.type_name(),
    };
    fault("22023", format!("cannot cast jsonb {kind} to type {target}"))
}

/// The number with all its digits.
fn number(a: &[Value<'_>], target: &str) -> Result<String> {
    match read(a[0].text()?)? {
        Json::Number(digits) => Ok(digits.into_owned()),
        other => Err(cannot_cast(&other, target)),
    }
}

/// Rounded half away from zero.
fn integer(a: &[Value<'_>], target: &str, min: i64, max: i64) -> Result<Value<'static>> {
    let number = number(a, target)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let step = match (fraction.as_bytes().first(), number.starts_with('-')) {
        (Some(b'5'..), true) => -1,
        (Some(b'5'..), false) => 1,
        _ => 0,
    };
    let rounded = whole.parse::<i128>().ok().map(|whole| whole + step);
    rounded
        .and_then(|rounded| i64::try_from(rounded).ok())
        .filter(|rounded| (min..=max).contains(rounded))
        .map(Value::Int)
        .ok_or_else(|| fault("22003", format!("{target} out of range")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cast() {
        let check = |jsonb: &str, expected: Result<i64, &str>| {
            let cast = integer(&[Value::owned(jsonb)], "smallint", -32768, 32767);
            let cast = cast.and_then(|value| value.int()).map_err(|error| error.message().to_owned());
            assert_eq!(cast, expected.map_err(str::to_owned), "{jsonb}");
        };
        check("2.5", Ok(3));
        check("-0.5", Ok(-1));
        check("32767.5", Err("smallint out of range"));
        check("null", Err("cannot cast jsonb null to type smallint"));
        check("[1]", Err("cannot cast jsonb array to type smallint"));
    }
}
