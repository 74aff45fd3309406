//! `min` and `max` within groups, where the engine's are not Postgres's: of numerics without what is left where a group has none (under
//! such a NULL it keeps the number that all others are less than, or greater, and a cast that looks at it stops the query), and of floats in
//! their order, in which NaN is greater than all and infinity is not the largest finite number.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray},
    datatypes::{
        DataType, Decimal128Type, Decimal256Type, DecimalType, FieldRef, Float32Type, Float64Type, Int32Type, Int64Type,
    },
};
use datafusion::{
    common::{Result, ScalarValue},
    functions_aggregate::min_max::{max_udaf, min_udaf},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
        Signature, StatisticsArgs,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};

use super::float_key::without_signed_nan;

pub(super) fn functions() -> [AggregateUDF; 2] {
    [min_udaf(), max_udaf()].map(|inner| AggregateUDF::from(MinMax { inner }))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct MinMax {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for MinMax {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(arguments)
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(arguments)
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let of = |data_type: DataType| {
            let field = arguments.return_field.as_ref().clone().with_data_type(data_type);
            let arguments = AccumulatorArgs { return_field: Arc::new(field), ..arguments };
            self.inner.create_groups_accumulator(arguments)
        };
        let floats_as = |integer| of(integer).map(|inner| Mapped { inner, given: keys, giving: floats });
        Ok(match arguments.return_field.data_type() {
            DataType::Float64 => Box::new(floats_as(DataType::Int64)?),
            DataType::Float32 => Box::new(floats_as(DataType::Int32)?),
            numeric @ (DataType::Decimal128(..) | DataType::Decimal256(..)) => {
                Box::new(Mapped { inner: of(numeric.clone())?, given: Arc::clone, giving: clean })
            }
            other => of(other.clone())?,
        })
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_udf()
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.is_descending()
    }

    fn value_from_stats(&self, known: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.inner.value_from_stats(known)
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }
}

/// The engine's accumulator, given and giving something else than is asked for.
struct Mapped {
    inner: Box<dyn GroupsAccumulator>,
    given: fn(&ArrayRef) -> ArrayRef,
    giving: fn(ArrayRef) -> ArrayRef,
}

impl Mapped {
    fn given(&self, values: &[ArrayRef]) -> Vec<ArrayRef> {
        values.iter().map(self.given).collect()
    }

    fn giving(&self, made: Vec<ArrayRef>) -> Vec<ArrayRef> {
        made.into_iter().map(self.giving).collect()
    }
}

impl GroupsAccumulator for Mapped {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        let values = self.given(values);
        self.inner.update_batch(&values, groups, filter, group_count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.inner.evaluate(emit_to).map(self.giving)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let state = self.inner.state(emit_to)?;
        Ok(self.giving(state))
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], group_count: usize) -> Result<()> {
        let values = self.given(values);
        self.inner.merge_batch(&values, groups, group_count)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        Ok(self.giving(self.inner.convert_to_state(&self.given(values), filter)?))
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}

/// Integers in the order of the floats, whose NaN are one.
fn keys(values: &ArrayRef) -> ArrayRef {
    let values = without_signed_nan(Arc::clone(values));
    match values.data_type() {
        DataType::Float64 => Arc::new(
            values
                .as_primitive::<Float64Type>()
                .unary::<_, Int64Type>(|value| swapped_64(value.to_bits().cast_signed())),
        ),
        DataType::Float32 => Arc::new(
            values
                .as_primitive::<Float32Type>()
                .unary::<_, Int32Type>(|value| swapped_32(value.to_bits().cast_signed())),
        ),
        _ => values,
    }
}

fn floats(keys: ArrayRef) -> ArrayRef {
    match keys.data_type() {
        DataType::Int64 => Arc::new(
            keys.as_primitive::<Int64Type>()
                .unary::<_, Float64Type>(|key| f64::from_bits(swapped_64(key).cast_unsigned())),
        ),
        DataType::Int32 => Arc::new(
            keys.as_primitive::<Int32Type>()
                .unary::<_, Float32Type>(|key| f32::from_bits(swapped_32(key).cast_unsigned())),
        ),
        _ => keys,
    }
}

/// Of the bits of a float an integer in the floats' order, and back: those of negative ones count down.
///
/// Source: IEEE 754, section 5.10, total order.
const fn swapped_64(bits: i64) -> i64 {
    bits ^ ((bits >> 63) & i64::MAX)
}

const fn swapped_32(bits: i32) -> i32 {
    bits ^ ((bits >> 31) & i32::MAX)
}

/// The same values, with nothing under what is NULL.
fn clean(values: ArrayRef) -> ArrayRef {
    fn of<T: DecimalType>(values: &PrimitiveArray<T>) -> ArrayRef {
        let kept: PrimitiveArray<T> = values.unary_opt(Some);
        Arc::new(kept.with_data_type(values.data_type().clone()))
    }
    match values.data_type() {
        _ if values.null_count() == 0 => values,
        DataType::Decimal128(..) => of(values.as_primitive::<Decimal128Type>()),
        DataType::Decimal256(..) => of(values.as_primitive::<Decimal256Type>()),
        _ => values,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;

    use super::*;

    #[test]
    fn keys_order_as_floats_do_and_give_them_back() {
        let ordered =
            [f64::NEG_INFINITY, f64::MIN, -1.5, -0.0, 0.0, f64::MIN_POSITIVE, 1.5, f64::MAX, f64::INFINITY, f64::NAN];
        let array: ArrayRef = Arc::new(Float64Array::from(ordered.to_vec()));
        let made = keys(&array);
        assert!(made.as_primitive::<Int64Type>().values().is_sorted());
        let back = floats(Arc::clone(&made));
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(back.as_primitive::<Float64Type>().values()), bits(&ordered));
        // That of arithmetic has a sign.
        let signed: ArrayRef = Arc::new(Float64Array::from(vec![-f64::NAN]));
        assert_eq!(keys(&signed).as_primitive::<Int64Type>().value(0), made.as_primitive::<Int64Type>().value(9));
    }
}
