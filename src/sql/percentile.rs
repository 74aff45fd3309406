//! `percentile_cont` as Postgres computes it.
//!
//! The engine's own cuts the weight between two neighbours to six digits, so its answers are off by up to a millionth of their
//! distance. Source of the formula: PostgreSQL, `orderedsetaggs.c`, `percentile_cont_final_common` and `float8_lerp`.

use std::{cmp::Ordering, mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Float64Builder, ListArray, ListBuilder},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, FieldRef, Float64Type},
};
use datafusion::common::types::{NativeType, logical_float64};
use datafusion::{
    common::{Result, ScalarValue, exec_err, plan_err, utils::SingleRowListArrayBuilder},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Coercion, ColumnarValue, EmitTo, GroupsAccumulator, Signature,
        TypeSignatureClass, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
};

/// `percentile_cont(fraction) WITHIN GROUP (ORDER BY x)`, of numbers as float8.
pub(super) fn percentile_cont() -> AggregateUDF {
    let number = || {
        Coercion::new_implicit(
            TypeSignatureClass::Native(logical_float64()),
            vec![TypeSignatureClass::Numeric],
            NativeType::Float64,
        )
    };
    AggregateUDF::from(PercentileCont {
        signature: Signature::coercible(vec![number(), number()], Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PercentileCont {
    signature: Signature,
}

impl AggregateUDFImpl for PercentileCont {
    fn name(&self) -> &'static str {
        "percentile_cont"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let item = Arc::new(Field::new_list_field(DataType::Float64, true));
        Ok(vec![Arc::new(Field::new(format_state_name(arguments.name, "values"), DataType::List(item), true))])
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if arguments.is_distinct {
            return plan_err!("percentile_cont takes no DISTINCT");
        }
        Ok(Box::new(One { rank: Rank::of(&arguments)?, values: Vec::new() }))
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        !arguments.is_distinct
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Many { rank: Rank::of(&arguments)?, groups: Vec::new(), bytes: 0 }))
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }
}

/// Which place in the order is asked for.
#[derive(Clone, Copy, Debug)]
struct Rank {
    /// None for NULL, of which the percentile is NULL.
    fraction: Option<f64>,
    descending: bool,
}

impl Rank {
    fn of(arguments: &AccumulatorArgs) -> Result<Self> {
        let schema = arrow::datatypes::Schema::empty();
        let rows = arrow::array::RecordBatch::new_empty(Arc::new(schema));
        let Some(expression) = arguments.exprs.get(1) else { return plan_err!("percentile_cont takes a fraction") };
        let fraction = match expression.evaluate(&rows) {
            Ok(ColumnarValue::Scalar(value)) => value.cast_to(&DataType::Float64)?,
            _ => return plan_err!("percentile_cont takes a constant fraction"),
        };
        let ScalarValue::Float64(fraction) = fraction else { return plan_err!("percentile_cont takes a number") };
        if let Some(fraction) = fraction
            && !(0.0..=1.0).contains(&fraction)
        {
            return exec_err!("percentile value {fraction} is not between 0 and 1");
        }
        let descending = arguments.order_bys.first().is_some_and(|order| order.options.descending);
        Ok(Self { fraction, descending })
    }

    /// The value at the rank, between its two neighbours in proportion. Reorders `values`.
    fn value(self, values: &mut [f64]) -> Option<f64> {
        let fraction = self.fraction?;
        let last = values.len().checked_sub(1)?;
        #[expect(clippy::cast_precision_loss, reason = "Postgres computes the rank in float8, too")]
        let rank = fraction * last as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 0 and the last index"
        )]
        let (low, high) = ((rank.floor() as usize).min(last), (rank.ceil() as usize).min(last));
        let compare = |left: &f64, right: &f64| {
            let order = float_order(*left, *right);
            if self.descending { order.reverse() } else { order }
        };
        let (_, lower, above) = values.select_nth_unstable_by(low, compare);
        let lower = *lower;
        if low == high {
            return Some(lower);
        }
        let upper = above.iter().copied().min_by(|left, right| compare(left, right))?;
        Some(lower + (rank - rank.floor()) * (upper - lower))
    }
}

/// Postgres's order of floats: NaN equals itself and is the greatest; the two zeros are equal.
fn float_order(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

/// Without groups.
#[derive(Debug)]
struct One {
    rank: Rank,
    values: Vec<f64>,
}

impl Accumulator for One {
    fn update_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        self.values.extend(arguments[0].as_primitive::<Float64Type>().iter().flatten());
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for list in states[0].as_list::<i32>().iter().flatten() {
            self.values.extend(list.as_primitive::<Float64Type>().iter().flatten());
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = Float64Array::from(std::mem::take(&mut self.values));
        Ok(vec![SingleRowListArrayBuilder::new(Arc::new(values)).build_list_scalar()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.rank.value(&mut self.values)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * size_of::<f64>()
    }
}

/// By group.
#[derive(Debug)]
struct Many {
    rank: Rank,
    groups: Vec<Vec<f64>>,
    /// Of the values' allocations.
    bytes: usize,
}

impl Many {
    fn push(&mut self, group: usize, value: f64) {
        let values = &mut self.groups[group];
        let before = values.capacity();
        values.push(value);
        self.bytes += (values.capacity() - before) * size_of::<f64>();
    }

    fn emit(&mut self, emit_to: EmitTo) -> Vec<Vec<f64>> {
        let groups = emit_to.take_needed(&mut self.groups);
        self.bytes -= groups.iter().map(|values| values.capacity() * size_of::<f64>()).sum::<usize>();
        groups
    }
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        arguments: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.groups.resize_with(group_count, Vec::new);
        let values = arguments[0].as_primitive::<Float64Type>();
        for (row, group) in group_indices.iter().enumerate() {
            let kept = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if kept && values.is_valid(row) {
                self.push(*group, values.value(row));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let rank = self.rank;
        let values: Float64Array = self.emit(emit_to).iter_mut().map(|values| rank.value(values)).collect();
        Ok(Arc::new(values))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = self.emit(emit_to);
        let offsets = OffsetBuffer::<i32>::from_lengths(groups.iter().map(Vec::len));
        let values = Float64Array::from(groups.concat());
        let item = Arc::new(Field::new_list_field(DataType::Float64, true));
        Ok(vec![Arc::new(ListArray::try_new(item, offsets, Arc::new(values), None)?)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], group_count: usize) -> Result<()> {
        self.groups.resize_with(group_count, Vec::new);
        let lists = states[0].as_list::<i32>();
        for (row, group) in group_indices.iter().enumerate() {
            if lists.is_valid(row) {
                for value in lists.value(row).as_primitive::<Float64Type>().iter().flatten() {
                    self.push(*group, value);
                }
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, arguments: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = arguments[0].as_primitive::<Float64Type>();
        let mut lists = ListBuilder::new(Float64Builder::new());
        for row in 0..values.len() {
            let kept = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if kept && values.is_valid(row) {
                lists.values().append_value(values.value(row));
            }
            lists.append(true);
        }
        Ok(vec![Arc::new(lists.finish())])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.groups.capacity() * size_of::<Vec<f64>>() + self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_postgress() {
        let check = |fraction: f64, descending: bool, values: &[f64], expect: Option<f64>| {
            let rank = Rank { fraction: Some(fraction), descending };
            assert_eq!(rank.value(&mut values.to_vec()), expect, "{fraction} of {values:?}");
        };
        check(0.5, false, &[], None);
        check(0.5, false, &[7.0], Some(7.0));
        check(0.5, false, &[4.0, 1.0, 2.0, 3.0], Some(2.5));
        check(0.9, false, &[10.0, 20.0, 30.0], Some(28.0));
        check(0.9, true, &[10.0, 20.0, 30.0], Some(12.0));
        check(1.0, false, &[1.0, f64::INFINITY], Some(f64::INFINITY));
        check(0.0, false, &[f64::NAN, -1.0], Some(-1.0));
        // select percentile_cont(0.123456789) within group (order by x) from (values (0.0), (1000000)) t(x)
        check(0.123_456_789, false, &[0.0, 1_000_000.0], Some(123_456.789));
    }
}
