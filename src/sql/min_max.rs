//! `min` and `max` of numerics, without what the engine leaves where a group has none: under such a NULL it keeps the number that all others
//! are less than, or greater, and a cast that looks at it stops the query.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray},
    datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, FieldRef},
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
        let is_numeric =
            matches!(arguments.return_field.data_type(), DataType::Decimal128(..) | DataType::Decimal256(..));
        let inner = self.inner.create_groups_accumulator(arguments)?;
        Ok(if is_numeric { Box::new(Clean(inner)) } else { inner })
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

struct Clean(Box<dyn GroupsAccumulator>);

impl GroupsAccumulator for Clean {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.0.update_batch(values, groups, filter, group_count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.0.evaluate(emit_to).map(clean)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(self.0.state(emit_to)?.into_iter().map(clean).collect())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], group_count: usize) -> Result<()> {
        self.0.merge_batch(values, groups, group_count)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.0.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
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
