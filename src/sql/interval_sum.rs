//! Sums of intervals, part by part, as Postgres adds them.

use std::mem::size_of;

use arrow::{
    array::{ArrayRef, AsArray},
    datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType},
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue},
    logical_expr::Accumulator,
};

use super::function::fault;

/// NULL until there is one.
#[derive(Debug, Default)]
pub(super) struct IntervalSum {
    sum: Option<(i32, i32, i64)>,
}

impl IntervalSum {
    fn add(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        for value in values.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            let (months, days, nanoseconds) = self.sum.unwrap_or_default();
            let parts = (
                months.checked_add(value.months),
                days.checked_add(value.days),
                nanoseconds.checked_add(value.nanoseconds),
            );
            let (Some(months), Some(days), Some(nanoseconds)) = parts else {
                return Err(DataFusionError::External(Box::new(fault("22008", "interval out of range"))));
            };
            self.sum = Some((months, days, nanoseconds));
        }
        Ok(())
    }
}

impl Accumulator for IntervalSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.sum.map(|(months, days, nanoseconds)| IntervalMonthDayNano::new(months, days, nanoseconds));
        Ok(ScalarValue::IntervalMonthDayNano(value))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}
