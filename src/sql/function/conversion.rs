//! How an argument becomes what the signature of a function names.

use arrow::{array::Array as _, datatypes::DataType};
use datafusion::{
    common::{Result as PlanResult, ScalarValue},
    logical_expr::ColumnarValue,
};

use super::{
    Body, Call, Entry,
    column::{Reader, build},
    kind::Kind,
    resolve::Signature,
    udf::{GROUPS, external},
    value::{Decimal, Value},
};
use crate::error::{Code, Error, Result};

const DAY_MICROS: i64 = 86_400_000_000;

/// How an argument becomes what the signature names.
#[derive(Clone, Copy)]
pub(super) enum Conversion {
    /// It is that already, as far as values go.
    None,
    IntToNumeric,
    ToFloat,
    ToReal,
    DateToTimestamp,
    /// By the cast of the library.
    Entry(&'static Entry),
}

impl Conversion {
    pub(super) fn between(from: Kind, to: Kind) -> Result<Self> {
        use Kind::{Bpchar, Float4, Float8, Int2, Int4, Int8, Name, Numeric, Text, Unknown, Varchar};
        Ok(match (from, to) {
            (from, to) if from == to => Self::None,
            (Int2 | Int4 | Int8, Int2 | Int4 | Int8) => Self::None,
            (Int2 | Int4 | Int8, Numeric) => Self::IntToNumeric,
            (Int2 | Int4 | Int8 | Numeric | Float4, Float8) => Self::ToFloat,
            (Int2 | Int4 | Int8, Float4) => Self::ToReal,
            (Kind::Date, Kind::Timestamp) => Self::DateToTimestamp,
            (Varchar | Bpchar | Name | Text | Unknown, Text | Varchar | Bpchar | Name) => Self::None,
            (_, Kind::Any | Kind::AnyElement | Kind::AnyCompatible | Kind::Other | Kind::Enum) => Self::None,
            (from, to) => {
                let from = if from == Unknown { Text } else { from };
                let group = GROUPS.get(&format!("::{}", to.name()));
                let entry = group.and_then(|group| {
                    let is_it = |signature: &Signature| signature.arguments == [from];
                    group.signatures.iter().position(is_it).map(|place| group.entries[place])
                });
                match entry {
                    Some(entry) => Self::Entry(entry),
                    None => {
                        let message = format!("cannot cast type {} to {}", from.long_name(), to.long_name());
                        return Err(Error::new(Code::InvalidSql, message).with_sqlstate("42846"));
                    }
                }
            }
        })
    }

    pub(super) fn apply<'a>(self, call: &Call<'_>, value: Value<'a>) -> Result<Value<'a>> {
        if value.is_null() {
            return Ok(Value::Null);
        }
        Ok(match self {
            Self::None => value,
            Self::IntToNumeric => Value::Numeric(Decimal { unscaled: value.int()?.into(), scale: 0 }),
            Self::ToFloat => match value {
                #[expect(clippy::cast_precision_loss, reason = "Postgres's cast loses it too")]
                Value::Int(value) => Value::Float(value as f64),
                Value::Numeric(value) => Value::Float(value.to_string().parse().unwrap_or(f64::NAN)),
                other => Value::Float(other.float()?),
            },
            #[expect(clippy::cast_precision_loss, reason = "Postgres's cast loses it too")]
            Self::ToReal => Value::Real(value.int()? as f32),
            Self::DateToTimestamp => Value::Timestamp(i64::from(value.date()?).saturating_mul(DAY_MICROS)),
            Self::Entry(entry) => match entry.body {
                Body::Rows(body) => body(call, &[value])?,
                Body::Cast | Body::Engine(_) => value,
            },
        })
    }

    pub(super) fn columnar(
        self,
        call: &Call<'_>,
        value: &ColumnarValue,
        rows: usize,
        wanted: &DataType,
    ) -> PlanResult<ColumnarValue> {
        if &value.data_type() == wanted {
            return Ok(value.clone());
        }
        let Self::Entry(_) = self else { return value.cast_to(wanted, None) };
        let is_scalar = matches!(value, ColumnarValue::Scalar(_));
        let array = value.clone().into_array(if is_scalar { 1 } else { rows })?;
        let reader = Reader::new(&array).map_err(external)?;
        let made = (0..array.len())
            .map(|row| self.apply(call, reader.get(row)).map(Value::into_static))
            .collect::<Result<Vec<_>>>()
            .and_then(|values| build(values, wanted))
            .map_err(external)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&made, 0)?),
            false => ColumnarValue::Array(made),
        })
    }
}
