//! The one row of a subquery that stands for a value.

use std::{mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Field, FieldRef, Int64Type},
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue, plan_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
};

use super::function::fault;

/// An aggregate of one value; of more it is an error. A name of ours, which Postgres does not have.
pub(super) const SINGLE: &str = "pilaster_single";

pub(super) fn single() -> AggregateUDF {
    AggregateUDF::from(Single { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Single {
    signature: Signature,
}

impl AggregateUDFImpl for Single {
    fn name(&self) -> &'static str {
        SINGLE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [data_type] => Ok(data_type.clone()),
            _ => plan_err!("one value is taken"),
        }
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        match fields {
            [field] => Ok(Arc::new(field.as_ref().clone().with_name(SINGLE).with_nullable(true))),
            _ => plan_err!("one value is taken"),
        }
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let value = arguments.return_field.as_ref().clone();
        Ok(vec![
            Arc::new(Field::new(format_state_name(arguments.name, "rows"), DataType::Int64, true)),
            Arc::new(value.with_name(format_state_name(arguments.name, "value")).with_nullable(true)),
        ])
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let value = ScalarValue::try_from(arguments.return_field.data_type())?;
        Ok(Box::new(Row { rows: 0, value }))
    }
}

#[derive(Debug)]
struct Row {
    rows: i64,
    value: ScalarValue,
}

impl Row {
    fn take(&mut self, rows: i64, values: &ArrayRef, row: usize) -> Result<()> {
        self.rows = self.rows.saturating_add(rows);
        if self.rows > 1 {
            let error = fault("21000", "more than one row returned by a subquery used as an expression");
            return Err(DataFusionError::External(Box::new(error)));
        }
        if rows == 1 {
            self.value = ScalarValue::try_from_array(values, row)?;
        }
        Ok(())
    }
}

impl Accumulator for Row {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        (0..values.len()).try_for_each(|row| self.take(1, values, row))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [rows, values] = states else { return plan_err!("two states are merged") };
        let rows = rows.as_primitive::<Int64Type>();
        (0..rows.len()).try_for_each(|row| self.take(rows.value(row), values, row))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(Some(self.rows)), self.value.clone()])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.value.size()
    }
}
