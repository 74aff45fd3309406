//! Intervals: three numbers in the files, since Parquet cannot hold them; an interval again for queries.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray},
    datatypes::{DataType, Int32Type, Int64Type, IntervalMonthDayNano, IntervalUnit},
};
use datafusion::{
    common::{DataFusionError, Result, exec_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use crate::error::{Code, Error};

/// `(months, days, microseconds)` → interval, row by row; NULL stays NULL.
pub(super) fn function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(FromParts { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FromParts {
    signature: Signature,
}

impl ScalarUDFImpl for FromParts {
    fn name(&self) -> &'static str {
        "pilaster_interval"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(parts) = arguments.args.pop() else { return exec_err!("an interval's parts are missing") };
        let parts = parts.into_array(arguments.number_rows)?;
        Ok(ColumnarValue::Array(from_parts(&parts)?))
    }
}

fn from_parts(parts: &ArrayRef) -> Result<ArrayRef> {
    let parts = parts.as_struct_opt().filter(|parts| parts.num_columns() == 3);
    let Some(parts) = parts else { return exec_err!("an interval does not have three parts") };
    let (Some(months), Some(days), Some(microseconds)) = (
        parts.column(0).as_primitive_opt::<Int32Type>(),
        parts.column(1).as_primitive_opt::<Int32Type>(),
        parts.column(2).as_primitive_opt::<Int64Type>(),
    ) else {
        return exec_err!("an interval's parts are not its numbers");
    };
    let intervals: Result<IntervalMonthDayNanoArray> = (0..parts.len())
        .map(|row| {
            if parts.is_null(row) {
                return Ok(None);
            }
            // The engine counts nanoseconds, which end after 292 years of hours; the days and months have no such end.
            let nanoseconds = microseconds.value(row).checked_mul(1_000).ok_or_else(|| {
                let error =
                    Error::new(Code::InvalidValue, "an interval of more than 292 years in hours is out of range");
                DataFusionError::External(Box::new(error.with_sqlstate("22015")))
            })?;
            Ok(Some(IntervalMonthDayNano::new(months.value(row), days.value(row), nanoseconds)))
        })
        .collect();
    Ok(Arc::new(intervals?))
}
