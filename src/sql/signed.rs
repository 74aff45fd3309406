//! What the engine counts without signs, as the `bigint` that it is in Postgres: places and ranks in a window, and pairs of numbers.
//! Beside an integer the engine would make a numeric of it.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{Array as _, ArrayRef, AsArray, Int64Array},
    compute::SortOptions,
    datatypes::{DataType, Field, FieldRef, UInt64Type},
};
use datafusion::{
    common::{Result, ScalarValue, plan_err},
    functions_aggregate::regr::regr_count_udaf,
    functions_window::{
        rank::{dense_rank_udwf, rank_udwf},
        row_number::row_number_udwf,
    },
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, LimitEffect, PartitionEvaluator, Signature, WindowUDF,
        WindowUDFImpl,
        function::{AccumulatorArgs, PartitionEvaluatorArgs, StateFieldsArgs, WindowUDFFieldArgs},
        window_state::WindowAggState,
    },
    physical_plan::PhysicalExpr,
};

/// `row_number`, `rank` and `dense_rank`.
pub(super) fn windows() -> Vec<WindowUDF> {
    let of = |inner: Arc<WindowUDF>| WindowUDF::from(SignedWindow { inner });
    [row_number_udwf(), rank_udwf(), dense_rank_udwf()].map(of).into()
}

/// `regr_count`.
pub(super) fn regr_count() -> AggregateUDF {
    AggregateUDF::from(SignedCount { inner: regr_count_udaf() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SignedWindow {
    inner: Arc<WindowUDF>,
}

impl WindowUDFImpl for SignedWindow {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn partition_evaluator(&self, arguments: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(SignedPlaces(self.inner.partition_evaluator_factory(arguments)?)))
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), DataType::Int64, false)))
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.inner.sort_options()
    }

    fn limit_effect(&self, arguments: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.inner.inner().limit_effect(arguments)
    }
}

#[derive(Debug)]
struct SignedPlaces(Box<dyn PartitionEvaluator>);

impl PartitionEvaluator for SignedPlaces {
    fn memoize(&mut self, state: &mut WindowAggState) -> Result<()> {
        self.0.memoize(state)
    }

    fn get_range(&self, row: usize, rows: usize) -> Result<Range<usize>> {
        self.0.get_range(row, rows)
    }

    fn is_causal(&self) -> bool {
        self.0.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        signed_array(&self.0.evaluate_all(values, rows)?)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        signed_value(self.0.evaluate(values, range)?)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        signed_array(&self.0.evaluate_all_with_rank(rows, ranks)?)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.0.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.0.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.0.include_rank()
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SignedCount {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for SignedCount {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(arguments)
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(SignedNumber(self.inner.accumulator(arguments)?)))
    }
}

#[derive(Debug)]
struct SignedNumber(Box<dyn Accumulator>);

impl Accumulator for SignedNumber {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        signed_value(self.0.evaluate()?)
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
        self.0.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }
}

/// The same bits: no partition has 2⁶³ rows.
fn signed_array(counts: &ArrayRef) -> Result<ArrayRef> {
    let Some(counts) = counts.as_primitive_opt::<UInt64Type>() else { return plan_err!("a count is a UInt64") };
    Ok(Arc::new(Int64Array::new(counts.values().inner().clone().into(), counts.nulls().cloned())))
}

fn signed_value(count: ScalarValue) -> Result<ScalarValue> {
    match count {
        ScalarValue::UInt64(count) => Ok(ScalarValue::Int64(count.map(u64::cast_signed))),
        _ => plan_err!("a count is a UInt64"),
    }
}
