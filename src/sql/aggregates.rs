//! Sums and averages of Postgres's types: what could overflow is wide enough, and an average of exact numbers is exact.

use std::{collections::VecDeque, mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, IntervalMonthDayNanoArray},
    compute::cast,
    datatypes::{
        DataType, Field, FieldRef, Float32Type, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
        IntervalUnit, Schema,
    },
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue, exec_err, not_impl_err, plan_err},
    functions_aggregate::sum::Sum,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator, ReversedUDAF,
        ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::{AggregateOrderSensitivity, format_state_name},
    },
};

use super::{
    arithmetic,
    float_key::without_signed_nan,
    function::{Interval, fault, no_function},
    interval_sum::IntervalSum,
    library::interval_math,
    narrow_sum::Narrow,
};
use crate::error::Error;

/// `sum / count`, as `avg` is written for the engine. A name of ours, which Postgres does not have.
pub(super) const MEAN: &str = "pilaster_mean";

/// Digits that the engine adds to a decimal's when it sums: a sum of ten thousand million numbers fits.
const SUM_DIGITS: u8 = 10;
const DIGITS_128: u8 = 38;

/// `sum` to the engine, which would take a function of that name for one whose sums can be summed again.
const EXACT_SUM: &str = "pilaster_exact_sum";
/// The sum that `avg` stands on: of `float4` a `float8`.
pub(super) const WIDE_SUM: &str = "pilaster_sum";

/// `sum`: of `int2` and `int4` an `int8`, of `int8` and numerics a numeric, of floats and intervals what they are.
pub(super) fn sum() -> AggregateUDF {
    named_sum(EXACT_SUM)
}

pub(super) fn wide_sum() -> AggregateUDF {
    named_sum(WIDE_SUM)
}

fn named_sum(name: &'static str) -> AggregateUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    let aliases = if name == EXACT_SUM { vec!["sum".to_owned()] } else { Vec::new() };
    AggregateUDF::from(PostgresSum { name, aliases, inner: Sum::new(), signature })
}

pub(super) fn mean() -> ScalarUDF {
    ScalarUDF::from(Mean { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PostgresSum {
    name: &'static str,
    aliases: Vec<String>,
    inner: Sum,
    signature: Signature,
}

impl AggregateUDFImpl for PostgresSum {
    fn name(&self) -> &'static str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
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
            [decimal @ (DataType::Decimal128(..) | DataType::Decimal256(..))] => decimal.clone(),
            [DataType::Float32] if self.name != WIDE_SUM => DataType::Float32,
            [DataType::Float16 | DataType::Float32 | DataType::Float64] => DataType::Float64,
            [DataType::Interval(_) | DataType::Duration(_)] => DataType::Interval(IntervalUnit::MonthDayNano),
            _ => return Err(no_function("sum", types)),
        };
        Ok(vec![summed])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Int32] => Ok(DataType::Int64),
            [own @ (DataType::Float32 | DataType::Interval(_))] => Ok(own.clone()),
            [DataType::Decimal128(precision, scale)] if *precision > DIGITS_128 - SUM_DIGITS => {
                Ok(DataType::Decimal256(precision + SUM_DIGITS, *scale))
            }
            _ => self.inner.return_type(types),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if is_interval(&arguments) {
            if arguments.is_distinct {
                return not_impl_err!("sum(DISTINCT interval)");
            }
            return Ok(Box::new(IntervalSum::default()));
        }
        if is_narrow(&arguments) && !arguments.is_distinct {
            return Ok(Box::new(Narrow::new(arguments.return_field.data_type(), single)?));
        }
        let kind = arguments.return_field.data_type().clone();
        with_wide_result(arguments, |arguments| {
            Ok(Box::new(Widening::new(self.inner.accumulator(arguments)?, kind)) as _)
        })
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if matches!(arguments.return_field.data_type(), DataType::Interval(_)) {
            let name = format_state_name(arguments.name, "sum");
            return Ok(vec![Arc::new(Field::new(name, arguments.return_field.data_type().clone(), true))]);
        }
        if arguments.return_field.data_type() == &DataType::Float32 {
            let wide = Arc::new(arguments.return_field.as_ref().clone().with_data_type(DataType::Float64));
            return self.inner.state_fields(StateFieldsArgs { return_field: wide, ..arguments });
        }
        self.inner.state_fields(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        !is_interval(&arguments) && self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let kind = arguments.return_field.data_type().clone();
        with_wide_result(arguments, |arguments| {
            Ok(Box::new(Widening::new(self.inner.create_groups_accumulator(arguments)?, kind)) as _)
        })
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if is_interval(&arguments) {
            return Ok(Box::new(IntervalSum::default()));
        }
        if arguments.return_field.data_type().is_floating() {
            let is_real = arguments.return_field.data_type() == &DataType::Float32;
            return Ok(Box::new(MovingSum { is_real, values: VecDeque::new() }));
        }
        let kind = arguments.return_field.data_type().clone();
        Ok(Box::new(Widening::new(self.inner.create_sliding_accumulator(arguments)?, kind)))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn is_interval(arguments: &AccumulatorArgs<'_>) -> bool {
    matches!(arguments.return_field.data_type(), DataType::Interval(_))
}

/// Whether decimals of 128 bits have a sum of 256.
fn is_narrow(arguments: &AccumulatorArgs<'_>) -> bool {
    let of = arguments.expr_fields.first().map(|field| field.data_type());
    matches!((of, arguments.return_field.data_type()), (Some(DataType::Decimal128(..)), DataType::Decimal256(..)))
}

/// The engine's sum of decimals of this type, which has the values' type.
pub(super) fn single(decimal: &DataType) -> Result<Box<dyn Accumulator>> {
    let field: FieldRef = Arc::new(Field::new("summed", decimal.clone(), true));
    Sum::new().accumulator(AccumulatorArgs {
        return_field: Arc::clone(&field),
        schema: &Schema::empty(),
        ignore_nulls: false,
        order_bys: &[],
        is_reversed: false,
        name: "sum",
        is_distinct: false,
        exprs: &[],
        expr_fields: &[field],
    })
}

/// The engine sums floats of one width only.
fn with_wide_result<A>(
    arguments: AccumulatorArgs<'_>,
    make: impl FnOnce(AccumulatorArgs<'_>) -> Result<A>,
) -> Result<A> {
    if arguments.return_field.data_type() != &DataType::Float32 {
        return make(arguments);
    }
    let wide = Arc::new(arguments.return_field.as_ref().clone().with_data_type(DataType::Float64));
    make(AccumulatorArgs { return_field: wide, ..arguments })
}

/// The sum of a window of floats, added anew: what leaves the window takes nothing of the others with it.
#[derive(Debug)]
struct MovingSum {
    is_real: bool,
    values: VecDeque<Option<f64>>,
}

impl Accumulator for MovingSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        self.values.extend(cast(values, &DataType::Float64)?.as_primitive::<Float64Type>().iter());
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let count = values.first().map_or(0, |values| values.len()).min(self.values.len());
        self.values.drain(..count);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values = || self.values.iter().flatten().copied();
        let sum = values().reduce(|sum, value| sum + value);
        if sum.is_some_and(f64::is_infinite) && !values().any(f64::is_infinite) {
            return Err(DataFusionError::External(Box::new(fault("22003", "value out of range: overflow"))));
        }
        let sum = sum.map(|sum| if sum.is_nan() { f64::NAN } else { sum });
        Ok(match self.is_real {
            #[expect(clippy::cast_possible_truncation, reason = "the sum of reals is a real")]
            true => ScalarValue::Float32(sum.map(|sum| sum as f32)),
            false => ScalarValue::Float64(sum),
        })
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        plan_err!("a window is not merged")
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        plan_err!("a window has no state")
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * size_of::<Option<f64>>()
    }
}

/// Sums an `int4` as an `int8`, and others as what their sum is.
#[derive(Debug)]
struct Widening<A> {
    inner: A,
    /// The sum's.
    kind: DataType,
    /// Whether a float that was summed is infinite, as its sum may be then.
    has_infinite: bool,
}

impl<A> Widening<A> {
    const fn new(inner: A, kind: DataType) -> Self {
        Self { inner, kind, has_infinite: false }
    }

    fn is_real(&self) -> bool {
        self.kind == DataType::Float32
    }

    fn widened(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let widen = |values: &ArrayRef| match (values.data_type(), &self.kind) {
            (DataType::Int32, _) => cast(values, &DataType::Int64),
            (DataType::Float32, _) => cast(values, &DataType::Float64),
            (DataType::Decimal128(..), wide @ DataType::Decimal256(..)) => cast(values, wide),
            _ => Ok(Arc::clone(values)),
        };
        Ok(values.iter().map(widen).collect::<std::result::Result<_, _>>()?)
    }

    fn notice(&mut self, values: &[ArrayRef]) {
        self.has_infinite = self.has_infinite || values.first().is_some_and(is_infinite);
    }

    /// What infinities of both signs come to has no sign.
    fn checked(&self, sums: ArrayRef) -> Result<ArrayRef> {
        if self.has_infinite {
            return Ok(without_signed_nan(sums));
        }
        if !is_infinite(&sums) {
            return Ok(sums);
        }
        Err(DataFusionError::External(Box::new(fault("22003", "value out of range: overflow"))))
    }
}

/// Looks at all of them, without a branch for each.
fn is_infinite(values: &ArrayRef) -> bool {
    match values.data_type() {
        DataType::Float64 => {
            values.as_primitive::<Float64Type>().values().iter().fold(false, |any, value| any | value.is_infinite())
        }
        DataType::Float32 => {
            values.as_primitive::<Float32Type>().values().iter().fold(false, |any, value| any | value.is_infinite())
        }
        _ => false,
    }
}

fn narrowed(sum: ScalarValue, is_real: bool) -> Result<ScalarValue> {
    if is_real { sum.cast_to(&DataType::Float32) } else { Ok(sum) }
}

impl Accumulator for Widening<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.notice(values);
        let values = self.widened(values)?;
        self.inner.update_batch(&values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = narrowed(self.inner.evaluate()?, self.is_real())?;
        ScalarValue::try_from_array(&self.checked(sum.to_array()?)?, 0)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let state = self.inner.state()?;
        if let Some(sum) = state.first() {
            self.checked(sum.to_array()?)?;
        }
        Ok(state)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.notice(states);
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = self.widened(values)?;
        self.inner.retract_batch(&values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
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
        self.notice(values);
        let values = self.widened(values)?;
        self.inner.update_batch(&values, groups, filter, group_count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.inner.evaluate(emit_to)?;
        let sums = if self.is_real() { cast(&sums, &DataType::Float32)? } else { sums };
        self.checked(sums)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let state = self.inner.state(emit_to)?;
        if let Some(sums) = state.first() {
            self.checked(Arc::clone(sums))?;
        }
        Ok(state)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], group_count: usize) -> Result<()> {
        self.notice(values);
        self.inner.merge_batch(values, groups, group_count)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&self.widened(values)?, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
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
            [interval @ DataType::Interval(_), _] => vec![interval.clone(), DataType::Int64],
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
                // One with more digits before the point than are left is an error, as any number beyond the type is.
                let behind = 20.max(scale.unsigned_abs());
                let whole = precision.saturating_sub(scale.unsigned_abs()).min(76 - behind);
                DataType::Decimal256(whole + behind, behind.cast_signed())
            }
            [own @ (DataType::Float64 | DataType::Interval(_)), _] => own.clone(),
            _ => return plan_err!("avg takes one number"),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [sum, count] = arguments.args.as_slice() else { return exec_err!("a mean is a sum and a count") };
        if matches!(sum.data_type(), DataType::Interval(_)) {
            return mean_interval(sum, count, arguments.number_rows);
        }
        arithmetic::quotient(sum, count, arguments.return_field.data_type())
    }
}

fn mean_interval(sum: &ColumnarValue, count: &ColumnarValue, rows: usize) -> Result<ColumnarValue> {
    let external = |error: Error| DataFusionError::External(Box::new(error));
    let (sums, counts) = (sum.clone().into_array(rows)?, count.clone().into_array(rows)?);
    let (sums, counts) = (sums.as_primitive::<IntervalMonthDayNanoType>(), counts.as_primitive::<Int64Type>());
    let mean = |(sum, count): (Option<IntervalMonthDayNano>, Option<i64>)| match (sum, count) {
        (Some(sum), Some(count)) if count > 0 => {
            let sum = Interval { months: sum.months, days: sum.days, micros: sum.nanoseconds / 1_000 };
            #[expect(clippy::cast_precision_loss, reason = "Postgres divides by a float8, too")]
            let mean = interval_math::divided(sum, count as f64).map_err(external)?;
            Ok(Some(IntervalMonthDayNano::new(mean.months, mean.days, mean.micros * 1_000)))
        }
        _ => Ok(None),
    };
    let means = sums.iter().zip(counts).map(mean).collect::<Result<IntervalMonthDayNanoArray>>()?;
    Ok(ColumnarValue::Array(Arc::new(means)))
}
