//! `array_agg` of rows that share one long text.
//!
//! Owns: a count of how much more the values are than the memory that holds them. Whoever groups by an array, makes it distinct or spills
//! it to disk writes each value out.
//! Must not know: what is made of the array.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, BooleanArray},
    datatypes::{DataType, FieldRef},
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue},
    functions_aggregate::array_agg::array_agg_udaf,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};

use super::{
    function::too_much,
    size::{BATCH_BYTES_MAX, logical_bytes},
};

/// So many times what holds them the values may be, and be no more than others are.
const SHARED_MAX: usize = 4;
const NAME: &str = "array_agg";

/// The engine's, counted.
pub(super) fn array_agg() -> AggregateUDF {
    AggregateUDF::from(ArrayAgg { inner: array_agg_udaf().as_ref().clone() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayAgg {
    inner: AggregateUDF,
}

impl AggregateUDFImpl for ArrayAgg {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(arguments)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn with_beneficial_ordering(self: Arc<Self>, is_ordered: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let inner = self.inner.clone().with_beneficial_ordering(is_ordered)?;
        Ok(inner.map(|inner| Arc::new(Self { inner }) as _))
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let is_distinct = arguments.is_distinct;
        let inner = self.inner.accumulator(arguments)?;
        // Without what is there twice, each value is kept once, and counted then.
        Ok(if is_distinct { inner } else { Box::new(Counted::over_all(inner, NAME)) })
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Counted::over_all(self.inner.create_sliding_accumulator(arguments)?, NAME)))
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Counted::over_all(self.inner.create_groups_accumulator(arguments)?, NAME)))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Reversed(Arc::new(array_agg()))
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }
}

/// An accumulator, and how many bytes its values are that no memory holds.
#[derive(Debug)]
pub(super) struct Counted<A> {
    inner: A,
    what: &'static str,
    excess: usize,
    is_of_batch: bool,
}

impl<A> Counted<A> {
    /// For what keeps its values as they are, and writes them out at the end.
    pub(super) const fn over_all(inner: A, what: &'static str) -> Self {
        Self { inner, what, excess: 0, is_of_batch: false }
    }

    /// For what writes its values out as they come, and counts them then.
    pub(super) const fn of_batch(inner: A, what: &'static str) -> Self {
        Self { inner, what, excess: 0, is_of_batch: true }
    }

    fn count(&mut self, values: &[ArrayRef]) -> Result<()> {
        let before = if self.is_of_batch { 0 } else { self.excess };
        self.excess = before + values.iter().map(excess).sum::<usize>();
        self.bound(self.excess)
    }

    fn bound(&self, excess: usize) -> Result<()> {
        match excess > BATCH_BYTES_MAX {
            true => Err(DataFusionError::External(Box::new(too_much(self.what, BATCH_BYTES_MAX, "one text")))),
            false => Ok(()),
        }
    }
}

fn excess(values: &ArrayRef) -> usize {
    logical_bytes(values).saturating_sub(SHARED_MAX * values.get_buffer_memory_size())
}

impl Accumulator for Counted<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count(values)?;
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.count(states)?;
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.excess = self.excess.saturating_sub(values.iter().map(excess).sum());
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

impl GroupsAccumulator for Counted<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.count(values)?;
        self.inner.update_batch(values, groups, filter, group_count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.inner.evaluate(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], group_count: usize) -> Result<()> {
        self.count(states)?;
        self.inner.merge_batch(states, groups, group_count)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.bound(values.iter().map(excess).sum())?;
        self.inner.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
