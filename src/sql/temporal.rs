//! Differences of moments as Postgres has them, in days and time.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, IntervalMonthDayNanoArray},
    datatypes::{DataType, DurationMicrosecondType, IntervalMonthDayNano, IntervalUnit, TimeUnit},
};
use datafusion::{
    common::{Result, exec_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
    scalar::ScalarValue,
};

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;
/// What the difference of two timestamps becomes. A name of ours, which Postgres does not have.
const DIFFERENCE: &str = "pilaster_difference";

/// Days and time, without months, as Postgres subtracts timestamps.
pub(super) fn difference() -> ScalarUDF {
    ScalarUDF::from(Difference { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Difference {
    signature: Signature,
}

impl ScalarUDFImpl for Difference {
    fn name(&self) -> &'static str {
        DIFFERENCE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, _: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![DataType::Duration(TimeUnit::Microsecond)])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = arguments.args.pop() else { return exec_err!("a difference is missing") };
        each(value, |values| {
            let durations = values.as_primitive::<DurationMicrosecondType>();
            let intervals: IntervalMonthDayNanoArray = durations
                .iter()
                .map(|duration| {
                    let microseconds = duration?;
                    let days = i32::try_from(microseconds / MICROSECONDS_PER_DAY).ok()?;
                    Some(IntervalMonthDayNano::new(0, days, microseconds % MICROSECONDS_PER_DAY * 1_000))
                })
                .collect();
            Ok(Arc::new(intervals))
        })
    }
}

/// A function of arrays, over an array or one value.
fn each(value: ColumnarValue, work: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<ColumnarValue> {
    match value {
        ColumnarValue::Array(values) => Ok(ColumnarValue::Array(work(&values)?)),
        ColumnarValue::Scalar(value) => {
            let one = work(&value.to_array_of_size(1)?)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?))
        }
    }
}
