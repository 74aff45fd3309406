//! Variances and standard deviations: of whole numbers and numerics exact, as numerics; of floats the engine's own.
//!
//! Source of the formula: PostgreSQL, `numeric.c`, `numeric_stddev_internal`.

use std::{mem::size_of, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray},
    datatypes::{DataType, Decimal256Type, Field, FieldRef, Int64Type, i256},
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue, plan_err},
    functions_aggregate::{
        stddev::{Stddev, StddevPop},
        variance::{VariancePopulation, VarianceSample},
    },
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
};
use num_bigint::BigInt;

use super::function::no_function;
use super::library::decimal::{decimal, divided, power_of_ten, quotient_scale, root, too_wide, wide};

const DIGITS_MAX: u8 = 76;
/// Digits behind the point, where there is room: as many as Postgres gives to what is not tiny.
const SCALE: u8 = 30;

/// `var_samp`, `var_pop`, `stddev_samp` (also `stddev`) and `stddev_pop`.
pub(super) fn functions() -> Vec<AggregateUDF> {
    let of = |inner: AggregateUDF, is_sample: bool, is_root: bool| {
        let signature = Signature::user_defined(Volatility::Immutable);
        let aliases = inner.aliases().to_vec();
        AggregateUDF::from(Spread { inner, aliases, is_sample, is_root, signature })
    };
    vec![
        of(VarianceSample::new().into(), true, false),
        of(VariancePopulation::new().into(), false, false),
        of(Stddev::new().into(), true, true),
        of(StddevPop::new().into(), false, true),
    ]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Spread {
    /// The engine's, for floats.
    inner: AggregateUDF,
    aliases: Vec<String>,
    /// Whether it divides by one less than there are.
    is_sample: bool,
    is_root: bool,
    signature: Signature,
}

impl AggregateUDFImpl for Spread {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![match types {
            [DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16] => {
                DataType::Decimal256(10, 0)
            }
            [DataType::Int64 | DataType::UInt32 | DataType::UInt64] => DataType::Decimal256(20, 0),
            [DataType::Decimal128(precision, scale)] => DataType::Decimal256(*precision, *scale),
            [decimal @ DataType::Decimal256(..)] => decimal.clone(),
            [DataType::Float16 | DataType::Float32 | DataType::Float64 | DataType::Null] => DataType::Float64,
            _ => return Err(no_function(self.name(), types)),
        }])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match types {
            [DataType::Decimal256(precision, scale)] => {
                let behind = scale.unsigned_abs();
                let whole =
                    precision.saturating_sub(behind).saturating_mul(2).saturating_add(2).min(DIGITS_MAX - SCALE);
                let scale = SCALE.max(behind.saturating_mul(2)).min(DIGITS_MAX - whole).max(behind.min(DIGITS_MAX));
                DataType::Decimal256(DIGITS_MAX, scale.cast_signed())
            }
            _ => DataType::Float64,
        })
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        match arguments.input_fields.first().map(|field| field.data_type()) {
            Some(DataType::Decimal256(_, scale)) => {
                let name = |part: &str| format_state_name(arguments.name, part);
                Ok(vec![
                    Arc::new(Field::new(name("count"), DataType::Int64, true)),
                    Arc::new(Field::new(name("sum"), DataType::Decimal256(DIGITS_MAX, *scale), true)),
                    Arc::new(Field::new(name("squares"), DataType::Decimal256(DIGITS_MAX, scale * 2), true)),
                ])
            }
            _ => self.inner.state_fields(arguments),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match self.exact(&arguments) {
            Some(_) if arguments.is_distinct => plan_err!("{} takes no DISTINCT of exact numbers", self.name()),
            Some(exact) => Ok(Box::new(exact)),
            None => self.inner.accumulator(arguments),
        }
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match self.exact(&arguments) {
            Some(exact) => Ok(Box::new(exact)),
            None => self.inner.create_sliding_accumulator(arguments),
        }
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        self.exact(&arguments).is_none() && self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(arguments)
    }
}

impl Spread {
    fn exact(&self, arguments: &AccumulatorArgs<'_>) -> Option<Exact> {
        let input = arguments.expr_fields.first()?.data_type();
        match (input, arguments.return_field.data_type()) {
            (DataType::Decimal256(_, input_scale), DataType::Decimal256(_, scale)) => Some(Exact {
                is_sample: self.is_sample,
                is_root: self.is_root,
                input_scale: input_scale.unsigned_abs(),
                scale: scale.unsigned_abs(),
                count: 0,
                sum: i256::ZERO,
                squares: i256::ZERO,
            }),
            _ => None,
        }
    }
}

/// How many there are, their sum and the sum of their squares.
#[derive(Debug)]
struct Exact {
    is_sample: bool,
    is_root: bool,
    input_scale: u8,
    scale: u8,
    count: i64,
    sum: i256,
    squares: i256,
}

impl Exact {
    fn add(&mut self, values: &ArrayRef, sign: i64) -> Result<()> {
        let overflow = || DataFusionError::Execution("overflow of a sum of squares".to_owned());
        for value in values.as_primitive::<Decimal256Type>().iter().flatten() {
            let square = value.checked_mul(value).ok_or_else(overflow)?;
            self.count += sign;
            let (sum, squares) = match sign {
                1 => (self.sum.checked_add(value), self.squares.checked_add(square)),
                _ => (self.sum.checked_sub(value), self.squares.checked_sub(square)),
            };
            self.sum = sum.ok_or_else(overflow)?;
            self.squares = squares.ok_or_else(overflow)?;
        }
        Ok(())
    }

    fn value(&self) -> Result<Option<i256>> {
        if self.count <= i64::from(self.is_sample) {
            return Ok(None);
        }
        let count = BigInt::from(self.count);
        let deviation = &count * wide(self.squares) - wide(self.sum).pow(2);
        let divisor = if self.is_sample { &count * (&count - 1) } else { &count * &count };
        // The squares have twice the scale of the numbers.
        let raise = |digits: u32| power_of_ten(digits) * &deviation;
        let (scale, behind) = (u32::from(self.scale), u32::from(self.input_scale) * 2);
        let quotient = |digits: u32| match digits.checked_sub(behind) {
            Some(more) => divided(&raise(more), &divisor),
            None => divided(&deviation, &(&divisor * power_of_ten(behind - digits))),
        };
        let value = match self.is_root {
            // Postgres draws the root of the variance as it would show it.
            true => {
                let shown = quotient_scale(&deviation, behind, &divisor);
                let variance = quotient(shown);
                root(&match (scale * 2).checked_sub(shown) {
                    Some(more) => variance * power_of_ten(more),
                    None => divided(&variance, &power_of_ten(shown - scale * 2)),
                })
            }
            false => quotient(scale),
        };
        let failed = |error| DataFusionError::External(Box::new(error));
        let made = decimal(&value, scale).map_err(failed)?;
        made.rescaled(self.scale).map(Some).ok_or_else(|| failed(too_wide()))
    }
}

impl Accumulator for Exact {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.first().map_or(Ok(()), |values| self.add(values, 1))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.first().map_or(Ok(()), |values| self.add(values, -1))
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Decimal256(self.value()?, DIGITS_MAX, self.scale.cast_signed()))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let scale = self.input_scale.cast_signed();
        Ok(vec![
            ScalarValue::Int64(Some(self.count)),
            ScalarValue::Decimal256(Some(self.sum), DIGITS_MAX, scale),
            ScalarValue::Decimal256(Some(self.squares), DIGITS_MAX, scale * 2),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [counts, sums, squares] = states else { return plan_err!("a variance has three states") };
        let (counts, sums) = (counts.as_primitive::<Int64Type>(), sums.as_primitive::<Decimal256Type>());
        let squares = squares.as_primitive::<Decimal256Type>();
        let overflow = || DataFusionError::Execution("overflow of a sum of squares".to_owned());
        for row in 0..counts.len() {
            self.count += counts.value(row);
            self.sum = self.sum.checked_add(sums.value(row)).ok_or_else(overflow)?;
            self.squares = self.squares.checked_add(squares.value(row)).ok_or_else(overflow)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_postgress() {
        let check = |is_sample: bool, is_root: bool, values: &[i128], expect: Option<&str>| {
            let mut exact =
                Exact { is_sample, is_root, input_scale: 1, scale: 6, count: 0, sum: i256::ZERO, squares: i256::ZERO };
            let values: arrow::array::Decimal256Array =
                values.iter().map(|value| Some(i256::from_i128(*value))).collect::<arrow::array::Decimal256Array>();
            let values: ArrayRef = Arc::new(values.with_precision_and_scale(76, 1).unwrap());
            exact.add(&values, 1).unwrap();
            let spelled = exact.value().unwrap().map(|value| value.to_string());
            assert_eq!(spelled.as_deref(), expect);
        };
        check(true, false, &[], None);
        check(true, false, &[10], None);
        check(false, false, &[10], Some("0"));
        check(true, false, &[10, 20, 40], Some("2333333"));
        check(true, true, &[10, 20, 40], Some("1527525"));
        check(false, false, &[10, 20, 40], Some("1555556"));
    }
}
