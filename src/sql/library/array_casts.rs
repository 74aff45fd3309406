//! Casts of arrays: from and to text, and of each element as the library casts one alone.

use crate::{
    error::{Error, Result},
    sql::{
        function::{Argument, Body, Call, Entry, Kind, Value, cast, fault, rows},
        padded_to,
    },
};

use super::{
    array_text::{parsed, written},
    number_casts::{numeric_of, numeric_of_text, real_of_text},
    numbers::{
        decimal::{DIGITS_MAX, Rounding, SCALE_OPEN, digits, fit, literal_int, literal_text, rounded},
        float::float_of,
    },
};

/// Entries for types that arrays are read from texts of, and written as; and for what becomes what between arrays.
macro_rules! casts {
    (text: $($named:literal)*; between: $($from:literal => $($to:literal)*;)*) => {
        &[
            $(
                rows(concat!("::", $named, "[] (text) -> ", $named, "[]"), |call, a| {
                    read(call, a[0].text()?, concat!("::", $named, " (text) -> ", $named))
                })
                .scaled(scale),
                cast(concat!("::", $named, "[] (", $named, "[]) -> ", $named, "[]")),
                rows(concat!("::text (", $named, "[]) -> text"), |call, a| {
                    write(call, a[0].list()?, concat!("::text (", $named, ") -> text"))
                }),
            )*
            $($(
                rows(concat!("::", $to, "[] (", $from, "[]) -> ", $to, "[]"), |call, a| {
                    each(call, a[0].list()?, concat!("::", $to, " (", $from, ") -> ", $to))
                })
                .scaled(scale),
            )*)*
            rows("::text (enum[]) -> text", |_, a| written(a[0].list()?, |element| Ok(element.text()?.to_owned()))),
            rows("pilaster_varchar(varchar[], int8) -> varchar[]", |_, a| cut(a[0].list()?, a[1].int()?)),
            rows("pilaster_bpchar(bpchar[], int8) -> bpchar[]", |_, a| cut(a[0].list()?, a[1].int()?)),
            rows("pilaster_padded(bpchar[], int4) -> text[]", |_, a| padded(a[0].list()?, a[1].int()?)),
            rows("pilaster_numeric(numeric[], int4, int4) -> numeric[]", |_, a| {
                fitted(a[0].list()?, a[1].int()?, a[2].int()?)
            })
            .scaled(|arguments| fitted_scale(arguments).unwrap_or((DIGITS_MAX, 0))),
        ]
    };
}

/// Every cast from or to an array.
pub(in crate::sql) const ENTRIES: &[Entry] = casts! {
    text:
        "int2" "int4" "int8" "float4" "float8" "numeric" "bool" "text" "varchar" "bpchar" "name" "bytea" "date" "time"
        "timestamp" "timestamptz" "interval" "uuid" "json" "jsonb";
    between:
        "int2" => "int4" "int8" "float4" "float8" "numeric" "text" "varchar";
        "int4" => "int2" "int8" "float4" "float8" "numeric" "bool" "text" "varchar";
        "int8" => "int2" "int4" "float4" "float8" "numeric" "text" "varchar";
        "float4" => "int2" "int4" "int8" "float8" "numeric" "text" "varchar";
        "float8" => "int2" "int4" "int8" "float4" "numeric" "text" "varchar";
        "numeric" => "int2" "int4" "int8" "float4" "float8" "text" "varchar";
        "bool" => "int4" "text" "varchar";
        "text" => "int2" "int4" "int8" "float4" "float8" "numeric" "bool" "varchar" "bpchar" "date" "time"
            "timestamp" "timestamptz" "interval" "uuid" "json" "jsonb";
        "varchar" => "int2" "int4" "int8" "float4" "float8" "numeric" "bool" "text" "bpchar" "date" "time"
            "timestamp" "timestamptz" "interval" "uuid" "json" "jsonb";
        "bpchar" => "text" "varchar";
        "name" => "text" "varchar";
        "date" => "timestamp" "timestamptz" "text" "varchar";
        "time" => "interval" "text" "varchar";
        "timestamp" => "date" "time" "timestamptz" "text" "varchar";
        "timestamptz" => "date" "time" "timestamp" "text" "varchar";
        "interval" => "time" "text" "varchar";
        "uuid" => "text" "varchar";
        "json" => "jsonb" "text" "varchar";
        "jsonb" => "json" "text" "varchar";
};
/// What is a text already.
const KEPT: &[&str] = &["bpchar", "uuid", "json", "jsonb"];

/// How one element is cast.
#[derive(Clone, Copy, Debug)]
enum Cast {
    Same,
    Bool,
    ToReal,
    ToFloat,
    ToNumeric,
    Rows(fn(&Call<'_>, &[Value<'_>]) -> Result<Value<'static>>),
}

impl Cast {
    /// By the signature of the cast of one value. From and to `varchar` it is that of `text`.
    fn of(signature: &str) -> Result<Self> {
        let unknown = || Error::internal(format!("there is no cast {signature}"));
        let (target, rest) = signature.trim_start_matches(':').split_once(" (").ok_or_else(unknown)?;
        let (source, _) = rest.split_once(')').ok_or_else(unknown)?;
        let plain = |name| if matches!(name, "varchar" | "name") { "text" } else { name };
        let (source, target) = (plain(source), plain(target));
        let wanted = format!("::{target} ({source}) -> {target}");
        if source == target {
            return Ok(Self::Same);
        }
        let found: Vec<Body> =
            super::entries().filter(|entry| entry.signature == wanted).map(|entry| entry.body).collect();
        let by_rows = found.iter().find_map(|body| if let Body::Rows(body) = body { Some(*body) } else { None });
        match (by_rows, target) {
            (Some(body), _) => Ok(Self::Rows(body)),
            _ if found.is_empty() && !(target == "text" && KEPT.contains(&source)) => Err(unknown()),
            (None, "numeric") => Ok(Self::ToNumeric),
            (None, "float4") => Ok(Self::ToReal),
            (None, "float8") => Ok(Self::ToFloat),
            (None, _) => Ok(Self::Same),
        }
    }

    fn apply(self, call: &Call<'_>, value: &Value<'_>) -> Result<Value<'static>> {
        match (self, value) {
            (_, Value::Null) => Ok(Value::Null),
            (Self::Bool, value) => Ok(Value::owned(if value.bool()? { "t" } else { "f" })),
            (Self::ToReal, Value::Int(value)) => Ok(Value::Real(real_of_text(&value.to_string())?)),
            (Self::ToFloat, Value::Int(value)) => Ok(Value::Float(float_of(*value))),
            (Self::ToFloat, value) => Ok(Value::Float(value.float()?)),
            (Self::ToNumeric, value) => Ok(Value::Numeric(numeric_of(value.int()?))),
            (Self::Rows(body), value) => body(call, std::slice::from_ref(value)),
            (Self::Same | Self::ToReal, value) => Ok(value.clone().into_static()),
        }
    }
}

fn read(call: &Call<'_>, text: &str, signature: &str) -> Result<Value<'static>> {
    let cast = call.prepared(signature, Cast::of)?;
    parsed(text, |element| cast.apply(call, &Value::Text(element.into())))
}

/// In an array a boolean is written by its letter.
fn write(call: &Call<'_>, array: &[Value<'_>], signature: &str) -> Result<Value<'static>> {
    let cast = match signature {
        "::text (bool) -> text" => Cast::Bool,
        signature => *call.prepared(signature, Cast::of)?,
    };
    written(array, |element| Ok(cast.apply(call, element)?.text()?.to_owned()))
}

fn each(call: &Call<'_>, array: &[Value<'_>], signature: &str) -> Result<Value<'static>> {
    let cast = call.prepared(signature, Cast::of)?;
    Ok(Value::List(array.iter().map(|element| cast.apply(call, element)).collect::<Result<_>>()?))
}

/// What is too long is no error here.
fn cut(array: &[Value<'_>], length: i64) -> Result<Value<'static>> {
    let length = usize::try_from(length).unwrap_or(0);
    let first = |element: &Value<'_>| match element {
        Value::Null => Ok(Value::Null),
        text => Ok(Value::owned(text.text()?.chars().take(length).collect::<String>())),
    };
    Ok(Value::List(array.iter().map(first).collect::<Result<_>>()?))
}

/// As `char(n)` is shown.
fn padded(array: &[Value<'_>], length: i64) -> Result<Value<'static>> {
    let length = usize::try_from(length).unwrap_or(0);
    let shown = |element: &Value<'_>| match element {
        Value::Null => Ok(Value::Null),
        text => Ok(Value::owned(padded_to(text.text()?, length))),
    };
    Ok(Value::List(array.iter().map(shown).collect::<Result<_>>()?))
}

fn fitted(array: &[Value<'_>], precision: i64, scale: i64) -> Result<Value<'static>> {
    let fit = |element: &Value<'_>| {
        if element.is_null() {
            return Ok(Value::Null);
        }
        let value = rounded(element.numeric()?, scale, Rounding::HalfAway)?;
        let digits = value.unscaled.to_string().trim_start_matches(['-', '0']).len();
        let whole = i64::try_from(digits).unwrap_or(i64::MAX) - i64::from(value.scale);
        if digits > 0 && whole > precision - scale {
            let limit = if precision == scale { "1".to_owned() } else { format!("10^{}", precision - scale) };
            return Err(fault("22003", "numeric field overflow").with_detail(format!(
                "A field with precision {precision}, scale {scale} must round to an absolute value less than {limit}."
            )));
        }
        Ok(Value::Numeric(value))
    };
    Ok(Value::List(array.iter().map(fit).collect::<Result<_>>()?))
}

fn fitted_scale(arguments: &[Argument<'_>]) -> Option<(u8, i8)> {
    let [_, precision, scale] = arguments else { return None };
    let (precision, scale) = (literal_int(precision)?, literal_int(scale)?);
    Some(fit(precision - scale, scale))
}

/// Precision and scale that an array of numerics needs, by what it is made of.
fn scale(arguments: &[Argument<'_>]) -> (u8, i8) {
    let Some(argument) = arguments.first() else { return (DIGITS_MAX, 0) };
    let numeric = |element: &str| numeric_of_text(element).map(Value::Numeric);
    if let Some(literal) = literal_text(argument).and_then(|text| parsed(text, numeric).ok()) {
        return widest(literal.list().unwrap_or_default());
    }
    let kind = if let Kind::Array(element) = argument.kind { element.kind() } else { argument.kind };
    match digits(&Argument { kind, literal: None, ..*argument }) {
        (whole, 0) => fit(whole, 0),
        _ => fit(i64::from(DIGITS_MAX - SCALE_OPEN), i64::from(SCALE_OPEN)),
    }
}

fn widest(numbers: &[Value<'_>]) -> (u8, i8) {
    let (mut whole, mut behind) = (1, 0);
    for number in numbers.iter().filter_map(|number| number.numeric().ok()) {
        let digits = number.unscaled.to_string().trim_start_matches('-').len();
        whole = whole.max(i64::try_from(digits).unwrap_or(0) - i64::from(number.scale));
        behind = behind.max(i64::from(number.scale));
    }
    fit(whole, behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_has_its_cast() {
        let element = |name: &str| name.replace("[]", "");
        for entry in
            ENTRIES.iter().filter(|entry| entry.signature.starts_with("::") && !entry.signature.contains("enum"))
        {
            let signature = element(entry.signature);
            assert!(signature.starts_with("::text (bool)") || Cast::of(&signature).is_ok(), "{signature}");
        }
    }

    #[test]
    fn numerics_fit_their_type() {
        let check = |text: &str, precision, scale, expect: Result<&str, &str>| {
            let result = fitted(&[Value::Numeric(numeric_of_text(text).unwrap())], precision, scale);
            let spelled = result.map(|array| array.list().unwrap()[0].numeric().unwrap().to_string());
            assert_eq!(spelled.as_deref().map_err(Error::message), expect, "{text}");
        };
        check("1.25", 3, 1, Ok("1.3"));
        check("99.95", 3, 1, Err("numeric field overflow"));
        check("0.04", 1, 1, Ok("0.0"));
    }
}
