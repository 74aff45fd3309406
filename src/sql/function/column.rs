//! Arrow's arrays as values, row by row, and values as an array.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanBuilder, Decimal128Builder, Decimal256Builder, ListArray,
        PrimitiveArray, PrimitiveBuilder, StringViewBuilder, new_null_array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::cast,
    datatypes::{
        ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type,
        Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType,
        TimeUnit, TimestampMicrosecondType, i256,
    },
};

use super::value::{Decimal, Interval, Value, fault};
use crate::error::{Error, Result};

const NANOS_PER_MICRO: i64 = 1_000;

/// An array whose rows can be asked for.
pub(in crate::sql) enum Reader {
    /// Nothing but NULL.
    Null,
    /// One value for all rows.
    One(Value<'static>),
    Of(ArrayRef),
    /// A list, with the reader of its items.
    List(ListArray, Box<Reader>),
}

impl Reader {
    /// Of an array of any type that a query can have.
    pub(in crate::sql) fn new(array: &ArrayRef) -> Result<Self> {
        let failed = |error| Error::internal("an argument cannot be read").with_cause(error);
        let as_type = |data_type: &DataType| cast(array, data_type).map_err(failed);
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal128(..)
            | DataType::Decimal256(..)
            | DataType::Utf8View
            | DataType::BinaryView
            | DataType::Date32
            | DataType::Time64(TimeUnit::Microsecond)
            | DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Interval(IntervalUnit::MonthDayNano) => Self::Of(Arc::clone(array)),
            DataType::Int8 | DataType::UInt8 => Self::Of(as_type(&DataType::Int16)?),
            DataType::UInt16 => Self::Of(as_type(&DataType::Int32)?),
            DataType::UInt32 | DataType::UInt64 => Self::Of(as_type(&DataType::Int64)?),
            DataType::Float16 => Self::Of(as_type(&DataType::Float32)?),
            DataType::Date64 => Self::Of(as_type(&DataType::Date32)?),
            DataType::Time32(_) | DataType::Time64(_) => Self::Of(as_type(&DataType::Time64(TimeUnit::Microsecond))?),
            DataType::Timestamp(_, zone) => {
                Self::Of(as_type(&DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?)
            }
            DataType::Interval(_) | DataType::Duration(_) => {
                Self::Of(as_type(&DataType::Interval(IntervalUnit::MonthDayNano))?)
            }
            DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
                Self::Of(as_type(&DataType::BinaryView)?)
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>().clone();
                let items = Self::new(list.values())?;
                Self::List(list, Box::new(items))
            }
            DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
                return Self::new(&as_type(&DataType::List(Arc::clone(field)))?);
            }
            _ => Self::Of(as_type(&DataType::Utf8View)?),
        })
    }

    /// The value of a row.
    pub(in crate::sql) fn get(&self, row: usize) -> Value<'_> {
        let array = match self {
            Self::Null => return Value::Null,
            Self::One(value) => return value.borrowed(),
            Self::Of(array) if array.is_null(row) => return Value::Null,
            Self::Of(array) => array,
            Self::List(list, _) if list.is_null(row) => return Value::Null,
            Self::List(list, items) => {
                let offsets = list.value_offsets();
                let (from, to) = (offset(offsets[row]), offset(offsets[row + 1]));
                return Value::List((from..to).map(|item| items.get(item)).collect());
            }
        };
        match array.data_type() {
            DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
            DataType::Int16 => Value::Int(array.as_primitive::<Int16Type>().value(row).into()),
            DataType::Int32 => Value::Int(array.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
            DataType::Float32 => Value::Real(array.as_primitive::<Float32Type>().value(row)),
            DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal128(_, scale) => {
                decimal(i256::from_i128(array.as_primitive::<Decimal128Type>().value(row)), *scale)
            }
            DataType::Decimal256(_, scale) => decimal(array.as_primitive::<Decimal256Type>().value(row), *scale),
            DataType::BinaryView => Value::Bytes(Cow::Borrowed(array.as_binary_view().value(row))),
            DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
            DataType::Time64(_) => Value::Time(array.as_primitive::<Time64MicrosecondType>().value(row)),
            DataType::Timestamp(..) => Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)),
            DataType::Interval(_) => {
                let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                let micros = value.nanoseconds / NANOS_PER_MICRO;
                Value::Interval(Interval { months: value.months, days: value.days, micros })
            }
            _ => Value::Text(Cow::Borrowed(array.as_string_view().value(row))),
        }
    }
}

impl<'a> Value<'a> {
    /// The same value, borrowing.
    fn borrowed(&'a self) -> Value<'a> {
        match self {
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
            Self::List(values) => Value::List(values.iter().map(Value::borrowed).collect()),
            other => other.clone(),
        }
    }
}

/// A scale below zero counts the zeros that are left out.
fn decimal(unscaled: i256, scale: i8) -> Value<'static> {
    match u8::try_from(scale) {
        Ok(scale) => Value::Numeric(Decimal { unscaled, scale }),
        Err(_) => {
            let zeros = i256::from_i128(10).wrapping_pow(scale.unsigned_abs().into());
            Value::Numeric(Decimal { unscaled: unscaled.wrapping_mul(zeros), scale: 0 })
        }
    }
}

fn offset(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or_default()
}

/// An array of `data_type`, which is one of those that results have.
pub(in crate::sql) fn build(values: Vec<Value<'_>>, data_type: &DataType) -> Result<ArrayRef> {
    match data_type {
        DataType::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(values.len());
            for value in values {
                builder.append_option(if value.is_null() { None } else { Some(value.bool()?) });
            }
            Ok(Arc::new(builder.finish()))
        }
        DataType::Int16 => integers::<Int16Type>(values, "smallint"),
        DataType::Int32 => integers::<Int32Type>(values, "integer"),
        DataType::Int64 => primitives::<Int64Type>(values, |value| value.int()),
        DataType::Float32 => primitives::<Float32Type>(values, |value| match value {
            Value::Real(value) => Ok(if value.is_nan() { f32::NAN } else { *value }),
            other => Err(Error::internal(format!("{other:?} is not a real"))),
        }),
        DataType::Float64 => primitives::<Float64Type>(values, |value| {
            let value = value.float()?;
            // NaN with a sign would be less than all numbers.
            Ok(if value.is_nan() { f64::NAN } else { value })
        }),
        DataType::Decimal128(precision, scale) => decimals_128(values, *precision, *scale),
        DataType::Decimal256(precision, scale) => decimals_256(values, *precision, *scale),
        DataType::Utf8View => {
            let mut builder = StringViewBuilder::with_capacity(values.len());
            for value in values {
                match value {
                    Value::Null => builder.append_null(),
                    value => builder.append_value(value.text()?),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        DataType::BinaryView => {
            let mut builder = BinaryViewBuilder::with_capacity(values.len());
            for value in values {
                match value {
                    Value::Null => builder.append_null(),
                    value => builder.append_value(value.bytes()?),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        DataType::Date32 => primitives::<Date32Type>(values, |value| value.date()),
        DataType::Time64(TimeUnit::Microsecond) => primitives::<Time64MicrosecondType>(values, |value| value.time()),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let array = typed::<TimestampMicrosecondType>(values, |value| value.timestamp())?;
            Ok(Arc::new(array.with_timezone_opt(zone.clone())))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => primitives::<IntervalMonthDayNanoType>(values, |value| {
            let value = value.interval()?;
            let nanoseconds =
                value.micros.checked_mul(NANOS_PER_MICRO).ok_or_else(|| fault("22008", "interval out of range"))?;
            Ok(IntervalMonthDayNano::new(value.months, value.days, nanoseconds))
        }),
        DataType::List(field) => {
            let mut offsets = vec![0_i32];
            let (mut valid, mut items) = (Vec::with_capacity(values.len()), Vec::new());
            for value in values {
                valid.push(!value.is_null());
                if let Value::List(elements) = value {
                    items.extend(elements);
                }
                let end =
                    i32::try_from(items.len()).map_err(|_| fault("54000", "array size exceeds the maximum allowed"))?;
                offsets.push(end);
            }
            let items = build(items, field.data_type())?;
            let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
            let list = ListArray::try_new(Arc::clone(field), OffsetBuffer::new(offsets.into()), items, nulls)
                .map_err(|error| Error::internal("an array cannot be made").with_cause(error))?;
            Ok(Arc::new(list))
        }
        DataType::Null => Ok(new_null_array(data_type, values.len())),
        other => Err(Error::internal(format!("no value of type {other} can be made"))),
    }
}

fn typed<T: ArrowPrimitiveType>(
    values: Vec<Value<'_>>,
    read: impl Fn(&Value<'_>) -> Result<T::Native>,
) -> Result<PrimitiveArray<T>> {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(values.len());
    for value in values {
        builder.append_option(if value.is_null() { None } else { Some(read(&value)?) });
    }
    Ok(builder.finish())
}

fn primitives<T: ArrowPrimitiveType>(
    values: Vec<Value<'_>>,
    read: impl Fn(&Value<'_>) -> Result<T::Native>,
) -> Result<ArrayRef> {
    Ok(Arc::new(typed::<T>(values, read)?))
}

fn integers<T>(values: Vec<Value<'_>>, name: &str) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64>,
{
    primitives::<T>(values, |value| {
        T::Native::try_from(value.int()?).map_err(|_| fault("22003", format!("{name} out of range")))
    })
}

fn decimals_128(values: Vec<Value<'_>>, precision: u8, scale: i8) -> Result<ArrayRef> {
    let mut builder = Decimal128Builder::with_capacity(values.len());
    for value in values {
        match value {
            Value::Null => builder.append_null(),
            value => {
                let unscaled = value.numeric()?.rescaled(scale.unsigned_abs()).and_then(i256::to_i128);
                builder.append_value(fitting(unscaled, |value| value.unsigned_abs() < 10_u128.pow(precision.into()))?);
            }
        }
    }
    let array = builder.finish().with_precision_and_scale(precision, scale);
    Ok(Arc::new(array.map_err(|error| Error::internal("a numeric cannot be made").with_cause(error))?))
}

fn decimals_256(values: Vec<Value<'_>>, precision: u8, scale: i8) -> Result<ArrayRef> {
    let limit = i256::from_i128(10).checked_pow(precision.into()).unwrap_or(i256::MAX);
    let mut builder = Decimal256Builder::with_capacity(values.len());
    for value in values {
        match value {
            Value::Null => builder.append_null(),
            value => {
                let unscaled = value.numeric()?.rescaled(scale.unsigned_abs());
                builder.append_value(fitting(unscaled, |value| value < limit && value > limit.wrapping_neg())?);
            }
        }
    }
    let array = builder.finish().with_precision_and_scale(precision, scale);
    Ok(Arc::new(array.map_err(|error| Error::internal("a numeric cannot be made").with_cause(error))?))
}

fn fitting<T: Copy>(value: Option<T>, fits: impl Fn(T) -> bool) -> Result<T> {
    value.filter(|value| fits(*value)).ok_or_else(|| {
        fault("22003", "a numeric has more digits than the engine computes with")
            .with_hint("cast to numeric(p, s), or round, first")
    })
}

impl Decimal {
    /// The digits at another scale, rounded half away from zero; none where they do not fit.
    pub(in crate::sql) fn rescaled(self, scale: u8) -> Option<i256> {
        let ten = i256::from_i128(10);
        if scale >= self.scale {
            return self.unscaled.checked_mul(ten.checked_pow(u32::from(scale - self.scale))?);
        }
        let Some(unit) = ten.checked_pow(u32::from(self.scale - scale)) else { return Some(i256::ZERO) };
        let (whole, rest) = (self.unscaled.wrapping_div(unit), self.unscaled.wrapping_rem(unit));
        let is_half = rest.wrapping_abs() >= unit.wrapping_sub(rest.wrapping_abs());
        Some(match (is_half, self.unscaled.is_negative()) {
            (false, _) => whole,
            (true, false) => whole.wrapping_add(i256::ONE),
            (true, true) => whole.wrapping_sub(i256::ONE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_from_arrays() {
        let check = |values: Vec<Value<'static>>, data_type: DataType| {
            let array = build(values.clone(), &data_type).unwrap();
            assert_eq!(array.data_type(), &data_type);
            let reader = Reader::new(&array).unwrap();
            let back: Vec<_> = (0..values.len()).map(|row| reader.get(row).into_static()).collect();
            assert_eq!(back, values);
        };
        check(vec![Value::Bool(true), Value::Null], DataType::Boolean);
        check(vec![Value::Int(-7), Value::Null], DataType::Int16);
        check(vec![Value::owned("é"), Value::Null, Value::owned("")], DataType::Utf8View);
        check(vec![Value::Numeric(Decimal { unscaled: i256::from_i128(-125), scale: 2 })], DataType::Decimal128(38, 2));
        check(
            vec![Value::Interval(Interval { months: 1, days: -2, micros: 3 })],
            DataType::Interval(IntervalUnit::MonthDayNano),
        );
        let list = DataType::List(Arc::new(arrow::datatypes::Field::new("item", DataType::Int32, true)));
        check(vec![Value::List(vec![Value::Int(1), Value::Null]), Value::Null, Value::List(vec![])], list);
        assert!(build(vec![Value::Int(70_000)], &DataType::Int16).is_err());
    }

    #[test]
    fn digits_are_rounded_half_away_from_zero() {
        let check = |unscaled: i128, scale: u8, to: u8, expect: i128| {
            let value = Decimal { unscaled: i256::from_i128(unscaled), scale };
            assert_eq!(value.rescaled(to), Some(i256::from_i128(expect)), "{value} to {to}");
        };
        check(125, 2, 1, 13);
        check(-125, 2, 1, -13);
        check(124, 2, 1, 12);
        check(5, 1, 0, 1);
        check(4, 1, 0, 0);
        check(1, 0, 3, 1000);
    }
}
