//! Sums and averages of Postgres's types: what could overflow is wide enough, and an average of exact numbers is exact.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray},
    compute::cast,
    datatypes::{DataType, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err, plan_err},
    functions_aggregate::sum::Sum,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator, ReversedUDAF,
        ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};

use super::arithmetic;

/// `sum / count`, as `avg` is written for the engine. A name of ours, which Postgres does not have.
pub(super) const MEAN: &str = "pilaster_mean";

/// Digits that the engine adds to a decimal's when it sums: a sum of ten thousand million numbers fits.
const SUM_DIGITS: u8 = 10;
const DIGITS_128: u8 = 38;

/// `sum`: of `int2` and `int4` an `int8`, of `int8` and numerics a numeric, of floats a `float8`.
pub(super) fn sum() -> AggregateUDF {
    AggregateUDF::from(PostgresSum { inner: Sum::new(), signature: Signature::user_defined(Volatility::Immutable) })
}

pub(super) fn mean() -> ScalarUDF {
    ScalarUDF::from(Mean { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PostgresSum {
    inner: Sum,
    signature: Signature,
}

impl AggregateUDFImpl for PostgresSum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The engine's sums wrap; these types are so wide that no table is long enough for it. What comes out goes in unchanged, for a
    /// plan is coerced more than once.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let summed = match types {
            [
                DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::UInt8
                | DataType::UInt16
                | DataType::Null,
            ] => DataType::Int32,
            [DataType::Int64 | DataType::UInt32] => DataType::Decimal128(19, 0),
            [DataType::UInt64] => DataType::Decimal128(20, 0),
            [DataType::Decimal128(precision, scale)] if *precision > DIGITS_128 - SUM_DIGITS => {
                DataType::Decimal256(*precision, *scale)
            }
            [decimal @ (DataType::Decimal128(..) | DataType::Decimal256(..))] => decimal.clone(),
            [DataType::Float16 | DataType::Float32 | DataType::Float64] => DataType::Float64,
            _ => return plan_err!("sum takes one number"),
        };
        Ok(vec![summed])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Int32] => Ok(DataType::Int64),
            _ => self.inner.return_type(types),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Widening(self.inner.accumulator(arguments)?)))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Widening(self.inner.create_groups_accumulator(arguments)?)))
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Widening(self.inner.create_sliding_accumulator(arguments)?)))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Sums an `int4` as an `int8`.
#[derive(Debug)]
struct Widening<A>(A);

fn widened(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let widen = |values: &ArrayRef| match values.data_type() {
        DataType::Int32 => cast(values, &DataType::Int64),
        _ => Ok(Arc::clone(values)),
    };
    Ok(values.iter().map(widen).collect::<std::result::Result<_, _>>()?)
}

impl Accumulator for Widening<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(&widened(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.evaluate()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(&widened(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }
}

impl GroupsAccumulator for Widening<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.0.update_batch(&widened(values)?, groups, filter, group_count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.0.evaluate(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.0.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], group_count: usize) -> Result<()> {
        self.0.merge_batch(values, groups, group_count)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.0.convert_to_state(&widened(values)?, filter)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Mean {
    signature: Signature,
}

impl ScalarUDFImpl for Mean {
    fn name(&self) -> &'static str {
        MEAN
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(match types {
            [DataType::Float64, _] => vec![DataType::Float64, DataType::Float64],
            // Of int2 and int4, whose means have ten digits before the point.
            [DataType::Int64, _] => vec![DataType::Decimal128(20, 0), DataType::Decimal128(19, 0)],
            [wide @ DataType::Decimal256(..), _] => vec![wide.clone(), DataType::Decimal256(19, 0)],
            [sum @ DataType::Decimal128(..), _] => vec![sum.clone(), DataType::Decimal128(19, 0)],
            _ => return plan_err!("avg takes one number"),
        })
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match types {
            [DataType::Decimal128(precision, scale), _] => {
                // A mean has no more digits before the point than what is summed has.
                let whole = precision.saturating_sub(SUM_DIGITS).saturating_sub(scale.unsigned_abs()).max(1);
                let behind = 20.max(scale.unsigned_abs());
                match whole + behind {
                    digits @ 0..=DIGITS_128 => DataType::Decimal128(digits, behind.cast_signed()),
                    _ if whole + scale.unsigned_abs().max(16) <= DIGITS_128 => {
                        DataType::Decimal128(DIGITS_128, (DIGITS_128 - whole).cast_signed())
                    }
                    digits => DataType::Decimal256(digits, behind.cast_signed()),
                }
            }
            [DataType::Decimal256(precision, scale), _] => {
                let whole = precision.saturating_sub(scale.unsigned_abs());
                let behind = 20.max(scale.unsigned_abs()).min(76 - whole).max(scale.unsigned_abs());
                DataType::Decimal256(76.min(whole + behind), behind.cast_signed())
            }
            [DataType::Float64, _] => DataType::Float64,
            _ => return plan_err!("avg takes one number"),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [sum, count] = arguments.args.as_slice() else { return exec_err!("a mean is a sum and a count") };
        arithmetic::quotient(sum, count, arguments.return_field.data_type())
    }
}
