//! `+ - * / %` of numbers, as Postgres has them: checked, exact for numerics, and of Postgres's types.
//!
//! The engine's own operators wrap on overflow, give infinity for a float divided by zero, and cut a quotient of decimals four digits
//! behind the dividend's scale. Here whatever leaves its type is an error, and a quotient of numerics has at least twenty digits
//! behind the point: as many as Postgres gives to quotients down to 0.0001, and more than it gives to larger ones.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Decimal256Array, PrimitiveArray, Scalar},
    compute::{cast, kernels::numeric},
    datatypes::{ArrowNativeType, DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, i256},
    error::ArrowError,
};
use datafusion::{
    common::{Result, exec_err, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
    physical_expr_common::datum::apply,
};

use super::float_key::without_signed_nan;

const DIGITS_128: u8 = 38;
const DIGITS_256: u8 = 76;
/// Digits behind the point of a quotient, at least.
const QUOTIENT_SCALE: i8 = 20;
/// With no more digits behind the point than this, 128 bits leave room for whatever money and counts come to; what does not fit is
/// an error. With more, 256 bits are taken.
const SCALE_FOR_128: i8 = 18;

/// An operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Operation {
    pub(super) const ALL: [Self; 5] = [Self::Add, Self::Subtract, Self::Multiply, Self::Divide, Self::Modulo];

    const fn name(self) -> &'static str {
        match self {
            Self::Add => "pilaster_add",
            Self::Subtract => "pilaster_subtract",
            Self::Multiply => "pilaster_multiply",
            Self::Divide => "pilaster_divide",
            Self::Modulo => "pilaster_modulo",
        }
    }
}

/// The operands' types, as they are computed with, and the result's.
struct Resolved {
    operands: [DataType; 2],
    result: DataType,
}

/// Whether Postgres has this operator for two numbers of these types.
pub(super) fn is_arithmetic(operation: Operation, left: &DataType, right: &DataType) -> bool {
    resolve(operation, left, right).is_some()
}

/// The operator as a function of two arguments.
pub(super) fn function(operation: Operation) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Arithmetic { operation, signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    operation: Operation,
    signature: Signature,
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &'static str {
        self.operation.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match self.resolve(types) {
            Some(resolved) => Ok(resolved.operands.into()),
            None => plan_err!("{} takes no such numbers", self.name()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match self.resolve(types) {
            Some(resolved) => Ok(resolved.result),
            None => plan_err!("{} takes no such numbers", self.name()),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result = arguments.return_field.data_type();
        let [left, right] = arguments.args.as_slice() else { return exec_err!("an operator has two operands") };
        operate(self.operation, left, right, result)
    }
}

impl Arithmetic {
    fn resolve(&self, types: &[DataType]) -> Option<Resolved> {
        match types {
            [left, right] => resolve(self.operation, left, right),
            _ => None,
        }
    }
}

/// An array, or one value for all rows.
struct Operand<'a> {
    array: &'a dyn Array,
    is_one: bool,
}

/// `left / right` as a `result`, whose type says how many digits it has; NULL where either side is.
pub(super) fn quotient(left: &ColumnarValue, right: &ColumnarValue, result: &DataType) -> Result<ColumnarValue> {
    let widened = |value: &ColumnarValue| match (value.data_type(), result) {
        (DataType::Decimal128(precision, scale), DataType::Decimal256(..)) => {
            value.cast_to(&DataType::Decimal256(precision, scale), None)
        }
        _ => Ok(value.clone()),
    };
    operate(Operation::Divide, &widened(left)?, &widened(right)?, result)
}

fn operate(
    operation: Operation,
    left: &ColumnarValue,
    right: &ColumnarValue,
    result: &DataType,
) -> Result<ColumnarValue> {
    apply(left, right, |left, right| {
        let ((left, left_is_one), (right, right_is_one)) = (left.get(), right.get());
        let rows = if left_is_one { right.len() } else { left.len() };
        let left = Operand { array: left, is_one: left_is_one };
        let right = Operand { array: right, is_one: right_is_one };
        compute(operation, left, right, rows, result)
    })
}

fn compute(
    operation: Operation,
    left: Operand<'_>,
    right: Operand<'_>,
    rows: usize,
    result: &DataType,
) -> Result<ArrayRef, ArrowError> {
    match (operation, result) {
        (Operation::Divide, DataType::Decimal128(precision, scale)) => {
            divide_128(&left, &right, rows, *precision, *scale)
        }
        (Operation::Divide, DataType::Decimal256(precision, scale)) => {
            divide_256(&left, &right, rows, *precision, *scale)
        }
        (_, DataType::Float32) => float::<Float32Type>(operation, &left, &right),
        (_, DataType::Float64) => float::<Float64Type>(operation, &left, &right),
        _ => {
            let computed = kernel(operation, &left, &right)?;
            if computed.data_type() == result { Ok(computed) } else { relabel(&computed, result) }
        }
    }
}

fn kernel(operation: Operation, left: &Operand<'_>, right: &Operand<'_>) -> Result<ArrayRef, ArrowError> {
    let run = |left: &dyn arrow::array::Datum, right: &dyn arrow::array::Datum| match operation {
        Operation::Add => numeric::add(left, right),
        Operation::Subtract => numeric::sub(left, right),
        Operation::Multiply => numeric::mul(left, right),
        Operation::Divide => numeric::div(left, right),
        Operation::Modulo => numeric::rem(left, right),
    };
    let one = |operand: &Operand<'_>| Scalar::new(arrow::array::make_array(operand.array.to_data()));
    match (left.is_one, right.is_one) {
        (false, false) => run(&left.array, &right.array),
        (true, false) => run(&one(left), &right.array),
        (false, true) => run(&left.array, &one(right)),
        (true, true) => run(&one(left), &one(right)),
    }
}

/// A decimal's own scale is kept; only how many digits it is said to have changes.
fn relabel(computed: &ArrayRef, result: &DataType) -> Result<ArrayRef, ArrowError> {
    match (computed.data_type(), result) {
        (DataType::Decimal128(_, from), DataType::Decimal128(precision, to)) if from == to => {
            Ok(Arc::new(computed.as_primitive::<Decimal128Type>().clone().with_precision_and_scale(*precision, *to)?))
        }
        (DataType::Decimal256(_, from), DataType::Decimal256(precision, to)) if from == to => {
            Ok(Arc::new(computed.as_primitive::<Decimal256Type>().clone().with_precision_and_scale(*precision, *to)?))
        }
        _ => cast(computed, result),
    }
}

/// Floats: what overflows, underflows, or is divided by zero is an error.
fn float<T>(operation: Operation, left: &Operand<'_>, right: &Operand<'_>) -> Result<ArrayRef, ArrowError>
where
    T: ArrowPrimitiveType,
    T::Native: Float,
{
    let (lefts, rights) = (left.array.as_primitive::<T>(), right.array.as_primitive::<T>());
    let at = |operand: &Operand<'_>, values: &PrimitiveArray<T>, row: usize| {
        let row = if operand.is_one { 0 } else { row };
        values.is_valid(row).then(|| values.value(row))
    };
    if matches!(operation, Operation::Divide | Operation::Modulo) {
        let zero = T::Native::usize_as(0);
        let has_zero = rights.iter().flatten().any(|value| value == zero);
        let rows = if left.is_one { rights.len() } else { lefts.len() };
        let divides = |row: usize| match (at(left, lefts, row), at(right, rights, row)) {
            (Some(dividend), Some(divisor)) => divisor == zero && !dividend.is_not_a_number(),
            _ => false,
        };
        if has_zero && (0..rows).any(divides) {
            return Err(ArrowError::DivideByZero);
        }
    }
    let computed = kernel(operation, left, right)?;
    let results = computed.as_primitive::<T>();
    let zero = T::Native::usize_as(0);
    let suspicious = |value: T::Native| {
        value.is_unbounded() || (value == zero && matches!(operation, Operation::Multiply | Operation::Divide))
    };
    if results.values().iter().any(|value| suspicious(*value)) {
        for row in 0..results.len() {
            let (Some(first), Some(second)) = (at(left, lefts, row), at(right, rights, row)) else { continue };
            let value = results.value(row);
            if value.is_unbounded() && !first.is_unbounded() && !second.is_unbounded() {
                return Err(ArrowError::ArithmeticOverflow("value out of range: overflow".to_owned()));
            }
            let vanishes = match operation {
                Operation::Multiply => first != zero && second != zero,
                Operation::Divide => first != zero && !second.is_unbounded(),
                _ => false,
            };
            if value == zero && vanishes {
                return Err(ArrowError::ArithmeticOverflow("value out of range: underflow".to_owned()));
            }
        }
    }
    Ok(without_signed_nan(computed))
}

/// What both widths of floats can say of themselves.
trait Float: Copy + PartialEq {
    fn is_unbounded(self) -> bool;
    fn is_not_a_number(self) -> bool;
}

impl Float for f32 {
    fn is_unbounded(self) -> bool {
        self.is_infinite()
    }

    fn is_not_a_number(self) -> bool {
        self.is_nan()
    }
}

impl Float for f64 {
    fn is_unbounded(self) -> bool {
        self.is_infinite()
    }

    fn is_not_a_number(self) -> bool {
        self.is_nan()
    }
}

/// Rows where both sides have a value.
fn pairs<T: ArrowPrimitiveType>(
    left: &Operand<'_>,
    right: &Operand<'_>,
    rows: usize,
    mut divide: impl FnMut(T::Native, T::Native) -> Result<T::Native, ArrowError>,
) -> Result<PrimitiveArray<T>, ArrowError> {
    let (lefts, rights) = (left.array.as_primitive::<T>(), right.array.as_primitive::<T>());
    let value = |is_one: bool, values: &PrimitiveArray<T>, row: usize| {
        let row = if is_one { 0 } else { row };
        values.is_valid(row).then(|| values.value(row))
    };
    (0..rows)
        .map(|row| match (value(left.is_one, lefts, row), value(right.is_one, rights, row)) {
            (Some(first), Some(second)) => divide(first, second).map(Some),
            _ => Ok(None),
        })
        .collect()
}

fn scale_of(operand: &Operand<'_>) -> i8 {
    match operand.array.data_type() {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    }
}

/// By how many digits the dividend is shifted, so that the quotient has `scale`.
fn shift(left: &Operand<'_>, right: &Operand<'_>, scale: i8) -> u32 {
    let digits = i32::from(scale) + i32::from(scale_of(right)) - i32::from(scale_of(left));
    u32::try_from(digits).unwrap_or(0)
}

fn divide_128(
    left: &Operand<'_>,
    right: &Operand<'_>,
    rows: usize,
    precision: u8,
    scale: i8,
) -> Result<ArrayRef, ArrowError> {
    let digits = shift(left, right, scale);
    let factor = 10_i128.checked_pow(digits);
    let wide_factor = i256::from_i128(10).checked_pow(digits).ok_or_else(too_wide)?;
    let quotients: Decimal128Array = pairs::<Decimal128Type>(left, right, rows, |dividend, divisor| {
        if divisor == 0 {
            return Err(ArrowError::DivideByZero);
        }
        if let Some(shifted) = factor.and_then(|factor| dividend.checked_mul(factor)) {
            return Ok(rounded(shifted, divisor));
        }
        let shifted = i256::from_i128(dividend).checked_mul(wide_factor).ok_or_else(too_wide)?;
        rounded_256(shifted, i256::from_i128(divisor))?.to_i128().ok_or_else(too_wide)
    })?;
    quotients.validate_decimal_precision(precision)?;
    Ok(Arc::new(quotients.with_precision_and_scale(precision, scale)?))
}

fn divide_256(
    left: &Operand<'_>,
    right: &Operand<'_>,
    rows: usize,
    precision: u8,
    scale: i8,
) -> Result<ArrayRef, ArrowError> {
    let factor = i256::from_i128(10).checked_pow(shift(left, right, scale)).ok_or_else(too_wide)?;
    let quotients: Decimal256Array = pairs::<Decimal256Type>(left, right, rows, |dividend, divisor| {
        if divisor == i256::ZERO {
            return Err(ArrowError::DivideByZero);
        }
        rounded_256(dividend.checked_mul(factor).ok_or_else(too_wide)?, divisor)
    })?;
    quotients.validate_decimal_precision(precision)?;
    Ok(Arc::new(quotients.with_precision_and_scale(precision, scale)?))
}

/// Half away from zero.
fn rounded(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    let is_half = rest.unsigned_abs() >= divisor.unsigned_abs() - rest.unsigned_abs();
    if rest != 0 && is_half { quotient + if (dividend < 0) == (divisor < 0) { 1 } else { -1 } } else { quotient }
}

fn rounded_256(dividend: i256, divisor: i256) -> Result<i256, ArrowError> {
    let quotient = dividend.checked_div(divisor).ok_or_else(too_wide)?;
    let rest = dividend.checked_rem(divisor).ok_or_else(too_wide)?;
    let (rest, whole) = (rest.wrapping_abs(), divisor.wrapping_abs());
    if rest == i256::ZERO || rest < whole.wrapping_sub(rest) {
        return Ok(quotient);
    }
    let step = if (dividend < i256::ZERO) == (divisor < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
    Ok(quotient.wrapping_add(step))
}

fn too_wide() -> ArrowError {
    ArrowError::ArithmeticOverflow("value overflows numeric format".to_owned())
}

fn resolve(operation: Operation, left: &DataType, right: &DataType) -> Option<Resolved> {
    let (left, right) = match (left, right) {
        (DataType::Null, DataType::Null) => return None,
        (DataType::Null, other) | (other, DataType::Null) => (other, other),
        both => both,
    };
    let (first, second) = (Number::of(left)?, Number::of(right)?);
    let same = |data_type: DataType| Resolved { operands: [data_type.clone(), data_type.clone()], result: data_type };
    let is_float = |number: &Number| matches!(number, Number::Float32 | Number::Float64);
    if operation == Operation::Modulo && (is_float(&first) || is_float(&second)) {
        return None;
    }
    Some(match (first, second) {
        (Number::Float32, Number::Float32) => same(DataType::Float32),
        (Number::Float32 | Number::Float64, _) | (_, Number::Float32 | Number::Float64) => same(DataType::Float64),
        (Number::Integer(first), Number::Integer(second)) => same(match first.max(second) {
            16 => DataType::Int16,
            32 => DataType::Int32,
            _ => DataType::Int64,
        }),
        (first, second) => decimals(operation, first.decimal()?, second.decimal()?)?,
    })
}

/// Precision, scale, and whether it has 256 bits.
#[derive(Clone, Copy)]
struct Decimal(u8, i8, bool);

fn decimals(operation: Operation, left: Decimal, right: Decimal) -> Option<Resolved> {
    let whole = |decimal: Decimal| i16::from(decimal.0) - i16::from(decimal.1);
    let (scales, wholes) = ([left.1, right.1], [whole(left), whole(right)]);
    let scale_max = scales[0].max(scales[1]);
    let (digits, scale) = match operation {
        Operation::Add | Operation::Subtract => (wholes[0].max(wholes[1]) + 1 + i16::from(scale_max), scale_max),
        Operation::Multiply => {
            let scale = scales[0].checked_add(scales[1])?;
            (i16::from(left.0) + i16::from(right.0), scale)
        }
        Operation::Modulo => (wholes[0].min(wholes[1]).max(0) + i16::from(scale_max), scale_max),
        Operation::Divide => {
            // Where both do not fit, digits before the point are given up, with an error for a quotient that has them: rounding is silent.
            let scale = scale_max.max(QUOTIENT_SCALE);
            ((wholes[0] + i16::from(right.1)).max(1) + i16::from(scale), scale)
        }
    };
    if scale > DIGITS_256 as i8 {
        return None;
    }
    let fits = digits <= i16::from(DIGITS_128);
    let clamps = operation != Operation::Divide && scale <= SCALE_FOR_128;
    let is_wide = left.2 || right.2 || !(fits || clamps);
    let precision_max = if is_wide { DIGITS_256 } else { DIGITS_128 };
    let precision = u8::try_from(digits.clamp(i16::from(scale.max(1)), i16::from(precision_max))).ok()?;
    let of = |decimal: Decimal| {
        if is_wide { DataType::Decimal256(decimal.0, decimal.1) } else { DataType::Decimal128(decimal.0, decimal.1) }
    };
    let result = if is_wide { DataType::Decimal256(precision, scale) } else { DataType::Decimal128(precision, scale) };
    Some(Resolved { operands: [of(left), of(right)], result })
}

#[derive(Clone, Copy)]
enum Number {
    /// Of so many bits.
    Integer(u8),
    Decimal(Decimal),
    Float32,
    Float64,
}

impl Number {
    fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Self::Integer(16),
            DataType::Int32 | DataType::UInt16 => Self::Integer(32),
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Self::Integer(64),
            DataType::Decimal128(precision, scale) => Self::Decimal(Decimal(*precision, *scale, false)),
            DataType::Decimal256(precision, scale) => Self::Decimal(Decimal(*precision, *scale, true)),
            DataType::Float16 | DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            _ => return None,
        })
    }

    fn decimal(self) -> Option<Decimal> {
        Some(match self {
            Self::Integer(16) => Decimal(5, 0, false),
            Self::Integer(32) => Decimal(10, 0, false),
            Self::Integer(_) => Decimal(19, 0, false),
            Self::Decimal(decimal) => decimal,
            Self::Float32 | Self::Float64 => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_postgres_types() {
        use DataType::{Decimal128, Decimal256, Float32, Float64, Int16, Int32, Int64};
        let check = |operation: Operation, left: DataType, right: DataType, expect: Option<DataType>| {
            let found = resolve(operation, &left, &right).map(|resolved| resolved.result);
            assert_eq!(found, expect, "{left} {operation:?} {right}");
        };
        check(Operation::Add, Int16, Int16, Some(Int16));
        check(Operation::Multiply, Int16, Int32, Some(Int32));
        check(Operation::Divide, Int64, Int32, Some(Int64));
        check(Operation::Add, Float32, Float32, Some(Float32));
        check(Operation::Add, Float32, Int16, Some(Float64));
        check(Operation::Add, Float32, Decimal128(5, 2), Some(Float64));
        check(Operation::Add, Decimal128(12, 2), Int32, Some(Decimal128(13, 2)));
        check(Operation::Multiply, Decimal128(15, 2), Decimal128(16, 2), Some(Decimal128(31, 4)));
        check(Operation::Multiply, Decimal128(31, 4), Decimal128(16, 2), Some(Decimal128(38, 6)));
        check(Operation::Multiply, Decimal128(38, 10), Decimal128(38, 10), Some(Decimal256(76, 20)));
        check(Operation::Divide, Decimal128(12, 2), Int32, Some(Decimal128(30, 20)));
        check(Operation::Divide, Decimal128(38, 2), Int64, Some(Decimal256(56, 20)));
        check(Operation::Divide, Decimal256(76, 1), Decimal128(2, 1), Some(Decimal256(76, 20)));
        check(Operation::Modulo, Decimal128(12, 2), Decimal128(5, 3), Some(Decimal128(5, 3)));
        check(Operation::Add, Int32, DataType::Utf8, None);
    }

    #[test]
    fn quotients_are_rounded_half_away_from_zero() {
        for (dividend, divisor, expect) in
            [(7, 2, 4), (-7, 2, -4), (7, -2, -4), (-7, -2, 4), (1, 3, 0), (2, 3, 1), (-2, 3, -1), (6, 3, 2), (0, 5, 0)]
        {
            assert_eq!(rounded(dividend, divisor), expect, "{dividend} / {divisor}");
            let wide = rounded_256(i256::from_i128(dividend), i256::from_i128(divisor)).unwrap();
            assert_eq!(wide.to_i128(), Some(expect), "{dividend} / {divisor}");
        }
    }
}
