//! `string_agg`, which puts its values in order by itself, and moves with the frame of a window. The engine's does not move; and it asks for
//! rows in its order, which it would make all the same: two with orders of their own could not stand side by side.

use std::{collections::VecDeque, mem::size_of, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue, plan_err},
    functions_aggregate::string_agg::string_agg_udaf,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
    physical_expr::expressions::Literal,
};

use super::array_agg::Counted;

const NAME: &str = "string_agg";

pub(super) fn string_agg() -> AggregateUDF {
    AggregateUDF::from(StringAgg { inner: string_agg_udaf() })
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct StringAgg {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for StringAgg {
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

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let (is_distinct, is_ordered) = (arguments.is_distinct, !arguments.order_bys.is_empty());
        let inner = self.inner.accumulator(arguments)?;
        Ok(match (is_distinct, is_ordered) {
            // Each value is kept once, and counted then.
            (true, _) => inner,
            // In an order of its own it keeps its values until the end.
            (false, true) => Box::new(Counted::over_all(inner, NAME)),
            (false, false) => Box::new(Counted::of_batch(inner, NAME)),
        })
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let separator = arguments.exprs.get(1).and_then(|separator| separator.downcast_ref::<Literal>());
        let Some(separator) = separator.map(|literal| literal.value().try_as_str()) else {
            return plan_err!("string_agg in a moving frame takes a constant separator");
        };
        let separator = separator.flatten().unwrap_or_default().to_owned();
        Ok(Box::new(MovingText { separator, values: VecDeque::new() }))
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Counted::of_batch(self.inner.create_groups_accumulator(arguments)?, NAME)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Beneficial
    }

    fn with_beneficial_ordering(self: Arc<Self>, _: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }
}

/// The values of a frame that moves.
#[derive(Debug)]
struct MovingText {
    separator: String,
    values: VecDeque<Option<String>>,
}

impl Accumulator for MovingText {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        let values = cast(values, &DataType::Utf8View)?;
        self.values.extend(values.as_string_view().iter().map(|value| value.map(str::to_owned)));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.drain(..values.first().map_or(0, |values| values.len()).min(self.values.len()));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values: Vec<&str> = self.values.iter().flatten().map(String::as_str).collect();
        Ok(ScalarValue::LargeUtf8((!values.is_empty()).then(|| values.join(&self.separator))))
    }

    fn size(&self) -> usize {
        let text: usize = self.values.iter().flatten().map(String::capacity).sum();
        size_of::<Self>() + self.values.capacity() * size_of::<Option<String>>() + text
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        plan_err!("the frame of a window is not split")
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        plan_err!("the frame of a window is not split")
    }
}
