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
    sum: (i32, i32, i64),
    /// How many there are in it.
    count: usize,
}

impl IntervalSum {
    fn add(&mut self, values: &[ArrayRef], leaves: bool) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        for value in values.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            let (months, days, nanoseconds) = self.sum;
            let parts = if leaves {
                (
                    months.checked_sub(value.months),
                    days.checked_sub(value.days),
                    nanoseconds.checked_sub(value.nanoseconds),
                )
            } else {
                (
                    months.checked_add(value.months),
                    days.checked_add(value.days),
                    nanoseconds.checked_add(value.nanoseconds),
                )
            };
            let (Some(months), Some(days), Some(nanoseconds)) = parts else {
                return Err(DataFusionError::External(Box::new(fault("22008", "interval out of range"))));
            };
            self.sum = (months, days, nanoseconds);
            self.count = if leaves { self.count.saturating_sub(1) } else { self.count + 1 };
        }
        Ok(())
    }
}

impl Accumulator for IntervalSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, false)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, true)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add(states, false)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (months, days, nanoseconds) = self.sum;
        let sum = IntervalMonthDayNano::new(months, days, nanoseconds);
        Ok(ScalarValue::IntervalMonthDayNano((self.count > 0).then_some(sum)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}
