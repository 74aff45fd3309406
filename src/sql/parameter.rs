//! Types and values of parameters.

use std::{fmt, str::FromStr, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, TimeUnit},
};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use datafusion::{common::utils::SingleRowListArrayBuilder, scalar::ScalarValue};

use super::quote_literal;
use crate::error::{Code, Error, Result};

/// Digits that a numeric parameter may have.
const NUMERIC_DIGITS_MAX: usize = 38;

/// What a parameter holds: one value, or a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParameterType {
    /// Of each value.
    pub scalar: ScalarType,
    /// Whether it is a list, for `= ANY($x)`.
    pub is_list: bool,
}

/// The type of one value. Printed and parsed as Postgres's short name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are Postgres's")]
pub enum ScalarType {
    Bool,
    Int4,
    Int8,
    Float8,
    Numeric,
    Text,
    Date,
    Timestamp,
    Timestamptz,
    Uuid,
}

/// A value of a parameter's type, or NULL.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is the value of the type of its name")]
pub enum ParameterValue {
    Null,
    Bool(bool),
    Int4(i32),
    Int8(i64),
    Float8(f64),
    Numeric(Numeric),
    /// Text and uuid.
    Text(String),
    Date(NaiveDate),
    Timestamp(NaiveDateTime),
    Timestamptz(DateTime<Utc>),
    /// No element is a list.
    List(Vec<Self>),
}

/// A decimal number: `unscaled / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numeric {
    /// All its digits as one integer.
    pub unscaled: i128,
    /// How many of them stand behind the point.
    pub scale: u8,
}

impl ScalarType {
    /// Every type there is.
    pub const ALL: &'static [Self] = &[
        Self::Bool,
        Self::Int4,
        Self::Int8,
        Self::Float8,
        Self::Numeric,
        Self::Text,
        Self::Date,
        Self::Timestamp,
        Self::Timestamptz,
        Self::Uuid,
    ];

    /// Postgres's short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Float8 => "float8",
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Timestamptz => "timestamptz",
            Self::Uuid => "uuid",
        }
    }

    /// How a value is written, and one that may be tried, for error messages and docs.
    #[must_use]
    pub const fn format(self) -> (&'static str, &'static str) {
        match self {
            Self::Bool => ("true or false", "true"),
            Self::Int4 => ("a whole number from -2147483648 to 2147483647", "42"),
            Self::Int8 => ("a whole number of at most 64 bits", "42"),
            Self::Float8 => ("a number", "0.5"),
            Self::Numeric => ("a decimal number of at most 38 digits", "12.50"),
            Self::Text => ("any text", "pro"),
            Self::Date => ("YYYY-MM-DD", "2024-12-01"),
            Self::Timestamp => ("YYYY-MM-DDTHH:MM:SS", "2024-12-01T08:00:00"),
            Self::Timestamptz => ("YYYY-MM-DDTHH:MM:SS with Z or an offset", "2024-12-01T08:00:00Z"),
            Self::Uuid => ("a UUID", "0190b6a4-7c1e-7a3b-9f52-3c1d2e4f5a6b"),
        }
    }

    /// Instants are of the session's time zone, in which they are shown.
    fn arrow_type(self, zone: &str) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float8 => DataType::Float64,
            Self::Numeric => DataType::Decimal128(38, 10),
            Self::Text | Self::Uuid => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into())),
        }
    }

    /// Reads a value as text writes it. `None` when it is not of this type.
    #[must_use]
    pub fn parse(self, text: &str) -> Option<ParameterValue> {
        Some(match self {
            Self::Bool => ParameterValue::Bool(match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "1" | "yes" | "on" => true,
                "false" | "f" | "0" | "no" | "off" => false,
                _ => return None,
            }),
            Self::Int4 => ParameterValue::Int4(text.parse().ok()?),
            Self::Int8 => ParameterValue::Int8(text.parse().ok()?),
            Self::Float8 => ParameterValue::Float8(text.parse().ok().filter(|number: &f64| number.is_finite())?),
            Self::Numeric => ParameterValue::Numeric(text.parse().ok()?),
            Self::Text => ParameterValue::Text(text.to_owned()),
            Self::Uuid => ParameterValue::Text(uuid::Uuid::parse_str(text).ok()?.to_string()),
            Self::Date => ParameterValue::Date(parse_date(text)?),
            Self::Timestamp => ParameterValue::Timestamp(parse_timestamp(text)?),
            Self::Timestamptz => ParameterValue::Timestamptz(parse_timestamptz(text)?),
        })
    }
}

impl ParameterType {
    /// A type of one value.
    #[must_use]
    pub const fn scalar(scalar: ScalarType) -> Self {
        Self { scalar, is_list: false }
    }

    /// The engine's type of a value of this type: numerics by their own digits, so that none is rounded.
    #[must_use]
    pub fn arrow_type_of(self, value: &ParameterValue, zone: &str) -> DataType {
        self.to_scalar(value, zone).data_type()
    }

    /// The value as the engine's literal, in a session of this time zone.
    ///
    /// # Panics
    /// If the value is not of this type, which coercion has excluded.
    #[must_use]
    pub fn to_scalar(self, value: &ParameterValue, zone: &str) -> ScalarValue {
        let items: &[ParameterValue] = match value {
            ParameterValue::Null if self.is_list => {
                let field = Field::new_list_field(self.scalar.arrow_type(zone), true);
                return ScalarValue::try_new_null(&DataType::List(Arc::new(field))).expect("lists can be NULL");
            }
            ParameterValue::Null => {
                return ScalarValue::try_new_null(&self.scalar.arrow_type(zone))
                    .expect("every scalar type can be NULL");
            }
            ParameterValue::List(items) => items,
            one => std::slice::from_ref(one),
        };
        let array = self.array(items, zone);
        if self.is_list {
            SingleRowListArrayBuilder::new(array).with_nullable(true).build_list_scalar()
        } else {
            ScalarValue::try_from_array(&array, 0).expect("the array has one value of a scalar type")
        }
    }

    fn array(self, items: &[ParameterValue], zone: &str) -> ArrayRef {
        macro_rules! collect {
            ($array:ty, $variant:ident, $map:expr) => {
                items
                    .iter()
                    .map(|item| match item {
                        ParameterValue::$variant(value) => Some($map(value)),
                        ParameterValue::Null => None,
                        other => panic!("{other:?} is not of type {self}"),
                    })
                    .collect::<$array>()
            };
        }
        match self.scalar {
            ScalarType::Bool => Arc::new(collect!(BooleanArray, Bool, |value: &bool| *value)),
            ScalarType::Int4 => Arc::new(collect!(Int32Array, Int4, |value: &i32| *value)),
            ScalarType::Int8 => Arc::new(collect!(Int64Array, Int8, |value: &i64| *value)),
            ScalarType::Float8 => Arc::new(collect!(Float64Array, Float8, |value: &f64| *value)),
            ScalarType::Text | ScalarType::Uuid => {
                Arc::new(collect!(StringArray, Text, |value: &String| value.clone()))
            }
            ScalarType::Date => Arc::new(collect!(Date32Array, Date, |value: &NaiveDate| days(*value))),
            ScalarType::Timestamp => {
                Arc::new(collect!(TimestampMicrosecondArray, Timestamp, |value: &NaiveDateTime| value
                    .and_utc()
                    .timestamp_micros()))
            }
            ScalarType::Timestamptz => Arc::new(
                collect!(TimestampMicrosecondArray, Timestamptz, |value: &DateTime<Utc>| value.timestamp_micros())
                    .with_timezone(zone),
            ),
            ScalarType::Numeric => {
                let numerics = items.iter().filter_map(|item| match item {
                    ParameterValue::Numeric(numeric) => Some(*numeric),
                    _ => None,
                });
                let (precision, scale) = Numeric::common_type(numerics);
                let array = collect!(Decimal128Array, Numeric, |value: &Numeric| value.at_scale(scale));
                let array = array.with_precision_and_scale(precision, scale as i8);
                Arc::new(array.expect("the common type holds every value"))
            }
        }
    }

    /// The value as a literal that Postgres reads, with its type.
    #[must_use]
    pub fn to_postgres_literal(self, value: &ParameterValue) -> String {
        match value {
            ParameterValue::Null => format!("NULL::{self}"),
            ParameterValue::List(items) => {
                let items: Vec<String> = items
                    .iter()
                    .map(|item| match item {
                        ParameterValue::Null => "NULL".to_owned(),
                        item => quote_literal(&item.to_string()),
                    })
                    .collect();
                format!("ARRAY[{}]::{self}", items.join(", "))
            }
            value => format!("{}::{self}", quote_literal(&value.to_string())),
        }
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for ParameterType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.scalar, if self.is_list { "[]" } else { "" })
    }
}

impl FromStr for ParameterType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, is_list) = text.strip_suffix("[]").map_or((text, false), |name| (name, true));
        let scalar = match name.to_ascii_lowercase().as_str() {
            "bool" | "boolean" => ScalarType::Bool,
            "int4" | "int" | "integer" => ScalarType::Int4,
            "int8" | "bigint" => ScalarType::Int8,
            "float8" | "double precision" => ScalarType::Float8,
            "numeric" | "decimal" => ScalarType::Numeric,
            "text" | "varchar" => ScalarType::Text,
            "date" => ScalarType::Date,
            "timestamp" => ScalarType::Timestamp,
            "timestamptz" => ScalarType::Timestamptz,
            "uuid" => ScalarType::Uuid,
            _ => {
                let names: Vec<&str> = ScalarType::ALL.iter().map(|scalar| scalar.name()).collect();
                return Err(Error::new(Code::InvalidConfig, format!("{text:?} is not a parameter's type"))
                    .with_hint(format!("use one of {}, or a list of one, as in text[]", names.join(", "))));
            }
        };
        Ok(Self { scalar, is_list })
    }
}

/// As Postgres's text of the value, which [`ScalarType::parse`] reads back.
impl fmt::Display for ParameterValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("NULL"),
            Self::Bool(value) => value.fmt(formatter),
            Self::Int4(value) => value.fmt(formatter),
            Self::Int8(value) => value.fmt(formatter),
            Self::Float8(value) => value.fmt(formatter),
            Self::Numeric(value) => value.fmt(formatter),
            Self::Text(value) => formatter.write_str(value),
            Self::Date(value) => value.fmt(formatter),
            Self::Timestamp(value) => write!(formatter, "{}", value.format("%Y-%m-%dT%H:%M:%S%.f")),
            Self::Timestamptz(value) => write!(formatter, "{}", value.format("%Y-%m-%dT%H:%M:%S%.fZ")),
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    write!(formatter, "{}{item}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

impl Numeric {
    /// The least precision and scale that hold all of them.
    fn common_type(numerics: impl Iterator<Item = Self> + Clone) -> (u8, u8) {
        let scale = numerics.clone().map(|numeric| numeric.scale).max().unwrap_or(0);
        let integers = numerics.map(|numeric| numeric.digits().saturating_sub(numeric.scale)).max().unwrap_or(1);
        ((integers + scale).clamp(1, NUMERIC_DIGITS_MAX as u8), scale)
    }

    fn digits(self) -> u8 {
        self.unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log as u8 + 1)
    }

    fn at_scale(self, scale: u8) -> i128 {
        self.unscaled.saturating_mul(10_i128.saturating_pow(u32::from(scale.saturating_sub(self.scale))))
    }
}

impl FromStr for Numeric {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let count = integer.len() + fraction.len();
        if count == 0 || count > NUMERIC_DIGITS_MAX || !all_digits(integer) || !all_digits(fraction) {
            return Err(());
        }
        let unscaled: i128 = format!("{integer}{fraction}").parse().map_err(|_| ())?;
        let scale = u8::try_from(fraction.len()).map_err(|_| ())?;
        Ok(Self { unscaled: if negative { -unscaled } else { unscaled }, scale })
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.scale);
        let digits = format!("{:0>width$}", self.unscaled.unsigned_abs(), width = scale + 1);
        let (integer, fraction) = digits.split_at(digits.len() - scale);
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        write!(formatter, "{sign}{integer}{point}{fraction}")
    }
}

fn days(date: NaiveDate) -> i32 {
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).expect("chrono's dates are within 32 bits of days")
}

fn parse_date(text: &str) -> Option<NaiveDate> {
    // Chrono also takes one-digit months and five-digit years; one spelling keeps cache keys and logs plain.
    (text.len() == 10).then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()).flatten()
}

fn parse_timestamp(text: &str) -> Option<NaiveDateTime> {
    let text = text.replacen(' ', "T", 1);
    let midnight = || parse_date(&text)?.and_hms_opt(0, 0, 0);
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(&text, format).ok())
        .or_else(midnight)
        .filter(micros_are_exact)
}

fn parse_timestamptz(text: &str) -> Option<DateTime<Utc>> {
    // A `+` in a query string arrives as a space; after a time it can only have been one.
    let mut text = text.replacen(' ', "T", usize::from(text.as_bytes().get(10) == Some(&b' ')));
    if let Some(index) = text.rfind(' ') {
        text.replace_range(index..=index, "+");
    }
    DateTime::parse_from_rfc3339(&text)
        .ok()
        .map(|value| value.to_utc())
        .filter(|value| micros_are_exact(&value.naive_utc()))
}

/// Postgres rounds finer times; a parameter that would be rounded is refused instead.
fn micros_are_exact(value: &NaiveDateTime) -> bool {
    value.and_utc().timestamp_subsec_nanos().is_multiple_of(1_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_and_printed() {
        let check = |scalar: ScalarType, text: &str, expect: Option<&str>| {
            let value = scalar.parse(text);
            assert_eq!(value.map(|value| value.to_string()).as_deref(), expect, "{text:?} as {scalar}");
        };
        check(ScalarType::Bool, "T", Some("true"));
        check(ScalarType::Bool, "2", None);
        check(ScalarType::Int4, "2147483647", Some("2147483647"));
        check(ScalarType::Int4, "2147483648", None);
        check(ScalarType::Int8, "-9223372036854775808", Some("-9223372036854775808"));
        check(ScalarType::Int8, "1.0", None);
        check(ScalarType::Float8, "1e3", Some("1000"));
        check(ScalarType::Float8, "NaN", None);
        check(ScalarType::Numeric, "-0.050", Some("-0.050"));
        check(ScalarType::Numeric, ".5", Some("0.5"));
        check(ScalarType::Numeric, "1e3", None);
        check(ScalarType::Numeric, "", None);
        check(ScalarType::Date, "2024-02-29", Some("2024-02-29"));
        check(ScalarType::Date, "2024-13-01", None);
        check(ScalarType::Date, "2024-1-1", None);
        check(ScalarType::Timestamp, "2024-01-01 08:00:00.5", Some("2024-01-01T08:00:00.500"));
        check(ScalarType::Timestamp, "2024-01-01", Some("2024-01-01T00:00:00"));
        check(ScalarType::Timestamp, "2024-01-01T00:00:00.0000001", None);
        check(ScalarType::Timestamptz, "2024-01-01T08:00:00+02:00", Some("2024-01-01T06:00:00Z"));
        check(ScalarType::Timestamptz, "2024-01-01 08:00:00 02:00", Some("2024-01-01T06:00:00Z"));
        check(ScalarType::Timestamptz, "2024-01-01T08:00:00", None);
        check(ScalarType::Uuid, "0190B6A4-7C1E-7A3B-9F52-3C1D2E4F5A6B", Some("0190b6a4-7c1e-7a3b-9f52-3c1d2e4f5a6b"));
        check(ScalarType::Uuid, "x", None);
    }

    #[test]
    fn types_are_named_as_postgres_names_them() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(text.parse::<ParameterType>().ok().map(|it| it.to_string()).as_deref(), expect, "{text}");
        };
        check("bigint", Some("int8"));
        check("text[]", Some("text[]"));
        check("INTEGER", Some("int4"));
        check("int128", None);
    }

    #[test]
    fn literals_for_postgres_carry_their_type() {
        let check = |name: &str, value: ParameterValue, expect: &str| {
            assert_eq!(name.parse::<ParameterType>().unwrap().to_postgres_literal(&value), expect);
        };
        check("text", ParameterValue::Text("it's".into()), "'it''s'::text");
        check("int8", ParameterValue::Null, "NULL::int8");
        check(
            "text[]",
            ParameterValue::List(vec![ParameterValue::Text("a,b".into()), ParameterValue::Null]),
            "ARRAY['a,b', NULL]::text[]",
        );
        check("int4[]", ParameterValue::List(Vec::new()), "ARRAY[]::int4[]");
    }

    #[test]
    fn numerics_become_decimals_of_their_own_size() {
        let check = |texts: &[&str], expect: DataType| {
            let values = texts.iter().map(|text| ScalarType::Numeric.parse(text).unwrap()).collect();
            let kind = ParameterType { scalar: ScalarType::Numeric, is_list: true };
            let DataType::List(field) = kind.arrow_type_of(&ParameterValue::List(values), "UTC") else {
                panic!("a list")
            };
            assert_eq!(*field.data_type(), expect, "{texts:?}");
        };
        check(&["0.05"], DataType::Decimal128(2, 2));
        check(&["100", "0.001"], DataType::Decimal128(6, 3));
        check(&[], DataType::Decimal128(1, 0));
    }

    proptest! {
        #[test]
        fn numerics_print_as_they_were_read(unscaled in any::<i64>(), scale in 0_u8..19) {
            let numeric = Numeric { unscaled: i128::from(unscaled), scale };
            let reread: Numeric = numeric.to_string().parse().unwrap();
            prop_assert_eq!(reread.to_string(), numeric.to_string());
        }

        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,40}") {
            for scalar in ScalarType::ALL {
                let _ = scalar.parse(&text);
            }
        }
    }
}
