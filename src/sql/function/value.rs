//! One value of a row, as the functions of the library see it.

use std::{borrow::Cow, fmt};

use arrow::datatypes::i256;

use crate::error::{Code, Error, Result};

/// A value of one row. What Postgres keeps apart by type and the engine does not (`uuid`, `json`, enums, `varchar`) is text here.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::sql) enum Value<'a> {
    /// NULL.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `int2`, `int4` and `int8`.
    Int(i64),
    /// `float4`.
    Real(f32),
    /// `float8`.
    Float(f64),
    /// `numeric`.
    Numeric(Decimal),
    /// `text`, `varchar`, `bpchar` without its padding, `json`, `jsonb`, `uuid` and enums.
    Text(Cow<'a, str>),
    /// `bytea`.
    Bytes(Cow<'a, [u8]>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01: of the clock on the wall for `timestamp`, in UTC for `timestamptz`.
    Timestamp(i64),
    /// `interval`.
    Interval(Interval),
    /// An array of one dimension.
    List(Vec<Value<'a>>),
}

/// `unscaled` / 10^`scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sql) struct Decimal {
    /// All digits, without the point.
    pub(in crate::sql) unscaled: i256,
    /// How many of them are behind the point.
    pub(in crate::sql) scale: u8,
}

/// Three counts that Postgres never mixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(in crate::sql) struct Interval {
    /// Also years.
    pub(in crate::sql) months: i32,
    /// Also weeks.
    pub(in crate::sql) days: i32,
    /// Also hours, minutes and seconds.
    pub(in crate::sql) micros: i64,
}

impl Value<'_> {
    /// What it takes besides itself.
    pub(in crate::sql) fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(values) => values.iter().map(|value| size_of::<Self>() + value.heap_bytes()).sum(),
            _ => 0,
        }
    }

    /// Bytes of the texts in it, which rows may share.
    pub(in crate::sql) fn text_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(values) => values.iter().map(Self::text_bytes).sum(),
            _ => 0,
        }
    }

    /// A text of its own.
    pub(in crate::sql) fn owned(text: impl Into<String>) -> Value<'static> {
        Value::Text(Cow::Owned(text.into()))
    }

    /// The value without what it borrows.
    pub(in crate::sql) fn into_static(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Real(value) => Value::Real(value),
            Self::Float(value) => Value::Float(value),
            Self::Numeric(value) => Value::Numeric(value),
            Self::Text(value) => Value::Text(Cow::Owned(value.into_owned())),
            Self::Bytes(value) => Value::Bytes(Cow::Owned(value.into_owned())),
            Self::Date(value) => Value::Date(value),
            Self::Time(value) => Value::Time(value),
            Self::Timestamp(value) => Value::Timestamp(value),
            Self::Interval(value) => Value::Interval(value),
            Self::List(values) => Value::List(values.into_iter().map(Value::into_static).collect()),
        }
    }

    /// Whether it is NULL.
    pub(in crate::sql) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// A `boolean`.
    pub(in crate::sql) fn bool(&self) -> Result<bool> {
        match self {
            Self::Bool(value) => Ok(*value),
            _ => Err(self.is_not("a boolean")),
        }
    }

    /// An integer of any width.
    pub(in crate::sql) fn int(&self) -> Result<i64> {
        match self {
            Self::Int(value) => Ok(*value),
            _ => Err(self.is_not("an integer")),
        }
    }

    /// A float of any width.
    pub(in crate::sql) fn float(&self) -> Result<f64> {
        match self {
            Self::Float(value) => Ok(*value),
            Self::Real(value) => Ok(f64::from(*value)),
            _ => Err(self.is_not("a float")),
        }
    }

    /// A `numeric`.
    pub(in crate::sql) fn numeric(&self) -> Result<Decimal> {
        match self {
            Self::Numeric(value) => Ok(*value),
            _ => Err(self.is_not("a numeric")),
        }
    }

    /// A text.
    pub(in crate::sql) fn text(&self) -> Result<&str> {
        match self {
            Self::Text(value) => Ok(value),
            _ => Err(self.is_not("a text")),
        }
    }

    /// A `bytea`.
    pub(in crate::sql) fn bytes(&self) -> Result<&[u8]> {
        match self {
            Self::Bytes(value) => Ok(value),
            _ => Err(self.is_not("a bytea")),
        }
    }

    /// Days since 1970.
    pub(in crate::sql) fn date(&self) -> Result<i32> {
        match self {
            Self::Date(value) => Ok(*value),
            _ => Err(self.is_not("a date")),
        }
    }

    /// Microseconds since midnight.
    pub(in crate::sql) fn time(&self) -> Result<i64> {
        match self {
            Self::Time(value) => Ok(*value),
            _ => Err(self.is_not("a time")),
        }
    }

    /// Microseconds since 1970.
    pub(in crate::sql) fn timestamp(&self) -> Result<i64> {
        match self {
            Self::Timestamp(value) => Ok(*value),
            _ => Err(self.is_not("a timestamp")),
        }
    }

    /// An `interval`.
    pub(in crate::sql) fn interval(&self) -> Result<Interval> {
        match self {
            Self::Interval(value) => Ok(*value),
            _ => Err(self.is_not("an interval")),
        }
    }

    /// The elements of an array.
    pub(in crate::sql) fn list(&self) -> Result<&[Self]> {
        match self {
            Self::List(values) => Ok(values),
            _ => Err(self.is_not("an array")),
        }
    }

    fn is_not(&self, what: &str) -> Error {
        Error::internal(format!("{self:?} is not {what}"))
    }
}

/// As Postgres writes it: all digits of the scale.
impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.unscaled.to_string();
        let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
        let scale = usize::from(self.scale);
        if scale == 0 {
            return write!(formatter, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(formatter, "{sign}{whole}.{fraction}")
    }
}

/// An error of a value, with Postgres's message and SQLSTATE.
pub(in crate::sql) fn fault(sqlstate: &'static str, message: impl Into<String>) -> Error {
    Error::new(Code::InvalidValue, message).with_sqlstate(sqlstate)
}
